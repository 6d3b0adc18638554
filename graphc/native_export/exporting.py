"""From a program to a folder with a shared library, its header and an example."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from graphc.errors import ArgumentError, UnsupportedError, caller
from graphc.native_export import linking
from graphc.native_export.example import example
from graphc.native_export.header import Interface, header, identifier, interface
from graphc.native_export.interface import library_module, program_module, public_symbols
from graphc.native_export.preparing import data_of
from graphc.native_export.tables import tables
from graphc.native_export.template import numbering, template
from graphc.runtime import features, flattening, linker, target
from graphc.runtime.cpu import Feature, needed
from graphc.runtime.executable import Meaning
from graphc.runtime.program import Program
from graphc.runtime.settling import lasting
from graphc.state import STATE_LOCK

__all__ = ["NativeFiles", "export_native"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class NativeFiles(NamedTuple):
    """What an export has written.

    Attributes
    ----------
    library, header, example : Path
        The shared library, its C header, and a C program that uses it.
    """

    library: Path
    header: Path
    example: Path


def export_native(
    program: Program,
    directory: str | os.PathLike[str],
    *,
    name: str | None = None,
    cpu: str | None = None,
) -> NativeFiles:
    """Write a program as a shared library with a C header and an example: inference without Python.

    The library runs at all sizes on any thread, gives the same bits as the program, and needs the C
    library alone.  It holds the present values of all variables; those that the program updates are
    copied for each of its users.

    Parameters
    ----------
    program : Program
        What to write.
    directory : path-like
        Folder to write into, made if there is none; files of these names are replaced.
    name : str, optional
        What files and C names begin with; by default the program's name.
    cpu : str, optional
        ``"x86-64-v3"`` or ``"x86-64"`` to compile again for older CPUs; by default for this one.

    Returns
    -------
    NativeFiles
        The paths of `library`, `header` and `example`.

    Raises
    ------
    UnsupportedError
        If an operation is computed in Python, or the system is not Linux on x86-64.
    MissingDependencyError
        If the system has no linker.

    Examples
    --------
    ::

        library, header, example = program.export_native("out", name="scorer")
    """
    prefix = _prefix(program.name, name)
    _check_host(cpu)
    with _level(cpu), tempfile.TemporaryDirectory() as folder:
        found = program if cpu is None else _compiled_again(program)
        files = _write(found, prefix, Path(folder))
        Path(directory).mkdir(parents=True, exist_ok=True)
        return NativeFiles(*(_moved(file, Path(directory)) for file in files))


def _prefix(program: str, name: str | None) -> str:
    """Return what all names of a library begin with."""
    if name is None:
        return identifier(program)
    if _NAME.fullmatch(name) and identifier(name) == name:
        return name
    raise ArgumentError(
        "export_native: C has no such name",
        expected="a letter, then letters, digits and underscores; no word of C",
        given=repr(name),
        where=caller(),
    )


def _check_host(level: str | None) -> None:
    if not flattening.is_supported():
        raise UnsupportedError(
            "export_native: no library can be made on this system",
            expected="Linux on x86-64",
            given=f"{sys.platform} on {platform.machine()}",
            where=caller(),
        )
    if level is not None and level not in features.LEVELS:
        raise ArgumentError(
            "export_native: unknown kind of CPU",
            expected=f"None for this one, or one of {', '.join(features.LEVELS)}",
            given=repr(level),
            where=caller(),
        )


@contextmanager
def _level(level: str | None) -> Iterator[None]:
    """Compile for fewer features than the host has."""
    if level is None:
        yield
        return
    # Whoever compiles meanwhile must not find another CPU in the middle of it.  Calls hold the lock of
    # variables when they take that of LLVM.
    with STATE_LOCK, linker.LLVM_LOCK, features.limited(level):
        yield


def _compiled_again(program: Program) -> Program:
    # Deferred: most exports are for this CPU.
    from graphc.compiler import compile_traced

    source = program._source
    options = source.options
    return compile_traced(source.traced, program._nest, program.name, options.optimize, options.frontend)


def _write(program: Program, prefix: str, folder: Path) -> NativeFiles:
    """Write all files into an empty folder."""
    executable = program._source.executable
    image = executable.image
    _refuse_callbacks(executable.functions)
    face = interface(prefix, image, program._nest)
    needs = needed(features.cpu_features())
    # A call may change variables.
    with program._lock:
        data = data_of(executable)
    numbers = numbering(image, {f.number for p in lasting(image) for f in p.fills})
    made = tables(image, numbers, template(image, numbers), data, needs)
    stored = folder / "tables.bin"
    with stored.open("wb") as file:
        for piece in made.pieces:
            file.write(piece)
    objects = {o.symbol: o.object_code for o in program._source.objects}
    kernels = [o.symbol for o in program._source.objects]
    with linker.LLVM_LOCK:
        objects["library"] = _library_object()
        objects["program"] = target.compile_portable(program_module(prefix, kernels, stored, made.scratch))
    library = folder / f"lib{prefix}.so"
    linking.link(_object_files(objects, folder), library, public_symbols(prefix))
    return _texts(face, needs, library)


@functools.cache
def _library_object() -> bytes:
    """Compile what all libraries have in common, once."""
    return target.compile_portable(library_module())


def _refuse_callbacks(functions: Sequence[int | Meaning]) -> None:
    for function in functions:
        if isinstance(function, Meaning):
            raise UnsupportedError(
                f"export_native: {function.op} is computed in Python",
                expected="a program of native kernels",
                given=str(function.result),
                where=function.where,
            )


def _object_files(objects: Mapping[str, bytes], folder: Path) -> list[Path]:
    files = [folder / f"{k}.o" for k in range(len(objects))]
    for file, content in zip(files, objects.values(), strict=True):
        file.write_bytes(content)
    return files


def _texts(face: Interface, needs: Mapping[str, Feature], library: Path) -> NativeFiles:
    """Write header and example beside the library."""
    folder = library.parent
    files = NativeFiles(library, folder / f"{face.name}.h", folder / "example.c")
    files.header.write_text(header(face, [n for n in needs if " " not in n]), encoding="utf-8")
    files.example.write_text(example(face), encoding="utf-8")
    return files


def _moved(file: Path, directory: Path) -> Path:
    """Move a file into a directory: an existing one is replaced, whole or not at all."""
    place = directory / file.name
    beside = directory / f".{file.name}.{os.getpid()}"
    shutil.move(file, beside)
    beside.replace(place)
    return place
