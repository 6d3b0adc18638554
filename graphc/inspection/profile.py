"""Profiles: what a call of a program spends its time on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from graphc.inspection import chrome_trace, profile_text
from graphc.inspection.machine import Machine
from graphc.replacing import replacing

__all__ = ["Kind", "Profile", "ProfiledStep", "Span"]

Kind = Literal["kernel", "callback", "loop", "branch"]


class Span(NamedTuple):
    """One block of a step on one thread; seconds count from the beginning of the call.

    `step` is its position in `Profile.steps`, `stage` the part of its kernel.
    """

    step: int
    stage: int
    thread: int
    block: int
    begin: float
    end: float


@dataclass(frozen=True)
class ProfiledStep:
    """A kernel, a call back into Python, a loop or a branch, and what it takes in one call.

    Attributes
    ----------
    name : str
        Made of the operations that run in it.
    kind : {"kernel", "callback", "loop", "branch"}
        What it is.
    where : tuple of str
        The user's lines.
    kernel : int or None
        The number of the kernel in `Program.kernels`; None for loops and branches.
    inside : int or None
        The position of the loop or branch in which it stands.
    executions : int
        How often it runs.
    threads : int
        How many threads took part.
    elapsed : float
        Seconds from the beginning of its first block to the end of its last, over all executions.
    seconds : float
        Seconds that it ran, added up over threads.
    mean, least : float
        Mean and least of `seconds` over all calls that were measured.
    flops : mapping of str to int, or None
        Floating-point operations that it takes at least, by dtype; None where that is not known.
    read, written : int
        Bytes that it reads and writes at least.
    roof : float or None
        Seconds in which the machine could do that at best; None where that is not known.
    scopes : tuple of str
        The scopes that were open on these lines, see `graphc.scope`.
    """

    name: str
    kind: Kind
    where: tuple[str, ...]
    kernel: int | None
    inside: int | None
    executions: int
    threads: int
    elapsed: float
    seconds: float
    mean: float
    least: float
    flops: Mapping[str, int] | None = None
    read: int = 0
    written: int = 0
    roof: float | None = None
    scopes: tuple[str, ...] = ()

    @property
    def is_leaf(self) -> bool:
        """Whether it computes something itself, and does not only run others."""
        return self.kind in ("kernel", "callback")

    @property
    def flops_per_second(self) -> float | None:
        """Floating-point operations a second; None where they are not counted."""
        return None if self.flops is None else _per_second(sum(self.flops.values()), self.elapsed)

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes read and written a second."""
        return _per_second(self.read + self.written, self.elapsed) if self.is_leaf else None

    @property
    def share_of_roof(self) -> float | None:
        """How close it comes to what the machine can do: 1 is all of it."""
        return None if self.roof is None else _per_second(self.roof, self.elapsed)


def _per_second(count: float, seconds: float) -> float | None:
    return count / seconds if seconds else None


@dataclass(frozen=True)
class Profile:
    """What `Program.profile` measured: one call, the one of median duration.

    Attributes
    ----------
    program : str
        Its name.
    sizes : mapping of str to int
        Of the named dimensions.
    threads : int
        How many could take part.
    calls : int
        How many calls were measured.
    seconds : float
        Duration of the call that is shown.
    fastest, fastest_plain : float
        Duration of the fastest of these calls, and of the fastest of as many calls without timing.
    around : float
        Seconds before the first step and after the last: checking feeds, allocating results, waking threads.
    between : float
        Seconds between first and last step in which no thread ran a kernel.
    overlap : float
        Seconds in which several steps ran at once; they count for each of them.
    steps : tuple of ProfiledStep
        In the order in which they stand in the program.
    spans : tuple of Span
        What ran when.
    dropped : int
        How many spans were not kept: of each step every thread keeps the first ones.
    machine : Machine
        What the machine can do at most with all these threads.
    """

    program: str
    sizes: Mapping[str, int]
    threads: int
    calls: int
    seconds: float
    fastest: float
    fastest_plain: float
    around: float
    between: float
    overlap: float
    steps: tuple[ProfiledStep, ...]
    spans: tuple[Span, ...] = field(repr=False)
    dropped: int
    machine: Machine = field(repr=False)

    @property
    def overhead(self) -> float:
        """How many times as long a call takes because it is timed: the fastest ones are compared."""
        return self.fastest / self.fastest_plain

    def table(self) -> str:
        """Return the steps as a table, the longest first.

        Examples
        --------
        >>> import graphc as gx, numpy as np
        >>> x = gx.placeholder("x", shape=("n",))
        >>> profile = gx.compile(x, gx.exp(x)).profile(np.ones(10, "float32"), repeat=1)
        >>> profile.table().splitlines()[1].split()
        ['time', 'share', 'times', 'threads', 'GFLOP/s', 'GB/s', 'of', 'roof', 'step', 'lines']
        """
        return profile_text.table(self)

    def to_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write what ran when, one track for each thread, as a file for https://ui.perfetto.dev.

        Parameters
        ----------
        path : path-like
            Where to; chrome://tracing and other viewers of the Trace Event Format read it too.

        Examples
        --------
        >>> import graphc as gx, numpy as np, json, os, tempfile
        >>> x = gx.placeholder("x", shape=("n",))
        >>> profile = gx.compile(x, gx.exp(x)).profile(np.ones(10, "float32"), repeat=1)
        >>> path = os.path.join(tempfile.mkdtemp(), "trace.json")
        >>> profile.to_chrome_trace(path)
        >>> with open(path) as file:
        ...     [event["name"] for event in json.load(file)["traceEvents"]]
        ['process_name', 'thread_name', 'call of program', 'exp']
        """
        with replacing(path) as file:
            file.write(json.dumps(chrome_trace.events(self)).encode())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers, strings, lists and dictionaries."""
        steps = [_step_as_dict(step) for step in self.steps]
        machine = {"threads": self.machine.threads, "flops_per_second": dict(self.machine.flops)}
        machine["copied_bytes_per_second"] = [list(pair) for pair in self.machine.traffic]
        return {
            "program": self.program,
            "sizes": dict(self.sizes),
            "threads": self.threads,
            "calls": self.calls,
            "seconds": self.seconds,
            "fastest_seconds": self.fastest,
            "fastest_plain_seconds": self.fastest_plain,
            "overhead": self.overhead,
            "around_seconds": self.around,
            "between_seconds": self.between,
            "overlap_seconds": self.overlap,
            "steps": steps,
            "span_fields": list(Span._fields),
            "spans": [list(span) for span in self.spans],
            "dropped_spans": self.dropped,
            "machine": machine,
        }

    def to_json(self) -> str:
        """Return everything as JSON text: see `as_dict`.

        Examples
        --------
        >>> import graphc as gx, numpy as np, json
        >>> x = gx.placeholder("x", shape=("n",))
        >>> profile = gx.compile(x, x * x).profile(np.ones(10, "float32"), repeat=1)
        >>> [(s["name"], s["flops"], s["bytes_read"]) for s in json.loads(profile.to_json())["steps"]]
        [('multiply', {'float32': 10}, 40)]
        """
        return json.dumps(self.as_dict())

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return profile_text.html_table(self)


def _step_as_dict(step: ProfiledStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.kind,
        "where": list(step.where),
        "scopes": list(step.scopes),
        "kernel": step.kernel,
        "inside": step.inside,
        "executions": step.executions,
        "threads": step.threads,
        "elapsed_seconds": step.elapsed,
        "thread_seconds": step.seconds,
        "mean_thread_seconds": step.mean,
        "least_thread_seconds": step.least,
        "flops": None if step.flops is None else dict(step.flops),
        "bytes_read": step.read,
        "bytes_written": step.written,
        "flops_per_second": step.flops_per_second,
        "bytes_per_second": step.bytes_per_second,
        "roof_seconds": step.roof,
        "share_of_roof": step.share_of_roof,
    }
