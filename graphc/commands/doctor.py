"""``graphc doctor``: what a report of a problem should say about the machine, and a self-test."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphc import __version__
from graphc.commands import cache, terminal
from graphc.commands.command import Command, add_json, print_json, seconds_text
from graphc.errors import GraphcError

__all__ = ["COMMAND"]

_REQUIRED = ("numpy", "numba", "llvmlite", "networkx")
_OPTIONAL = ("igraph", "matplotlib", "onnx", "safetensors", "scikit-learn", "tqdm")
_MEGABYTE = 1_000_000
_ABSENT = "not installed"


@dataclass(frozen=True)
class _Fact:
    """One line: what was found, and whether that is wrong."""

    name: str
    value: str
    wrong: bool = False


def _facts(quick: bool) -> Iterator[_Fact]:
    yield _Fact("graphc", __version__)
    yield _Fact("python", f"{platform.python_implementation()} {platform.python_version()}")
    yield _Fact("platform", platform.platform())
    for package in _REQUIRED:
        version = _version(package)
        yield _Fact(package, version or _ABSENT, wrong=version is None)
    for package in _OPTIONAL:
        yield _Fact(package, _version(package) or f"{_ABSENT} (optional)")
    if _version("llvmlite") is None:
        return  # without it there is nothing to ask about the CPU
    yield from _machine()
    yield from _cache()
    if not quick:
        yield _self_test()


def _version(package: str) -> str | None:
    # Deferred: it takes longer to import than the rest of the command line, help included.
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> Iterator[_Fact]:
    from graphc.runtime import features, team

    yield _Fact("cpu", f"{features.cpu_name()}, {os.cpu_count()} threads")
    yield _Fact("threads used", str(team.get_num_threads()))
    yield _Fact("vector registers", f"{features.vector_bytes()} bytes")
    yield _Fact("cpu features", " ".join(features.cpu_features()))


def _cache() -> Iterator[_Fact]:
    from graphc.runtime import object_cache

    found = cache.health(object_cache.active().directory)
    yield _Fact("kernel cache", str(found.directory))
    state = [f"{found.kernels} kernels, {found.size / _MEGABYTE:.1f} MB"]
    state += [f"{len(found.damaged)} damaged: graphc cache verify --delete"] if found.damaged else []
    state += [f"not used: {found.trouble}"] if found.trouble else []
    yield _Fact("cached kernels", "; ".join(state), wrong=bool(found.damaged or found.trouble))


def _self_test() -> _Fact:
    """Compile a small program anew and compare what it computes with the interpreter."""
    try:
        with terminal.waiting("self-test"):
            started = time.perf_counter()
            trouble = _disagreement()
    except (GraphcError, OSError, RuntimeError) as error:
        trouble = f"{type(error).__name__}: {error}"
    if trouble:
        return _Fact("self-test", f"FAILED: {trouble}", wrong=True)
    return _Fact("self-test", f"compiled and right, {seconds_text(time.perf_counter() - started)}")


def _disagreement() -> str:
    """Return what differs between a program and its interpretation; nothing if all is well."""
    import numpy as np

    import graphc as gx
    from graphc.runtime import object_cache

    x = gx.placeholder("x", shape=("n", 64))
    w = gx.constant(np.linspace(-1, 1, 64 * 64, dtype="float32").reshape(64, 64))
    outputs = {"rows": gx.softmax(gx.tanh(x @ w)), "sum": gx.sum(gx.exp(-x))}
    values = np.random.default_rng(0).standard_normal((33, 64)).astype("float32")
    before = object_cache.active().directory
    with tempfile.TemporaryDirectory(prefix="graphc-doctor-") as folder:
        object_cache.set_cache_dir(folder)
        try:
            found: dict[str, Any] = gx.compile(x, outputs, name="self_test")(values)
        finally:
            object_cache.set_cache_dir(before)
    wanted = gx.evaluate(outputs, {x: values})
    wrong = [name for name, a in found.items() if not np.allclose(a, wanted[name], rtol=1e-4, atol=1e-6)]
    return f"another {' and '.join(wrong)} than the interpreter's" if wrong else ""


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="without the self-test")
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    facts = []
    for fact in _facts(arguments.quick):
        facts.append(fact)
        if not arguments.json:
            shown = terminal.paint(fact.value, "red", sys.stdout) if fact.wrong else fact.value
            print(f"{fact.name:{_WIDTH}}  {shown}", flush=True)
    sound = not any(fact.wrong for fact in facts)
    if arguments.json:
        print_json({"sound": sound, **{fact.name: fact.value for fact in facts}})
    return int(not sound)


_WIDTH = len("vector registers")

COMMAND = Command("doctor", "Show versions, CPU and cache, and test that graphc works.", _declare, _run)
