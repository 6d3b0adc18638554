"""``graphc doctor``: what a report of a problem should say about the machine."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from importlib import metadata

from graphc import __version__
from graphc.commands.command import Command
from graphc.runtime import features, object_cache

__all__ = ["COMMAND"]

_REQUIRED = ("numpy", "numba", "llvmlite", "networkx")
_OPTIONAL = ("matplotlib", "safetensors", "scikit-learn", "tqdm")


def _facts() -> Iterator[tuple[str, str]]:
    yield "graphc", __version__
    yield "python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "platform", platform.platform()
    for package in (*_REQUIRED, *_OPTIONAL):
        yield package, _version(package)
    yield "cpu", f"{features.cpu_name()}, {os.cpu_count()} threads"
    yield "vector registers", f"{features.vector_bytes()} bytes"
    yield "cpu features", " ".join(features.cpu_features())
    yield "kernel cache", str(object_cache.active().directory)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed" if package in _REQUIRED else "not installed (optional)"


def _run(arguments: argparse.Namespace) -> int:
    facts = dict(_facts())
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return int(any(facts[package] == "not installed" for package in _REQUIRED))


COMMAND = Command("doctor", "Show versions, CPU features and the kernel cache.", lambda parser: None, _run)
