"""What the schedules of regions share: a kernel's parameters, and loops over its axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from graphc import dims
from graphc.codegen import scalar
from graphc.codegen.choice import Choice
from graphc.codegen.emitter import Emitter, Scratch
from graphc.dims import Dim, Shape
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.region import Reduction, Region, Store, walk
from graphc.types import FLOAT32, FLOAT64, DType


@dataclass(frozen=True)
class Stage:
    """A part of a kernel that is finished by all threads before the next begins.

    Attributes
    ----------
    units : Dim
        Into how many blocks it can be cut at most; 1 runs on one thread.
    work : Dim
        Estimated nanoseconds on one core: whether it is worth cutting.
    source : tuple, optional
        For a stage that only prepares others: the operands it reads, as in `KernelText.pointers`.
        It depends on their memory, on sizes and on stages before it whose sources are among its
        own; on no position of the computation, and on no working memory apart from `fills`.
        None where a stage may depend on anything.
    fills : tuple of Scratch
        The shared working memory that such a stage fills, and which nothing else changes.
    sizes : tuple of Dim
        The sizes that such a stage depends on, at most.
    """

    units: Dim = 1
    work: Dim = 0
    source: tuple[object, ...] | None = None
    fills: tuple[Scratch, ...] = ()
    sizes: tuple[Dim, ...] = ()


# Where the text of a stage begins: see `KernelText.stages`.
_BRANCH = re.compile(r"    if stage == (\d+):")
_NAME = re.compile(r"[A-Za-z_]\w*")

SOLE = Stage()
"""A kernel that runs in one piece."""


@dataclass(frozen=True)
class KernelText:
    """A generated kernel.

    Attributes
    ----------
    params : tuple of (str, str)
        Names and kinds in argument order.
    code : str
        ``def kernel(...)``.
    pointers : dict
        For each pointer parameter, the node or `Scratch` whose memory it is.
    sizes : dict
        For each size parameter, its dimension.
    checks : tuple of Node
        Nodes whose run-time checks the kernel performs, in the order of its code parameters.
    stages : tuple of Stage
        What runs one after the other.  With more than one, parameter ``stage`` says which.
    choice : Choice, optional
        Among which schedules it was written, with what they were estimated to cost.
    unroll : bool
        See `KernelSource`.
    """

    params: tuple[tuple[str, str], ...]
    code: str
    pointers: Mapping[str, object]
    sizes: Mapping[str, Dim]
    checks: tuple[Node, ...]
    stages: tuple[Stage, ...] = (SOLE,)
    choice: Choice[Any] | None = None
    unroll: bool = True

    @cached_property
    def mentioned(self) -> tuple[frozenset[str], ...]:
        """The names that occur in each stage, or outside of all."""
        common: set[str] = set()
        found: list[set[str]] = [set() for _ in self.stages]
        at = common
        for line in self.code.splitlines():
            branch = _BRANCH.match(line)
            if branch is not None or (line[:4].isspace() and not line[4:5].isspace()):
                at = common if branch is None else found[int(branch[1])]
            at.update(_NAME.findall(line) if line[:1].isspace() else ())
        return tuple(frozenset(names | common) for names in found)


def finish(emitter: Emitter, stages: Sequence[Stage], choice: Choice[Any] | None = None) -> KernelText:
    """Collect the finished kernel from its emitter."""
    code = emitter.finish()
    pointers: dict[str, object] = {}
    for handle, buffer in emitter.buffers.items():
        # Where memory is shared, the first handle names it.
        pointers.setdefault(buffer.name, handle)
    sizes = {name: d for d, name in emitter.sizes.items()}
    checks = tuple(emitter.messages)
    named = tuple(_named(stage, emitter, pointers) for stage in stages)
    return KernelText(tuple(emitter.params.items()), code, pointers, sizes, checks, named, choice)


def preparation(
    emitter: Emitter, units: Dim, work: Dim, read: Expr | None, fills: Sequence[Scratch]
) -> Stage:
    """Describe the stage just written, which prepares those after it from the operands in `read`."""
    read_in = [] if read is None else walk([read])
    if any(e.kind == "check" for e in read_in):
        # Whether a check fails is news at every call.
        return Stage(units, work)
    source = dict.fromkeys(e.data for e in read_in if e.kind == "load")
    return Stage(units, work, tuple(source), tuple(fills), tuple(emitter.sizes))


def _named(stage: Stage, emitter: Emitter, pointers: Mapping[str, object]) -> Stage:
    """Return a stage with the names of its operands that the kernel's pointers have."""
    if not stage.source:
        return stage
    names = dict.fromkeys(emitter.buffers[handle].name for handle in stage.source)
    return replace(stage, source=tuple(pointers[name] for name in names))


def declare(
    emitter: Emitter, values: Sequence[Expr], stores: Sequence[Store], aliases: Mapping[object, Any]
) -> None:
    """Make the pointer parameters of everything that is read or written."""
    wanted: list[tuple[object, Node]] = [(e.data, e.data) for e in walk(values) if e.kind == "load"]
    wanted += [(("out", s.node), s.node) for s in stores]
    for handle, node in wanted:
        owner = aliases.get(handle)
        if owner is not None:
            source: Node = owner[1] if isinstance(owner, tuple) else owner
            emitter.buffer(owner, source.type.shape, source.type.dtype)
        emitter.buffer(handle, node.type.shape, node.type.dtype, share=owner)


def store_lines(emitter: Emitter, stores: Sequence[Store]) -> None:
    """Write results to their buffers, all values before the first store: a result may lie in an operand."""
    lines: list[str] = []
    for store in stores:
        buffer = emitter.buffers["out", store.node]
        text = scalar.stored(emitter.text(store.value), buffer.dtype)
        lines.append(f"{buffer.name}[{store_offset(emitter, store)}] = {text}")
    for line in lines:
        emitter.line(line)


def store_offset(emitter: Emitter, store: Store) -> str:
    """Return where a value goes in its buffer, as text."""
    for e in store.position:
        if e.kind != "index":
            emitter.text(e)
    return emitter.offset(emitter.buffers["out", store.node], store.position)


Group = tuple[int, ...]


def collapse(region: Region, runs: Sequence[Sequence[int]]) -> list[list[Group]]:
    """Join neighbouring axes that every access walks together, so that inner loops are long.

    `runs` lists axes that stand in one nest; only neighbours within a run are joined.
    """
    accesses = [e.args for e in walk(region.values) if e.kind == "load"]
    accesses += [s.position for s in region.stores]
    shapes = [e.data.type.shape for e in walk(region.values) if e.kind == "load"]
    shapes += [s.node.type.shape for s in region.stores]
    loose = _loose_indices(region)
    result: list[list[Group]] = []
    for run in runs:
        groups: list[Group] = []
        for axis in run:
            before = groups[-1][-1] if groups else -2
            if before == axis - 1 and _joinable(region, before, accesses, shapes, loose):
                groups[-1] = (*groups[-1], axis)
            else:
                groups.append((axis,))
        result.append(groups)
    return result


def _loose_indices(region: Region) -> set[Expr]:
    """Return loop variables that are used otherwise than as a whole position of a load."""
    used = {e for e in region.values if e.kind == "index"}
    for e in walk(region.values):
        inner = e.args
        if e.kind == "load":
            inner = tuple(a for arg in e.args if arg.kind != "index" for a in walk([arg]))
        used |= {a for a in inner if a.kind == "index"}
    return used


def _joinable(
    region: Region,
    axis: int,
    accesses: Sequence[Sequence[Expr]],
    shapes: Sequence[Shape],
    loose: set[Expr],
) -> bool:
    first, second = region.indices[axis], region.indices[axis + 1]
    if first in loose or second in loose:
        return False
    for position, shape in zip(accesses, shapes, strict=True):
        places = [k for k, e in enumerate(position) if e is first or e is second]
        if not places:
            continue
        adjacent = len(places) == 2 and places[1] == places[0] + 1
        in_order = adjacent and position[places[0]] is first and position[places[1]] is second
        if not in_order or shape[places[1]] != region.space[axis + 1]:
            return False
    return True


def open_loops(emitter: Emitter, region: Region, groups: Sequence[Group]) -> None:
    """Open a loop for each group of axes."""
    for group in groups:
        extent = dims.product(tuple(region.space[a] for a in group))
        variable = join(emitter, region, group)
        name = emitter.fresh("i")
        emitter.open(f"for {name} in range({emitter.size(extent)}):", loop_variables(region, group, variable))
        emitter.name(variable, name)


def loop_variables(region: Region, group: Group, joined: Expr) -> list[Expr]:
    """Return what the loop over a group of axes defines: `joined` and the axes' own variables."""
    return [joined, *(region.indices[a] for a in group)]


def join(emitter: Emitter, region: Region, group: Group) -> Expr:
    """Return the loop variable of a group of axes, and let offsets use it for the whole group."""
    joined = region.indices[group[0]]
    for axis in group[1:]:
        step_ = expr.index(f"{joined.data}_{axis}")
        emitter.merged[joined, region.indices[axis]] = step_
        joined = step_
    return joined


def close_loops(emitter: Emitter, count: int) -> None:
    """Close the innermost `count` loops."""
    for _ in range(count):
        emitter.close()


def flat_position(emitter: Emitter, region: Region, groups: Sequence[Group]) -> str:
    """Return the position within the axes of open loops as text."""
    text = ""
    for group in groups:
        extent = dims.product(tuple(region.space[a] for a in group))
        joined = region.indices[group[0]]
        for axis in group[1:]:
            joined = emitter.merged[joined, region.indices[axis]]
        term = emitter.operand(joined)
        text = term if not text else f"({text}) * {emitter.size(extent)} + {term}"
    return text


def wide(kind: str, dtype: DType) -> DType:
    """Return the dtype in which a reduction keeps its total: float32 sums are kept in float64."""
    return FLOAT64 if dtype == FLOAT32 and kind in ("sum", "prod") else dtype


def body_dtype(r: Reduction) -> DType:
    """Return the dtype of the values that a reduction takes in."""
    return r.body.dtype if r.kind.startswith("arg") else r.node.type.dtype
