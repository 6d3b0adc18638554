"""Every op's lowering equals its NumPy meaning, on every sample, without a compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import expr_eval
import numpy as np
import pytest

import graphc as gx
from graphc.errors import GraphcError
from graphc.interpreter import compute, solve_sizes
from graphc.ir import Node, topological
from graphc.lower.rules import Contract, Leaf, Loop
from graphc.ops.op import REGISTRY, Op, Sample

Array = np.ndarray[Any, Any]
_NUMBER_OF_ELEMENTS_WORTH_EVALUATING = 4000


def _computing() -> list[Op]:
    return [op for op in REGISTRY.values() if not isinstance(op.lowering, Leaf)]


def _build(op: Op, sample: Sample, shape: Callable[[int, Array], tuple[Any, ...]]) -> tuple[Any, dict[Any, Array]]:
    fed = {gx.placeholder(f"x{k}", shape(k, a), a.dtype): a for k, a in enumerate(sample.inputs)}
    call = sample.call or op.api
    assert call is not None, f"{op.name} has samples but neither `call` nor `api`"
    return call(*fed, **sample.kwargs), fed


def _results(built: Any) -> list[gx.Tensor]:
    return [built] if isinstance(built, gx.Tensor) else list(built)


def _steps(outputs: list[gx.Tensor], fed: dict[Any, Array]) -> Iterator[tuple[Node, list[Array], Array, dict[str, int]]]:
    """Yield every computing node with its operands, its value by interpretation, and the sizes."""
    order = topological([t.node for t in outputs])
    arrays = {t.node: a for t, a in fed.items()}
    sizes = solve_sizes(arrays, [c for n in order for c in n.checks])
    values: dict[Node, Array] = dict(arrays)
    for node in order:
        if node in values:
            continue
        operands = [values[i] for i in node.inputs]
        values[node] = compute(node, operands, sizes)
        if not isinstance(node.op.lowering, Leaf):
            yield node, operands, values[node], sizes


def _assert_close(node: Node, found: Array, expected: Array, operands: list[Array], ulp: float) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape, node
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=node.op.name)
        return
    # Sums are compared against the size of what was summed.
    sums = isinstance(node.op.lowering, (Contract, Loop)) or "axes" in node.attrs
    involved = [expected, *(a for a in operands if sums and a.dtype.kind == "f")]
    finite = [np.abs(a[np.isfinite(a)]).max(initial=0) for a in involved]
    unit = np.spacing(np.asarray(max(finite), expected.dtype))
    np.testing.assert_allclose(found, expected, rtol=0, atol=float(ulp * unit), err_msg=node.op.name)


def _check(outputs: list[gx.Tensor], fed: dict[Any, Array], ulp: float) -> None:
    for node, operands, expected, sizes in _steps(outputs, fed):
        if expected.size + sum(a.size for a in operands) > _NUMBER_OF_ELEMENTS_WORTH_EVALUATING:
            continue
        found = expr_eval.lowered(node, operands, sizes)
        _assert_close(node, found, expected, operands, ulp)


@pytest.mark.parametrize("op", _computing(), ids=lambda op: op.name)
def test_lowering_equals_numpy_meaning(op: Op) -> None:
    for sample in op.samples():
        built, fed = _build(op, sample, lambda k, a: a.shape)
        _check(_results(built), fed, sample.ulp)


@pytest.mark.parametrize("op", _computing(), ids=lambda op: op.name)
def test_lowering_with_symbolic_sizes(op: Op) -> None:
    """The same rules serve named sizes; a sample that needs fixed ones refuses while it is built."""
    for sample in op.samples():
        try:
            built, fed = _build(op, sample, _symbolic_shape)
        except GraphcError:
            continue
        _check(_results(built), fed, sample.ulp)


def _symbolic_shape(k: int, a: Array) -> tuple[Any, ...]:
    # A size of 1 stays fixed, since only a fixed 1 broadcasts.
    return tuple(n if n == 1 else f"d{k}_{axis}" for axis, n in enumerate(a.shape))


@pytest.mark.parametrize("op", _computing(), ids=lambda op: op.name)
def test_sample_gives_the_expected_value(op: Op) -> None:
    for sample in op.samples():
        if sample.expected is None:
            continue
        built, fed = _build(op, sample, lambda k, a: a.shape)
        found = gx.evaluate(built, fed)
        with np.errstate(all="ignore"):
            expected = sample.expected(*sample.inputs) if callable(sample.expected) else sample.expected
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12, err_msg=op.name)


@pytest.mark.parametrize("op", _computing(), ids=lambda op: op.name)
def test_first_sample_in_every_dtype(op: Op) -> None:
    sample = next(iter(op.samples()), None)
    if sample is None:
        return
    for dtype in op.dtypes:
        cast = [a.astype(dtype) if a.dtype.kind == "f" else a for a in sample.inputs]
        same = Sample(tuple(cast), sample.kwargs, call=sample.call, ulp=sample.ulp)
        built, fed = _build(op, same, lambda k, a: a.shape)
        _check(_results(built), fed, same.ulp)


@pytest.mark.parametrize("op", _computing(), ids=lambda op: op.name)
def test_mistakes_are_named(op: Op) -> None:
    for mistake in op.errors():
        with pytest.raises(mistake.error) as caught:
            mistake.build()
        message = str(caught.value)
        assert mistake.match in message, message
        assert isinstance(caught.value, GraphcError), message
        assert len(message.splitlines()) <= 3, message
        assert f"{__file__}:" in message, f"the user's line is missing: {message}"
