"""The table of operators: what converts a node of a model into a graph.

One file per family stands in `graphc.onnx.operators`; importing that package fills the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from graphc.onnx.call import Call
    from graphc.onnx.values import Nothing, Series, Value
    from graphc.tensor import Tensor

One: TypeAlias = "Tensor | Value | Series | Nothing"
Result: TypeAlias = "One | Sequence[One | None]"
Convert: TypeAlias = "Callable[[Call], Result]"


@dataclass(frozen=True)
class Converter:
    """How a node of one operator becomes part of a graph, from one version of it on.

    Attributes
    ----------
    convert : callable
        From the node, seen through a `Call`, to its results.
    since : int
        First version of the operator set that it is for.
    exact : bool
        Whether results hold values of operands only, so that narrow types need no rounding.
    """

    convert: Convert
    since: int
    exact: bool


_TABLE: dict[tuple[str, str], list[Converter]] = {}


def domain_of(domain: str) -> str:
    """Return the canonical spelling of a domain: the default one is empty."""
    return "" if domain == "ai.onnx" else domain


def converter(
    *names: str, since: int = 1, domain: str = "", exact: bool = False
) -> Callable[[Convert], Convert]:
    """Register the decorated function as the converter of operators.

    Parameters
    ----------
    *names : str
        Operators.
    since : int, default 1
        First version of the operator set that the function is for; the newest one that a model's
        version reaches is taken.
    domain : str
        Domain of the operator set.
    exact : bool, default False
        Whether results hold values of operands only, moved or selected.

    Examples
    --------
    >>> from graphc.onnx import registry
    >>> registry.find("", "Relu", 13).since
    1
    """

    def register(convert: Convert) -> Convert:
        for name in names:
            versions = _TABLE.setdefault((domain_of(domain), name), [])
            versions.append(Converter(convert, since, exact))
            versions.sort(key=lambda c: c.since)
        return convert

    return register


def find(domain: str, name: str, version: int) -> Converter | None:
    """Return the converter of an operator at a version of its operator set, if there is one."""
    # Deferred: the operators register themselves here.
    from graphc.onnx import operators

    operators.load()
    fitting = [c for c in _TABLE.get((domain_of(domain), name), []) if c.since <= version]
    return fitting[-1] if fitting else None
