"""Where random numbers come from: a state, the keys of draws, and uniform numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np

from graphc.control.bodies import current_iterations
from graphc.dims import Shape
from graphc.errors import ArgumentError, DTypeError, caller
from graphc.leaves import Variable, constant, variable
from graphc.ops import astype, bitwise_and, broadcast_to, log, sin, sqrt, with_update
from graphc.ops.axes import ShapeLike, as_shape
from graphc.ops.op import Infer
from graphc.ops.random_words import random_uniform, random_words
from graphc.ops.threefry import RANDOM_KEY, random_fold, random_key
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT32, FLOATS, DType, as_dtype, is_float

__all__ = ["Parameter", "ShapeLike", "Source"]

Parameter = TensorLike

_MAGNITUDE = 0x7FFFFFFF


class Source:
    """The state of a generator, and the keys and uniform numbers that its draws are made of."""

    def __init__(self, seed: int = 0, name: str = "random_state") -> None:
        self.state: Variable = variable(_state(seed), name=name, trainable=False)
        self._streams = itertools.count()
        self._next_state: Tensor | None = None

    def seed(self, seed: int) -> None:
        """Restart the sequence; compiled programs see it at their next call.

        Draws keep the numbers they were built with, so a program repeats its results after
        ``seed(n)``, but one built anew draws other numbers.  For a model that repeats from
        its construction on, use a `Generator` of its own.

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
        self.state.assign(_state(seed))

    def key(self) -> Tensor:
        """Return the key of one draw, int32[2], and take the next stream number.

        Within the body of a loop, the numbers of the iterations are folded into the key.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.key()
        <Tensor int32[2]>
        """
        # One node for all draws, so that a program with many of them advances once.
        if self._next_state is None:
            self._next_state = self.state + constant(np.array([0, 1]))
        stream = random_key(self.state, [next(self._streams), 0])
        key = with_update(stream, self.state, self._next_state)
        for iteration in current_iterations():
            key = random_fold(key, iteration)
        return key

    # -- what draws are made of
    def _seeds(self, count: int) -> list[int]:
        """Return seeds of generators that are independent of this one and of each other."""
        number = next(self._streams)
        # Draws have 0 for the second word of their stream.
        keys = [RANDOM_KEY.numpy(self.state.value, np.array([number, child + 1])) for child in range(count)]
        return [int(key.view(np.int64)[0]) for key in keys]

    def _unit(self, shape: Shape, dtype: DType) -> Tensor:
        """Draw from [0, 1): 24 random bits in float32, 53 in float64."""
        return random_uniform(self.key(), shape, dtype)

    def _sign_and_unit(self, shape: Shape, dtype: DType) -> tuple[Tensor, Tensor]:
        """Draw a bool, and from (0, 1] with all places of the dtype near 0: the least is 2**-32 or 2**-64."""
        first, second = random_words(self.key(), shape)
        if dtype == FLOAT32:
            return first < 0, _coarse_unit(first)
        magnitude = astype(bitwise_and(first, _MAGNITUDE), dtype)
        low = astype(second, dtype) + (2.0**31 + 0.5)
        return first < 0, (magnitude * 2.0**32 + low) * 2.0**-63

    def _standard_normal(self, shape: Shape, dtype: DType) -> Tensor:
        if dtype == FLOAT32:
            first, second = random_words(self.key(), shape)
            unit, angle = _coarse_unit(first), astype(second, dtype) * (math.pi * 2.0**-32)
        else:
            _, unit = self._sign_and_unit(shape, dtype)
            angle = self._unit(shape, dtype) * math.pi - 0.5 * math.pi
        # The sine over half a turn has the distribution of the one over a whole turn.
        return sqrt(-2.0 * log(unit)) * sin(angle)


def _coarse_unit(word: Tensor) -> Tensor:
    """Return float32 numbers in (0, 1] from the lower 31 bits of a word."""
    return (astype(bitwise_and(word, _MAGNITUDE), FLOAT32) + 0.5) * 2.0**-31


def _state(seed: int) -> np.ndarray:
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not -(2**63) <= int(seed) < 2**64:
        raise ArgumentError("bad seed", expected="an integer of 64 bits", given=repr(seed), where=caller())
    return np.array([int(seed) % 2**64, 0], np.uint64).astype(np.int64)


# ------------------------------------------------------------------ parameters
def float_dtype(op: str, dtype: object, *parameters: Parameter) -> DType:
    """Return the dtype of a draw: as given, else that of the floating parameters, else float32.

    Raises
    ------
    DTypeError
        If it is not floating.
    """
    arrays = [as_tensor(p).dtype for p in parameters if not isinstance(p, (bool, int, float))]
    floats = [d for d in arrays if is_float(d)]
    found = as_dtype(dtype) if dtype is not None else np.result_type(*floats) if floats else FLOAT32
    if found not in FLOATS:
        raise DTypeError(
            f"{op}: unsupported dtype", expected="float32 or float64", given=str(found), where=caller()
        )
    return np.dtype(found)


def sample_shape(op: str, shape: ShapeLike | None, *parameters: Tensor) -> Shape:
    """Return the shape of a draw: as given, else that to which the parameters broadcast.

    Raises
    ------
    ShapeError
        If the parameters do not broadcast to it.
    """
    shapes = [p.shape for p in parameters]
    context = Infer(op, caller())
    if shape is None:
        return context.broadcast(*shapes)
    wanted = as_shape(shape, op)
    for given in shapes:
        if len(given) > len(wanted) or any(
            isinstance(d, int) and isinstance(w, int) and d not in (1, w)
            for d, w in zip(reversed(given), reversed(wanted), strict=False)
        ):
            context.shape_error("a parameter does not broadcast to the shape", wanted, given)
    return wanted


def as_parameter(value: Parameter, dtype: DType) -> Tensor:
    """Return a parameter as a tensor of a dtype."""
    return astype(as_tensor(value, dtype), dtype)


def check_number(op: str, name: str, value: Parameter, least: float, most: float, expected: str) -> None:
    """Raise if a parameter is a Python number outside of an interval; tensors are known at the call only.

    Raises
    ------
    ArgumentError
        If it is.
    """
    if isinstance(value, (int, float)) and not least <= value <= most:
        raise ArgumentError(f"{op}: bad {name}", expected=expected, given=repr(value), where=caller())


def spread(parameter: Tensor, shape: Shape) -> Tensor:
    """Return a parameter with one element for each draw."""
    return parameter if parameter.shape == shape else broadcast_to(parameter, shape)
