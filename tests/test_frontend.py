"""The compiler of kernel code: its meaning is Numba's, and what it cannot read is an error."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import graphc as gx
from graphc.errors import GraphcError, KernelError
from graphc.frontend.kernel import kernel_module
from graphc.numba_frontend.kernel import kernel_module as by_way_of_numba
from graphc.runtime import kernels, linker, runner, target
from graphc.runtime.kernel_source import TRAILING, Frontend, KernelSource
from tests.random_kernels import Kernels, random_kernels

Array = np.ndarray[Any, Any]
INTEGERS = ("int8", "int32", "int64", "uint8", "uint32")
FLOATS = ("float32", "float64")
ARITHMETIC = (
    "x + y",
    "x - y",
    "x * y",
    "x / y",
    "-(x + 0)",
    "abs(x)",
    "x if y > x else y",
    "x % 3",
    "x + 1",
    "1.5 * x",
)
COMPARISONS = (
    "x < y",
    "x <= y",
    "x == y",
    "x != y",
    "not x",
    "x > 2 or y < 3",
    "x != 0 and y < 0",
    "0 <= x < y",
)
BITWISE = ("x & y", "x | y", "x ^ y", "x << 3", "x >> 1", "~x", "x // y", "x % y", "x // 8", "y // 7")


def run(address: int, arguments: list[Array | int]) -> None:
    words = [v.ctypes.data if isinstance(v, np.ndarray) else v for v in arguments]
    block, status = np.array(words, np.int64), np.zeros(1, np.int64)
    table = np.array([1, status.ctypes.data, address, block.ctypes.data], np.int64)
    assert runner.run(table.ctypes.data) == 1


def both(source: KernelSource, *arguments: Array | int) -> None:
    """Run a kernel by either way of compiling it; all its arrays must end up equal, bit by bit."""
    (own,) = kernels.load_kernels([source])
    symbol = f"reference_{own.key[:20]}"
    reference = target.compile_text(by_way_of_numba(source, symbol), symbol)
    address = linker.link({symbol: reference.object_code})[symbol]
    found, wanted = ([np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2))
    run(own.address, found)
    run(address, wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=source.code)


def kernel(body: str, **params: str) -> KernelSource:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    return KernelSource(
        "k", tuple(params.items()), f"def kernel({', '.join([*params, *TRAILING])}):\n{lines}\n"
    )


def values(dtype: str) -> Array:
    if dtype in FLOATS:
        return np.array([0.0, -0.0, 1.5, -7.25, 1e30, -3e-40, 6.0, np.inf, -np.inf, np.nan], dtype)
    info = np.iinfo(dtype)
    return np.array([0, 1, 2, 3, 7, 8, 13, 100, info.max, info.min, info.max - 6, info.min + 5], dtype)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(INTEGERS + FLOATS, repeat=2)))
def test_operators_mean_what_they_mean_to_numba(first: str, second: str) -> None:
    whole = first in INTEGERS and second in INTEGERS
    expressions = ARITHMETIC + COMPARISONS + (BITWISE if whole else ())
    kind = "int64" if whole else "float64"
    pairs = np.array(list(itertools.product(values(first), values(second))), object).T
    x, y = pairs[0].astype(first), pairs[1].astype(second)
    stores = "\n".join(f"    out[i * {len(expressions)} + {k}] = {e}" for k, e in enumerate(expressions))
    body = f"for i in range(n):\n    x = p[i]\n    y = q[i]\n{stores}"
    source = kernel(body, p=f"{first}*", q=f"{second}*", out=f"{kind}*", n="int64")
    if whole:
        # What Numba leaves undefined, or traps: x // y where the result does not fit.
        fits = ~((x.astype(object) == -(2**63)) & (y.astype(object) == -1))
        x, y = x[fits], y[fits]
    both(source, x, y, np.zeros(x.size * len(expressions), kind), x.size)


@pytest.mark.parametrize(
    "body",
    [
        "for i in range(n - 1, -1, -2):\n    out[i] = i\n",
        "for i in range(0, n, step):\n    out[i] = i",
        "for i in range(n - 1, 0, 0 - step):\n    out[i] = i",
        "i = 0\nwhile i < n:\n    out[i] = i\n    i = i * 2 + 1\n",
        "i = 0\nwhile i < n:\n    if x[i] > 3:\n        break\n    out[i] = 1\n    i += 1\nout[n - 1] = i",
        "for i in range(n):\n    if x[i] == 2:\n        continue\n    elif x[i] < 4:\n        t = 5\n"
        "    else:\n        t = x[i]\n    out[i] += t",
        "for i in range(n):\n    t = x[i] if i < 3 else x[0] * 2\n    out[i] = t",
        "for i in range(n):\n    out[i] = 1 if i + 1 < n and x[i + 1] > x[i] or x[i] == 1 else 0",
        "total = 0\nfor i in range(n):\n    for i2 in range(i):\n        total += x[i2]\n    out[i] = total",
        "for i in range(n):\n    i2 = i\n    for i in range(2):\n        out[i2] += i + 1",
        "k = 5\nfor i in range(2):\n    for k in range(3):\n        out[k] += 1\n    out[5] = k",
        "p = addr(x, 2)\nq = p\nfor i in range(n - 2):\n    out[i] = q[i]",
        "for i in range(n):\n    found = False\n    for j in range(i):\n        if x[j] == x[i]:\n"
        "            found = True\n            break\n    out[i] = 1 if found else 0",
        "for i in range(n):\n    out[i] = power_i64(x[i] & 15, i)",
    ],
)
def test_statements_mean_what_they_mean_to_numba(body: str) -> None:
    x = np.array([3, 1, 4, 1, 5, 9, 2, 6], np.int64)
    source = kernel(body, x="int64*", out="int64*", n="int64", step="int64")
    both(source, x, np.zeros(8, np.int64), 8, 3)


def test_quotients_that_do_not_fit_are_numpys() -> None:
    x = np.array([-(2**63), -(2**63), 5], np.int64)
    y = np.array([-1, 0, 0], np.int64)
    out = np.ones(6, np.int64)
    source = kernel(
        "for i in range(3):\n    out[i] = x[i] // y[i]\n    out[3 + i] = x[i] % y[i]",
        x="int64*", y="int64*", out="int64*",
    )  # fmt: skip
    (own,) = kernels.load_kernels([source])
    run(own.address, [x, y, out])
    with np.errstate(all="ignore"):
        assert out.tolist() == [*(x // y), *(x % y)]


def test_an_arm_that_is_not_chosen_reads_nothing() -> None:
    text = kernel_module(kernel("out[0] = x[5] if n > 5 else 0", x="int64*", out="int64*", n="int64"), "k")
    assert "select" not in text and "phi" in text
    text = kernel_module(kernel("out[0] = n + 1 if n > 5 else 0", out="int64*", n="int64"), "k")
    assert "select" in text and "phi" not in text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("if n > 0:\n    t = 1\nx[0] = t", "'t' may have no value"),
        ("for i in range(n):\n    t = 1\nx[0] = t", "'t' may have no value"),
        ("for i in range(n):\n    pass\nx[0] = i", "'i' may have no value"),
        ("if n > 0:\n    t = 1\nelse:\n    t = 1.0\nx[0] = t", "values of several types"),
        ("t = 0\nfor i in range(n):\n    t = t + 0.5\nx[0] = t", "'t' changes its type in a loop"),
        ("x[0] = unheard_of", "unknown name 'unheard_of'"),
        ("x[0] = exp_f64", "can only be called"),
        ("x[0] = exp_f64(1.0, 2.0)", "takes 1 operands, not 2"),
        ("x[0] = sqrt(n)", "given none"),
        ("x[0] = maximum(x[1])", "takes 2 operands"),
        ("x[0] = n[0]", "n is no pointer"),
        ("x[0] = x + 1", "pointer stands where a number"),
        ("x[0] = n ** n", "Pow of i64 and i64"),
        ("x[0] = 1.5 & n", "of f64 and i64"),
        ("x[0] = n or 1", "n is no condition, but i64"),
        ("x[0] = 1 / 0", "division by zero"),
        ("x[0] = [1]", "is no kernel code"),
        ("x[0] = n.real", "is no kernel code"),
        ("x[0] = min(n, n, default=1)", "is no kernel code"),
        ("x[0] = 'one'", "is no number"),
        ("n", "does nothing"),
        ("del n", "is no kernel code"),
        ("return 1", "a kernel returns nothing"),
        ("if n > 0:\n    return 1", "by its last statement"),
        ("x[0] = ~1.5", "~ of f64"),
        ("for i in x:\n    pass", "run over range"),
        ("while n > 0:\n    break\n    pass", "line 4 is never reached"),
        ("x[0] = 1 if n > 0 else x", "pointer stands where"),
        ("x[0], x[1] = 1, 2\ny = 1, 2\nx[0] = y", "cannot assign"),
        ("tile_f32_1x1x8_full(x, 1)", "is called with"),
    ],
)  # fmt: skip
def test_what_is_no_kernel_code_is_an_error(body: str, message: str) -> None:
    with pytest.raises(KernelError, match=message) as caught:
        kernel_module(kernel(body, x="float64*", n="int64"), "k")
    assert "kernel k does not compile" in str(caught.value)


# -------------------------------------------------------------- whole programs
@given(case=random_kernels())
@settings(max_examples=6)
def test_random_programs_agree(case: Kernels) -> None:
    def results(frontend: Frontend) -> list[Array]:
        case.reset()
        program = gx.compile(case.inputs, case.outputs, updates=case.updates, frontend=frontend)
        found = []
        for feeds in case.feeds:
            try:
                found += program(*feeds.values())
            except GraphcError:
                found.append(np.array(np.nan))
        return [*found, *(v.value for v in case.updates)]

    own, reference = results("direct"), results("numba")
    for a, b in zip(own, reference, strict=True):
        (np.testing.assert_allclose if case.smooth else np.testing.assert_array_equal)(a, b)


def test_a_training_step_with_tiles_agrees() -> None:
    def losses(frontend: Frontend) -> list[float]:
        x, y = gx.placeholder("x", ("batch", 2, 9, 7)), gx.placeholder("y", ("batch",), "int64")
        model = gx.nn.Sequential(
            gx.nn.Conv2d(2, 5, 3, padding=1, activation=gx.relu, seed=0),
            gx.nn.MaxPool2d(2),
            gx.nn.Flatten(),
            gx.nn.Dense(60, 20, activation=gx.tanh, seed=1),
            gx.nn.Dense(20, 4, seed=2),
        )
        loss = gx.nn.softmax_cross_entropy(model(x), y).mean()
        updates = gx.optim.Adam(0.01).minimize(loss)
        step = gx.compile([x, y], loss, updates=updates, frontend=frontend)
        rng = np.random.default_rng(0)
        images, labels = rng.normal(size=(6, 2, 9, 7)).astype(np.float32), rng.integers(0, 4, 6)
        return [float(step(images, labels)) for _ in range(5)]

    own, reference = losses("direct"), losses("numba")
    np.testing.assert_allclose(own, reference, rtol=1e-5)
    assert own[-1] < own[0]


def test_an_unknown_frontend_is_refused() -> None:
    x = gx.placeholder("x", (3,))
    with pytest.raises(gx.errors.ArgumentError, match=r"no such frontend\n.*'direct' or 'numba'"):
        gx.compile(x, x + 1, frontend="cython")
