"""Activation functions, softmax among them."""

from __future__ import annotations

import graphc as gx
from graphc import dims
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.tensor import Tensor


@converter("Relu", exact=True)
def _relu(call: Call) -> Tensor:
    return gx.relu(call.tensor())


@converter("Sigmoid")
def _sigmoid(call: Call) -> Tensor:
    return gx.sigmoid(call.tensor())


@converter("Tanh")
def _tanh(call: Call) -> Tensor:
    return gx.tanh(call.tensor())


@converter("Softplus")
def _softplus(call: Call) -> Tensor:
    return gx.softplus(call.tensor())


@converter("Softsign")
def _softsign(call: Call) -> Tensor:
    return gx.softsign(call.tensor())


@converter("Mish")
def _mish(call: Call) -> Tensor:
    return gx.mish(call.tensor())


@converter("LeakyRelu")
def _leaky_relu(call: Call) -> Tensor:
    return gx.leaky_relu(call.tensor(), call.number("alpha", 0.01))


@converter("PRelu", since=7)
def _prelu(call: Call) -> Tensor:
    x, slope = call.tensor(0), call.tensor(1)
    return gx.where(x < 0, slope * x, x)


@converter("PRelu")
def _prelu_by_channel(call: Call) -> Tensor:
    call.ignore("consumed_inputs")
    x, slope = call.tensor(0), call.tensor(1)
    if slope.size != 1:
        slope = gx.reshape(slope, (-1, *[1] * (x.ndim - 2)))
    return gx.where(x < 0, slope * x, x)


@converter("ThresholdedRelu")
def _thresholded_relu(call: Call) -> Tensor:
    x = call.tensor()
    return gx.where(x > call.number("alpha", 1.0), x, gx.zeros_like(x))


@converter("Elu")
def _elu(call: Call) -> Tensor:
    return gx.elu(call.tensor(), call.number("alpha", 1.0))


@converter("Celu", since=12)
def _celu(call: Call) -> Tensor:
    alpha, x = call.number("alpha", 1.0), call.tensor()
    return gx.where(x > 0, x, alpha * gx.expm1(gx.minimum(x, 0) / alpha))


@converter("Selu", since=6)
def _selu(call: Call) -> Tensor:
    x = call.tensor()
    alpha = call.number("alpha", 1.67326319217681884765625)
    gamma = call.number("gamma", 1.05070102214813232421875)
    return gamma * gx.elu(x, alpha)


@converter("HardSigmoid", since=6)
def _hard_sigmoid(call: Call) -> Tensor:
    slope, middle = call.number("alpha", 0.2), call.number("beta", 0.5)
    return gx.clip(slope * call.tensor() + middle, 0.0, 1.0)


@converter("HardSwish", since=14)
def _hard_swish(call: Call) -> Tensor:
    x = call.tensor()
    return x * gx.clip(x / 6 + 0.5, 0.0, 1.0)


@converter("Swish", since=24)
def _swish(call: Call) -> Tensor:
    x = call.tensor()
    return x * gx.sigmoid(call.number("alpha", 1.0) * x)


@converter("Gelu", since=20)
def _gelu(call: Call) -> Tensor:
    return gx.gelu(call.tensor(), call.choice("approximate", "none", ("none", "tanh")))


@converter("Shrink", since=9)
def _shrink(call: Call) -> Tensor:
    x, bias, edge = call.tensor(), call.number("bias", 0.0), call.number("lambd", 0.5)
    # Next to integers the parameters count as integers would.
    above, below = gx.astype(x - bias, x.dtype), gx.astype(x + bias, x.dtype)
    return gx.where(x < -edge, below, gx.where(x > edge, above, gx.zeros_like(x)))


# --------------------------------------------------------------------- softmax
@converter("Softmax", since=13)
def _softmax(call: Call) -> Tensor:
    return gx.softmax(call.tensor(), call.integer("axis", -1))


@converter("LogSoftmax", since=13)
def _log_softmax(call: Call) -> Tensor:
    return gx.log_softmax(call.tensor(), call.integer("axis", -1))


@converter("Hardmax", since=13)
def _hardmax(call: Call) -> Tensor:
    return _hard_maximum(call.tensor(), call.integer("axis", -1))


def _hard_maximum(x: Tensor, axis: int) -> Tensor:
    places = gx.cumulative_sum(gx.ones_like(x, "int64"), axis=axis) - 1
    first = gx.argmax(x, axis=axis, keepdims=True)
    return gx.astype(gx.equal(places, first), x.dtype)


@converter("Softmax")
def _flat_softmax(call: Call) -> Tensor:
    return gx.reshape(gx.softmax(_rows(call), 1), call.tensor().shape)


@converter("LogSoftmax")
def _flat_log_softmax(call: Call) -> Tensor:
    return gx.reshape(gx.log_softmax(_rows(call), 1), call.tensor().shape)


@converter("Hardmax")
def _flat_hardmax(call: Call) -> Tensor:
    return gx.reshape(_hard_maximum(_rows(call), 1), call.tensor().shape)


def _rows(call: Call) -> Tensor:
    """Return the operand as a matrix: older versions take all axes from `axis` on together."""
    x = call.tensor()
    axis = call.integer("axis", 1) % max(x.ndim, 1)
    return gx.reshape(x, (dims.product(x.shape[:axis]), dims.product(x.shape[axis:])))
