"""Operations of kernel code that are one LLVM instruction or intrinsic, as Numba's extensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from graphc.frontend.types import Pointer
from graphc.frontend.writer import Function

__all__ = ["INTRINSICS", "tile_call"]

_ELEMENTS = {"f32": types.float32, "f64": types.float64, "i64": types.int64}
_FLOATS = {"f32": types.float32, "f64": types.float64}
_LLVM_SUFFIX = {types.float32: "f32", types.float64: "f64"}
_LLVM_TYPES = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
}
# name in kernel code -> (LLVM intrinsic, number of operands)
_FLOAT_OPERATIONS = {
    "floor": ("llvm.floor", 1),
    "ceil": ("llvm.ceil", 1),
    "trunc": ("llvm.trunc", 1),
    "rint": ("llvm.rint", 1),
    "fabs": ("llvm.fabs", 1),
    "sqrt": ("llvm.sqrt", 1),
    "copysign": ("llvm.copysign", 2),
    "fma": ("llvm.fma", 3),
    # IEEE 754-2019 maximum and minimum: NaN propagates, as in numpy.maximum
    "maximum": ("llvm.maximum", 2),
    "minimum": ("llvm.minimum", 2),
}
# Which of two zeros is the larger is left open, as in numpy.maximum: minding their signs would take six
# instructions in place of one to three.
_RELAXED = {"llvm.maximum": ("nsz",), "llvm.minimum": ("nsz",)}
_BIT_CASTS = {
    "f32_as_i32": (types.float32, types.int32),
    "i32_as_f32": (types.int32, types.float32),
    "f64_as_i64": (types.float64, types.int64),
    "i64_as_f64": (types.int64, types.float64),
}
# name in kernel code -> comparison under which the second operand replaces the first, as in Python
_SELECTIONS = {"min": "<", "max": ">"}


def _common_float(arguments: tuple[Any, ...]) -> Any:
    floats = [argument for argument in arguments if argument in _LLVM_SUFFIX]
    return max(floats, key=lambda kind: kind.bitwidth, default=None)


def _float_signature(fixed: Any, arguments: tuple[Any, ...]) -> Any:
    kind = _common_float(arguments) if fixed is None else fixed
    return None if kind is None else kind(*[kind] * len(arguments))


def _call(llvm_name: str) -> Callable[..., ir.Value]:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        kind = signature.return_type
        name = f"{llvm_name}.{_LLVM_SUFFIX[kind]}"
        function_type = ir.FunctionType(_LLVM_TYPES[kind], [_LLVM_TYPES[kind]] * len(arguments))
        declared = builder.module.globals.get(name)
        callee = ir.Function(builder.module, function_type, name) if declared is None else declared
        return builder.call(callee, arguments, fastmath=_RELAXED.get(llvm_name, ()))

    return generate


def _unary(llvm_name: str, fixed: Any) -> Any:
    def operation(typing_context: Any, x: Any) -> Any:
        return _float_signature(fixed, (x,)), _call(llvm_name)

    return intrinsic(operation)


def _binary(llvm_name: str, fixed: Any) -> Any:
    def operation(typing_context: Any, x: Any, y: Any) -> Any:
        return _float_signature(fixed, (x, y)), _call(llvm_name)

    return intrinsic(operation)


def _ternary(llvm_name: str, fixed: Any) -> Any:
    def operation(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
        return _float_signature(fixed, (x, y, z)), _call(llvm_name)

    return intrinsic(operation)


_ARITY = {1: _unary, 2: _binary, 3: _ternary}


def _bit_cast(source: Any, destination: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        return builder.bitcast(arguments[0], _LLVM_TYPES[destination])

    def operation(typing_context: Any, x: Any) -> Any:
        return destination(source), generate

    return intrinsic(operation)


def _selection(comparison: str) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        first, second = arguments
        kind = signature.return_type
        if isinstance(kind, types.Float):
            replaces = builder.fcmp_ordered(comparison, second, first)
        elif kind.signed:
            replaces = builder.icmp_signed(comparison, second, first)
        else:
            replaces = builder.icmp_unsigned(comparison, second, first)
        return builder.select(replaces, second, first)

    def operation(typing_context: Any, x: Any, y: Any) -> Any:
        kind = typing_context.unify_types(types.unliteral(x), types.unliteral(y))
        numeric = isinstance(kind, (types.Integer, types.Float))
        return (kind(kind, kind) if numeric else None), generate

    return intrinsic(operation)


def _accumulation(instruction: str) -> Any:
    """Make a step of a running sum or product, which LLVM may regroup and so run in vector lanes.

    Only accumulations carry this licence.  In ordinary arithmetic regrouping changes results
    beyond rounding: ``(x - max) - log(sum)`` may not become ``x - (max + log(sum))``.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        first, second = arguments
        result: ir.Value = getattr(builder, instruction)(first, second, flags=("reassoc", "nsz", "contract"))
        return result

    def operation(typing_context: Any, x: Any, y: Any) -> Any:
        return _float_signature(None, (x, y)), generate

    return intrinsic(operation)


def _address() -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        pointer, offset = arguments
        return builder.gep(pointer, [offset])

    def operation(typing_context: Any, pointer: Any, offset: Any) -> Any:
        return (pointer(pointer, types.int64) if isinstance(pointer, types.CPointer) else None), generate

    return intrinsic(operation)


def _share() -> Any:
    """Make ``share(units, block, blocks)``: the first unit of a block, all of them unsigned."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        units, block, blocks = arguments
        return builder.udiv(builder.mul(units, block, flags=("nuw", "nsw")), blocks)

    def operation(typing_context: Any, units: Any, block: Any, blocks: Any) -> Any:
        return types.int64(types.int64, types.int64, types.int64), generate

    return intrinsic(operation)


def _digit() -> Any:
    """Make ``digit(number, extent)``: see `graphc.frontend.instructions`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        number, extent = arguments
        word = ir.IntType(64)
        mask = builder.sub(extent, ir.Constant(word, 1))
        hidden = builder.asm(ir.FunctionType(word, [word]), "", "=r,0", [mask], side_effect=False)
        for attribute in ("nounwind", "readnone"):
            hidden.attributes.add(attribute)
        return builder.and_(number, hidden)

    def operation(typing_context: Any, number: Any, extent: Any) -> Any:
        return types.int64(types.int64, types.int64), generate

    return intrinsic(operation)


def tile_call(tile: Function) -> Any:
    """Return the call of a register tile, which is LLVM IR already."""
    kinds = [
        types.CPointer(_ELEMENTS[str(k.element)]) if isinstance(k, Pointer) else types.int64
        for k in tile.parameters
    ]

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        function_type = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
        declared = builder.module.globals.get(tile.symbol)
        callee = ir.Function(builder.module, function_type, tile.symbol) if declared is None else declared
        builder.call(callee, arguments)
        return context.get_dummy_value()

    # Numba counts the operands of an intrinsic by its parameters' names.
    names = ", ".join(f"operand{k}" for k in range(len(kinds)))
    typed = types.void(*kinds), generate
    return intrinsic(eval(f"lambda typing_context, {names}: typed", {"typed": typed}))


def _float_family() -> dict[str, Any]:
    kinds = {"": None, **{f"_{suffix}": kind for suffix, kind in _FLOATS.items()}}
    return {
        name + suffix: _ARITY[operands](llvm_name, kind)
        for name, (llvm_name, operands) in _FLOAT_OPERATIONS.items()
        for suffix, kind in kinds.items()
    }


INTRINSICS: dict[str, Any] = {
    "addr": _address(),
    "digit": _digit(),
    "share": _share(),
    "accumulate_sum": _accumulation("fadd"),
    "accumulate_product": _accumulation("fmul"),
    **{name: _bit_cast(*kinds) for name, kinds in _BIT_CASTS.items()},
    **{name: _selection(comparison) for name, comparison in _SELECTIONS.items()},
    **_float_family(),
}
