"""Functions of kernel code that are one LLVM instruction or intrinsic, and therefore vectorize."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping, Sequence

from graphc.errors import KernelError
from graphc.frontend.operators import FLAGS, compare, convert, scalar_of
from graphc.frontend.types import BOOL, F32, F64, I64, SCALARS, Pointer, Scalar, common
from graphc.frontend.writer import Value, Writer

__all__ = ["INSTRUCTIONS", "Instruction"]

Instruction = Callable[[Writer, Sequence[Value]], Value]

# name in kernel code -> LLVM intrinsic
_FLOAT_OPERATIONS = {
    "floor": "llvm.floor",
    "ceil": "llvm.ceil",
    "trunc": "llvm.trunc",
    "rint": "llvm.rint",
    "fabs": "llvm.fabs",
    "sqrt": "llvm.sqrt",
    "copysign": "llvm.copysign",
    "fma": "llvm.fma",
    # IEEE 754-2019 maximum and minimum: NaN propagates, as in numpy.maximum
    "maximum": "llvm.maximum",
    "minimum": "llvm.minimum",
}
# Which of two zeros is the larger is left open, as in numpy.maximum: minding their signs would take six
# instructions in place of one to three.
_RELAXED = {"llvm.maximum": "nsz", "llvm.minimum": "nsz"}
_ARITY = {"copysign": 2, "fma": 3, "maximum": 2, "minimum": 2}
_BIT_CASTS = (("f32", "i32"), ("i32", "f32"), ("f64", "i64"), ("i64", "f64"))
# name in kernel code -> comparison under which the second operand replaces the first, as in Python
_SELECTIONS: Mapping[str, ast.cmpop] = {"min": ast.Lt(), "max": ast.Gt()}


def _cast(target: Scalar, w: Writer, arguments: Sequence[Value]) -> Value:
    (value,) = arguments
    return convert(w, value, target)


def _bit_cast(source: Scalar, target: Scalar, w: Writer, arguments: Sequence[Value]) -> Value:
    (value,) = arguments
    return w.value(target, f"bitcast {convert(w, value, source)} to {target.llvm}")


def _widest_float(arguments: Sequence[Value]) -> Scalar:
    floats = [scalar_of(a) for a in arguments if scalar_of(a).is_float]
    if not floats:
        raise KernelError("a function of floats was given none")
    return max(floats, key=lambda kind: kind.bits)


def _float_operation(
    intrinsic: str, fixed: Scalar | None, arity: int, w: Writer, arguments: Sequence[Value]
) -> Value:
    if len(arguments) != arity:
        raise KernelError(f"{intrinsic} takes {arity} operands, not {len(arguments)}")
    kind = fixed or _widest_float(arguments)
    operands = [convert(w, a, kind) for a in arguments]
    return w.intrinsic(kind, intrinsic, operands, _RELAXED.get(intrinsic, ""))


def _selection(comparison: ast.cmpop, w: Writer, arguments: Sequence[Value]) -> Value:
    first, second = arguments
    kind = common(scalar_of(first), scalar_of(second))
    if kind is None or kind == BOOL:
        raise KernelError(f"no common type of {first.type} and {second.type}")
    a, b = convert(w, first, kind), convert(w, second, kind)
    return w.value(kind, f"select {compare(w, comparison, b, a)}, {b}, {a}")


def _accumulation(instruction: str, w: Writer, arguments: Sequence[Value]) -> Value:
    """Return a step of a running sum or product, which LLVM may regroup and so run in vector lanes.

    Only accumulations carry this licence.  In ordinary arithmetic regrouping changes results
    beyond rounding: ``(x - max) - log(sum)`` may not become ``x - (max + log(sum))``.
    """
    kind = _widest_float(arguments)
    a, b = (convert(w, x, kind) for x in arguments)
    return w.value(kind, f"{instruction} reassoc nsz {FLAGS} {a}, {b.text}")


def _address(w: Writer, arguments: Sequence[Value]) -> Value:
    pointer, offset = arguments
    if not isinstance(pointer.type, Pointer):
        raise KernelError("addr() takes a pointer and an offset")
    return Value(pointer.type, w.element(pointer, convert(w, offset, I64)))


def _share(w: Writer, arguments: Sequence[Value]) -> Value:
    """Return the first unit of a block: ``share(units, block, blocks)``, none of which is negative."""
    units, block, blocks = (convert(w, a, I64) for a in arguments)
    return w.value(I64, f"udiv i64 {w.name(f'mul nuw nsw {units}, {block.text}')}, {blocks.text}")


def _digit(w: Writer, arguments: Sequence[Value]) -> Value:
    """Return ``number % extent`` for an extent that is a literal power of two.

    LLVM 22.1 takes such a remainder for a counter of few bits.  Where a wider one stands beside it, its
    loop vectorizer forgets to check that the narrow one does not wrap, and reads neighbours in the place
    of repeated elements.  An empty instruction hides the mask; it is moved out of all loops.
    """
    number, extent = arguments
    size = extent.known
    if not isinstance(size, int) or size <= 0 or size & (size - 1):
        raise KernelError("digit() takes a number and a literal power of two")
    mask = w.name(f'call i64 asm "", "=r,0"(i64 {size - 1}) memory(none) nounwind willreturn')
    return w.value(I64, f"and {convert(w, number, I64)}, {mask}")


def _absolute(w: Writer, arguments: Sequence[Value]) -> Value:
    (value,) = arguments
    kind = scalar_of(value)
    if kind.is_float:
        return w.intrinsic(kind, "llvm.fabs", [value])
    if not kind.signed:
        return value
    w.declare(kind.llvm, f"llvm.abs.i{kind.bits}", [kind.llvm, "i1"])
    return w.value(kind, f"call {kind.llvm} @llvm.abs.i{kind.bits}({value}, i1 false)")


def _float_family() -> dict[str, Instruction]:
    kinds: Mapping[str, Scalar | None] = {"": None, "_f32": F32, "_f64": F64}
    return {
        name + suffix: functools.partial(_float_operation, intrinsic, kind, _ARITY.get(name, 1))
        for name, intrinsic in _FLOAT_OPERATIONS.items()
        for suffix, kind in kinds.items()
    }


INSTRUCTIONS: Mapping[str, Instruction] = {
    "abs": _absolute,
    "addr": _address,
    "digit": _digit,
    "share": _share,
    "accumulate_sum": functools.partial(_accumulation, "fadd"),
    "accumulate_product": functools.partial(_accumulation, "fmul"),
    **{name: functools.partial(_cast, kind) for name, kind in SCALARS.items()},
    **{
        f"{source}_as_{target}": functools.partial(_bit_cast, SCALARS[source], SCALARS[target])
        for source, target in _BIT_CASTS
    },
    **{name: functools.partial(_selection, comparison) for name, comparison in _SELECTIONS.items()},
    **_float_family(),
}
"""Functions of kernel code by name."""
