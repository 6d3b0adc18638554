"""The frameworks that are compared: one file each, imported only when it takes part."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.workloads import Workload

__all__ = ["PEERS", "Peer", "Trainer", "installed", "load"]

# What each takes part as, and the module that says how; graphc is what the others are compared with.
PEERS = {
    "graphc": "benchmarks.peers.graphc_compiled",
    "torch": "benchmarks.peers.torch_eager",
    "jax": "benchmarks.peers.jax_jit",
}


class Trainer(Protocol):
    """A network, an optimizer and one batch, ready to be stepped."""

    def reset(self) -> None:
        """Start over from the first weights."""

    def step(self) -> Any:
        """Take one training step; return the loss once it is computed."""


@dataclass(frozen=True)
class Peer:
    """How a framework takes part.

    Attributes
    ----------
    label : str
        Shown in tables.
    train : callable
        Builds the trainer of a workload.
    keep_compiled_in : callable
        Makes the framework keep what it compiles in a directory; does nothing for one that
        does not compile.
    """

    label: str
    train: Callable[[Workload], Trainer]
    keep_compiled_in: Callable[[str], None]


def installed(name: str) -> bool:
    """Tell whether a framework can be imported, without importing it."""
    return importlib.util.find_spec(name) is not None


def load(name: str) -> Peer:
    """Import a framework."""
    peer: Peer = importlib.import_module(PEERS[name]).PEER
    return peer
