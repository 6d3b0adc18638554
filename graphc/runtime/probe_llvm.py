"""Native code that times steps, in LLVM IR: a step that runs another and notes when it began and ended.

It has the calling convention of a kernel, so it stands in tables, jobs, loops and branches in the place of
the step that it times.  Its args block, in words of eight bytes::

    kernel, args        of the step that it runs
    number              of this probe
    recorder            address of where to note it

A recorder begins with a line of 128 bytes and has then one area for each thread, which only that thread
writes::

    line    bytes from one area to the next, spans kept for each probe, byte offset of these in an area
    area    blocks run and their cycles, for each probe; then for each probe block, begin and end of the
            first blocks that this thread ran of it

Cycles are those of the processor's time stamp counter: reading it takes less than half of what asking the
system for the time would.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

from graphc.runtime.llvm_functions import load_llvm

__all__ = ["LINE", "SPAN_WORDS", "TOTAL_WORDS", "cycles", "probe"]

LINE = 128
# Words of a probe's totals, and of one span.
TOTAL_WORDS, SPAN_WORDS = 2, 3

_PROBE = f"""
declare i64 @llvm.readcyclecounter()

define void @probe(ptr %args, i64 %block, i64 %blocks, i64 %worker) nounwind {{
entry:
  %inner_at = getelementptr inbounds i64, ptr %args, i64 1
  %number_at = getelementptr inbounds i64, ptr %args, i64 2
  %recorder_at = getelementptr inbounds i64, ptr %args, i64 3
  %kernel = load ptr, ptr %args
  %inner = load ptr, ptr %inner_at
  %begin = call i64 @llvm.readcyclecounter()
  call void %kernel(ptr %inner, i64 %block, i64 %blocks, i64 %worker) nounwind
  %end = call i64 @llvm.readcyclecounter()
  %number = load i64, ptr %number_at
  %recorder = load ptr, ptr %recorder_at
  %most_at = getelementptr inbounds i64, ptr %recorder, i64 1
  %spans_at = getelementptr inbounds i64, ptr %recorder, i64 2
  %pitch = load i64, ptr %recorder
  %most = load i64, ptr %most_at
  %before = load i64, ptr %spans_at
  %skipped = mul i64 %worker, %pitch
  %first = getelementptr inbounds i8, ptr %recorder, i64 {LINE}
  %area = getelementptr inbounds i8, ptr %first, i64 %skipped
  %total_word = mul i64 %number, {TOTAL_WORDS}
  %count_at = getelementptr inbounds i64, ptr %area, i64 %total_word
  %total_at = getelementptr inbounds i64, ptr %count_at, i64 1
  %count = load i64, ptr %count_at
  %total = load i64, ptr %total_at
  %took = sub i64 %end, %begin
  %more = add i64 %count, 1
  %longer = add i64 %total, %took
  store i64 %more, ptr %count_at
  store i64 %longer, ptr %total_at
  %kept = icmp slt i64 %count, %most
  br i1 %kept, label %keep, label %done
keep:
  %row = mul i64 %number, %most
  %position = add i64 %row, %count
  %word = mul i64 %position, {SPAN_WORDS}
  %spans = getelementptr inbounds i8, ptr %area, i64 %before
  %span = getelementptr inbounds i64, ptr %spans, i64 %word
  %begin_at = getelementptr inbounds i64, ptr %span, i64 1
  %end_at = getelementptr inbounds i64, ptr %span, i64 2
  store i64 %block, ptr %span
  store i64 %begin, ptr %begin_at
  store i64 %end, ptr %end_at
  br label %done
done:
  ret void
}}
"""
_CYCLES = """
declare i64 @llvm.readcyclecounter()

define i64 @cycles() nounwind {
entry:
  %now = call i64 @llvm.readcyclecounter()
  ret i64 %now
}
"""


@functools.cache
def probe() -> int:
    """Return the address of the step that times another.

    Examples
    --------
    >>> probe() == probe()
    True
    """
    return load_llvm("graphc_probe", _PROBE, "probe")


@functools.cache
def cycles() -> Callable[[], int]:
    """Return a function that reads the counter which probes read.

    Examples
    --------
    >>> read = cycles()
    >>> read() < read()
    True
    """
    return ctypes.CFUNCTYPE(ctypes.c_int64)(load_llvm("graphc_cycles", _CYCLES, "cycles"))
