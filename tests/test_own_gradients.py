"""Gradients of users' own inside loops and branches, against those of the same arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.tensor import Tensor


def _product(a: Tensor, w: Tensor, own: bool) -> Tensor:
    """``a * exp(w)``, by a gradient of its own that has closed over values from outside of a body."""
    factor = gx.exp(w)
    if not own:
        return a * factor
    return gx.custom_gradient(lambda a, w: (a * factor, lambda g: (g * factor, g * a * factor)))(a, w)


CONSTRUCTS: list[Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]] = [
    lambda fn, x, w: gx.scan(lambda c, _: (fn(c) + 1.0, None), x, None, 3)[0],
    lambda fn, x, w: gx.while_loop(lambda c: c < 50.0, lambda c: fn(c) + 1.0, x, max_steps=9),
    lambda fn, x, w: gx.cond(w > 0, fn, lambda c: c, x),
    lambda fn, x, w: gx.map(fn, gx.stack([x, x * x])).sum(),
    lambda fn, x, w: gx.map(lambda c: gx.fori_loop(0, 2, lambda i, d: fn(d), c), x.reshape(1)).sum(),
    lambda fn, x, w: gx.vectorize(lambda r: gx.fori_loop(0, 2, lambda i, d: fn(d), r))(x.reshape(1)).sum(),
]


@pytest.mark.parametrize("construct", CONSTRUCTS, ids=["scan", "while", "cond", "map", "nested", "vectorize"])
def test_users_own_gradients_see_the_values_of_their_body(construct: Any) -> None:
    x, w = gx.placeholder("x", (), "float64"), gx.placeholder("w", (), "float64")

    def outputs(own: bool) -> list[Tensor]:
        value = construct(lambda a: _product(a, w * w, own), x, w)
        first = gx.grad(value, [x, w])
        return [value, *first, *gx.grad(first[1], [x, w]), gx.jvp(value, [x, w], [1.0, 2.0])]

    feeds = {x: np.asarray(1.5), w: np.asarray(0.7)}
    want = gx.evaluate(outputs(False), feeds)
    found = gx.evaluate(outputs(True), feeds), gx.compile([x, w], outputs(True))(1.5, 0.7)
    for values in found:
        for a, b in zip(values, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
