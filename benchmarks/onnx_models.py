"""Models that others made, in ONNX's format: load, compile and run them, beside ONNX Runtime and PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import children, peers, steps
from benchmarks.agreement import require_equal
from benchmarks.models import OPENERS, Case
from benchmarks.models.opening import seconds_to_open
from benchmarks.tables import Table, seconds
from benchmarks.vocabulary import UnsupportedError

__all__ = ["BATCHES", "ENCODER", "HOST", "MODELS", "Figures", "figures", "measure", "table_of", "takes_part"]

HOST = "benchmarks.models.host"
ENCODER = "encoder"
MODELS = ("squeezenet", "shufflenet", "resnet50", "inception_v1", "inception_v2", "densenet121", ENCODER)
BATCHES = (1, 8)
# Results of long chains of convolutions; differences count relative to the largest element.
TOLERANCE = 1e-3
# Openings of which the median counts; there is one with an empty cache.
OPENINGS = 3


@dataclass
class Figures:
    """What was found out about one model at one batch size.

    Attributes
    ----------
    line : Line
        Calls, by framework.
    cold, warm, session : float
        Seconds to import and compile with an empty cache of kernels, with a full one, and to make a session.
    """

    line: steps.Line
    cold: float
    warm: float
    session: float


def takes_part(pythons: Mapping[str, str]) -> dict[str, str]:
    """Return the interpreters of those that run models."""
    return {name: pythons[name] for name in OPENERS if name in pythons}


def measure(
    pythons: Mapping[str, str], served: Mapping[str, steps.Served], name: str, batch: int, rounds: int
) -> Figures:
    """Return the figures of one model.

    Parameters
    ----------
    pythons : mapping of str to str
        The frameworks, and the interpreter that finds each; graphc and ONNX Runtime are needed.
    served : mapping of str to Served
        The same, each in a process of its own.
    name, batch : str, int
        The model, and how many samples it is fed at once.
    rounds : int
        How many turns each framework gets.

    Raises
    ------
    UnsupportedError
        If nobody can write the model.
    FailedError
        If writing or opening it fails.
    """
    with tempfile.TemporaryDirectory() as place:
        case, kernels = Case(Path(place)), str(Path(place) / "kernels")
        _write(pythons, name, batch, case)
        cold, *warm = (
            seconds_to_open(pythons["graphc"], "graphc", case, kernels) for _ in range(1 + OPENINGS)
        )
        sessions = [
            seconds_to_open(pythons["onnxruntime"], "onnxruntime", case, kernels) for _ in range(OPENINGS)
        ]
        return Figures(timed(served, case, kernels, rounds), cold, median(warm), median(sessions))


def _write(pythons: Mapping[str, str], name: str, batch: int, case: Case) -> None:
    if name != ENCODER:
        children.ask(pythons["onnxruntime"], "benchmarks.models.light", name, str(batch), str(case.folder))
        return
    if "torch" not in pythons:
        raise UnsupportedError("PyTorch, which exports it, is not installed")
    children.ask(pythons["torch"], "benchmarks.models.encoder", str(batch), str(case.folder))


def timed(served: Mapping[str, steps.Served], case: Case, kernels: str, rounds: int) -> steps.Line:
    """Open a model in all frameworks, compare results, then time them in turns."""
    run = steps.Run(served)
    run.each(lambda _, host: host.call("open", case, kernels))
    results = run.each(lambda _, host: host.call("results"))
    if results:
        first = next(iter(results))
        run.each(lambda name, _: require_equal(name, results[name], first, results[first], TOLERANCE))
    run.interleave(rounds)
    steps.drop(served)
    return run.line


def table_of(found: Mapping[tuple[str, int], Figures]) -> Table:
    """Return the table of all models, of medians; ratios are to graphc, round by round."""
    others = [name for name in OPENERS if name != "graphc"]
    heads = [cell for name in others for cell in (peers.PEERS[name].label, "x graphc")]
    table = Table("ONNX models", ("model", "batch", "graphc", *heads, "compile, cold", "warm", "session"))
    for (name, batch), f in found.items():
        timings = f.line.timings
        base = timings.get("graphc")
        own = "-" if base is None else seconds(base.median)
        cells = [cell for other in others for cell in _cells(timings.get(other), base)]
        table.rows.append((name, str(batch), own, *cells, *map(seconds, (f.cold, f.warm, f.session))))
    return table


def _cells(timing: steps.Timing | None, base: steps.Timing | None) -> tuple[str, str]:
    if timing is None:
        return "-", "-"
    ratio = "-" if base is None else f"{median(timing.ratios(base)):.2f}"
    return seconds(timing.median), ratio


def figures(found: Mapping[tuple[str, int], Figures]) -> Sequence[dict[str, Any]]:
    """Return the figures as JSON."""
    return [
        {
            "model": name,
            "batch": batch,
            "seconds": {peer: timing.rounds for peer, timing in f.line.timings.items()},
            "absent": f.line.absent,
            "failures": f.line.failures,
            "disagreements": f.line.disagreements,
            "cold": f.cold,
            "warm": f.warm,
            "session": f.session,
        }
        for (name, batch), f in found.items()
    ]
