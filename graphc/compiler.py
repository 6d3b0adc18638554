"""`compile`: from Tensors to a Program, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, get_args

from graphc import blocks
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
    with recording() as history:
        traced, nest = trace(fed, outputs, updates)
    seconds = time.perf_counter() - started
    structure = nest if outputs is not None else None
    return compile_traced(traced, structure, label, optimize, frontend, seconds, history)


def compile_traced(
    traced: Graph,
    nest: Nest | None,
    name: str,
    optimize: Optimize = "full",
    frontend: Frontend = "direct",
    seconds: float = 0.0,
    history: History | None = None,
) -> Program:
    """Compile a graph as `trace` returns it; `seconds` is how long that took, `history` what it noted."""
    first = Stage("trace", traced, seconds, *_counts(traced), history=history or History())
    stages = [first, *Pipeline(steps_for(optimize)).run(traced)[1:]]
    block = blocks.build(stages[-1].graph, frontend)
    return Program(name, Compiled(stages, block, Options(optimize, frontend)), nest)


def _counts(graph: Graph) -> tuple[int, int, int, int]:
    nodes, kernels = len(graph.nodes), kernel_count(graph)
    return nodes, kernels, nodes, kernels
