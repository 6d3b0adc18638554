"""The bits of floats as integers, and back."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphc.errors import DTypeError, caller
from graphc.lower import expr
from graphc.lower.rules import Map
from graphc.ops.attributes import DTYPE
from graphc.ops.batching import batch_by
from graphc.ops.op import Array, ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT32, FLOAT64, INT32, INT64, DType, TensorType, as_dtype

__all__ = ["bitcast"]

_PAIRS: dict[DType, DType] = {FLOAT32: INT32, INT32: FLOAT32, FLOAT64: INT64, INT64: FLOAT64}


def bitcast(x: TensorLike, dtype: object) -> Tensor:
    """Read the bits of floats as integers of their size, or those of integers as floats.

    Parameters
    ----------
    x : array_like
        Operand.
    dtype : dtype
        int32 for float32, int64 for float64, and the other way round; or its own.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If the dtypes do not form such a pair.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.bitcast(gx.constant([1.0, -0.0], "float32"), "int32"))
    array([ 1065353216, -2147483648], dtype=int32)
    """
    t, target = as_tensor(x), as_dtype(dtype)
    if t.dtype == target:
        return t
    if _PAIRS.get(t.dtype) != target:
        raise DTypeError(
            "bitcast: no such pair of dtypes",
            expected="float32 and int32, or float64 and int64",
            given=f"{t.dtype} and {target}",
            where=caller(),
        )
    return _BITCAST(t, dtype=target)


def _rule(ctx: Infer, x: TensorType, dtype: DType) -> TensorType:
    return TensorType(x.shape, dtype)


def _numpy(x: Array, dtype: DType) -> Array:
    return np.ascontiguousarray(x).view(dtype).reshape(x.shape)


def _gradient(g: Tensor, out: Tensor, x: Tensor, dtype: DType) -> Gradients:
    return [None]


def _samples() -> Iterable[Sample]:
    numbers = np.array([[0.0, -0.0, 1.5], [np.inf, -np.inf, 1e-40]])
    for source, target in _PAIRS.items():
        values = numbers.astype(source if source.kind == "f" else target)
        given = values if source.kind == "f" else values.view(source)
        yield Sample((given,), {"dtype": target}, given.view(target), differentiable=False)
    for shape in ((), (0, 3)):
        given = np.ones(shape, FLOAT32)
        expected = np.full(shape, 0x3F800000, INT32)
        yield Sample((given,), {"dtype": INT32}, expected, differentiable=False)


_BITCAST = Op(
    "bitcast",
    _rule,
    _numpy,
    Map(lambda site, index: expr.call("bits", site.read(0, index), dtype=site.type.dtype)),
    attributes={"dtype": DTYPE},
    gradient=_gradient,
    batch=batch_by(),
    api=bitcast,
    samples=_samples,
    errors=lambda: (
        ErrorSample(lambda: bitcast(np.ones(2), "int32"), DTypeError, "no such pair"),
        ErrorSample(lambda: bitcast(np.ones(2, bool), "float32"), DTypeError, "no such pair"),
    ),
    dtypes=(),  # each sample says which two it is about
)
