"""Comparison of analytic gradients with finite differences, through the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc.autodiff import grad
from graphc.errors import GradientError, caller
from graphc.feeds import check_feed, solve_sizes
from graphc.interpreter import flatten, leaf_value, run_nodes
from graphc.ir import Attrs, Graph, Node, topological
from graphc.leaves import CONSTANT, constant_node, placeholder
from graphc.lower.rules import Leaf
from graphc.ops.op import make_node
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOAT32, FLOAT64, TupleType, is_float

__all__ = ["GradientReport", "InputReport", "check_gradients"]

Array = np.ndarray[Any, Any]

# Balances truncation (h**2) against cancellation (eps/h) of a central difference.
_STEP = float(np.finfo(np.float64).eps ** (1 / 3))


@dataclass(frozen=True)
class InputReport:
    """How one input's gradient compared.

    Attributes
    ----------
    name : str
        The input.
    entries : int
        How many of its elements were compared.
    max_error : float
        Largest difference, in units of the tolerance: above 1 is a failure.
    """

    name: str
    entries: int
    max_error: float


@dataclass(frozen=True)
class GradientReport:
    """The result of `check_gradients`: one line per input."""

    inputs: tuple[InputReport, ...]

    def __str__(self) -> str:
        lines = (
            f"{i.name}: {i.entries} entries, worst at {i.max_error:.2g} of the tolerance" for i in self.inputs
        )
        return "\n".join(lines)


def check_gradients(
    outputs: Any,
    inputs: Any = None,
    feeds: Mapping[Tensor, TensorLike] | None = None,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    entries: int = 200,
    seed: int = 0,
) -> GradientReport:
    """Compare analytic gradients with central differences in float64.

    A float32 graph, forward and backward, is converted to float64 first: the rules are
    what is checked, not float32's rounding.

    Parameters
    ----------
    outputs : Tensor, structure of Tensors, or callable
        What to differentiate; tensors that are not scalars are weighted by a fixed random
        cotangent.  A callable is applied to placeholders shaped like `inputs`.
    inputs : Tensor or structure of Tensors, or sequence of arrays for a callable
        Differentiated by: placeholders and variables.  By default all floating ones that
        `outputs` depend on.
    feeds : mapping of placeholder to array, optional
        Point at which to differentiate; variables take their current value.
    rtol, atol : float
        Tolerance: ``atol + rtol * max(|analytic|, |numeric|)``.
    entries : int
        At most this many elements of each input are compared, chosen at random.
    seed : int
        Seed of the cotangents and of the choice of elements.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        Naming the entry that disagrees most.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> report = gx.check_gradients(lambda x, y: x * y / (x + y), [np.ones(3), np.ones(3)])
    >>> [i.entries for i in report.inputs]
    [3, 3]
    """
    where = caller()
    rng = np.random.default_rng(seed)
    if callable(outputs):
        outputs, inputs, feeds = _apply(outputs, inputs)
    flat, _ = flatten(outputs)
    flat = [t for t in flat if is_float(t.dtype)]
    points = {t.node: np.asarray(v) for t, v in (feeds or {}).items()}
    targets = flatten(inputs)[0] if inputs is not None else _floating_leaves(flat)
    problem = _Problem.build(flat, targets, points, rng)
    reports = []
    for k, target in enumerate(targets):
        label = target.name or f"input {k}"
        reports.append(problem.compare(k, label, rtol=rtol, atol=atol, entries=entries, rng=rng, where=where))
    return GradientReport(tuple(reports))


def _apply(
    fn: Callable[..., Any], arrays: Sequence[TensorLike] | None
) -> tuple[Any, list[Tensor], dict[Tensor, Any]]:
    points = [np.asarray(a) for a in arrays or ()]
    operands = [placeholder(f"x{k}", a.shape, a.dtype) for k, a in enumerate(points)]
    floating = [t for t in operands if is_float(t.dtype)]
    return fn(*operands), floating, dict(zip(operands, points, strict=True))


def _floating_leaves(outputs: list[Tensor]) -> list[Tensor]:
    leaves = (n for n in topological([t.node for t in outputs]) if isinstance(n.op.lowering, Leaf))
    return [Tensor(n) for n in leaves if n.op is not CONSTANT and is_float(n.type.dtype)]


# ------------------------------------------------------------------ the problem
@dataclass(frozen=True)
class _Problem:
    """A float64 graph with its feeds: ``sum(cotangent * output)`` and its gradients."""

    outputs: list[Node]
    cotangents: list[Array]
    gradients: list[Node]
    targets: list[Node]
    feeds: dict[Node, Array]
    sizes: dict[str, int]

    @classmethod
    def build(
        cls, outputs: list[Tensor], targets: list[Tensor], points: dict[Node, Array], rng: np.random.Generator
    ) -> _Problem:
        for node, array in points.items():
            check_feed(node, array)
        _require_leaves(targets)
        seeds = [placeholder(f"cotangent{k}", t.shape, t.dtype) for k, t in enumerate(outputs)]
        gradients = _total_gradients(outputs, targets, seeds)
        every = [t.node for t in (*outputs, *seeds, *targets, *gradients)]
        image = _in_float64(topological(every))
        values = {n: points[n] for n in image if n in points}
        values |= {t.node: leaf_value(t.node) for t in targets if t.node not in points}
        # Sizes may come from placeholders whose values nothing reads.
        sizes = solve_sizes((n, v) for n, v in (points | values).items() if n.op.name == "placeholder")
        weights = [rng.uniform(0.5, 1.5, t.type.concrete(sizes)) for t in outputs]
        values |= {s.node: w for s, w in zip(seeds, weights, strict=True)}
        feeds = {image[n]: np.asarray(v, image[n].type.dtype) for n, v in values.items()}
        return cls(
            [image[t.node] for t in outputs],
            weights,
            [image[t.node] for t in gradients],
            [image[t.node] for t in targets],
            feeds,
            sizes,
        )

    def compare(
        self,
        k: int,
        label: str,
        *,
        rtol: float,
        atol: float,
        entries: int,
        rng: np.random.Generator,
        where: Any,
    ) -> InputReport:
        """Compare the gradient by target `k` element by element."""
        target, gradient = self.targets[k], self.gradients[k]
        analytic = run_nodes(topological([gradient]), self.feeds, self.sizes)[gradient]
        order = topological(self.outputs)
        point = self.feeds[target]
        chosen = rng.permutation(point.size)[:entries]
        worst = (0.0, 0, 0.0, 0.0)
        for i in sorted(chosen):
            numeric = self._central_difference(order, target, int(i))
            found = float(analytic.flat[i])
            error = abs(found - numeric) / (atol + rtol * max(abs(found), abs(numeric)))
            # A NaN on one side only is the worst of all disagreements.
            error = float("inf") if np.isnan(error) and not (np.isnan(found) and np.isnan(numeric)) else error
            worst = max(worst, (error, int(i), found, numeric))
        if worst[0] > 1.0:
            index = tuple(int(j) for j in np.unravel_index(worst[1], point.shape))
            raise GradientError(
                f"the gradient by {label!r} is wrong at index {index}",
                expected=f"{worst[3]:.9g} (central difference)",
                given=f"{worst[2]:.9g} (analytic)",
                where=where,
            )
        return InputReport(label, len(chosen), worst[0])

    def _central_difference(self, order: list[Node], target: Node, i: int) -> float:
        step = _STEP * max(1.0, abs(float(self.feeds[target].flat[i])))
        above, below = (self._weighted_sum(order, target, i, s) for s in (step, -step))
        return (above - below) / (2 * step)

    def _weighted_sum(self, order: list[Node], target: Node, i: int, step: float) -> float:
        moved = self.feeds[target].copy()
        moved.flat[i] += step
        values = run_nodes(order, {**self.feeds, target: moved}, self.sizes)
        return float(sum(np.sum(w * values[n]) for w, n in zip(self.cotangents, self.outputs, strict=True)))


def _require_leaves(targets: list[Tensor]) -> None:
    for target in targets:
        if not isinstance(target.node.op.lowering, Leaf):
            raise GradientError(
                "check_gradients: only placeholders and variables can be varied",
                expected="a placeholder or variable",
                given=repr(target),
                where=caller(),
            )


def _total_gradients(outputs: list[Tensor], targets: list[Tensor], seeds: list[Tensor]) -> list[Tensor]:
    """Return the gradient of ``sum(seed * output)`` over all outputs, by each target."""
    if not outputs:
        raise GradientError("check_gradients: no floating output to differentiate", where=caller())
    total: list[Tensor] = grad(outputs, targets, seeds)
    return total


def _in_float64(order: list[Node]) -> dict[Node, Node]:
    """Return for each node its image in the same graph with float64 in place of float32."""
    image: dict[Node, Node] = {}
    for node in order:
        image[node] = (
            _leaf_in_float64(node) if isinstance(node.op.lowering, Leaf) else _apply_in_float64(node, image)
        )
    return image


def _leaf_in_float64(node: Node) -> Node:
    if node.type.dtype != FLOAT32:
        return node
    if node.op is CONSTANT:
        return constant_node(node.payload.array.astype(FLOAT64), node.name, node.where)
    # Only types matter from here on: placeholders and variables are all fed.
    return placeholder(node.name or "leaf", node.type.shape, FLOAT64).node


def _apply_in_float64(node: Node, image: Mapping[Node, Node]) -> Node:
    inputs = tuple(image[i] for i in node.inputs)
    if isinstance(node.type, TupleType):
        graphs = tuple(map(_graph_in_float64, node.subgraphs))
        items = tuple(replace(t, dtype=FLOAT64) if t.dtype == FLOAT32 else t for t in node.type.items)
        return replace(node, inputs=inputs, type=TupleType.of(items), payload=graphs)
    attrs = Attrs(
        {k: FLOAT64 if v == FLOAT32 and isinstance(v, np.dtype) else v for k, v in node.attrs.items()}
    )
    if attrs == node.attrs and all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
        return node
    return make_node(node.op, inputs, attrs, name=node.name, where=node.where, payload=node.payload)


def _graph_in_float64(graph: Graph) -> Graph:
    image = _in_float64(list(graph.nodes))
    return Graph(tuple(image[n] for n in graph.inputs), tuple(image[n] for n in graph.outputs))
