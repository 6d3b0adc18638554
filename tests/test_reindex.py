"""Indices of one shape as indices of another: right everywhere, and divided only where axes are regrouped."""

from __future__ import annotations

import numpy as np
import pytest
from expr_eval import Evaluation

import graphc as gx
from graphc import dims
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.region import reindex, walk

N: Dim = dims.symbol("n")
# Two shapes of as many elements, and the axes of the second that need no division.
SHAPES: dict[str, tuple[Shape, Shape, tuple[int, ...]]] = {
    "joined in the middle": ((2, 3, 4, 5), (2, 12, 5), (0, 1, 2)),
    "split in the middle": ((2, 12, 5), (2, 3, 4, 5), (0, 3)),
    "joined and split": ((2, 3, 4, 1, 6), (6, 4, 2, 3), (0, 1)),
    "nothing in common": ((4, 6), (3, 8), ()),
    "sizes of one": ((1, 6, 1, 5), (2, 3, 5, 1, 1), (2, 3, 4)),
    "nothing but sizes of one": ((1, 1), (1,), (0,)),
    "a named size": ((N, 3, 4, 5), (N, 12, 5), (0, 1, 2)),
    "a named size joined": ((3, N, 4), (3 * N, 4), (0, 1)),
    "a scalar": ((), (1, 1), (0, 1)),
}


@pytest.mark.parametrize(("shape", "source", "whole"), SHAPES.values(), ids=SHAPES.keys())
def test_every_element_is_found_without_needless_division(
    shape: Shape, source: Shape, whole: tuple[int, ...]
) -> None:
    sizes = {"n": 2}
    known = tuple(dims.evaluate(d, sizes) for d in shape)
    there = tuple(dims.evaluate(d, sizes) for d in source)
    found = reindex(tuple(expr.index(f"i{a}") for a in range(len(shape))), shape, source)
    for place, at in enumerate(np.ndindex(*known)):
        value = Evaluation([], sizes, {f"i{a}": k for a, k in enumerate(at)})
        assert tuple(int(value(e)) for e in found) == np.unravel_index(place, there)
    undivided = {a for a, e in enumerate(found) if not any(x.data in ("floordiv", "mod") for x in walk([e]))}
    assert undivided == set(whole)


EMPTY: list[tuple[Shape, Shape]] = [((0, 3, 4), (3, 4, 0)), ((2, 0, 6), (2, 0, 3)), ((0,), (0, 7))]


@pytest.mark.parametrize(("shape", "source"), EMPTY)
def test_shapes_without_elements(shape: Shape, source: Shape) -> None:
    assert len(reindex(tuple(expr.index(f"i{a}") for a in range(len(shape))), shape, source)) == len(source)


def test_the_epilogue_of_a_grouped_convolution_reads_one_bias_for_each_row() -> None:
    x = gx.placeholder("x", ("n", 8, 5, 7), "float32")
    w, b = gx.placeholder("w", (12, 2, 1, 1), "float32"), gx.placeholder("b", (12,), "float32")
    (kernel,) = gx.compile([x, w, b], gx.relu(gx.conv2d(x, w, groups=4) + b[:, None, None])).kernels
    # Whole sizes of an image or of a plane show a position that was flattened and divided again.
    assert "// 35" not in kernel.source and "// 420" not in kernel.source
