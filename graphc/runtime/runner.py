"""The native step runner: one function that walks any program's table of steps.

A table is a block of int64 words: the number of steps, the address of a status word, then for each
step the address of a kernel and the address of its args block. The walk ends early as soon as the
status word is not zero, which is how a failed runtime check stops a program.

The runner has the calling convention of a kernel, so a step may be the runner itself with another
table as its args block. It computes each kernel as one block; `team` shares blocks among threads.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

from graphc.runtime.llvm_functions import load_llvm

__all__ = ["RUN", "address", "run", "runner", "starter"]

# Written in LLVM IR because it needs nothing that a Python front end could add. The status is read
# atomically: another thread may set it at any moment.
RUN = """
define i64 @run(ptr %table, i64 %block, i64 %blocks, i64 %worker) nounwind {
entry:
  %count = load i64, ptr %table
  %status_slot = getelementptr inbounds i64, ptr %table, i64 1
  %status = load ptr, ptr %status_slot
  %steps = getelementptr inbounds i64, ptr %table, i64 2
  br label %check

check:
  %done = phi i64 [ 0, %entry ], [ %next, %step ]
  %more = icmp slt i64 %done, %count
  br i1 %more, label %poll, label %end

poll:
  %code = load atomic i64, ptr %status monotonic, align 8
  %clear = icmp eq i64 %code, 0
  br i1 %clear, label %step, label %end

step:
  %first = shl nuw nsw i64 %done, 1
  %kernel_slot = getelementptr inbounds i64, ptr %steps, i64 %first
  %args_slot = getelementptr inbounds i64, ptr %kernel_slot, i64 1
  %kernel = load ptr, ptr %kernel_slot
  %args = load ptr, ptr %args_slot
  call void %kernel(ptr %args, i64 %block, i64 %blocks, i64 %worker) nounwind
  %next = add nuw nsw i64 %done, 1
  br label %check

end:
  ret i64 %done
}
"""
# A call from Python: one argument costs less than four.
_START = """
define void @start(ptr %table) nounwind {
entry:
  %ignored = call i64 @run(ptr %table, i64 0, i64 1, i64 0)
  ret void
}
"""
_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 4)


@functools.cache
def address() -> int:
    """Return the address of the native runner.

    Examples
    --------
    >>> address() == address()
    True
    """
    return load_llvm("graphc_run", RUN, "run")


@functools.cache
def runner() -> Callable[[int, int, int, int], int]:
    """Return the native runner as a callable; it releases the GIL while it runs.

    Returns
    -------
    callable
        ``(table address, block, blocks, worker) -> number of steps executed``.
    """
    return _PROTOTYPE(address())


@functools.cache
def starter() -> Callable[[int], None]:
    """Return the native runner as a callable that executes a table whole, on the calling thread."""
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(load_llvm("graphc_start", RUN + _START, "start"))


def run(table: int, block: int = 0, blocks: int = 1, worker: int = 0) -> int:
    """Execute a step table on the calling thread.

    Parameters
    ----------
    table : int
        Address of the table.
    block, blocks : int
        Which part of every kernel's index space to compute, and into how many it is cut.
    worker : int
        Whose piece of the working memory to use.

    Returns
    -------
    int
        Number of steps executed; less than the table holds if a runtime check failed.

    Examples
    --------
    >>> words = (ctypes.c_int64 * 3)(0, 0, 0)
    >>> words[1] = ctypes.addressof(words) + 16
    >>> run(ctypes.addressof(words))
    0
    """
    return runner()(table, block, blocks, worker)
