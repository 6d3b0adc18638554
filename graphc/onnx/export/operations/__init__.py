"""Operations that ONNX has a spelling for, one module per family."""

from __future__ import annotations

import importlib
from functools import cache

FAMILIES = ("activations", "control", "indexing", "products", "running", "shapes", "windows")


@cache
def load() -> None:
    """Fill the table of spellings."""
    for family in FAMILIES:
        importlib.import_module(f"graphc.onnx.export.operations.{family}")
