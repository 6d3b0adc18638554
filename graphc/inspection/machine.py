"""What the machine can do at most: multiply and add in registers, and move memory.

Measured when first asked for, by loops that do nothing else, and kept for the process.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.runtime import features
from graphc.runtime.llvm_functions import load_llvm
from graphc.types import FLOAT32, FLOATS, DType

__all__ = ["Machine", "copy_seconds", "flops_per_second", "measure"]

# Sums in flight: more than the latency of an addition times the units that do it, on any CPU, and
# few enough for the registers.
ACCUMULATORS = 12
# Short, so that some turn meets nobody else on a busy machine.
TURN_SECONDS = 1e-3
TURNS = 40
# Turns of what is long enough for one to be like the next.
LONG_SECONDS, LONG_TURNS = 10e-3, 8
# Bytes for which `measure` copies: within each level of a cache, and beyond all of them.
RUNGS = tuple(1 << k for k in range(14, 28, 3))
# A line's distance keeps addresses from colliding that differ by whole pages.
PAGE, LINE = 4096, 128
Array = np.ndarray[Any, Any]
_LLVM_NAMES = {"float32": ("float", "f32"), "float64": ("double", "f64")}


# ------------------------------------------------------------------ arithmetic
def _multiply_add(lanes: int, dtype: str) -> str:
    """Return LLVM IR of a loop that keeps `ACCUMULATORS` vectors in registers."""
    element, suffix = _LLVM_NAMES[dtype]
    vector, fused = f"<{lanes} x {element}>", f"@llvm.fmuladd.v{lanes}{suffix}"
    count = range(ACCUMULATORS)
    # Each of its own, or LLVM would see that all sums are one.
    loads = [
        line
        for k in count
        for line in (
            f"  %at{k} = getelementptr {vector}, ptr %data, i64 {k}",
            f"  %first{k} = load {vector}, ptr %at{k}, align 4",
        )
    ]
    start = [f"  %a{k} = phi {vector} [ %first{k}, %entry ], [ %b{k}, %loop ]" for k in count]
    steps = [
        f"  %b{k} = call {vector} {fused}({vector} %a{k}, {vector} %factor, {vector} %a{k})" for k in count
    ]
    total = [
        f"  %s{k} = fadd {vector} %{f's{k - 1}' if k > 1 else 'b0'}, %b{k}" for k in range(1, ACCUMULATORS)
    ]
    return "\n".join(
        [
            f"declare {vector} {fused}({vector}, {vector}, {vector})",
            "define void @multiply_add(ptr %data, i64 %count) nounwind {",
            "entry:",
            *loads,
            f"  %factor = fneg {vector} %first0",
            "  br label %loop",
            "loop:",
            "  %n = phi i64 [ %count, %entry ], [ %left, %loop ]",
            *start,
            *steps,
            "  %left = sub i64 %n, 1",
            "  %more = icmp ne i64 %left, 0",
            "  br i1 %more, label %loop, label %done",
            "done:",
            *total,
            f"  store {vector} %s{ACCUMULATORS - 1}, ptr %data, align 4",
            "  ret void",
            "}",
        ]
    )


@functools.cache
def flops_per_second(threads: int, dtype: DType = FLOAT32) -> float:
    """Return how many multiplications and additions that many threads do, by a loop in registers.

    Parameters
    ----------
    threads : int
        How many at once, each with a loop of its own.
    dtype : dtype
        float32 or float64.

    Examples
    --------
    >>> flops_per_second(1) > 1e8
    True
    """
    lanes = features.vector_bytes() // dtype.itemsize
    text = _multiply_add(lanes, str(dtype))
    address = load_llvm("multiply_add", text, "multiply_add")
    loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)
    rng = np.random.default_rng(0)
    # Neither 0 nor infinity may come near: on some CPUs those are faster or slower.
    data = [rng.uniform(1e-9, 2e-9, ACCUMULATORS * lanes).astype(dtype) for _ in range(threads)]
    count = 1 << 14

    def turn() -> Array:
        begins, ends = _at_once([functools.partial(loop, d.ctypes.data, count) for d in data])
        found: Array = ends - begins
        return found

    while turn().max() < TURN_SECONDS:
        count *= 2
    # Each thread's own best: on a busy machine there may be no turn in which all go undisturbed.
    best = np.min([turn() for _ in range(TURNS)], axis=0)
    return float((2.0 * lanes * ACCUMULATORS * count / best).sum())


# ---------------------------------------------------------------------- memory
_COPY = """
define void @copy_again(ptr %memmove, ptr %to, ptr %from, i64 %size, i64 %count) nounwind {
entry:
  br label %loop
loop:
  %n = phi i64 [ %count, %entry ], [ %left, %loop ]
  %ignored = call ptr %memmove(ptr %to, ptr %from, i64 %size)
  %left = sub i64 %n, 1
  %more = icmp ne i64 %left, 0
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


@functools.cache
def copy_seconds(nbytes: int, threads: int) -> float:
    """Return how long it takes to read half of that many bytes and write them elsewhere.

    By one thread or by that many, whichever is faster; small sizes stay in caches, as they do in a program.

    Parameters
    ----------
    nbytes : int
        Bytes read and written together.
    threads : int
        How many at most.

    Examples
    --------
    >>> copy_seconds(1 << 14, 1) < 1e-3
    True
    """
    half = max(nbytes // 2, 1)
    source, target = _memory(half), _memory(half + LINE)[LINE:]
    # Native: calling memmove from Python takes longer than copying what fits into a cache.
    address = load_llvm("copy_again", _COPY, "copy_again")
    copy = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(address)
    memmove = ctypes.cast(ctypes.CDLL(None).memmove, ctypes.c_void_p)

    def part(first: int, last: int, repeats: int) -> Callable[[], None]:
        to, origin = target.ctypes.data + first, source.ctypes.data + first
        return functools.partial(copy, memmove, to, origin, last - first, repeats)

    def turn(edges: list[tuple[int, int]], repeats: int) -> float:
        begins, ends = _at_once([part(a, b, repeats) for a, b in edges])
        return float(ends.max() - begins.min())

    def best(sharers: int) -> float:
        edges = list(itertools.pairwise(half * k // sharers for k in range(sharers + 1)))
        repeats, took = 1, 0.0
        while took < TURN_SECONDS:
            repeats *= 2
            took = turn(edges, repeats)
        turns = TURNS if took < LONG_SECONDS else LONG_TURNS
        return min(took, *(turn(edges, repeats) for _ in range(turns))) / repeats

    return min(best(sharers) for sharers in {1, threads})


def _memory(size: int) -> Array:
    """Return memory that begins with a page, written once so that the system has granted all of it."""
    raw = np.ones(size + PAGE, np.uint8)
    start = -raw.ctypes.data % PAGE
    return raw[start : start + size]


@dataclass(frozen=True)
class Machine:
    """What a number of threads can do at most.

    Attributes
    ----------
    threads : int
        How many.
    flops : mapping of str to float
        Multiplications and additions a second, by dtype.
    traffic : tuple of (int, float)
        For a few sizes in bytes the bytes read and written a second when so many are copied.
    """

    threads: int
    flops: Mapping[str, float]
    traffic: tuple[tuple[int, float], ...]

    def seconds(self, flops: Mapping[str, float], nbytes: float) -> float:
        """Return how long it takes at least to do so many operations and to move so many bytes: the roof.

        Between the sizes that were measured, the rate of moving is interpolated.

        Examples
        --------
        >>> machine = Machine(1, {"float32": 1e9}, ((1000, 1e9), (100_000, 1e8)))
        >>> machine.seconds({"float32": 5e6}, 1000), round(machine.seconds({}, 200_000), 9)
        (0.005, 0.002)
        """
        arithmetic = sum(count / self.flops[dtype] for dtype, count in flops.items())
        return max(arithmetic, nbytes / self._rate(nbytes))

    def _rate(self, nbytes: float) -> float:
        sizes, rates = zip(*self.traffic, strict=True)
        return float(np.exp(np.interp(np.log(max(nbytes, 1)), np.log(sizes), np.log(rates))))


@functools.cache
def measure(threads: int) -> Machine:
    """Measure what that many threads can do at most; takes some tenths of a second, once in a process.

    Examples
    --------
    >>> measure(1).seconds({}, 1 << 20) > 0
    True
    """
    traffic = tuple((size, size / copy_seconds(size, threads)) for size in RUNGS)
    return Machine(threads, {str(d): flops_per_second(threads, d) for d in FLOATS}, traffic)


def _at_once(calls: list[Callable[[], None]]) -> Array:
    """Make calls at the same time; return when each began, and when it ended, in seconds."""
    start, (begins, ends) = threading.Barrier(len(calls)), np.zeros((2, len(calls)))

    def work(number: int) -> None:
        start.wait()
        begins[number] = time.perf_counter()
        calls[number]()
        ends[number] = time.perf_counter()

    others = [threading.Thread(target=work, args=(k,)) for k in range(1, len(calls))]
    for thread in others:
        thread.start()
    work(0)
    for thread in others:
        thread.join()
    return np.stack([begins, ends])
