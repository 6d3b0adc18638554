"""Loops and branches that make no sense are refused when they are built, in the user's own words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, ControlFlowError, DTypeError, GraphError, ShapeError
from graphc.tensor import Tensor
from tests.test_control import _scalar, _vector


def _error_cases() -> dict[str, tuple[Callable[[], object], type[Exception], str]]:
    v, s = _vector(), _scalar()
    leaked: list[Tensor] = []

    def leak(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
        leaked.append(c * x)
        return c, None

    def use_leaked() -> object:
        gx.scan(leak, 0.0, v)
        return gx.scan(lambda c, x: (c + leaked[0], None), 0.0, v)

    state = gx.variable(0.0, name="state")
    return {
        "shape": (
            lambda: gx.scan(lambda c, x: (gx.stack([c, c]), None), np.zeros(2), v),
            ShapeError,
            "carried value 'carry0' changes its shape",
        ),
        "dtype": (
            lambda: gx.scan(lambda c, x: (c.astype("float32"), None), np.zeros(2), v),
            DTypeError,
            "carried value 'carry0' changes its dtype",
        ),
        "structure": (
            lambda: gx.scan(lambda c, x: ((c, c), None), 0.0, v),
            GraphError,
            "the carried values change their structure",
        ),
        "no pair": (lambda: gx.scan(lambda c, x: c, 0.0, v), ArgumentError, "did not return a pair"),
        "lengths": (
            lambda: gx.scan(lambda c, x: (c, None), 0.0, (np.zeros(2), np.zeros(3))),
            ShapeError,
            "differ in length",
        ),
        "scalar": (lambda: gx.map(lambda x: x, s), ShapeError, "a scalar has no slices"),
        "residuals": (
            lambda: gx.scan(lambda c, x: (c, None), 0.0, v, residuals=0),
            ArgumentError,
            "bad residuals",
        ),
        "condition": (
            lambda: gx.while_loop(lambda c: c, lambda c: c + 1, 0.0),
            ControlFlowError,
            "while_loop: the condition is no boolean scalar",
        ),
        "vector condition": (
            lambda: gx.cond(v > 0, lambda: s, lambda: s),
            ControlFlowError,
            "cond: the condition",
        ),
        "branch types": (
            lambda: gx.cond(s > 0, lambda: v, lambda: s),
            ShapeError,
            "the branches return different types as result 0",
        ),
        "branch structures": (
            lambda: gx.cond(s > 0, lambda: (s, s), lambda: s),
            GraphError,
            "the branches do not agree",
        ),
        "no branch": (lambda: gx.switch(0, []), ArgumentError, "there is no branch"),
        "index": (lambda: gx.switch(s, [lambda: s]), ControlFlowError, "the index is no integer scalar"),
        "bound": (lambda: gx.fori_loop(0, s, lambda i, c: c, 0.0), DTypeError, "upper is no integer"),
        "vector bound": (
            lambda: gx.fori_loop(0, np.arange(3), lambda i, c: c, 0.0),
            ControlFlowError,
            "upper is no scalar",
        ),
        "function": (lambda: gx.scan(3, 0.0, v), ArgumentError, "fn is no function"),
        "leak": (use_leaked, GraphError, "is a value of the scan at"),
        "update": (
            lambda: gx.scan(lambda c, x: (gx.with_update(c, state, x), None), 0.0, v),
            GraphError,
            "the body updates variable 'state'",
        ),
    }


@pytest.mark.parametrize("case", _error_cases())
def test_bad_loops_are_refused_when_they_are_built(case: str) -> None:
    build, error, match = _error_cases()[case]
    with pytest.raises(error, match=match) as caught:
        build()
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "test_control_errors.py" in lines[2]


def test_a_value_of_a_body_cannot_be_compiled_outside() -> None:
    v = _vector()
    leaked: list[Tensor] = []

    def body(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
        leaked.append(c)
        return c + x, None

    gx.scan(body, 0.0, v)
    with pytest.raises(GraphError, match="value of the scan"):
        gx.compile(v, leaked[0] * 2)
