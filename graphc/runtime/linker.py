"""In-memory linker: object code in, callable addresses out. Needs llvmlite alone."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping

from llvmlite import binding as llvm

__all__ = ["LLVM_LOCK", "link"]

# LLVM and Numba are not safe to fork in the middle of work. Whoever uses them holds this lock, and a
# fork waits for it: the child then starts with every structure at rest.
LLVM_LOCK = threading.RLock()

_addresses: dict[str, int] = {}
_buffers: list[bytes] = []  # the engine may refer to object code as long as the process lives


@functools.cache
def _engine() -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    # llvmlite's memory manager keeps the sections of one object within reach of relative addresses.
    return llvm.create_mcjit_compiler(
        llvm.parse_assembly(""), target.create_target_machine(opt=0, jit=True), use_lmm=True
    )


def link(objects: Mapping[str, bytes]) -> dict[str, int]:
    """Make object code callable in this process.

    Parameters
    ----------
    objects : mapping of str to bytes
        Public symbol of each object file, and its content. Symbols that were linked before keep
        their address, whatever the content: a symbol is a content hash.

    Returns
    -------
    dict of str to int
        Address of every symbol.

    Examples
    --------
    >>> link({})
    {}
    """
    with LLVM_LOCK:
        fresh = {symbol: content for symbol, content in objects.items() if symbol not in _addresses}
        if fresh:
            _load(fresh)
        return {symbol: _addresses[symbol] for symbol in objects}


def _load(objects: Mapping[str, bytes]) -> None:
    engine = _engine()
    for content in objects.values():
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(content))
        _buffers.append(content)
    engine.finalize_object()
    for symbol in objects:
        _addresses[symbol] = engine.get_function_address(symbol)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=LLVM_LOCK.acquire,
        after_in_parent=LLVM_LOCK.release,
        after_in_child=LLVM_LOCK.release,
    )
