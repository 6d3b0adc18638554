"""Models in files, and who runs them: one file each, imported only in the process where it takes part."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workload import Array

__all__ = ["OPENERS", "Case", "Model", "Opened", "Operation", "Step", "load"]

# What opens a model, by framework.
OPENERS = {
    "graphc": "graphc_model",
    "onnxruntime": "onnxruntime_model",
    "torch": "torch_model",
}


@dataclass(frozen=True)
class Operation:
    """A node of a model in ONNX's format."""

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model as data, for those who cannot read ONNX's format."""

    operations: Sequence[Operation]
    weights: Mapping[str, Array]
    fed: str
    results: Sequence[str]


@dataclass(frozen=True)
class Case:
    """A model and what to feed it, in a folder.

    Attributes
    ----------
    folder : Path
        Where its files are.
    """

    folder: Path

    @property
    def onnx(self) -> Path:
        """The model in ONNX's format."""
        return self.folder / "model.onnx"

    @property
    def data(self) -> Path:
        """The same model as data, unless it was exported from a module."""
        return self.folder / "model.pickle"

    @property
    def state(self) -> Path:
        """The weights of the module that the model was exported from, if it was."""
        return self.folder / "state.pt"

    @property
    def feed(self) -> Array:
        """What its one input is fed."""
        found: Array = np.load(self.folder / "feed.npy")
        return found

    def read(self) -> Model:
        """Return the model as data."""
        with self.data.open("rb") as file:
            found: Model = pickle.load(file)
        return found

    def write(self, onnx: bytes, feed: Array, model: Model | None = None) -> None:
        """Write a model's files."""
        self.onnx.write_bytes(onnx)
        np.save(self.folder / "feed.npy", feed)
        if model is None:
            return
        with self.data.open("wb") as file:
            pickle.dump(model, file)


Step = Callable[[], Sequence[Array]]
# Opens a case and binds what it is to be fed; what is compiled is kept in a directory.
Opened = Callable[[Case, Array, str], Step]


def load(name: str) -> Opened:
    """Import a framework; return what opens a case."""
    opener: Opened = importlib.import_module(f"benchmarks.models.{OPENERS[name]}").opened
    return opener
