"""The frameworks that are compared: one file each, imported only in the process where it takes part."""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.workload import Array, Workload

__all__ = ["PEERS", "Entry", "Peer", "Runner", "installed", "load", "versions"]


@dataclass(frozen=True)
class Entry:
    """What is known of a framework without importing it.

    Attributes
    ----------
    label : str
        Shown in tables.
    module : str
        Says how it takes part.
    packages : tuple of str
        What has to be installed; their versions are shown.
    """

    label: str
    module: str
    packages: tuple[str, ...]


# graphc is what the others are compared with.
PEERS = {
    "graphc": Entry("graphc", "graphc_compiled", ("graphc", "numba", "llvmlite")),
    "torch": Entry("torch, eager", "torch_eager", ("torch",)),
    "torch_compile": Entry("torch.compile", "torch_compiled", ("torch",)),
    "jax": Entry("jax.jit", "jax_jit", ("jax", "jaxlib")),
    "pytensor": Entry("PyTensor, Numba", "pytensor_numba", ("pytensor",)),
    "tensorflow": Entry("TensorFlow, Session", "tensorflow_session", ("tensorflow-cpu",)),
    "onnxruntime": Entry("ONNX Runtime", "onnxruntime_session", ("onnxruntime", "onnx")),
    "numpy": Entry("NumPy, by hand", "numpy_loop", ("numpy",)),
    "numba": Entry("Numba, by hand", "numba_loop", ("numba",)),
}


class Runner(Protocol):
    """A workload in a framework, ready to be called."""

    def prepare(self, feed: Mapping[str, Array]) -> Any:
        """Return inputs in the form in which the framework takes them."""

    def reset(self) -> None:
        """Start over from the first weights."""

    def step(self, feed: Any) -> Any:
        """Run once; return the results when they are computed."""

    def arrays(self, results: Any) -> list[Array]:
        """Return the results of a step, laid out as the workload describes them."""

    def compilations(self) -> int:
        """Return how many times anything has been compiled since the runner was made."""


@dataclass(frozen=True)
class Peer:
    """How a framework takes part.

    Attributes
    ----------
    build : callable
        Makes the runner of a workload; the flag says that the size of the batch will vary.
        Raises `UnsupportedError` where the framework has no good way.
    keep_compiled_in : callable
        Makes the framework keep what it compiles in a directory; does nothing for one that
        does not compile, or does not keep anything.
    """

    build: Callable[[Workload, bool], Runner]
    keep_compiled_in: Callable[[str], None] = lambda directory: None


def load(name: str) -> Peer:
    """Import a framework."""
    peer: Peer = importlib.import_module(f"benchmarks.peers.{PEERS[name].module}").PEER
    return peer


_ASK = """
import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@functools.cache
def versions(name: str, python: str = sys.executable) -> Mapping[str, str]:
    """Return the versions of a framework's packages that an interpreter finds."""
    command = [python, "-c", _ASK, *PEERS[name].packages]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def installed(name: str, python: str = sys.executable) -> bool:
    """Tell whether an interpreter finds a framework, without importing it."""
    return len(versions(name, python)) == len(PEERS[name].packages)
