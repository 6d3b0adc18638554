"""Machine code in a file: what programs call, as blocks that need no linker, and the machines it is for."""

from __future__ import annotations

import platform
import sys
from itertools import accumulate
from typing import Any

import llvmlite

import graphc
from graphc.artifact import hashing
from graphc.artifact.container import Container, Writer
from graphc.runtime import control_llvm, cpu, llvm_functions, runner, team
from graphc.runtime.compiled_object import CompiledObject
from graphc.runtime.flat_code import FlatCode

__all__ = ["Blocks", "Target", "link", "obstacle", "target"]

# Raised when images, args blocks or step tables change their meaning, or blocks of code their form.
NATIVE_VERSION = 2
Target = dict[str, Any]


def _here() -> Target:
    """Return what machine code must have been made for, to the letter, to run in this process."""
    return {
        "native": NATIVE_VERSION,
        "graphc": graphc.__version__,
        "llvmlite": llvmlite.__version__,
        "system": f"{sys.platform} on {platform.machine()}",
    }


def target() -> Target | None:
    """Return what machine code of this process needs, as it is written; None if a file can hold none."""
    # Deferred: only writing has to do with the compiler.
    from graphc.runtime import features, flattening

    if not flattening.is_supported():
        return None
    needed = [name for name in cpu.needed(features.cpu_features()) if " " not in name]
    return {**_here(), "features": needed}


def obstacle(needed: Target | None) -> str | None:
    """Return why machine code cannot run in this process, or None if it can."""
    if needed is None:
        return "it holds no machine code"
    for what, here in _here().items():
        if needed.get(what) != here:
            return f"it was made for {what} {needed.get(what)}, this is {here}"
    asked = needed.get("features", ())
    missing = [*cpu.unknown(asked), *cpu.lacking(asked)]
    return f"this CPU lacks {', '.join(missing)}" if missing else None


class Blocks:
    """Collects the code of several programs, each function once."""

    def __init__(self) -> None:
        self._blocks: list[FlatCode] = []
        self._numbers: dict[str, int] = {}
        self._identities: dict[int, str] = {}

    def add(self, code: CompiledObject | FlatCode) -> int:
        """Return the number of a function."""
        # Deferred, as above.
        from graphc.runtime.flattening import flatten

        number = self._numbers.setdefault(code.symbol, len(self._blocks))
        if number == len(self._blocks):
            self._blocks.append(code if isinstance(code, FlatCode) else flatten(code))
        return number

    def add_runtime(self) -> None:
        """Add what walks step tables, runs loops, shares work and hashes, so that no process compiles it."""
        control = control_llvm.loop, control_llvm.switch
        for load in (runner.address, runner.starter, *control, team.prepare, hashing.prepare):
            load()
        for identity, code in sorted(llvm_functions.loaded().items()):
            if code.symbol.startswith("graphc_"):
                self._identities[self.add(code)] = identity

    def write(self, writer: Writer) -> None:
        """Write the sections ``native/table`` and ``native/code``."""
        ends = list(accumulate(len(b.code) for b in self._blocks))
        rows = [
            {
                "symbol": b.symbol,
                "place": [start, end],
                "entry": b.entry,
                "imports": b.imports,
                "identity": self._identities.get(k),
            }
            for k, (b, start, end) in enumerate(zip(self._blocks, [0, *ends], ends, strict=False))
        ]
        writer.add_json("native/table", rows)
        writer.add("native/code", [b.code for b in self._blocks])


def link(container: Container) -> tuple[list[int], list[FlatCode]]:
    """Put the code of a file that is trusted into memory; return the functions' addresses, and the blocks."""
    code, rows = container.view("native/code"), container.json("native/table")
    blocks = [
        FlatCode(
            row["symbol"],
            bytes(code[slice(*row["place"])]),
            row["entry"],
            tuple((place, name) for place, name in row["imports"]),
        )
        for row in rows
    ]
    identities = {row["symbol"]: row["identity"] for row in rows if row["identity"] is not None}
    return llvm_functions.adopt(blocks, identities), blocks
