"""LLVM for the host: one target machine, one optimization pipeline, object code out."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator

from llvmlite import binding as llvm

from graphc.errors import KernelError
from graphc.runtime import features, unlocked
from graphc.runtime.compiled_object import CompiledObject

__all__ = ["assembly", "compile_module", "compile_portable", "compile_text", "machine", "parse"]


# Target machines that nobody uses at the moment, by CPU and features.  They are never disposed of: a
# thread that did so while another one forks would leave the child with llvmlite's lock held.
_idle: dict[tuple[str, str], list[llvm.TargetMachine]] = {}


def machine() -> contextlib.AbstractContextManager[llvm.TargetMachine]:
    """Lend a target machine for the CPU that kernels are compiled for; each serves one thread at a time."""
    return _machine(features.cpu_name(), features.target_features())


@contextlib.contextmanager
def _machine(cpu: str, flags: str) -> Iterator[llvm.TargetMachine]:
    idle = _idle.setdefault((cpu, flags), [])
    try:
        lent = idle.pop()
    except IndexError:
        lent = _new_machine(cpu, flags)
    try:
        yield lent
    finally:
        idle.append(lent)


def _new_machine(cpu: str, flags: str) -> llvm.TargetMachine:
    """Return a target machine.

    Position-independent code costs nothing on 64-bit hosts and lets the same object be mapped by
    the in-memory linker now and be linked into a shared library later.
    """
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


def _pass_builder(lent: llvm.TargetMachine, unroll: bool, vectorize: bool = True) -> llvm.PassBuilder:
    # Level 3 takes half as long again and unrolls more, but training steps run no faster for it.
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = vectorize
    options.slp_vectorization = vectorize
    options.loop_interleaving = vectorize
    options.loop_unrolling = unroll
    return llvm.create_pass_builder(lent, options)


def parse(text: str) -> llvm.ModuleRef:
    """Read LLVM IR into a module that shares nothing with others, whichever threads they are used by.

    Examples
    --------
    >>> parse("define i64 @seven() { ret i64 7 }").get_function("seven").name
    'seven'
    """
    return llvm.parse_assembly(text, llvm.create_context())


def compile_module(module: llvm.ModuleRef, symbol: str, unroll: bool = True) -> CompiledObject:
    """Optimize a module in place around its one public function and emit its object code.

    Parameters
    ----------
    module : llvmlite.binding.ModuleRef
        Self-contained module, from `parse`; everything but `symbol` becomes private to it.
    symbol : str
        Name of the public function.
    unroll : bool, default True
        Whether LLVM may unroll loops beyond what vectorizing them interleaves.

    Examples
    --------
    >>> text = "define i64 @seven() { ret i64 7 }"
    >>> compile_module(parse(text), "seven").symbol
    'seven'
    """
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = "internal"
    with machine() as lent:
        builder = _pass_builder(lent, unroll)
        unlocked.run_passes(builder.getModulePassManager(), module, builder)
        # Taken before emission, which rewrites the module into the shape of the instructions.
        packed_llvm = zlib.compress(str(module).encode(), level=1)
        return CompiledObject(unlocked.emit_object(lent, module), symbol, packed_llvm)


def compile_text(text: str, symbol: str, unroll: bool = True) -> CompiledObject:
    """Compile LLVM IR text around its one public function, as `compile_module` does.

    Raises
    ------
    KernelError
        If the text is not valid.

    Examples
    --------
    >>> compile_text("define i64 @seven() { ret i64 7 }", "seven").symbol
    'seven'
    """
    try:
        module = parse(text)
        module.verify()
    except RuntimeError as error:
        raise KernelError(f"the LLVM IR of {symbol} is not valid: {error}") from error
    return compile_module(module, symbol, unroll)


def compile_portable(text: str) -> bytes:
    """Compile a whole module for every CPU of the host's kind, and keep its symbols as they are.

    Code that is compiled so runs where nobody knows yet what the CPU has; none of it is worth vectorizing.

    Parameters
    ----------
    text : str
        LLVM IR, which may have assembly beside its functions.

    Returns
    -------
    bytes
        The object file.

    Raises
    ------
    KernelError
        If the text is not valid.

    Examples
    --------
    >>> b"seven" in compile_portable("define i64 @seven() { ret i64 7 }")
    True
    """
    llvm.initialize_native_asmparser()
    try:
        module = parse(text)
        module.verify()
    except RuntimeError as error:
        raise KernelError(f"the LLVM IR is not valid: {error}") from error
    with _machine("", "") as lent:
        builder = _pass_builder(lent, unroll=False, vectorize=False)
        unlocked.run_passes(builder.getModulePassManager(), module, builder)
        return unlocked.emit_object(lent, module)


def assembly(llvm_text: str) -> str:
    """Return host assembly for optimized LLVM IR.

    Examples
    --------
    >>> "seven" in assembly("define i64 @seven() { ret i64 7 }")
    True
    """
    with machine() as lent:
        return str(lent.emit_assembly(parse(llvm_text)))
