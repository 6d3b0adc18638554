"""``graphc inspect``: what a program consists of, from the graph as written to assembly."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphc.commands import target, terminal
from graphc.commands.command import Command, add_json, print_json, require_folder
from graphc.commands.user_code import RunningUserCode
from graphc.errors import ArgumentError
from graphc.replacing import replacing
from graphc.wording import few

if TYPE_CHECKING:
    from graphc.ir import Graph
    from graphc.pipeline import Stage
    from graphc.runtime.kernel import Kernel
    from graphc.runtime.program import Program

__all__ = ["COMMAND"]

_CODES: dict[str, Callable[[Kernel], str]] = {
    "source": lambda kernel: kernel.source,
    "llvm": lambda kernel: kernel.llvm,
    "asm": lambda kernel: kernel.asm,
}
_DRAWINGS: dict[str, Callable[[Graph, str], str]] = {
    "dot": lambda graph, scope: graph.to_dot(),
    "svg": lambda graph, scope: graph.to_svg(scope),
}
# As many as a screen takes, and more than there are passes.
_LISTED = 40
_FORMATS = ("text", *_DRAWINGS, "html")


def _declare(parser: argparse.ArgumentParser) -> None:
    target.declare(parser)
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--stage", metavar="S", help="the graph after this pass: its name, or its number from 0"
    )
    part.add_argument("--kernel", metavar="K", help="code of a kernel: its name, or its number from 0")
    part.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="NODE",
        help="where a node went, by its name or a line such as model.py:12; without NODE, what could "
        "not be fused, vectorized or parallelized, and why",
    )
    parser.add_argument("--show", choices=list(_CODES), help="which code of the kernel; default source")
    parser.add_argument("--format", choices=_FORMATS, default="text", help="default text")
    parser.add_argument("--scope", default="", metavar="NAME", help="draw the inside of this scope")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write there instead of printing")
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    require_folder(arguments.out)
    program = target.load_one(arguments)
    if arguments.json:
        print_json(describe(program))
    elif arguments.format == "html":
        with terminal.waiting(f"writing {arguments.out}"), RunningUserCode(str(arguments.target)):
            program.report(arguments.out)
        print(f"wrote {arguments.out}")
    else:
        with RunningUserCode(str(arguments.target)):
            text = _text(program, arguments)
        _deliver(text, arguments.out)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse words that do not go together."""
    explain, html = arguments.explain is not None, arguments.format == "html"
    part = arguments.stage or arguments.kernel or explain
    wrong = {
        "--show goes with --kernel": arguments.show and not arguments.kernel,
        "--scope goes with --format svg": arguments.scope and arguments.format != "svg",
        "--kernel goes with --format text": arguments.kernel and arguments.format != "text",
        "--explain goes with --format text": explain and arguments.format != "text",
        "--format html shows the whole program: without --stage": html and arguments.stage,
        "--format html needs -o FILE.html": html and not arguments.out,
        "--json goes with the target alone": arguments.json and (part or arguments.out),
    }
    for complaint, applies in wrong.items():
        if applies:
            arguments.usage_error(complaint)


def _deliver(text: str, out: Path | None) -> None:
    if out is None:
        print(text.rstrip())
        return
    with replacing(out) as file:
        file.write(f"{text.rstrip()}\n".encode())
    print(f"wrote {out}")


def _text(program: Program, arguments: argparse.Namespace) -> str:
    if arguments.explain is not None:
        return str(program.explain(arguments.explain or None))
    if arguments.kernel is not None:
        found = _chosen("kernel", arguments.kernel, [(k.name, k) for k in program.kernels])
        # Kernels of one name often are one kernel.
        codes = dict.fromkeys(_CODES[arguments.show or "source"](kernel) for kernel in found)
        return "\n".join(
            code or f"# {arguments.kernel}: calls Python, there is no such code" for code in codes
        )
    stages: list[Stage] = []
    if arguments.stage is not None:
        stages = _chosen("stage", arguments.stage, [(s.name, s) for s in program.stages])
    if len(stages) > 1:
        numbers = ", ".join(str(k) for k, s in enumerate(program.stages) if s.name == arguments.stage)
        raise ArgumentError(
            f"{len(stages)} stages are named {arguments.stage!r}", expected=f"--stage with one of {numbers}"
        )
    if arguments.format != "text":
        graph = stages[0].graph if stages else program.graph
        _require_scope(graph, arguments.scope)
        return _DRAWINGS[arguments.format](graph, arguments.scope)
    return f"{stages[0]}\n{stages[0].graph}" if stages else str(program)


def _require_scope(graph: Graph, scope: str) -> None:
    found = sorted({node.where.scope for node in graph.nodes if node.where.scope})
    if scope and not any(f"{name}/".startswith(f"{scope}/") for name in found):
        raise ArgumentError(f"there is no scope {scope!r}", expected=", ".join(found) or "no --scope")


def _chosen(kind: str, wanted: str, items: list[tuple[str, Any]]) -> list[Any]:
    """Return the items of a name, or the one of a number.

    Raises
    ------
    ArgumentError
        Listing them, if there is none.
    """
    found = [item for name, item in items if name == wanted]
    if found:
        return found
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(items):
        return [items[int(wanted)][1]]
    listed = few([f"{k} {name}" for k, (name, _) in enumerate(items)], _LISTED)
    raise ArgumentError(
        f"there is no {kind} {wanted!r}", expected=listed if items else f"nothing: it has no {kind}s"
    )


def describe(program: Program) -> dict[str, Any]:
    """Return what ``--json`` prints: signature, stages, kernels and memory of a program."""
    graph, memory = program.graph, program.memory
    return {
        "name": program.name,
        "inputs": [{"name": str(n.name), "type": str(n.type)} for n in graph.inputs],
        "outputs": [str(n.type) for n in graph.outputs],
        "updates": [{"name": str(v.name), "type": str(v.type)} for v, _ in graph.updates],
        "stages": [_stage(stage) for stage in program.stages],
        "kernels": [_kernel(kernel) for kernel in program.kernels],
        "memory": {
            "temporaries": len(memory.temporaries),
            "in_place": memory.in_place,
            "by_copy": memory.committed,
        },
    }


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "nodes": stage.nodes,
        "kernels": stage.kernels,
        "seconds": stage.seconds,
        "rewrites": stage.counts(),
        "declined": [str(declined) for declined in stage.declined],
    }


def _kernel(kernel: Kernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "results": [str(n.type) for n in kernel.results],
        "nodes": [{"op": n.op.name, "type": str(n.type), "line": str(n.where)} for n in kernel.nodes],
        "schedule": None if kernel.choice is None else str(kernel.choice),
    }


_DETAILS = """\
Without options it prints the program: what every pass did, the kernels with the lines of yours that
they compute, and how memory is used.  Names for --stage and --kernel stand in that listing.  With
--format html -o FILE.html everything stands in one page to click through."""

COMMAND = Command("inspect", "Show graphs, passes, kernels and memory.", _declare, _run, _DETAILS)
