"""What a CPU must have for a program's code: how to ask it, before anything of that runs."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphc.runtime.flat_code import FlatCode, place

__all__ = ["SAVED_STATE", "Feature", "lacking", "needed", "unknown"]

Feature = tuple[int, int, int, int]
"""Leaf, part and register of CPUID, and the bits; or which registers the system must save."""

SAVED_STATE = -1
"""In the place of a leaf: the registers that the system saves."""

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


# System V calling convention.  asks(leaf, part, where to put the four registers):
# push rbx; mov r8, rdx; mov eax, edi; mov ecx, esi; cpuid; mov [r8], eax; mov [r8 + 4], ebx;
# mov [r8 + 8], ecx; mov [r8 + 12], edx; pop rbx; ret
_CPUID = bytes.fromhex("53 4989d0 89f8 89f1 0fa2 418900 41895804 41894808 4189500c 5b c3")
# saved(): xor ecx, ecx; xgetbv; shl rdx, 32; or rax, rdx; ret
_XGETBV = bytes.fromhex("31c9 0f01d0 48c1e220 4809d0 c3")
_OSXSAVE = (1, 0, _ECX, 1 << 27)


def unknown(features: Iterable[str]) -> list[str]:
    """Return the features that `needed` knows nothing of.

    Examples
    --------
    >>> unknown(["avx", "a feature of the future"])
    ['a feature of the future']
    """
    return [name for name in features if name not in _BITS]


def lacking(features: Iterable[str]) -> list[str]:
    """Return which of these features the CPU of this process lacks, as far as code depends on them.

    Asks the CPU itself, as LLVM does, without LLVM.  It must be one that has CPUID.

    Examples
    --------
    >>> lacking([])
    []
    """
    return [name for name, feature in needed(features).items() if not _has(feature)]


def _has(feature: Feature) -> bool:
    leaf, part, register, bits = feature
    return _register(leaf, part, register) & bits == bits


@functools.cache
def _register(leaf: int, part: int, register: int) -> int:
    if leaf == SAVED_STATE:
        # Without the system's leave, asking for the saved registers is an illegal instruction.
        return int(_function("xgetbv", _XGETBV, ctypes.c_uint64)()) if _has(_OSXSAVE) else 0
    # The leaf 0 says how many there are, and 0x80000000 how many of the others.
    most = leaf & 0x80000000
    if leaf != most and _register(most, 0, _EAX) < leaf:
        return 0
    found = (ctypes.c_uint32 * 4)()
    _function("cpuid", _CPUID, None)(ctypes.c_uint32(leaf), ctypes.c_uint32(part), found)
    return found[register]


@functools.cache
def _function(name: str, code: bytes, result: Any) -> Callable[..., Any]:
    (address,) = place([FlatCode(f"graphc_{name}", code, 0)])
    return ctypes.CFUNCTYPE(result, *_PARAMETERS[name])(address)


_PARAMETERS = {"cpuid": (ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p), "xgetbv": ()}
