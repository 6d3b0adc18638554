"""Runs what was asked for, prints each table as it is done, and keeps the figures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import (
    compile_scaling,
    loading,
    loop_lengths,
    machine,
    memory,
    onnx_models,
    peers,
    sections,
    startup,
    steps,
    varying,
)
from benchmarks.agreement import DisagreementError
from benchmarks.children import FailedError
from benchmarks.counting import cost_of
from benchmarks.server import HOST, Remote
from benchmarks.tables import Table
from benchmarks.vocabulary import UnsupportedError
from benchmarks.workloads import FAMILIES, WORKLOADS

__all__ = ["SECTIONS", "Options", "Report"]

# Networks of which starts and memory are measured; the others would show the same.
STARTED = ("mlp", "lenet", "resnet_training")
# Of memory, also what gradients of loops keep.
HELD = (*STARTED, "ode", "ode_states", "ode_every_32")
COPIED = 256 << 20


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Attributes
    ----------
    sections, workloads : sequence of str
        What to measure.
    pythons : mapping of str to str
        The frameworks that take part, graphc first, and the interpreter that finds each.
    left_out : sequence of str
        Frameworks that were asked for and are not installed.
    repeat : int
        Rounds of calls; a tenth as many starts.
    json : Path or None
        Where to write the figures.
    markdown : bool
        Whether to print tables for the documentation.
    """

    sections: Sequence[str]
    workloads: Sequence[str]
    pythons: Mapping[str, str]
    left_out: Sequence[str]
    repeat: int
    json: Path | None
    markdown: bool


class Report:
    """One run.

    Parameters
    ----------
    options : Options
        What was asked for.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.failed = False
        self.figures: dict[str, Any] = {}

    def run(self) -> int:
        """Run the sections; return 1 if a check failed."""
        self.run_machine()
        for name in self.options.left_out:
            print(f"{name}: not installed, left out\n")
        for section in self.options.sections:
            SECTIONS[section](self)
        if self.options.json is not None:
            self.options.json.write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")
        return int(self.failed)

    def show(self, table: Table) -> None:
        """Print a table, unless it is empty."""
        if table.rows:
            print(table.markdown() if self.options.markdown else table.text(), end="\n\n", flush=True)

    def complain(self, what: str, problems: Mapping[str, str]) -> None:
        """Print what went wrong, by framework."""
        for name, message in problems.items():
            print(f"{what}: {peers.PEERS[name].label}: {message}\n", flush=True)

    def judge(self, what: str, line: steps.Line) -> None:
        """Note whether a check failed, and print what went wrong."""
        self.failed |= bool(line.disagreements) or sections.BASE in line.failures
        self.complain(f"{what}: failed", line.failures)
        self.complain(f"{what}: not timed, results differ", line.disagreements)

    @contextmanager
    def served(
        self, pythons: Mapping[str, str] | None = None, host: str = HOST
    ) -> Iterator[dict[str, Remote]]:
        """Run frameworks, by default all, in processes of their own meanwhile."""
        with ExitStack() as stack:
            chosen = self.options.pythons if pythons is None else pythons
            found = {name: Remote(name, python, host) for name, python in chosen.items()}
            for remote in found.values():
                stack.callback(remote.close)
            yield found

    # -- sections
    def run_machine(self) -> None:
        """Print the machine, the versions, and what the machine can do at most."""
        facts = machine.facts()
        for name, python in self.options.pythons.items():
            facts |= peers.versions(name, python)
        self.figures["machine"] = facts
        self.show(Table("machine", ("what", "which"), [*facts.items(), *self._peaks()]))

    def _peaks(self) -> list[tuple[str, str]]:
        from graphc.inspection import machine as peak

        cores = machine.usable_cpus()
        one, every = peak.flops_per_second(1), peak.flops_per_second(cores)
        copy = COPIED / peak.copy_seconds(COPIED, cores)
        self.figures["peak"] = {"flops of one core": one, "flops": every, "bytes copied": copy}
        return [
            ("multiply-add in registers, one core", f"{one / 1e9:.0f} GFLOP/s"),
            (f"multiply-add in registers, cpus used: {cores}", f"{every / 1e9:.0f} GFLOP/s"),
            ("copy, bytes read and written", f"{copy / 1e9:.0f} GB/s"),
        ]

    def run_steps(self) -> None:
        """Check and time the workloads."""
        lines: dict[str, steps.Line] = {}
        with self.served() as remotes:
            for family, members in FAMILIES.items():
                chosen = [name for name in members if name in self.options.workloads]
                found = {name: self._line(name, remotes) for name in chosen}
                self.show(sections.family_table(family, found))
                lines |= found
        self.show(sections.summary(lines))
        self.figures["steps"] = {name: _figures(name, line) for name, line in lines.items()}

    def _line(self, name: str, remotes: Mapping[str, Remote]) -> steps.Line:
        line = steps.run(name, WORKLOADS[name], remotes, self.options.repeat)
        self.judge(name, line)
        return line

    def run_varying(self) -> None:
        """Call one network with batches of many sizes."""
        if varying.WORKLOAD not in self.options.workloads:
            return
        with self.served() as remotes:
            found, absent = varying.measure(remotes, varying.BATCHES)
        self.complain("varying batch", absent)
        title = f"{WORKLOADS[varying.WORKLOAD].title}, then every size from 1 to {varying.BATCHES}"
        self.show(varying.table_of(found, title))
        self.figures["varying"] = {peer: asdict(varied) for peer, varied in found.items()}

    def run_startup(self) -> None:
        """Measure cold and warm starts."""
        self.figures["startup"] = {}
        for name in self._chosen(STARTED):
            try:
                starts, absent = startup.measure(
                    self.options.pythons, name, max(1, self.options.repeat // 10)
                )
            except DisagreementError as error:
                self.failed = True
                print(f"{WORKLOADS[name].title}: start not reported, results differ: {error}\n")
                continue
            self.complain(f"{name}: no start", absent)
            self.show(startup.table_of(WORKLOADS[name].title, starts))
            self.figures["startup"][name] = {
                peer: {kind: [asdict(s) for s in found] for kind, found in kinds.items()}
                for peer, kinds in starts.items()
            }

    def run_loading(self) -> None:
        """Measure processes that load a file and run what is in it."""
        self.figures["loading"] = {}
        for name in self._chosen(loading.LOADED):
            rounds = max(3, self.options.repeat // 3)
            try:
                found, absent = loading.measure(self.options.pythons, name, rounds)
            except DisagreementError as error:
                self.failed = True
                print(f"{WORKLOADS[name].title}: loading not reported, results differ: {error}\n")
                continue
            self.complain(f"{name}: not loaded", {loading.FORMATS[k].peer: v for k, v in absent.items()})
            self.show(loading.table_of(f"{WORKLOADS[name].title}: load and run once", found))
            self.figures["loading"][name] = {k: [asdict(s) for s in v] for k, v in found.items()}

    def run_memory(self) -> None:
        """Measure the peak memory of training steps."""
        if not memory.available():
            print("memory: this operating system does not tell what a process held at most\n")
            return
        self.figures["memory"] = {}
        for name in self._chosen(HELD):
            found: dict[str, memory.Footprint] = {}
            for peer, python in self.options.pythons.items():
                try:
                    found[peer] = memory.measure(python, peer, name)
                except (UnsupportedError, FailedError) as reason:
                    self.complain(f"{name}: memory", {peer: str(reason)})
            self.show(memory.table_of(WORKLOADS[name].title, found))
            self.figures["memory"][name] = {peer: asdict(f) for peer, f in found.items()}

    def _chosen(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.options.workloads]

    def run_lengths(self) -> None:
        """Check that loops of all lengths compile alike."""
        rounds = max(1, self.options.repeat // 10)
        try:
            found, absent = loop_lengths.measure(self.options.pythons, loop_lengths.LENGTHS, rounds)
        except DisagreementError as error:
            self.failed = True
            print(f"lengths: not reported, results differ: {error}\n")
            return
        self.complain("lengths", absent)
        self.show(loop_lengths.table_of(found))
        base = found.get(sections.BASE)
        self.failed |= base is None or base.factor > loop_lengths.ALLOWED
        self.figures["lengths"] = {peer: grown.seconds for peer, grown in found.items()}

    def run_onnx(self) -> None:
        """Compare models in ONNX's format with ONNX Runtime and PyTorch."""
        pythons, rounds = onnx_models.takes_part(self.options.pythons), max(3, self.options.repeat // 2)
        if "onnxruntime" not in pythons:
            print("onnx: ONNX Runtime is not installed, left out\n")
            return
        found: dict[tuple[str, int], onnx_models.Figures] = {}
        with self.served(pythons, onnx_models.HOST) as remotes:
            for name, batch in itertools.product(onnx_models.MODELS, onnx_models.BATCHES):
                title = f"{name}, batch {batch}"
                try:
                    found[name, batch] = onnx_models.measure(pythons, remotes, name, batch, rounds)
                except UnsupportedError as reason:
                    print(f"{title}: left out: {reason}\n")
                except FailedError as error:
                    self.failed = True
                    print(f"{title}: failed: {error}\n")
                else:
                    self.judge(title, found[name, batch].line)
        self.show(onnx_models.table_of(found))
        self.figures["onnx"] = onnx_models.figures(found)

    def run_scaling(self) -> None:
        """Check that compiling scales."""
        self.failed |= bool(compile_scaling.main(["--markdown"] if self.options.markdown else []))


def _figures(name: str, line: steps.Line) -> dict[str, Any]:
    return {
        **asdict(cost_of(WORKLOADS[name])),
        "seconds": {peer: timing.rounds for peer, timing in line.timings.items()},
        "absent": line.absent,
        "failures": line.failures,
        "disagreements": line.disagreements,
    }


SECTIONS: dict[str, Callable[[Report], None]] = {
    "steps": Report.run_steps,
    "varying": Report.run_varying,
    "startup": Report.run_startup,
    "loading": Report.run_loading,
    "memory": Report.run_memory,
    "lengths": Report.run_lengths,
    "onnx": Report.run_onnx,
    "scaling": Report.run_scaling,
}
