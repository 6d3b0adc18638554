"""Tensors of one value: computed where they are used, never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.lower import expr
from graphc.lower.rules import Map
from graphc.ops.attributes import DTYPE, SHAPE, number_of
from graphc.ops.axes import ShapeLike, as_shape
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Op, Sample
from graphc.ops.shape import broadcast_to
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, FLOAT32, INT64, DType, TensorType, as_dtype

__all__ = ["full", "full_like", "ones", "ones_like", "zeros", "zeros_like"]

Array = np.ndarray[Any, Any]


def full(shape: ShapeLike, fill_value: TensorLike, dtype: object = None) -> Tensor:
    """Return a tensor filled with one value.

    Parameters
    ----------
    shape : int or tuple
        Sizes: ints, dimensions or names.
    fill_value : scalar or Tensor
        The value; a Tensor broadcasts to the shape.
    dtype : dtype, optional
        By default int64, float32 or bool after the kind of the value; a Tensor's own.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.full(("n", 3), 0.5)
    <Tensor float32[n, 3]>
    """
    target = as_shape(shape, "full")
    if not isinstance(fill_value, (bool, int, float, np.generic)):
        t = as_tensor(fill_value)
        return broadcast_to(t if dtype is None else astype(t, dtype), target)
    kind = as_dtype(dtype) if dtype is not None else _default_dtype(fill_value)
    value = fill_value.item() if isinstance(fill_value, np.generic) else fill_value
    fitted = as_tensor(value, kind).node.payload.array.item()
    return _FULL(shape=target, value=fitted, dtype=kind)


def _default_dtype(value: Any) -> DType:
    if isinstance(value, np.generic):
        return as_dtype(value.dtype)
    return BOOL if isinstance(value, bool) else INT64 if isinstance(value, int) else FLOAT32


def _full_samples() -> Iterable[Sample]:
    cases: list[tuple[tuple[int, ...], Any, Any]] = [
        ((2, 3), 1.5, "float64"),
        ((0, 2), 7, "int8"),
        ((), True, "bool"),
        ((4,), -np.inf, "float32"),
        ((1,), np.nan, "float64"),
        ((2,), 2**40, "int64"),
    ]
    for shape, value, dtype in cases:
        kwargs = {"shape": shape, "fill_value": value, "dtype": dtype}
        yield Sample((), kwargs, expected=np.full(shape, value, dtype))


_FULL = Op(
    "full",
    lambda ctx, shape, value, dtype: TensorType(shape, dtype),
    lambda shape, value, dtype: np.full(shape, value, dtype),
    Map(lambda site, index: expr.const(site.attrs["value"], site.type.dtype)),
    attributes={"shape": SHAPE, "dtype": DTYPE, "value": number_of(lambda use: use.attrs["dtype"])},
    api=full,
    samples=_full_samples,
    errors=lambda: (
        ErrorSample(lambda: full((2, -1), 0.0), ArgumentError, "bad size"),
        ErrorSample(lambda: full(2, 300, "int8"), DTypeError, "does not fit"),
        ErrorSample(lambda: full(2, 0, "complex64"), DTypeError, "not supported"),
    ),
    cost=0,
)


def _filled(value: int, name: str) -> Callable[..., Tensor]:
    def function(shape: ShapeLike, dtype: object = FLOAT32) -> Tensor:
        return full(as_shape(shape, name), value, dtype)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Return a tensor of {name}.

    Parameters
    ----------
    shape : int or tuple
        Sizes: ints, dimensions or names.
    dtype : dtype, default float32
        Element type.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.{name}(2, dtype="int64"))
    array([{value}, {value}])
    """
    return function


zeros = _filled(0, "zeros")
ones = _filled(1, "ones")


def full_like(x: TensorLike, fill_value: TensorLike, dtype: object = None) -> Tensor:
    """Return a tensor of the shape of another, filled with one value.

    Parameters
    ----------
    x : array_like
        Gives the shape, and the dtype unless `dtype` does.
    fill_value : scalar or Tensor
        The value.
    dtype : dtype, optional
        Element type.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.full_like(gx.constant([1, 2]), 7))
    array([7, 7])
    """
    t = as_tensor(x)
    return full(t.shape, fill_value, t.dtype if dtype is None else dtype)


def zeros_like(x: TensorLike, dtype: object = None) -> Tensor:
    """Return zeros of the shape of another tensor.

    Parameters
    ----------
    x : array_like
        Gives the shape, and the dtype unless `dtype` does.
    dtype : dtype, optional
        Element type.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.zeros_like(gx.placeholder("x", shape=("n", 3)))
    <Tensor float32[n, 3]>
    """
    return full_like(x, 0, dtype)


def ones_like(x: TensorLike, dtype: object = None) -> Tensor:
    """Return ones of the shape of another tensor.

    Parameters
    ----------
    x : array_like
        Gives the shape, and the dtype unless `dtype` does.
    dtype : dtype, optional
        Element type.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.ones_like(gx.placeholder("x", shape=("n", 3)))
    <Tensor float32[n, 3]>
    """
    return full_like(x, 1, dtype)
