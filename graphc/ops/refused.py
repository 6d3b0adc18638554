"""NumPy functions whose result size depends on data: refused with what to use instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from graphc.errors import UnsupportedError, caller

__all__ = [
    "argwhere",
    "compress",
    "extract",
    "flatnonzero",
    "masked_select",
    "nonzero",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]

_MASK = "gx.where(mask, x, y), x * mask, or gx.top_k for a fixed number of elements"
_DISTINCT = "gx.sort with gx.where on equal neighbours, or gx.one_hot(x, num_classes) summed to counts"

_DOC = """Raise an error that names what to use instead: {instead}.

Parameters
----------
*args, **kwargs
    Whatever NumPy's function takes.

Returns
-------
Never

Raises
------
UnsupportedError
    Always.

Examples
--------
>>> import graphc as gx
>>> try:
...     gx.{name}(gx.placeholder("x", shape=("n",)))
... except gx.errors.UnsupportedError as error:
...     print(error.what)
{name}: the size of the result depends on data, which a static graph cannot express
"""


def _refuse(name: str, instead: str) -> Callable[..., NoReturn]:
    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise UnsupportedError(
            f"{name}: the size of the result depends on data, which a static graph cannot express",
            expected=instead,
            given=f"gx.{name}(...)",
            where=caller(),
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(name=name, instead=instead)
    return function


nonzero = _refuse("nonzero", _MASK)
argwhere = _refuse("argwhere", _MASK)
flatnonzero = _refuse("flatnonzero", _MASK)
compress = _refuse("compress", _MASK)
extract = _refuse("extract", _MASK)
masked_select = _refuse("masked_select", _MASK)
unique = _refuse("unique", _DISTINCT)
unique_all = _refuse("unique_all", _DISTINCT)
unique_counts = _refuse("unique_counts", _DISTINCT)
unique_inverse = _refuse("unique_inverse", _DISTINCT)
unique_values = _refuse("unique_values", _DISTINCT)
