"""Code for lesser CPUs than the host's: AVX2, and SSE2 alone."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.runtime import features

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="levels of x86-64")

rng = np.random.default_rng(0)
X, Y, IMAGE, KERNEL = (rng.normal(size=s) for s in ((9, 37), (37, 50), (2, 5, 11, 13), (6, 5, 3, 3)))


def _conv(stride: int) -> Callable[..., Any]:
    return lambda x, w: gx.relu(gx.conv2d(x, w, stride=stride, padding=1))


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elementwise": (lambda x: gx.tanh(x) * gx.exp(x) + gx.log(gx.abs(x)), (X,)),
    "rounding": (lambda x: [gx.floor(x), gx.round(x), gx.trunc(x), x.astype("int32")], (X,)),
    "powers": (lambda x: gx.abs(x) ** 1.5 + gx.erf(x) + gx.sin(x), (X,)),
    "rows": (lambda x: [gx.softmax(x), x.argmax(axis=1), x.var(axis=1)], (X,)),
    "columns": (lambda x: [x.sum(axis=0), x.max(axis=0)], (X,)),
    "product": (lambda x, y: gx.relu(x @ y + 1), (X, Y)),
    "transposed product": (lambda x, y: gx.matrix_transpose(y) @ gx.matrix_transpose(x), (X, Y)),
    "convolution": (_conv(1), (IMAGE, KERNEL)),
    "strided convolution": (_conv(2), (IMAGE, KERNEL)),
    "pooling": (lambda x: [gx.max_pool2d(x, 2), gx.avg_pool2d(x, 3)], (IMAGE,)),
}


@pytest.mark.parametrize("level", features.LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_programs_for_lesser_cpus(level: str, dtype: str) -> None:
    inputs: list[gx.Tensor] = []
    arrays: list[Any] = []
    outputs: list[gx.Tensor] = []
    for name, (build, operands) in PROGRAMS.items():
        own = [gx.placeholder(f"{name.replace(' ', '_')}{k}", a.shape, dtype) for k, a in enumerate(operands)]
        made = build(*own)
        results = made if isinstance(made, list) else [made]
        smooth = [r for r in results if r.dtype.kind == "f" and name != "rounding"]
        outputs += [*results, *(gx.grad(sum(r.sum() for r in smooth), own) if smooth else [])]
        inputs += own
        arrays += [a.astype(dtype) for a in operands]
    expected = gx.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    with features.limited(level):
        program = gx.compile(inputs, outputs)
        found = program(*arrays)
        assembly = "\n".join(kernel.asm for kernel in program.kernels)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4 if dtype == "float32" else 1e-10, atol=1e-5)
    assert "%xmm" in assembly and "%zmm" not in assembly
    if level == "x86-64":
        assert "%ymm" not in assembly and not re.search(r"\bvfmadd|\broundps", assembly)
    else:
        assert "%ymm" in assembly and "vfmadd" in assembly


def test_the_hosts_own_level_comes_back() -> None:
    before = features.fingerprint(), features.vector_bytes()
    with pytest.raises(ZeroDivisionError), features.limited("x86-64"):
        assert features.fingerprint() != before[0]
        raise ZeroDivisionError
    assert (features.fingerprint(), features.vector_bytes()) == before
