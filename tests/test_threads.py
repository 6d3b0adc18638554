"""Threads: the same bits for any number of them, no harm from forks, shutdown or other threads."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cutting import everything_cut

import graphc as gx
from graphc.runtime import schedule
from graphc.runtime.schedule import Span, Task

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(0)


def _image(c: int) -> Array:
    return rng.normal(size=(3, c, 19, 23)).astype(np.float32)


def _matrix(*shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


# What is computed, and of which arrays; large enough to be cut without being asked to.
CUT: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "flat": (lambda x: gx.tanh(x) * x + 1, (_matrix(300, 500),)),
    "broadcast": (lambda x, y: x * y[:, None] + gx.exp(x), (_matrix(300, 501), _matrix(300))),
    "channels": (lambda x: x * gx.arange(7, dtype="float32")[:, None, None], (_image(7),)),
    "one long row": (lambda x: gx.exp(x) - 1, (_matrix(1, 100_001),)),
    "rows": (lambda x: gx.softmax(x), (_matrix(301, 257),)),
    "row values": (lambda x: [x.max(axis=1), x.argmax(axis=1), x.var(axis=1)], (_matrix(301, 257),)),
    "columns": (lambda x: [x.sum(axis=0), x.max(axis=0)], (_matrix(300, 333),)),
    "total": (lambda x: gx.exp(x).sum(), (_matrix(300, 500),)),
    "variance of all": (lambda x: [x.var(), x.max(), (x > 3).any()], (_matrix(300, 500),)),
    "total by channels": (lambda x: ((x + gx.arange(7.0)[:, None, None]) ** 2).sum(), (_image(7),)),
    "matmul": (lambda x, y: gx.relu(x @ y + 1), (_matrix(131, 67), _matrix(67, 203))),
    "batched matmul": (lambda x, y: x @ y, (_matrix(5, 31, 67), _matrix(5, 67, 103))),
    "transposed": (lambda x, y: x.T @ y, (_matrix(131, 67), _matrix(131, 203))),
    "matrix and vector": (lambda x, y: x @ y, (_matrix(1310, 670), _matrix(670))),
    "convolution": (lambda x, w: gx.conv2d(x, w, padding=1), (_image(7), _matrix(9, 7, 3, 3))),
    "strided": (lambda x, w: gx.conv2d(x, w, stride=2, padding=1), (_image(7), _matrix(9, 7, 3, 3))),
    "depthwise": (lambda x, w: gx.conv2d(x, w, groups=8), (_image(8), _matrix(8, 1, 3, 3))),
    "pooling": (lambda x: [gx.max_pool2d(x, 2), gx.avg_pool2d(x, 3, stride=1)], (_image(9),)),
    "sorted": (lambda x: gx.sort(x, axis=1) + gx.cumulative_sum(x, axis=1), (_matrix(130, 257),)),
}


@pytest.mark.parametrize(("build", "arrays"), CUT.values(), ids=CUT.keys())
def test_results_have_the_same_bits_for_any_number_of_threads(
    build: Callable[..., Any], arrays: tuple[Array, ...]
) -> None:
    sizes = [tuple(f"n{k}" if i == 0 else d for i, d in enumerate(a.shape)) for k, a in enumerate(arrays)]
    if len(arrays) > 1:
        sizes = [a.shape for a in arrays]
    inputs = [gx.placeholder(f"x{k}", s, a.dtype) for k, (s, a) in enumerate(zip(sizes, arrays, strict=True))]
    made = build(*inputs)
    outputs = made if isinstance(made, list) else [made]
    # Gradients, too, of what has any.
    weighted = [(o * o).sum() for o in outputs if o.dtype.kind == "f"]
    outputs = [*outputs, *gx.grad(sum(weighted[1:], start=weighted[0]), inputs)]
    program = gx.compile(inputs, outputs)
    found = []
    for threads in (1, 2, 3, 4):
        with everything_cut(threads):
            found.append(program(*arrays))
            assert program(*arrays)[0].tobytes() == found[0][0].tobytes()
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
    for a, b in zip(found[0], gx.evaluate(outputs, dict(zip(inputs, arrays, strict=True))), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def test_training_has_the_same_bits_for_any_number_of_threads() -> None:
    images, labels = _matrix(64, 1, 20, 20), rng.integers(0, 10, 64)
    finals = []
    for threads in (1, 2, 4):
        x, y = gx.placeholder("x", ("n", 1, 20, 20)), gx.placeholder("y", ("n",), "int64")
        layers = [gx.nn.Conv2d(1, 8, 3, activation=gx.relu), gx.nn.BatchNorm(8), gx.nn.MaxPool2d(2)]
        net = gx.nn.Sequential(*layers, gx.nn.Flatten(), gx.nn.Dense(648, 10))
        for variable in (v for v in net.variables if len(v.shape) > 1):
            variable.value = np.random.default_rng(1).normal(size=variable.shape).astype(np.float32) / 9
        loss = gx.nn.softmax_cross_entropy(net(x), y).mean()
        step = gx.compile([x, y], loss, updates=gx.optim.Adam(1e-3).minimize(loss))
        with everything_cut(threads):
            losses = [float(step(images[: 64 - k], labels[: 64 - k])) for k in range(5)]
        finals.append((losses, [v.value for v in net.variables]))
    for losses, values in finals[1:]:
        assert losses == finals[0][0]
        for a, b in zip(values, finals[0][1], strict=True):
            np.testing.assert_array_equal(a, b)


# --------------------------------------------------------------- when to share
def _is_shared(program: gx.Program) -> bool:
    return bool(list(program._plans.values())[-1].shared)


def test_small_calls_stay_on_the_calling_thread() -> None:
    x = gx.placeholder("x", ("n", 100))
    program = gx.compile(x, gx.softmax(gx.tanh(x)))
    before = gx.get_num_threads()
    gx.set_num_threads(4)
    try:
        program(_matrix(3, 100))
        assert not _is_shared(program)
        program(_matrix(3000, 100))
        assert _is_shared(program)
    finally:
        gx.set_num_threads(before)


def _task(work: int, units: int = 100, reads: tuple[int, ...] = (), writes: tuple[int, ...] = ()) -> Task:
    spans = [Span("arena", r, r + 1, False) for r in reads] + [Span("arena", w, w + 1, True) for w in writes]
    return Task(0, 0, units, work, tuple(spans))


BIG = 1_000_000


def test_a_task_waits_for_what_it_reads_and_overwrites_alone() -> None:
    first, second = _task(BIG, writes=(0,)), _task(BIG, writes=(1,))
    reader, overwriter = _task(BIG, reads=(0,), writes=(2,)), _task(BIG, reads=(3,), writes=(1,))
    units = schedule.schedule([first, second, reader, overwriter], 2)
    assert units is not None
    assert [u.required for u in units] == [0, 0, units[2].first, units[2].first]
    assert [u.first for u in units] == [0, 8, 16, 24]


def test_small_tasks_in_a_row_are_one_unit() -> None:
    chain = [_task(10, reads=(k,), writes=(k + 1,)) for k in range(5)]
    units = schedule.schedule([_task(BIG, writes=(0,)), *chain, _task(BIG, reads=(5,))], 4)
    assert units is not None
    assert [len(u.tasks) for u in units] == [1, 5, 1]
    assert [u.blocks for u in units] == [16, 1, 16]
    assert units[2].required == 17


def test_what_is_not_worth_sharing_is_not_shared() -> None:
    assert schedule.schedule([_task(schedule.WORTHWHILE - 1)], 4) is None
    assert schedule.schedule([_task(BIG, units=1)], 4) is None
    assert schedule.schedule([_task(BIG)], 1) is None


@pytest.mark.parametrize("threads", [0, -1, 257, 2.0, True, "2", None])
def test_a_bad_number_of_threads_is_refused(threads: Any) -> None:
    before = gx.get_num_threads()
    with pytest.raises(
        gx.errors.ArgumentError, match=r"set_num_threads: not a number of threads\n"
    ) as caught:
        gx.set_num_threads(threads)
    assert caught.value.where is not None and caught.value.where.file == __file__
    assert gx.get_num_threads() == before


# ---------------------------------------------------------------- living together
def _heavy() -> tuple[gx.Program, Array]:
    x = gx.placeholder("x", ("n", 400))
    return gx.compile(x, gx.softmax(gx.tanh(x)) + gx.exp(x).sum()), _matrix(500, 400)


def test_helpers_sleep_between_calls() -> None:
    program, x = _heavy()
    with everything_cut(4):
        program(x)
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.1


def test_threads_come_and_go() -> None:
    program, x = _heavy()
    expected = program(x)
    for threads in (4, 1, 3, 2, 4, 1):
        with everything_cut(threads):
            np.testing.assert_array_equal(program(x), expected)
    with everything_cut(1):
        fewest = len(os.listdir("/proc/self/task"))
        with everything_cut(4):
            program(x)
            assert len(os.listdir("/proc/self/task")) == fewest + 3


def test_python_threads_call_programs_at_once() -> None:
    program, x = _heavy()
    other, y = _heavy()
    expected = program(x), other(y)
    failures: list[str] = []

    def work(own: gx.Program, value: Array, result: Array) -> None:
        for _ in range(30):
            if not np.array_equal(own(value), result):
                failures.append("differs")

    with everything_cut(3):
        pairs = [(program, x, expected[0]), (other, y, expected[1])] * 2
        threads = [threading.Thread(target=work, args=pair) for pair in pairs]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not failures


def test_a_failed_check_stops_all_threads_and_changes_nothing() -> None:
    w = gx.variable(np.zeros(200_000, np.float32), name="w")
    x, at = gx.placeholder("x", (200_000,)), gx.placeholder("at", (200_000,), "int64")
    step = gx.compile([x, at], updates={w: w + gx.take(x, at)})
    values, good = _matrix(200_000), rng.integers(0, 200_000, 200_000)
    bad = good.copy()
    bad[150_000] = 200_000
    with everything_cut(3):
        for _ in range(5):
            with pytest.raises(gx.errors.CheckError):
                step(values, bad)
            assert not w.value.any()
        step(values, good)
    np.testing.assert_array_equal(w.value, values[good])


def _in_a_child(program: gx.Program, x: Array, expected: Array) -> None:
    with everything_cut(3):
        np.testing.assert_array_equal(program(x), expected)


_SHUTDOWN = """
    import threading
    import numpy as np
    import graphc as gx

    x = gx.placeholder("x", ("n", 400))
    program = gx.compile(x, gx.softmax(gx.tanh(x)))
    gx.set_num_threads(4)
    value = np.ones((3000, 400), "float32")
    program(value)

    def forever():
        while True:
            program(value)

    threading.Thread(target=forever, daemon=True).start()
    program(value)
"""


def _run(script: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_interpreter_ends_while_threads_work() -> None:
    for _ in range(3):
        _run(_SHUTDOWN)


_SPAWNED = """
    import multiprocessing
    import numpy as np

    def work(k):
        import graphc as gx
        gx.set_num_threads(3)
        x = gx.placeholder("x", ("n", 400))
        return float(gx.compile(x, gx.exp(x).sum())(np.ones((3000, 400), "float32")))

    if __name__ == "__main__":
        from concurrent.futures import ProcessPoolExecutor
        work(0)
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            assert len(set(pool.map(work, range(2)))) == 1
"""


def test_spawned_processes_have_teams_of_their_own(tmp_path: Any) -> None:
    script = tmp_path / "spawned.py"
    script.write_text(textwrap.dedent(_SPAWNED))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_team_of_its_own() -> None:
    program, x = _heavy()
    expected = program(x)
    with everything_cut(3):
        program(x)
        child = multiprocessing.get_context("fork").Process(target=_in_a_child, args=(program, x, expected))
        child.start()
        np.testing.assert_array_equal(program(x), expected)
        child.join(60)
        assert child.exitcode == 0
