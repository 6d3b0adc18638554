"""Random tensors: every run of a program draws anew, reproducibly.

Random state is an ordinary variable (seed, counter).  A program that draws advances the
counter once per call, so each call sees other numbers; the same seed and counter give the
same numbers on any number of threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, caller
from graphc.leaves import Variable, constant, variable
from graphc.ops import cos, log, sqrt, with_update
from graphc.ops.threefry import random_key, random_uniform
from graphc.tensor import Tensor

__all__ = ["Generator", "bernoulli", "normal", "seed", "uniform"]

ShapeLike = int | str | Dim | Sequence[int | str | Dim]


class Generator:
    """A source of random tensors with its own state.

    Draws are numbered in the order in which they are built, and the number enters the
    key.  A model built from a generator of its own therefore repeats exactly, whatever
    else the process has built before.

    Parameters
    ----------
    seed : int, default 0
        Any integer of 64 bits.
    name : str, default "random_state"
        Name of the state variable.

    Attributes
    ----------
    state : Variable
        int64[2]: the seed, and how often programs have drawn.

    Examples
    --------
    >>> import graphc as gx
    >>> generator = gx.random.Generator(seed=1)
    >>> generator.uniform((2, 3))
    <Tensor float32[2, 3]>
    """

    def __init__(self, seed: int = 0, name: str = "random_state") -> None:
        self.state: Variable = variable(_state(seed), name=name, trainable=False)
        self._streams = itertools.count()
        self._next_state: Tensor | None = None

    def seed(self, seed: int) -> None:
        """Restart the sequence; compiled programs see it at their next call."""
        self.state.assign(_state(seed))

    def _unit(self, shape: Shape, dtype: object) -> Tensor:
        # One node for all draws, so that a program with many of them advances once.
        if self._next_state is None:
            self._next_state = self.state + constant(np.array([0, 1]))
        key = random_key(self.state, [next(self._streams), 0])
        return random_uniform(with_update(key, self.state, self._next_state), shape, dtype)

    def uniform(
        self, shape: ShapeLike = (), low: float = 0.0, high: float = 1.0, dtype: object = "float32"
    ) -> Tensor:
        """Draw uniformly from [low, high); see `graphc.random.uniform`."""
        unit = self._unit(_shape(shape), dtype)
        return unit if (low, high) == (0.0, 1.0) else unit * (high - low) + low

    def normal(
        self, shape: ShapeLike = (), mean: float = 0.0, std: float = 1.0, dtype: object = "float32"
    ) -> Tensor:
        """Draw from a normal distribution; see `graphc.random.normal`."""
        sizes = _shape(shape)
        radius = sqrt(-2.0 * log(1.0 - self._unit(sizes, dtype)))
        standard = radius * cos((2.0 * np.pi) * self._unit(sizes, dtype))
        return standard if (mean, std) == (0.0, 1.0) else standard * std + mean

    def bernoulli(self, shape: ShapeLike = (), p: float = 0.5) -> Tensor:
        """Draw true with probability `p`; see `graphc.random.bernoulli`."""
        if not 0.0 <= p <= 1.0:
            raise ArgumentError(
                "bernoulli: bad probability", expected="a number in [0, 1]", given=repr(p), where=caller()
            )
        return self._unit(_shape(shape), "float32") < p


def _state(seed: int) -> np.ndarray:
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not -(2**63) <= int(seed) < 2**64:
        raise ArgumentError("bad seed", expected="an integer of 64 bits", given=repr(seed), where=caller())
    return np.array([int(seed) % 2**64, 0], np.uint64).astype(np.int64)


def _shape(shape: ShapeLike) -> Shape:
    listed = (shape,) if isinstance(shape, (int, str, dims.SymbolicDim)) else tuple(shape)
    return tuple(_size(d) for d in listed)


def _size(d: int | str | Dim) -> Dim:
    if isinstance(d, dims.SymbolicDim):
        return d
    if isinstance(d, str) and d.isidentifier():
        return dims.symbol(d)
    if isinstance(d, (int, np.integer)) and not isinstance(d, bool) and d >= 0:
        return int(d)
    raise ArgumentError(
        "random: bad size in shape",
        expected="a non-negative int, a dimension or the name of one",
        given=repr(d),
        where=caller(),
    )


DEFAULT = Generator()
"""The generator behind the functions of this module; its seed is 0 until `seed` is called."""


def seed(seed: int) -> None:
    """Restart the default generator's sequence.

    Draws keep the numbers they were built with, so a program repeats its results after
    ``seed(n)``, but one built anew draws other numbers.  For a model that repeats from its
    construction on, use a `Generator`.

    Parameters
    ----------
    seed : int
        Any integer of 64 bits.

    Raises
    ------
    ArgumentError
        If `seed` is not such an integer.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.random.seed(42)
    """
    DEFAULT.seed(seed)


def uniform(shape: ShapeLike = (), low: float = 0.0, high: float = 1.0, dtype: object = "float32") -> Tensor:
    """Draw uniformly from [low, high).

    Parameters
    ----------
    shape : int, str, dimension or sequence of these
        Sizes of the result; they may be symbolic.
    low, high : float
        Bounds.  Rounding to `dtype` may reach `high` unless it is 1 and `low` is 0.
    dtype : dtype, default float32
        float32 (24 random bits) or float64 (53).

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.random.uniform(("batch", 4), -1, 1)
    <Tensor float32[batch, 4]>
    """
    return DEFAULT.uniform(shape, low, high, dtype)


def normal(shape: ShapeLike = (), mean: float = 0.0, std: float = 1.0, dtype: object = "float32") -> Tensor:
    """Draw from a normal distribution, by the method of Box and Muller (1958).

    Parameters
    ----------
    shape : int, str, dimension or sequence of these
        Sizes of the result; they may be symbolic.
    mean, std : float
        Mean and standard deviation.
    dtype : dtype, default float32
        float32 or float64.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.random.normal((3, 2))
    <Tensor float32[3, 2]>
    """
    return DEFAULT.normal(shape, mean, std, dtype)


def bernoulli(shape: ShapeLike = (), p: float = 0.5) -> Tensor:
    """Draw booleans that are true with probability `p`.

    Parameters
    ----------
    shape : int, str, dimension or sequence of these
        Sizes of the result; they may be symbolic.
    p : float, default 0.5
        Probability, exact to 24 bits.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `p` is outside [0, 1].

    Examples
    --------
    >>> import graphc as gx
    >>> gx.random.bernoulli((3,), p=0.1)
    <Tensor bool[3]>
    """
    return DEFAULT.bernoulli(shape, p)
