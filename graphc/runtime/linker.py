"""In-memory linker: object code in, callable addresses out. Needs llvmlite alone."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import sys
import threading
from collections.abc import Mapping

from llvmlite import binding as llvm

__all__ = ["LLVM_LOCK", "link"]

# LLVM and Numba are not safe to fork in the middle of work. Whoever uses them holds this lock, and a
# fork waits for it: the child then starts with every structure at rest.
LLVM_LOCK = threading.RLock()

_addresses: dict[str, int] = {}
_numbers = itertools.count()  # a failed link uses up its name, too


def _keep(owner: object) -> None:
    """Let what owns code outlive the interpreter.

    Native threads may still be running code while the interpreter clears its modules.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))


@functools.cache
def _engine() -> llvm.orcjit.LLJIT:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # JITLink maps the sections of one object side by side, so relative addresses reach however much
    # memory the process holds; for COFF it is incomplete.
    engine = llvm.create_lljit_compiler(use_jit_link=sys.platform != "win32")
    _keep(engine)
    return engine


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

    Raises
    ------
    RuntimeError
        If an object is malformed or needs a symbol that the process lacks.

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
    builder = llvm.JITLibraryBuilder().add_current_process()
    for symbol, content in objects.items():
        builder.add_object_img(content).export_symbol(symbol)
    library = builder.link(_engine(), f"graphc{next(_numbers)}")
    _keep(library)
    _addresses.update({symbol: library[symbol] for symbol in objects})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=LLVM_LOCK.acquire,
        after_in_parent=LLVM_LOCK.release,
        after_in_child=LLVM_LOCK.release,
    )
