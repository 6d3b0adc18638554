"""Random numbers: of the distribution that the model asks for, from graphc's own generators."""

from __future__ import annotations

import graphc as gx
from graphc.dims import Shape
from graphc.onnx.call import Call
from graphc.onnx.elements import Element, element_of
from graphc.onnx.registry import converter
from graphc.onnx.values import Value
from graphc.random import DEFAULT, Generator
from graphc.tensor import Tensor


def _generator(call: Call, whole: bool = False) -> Generator:
    """Return a generator of the node's own where it says a seed, else the one that all share."""
    seed = call.integer("seed", None) if whole else call.number("seed", None)
    return DEFAULT if seed is None else Generator(int(seed))


def _drawn_element(call: Call, like: bool) -> Element:
    given = call.integer("dtype", None)
    if given is not None:
        return element_of(given, call.label)
    return call.element(0) if like else element_of(1, call.label)


def _shape(call: Call, like: bool) -> Shape:
    return call.value(0).shape if like else tuple(call.integers("shape", ()))


def _uniform(call: Call, like: bool) -> Value:
    element = _drawn_element(call, like)
    low, high = call.number("low", 0.0), call.number("high", 1.0)
    drawn = _generator(call).uniform(_shape(call, like), low, high, dtype=element.carrier)
    return Value(element, element.fit(drawn))


def _normal(call: Call, like: bool) -> Value:
    element = _drawn_element(call, like)
    mean, scale = call.number("mean", 0.0), call.number("scale", 1.0)
    drawn = _generator(call).normal(_shape(call, like), mean, scale, dtype=element.carrier)
    return Value(element, element.fit(drawn))


converter("RandomUniform")(lambda call: _uniform(call, like=False))
converter("RandomUniformLike")(lambda call: _uniform(call, like=True))
converter("RandomNormal")(lambda call: _normal(call, like=False))
converter("RandomNormalLike")(lambda call: _normal(call, like=True))


@converter("Bernoulli", since=15)
def _bernoulli(call: Call) -> Value:
    element, x = _drawn_element(call, like=True), call.tensor()
    return Value(element, gx.astype(_generator(call).bernoulli(p=x), element.carrier))


@converter("Multinomial", since=7)
def _multinomial(call: Call) -> Value:
    x, count = call.tensor(), call.integer("sample_size", 1)
    given = call.integer("dtype", 6)
    element = element_of(given, call.label)
    rows = gx.broadcast_to(gx.expand_dims(x, 1), (x.shape[0], count, x.shape[1]))
    return Value(element, gx.astype(_generator(call).categorical(rows), element.carrier))


@converter("Dropout", since=12)
def _dropout(call: Call) -> list[Tensor]:
    x = call.tensor(0)
    rate = float(call.scalar(1)) if call.has(1) else 0.5
    training = call.has(2) and bool(call.scalar(2))
    generator = _generator(call, whole=True)
    if not training or rate == 0:
        return [x, gx.ones_like(x, "bool")][: len(call.outputs)]
    kept = generator.uniform(x.shape, dtype=x.dtype) >= rate
    found = gx.where(kept, x / (1 - rate), gx.zeros_like(x))
    return [found, kept][: len(call.outputs)]
