"""Puts effects in order: see `graphc.effects`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.control import bodies
from graphc.control.bodies import Scope
from graphc.control.loop import Loop
from graphc.effects import MUTED, START, TOKEN, Effect, is_ticket, perform, ticket, waiting
from graphc.errors import UnsupportedError
from graphc.ir import Node, topological
from graphc.lower.rules import Control, Item
from graphc.tensor import Tensor

__all__ = ["Carried", "carried", "follow", "muted", "ordered", "refuse_effects"]

EFFECTS = frozenset({"debug_print", "debug_check", "debug_fail"})
"""Ops that take a token first and return it."""


def follow(effects: Sequence[Effect], first: Node, roots: Sequence[Node]) -> tuple[list[Node], Node]:
    """Let effects happen one after another.

    Parameters
    ----------
    effects : sequence of Effect
        In order.
    first : Node
        What the first one begins with.
    roots : sequence of Node
        Further values, which may depend on the tickets: those of loops.

    Returns
    -------
    roots : list of Node
        The same values in the new order.
    last : Node
        The token of the last effect.
    """
    image: dict[Node, Node] = {}
    last = first
    for effect in effects:
        image[effect.ticket] = last
        (last,) = bodies.rebuild([effect.token], image)
    return bodies.rebuild(roots, image), last


def ordered(roots: Sequence[Node]) -> tuple[list[Node], tuple[Node, ...]]:
    """Return the roots of a program, and what must be computed besides for its effects: nothing if none."""
    effects = _concerning(topological(roots))
    if not effects:
        return list(roots), ()
    found, last = follow(effects, START, roots)
    return found, (last,)


def _concerning(nodes: Sequence[Node]) -> list[Effect]:
    """Return the effects that a program of these nodes has, in order.

    What an effect needs besides these nodes must be derived from them by functions of placeholders alone or
    of variables alone.  What takes both is not derived for the sake of an effect: it is another model, or the
    same model built once more.
    """
    found: list[Effect] = []
    computed: set[Node] = set()
    loops: set[Node] = set()
    for effect in waiting(nodes):
        if not computed:
            computed.update(nodes)
            loops.update(Loop.of(n).iteration for n in nodes if n.op.name == "loop")
        more = _missing(effect, computed, loops)
        kinds = {i.op.name for n in more for i in n.inputs if not is_ticket(i)}
        if not kinds >= {"placeholder", "variable"}:
            found.append(effect)
            computed.update(more)
    return found


def _missing(effect: Effect, computed: set[Node], loops: set[Node]) -> list[Node]:
    """Return the nodes that must be computed for an effect alone; gradients have copies of its loops."""
    missing: dict[Node, None] = {}
    stack = [effect.token]
    while stack:
        node = stack.pop()
        copied = node.op.name == "loop" and Loop.of(node).iteration in loops
        if node not in missing and node not in computed and not copied:
            missing[node] = None
            stack += node.inputs
    return list(missing)


@dataclass(frozen=True)
class Carried:
    """How effects go through a loop: one more carried value, or none if nothing happens there.

    Attributes
    ----------
    formals, inits, following : tuple of Node
        What stands for the token in the body, its first value, and the one after an iteration.
    """

    formals: tuple[Node, ...] = ()
    inits: tuple[Node, ...] = ()
    following: tuple[Node, ...] = ()

    def perform(self, scope: Scope, results: Sequence[Tensor]) -> None:
        """Record what the loop does, given the last token."""
        for first, result in zip(self.inits, results, strict=True):
            perform(scope.what, scope.where, first, result.node)


def carried(scope: Scope, roots: Sequence[Node]) -> tuple[list[Node], Carried]:
    """Return results of a body whose effects are in order, and what the loop carries for these."""
    if not scope.effects:
        return list(roots), Carried()
    formal = bodies.formal(TOKEN, "token", scope.where, scope)
    found, last = follow(scope.effects, formal, roots)
    return found, Carried((formal,), (ticket(scope.where),), (last,))


def refuse_effects(scope: Scope, part: str) -> None:
    """Raise if what was called last prints or checks something."""
    if scope.effects:
        raise UnsupportedError(
            f"{scope.what}: {part} cannot print or check",
            expected="gx.debug.print and gx.debug.check in bodies of loops and branches, or outside",
            given=f"one at {scope.effects[0].token.where}",
            where=scope.where,
        )


def muted(node: Node) -> Node:
    """Return a loop or branch that does what `node` does, for a gradient: without effects."""
    if not isinstance(node.op.lowering, Control):
        return node
    operands = _tokens_of_loop(node) if node.op.name == "loop" else _tokens_of_branch(node)
    return node.with_inputs(tuple(MUTED if k in operands else n for k, n in enumerate(node.inputs)))


def _tokens_of_loop(node: Node) -> set[int]:
    """Return the positions of operands that are tokens."""
    loop = Loop.of(node)
    first = len(loop.captures) + (0 if loop.count is None else 1)
    return {first + k for k, n in enumerate(loop.following) if _is_token(n)}


def _tokens_of_branch(node: Node) -> set[int]:
    """Return the positions of operands that are tokens."""
    starts = [(g, _start(o)) for g in node.subgraphs for o in g.outputs if _is_token(o)]
    return {1 + g.inputs.index(n) for g, n in starts if n in g.inputs}


def _is_token(node: Node) -> bool:
    if node.op.name in EFFECTS:
        return True
    if not isinstance(node.op.lowering, Item) or not isinstance(node.inputs[0].op.lowering, Control):
        return False
    control, index = node.inputs[0], node.attrs["index"]
    if control.op.name != "loop":
        return any(_is_token(g.outputs[index]) for g in control.payload)
    loop = Loop.of(control)
    return index < len(loop.inits) and _is_token(loop.following[index])


def _start(token: Node) -> Node:
    """Return the node that a chain of effects begins with."""
    while _is_token(token):
        token = _before(token)
    return token


def _before(token: Node) -> Node:
    """Return the token that an effect takes."""
    if token.op.name in EFFECTS:
        return token.inputs[0]
    control: Node = token.inputs[0]
    index: int = token.attrs["index"]
    if control.op.name == "loop":
        return Loop.of(control).inits[index]
    graph, inner = next((g, g.outputs[index]) for g in control.subgraphs if _is_token(g.outputs[index]))
    return control.inputs[1 + graph.inputs.index(_start(inner))]
