"""The samples of the op registry as graphs: many calls bundled into one program.

Compiling dozens of small programs costs seconds; one program whose outputs are all calls
of an op costs its kernels only, and equal kernels are compiled once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import graphc as gx
from graphc.errors import GradientError, GraphcError
from graphc.interpreter import flatten
from graphc.ir import topological
from graphc.lower.rules import Leaf, Map
from graphc.ops.op import REGISTRY, Op, Sample
from graphc.types import is_float

Array = np.ndarray[Any, Any]
Samples = Sequence[Sequence[Array]]
ShapeRule = Callable[[int, Array], tuple[Any, ...]]

# Operations register when their modules are imported, which `import graphc` alone leaves for later.
importlib.import_module("graphc.public")
# What users cannot call has no samples: fused nodes, their items, copies.
OPS = [op for op in REGISTRY.values() if any(True for _ in op.samples())]


def has_float(sample: Sample) -> bool:
    """Tell whether an operand can be differentiated by."""
    return any(is_float(a.dtype) for a in sample.inputs)


@dataclass(frozen=True)
class Call:
    """One call of an op: placeholders, their values, results, and how exact those must be.

    `label` begins the names of its placeholders.  The call of a gradient knows the call
    that it differentiates; its further operands are cotangents of that one's results.
    """

    inputs: tuple[gx.Tensor, ...]
    values: tuple[Array, ...]
    outputs: tuple[gx.Tensor, ...]
    sample: Sample
    label: str
    differentiated: Call | None = None

    @property
    def feeds(self) -> dict[gx.Tensor, Array]:
        return dict(zip(self.inputs, self.values, strict=True))

    def interpret(self) -> list[Array]:
        found: list[Array] = gx.evaluate(list(self.outputs), self.feeds)
        return found


def build(op: Op, sample: Sample, label: str = "", shape: ShapeRule = lambda k, a: a.shape) -> Call:
    """Call the op on placeholders for the sample's operands."""
    inputs = tuple(gx.placeholder(f"{label}x{k}", shape(k, a), a.dtype) for k, a in enumerate(sample.inputs))
    call = sample.call or op.api
    assert call is not None, f"{op.name} has samples but neither `call` nor `api`"
    made, _ = flatten(call(*inputs, **sample.kwargs))
    return Call(inputs, sample.inputs, tuple(made), sample, label)


def build_symbolic(op: Op, sample: Sample, label: str) -> Call:
    """Call the op with named first axes, or with fixed sizes where the call needs them."""

    def shape(k: int, a: Array) -> tuple[Any, ...]:
        # A size of 1 stays fixed, since only a fixed 1 broadcasts.
        return a.shape if not a.ndim or a.shape[0] == 1 else (f"{label}d{k}", *a.shape[1:])

    try:
        return build(op, sample, label, shape)
    except GraphcError:
        return build(op, sample, label)


def symbolic_calls(op: Op, samples: Iterable[Sample]) -> list[Call]:
    """Return calls with named axes; those without elements are left to `resized`."""
    calls = [build_symbolic(op, s, f"s{k}_") for k, s in enumerate(samples) if all(a.size for a in s.inputs)]
    return [c for c in calls if any(_is_named(t) for t in c.inputs)]


def _is_named(t: gx.Tensor) -> bool:
    return not all(isinstance(d, int) for d in t.shape)


def resized(call: Call, size: int) -> Call:
    """Return the call with its named axes at `size`, itself where it cannot have that size."""
    inner = call.differentiated
    if inner is not None:
        smaller = resized(inner, size)
        other = replace(call, values=(*smaller.values, *weights(smaller)))
    else:
        pairs = zip(call.inputs, call.values, strict=True)
        cut = (np.resize(a, (size, *a.shape[1:])) if _is_named(t) else a for t, a in pairs)
        other = replace(call, values=tuple(cut))
    try:
        other.interpret()
    except (GraphcError, IndexError):  # ops that users do not call may assume what their callers ensure
        return call
    return other


def in_every_dtype(op: Op) -> Iterable[Sample]:
    """Yield the first sample with its float operands cast to each dtype that the op takes."""
    sample = next(iter(op.samples()), None)
    if sample is None or not has_float(sample):
        return
    for dtype in op.dtypes:
        cast = tuple(a.astype(dtype) if is_float(a.dtype) else a for a in sample.inputs)
        yield replace(sample, inputs=cast, expected=None)


def differentiable(op: Op) -> list[Sample]:
    """Return the samples at which finite differences exist."""
    return [s for s in op.samples() if s.differentiable and has_float(s) and _has_gradient(op, s)]


def _has_gradient(op: Op, sample: Sample) -> bool:
    call = build(op, sample)
    try:
        return bool(gradient(call).outputs)
    except GradientError:
        return False


def gradient(call: Call) -> Call:
    """Return the call whose results are the gradients of all float operands, with weights of ones fed."""
    results = [t for t in call.outputs if is_float(t.dtype)]
    wanted = [t for t in call.inputs if is_float(t.dtype)]
    seeds = [gx.placeholder(f"{call.label}seed{k}", t.shape, t.dtype) for k, t in enumerate(results)]
    total = tuple(gx.grad(results, wanted, seeds)) if results else ()
    values = (*call.values, *weights(call))
    return Call((*call.inputs, *seeds), values, total, call.sample, call.label, call)


def weights(call: Call) -> tuple[Array, ...]:
    """Return a cotangent for each float result."""
    rng = np.random.default_rng(3)
    return tuple(
        rng.uniform(0.5, 1.5, a.shape).astype(a.dtype) for a in call.interpret() if is_float(a.dtype)
    )


DIFFERENTIABLE = [op for op in OPS if differentiable(op)]


def compile_calls(calls: Sequence[Call], optimize: Any) -> gx.Program:
    """Compile one program that makes all calls."""
    inputs = [t for c in calls for t in c.inputs]
    return gx.compile(inputs, [list(c.outputs) for c in calls], optimize=optimize)


def run(program: gx.Program, calls: Sequence[Call]) -> list[list[Array]]:
    """Run a bundled program: for each call its results."""
    found: list[list[Array]] = program(*(a for c in calls for a in c.values))
    return found


def assert_same(call: Call, found: Sequence[Array], expected: Sequence[Array], context: str = "") -> None:
    """Compare results within the sample's ulp: of each element, or for sums of the largest magnitude."""
    for out, got, wanted in zip(call.outputs, found, expected, strict=True):
        words = f"{context} {out!r} kwargs={dict(call.sample.kwargs)}"
        assert got.dtype == wanted.dtype == out.dtype and got.shape == wanted.shape, words
        if not is_float(out.dtype):
            np.testing.assert_array_equal(got, wanted, err_msg=words)
            continue
        limits = np.finfo(out.dtype)
        rtol, least = call.sample.ulp * float(limits.eps), call.sample.ulp * float(limits.smallest_subnormal)
        exact = call.differentiated is None and _is_elementwise(out)
        atol = least if exact else rtol * _largest([wanted, *call.values])
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol, err_msg=words)


def _is_elementwise(out: gx.Tensor) -> bool:
    return all(isinstance(n.op.lowering, (Map, Leaf)) for n in topological([out.node]))


def _largest(arrays: Iterable[Array]) -> float:
    """Return the largest finite magnitude among floats."""
    return max(float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in arrays if is_float(a.dtype))
