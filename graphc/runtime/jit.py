"""Numba as a front end: a kernel's Python text becomes LLVM IR, and `target` makes object code of it.

This is the only module that imports Numba; it is itself imported only when a kernel is missing
from every cache. Numba contributes bytecode analysis, type inference and lowering. Its own LLVM
pipelines, execution engine and runtime are left out: one kernel is one LLVM module, optimized once.
"""

from __future__ import annotations

import builtins
import dis
import functools
import importlib
import math
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba.core import (
    callconv,
    codegen,
    compiler,
    cpu,
    descriptors,
    dispatcher,
    externals,
    fastmathpass,
    target_extension,
    typed_passes,
    types,
    typing,
    untyped_passes,
)
from numba.core.compiler_machinery import PassManager
from numba.core.typing import mathdecl
from numba.core.typing.templates import AbstractTemplate
from numba.cpython import mathimpl

from graphc.runtime import target
from graphc.runtime.device_intrinsics import INTRINSICS
from graphc.runtime.kernel_source import KernelError, KernelSource
from graphc.runtime.target import CompiledObject

__all__ = ["assembly", "compile_kernel"]

# NaN and Inf must propagate, hence neither nnan nor ninf.
_KERNEL_FASTMATH = frozenset({"contract", "reassoc", "nsz", "arcp", "afn"})
# Device functions are written for exact rounding steps: only fusing multiply and add is allowed.
_DEVICE_FASTMATH = frozenset({"contract"})
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
_BUILTINS = ("abs", "bool", "float", "int", "range")
_TARGET_NAME = "graphc"
_BOOL_STORAGE = "uint8"
_SCALAR_LOWERING = ("numba.cpython.builtins", "numba.cpython.numbers", "numba.cpython.rangeobj")
_PIPELINE = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.IRLegalization,
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)


class _Library(codegen.CodeLibrary):
    """LLVM IR of one function, unoptimized, and the libraries it calls."""

    def __init__(self, owner: _Codegen, name: str) -> None:
        super().__init__(owner, name)
        self.text = ""
        self.callees: dict[_Library, None] = {}
        self._module: llvm.ModuleRef | None = None

    def add_linking_library(self, library: _Library) -> None:
        self.callees[library] = None

    def add_ir_module(self, ir_module: ir.Module) -> None:
        self.text += str(ir_module)

    def module(self) -> llvm.ModuleRef:
        """Parsed and simplified once: device functions are linked into many kernels."""
        if self._module is None:
            self._module = llvm.parse_assembly(self.text)
            target.simplify(self._module)
        return self._module

    def reachable(self) -> Iterator[_Library]:
        """Every library this one needs, itself excluded, each once."""
        seen: dict[_Library, None] = {}
        pending = list(self.callees)
        while pending:
            library = pending.pop()
            if library not in seen:
                seen[library] = None
                pending.extend(library.callees)
        return iter(seen)

    def finalize(self) -> None:
        self._finalized = True

    def get_function(self, name: str) -> llvm.ValueRef:
        return self.module().get_function(name)

    def get_llvm_str(self) -> str:
        return self.text

    def get_asm_str(self) -> str:
        return target.assembly(self.text)


class _Codegen(codegen.Codegen):
    """Creates libraries; holds no execution engine."""

    _library_class = _Library

    def __init__(self) -> None:
        self._target_data = target.machine().target_data
        self._data_layout = str(self._target_data)
        self._triple = llvm.get_process_triple()

    def _create_empty_module(self, name: str) -> ir.Module:
        module = ir.Module(name)
        module.triple = self._triple
        module.data_layout = self._data_layout
        return module

    def _add_module(self, module: llvm.ModuleRef) -> None:
        raise NotImplementedError("kernels are linked by graphc.runtime.linker")


class _TargetContext(cpu.CPUContext):
    """Lowering for the host without Numba's runtime, wrappers, arrays and containers."""

    def init(self) -> None:
        self.is32bit = False
        self._internal_codegen = _Codegen()
        externals.c_math_functions.install(self)

    @functools.cached_property
    def call_conv(self) -> callconv.CPUCallConv:
        return callconv.CPUCallConv(self)

    def load_additional_registries(self) -> None:
        for name in _SCALAR_LOWERING:
            importlib.import_module(name)  # registers itself in Numba's builtin registry
        self.install_registry(mathimpl.registry)

    def post_lowering(self, mod: ir.Module, library: _Library) -> None:
        fastmathpass.rewrite_module(mod, self.fastmath)

    def get_executable(self, library: _Library, fndesc: Any, env: Any) -> None:
        return None

    def insert_user_function(self, func: Any, fndesc: Any, libs: Any = ()) -> None:
        if func is not None:  # get_executable above returns None: nothing to call from Python
            super().insert_user_function(func, fndesc, libs)


class _TypingContext(typing.Context):
    """Type rules for scalars and pointers."""

    def load_additional_registries(self) -> None:
        self.install_registry(mathdecl.registry)


class _Compiler(compiler.CompilerBase):
    """The few Numba passes that straight loops over raw pointers need."""

    def define_pipelines(self) -> list[PassManager]:
        passes = PassManager("graphc")
        for stage in _PIPELINE:
            passes.add_pass(stage, stage.__name__)
        passes.finalize()
        return [passes]


class _Target(target_extension.CPU):
    """Tells Numba's extension points apart: what they register belongs to the contexts below."""


class _TargetDescriptor(descriptors.TargetDescriptor):
    options = cpu.CPUTargetOptions

    @functools.cached_property
    def typing_context(self) -> _TypingContext:
        return _TypingContext()

    @functools.cached_property
    def target_context(self) -> _TargetContext:
        return _TargetContext(self.typing_context, _TARGET_NAME)


class _Dispatcher(dispatcher.Dispatcher):
    targetdescr = _TargetDescriptor(_TARGET_NAME)


target_extension.target_registry[_TARGET_NAME] = _Target
target_extension.dispatcher_registry[_Target] = _Dispatcher


def _flags(fastmath: frozenset[str], *, noalias: bool, inline: bool) -> compiler.Flags:
    flags = compiler.Flags()
    flags.fastmath = cpu.FastMathOptions(set(fastmath))
    flags.noalias = noalias
    flags.forceinline = inline
    flags.error_model = "numpy"
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    return flags


def _contexts() -> tuple[_TypingContext, _TargetContext]:
    descriptor = _Dispatcher.targetdescr
    return descriptor.typing_context, descriptor.target_context


def _lower(function: FunctionType, argument_types: tuple[Any, ...], flags: compiler.Flags) -> Any:
    typing_context, target_context = _contexts()
    # Without the override Numba would load its whole default target, NumPy and SciPy bindings included.
    with target_extension.target_override(_TARGET_NAME):
        return compiler.compile_extra(
            typing_context, target_context, function, argument_types, None, flags, {}, pipeline_class=_Compiler
        )


@functools.cache
def _device_function(function: FunctionType) -> FunctionType:
    """Make a plain Python function callable from kernels; compiled per argument types, on demand."""
    namespace = {name: _resolve(name, function.__globals__) for name in _global_names(function.__code__)}
    clone = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    typing_context, target_context = _contexts()
    flags = _flags(_DEVICE_FASTMATH, noalias=False, inline=True)

    @functools.cache
    def specialize(argument_types: tuple[Any, ...]) -> Any:
        result = _lower(clone, argument_types, flags)
        target_context.insert_user_function(function, result.fndesc, [result.library])
        return result.signature

    class DeviceTemplate(AbstractTemplate):
        key = function

        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            return None if kws else specialize(tuple(types.unliteral(arg) for arg in args))

    typing_context.insert_user_function(function, DeviceTemplate)
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
    fixed = _fixed_name(name)
    if fixed is not None:
        return fixed
    value = (scope or {}).get(name)
    if value is None:
        value = getattr(_optional_module("graphc.codegen.mathlib"), name, None)
    if isinstance(value, FunctionType):
        return _device_function(value)
    if value is None:
        tile = _optional_module("graphc.codegen.tile")
        value = tile.intrinsic(name) if tile is not None else None
    if value is None:
        raise KernelError(f"unknown name {name!r} in kernel code")
    return value


def _kernel_function(source: KernelSource) -> FunctionType:
    namespace: dict[str, Any] = {"__builtins__": {}}
    exec(compile(source.code, f"<kernel {source.name}>", "exec"), namespace)
    kernel = namespace.get("kernel")
    if not isinstance(kernel, FunctionType):
        raise KernelError(f"kernel {source.name}: the code does not define kernel()")
    expected = (*(name for name, _ in source.params), "thread", "threads")
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
        llvm_type = "ptr noalias" if kind.endswith("*") else "i64"
        loads.append(f"  %slot{position} = getelementptr inbounds i64, ptr %args, i64 {position}")
        loads.append(f"  %value{position} = load {llvm_type.split()[0]}, ptr %slot{position}, !invariant.load !{{}}")
        arguments.append(f"{llvm_type} %value{position}")
    call = ", ".join(["ptr %result", "ptr %error", *arguments, "i64 %thread", "i64 %threads"])
    return "\n".join(
        [
            f"\ndefine void @{symbol}(ptr noalias readonly %args, i64 %thread, i64 %threads) nounwind {{",
            "  %result = alloca ptr",
            "  %error = alloca ptr",
            *loads,
            f'  %status = call i32 @"{callee}"({call}) alwaysinline',
            "  ret void",
            "}",
        ]
    )


def _check_self_contained(module: llvm.ModuleRef, source: KernelSource) -> None:
    """Nothing of Python or of Numba's runtime may be left to link."""
    for function in module.functions:
        if function.is_declaration and function.name.startswith(("_ZN", "Py", "_Py", "NRT_", "numba_")):
            raise KernelError(f"kernel {source.name} needs {function.name}, which is not native code")


def compile_kernel(source: KernelSource, symbol: str) -> CompiledObject:
    """Compile one kernel to position-independent object code for the host.

    Parameters
    ----------
    source : KernelSource
        The kernel.
    symbol : str
        Name of the public function, of type ``void (int64* args, int64 thread, int64 threads)``.

    Returns
    -------
    CompiledObject
        Object code, symbol and optimized LLVM IR.

    Examples
    --------
    >>> code = "def kernel(x, thread, threads):\\n    x[0] = x[1]\\n"
    >>> compile_kernel(KernelSource("copy", (("x", "int32*"),), code), "copy").symbol
    'copy'
    """
    kernel = _kernel_function(source)
    argument_types = tuple(_parameter_type(kind) for _, kind in source.params) + (types.int64, types.int64)
    try:
        result = _lower(kernel, argument_types, _flags(_KERNEL_FASTMATH, noalias=True, inline=True))
    except Exception as error:
        raise KernelError(f"kernel {source.name} does not compile: {error}\n{source.code}") from error
    library: _Library = result.library
    module = llvm.parse_assembly(library.text + _entry_point(source, symbol, result.fndesc.llvm_func_name))
    for callee in library.reachable():
        module.link_in(callee.module(), preserve=True)
    compiled = target.compile_module(module, symbol)
    _check_self_contained(module, source)
    return compiled


def assembly(source: KernelSource, symbol: str) -> str:
    """Return the host assembly of one kernel, compiling it anew.

    Examples
    --------
    >>> code = "def kernel(x, thread, threads):\\n    x[0] = x[1]\\n"
    >>> "copy" in assembly(KernelSource("copy", (("x", "int32*"),), code), "copy")
    True
    """
    return target.assembly(compile_kernel(source, symbol).llvm)
