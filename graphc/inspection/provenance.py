"""Provenance: which node became which, from the user's lines to the kernels and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from graphc.inspection.steps import Fate, Kind, Places, Step, places
from graphc.ir import Graph, Node
from graphc.lower.rules import Fused, Item

if TYPE_CHECKING:
    from graphc.pipeline import Stage
    from graphc.runtime.kernel import Kernel

__all__ = ["Fate", "Kind", "Provenance", "Staged"]


class Staged(Protocol):
    """What provenance is found of: the stages of a graph, and the kernels that it ended in."""

    @property
    def stages(self) -> Sequence[Stage]:
        """The graph after every pass."""
        ...

    @property
    def kernels(self) -> Sequence[Kernel]:
        """In execution order."""
        ...


def computed(node: Node) -> Node:
    """Return the node that computes a value: for the result of a fused node, the one in its sub-graph."""
    is_item = isinstance(node.op.lowering, Item)
    source, index = (node.inputs[0], node.attrs["index"]) if is_item else (node, 0)
    if not isinstance(source.op.lowering, Fused):
        return node
    found: Node = source.payload.outputs[index]
    return found


_known: WeakKeyDictionary[Staged, Provenance] = WeakKeyDictionary()


class Provenance:
    """What became of every node of a program, stage by stage and in both directions.

    Nodes in the bodies of loops and branches, and in fused nodes, take part like all others.

    Parameters
    ----------
    program : Program
        A program that was compiled in this process: it needs its stages and kernels.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("n",))
    >>> y = gx.exp(x) * gx.sum(gx.exp(x))
    >>> program = gx.compile(x, y)
    >>> history = Provenance(program)
    >>> exp = [n for n in program.stages[0].graph.nodes if n.op.name == "exp"]
    >>> [fate.kind for n in exp for _, fate in history.course(n) if fate.kind != "kept"]
    ['fused', 'merged', 'fused']
    >>> history.kernel_of(exp[0])
    <Kernel exp_sum>
    """

    def __init__(self, program: Staged) -> None:
        # Not the program itself: what is remembered of it must not keep it alive.
        self.stages = tuple(program.stages)
        self.kernels = tuple(program.kernels)
        self._steps: dict[int, Step] = {}
        # By graph: many stages change nothing.
        self._places: dict[Graph, Places] = {}

    @classmethod
    def of(cls, program: Staged) -> Provenance:
        """Return a program's provenance, found only once."""
        found = _known.get(program)
        if found is None:
            found = _known[program] = cls(program)
        return found

    # -- forwards
    def fate(self, stage_index: int, node: Node) -> Fate:
        """Return what a stage made of a node of the graph before it.

        Parameters
        ----------
        stage_index : int
            A position in ``program.stages``; the node stands in the graph of the one before.  What
            tracing made of the user's nodes is stage 0.
        node : Node

        Returns
        -------
        Fate

        Raises
        ------
        KeyError
            If the node does not stand in the graph before.
        """
        return self.step(stage_index).fates[node]

    def course(self, node: Node) -> Iterator[tuple[int, Fate]]:
        """Return what every stage made of a node, and then of what that stage made of it.

        Parameters
        ----------
        node : Node
            A node of any stage's graph, or one that the user made.

        Yields
        ------
        stage_index : int
        fate : Fate
            That of the node which stands for it; the last one has no targets or comes from the last stage.
        """
        current = node
        first = self.first_stage(node)
        for index in range(0 if first is None else first + 1, len(self.stages)):
            fate = self.fate(index, current)
            yield index, fate
            if not fate.targets:
                return
            current = fate.targets[0]

    def first_stage(self, node: Node) -> int | None:
        """Return the first stage in whose graph a node stands; -1 for what the user made."""
        if node in self.step(0).before.owner:
            return -1
        return next((k for k in range(len(self.stages)) if node in self.places(k).owner), None)

    # -- backwards
    def origin(self, stage_index: int, node: Node) -> tuple[Node, ...]:
        """Return the traced nodes that a node of a stage's graph comes from.

        Parameters
        ----------
        stage_index : int
            A position in ``program.stages``; the node stands in its graph.
        node : Node

        Returns
        -------
        tuple of Node
            Nodes of ``program.stages[0].graph``; empty for what a pass made from nothing.
        """
        found: tuple[Node, ...] = (node,)
        for index in range(stage_index, 0, -1):
            step = self.step(index)
            if step.is_idle:
                continue
            found = tuple(dict.fromkeys(s for n in found for s in step.sources(n)))
        return found

    def forward_of(self, node: Node) -> Node | None:
        """Return the traced node whose derivative a node belongs to.

        Parameters
        ----------
        node : Node
            A node of any stage's graph.

        Returns
        -------
        Node or None
            None for nodes of the forward program.  For a second derivative it is a node of the first.
        """
        at = self.first_stage(node)
        if at is None:
            return None
        start = self.traced(node) if at < 0 else node
        for traced in () if start is None else self.origin(max(at, 0), start):
            source = traced.source
            while source is not None:
                image = self.traced(source)
                if image is not None and image is not traced:
                    return image
                source = source.source
        return None

    def traced(self, node: Node) -> Node | None:
        """Return what stands in the traced graph for a node that the user made."""
        found = [node]
        for current in found:
            if current in self.places(0).owner:
                return current
            found += self.stages[0].history.followers.get(current, ())
        return None

    # -- what runs
    def kernel_of(self, node: Node) -> Kernel | None:
        """Return the kernel that computes a node, or what became of it.

        Parameters
        ----------
        node : Node
            A node of any stage's graph, or one that the user made.

        Returns
        -------
        Kernel or None
            None for inputs, constants, views, and for what was pruned.
        """
        last = node
        for _, fate in self.course(node):
            if not fate.targets:
                return None
            last = fate.targets[0]
        return self.kernel_by_node.get(last)

    @cached_property
    def kernel_by_node(self) -> dict[Node, Kernel]:
        """For each node of the last graph that a kernel computes, that kernel."""
        found: dict[Node, Kernel] = {}
        for kernel in self.kernels:
            for node in kernel.nodes:
                found.setdefault(node, kernel)
        for node in self.places(len(self.stages) - 1).owner:
            inside = computed(node)
            if inside is not node and inside in found:
                found[node] = found[inside]
        return found

    def owner(self, stage_index: int, node: Node) -> Node | None:
        """Return the fused node, loop or branch in whose sub-graph a node of a stage's graph stands."""
        return self.places(stage_index).owner[node]

    # -- stages
    def places(self, stage_index: int) -> Places:
        """Return all nodes of a stage's graph, and where each stands."""
        return self._places_of(self.stages[stage_index].graph)

    def _places_of(self, graph: Graph) -> Places:
        found = self._places.get(graph)
        if found is None:
            found = self._places[graph] = places(graph)
        return found

    def step(self, stage_index: int) -> Step:
        """Return what a stage made of all nodes of the graph before it."""
        found = self._steps.get(stage_index)
        if found is None:
            stages = self.stages
            before = self._given if stage_index == 0 else stages[stage_index - 1].graph
            around = self._places_of(before), self.places(stage_index)
            found = self._steps[stage_index] = Step(*around, stages[stage_index])
        return found

    @cached_property
    def _given(self) -> Graph:
        """What the user made, as far as tracing saw it."""
        traced = self.stages[0]
        ends = {new for news in traced.history.followers.values() for new in news}
        roots = [n for n in traced.history.followers if n not in ends]
        return Graph((), (*roots, *traced.graph.inputs, *traced.graph.roots))
