"""Spectral normalization: weights divided by an estimate of their largest singular value."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.leaves import Variable, variable
from graphc.nn.layer import Layer, positive
from graphc.ops import matmul, maximum, moveaxis, reshape, sqrt, square, stop_gradient, with_update
from graphc.ops.axes import is_int, normalize_axis
from graphc.ops.statistics import as_float
from graphc.tensor import Tensor, TensorLike

__all__ = ["SpectralNorm", "spectral_norm"]


def spectral_norm(
    weight: TensorLike, u: TensorLike, iterations: int = 1, axis: int = 0, eps: float = 1e-12
) -> tuple[Tensor, Tensor]:
    """Divide a weight by an estimate of its largest singular value.

    Each power iteration moves `u` towards the left singular vector (Miyato, Kataoka, Koyama
    and Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018).  The
    gradient takes the singular vectors as constants.

    Parameters
    ----------
    weight : array_like
        Of two or more dimensions, read as a matrix whose rows lie along `axis`.
    u : array_like, shape (rows,)
        Estimate of the left singular vector, of length 1.
    iterations : int, default 1
        Number of power iterations; 0 only measures with `u`.
    axis : int, default 0
        Axis of the matrix's rows; all others are its columns.
    eps : float, default 1e-12
        Least length by which vectors are divided.

    Returns
    -------
    weight : Tensor
        Of the shape of `weight`.
    u : Tensor
        The better estimate.

    Raises
    ------
    ShapeError
        If the weight has less than two dimensions, or `u` is not one number per row.
    ArgumentError
        If `iterations` is not an int of 0 or more, or the axis does not exist.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> scaled, u = gx.nn.spectral_norm(np.diag([4.0, 1.0]), [1.0, 0.0])
    >>> gx.evaluate(scaled)
    array([[1.  , 0.  ],
           [0.  , 0.25]])
    """
    w, left = as_float(weight), as_float(u)
    if w.ndim < 2:
        raise ShapeError(
            "spectral_norm: weight of a wrong rank",
            expected="2 or more dimensions",
            given=str(w.type),
            where=caller(),
        )
    if not is_int(iterations) or iterations < 0:
        raise ArgumentError(
            "spectral_norm: bad iterations",
            expected="an int of 0 or more",
            given=repr(iterations),
            where=caller(),
        )
    rows = moveaxis(w, normalize_axis(axis, w.ndim, "spectral_norm"), 0)
    if left.shape != rows.shape[:1]:
        raise ShapeError(
            "spectral_norm: u does not fit",
            expected=f"one number for each of {rows.shape[0]} rows",
            given=str(left.type),
            where=caller(),
        )
    matrix = reshape(rows, (rows.shape[0], dims.product(rows.shape[1:])))
    fixed = stop_gradient(matrix)
    left = stop_gradient(left)
    right = _unit(matmul(left, fixed), eps)
    for _ in range(iterations):
        right = _unit(matmul(left, fixed), eps)
        left = _unit(matmul(fixed, right), eps)
    return w / matmul(left, matmul(matrix, right)), left


def _unit(x: Tensor, eps: float) -> Tensor:
    return x / maximum(sqrt(square(x).sum()), eps)


class SpectralNorm(Layer):
    """A layer whose weight is divided by an estimate of its largest singular value.

    See `graphc.nn.spectral_norm`.  While training, every call of the compiled program
    improves the estimate; for inference it stays.

    Parameters
    ----------
    layer : Layer
        What to apply; it has an attribute `weight`, a Variable, for example `Dense` or `Conv2d`.
    iterations : int, default 1
        Power iterations of a call while training.
    axis : int, default 0
        Axis of the weight that becomes the rows of a matrix.
    eps : float, default 1e-12
        Least length by which vectors are divided.
    seed : int or numpy Generator, optional
        Source of the first estimate.
    name : str, optional
        Prefix of the variable's name.

    Attributes
    ----------
    u : Variable
        The estimate of the left singular vector; not trainable.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8))
    >>> gx.nn.SpectralNorm(gx.nn.Dense(8, 4, seed=0), seed=1)(x, training=True)
    <Tensor float32[batch, 4]>
    """

    def __init__(
        self,
        layer: Layer,
        iterations: int = 1,
        axis: int = 0,
        eps: float = 1e-12,
        *,
        seed: int | np.random.Generator | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        positive("SpectralNorm", iterations=iterations)
        weight = getattr(layer, "weight", None)
        if not isinstance(layer, Layer) or not isinstance(weight, Variable):
            raise ArgumentError(
                "SpectralNorm: not a layer with a weight",
                expected="a Layer whose attribute `weight` is a Variable",
                given=repr(layer),
                where=caller(),
            )
        self.layer, self.iterations, self.eps = layer, iterations, eps
        self.axis = normalize_axis(axis, weight.ndim, "SpectralNorm")
        drawn = np.random.default_rng(seed).normal(size=weight.value.shape[self.axis])
        first = drawn / np.linalg.norm(drawn)
        self.u = variable(first, name=f"{self.name}.u", dtype=weight.dtype, trainable=False)
        self._divided: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Apply the layer with the divided weight; while training, also improve the estimate."""
        iterations = self.iterations if training else 0
        # Built once, so that a program that applies the layer several times improves `u` once.
        if iterations not in self._divided:
            given: Any = vars(self.layer)["weight"]
            self._divided[iterations] = spectral_norm(given, self.u, iterations, self.axis, self.eps)
        weight, u = self._divided[iterations]
        applied = copy.copy(self.layer)
        vars(applied)["weight"] = weight
        y = applied(x, training)
        return with_update(y, self.u, u) if training else y
