"""Recurrent networks: RNN, GRU and LSTM, one loop over time for each direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.tensor import Tensor

Function = Callable[[Tensor], Tensor]
States = tuple[Tensor, ...]
# From what the input adds to each gate and the states before, to the states after.
Step = Callable[[Tensor, States], States]


@dataclass(frozen=True)
class Activation:
    """A function that gates can have, and the defaults of the parameters that it takes."""

    function: Callable[..., Tensor]
    alpha: float | None = None
    beta: float | None = None


_ACTIVATIONS = {
    "relu": Activation(gx.relu),
    "tanh": Activation(gx.tanh),
    "sigmoid": Activation(gx.sigmoid),
    "softsign": Activation(gx.softsign),
    "softplus": Activation(gx.softplus),
    "elu": Activation(lambda x, alpha: gx.elu(x, alpha), 1.0),
    "leakyrelu": Activation(lambda x, alpha: gx.where(x < 0, alpha * x, x), 0.01),
    "thresholdedrelu": Activation(lambda x, alpha: gx.where(x > alpha, x, gx.zeros_like(x)), 1.0),
    "affine": Activation(lambda x, alpha, beta: alpha * x + beta, 1.0, 0.0),
    "scaledtanh": Activation(lambda x, alpha, beta: alpha * gx.tanh(beta * x), 1.0, 1.0),
    "hardsigmoid": Activation(lambda x, alpha, beta: gx.clip(alpha * x + beta, 0.0, 1.0), 0.2, 0.5),
}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class Direction:
    """What one direction computes with.

    Attributes
    ----------
    reverse : bool
        Whether it runs from the last element to the first.
    w, r : Tensor
        Weights of input and state, gates stacked along axis 0.
    wb, rb : Tensor
        Their biases.
    peepholes : Tensor or None
        What gates of an LSTM see of the cell.
    functions : sequence of callable
        Activations, gates first.
    """

    reverse: bool
    w: Tensor
    r: Tensor
    wb: Tensor
    rb: Tensor
    peepholes: Tensor | None
    functions: Sequence[Function]


@converter("RNN", since=7)
def _rnn(call: Call) -> list[Tensor]:
    def cell(d: Direction, hidden: int) -> Step:
        return lambda x, states: (d.functions[0](x + states[0] @ d.r.T + d.rb),)

    return _network(call, 1, ("Tanh",), cell)


@converter("GRU", since=7)
def _gru(call: Call) -> list[Tensor]:
    """Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014."""
    linear = call.flag("linear_before_reset")

    def cell(d: Direction, hidden: int) -> Step:
        gates, candidate = d.functions
        split = 2 * hidden

        def step(x: Tensor, states: States) -> States:
            (h,) = states
            update, reset = gx.split(gates(x[:, :split] + h @ d.r[:split].T + d.rb[:split]), 2, axis=1)
            inner = reset * (h @ d.r[split:].T + d.rb[split:])
            outer = (reset * h) @ d.r[split:].T + d.rb[split:]
            new = candidate(x[:, split:] + (inner if linear else outer))
            return ((1 - update) * new + update * h,)

        return step

    return _network(call, 3, ("Sigmoid", "Tanh"), cell)


@converter("LSTM", since=7)
def _lstm(call: Call) -> list[Tensor]:
    """Hochreiter and Schmidhuber, 1997, with the peepholes of Gers and Schmidhuber, 2000."""
    coupled = call.flag("input_forget")

    def cell(d: Direction, hidden: int) -> Step:
        gate, candidate, squash = d.functions
        seen = d.peepholes

        def step(x: Tensor, states: States) -> States:
            h, c = states
            into, out, keep, new = gx.split(x + h @ d.r.T + d.rb, 4, axis=1)
            if seen is not None:
                into, keep = into + seen[:hidden] * c, keep + seen[2 * hidden :] * c
            opened = gate(into)
            kept = 1 - opened if coupled else gate(keep)
            after = kept * c + opened * candidate(new)
            if seen is not None:
                out = out + seen[hidden : 2 * hidden] * after
            return gate(out) * squash(after), after

        return step

    return _network(call, 4, ("Sigmoid", "Tanh", "Tanh"), cell, states=2)


def _network(
    call: Call,
    gates: int,
    defaults: tuple[str, ...],
    cell: Callable[[Direction, int], Step],
    states: int = 1,
) -> list[Tensor]:
    """Return all hidden states and the last ones, both directions side by side."""
    turned = call.flag("layout")
    x = gx.swapaxes(call.tensor(0), 0, 1) if turned else call.tensor(0)
    hidden = call.tensor(2).shape[2]
    if not isinstance(hidden, int) or call.integer("hidden_size", hidden) != hidden:
        call.fail("hidden_size does not fit the weights", given=f"recurrent weights {call.tensor(2).type}")
    directions = list(_directions(call, gates * hidden, defaults))
    valid = _valid(call, x)
    found = []
    for k, d in enumerate(directions):
        shape = (x.shape[1], hidden)
        inits = tuple(_first(call, 5 + s, k, turned, x, shape) for s in range(states))
        found.append(_over_time(d, cell(d, hidden), x, inits, valid))
    axis = 2 if turned else 1
    every = gx.stack([gx.swapaxes(ys, 0, 1) if turned else ys for _, ys in found], axis=axis)
    last = [gx.stack([f[s] for f, _ in found], axis=1 if turned else 0) for s in range(states)]
    return [every, *last]


def _over_time(
    d: Direction, step: Step, x: Tensor, inits: States, valid: Tensor | None
) -> tuple[States, Tensor]:
    """Return the last states and all hidden ones; where a sequence is over, they stay, and zeros go out."""
    # The input's part of all gates at once: one large product instead of a small one per element.
    projected = x @ d.w.T + d.wb

    def body(before: States, inputs: tuple[Tensor, ...]) -> tuple[States, Tensor]:
        after = step(inputs[0], before)
        if valid is None:
            return after, after[0]
        kept = tuple(gx.where(inputs[1], a, b) for a, b in zip(after, before, strict=True))
        return kept, gx.where(inputs[1], after[0], gx.zeros_like(after[0]))

    xs = (projected,) if valid is None else (projected, valid)
    last, every = gx.scan(body, inits, xs, reverse=d.reverse)
    return last, every


def _valid(call: Call, x: Tensor) -> Tensor | None:
    """Return which elements belong to their sequence, as (time, batch, 1)."""
    if not call.has(4):
        return None
    times = gx.reshape(gx.arange(x.shape[0]), (-1, 1))
    return gx.expand_dims(times < gx.astype(call.tensor(4), "int64"), 2)


def _first(
    call: Call, index: int, direction: int, turned: bool, x: Tensor, shape: tuple[object, ...]
) -> Tensor:
    if not call.has(index):
        return gx.zeros(shape, dtype=x.dtype)
    given = call.tensor(index)
    return given[:, direction] if turned else given[direction]


def _directions(call: Call, rows: int, defaults: tuple[str, ...]) -> Iterator[Direction]:
    reverses = _DIRECTIONS[call.choice("direction", "forward", tuple(_DIRECTIONS))]
    functions = list(_functions(call, defaults, len(reverses)))
    w, r, bias, seen = call.tensor(1), call.tensor(2), call.optional(3), call.optional(7)
    if w.shape[:1] != (len(reverses),) or w.shape[1] != rows:
        call.fail("the weights do not fit", expected=f"({len(reverses)}, {rows}, ...)", given=str(w.type))
    for k, reverse in enumerate(reverses):
        both = gx.zeros((2 * rows,), dtype=w.dtype) if bias is None else bias[k]
        own = functions[k * len(defaults) : (k + 1) * len(defaults)]
        yield Direction(reverse, w[k], r[k], both[:rows], both[rows:], None if seen is None else seen[k], own)


def _functions(call: Call, defaults: tuple[str, ...], directions: int) -> Iterator[Function]:
    """Yield the activations of all directions, each of which takes the next parameters that it needs."""
    names = call.texts("activations", defaults * directions)
    if len(names) != len(defaults) * directions:
        call.fail("activations", expected=f"{len(defaults) * directions} names", given=", ".join(names))
    alphas, betas = iter(call.numbers("activation_alpha", ())), iter(call.numbers("activation_beta", ()))
    limit = call.number("clip", None)
    for name in names:
        kind = _ACTIVATIONS.get(name.lower())
        if kind is None:
            call.fail("unknown activation", expected=", ".join(_ACTIVATIONS), given=name)
        given = ((kind.alpha, alphas), (kind.beta, betas))
        yield _clipped(kind, [next(rest, default) for default, rest in given if default is not None], limit)


def _clipped(kind: Activation, parameters: list[float], limit: float | None) -> Function:
    if limit is None:
        return lambda x: kind.function(x, *parameters)
    return lambda x: kind.function(gx.clip(x, -limit, limit), *parameters)
