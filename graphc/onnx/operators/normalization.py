"""Normalization, and dropout."""

from __future__ import annotations

import graphc as gx
from graphc.leaves import Variable
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.tensor import Tensor


@converter("BatchNormalization", since=7)
def _batch_norm(call: Call) -> list[Tensor]:
    x, scale, bias, mean, var = call.tensors()
    eps = call.number("epsilon", 1e-5)
    momentum = call.number("momentum", 0.9)
    call.ignore("spatial")
    _keep_from_training(mean, var)
    if not call.flag("training_mode"):
        return [gx.batch_norm(x, mean, var, scale, bias, eps=eps)]
    axes = (0, *range(2, x.ndim))
    now, spread = gx.mean(x, axis=axes), gx.var(x, axis=axes)
    found = gx.batch_norm(x, now, spread, scale, bias, eps=eps)
    running = [old * momentum + new * (1 - momentum) for old, new in ((mean, now), (var, spread))]
    return [found, *(gx.astype(r, mean.dtype) for r in running)]


@converter("BatchNormalization")
def _batch_norm_of_inference(call: Call) -> Tensor:
    if not call.flag("is_test"):
        call.fail("training by an older version", expected="is_test=1, or opset 7 or newer")
    x, scale, bias, mean, var = call.tensors()
    for name in ("spatial", "momentum", "consumed_inputs"):
        call.ignore(name)
    _keep_from_training(mean, var)
    return gx.batch_norm(x, mean, var, scale, bias, eps=call.number("epsilon", 1e-5))


def _keep_from_training(*statistics: Tensor) -> None:
    for tensor in statistics:
        if isinstance(tensor, Variable):
            tensor.trainable = False


@converter("InstanceNormalization", since=6)
def _instance_norm(call: Call) -> Tensor:
    return gx.instance_norm(call.tensor(0), call.tensor(1), call.tensor(2), eps=call.number("epsilon", 1e-5))


@converter("GroupNormalization", since=21)
def _group_norm(call: Call) -> Tensor:
    call.needs("num_groups")
    call.ignore("stash_type")
    return gx.group_norm(
        call.tensor(0),
        call.integer("num_groups", 1),
        call.tensor(1),
        call.tensor(2),
        eps=call.number("epsilon", 1e-5),
    )


@converter("LayerNormalization", since=17)
def _layer_norm(call: Call) -> list[Tensor]:
    x = call.tensor(0)
    axis = call.integer("axis", -1) % x.ndim
    axes = tuple(range(axis, x.ndim))
    eps = call.number("epsilon", 1e-5)
    call.ignore("stash_type")
    scale = gx.broadcast_to(call.tensor(1), x.shape[axis:])
    bias = gx.broadcast_to(call.tensor(2), x.shape[axis:]) if call.has(2) else None
    found = [gx.layer_norm(x, scale, bias, axis=axes, eps=eps)]
    if len(call.outputs) > 1:
        found += [
            gx.mean(x, axis=axes, keepdims=True),
            gx.rsqrt(gx.var(x, axis=axes, keepdims=True) + eps),
        ]
    return found[: max(len(call.outputs), 1)]


@converter("RMSNormalization", since=23)
def _rms_norm(call: Call) -> Tensor:
    x = call.tensor(0)
    axis = call.integer("axis", -1) % x.ndim
    call.ignore("stash_type")
    scale = gx.broadcast_to(call.tensor(1), x.shape[axis:])
    return gx.rms_norm(x, scale, axis=tuple(range(axis, x.ndim)), eps=call.number("epsilon", 1e-5))


@converter("LRN")
def _local_response_norm(call: Call) -> Tensor:
    """Normalize by a sum over neighbouring channels, the odd one after the middle."""
    call.needs("size")
    x, size = call.tensor(), call.integer("size", 1)
    alpha, beta, bias = call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0)
    before = (size - 1) // 2
    widths = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    squares = gx.pad(gx.square(x), widths)
    channels = x.shape[1]
    total = squares[:, 0:channels]
    for offset in range(1, size):
        total = total + squares[:, slice(offset, offset + channels)]
    return x / gx.pow(bias + (alpha / size) * total, beta)


@converter("LpNormalization")
def _power_normalization(call: Call) -> Tensor:
    x, axis, power = call.tensor(), call.integer("axis", -1), call.integer("p", 2)
    if power not in (1, 2):
        call.fail("bad p", expected="1 or 2", given=str(power))
    size = gx.vector_norm(x, axis=axis, keepdims=True, ord=power)
    return gx.where(size == 0, gx.zeros_like(x), x / gx.where(size == 0, gx.ones_like(size), size))


@converter("MeanVarianceNormalization", since=9)
def _mean_variance_normalization(call: Call) -> Tensor:
    x, axes = call.tensor(), call.integers("axes", (0, 2, 3))
    mean = gx.mean(x, axis=axes, keepdims=True)
    return (x - mean) / (gx.std(x, axis=axes, keepdims=True) + 1e-9)


@converter("Dropout", since=7, exact=True)
def _dropout_of_inference(call: Call) -> list[Tensor]:
    call.ignore("ratio")
    x = call.tensor(0)
    return [x, gx.ones_like(x)][: len(call.outputs)]
