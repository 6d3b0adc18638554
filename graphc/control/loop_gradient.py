"""Reverse-mode differentiation of loops: another loop that runs backwards.

With ``c', y = body(k, c, x)`` the backward loop carries the cotangent of c and sums those of the
captures k; its slices are the cotangents of the ys and the *residuals*: those values of the
forward iterations that the body's own gradient needs.  The forward loop is made once more, with
the residuals among its stacks; as it has the same body, the two become one when compiled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.autodiff import pull_back
from graphc.control import bodies
from graphc.control.loop import Loop, items
from graphc.control.sequence import muted
from graphc.errors import GradientError
from graphc.ir import Graph, Node, topological
from graphc.lower.rules import Alias, Map
from graphc.ops import zeros_like
from graphc.tensor import Tensor, as_tensor
from graphc.types import is_float

__all__ = ["gradient"]

# Ops of at most this cost are computed again rather than kept, if all they need is at hand.
_CHEAP = 2


def gradient(cotangents: Sequence[Tensor | None], node: Node, wanted: Sequence[bool]) -> list[Tensor | None]:
    """Return the cotangent of every operand of a loop that is wanted, None for the others.

    Raises
    ------
    GradientError
        If the number of iterations has no bound.
    """
    loop = Loop.of(node)
    if loop.length is None:
        raise GradientError(
            f"{loop.what}: a reverse-mode gradient needs a bound on the number of iterations",
            expected="max_steps=..., or a forward-mode gradient (gx.jvp)",
            given=f"{loop.what} at {node.where} without a bound",
            where=node.where,
        )
    targets = _Targets.of(loop, wanted)
    seeded = [cotangents[len(loop.inits) + k] for k in range(len(loop.ys))]
    step = _backward_step(loop, targets, seeded)
    forward = _with_stacks(loop, node, step.kept)
    results = items(_backward_loop(loop, targets, step, forward, cotangents).node())
    return _in_order(loop, targets, results)


@dataclass(frozen=True)
class _Targets:
    """Which of a loop's operands get cotangents, by position among their kind."""

    carries: tuple[int, ...]
    captures: tuple[int, ...]
    xs: tuple[int, ...]

    @classmethod
    def of(cls, loop: Loop, wanted: Sequence[bool]) -> _Targets:
        """Return those that are floating, and wanted; carried values are needed on the way."""
        asked = list(wanted[0 if loop.count is None else 1 :])
        last = len(loop.captures) + len(loop.inits)

        def chosen(formals: Sequence[Node], asked: Sequence[bool]) -> tuple[int, ...]:
            pairs = zip(formals, asked, strict=True)
            return tuple(k for k, (n, w) in enumerate(pairs) if w and is_float(n.type.dtype))

        carries = chosen(loop.carries, [True] * len(loop.inits))
        return cls(
            carries, chosen(loop.formals, asked[: len(loop.captures)]), chosen(loop.slices, asked[last:])
        )


@dataclass(frozen=True)
class _Step:
    """One iteration of the backward loop, in terms of values of the forward body.

    Attributes
    ----------
    carried, sums, given : tuple of Node
        Placeholders: cotangents of carried values, sums for captures, slices of the stacks' cotangents.
    stacks : tuple of int
        Which of the forward loop's stacks have a cotangent.
    outputs : tuple of Node
        Next cotangents and sums, then the slices' cotangents.
    kept : tuple of Node
        Values of the forward iteration that must be kept for it.
    """

    carried: tuple[Node, ...]
    sums: tuple[Node, ...]
    given: tuple[Node, ...]
    stacks: tuple[int, ...]
    outputs: tuple[Node, ...]
    kept: tuple[Node, ...]


def _backward_step(loop: Loop, targets: _Targets, seeded: Sequence[Tensor | None]) -> _Step:
    stacks = tuple(k for k, g in enumerate(seeded) if g is not None and is_float(loop.ys[k].type.dtype))
    carried = tuple(_cotangent(loop.carries[k]) for k in targets.carries)
    sums = tuple(_cotangent(loop.formals[k]) for k in targets.captures)
    given = tuple(_cotangent(loop.ys[k]) for k in stacks)
    seeds = [(loop.following[k], Tensor(c)) for k, c in zip(targets.carries, carried, strict=True)]
    seeds += [(loop.ys[k], Tensor(g)) for k, g in zip(stacks, given, strict=True)]
    wrt = [loop.carries[k] for k in targets.carries]
    captures = [loop.formals[k] for k in targets.captures]
    slices = [loop.slices[k] for k in targets.xs]
    with bodies.reopened(loop.body):
        found = pull_back(seeds, {*wrt, *captures, *slices})
        following = [found[n] if n in found else zeros_like(Tensor(n)) for n in wrt]
        pairs = zip(captures, sums, strict=True)
        added = [Tensor(s) + found[n] if n in found else Tensor(s) for n, s in pairs]
        outs = [found[n] if n in found else zeros_like(Tensor(n)) for n in slices]
    outputs = tuple(t.node for t in (*following, *added, *outs))
    kept = _kept(outputs, {*carried, *sums, *given}, loop)
    return _Step(carried, sums, given, stacks, outputs, kept)


def _cotangent(node: Node) -> Node:
    return bodies.formal(node.type, "cotangent", node.where)


# ------------------------------------------------------------------- residuals
def _kept(outputs: Sequence[Node], fresh: Collection[Node], loop: Loop) -> tuple[Node, ...]:
    """Choose which forward values to keep: what the gradient reads, unless it is cheap to compute again."""
    order = topological(outputs)
    backward: set[Node] = set(fresh)
    for node in order:
        if any(i in backward for i in node.inputs):
            backward.add(node)
    at_hand = {*loop.formals, *loop.slices, loop.iteration}
    if loop.recompute:
        return tuple(n for n in loop.carries if n in set(order))
    read = {i for n in order if n in backward for i in n.inputs if i not in backward}
    read |= {o for o in outputs if o not in backward}
    kept: list[Node] = []
    for node in order:
        if node in backward:
            continue
        generated = not node.inputs and node not in loop.carries
        again = _is_cheap(node) and all(i in at_hand for i in node.inputs)
        if generated or again or node in read:
            if not (generated or again or node in at_hand):
                kept.append(node)
            at_hand.add(node)
    return tuple(kept)


def _is_cheap(node: Node) -> bool:
    return bool(node.inputs) and node.op.cost <= _CHEAP and isinstance(node.op.lowering, (Map, Alias))


@dataclass(frozen=True)
class _Forward:
    """The forward loop with residuals among its stacks.

    Attributes
    ----------
    kept : mapping of Node to (Tensor, bool)
        For each residual its stack, and whether that is filled backwards.
    steps : Tensor
        The number of iterations.
    """

    kept: Mapping[Node, tuple[Tensor, bool]]
    steps: Tensor


def _with_stacks(loop: Loop, node: Node, kept: Sequence[Node]) -> _Forward:
    missing = tuple(n for n in kept if n not in loop.ys)
    count = len(loop.inits)
    again = node
    if missing:
        body = Graph(loop.body.inputs, (*loop.body.outputs, *missing))
        more = replace(loop, body=body, flip=(*loop.flip, *(False for _ in missing)))
        again = muted(more.node(node.where, node.name))
    results = items(again)
    found = {n: (results[count + k], loop.y_flips[k]) for k, n in enumerate(loop.ys)}
    first = count + len(loop.ys)
    found |= {n: (results[first + k], False) for k, n in enumerate(missing)}
    return _Forward({n: found[n] for n in kept}, results[-1])


# -------------------------------------------------------------------- the loop
def _backward_loop(
    loop: Loop, targets: _Targets, step: _Step, forward: _Forward, cotangents: Sequence[Tensor | None]
) -> Loop:
    read = set(topological(step.outputs))
    slices = [k for k, n in enumerate(loop.slices) if n in read]
    residuals = [bodies.formal(n.type, n.name or n.op.name, n.where) for n in step.kept]
    image = dict(zip(step.kept, residuals, strict=True))
    number = bodies.counter(loop.iteration.where)
    dynamic = loop.ends_early
    extra: list[tuple[Node, Node]] = []
    if loop.iteration in read:
        total = as_tensor(loop.length or 0)
        if dynamic:
            extra = [(forward.steps.node, bodies.formal(forward.steps.type, "steps", number.where))]
            total = Tensor(extra[0][1])
        image[loop.iteration] = (total - 1 - Tensor(number)).node
    captures = (*loop.captures, *(n for n, _ in extra))
    formals = (*loop.formals, *(f for _, f in extra))
    arrays = [*(loop.xs[k] for k in slices), *(forward.kept[n][0].node for n in step.kept)]
    flips = [*(not loop.x_flips[k] for k in slices), *(not forward.kept[n][1] for n in step.kept)]
    first = len(loop.inits)
    last = [(cotangents[k], loop.inits[k]) for k in targets.carries]
    seeds = [zeros_like(Tensor(n)) if g is None else g for g, n in last]
    seeds += [zeros_like(Tensor(loop.captures[k])) for k in targets.captures]
    stacks = [g.node for g in (cotangents[first + k] for k in step.stacks) if g is not None]
    flips += [not loop.y_flips[k] for k in step.stacks]
    flips += [not loop.x_flips[k] for k in targets.xs]
    inner = (number, *step.carried, *step.sums, *(loop.slices[k] for k in slices), *residuals, *step.given)
    outputs = tuple(bodies.replaced(step.outputs, image))
    return Loop(
        loop.what,
        Graph((*formals, *inner), outputs),
        tuple(s.node for s in seeds),
        (*arrays, *stacks),
        captures,
        loop.length,
        tuple(flips),
        forward.steps.node if dynamic else None,
        recompute=loop.recompute,
    )


def _in_order(loop: Loop, targets: _Targets, results: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the results by operand of the forward loop."""
    first, last = len(targets.carries), len(targets.carries) + len(targets.captures)
    inits = dict(zip(targets.carries, results[:first], strict=True))
    captures = dict(zip(targets.captures, results[first:last], strict=True))
    xs = dict(zip(targets.xs, results[last:-1], strict=True))
    found: list[Tensor | None] = [] if loop.count is None else [None]
    found += [captures.get(k) for k in range(len(loop.captures))]
    found += [inits.get(k) for k in range(len(loop.inits))]
    found += [xs.get(k) for k in range(len(loop.xs))]
    return found
