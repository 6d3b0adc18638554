"""Cells: one step of a recurrent network, to be called alone, or run by a layer.

A cell computes all of its gates at once.  What the input adds to them, ``x @ weight_ih + bias``,
needs no state: `Cell.project` computes it for any number of steps in one product, and
`Cell.step` does the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from graphc.control.structure import describe, flatten
from graphc.dims import Dim
from graphc.errors import ArgumentError, caller
from graphc.nn.initializers import Initializer, constant, resolve, zeros
from graphc.nn.layer import Function, Module, positive
from graphc.ops import sigmoid, split, tanh
from graphc.ops import zeros as zeros_of
from graphc.scopes import enter
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import DType

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]

S = TypeVar("S")
States = tuple[Tensor, ...]
Seed = int | np.random.Generator | None


@dataclass(frozen=True)
class PerGate(Initializer):
    """Gates side by side along the last axis, each with an initializer of its own."""

    gates: tuple[Initializer, ...] = ()

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """Return the values of all gates."""
        one = (*shape[:-1], shape[-1] // len(self.gates))
        return np.concatenate([gate.draw(one, rng) for gate in self.gates], axis=-1)


class Cell(Module, ABC, Generic[S]):
    """Base of the cells.

    Parameters
    ----------
    in_features : int
        Size of the input.
    hidden : int
        Size of the state.
    bias : bool, default True
        Whether to add biases.
    initializer : str or Initializer, default "xavier"
        First value of the input's weights, gate by gate; see `graphc.nn.initializers`.
    recurrent_initializer : str or Initializer, default "orthogonal"
        First value of the state's weights, gate by gate.
    seed : int or numpy Generator, optional
        Source of the first values.
    dtype : dtype, default float32
        float32 or float64.
    name : str, optional
        Prefix of the variables' names.
    """

    gates: ClassVar[int]
    """How many gates lie side by side in the weights."""
    states: ClassVar[tuple[str, ...]] = ("h",)
    """Names of the states; the first one is the output."""

    def __init__(
        self,
        in_features: int,
        hidden: int,
        bias: bool = True,
        initializer: str | Initializer = "xavier",
        recurrent_initializer: str | Initializer = "orthogonal",
        *,
        seed: Seed = None,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        positive(type(self).__name__, in_features=in_features, hidden=hidden)
        # One source for both, or an int seed would give them the same values.
        rng = np.random.default_rng(seed)
        width = self.gates * hidden
        ways = {"weight_ih": (in_features, initializer), "weight_hh": (hidden, recurrent_initializer)}
        self.weight_ih, self.weight_hh = (
            self.weight_variable(role, (size, width), self._each(how), dtype, rng)
            for role, (size, how) in ways.items()
        )
        self.bias = self.weight_variable("bias", (width,), self.first_bias(), dtype) if bias else None
        self.hidden = hidden

    def _each(self, initializer: str | Initializer) -> Initializer:
        one = resolve(initializer)
        return PerGate(one.seed, (one,) * self.gates)

    def first_bias(self) -> Initializer:
        """Return the initializer of the bias."""
        return zeros()

    def project(self, x: Tensor) -> Tensor:
        """Return what inputs add to all gates; any axes may stand before the features."""
        y = x @ self.weight_ih
        return y if self.bias is None else y + self.bias

    @abstractmethod
    def step(self, projected: Tensor, state: States) -> States:
        """Return the next states, given what the input adds to the gates."""

    @abstractmethod
    def joined(self, states: States) -> S:
        """Return states as users see them."""

    def parts(self, state: object, owner: str) -> States:
        """Return a user's state as one tensor per state of the cell."""
        found = flatten(state)[0]
        if len(found) == len(self.states):
            return tuple(found)
        raise ArgumentError(
            f"{owner}: bad state",
            expected=" and ".join(self.states),
            given=describe(state),
            where=caller(),
        )

    def first_states(self, shape: tuple[Dim, ...], dtype: DType) -> States:
        """Return states of zeros."""
        return tuple(zeros_of(shape, dtype) for _ in self.states)

    def __call__(self, x: TensorLike, state: Any = None) -> S:
        """Return the state after one more input.

        Parameters
        ----------
        x : array_like, shape (batch, in_features)
            One input for each sequence.
        state : optional
            As this returns it; zeros by default.
        """
        with enter(self.scope_name):
            projected = self.project(as_tensor(x))
            if state is None:
                before = self.first_states((*projected.shape[:-1], self.hidden), projected.dtype)
            else:
                before = self.parts(state, type(self).__name__)
            return self.joined(self.step(projected, before))


class RNNCell(Cell[Tensor]):
    """One step of a simple recurrent network: ``h' = activation(x @ weight_ih + h @ weight_hh + bias)``.

    Parameters
    ----------
    in_features, hidden : int
        Sizes of the input and of the state.
    activation : callable, default tanh
        A function of a Tensor.
    **options
        `bias`, `initializer`, `recurrent_initializer`, `seed`, `dtype` and `name`, as in `LSTMCell`.

    Attributes
    ----------
    weight_ih, weight_hh : Variable
        Of shapes (in_features, hidden) and (hidden, hidden).
    bias : Variable or None
        Of shape (hidden,).

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8))
    >>> cell = gx.nn.RNNCell(8, 16, seed=0)
    >>> h = cell(x)
    >>> cell(x, h)
    <Tensor float32[batch, 16]>
    """

    gates = 1

    def __init__(self, in_features: int, hidden: int, *, activation: Function = tanh, **options: Any) -> None:
        super().__init__(in_features, hidden, **options)
        self.activation = activation

    def step(self, projected: Tensor, state: States) -> States:
        """Return the next state."""
        return (self.activation(projected + state[0] @ self.weight_hh),)

    def joined(self, states: States) -> Tensor:
        """Return the one state."""
        return states[0]


class LSTMCell(Cell[tuple[Tensor, Tensor]]):
    """One step of a long short-term memory (Hochreiter and Schmidhuber, 1997), with forget gates.

    The gates stand in PyTorch's order, ``i, f, g, o = split(x @ weight_ih + h @ weight_hh + bias, 4)``::

        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    Weights of PyTorch are taken over by transposing both, and adding its two biases.

    Parameters
    ----------
    in_features, hidden : int
        Sizes of the input and of each state.
    bias : bool, default True
        Whether to add a bias.
    initializer : str or Initializer, default "xavier"
        First value of the input's weights, gate by gate; see `graphc.nn.initializers`.
    recurrent_initializer : str or Initializer, default "orthogonal"
        First value of the state's weights, gate by gate.
    forget_bias : float, default 1
        First value of the forget gate's bias: at 1, a new cell remembers (Jozefowicz, Zaremba and
        Sutskever, 2015).  The other biases start at zero.
    seed : int or numpy Generator, optional
        Source of the first values.
    dtype : dtype, default float32
        float32 or float64.
    name : str, optional
        Prefix of the variables' names.

    Attributes
    ----------
    weight_ih, weight_hh : Variable
        Of shapes (in_features, 4 * hidden) and (hidden, 4 * hidden).
    bias : Variable or None
        Of shape (4 * hidden,).

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8))
    >>> cell = gx.nn.LSTMCell(8, 16, seed=0)
    >>> h, c = cell(x)
    >>> cell(x, (h, c))
    (<Tensor float32[batch, 16]>, <Tensor float32[batch, 16]>)
    """

    gates = 4
    states = ("h", "c")

    def __init__(self, in_features: int, hidden: int, *, forget_bias: float = 1.0, **options: Any) -> None:
        self.forget_bias = forget_bias
        super().__init__(in_features, hidden, **options)

    def first_bias(self) -> Initializer:
        """Return zeros, and the forget gate's bias."""
        return PerGate(None, (zeros(), constant(self.forget_bias), zeros(), zeros()))

    def step(self, projected: Tensor, state: States) -> States:
        """Return the next states."""
        h, c = state
        i, f, g, o = split(projected + h @ self.weight_hh, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    def joined(self, states: States) -> tuple[Tensor, Tensor]:
        """Return ``(h, c)``."""
        h, c = states
        return h, c


class GRUCell(Cell[Tensor]):
    """One step of gated recurrent units (Cho et al., 2014), the reset gate after the product.

    The gates stand in PyTorch's order, r, z, n, in both ``x @ weight_ih + bias`` and
    ``h @ weight_hh``::

        r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
        n = tanh(n_x + r * (n_h + bias_hn))
        h' = (1 - z) * n + z * h

    Weights of PyTorch are taken over by transposing both; `bias` is its first bias, plus its
    second one for r and z, and `bias_hn` is what the second one has for n.

    Parameters
    ----------
    in_features, hidden : int
        Sizes of the input and of the state.
    **options
        `bias`, `initializer`, `recurrent_initializer`, `seed`, `dtype` and `name`, as in `LSTMCell`.

    Attributes
    ----------
    weight_ih, weight_hh : Variable
        Of shapes (in_features, 3 * hidden) and (hidden, 3 * hidden).
    bias, bias_hn : Variable or None
        Of shapes (3 * hidden,) and (hidden,).

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8))
    >>> cell = gx.nn.GRUCell(8, 16, seed=0)
    >>> h = cell(x)
    >>> cell(x, h)
    <Tensor float32[batch, 16]>
    """

    gates = 3

    def __init__(self, in_features: int, hidden: int, **options: Any) -> None:
        super().__init__(in_features, hidden, **options)
        found = self.bias
        self.bias_hn = (
            None if found is None else self.weight_variable("bias_hn", (hidden,), "zeros", found.dtype)
        )

    def step(self, projected: Tensor, state: States) -> States:
        """Return the next state."""
        (h,) = state
        r_x, z_x, n_x = split(projected, 3, axis=-1)
        r_h, z_h, n_h = split(h @ self.weight_hh, 3, axis=-1)
        if self.bias_hn is not None:
            n_h = n_h + self.bias_hn
        z = sigmoid(z_x + z_h)
        n = tanh(n_x + sigmoid(r_x + r_h) * n_h)
        return ((1 - z) * n + z * h,)

    def joined(self, states: States) -> Tensor:
        """Return the one state."""
        return states[0]
