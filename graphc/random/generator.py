"""`Generator`: a source of random tensors with its own state."""

from __future__ import annotations

from graphc.errors import ArgumentError, caller
from graphc.ops.axes import is_int
from graphc.random.discrete import Discrete
from graphc.random.gammas import Gammas

__all__ = ["Generator"]


class Generator(Gammas, Discrete):
    """A source of random tensors with its own state.

    Draws are numbered in the order in which they are built, and the number enters the
    key.  A model built from a generator of its own therefore repeats exactly, whatever
    else the process has built before.

    The state is an ordinary variable.  ``state.value`` is all there is to save and
    ``state.assign(value)`` restores it, or `graphc.save_variables` does with a model's other
    variables; the same program then draws the same numbers again.

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

    def split(self, count: int = 2) -> tuple[Generator, ...]:
        """Return generators that are independent of this one and of each other.

        Their seeds are enciphered from this one's present state and the number of the draw:
        the same generator splits into the same ones, and a second split gives others.  From
        then on each has a state of its own.

        Parameters
        ----------
        count : int, default 2
            How many.

        Returns
        -------
        tuple of Generator

        Raises
        ------
        ArgumentError
            If `count` is no positive int.

        Examples
        --------
        >>> import graphc as gx
        >>> weights, noise = gx.random.Generator(seed=1).split()
        >>> noise.normal((3,))
        <Tensor float32[3]>
        """
        if not is_int(count) or count < 1:
            raise ArgumentError(
                "split: bad count", expected="a positive int", given=repr(count), where=caller()
            )
        name = self.state.name or "random_state"
        return tuple(Generator(seed, f"{name}_{k}") for k, seed in enumerate(self._seeds(count)))
