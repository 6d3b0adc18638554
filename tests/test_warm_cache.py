"""What is compiled once stays compiled: for another process, another size, an equal kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.runtime import kernels as native

# A whole training step: convolution, pooling, normalization, dropout, softmax, an optimizer.
TRAINING = """
import hashlib, json, sys
import numpy as np
import graphc as gx
from graphc.runtime import kernels, object_cache

object_cache.set_cache_dir(sys.argv[1])
model = gx.nn.Sequential(
    gx.nn.Conv2d(1, 4, 3, padding=1, activation=gx.relu, seed=0),
    gx.nn.BatchNorm(4),
    gx.nn.MaxPool2d(2),
    gx.nn.Flatten(),
    gx.nn.Dropout(0.25, gx.random.Generator(3)),
    gx.nn.Dense(36, 5, seed=1),
)
x = gx.placeholder("x", ("batch", 1, 6, 6))
y = gx.placeholder("y", ("batch",), "int64")
scores = model(x, training=True)
losses = gx.nn.softmax_cross_entropy(scores, y)
step = gx.compile([x, y], losses, updates=gx.optim.Adam(0.01).minimize(losses.mean()))
infer = gx.compile(x, gx.softmax(model(x), axis=-1))
built = kernels.compilations()
rng = np.random.default_rng(0)
digest = hashlib.sha256()
for batch in (4, 1, 7, 4):
    images = rng.normal(size=(batch, 1, 6, 6)).astype("float32")
    digest.update(step(images, rng.integers(0, 5, batch)).tobytes())
    digest.update(infer(images).tobytes())
empty = infer(np.empty((0, 1, 6, 6), "float32"))
print(json.dumps({
    "compiled": built,
    "compiled by calls": kernels.compilations() - built,
    "numba": any(m.split(".")[0] == "numba" for m in sys.modules),
    "sizes": [s["batch"] for s in infer.specializations],
    "empty": list(empty.shape),
    "digest": digest.hexdigest(),
}))
"""


def _train(cache: Path) -> dict[str, Any]:
    command = [sys.executable, "-W", "error", "-c", TRAINING, str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_second_process_compiles_nothing_and_computes_the_same(tmp_path: Path) -> None:
    cold, warm = _train(tmp_path / "kernels"), _train(tmp_path / "kernels")
    assert cold["compiled"] > 5 and not cold["numba"]
    assert warm["compiled"] == 0 and not warm["numba"]
    assert warm["digest"] == cold["digest"]
    for run in (cold, warm):
        assert run["compiled by calls"] == 0
        assert run["sizes"] == [4, 1, 7, 0]
        assert run["empty"] == [0, 5]


@pytest.fixture(scope="module")
def program() -> gx.Program:
    x, w = gx.placeholder("x", ("n", 5), "float64"), gx.variable(np.eye(5, 3), name="w")
    return gx.compile(x, [gx.softmax(x @ w + 0.5, axis=-1), gx.mean(x, axis=0), gx.cumulative_sum(x, axis=0)])


@pytest.mark.parametrize("size", [0, 1, 2, 64, 65, 1000])
def test_a_new_size_makes_a_plan_and_compiles_nothing(program: gx.Program, size: int) -> None:
    compiled, plans = native.compilations(), len(program.specializations)
    value = np.random.default_rng(size).normal(size=(size, 5))
    for _ in range(2):
        rows, mean, total = program(value)
    assert native.compilations() == compiled
    assert len(program.specializations) == plans + 1
    assert program.specializations[-1] == {"n": size}
    np.testing.assert_allclose(rows.sum(axis=-1), np.ones(size))
    np.testing.assert_allclose(total, np.cumsum(value, axis=0))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(mean, value.sum(axis=0) / np.float64(size))


def test_equal_kernels_are_compiled_once(tmp_path: Path) -> None:
    """Layers of one shape differ in their variables, not in their code."""
    # Each with an operand of its own: products that share one would become one product.
    inputs = [gx.placeholder(f"x{k}", ("n", 3), "float64") for k in range(4)]
    layers = [gx.variable(np.full((3, 3), k + 1.0), name=f"w{k}") for k in range(4)]
    # A number that no other test's kernel contains.
    outputs = [gx.tanh(x @ w) * 0.8437561 for x, w in zip(inputs, layers, strict=True)]
    before = native.compilations()
    program = gx.compile(inputs, outputs)
    assert len(program.kernels) == 4
    assert native.compilations() == before + 1
    value = np.arange(6.0).reshape(2, 3)
    for out, layer in zip(program(*[value] * 4), layers, strict=True):
        np.testing.assert_allclose(out, np.tanh(value @ layer.value) * 0.8437561)


def test_the_same_graph_built_again_is_the_same_code() -> None:
    def build() -> gx.Program:
        x = gx.placeholder("x", ("rows", 4))
        return gx.compile(x, gx.log_softmax(x * 0.3716428, axis=-1), updates={})

    first = build()
    compiled = native.compilations()
    second = build()
    assert native.compilations() == compiled
    assert [k.source for k in second.kernels] == [k.source for k in first.kernels]
