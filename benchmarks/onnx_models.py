"""Models that others made, in ONNX's format: load, compile and run them, beside ONNX Runtime.

The networks come with the package onnx, which leaves their weights out; they get random ones here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import children
from benchmarks.agreement import require_equal
from benchmarks.tables import Table, seconds
from benchmarks.workload import Array

__all__ = ["BATCHES", "MODELS", "Figures", "figures", "measure", "table_of"]

MODELS = ("squeezenet", "shufflenet", "resnet50", "inception_v1", "inception_v2", "densenet121")
BATCHES = (1, 8)
# Results of long chains of convolutions; differences count relative to the largest element.
TOLERANCE = 1e-3
# Seconds between turns: idle threads of ONNX Runtime look for work for a while, on the other's CPUs.
PAUSE = 0.1


@dataclass
class Figures:
    """Seconds of one model at one batch size.

    Attributes
    ----------
    graphc, onnxruntime : list of float
        Calls, in turns.
    cold, warm, session : float
        Importing and compiling with an empty cache of kernels, with a full one, and making a session.
    """

    graphc: list[float] = field(default_factory=list)
    onnxruntime: list[float] = field(default_factory=list)
    cold: float = 0.0
    warm: float = 0.0
    session: float = 0.0


def _model(name: str, batch: int) -> tuple[Any, str, Array]:
    """Return a model with random weights for a batch size, its input's name, and what to feed."""
    import onnx
    import onnx.backend.test
    from onnx import numpy_helper

    (place,) = (Path(onnx.backend.test.__file__).parent / "data" / "light").glob(f"light_{name}.onnx")
    model = onnx.load(place)
    graph, rng = model.graph, np.random.default_rng(0)
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "ConstantOfShape" and n.input[0] in known]:
        drawn = _drawn(rng, tuple(map(int, known[node.input[0]])))
        graph.initializer.append(numpy_helper.from_array(drawn, node.output[0]))
        graph.node.remove(node)
    # Shapes that say one image are to say as many as there are.
    weights = {i.name for i in graph.initializer}
    shapes = {n.input[1] for n in graph.node if n.op_type == "Reshape" and n.input[0] not in weights}
    for shape in (i for i in graph.initializer if i.name in shapes):
        sizes = numpy_helper.to_array(shape).copy()
        sizes[:1] = np.where(sizes[:1] == 1, 0, sizes[:1])
        shape.CopyFrom(numpy_helper.from_array(sizes, shape.name))
    stored = {i.name for i in graph.initializer}
    (fed,) = (v for v in graph.input if v.name not in stored)
    for value in (fed, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del graph.value_info[:]
    shape = [d.dim_value for d in fed.type.tensor_type.shape.dim]
    return model, fed.name, rng.normal(size=shape).astype("float32")


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return weights that keep the variance of what passes through (He et al., 2015); scales near 1."""
    if len(shape) < 2:
        return rng.uniform(0.5, 1.0, shape).astype("float32")
    return (rng.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5).astype("float32")


def _compile(model: Any) -> Any:
    import graphc as gx

    return gx.onnx.load(model, weights="constants").compile()


def _start(name: str, batch: str, directory: str) -> dict[str, float]:
    """Be the child: import graphc, then time importing the model and compiling it."""
    from graphc.runtime.object_cache import set_cache_dir

    set_cache_dir(directory)
    model, _, _ = _model(name, int(batch))
    started = time.perf_counter()
    _compile(model)
    return {"seconds": time.perf_counter() - started}


def measure(python: str, name: str, batch: int, rounds: int) -> Figures:
    """Return the figures of one model.

    Raises
    ------
    DisagreementError
        If the two do not compute the same.
    """
    import onnxruntime

    from benchmarks.machine import usable_cpus

    model, fed, x = _model(name, batch)
    found = Figures()
    with tempfile.TemporaryDirectory() as directory:
        for part in ("cold", "warm"):
            answer = children.ask(python, "benchmarks.onnx_models", name, str(batch), directory)
            setattr(found, part, answer["seconds"])
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = usable_cpus(), 3
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    found.session = time.perf_counter() - started
    program = _compile(model)
    (ours,) = program(x).values()
    (theirs,) = session.run(None, {fed: x})
    require_equal("graphc", [ours], "onnxruntime", [theirs], TOLERANCE)
    for _ in range(rounds):
        found.graphc.append(_call(lambda: program(x)))
        found.onnxruntime.append(_call(lambda: session.run(None, {fed: x})))
    return found


def _call(run: Callable[[], object]) -> float:
    """Return the seconds of a call, after another one, when the other's threads have gone to sleep."""
    time.sleep(PAUSE)
    run()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def table_of(found: Mapping[tuple[str, int], Figures]) -> Table:
    """Return the table of all models, of medians; the ratio is ONNX Runtime's time to graphc's."""
    heads = ("model", "batch", "graphc", "ONNX Runtime", "ratio", "compile, cold", "warm", "session")
    table = Table("ONNX models", heads)
    for (name, batch), f in found.items():
        ratio = median(b / a for a, b in zip(f.graphc, f.onnxruntime, strict=True))
        calls = (seconds(median(f.graphc)), seconds(median(f.onnxruntime)), f"{ratio:.2f}")
        table.rows.append((name, str(batch), *calls, *map(seconds, (f.cold, f.warm, f.session))))
    return table


def figures(found: Mapping[tuple[str, int], Figures]) -> Sequence[dict[str, Any]]:
    """Return the figures as JSON."""
    return [{"model": name, "batch": batch, **asdict(f)} for (name, batch), f in found.items()]


if __name__ == "__main__":
    children.answer(_start)
