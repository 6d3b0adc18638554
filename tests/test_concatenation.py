"""Values that are computed where a concatenation holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.runtime.program import Program
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
STEPS = 5


def _draw(*shape: int) -> Array:
    return np.random.default_rng(shape).normal(size=shape).astype("float32")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = gx.get_num_threads()
    yield
    gx.set_num_threads(before)


def _states(x: Tensor) -> list[Tensor]:
    """Return values that depend on each other, of one product each."""
    w = gx.constant(_draw(4, 4))
    states = [ops.tanh(x[0] @ w)]
    for t in range(1, STEPS):
        states.append(ops.tanh(states[-1] @ w + x[t]))
    return states


def _check(x: Tensor, outputs: list[Tensor], sizes: tuple[int, ...]) -> Program:
    program = gx.compile([x], outputs)
    for n in sizes:
        fed = _draw(STEPS, n, 4)
        wanted = gx.evaluate(outputs, {x: fed})
        runs = []
        for threads in (1, 2, 3):
            gx.set_num_threads(threads)
            runs.append(program(fed))
        for got in runs:
            for a, b, first in zip(got, wanted, runs[0], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
                np.testing.assert_array_equal(a, first)
    return program


def _ops(program: Program) -> list[str]:
    return [n.op.name for k in program.kernels for n in k.nodes]


Case = Callable[[Tensor, list[Tensor]], list[Tensor]]
PLACED: dict[str, tuple[int, Case]] = {
    "read by a product": (STEPS, lambda x, h: [ops.concat(h) @ gx.constant(_draw(4, 3))]),
    "read by loops": (STEPS, lambda x, h: [ops.exp(ops.concat(h))]),
    "summed": (STEPS, lambda x, h: [ops.sum(ops.concat(h), axis=0)]),
    "stacked": (STEPS, lambda x, h: [ops.sum(ops.stack(h) @ gx.constant(_draw(4, 3)))]),
    "an output": (STEPS, lambda x, h: [ops.concat(h)]),
    "an output and read": (STEPS, lambda x, h: [c := ops.concat(h), ops.exp(c)]),
    "parts read later": (
        STEPS,
        # A kernel of its own, which would like to store over its operand; then a loop that reads it.
        lambda x, h: [*(ops.sort(s * ops.sum(s)) for s in h), ops.concat(h) @ gx.constant(_draw(4, 3))],
    ),
    "a part is an output": (STEPS - 1, lambda x, h: [ops.concat(h), h[2]]),
    "a part stands twice": (STEPS, lambda x, h: [ops.concat([*h, h[0]]) @ gx.constant(_draw(4, 3))]),
    "an input among them": (STEPS, lambda x, h: [ops.exp(ops.concat([*h, x[3]]) @ gx.constant(_draw(4, 3)))]),
    "two of the same parts": (STEPS, lambda x, h: [ops.concat(h), ops.exp(ops.concat(h[::-1]))]),
    "along another axis": (0, lambda x, h: [ops.concat(h, axis=1)]),
    "of unlike parts": (0, lambda x, h: [ops.concat([h[0], h[1][:1], *h[2:]])]),
}


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("rows", [3, "n"])
def test_parts_are_computed_in_place(name: str, rows: Any) -> None:
    count, build = PLACED[name]
    x = gx.placeholder("x", (STEPS, rows, 4))
    # A result may take over memory of what is read for the last time: not while the whole is alive.
    program = _check(x, build(x, _states(x)), (3,) if rows == 3 else (1, 2, 40))
    assert len(program._source.assignment.parts) == count


def test_nothing_is_left_of_a_concatenation_of_computed_parts() -> None:
    x = gx.placeholder("x", (STEPS, 3, 4))
    program = gx.compile([x], ops.concat(_states(x)) @ gx.constant(_draw(4, 3)))
    assert "concat" not in _ops(program)
    assert len(program.kernels) == STEPS + 1


def test_given_output_arrays_hold_the_parts() -> None:
    x = gx.placeholder("x", (STEPS, 3, 4))
    y = ops.concat(_states(x))
    program = gx.compile([x], y)
    fed, out = _draw(STEPS, 3, 4), np.zeros((STEPS * 3, 4), "float32")
    assert program(fed, out=out) is out
    np.testing.assert_allclose(out, gx.evaluate(y, {x: fed}), rtol=1e-5)


def test_a_variable_is_not_written_part_by_part() -> None:
    x = gx.placeholder("x", (STEPS, 3, 4))
    v = gx.variable(_draw(STEPS * 3, 4), name="v")
    states = [s + v[:3] for s in _states(x)]
    new, fed = ops.concat(states), _draw(STEPS, 3, 4)
    program = gx.compile([x], ops.sum(v), updates={v: new})
    total, wanted = v.numpy().sum(), gx.evaluate(new, {x: fed})
    np.testing.assert_allclose(program(fed), total, rtol=1e-4)
    np.testing.assert_allclose(v.numpy(), wanted, rtol=1e-5)
    assert not program._source.assignment.parts


def test_what_a_callback_reads_keeps_its_own_memory() -> None:
    negated = gx.elementwise_op("negated_by_numpy", np.negative)
    x = gx.placeholder("x", (STEPS, 3, 4))
    states = _states(x)
    y = [ops.exp(ops.concat(states)), negated(states[1])]
    assert len(_check(x, y, (3,))._source.assignment.parts) == STEPS - 1


def test_threads_wait_for_the_parts_that_they_read() -> None:
    x = gx.placeholder("x", (STEPS, 3, 4))
    program = gx.compile([x], ops.concat(_states(x)) @ gx.constant(_draw(4, 3)))
    (whole,) = {p.storage for p in program._source.assignment.parts.values()}
    layout = program._source.layout
    *steps, product = ([t for t in layout.touches(i) if t.key == whole] for i in layout.launches)
    size = 3 * 4 * 4
    assert [(t.start, t.size) for touched in steps for t in touched if t.written] == [
        (k * size, size) for k in range(STEPS)
    ]
    assert [(t.size, t.written) for t in product] == [(None, False)]
