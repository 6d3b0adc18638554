"""Statistics of activations: rectifiers that are dead, squashing functions that are saturated."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import ArgumentError, GraphError, Where, caller
from graphc.extras import require
from graphc.interpreter import evaluate
from graphc.ir import Node, topological
from graphc.nests import split
from graphc.ops.axes import normalize_axis
from graphc.ops.elementwise import astype
from graphc.ops.public import abs, sum
from graphc.runtime.program import Program
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import INT64

__all__ = ["Activity", "Statistics", "statistics"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Kind:
    """What an activation is called, and where its derivative is zero, or nearly so."""

    word: str
    idle: Callable[[Tensor, float], Tensor]


KINDS: Mapping[str, _Kind] = {
    "relu": _Kind("zero", lambda y, margin: y <= 0),
    "tanh": _Kind("saturated", lambda y, margin: abs(y) > 1 - margin),
    "sigmoid": _Kind("saturated", lambda y, margin: abs(2 * y - 1) > 1 - margin),
}
"""The activations that are looked at, by op."""


@dataclass(frozen=True)
class Activity:
    """What is known of one activation.

    Attributes
    ----------
    name : str
        Its scope, or its line outside of any.
    op, word : str
        The function, and what its idle values are called.
    where : Where
        The user's line.
    share : float
        The share of values that were idle, over all calls; NaN before the first.
    idle : ndarray of float
        The same for each unit.
    """

    name: str
    op: str
    word: str
    where: Where
    share: float
    idle: Array = field(repr=False)

    @property
    def dead(self) -> float:
        """The share of units that were idle whatever they were given; NaN before the first call."""
        return float(np.mean(self.idle == 1)) if self.idle.size and not np.isnan(self.share) else np.nan


class Statistics:
    """Counts, call by call, where activations are idle; made by `statistics`.

    Attributes
    ----------
    measures : list of Tensor
        What `add` takes the values of: outputs for a program of one's own.
    """

    def __init__(self, nodes: Sequence[Node], axis: int, margin: float) -> None:
        self._nodes = tuple(nodes)
        self._count = [np.zeros(0, np.int64) for _ in nodes]
        self._total = [0 for _ in nodes]
        self.measures = [part for n in nodes for part in _measured(Tensor(n), axis, margin)]

    def add(self, values: Sequence[Any]) -> None:
        """Take in the values that a program returned for `measures`.

        Parameters
        ----------
        values : sequence of ndarray
            In the same order.

        Raises
        ------
        ArgumentError
            If there are more or fewer.
        """
        if len(values) != len(self.measures):
            raise ArgumentError(
                "statistics: values of something else",
                expected=f"{len(self.measures)} values, of the measures",
                given=str(len(values)),
                where=caller(),
            )
        for k in range(len(self._nodes)):
            count, total = np.asarray(values[2 * k]), int(values[2 * k + 1])
            self._count[k] = self._count[k] + count if self._count[k].size else count.copy()
            self._total[k] += total

    def observe(self, feeds: Mapping[Tensor, TensorLike]) -> None:
        """Take in one more batch, by the interpreter.

        Parameters
        ----------
        feeds : mapping of placeholder to array
            As for `graphc.evaluate`.
        """
        self.add(evaluate(self.measures, feeds))

    def compile(self, inputs: Tensor | Sequence[Tensor]) -> Callable[..., None]:
        """Return a compiled function of the inputs that takes in a batch with every call.

        Parameters
        ----------
        inputs : Tensor or sequence of Tensor
            Placeholders.

        Returns
        -------
        callable
            Takes arrays, as a program does.
        """
        # Deferred: compiling is written in terms of what looks at values.
        from graphc.compiler import compile as compile_program

        program: Program = compile_program(inputs, self.measures, name="statistics")

        def observe(*args: Any, **kwargs: Any) -> None:
            self.add(program(*args, **kwargs))

        return observe

    def reset(self) -> None:
        """Forget all calls."""
        self._count = [np.zeros(0, np.int64) for _ in self._nodes]
        self._total = [0 for _ in self._nodes]

    @property
    def rows(self) -> list[Activity]:
        """What is known so far, activation by activation in the order of the program."""
        return [self._row(k) for k in range(len(self._nodes))]

    def _row(self, k: int) -> Activity:
        node, count, total = self._nodes[k], self._count[k], self._total[k]
        share = float(count.sum() / (total * count.size)) if total and count.size else np.nan
        idle = count / total if total else count.astype(np.float64)
        name = node.where.scope or str(node.where)
        return Activity(name, node.op.name, KINDS[node.op.name].word, node.where, share, idle)

    def table(self) -> str:
        """Return the statistics as text, one line for each activation."""
        lines = [("activation", "", "units", "idle values", "", "dead units")]
        for row in self.rows:
            shares = f"{row.share:.1%}", row.word, f"{row.dead:.1%}"
            lines.append((row.name, row.op, str(row.idle.size), *shares))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = "<<>><>"
        return "\n".join(
            "  ".join(f"{text:{side}{width}}" for text, side, width in zip(line, sides, widths, strict=True))
            for line in lines
        )

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw, for each activation, the share of idle values of its units, from the least to the most idle.

        Parameters
        ----------
        path : path-like
            File to write; its suffix chooses the format, for example ``.png`` or ``.svg``.

        Raises
        ------
        MissingDependencyError
            Without matplotlib.
        """
        # Figure itself, not pyplot: no global state, no display, nothing to close.
        figure = require("matplotlib.figure", extra="demo", purpose="statistics").Figure
        rows = self.rows
        picture = figure(figsize=(8, 1.2 + 0.9 * len(rows)), layout="constrained")
        panels = picture.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
        for axes, row in zip(panels, rows, strict=True):
            _draw(axes, row)
        panels[-1].set_xlabel("units, from the least to the most idle, %")
        picture.supylabel("idle values, %", fontsize="medium")
        picture.savefig(path, dpi=120)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Statistics of {len(self._nodes)} activations>"


def statistics(outputs: Any, *, axis: int = 1, margin: float = 0.01) -> Statistics:
    """Watch the activations behind tensors: which units are dead or saturated.

    A unit of a rectifier is dead if it is zero for everything that it was given: no gradient reaches it any
    more.  Units of tanh and sigmoid are saturated where they are near the ends of their range.

    Parameters
    ----------
    outputs : Tensor, or list, tuple or dict of Tensor
        Where to begin; all activations that these depend on are looked at, but for those in bodies of
        loops and branches.
    axis : int, default 1
        Which axis of an activation counts its units: features, or channels.  -1 for layouts with the
        features last.
    margin : float, default 0.01
        How near to the ends counts as saturated.

    Returns
    -------
    Statistics
        Nothing is counted yet: call `observe`, or what `compile` returns, or `add`.

    Raises
    ------
    GraphError
        If there is no activation that is known.
    ArgumentError
        If an activation does not have the axis, or the margin is not between 0 and 1.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = gx.placeholder("x", shape=("batch", 3), dtype="float64")
    >>> with gx.scope("hidden"):
    ...     y = gx.relu(x - np.array([0.0, 1.0, 9.0]))
    >>> found = gx.debug.statistics(y)
    >>> found.observe({x: [[1.0, 2.0, 3.0], [-1.0, 3.0, 4.0]]})
    >>> print(found.table())
    activation        units  idle values        dead units
    hidden      relu      3        50.0%  zero       33.3%
    """
    if not isinstance(margin, (int, float)) or not 0 < margin < 1:
        raise ArgumentError(
            "statistics: bad margin", expected="a number between 0 and 1", given=repr(margin), where=caller()
        )
    tensors, _ = split(outputs)
    nodes = [n for n in topological([t.node for t in tensors]) if n.op.name in KINDS]
    if not nodes:
        raise GraphError(
            "statistics: there is no activation",
            expected=", ".join(KINDS),
            given="outputs that depend on none",
            where=caller(),
        )
    return Statistics(nodes, axis, float(margin))


def _measured(y: Tensor, axis: int, margin: float) -> tuple[Tensor, Tensor]:
    """Return how many values of each unit are idle, and how many values each has."""
    unit = normalize_axis(axis, y.ndim, "statistics")
    others = tuple(k for k in range(y.ndim) if k != unit)
    idle = astype(KINDS[y.node.op.name].idle(y, margin), INT64)
    count = dims.product(tuple(y.shape[k] for k in others))
    return sum(idle, axis=others), as_tensor(count, INT64)


def _draw(axes: Any, row: Activity) -> None:
    values = 100 * np.sort(row.idle)
    places = np.linspace(0, 100, values.size) if values.size > 1 else np.array([50.0] * values.size)
    colour = "tab:orange" if row.word == "zero" else "tab:blue"
    axes.fill_between(places, values, step="mid", color=colour, alpha=0.35)
    axes.plot(places, values, drawstyle="steps-mid", color=colour)
    axes.set_ylim(0, 105)
    axes.set_xlim(0, 100)
    axes.set_title(
        f"{row.name}: {row.op}, {row.idle.size} units, {row.share:.0%} {row.word}, {row.dead:.0%} dead",
        fontsize="small",
        loc="left",
    )
    axes.grid(alpha=0.3)
