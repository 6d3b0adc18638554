"""Arrays that commands read from files, make up, and write."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from graphc import dims
from graphc.commands.inputs import Source
from graphc.errors import ArgumentError, DataError, FeedError
from graphc.replacing import replacing

if TYPE_CHECKING:
    from graphc.runtime.program import Program
    from graphc.types import TensorType

__all__ = ["complete", "named", "read", "write"]

Array = np.ndarray[Any, Any]
_DAMAGE = (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)
# Of .npy files, archives, and archives without entries.
_BEGINNINGS = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
# What a result without a key is called.
_ONLY = "output"


def read(sources: Sequence[Source]) -> dict[str, Array]:
    """Return the values of inputs, by name.

    Raises
    ------
    DataError
        If a file is damaged, holds Python objects, or does not have the array.
    FeedError
        If an input is given twice.
    """
    values: dict[str, Array] = {}
    for source in sources:
        for name, value in _read_one(source):
            if name in values:
                raise FeedError(f"input {name!r} is given twice", given=f"again by {source}")
            values[name] = value
    return values


def _read_one(source: Source) -> list[tuple[str, Array]]:
    with source.path.open("rb") as file:
        if not file.read(len(max(_BEGINNINGS, key=len))).startswith(_BEGINNINGS):
            raise DataError(f"{source.path} is not a .npy or .npz file")
        file.seek(0)
        try:
            return _arrays_in(file, source)
        except _DAMAGE as error:
            raise DataError(
                f"{source.path} cannot be read: {error}", expected="arrays of numbers, all there"
            ) from error


def _arrays_in(file: BinaryIO, source: Source) -> list[tuple[str, Array]]:
    # Never pickles: these could execute anything.
    loaded = np.load(file, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return [(source.input, loaded)]
    keys = [_key(source, loaded.files)] if source.input else loaded.files
    return [(source.input or key, loaded[key]) for key in keys]


def _key(source: Source, keys: Sequence[str]) -> str:
    wanted = source.key or (keys[0] if len(keys) == 1 else source.input)
    if wanted not in keys:
        raise DataError(f"{source.path} has no array {wanted!r}", expected=", ".join(keys) or "any array")
    return wanted


def complete(program: Program, sizes: Mapping[str, int], given: Mapping[str, Array]) -> dict[str, Array]:
    """Return a value for every input, in order: the given one, or a random one.

    Random values have the given sizes, and those of the values that are given.

    Raises
    ------
    FeedError
        If the program has no input of a given name.
    ArgumentError
        If a size is missing, or is not a size of an input without a value.
    """
    inputs = {str(node.name): node.type for node in program.graph.inputs}
    for name in given:
        if name not in inputs:
            raise FeedError(f"unknown input {name!r}", expected=", ".join(inputs) or "no --input")
    missing = [type for name, type in inputs.items() if name not in given]
    needed = sorted({n for type in missing for d in type.shape for n in dims.names(d)})
    for name in sizes:
        if name not in needed:
            raise ArgumentError(
                f"no random input has a size {name!r}", expected=", ".join(needed) or "no --size"
            )
    known = {**_sizes(inputs, given), **sizes}
    absent = [name for name in needed if name not in known]
    if absent:
        raise ArgumentError(
            "random inputs need sizes", expected=" ".join(f"--size {name}=NUMBER" for name in absent)
        )
    rng = np.random.default_rng(0)
    made = {name: _random(type, known, rng) for name, type in inputs.items() if name not in given}
    return {name: given[name] if name in given else made[name] for name in inputs}


def _sizes(inputs: Mapping[str, TensorType], given: Mapping[str, Array]) -> dict[str, int]:
    """Return the named sizes that given arrays have; whether they agree, the program will say."""
    pairs = [pair for name, a in given.items() for pair in zip(inputs[name].shape, a.shape, strict=False)]
    return {str(d): n for d, n in pairs if not isinstance(d, int) and str(d) in dims.names(d)}


def _random(type: TensorType, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    shape = type.concrete(sizes)
    if type.dtype.kind == "f":
        return rng.standard_normal(shape).astype(type.dtype)
    return rng.integers(0, 2, shape).astype(type.dtype)


def named(result: Any) -> dict[str, Array]:
    """Return the results of a call under names: keys of dicts, positions in sequences.

    Raises
    ------
    ArgumentError
        If two results get one name.

    Examples
    --------
    >>> sorted(named({"loss": np.float32(1), "scores": (np.zeros(2), np.ones(2))}))
    ['loss', 'scores.0', 'scores.1']
    >>> sorted(named([np.zeros(2), np.ones(2)]))
    ['output.0', 'output.1']
    """
    if result is None:
        return {}
    results: dict[str, Array] = {}
    for name, value in _leaves(result, ""):
        if name in results:
            raise ArgumentError(f"two results are named {name!r}", expected="other keys of the outputs")
        results[name] = np.asarray(value)
    return results


def _leaves(result: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(result, Mapping):
        for key, value in result.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(result, (list, tuple)):
        for k, value in enumerate(result):
            yield from _leaves(value, f"{prefix or _ONLY}.{k}")
    else:
        yield prefix or _ONLY, result


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an ``.npz`` file, which appears complete or not at all.

    Parameters
    ----------
    path : Path
        File to write; an existing one is replaced.
    arrays : mapping of str to ndarray
        Any names, also those that `numpy.savez` cannot take.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, value, allow_pickle=False)
