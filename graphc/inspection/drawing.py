"""Drawings: where the boxes of a view stand, and how its edges run.

Crossings and positions are the business of a library: igraph's version of the method of Sugiyama, Tagawa and
Toda (*IEEE Transactions on Systems, Man and Cybernetics* 11, 1981).  Here is what it leaves to its callers:
which layer a box belongs to, stand-ins where edges cross layers, and room for boxes of different widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from graphc.extras import require
from graphc.inspection.views import BoxKind, View

__all__ = ["Drawing", "DrawnBox", "Grid", "Route", "arrange", "layout"]

# Pixels of a letter, of a line and around the text; between boxes, and between layers.
LETTER, LINE, MARGIN = 6.4, 14.0, 7.0
GAP, LAYER_GAP = 14.0, 30.0
# Width that an edge takes on its way through a layer.
LANE = 4.0
# Crossings are reduced in so many rounds.
ROUNDS = 30
# Stand-ins for edges that cross layers: so many for each box, and so many more.
STAND_INS, MORE_STAND_INS = 3, 200

Pair = tuple[int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class DrawnBox:
    """A box and where it stands.

    Attributes
    ----------
    key, kind, label, note
        Those of the view's box.
    x, y, width, height : float
        Its middle, and its size, in pixels.
    """

    key: str
    kind: BoxKind
    label: tuple[str, ...]
    note: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Route:
    """An edge and how it runs.

    Attributes
    ----------
    source, target : str
        Keys of boxes.
    far : bool
        Whether it crosses so many layers that nothing makes way for it.
    points : tuple of (float, float)
        From the one box to the other, through the layers between.
    """

    source: str
    target: str
    far: bool
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Drawing:
    """A picture as data.

    Attributes
    ----------
    width, height : float
        In pixels.
    boxes : tuple of DrawnBox
        In the order of the view.
    routes : tuple of Route
        In the order of its edges.
    """

    width: float
    height: float
    boxes: tuple[DrawnBox, ...]
    routes: tuple[Route, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as dicts, tuples, strings and numbers."""
        return asdict(self)


def layout(view: View) -> Drawing:
    """Place the boxes of a view in layers, operands above what reads them.

    Parameters
    ----------
    view : View
        See `graphc.inspection.views.view`.

    Returns
    -------
    Drawing

    Raises
    ------
    MissingDependencyError
        If igraph is not installed: ``pip install "graphc[report]"``.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.inspection.views import view
    >>> from graphc.ir import Graph
    >>> x = gx.placeholder("x", shape=("n",))
    >>> drawing = layout(view(Graph((x.node,), (gx.exp(x).node,))))
    >>> [(box.key, box.y < drawing.height / 2) for box in drawing.boxes]
    [('n0', True), ('n1', False), ('output 0', False)]
    """
    number = {box.key: k for k, box in enumerate(view.boxes)}
    pairs = [(number[e.source], number[e.target]) for e in view.edges]
    grid = arrange([_size(box.label) for box in view.boxes], pairs)
    boxes = tuple(
        DrawnBox(box.key, box.kind, box.label, box.note, *grid.points[k], *grid.sizes[k])
        for k, box in enumerate(view.boxes)
    )
    routes = tuple(
        Route(e.source, e.target, pair not in grid.chains, grid.route(pair))
        for e, pair in zip(view.edges, pairs, strict=True)
    )
    return Drawing(grid.width, grid.height, boxes, routes)


def arrange(sizes: Sequence[Point], pairs: Sequence[Pair]) -> Grid:
    """Place boxes of given sizes in layers.

    Parameters
    ----------
    sizes : sequence of (float, float)
        Width and height of each box.
    pairs : sequence of (int, int)
        Edges, as positions of boxes.  Those from a later box to an earlier one may lead back up.

    Returns
    -------
    Grid
        The boxes' middles are the first of its points.

    Raises
    ------
    MissingDependencyError
        If igraph is not installed: ``pip install "graphc[report]"``.

    Examples
    --------
    >>> grid = arrange([(40.0, 20.0), (40.0, 20.0)], [(0, 1)])
    >>> grid.points[0][1] < grid.points[1][1]
    True
    """
    grid = Grid(list(sizes), pairs)
    grid.place(require("igraph", "report", "drawing a graph"))
    return grid


def _size(label: Sequence[str]) -> tuple[float, float]:
    return round(max(map(len, label)) * LETTER + 2 * MARGIN, 1), len(label) * LINE + MARGIN


@dataclass
class Grid:
    """Boxes and stand-ins in layers; both are known by their numbers, boxes first."""

    sizes: list[tuple[float, float]]
    pairs: Sequence[Pair]
    layers: list[int] = field(default_factory=list)
    # For each edge, what stands in for it between its ends; edges that nothing makes way for are left out.
    chains: dict[Pair, list[int]] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    # Top and bottom of each layer.
    bands: dict[int, tuple[float, float]] = field(default_factory=dict)
    width: float = 0.0
    height: float = 0.0

    def __post_init__(self) -> None:
        # Where scopes read each other in turn, some edges lead back up.
        self.layers = _layers(len(self.sizes), [(a, b) for a, b in self.pairs if a < b])
        left = STAND_INS * len(self.sizes) + MORE_STAND_INS
        span = {p: abs(self.layers[p[1]] - self.layers[p[0]]) for p in self.pairs}
        for pair in sorted(span, key=span.__getitem__):
            left -= max(span[pair] - 1, 0)
            if left < 0:
                return
            self.chains[pair] = self.stand_ins(pair)

    def stand_ins(self, pair: Pair) -> list[int]:
        """Add a stand-in to each layer between two boxes."""
        a, b = (self.layers[k] for k in pair)
        step = 1 if a < b else -1
        first = len(self.layers)
        self.layers += range(a + step, b, step)
        self.sizes += [(LANE, 0.0)] * (len(self.layers) - first)
        return list(range(first, len(self.layers)))

    def place(self, igraph: Any) -> None:
        """Find the points of all boxes and stand-ins."""
        links = [link for (a, b), chain in self.chains.items() for link in pairwise((a, *chain, b))]
        down = [(a, b) if self.layers[a] < self.layers[b] else (b, a) for a, b in links]
        across = [(a, b) for a, b in down if self.layers[a] != self.layers[b]]
        graph = igraph.Graph(len(self.layers), across, directed=True)
        found = graph.layout_sugiyama(layers=self.layers, maxiter=ROUNDS)
        rows: dict[int, list[int]] = {}
        for k, layer in enumerate(self.layers):
            rows.setdefault(layer, []).append(k)
        unit = sum(w for w, _ in self.sizes) / max(len(self.sizes), 1) + GAP
        xs = [x * unit for x, _ in found]
        for row in rows.values():
            _make_room(sorted(row, key=xs.__getitem__), xs, [w for w, _ in self.sizes])
        left = min((x - w / 2 for x, (w, _) in zip(xs, self.sizes, strict=True)), default=0.0) - GAP
        y = GAP
        for layer in sorted(rows):
            tall = max(self.sizes[k][1] for k in rows[layer])
            self.bands[layer] = (y, y + tall)
            y += tall + LAYER_GAP
        middle = {layer: (top + bottom) / 2 for layer, (top, bottom) in self.bands.items()}
        self.points = [
            (round(x - left, 1), round(middle[k], 1)) for x, k in zip(xs, self.layers, strict=True)
        ]
        ends = (x + w / 2 for (x, _), (w, _) in zip(self.points, self.sizes, strict=True))
        self.width, self.height = round(max(ends, default=0.0) + GAP, 1), round(y - LAYER_GAP + GAP, 1)

    def route(self, pair: Pair) -> tuple[Point, ...]:
        """Return an edge's way from the rim of one box to the rim of the other: it bends between layers."""
        a, b = pair
        down = 1 if self.layers[a] <= self.layers[b] else -1
        found = [self.rim(a, down), self.edge_of_layer(a, down)]
        for k in self.chains.get(pair, ()):
            found += [self.edge_of_layer(k, -down), self.edge_of_layer(k, down)]
        found += [self.edge_of_layer(b, -down), self.rim(b, -down)]
        return tuple(dict.fromkeys(found))

    def rim(self, item: int, side: int) -> Point:
        """Return where an edge meets a box: at its bottom if `side` is 1, at its top if it is -1."""
        (x, y), (_, height) = self.points[item], self.sizes[item]
        return x, round(y + side * height / 2, 1)

    def edge_of_layer(self, item: int, side: int) -> Point:
        """Return the point below or above an item where its layer ends."""
        return self.points[item][0], round(self.bands[self.layers[item]][side > 0], 1)


def _layers(count: int, edges: Iterable[Pair]) -> list[int]:
    """Return a layer for each box: below what it reads; without operands, right above its first reader."""
    into: dict[int, list[int]] = {}
    out: dict[int, list[int]] = {}
    for a, b in edges:
        into.setdefault(b, []).append(a)
        out.setdefault(a, []).append(b)
    layers = [0] * count
    for k in range(count):
        layers[k] = max((layers[a] + 1 for a in into.get(k, ())), default=0)
    for k in range(count):
        if k not in into and k in out:
            layers[k] = min(layers[b] for b in out[k]) - 1
    return layers


def _make_room(row: Sequence[int], xs: list[float], widths: Sequence[float]) -> None:
    """Move the items of a layer apart, in their order, around where they were."""
    before = sum(xs[k] for k in row) / len(row)
    for left, right in pairwise(row):
        xs[right] = max(xs[right], xs[left] + (widths[left] + widths[right]) / 2 + GAP)
    moved = sum(xs[k] for k in row) / len(row) - before
    for k in row:
        xs[k] -= moved
