"""``graphc bench``: how long a call takes."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from graphc.commands import calls, terminal
from graphc.commands.command import Command, add_json, print_json, seconds_text
from graphc.commands.user_code import RunningUserCode

if TYPE_CHECKING:
    from graphc.commands.timing import Timing

__all__ = ["COMMAND"]

_QUANTILES = (0.1, 0.5, 0.9, 0.99)


def _declare(parser: argparse.ArgumentParser) -> None:
    calls.declare(parser)
    parser.add_argument(
        "--seconds", type=_duration, default=2.0, metavar="S", help="how long to measure; default 2"
    )
    add_json(parser)


def _duration(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, given {text!r}")
    return value


def _run(arguments: argparse.Namespace) -> int:
    # Deferred, as in every command: the compiler, which help does without.
    import graphc as gx
    from graphc.commands import timing

    program, feeds = calls.prepare(arguments)
    values, budget = list(feeds.values()), timing.Budget(arguments.seconds)
    with (
        terminal.counting(f"measuring {program.name}", "ms", budget.milliseconds) as done,
        RunningUserCode(str(arguments.target)),
    ):
        found = timing.measure(lambda: program(*values), budget, done)
    fed = ", ".join(f"{name}: {a.dtype}{list(a.shape)}" for name, a in feeds.items())
    title = f"{program.name}({fed}), threads: {gx.get_num_threads()}"
    if arguments.json:
        print_json({"program": title, **_as_json(found)})
    else:
        _print(title, found)
    return 0


def _as_json(found: Timing) -> dict[str, object]:
    return {
        "first_call_seconds": found.first,
        "seconds": {f"{q:g}": found.quantile(q) for q in _QUANTILES},
        "fastest_seconds": found.quantile(0.0),
        "calls_per_second": found.calls_per_second,
        "samples": len(found.samples),
        "calls_per_sample": found.calls,
    }


def _print(title: str, found: Timing) -> None:
    spread = ", ".join(f"{100 * q:g} % {seconds_text(found.quantile(q))}" for q in _QUANTILES if q != 0.5)
    print(title)
    print(f"median      {seconds_text(found.quantile(0.5))}")
    print(f"quantiles   {spread}")
    print(f"fastest     {seconds_text(found.quantile(0.0))}")
    print(f"calls/s     {found.calls_per_second:,.0f}")
    print(f"first call  {seconds_text(found.first)}")
    print(f"samples     {len(found.samples)}, of {found.calls} calls each")


_DETAILS = """\
What is timed is the call from Python with arrays at hand, the allocation of its results included;
results are dropped at once, so that memory of large ones is used again.  The first call, which plans
memory and packs weights, is reported by itself.  Then calls run for a tenth of the time without
being timed.  A sample is the mean of as many calls as take 50 us, at least one, so that reading the
clock does not count; quantiles are those of the samples.  calls/s is the number of all timed calls
by their time.  Garbage collection is off meanwhile.  Inputs without --input are random, but always
the same: floats normal, integers and booleans 0 or 1.  Calls that update variables go on from each
other."""

COMMAND = Command("bench", "Measure how long a call takes.", _declare, _run, _DETAILS)
