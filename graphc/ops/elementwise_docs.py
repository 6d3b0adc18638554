"""Docstrings of the public functions that `unary` and `binary` generate."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from graphc.types import BOOL, DTYPES, FLOAT64, FLOATS, DType

F = TypeVar("F", bound=Callable[..., Any])

_EXAMPLE_FLOATS = (np.array([0.25, 1.0, 2.5]), np.array([2.0, 0.5, 1.0]))
_EXAMPLE_INTS = (np.array([6, 3, 8]), np.array([3, 1, 2]))


def document(
    function: F,
    name: str,
    numpy: Callable[..., Any],
    names: tuple[str, ...],
    dtypes: Sequence[DType],
    result: DType,
    *,
    doc: str,
    notes: str,
    example: Sequence[Any] | None,
) -> F:
    """Give a generated public function its name and docstring, with a runnable example."""
    described: Any = function
    described.__name__ = described.__qualname__ = name
    described.__doc__ = "\n".join(
        [
            doc,
            "",
            "Parameters",
            "----------",
            f"{', '.join(names)} : array_like",
            f"    {_operand_text(len(names), dtypes)}",
            "",
            "Returns",
            "-------",
            "Tensor",
            f"    {_result_text(len(names), result)}",
            *(["", "Notes", "-----", notes] if notes else []),
            "",
            *_example_lines(name, numpy, len(names), dtypes, example),
        ]
    )
    return function


def _operand_text(arity: int, dtypes: Sequence[DType]) -> str:
    noun = "Operand" if arity == 1 else "Operands, which broadcast and are promoted to one dtype"
    if set(dtypes) <= set(FLOATS):
        return f"{noun}; dtypes that are not floats are converted to float64."
    if len(dtypes) == len(DTYPES):
        return f"{noun}; any dtype."
    listed = ", ".join(map(str, dtypes))
    return f"{noun}; {'any dtype but bool' if set(DTYPES) - set(dtypes) == {BOOL} else listed}."


def _result_text(arity: int, result: DType) -> str:
    shape = "Of the operand's shape" if arity == 1 else "Of the broadcast shape"
    return f"{shape}; bool." if result == BOOL else f"{shape} and dtype."


def _example_lines(
    name: str,
    numpy: Callable[..., Any],
    arity: int,
    dtypes: Sequence[DType],
    example: Sequence[Any] | None,
) -> list[str]:
    ready = _EXAMPLE_FLOATS if FLOAT64 in dtypes else _EXAMPLE_INTS
    values = [np.asarray(v) for v in example] if example is not None else list(ready[:arity])
    with np.errstate(all="ignore"):
        shown = repr(np.asarray(numpy(*values)))
    listed = ", ".join(str(v.tolist()) for v in values)
    literal = re.sub("inf|nan", r"np.\g<0>", listed)
    return [
        "Examples",
        "--------",
        ">>> import graphc as gx" if literal == listed else ">>> import graphc as gx, numpy as np",
        f">>> gx.evaluate(gx.{name}({literal}))",
        shown,
    ]
