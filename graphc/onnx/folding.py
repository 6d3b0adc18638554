"""Shape arithmetic on sizes that have names, done while a model is imported.

Where an operand holds named sizes, a rule of the table here computes the result on arrays of
dimensions; what follows from numbers alone takes the ordinary way and is evaluated when a
converter asks for it.  A rule gives None where the result cannot be expressed or proven, and the
node is then computed when the program runs, as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, SymbolicDim
from graphc.onnx.call import Call
from graphc.onnx.elements import BOOLEAN, INTEGER, Element
from graphc.onnx.values import Value, dimensions

Array = np.ndarray[Any, Any]
Rule = Callable[..., Any]
# Shapes have few elements; longer lists are data.
LONGEST = 64


def fold(call: Call) -> Value | None:
    """Return the result of a node on named sizes, or None if it is to be computed as any other."""
    rule = _RULES.get(call.name)
    values = [v for v in call.inputs if v is not None]
    if rule is None or not all(isinstance(v, Value) for v in values) or not any(v.symbolic for v in values):
        return None
    operands = [None if v is None else v.known() for v in call.inputs]
    needed = [a for v, a in zip(call.inputs, operands, strict=True) if v is not None]
    if any(a is None or a.size > LONGEST for a in needed):
        return None
    found = rule(call, *operands)
    if found is None:
        return None
    call.check_attributes()
    array, element = found if isinstance(found, tuple) else (found, values[0].element)
    return Value(element, known=array if array.dtype == bool else dimensions(array.astype(object)))


# ----------------------------------------------------------------- arithmetic
def _pairwise(compute: Callable[[Dim, Dim], Any]) -> Rule:
    """Return the rule that computes elementwise, on operands that broadcast."""

    def rule(call: Call, a: Array, b: Array) -> Array | None:
        pairs = np.broadcast(a.astype(object), b.astype(object))
        found = [compute(x, y) for x, y in pairs]
        return None if any(f is None for f in found) else _array(found, pairs.shape)

    return rule


def _array(items: list[Any], shape: tuple[int, ...]) -> Array:
    # Not np.array(items): NumPy would ask dimensions whether they are sequences.
    found = np.empty(len(items), object)
    found[:] = items
    return found.reshape(shape)


def _is_positive(dim: Dim) -> bool:
    least = dims.lower_bound(dim)
    return least is not None and least > 0


def _is_natural(dim: Dim) -> bool:
    least = dims.lower_bound(dim)
    return least is not None and least >= 0


def _divide(a: Dim, b: Dim) -> Dim | None:
    # Integers are divided towards zero, which is the floor where nothing is negative.
    return a // b if _is_natural(a) and (_is_positive(b) or isinstance(b, SymbolicDim)) else None


def _remainder(a: Dim, b: Dim) -> Dim | None:
    return a - dims.floordiv(a, b) * b if _is_natural(a) and _is_positive(b) else None


def _extremum(choose: Callable[[Dim, Dim], Dim]) -> Rule:
    def rule(call: Call, *operands: Array) -> Array | None:
        found: Array | None = operands[0]
        for other in operands[1:]:
            found = None if found is None else _pairwise(choose)(call, found, other)
        return found

    return rule


def _compare(decide: Callable[[Dim, Dim], bool | None]) -> Rule:
    """Return the rule of a comparison; only what holds for all sizes is decided."""
    inner = _pairwise(decide)

    def rule(call: Call, a: Array, b: Array) -> Any:
        found = inner(call, a, b)
        return None if found is None else (found.astype(bool), BOOLEAN)

    return rule


def _equal(a: Dim, b: Dim) -> bool | None:
    if a == b:
        return True
    return False if _less(a, b) or _less(b, a) else None


def _less(a: Dim, b: Dim) -> bool | None:
    if _is_positive(b - a):
        return True
    return False if _is_natural(a - b) else None


def _negative(call: Call, a: Array) -> Array:
    return -a


def _product(call: Call, a: Array, axes: Array | None = None) -> Array | None:
    keep = call.flag("keepdims", True)
    call.flag("noop_with_empty_axes")
    given = call.integers("axes", None)
    if a.ndim != 1 or axes is not None or given not in (None, (0,), (-1,)):
        return None
    return _array([dims.product(tuple(a))], (1,) if keep else ())


def _sum(call: Call, *operands: Array) -> Array | None:
    found = operands[0].astype(object)
    for other in operands[1:]:
        found = found + other
    return found


# ------------------------------------------------------------ moving elements
def _gather(call: Call, a: Array, indices: Array) -> Array | None:
    axis = call.integer("axis", 0)
    return None if a.ndim != 1 or axis not in (0, -1) else np.asarray(_picked(a, indices))


def _picked(a: Array, indices: Array) -> Array:
    found = np.empty(indices.shape, object)
    found[...] = a[indices.astype(np.int64)]
    return found


def _concat(call: Call, *operands: Array) -> Array | None:
    axis = call.integer("axis", 0)
    return np.concatenate([o.astype(object) for o in operands], axis)


def _unsqueeze(call: Call, a: Array, axes: Array | None = None) -> Array:
    given = call.integers("axes", ()) if axes is None else tuple(int(n) for n in axes.ravel())
    return np.expand_dims(a, given)


def _squeeze(call: Call, a: Array, axes: Array | None = None) -> Array:
    given = call.integers("axes", None) if axes is None else tuple(int(n) for n in axes.ravel())
    return np.squeeze(a, given)


def _reshape(call: Call, a: Array, shape: Array) -> Array | None:
    call.flag("allowzero")
    return None if shape.dtype == object else a.reshape([int(n) for n in shape])


def _slice(call: Call, a: Array, *bounds: Array | None) -> Array | None:
    given: list[Any] = list(bounds) or [call.integers(n, None) for n in ("starts", "ends", "axes")]
    given += [None] * (4 - len(given))
    starts, ends, axes, steps = given
    if a.ndim != 1 or any(b is not None and np.asarray(b).dtype == object for b in given):
        return None
    if axes is not None and list(np.ravel(axes)) not in ([0], [-1]):
        return None
    step = 1 if steps is None else int(np.ravel(steps)[0])
    return a[slice(int(np.ravel(starts)[0]), _stop(int(np.ravel(ends)[0]), step, len(a)), step)]


def _stop(end: int, step: int, size: int) -> int | None:
    """Return the end of a slice as Python takes it: before the first element there is None."""
    return None if step < 0 and end < -size else end


def _cast(call: Call, a: Array) -> Any:
    call.flag("saturate", True)
    call.text("round_mode", "up")
    return (a, INTEGER) if call.integer("to", 0) == INTEGER.code else None


def _expand(call: Call, a: Array, shape: Array) -> Array | None:
    if shape.dtype == object:
        return None
    return np.array(np.broadcast_to(a, np.broadcast_shapes(a.shape, tuple(int(n) for n in shape))))


def _where(call: Call, condition: Array, a: Array, b: Array) -> tuple[Array, Element] | None:
    if condition.dtype != bool:
        return None
    return np.where(condition, a.astype(object), b.astype(object)), call.element(1)


def _same(call: Call, a: Array) -> Array:
    return a


_RULES: dict[str, Rule] = {
    "Add": _pairwise(lambda a, b: a + b),
    "Sub": _pairwise(lambda a, b: a - b),
    "Mul": _pairwise(lambda a, b: a * b),
    "Div": _pairwise(_divide),
    "Mod": _pairwise(_remainder),
    "Max": _extremum(dims.maximum),
    "Min": _extremum(dims.minimum),
    "Neg": _negative,
    "Sum": _sum,
    "ReduceProd": _product,
    "Equal": _compare(_equal),
    "Less": _compare(_less),
    "Greater": _compare(lambda a, b: _less(b, a)),
    "Gather": _gather,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Slice": _slice,
    "Cast": _cast,
    "Expand": _expand,
    "Where": _where,
    "Identity": _same,
}
