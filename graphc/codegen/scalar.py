"""How each scalar function and constant is written in kernel code: one table.

Kernel code is Python on NumPy scalars as Numba types it.  Numba widens small integers to
int64, so results of integer arithmetic are cast back, which also gives NumPy's wrap-around.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from graphc.codegen import devicelib, mathlib
from graphc.types import BOOL, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, DType, is_float

SHORT = {
    BOOL: "b1",
    INT8: "i8",
    INT16: "i16",
    INT32: "i32",
    INT64: "i64",
    UINT8: "u8",
    FLOAT32: "f32",
    FLOAT64: "f64",
}
"""Short names of dtypes in kernel code; by the dtypes, since NumPy spells out their names each time."""

_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "floordiv": "//",
    "mod": "%",
    "bitand": "&",
    "bitor": "|",
    "bitxor": "^",
    "shl": "<<",
    "shr": ">>",
}
_COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_LOGIC = {"and": "({0} & {1})", "or": "({0} | {1})", "xor": "({0} != {1})", "not": "({0} == False)"}
_ANY = {
    "neg": "(-{0})",
    "where": "({1} if {0} else {2})",
    "isnan": "({0} != {0})",
    "isinf": "(fabs_{t}({0}) == {inf})",
    "isfinite": "(fabs_{t}({0}) < {inf})",
}
_FLOAT = {
    "max": "maximum_{t}({0}, {1})",
    "min": "minimum_{t}({0}, {1})",
    "abs": "fabs_{t}({0})",
    "sqrt": "sqrt_{t}({0})",
    "rsqrt": "({one} / sqrt_{t}({0}))",
    "floor": "floor_{t}({0})",
    "ceil": "ceil_{t}({0})",
    "trunc": "trunc_{t}({0})",
    "rint": "rint_{t}({0})",
    "copysign": "copysign_{t}({0}, {1})",
    "sign": "(({zero} if {0} == {zero} else copysign_{t}({one}, {0})) if {0} == {0} else {0})",
    "floordiv": "floor_{t}({0} / {1})",
    "bits": "{t}_as_{bits}({0})",
}
_INTEGER = {
    "max": "({0} if {0} > {1} else {1})",
    "min": "({0} if {0} < {1} else {1})",
    "abs": "({0} if {0} >= 0 else -{0})",
    "sign": "(({0} > 0) - ({0} < 0))",
    "bitnot": "(~{0})",
    "pow": "power_i64(i64({0}), i64({1}))",
    "isnan": "False",
    "isinf": "False",
    "isfinite": "True",
    "floor": "{0}",
    "ceil": "{0}",
    "trunc": "{0}",
    "rint": "{0}",
    "bits": "{t}_as_{bits}({0})",
}
_BOOL = {
    "bitand": "({0} & {1})",
    "bitor": "({0} | {1})",
    "bitxor": "({0} != {1})",
    "bitnot": "({0} == False)",
    "max": "({0} | {1})",
    "min": "({0} & {1})",
    "add": "({0} | {1})",
    "mul": "({0} & {1})",
}

# What the bits of a value are read as.
_BITS = {"f32": "i32", "i32": "f32", "f64": "i64", "i64": "f64"}

# Calls whose repetition costs more than a trip through the L1 cache.
_CHEAP = (
    frozenset(_INFIX)
    | frozenset(_COMPARE)
    | frozenset(_LOGIC)
    | frozenset(_ANY)
    | {"max", "min", "abs", "floor", "ceil", "trunc", "rint", "copysign", "sign", "bitnot", "bits"}
) - {"div", "mod", "floordiv", "pow"}


def is_expensive(fn: str) -> bool:
    """Tell whether recomputing `fn` costs more than keeping its result."""
    return fn not in _CHEAP


def literal(value: Any, dtype: DType) -> str:
    """Return a constant in kernel code, typed as `dtype`."""
    short = SHORT[dtype]
    if short == "b1":
        return "True" if value else "False"
    if short == "i64":
        return str(value) if value >= 0 else f"({value})"
    if not is_float(dtype):
        return f"{short}({value})"
    if math.isnan(value):
        # The quiet NaN by its bits: kernel code has no literal for it.
        return "i32_as_f32(2143289344)" if short == "f32" else "i64_as_f64(9221120237041090560)"
    text = ("-" if value < 0 else "") + "1e999" if math.isinf(value) else repr(float(value))
    return f"{short}({text})"


def render(fn: str, args: tuple[str, ...], operand: DType, result: DType) -> str:
    """Return the call of scalar function `fn` on operand texts of dtype `operand`.

    Raises
    ------
    KeyError
        If kernel code has no such function for the dtype.
    """
    if fn in _COMPARE:
        return f"({args[0]} {_COMPARE[fn]} {args[1]})"
    if fn in _LOGIC and str(operand) == "bool":
        return _LOGIC[fn].format(*args)
    template = _template(fn, operand)
    short = SHORT[operand]
    text = template.format(
        *args,
        t=short,
        zero=literal(0, operand),
        one=literal(1, operand),
        inf=f"{short}(1e999)",
        bits=_BITS.get(short, short),
    )
    narrow = result.kind in "iu" and str(result) != "int64" and fn != "where"
    return f"{SHORT[result]}({text})" if narrow else text


def library_function(fn: str, dtype: DType) -> FunctionType | None:
    """Return the device function that `render` calls for `fn`, None where it writes operators instead.

    Examples
    --------
    >>> from graphc.types import FLOAT32
    >>> library_function("exp", FLOAT32).__name__, library_function("sqrt", FLOAT32)
    ('exp_f32', None)
    """
    return None if fn in _inline(dtype) else _library(f"{fn}_{SHORT[dtype]}")


def _inline(dtype: DType) -> Mapping[str, str]:
    return _FLOAT if is_float(dtype) else _BOOL if dtype == BOOL else _INTEGER


def _template(fn: str, dtype: DType) -> str:
    if fn in _inline(dtype):
        return _inline(dtype)[fn]
    library = library_function(fn, dtype)
    if library is not None:
        places = ", ".join(f"{{{k}}}" for k in range(library.__code__.co_argcount))
        return f"{fn}_{{t}}({places})"
    if fn in _ANY:
        return _ANY[fn]
    return f"({{0}} {_INFIX[fn]} {{1}})"


def _library(name: str) -> FunctionType | None:
    found = (getattr(module, name, None) for module in (mathlib, devicelib))
    return next((function for function in found if function is not None), None)


def stored(text: str, dtype: DType) -> str:
    """Return a value as its buffer keeps it: a bool is a byte in memory."""
    return f"u8({text})" if str(dtype) == "bool" else text


def convert(text: str, source: DType, target: DType) -> str:
    """Return `text` converted from `source` to `target` as NumPy's ``astype`` does."""
    if str(target) == "bool":
        return f"({text} != {literal(0, source)})"
    if str(source) == "bool":
        one, zero = literal(1, target), literal(0, target)
        return f"({one} if {text} else {zero})"
    return f"{SHORT[target]}({text})"
