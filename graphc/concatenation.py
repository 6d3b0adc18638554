"""Concatenations whose operands are computed where they belong, so that nothing is left to copy.

Along the first axis, the parts of a result lie one behind the other.  A value that is such
a part gets no memory of its own: the kernel that computes it is given an address within the
whole.  The values of all time steps, stacked for one product, are never moved so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphc import dims
from graphc.dims import Dim
from graphc.ir import Graph
from graphc.lower.expr import Expr
from graphc.lower.region import Region, Store
from graphc.lower.rules import Callback, Leaf
from graphc.lower.steps import Part, Step, Storage, storage_of

__all__ = ["place_parts"]


def place_parts(
    graph: Graph, order: Sequence[Step], settled: Iterable[Storage]
) -> tuple[list[Step], dict[Storage, Part]]:
    """Decide which values are parts of others.

    Parameters
    ----------
    graph : Graph
        The optimized graph.
    order : sequence of Step
        Its steps, in execution order.
    settled : iterable of Storage
        What lies elsewhere already: new values of variables.

    Returns
    -------
    order : list of Step
        The steps, without the copies that are not needed.
    parts : dict of Storage to Part
        For every value that has no memory of its own, where it lies.
    """
    calls = [s for step in order if isinstance(step.body, Callback) for s in _touched(step)]
    # Callbacks see temporaries by name; what callers get is theirs.
    whole_only = {*settled, *calls}
    taken = {*whole_only, *(storage_of(n) for n in graph.outputs)}
    parts: dict[Storage, Part] = {}
    kept: list[Step] = []
    for step in order:
        whole = _concatenated(step)
        if whole is None or whole in whole_only:
            kept.append(step)
            continue
        rest = _rest(step, whole, taken, parts)
        if len(rest) < len(_stores(step)):
            taken.add(whole)
        kept += _with_stores(step, rest)
    return kept, parts


def _touched(step: Step) -> list[Storage]:
    return [*step.reads.values(), *step.writes.values()]


def _stores(step: Step) -> tuple[Store, ...]:
    return step.body.stores if isinstance(step.body, Region) else ()


def _concatenated(step: Step) -> Storage | None:
    """Return the result of a step that does nothing but lay parts one behind the other."""
    stores = _stores(step)
    if not stores or not all(s.part for s in stores) or len(step.writes) != 1:
        return None
    node = stores[0].node
    if any(d != 1 for d in node.type.shape[: node.attrs["axis"]]):
        return None
    return step.writes[node]


def _rest(step: Step, whole: Storage, taken: set[Storage], parts: dict[Storage, Part]) -> list[Store]:
    """Settle the parts that may be computed in place; return those that must be copied."""
    rest: list[Store] = []
    for k, store in enumerate(_stores(step)):
        source = _copied(step, store)
        if source is None or source in taken or isinstance(source.node.op.lowering, Leaf):
            rest.append(store)
            continue
        taken.add(source)
        parts[source] = Part(whole, _part_size(step) * k)
    return rest


def _part_size(step: Step) -> Dim:
    return dims.product(step.body.space) if isinstance(step.body, Region) else 0


def _copied(step: Step, store: Store) -> Storage | None:
    """Return the value that a store copies element by element, None if it does anything else."""
    e = store.value
    if not isinstance(step.body, Region) or e.kind != "load" or e.data not in step.reads:
        return None
    same = _walked(e.data.type.shape, e.args) == _walked(step.body.space, step.body.indices)
    return step.reads[e.data] if same else None


def _walked(shape: Sequence[Dim], index: Sequence[Expr]) -> list[tuple[Dim, Expr]]:
    return [(d, i) for d, i in zip(shape, index, strict=True) if d != 1]


def _with_stores(step: Step, stores: Sequence[Store]) -> list[Step]:
    """Return the step with fewer stores, and no step if there are none."""
    if not stores or not isinstance(step.body, Region):
        return []
    body = replace(step.body, stores=tuple(stores))
    return [replace(step, body=body, reads={h: s for h, s in step.reads.items() if h in body.loads})]
