"""``graphc compile``: turn a model, or a function that returns programs or their pieces, into an artifact."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from graphc.commands import target, terminal
from graphc.commands.command import Command, add_json, add_out, print_json, require_folder, written_text
from graphc.commands.user_code import RunningUserCode

if TYPE_CHECKING:
    from graphc.runtime.program import Program

__all__ = ["COMMAND"]

_SUFFIX = ".gxc"


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", type=target.parse_model, metavar="TARGET", help=target.MODEL_FORMS)
    add_out(parser, _SUFFIX, "artifact")
    target.declare_optimize(parser)
    parser.add_argument("--name", help="what to call a program made of pieces; default the function's name")
    parser.add_argument(
        "--native",
        type=Path,
        metavar="FOLDER",
        help="also write shared libraries with C headers there; see docs/native.md",
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    import graphc as gx

    out: Path = arguments.out
    require_folder(out)
    started = time.perf_counter()
    made = target.load(arguments.target, target.Options(arguments.optimize, arguments.name))
    with terminal.waiting(f"writing {out}"), RunningUserCode(str(arguments.target)):
        gx.save(out, made)
        libraries = [] if arguments.native is None else _export(made, arguments.native)
    seconds, size = time.perf_counter() - started, out.stat().st_size
    programs = made if isinstance(made, dict) else {made.name: made}
    if arguments.json:
        kernels = {name: len(program.kernels) for name, program in programs.items()}
        print_json(
            {"file": str(out), "bytes": size, "seconds": seconds, "kernels": kernels, **_listed(libraries)}
        )
        return 0
    for program in programs.values():
        print(str(program).partition("\n")[0])
    for library in libraries:
        print(f"wrote {library}")
    print(written_text(out, size, seconds))
    return 0


def _export(made: Program | dict[str, Program], folder: Path) -> list[Path]:
    """Write a library, or one for each of several programs in a folder of its own."""
    # Deferred: few calls ask for it.
    from graphc.native_export.header import identifier

    if not isinstance(made, dict):
        return [made.export_native(folder).library]
    names = {key: identifier(key) for key in made}
    return [
        program.export_native(folder / names[key], name=names[key]).library for key, program in made.items()
    ]


def _listed(libraries: list[Path]) -> dict[str, list[str]]:
    return {"libraries": [str(library) for library in libraries]} if libraries else {}


_DETAILS = """\
TARGET is a model of ONNX, or a function without required parameters that returns a Program, the
pieces of one (inputs, outputs) or (inputs, outputs, updates) as gx.compile takes them, or a dict of
these under names.  Modules are found from the working directory.  The artifact is what graphc run,
inspect, profile and bench take, and gx.load in Python."""

COMMAND = Command(
    "compile", f"Compile a function's programs, or a model, into a {_SUFFIX} file.", _declare, _run, _DETAILS
)
