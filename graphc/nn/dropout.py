"""Noise that regularizes: dropout of activations and of weights."""

from __future__ import annotations

import numpy as np

from graphc.errors import ArgumentError, DTypeError, caller
from graphc.nn.layer import Layer
from graphc.ops import where
from graphc.random import DEFAULT, Generator
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import is_float

__all__ = ["Dropout", "drop_connect", "dropout"]


def dropout(
    x: TensorLike, rate: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Set elements to zero with probability `rate` and scale the others by ``1 / (1 - rate)``.

    From Srivastava et al. (JMLR 2014), scaled while training, so that inference is the
    identity.

    Parameters
    ----------
    x : array_like
        Floating operand.
    rate : float, default 0.5
        Probability of dropping, in [0, 1).
    training : bool, default True
        If False, `x` is returned as it is.
    generator : graphc.random.Generator, optional
        Source of the noise; by default the one that `graphc.random.seed` restarts.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `rate` is outside [0, 1).
    DTypeError
        If `x` is not floating.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.dropout(np.ones(3), 0.5, training=False))
    array([1., 1., 1.])
    """
    return _dropped(as_tensor(x), checked_rate("dropout", rate), training, generator, "dropout")


def drop_connect(
    w: TensorLike, rate: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Set weights to zero with probability `rate` and scale the others by ``1 / (1 - rate)``.

    DropConnect of Wan et al. (ICML 2013), with one mask for the whole batch and the usual
    scaling while training in place of their sampled inference.

    Parameters
    ----------
    w : array_like
        Floating weights, to use in place of the variable.
    rate : float, default 0.5
        Probability of dropping, in [0, 1).
    training : bool, default True
        If False, `w` is returned as it is.
    generator : graphc.random.Generator, optional
        Source of the noise; by default the one that `graphc.random.seed` restarts.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `rate` is outside [0, 1).
    DTypeError
        If `w` is not floating.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.ones((2, 3)), name="w")
    >>> gx.drop_connect(w, 0.5)
    <Tensor float64[2, 3]>
    """
    return _dropped(as_tensor(w), checked_rate("drop_connect", rate), training, generator, "drop_connect")


def checked_rate(owner: str, rate: float) -> float:
    """Return `rate`, or raise `ArgumentError` if it is no probability below 1."""
    if isinstance(rate, (int, float, np.integer, np.floating)) and 0.0 <= rate < 1.0:
        return float(rate)
    raise ArgumentError(f"{owner}: bad rate", expected="a number in [0, 1)", given=repr(rate), where=caller())


def _dropped(x: Tensor, rate: float, training: bool, generator: Generator | None, owner: str) -> Tensor:
    if not is_float(x.dtype):
        raise DTypeError(
            f"{owner}: operand has an unsupported dtype",
            expected="float32 or float64",
            given=str(x.dtype),
            where=caller(),
        )
    if not training or rate == 0.0:
        return x
    kept = (generator or DEFAULT).uniform(x.shape) >= rate
    return where(kept, x * (1.0 / (1.0 - rate)), 0.0)


class Dropout(Layer):
    """`dropout` as a layer: noise when called with ``training=True``, else the identity.

    Parameters
    ----------
    rate : float, default 0.5
        Probability of dropping, in [0, 1).
    generator : graphc.random.Generator, optional
        Source of the noise.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.nn.Dropout(0.5)(np.ones(3)))
    array([1., 1., 1.])
    """

    def __init__(
        self, rate: float = 0.5, generator: Generator | None = None, name: str | None = None
    ) -> None:
        super().__init__(name)
        self.rate = checked_rate("Dropout", rate)
        self.generator = generator

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Drop elements while training."""
        return dropout(x, self.rate, training, self.generator)
