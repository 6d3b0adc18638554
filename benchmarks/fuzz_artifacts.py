"""Damage artifacts in many ways, and count what reading them comes to.

Run it by ``python -m benchmarks.fuzz_artifacts``.

Each batch is read in a process of its own, whose address space is limited: reading may not crash,
take memory beyond the file's, or raise anything but `ArtifactError`.  With ``--run``, graphs that
are accepted although they differ are compiled and run as well, for attributes that lead a kernel
astray; there, any error of graphc's is an answer.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import artifact_files
from benchmarks.artifact_files import EXAMPLES
from benchmarks.children import ROOT, last_lines
from benchmarks.mutations import MUTATIONS
from graphc.compiler import compile_traced
from graphc.errors import GraphcError

__all__ = ["judge", "main"]

GOOD = ("refused", "equal", "another graph", "ran", "failed cleanly", "ran on")
# What a reader may take beyond what it has when it begins, in bytes.
ROOM = 256 << 20
# Of all mutations, so many of ten are edits of JSON under correct hashes.
EDITS_OF_TEN = 6
# Larger feeds would measure patience.
LARGEST_FEED = 1 << 16
KEPT_SEEDS = 20
# A damaged condition may make a loop that never ends.
LONGEST_RUN = 60.0

Counts = dict[str, dict[str, Any]]


# ------------------------------------------------------------------- in the child
def _limit_memory(room: int) -> None:
    import resource  # of POSIX

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _note(counts: Counts, found: str, seed: int) -> None:
    entry = counts.setdefault(found, {"count": 0, "seeds": []})
    entry["count"] += 1
    if found not in GOOD and len(entry["seeds"]) < KEPT_SEEDS:
        entry["seeds"].append(seed)


def _read_batch(first: int, count: int, run: bool) -> Counts:
    """Damage and read `count` artifacts, one for each seed."""
    counts: Counts = {}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "damaged.gxc"
        sound = {}
        for name, make in EXAMPLES.items():
            artifact_files.write(path, make())
            sound[name] = path.read_bytes(), artifact_files.fingerprint(artifact_files.read(path))
        _limit_memory(ROOM)
        for seed in range(first, first + count):
            rng = random.Random(seed)
            data, expected = sound[rng.choice(list(sound))]
            name = "edit JSON" if rng.randrange(10) < EDITS_OF_TEN else rng.choice(list(MUTATIONS))
            path.write_bytes(MUTATIONS[name](data, rng))
            _note(counts, _outcome(path, expected, run), seed)
    return counts


def _outcome(path: Path, expected: tuple[str, str, bytes], run: bool) -> str:
    try:
        found = artifact_files.outcome(path, expected)
        return _run_apart(path) if run and found == "another graph" else found
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]


def _run_apart(path: Path) -> str:
    """Compile and call the graph of a file that reads well, in a process that may die of it."""
    command = [sys.executable, "-m", "benchmarks.fuzz_artifacts", "--one", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired:
        return "ran on"
    if done.returncode:
        return f"running died ({done.returncode}): {last_lines(done.stderr)[-150:]}"
    return done.stdout.splitlines()[-1]


def _run(path: Path) -> str:
    graph = artifact_files.read(path)
    sizes = dict.fromkeys(graph.dim_names, 3)
    shapes = [n.type.concrete(sizes) for n in graph.inputs]
    if any(np.prod(shape, dtype=float) > LARGEST_FEED for shape in shapes):
        return "another graph"
    feeds = [np.ones(s, n.type.dtype) for s, n in zip(shapes, graph.inputs, strict=True)]
    try:
        compile_traced(graph, None, "fuzzed")(*feeds)
    except (GraphcError, MemoryError):
        return "failed cleanly"
    return "ran"


# ------------------------------------------------------------------ in the parent
def judge(status: int, output: str, seeds: range) -> Counts:
    """Return what a child found: its counts, or that reading one of its seeds killed it."""
    if status == 0:
        counts: Counts = json.loads(output.splitlines()[-1])
        return counts
    return {"killed": {"count": 1, "seeds": list(seeds)}}


def _merge(total: Counts, found: Mapping[str, Mapping[str, Any]]) -> None:
    for name, entry in found.items():
        known = total.setdefault(name, {"count": 0, "seeds": []})
        known["count"] += entry["count"]
        known["seeds"] += entry["seeds"]


def _ask(seeds: range, run: bool) -> tuple[Counts, str]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.fuzz_artifacts",
        "--child",
        str(seeds.start),
        str(len(seeds)),
    ]
    done = subprocess.run(command + ["--run"] * run, capture_output=True, text=True, cwd=ROOT, check=False)
    return judge(done.returncode, done.stdout, seeds), last_lines(done.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_artifacts", description=__doc__)
    add = parser.add_argument
    add("--count", type=int, default=20_000, metavar="N", help="mutations to read (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="the first one's seed")
    add("--batch", type=int, default=500, metavar="N", help="mutations per process")
    add("--run", action="store_true", help="also compile and run what is accepted although it differs")
    add("--quiet", action="store_true", help="no progress bar")
    add("--one", type=Path, help=argparse.SUPPRESS)
    add("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a reader crashed, ran out of memory, or raised anything but an `ArtifactError`."""
    given = _parser().parse_args(arguments)
    if given.one:
        print(_run(given.one))
        return 0
    if given.child:
        print(json.dumps(_read_batch(*given.child, given.run)))
        return 0
    # Deferred: an extra.
    from tqdm import tqdm

    total: Counts = {}
    end = given.seed + given.count
    batches = [range(k, min(k + given.batch, end)) for k in range(given.seed, end, given.batch)]
    with tqdm(total=given.count, unit="file", disable=given.quiet) as bar:
        for seeds in batches:
            found, messages = _ask(seeds, given.run)
            if "killed" in found:
                tqdm.write(messages)
            _merge(total, found)
            bar.update(len(seeds))
    print(f"{given.count} mutations")
    for name, entry in sorted(total.items(), key=lambda kv: -kv[1]["count"]):
        seeds_text = f"  seeds {entry['seeds'][:KEPT_SEEDS]}" if name not in GOOD else ""
        print(f"{entry['count']:8d}  {name}{seeds_text}")
    return int(any(name not in GOOD for name in total))


if __name__ == "__main__":
    sys.exit(main())
