"""Reading programs from a file: mapped and linked where its machine code may run, compiled elsewhere."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from graphc.artifact import native, seen, signing
from graphc.artifact.container import Container
from graphc.artifact.fields import as_list, as_object, as_text, reject, require
from graphc.artifact.images import decode_image
from graphc.artifact.stored import Stored, read_stored
from graphc.artifact.values import ValueReader
from graphc.errors import ArtifactError, ArtifactWarning, GraphcError, UnsupportedError, caller
from graphc.nests import Nest
from graphc.runtime.executable import Array, Executable, Meaning
from graphc.runtime.flat_code import FlatCode
from graphc.runtime.program import Program
from graphc.state import ConstantData

if TYPE_CHECKING:
    from graphc.artifact.leaf_table import LeafTable
    from graphc.ir import Graph
    from graphc.leaves import Variable
    from graphc.pipeline import Stage
    from graphc.runtime.building import Options
    from graphc.runtime.compiled_object import CompiledObject
    from graphc.runtime.kernel import Kernel

__all__ = ["load"]

Json = Any
_ENTRY = {"name", "program", "outputs", "optimize", "frontend"}
_LEVELS = ("none", "fast", "full")
_FRONTENDS = ("direct", "numba")
# How deep lists, tuples and dicts of outputs may be nested.
_DEEPEST = 64


def load(path: str | os.PathLike[str], *, trust: bool = False) -> Program | dict[str, Program]:
    """Read what `save` has written.

    Machine code from the file runs only if the file is trusted: it was signed by this user, or the caller
    says so.  Then the file is mapped and linked, which takes milliseconds: no pass runs, and no compiler.
    Otherwise, and on a CPU or with a version of LLVM that it was not made for, the graph in the file is
    compiled, and an `ArtifactWarning` says why.

    Parameters
    ----------
    path : path-like
        The file.
    trust : bool, default False
        Whether to run machine code that somebody else has signed, or nobody.  Like any program, it can do
        everything that this process can.

    Returns
    -------
    Program or dict of str to Program
        As was given to `save`.  Programs of one file share their variables, which begin with the values
        that they had when it was written.  The weights are mapped from the file, which must not be
        overwritten in place meanwhile; `save` never does.

    Raises
    ------
    ArtifactError
        If the file is no artifact, damaged, or in a newer format.
    FileNotFoundError
        If there is no such file.
    UnsupportedError
        If the system lets no program make memory executable.

    Examples
    --------
    See `save`.
    """
    container = Container.open(path)
    try:
        file = _File(container)
        obstacle = file.obstacle(trust)
        if obstacle is None:
            programs = file.linked()
        else:
            warnings.warn(f"{container.path}: {obstacle}; compiling its graph", ArtifactWarning, stacklevel=2)
            programs = file.compiled()
    except GraphcError as error:
        # What the system refuses is no fault of the file.
        own = isinstance(error, ArtifactError | UnsupportedError)
        raise error.at(caller()) if own else _damaged(error) from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(error) from error
    return next(iter(programs.values())) if file.single else programs


def _damaged(error: Exception) -> ArtifactError:
    return ArtifactError(
        "artifact: the file is not what the format says",
        expected="a file that graphc wrote",
        given=f"{type(error).__name__}: {error}",
        where=caller(),
    )


class _File:
    """A file, and what its programs share."""

    def __init__(self, container: Container) -> None:
        self.container = container
        manifest = as_object(container.json("manifest"), "manifest", {"single", "programs", "target"})
        self.target = manifest["target"]
        self.entries = as_list(manifest["programs"], "programs", lambda v: as_object(v, "program", _ENTRY))
        self.names = [as_text(e["name"], "name of a program") for e in self.entries]
        self.single = manifest["single"] is True
        distinct = 0 < len(set(self.names)) == len(self.names) and (len(self.names) == 1 or not self.single)
        require(distinct, "bad names of programs", "distinct names", self.names)

    @cached_property
    def stored(self) -> Stored:
        """The values of variables and constants, read when the code that hashes them is in place."""
        container = self.container
        data, cold = container.array("data"), lambda: container.array("data/graphs")
        return read_stored(container.json("leaves"), data, cold)

    def obstacle(self, trust: bool) -> str | None:
        """Return why the machine code may not run, or None if it may."""
        container = self.container
        if not trust and not signing.is_signed_by_user(container.table, container.signature):
            return "its machine code is not signed by you, and trust is not given"
        require(isinstance(self.target, dict | None), "bad target", "an object or null", self.target)
        return native.obstacle(self.target)

    @cached_property
    def leaves(self) -> LeafTable:
        """The variables and constants as nodes of graphs."""
        # Deferred, like all that follows: running needs no nodes.
        from graphc.artifact.leaf_table import LeafTable

        return LeafTable.over(self.stored)

    def graph(self, number: int) -> Graph:
        """Return the traced graph of a program."""
        # All ops are registered by the import of the public face.
        from graphc.artifact.graphs import decode_graph

        return decode_graph(self.container.json(f"program/{number}/graph"), self.leaves)

    def compiled(self) -> dict[str, Program]:
        """Compile all programs from their graphs."""
        return {name: self.compile(k) for k, name in enumerate(self.names)}

    def compile(self, number: int) -> Program:
        """Compile one program from its graph."""
        from graphc.compiler import compile_traced

        entry = self.entries[number]
        frontend = entry["frontend"]
        require(frontend in _FRONTENDS, "bad frontend", " or ".join(_FRONTENDS), frontend)
        name = as_text(entry["program"], "name of a program")
        return compile_traced(self.graph(number), _nest(entry["outputs"]), name, self._level(entry), frontend)

    def _level(self, entry: Json) -> Any:
        level = entry["optimize"]
        if isinstance(level, list):
            shown = ", ".join(str(p) for p in level)
            message = f"{self.container.path}: compiled with passes given one by one ({shown}); using 'full'"
            warnings.warn(message, ArtifactWarning, stacklevel=5)
            return "full"
        require(level in _LEVELS, "bad level of optimization", " or ".join(_LEVELS), level)
        return level

    def linked(self) -> dict[str, Program]:
        """Link the machine code, and make all programs of it."""
        addresses, blocks = native.link(self.container)
        known = seen.verified_before(self.container)
        (self.container.believe if known else self.container.expect)("data")
        found: dict[str, Program] = {}
        for k, (name, entry) in enumerate(zip(self.names, self.entries, strict=True)):
            source = _Linked(self, k, addresses, blocks)
            found[name] = Program(entry["program"], source, _nest(entry["outputs"]))
        if not known:
            seen.note(self.container)
        return found


class _Linked:
    """A program whose machine code comes from a file; what there is to see is worked out when asked for."""

    def __init__(
        self, file: _File, number: int, addresses: Sequence[int], blocks: Sequence[FlatCode]
    ) -> None:
        self._file = file
        self._number = number
        data = file.container.json(f"program/{number}/image")
        image = decode_image(data["image"])
        self.code = [blocks[k] for k in data["code"]]
        functions = [*(addresses[k] for k in data["code"]), *map(_meaning, data["called"])]
        leaves = [
            _payload(file.stored, info.variable, k)
            for info, k in zip(image.leaves, data["leaves"], strict=True)
        ]
        self.executable = Executable(image, tuple(functions), tuple(leaves))

    @cached_property
    def traced(self) -> Graph:
        """The graph before all passes."""
        return self._file.graph(self._number)

    @cached_property
    def _compiled(self) -> Program:
        return self._file.compile(self._number)

    @property
    def graph(self) -> Graph:
        """The optimized graph, as compiling it here gives it."""
        return self._compiled.graph

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The graph after every pass."""
        return self._compiled.stages

    @property
    def kernels(self) -> list[Kernel]:
        """What runs, in order."""
        return self._compiled.kernels

    @property
    def objects(self) -> Sequence[CompiledObject]:
        """What the linker of a shared library reads, as compiling the program here gives it."""
        return self._compiled._source.objects

    @property
    def options(self) -> Options:
        """How it was compiled."""
        return self._compiled._source.options

    @property
    def variables(self) -> list[Variable]:
        """The variables that the program reads or updates."""
        from graphc.leaves import Variable

        return [Variable.of(node) for node in self.traced.variables]

    def failure(self, code: int, arrays: Sequence[Array], sizes: Mapping[str, int]) -> GraphcError | None:
        """Return the error that interpreting the graph ends in: no variable has changed yet."""
        from graphc import interpreter
        from graphc.effects import silence

        fed = dict(zip(self.traced.inputs, arrays, strict=True))
        try:
            with silence():
                interpreter.run_graph(self.traced, fed)
        except GraphcError as error:
            return error
        return None


def _payload(stored: Stored, variable: bool, number: int) -> Any:
    return stored.variables[number].storage if variable else ConstantData(stored.constant(number))


def _meaning(data: Json) -> Meaning:
    """Return an operation that is computed in Python."""
    # The import of the public face is what registers all ops, those of `graphc.debug` too.
    import_module("graphc.public")
    from graphc.ops.op import CUSTOM, REGISTRY
    from graphc.runtime.building import meaning_of

    values = ValueReader(data["tables"])
    op = REGISTRY.get(data["op"]) or CUSTOM.get(data["op"])
    if op is None:
        raise ArtifactError(
            f"artifact: the operation {data['op']!r} is not known here",
            expected="an operation of this name, defined before loading",
            where=caller(),
        )
    attrs = {k: values.attribute(v) for k, v in data["attrs"].items()}
    types = tuple(map(values.type, data["operands"]))
    place = values.place(data["at"])
    return meaning_of(op, attrs, types, values.type(data["result"]), tuple(data["names"]), place)


def _nest(data: Json) -> Nest | None:
    """Return the structure of outputs; None if there are none."""
    return None if data is None else _structure(data, 0)


def _structure(data: Json, depth: int) -> Nest:
    kind, parts, keys, name = as_list(data, "structure", lambda v: v, 4)
    require(depth < _DEEPEST, "structure nested too deeply", f"at most {_DEEPEST}", depth)
    inner = tuple(as_list(parts, "structure", lambda v: _structure(v, depth + 1)))
    named = tuple(as_list(keys, "keys", lambda v: v))
    if kind in ("value", "nothing") and not inner and not named:
        return Nest(kind)
    if kind in ("list", "tuple") and not named:
        return Nest(kind, inner)
    if kind == "dict" and len(inner) == len(named) == len(set(named)):
        return Nest(kind, inner, named)
    if kind == "named" and len(inner) == len(named):
        return Nest.named(as_text(name, "name of a tuple"), named, inner)
    reject("bad structure of the outputs", "lists, tuples and dicts", kind)
