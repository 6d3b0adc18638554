"""Places for boxes and routes for lines, computed once for all views of one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.inspection.drawing import arrange

__all__ = ["Edge", "Geometries", "Size"]

Size = tuple[float, float]
Edge = tuple[int, int]


class Geometries:
    """Drawings by number; views with the same boxes and lines share one: most stages change little."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[tuple[Size, ...], tuple[Edge, ...]], int] = {}
        self.rows: list[list[Any]] = []

    def number(self, sizes: Sequence[Size], edges: Sequence[Edge]) -> int:
        """Return the number of a drawing.

        Parameters
        ----------
        sizes : sequence of (float, float)
            Width and height of each box; operands stand before what reads them, but for circles.
        edges : sequence of (int, int)
            Which box is read by which.

        Returns
        -------
        int
            A position in `rows`: width, height, the corner and size of each box, the points of each line.
        """
        key = tuple(sizes), tuple(edges)
        if key not in self._numbers:
            self._numbers[key] = len(self.rows)
            self.rows.append(_row(sizes, edges))
        return self._numbers[key]


def _row(sizes: Sequence[Size], edges: Sequence[Edge]) -> list[Any]:
    found = arrange(sizes, edges)
    places = [
        [round(x - w / 2), round(y - h / 2), round(w), round(h)]
        for (x, y), (w, h) in zip(found.points[: len(sizes)], sizes, strict=True)
    ]
    routes = [[round(value) for point in found.route(edge) for value in point] for edge in edges]
    return [round(found.width), round(found.height), places, routes]
