"""What the machine can do at most: multiply and add in registers, and copy memory."""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading
import time
from collections.abc import Callable

import numpy as np

from benchmarks.machine import usable_cpus
from graphc.runtime import features, kernels

__all__ = ["copy_seconds", "flops_per_second"]

# Sums in flight: more than the latency of an addition times the units that do it, on any CPU, and
# few enough for the registers.
ACCUMULATORS = 12
# Short, so that some turn meets nobody else on a busy machine.
TURN_SECONDS = 5e-3
TURNS = 40


def _loop_text(lanes: int) -> str:
    """Return LLVM IR of a loop that keeps `ACCUMULATORS` vectors in registers."""
    vector = f"<{lanes} x float>"
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
    fused = [
        f"  %b{k} = call {vector} @llvm.fma.v{lanes}f32({vector} %a{k}, {vector} %factor, {vector} %a{k})"
        for k in count
    ]
    total = [
        f"  %s{k} = fadd {vector} %{f's{k - 1}' if k > 1 else 'b0'}, %b{k}" for k in range(1, ACCUMULATORS)
    ]
    return "\n".join(
        [
            f"declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})",
            "define void @multiply_add(ptr %data, i64 %count) nounwind {",
            "entry:",
            *loads,
            f"  %factor = fneg {vector} %first0",
            "  br label %loop",
            "loop:",
            "  %n = phi i64 [ %count, %entry ], [ %left, %loop ]",
            *start,
            *fused,
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


def _at_once(calls: list[Callable[[], None]]) -> float:
    """Return seconds from a common start until all calls are done."""
    start, ends = threading.Barrier(len(calls)), [0.0] * len(calls)
    begins = list(ends)

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
    return max(ends) - min(begins)


@functools.cache
def flops_per_second(cores: int) -> float:
    """Return how many float32 multiplications and additions that many cores do, by a loop in registers."""
    lanes = features.vector_bytes() // 4
    text = _loop_text(lanes)
    address = kernels.load_llvm("multiply_add", text, "multiply_add").address
    loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)
    rng = np.random.default_rng(0)
    # Neither 0 nor infinity may come near: on some CPUs those are faster or slower.
    data = [rng.uniform(1e-9, 2e-9, ACCUMULATORS * lanes).astype(np.float32) for _ in range(cores)]
    count = 1 << 16

    def measure() -> float:
        return _at_once([functools.partial(loop, d.ctypes.data, count) for d in data])

    while measure() < TURN_SECONDS:
        count *= 2
    best = min(measure() for _ in range(TURNS))
    return 2.0 * lanes * ACCUMULATORS * count * cores / best


@functools.cache
def copy_seconds(nbytes: int) -> float:
    """Return how long it takes to read half of that many bytes and write them elsewhere.

    By one core or by all, whichever is faster; small sizes stay in caches, as they do in a workload.
    """
    half = max(nbytes // 2, 1)
    source, target = np.ones(half, np.uint8), np.zeros(half, np.uint8)
    repeats = max(1, round(1e-3 / max(half / 1e10, 1e-9)))

    def part(first: int, last: int) -> Callable[[], None]:
        to, source_at = target.ctypes.data + first, source.ctypes.data + first

        def copy() -> None:
            for _ in range(repeats):
                ctypes.memmove(to, source_at, last - first)

        return copy

    found = []
    for cores in {1, usable_cpus()}:
        edges = [half * k // cores for k in range(cores + 1)]
        calls = [part(a, b) for a, b in itertools.pairwise(edges)]
        found += [_at_once(calls) / repeats for _ in range(TURNS)]
    return min(found)
