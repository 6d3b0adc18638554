"""graphc: a model is imported and compiled."""

from __future__ import annotations

from collections.abc import Sequence

import graphc as gx
from benchmarks.models import Case, Step
from benchmarks.workload import Array
from graphc.onnx.model import load
from graphc.runtime.object_cache import set_cache_dir

# All that compiling needs: what is timed is not the import of Python's modules.
compiled = gx.compile


def opened(case: Case, feed: Array, directory: str) -> Step:
    """Import a model and compile it."""
    set_cache_dir(directory)
    program = load(case.onnx, weights="constants").compile()

    def step() -> Sequence[Array]:
        return list(program(feed).values())

    return step
