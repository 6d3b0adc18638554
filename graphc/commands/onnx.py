"""``graphc onnx``: write models of ONNX, look at them, and run and compile those of others."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from graphc.commands import compile as compiling
from graphc.commands import run as running
from graphc.commands import target, terminal
from graphc.commands.command import (
    Command,
    add_json,
    add_out,
    file_named,
    positive,
    print_json,
    require_folder,
    written_text,
)
from graphc.commands.user_code import RunningUserCode

__all__ = ["COMMAND"]

_SUFFIX = ".onnx"


# ------------------------------------------------------------------------- export
def _declare_export(parser: argparse.ArgumentParser) -> None:
    target.declare(parser)
    add_out(parser, _SUFFIX, "model")
    parser.add_argument(
        "--opset", type=positive, default=21, metavar="N", help="operator set to write for; default 21"
    )
    parser.add_argument(
        "--leave-out-updates",
        action="store_true",
        help="write a program that updates variables without these",
    )
    parser.add_argument("--external", action="store_true", help="put large weights into a file beside it")
    add_json(parser)


def _export(arguments: argparse.Namespace) -> int:
    import graphc as gx

    out: Path = arguments.out
    require_folder(out)
    started = time.perf_counter()
    program = target.load_one(arguments)
    with terminal.waiting(f"writing {out}"), RunningUserCode(str(arguments.target)):
        gx.onnx.save(
            program,
            out,
            opset=arguments.opset,
            updates="leave out" if arguments.leave_out_updates else "refuse",
            external=arguments.external or None,
        )
    seconds, size = time.perf_counter() - started, out.stat().st_size
    if arguments.json:
        print_json({"file": str(out), "bytes": size, "seconds": seconds})
        return 0
    print(written_text(out, size, seconds))
    return 0


# ------------------------------------------------------------------------ inspect
def _declare_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=file_named(_SUFFIX), metavar=f"FILE{_SUFFIX}", help="model to look at")
    add_json(parser)


def _inspect(arguments: argparse.Namespace) -> int:
    import graphc as gx

    with terminal.waiting(f"reading {arguments.model}"):
        model = gx.onnx.load(arguments.model)
    report = _described(model)
    if arguments.json:
        print_json(report)
        return 0
    print(report["name"])
    for kind in ("inputs", "outputs", "weights"):
        values: dict[str, str] = report[kind]
        print(f"{kind}: {len(values)}")
        width = max(map(len, values), default=0)
        for name, type in values.items():
            print(f"  {name:{width}}  {type}")
    for kind in ("operator_sets", "operators"):
        counts: dict[str, int] = report[kind]
        print(f"{kind.replace('_', ' ')}: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    return 0


def _described(model: Any) -> dict[str, Any]:
    """Return what there is to say of a model that was loaded."""
    operators = Counter(model.operators)
    return {
        "name": model.name,
        "inputs": {name: str(t.type) for name, t in model.inputs.items()},
        "outputs": {name: str(t.type) for name, t in model.outputs.items()},
        "weights": {str(v.name): str(v.type) for v in model.variables},
        "operator_sets": model.opsets,
        "operators": dict(sorted(operators.items())),
    }


# ------------------------------------------------------------------------ actions
_ACTIONS = (
    Command("export", f"Write a program as a {_SUFFIX} file.", _declare_export, _export),
    Command("inspect", "Show inputs, outputs, weights and operators of a model.", _declare_inspect, _inspect),
    running.COMMAND,
    compiling.COMMAND,
)


def _declare(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for command in _ACTIONS:
        action = actions.add_parser(
            command.name, help=command.summary, description=command.summary, epilog=command.details
        )
        command.declare(action)
        action.set_defaults(act=command.run, usage_error=action.error)


def _run(arguments: argparse.Namespace) -> int:
    code: int = arguments.act(arguments)
    return code


_DETAILS = """\
Every command that takes a program takes FILE.onnx too: graphc run model.onnx --input x=x.npy calls it,
graphc compile model.onnx -o model.gxc makes an artifact of it.  Here they stand beside what only models
have.  The package onnx is needed: pip install "graphc[onnx]"."""

COMMAND = Command("onnx", "Write, look at, run and compile models of ONNX.", _declare, _run, _DETAILS)
