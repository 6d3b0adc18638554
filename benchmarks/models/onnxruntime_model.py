"""ONNX Runtime: a model becomes a session."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime

from benchmarks.machine import usable_cpus
from benchmarks.models import Case, Step
from benchmarks.workload import Array

# Errors only: it warns of weights that the models list among their inputs.
SEVERITY = 3


def opened(case: Case, feed: Array, directory: str) -> Step:
    """Make a session, with all optimizations; nothing is kept."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = usable_cpus(), SEVERITY
    session = onnxruntime.InferenceSession(str(case.onnx), settings, providers=["CPUExecutionProvider"])
    (fed,) = (value.name for value in session.get_inputs())

    def step() -> Sequence[Array]:
        found: Sequence[Array] = session.run(None, {fed: feed})
        return found

    return step
