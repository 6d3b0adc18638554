"""Runs passes over a graph, and polices them: verifies, times, counts and records each.

A pass is any callable from `Graph` to `Graph` that returns the same object when it
changed nothing.  It reports what it rewrote with `record`; everything else it is
entitled to forget.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Protocol

from graphc.errors import ArgumentError, GraphcError, PassError, Where, caller
from graphc.history import History, recording
from graphc.ir import Graph, Inferred, Node, verify
from graphc.lower.rules import Alias, Control, Item, Leaf
from graphc.vectorization import one_by_one

__all__ = ["Pass", "Pipeline", "Repeat", "Rewrite", "Stage", "decline", "kernel_count", "pass_name", "record"]


class Pass(Protocol):
    """What the pipeline runs: a graph in, a graph out, the same object when nothing changed."""

    def __call__(self, graph: Graph) -> Graph:
        """Return the transformed graph."""
        ...


@dataclass(frozen=True)
class Repeat:
    """Runs a group of passes in turn until none of them changes the graph.

    Attributes
    ----------
    passes : tuple of Pass
        The group, in order.
    limit : int
        Rounds after which the group counts as not converging.
    """

    passes: tuple[Pass, ...]
    limit: int = 20


Step = Pass | Repeat


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One application of a rule.

    Attributes
    ----------
    rule : str
        Its name.
    where : Where
        The user's line that it changed.
    note : str
        What it was expected to gain, or why it was left alone.
    nodes : tuple of Node
        What it replaced, as far as the pass said.
    """

    rule: str
    where: Where
    note: str = ""
    nodes: tuple[Node, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.rule}  {self.where}" + (f": {self.note}" if self.note else "")


@dataclass(frozen=True)
class Stage:
    """A graph on its way through the pipeline, and what the pass before it did.

    Attributes
    ----------
    name : str
        The pass; rounds of a repeated group are numbered from the second on.
    graph : Graph
        The graph after the pass.
    seconds : float
        Time the pass took, verification excluded.
    nodes, kernels : int
        Counts after the pass; a kernel is a node that would be launched on its own.
    nodes_before, kernels_before : int
        Counts before it.
    rewrites : tuple of Rewrite
        Every application of a rule, in order.
    declined : tuple of Rewrite
        What could have been rewritten but was not expected to pay, with the reason.
    history : History
        What became of each node; `graphc.inspection.Provenance` reads it.
    """

    name: str
    graph: Graph
    seconds: float
    nodes: int
    kernels: int
    nodes_before: int
    kernels_before: int
    rewrites: tuple[Rewrite, ...] = field(default=(), repr=False)
    declined: tuple[Rewrite, ...] = field(default=(), repr=False)
    history: History = field(default_factory=History, repr=False)

    @property
    def changed(self) -> bool:
        """Whether the pass changed anything that is counted or recorded."""
        counts = (self.nodes, self.kernels) != (self.nodes_before, self.kernels_before)
        return counts or bool(self.rewrites)

    def counts(self) -> dict[str, int]:
        """Return how often each rule was applied, most frequent first."""
        return dict(Counter(r.rule for r in self.rewrites).most_common())

    def __str__(self) -> str:
        title = (
            f"{self.name}: {self.nodes_before} -> {self.nodes} nodes, "
            f"{self.kernels_before} -> {self.kernels} kernels, {self.seconds * 1e3:.1f} ms"
        )
        lines = [title, *(f"  {count:4d} x {rule}" for rule, count in self.counts().items())]
        lines += [
            f"       {count:4d} x {r}" for r, count in Counter(r for r in self.rewrites if r.note).items()
        ]
        lines += [f"   not {count:4d} x {r}" for r, count in Counter(self.declined).items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        # Deferred: it describes stages.
        from graphc.inspection.display import stage_html

        return stage_html(self)

    def _repr_svg_(self) -> str | None:
        return self.graph._repr_svg_()


@dataclass
class _Log:
    """What a pass reports while it runs."""

    rewrites: list[Rewrite] = field(default_factory=list)
    declined: list[Rewrite] = field(default_factory=list)


_log: ContextVar[_Log | None] = ContextVar("graphc_rewrites", default=None)


def record(rule: str, place: Node | Where, note: object = "", nodes: Iterable[Node] = ()) -> None:
    """Report, from inside a pass, one application of a rule.

    Parameters
    ----------
    rule : str
        Its name: what was there, an arrow, what is there now.
    place : Node or Where
        The node that it replaces, or the user's line.
    note : object
        Why it pays.
    nodes : iterable of Node
        All nodes that it replaces, where they are several.
    """
    log = _log.get()
    if log is not None:
        log.rewrites.append(_rewrite(rule, place, note, nodes))


def decline(rule: str, place: Node | Where, note: object) -> None:
    """Report, from inside a pass, that a rule would apply to a node or line, and why it was left alone."""
    log = _log.get()
    if log is not None:
        log.declined.append(_rewrite(rule, place, note))


def _rewrite(rule: str, place: Node | Where, note: object, nodes: Iterable[Node] = ()) -> Rewrite:
    if isinstance(place, Where):
        return Rewrite(rule, place, str(note), tuple(nodes))
    return Rewrite(rule, place.where, str(note), tuple(nodes) or (place,))


def kernel_count(graph: Graph) -> int:
    """Return how many nodes would launch a kernel of their own, those of loops and branches included."""
    return sum(_kernels_of(n) for n in graph.nodes)


def _kernels_of(node: Node) -> int:
    if isinstance(node.op.lowering, Control):
        return sum(map(kernel_count, node.subgraphs))
    return int(not isinstance(node.op.lowering, (Alias, Item, Leaf)))


def pass_name(step: object) -> str:
    """Return the name under which a pass is reported: its `name`, or its class's or function's."""
    given = getattr(step, "name", None) or getattr(step, "__name__", None)
    if isinstance(given, str):
        return given
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(step).__name__).lower()


class Pipeline:
    """A sequence of passes to run over graphs.

    Parameters
    ----------
    steps : sequence of Pass or Repeat
        What to run, in order.

    Raises
    ------
    ArgumentError
        If a step cannot be called.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ir import Graph
    >>> from graphc.passes import Canonicalize, Prune
    >>> x = gx.placeholder("x", shape=("n",))
    >>> stages = Pipeline([Canonicalize(), Prune()]).run(Graph((x.node,), ((x - 1).node,)))
    >>> [(s.name, s.nodes) for s in stages]
    [('traced', 3), ('canonicalize', 3), ('prune', 3)]
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        for step in (s for group in steps for s in _members(group)):
            if not callable(step):
                raise ArgumentError(
                    "pipeline: a pass cannot be called",
                    expected="a callable from Graph to Graph",
                    given=repr(step),
                    where=caller(),
                )
        self.steps = tuple(steps)

    def run(self, graph: Graph) -> tuple[Stage, ...]:
        """Return the stages, from the graph as given to the last pass's result.

        Raises
        ------
        PassError
            If a pass fails, breaks the graph or does not converge; names the pass and
            what ran before it.
        """
        return _Run(graph).follow(self.steps)


def _members(step: Step) -> tuple[Pass, ...]:
    return step.passes if isinstance(step, Repeat) else (step,)


class _Run:
    """One run: the stages so far, and the nodes that are known to be sound."""

    def __init__(self, graph: Graph) -> None:
        self.inferred: Inferred = {}
        verify(graph, known=self.inferred)
        self.trusted: set[Node] = set(graph.nodes)
        nodes, kernels = len(graph.nodes), kernel_count(graph)
        slow = ((where, f"{op} has no rule for many rows") for where, op in one_by_one(graph))
        declined = tuple(Rewrite("vectorize", where, why) for where, why in slow)
        self.stages = [Stage("traced", graph, 0.0, nodes, kernels, nodes, kernels, declined=declined)]

    def follow(self, steps: Sequence[Step]) -> tuple[Stage, ...]:
        for step in steps:
            if isinstance(step, Repeat):
                self._repeat(step)
            else:
                self._apply(step, pass_name(step))
        return tuple(self.stages)

    def _repeat(self, group: Repeat) -> None:
        for number in range(1, group.limit + 1):
            suffix = f" ({number})" if number > 1 else ""
            changed = [p for p in group.passes if self._apply(p, pass_name(p) + suffix, quiet=number > 1)]
            if not changed:
                return
        raise PassError(
            f"passes {', '.join(map(pass_name, changed))} do not converge",
            expected=f"no more changes after at most {group.limit} rounds",
            given=f"a graph of {len(self.stages[-1].graph.nodes)} nodes that still changes",
        )

    def _apply(self, step: Pass, name: str, quiet: bool = False) -> bool:
        """Run one pass; returns whether it changed the graph.  A quiet one that did not leaves no stage."""
        before = self.stages[-1]
        log = _Log()
        token = _log.set(log)
        start = time.perf_counter()
        try:
            with recording() as history:
                graph = _everywhere(step, before.graph)
        except Exception as error:
            raise self._failure(name, error) from error
        finally:
            _log.reset(token)
        seconds = time.perf_counter() - start
        changed = graph is not before.graph
        if changed:
            self._verify(name, before.graph, graph)
        if changed or not quiet:
            kernels = kernel_count(graph) if changed else before.kernels
            counts = (len(graph.nodes), kernels, before.nodes, before.kernels)
            logged = tuple(log.rewrites), tuple(log.declined)
            self.stages.append(Stage(name, graph, seconds, *counts, *logged, history))
        return changed

    def _verify(self, name: str, before: Graph, after: object) -> None:
        try:
            if not isinstance(after, Graph):
                raise PassError("the result is not a Graph", expected="Graph", given=type(after).__name__)
            verify(after, self.trusted, self.inferred)
            _check_interface(before, after)
        except GraphcError as error:
            raise self._failure(name, error) from error
        self.trusted.update(after.nodes)

    def _failure(self, name: str, error: Exception) -> PassError:
        ran = " -> ".join(s.name for s in self.stages)
        where = error.where if isinstance(error, GraphcError) else None
        what = error.what if isinstance(error, GraphcError) else f"{type(error).__name__}: {error}"
        return PassError(f"pass {name!r} failed after {ran}: {what}", **_details(error), where=where)


def _everywhere(step: Pass, graph: Graph) -> Graph:
    """Run a pass over a graph and then over the bodies of its loops and branches."""
    found = step(graph)
    if not isinstance(found, Graph):
        return found
    controls = [n for n in found.nodes if isinstance(n.op.lowering, Control)]
    bodies = {n: tuple(_everywhere(step, body) for body in n.subgraphs) for n in controls}
    changed = {n: new for n, new in bodies.items() if list(map(id, new)) != list(map(id, n.subgraphs))}
    if not changed:
        return found
    image: dict[Node, Node] = {}
    for node in found.nodes:
        moved = node.with_inputs(tuple(image[i] for i in node.inputs))
        image[node] = replace(moved, payload=changed[node]) if node in changed else moved
    # What a pass comes to assume of sizes inside is checked where all sizes are.
    checks = [c for graphs in changed.values() for g in graphs for c in g.checks]
    return found.rewired({old: new for old, new in image.items() if old is not new}, dict.fromkeys(checks))


def _details(error: Exception) -> dict[str, str | None]:
    if not isinstance(error, GraphcError):
        return {}
    return {"expected": error.expected, "given": error.given}


def _check_interface(before: Graph, after: Graph) -> None:
    """Raise unless a pass kept what callers see: inputs, types of outputs, updated variables."""
    for what, old, new in _interface(before, after):
        if old != new:
            raise PassError(f"the pass changed the graph's {what}", expected=_shown(old), given=_shown(new))
    foreign = {var for var, _ in after.updates} - {var for var, _ in before.updates}
    if foreign:
        names = sorted(str(v.name) for v in foreign)
        raise PassError(
            "the pass updates other variables", expected="those updated before", given=", ".join(names)
        )


def _interface(before: Graph, after: Graph) -> Iterator[tuple[str, tuple[object, ...], tuple[object, ...]]]:
    yield "inputs", before.inputs, after.inputs
    yield "output types", tuple(n.type for n in before.outputs), tuple(n.type for n in after.outputs)
    yield "number of effects", (len(before.effects),), (len(after.effects),)


def _shown(items: tuple[object, ...]) -> str:
    return ", ".join(map(str, items)) or "none"
