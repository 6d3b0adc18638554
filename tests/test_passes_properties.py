"""What every pass must keep, on random graphs: values, idempotence, identity of the unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from graphc.passes import (
    FULL,
    PIPELINES,
    Canonicalize,
    ExpandComposites,
    FoldConstants,
    JoinWindows,
    MergeEqual,
    MergeSiblingMatmuls,
    Prune,
    Simplify,
    Stabilize,
    StoreTransposes,
    SumMatmuls,
    SumReductions,
)
from graphc.passes import simplify as simplify_module
from hypothesis import HealthCheck, given, settings

from graphc.lower.rules import Expand
from graphc.pipeline import Pass, Pipeline, pass_name
from tests.random_graphs import Program, random_programs

EXACT_RULES = tuple(r for r in simplify_module.RULES if "(rounding)" not in r.name)
EXACT: tuple[Pass, ...] = (
    Canonicalize(),
    ExpandComposites(),
    FoldConstants(),
    JoinWindows(),
    MergeEqual(),
    Prune(),
    Simplify(EXACT_RULES),
    StoreTransposes(),
)
ALL: tuple[Pass, ...] = (
    *EXACT,
    MergeSiblingMatmuls(),
    Simplify(),
    Stabilize(),
    SumMatmuls(),
    SumReductions(),
)

_settings = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("step", EXACT, ids=pass_name)
@given(program=random_programs())
@_settings
def test_exact_passes_keep_every_value(step: Pass, program: Program) -> None:
    after = Pipeline([step]).run(program.graph)[-1].graph
    for got, wanted in zip(program.run(after), program.run(), strict=False):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("step", ALL, ids=pass_name)
@given(program=random_programs())
@_settings
def test_a_second_application_changes_nothing(step: Pass, program: Program) -> None:
    once = step(program.graph)
    assert step(once) is once


@pytest.mark.parametrize("level", PIPELINES)
@given(program=random_programs(max_steps=20, floats_only=True))
@_settings
def test_pipelines_keep_the_interface_and_leave_no_composite(level: str, program: Program) -> None:
    stages = Pipeline(PIPELINES[level]).run(program.graph)
    after = stages[-1].graph
    assert [n.type for n in after.outputs] == [n.type for n in program.graph.outputs]
    assert not any(isinstance(n.op.lowering, Expand) for n in after.nodes)


@given(program=random_programs(max_steps=20))
@_settings
def test_the_full_pipeline_settles(program: Program) -> None:
    after = Pipeline(FULL).run(program.graph)[-1].graph
    for step in (Canonicalize(), FoldConstants(), Simplify(), MergeEqual(), Prune()):
        assert step(after) is after
