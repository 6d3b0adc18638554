"""From kernel sources to callable addresses: process table, then disk, then compiler."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import graphc
from graphc.runtime import concurrently, features, linker, object_cache, target
from graphc.runtime.compiled_object import CompiledObject
from graphc.runtime.kernel_source import KernelSource

__all__ = [
    "LoadedKernel",
    "asm",
    "compilations",
    "compile_llvm",
    "llvm",
    "load_kernels",
    "object_code",
]

_SYMBOL_HASH_DIGITS = 20


@dataclass(frozen=True)
class LoadedKernel:
    """A kernel that can be called at `address`, with the calling convention of `kernel_source`."""

    address: int
    key: str
    from_cache: bool


@dataclass(frozen=True)
class _Request:
    """A function to make callable: its symbol, and how to get the LLVM IR that defines it."""

    symbol: str
    text: Callable[[], str]
    unroll: bool = True


@dataclass(frozen=True)
class _Entry:
    kernel: LoadedKernel
    compiled: CompiledObject


_loaded: dict[str, _Entry] = {}
_compilations = 0


def load_kernels(sources: Sequence[KernelSource]) -> list[LoadedKernel]:
    r"""Make kernels callable; equal ones are compiled once and share an address.

    Parameters
    ----------
    sources : sequence of KernelSource
        The kernels a program needs.

    Returns
    -------
    list of LoadedKernel
        One for each source, in order.

    Examples
    --------
    >>> code = "def kernel(x, block, blocks, worker):\n    x[0] = x[1]\n"
    >>> first, second = load_kernels([KernelSource(name, (("x", "int64*"),), code) for name in "ab"])
    >>> first.address == second.address
    True
    """
    keyed = [(_key(source), source) for source in sources]
    _load({key: _request(key, source) for key, source in keyed})
    return [_loaded[key].kernel for key, _ in keyed]


def compile_llvm(name: str, text: str, symbol: str) -> tuple[int, CompiledObject]:
    """Make a function written in LLVM IR callable, through the same caches as kernels.

    Parameters
    ----------
    name : str
        Label in front of the symbol.
    text : str
        LLVM IR that defines `symbol`.
    symbol : str
        Function to make callable.

    Returns
    -------
    (int, CompiledObject)
        Its address, and its compiled form.

    Examples
    --------
    >>> address, compiled = compile_llvm("seven", "define i64 @seven() { ret i64 7 }", "seven")
    >>> compiled.symbol[:6]
    'seven_'
    """
    key = hashlib.sha256("\0".join((_fingerprint(), symbol, text)).encode()).hexdigest()
    public = _symbol(name, key)
    renamed = text.replace(f"@{symbol}(", f"@{public}(")
    _load({key: _Request(public, lambda: renamed)})
    found = _loaded[key]
    return found.kernel.address, found.compiled


def compilations() -> int:
    """Return how many kernels this process had to compile.

    Examples
    --------
    >>> compilations() >= 0
    True
    """
    return _compilations


def llvm(source: KernelSource) -> str:
    """Return the optimized LLVM IR of a kernel."""
    return _entry(source).compiled.llvm


def asm(source: KernelSource) -> str:
    """Return the assembly of a kernel; from the stored LLVM IR."""
    with linker.LLVM_LOCK:
        return target.assembly(llvm(source))


def object_code(source: KernelSource) -> CompiledObject:
    """Return the compiled form of a kernel, as it is written into artifacts."""
    return _entry(source).compiled


def _entry(source: KernelSource) -> _Entry:
    (kernel,) = load_kernels([source])
    return _loaded[kernel.key]


def _fingerprint() -> str:
    return features.fingerprint(getattr(graphc, "__version__", ""))


def _key(source: KernelSource) -> str:
    return source.key(_fingerprint())


def _symbol(name: str, key: str) -> str:
    return f"{name}_{key[:_SYMBOL_HASH_DIGITS]}"


def _request(key: str, source: KernelSource) -> _Request:
    symbol = _symbol(source.name, key)
    return _Request(symbol, partial(_module_text, source, symbol), source.unroll)


def _module_text(source: KernelSource, symbol: str) -> str:
    # Imported here because a warm start has no need of either.
    if source.frontend == "numba":
        from graphc.numba_frontend import kernel as by_numba

        return by_numba.kernel_module(source, symbol)
    from graphc.frontend.kernel import kernel_module

    return kernel_module(source, symbol)


def _load(requests: Mapping[str, _Request]) -> None:
    missing = [key for key in requests if key not in _loaded]
    if not missing:
        return
    with linker.LLVM_LOCK:
        found = _obtain({key: requests[key] for key in missing if key not in _loaded})
        addresses = linker.link({compiled.symbol: compiled.object_code for compiled, _ in found.values()})
        for key, (compiled, from_cache) in found.items():
            _loaded[key] = _Entry(LoadedKernel(addresses[compiled.symbol], key, from_cache), compiled)


def _obtain(requests: Mapping[str, _Request]) -> dict[str, tuple[CompiledObject, bool]]:
    """Return compiled objects, and whether they lay in the cache, in the order of the requests."""
    cache = object_cache.active()
    cached = {key: cache.load(key) for key in requests}
    missing = [key for key, compiled in cached.items() if compiled is None]
    made = dict(zip(missing, _compile_all([requests[key] for key in missing]), strict=True))
    for key, compiled in made.items():
        cache.store(key, compiled)
    return {key: (compiled or made[key], compiled is not None) for key, compiled in cached.items()}


def _compile_all(requests: Sequence[_Request]) -> list[CompiledObject]:
    # Imported here because the team's own code is loaded through this module.
    from graphc.runtime import team

    global _compilations
    # Written one after the other: `ast.parse` is not safe for threads in every Python version.
    jobs = [partial(target.compile_text, r.text(), r.symbol, r.unroll) for r in requests]
    compiled = concurrently.run_all(jobs, team.get_num_threads())
    _compilations += len(compiled)
    return compiled
