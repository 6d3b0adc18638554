"""The unit of native compilation: one kernel as Python text with typed parameters.

Compiled, it is a function ``void (int64* args, int64 block, int64 blocks, int64 worker)``: it takes
its own parameters from `args`, and computes part `block` of `blocks`; `worker` numbers the thread.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from graphc.errors import KernelError

__all__ = ["POINTER_DTYPES", "TRAILING", "Frontend", "KernelSource"]

Frontend = Literal["direct", "numba"]
"""What turns kernel code into LLVM IR: graphc itself, or Numba."""

TRAILING = ("block", "blocks", "worker")
"""Parameters that every kernel has after its own."""

POINTER_DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint32",
    "float32",
    "float64",
)
_KINDS = frozenset(["int64", *(f"{dtype}*" for dtype in POINTER_DTYPES)])


@dataclass(frozen=True)
class KernelSource:
    """One kernel before native compilation.

    Parameters
    ----------
    name : str
        Label that becomes part of the native symbol. It does not take part in the key, so
        structurally equal kernels are shared whatever they are called.
    params : tuple of (str, str)
        Parameter names and kinds in the order of the args block: ``"<dtype>*"`` is a pointer,
        ``"int64"`` a scalar.
    code : str
        Text that defines ``kernel(<params>, block, blocks, worker)``.
    unroll : bool
        Whether LLVM may unroll its loops beyond what vectorizing them interleaves.
    frontend : {"direct", "numba"}
        What turns the text into LLVM IR.

    Examples
    --------
    >>> code = '''def kernel(x, n, block, blocks, worker):
    ...     for i in range(n):
    ...         x[i] = x[i] + x[i]
    ... '''
    >>> source = KernelSource("double", (("x", "float32*"), ("n", "int64")), code)
    >>> len(source.key("fingerprint"))
    64
    """

    name: str
    params: tuple[tuple[str, str], ...]
    code: str
    unroll: bool = True
    frontend: Frontend = "direct"

    def __post_init__(self) -> None:
        """Refuse what could never compile, before it reaches a cache key."""
        if not (self.name.isidentifier() and self.name.isascii()):
            raise KernelError(f"kernel name {self.name!r} is not an ASCII identifier")
        for param, kind in self.params:
            if kind not in _KINDS:
                raise KernelError(f"kernel {self.name}: parameter {param!r} has unknown kind {kind!r}")

    def key(self, fingerprint: str) -> str:
        """Content hash that names the compiled form of this kernel.

        Parameters
        ----------
        fingerprint : str
            Identity of everything else that decides the object code (see `features.fingerprint`).

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        header = ",".join(f"{param}:{kind}" for param, kind in self.params)
        parts = (fingerprint, header, str(self.unroll), self.frontend, _without_comments(self.code))
        text = "\0".join((*parts, _numba_version() if self.frontend == "numba" else ""))
        return hashlib.sha256(text.encode()).hexdigest()


def _numba_version() -> str:
    # Deferred: it takes longer to import than anything else that a warm start needs.
    from importlib import metadata

    return metadata.version("numba")


def _without_comments(code: str) -> str:
    # Comments name the user's nodes and lines: two kernels that differ only there are one kernel.
    lines = (line.rstrip() for line in code.splitlines())
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
