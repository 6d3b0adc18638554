"""From a file to the first result: whole processes that load what was compiled elsewhere, and run it once.

Each framework writes a network in its own format, once.  Then processes are started in turns that do
nothing but import the framework, load the file, and call it; how long each part took they say
themselves, and the whole is timed from outside, interpreter and all.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import children
from benchmarks.agreement import require_equal
from benchmarks.tables import Table, seconds
from benchmarks.vocabulary import UnsupportedError
from benchmarks.workload import Array, Workload
from benchmarks.workloads import WORKLOADS

__all__ = ["FORMATS", "LOADED", "Loading", "measure", "table_of"]

# Networks whose files are loaded.
LOADED = ("lenet_inference", "resnet_1")


@dataclass(frozen=True)
class Format:
    """A way to keep a compiled network.

    Attributes
    ----------
    peer : str
        The framework.
    label : str
        Its name in tables.
    write : str
        The function of this module that writes the file, in a process of the framework's.
    read : str
        Python text that imports the framework, with ``IMPORTED`` where that is done, and then sets `call`.
    """

    peer: str
    label: str
    write: str
    read: str


FORMATS: Mapping[str, Format] = {
    "graphc": Format(
        "graphc",
        "graphc artifact",
        "write_graphc",
        "import graphc\ngraphc.load\nIMPORTED\nprogram = graphc.load(path)\ncall = lambda x: program(x)[0]",
    ),
    "onnxruntime": Format(
        "onnxruntime",
        "ONNX Runtime, .onnx",
        "write_onnx",
        "import onnxruntime\nIMPORTED\nsession = onnxruntime.InferenceSession(path)\n"
        "call = lambda x: session.run(None, {'x': x})[0]",
    ),
    "torch.jit": Format(
        "torch",
        "torch.jit.load",
        "write_script",
        "import torch\nIMPORTED\nmodule = torch.jit.load(path)\n"
        "call = lambda x: module(torch.from_numpy(x)).detach().numpy()",
    ),
    "torch.export": Format(
        "torch",
        "torch.export.load",
        "write_export",
        "import torch\nIMPORTED\nmodule = torch.export.load(path).module()\n"
        "call = lambda x: module(torch.from_numpy(x)).detach().numpy()",
    ),
}
_CHILD = """
import time
started = time.perf_counter()
import json, sys
import numpy
path, fed, result = sys.argv[1:]
x = numpy.load(fed)
{read}
loaded = time.perf_counter()
y = call(x)
called = time.perf_counter()
numpy.save(result, y)
print(json.dumps([imported - started, loaded - imported, called - loaded]))
"""


@dataclass(frozen=True)
class Loading:
    """Seconds to import, to load, to call for the first time; and of the whole process."""

    imports: float
    load: float
    call: float
    whole: float


def _module(workload: Workload) -> object:
    """Return the network as a module of PyTorch's."""
    import torch

    from benchmarks.peers.torch_eager import TorchRunner

    runner = TorchRunner(workload)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, weight in runner.weights.items():
                self.register_buffer(name.replace(".", "_"), weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights = {name: getattr(self, name.replace(".", "_")) for name in runner.weights}
            return workload.body(runner.words, {"x": x} | weights)

    return Network().eval()


def write_graphc(workload: Workload, path: str) -> None:
    """Write an artifact."""
    from benchmarks import peers

    peers.load("graphc").build(workload, False).program.save(path)


def write_onnx(workload: Workload, path: str) -> None:
    """Write an ONNX model."""
    from benchmarks.peers.onnxruntime_session import model_of

    Path(path).write_bytes(model_of(workload))


def write_script(workload: Workload, path: str) -> None:
    """Write a traced TorchScript module."""
    import torch

    x = torch.from_numpy(workload.feed()["x"])
    torch.jit.save(torch.jit.trace(_module(workload), x), path)


def write_export(workload: Workload, path: str) -> None:
    """Write an exported program."""
    import torch

    x = torch.from_numpy(workload.feed()["x"])
    torch.export.save(torch.export.export(_module(workload), (x,)), path)


def _write(name: str, workload: str, path: str) -> dict[str, int]:
    """Be the child that writes a file."""
    write: Callable[[Workload, str], None] = globals()[FORMATS[name].write]
    write(WORKLOADS[workload], path)
    return {"bytes": os.path.getsize(path)}


def _start(python: str, name: str, path: str, fed: Path, result: Path) -> Loading:
    """Start one process that loads a file and calls it."""
    code = _CHILD.format(read=FORMATS[name].read.replace("IMPORTED", "imported = time.perf_counter()"))
    # Frameworks are installed with their modules compiled; so is a checkout, after the first round.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # NumPy's own threads look for work for 100 ms after its import, on the CPUs of whoever calls first.
    environment["OPENBLAS_NUM_THREADS"] = "1"
    command = [python, "-W", "ignore", "-c", code, path, str(fed), str(result)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    whole = time.perf_counter() - began
    if done.returncode:
        raise children.FailedError(children.last_lines(done.stderr))
    return Loading(*json.loads(done.stdout.splitlines()[-1]), whole)


Found = dict[str, list[Loading]]


def measure(pythons: Mapping[str, str], workload_name: str, rounds: int) -> tuple[Found, dict[str, str]]:
    """Return how long each start took, format by format, and why other formats are absent.

    Raises
    ------
    DisagreementError
        If two frameworks do not compute the same.
    """
    found: Found = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        fed = place / "x.npy"
        np.save(fed, WORKLOADS[workload_name].feed()["x"])
        for name, form in FORMATS.items():
            if form.peer not in pythons:
                continue
            try:
                path = str(place / f"{name}.model")
                children.ask(pythons[form.peer], "benchmarks.loading", name, workload_name, path)
                found[name] = []
            except (UnsupportedError, children.FailedError) as reason:
                absent[name] = str(reason)
        results: dict[str, Array] = {}
        # The first round fills the system's cache of files.
        for _ in range(rounds + 1):
            for name, starts in found.items():
                out = place / f"{name}.npy"
                path = str(place / f"{name}.model")
                starts.append(_start(pythons[FORMATS[name].peer], name, path, fed, out))
                results[name] = np.load(out)
    first = next(iter(results))
    for name, array in results.items():
        require_equal(name, [array], first, [results[first]], WORKLOADS[workload_name].tolerance)
    return {name: starts[1:] for name, starts in found.items()}, absent


def table_of(title: str, found: Mapping[str, Sequence[Loading]]) -> Table:
    """Return the table of one network, of medians."""
    heads = ("file", "imports", "load", "first call", "whole process", "x graphc")
    table = Table(title, heads)
    base = median(s.whole for s in found["graphc"]) if "graphc" in found else None
    for name, starts in found.items():
        parts = (median(part) for part in zip(*(asdict(s).values() for s in starts), strict=True))
        ratio = "" if base is None else f"{median(s.whole for s in starts) / base:.2f}"
        table.rows.append((FORMATS[name].label, *map(seconds, parts), ratio))
    return table


if __name__ == "__main__":
    children.answer(_write)
