"""What the functions given to loops take and return, checked with the user's own words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.control import bodies
from graphc.control.bodies import Scope
from graphc.control.structure import Rebuild, describe, flatten, leaves
from graphc.directions import fit
from graphc.errors import ArgumentError, DTypeError, GraphError, ShapeError, Where
from graphc.ir import Node
from graphc.tensor import Tensor, as_tensor
from graphc.types import DType, is_float

__all__ = ["Traced", "require_function", "same_structure", "traced_carry"]


def require_function(what: str, name: str, fn: object, where: Where) -> None:
    """Raise unless `fn` can be called."""
    if not callable(fn):
        raise ArgumentError(
            f"{what}: {name} is no function", expected="a callable", given=repr(fn), where=where
        )


@dataclass(frozen=True)
class Traced:
    """A loop's body after tracing.

    Attributes
    ----------
    inits : list of Tensor
        First carried values, of the carried types.
    formals : tuple of Node
        Placeholders of the carried values.
    following : list of Node
        Their next values.
    rebuild : callable
        Makes the carried structure from its values.
    ys, rebuild_ys
        What is put out, and what makes its structure.
    """

    inits: list[Tensor]
    formals: tuple[Node, ...]
    following: list[Node]
    rebuild: Rebuild
    ys: list[Tensor]
    rebuild_ys: Rebuild


def traced_carry(
    scope: Scope, init: Any, fn: Callable[[Any], Any], arrays: Sequence[Tensor] = (), *, paired: bool
) -> Traced:
    """Trace a function of the carried structure; `paired` ones return (carry, y).

    Python numbers in `init` have no dtype of their own: floats take that of the floating `arrays`
    and other values of `init`, and all take the kind that the body gives them.
    """
    values, rebuild = leaves(init)
    weak = [isinstance(v, (bool, int, float)) for v in values]
    strong = [as_tensor(v) for v, w in zip(values, weak, strict=True) if not w]
    floats = [t.dtype for t in (*arrays, *strong) if is_float(t.dtype)]
    common = np.result_type(*floats) if floats else None
    inits = [as_tensor(v, common if isinstance(v, float) else None) for v in values]
    # The second time around, numbers have the kind that the first gave them; a third settles chains.
    for _ in range(3):
        formals = tuple(
            bodies.formal(t.type, t.name or f"carry{k}", t.node.where, scope) for k, t in enumerate(inits)
        )
        result = bodies.call(scope, fn, rebuild([Tensor(f) for f in formals]))
        carry, y = _pair(scope, result) if paired else (result, None)
        found, _ = flatten(carry)
        same_structure(scope, "the carried values", init, carry)
        triples = zip(inits, found, weak, strict=True)
        wanted = [_settled(a.dtype, b.dtype, common) if w else a.dtype for a, b, w in triples]
        if all(t.dtype == d for t, d in zip(inits, wanted, strict=True)):
            break
        inits = [t if t.dtype == d else t.astype(d) for t, d in zip(inits, wanted, strict=True)]
    ys, rebuild_ys = flatten(y)
    fitted = [_fitted(scope, old, new) for old, new in zip(formals, found, strict=True)]
    return Traced(inits, formals, fitted, rebuild, ys, rebuild_ys)


def _settled(old: DType, new: DType, common: DType | None) -> DType:
    """Return the dtype of a carried number of which the body makes `new`."""
    if is_float(new) and not is_float(old) and common is not None:
        return common
    return new


def _pair(scope: Scope, result: Any) -> tuple[Any, Any]:
    if isinstance(result, tuple) and len(result) == 2:
        return result
    raise ArgumentError(
        f"{scope.what}: the function did not return a pair",
        expected="(carry, y), where y may be None",
        given=describe(result) if _describable(result) else repr(result),
        where=scope.where,
    )


def _describable(value: Any) -> bool:
    return value is None or isinstance(value, (Tensor, tuple, list, dict, np.ndarray, bool, int, float))


def same_structure(scope: Scope, what: str, expected: Any, given: Any) -> None:
    """Raise unless two structures are alike, whatever the types of their values."""
    if _shape_of(expected) != _shape_of(given):
        raise GraphError(
            f"{scope.what}: {what} change their structure",
            expected=describe(expected),
            given=describe(given),
            where=scope.where,
        )


def _shape_of(structure: Any) -> Any:
    flat, rebuild = flatten(structure)
    return _keys(rebuild(list(range(len(flat)))))


def _keys(structure: Any) -> Any:
    if isinstance(structure, dict):
        return ("dict", tuple((k, _keys(v)) for k, v in structure.items()))
    if isinstance(structure, (list, tuple)):
        # A list may come back as a tuple.
        return ("sequence", tuple(map(_keys, structure)))
    return None if structure is None else "value"


def _fitted(scope: Scope, old: Node, new: Tensor) -> Node:
    """Return the next carried value in exactly the carried type."""
    fitted = fit(new, old.type)
    if fitted is not None:
        return fitted.node
    error = DTypeError if new.dtype != old.type.dtype else ShapeError
    changed = "dtype" if new.dtype != old.type.dtype else "shape"
    raise error(
        f"{scope.what}: carried value {old.name!r} changes its {changed} from one iteration to the next",
        expected=str(old.type),
        given=f"{new.type} at {new.node.where}",
        where=scope.where,
    )
