"""Element types of ONNX and what carries their values in graphc.

graphc computes in eight dtypes; ONNX has more than twenty.  Each of the others travels in a
*carrier* that holds all its values exactly, and results are brought back onto the type's own
values by `Element.fit`: narrow floats are rounded, small integers wrap around.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gx
from graphc.errors import OnnxImportError, caller
from graphc.onnx.rounding import Grid, round_to
from graphc.tensor import Tensor
from graphc.types import BOOL, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, DType

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Element:
    """One element type.

    Attributes
    ----------
    name : str
        As type constraints of ONNX spell it, ``tensor(name)``.
    code : int
        Its number in ``TensorProto.DataType``.
    carrier : numpy.dtype
        What graphc computes in.
    bits : int
        Size of an element.
    grid : Grid, optional
        The values of a float type narrower than its carrier.
    """

    name: str
    code: int
    carrier: DType
    bits: int
    grid: Grid | None = None

    @property
    def native(self) -> bool:
        """Whether the carrier is the type itself."""
        return self.code in _NATIVE

    @property
    def signed(self) -> bool:
        """Whether it is an integer type with negative values."""
        return self.name.startswith("int")

    @property
    def is_float(self) -> bool:
        """Whether its values are floating-point numbers."""
        return self.carrier.kind == "f"

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type."""
        low = -(1 << (self.bits - 1)) if self.signed else 0
        return low, low + (1 << self.bits) - 1

    def fit(self, x: Tensor) -> Tensor:
        """Return `x`, computed in the carrier or wider, on the values of this type."""
        if self.grid is not None:
            return gx.astype(round_to(x, self.grid), self.carrier)
        carried = gx.astype(x, self.carrier)
        if self.native or self.bits == 64 or not _is_integer(self):
            return carried
        return self._wrapped(carried)

    def _wrapped(self, x: Tensor) -> Tensor:
        low = gx.bitwise_and(x, (1 << self.bits) - 1)
        if not self.signed:
            return low
        half = 1 << (self.bits - 1)
        return gx.subtract(gx.bitwise_xor(low, half), half)

    def carry(self, array: Array) -> Array:
        """Return an array of this type in its carrier.

        Raises
        ------
        OnnxImportError
            If a uint64 is too large for it.
        """
        if self.name == "uint64" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise OnnxImportError(
                "a uint64 is too large: graphc carries them as int64",
                expected="values below 2**63",
                given=str(array.max()),
                where=caller(),
            )
        return np.ascontiguousarray(array).reshape(array.shape).astype(self.carrier, copy=False)


def _is_integer(element: Element) -> bool:
    return element.carrier.kind in "iu"


BOOLEAN = Element("bool", 9, BOOL, 1)
FLOAT = Element("float", 1, FLOAT32, 32)
DOUBLE = Element("double", 11, FLOAT64, 64)
INTEGER = Element("int64", 7, INT64, 64)

# What each type is called, its code, its carrier and size, and the values of a narrow float.
ELEMENTS: tuple[Element, ...] = (
    BOOLEAN,
    FLOAT,
    DOUBLE,
    INTEGER,
    Element("int8", 3, INT8, 8),
    Element("int16", 5, INT16, 16),
    Element("int32", 6, INT32, 32),
    Element("uint8", 2, UINT8, 8),
    Element("uint16", 4, INT32, 16),
    Element("uint32", 12, INT64, 32),
    Element("uint64", 13, INT64, 64),
    Element("int4", 22, INT8, 4),
    Element("uint4", 21, UINT8, 4),
    Element("int2", 26, INT8, 2),
    Element("uint2", 25, UINT8, 2),
    Element("float16", 10, FLOAT32, 16, Grid(11, -14, 65504.0, overflow="inf")),
    Element("bfloat16", 16, FLOAT32, 16, Grid(8, -126, 3.3895313892515355e38, overflow="inf")),
    Element("float8e4m3fn", 17, FLOAT32, 8, Grid(4, -6, 448.0, overflow="nan")),
    Element("float8e4m3fnuz", 18, FLOAT32, 8, Grid(4, -7, 240.0, overflow="nan", signed_zero=False)),
    Element("float8e5m2", 19, FLOAT32, 8, Grid(3, -14, 57344.0, overflow="inf")),
    Element("float8e5m2fnuz", 20, FLOAT32, 8, Grid(3, -15, 57344.0, overflow="nan", signed_zero=False)),
    Element("float4e2m1", 23, FLOAT32, 4, Grid(2, 0, 6.0, overflow="largest")),
    Element("float8e8m0", 24, FLOAT32, 8, Grid(1, -127, 2.0**127, overflow="nan")),
)
# Those that are dtypes of graphc.
_NATIVE = frozenset({1, 2, 3, 5, 6, 7, 9, 11})
_BY_CODE = {e.code: e for e in ELEMENTS}
_BY_NAME = {e.name: e for e in ELEMENTS}
_BY_CARRIER = {e.carrier: e for e in ELEMENTS if e.native}
# Types that graphc has no values for, by code.
_FOREIGN = {0: "undefined", 8: "string", 14: "complex64", 15: "complex128"}


def element_of(code: int, owner: str) -> Element:
    """Return the element type with a number of ``TensorProto.DataType``.

    Raises
    ------
    OnnxImportError
        If graphc cannot carry it.

    Examples
    --------
    >>> element_of(10, "x").carrier
    dtype('float32')
    """
    found = _BY_CODE.get(code)
    if found is None:
        raise OnnxImportError(
            f"{owner}: elements of a type that graphc does not have",
            expected="numbers or bools",
            given=_FOREIGN.get(code, f"data type {code}"),
            where=caller(),
        )
    return found


def element_named(constraint: str) -> Element | None:
    """Return the element type of a type constraint such as ``tensor(float)``, if it is one."""
    return _BY_NAME.get(constraint.removeprefix("tensor(").removesuffix(")"))


def element_for(dtype: DType) -> Element:
    """Return the element type that a graphc dtype is of its own."""
    return _BY_CARRIER[dtype]
