"""Nested structures of values: what loops carry and return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.nests import Nest, split
from graphc.tensor import Tensor, as_tensor

__all__ = ["Rebuild", "describe", "flatten", "leaves"]

Rebuild = Callable[[list[Any]], Any]


def flatten(structure: Any) -> tuple[list[Tensor], Nest]:
    """Return the values of nested lists, tuples and dicts as Tensors, and what rebuilds the structure.

    None is an empty structure.  Dicts keep the order of their keys.
    """
    found, rebuild = leaves(structure)
    return [as_tensor(v) for v in found], rebuild


def leaves(structure: Any) -> tuple[list[Any], Nest]:
    """Return the values of nested lists, tuples and dicts as they are, and what rebuilds the structure."""
    return split(structure, _is_sequence, none_is_empty=True)


def _is_sequence(value: Any) -> bool:
    # A list of plain numbers is an array; one that holds a Tensor, an array or a list is a structure.
    return isinstance(value, tuple) or (isinstance(value, list) and not _is_array(value))


def _is_array(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(v, (bool, int, float)) for v in value)


def describe(structure: Any) -> str:
    """Return a structure with the types of its values, for messages."""
    if structure is None:
        return "None"
    if isinstance(structure, Mapping):
        return "{" + ", ".join(f"{k!r}: {describe(v)}" for k, v in structure.items()) + "}"
    if _is_sequence(structure):
        inner = ", ".join(map(describe, structure))
        if isinstance(structure, list):
            return f"[{inner}]"
        return f"({inner},)" if len(structure) == 1 else f"({inner})"
    return str(as_tensor(structure).type)
