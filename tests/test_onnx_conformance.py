"""The tests that ONNX brings along: all of them run, but for those in onnx_exclusions.py."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from onnx_conformance import KINDS, Outcome, cases, compile_together, has_arrays_only, run, table
from onnx_exclusions import EXCLUSIONS, reason

from graphc.onnx.backend import InterpretedBackend

PAGE = Path(__file__).resolve().parent.parent / "docs" / "onnx.md"
BLOCK = re.compile(r"(<!-- begin of table -->\n).*?(<!-- end of table -->)", re.DOTALL)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[Outcome]]:
    return {kind: [run(case, InterpretedBackend) for case in cases(kind)] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_no_test_fails_that_is_not_excluded(outcomes: dict[str, list[Outcome]], kind: str) -> None:
    failed = {o.case.name: o.problem for o in outcomes[kind] if o.status == "failed"}
    assert not failed, "\n".join(f"{name}: {problem}" for name, problem in failed.items())


def test_nothing_is_excluded_that_passes(outcomes: dict[str, list[Outcome]]) -> None:
    everything = [o for kind in KINDS for o in outcomes[kind]]
    assert not [o.case.name for o in everything if o.status == "excluded" and o.problem is None]
    used = {reason(o.case.name) for o in everything}
    assert EXCLUSIONS.keys() <= used


def test_most_node_tests_pass(outcomes: dict[str, list[Outcome]]) -> None:
    passed = sum(o.status == "passed" for o in outcomes["node"])
    assert passed >= 0.95 * len(outcomes["node"])


def test_the_table_in_the_documentation_is_this_one(
    outcomes: dict[str, list[Outcome]], request: pytest.FixtureRequest
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    current = BLOCK.sub(lambda m: f"{m[1]}{table(outcomes['node'])}\n{m[2]}", page)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(current, encoding="utf-8")
        page = current
    assert page == current, "the table is out of date; run pytest --update-golden"


@pytest.mark.parametrize("part", range(3))
def test_compiled_models_give_the_same(outcomes: dict[str, list[Outcome]], part: int) -> None:
    """The first test of every operator, many of them in one program."""
    passed = [o.case for o in outcomes["node"] if o.status == "passed" and has_arrays_only(o.case)]
    first = {case.operator: case for case in reversed(passed)}
    chosen = [first[name] for name in sorted(first)][part::3]
    for case, expected, found in compile_together(chosen):
        for want, have in zip(expected, found, strict=True):
            wide = np.asarray(want).astype("float64")
            np.testing.assert_allclose(
                have, wide, rtol=case.rtol, atol=max(case.atol, 1e-5), err_msg=case.name
            )
