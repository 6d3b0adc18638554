"""From a kernel's text to object code: `graphc.frontend` writes LLVM IR, `target` optimizes and emits it.

One kernel is one LLVM module with one public function. Imported only when a kernel is missing from
every cache.
"""

from __future__ import annotations

from llvmlite import binding as llvm

from graphc.errors import KernelError
from graphc.frontend.kernel import kernel_module
from graphc.runtime import target
from graphc.runtime.kernel_source import KernelSource
from graphc.runtime.target import CompiledObject

__all__ = ["assembly", "compile_kernel"]


def compile_kernel(source: KernelSource, symbol: str) -> CompiledObject:
    r"""Compile one kernel to position-independent object code for the host.

    Parameters
    ----------
    source : KernelSource
        The kernel.
    symbol : str
        Name of the public function, with the calling convention of `kernel_source`.

    Returns
    -------
    CompiledObject
        Object code, symbol and optimized LLVM IR.

    Raises
    ------
    KernelError
        If the text is not kernel code.

    Examples
    --------
    >>> code = "def kernel(x, block, blocks, worker):\n    x[0] = x[1]\n"
    >>> compile_kernel(KernelSource("copy", (("x", "int32*"),), code), "copy").symbol
    'copy'
    """
    text = kernel_module(source, symbol)
    try:
        module = llvm.parse_assembly(text)
    except RuntimeError as error:
        raise KernelError(f"kernel {source.name} became invalid LLVM IR: {error}\n{source.code}") from error
    return target.compile_module(module, symbol, source.unroll)


def assembly(source: KernelSource, symbol: str) -> str:
    r"""Return the host assembly of one kernel, compiling it anew.

    Examples
    --------
    >>> code = "def kernel(x, block, blocks, worker):\n    x[0] = x[1]\n"
    >>> "copy" in assembly(KernelSource("copy", (("x", "int32*"),), code), "copy")
    True
    """
    return target.assembly(compile_kernel(source, symbol).llvm)
