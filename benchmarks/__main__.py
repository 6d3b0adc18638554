"""Run the benchmarks: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import compile_scaling, machine, peers, startup, steps
from benchmarks.agreement import DisagreementError
from benchmarks.tables import Table
from benchmarks.workloads import WORKLOADS

SECTIONS = ("steps", "startup", "scaling")
# The tiny net would show the same start as the others.
STARTED = ("mlp", "lenet")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure graphc and its peers.")
    add = parser.add_argument
    add("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    add("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    add("--peers", nargs="+", choices=peers.PEERS, default=list(peers.PEERS))
    add("--repeat", type=int, default=30, metavar="N", help="rounds of steps; a tenth as many starts")
    add("--threads", type=int, metavar="N", help="bind everything to N CPUs (default: all)")
    add("--json", type=Path, metavar="FILE", help="write the figures there as well")
    add("--markdown", action="store_true", help="print tables for docs/performance.md")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 if a check failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.repeat < 1:
        parser.error("--repeat: at least one round")
    if options.threads is not None:
        try:
            machine.limit_threads(options.threads)
        except ValueError as error:
            parser.error(f"--threads: {error}")
    return _Report(options).run()


class _Report:
    """Runs the sections, prints each as it is done, and keeps the figures."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        # What the others are compared with takes part in any case.
        asked = dict.fromkeys(("graphc", *options.peers))
        self.names = [name for name in asked if peers.installed(name)]
        self.figures: dict[str, Any] = {"machine": machine.facts(), "steps": {}, "startup": {}}
        self.failed = False

    def run(self) -> int:
        self.show(Table("machine", ("what", "which"), list(self.figures["machine"].items())))
        for name in self.options.peers:
            if name not in self.names:
                print(f"{name}: not installed, left out\n")
        for section in self.options.sections:
            getattr(self, f"run_{section}")()
        if self.options.json is not None:
            self.options.json.write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")
        return int(self.failed)

    def show(self, table: Table) -> None:
        print(table.markdown() if self.options.markdown else table.text(), end="\n\n", flush=True)

    def run_steps(self) -> None:
        for name in self.options.workloads:
            try:
                timings = steps.run(WORKLOADS[name], self.names, self.options.repeat)
            except DisagreementError as error:
                self.failed = True
                print(f"{WORKLOADS[name].title}: not timed, results differ: {error}\n")
                continue
            self.show(steps.table_of(name, timings))
            self.figures["steps"][name] = {peer: timing.rounds for peer, timing in timings.items()}

    def run_startup(self) -> None:
        for name in (w for w in STARTED if w in self.options.workloads):
            try:
                starts = startup.measure(self.names, name, max(1, self.options.repeat // 10))
            except DisagreementError as error:
                self.failed = True
                print(f"{WORKLOADS[name].title}: start not reported, results differ: {error}\n")
                continue
            self.show(startup.table_of(WORKLOADS[name].title, starts))
            self.figures["startup"][name] = {
                peer: {kind: [asdict(s) for s in found] for kind, found in kinds.items()}
                for peer, kinds in starts.items()
            }

    def run_scaling(self) -> None:
        self.failed |= bool(compile_scaling.main(["--markdown"] if self.options.markdown else []))


if __name__ == "__main__":
    sys.exit(main())
