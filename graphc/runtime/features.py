"""What decides the object code beside the kernel text: the host CPU and the tool versions."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llvmlite
from llvmlite import binding as llvm

__all__ = ["LEVELS", "cpu_features", "cpu_name", "fingerprint", "limited", "target_features", "vector_bytes"]

# Raised when the calling convention or the layout of cached objects changes.
_ABI_VERSION = 2
_VECTOR_BYTES = (("avx512f", 64), ("avx", 32), ("sve2", 16), ("neon", 16), ("sse2", 16))
_WIDEST_VECTORS = {"x86_64": "-prefer-256-bit"}
# Files whose text reaches every kernel without being part of its source.
_DEVICE_CODE = (
    "codegen/device*.py",
    "codegen/mathlib*.py",
    "codegen/mathlib/*.py",
    "codegen/tile*.py",
    "codegen/tile/*.py",
    "frontend/*.py",
    "runtime/target.py",
)


# Beginnings of the names of features that are newer than a level, or that only some makers' CPUs have.
_BEYOND_V3 = (
    *(
        "adx",
        "aes",
        "amx",
        "avx10",
        "avx512",
        "avxifma",
        "avxneconvert",
        "avxvnni",
        "ccmp",
        "cf",
        "cmpccxadd",
    ),
    *("egpr", "evex512", "fma4", "fsgsbase", "gfni", "lwp", "movdir", "ndd", "nf", "pclmul", "ppx", "prfchw"),
    *("push2pop2", "sha", "sm3", "sm4", "sse4a", "tbm", "vaes", "vpclmulqdq", "xop", "zu"),
)
# Levels of the x86-64 psABI, and what lies beyond each.
LEVELS = {
    "x86-64-v3": _BEYOND_V3,
    "x86-64": (
        *_BEYOND_V3,
        *("avx", "bmi", "crc32", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sahf", "sse3", "sse4"),
        *("ssse3", "xsave"),
    ),
}
_level: str | None = None


@contextmanager
def limited(level: str) -> Iterator[None]:
    """Compile for a CPU with fewer features than the host has.

    Parameters
    ----------
    level : str
        A key of `LEVELS`: ``x86-64-v3`` has AVX2 and FMA, ``x86-64`` has SSE2 alone.

    Examples
    --------
    >>> with limited("x86-64"):
    ...     cpu_name(), vector_bytes()
    ('x86-64', 16)
    """
    global _level
    before, _level = _level, level
    _forget()
    try:
        yield
    finally:
        _level = before
        _forget()


def _forget() -> None:
    for known in (cpu_name, _feature_map, cpu_features, target_features, vector_bytes, fingerprint):
        known.cache_clear()


@functools.cache
def cpu_name() -> str:
    """Return LLVM's name for the CPU that kernels are compiled for: the host's.

    Examples
    --------
    >>> len(cpu_name()) > 0
    True
    """
    return _level or str(llvm.get_host_cpu_name())


@functools.cache
def _feature_map() -> dict[str, bool]:
    try:
        host = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot detect them on this platform; the CPU name decides alone
        return {}
    beyond = LEVELS[_level] if _level is not None else ()
    return {name: present and not name.startswith(beyond) for name, present in host.items()}


@functools.cache
def cpu_features() -> tuple[str, ...]:
    """Return the instruction set extensions that kernels may use, sorted: those that the host really has.

    Examples
    --------
    >>> cpu_features() == tuple(sorted(cpu_features()))
    True
    """
    return tuple(sorted(name for name, present in _feature_map().items() if present))


@functools.cache
def target_features() -> str:
    """Return the feature string for a target machine that uses the widest vectors of the host.

    Absent features are disabled by name, since a hypervisor may mask what the CPU model implies.
    """
    flags = [f"{'+' if present else '-'}{name}" for name, present in sorted(_feature_map().items())]
    architecture = str(llvm.get_process_triple()).partition("-")[0]
    if architecture in _WIDEST_VECTORS:
        flags.append(_WIDEST_VECTORS[architecture])
    return ",".join(flags)


@functools.cache
def vector_bytes() -> int:
    """Return the width of the widest vector register in bytes.

    Examples
    --------
    >>> vector_bytes() in (16, 32, 64)
    True
    """
    present = frozenset(cpu_features())
    return next((width for feature, width in _VECTOR_BYTES if feature in present), 16)


@functools.cache
def fingerprint(version: str = "") -> str:
    """Return the identity of the tool chain and the host, the same in every Python version.

    Parameters
    ----------
    version : str
        Version of graphc; the device code is hashed as well, so that a source checkout
        never reuses objects built from older text.

    Examples
    --------
    >>> fingerprint() == fingerprint()
    True
    """
    parts = (
        f"abi={_ABI_VERSION}",
        f"graphc={version}",
        f"device={_device_digest()}",
        f"llvmlite={llvmlite.__version__}",
        f"triple={llvm.get_process_triple()}",
        f"cpu={cpu_name()}",
        f"features={','.join(cpu_features())}",
    )
    return ";".join(parts)


def _device_digest() -> str:
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in (path for pattern in _DEVICE_CODE for path in sorted(root.glob(pattern))):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
