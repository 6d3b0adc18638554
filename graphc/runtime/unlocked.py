"""The two long calls into LLVM, made without llvmlite's lock, so that several threads may be in them.

llvmlite lets one thread at a time into LLVM, since it cannot know which objects threads share.  LLVM
itself asks only that they share no context and no target machine: `target` gives every module a
context of its own and lends a machine to one thread at a time.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from llvmlite import binding as llvm

from graphc.errors import KernelError

__all__ = ["emit_object", "run_passes"]


@functools.cache
def _function(name: str) -> Any:
    """Return a function of llvmlite's library, by a handle of our own on it."""
    locked = getattr(llvm.ffi.lib, name)
    own = getattr(ctypes.CDLL(llvm.ffi.lib._name), name)
    own.argtypes, own.restype = locked.argtypes, locked.restype
    return own


def run_passes(passes: llvm.ModulePassManager, module: llvm.ModuleRef, builder: llvm.PassBuilder) -> None:
    """Run passes over a module; nothing that it shares with another thread may be in use there."""
    _function("LLVMPY_RunNewModulePassManager")(passes, module, builder)


def emit_object(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    """Return the object code of a module.

    Raises
    ------
    KernelError
        If LLVM cannot emit it.
    """
    with llvm.ffi.OutputString() as message:
        buffer = _function("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, message)
        if not buffer:
            raise KernelError(f"LLVM cannot emit a kernel: {message}")
    try:
        start, size = llvm.ffi.lib.LLVMPY_GetBufferStart(buffer), llvm.ffi.lib.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(start, size)
    finally:
        llvm.ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)
