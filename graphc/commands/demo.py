"""``graphc demo``: train LeNet on handwritten digits."""

from __future__ import annotations

import argparse
from pathlib import Path

from graphc.commands.command import Command, positive

__all__ = ["COMMAND"]

_BUNDLED = "digits"
# The keys of `graphc.demo.tasks.TASKS`, which imports NumPy.
_PICTURES_OF = {"digits": "8x8 digits, bundled", "mnist": "IDX files", "cifar10": "binary version"}


def _declare(parser: argparse.ArgumentParser) -> None:
    described = ", ".join(f"{name} ({_PICTURES_OF[name]})" for name in _PICTURES_OF)
    parser.add_argument(
        "--data", choices=list(_PICTURES_OF), default=_BUNDLED, help=f"{described}; default {_BUNDLED}"
    )
    parser.add_argument("--path", type=Path, metavar="DIR", help="folder with the files of mnist or cifar10")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("graphc-demo"), help="folder to write"
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help="times through the training images")
    parser.add_argument("--batch", type=positive, metavar="N", default=32, help="images per step; default 32")
    parser.add_argument(
        "--seed", type=_seed, metavar="N", default=0, help="same seed, same result; default 0"
    )
    parser.add_argument("--quiet", action="store_true", help="print the result only")


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 0, given {text!r}")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    # Deferred: the other commands need no compiler.
    from graphc.demo.session import Settings, run_demo

    if arguments.data == _BUNDLED and arguments.path is not None:
        arguments.usage_error("--path goes with --data mnist or --data cifar10")
    if arguments.data != _BUNDLED and arguments.path is None:
        arguments.usage_error(f"--data {arguments.data} needs --path DIR, the folder with its files")
    run_demo(
        Settings(
            task=arguments.data,
            path=arguments.path,
            out=arguments.out,
            epochs=arguments.epochs,
            batch=arguments.batch,
            seed=arguments.seed,
            quiet=arguments.quiet,
        )
    )
    return 0


COMMAND = Command("demo", "Train LeNet on handwritten digits and show what was compiled.", _declare, _run)
