"""Numba reduced to a front end: bytecode analysis, type inference and lowering to LLVM IR.

Numba's own LLVM pipelines, execution engine, runtime and array support are left out: what comes out
is the text of one unoptimized function and the list of the functions it calls.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

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
    untyped_passes,
)
from numba.core.compiler_machinery import PassManager
from numba.core.typing import context as typing_context_base
from numba.core.typing import mathdecl
from numba.core.typing.templates import AbstractTemplate
from numba.cpython import mathimpl

from graphc.runtime import target

__all__ = ["Lowered", "expose", "lower"]

_TARGET_NAME = "graphc"
_SCALAR_LOWERING = (
    "numba.cpython.builtins",
    "numba.cpython.numbers",
    "numba.cpython.rangeobj",
    "numba.cpython.tupleobj",
)
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
        """Return the parsed form, simplified once: device functions are linked into many kernels."""
        if self._module is None:
            self._module = llvm.parse_assembly(self.text)
        return self._module

    def reachable(self) -> Iterator[_Library]:
        """Yield every library this one needs, itself excluded, each once."""
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
        with target.machine() as machine:
            self._target_data = machine.target_data
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

    def get_executable(self, library: _Library, fndesc: Any, env: Any) -> Any:
        return [].append  # Numba wants a distinct built-in function as the key of each compiled function


class _TypingContext(typing_context_base.Context):
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
    """Compiles the implementations that Numba's own overloads of Python built-ins are made of."""

    targetdescr = _TargetDescriptor(_TARGET_NAME)


def _overload_decorator(**options: Any) -> Callable[[FunctionType], _Dispatcher]:
    return lambda function: _Dispatcher(function, targetoptions={"no_cfunc_wrapper": True, **options})


target_extension.target_registry[_TARGET_NAME] = _Target
target_extension.dispatcher_registry[_Target] = _Dispatcher
target_extension.jit_registry[_Target] = _overload_decorator


def _contexts() -> tuple[_TypingContext, _TargetContext]:
    descriptor = _Dispatcher.targetdescr
    return descriptor.typing_context, descriptor.target_context


@dataclass(frozen=True)
class Lowered:
    """One function in LLVM IR."""

    library: _Library
    symbol: str
    signature: Any
    descriptor: Any


def lower(
    function: FunctionType, argument_types: tuple[Any, ...], fastmath: frozenset[str], *, noalias: bool
) -> Lowered:
    """Lower a Python function for the given Numba argument types, to be inlined into its caller.

    Parameters
    ----------
    function : FunctionType
        Its globals must be what Numba understands; see `expose` for other Python functions.
    argument_types : tuple
        Numba types.
    fastmath : frozenset of str
        LLVM fast-math flags put on every floating point operation.
    noalias : bool
        Whether pointer arguments never overlap.
    """
    # Without the override Numba would load its whole default target, NumPy and SciPy bindings included.
    with target_extension.target_override(_TARGET_NAME):
        flags = _flags(fastmath, noalias=noalias)
        result = _Compiler(*_contexts(), None, argument_types, None, flags, {}).compile_extra(function)
    return Lowered(result.library, result.fndesc.llvm_func_name, result.signature, result.fndesc)


def _flags(fastmath: frozenset[str], *, noalias: bool) -> compiler.Flags:
    flags = compiler.Flags()
    flags.fastmath = cpu.FastMathOptions(set(fastmath))
    flags.noalias = noalias
    flags.forceinline = True
    flags.error_model = "numpy"
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    return flags


def expose(function: FunctionType, specialize: Callable[[tuple[Any, ...]], Lowered]) -> None:
    """Let other functions call `function`; `specialize` lowers it once for each tuple of argument types."""
    typing_context, target_context = _contexts()

    @functools.cache
    def signature(argument_types: tuple[Any, ...]) -> Any:
        lowered = specialize(argument_types)
        target_context.insert_user_function(function, lowered.descriptor, [lowered.library])
        return lowered.signature

    class Template(AbstractTemplate):
        key = function

        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            return None if kws else signature(tuple(types.unliteral(arg) for arg in args))

    typing_context.insert_user_function(function, Template)
