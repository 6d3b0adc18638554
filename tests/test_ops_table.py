"""Every op of the registry against NumPy, its own gradient and its own mistakes; new ops enrol themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from cutting import everything_cut
from op_table import (
    DIFFERENTIABLE,
    OPS,
    Call,
    Samples,
    assert_same,
    build,
    compile_calls,
    differentiable,
    gradient,
    has_float,
    in_every_dtype,
    resized,
    run,
    symbolic_calls,
)

import graphc as gx
from graphc.errors import GraphcError
from graphc.ops.op import Op
from graphc.runtime import kernels
from graphc.types import is_float

every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
every_differentiable_op = pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)


@every_op
def test_meaning(op: Op) -> None:
    """The interpreter's value has the promised type, and is what the sample expects."""
    for k, sample in enumerate(op.samples()):
        call = build(op, sample)
        found = call.interpret()
        for out, value in zip(call.outputs, found, strict=True):
            assert out.dtype == value.dtype and out.shape == value.shape, f"sample {k}"
        if sample.expected is None:
            continue
        with np.errstate(all="ignore"):
            expected = sample.expected(*sample.inputs) if callable(sample.expected) else sample.expected
        assert found[0].shape == np.shape(expected), f"sample {k}"
        np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-12, err_msg=f"sample {k}")


@every_op
def test_compiled_equals_interpreted(op: Op) -> None:
    calls = [build(op, s, f"s{k}_") for k, s in enumerate([*op.samples(), *in_every_dtype(op)])]
    expected = [c.interpret() for c in calls]
    for level in ("none", "full"):
        _check(compile_calls(calls, level), calls, expected, level)


@every_op
def test_one_program_serves_every_size(op: Op) -> None:
    calls = symbolic_calls(op, op.samples())
    if not calls:
        pytest.skip("every operand has fixed sizes")
    program = compile_calls(calls, "full")
    _check(program, calls, [c.interpret() for c in calls], "symbolic")
    # After the first calls: with an empty cache, the first on several threads compiles what runs those.
    compiled = kernels.compilations()
    for some in ([resized(c, size) for c in calls] for size in (0, 1)):
        _check(program, some, [c.interpret() for c in some], "symbolic")
    assert kernels.compilations() == compiled


def _check(program: gx.Program, calls: Sequence[Call], expected: Samples, context: str) -> None:
    """Compare with the interpreter, and with three threads that share every kernel in small pieces."""
    with everything_cut(1):
        whole = run(program, calls)
    with everything_cut(3):
        shared = run(program, calls)
    for k, (one, three) in enumerate(zip(whole, shared, strict=True)):
        for a, b in zip(one, three, strict=True):
            np.testing.assert_array_equal(a, b, strict=True, err_msg=f"{context}, sample {k}, threads")
    for k, (call, found, wanted) in enumerate(zip(calls, whole, expected, strict=True)):
        assert_same(call, found, wanted, f"{context}, sample {k}:")


@every_differentiable_op
def test_gradients_equal_finite_differences(op: Op) -> None:
    for sample in differentiable(op):
        call = build(op, sample)
        gx.check_gradients(list(call.outputs), feeds=call.feeds, entries=12)


@every_differentiable_op
def test_second_gradients_equal_finite_differences(op: Op) -> None:
    for call in _with_elements(op):
        _check_once_more(gradient(call))


@every_differentiable_op
def test_third_gradients_equal_finite_differences(op: Op) -> None:
    # The rules of the rules of an op see little of its operands: the first samples will do.
    for call in _with_elements(op)[:2]:
        _check_once_more(gradient(gradient(call)))


def _with_elements(op: Op) -> list[Call]:
    return [build(op, s) for s in differentiable(op) if all(a.size for a in s.inputs)]


def _check_once_more(call: Call) -> None:
    """Compare the gradient of what is a gradient itself; there is none where that was constant."""
    if call.outputs:
        gx.check_gradients(list(call.outputs), feeds=call.feeds, entries=6, rtol=1e-4, atol=1e-5)


def test_every_function_of_floats_has_a_gradient() -> None:
    without = {op.name for op in OPS if op not in DIFFERENTIABLE and _maps_floats(op)}
    # By intention; the derivative of `nextafter` is one almost everywhere and of no use.  The gradient of
    # `random_gamma` is that of its distribution, and no limit of differences (see test_samplers).
    assert without == {"nextafter", "random_gamma", "size", "stop_gradient"}


def _maps_floats(op: Op) -> bool:
    calls = (build(op, s) for s in op.samples() if has_float(s))
    return any(is_float(t.dtype) for call in calls for t in call.outputs)


@every_differentiable_op
def test_compiled_gradients_equal_interpreted(op: Op) -> None:
    # A gradient rounds more often than what it is the gradient of.
    samples = [replace(s, ulp=8 * s.ulp) for s in differentiable(op)]
    calls = [gradient(c) for c in symbolic_calls(op, samples)]
    if not calls:
        pytest.skip("every operand has fixed sizes")
    program = compile_calls(calls, "full")
    for some in (calls, *([resized(c, size) for c in calls] for size in (0, 1))):
        _check(program, some, [c.interpret() for c in some], "gradient")


@every_op
def test_mistakes_are_named(op: Op) -> None:
    for mistake in op.errors():
        with pytest.raises(mistake.error) as caught:
            mistake.build()
        message = str(caught.value)
        assert type(caught.value) is mistake.error, message
        assert isinstance(caught.value, GraphcError), message
        assert mistake.match in message, message
        assert len(message.splitlines()) <= 3, message
        assert f"{__file__}:" in message, f"the user's line is missing: {message}"
