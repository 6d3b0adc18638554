"""Recurrent layers against loops over single sequences in NumPy; masks, gradients, wrappers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import graphc as gx
from graphc.control.loop import Loop
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import topological

RNG = np.random.default_rng(0)
KINDS = (gx.nn.RNN, gx.nn.LSTM, gx.nn.GRU)
FEATURES, HIDDEN = 3, 4


# ------------------------------------------------------------------ reference
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_step(cell, x, h):
    return (np.tanh(x @ cell.weight_ih.value + h @ cell.weight_hh.value + cell.bias.value),)


def lstm_step(cell, x, h, c):
    i, f, g, o = np.split(x @ cell.weight_ih.value + h @ cell.weight_hh.value + cell.bias.value, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(cell, x, h):
    r, z, n = np.split(x @ cell.weight_ih.value + cell.bias.value, 3)
    r_h, z_h, n_h = np.split(h @ cell.weight_hh.value, 3)
    z = sigmoid(z + z_h)
    return ((1 - z) * np.tanh(n + sigmoid(r + r_h) * (n_h + cell.bias_hn.value)) + z * h,)


STEPS = {"RNN": rnn_step, "LSTM": lstm_step, "GRU": gru_step}


def expected(layer, x, valid, states):
    """Run each sequence by itself, over the steps that it has; time in front."""
    step, directions = STEPS[type(layer).__name__], 1 + layer.bidirectional
    lasts = [np.array(s) for s in states]
    for number in range(layer.num_layers):
        put_out = np.zeros((*x.shape[:2], directions * HIDDEN), x.dtype)
        for direction, b in itertools.product(range(directions), range(x.shape[1])):
            k = number * directions + direction
            state = [s[k, b] for s in states]
            steps = np.flatnonzero(valid[:, b])
            for t in steps[::-1] if layer.reverse != bool(direction) else steps:
                state = step(layer.cells[k], x[t, b], *state)
                put_out[t, b, direction * HIDDEN : (direction + 1) * HIDDEN] = state[0]
            for last, s in zip(lasts, state, strict=True):
                last[k, b] = s
        x = put_out
    return [x, *lasts]


def new(kind, dtype="float64", seed=0, **options):
    """Return a layer whose biases are not zeros."""
    layer = kind(FEATURES, HIDDEN, seed=seed, dtype=dtype, **options)
    for v in layer.variables:
        v.value = (v.value + RNG.normal(0, 0.1, v.value.shape)).astype(dtype)
    return layer


def flat(result):
    outputs, last = result
    return [outputs, *(last if isinstance(last, tuple) else (last,))]


def states_of(layer, batch, dtype="float64"):
    shape = (len(layer.cells), batch, HIDDEN)
    return tuple(RNG.normal(size=shape).astype(dtype) for _ in layer.cell.states)


def structured(states):
    return states if len(states) > 1 else states[0]


def inputs(time, batch, dtype="float64"):
    return RNG.normal(size=(time, batch, FEATURES)).astype(dtype)


# -------------------------------------------------------------------- forward
SHAPES = ((0, 2), (1, 1), (5, 3))
OPTIONS = (
    {},
    {"reverse": True, "residuals": 2},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
)


@pytest.mark.parametrize(("kind", "options"), list(itertools.product(KINDS, OPTIONS)))
def test_layers_are_loops_over_single_sequences(kind, options):
    layer = new(kind, **options)
    lay = (lambda a: a.swapaxes(0, 1)) if layer.batch_first else (lambda a: a)
    axes = ("b", "t") if layer.batch_first else ("t", "b")
    x = gx.placeholder("x", (*axes, FEATURES), "float64")
    mask = gx.placeholder("mask", axes, "bool")
    states = [gx.placeholder(n, (len(layer.cells), "b", HIDDEN), "float64") for n in layer.cell.states]
    masked = flat(layer(x, mask=mask, state=structured(tuple(states))))
    program = gx.compile([x, mask, *states], [flat(layer(x)), masked])
    for time, batch in SHAPES:
        given, first = inputs(time, batch), states_of(layer, batch)
        valid = RNG.random((time, batch)) > 0.4
        free, held = program(lay(given), lay(valid), *first)
        everywhere, zeros = np.ones_like(valid), [np.zeros_like(s) for s in first]
        for found, want in (
            (free, expected(layer, given, everywhere, zeros)),
            (held, expected(layer, given, valid, first)),
        ):
            assert_allclose(lay(found[0]), want[0], rtol=1e-10, atol=1e-12)
            for a, b in zip(found[1:], want[1:], strict=True):
                assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind):
    layer = new(kind, "float32", bidirectional=True)
    given, first = inputs(6, 2, "float32"), states_of(layer, 2, "float32")
    x = gx.placeholder("x", ("t", "b", FEATURES))
    found = gx.compile(x, flat(layer(x, state=structured(first))))(given)
    want = expected(layer, given, np.ones((6, 2), bool), first)
    for a, b in zip(found, want, strict=True):
        assert a.dtype == np.float32
        assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_wider_dtype_wins(kind):
    layer = new(kind, "float32")
    wide = structured(states_of(layer, 2))
    for x, state in ((inputs(3, 2), None), (inputs(3, 2, "float32"), wide)):
        assert {t.dtype for t in flat(layer(x, state=state))} == {np.dtype("float64")}


def test_an_rnn_takes_any_activation_and_cells_no_bias():
    layer = gx.nn.RNN(FEATURES, HIDDEN, activation=gx.relu, bias=False, dtype="float64", seed=0)
    x = inputs(2, 3)
    (cell,) = layer.cells
    h = np.maximum(x[0] @ cell.weight_ih.value, 0)
    h = np.maximum(x[1] @ cell.weight_ih.value + h @ cell.weight_hh.value, 0)
    assert_allclose(gx.evaluate(layer(x)[1])[0], h)
    for kind in KINDS:
        assert list(kind(2, 3, bias=False).named_variables()) == ["cells.0.weight_ih", "cells.0.weight_hh"]


# ------------------------------------------------------------------ gradients
@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    layer = new(kind, num_layers=2, bidirectional=True)
    x = gx.placeholder("x", ("t", "b", FEATURES), "float64")
    first = [gx.placeholder(n, (4, "b", HIDDEN), "float64") for n in layer.cell.states]
    lengths = gx.constant(np.array([4, 0, 1, 2]))
    results = flat(layer(x, state=structured(tuple(first)), lengths=lengths))
    feeds = {x: inputs(4, 4), **dict(zip(first, states_of(layer, 4), strict=True))}
    gx.check_gradients(results, [x, *first, *layer.variables], feeds, entries=8)
    compiled = [*results, *gx.grad(sum(gx.sum(r * r) for r in results), [x, *first, *layer.variables])]
    want = gx.evaluate(compiled, feeds)
    for a, b in zip(gx.compile([x, *first], compiled)(*feeds.values()), want, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_its_cell_unrolled(kind):
    layer = new(kind)
    (cell,) = layer.cells
    x = gx.placeholder("x", (5, 2, FEATURES), "float64")
    state, unrolled = None, []
    for t in range(5):
        state = cell(x[t], state)
        unrolled.append(state[0] if isinstance(state, tuple) else state)
    outputs, _ = layer(x)
    pairs = [[y, *gx.grad((y * y * y).sum(), [x, *layer.variables])] for y in (outputs, gx.stack(unrolled))]
    found = gx.compile(x, pairs)(inputs(5, 2))
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------- masks
@pytest.mark.parametrize("kind", KINDS)
def test_padding_has_no_influence(kind):
    layer = new(kind, num_layers=2, bidirectional=True, batch_first=True)
    x = gx.placeholder("x", ("b", "t", FEATURES), "float64")
    lengths = np.array([3, 5, 0, 1])
    results = flat(layer(x, lengths=lengths))
    # An output there is zero, and so is its gradient; a state is that of the last step that there is.
    loss = sum(gx.sum(gx.exp(r)) for r in results)
    program = gx.compile(x, [results, gx.grad(loss, [x, *layer.variables])])
    valid = np.arange(5) < lengths[:, None]
    given = RNG.normal(size=(4, 5, FEATURES))
    (want, slopes), *others = (
        program(np.where(valid[..., None], given, padding)) for padding in (0.0, 1e30, np.inf, np.nan)
    )
    assert all(np.isfinite(a).all() and a.any() for a in (*want, *slopes))
    assert not want[0][~valid].any() and not slopes[0][~valid].any()
    for found, found_slopes in others:
        for a, b in zip([*found, *found_slopes], [*want, *slopes], strict=True):
            assert_array_equal(a, b)
    # Alone, without padding, a sequence gives the same.
    alone = gx.compile(x, flat(layer(x)))
    for b in (0, 1, 3):
        outputs, *lasts = alone(given[b : b + 1, : lengths[b]])
        assert_allclose(outputs[0], want[0][b, : lengths[b]], rtol=1e-12, atol=1e-14)
        for a, last in zip(lasts, want[1:], strict=True):
            assert_allclose(a[:, 0], last[:, b], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_are_a_mask(batch_first):
    layer = new(gx.nn.GRU, bidirectional=True, batch_first=batch_first)
    lengths = np.array([2, 9, 0], "int32")
    mask = np.arange(4)[:, None] < lengths
    x = inputs(4, 3)
    if batch_first:
        x, mask = x.swapaxes(0, 1), mask.T
    for a, b in zip(flat(layer(x, lengths=lengths)), flat(layer(x, mask=mask)), strict=True):
        assert_array_equal(gx.evaluate(a), gx.evaluate(b))


# --------------------------------------------------------- states, directions
def test_a_state_for_all_sequences_can_be_trained():
    layer = new(gx.nn.GRU)
    first = gx.variable(RNG.normal(size=(1, 1, HIDDEN)), name="first")
    x = gx.placeholder("x", ("t", "b", FEATURES), "float64")
    outputs, _ = layer(x, state=first)
    given = inputs(3, 5)
    want = layer(given, state=np.broadcast_to(first.value, (1, 5, HIDDEN)))[0]
    assert_array_equal(gx.evaluate(outputs, {x: given}), gx.evaluate(want))
    gx.check_gradients(outputs, [first], {x: given})


def test_sizes_that_are_known_later_are_compared_then():
    x = gx.placeholder("x", ("t", "b", FEATURES))
    program = gx.compile(x, gx.nn.RNN(FEATURES, HIDDEN)(x, lengths=np.array([1, 2]))[0])
    assert program(X).shape == (4, 2, HIDDEN)
    with pytest.raises(ShapeError, match="b == 2"):
        program(np.zeros((4, 3, FEATURES), "float32"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_continues_from_its_states(kind):
    layer = new(kind, num_layers=2)
    x = inputs(7, 2)
    outputs, last = layer(x)
    early, between = layer(x[:3])
    late, end = layer(x[3:], state=between)
    assert_allclose(gx.evaluate(gx.concat([early, late])), gx.evaluate(outputs), rtol=1e-12)
    for a, b in zip(flat((late, end))[1:], flat((outputs, last))[1:], strict=True):
        assert_allclose(gx.evaluate(a), gx.evaluate(b), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_are_two_runs(kind):
    both = new(kind, bidirectional=True)
    one, other = kind(FEATURES, HIDDEN), kind(FEATURES, HIDDEN, reverse=True)
    one.cells, other.cells = both.cells[:1], both.cells[1:]
    x, lengths = inputs(5, 3), np.array([5, 2, 3])
    outputs, *last = flat(both(x, lengths=lengths))
    runs = [flat(layer(x, lengths=lengths)) for layer in (one, other)]
    assert_array_equal(gx.evaluate(outputs), gx.evaluate(gx.concat([r[0] for r in runs], axis=2)))
    for k, state in enumerate(last, 1):
        assert_array_equal(gx.evaluate(state), gx.evaluate(gx.concat([r[k] for r in runs])))
    # The wrapper: the same, with other ways to merge.
    for merge, merged in (
        ("concat", lambda a, b: np.concatenate([a, b], axis=2)),
        ("sum", np.add),
        ("mean", lambda a, b: (a + b) / 2),
        ("product", np.multiply),
    ):
        found, states = gx.nn.Bidirectional(one, other, merge)(x, lengths=lengths)
        assert_allclose(gx.evaluate(found), merged(*gx.evaluate([r[0] for r in runs])), rtol=1e-12)
    for (_, *want), found in zip(runs, states, strict=True):
        for a, b in zip(want, flat((None, found))[1:], strict=True):
            assert_array_equal(gx.evaluate(a), gx.evaluate(b))
    again, _ = gx.nn.Bidirectional(one, other)(x, state=states)
    want, _ = both(x, state=structured(tuple(last)))
    assert_allclose(gx.evaluate(again), gx.evaluate(want), rtol=1e-12)


def test_a_reversed_layer_runs_from_the_end():
    for options in ({}, {"bidirectional": True}, {"batch_first": True}):
        layer, axis = new(gx.nn.LSTM, num_layers=2, **options), int("batch_first" in options)
        x = inputs(4, 5)
        found, want = layer.reversed(), gx.flip(layer(gx.flip(x, axis=axis))[0], axis=axis)
        assert found.reverse and found.batch_first == layer.batch_first
        fresh = found.cells[0].weight_ih.value
        assert (
            fresh.shape == layer.cells[0].weight_ih.shape and (fresh != layer.cells[0].weight_ih.value).any()
        )
        found.cells = layer.cells
        assert_allclose(gx.evaluate(found(x)[0]), gx.evaluate(want), rtol=1e-12)


def test_the_other_direction_has_weights_of_its_own():
    layer = gx.nn.Bidirectional(gx.nn.LSTM(FEATURES, HIDDEN, forget_bias=3.0, seed=0))
    again = gx.nn.Bidirectional(gx.nn.LSTM(FEATURES, HIDDEN, forget_bias=3.0, seed=0))
    one, other = layer.layer.cells[0], layer.backward.cells[0]
    assert (one.weight_hh.value != other.weight_hh.value).any()
    assert_array_equal(one.bias.value, other.bias.value)
    assert_array_equal(again.backward.cells[0].weight_ih.value, other.weight_ih.value)
    assert len(layer.variables) == 6


# ------------------------------------------------------------ noise, products
def test_dropout_stands_between_layers_while_training():
    x = inputs(5, 3)
    generator = gx.random.Generator(0)
    for layers in (1, 2):
        layer = new(gx.nn.GRU, num_layers=layers, dropout=0.5, generator=generator)
        _, quiet = layer(x)
        _, noisy = layer(x, training=True)
        quiet, noisy = gx.evaluate([quiet, noisy])
        assert_array_equal(quiet[0], noisy[0])
        assert layers == 1 or (quiet[1] != noisy[1]).any()


def test_inputs_are_multiplied_once_for_all_steps():
    for kind in KINDS:
        x = gx.placeholder("x", ("t", "b", FEATURES))
        nodes = topological([kind(FEATURES, HIDDEN)(x)[0].node])
        (loop,) = (Loop.of(n) for n in nodes if n.op.name == "loop")
        outside = [n for n in nodes if n.op.name == "matmul"]
        inside = [n for n in loop.body.nodes if n.op.name == "matmul"]
        assert [str(n.inputs[0].type) for n in outside] == [f"float32[t, b, {FEATURES}]"]
        assert [str(n.inputs[0].type) for n in inside] == [f"float32[b, {HIDDEN}]"]


# --------------------------------------------------------------- first values
def test_first_values_are_drawn_gate_by_gate():
    cell = gx.nn.LSTMCell(FEATURES, 32, forget_bias=2.0, dtype="float64", seed=0)
    gates = np.split(cell.weight_hh.value, 4, axis=1)
    for gate in gates:
        assert_allclose(gate.T @ gate, np.eye(32), atol=1e-12)
    assert (gates[0] != gates[1]).any()
    # As of a matrix of (inputs, hidden), not of all four gates.
    bound = np.sqrt(6 / (FEATURES + 32))
    assert 0.9 * bound < np.abs(cell.weight_ih.value).max() <= bound
    assert_array_equal(cell.bias.value.reshape(4, 32)[:, 0], [0, 2, 0, 0])
    seeded = [
        gx.nn.GRUCell(3, 4, initializer=gx.nn.initializers.xavier_normal(seed=5)).weight_ih.value
        for _ in range(2)
    ]
    assert_array_equal(*seeded)
    assert (seeded[0][:, :4] != seeded[0][:, 4:8]).any()


def test_same_seed_same_layer():
    one, two = (gx.nn.GRU(3, 4, num_layers=2, bidirectional=True, seed=3) for _ in range(2))
    for a, b in zip(one.variables, two.variables, strict=True):
        assert_array_equal(a.value, b.value)
    assert (one.cells[2].weight_ih.value != one.cells[3].weight_ih.value).any()


# ------------------------------------------------------------------- wrappers
def test_time_distributed_is_one_large_batch():
    dense = gx.nn.Dense(FEATURES, 2, seed=0, dtype="float64")
    x = gx.placeholder("x", ("t", "b", FEATURES, 2), "float64")
    model = gx.nn.Sequential(lambda t: gx.matrix_transpose(t), gx.nn.TimeDistributed(dense))
    y = model(x)
    assert str(y.type) == "float64[t, b, 2, 2]"
    assert not [n for n in topological([y.node]) if n.op.name == "loop"]
    given = RNG.normal(size=(4, 3, FEATURES, 2))
    want = given.swapaxes(2, 3) @ dense.weight.value
    assert_allclose(gx.compile(x, y)(given), want, rtol=1e-12)
    assert list(model.named_variables()) == ["1.layer.weight", "1.layer.bias"]
    norm = gx.nn.TimeDistributed(gx.nn.BatchNorm(FEATURES, dtype="float64"))
    steps = RNG.normal(2.0, 3.0, size=(4, 5, FEATURES))
    assert_allclose(gx.evaluate(norm(steps, training=True)).mean((0, 1)), 0, atol=1e-12)
    assert gx.nn.TimeDistributed(gx.relu)(steps).shape == (4, 5, FEATURES)


def test_recurrent_layers_stand_in_chains_and_learn():
    """Was the first input positive? Only a memory can tell at the end."""
    rng = np.random.default_rng(0)
    model = gx.nn.Sequential(
        gx.nn.Bidirectional(gx.nn.GRU(1, 8, seed=rng)),
        gx.nn.LSTM(16, 8, seed=rng, name="memory"),
        lambda outputs: outputs[-1],
        gx.nn.Dense(8, 2, seed=rng),
    )
    names = list(model.named_variables())
    assert names[:2] == ["0.layer.cells.0.weight_ih", "0.layer.cells.0.weight_hh"]
    assert names[8:] == ["1.cells.0.weight_ih", "1.cells.0.weight_hh", "1.cells.0.bias", "3.weight", "3.bias"]
    assert model[1].name == "memory"
    x = gx.placeholder("x", (12, "b", 1))
    y = gx.placeholder("y", ("b",), "int64")
    loss = gx.nn.softmax_cross_entropy(model(x, training=True), y).mean()
    train = gx.compile([x, y], loss, updates=gx.optim.Adam(0.02).minimize(loss))
    for _ in range(60):
        given = rng.normal(size=(12, 64, 1)).astype("float32")
        final = train(given, (given[0, :, 0] > 0).astype("int64"))
    assert final < 0.25


# --------------------------------------------------------------------- errors
X = np.zeros((4, 2, FEATURES), "float32")


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: gx.nn.LSTM(0, 4), ArgumentError, "LSTM: bad in_features"),
        (lambda: gx.nn.LSTM(3, 4, num_layers=0), ArgumentError, "LSTM: bad num_layers"),
        (lambda: gx.nn.GRU(3, 4, dropout=1.0), ArgumentError, "GRU: bad rate"),
        (lambda: gx.nn.GRUCell(3, -1), ArgumentError, "GRUCell: bad hidden"),
        (lambda: gx.nn.RNN(3, 4)(X[0]), ShapeError, "RNN: input of a wrong rank"),
        (lambda: gx.nn.RNN(5, 4)(X), ShapeError, "matmul"),
        (lambda: gx.nn.RNN(3, 4, residuals="some")(X), ArgumentError, "residuals"),
        (lambda: gx.nn.LSTM(3, 4)(X, state=np.zeros((1, 2, 4))), ArgumentError, "LSTM: bad state"),
        (lambda: gx.nn.LSTMCell(3, 4)(X[0], X[0]), ArgumentError, "LSTMCell: bad state"),
        (lambda: gx.nn.RNN(3, 4)(X, state=np.zeros((2, 2, 4))), ShapeError, "RNN: bad state h"),
        (lambda: gx.nn.RNN(3, 4)(X, mask=np.ones((4, 2))), DTypeError, "RNN: bad mask"),
        (lambda: gx.nn.RNN(3, 4)(X, mask=np.ones(2, bool)), ShapeError, "RNN: bad mask"),
        (lambda: gx.nn.RNN(3, 4)(X, mask=np.ones((3, 2), bool)), ShapeError, "RNN: bad mask"),
        (lambda: gx.nn.RNN(3, 4)(X, mask=np.ones((2, 4), bool)), ShapeError, "RNN: bad mask"),
        (lambda: gx.nn.RNN(3, 4)(X, lengths=[1.0, 2.0]), DTypeError, "RNN: bad lengths"),
        (lambda: gx.nn.RNN(3, 4)(X, lengths=3), ShapeError, "RNN: bad lengths"),
        (lambda: gx.nn.RNN(3, 4)(X, lengths=[1, 2, 3]), ShapeError, "RNN: bad lengths"),
        (
            lambda: gx.nn.RNN(3, 4)(X, mask=np.ones((4, 2), bool), lengths=[1, 2]),
            ArgumentError,
            "RNN: two ways",
        ),
        (lambda: gx.nn.Sequential(gx.nn.GRUCell(3, 4)), ArgumentError, "GRUCell: not a layer"),
        (lambda: gx.nn.TimeDistributed(3), ArgumentError, "TimeDistributed: not a layer"),
        (lambda: gx.nn.TimeDistributed(gx.relu)(np.zeros(3)), ShapeError, "TimeDistributed: input"),
        (lambda: gx.nn.Bidirectional(gx.nn.Dense(3, 4)), ArgumentError, "Bidirectional: not a recurrent"),
        (lambda: gx.nn.Bidirectional(gx.nn.RNN(3, 4), merge="max"), ArgumentError, "bad merge"),
        (
            lambda: gx.nn.Bidirectional(gx.nn.RNN(3, 4), gx.nn.RNN(3, 4)),
            ArgumentError,
            "both layers run the same way",
        ),
        (
            lambda: gx.nn.Bidirectional(gx.nn.RNN(3, 4), gx.nn.RNN(3, 4, reverse=True, batch_first=True)),
            ArgumentError,
            "the layers differ",
        ),
        (
            lambda: gx.nn.Bidirectional(gx.nn.RNN(3, 4))(X, state=(1, 2, 3)),
            ArgumentError,
            "Bidirectional: bad state",
        ),
    ],
)
def test_bad_arguments(build, error, match):
    with pytest.raises(error, match=match) as caught:
        build()
    assert "test_recurrent.py" in str(caught.value)
