"""Recurrent layers: cells run over sequences, in several layers and both directions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from graphc.control.scans import Residuals, scan
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, DTypeError, GraphcError, ShapeError, caller
from graphc.nn.dropout import checked_rate, dropout
from graphc.nn.layer import Layer, Module, positive
from graphc.nn.recurrent_cells import Cell, GRUCell, LSTMCell, RNNCell, Seed, States
from graphc.ops import arange, broadcast_to, concat, expand_dims, stack, swapaxes, where
from graphc.random import Generator
from graphc.scopes import enter
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, is_integer

__all__ = ["GRU", "LSTM", "RNN"]

S = TypeVar("S")


class SequenceModule(Module, ABC, Generic[S]):
    """What returns the outputs of all time steps, and a state."""

    def __init__(self, batch_first: bool, name: str | None) -> None:
        super().__init__(name)
        self.batch_first = batch_first

    def __call__(
        self,
        x: TensorLike,
        training: bool = False,
        *,
        state: Any = None,
        mask: TensorLike | None = None,
        lengths: TensorLike | None = None,
    ) -> tuple[Tensor, S]:
        """Run over sequences.

        Parameters
        ----------
        x : array_like, shape (time, batch, features)
            Inputs; (batch, time, features) if the layer is `batch_first`.
        training : bool, default False
            Whether to drop outputs between layers.
        state : optional
            First states, as this returns the last ones; zeros by default.  A batch of 1, such as a
            variable to be trained, serves all sequences.
        mask : array_like of bool, shape (time, batch), optional
            True where there is an input; (batch, time) if the layer is `batch_first`.  Elsewhere
            states are held and outputs are zeros, whatever `x` contains, NaN included.
        lengths : array_like of int, shape (batch,), optional
            In place of a mask: how many inputs each sequence has.

        Returns
        -------
        outputs : Tensor
            The state h after every step, of shape (time, batch, features); batch first as `x`.
        state
            The last states.
        """
        with enter(self.scope_name):
            return self.over_time(x, training, state, mask, lengths)

    def over_time(
        self,
        x: TensorLike,
        training: bool,
        state: Any = None,
        mask: TensorLike | None = None,
        lengths: TensorLike | None = None,
    ) -> tuple[Tensor, S]:
        """Do what a call does, in the scope that is open already."""
        owner, inputs = type(self).__name__, as_tensor(x)
        if inputs.ndim != 3:
            layout = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
            raise ShapeError(
                f"{owner}: input of a wrong rank",
                expected=f"3 dimensions {layout}",
                given=str(inputs.type),
                where=caller(),
            )
        inputs = self._turned(inputs)
        valid = self._valid(owner, mask, lengths, inputs.shape[:2])
        if valid is not None:
            # What is not there must not reach a product: there, NaN times 0 is NaN.
            inputs = where(valid, inputs, 0)
        outputs, last = self.run(inputs, valid, state, training)
        return self._turned(outputs), last

    @abstractmethod
    def run(self, x: Tensor, valid: Tensor | None, state: Any, training: bool) -> tuple[Tensor, S]:
        """Run over inputs with time in front; `valid`, of shape (time, batch, 1), tells which there are."""

    def as_layer(self) -> Layer:
        """Return the layer whose result are the outputs alone."""
        return Outputs(self)

    def _turned(self, x: Tensor) -> Tensor:
        return swapaxes(x, 0, 1) if self.batch_first else x

    def _valid(
        self, owner: str, mask: TensorLike | None, lengths: TensorLike | None, sizes: Shape
    ) -> Tensor | None:
        if mask is not None and lengths is not None:
            raise ArgumentError(
                f"{owner}: two ways to tell the padding",
                expected="a mask or lengths",
                given="both",
                where=caller(),
            )
        if lengths is not None:
            return _within(owner, as_tensor(lengths), sizes)
        if mask is None:
            return None
        given, wanted = as_tensor(mask), sizes[::-1] if self.batch_first else sizes
        if given.dtype != BOOL:
            raise _unfit(DTypeError, owner, "mask", "bool", given)
        return expand_dims(self._turned(_stretched(owner, "mask", given, wanted)), 2)


def _within(owner: str, lengths: Tensor, sizes: Shape) -> Tensor:
    time, batch = sizes
    if not is_integer(lengths.dtype):
        raise _unfit(DTypeError, owner, "lengths", "integers", lengths)
    ends = _stretched(owner, "lengths", lengths, (batch,))
    return expand_dims(expand_dims(arange(time), 1) < ends, 2)


def _stretched(owner: str, name: str, given: Tensor, shape: Shape) -> Tensor:
    """Return an operand in a shape to which it broadcasts without further axes."""
    if given.ndim == len(shape) and all(map(_may_stretch, given.shape, shape)):
        return broadcast_to(given, shape)
    raise _unfit(ShapeError, owner, name, f"the shape ({', '.join(map(str, shape))})", given)


def _may_stretch(have: Dim, want: Dim) -> bool:
    # Sizes of which one has a name are compared when the program is called.
    return have in (1, want) or not (isinstance(have, int) and isinstance(want, int))


def _unfit(kind: type[GraphcError], owner: str, name: str, expected: str, given: Tensor) -> GraphcError:
    return kind(f"{owner}: bad {name}", expected=expected, given=str(given.type), where=caller())


class Outputs(Layer):
    """The outputs of a recurrent layer, without its states."""

    def __init__(self, source: SequenceModule[Any]) -> None:
        super().__init__(source.name)
        self.scope_name = source.scope_name
        self.source = source

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return the outputs of all time steps."""
        return self.source.over_time(x, training)[0]

    def members(self) -> Mapping[str, object]:
        """Return what the recurrent layer itself has."""
        return self.source.members()


class Recurrent(SequenceModule[S]):
    """Base of the recurrent layers: cells of one kind; see `LSTM`."""

    cell: ClassVar[type[Cell[Any]]]

    def __init__(
        self,
        in_features: int,
        hidden: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        batch_first: bool = False,
        reverse: bool = False,
        *,
        residuals: Residuals = "all",
        seed: Seed = None,
        generator: Generator | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(batch_first, name)
        owner = type(self).__name__
        positive(owner, in_features=in_features, hidden=hidden, num_layers=num_layers)
        self.rate = checked_rate(owner, dropout)
        self.in_features, self.hidden, self.num_layers = in_features, hidden, num_layers
        self.bidirectional, self.reverse = bidirectional, reverse
        self.residuals, self.generator = residuals, generator
        self._options = options
        # One source for all cells, and for those of `reversed`.
        self._rng = np.random.default_rng(seed)
        count = 1 + bidirectional
        sizes = [in_features] * count + [hidden * count] * (num_layers - 1) * count
        self.cells = tuple(
            self.cell(size, hidden, seed=self._rng, name=f"{self.name}.{k}", **options)
            for k, size in enumerate(sizes)
        )

    def reversed(self) -> Recurrent[S]:
        """Return a layer like this, of other first values, that runs the other way."""
        return type(self)(
            self.in_features,
            self.hidden,
            self.num_layers,
            self.bidirectional,
            self.rate,
            self.batch_first,
            not self.reverse,
            residuals=self.residuals,
            seed=self._rng,
            generator=self.generator,
            **self._options,
        )

    def run(self, x: Tensor, valid: Tensor | None, state: Any, training: bool) -> tuple[Tensor, S]:
        """Run all layers, one after another."""
        directions = 1 + self.bidirectional
        firsts = self._first_states(state, x.shape[1])
        lasts: list[States] = []
        for layer in range(self.num_layers):
            x = dropout(x, self.rate, training and layer > 0, self.generator)
            runs = [self._pass(layer * directions + d, x, valid, firsts) for d in range(directions)]
            x = concat([outputs for outputs, _ in runs], axis=-1) if self.bidirectional else runs[0][0]
            lasts += [last for _, last in runs]
        last: S = self.cells[0].joined(tuple(stack(part) for part in zip(*lasts, strict=True)))
        return x, last

    def _first_states(self, state: Any, batch: Dim) -> States | None:
        if state is None:
            return None
        shape = (len(self.cells), batch, self.hidden)
        owner = type(self).__name__
        found = zip(self.cell.states, self.cells[0].parts(state, owner), strict=True)
        return tuple(_stretched(owner, f"state {name}", part, shape) for name, part in found)

    def _pass(
        self, number: int, x: Tensor, valid: Tensor | None, firsts: States | None
    ) -> tuple[Tensor, States]:
        """Run one cell over all steps; what the inputs add to the gates is one product."""
        cell, projected = self.cells[number], self.cells[number].project(x)
        if firsts is None:
            first = cell.first_states((x.shape[1], self.hidden), projected.dtype)
        else:
            first = tuple(part[number] for part in firsts)
        common = np.result_type(projected.dtype, *(part.dtype for part in first))
        projected, first = projected.astype(common), tuple(part.astype(common) for part in first)

        def step(state: States, inputs: tuple[Tensor, Tensor | None]) -> tuple[States, Tensor]:
            gates, present = inputs
            following = cell.step(gates, state)
            if present is None:
                return following, following[0]
            held = tuple(where(present, new, old) for new, old in zip(following, state, strict=True))
            return held, where(present, following[0], 0)

        backward = bool(number % 2) if self.bidirectional else False
        last, outputs = scan(
            step, first, (projected, valid), reverse=self.reverse != backward, residuals=self.residuals
        )
        return outputs, last


class RNN(Recurrent[Tensor]):
    """A simple recurrent network over sequences.

    Called as ``outputs, h = layer(x)``; see `LSTM`, also for the parameters.  The state `h` is of
    shape (cells, batch, hidden).

    Parameters
    ----------
    in_features, hidden : int
        Sizes of the input and of the state.
    **options
        As in `LSTM`; of its cells those of `RNNCell`: `activation`, ...

    Attributes
    ----------
    cells : tuple of RNNCell
        As in `LSTM`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("time", "batch", 8))
    >>> gx.nn.RNN(8, 16, activation=gx.relu, seed=0)(x)
    (<Tensor float32[time, batch, 16]>, <Tensor float32[1, batch, 16]>)
    """

    cell = RNNCell


class LSTM(Recurrent[tuple[Tensor, Tensor]]):
    """A long short-term memory over sequences.

    Called as ``outputs, (h, c) = layer(x)``, with options for first states, masks and lengths; see
    the call.  In `Sequential`, the outputs are passed on.  The states are of shape
    (cells, batch, hidden), where the cells are those of the first layer, forward and backward if
    it is bidirectional, then those of the second.

    What the inputs add to the gates, ``x @ weight_ih + bias``, is one product over all time steps,
    before the loop; in the loop remain ``h @ weight_hh`` and the gates.

    Parameters
    ----------
    in_features, hidden : int
        Sizes of the input and of the states.
    num_layers : int, default 1
        Layers on top of each other; each has the outputs of the one below as its inputs.
    bidirectional : bool, default False
        Whether every layer also runs from the last step to the first, by a second cell, and puts
        out both results side by side.
    dropout : float, default 0
        Rate at which inputs of all layers but the first are dropped while training.
    batch_first : bool, default False
        Whether inputs, outputs and masks have the batch before the time.
    reverse : bool, default False
        Run from the last step to the first; ``outputs[t]`` still belongs to ``x[t]``.
    residuals : {"all", "none"} or int
        What a gradient keeps of the steps; see `graphc.scan`.
    seed : int or numpy Generator, optional
        Source of the first values.
    generator : graphc.random.Generator, optional
        Source of the dropped positions.
    name : str, optional
        Prefix of the variables' names.
    **options
        Of the cells, as in `LSTMCell`: `bias`, `initializer`, `recurrent_initializer`,
        `forget_bias` and `dtype`.

    Attributes
    ----------
    cells : tuple of LSTMCell
        By layer and direction, as in the states; they hold the weights.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = gx.placeholder("x", shape=("time", "batch", 8))
    >>> lengths = gx.placeholder("lengths", shape=("batch",), dtype="int64")
    >>> outputs, (h, c) = gx.nn.LSTM(8, 16, bidirectional=True, seed=0)(x, lengths=lengths)
    >>> outputs, h
    (<Tensor float32[time, batch, 32]>, <Tensor float32[2, batch, 16]>)
    """

    cell = LSTMCell


class GRU(Recurrent[Tensor]):
    """Gated recurrent units over sequences.

    Called as ``outputs, h = layer(x)``; see `LSTM`, also for the parameters.  The state `h` is of
    shape (cells, batch, hidden).

    Parameters
    ----------
    in_features, hidden : int
        Sizes of the input and of the state.
    **options
        As in `LSTM`; of its cells those of `GRUCell`.

    Attributes
    ----------
    cells : tuple of GRUCell
        As in `LSTM`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", "time", 8))
    >>> gx.nn.GRU(8, 16, num_layers=2, batch_first=True, seed=0)(x)
    (<Tensor float32[batch, time, 16]>, <Tensor float32[2, batch, 16]>)
    """

    cell = GRUCell
