"""First values of weights.

An initializer is called with a shape, a dtype and a NumPy generator.  Weights of rank 2
are read as (inputs, outputs), those of higher rank as (outputs, inputs, *kernel).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError, caller
from graphc.types import as_dtype

__all__ = [
    "Initializer",
    "constant",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "resolve",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Array = np.ndarray[Any, Any]
Seed = int | np.random.Generator | None


@dataclass(frozen=True)
class Initializer(ABC):
    """Base of the initializers.

    Parameters
    ----------
    seed : int, optional
        Gives the same values at every call; without it the caller's generator decides.
    """

    seed: int | None = None

    def __call__(self, shape: tuple[int, ...], dtype: object = "float32", rng: Seed = None) -> Array:
        """Return the first value of a weight."""
        source = np.random.default_rng(rng if self.seed is None else self.seed)
        return np.asarray(self.draw(shape, source)).astype(as_dtype(dtype))

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Return float64 values of `shape`."""


@dataclass(frozen=True)
class Constant(Initializer):
    """Every element is `value`."""

    value: float = 0.0

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Return the constant values."""
        return np.full(shape, self.value, np.float64)


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Independent draws of mean 0 and variance ``scale / fan``.

    Attributes
    ----------
    scale : float
        Numerator of the variance.
    fan : str
        ``"in"``, or ``"average"`` of inputs and outputs.
    distribution : str
        ``"normal"`` or ``"uniform"``.
    """

    scale: float = 1.0
    fan: str = "in"
    distribution: str = "normal"

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Return the random values."""
        inputs, outputs = fans(shape)
        fan = inputs if self.fan == "in" else (inputs + outputs) / 2
        deviation = math.sqrt(self.scale / max(fan, 1))
        if self.distribution == "normal":
            return rng.normal(0.0, deviation, shape)
        # A uniform distribution on [-a, a] has the variance a**2 / 3.
        bound = math.sqrt(3.0) * deviation
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """Orthonormal rows or columns, whichever are fewer, times `gain`."""

    gain: float = 1.0

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Return the orthogonal values."""
        if len(shape) < 2:
            raise ShapeError(
                "orthogonal: bad shape", expected="2 or more dimensions", given=str(shape), where=caller()
            )
        rows, cols = shape[0], math.prod(shape[1:])
        tall = rng.normal(size=(max(rows, cols), min(rows, cols)))
        q, r = np.linalg.qr(tall)
        # The signs of r's diagonal make the distribution uniform over orthogonal matrices.
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q if rows >= cols else q.T).reshape(shape)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the numbers of inputs and outputs of one weight."""
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    if len(shape) == 2:
        return shape[0], shape[1]
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def zeros() -> Initializer:
    """Return an initializer to 0.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.zeros()((2,))
    array([0., 0.], dtype=float32)
    """
    return Constant(value=0.0)


def ones() -> Initializer:
    """Return an initializer to 1.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.ones()((2,))
    array([1., 1.], dtype=float32)
    """
    return Constant(value=1.0)


def constant(value: float) -> Initializer:
    """Return an initializer to `value`.

    Parameters
    ----------
    value : float
        What every weight starts from.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.constant(0.5)((2,))
    array([0.5, 0.5], dtype=float32)
    """
    return Constant(value=value)


def xavier_uniform(seed: int | None = None) -> Initializer:
    """Return the uniform initializer of Glorot and Bengio (AISTATS 2010): variance ``2 / (in + out)``.

    Parameters
    ----------
    seed : int, optional
        Gives the same values at every call; without it the caller's generator decides.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.xavier_uniform(seed=0)((4, 3)).shape
    (4, 3)
    """
    return VarianceScaling(seed, 1.0, "average", "uniform")


def xavier_normal(seed: int | None = None) -> Initializer:
    """Return the normal initializer of Glorot and Bengio (AISTATS 2010): variance ``2 / (in + out)``.

    Parameters
    ----------
    seed : int, optional
        Gives the same values at every call; without it the caller's generator decides.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.xavier_normal(seed=0)((4, 3)).shape
    (4, 3)
    """
    return VarianceScaling(seed, 1.0, "average", "normal")


def he_uniform(seed: int | None = None) -> Initializer:
    """Return the uniform initializer of He, Zhang, Ren and Sun (ICCV 2015): variance ``2 / in``.

    Parameters
    ----------
    seed : int, optional
        Gives the same values at every call; without it the caller's generator decides.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.he_uniform(seed=0)((4, 3)).shape
    (4, 3)
    """
    return VarianceScaling(seed, 2.0, "in", "uniform")


def he_normal(seed: int | None = None) -> Initializer:
    """Return the normal initializer of He, Zhang, Ren and Sun (ICCV 2015): variance ``2 / in``.

    Parameters
    ----------
    seed : int, optional
        Gives the same values at every call; without it the caller's generator decides.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.he_normal(seed=0)((8, 3, 3, 3)).shape
    (8, 3, 3, 3)
    """
    return VarianceScaling(seed, 2.0, "in", "normal")


def lecun_uniform(seed: int | None = None) -> Initializer:
    """Return the uniform initializer of LeCun et al., "Efficient BackProp" (1998): variance ``1 / in``.

    Parameters
    ----------
    seed : int, optional
        Gives the same values at every call; without it the caller's generator decides.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.lecun_uniform(seed=0)((4, 3)).shape
    (4, 3)
    """
    return VarianceScaling(seed, 1.0, "in", "uniform")


def lecun_normal(seed: int | None = None) -> Initializer:
    """Return the normal initializer of LeCun et al., "Efficient BackProp" (1998): variance ``1 / in``.

    Parameters
    ----------
    seed : int, optional
        Gives the same values at every call; without it the caller's generator decides.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.lecun_normal(seed=0)((4, 3)).shape
    (4, 3)
    """
    return VarianceScaling(seed, 1.0, "in", "normal")


def orthogonal(gain: float = 1.0, seed: int | None = None) -> Initializer:
    """Return the orthogonal initializer of Saxe, McClelland and Ganguli (ICLR 2014).

    Parameters
    ----------
    gain : float, default 1
        Factor of the orthonormal rows or columns.
    seed : int, optional
        Gives the same values at every call; without it the caller's generator decides.

    Returns
    -------
    Initializer

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.nn.initializers.orthogonal(seed=0)((3, 3), "float64")
    >>> bool(np.allclose(w.T @ w, np.eye(3)))
    True
    """
    return Orthogonal(seed, gain)


_BY_NAME: dict[str, Callable[[], Initializer]] = {
    "zeros": zeros,
    "ones": ones,
    "xavier": xavier_uniform,
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "glorot_uniform": xavier_uniform,
    "glorot_normal": xavier_normal,
    "he": he_normal,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "orthogonal": orthogonal,
}


def resolve(initializer: str | Initializer) -> Initializer:
    """Return an initializer by its name, or the one given.

    Parameters
    ----------
    initializer : str or Initializer
        Such as "he_normal", or an initializer, returned as it is.

    Returns
    -------
    Initializer

    Raises
    ------
    ArgumentError
        If there is none of that name.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.nn.initializers.resolve("zeros")((1,))
    array([0.], dtype=float32)
    """
    if isinstance(initializer, Initializer):
        return initializer
    if isinstance(initializer, str) and initializer in _BY_NAME:
        return _BY_NAME[initializer]()
    raise ArgumentError(
        "bad initializer",
        expected="an Initializer or one of " + ", ".join(_BY_NAME),
        given=repr(initializer),
        where=caller(),
    )
