"""Blocks: graphs made ready to run, each a list of kernels and of nested blocks.

The program's graph is one; so is every body of a loop and every branch, which runs where its
node stands.  What a nested block is given and what it returns lies in the memory of the block
around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from graphc import recurrences
from graphc.codegen import contraction, handwritten, recurrence, regions
from graphc.codegen.loops import KernelText
from graphc.control.loop import Loop as LoopParts
from graphc.ir import Graph, Node
from graphc.lower.contraction import ContractionRegion
from graphc.lower.origins import Origin, move_origins
from graphc.lower.ownership import materialize
from graphc.lower.region import Region, frame_of, lower_region, walk
from graphc.lower.rules import Callback, Control, Loop, LoopSite
from graphc.lower.steps import Part, Step, Storage, lower_graph, storage_of
from graphc.memory import Assignment, assign
from graphc.ops import zeros
from graphc.ops.fused import copy_of
from graphc.ops.op import inherit_place
from graphc.runtime import features
from graphc.runtime.kernel import Kernel
from graphc.runtime.kernel_source import Frontend, KernelSource

__all__ = ["Block", "Piece", "build"]

# Characters of a kernel's name that are spent on the ops that run in it.
NAME_LENGTH = 40
# From so many iterations on, preparing what they share costs nothing worth counting.
MANY = 4

Bindings = Mapping[object, Storage | Part]


@dataclass(frozen=True)
class Piece:
    """One thing that a block does: a kernel, a call back into Python, or a loop or branch.

    Attributes
    ----------
    kernel : Kernel or None
        None for a loop or branch.
    step : Step or None
        What it computes; None for the copies around steps.
    bindings : mapping
        The memory of each pointer handle of the kernel.
    writes : tuple of Storage
        What it changes.
    position : int
        The number of the step that it belongs to.
    blocks : tuple of Block
        The body and the condition of a loop; the branches of a switch.
    """

    kernel: Kernel | None
    step: Step | None
    bindings: Bindings
    writes: tuple[Storage, ...]
    position: int
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, eq=False)
class Block:
    """A graph with its memory decisions and what it does, in order."""

    graph: Graph
    assignment: Assignment
    pieces: tuple[Piece, ...]

    @property
    def kernels(self) -> Iterator[Kernel]:
        """All kernels, nested ones where their loop stands."""
        for piece in self.pieces:
            if piece.kernel is not None:
                yield piece.kernel
            for block in piece.blocks:
                yield from block.kernels


def build(graph: Graph, frontend: Frontend) -> Block:
    """Lower a program's graph."""
    return _build(graph, frontend)


def _build(graph: Graph, frontend: Frontend, around: Node | None = None) -> Block:
    """Lower a graph; `around` is the loop or branch that it is nested in."""
    ready = materialize(graph)
    steps = lower_graph(ready)
    # A failed check ends the whole call: what loops carry need not outlive it.
    checked = frozenset[Node]() if around else frozenset(s.node for s in steps if may_fail(s))
    assignment = assign(ready, steps, checked)
    assignment.fixed = _fixed(around)
    pieces: list[Piece] = []
    for position, step in enumerate(assignment.order):
        pieces += _pieces(step, position, assignment, frontend)
    end = len(assignment.order)
    for variable, storage in assignment.committed:
        pieces.append(_copy("commit", variable, storage, Storage(variable), end, frontend))
    return Block(ready, assignment, tuple(pieces))


def _pieces(step: Step, position: int, assignment: Assignment, frontend: Frontend) -> Iterator[Piece]:
    writes = tuple(step.writes.values())
    if not isinstance(step.body, Control):
        text, origins = generate(step, assignment)
        name = _name(step)
        kernel = Kernel(name, step.members, tuple(step.writes), text, _source(name, text, frontend), step)
        yield Piece(kernel, step, _bindings(step, origins), writes, position)
        return
    blocks = tuple(_build(g, frontend, step.node) for g in _nested_graphs(step.node))
    if step.node.op.name == "loop":
        inside = recurrences.found(step, blocks)
        if inside is not None:
            loop, bindings = inside
            text = recurrence.generate(loop, assignment.shared(bindings.items()))
            name = f"loop_{next(blocks[0].kernels).name}"
            members = tuple(n for b in blocks for k in b.kernels for n in k.nodes)
            kernel = Kernel(name, members, tuple(step.writes), text, _source(name, text, frontend), step)
            yield Piece(kernel, step, bindings, writes, position)
            return
        yield from _before_loop(step, position, assignment, frontend)
    yield Piece(None, step, {}, writes, position, blocks)


def _fixed(node: Node | None) -> frozenset[Node]:
    """Return the placeholders of a loop that stand for the same value in many iterations."""
    if node is None or node.op.name != "loop":
        return frozenset()
    loop = LoopParts.of(node)
    few = isinstance(loop.length, int) and loop.length < MANY
    return frozenset() if few else frozenset(loop.formals)


def _nested_graphs(node: Node) -> Sequence[Graph]:
    """Return the graphs of a loop or branch in a form in which carried values are variables."""
    if node.op.name != "loop":
        return node.subgraphs
    loop = LoopParts.of(node)
    updates = tuple(zip(loop.carries, loop.following, strict=True))
    body = Graph(loop.body.inputs, loop.ys, updates)
    return (body,) if loop.condition is None else (body, loop.condition)


def _before_loop(step: Step, position: int, assignment: Assignment, frontend: Frontend) -> Iterator[Piece]:
    """Copy first values to where they are carried; clear stacks of which a part may stay unwritten."""
    loop = LoopParts.of(step.node)
    for k, (init, formal) in enumerate(zip(loop.inits, loop.carries, strict=True)):
        source, target = storage_of(init), Storage(step.node, k)
        if assignment.resolve(source) != assignment.resolve(target):
            yield _copy("carry", formal, source, target, position, frontend)
    if not loop.ends_early:
        return
    for k in range(len(loop.ys)):
        target = Storage(step.node, len(loop.inits) + k)
        with inherit_place(step.node.where):
            cleared = zeros(target.type.shape, target.type.dtype).node
        text = regions.generate(lower_region((cleared,), (cleared,), frame_of(cleared)), {})
        kernel = Kernel("clear", (cleared,), (cleared,), text, _source("clear", text, frontend))
        yield Piece(kernel, None, {("out", cleared): target}, (target,), position)


def _copy(
    name: str, like: Node, source: Storage, target: Storage, position: int, frontend: Frontend
) -> Piece:
    """Return the kernel that copies a finished value."""
    copied = copy_of(like)
    text = regions.generate(lower_region((copied,), (copied,), frame_of(copied)), {})
    kernel = Kernel(name, (like,), (like,), text, _source(name, text, frontend))
    return Piece(kernel, None, {like: source, ("out", copied): target}, (target,), position)


def may_fail(step: Step) -> bool:
    """Tell whether the step performs a run-time check."""
    if isinstance(step.body, Region):
        return any(e.kind == "check" for e in walk(step.body.values))
    if isinstance(step.body, ContractionRegion):
        values = [step.body.lhs, step.body.rhs, *(s.value for s in step.body.stores)]
        return any(e.kind == "check" for e in walk(values))
    if isinstance(step.body, Loop):
        return _loop_may_fail(step, step.body)
    if isinstance(step.body, Control):
        return any(may_fail(s) for g in step.node.subgraphs for s in lower_graph(g))
    return isinstance(step.body, Callback)


def _loop_may_fail(step: Step, rule: Loop) -> bool:
    asked: list[str] = []

    def fail() -> str:
        asked.append("fail")
        return "pass"

    node = step.node
    types = tuple(i.type for i in node.inputs)
    rule.fn(LoopSite(node.type, types, node.attrs, str, fail))
    return bool(asked)


Origins = Mapping[Node, Origin]


def generate(step: Step, assignment: Assignment) -> tuple[KernelText | None, Origins]:
    """Write the kernel of a step, None for a callback; and say which operands begin elsewhere."""
    aliases = assignment.aliases(step)
    body = step.body
    if isinstance(body, Region):
        body, origins = move_origins(body, {*aliases, *aliases.values()})
        return regions.generate(body, aliases), origins
    if isinstance(body, ContractionRegion):
        body, origins = move_origins(body, {*aliases, *aliases.values()})
        lasting = {n for n, storage in step.reads.items() if assignment.outlasts(storage)}
        lasting |= {n for n, origin in origins.items() if origin.operand in lasting}
        return contraction.generate(body, aliases, features.vector_bytes(), lasting), origins
    if isinstance(body, Loop):
        return handwritten.generate(step, body), {}
    return None, {}


def _source(name: str, text: KernelText | None, frontend: Frontend) -> KernelSource | None:
    return None if text is None else KernelSource(name, text.params, text.code, text.unroll, frontend)


def _bindings(step: Step, origins: Origins) -> dict[object, Storage | Part]:
    """Return the memory of every pointer handle of a step."""
    bound: dict[object, Storage | Part] = {("out", node): storage for node, storage in step.writes.items()}
    bound.update((node, storage) for node, storage in step.reads.items())
    bound.update((node, Part(step.reads[o.operand], o.offset)) for node, o in origins.items())
    return bound


def _name(step: Step) -> str:
    words = [re.sub(r"\W", "_", n.op.name) for n in step.members]
    distinct = list(dict.fromkeys(words))
    shown = next((k for k in range(len(distinct), 1, -1) if len("_".join(distinct[:k])) <= NAME_LENGTH), 1)
    rest = len(distinct) - shown
    return "_".join(distinct[:shown]) + (f"_and_{rest}_more" if rest else "")
