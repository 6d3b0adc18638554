"""Converters of ONNX operators, one module per family."""

from __future__ import annotations

import importlib
from functools import cache

FAMILIES = (
    "activations",
    "classical",
    "control",
    "conversion",
    "deformation",
    "draws",
    "elementwise",
    "indexing",
    "normalization",
    "products",
    "quantization",
    "recurrent",
    "reductions",
    "resizing",
    "sampling",
    "selection",
    "sequences",
    "shapes",
    "spectral",
    "training",
    "windows",
)


@cache
def load() -> None:
    """Fill the table of converters."""
    for family in FAMILIES:
        importlib.import_module(f"graphc.onnx.operators.{family}")
