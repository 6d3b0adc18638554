"""Samples that every elementwise op must survive: shapes 0, 1, odd; extremes of every dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.ops.op import Sample
from graphc.types import BOOL, FLOAT64, INT8, INT64, UINT8, DType

Domain = tuple[float, float]
Array = np.ndarray[Any, Any]

_SHAPES = (((3, 5), (3, 5)), ((0, 4), (1, 4)), ((1,), (7,)), ((2, 1, 3), (4, 1)), ((), (3,)))
_SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, np.inf, -np.inf, np.nan])


def quiet(meaning: Callable[..., Any]) -> Callable[..., Any]:
    """Return `meaning` without NumPy's floating-point warnings."""

    def call(*arrays: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            return meaning(*arrays, **kwargs)

    return call


def integers(dtype: DType) -> Array:
    """Return small, negative and extreme values of an integer dtype."""
    info = np.iinfo(dtype)
    around = [v for v in (-7, -3, -1, 0, 1, 2, 3, 7) if v >= info.min]
    return np.array([info.min, info.min + 1, *around, info.max - 1, info.max], dtype)


def default_samples(
    arity: int,
    expected: Callable[..., Any],
    dtypes: Sequence[DType],
    domain: Domain = (0.3, 2.7),
    kwargs: Mapping[str, Any] | None = None,
) -> Iterable[Sample]:
    """Yield samples of an elementwise op of one or two operands.

    Parameters
    ----------
    arity : int
        Number of operands, 1 or 2.
    expected : callable
        Expected result from the operands.
    dtypes : sequence of dtype
        What the op takes.
    domain : pair of float
        Interval of the samples that are differentiated numerically.
    kwargs : dict, optional
        Parameters of the public function; also given to `expected`.
    """
    given = dict(kwargs or {})
    rng = np.random.default_rng(7)
    dtype = FLOAT64 if FLOAT64 in dtypes else INT64

    def meaning(*arrays: Array) -> Any:
        return quiet(expected)(*arrays, **given)

    for shapes in _SHAPES:
        drawn = tuple(rng.uniform(*domain, shape).astype(dtype) for shape in shapes[:arity])
        yield Sample(drawn, given, expected=meaning)
    extremes = [d for d in (INT8, UINT8, INT64) if d in dtypes]
    tables = [integers(d) for d in extremes] + [np.array([False, True])] * (BOOL in dtypes)
    for values in [_SPECIAL] * (FLOAT64 in dtypes) + tables:
        pair = (values[:, None], values[None, :]) if arity == 2 else (values,)
        yield Sample(pair, given, expected=meaning, differentiable=False)
