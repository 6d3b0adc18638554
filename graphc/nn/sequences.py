"""Layers around layers: over every time step, and in both directions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from graphc.errors import ArgumentError, ShapeError, caller
from graphc.nn.layer import Function, Layer, Module, layer_of
from graphc.nn.recurrent import Recurrent, SequenceModule
from graphc.ops import concat
from graphc.tensor import Tensor

__all__ = ["Bidirectional", "TimeDistributed"]

S = TypeVar("S")


class TimeDistributed(Layer):
    """A layer applied to every time step.

    The first two axes, time and batch in either order, become one: all steps are one large batch,
    without a loop.  So batch normalization takes its statistics over all of them.

    Parameters
    ----------
    layer : Module or callable
        A layer, or a function of a Tensor, whose operand has the batch in front.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx
    >>> images = gx.placeholder("images", shape=("time", "batch", 3, 8, 8))
    >>> gx.nn.TimeDistributed(gx.nn.Conv2d(3, 4, 3, seed=0))(images)
    <Tensor float32[time, batch, 4, 6, 6]>
    """

    def __init__(self, layer: Module | Function, name: str | None = None) -> None:
        super().__init__(name)
        self.layer = layer_of("TimeDistributed", layer)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Apply the layer to all steps at once."""
        if x.ndim < 2:
            raise ShapeError(
                "TimeDistributed: input of a wrong rank",
                expected="2 or more dimensions, time and batch in front",
                given=str(x.type),
                where=caller(),
            )
        steps, batch = x.shape[:2]
        y = self.layer(x.reshape((steps * batch, *x.shape[2:])), training)
        return y.reshape((steps, batch, *y.shape[1:]))


_MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda one, other: concat([one, other], axis=-1),
    "sum": operator.add,
    "mean": lambda one, other: (one + other) * 0.5,
    "product": operator.mul,
}


class Bidirectional(SequenceModule[tuple[S, S]], Generic[S]):
    """A recurrent layer, and another one that runs the other way.

    Called as ``outputs, (state, backward_state) = layer(x)``, with the options of `LSTM`'s call.
    With several layers inside, each direction has a stack of its own, in contrast to
    ``LSTM(..., bidirectional=True)``, whose layers all see both directions.

    Parameters
    ----------
    layer : RNN, LSTM or GRU
        The first direction.
    backward : RNN, LSTM or GRU, optional
        The second, of the opposite `reverse`; by default one like `layer`, with weights of its own.
    merge : {"concat", "sum", "mean", "product"}
        How the outputs of both become one.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("time", "batch", 8))
    >>> outputs, states = gx.nn.Bidirectional(gx.nn.GRU(8, 16, seed=0), merge="sum")(x)
    >>> outputs
    <Tensor float32[time, batch, 16]>
    """

    def __init__(
        self,
        layer: Recurrent[S],
        backward: Recurrent[S] | None = None,
        merge: str = "concat",
        name: str | None = None,
    ) -> None:
        given = [layer] if backward is None else [layer, backward]
        for item in given:
            if not isinstance(item, Recurrent):
                raise _unfit("not a recurrent layer", "an RNN, LSTM or GRU", repr(item))
        if merge not in _MERGES:
            raise _unfit("bad merge", " or ".join(map(repr, _MERGES)), repr(merge))
        super().__init__(layer.batch_first, name)
        self.layer, self.backward = layer, layer.reversed() if backward is None else backward
        self.merge = merge
        if self.backward.reverse == layer.reverse:
            raise _unfit("both layers run the same way", "one with reverse=True", f"twice {layer.reverse}")
        if self.backward.batch_first != layer.batch_first:
            raise _unfit("the layers differ", "one value of batch_first", "both")

    def run(self, x: Tensor, valid: Tensor | None, state: Any, training: bool) -> tuple[Tensor, tuple[S, S]]:
        """Run both layers, and merge what they put out."""
        states = (None, None) if state is None else state
        if not isinstance(states, (tuple, list)) or len(states) != 2:
            raise _unfit("bad state", "a state for each direction", repr(state))
        (one, last), (other, backward_last) = (
            layer.run(x, valid, first, training)
            for layer, first in zip((self.layer, self.backward), states, strict=True)
        )
        return _MERGES[self.merge](one, other), (last, backward_last)


def _unfit(what: str, expected: str, given: str) -> ArgumentError:
    return ArgumentError(f"Bidirectional: {what}", expected=expected, given=given, where=caller())
