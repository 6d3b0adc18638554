"""From a block, the lowered graph, to an executable: kernels compiled, memory laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from graphc import dims, interpreter
from graphc.effects import silence
from graphc.errors import CheckError, GraphcError, GraphError, Where
from graphc.ir import Graph, Node, topological
from graphc.leaves import Variable
from graphc.lower.steps import Step, Storage, storage_of
from graphc.ops.op import Op, resolve_attrs
from graphc.passes import Optimize
from graphc.pipeline import Stage
from graphc.runtime import kernels as native
from graphc.runtime.compiled_object import CompiledObject
from graphc.runtime.executable import Array, Executable, Meaning
from graphc.runtime.imaging import image_of
from graphc.runtime.kernel import Kernel
from graphc.runtime.kernel_source import Frontend, KernelSource
from graphc.runtime.layout import Argument, Build, Layout
from graphc.types import TensorType

if TYPE_CHECKING:
    from graphc.blocks import Block, Piece
    from graphc.memory import Assignment

__all__ = ["Compiled", "Options", "meaning_of"]


@dataclass(frozen=True)
class Options:
    """How a program was compiled, which with its traced graph is all that it takes to compile it again."""

    optimize: Optimize
    frontend: Frontend


class Compiled:
    """A program that this process compiled: what it runs, and everything that led to it.

    Parameters
    ----------
    stages : sequence of Stage
        The graph after every pass.
    block : Block
        The last one, lowered.
    options : Options
        How it was compiled.
    """

    def __init__(self, stages: Sequence[Stage], block: Block, options: Options) -> None:
        self.options = options
        self.stages = tuple(stages)
        self.graph: Graph = block.graph
        self.assignment: Assignment = block.assignment
        self.kernels: list[Kernel] = list(block.kernels)
        texts = [k.text for k in self.kernels if k.text is not None]
        self._checks = tuple(dict.fromkeys(n for text in texts for n in text.checks))
        self._functions: list[int | Meaning] = []
        self.layout = Layout(block, self._build(block), _calls(block))
        image, leaves = image_of(self.layout, len(self._functions), self._checks)
        self.executable = Executable(image, tuple(self._functions), leaves)

    def _build(self, block: Block) -> Build:
        """Compile the kernels; return how layouts number what pieces call."""
        sources = list(dict.fromkeys(k.compiled for k in self.kernels if k.compiled is not None))
        self._functions += [kernel.address for kernel in native.load_kernels(sources)]
        self._sources = sources
        numbers = {source: k for k, source in enumerate(sources)}
        kernels = {id(kernel): k for k, kernel in enumerate(self.kernels)}
        function = partial(self._called, numbers, kernels, block.graph.dim_names)
        return Build(function, {node: code for code, node in enumerate(self._checks, 1)})

    def _called(
        self,
        numbers: Mapping[KernelSource, int],
        kernels: Mapping[int, int],
        names: Sequence[str],
        piece: Piece,
    ) -> tuple[int, int, tuple[Argument, ...]]:
        """Return the numbers of the function and kernel that a piece calls, and a callback's arguments."""
        kernel = piece.kernel
        if kernel is None or (kernel.compiled is None and piece.step is None):
            raise GraphError("a step without a kernel")
        if kernel.compiled is not None:
            return numbers[kernel.compiled], kernels[id(kernel)], ()
        meaning, arguments = _meaning(piece.step, names)
        self._functions.append(meaning)
        return len(self._functions) - 1, kernels[id(kernel)], arguments

    @property
    def objects(self) -> list[CompiledObject]:
        """The machine code of its native functions, which come before those that go back into Python."""
        return [native.object_code(source) for source in self._sources]

    @property
    def code(self) -> list[CompiledObject]:
        """The same: what artifacts are made of."""
        return self.objects

    @property
    def traced(self) -> Graph:
        """The graph before all passes."""
        return self.stages[0].graph

    @property
    def variables(self) -> list[Variable]:
        """The variables that the program reads or updates."""
        return [Variable.of(node) for node in self.graph.variables]

    def failure(self, code: int, arrays: Sequence[Array], sizes: Mapping[str, int]) -> GraphcError:
        """Return the error of a run-time check that failed, in the interpreter's words."""
        node = self._checks[code - 1]
        fed = dict(zip(self.graph.inputs, arrays, strict=True))
        # No variable has changed yet, so interpreting what the check needs fails at the same element.
        try:
            with silence():
                interpreter.run_nodes(topological([_root(self.graph, node)]), fed, sizes)
        except GraphcError as error:
            return error
        return CheckError(f"{node.op.name}: a run-time check failed", where=node.where)


def _meaning(step: Step | None, names: Sequence[str]) -> tuple[Meaning, tuple[Argument, ...]]:
    """Return what a step computes in Python, and the arguments that bring its memory."""
    if step is None:
        raise GraphError("a step without a kernel")
    node = step.node

    operands = tuple(step.reads[i] for i in node.inputs)
    arguments: tuple[Argument, ...] = (*operands, step.writes[node], *map(dims.symbol, names), "status")
    types = tuple(i.type for i in node.inputs)
    return meaning_of(node.op, node.attrs, types, node.type, tuple(names), node.where), arguments


def meaning_of(
    op: Op,
    attrs: Mapping[str, Any],
    operands: tuple[TensorType, ...],
    result: TensorType,
    names: tuple[str, ...],
    where: Where,
) -> Meaning:
    """Return what an operation computes in Python."""

    def compute(values: Sequence[Array], sizes: Mapping[str, int]) -> object:
        found: object = op.numpy(*values, **resolve_attrs(attrs, sizes))
        return found

    return Meaning(op.name, attrs, compute, operands, result, names, where)


def _calls(block: Block) -> dict[Storage, int]:
    """Return the numbers of the memories that calls bring: inputs first, then outputs."""
    graph = block.graph
    calls = {Storage(n): k for k, n in enumerate(graph.inputs)}
    for k, node in enumerate(graph.outputs, len(calls)):
        # An output that is given twice has one memory for each.
        calls.setdefault(block.assignment.resolve(storage_of(node)), k)
    return calls


def _root(graph: Graph, node: Node) -> Node:
    """Return `node` if it stands in the graph, or the node whose sub-graph it is a part of."""
    return next((n for n in graph.nodes if any(_contains(g, node) for g in n.subgraphs)), node)


def _contains(graph: Graph, node: Node) -> bool:
    return node in graph.nodes or any(_contains(g, node) for n in graph.nodes for g in n.subgraphs)
