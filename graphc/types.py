"""Tensor types: a shape of dimensions and a dtype, and the rules that join them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import DTypeError, caller

DType = np.dtype[Any]

BOOL = np.dtype(np.bool_)
INT8, INT16 = np.dtype(np.int8), np.dtype(np.int16)
INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)
UINT8 = np.dtype(np.uint8)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

DTYPES: tuple[DType, ...] = (BOOL, INT8, INT16, INT32, INT64, UINT8, FLOAT32, FLOAT64)
INTEGERS: tuple[DType, ...] = (INT8, INT16, INT32, INT64, UINT8)
FLOATS: tuple[DType, ...] = (FLOAT32, FLOAT64)
NUMERIC: tuple[DType, ...] = INTEGERS + FLOATS

Scalar = bool | int | float


def as_dtype(dtype: object) -> DType:
    """Return `dtype` as one of the dtypes graphc has.

    Raises
    ------
    DTypeError
        If it is not a dtype, or one that graphc does not have.
    """
    found: DType | None = None
    with suppress(TypeError):
        # None is float64 to NumPy, and an accident here.
        found = np.dtype(cast("Any", dtype)) if dtype is not None else None
    if found is None or found not in DTYPES:
        raise DTypeError(
            f"dtype {_shown(dtype)} is not supported",
            expected="one of " + ", ".join(str(d) for d in DTYPES),
            given=_shown(dtype),
            where=caller(),
        )
    return found


def _shown(dtype: object) -> str:
    return str(dtype) if isinstance(dtype, np.dtype) else repr(dtype)


def is_float(dtype: DType) -> bool:
    """Tell whether `dtype` is float32 or float64."""
    return dtype.kind == "f"


def is_integer(dtype: DType) -> bool:
    """Tell whether `dtype` is a signed or unsigned integer (bool is neither)."""
    return dtype.kind in "iu"


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and dtype of a tensor; prints as ``float32[batch, 784]``."""

    shape: Shape
    dtype: DType

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """Number of elements."""
        return dims.product(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    def concrete(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape with every named dimension replaced by its size."""
        return tuple(dims.evaluate(d, sizes) for d in self.shape)


@dataclass(frozen=True, slots=True)
class TupleType(TensorType):
    """Type of a fused node with several results; they are read through `item` nodes.

    Its own shape and dtype are those of the first result.
    """

    items: tuple[TensorType, ...]

    @classmethod
    def of(cls, items: tuple[TensorType, ...]) -> TupleType:
        """Return the type of `items`, of which there is at least one."""
        return cls(items[0].shape, items[0].dtype, items)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))})"


def has_float(type: TensorType) -> bool:
    """Tell whether a value, or one of several results, is float32 or float64."""
    items = type.items if isinstance(type, TupleType) else (type,)
    return any(is_float(t.dtype) for t in items)
