"""Ranges and triangles: positions as values, computed where they are used, never stored."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.attributes import DIM, DTYPE, REAL, SIZE, Rule, tuple_of
from graphc.ops.axes import as_dim, is_int
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.ops.selection import where
from graphc.ops.shape import expand_dims
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, FLOAT32, FLOAT64, INT64, DType, TensorType, as_dtype

__all__ = ["arange", "eye", "linspace", "tril", "triu"]

Array = np.ndarray[Any, Any]


def arange(start: Any, stop: Any = None, step: int | float = 1, dtype: object = None) -> Tensor:
    """Return evenly spaced values from `start` up to, not including, `stop`.

    Parameters
    ----------
    start, stop : number, dimension or name
        With one argument, that is `stop` and the range begins at 0.
    step : number, default 1
        Distance of the values; not 0.
    dtype : dtype, optional
        By default int64, or float32 if a bound or the step is a float.

    Returns
    -------
    Tensor
        One-dimensional; its size may be symbolic if the step is an int.

    Raises
    ------
    ArgumentError
        If a bound is not a number or the step is 0.
    DTypeError
        If the dtype is bool.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.arange(1, 8, 3))
    array([1, 4, 7])
    >>> gx.arange("n")
    <Tensor int64[n]>
    """
    first, last = (0, start) if stop is None else (start, stop)
    bounds = tuple(_bound(b) for b in (first, last, step))
    if isinstance(bounds[2], dims.SymbolicDim) or bounds[2] == 0:
        raise ArgumentError(
            "arange: bad step", expected="a number other than 0", given=repr(step), where=caller()
        )
    whole = not any(isinstance(b, float) for b in bounds)
    kind = as_dtype(dtype) if dtype is not None else INT64 if whole else FLOAT32
    if kind == BOOL:
        raise DTypeError("arange: bad dtype", expected="a numeric dtype", given=str(kind), where=caller())
    size = _count(*bounds) if whole else _count_floats(*bounds)
    return _IOTA(size=size, start=bounds[0], step=bounds[2], dtype=kind)


def _bound(value: Any) -> Any:
    if isinstance(value, (float, np.floating)) and math.isfinite(value):
        return float(value)
    if isinstance(value, (str, dims.SymbolicDim)):
        return as_dim(value, "arange")
    if is_int(value):
        return int(value)
    raise ArgumentError(
        "arange: bad bound or step",
        expected="a finite number, a dimension or a name",
        given=repr(value),
        where=caller(),
    )


def _count(start: Dim, stop: Dim, step: int) -> Dim:
    span = stop - start if step > 0 else start - stop
    return dims.floordiv(dims.maximum(span, 0) + (abs(step) - 1), abs(step))


def _count_floats(start: float | Dim, stop: float | Dim, step: float) -> int:
    if isinstance(start, dims.SymbolicDim) or isinstance(stop, dims.SymbolicDim):
        raise ArgumentError(
            "arange: a symbolic bound with a float",
            expected="ints beside a dimension",
            given=f"{start} to {stop}, step {step}",
            where=caller(),
        )
    return max(0, math.ceil((stop - start) / step))


def _iota_numpy(size: int, start: Any, step: Any, dtype: DType) -> Array:
    values: Array = start + np.arange(size) * step
    return values.astype(dtype)


def _iota_lower(site: Site, index: Index) -> Expr:
    start, step, (i,) = site.attrs["start"], site.attrs["step"], index
    if not isinstance(start, float) and not isinstance(step, float):
        return expr.cast(i * step + expr.size(start), site.type.dtype)
    scaled = expr.cast(i, FLOAT64) * float(step) + float(start)
    return expr.cast(scaled, site.type.dtype)


def _iota_samples() -> Iterable[Sample]:
    cases: list[tuple[Any, ...]] = [(5,), (0,), (2, 9, 3), (5, 0, -2), (3, 3), (-1, 0), (7, 2)]
    for args in cases:
        for dtype in ("int64", "int8", "float32"):
            expected = np.arange(*args).astype(dtype)
            yield Sample((), {"args": args, "dtype": dtype}, expected, call=_call_arange)
    for args in [(0.0, 1.0, 0.25), (1.5, -1.0, -0.5), (0, 5, 1.5)]:
        kwargs = {"args": args, "dtype": "float32"}
        yield Sample((), kwargs, np.arange(*args, dtype="float32"), call=_call_arange)


def _call_arange(args: tuple[Any, ...], dtype: Any) -> Tensor:
    return arange(**dict(zip(("start", "stop", "step"), args, strict=False)), dtype=dtype)


_START = Rule(
    "a number or symbolic size", lambda value, use: isinstance(value, float) or DIM.holds(value, use)
)
_IOTA = Op(
    "arange",
    lambda ctx, size, start, step, dtype: TensorType((size,), dtype),
    _iota_numpy,
    Map(_iota_lower),
    attributes={"size": SIZE, "start": _START, "step": REAL, "dtype": DTYPE},
    api=arange,
    samples=_iota_samples,
    errors=lambda: (
        ErrorSample(lambda: arange(0, 5, 0), ArgumentError, "bad step"),
        ErrorSample(lambda: arange(np.inf), ArgumentError, "bad bound"),
        ErrorSample(lambda: arange("n", step=0.5), ArgumentError, "symbolic"),
        ErrorSample(lambda: arange(3, dtype="bool"), DTypeError, "bad dtype"),
    ),
    cost=0,
)


def linspace(start: float, stop: float, num: int, endpoint: bool = True, dtype: object = FLOAT32) -> Tensor:
    """Return `num` evenly spaced values over an interval.

    Parameters
    ----------
    start, stop : float
        Ends of the interval.
    num : int
        How many values.
    endpoint : bool, default True
        Whether `stop` is the last of them; else the interval is open at its end.
    dtype : dtype, default float32
        Element type.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `num` is not a non-negative int.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.linspace(0, 1, 5, dtype="float64"))
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    if not is_int(num) or num < 0:
        raise ArgumentError(
            "linspace: bad num", expected="a non-negative int", given=repr(num), where=caller()
        )
    steps = num - 1 if endpoint else num
    step = (float(stop) - float(start)) / steps if steps > 0 else 0.0
    values = _IOTA(size=int(num), start=float(start), step=step, dtype=FLOAT64)
    if endpoint and num > 1:
        # Rounding in the steps must not miss the end itself.
        values = where(arange(num) == num - 1, as_tensor(float(stop), FLOAT64), values)
    return astype(values, dtype)


# ------------------------------------------------------------------- triangles
def eye(
    n_rows: int | str | Dim, n_cols: int | str | Dim | None = None, k: int = 0, dtype: object = FLOAT32
) -> Tensor:
    """Return a matrix with ones on a diagonal and zeros elsewhere.

    Parameters
    ----------
    n_rows, n_cols : int, dimension or name
        Sizes; square if `n_cols` is left out.
    k : int, default 0
        Which diagonal: positive above the main one, negative below.
    dtype : dtype, default float32
        Element type.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.eye(2, 3, k=1, dtype="int64"))
    array([[0, 1, 0],
           [0, 0, 1]])
    """
    rows = as_dim(n_rows, "eye")
    cols = rows if n_cols is None else as_dim(n_cols, "eye")
    return _EYE(shape=(rows, cols), k=_diagonal(k, "eye"), dtype=as_dtype(dtype))


def _diagonal(k: Any, op: str) -> int:
    if is_int(k):
        return int(k)
    raise ArgumentError(f"{op}: bad diagonal k", expected="an int", given=repr(k), where=caller())


def _eye_lower(site: Site, index: Index) -> Expr:
    one, zero = (expr.const(v, site.type.dtype) for v in (1, 0))
    return expr.where((index[0] + site.attrs["k"]).eq(index[1]), one, zero)


def _eye_rule(ctx: Infer, shape: Shape, k: int, dtype: DType) -> TensorType:
    return TensorType(shape, dtype)


def _eye_samples() -> Iterable[Sample]:
    for rows, cols, k in ((3, 3, 0), (2, 4, 1), (4, 2, -2), (0, 3, 0), (1, 1, 5)):
        for dtype in ("float32", "int8", "bool"):
            kwargs = {"n_rows": rows, "n_cols": cols, "k": k, "dtype": dtype}
            yield Sample((), kwargs, expected=np.eye(rows, cols, k, dtype))


_EYE = Op(
    "eye",
    _eye_rule,
    lambda shape, k, dtype: np.eye(shape[0], shape[1], k, dtype=dtype),
    Map(_eye_lower),
    attributes={"shape": tuple_of(SIZE, count=2), "k": DIM, "dtype": DTYPE},
    api=eye,
    samples=_eye_samples,
    errors=lambda: (
        ErrorSample(lambda: eye(-1), ArgumentError, "bad size"),
        ErrorSample(lambda: eye(2, k=_NO_INT), ArgumentError, "bad diagonal"),
    ),
    cost=0,
)

_NO_INT: Any = 0.5


def tril(x: TensorLike, k: int = 0) -> Tensor:
    """Return the lower triangles of matrices; the elements above diagonal `k` become zero.

    Parameters
    ----------
    x : array_like
        Operand with two or more dimensions.
    k : int, default 0
        Diagonal up to which elements stay.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.tril(gx.constant([[1, 2], [3, 4]])))
    array([[1, 0],
           [3, 4]])
    """
    t, row, column = _grid(x, k, "tril")
    return where(column <= row, t, as_tensor(0, t.dtype))


def triu(x: TensorLike, k: int = 0) -> Tensor:
    """Return the upper triangles of matrices; the elements below diagonal `k` become zero.

    Parameters
    ----------
    x : array_like
        Operand with two or more dimensions.
    k : int, default 0
        Diagonal from which elements stay.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.triu(gx.constant([[1, 2], [3, 4]])))
    array([[1, 2],
           [0, 4]])
    """
    t, row, column = _grid(x, k, "triu")
    return where(column >= row, t, as_tensor(0, t.dtype))


def _grid(x: TensorLike, k: int, op: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return matrices, the column of diagonal `k` in every row, and every column's number."""
    t, offset = as_tensor(x), _diagonal(k, op)
    if t.ndim < 2:
        raise ShapeError(
            f"{op}: the operand has no matrices",
            expected="two or more dimensions",
            given=str(t.type),
            where=caller(),
        )
    rows, cols = t.shape[-2:]
    row = _IOTA(size=rows, start=offset, step=1, dtype=INT64)
    return t, expand_dims(row, 1), _IOTA(size=cols, start=0, step=1, dtype=INT64)
