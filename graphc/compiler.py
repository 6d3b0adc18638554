"""`compile`: from Tensors to a Program, stage by stage."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from graphc.codegen import contraction, handwritten, regions
from graphc.codegen.loops import KernelText
from graphc.errors import ArgumentError, caller
from graphc.ir import Graph, Node
from graphc.leaves import checked_name
from graphc.lower.contraction import ContractionRegion
from graphc.lower.origins import Origin, move_origins
from graphc.lower.ownership import materialize
from graphc.lower.region import Region, frame_of, lower_region, walk
from graphc.lower.rules import Callback, Loop, LoopSite
from graphc.lower.steps import Part, Step, Storage, lower_graph
from graphc.memory import Assignment, assign
from graphc.ops.fused import copy_of
from graphc.passes import Optimize, steps_for
from graphc.pipeline import Pipeline, Stage, kernel_count
from graphc.runtime import features
from graphc.runtime.kernel_source import Frontend, KernelSource
from graphc.runtime.program import Kernel, Program
from graphc.tensor import Tensor
from graphc.trace import Updates, trace

# Characters of a kernel's name that are spent on the ops that run in it.
NAME_LENGTH = 40


def compile(
    inputs: Tensor | Sequence[Tensor],
    outputs: Any = None,
    updates: Updates | None = None,
    *,
    optimize: Optimize = "full",
    name: str = "program",
    frontend: Frontend = "direct",
) -> Program:
    """Compile a graph into a program.

    Parameters
    ----------
    inputs : Tensor or sequence of Tensor
        Placeholders, in the order in which the program takes their values.
    outputs : Tensor, list, tuple or dict of Tensor, optional
        What a call returns, in this structure.
    updates : mapping of Variable to Tensor, optional
        New values of variables.  All of them read old values and land together.
    optimize : {"full", "fast", "none"} or sequence of passes
        How much work to put into the graph.
    name : str
        Shown when the program is printed.
    frontend : {"direct", "numba"}
        What turns the generated Python into LLVM IR: graphc's own compiler for kernel code, or Numba, as a
        second opinion.  Numba takes about a hundred times as long.

    Returns
    -------
    Program
        Call it with arrays, by position or by name.

    Raises
    ------
    ArgumentError
        If the name, `optimize` or `frontend` is not usable.
    GraphError, ShapeError, DTypeError
        If inputs, outputs and updates do not make a graph.
    PassError
        If a pass fails or breaks the graph.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = gx.placeholder("x", shape=("n",), dtype="float64")
    >>> w = gx.variable(np.ones(()), name="w")
    >>> step = gx.compile(x, (w * x).sum(), updates={w: w * 2})
    >>> float(step(np.array([1.0, 2.0]))), float(step(np.array([1.0, 2.0])))
    (3.0, 6.0)
    """
    label = checked_name("compile", name)
    if frontend not in get_args(Frontend):
        raise ArgumentError(
            "compile: no such frontend",
            expected=" or ".join(map(repr, get_args(Frontend))),
            given=repr(frontend),
            where=caller(),
        )
    fed = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    started = time.perf_counter()
    traced, rebuild = trace(fed, outputs, updates)
    first = Stage("trace", traced, time.perf_counter() - started, *_counts(traced))
    stages = [first, *Pipeline(steps_for(optimize)).run(traced)[1:]]
    return build(stages, rebuild if outputs is not None else None, label, frontend)


def _counts(graph: Graph) -> tuple[int, int, int, int]:
    nodes, kernels = len(graph.nodes), kernel_count(graph)
    return nodes, kernels, nodes, kernels


def build(stages: Sequence[Stage], rebuild: Any, name: str, frontend: Frontend = "direct") -> Program:
    """Lower the last stage, compile its kernels and lay out the program."""
    graph = materialize(stages[-1].graph)
    steps = lower_graph(graph)
    assignment = assign(graph, steps, frozenset(s.node for s in steps if may_fail(s)))
    generated = [generate(step, assignment) for step in assignment.order]
    texts = [text for text, _ in generated]
    commits = [_commit(variable, storage) for variable, storage in assignment.committed]
    kernels = [
        Kernel(_name(step), step.members, tuple(step.writes), text, _source(_name(step), text, frontend))
        for step, text in zip(assignment.order, texts, strict=True)
    ]
    kernels += [
        Kernel("commit", (variable,), (variable,), text, _source("commit", text, frontend))
        for text, (variable, _) in zip((t for t, _ in commits), assignment.committed, strict=True)
    ]
    bindings: list[tuple[Step | None, Mapping[object, Storage | Part]]] = [
        (step, _bindings(step, origins))
        for step, (_, origins) in zip(assignment.order, generated, strict=True)
    ]
    bindings += [(None, bound) for _, bound in commits]
    return Program(name, graph, tuple(stages), kernels, bindings, assignment, rebuild)


def may_fail(step: Step) -> bool:
    """Tell whether the step performs a run-time check."""
    if isinstance(step.body, Region):
        return any(e.kind == "check" for e in walk(step.body.values))
    if isinstance(step.body, ContractionRegion):
        values = [step.body.lhs, step.body.rhs, *(s.value for s in step.body.stores)]
        return any(e.kind == "check" for e in walk(values))
    if isinstance(step.body, Loop):
        return _loop_may_fail(step, step.body)
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
        return contraction.generate(body, aliases, features.vector_bytes()), origins
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


def _commit(variable: Node, storage: Storage) -> tuple[KernelText, dict[object, Storage]]:
    """Write the kernel that copies a finished value into its variable."""
    copied = copy_of(variable)
    text = regions.generate(lower_region((copied,), (copied,), frame_of(copied)), {})
    return text, {variable: storage, ("out", copied): Storage(variable)}


def _name(step: Step) -> str:
    words = [re.sub(r"\W", "_", n.op.name) for n in step.members]
    distinct = list(dict.fromkeys(words))
    shown = next((k for k in range(len(distinct), 1, -1) if len("_".join(distinct[:k])) <= NAME_LENGTH), 1)
    rest = len(distinct) - shown
    return "_".join(distinct[:shown]) + (f"_and_{rest}_more" if rest else "")
