"""Functions written in LLVM IR: what walks tables, runs loops and shares work.

Artifacts bring them along in compiled form, so processes that load one do without the compiler.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from graphc.runtime import flat_code
from graphc.runtime.flat_code import FlatCode

if TYPE_CHECKING:
    from graphc.runtime.compiled_object import CompiledObject

__all__ = ["adopt", "load_llvm", "loaded"]


class _Loaded(NamedTuple):
    address: int
    code: CompiledObject | FlatCode


# By a hash of their text, which says what they do on every machine.
_loaded: dict[str, _Loaded] = {}


def load_llvm(name: str, text: str, symbol: str) -> int:
    """Make a function written in LLVM IR callable.

    Parameters
    ----------
    name : str
        Label in front of its symbol.
    text : str
        LLVM IR that defines `symbol`.
    symbol : str
        Function to make callable.

    Returns
    -------
    int
        Its address.

    Raises
    ------
    KernelError
        If the text is not valid.

    Examples
    --------
    >>> load_llvm("seven", "define i64 @seven() { ret i64 7 }", "seven") != 0
    True
    """
    identity = hashlib.sha256(f"{symbol}\0{text}".encode()).hexdigest()
    if identity not in _loaded:
        # Deferred: what artifacts bring along needs no compiler.
        from graphc.runtime.kernels import compile_llvm

        _loaded[identity] = _Loaded(*compile_llvm(name, text, symbol))
    return _loaded[identity].address


def loaded() -> dict[str, CompiledObject | FlatCode]:
    """Return the compiled forms of what was made callable so far, by the hash that names their text.

    Examples
    --------
    >>> before = len(loaded())
    >>> _ = load_llvm("eight", "define i64 @eight() { ret i64 8 }", "eight")
    >>> len(loaded()) > before
    True
    """
    return {identity: found.code for identity, found in _loaded.items()}


def adopt(blocks: Sequence[FlatCode], identities: Mapping[str, str]) -> list[int]:
    """Make code callable that comes from elsewhere: no cache and no compiler is asked.

    Parameters
    ----------
    blocks : sequence of FlatCode
        For this CPU, by someone who is trusted.
    identities : mapping of str to str
        Of those that `load_llvm` would load: by symbol, the hash that `loaded` gives.

    Returns
    -------
    list of int
        Their addresses.

    Raises
    ------
    KernelError, UnsupportedError
        As in `flat_code.place`.
    """
    addresses = flat_code.place(blocks)
    for block, address in zip(blocks, addresses, strict=True):
        if block.symbol in identities:
            _loaded.setdefault(identities[block.symbol], _Loaded(address, block))
    return addresses
