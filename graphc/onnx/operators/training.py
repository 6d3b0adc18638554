"""Gradients, and the optimizers that models bring along: ``ai.onnx.preview.training``."""

from __future__ import annotations

from collections.abc import Callable

import graphc as gx
from graphc.control.bodies import replaced
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.onnx.values import Value
from graphc.tensor import Tensor

DOMAIN = "ai.onnx.preview.training"
# What an optimizer makes of a parameter, its gradient and its state: a parameter, and its state.
Update = Callable[..., tuple[Tensor, ...]]


@converter("Gradient", domain=DOMAIN)
def _gradient(call: Call) -> list[Tensor | None]:
    """Differentiate a value of the graph by others, at the operands if these are other ones."""
    call.needs("xs", "y")
    xs, zs = call.texts("xs", ()), call.texts("zs", ())
    if len(call.inputs) != len(xs) + len(zs):
        call.fail("operands", expected=f"{len(xs) + len(zs)} for xs and zs", given=str(len(call.inputs)))
    named = [_named(call, name) for name in (*xs, *zs)]
    y = _named(call, call.text("y", ""))
    slopes = gx.grad(gx.sum(y), named[: len(xs)])
    pairs = zip(named, call.tensors(), strict=True)
    other = {a.node: b.node for a, b in pairs if a.node is not b.node}
    found = [Tensor(n) for n in replaced([s.node for s in slopes], other)] if other else slopes
    return [g if call.wants(k) else None for k, g in enumerate(found)]


def _named(call: Call, name: str) -> Tensor:
    found = call.named(name)
    if not isinstance(found, Value):
        call.fail(f"{name!r} is no tensor", expected="a tensor")
    return found.tensor


def _updated(call: Call, states: int, update: Update) -> list[Tensor]:
    """Return all parameters, then all first states, and so on, in the order of the operands."""
    count, rest = divmod(len(call.inputs) - 2, 2 + states)
    if rest or count < 1:
        call.fail("operands", expected=f"2 and {2 + states} for each parameter", given=str(len(call.inputs)))
    tensors = call.tensors()[2:]
    rows = [update(*tensors[k::count]) for k in range(count)]
    return [tensor for column in zip(*rows, strict=True) for tensor in column]


def _rate(call: Call) -> Tensor:
    return gx.reshape(call.tensor(0), ())


def _steps(call: Call, like: Tensor) -> Tensor:
    """Return how often there was an update before."""
    return gx.astype(gx.reshape(call.tensor(1), ()), like.dtype)


@converter("Adagrad", domain=DOMAIN)
def _adagrad(call: Call) -> list[Tensor]:
    """Duchi et al., "Adaptive subgradient methods", 2011."""
    decay, epsilon = call.number("decay_factor", 0.0), call.number("epsilon", 1e-6)
    penalty = call.number("norm_coefficient", 0.0)
    rate = _rate(call) / (1 + _steps(call, _rate(call)) * decay)

    def update(x: Tensor, g: Tensor, squares: Tensor) -> tuple[Tensor, ...]:
        slope = penalty * x + g
        after = squares + slope * slope
        return x - rate * slope / (gx.sqrt(after) + epsilon), after

    return _updated(call, 1, update)


@converter("Adam", domain=DOMAIN)
def _adam(call: Call) -> list[Tensor]:
    """Kingma and Ba, "Adam: a method for stochastic optimization", 2015."""
    alpha, beta = call.number("alpha", 0.9), call.number("beta", 0.999)
    epsilon, penalty = call.number("epsilon", 1e-6), call.number("norm_coefficient", 0.0)
    shrink = 1 - call.number("norm_coefficient_post", 0.0)
    rate = _rate(call)
    steps = _steps(call, rate)
    # At the first step there is nothing to correct, and the quotient would be 0 by 0.
    late = gx.maximum(steps, 1.0)
    corrected = rate * gx.sqrt(1 - gx.pow(beta, late)) / (1 - gx.pow(alpha, late))
    rate = gx.where(steps > 0, corrected, rate)

    def update(x: Tensor, g: Tensor, mean: Tensor, squares: Tensor) -> tuple[Tensor, ...]:
        slope = penalty * x + g
        first = alpha * mean + (1 - alpha) * slope
        second = beta * squares + (1 - beta) * (slope * slope)
        return shrink * (x - rate * (first / (gx.sqrt(second) + epsilon))), first, second

    return _updated(call, 2, update)


@converter("Momentum", domain=DOMAIN)
def _momentum(call: Call) -> list[Tensor]:
    """Polyak, 1964; with mode "nesterov" that of Nesterov, 1983."""
    call.needs("alpha", "beta", "mode", "norm_coefficient")
    alpha, penalty = call.number("alpha", 0.0), call.number("norm_coefficient", 0.0)
    ahead = call.choice("mode", "standard", ("standard", "nesterov")) == "nesterov"
    rate = _rate(call)
    # The first gradient counts in full.
    share = gx.where(_steps(call, rate) > 0, call.number("beta", 1.0), gx.ones_like(rate))

    def update(x: Tensor, g: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        slope = penalty * x + g
        velocity = alpha * before + share * slope
        return x - rate * (slope + alpha * velocity if ahead else velocity), velocity

    return _updated(call, 1, update)
