"""What a CPU must have for a program's code: how a library asks it, before it runs anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphc.native_export.layout import SAVED_STATE

__all__ = ["Feature", "needed"]

Feature = tuple[int, int, int, int]
"""Leaf, part and register of CPUID, and the bits; or which registers the system must save."""

_EAX, _EBX, _ECX, _EDX = range(4)
_EXTENDED = 0x80000001
# By LLVM's names, the features whose instructions a compiler chooses by itself: the Intel SDM, volume 2,
# CPUID; the AMD APM, volume 3, appendix E.  Others, such as AES, occur only where they are asked for.
_BITS: Mapping[str, tuple[int, int, int, int]] = {
    "sse3": (1, 0, _ECX, 0),
    "ssse3": (1, 0, _ECX, 9),
    "fma": (1, 0, _ECX, 12),
    "cx16": (1, 0, _ECX, 13),
    "sse4.1": (1, 0, _ECX, 19),
    "sse4.2": (1, 0, _ECX, 20),
    "crc32": (1, 0, _ECX, 20),
    "movbe": (1, 0, _ECX, 22),
    "popcnt": (1, 0, _ECX, 23),
    "avx": (1, 0, _ECX, 28),
    "f16c": (1, 0, _ECX, 29),
    "bmi": (7, 0, _EBX, 3),
    "avx2": (7, 0, _EBX, 5),
    "bmi2": (7, 0, _EBX, 8),
    "avx512f": (7, 0, _EBX, 16),
    "avx512dq": (7, 0, _EBX, 17),
    "adx": (7, 0, _EBX, 19),
    "avx512ifma": (7, 0, _EBX, 21),
    "avx512cd": (7, 0, _EBX, 28),
    "avx512bw": (7, 0, _EBX, 30),
    "avx512vl": (7, 0, _EBX, 31),
    "avx512vbmi": (7, 0, _ECX, 1),
    "avx512vbmi2": (7, 0, _ECX, 6),
    "gfni": (7, 0, _ECX, 8),
    "avx512vnni": (7, 0, _ECX, 11),
    "avx512bitalg": (7, 0, _ECX, 12),
    "avx512vpopcntdq": (7, 0, _ECX, 14),
    "avx512vp2intersect": (7, 0, _EDX, 8),
    "avx512fp16": (7, 0, _EDX, 23),
    "avxvnni": (7, 1, _EAX, 4),
    "avx512bf16": (7, 1, _EAX, 5),
    "avxifma": (7, 1, _EAX, 23),
    "avxvnniint8": (7, 1, _EDX, 4),
    "avxneconvert": (7, 1, _EDX, 5),
    "avxvnniint16": (7, 1, _EDX, 10),
    "avx10.1": (7, 1, _EDX, 19),
    **dict.fromkeys(("egpr", "push2pop2", "ppx", "ndd", "ccmp", "nf", "cf", "zu"), (7, 1, _EDX, 21)),
    "sahf": (_EXTENDED, 0, _ECX, 0),
    "lzcnt": (_EXTENDED, 0, _ECX, 5),
    "sse4a": (_EXTENDED, 0, _ECX, 6),
    "prfchw": (_EXTENDED, 0, _ECX, 8),
    "xop": (_EXTENDED, 0, _ECX, 11),
    "fma4": (_EXTENDED, 0, _ECX, 16),
    "tbm": (_EXTENDED, 0, _ECX, 21),
}
# Registers that the system must save with each thread, by the bits of XCR0.
_SAVED: Mapping[str, int] = {"avx": 0x6, "avx512f": 0xE6, "egpr": 1 << 19}


def needed(features: Iterable[str]) -> dict[str, Feature]:
    """Return what to ask a CPU for, by words that say what it is.

    Examples
    --------
    >>> needed(["avx", "sgx"])
    {'avx': (1, 0, 2, 268435456), 'an operating system that saves the registers of avx': (-1, 0, 0, 6)}
    """
    found: dict[str, Feature] = {}
    for name in features:
        if name in _BITS:
            leaf, part, register, bit = _BITS[name]
            found[name] = leaf, part, register, 1 << bit
        if name in _SAVED:
            found[f"an operating system that saves the registers of {name}"] = SAVED_STATE, 0, 0, _SAVED[name]
    return found
