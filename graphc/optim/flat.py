"""Several tensors as one vector, which is what methods of numerical optimization work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.dims import Dim
from graphc.errors import ArgumentError, caller
from graphc.ops import abs, concat, max, reshape
from graphc.tensor import Tensor
from graphc.types import DType, TensorType, is_float

__all__ = ["Flat", "dot", "largest"]


@dataclass(frozen=True)
class Flat:
    """The way from tensors to a vector and back.

    Attributes
    ----------
    types : tuple of TensorType
        Those of the tensors, of one floating dtype.
    """

    types: tuple[TensorType, ...]

    @classmethod
    def of(cls, owner: str, tensors: Sequence[Tensor]) -> Flat:
        """Return the way for tensors like these.

        Raises
        ------
        ArgumentError
            In the name of `owner`, unless all are of one floating dtype.
        """
        kinds = list(dict.fromkeys(t.dtype for t in tensors))
        if len(kinds) != 1 or not is_float(kinds[0]):
            raise ArgumentError(
                f"{owner}: the values are not of one floating dtype",
                expected="all float32, or all float64",
                given=", ".join(map(str, kinds)) or "no values",
                where=caller(),
            )
        return cls(tuple(t.type for t in tensors))

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.types[0].dtype

    @property
    def size(self) -> Dim:
        """The length of the vector."""
        total: Dim = 0
        for type in self.types:
            total = total + type.size
        return total

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the vector of all elements in order."""
        rows = [reshape(t, (type.size,)) for t, type in zip(tensors, self.types, strict=True)]
        return rows[0] if len(rows) == 1 else concat(rows)

    def split(self, vector: Tensor) -> list[Tensor]:
        """Return the tensors whose elements a vector holds."""
        if len(self.types) == 1:
            return [reshape(vector, self.types[0].shape)]
        parts: list[Tensor] = []
        start: Dim = 0
        for type in self.types:
            parts.append(reshape(vector[start : start + type.size], type.shape))
            start = start + type.size
        return parts


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of two vectors."""
    return (a * b).sum()


def largest(vector: Tensor) -> Tensor:
    """Return the largest magnitude of an element."""
    return max(abs(vector))
