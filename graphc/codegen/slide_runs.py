"""Runs: taps of a sliding plane of which each reads one row below the one before.

A row of the image serves as many rows of results as there are taps in a run, so that it is loaded once for
all of them.  Along the axis of rows, the taps of a kernel are such a run.  With stride `s`, neighbouring
windows are `s` rows apart, and every so manieth tap makes a run; so it is for the adjoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.codegen.contraction_loops import live
from graphc.codegen.walks import Walk
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr


@dataclass(frozen=True)
class Runs:
    """How taps are grouped into runs.

    Attributes
    ----------
    variable : Expr or None
        The inner variable that numbers the rows of the kernel; None if every tap is a run of its own.
    size : int
        How many there are.
    period : int
        How far two taps of a run are apart.
    falls : bool
        Whether later taps read earlier rows.
    others : int
        Number of combinations of all other inner variables.
    step : int
        How many steps of the sum are from one value of the variable to the next.
    """

    variable: Expr | None
    size: int
    period: int
    falls: bool
    others: int
    step: int = 1

    @property
    def apart(self) -> int:
        """How many steps of the sum the next row's tap is behind one."""
        return self.period * self.step * (-1 if self.falls else 1)

    @property
    def groups(self) -> list[tuple[int, range]]:
        """Heights of runs, each with the smallest taps of those that are as high.

        >>> Runs(None, 5, 2, False, 1).groups
        [(3, range(0, 1)), (2, range(1, 2))]
        """
        short, rest = divmod(self.size, self.period)
        groups = [(short + 1, range(rest)), (short, range(rest, self.period))]
        return [(height, taps) for height, taps in groups if height and taps]

    def counts(self, classes: int = 1) -> tuple[tuple[int, float], ...]:
        """Return how many runs there are of each height, for one of so many classes of positions."""
        return tuple((height, len(taps) * self.others / classes) for height, taps in self.groups)

    @property
    def count(self) -> int:
        """Number of all runs."""
        return sum(len(taps) for _, taps in self.groups) * self.others


def find(region: ContractionRegion, walk: Walk, strides: tuple[int, ...]) -> list[Runs]:
    """Return the ways to group taps: each alone, and along the rows of the kernel where that is possible."""
    sizes = [int(str(size)) for size in region.shape.inner]
    alone = Runs(None, 1, 1, False, math.prod(sizes))
    columns = live(region.cols)
    if len(columns) < 2:
        return [alone]
    (a,) = (a for a, axis in enumerate(walk.axes) if columns[-2] in axis.factors)
    axis = walk.axes[a]
    inner = [v for v in live(region.inner) if v in axis.factors]
    if len(inner) != 1 or sum(inner[0] in other.factors for other in walk.axes) > 1:
        return [alone]
    (variable,), factor = inner, axis.factors[inner[0]]
    # Taps whose rows lie in one class, or positions that they belong to.
    period, rest = divmod(strides[a] * axis.divisor, abs(factor))
    if rest:
        return [alone]
    place = region.inner.index(variable)
    runs = alone.others // sizes[place]
    return [alone, Runs(variable, sizes[place], period, factor < 0, runs, math.prod(sizes[place + 1 :]))]
