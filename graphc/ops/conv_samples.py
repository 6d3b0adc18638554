"""Sample calls of the convolution ops, with results from scalar loops over the definition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ops.op import Array, ErrorSample, Sample
from graphc.tensor import Tensor

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """Shapes and parameters of one convolution, each of its three ops a sample of it."""

    x: Ints
    w: Ints
    stride: Ints = (1, 1)
    padding: tuple[Ints, ...] = ((0, 0), (0, 0))
    dilation: Ints = (1, 1)
    groups: int = 1
    dtype: type = float

    @property
    def y(self) -> Ints:
        """Shape of the result."""
        counts = (
            (n + sum(p) - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                self.x[2:], self.w[2:], self.stride, self.padding, self.dilation, strict=True
            )
        )
        return (self.x[0], self.w[0], *counts)

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes that all three ops have."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def draw(self, shape: Ints, seed: int) -> Array:
        """Return small whole numbers, which every dtype holds."""
        return np.random.default_rng(seed).integers(0, 5, shape).astype(self.dtype)

    def zeros(self, shape: Ints) -> Array:
        """Return where a result is summed up."""
        return np.zeros(shape, self.dtype)

    def terms(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Yield the indices of x, w and y that meet in each product."""
        outputs = self.w[0] // self.groups
        for n, o, *q in np.ndindex(*self.y):
            for c, *t in np.ndindex(*self.w[1:]):
                p = [
                    i * s - pad[0] + j * d
                    for i, j, s, pad, d in zip(q, t, self.stride, self.padding, self.dilation, strict=True)
                ]
                if all(0 <= i < size for i, size in zip(p, self.x[2:], strict=True)):
                    yield (n, o // outputs * self.w[1] + c, *p), (o, c, *t), (n, o, *q)


CASES = (
    Case((2, 2, 5, 4), (3, 2, 3, 2)),
    Case((1, 1, 1, 1), (1, 1, 1, 1)),
    Case((2, 3, 5, 5), (2, 3, 3, 3), (2, 2), ((1, 1), (1, 1))),
    Case((1, 2, 6, 5), (2, 2, 2, 3), (2, 1), ((0, 2), (2, 1)), (2, 1)),
    Case((2, 4, 4, 4), (6, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), groups=2),
    Case((1, 3, 4, 4), (3, 1, 2, 2), (3, 2), groups=3),
    Case((0, 2, 4, 4), (3, 2, 3, 3)),
    Case((2, 0, 4, 4), (3, 0, 3, 3)),
    Case((2, 2, 4, 4), (0, 2, 3, 3)),
    Case((2, 3, 7), (2, 3, 3), (2,), ((1, 1),), (2,)),
    Case((1, 2, 3, 4, 3), (2, 2, 2, 3, 2), (1, 2, 1), ((1, 0), (1, 1), (0, 0)), (1, 1, 2)),
    Case((1, 2, 4, 4), (2, 2, 3, 3), padding=((1, 1), (1, 1)), dtype=np.int32),
    Case((1, 2, 4, 4), (2, 2, 3, 3), padding=((1, 1), (1, 1)), dtype=np.float32),
)


def conv_samples(build: Callable[..., Tensor]) -> Iterable[Sample]:
    """Return the samples of the convolution itself."""
    for case in CASES:
        x, w = case.draw(case.x, 1), case.draw(case.w, 2)
        expected = case.zeros(case.y)
        for at_x, at_w, at_y in case.terms():
            expected[at_y] += x[at_x] * w[at_w]
        yield Sample((x, w), case.attrs, expected, build)


def input_grad_samples(build: Callable[..., Tensor]) -> Iterable[Sample]:
    """Return the samples of the adjoint with respect to the input."""
    for case in CASES:
        g, w = case.draw(case.y, 1), case.draw(case.w, 2)
        expected = case.zeros(case.x)
        for at_x, at_w, at_y in case.terms():
            expected[at_x] += g[at_y] * w[at_w]
        yield Sample((g, w), {**case.attrs, "size": case.x[2:]}, expected, build)


def weight_grad_samples(build: Callable[..., Tensor]) -> Iterable[Sample]:
    """Return the samples of the adjoint with respect to the weights."""
    for case in CASES:
        g, x = case.draw(case.y, 1), case.draw(case.x, 2)
        expected = case.zeros(case.w)
        for at_x, at_w, at_y in case.terms():
            expected[at_w] += g[at_y] * x[at_x]
        yield Sample((g, x), {**case.attrs, "kernel": case.w[2:]}, expected, build)


def conv_errors() -> Iterable[ErrorSample]:
    """Return the mistakes that users make with convolutions."""
    # Deferred: the op's table entry refers to these samples.
    from graphc.ops.convolution import conv2d

    x, w = np.ones((1, 4, 5, 5)), np.ones((2, 4, 3, 3))
    yield ErrorSample(lambda: conv2d(x[0], w), ShapeError, "input of a wrong rank")
    yield ErrorSample(lambda: conv2d(x, w[0]), ShapeError, "weights of a wrong rank")
    yield ErrorSample(lambda: conv2d(x, w[:, :3]), ShapeError, "channels do not fit")
    yield ErrorSample(lambda: conv2d(x, w, groups=2), ShapeError, "channels do not fit")
    yield ErrorSample(lambda: conv2d(x, w[:, :1], groups=3), ShapeError, "input channels do not divide")
    yield ErrorSample(lambda: conv2d(x, w[:1, :2], groups=2), ShapeError, "output channels do not divide")
    yield ErrorSample(lambda: conv2d(x, w, dilation=3), ShapeError, "larger than the padded input")
    yield ErrorSample(lambda: conv2d(x, w[:, :, :0]), ShapeError, "kernel is empty")
    yield ErrorSample(lambda: conv2d(x, w, stride=0), ArgumentError, "bad stride")
    yield ErrorSample(lambda: conv2d(x, w, stride=(1, 1, 1)), ArgumentError, "bad stride")
    yield ErrorSample(lambda: conv2d(x, w, dilation=-1), ArgumentError, "bad dilation")
    yield ErrorSample(lambda: conv2d(x, w, groups=0), ArgumentError, "bad groups")
    yield ErrorSample(lambda: conv2d(x, w, padding=-1), ArgumentError, "bad padding")
    yield ErrorSample(lambda: conv2d(x, w, padding=(1, 2, 3)), ArgumentError, "bad padding")
    yield ErrorSample(lambda: conv2d(x > 0, w > 0), DTypeError, "unsupported dtype")


def transpose_errors() -> Iterable[ErrorSample]:
    """Return the mistakes that users make with transposed convolutions."""
    # Deferred: the op's table entry refers to these samples.
    from graphc.ops.convolution import conv_transpose2d

    x, w = np.ones((1, 4, 2, 2)), np.ones((4, 2, 3, 3))
    yield ErrorSample(lambda: conv_transpose2d(x, w[:3]), ShapeError, "channels do not fit")
    yield ErrorSample(lambda: conv_transpose2d(x, w, groups=3), ShapeError, "do not divide")
    yield ErrorSample(lambda: conv_transpose2d(x, w, padding=2), ShapeError, "crops the whole")
    yield ErrorSample(lambda: conv_transpose2d(x, w, padding="same"), ArgumentError, "leaves the size open")
    yield ErrorSample(lambda: conv_transpose2d(x, w, output_padding=1), ArgumentError, "bad output_padding")
    yield ErrorSample(lambda: conv_transpose2d(x, w[:, :, :, 0]), ShapeError, "weights of a wrong rank")
