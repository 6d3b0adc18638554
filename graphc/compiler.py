"""`compile`: from Tensors to a Program, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, get_args

from graphc import blocks
from graphc.debug.guards import Check, compared, guarded
from graphc.errors import ArgumentError, caller
from graphc.history import History, recording
from graphc.ir import Graph
from graphc.leaves import checked_name
from graphc.nests import Nest
from graphc.passes import Optimize, steps_for
from graphc.pipeline import Pipeline, Stage, kernel_count
from graphc.runtime.building import Compiled, Options
from graphc.runtime.kernel_source import Frontend
from graphc.runtime.program import Program
from graphc.tensor import Tensor
from graphc.trace import Updates, trace


def compile(
    inputs: Tensor | Sequence[Tensor],
    outputs: Any = None,
    updates: Updates | None = None,
    *,
    optimize: Optimize = "full",
    name: str = "program",
    frontend: Frontend = "direct",
    check: Check | None = None,
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
    check : {"nan", "all"}, optional
        What calls verify before any variable changes.  "nan": that results and new values are finite; if
        not, the error names the first operation, and its line, from which a bad value reached them.
        "all": that every intermediate value is what NumPy makes of its operands; as slow as NumPy.

    Returns
    -------
    Program
        Call it with arrays, by position or by name.

    Raises
    ------
    ArgumentError
        If the name, `optimize`, `frontend` or `check` is not usable.
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
    _one_of("frontend", frontend, get_args(Frontend))
    _one_of("check", check, (*get_args(Check), None))
    fed = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    started = time.perf_counter()
    with recording() as history:
        traced, nest = trace(fed, outputs, updates)
    seconds = time.perf_counter() - started
    structure = nest if outputs is not None else None
    return compile_traced(traced, structure, label, optimize, frontend, seconds, history, check)


def compile_traced(
    traced: Graph,
    nest: Nest | None,
    name: str,
    optimize: Optimize = "full",
    frontend: Frontend = "direct",
    seconds: float = 0.0,
    history: History | None = None,
    check: Check | None = None,
) -> Program:
    """Compile a graph as `trace` returns it; `seconds` is how long that took, `history` what it noted."""
    graph = guarded(traced, name) if check == "nan" else traced
    first = Stage("trace", graph, seconds, *_counts(graph), history=history or History())
    stages = [first, *Pipeline(steps_for(optimize)).run(graph)[1:]]
    if check == "all":
        # Composite ops in parts: how much rounding matters shows in these.
        plain = Pipeline(steps_for("none")).run(traced)[-1].graph
        whole = compared(stages[-1].graph, plain, name)
        stages.append(Stage("compare_all", whole, 0.0, *_counts(whole)))
    block = blocks.build(stages[-1].graph, frontend)
    return Program(name, Compiled(stages, block, Options(optimize, frontend)), nest)


def _one_of(what: str, given: object, known: Sequence[object]) -> None:
    if given not in known:
        raise ArgumentError(
            f"compile: no such {what}",
            expected=" or ".join(map(repr, known)),
            given=repr(given),
            where=caller(),
        )


def _counts(graph: Graph) -> tuple[int, int, int, int]:
    nodes, kernels = len(graph.nodes), kernel_count(graph)
    return nodes, kernels, nodes, kernels
