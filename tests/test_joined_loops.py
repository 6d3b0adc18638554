"""Loops that walk several axes by one number: their remainders are no counters."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

import graphc as gx
from graphc.runtime.kernel_source import Frontend


@pytest.mark.parametrize("frontend", get_args(Frontend))
@pytest.mark.parametrize("shape", [(4, 4, 1), (4, 8, 2), (2, 16, 4), (8, 2, 1), (3, 4, 1), (16, 16, 1)])
def test_repeated_elements_beside_consecutive_ones(shape: tuple[int, int, int], frontend: Any) -> None:
    """An index of few values repeats although one over the whole space does not."""
    rows, columns, depth = shape
    x, row = gx.placeholder("x", (rows, columns)), gx.placeholder("row", (columns,))
    table = gx.placeholder("table", (5, depth))
    where = gx.astype(gx.clip(x + row, 0.0, 4.0), "int64")
    program = gx.compile([x, row, table], [table[where], (x + row)[:, :, None] * table[0]], frontend=frontend)
    feeds = {
        x: np.zeros((rows, columns), "float32"),
        row: np.arange(columns, dtype="float32") - 1,
        table: np.arange(5 * depth, dtype="float32").reshape(5, depth),
    }
    wanted = gx.evaluate([table[where], (x + row)[:, :, None] * table[0]], feeds)
    for found, expected in zip(program(*feeds.values()), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)
