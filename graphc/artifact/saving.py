"""Writing programs into a file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import graphc
from graphc.artifact import signing
from graphc.artifact.container import UNSIGNED, Writer
from graphc.artifact.graphs import encode_graph
from graphc.artifact.images import encode_image
from graphc.artifact.leaf_table import LeafTable
from graphc.artifact.native import Blocks, target
from graphc.artifact.values import ValueWriter
from graphc.debug.guards import GUARDS
from graphc.errors import ArgumentError, ArtifactError, caller
from graphc.nests import Nest
from graphc.runtime.executable import Meaning
from graphc.runtime.program import Program
from graphc.runtime.settling import settled

__all__ = ["save"]

Json = Any
_KEYS = (str, int, float, bool, type(None))


def save(path: str | os.PathLike[str], programs: Program | Mapping[str, Program]) -> None:
    """Write compiled programs into one file, an *artifact*, from which `load` has them running at once.

    Programs that share variables share them again when loaded.  The file holds their graphs, the present
    values of all variables, and the machine code for this kind of CPU; `docs/artifact-format.md` specifies
    it.  It is signed with a key of this user's, made if there is none.

    Parameters
    ----------
    path : path-like
        File to write; an existing one is replaced, whole or not at all.
    programs : Program, or mapping of str to Program
        What to write: one program, or several under names.

    Raises
    ------
    ArgumentError
        If there is no program, or a name is not usable.
    ArtifactError
        If an operation holds what cannot be written down, such as a function, or a program was compiled
        with ``check=...``.

    Examples
    --------
    >>> import graphc as gx, numpy as np, os, tempfile
    >>> x = gx.placeholder("x", shape=("n",), dtype="float64")
    >>> w = gx.variable(np.ones(()), name="w")
    >>> train, predict = gx.compile(x, x.sum(), updates={w: w * 2}), gx.compile(x, w * x)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.gxc")
    >>> gx.save(path, {"train": train, "predict": predict})
    >>> loaded = gx.load(path)
    >>> float(loaded["train"]([1.0, 2.0]))
    3.0
    >>> loaded["predict"]([1.0, 2.0])
    array([2., 4.])
    """
    named = _named(programs)
    for program in named.values():
        _require_unguarded(program)
    leaves, blocks = LeafTable(), Blocks()
    graphs = [encode_graph(p._source.traced, leaves) for p in named.values()]
    # Where a file can hold no machine code, it holds graphs alone.
    needed = target()
    images = [] if needed is None else [_image(p, leaves, blocks) for p in named.values()]
    if images:
        blocks.add_runtime()
    leaves.set_running(_constants(images))
    manifest = {
        "single": isinstance(programs, Program),
        "programs": [_entry(name, p) for name, p in named.items()],
        "target": needed,
    }
    with Writer(path, f"graphc {graphc.__version__}", _signature) as writer:
        writer.add_json("manifest", manifest)
        writer.add_json("leaves", leaves.encode())
        for k, graph in enumerate(graphs):
            writer.add_json(f"program/{k}/graph", graph)
        for k, image in enumerate(images):
            writer.add_json(f"program/{k}/image", image)
        blocks.write(writer)
        writer.add("data", leaves.pieces(), algorithm="blake3")
        writer.add("data/graphs", leaves.pieces(cold=True), algorithm="blake3")


def _named(programs: object) -> dict[str, Program]:
    if isinstance(programs, Program):
        return {programs.name: programs}
    named = dict(programs) if isinstance(programs, Mapping) else {}
    fine = all(isinstance(n, str) and n.isprintable() and n for n in named)
    if named and fine and all(isinstance(p, Program) for p in named.values()):
        return named
    raise ArgumentError(
        "save: no programs to write",
        expected="a Program, or a dict from names to Programs",
        given=repr(programs),
        where=caller(),
    )


def _require_unguarded(program: Program) -> None:
    """Refuse what closes over graphs of this process, before its graph is refused for a lesser reason."""
    functions = program._source.executable.functions
    guard = next((f for f in functions if isinstance(f, Meaning) and f.op in GUARDS), None)
    if guard is not None:
        raise ArtifactError(
            f"artifact: what {program.name} was told to check of itself cannot be written",
            expected="a program that was compiled without check=...",
            given=f"check={GUARDS[guard.op]!r}",
            where=caller(),
        )


def _signature(table: bytes) -> bytes:
    try:
        return signing.sign(table)
    except ArtifactError as error:
        warnings.warn(f"the file is not signed: {error}", signing.SigningWarning, stacklevel=4)
        return UNSIGNED


def _entry(name: str, program: Program) -> Json:
    """Return what a program is besides its graph: enough to compile it again."""
    options = program._source.options
    optimize = options.optimize if isinstance(options.optimize, str) else [repr(p) for p in options.optimize]
    return {
        "name": name,
        "program": program.name,
        "outputs": None if program._nest is None else encode_nest(program._nest),
        "optimize": optimize,
        "frontend": options.frontend,
    }


def encode_nest(nest: Nest) -> Json:
    """Return the structure of outputs as pure data.

    Raises
    ------
    ArtifactError
        If a key of a dict is neither a number nor text.
    """
    for key in nest.keys:
        if not isinstance(key, _KEYS):
            raise ArtifactError(
                "artifact: the structure of the outputs cannot be written",
                expected="dicts whose keys are text or numbers",
                given=repr(key),
                where=caller(),
            )
    made = nest.make.__name__ if nest.make is not None else None
    return [nest.kind, [encode_nest(p) for p in nest.parts], list(nest.keys), made]


def _image(program: Program, leaves: LeafTable, blocks: Blocks) -> Json:
    """Return what runs: the image, the code that it calls, and the leaves that it reads."""
    # What is prepared of constants is written down: whoever loads it neither prepares it nor reads them.
    executable = settled(program._source.executable)
    numbers = [blocks.add(code) for code in program._source.code]
    called = [f for f in executable.functions if isinstance(f, Meaning)]
    return {
        "image": encode_image(executable.image),
        "code": numbers,
        "called": [_called(meaning) for meaning in called],
        "leaves": [leaves.number_of(payload) for payload in executable.leaves],
    }


def _constants(images: Iterable[Json]) -> set[int]:
    """Return the numbers of the constants that programs run with."""
    leaves = [pair for i in images for pair in zip(i["image"]["leaves"], i["leaves"], strict=True)]
    return {number for (variable, *_), number in leaves if not variable}


def _called(meaning: Meaning) -> Json:
    """Return an operation that is computed in Python."""
    values = ValueWriter()
    attrs = {k: values.attribute(v, meaning.op, meaning.where) for k, v in meaning.attrs.items()}
    return {
        "op": meaning.op,
        "attrs": attrs,
        "operands": [values.type(t) for t in meaning.operands],
        "result": values.type(meaning.result),
        "names": list(meaning.names),
        "at": values.place(meaning.where),
        "tables": values.tables,
    }
