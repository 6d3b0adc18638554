"""Variables on disk, as safetensors: plain arrays under names, nothing that could execute."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from graphc.errors import ArgumentError, DataError, MissingDependencyError, caller
from graphc.leaves import Variable
from graphc.replacing import replacing
from graphc.types import BOOL, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, DType

__all__ = ["load_variables", "save_variables"]

Array = np.ndarray[Any, Any]

_CODES: dict[str, DType] = {
    "BOOL": BOOL,
    "I8": INT8,
    "I16": INT16,
    "I32": INT32,
    "I64": INT64,
    "U8": UINT8,
    "F32": FLOAT32,
    "F64": FLOAT64,
}


@runtime_checkable
class HasNamedVariables(Protocol):
    """A layer or an optimizer: it knows its variables by name."""

    def named_variables(self) -> dict[str, Variable]:
        """Return the variables by their names in a file."""


@runtime_checkable
class HasVariables(Protocol):
    """Anything else that owns variables, such as a loaded model; they carry their own names."""

    @property
    def variables(self) -> list[Variable]:
        """The variables."""


Owner = HasNamedVariables | HasVariables | Mapping[str, Variable] | Iterable[Variable]


def save_variables(path: str | os.PathLike[str], variables: Owner) -> None:
    """Write the values of variables to a safetensors file.

    The file appears complete or not at all: it is written beside `path` and renamed.

    Parameters
    ----------
    path : path-like
        File to write; an existing one is replaced.
    variables : layer, optimizer, dict of str to Variable, or sequence of Variable
        What to write.  A layer's or optimizer's variables are named by their place in it,
        those of a sequence by their own names.

    Raises
    ------
    ArgumentError
        If two variables have one name.
    MissingDependencyError
        If the package safetensors is not installed.

    Examples
    --------
    >>> import graphc as gx, numpy as np, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "w.safetensors")
    >>> w = gx.variable(np.ones(2), name="w")
    >>> gx.save_variables(path, [w])
    >>> w.value = np.zeros(2)
    >>> gx.load_variables(path, [w])
    >>> w.value
    array([1., 1.])
    """
    arrays = {name: v.value for name, v in _named(variables, "save_variables").items()}
    data: bytes = _safetensors("save_variables").numpy.save(arrays)
    with replacing(path) as file:
        file.write(data)


def load_variables(path: str | os.PathLike[str], variables: Owner) -> None:
    """Set variables to the values in a safetensors file.

    Names, shapes and dtypes must agree exactly, with nothing missing and nothing left
    over; otherwise no variable is changed.

    Parameters
    ----------
    path : path-like
        File to read.
    variables : layer, optimizer, dict of str to Variable, or sequence of Variable
        What to set, named as in `save_variables`.

    Raises
    ------
    DataError
        If the file is damaged, or listing everything that does not agree.
    FileNotFoundError
        If there is no such file.
    MissingDependencyError
        If the package safetensors is not installed.

    Examples
    --------
    See `save_variables`.
    """
    named = _named(variables, "load_variables")
    library = _safetensors("load_variables")
    place = os.fspath(path)
    try:
        with library.safe_open(place, framework="numpy") as file:
            _require_match(place, named, {name: _stored_type(file, name) for name in sorted(file.keys())})
            arrays = {name: file.get_tensor(name) for name in named}
    except library.SafetensorError as error:
        raise DataError(
            f"load_variables: {place!r} is not a readable safetensors file",
            expected="a complete safetensors file",
            given=str(error),
            where=caller(),
        ) from error
    for name, variable in named.items():
        variable.assign(arrays[name])


def _safetensors(asked: str) -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise MissingDependencyError(
            f"{asked}: the package safetensors is not installed",
            expected="pip install 'graphc[io]'",
            where=caller(),
        ) from error
    return safetensors


def _named(owner: Any, asked: str) -> dict[str, Variable]:
    if isinstance(owner, HasNamedVariables):
        return owner.named_variables()
    named: dict[str, Variable] = {}
    for name, variable in _pairs(owner, asked):
        if not isinstance(variable, Variable) or not isinstance(name, str):
            raise ArgumentError(
                f"{asked}: not a variable", expected="Variables", given=repr(variable), where=caller()
            )
        if named.setdefault(name, variable) is not variable:
            raise ArgumentError(
                f"{asked}: two variables are named {name!r}",
                expected="distinct names; a dict gives others",
                given=f"{named[name]!r} and {variable!r}",
                where=caller(),
            )
    return named


def _pairs(owner: Any, asked: str) -> list[tuple[Any, Any]]:
    if isinstance(owner, Mapping):
        return list(owner.items())
    if isinstance(owner, Variable):
        return [(owner.name, owner)]
    listed = owner.variables if isinstance(owner, HasVariables) else owner
    if not isinstance(listed, Iterable):
        raise ArgumentError(
            f"{asked}: nothing that holds variables",
            expected="a layer, an optimizer, a dict or a sequence of Variables",
            given=repr(owner),
            where=caller(),
        )
    return [(getattr(v, "name", None), v) for v in listed]


def _stored_type(file: Any, name: str) -> tuple[str, tuple[int, ...]]:
    view = file.get_slice(name)
    code = view.get_dtype()
    return str(_CODES.get(code, code)), tuple(view.get_shape())


def _require_match(
    path: str, named: Mapping[str, Variable], stored: Mapping[str, tuple[str, tuple[int, ...]]]
) -> None:
    wanted = {name: (str(v.dtype), v.storage.array.shape) for name, v in named.items()}
    problems = [f"{n!r} is missing" for n in wanted if n not in stored]
    problems += [f"{n!r} is unexpected" for n in stored if n not in wanted]
    problems += [
        f"{n!r} is {_show(stored[n])} instead of {_show(wanted[n])}"
        for n in wanted
        if n in stored and stored[n] != wanted[n]
    ]
    if not problems:
        return
    raise DataError(
        f"load_variables: {path!r} does not fit the variables; nothing was changed",
        expected=f"the {len(wanted)} variables exactly",
        given="; ".join(problems),
        where=caller(),
    )


def _show(type: tuple[str, tuple[int, ...]]) -> str:
    return f"{type[0]}[{', '.join(map(str, type[1]))}]"
