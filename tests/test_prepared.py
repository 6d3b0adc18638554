"""Operands that are packed once, and again when their variable has changed."""

from __future__ import annotations

import gc
import os
import platform
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cutting import everything_cut

import graphc as gx
from graphc.runtime import program as programs
from graphc.runtime.prepared import Prepared
from graphc.state import CHANGES

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(8)
IMAGES = RNG.normal(size=(2, 8, 9, 9)).astype(np.float32)
SHAPE = (24, 8, 3, 3)


def _values() -> Array:
    return RNG.normal(size=SHAPE).astype(np.float32)


X = gx.placeholder("x", ("b", 8, 9, 9))


def _convolution(weights: gx.Tensor) -> gx.Tensor:
    return gx.conv2d(X, weights, stride=2, padding=1)


def _program(weights: gx.Tensor) -> gx.Program:
    return gx.compile(X, _convolution(weights))


def _prepared(program: gx.Program) -> list[Prepared]:
    """Return the tables and panels of the latest plan."""
    return next(reversed(program._plans.values())).prepared


def _counts(program: gx.Program) -> list[int]:
    return [p.count for p in _prepared(program)]


def _check(program: gx.Program, weights: Array, images: Array = IMAGES) -> None:
    expected = gx.evaluate(_convolution(gx.constant(weights)), {X: images})
    np.testing.assert_allclose(program(images), expected, rtol=1e-4, atol=1e-5)


def test_constants_and_variables_are_packed_once() -> None:
    weights = _values()
    for leaf in (gx.constant(weights), gx.variable(weights)):
        program = _program(leaf)
        for _ in range(3):
            _check(program, weights)
        assert _counts(program) == [1, 1]


def test_weights_that_are_fed_are_packed_at_every_call() -> None:
    w = gx.placeholder("w", SHAPE)
    program = gx.compile([X, w], _convolution(w))
    for _ in range(2):
        weights = _values()
        expected = gx.evaluate(_convolution(w), {X: IMAGES, w: weights})
        np.testing.assert_allclose(program(IMAGES, weights), expected, rtol=1e-4, atol=1e-5)
    # Tables depend on nothing that is fed.
    assert _counts(program) == [1]


def _assign(w: gx.Variable, weights: Array, _: Path) -> None:
    w.assign(weights)


def _set_value(w: gx.Variable, weights: Array, _: Path) -> None:
    w.value = weights


def _update(w: gx.Variable, weights: Array, _: Path) -> None:
    gx.compile([], updates={w: gx.constant(weights)})()


def _update_in_place(w: gx.Variable, weights: Array, _: Path) -> None:
    v = gx.placeholder("v", SHAPE)
    gx.compile(v, updates={w: w + v})(weights - w.value)


def _call_back(w: gx.Variable, weights: Array, _: Path) -> None:
    taken = gx.custom_op("taken_for_weights", lambda t: t, lambda v: weights)
    gx.compile([], updates={w: taken(w)})()


def _load(w: gx.Variable, weights: Array, path: Path) -> None:
    pytest.importorskip("safetensors")
    file = path / "w.safetensors"
    gx.save_variables(file, {"w": gx.variable(weights)})
    gx.load_variables(file, {"w": w})


@pytest.mark.parametrize("change", [_assign, _set_value, _update, _update_in_place, _call_back, _load])
def test_weights_are_packed_again_after_any_change(
    change: Callable[[gx.Variable, Array, Path], None], tmp_path: Path
) -> None:
    first, second = _values(), _values()
    w = gx.variable(first)
    program = _program(w)
    _check(program, first)
    change(w, second, tmp_path)
    for _ in range(2):
        np.testing.assert_allclose(w.value, second, rtol=1e-5, atol=1e-6)
        _check(program, second)
    assert _counts(program) == [1, 2]


def test_a_program_compiled_before_another_one_tells_it_of_its_updates() -> None:
    w, v = gx.variable(_values()), gx.placeholder("v", SHAPE)
    step = gx.compile(v, updates={w: w + v})
    step(np.zeros(SHAPE, np.float32))
    program = _program(w)
    for _ in range(3):
        _check(program, w.value)
        step(_values())
    assert _counts(program) == [1, 3]


def test_weights_that_a_program_updates_itself_are_packed_at_every_call() -> None:
    w = gx.variable(_values())
    loss = gx.square(_convolution(w)).mean()
    step = gx.compile(X, loss, updates=gx.optim.SGD(0.1).minimize(loss))
    other = _program(w)
    for _ in range(3):
        before = w.value
        expected = np.square(gx.evaluate(_convolution(gx.constant(before)), {X: IMAGES})).mean()
        np.testing.assert_allclose(step(IMAGES), expected, rtol=1e-4)
        assert not np.array_equal(w.value, before)
        _check(other, w.value)
    # Its tables are filled once all the same.
    assert _counts(step) and set(_counts(step)) == {1}
    assert not any(p.variables for p in _prepared(step))


def test_only_what_changed_is_packed_again() -> None:
    kept, changed = gx.variable(_values()), gx.variable(_values())
    program = gx.compile(X, [_convolution(kept), _convolution(changed)])
    program(IMAGES)
    changed.assign(_values())
    results = program(IMAGES)
    for result, w in zip(results, (kept, changed), strict=True):
        expected = gx.evaluate(_convolution(gx.constant(w.value)), {X: IMAGES})
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    panels = {p.variables[0]: p.count for p in _prepared(program) if p.variables}
    assert panels == {kept.storage: 1, changed.storage: 2}


def test_what_a_callback_packs_before_an_update_is_packed_again() -> None:
    w = gx.variable(_values(), name="w")
    program = gx.compile(X, _convolution(w))
    call = gx.custom_op("call", lambda t: t, lambda v: (program(IMAGES), v)[1])
    step = gx.compile(X, call(X).sum(), updates={w: w * 2})
    before = w.value.copy()
    step(IMAGES)
    _check(program, before * 2)


def test_changes_that_concern_nobody_are_not_counted() -> None:
    program = _program(gx.variable(_values()))
    program(IMAGES)
    other = gx.variable(np.zeros(3))
    before = CHANGES.count
    other.assign(np.ones(3))
    gx.compile([], updates={other: other * 2})()
    assert CHANGES.count == before


def test_calls_look_for_changes_only_after_one(monkeypatch: pytest.MonkeyPatch) -> None:
    w = gx.variable(_values())
    program = _program(w)
    looked: list[int] = []
    prepare = programs.Program._prepare
    monkeypatch.setattr(programs.Program, "_prepare", lambda *a: (looked.append(1), prepare(*a)))
    for _ in range(3):
        program(IMAGES)
    assert len(looked) == 1
    w.assign(_values())
    for _ in range(3):
        program(IMAGES)
    assert len(looked) == 2


def test_batch_sizes_and_numbers_of_threads_share_what_is_packed() -> None:
    weights = _values()
    program = _program(gx.variable(weights))
    _check(program, weights)
    before = _prepared(program)
    _check(program, weights, np.repeat(IMAGES, 3, axis=0))
    assert [a is b for a, b in zip(before, _prepared(program), strict=True)] == [True, True]
    for threads in (1, 3):
        with everything_cut(threads):
            _check(program, weights)
            assert _prepared(program) == before
    assert _counts(program) == [1, 1]


def test_sizes_that_what_is_packed_depends_on_have_their_own() -> None:
    x = gx.placeholder("x", (2, 3, "h", "h"))
    w = gx.variable(RNG.normal(size=(6, 3, 5, 5)).astype(np.float32))
    y = gx.conv2d(x, w, padding=2)
    program = gx.compile(x, y)
    for size in (20, 31, 20):
        images = RNG.normal(size=(2, 3, size, size)).astype(np.float32)
        expected = gx.evaluate(y, {x: images})
        np.testing.assert_allclose(program(images), expected, rtol=1e-4, atol=1e-4)
    assert set(_counts(program)) == {1}


def test_threads_pack_together() -> None:
    w = gx.variable(_values())
    program = _program(w)
    with everything_cut(3):
        for _ in range(3):
            _check(program, w.value)
            w.assign(_values())


def test_what_is_packed_is_freed_with_the_last_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PLANS", 1)
    x = gx.placeholder("x", (1, 3, "h", "h"))
    program = gx.compile(x, gx.conv2d(x, gx.variable(np.ones((6, 3, 5, 5), np.float32))))
    for size in (20, 24, 28):
        program(np.ones((1, 3, size, size), np.float32))
    gc.collect()
    assert list(program._preparations._found.values()) == _prepared(program)


def test_memory_says_what_is_kept() -> None:
    program = _program(gx.variable(_values()))
    assert program.memory.kept == 0
    program(IMAGES)
    # Panels of 32 columns, at least.
    assert program.memory.kept >= 32 * 8 * 9 * 4
    assert f"kept from call to call: {program.memory.kept} bytes" in str(program.memory)
    x = gx.placeholder("x", ("n",))
    plain = gx.compile(x, gx.exp(x))
    plain(np.ones(3, np.float32))
    assert plain.memory.kept == 0 and "kept" not in str(plain.memory)


def test_results_follow_one_value_while_other_threads_assign() -> None:
    w = gx.variable(np.zeros((24, 8, 1, 1), np.float32))
    x = gx.placeholder("x", ("b", 8, 9, 9))
    y = gx.conv2d(x, w, stride=2)
    found = [gx.compile(x, y), gx.compile(x, y)]
    ones = np.ones((1, 8, 9, 9), np.float32)
    problems: list[str] = []
    going = True

    def call(program: gx.Program) -> None:
        while going:
            result = program(ones)
            if not np.all(result == result.flat[0]) or result.flat[0] % 8:
                problems.append(f"{result.min()} to {result.max()}")

    threads = [threading.Thread(target=call, args=(p,)) for p in found]
    for thread in threads:
        thread.start()
    for value in range(200):
        w.assign(np.full(w.storage.array.shape, value, np.float32))
    going = False
    for thread in threads:
        thread.join()
    assert not problems
    assert [float(p(ones).max()) for p in found] == [8 * 199] * 2


def test_weights_in_loops_and_branches_are_packed_once() -> None:
    w = gx.variable(RNG.normal(size=(8, 8, 3, 3)).astype(np.float32) / 30)

    def layer(h: gx.Tensor) -> gx.Tensor:
        return gx.tanh(gx.conv_transpose2d(h, w, padding=1))

    looped = gx.fori_loop(0, 3, lambda _, h: layer(layer(h)), X)
    chosen = gx.cond(X.sum() > 0, layer, lambda h: h, X)
    inner = gx.fori_loop(0, 2, lambda _, h: gx.cond(X.sum() > 0, layer, lambda h: h, h), X)
    for output in (looped, chosen, inner):
        program = gx.compile(X, output)
        for sign in (1, -1, 1):
            images = (sign * np.abs(IMAGES)).astype(np.float32)
            expected = gx.evaluate(output, {X: images})
            np.testing.assert_allclose(program(images), expected, rtol=1e-4, atol=1e-5)
        assert _counts(program) and set(_counts(program)) == {1}
        w.assign(-w.value)
        expected = gx.evaluate(output, {X: IMAGES})
        np.testing.assert_allclose(program(IMAGES), expected, rtol=1e-4, atol=1e-5)
        assert {p.count for p in _prepared(program) if p.variables} == {2}


def test_what_differs_between_iterations_is_packed_in_each() -> None:
    kernels = gx.variable(RNG.normal(size=(3, 8, 8, 3, 3)).astype(np.float32) / 30)
    output, _ = gx.scan(lambda h, w: (gx.conv_transpose2d(h, w, padding=1), h.sum()), X, kernels)
    program = gx.compile(X, output)
    for _ in range(2):
        expected = gx.evaluate(output, {X: IMAGES})
        np.testing.assert_allclose(program(IMAGES), expected, rtol=1e-4, atol=1e-5)
        kernels.assign(kernels.value + 0.01)
    assert not any(p.variables for p in _prepared(program))


_FORKED = """
    import os
    import numpy as np
    import graphc as gx

    x = gx.placeholder("x", ("b", 8, 9, 9))
    w = gx.variable(np.ones((24, 8, 1, 1), "float32"))
    program = gx.compile(x, gx.conv2d(x, w, stride=2))
    ones = np.ones((1, 8, 9, 9), "float32")
    assert (program(ones) == 8).all()
    child = os.fork()
    if not child:
        assert (program(ones) == 8).all()
        w.assign(w.value * 3)
        assert (program(ones) == 24).all()
        os._exit(0)
    w.assign(w.value * 2)
    assert (program(ones) == 16).all()
    assert os.waitpid(child, 0)[1] == 0
    assert (program(ones) == 16).all()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_child_packs_for_itself() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(_FORKED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_schedule_may_pack_what_lasts_where_it_would_not_at_every_call() -> None:
    """Seven by seven positions do not pay for packing weights for one call."""
    x, w = gx.placeholder("x", (1, 512, 7, 7)), gx.placeholder("w", (512, 512, 3, 3))
    held = gx.variable(np.zeros((512, 512, 3, 3), np.float32))
    found = [
        gx.compile([x, w], gx.conv2d(x, w, padding=1)),
        gx.compile(x, gx.conv2d(x, held, padding=1)),
        gx.compile(x, gx.conv2d(x, held, padding=1), updates={held: held * 2}),
    ]
    forms = [k.choice.best.form for p in found for k in p.kernels if k.choice is not None]
    assert forms == ["walk", "gather", "walk"]


def test_tiles_ask_for_the_weights_that_come_next() -> None:
    """Panels behind a tile's own are fetched while it computes."""
    rng = np.random.default_rng(5)
    x, w = gx.placeholder("x", (1, 64, 7, 7)), rng.normal(size=(64, 64, 3, 3)).astype("float32")
    y, v = gx.placeholder("y", (1, 512, 7, 7)), rng.normal(size=(512, 512, 1, 1)).astype("float32")
    for inputs, output in ((x, gx.conv2d(x, gx.constant(w), padding=1)), (y, gx.conv2d(y, gx.constant(v)))):
        (kernel,) = [k for k in gx.compile(inputs, output).kernels if k.compiled is not None]
        assert re.search(r"(gather|tile)_f32_\w+_ahead\(", kernel.source)
        if platform.machine() in ("x86_64", "AMD64"):
            assert "prefetch" in kernel.asm
