"""How many floating-point operations a scalar function takes, counted in its own code."""

from __future__ import annotations

import functools
import re

from graphc.codegen import scalar
from graphc.frontend.library import specialized
from graphc.frontend.types import STORAGE
from graphc.frontend.writer import Function, Value
from graphc.types import DType, is_float

__all__ = ["counted", "operations"]

# Choices, changes of sign, comparisons and questions: no arithmetic.
_FREE = frozenset(
    (
        "where",
        "neg",
        "abs",
        "copysign",
        "sign",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
        "isnan",
        "isinf",
        "isfinite",
    )
)
# Written as several operators; anything else that is no device function is one.
_SEVERAL = {"rsqrt": 2, "floordiv": 2, "mod": 3}
_ONE = re.compile(r"= (?:f(?:add|sub|mul|div|rem)\b|.*@llvm\.(?:sqrt|rint|floor|ceil|trunc|m(?:ax|in)\w*)\.)")
_TWO = re.compile(r"@llvm\.fma(?:uladd)?\.")


@functools.cache
def operations(fn: str, dtype: DType) -> int:
    """Return how many additions, multiplications and the like one call takes; 0 for integers.

    A fused multiply-add counts as two.  The vector math library has no branches, so what its code
    says is what every element costs.

    Parameters
    ----------
    fn : str
        A scalar function of expressions: see `graphc.lower.expr.call`.
    dtype : dtype
        Of its operands.

    Examples
    --------
    >>> from graphc.types import FLOAT32, INT64
    >>> operations("add", FLOAT32), operations("exp", FLOAT32) > 10, operations("add", INT64)
    (1, True, 0)
    """
    if not is_float(dtype) or fn in _FREE:
        return 0
    function = scalar.library_function(fn, dtype)
    if function is None:
        return _SEVERAL.get(fn, 1)
    kind = STORAGE[str(dtype)]
    operands = tuple(Value(kind, f"%x{k}") for k in range(function.__code__.co_argcount))
    return counted(specialized(function, operands))


@functools.cache
def counted(function: Function) -> int:
    """Return how many operations the code of a function holds, those of the functions it calls included."""
    own = len(_ONE.findall(function.text)) + 2 * len(_TWO.findall(function.text))
    callees = {callee.symbol: callee for callee in function.callees}
    return own + sum(function.text.count(f"@{name}(") * counted(f) for name, f in callees.items())
