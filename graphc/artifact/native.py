"""Machine code in a file: the objects that programs call, and the machines that they are for."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import llvmlite
from llvmlite import binding as llvm

import graphc
from graphc.artifact.container import Container, Writer
from graphc.runtime import control_llvm, features, runner, team
from graphc.runtime import kernels as native
from graphc.runtime.compiled_object import CompiledObject

__all__ = ["Objects", "Target", "link", "obstacle", "target"]

# Raised when images, args blocks or step tables change their meaning.
NATIVE_VERSION = 1
Target = dict[str, Any]


def target() -> Target:
    """Return what machine code of this process needs, as it is written into a file."""
    return {
        "native": NATIVE_VERSION,
        "graphc": graphc.__version__,
        "llvmlite": llvmlite.__version__,
        "triple": llvm.get_process_triple(),
        "features": list(features.cpu_features()),
    }


def obstacle(needed: Target) -> str | None:
    """Return why machine code cannot run in this process, or None if it can."""
    here = target()
    for what in ("native", "graphc", "llvmlite", "triple"):
        if needed.get(what) != here[what]:
            return f"it was made for {what} {needed.get(what)}, this is {here[what]}"
    missing = sorted(set(needed.get("features", ())) - set(here["features"]))
    return f"this CPU lacks {', '.join(missing)}" if missing else None


class Objects:
    """Collects the objects of several programs, each once."""

    def __init__(self) -> None:
        self._objects: list[CompiledObject] = []
        self._numbers: dict[str, int] = {}
        self._identities: dict[int, str] = {}

    def add(self, compiled: CompiledObject) -> int:
        """Return the number of an object."""
        number = self._numbers.setdefault(compiled.symbol, len(self._objects))
        if number == len(self._objects):
            self._objects.append(compiled)
        return number

    def add_runtime(self) -> None:
        """Add what walks step tables, runs loops and shares work, so that no process compiles it."""
        for load in (runner.address, runner.starter, control_llvm.loop, control_llvm.switch, team.prepare):
            load()
        for identity, compiled in sorted(native.handwritten().items()):
            if compiled.symbol.startswith("graphc_"):
                self._identities[self.add(compiled)] = identity

    def write(self, writer: Writer) -> None:
        """Write the sections ``native/table`` and ``native/code``."""
        ends = list(accumulate(len(o.object_code) for o in self._objects))
        rows = [
            {"symbol": o.symbol, "place": [start, end], "identity": self._identities.get(k)}
            for k, (o, start, end) in enumerate(zip(self._objects, [0, *ends], ends, strict=False))
        ]
        writer.add_json("native/table", rows)
        writer.add("native/code", [o.object_code for o in self._objects])


def link(container: Container) -> tuple[list[int], list[CompiledObject]]:
    """Make the objects of a file that is trusted callable; return their addresses, and themselves."""
    code, rows = container.view("native/code"), container.json("native/table")
    objects = [CompiledObject(bytes(code[slice(*row["place"])]), row["symbol"], b"") for row in rows]
    identities = {row["symbol"]: row["identity"] for row in rows if row["identity"] is not None}
    return native.adopt(objects, identities), objects
