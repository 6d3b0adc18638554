"""A kernel as a module of LLVM IR, by way of Numba.

Numba reads the same Python text, infers types and lowers it to LLVM IR by its own rules; only what
comes after is shared.  It takes a hundred times as long as `graphc.frontend`, and gives a second
opinion: the tests compare the two, and so can users.
"""

from __future__ import annotations

import builtins
import dis
import functools
import importlib
import math
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from llvmlite import binding as llvm
from numba.core import types

from graphc.errors import KernelError
from graphc.frontend.library import tile_named
from graphc.frontend.writer import module_text
from graphc.numba_frontend import lowering
from graphc.numba_frontend.intrinsics import INTRINSICS, tile_call
from graphc.runtime.kernel_source import TRAILING, KernelSource

__all__ = ["kernel_module"]

# Only fusing multiply and add: NaN and Inf propagate, and no formula is regrouped. Accumulations
# are regrouped by their own intrinsics (see `device_intrinsics`).
_FASTMATH = frozenset({"contract"})
_SCALAR_TYPES: dict[str, Any] = {
    "b1": np.bool_,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "u8": np.uint8,
    "u32": np.uint32,
    "u64": np.uint64,
    "f32": np.float32,
    "f64": np.float64,
}
_BUILTINS = ("abs", "bool", "float", "int", "len", "range")
_BOOL_STORAGE = "uint8"
# Plain Python functions that kernels call by name; each may call others of its own module.
DEVICE_MODULES = ("graphc.codegen.mathlib", "graphc.codegen.devicelib")


@functools.cache
def _device_function(function: FunctionType) -> FunctionType:
    """Make a plain Python function callable from kernels, lowered on demand for each argument type."""
    namespace = {name: _resolve(name, function.__globals__) for name in _global_names(function.__code__)}
    clone = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    lowering.expose(function, lambda kinds: lowering.lower(clone, kinds, _FASTMATH, noalias=False))
    return function


def _global_names(code: CodeType) -> tuple[str, ...]:
    names = (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    return tuple(dict.fromkeys(names))


def _optional_module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            return None
        raise


def _fixed_name(name: str) -> Any:
    if name in _SCALAR_TYPES:
        return _SCALAR_TYPES[name]
    if name in INTRINSICS:
        return INTRINSICS[name]
    if name in _BUILTINS:
        return getattr(builtins, name)
    return math if name == "math" else None


def _resolve(name: str, scope: dict[str, Any] | None = None) -> Any:
    """Find what a free name of a kernel or of a device function means in native code."""
    value = _fixed_name(name)
    if value is None:
        value = (scope or {}).get(name)
    if value is None:
        value = _library_name(name)
    if value is None:
        raise KernelError(f"unknown name {name!r} in kernel code")
    return _device_function(value) if isinstance(value, FunctionType) else value


def _library_name(name: str) -> Any:
    for module in filter(None, map(_optional_module, DEVICE_MODULES)):
        if hasattr(module, name):
            return getattr(module, name)
    written = tile_named(name)
    return None if written is None else tile_call(written)


def _kernel_function(source: KernelSource) -> FunctionType:
    namespace: dict[str, Any] = {"__builtins__": {}}
    try:
        exec(compile(source.code, f"<kernel {source.name}>", "exec"), namespace)
    except SyntaxError as error:
        raise KernelError(f"kernel {source.name} is not Python: {error}\n{source.code}") from error
    kernel = namespace.get("kernel")
    if not isinstance(kernel, FunctionType):
        raise KernelError(f"kernel {source.name}: the code does not define kernel()")
    expected = (*(name for name, _ in source.params), *TRAILING)
    actual = kernel.__code__.co_varnames[: kernel.__code__.co_argcount]
    if actual != expected:
        raise KernelError(f"kernel {source.name}: parameters are {actual}, expected {expected}")
    namespace.update({name: _resolve(name) for name in _global_names(kernel.__code__)})
    return kernel


def _parameter_type(kind: str) -> Any:
    if not kind.endswith("*"):
        return getattr(types, kind)
    dtype = kind.removesuffix("*")
    return types.CPointer(getattr(types, _BOOL_STORAGE if dtype == "bool" else dtype))


def _entry_point(source: KernelSource, symbol: str, callee: str) -> str:
    """LLVM IR of the public function: unpack the args block, call the Numba function."""
    loads: list[str] = []
    arguments: list[str] = []
    for position, (_, kind) in enumerate(source.params):
        llvm_type, attribute = ("ptr", "noalias ") if kind.endswith("*") else ("i64", "")
        loads.append(f"  %slot{position} = getelementptr inbounds i64, ptr %args, i64 {position}")
        loads.append(f"  %value{position} = load {llvm_type}, ptr %slot{position}")
        arguments.append(f"{llvm_type} {attribute}%value{position}")
    share = [f"i64 %{name}" for name in TRAILING]
    call = ", ".join(["ptr %result", "ptr %error", *arguments, *share])
    return "\n".join(
        [
            f"\ndefine void @{symbol}({', '.join(['ptr noalias readonly %args', *share])}) nounwind {{",
            "  %result = alloca ptr",
            "  %error = alloca ptr",
            *loads,
            f'  %status = call i32 @"{callee}"({call}) alwaysinline',
            "  ret void",
            "}",
        ]
    )


def kernel_module(source: KernelSource, symbol: str) -> str:
    """Return what `graphc.frontend.kernel.kernel_module` returns, by way of Numba."""
    kernel = _kernel_function(source)
    argument_types = (*(_parameter_type(kind) for _, kind in source.params), *[types.int64] * len(TRAILING))
    try:
        lowered = lowering.lower(kernel, argument_types, _FASTMATH, noalias=True)
    except Exception as error:
        raise KernelError(f"kernel {source.name} does not compile: {error}\n{source.code}") from error
    module = llvm.parse_assembly(lowered.library.text + _entry_point(source, symbol, lowered.symbol))
    for callee in lowered.library.reachable():
        module.link_in(callee.module(), preserve=True)
    declared = [f.name for f in module.functions if f.is_declaration]
    for written in filter(None, map(tile_named, declared)):
        text = module_text(written).replace("define internal", "define")
        module.link_in(llvm.parse_assembly(text))
    return str(module)
