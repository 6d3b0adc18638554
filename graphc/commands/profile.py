"""``graphc profile``: which kernel takes how long, and how close that is to what the machine can do."""

from __future__ import annotations

import argparse

from graphc.commands import calls, terminal
from graphc.commands.command import Command, add_json, file_named, positive, require_folder
from graphc.commands.user_code import RunningUserCode

__all__ = ["COMMAND"]


def _declare(parser: argparse.ArgumentParser) -> None:
    calls.declare(parser)
    parser.add_argument(
        "--repeat", type=positive, metavar="N", help="calls to time; default as many as seem right"
    )
    parser.add_argument(
        "--trace",
        type=file_named(".json"),
        metavar="FILE.json",
        help="also write what ran when, for Perfetto or Chrome",
    )
    parser.add_argument(
        "--report",
        type=file_named(".html"),
        metavar="FILE.html",
        help="also write a page that shows the program with its measurements",
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    require_folder(arguments.trace)
    require_folder(arguments.report)
    program, feeds = calls.prepare(arguments)
    with terminal.waiting(f"profiling {program.name}"), RunningUserCode(str(arguments.target)):
        found = program.profile(*feeds.values(), repeat=arguments.repeat)
    if arguments.trace is not None:
        found.to_chrome_trace(arguments.trace)
    if arguments.report is not None:
        with terminal.waiting(f"writing {arguments.report}"):
            program.report(arguments.report, profile=found)
    if arguments.json:
        print(found.to_json())
        return 0
    print(found.table())
    for file in filter(None, (arguments.trace, arguments.report)):
        print(f"wrote {file}")
    return 0


_DETAILS = """\
Inputs without --input are random, as for graphc bench.  The call that is shown is the one of median
duration; what timing itself costs stands below the table.  Variables have their former values in
every call."""

COMMAND = Command("profile", "Time every kernel of a call.", _declare, _run, _DETAILS)
