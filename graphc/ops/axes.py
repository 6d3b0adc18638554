"""What users write for axes and shapes, turned into what attributes hold.

Attributes hold non-negative axes and dimensions; users write negative axes, NumPy
integers, single numbers for one-element tuples and names of symbolic sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, TypeGuard

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, caller

ShapeLike = int | str | Dim | Sequence[int | str | Dim]


def normalize_axis(axis: Any, ndim: int, op: str) -> int:
    """Return `axis` as a non-negative int.

    Raises
    ------
    ArgumentError
        If it is not an int, or not an axis of `ndim` dimensions.
    """
    if not is_int(axis):
        raise ArgumentError(f"{op}: bad axis", expected="an int", given=repr(axis), where=caller())
    if -ndim <= axis < ndim:
        return int(axis) % ndim
    raise ArgumentError(
        f"{op}: axis out of range",
        expected=f"{-ndim} to {ndim - 1}" if ndim else "an operand with at least one dimension",
        given=str(axis),
        where=caller(),
    )


def normalize_axes(axes: Any, ndim: int, op: str) -> tuple[int, ...]:
    """Return an int or a sequence of ints as distinct non-negative axes, in the order given."""
    listed = (axes,) if is_int(axes) else axes
    if not isinstance(listed, (tuple, list)):
        raise ArgumentError(
            f"{op}: bad axes", expected="an int or a tuple of ints", given=repr(axes), where=caller()
        )
    found = tuple(normalize_axis(a, ndim, op) for a in listed)
    if len(set(found)) < len(found):
        raise ArgumentError(
            f"{op}: an axis is named twice", expected="distinct axes", given=repr(axes), where=caller()
        )
    return found


def as_shape(shape: Any, op: str, wildcard: bool = False) -> Shape:
    """Return a shape as the user wrote it as dimensions; ``-1`` stays if `wildcard`."""
    single = is_int(shape) or isinstance(shape, (str, dims.SymbolicDim))
    listed = (shape,) if single else shape
    if not isinstance(listed, (tuple, list)):
        raise ArgumentError(
            f"{op}: bad shape", expected="a size or a tuple of sizes", given=repr(shape), where=caller()
        )
    return tuple(d if wildcard and is_int(d) and d == -1 else as_dim(d, op) for d in listed)


def as_dim(d: Any, op: str) -> Dim:
    """Return one size as a dimension: an int, a name or a dimension."""
    if isinstance(d, str) and d.isidentifier():
        return dims.symbol(d)
    if isinstance(d, dims.SymbolicDim):
        return d
    if is_int(d) and d >= 0:
        return int(d)
    _bad_size(d, op)


def is_int(value: object) -> TypeGuard[int]:
    """Tell whether `value` is a Python or NumPy integer (bool is neither)."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _bad_size(d: object, op: str) -> NoReturn:
    raise ArgumentError(
        f"{op}: bad size in shape",
        expected="a non-negative int, a dimension, or a name that is a Python identifier",
        given=repr(d),
        where=caller(),
    )
