"""What derivatives are taken of, by, and along: structures of floating Tensors, checked and matched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc.dims import Dim
from graphc.errors import GradientError, caller
from graphc.interpreter import flatten
from graphc.ir import Node
from graphc.ops import reshape
from graphc.tensor import Tensor, as_tensor
from graphc.types import TensorType, is_float

__all__ = ["fit", "floating", "label", "matched", "scalar"]


def floating(owner: str, what: str, structure: Any, purpose: str) -> list[Tensor]:
    """Return the Tensors of a structure, all of which must be floating.

    Raises
    ------
    GradientError
        In the name of the function `owner`: if there is anything but Tensors, or one that
        one cannot `purpose`.
    """
    _require_tensors(owner, what, structure)
    tensors, _ = flatten(structure)
    for tensor in tensors:
        if not is_float(tensor.dtype):
            raise GradientError(
                f"{owner}: cannot {purpose} {label(tensor.node)}",
                expected="float32 or float64",
                given=str(tensor.type),
                where=caller(),
            )
    return tensors


def scalar(owner: str, what: str, tensor: Any, instead: str = "a scalar (take a sum or mean)") -> None:
    """Require a floating scalar.

    Raises
    ------
    GradientError
        In the name of the function `owner`; `instead` says what it expects.
    """
    for found in floating(owner, what, tensor, "differentiate"):
        if found.ndim or found is not tensor:
            raise GradientError(
                f"{owner}: {what} {label(found.node)} is not a scalar",
                expected=instead,
                given=str(found.type),
                where=caller(),
            )


def _require_tensors(owner: str, what: str, structure: Any) -> None:
    if isinstance(structure, Tensor):
        return
    if not isinstance(structure, (list, tuple, Mapping)):
        raise GradientError(
            f"{owner}: {what} must be a Tensor",
            expected="a Tensor, or a list, tuple or dict of Tensors",
            given=type(structure).__name__,
            where=caller(),
        )
    for item in structure.values() if isinstance(structure, Mapping) else structure:
        _require_tensors(owner, what, item)


def matched(owner: str, what: str, structure: Any, values: Any) -> list[Tensor]:
    """Return `values`, given in the structure of Tensors `structure`, each in its Tensor's type.

    Raises
    ------
    GradientError
        If the structures differ, or if a value does not fit its Tensor.
    """
    if isinstance(structure, Tensor):
        return [_fitting(owner, what, structure, values)]
    pairs = _pairs(structure, values)
    if pairs is None:
        raise GradientError(
            f"{owner}: {what} has another structure than the tensors that it belongs to",
            expected=_outline(structure),
            given=_outline(values),
            where=caller(),
        )
    return [t for inner, value in pairs for t in matched(owner, what, inner, value)]


def _pairs(structure: Any, values: Any) -> list[tuple[Any, Any]] | None:
    """Return the items of two structures side by side, or None where one has others."""
    if isinstance(structure, Mapping):
        if not isinstance(values, Mapping) or set(structure) != set(values):
            return None
        return [(structure[k], values[k]) for k in structure]
    if not isinstance(values, (list, tuple)) or len(values) != len(structure):
        return None
    return list(zip(structure, values, strict=True))


def _outline(structure: Any) -> str:
    if isinstance(structure, Mapping):
        return "a dict of " + ", ".join(map(repr, structure))
    if isinstance(structure, (list, tuple)):
        return f"a {type(structure).__name__} of {len(structure)}"
    return type(structure).__name__


def _fitting(owner: str, what: str, tensor: Tensor, value: Any) -> Tensor:
    given = as_tensor(value, tensor.dtype)
    fitted = fit(given, tensor.type)
    if fitted is None:
        raise GradientError(
            f"{owner}: {what} does not fit {label(tensor.node)}",
            expected=str(tensor.type),
            given=str(given.type),
            where=caller(),
        )
    return fitted


def label(node: Node) -> str:
    """Return the user's name for a node in quotes, or else the op that makes it."""
    return repr(node.name) if node.name else node.op.name


def fit(part: Tensor, expected: TensorType) -> Tensor | None:
    """Return `part` in exactly the type expected, or None where it cannot be.

    Sizes that the forward pass assumed equal may stand under another name here; a reshape
    renames them and keeps the assumption checked.
    """
    if part.type == expected:
        return part
    may_fit = part.dtype == expected.dtype and part.ndim == expected.ndim
    if not may_fit or not all(map(_may_equal, part.shape, expected.shape)):
        return None
    renamed: Tensor = reshape(part, expected.shape)
    return renamed


def _may_equal(a: Dim, b: Dim) -> bool:
    return a == b or not (isinstance(a, int) and isinstance(b, int))
