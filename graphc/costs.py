"""What a rewriting saves and costs, estimated from static sizes.

A few rates and no simulation: the passes that use it decide between orders of magnitude,
and every estimate is kept in the stage's record, where it can be compared with a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.dims import Dim, Shape
from graphc.types import TensorType

__all__ = ["Estimate", "copied", "elements", "launched", "multiplied", "packed", "read", "transposed"]

# Per microsecond, on one core of a current x86 server; only their ratios matter.
MULTIPLICATIONS = 100_000.0
NEAR_BYTES, FAR_BYTES = 90_000.0, 20_000.0
PACKED_ELEMENTS = 7_000.0
TRANSPOSED_ELEMENTS = 2_500.0
# Microseconds from one kernel to the next, the threads' barrier included.
LAUNCH = 1.0
# Bytes that a core's own caches keep from one kernel to the next; what is larger lies far.
NEAR = 1 << 20
# A register tile is this wide at least: narrower results waste the rest.
LANES = 16
# What is saved must be so many times what is spent.
MARGIN = 1.5
# What a named size counts as.
NAMED = 32


@dataclass(frozen=True)
class Estimate:
    """Microseconds that a rewriting saves and spends per call.

    Examples
    --------
    >>> gain = Estimate(saved=40.0, spent=12.5)
    >>> gain.pays, str(gain)
    (True, 'saves 40.0 us, costs 12.5 us')
    """

    saved: float
    spent: float

    @property
    def pays(self) -> bool:
        """Whether clearly more is saved than spent: estimates are rough."""
        return self.saved > MARGIN * self.spent

    def __str__(self) -> str:
        return f"saves {self.saved:.1f} us, costs {self.spent:.1f} us"


def elements(shape: Shape) -> int:
    """Return how many elements a shape has, named sizes counted as `NAMED`.

    Examples
    --------
    >>> from graphc import dims
    >>> elements((dims.symbol("batch"), 10))
    320
    """
    count = 1
    for d in shape:
        count *= extent(d)
    return count


def extent(d: Dim) -> int:
    """Return a size, a named one as `NAMED`."""
    return d if isinstance(d, int) else NAMED


def launched(kernels: int) -> float:
    """Return the microseconds that starting so many kernels takes."""
    return kernels * LAUNCH


def read(*types: TensorType) -> float:
    """Return the microseconds it takes to read values of these types, one after the other.

    Examples
    --------
    >>> from graphc.types import FLOAT32
    >>> near, far = TensorType((450, 100), FLOAT32), TensorType((1000, 1000), FLOAT32)
    >>> read(near), read(far)
    (2.0, 200.0)
    """
    size = sum(elements(t.shape) * t.dtype.itemsize for t in types)
    return size / (NEAR_BYTES if size <= NEAR else FAR_BYTES)


def copied(*types: TensorType) -> float:
    """Return the microseconds it takes to read and write values of these types once."""
    return 2 * read(*types)


def packed(type: TensorType) -> float:
    """Return the microseconds it takes to bring a matrix into another order, element by element."""
    return elements(type.shape) / PACKED_ELEMENTS


def transposed(type: TensorType) -> float:
    """Return the microseconds it takes to store a matrix transposed."""
    return elements(type.shape) / TRANSPOSED_ELEMENTS


def multiplied(rows: int, cols: int, inner: int) -> float:
    """Return the microseconds that a matrix product takes, without starting its kernel."""
    wide = -(-cols // LANES) * LANES
    return rows * wide * inner / MULTIPLICATIONS
