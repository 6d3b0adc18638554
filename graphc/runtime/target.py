"""LLVM for the host: one target machine, one optimization pipeline, object code out."""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass

from llvmlite import binding as llvm

from graphc.runtime import features

__all__ = ["CompiledObject", "assembly", "compile_module", "compile_text", "machine"]


@dataclass(frozen=True)
class CompiledObject:
    """Object code that defines one public symbol, with the optimized LLVM IR it came from.

    The IR is kept compressed, since almost no one asks for it.
    """

    object_code: bytes
    symbol: str
    packed_llvm: bytes

    @property
    def llvm(self) -> str:
        """Optimized LLVM IR as text."""
        return zlib.decompress(self.packed_llvm).decode()


def machine() -> llvm.TargetMachine:
    """Return the target machine that kernels are compiled for.

    Position-independent code costs nothing on 64-bit hosts and lets the same object be mapped by
    the in-memory linker now and be linked into a shared library later.
    """
    return _machine(features.cpu_name(), features.target_features())


@functools.cache
def _machine(cpu: str, flags: str) -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=cpu,
        features=flags,
        opt=3,
        reloc="pic",
        codemodel="small",
    )


def _pass_builder(unroll: bool) -> llvm.PassBuilder:
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = True
    options.loop_interleaving = True
    options.loop_unrolling = unroll
    return llvm.create_pass_builder(machine(), options)


def compile_module(module: llvm.ModuleRef, symbol: str, unroll: bool = True) -> CompiledObject:
    """Optimize a module in place around its one public function and emit its object code.

    Parameters
    ----------
    module : llvmlite.binding.ModuleRef
        Self-contained module; everything but `symbol` becomes private to it.
    symbol : str
        Name of the public function.
    unroll : bool, default True
        Whether LLVM may unroll loops beyond what vectorizing them interleaves.

    Examples
    --------
    >>> text = "define i64 @seven() { ret i64 7 }"
    >>> compile_module(llvm.parse_assembly(text), "seven").symbol
    'seven'
    """
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = "internal"
    builder = _pass_builder(unroll)
    builder.getModulePassManager().run(module, builder)
    # Taken before emission, which rewrites the module into the shape of the instructions.
    packed_llvm = zlib.compress(str(module).encode(), level=1)
    return CompiledObject(machine().emit_object(module), symbol, packed_llvm)


def compile_text(text: str, symbol: str) -> CompiledObject:
    """Compile LLVM IR text around its one public function.

    Examples
    --------
    >>> compile_text("define i64 @seven() { ret i64 7 }", "seven").symbol
    'seven'
    """
    module = llvm.parse_assembly(text)
    module.verify()
    return compile_module(module, symbol)


def assembly(llvm_text: str) -> str:
    """Return host assembly for optimized LLVM IR.

    Examples
    --------
    >>> "seven" in assembly("define i64 @seven() { ret i64 7 }")
    True
    """
    return str(machine().emit_assembly(llvm.parse_assembly(llvm_text)))
