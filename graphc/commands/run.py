"""``graphc run``: call a program once with arrays from files."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphc.commands import inputs, target, terminal
from graphc.commands.command import Command, add_json, file_named, print_json, require_folder, seconds_text
from graphc.commands.user_code import RunningUserCode

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = ["COMMAND"]

# Results with no more elements than this are printed whole.
_FEW = 8


def _declare(parser: argparse.ArgumentParser) -> None:
    target.declare(parser)
    inputs.declare(parser)
    parser.add_argument(
        "-o", "--out", type=file_named(".npz"), metavar="FILE.npz", help="write the results there"
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    # Deferred, as in every command: NumPy and the compiler, which help and other commands do without.
    from graphc.commands import arrays

    require_folder(arguments.out)
    feeds = arrays.read(arguments.input)
    program = target.load_one(arguments)
    started = time.perf_counter()
    with terminal.waiting(f"running {program.name}"), RunningUserCode(str(arguments.target)):
        results = arrays.named(program(**feeds))
    seconds = time.perf_counter() - started
    if arguments.out is not None:
        arrays.write(arguments.out, results)
    report = _as_json if arguments.json else _as_text
    report(results, seconds, arguments.out)
    return 0


def _as_json(results: Mapping[str, Array], seconds: float, out: Path | None) -> None:
    outputs = {n: {"dtype": str(a.dtype), "shape": list(a.shape)} for n, a in results.items()}
    print_json({"outputs": outputs, "seconds": seconds, "file": None if out is None else str(out)})


def _as_text(results: Mapping[str, Array], seconds: float, out: Path | None) -> None:
    width = max(map(len, results), default=0)
    for name, value in results.items():
        shown = f"  {value.tolist()}" if value.size <= _FEW else ""
        print(f"{name:{width}}  {value.dtype}{list(value.shape)}{shown}")
    where = f", written to {out}" if out is not None else ""
    count = f"{len(results)} result" + "s" * (len(results) != 1)
    print(f"{count} in {seconds_text(seconds)}{where}")


_DETAILS = """\
Names, shapes and dtypes of the inputs are checked before anything runs.  Results are printed by
shape, small ones with their values, and written with --out: a single result as "output", others
under their keys or as "output.0", "output.1" and so on.  New values of variables end with the
process; the artifact stays as it is."""

COMMAND = Command("run", "Call a program once with arrays from files.", _declare, _run, _DETAILS)
