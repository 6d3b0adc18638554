"""Run the benchmarks: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, peers
from benchmarks.report import SECTIONS, Options, Report
from benchmarks.workloads import FAMILIES, WORKLOADS, select

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure graphc and its peers.")
    named = sorted({*WORKLOADS, *FAMILIES})
    add = parser.add_argument
    add("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="what to measure")
    add(
        "--workloads",
        nargs="+",
        choices=named,
        default=list(WORKLOADS),
        metavar="NAME",
        help=f"of what: {', '.join(FAMILIES)}, or single ones of these",
    )
    add("--peers", nargs="+", choices=peers.PEERS, default=list(peers.PEERS), help="whom to compare with")
    add(
        "--python",
        nargs="+",
        default=[],
        metavar="PEER=FILE",
        help="interpreters of peers that are installed elsewhere",
    )
    add("--repeat", type=int, default=30, metavar="N", help="rounds of calls; a tenth as many starts")
    add("--threads", type=int, metavar="N", help="bind everything to N CPUs (default: all)")
    add("--json", type=Path, metavar="FILE", help="write the figures there as well")
    add("--markdown", action="store_true", help="print tables for docs/performance.md")
    return parser


def _pythons(given: Sequence[str]) -> dict[str, str]:
    """Return the interpreters that were given, by peer.

    Raises
    ------
    ValueError
        If one is given for no peer, or is no program.
    """
    found = {}
    for text in given:
        name, _, path = text.partition("=")
        if name not in peers.PEERS:
            raise ValueError(f"{text!r} is not PEER=FILE with one of {', '.join(peers.PEERS)}")
        if shutil.which(path) is None:
            raise ValueError(f"{path!r} is no program")
        found[name] = path
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 if a check failed."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.repeat < 1:
        parser.error("--repeat: at least one round")
    try:
        elsewhere = _pythons(given.python)
    except ValueError as error:
        parser.error(f"--python: {error}")
    if given.threads is not None:
        try:
            machine.limit_threads(given.threads)
        except ValueError as error:
            parser.error(f"--threads: {error}")
    # What the others are compared with takes part in any case.
    asked = {name: elsewhere.get(name, sys.executable) for name in ("graphc", *given.peers)}
    pythons = {name: python for name, python in asked.items() if peers.installed(name, python)}
    options = Options(
        sections=given.sections,
        workloads=select(given.workloads),
        pythons=pythons,
        left_out=[name for name in asked if name not in pythons],
        repeat=given.repeat,
        json=given.json,
        markdown=given.markdown,
    )
    return Report(options).run()


if __name__ == "__main__":
    sys.exit(main())
