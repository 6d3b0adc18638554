"""Calling programs: feeds, structures of outputs, who owns which memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ControlFlowError, FeedError, GraphError, ShapeError
from graphc.runtime import program as program_module
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
Run = Callable[[gx.Program], object]

X = np.arange(6, dtype=np.float32).reshape(2, 3)
Y = np.array([1.0, -1.0], np.float32)


@pytest.fixture(scope="module")
def double() -> gx.Program:
    x = gx.placeholder("x", ("n", 3))
    return gx.compile(x, x * 2, name="double")


@pytest.fixture(scope="module")
def pair() -> gx.Program:
    x, y = gx.placeholder("x", ("n", 3)), gx.placeholder("y", ("n",))
    return gx.compile([x, y], x.sum(axis=1) - y, name="pair")


# ---------------------------------------------------------------------- feeds
CALLS: dict[str, Run] = {
    "by position": lambda p: p(X, Y),
    "by name": lambda p: p(y=Y, x=X),
    "mixed": lambda p: p(X, y=Y),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_values_come_by_position_or_by_name(pair: gx.Program, call: Run) -> None:
    np.testing.assert_array_equal(call(pair), X.sum(axis=1) - Y)


# What is wrong, and words of the message.
BAD_CALLS: dict[str, tuple[Run, str]] = {
    "missing": (
        lambda p: p(X),
        r"pair: input 'y' is missing\n  expected x: float32\[n, 3\], y: float32\[n\]",
    ),
    "all missing": (lambda p: p(), "input 'x' is missing"),
    "unknown": (lambda p: p(X, Y, z=X), "unknown input 'z'"),
    "twice": (lambda p: p(X, Y, x=X), "input 'x' given twice"),
    "too many": (lambda p: p(X, Y, Y), "3 values for 2 inputs"),
    "float64": (
        lambda p: p(X.astype("float64"), Y),
        r"'x' .*\n  expected float32\[n, 3\], given float64\[2, 3\]",
    ),
    "integers": (lambda p: p(X.astype("int32"), Y), r"given int32\[2, 3\]"),
    "big endian": (lambda p: p(X.astype(">f4"), Y), "given >f4"),
    "rank": (lambda p: p(X[0], Y), r"'x' does not fit\n  expected float32\[n, 3\], given float32\[3\]"),
    "fixed size": (lambda p: p(X[:, :2], Y), r"given float32\[2, 2\]"),
    "disagreement": (
        lambda p: p(X, Y[:1]),
        r"'y' disagrees on dimension 'n'\n  expected 2 as in 'x', given 1",
    ),
    "text": (lambda p: p("abc", Y), "'x' does not fit"),
    "nothing": (lambda p: p(None, Y), "'x' does not fit"),
    "ragged list": (lambda p: p([[1, 2, 3], [1]], Y), "'x' is no float32 array"),
}


@pytest.mark.parametrize(("call", "words"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_a_bad_call_names_the_input_and_the_calling_line(pair: gx.Program, call: Run, words: str) -> None:
    with pytest.raises(FeedError, match=words) as caught:
        call(pair)
    assert caught.value.where is not None and caught.value.where.file == __file__
    assert "lambda p: p(" in str(caught.value)
    np.testing.assert_array_equal(pair(X, Y), X.sum(axis=1) - Y)


NUMBERS = {
    "float from int": ("float32", 2, 2.0),
    "float from bool": ("float64", True, 1.0),
    "float from float": ("float32", 0.1, np.float32(0.1)),
    "float from infinity": ("float32", -np.inf, -np.inf),
    "int from int": ("int8", -128, -128),
    "int from bool": ("int64", True, 1),
    "bool from bool": ("bool", True, True),
    "list": ("float32", [[1, 2.5], [3, 4]], [[1, 2.5], [3, 4]]),
    "list of ints": ("int32", [[1], [2]], [[1], [2]]),
    "empty list": ("int64", [[]], np.zeros((1, 0))),
    "list of arrays": ("float32", [X[0], X[1]], X),
    "NumPy scalar": ("float32", np.float32(3), 3.0),
}


def _identity(dtype: str, ndim: int) -> gx.Program:
    x = gx.placeholder("x", ("a", "b")[:ndim], dtype)
    return gx.compile(x, x)


@pytest.mark.parametrize(("dtype", "value", "expected"), NUMBERS.values(), ids=NUMBERS.keys())
def test_python_numbers_and_lists_take_the_dtype_that_is_asked_for(
    dtype: str, value: Any, expected: Any
) -> None:
    result = _identity(dtype, np.ndim(expected))(value)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.asarray(expected, dtype))


REFUSED_NUMBERS = {
    "int from float": ("int64", 1.5),
    "int from a whole float": ("int64", 2.0),
    "int from a list of floats": ("int64", [1.5]),
    "bool from int": ("bool", 2),
    "too big for uint8": ("uint8", 256),
    "negative for uint8": ("uint8", -1),
    "too big for int64": ("int64", 2**70),
    "too big for float32": ("float32", 1e300),
    "complex": ("float64", 1j),
    "float64 scalar for float32": ("float32", np.float64(1.0)),
}


@pytest.mark.parametrize(("dtype", "value"), REFUSED_NUMBERS.values(), ids=REFUSED_NUMBERS.keys())
def test_numbers_that_would_change_are_refused(dtype: str, value: Any) -> None:
    with pytest.raises(FeedError, match="placeholder 'x'"):
        _identity(dtype, np.ndim(value))(value)


def test_a_tensor_is_no_value(double: gx.Program) -> None:
    with pytest.raises(ControlFlowError, match=r"gx\.evaluate"):
        double(gx.placeholder("x", (2, 3)))


def _unaligned(a: Array) -> Array:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def _read_only(a: Array) -> Array:
    copied = a.copy()
    copied.flags.writeable = False
    return copied


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "column-major": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "unaligned": _unaligned,
    "read-only": _read_only,
    "subclass": lambda a: np.ma.masked_array(a),
    "no rows": lambda a: a[:0],
    "one row": lambda a: a[:1],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_any_memory_layout_can_be_fed(double: gx.Program, layout: Callable[[Array], Array]) -> None:
    fed = layout(X)
    before = np.array(fed)
    result = double(fed)
    np.testing.assert_array_equal(result, before * 2)
    np.testing.assert_array_equal(fed, before)
    assert type(result) is np.ndarray and result.shape == fed.shape


def test_sizes_that_the_graph_assumed_equal_are_checked_and_name_the_operation() -> None:
    x, y = gx.placeholder("x", ("n",)), gx.placeholder("y", ("m",))
    total = x + y
    program = gx.compile([x, y], total)
    np.testing.assert_array_equal(program(Y, Y), 2 * Y)
    with pytest.raises(
        ShapeError, match=r"expected m == n, given 2 and 3|expected n == m, given 3 and 2"
    ) as caught:
        program(X[0], Y)
    assert caught.value.where == total.node.where
    np.testing.assert_array_equal(program(X[0], X[0]), 2 * X[0])


def test_a_size_computed_from_others_is_checked() -> None:
    from graphc import dims

    n = dims.symbol("n")
    x, y = gx.placeholder("x", (n,)), gx.placeholder("y", (2 * n,))
    program = gx.compile([x, y], y.sum() + x.sum())
    assert float(program([1.0], [1.0, 2.0])) == 4.0
    with pytest.raises(FeedError, match=r"'y' does not fit\n  expected 2\*n = 2, given 3"):
        program([1.0], [1.0, 2.0, 3.0])


def test_one_compilation_serves_every_size_and_old_plans_are_dropped(
    double: gx.Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_module, "PLANS", 3)
    for n in (5, 0, 1, 7, 5, 0, 1):
        np.testing.assert_array_equal(double(np.ones((n, 3), np.float32)), np.full((n, 3), 2))
    assert len(double.specializations) <= 3
    assert {"n": 1} in double.specializations


# -------------------------------------------------------------------- outputs
STRUCTURES: dict[str, Callable[[Tensor], Any]] = {
    "one": lambda x: x * 2,
    "list": lambda x: [x * 2, x + 1],
    "tuple": lambda x: (x * 2, x + 1),
    "list of one": lambda x: [x * 2],
    "dict": lambda x: {"b": x * 2, "a": x + 1},
    "nested": lambda x: {"b": [x * 2, (x + 1,)], "a": {"c": x, "d": []}},
    "empty list": lambda x: [],
    "empty dict": lambda x: {},
}


@pytest.mark.parametrize("build", STRUCTURES.values(), ids=STRUCTURES.keys())
def test_outputs_mirror_the_structure_given_to_compile(build: Callable[[Any], Any]) -> None:
    x = gx.placeholder("x", ("n", 3))
    result = gx.compile(x, build(x))(X)
    _assert_same(result, build(X))


def _assert_same(result: Any, expected: Any) -> None:
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(result, expected)
        return
    assert type(result) is type(expected) and len(result) == len(expected)
    keys = expected if isinstance(expected, Mapping) else range(len(expected))
    if isinstance(expected, Mapping):
        assert list(result) == list(expected)
    for key in keys:
        _assert_same(result[key], expected[key])


def test_outputs_must_be_tensors() -> None:
    with pytest.raises(GraphError, match="given ndarray"):
        gx.compile([], [X])


SHARED: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "input": lambda x: [x],
    "input twice": lambda x: [x, x],
    "view of an input": lambda x: [x.reshape(-1), x.T, x[0]],
    "constant": lambda x: [gx.constant(X), gx.constant(X)],
    "same value twice": lambda x: 2 * [x * 2],
    "reshape of another output": lambda x: (lambda y: [y, y.reshape(-1), y.reshape(3, -1)])(x * 2),
    "stop_gradient": lambda x: [gx.stop_gradient(x)],
    "fused with its own operand": lambda x: (lambda y: [y, y + 1])(gx.exp(x)),
    "reduction and what it reads": lambda x: (lambda y: [y, y.sum(axis=1)])(gx.exp(x)),
}


@pytest.mark.parametrize("build", SHARED.values(), ids=SHARED.keys())
def test_outputs_own_their_memory(build: Callable[[Tensor], list[Tensor]]) -> None:
    x = gx.placeholder("x", ("n", 3))
    program = gx.compile(x, build(x))
    fed = X.copy()
    first = program(fed)
    kept = [a.copy() for a in first]
    second = program(fed + 1)
    memory = [fed, *first, *second]
    assert not any(np.shares_memory(a, b) for k, a in enumerate(memory) for b in memory[:k])
    for a in (*second, fed):
        a[...] = -7
    for a, b, t in zip(first, kept, build(x), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(b, gx.evaluate(t, {x: X}), rtol=1e-6)
    # Writing into what came back, a constant included, changes nothing in the program.
    for a, b in zip(program(X), kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_can_be_written_into_given_arrays(double: gx.Program, pair: gx.Program) -> None:
    buffer = np.zeros((2, 3), np.float32)
    assert double(X, out=buffer) is buffer
    np.testing.assert_array_equal(buffer, X * 2)
    x = gx.placeholder("x", ("n", 3))
    both = gx.compile(x, {"a": x * 2, "b": x.sum()})
    total = np.zeros((), np.float32)
    result = both(x=X, out=[buffer, total])
    assert result["a"] is buffer and result["b"] is total and total == X.sum()
    np.testing.assert_array_equal(double(X[:0], out=np.zeros((0, 3), np.float32)), X[:0])


FED = X.copy()
BAD_OUT: dict[str, tuple[Callable[[], Any], str]] = {
    "shape": (lambda: np.zeros((3, 2), np.float32), r"expected float32\[2, 3\], given float32\[3, 2\]"),
    "dtype": (lambda: np.zeros((2, 3)), r"given float64\[2, 3\]"),
    "count": (lambda: [X.copy(), X.copy()], "given 2 arrays"),
    "no array": (lambda: 5, "given int"),
    "list of a list": (lambda: [[1.0]], "given list"),
    "read-only": (lambda: _read_only(X), "read-only"),
    "strided": (lambda: np.zeros((2, 6), np.float32)[:, ::2], "not contiguous"),
    "unaligned": (lambda: _unaligned(X), "unaligned"),
    "the input": (lambda: FED, "overlaps an input"),
    "part of the input": (lambda: FED.reshape(-1).reshape(2, 3), "overlaps an input"),
}


@pytest.mark.parametrize(("make", "words"), BAD_OUT.values(), ids=BAD_OUT.keys())
def test_arrays_that_cannot_hold_the_result_are_refused(
    double: gx.Program, make: Callable[[], Any], words: str
) -> None:
    with pytest.raises(FeedError, match=f"double: out does not fit\n.*{words}"):
        double(FED, out=make())
    np.testing.assert_array_equal(FED, X)


def test_one_array_cannot_take_two_outputs() -> None:
    x = gx.placeholder("x", ("n", 3))
    program, buffer = gx.compile(x, [x * 2, x + 1]), np.zeros((2, 3), np.float32)
    with pytest.raises(FeedError, match="another output"):
        program(X, out=[buffer, buffer])


# ------------------------------------------------------------------- building
def test_an_input_must_be_a_placeholder_of_its_own_name() -> None:
    x = gx.placeholder("x", (3,))
    with pytest.raises(GraphError, match="every input must be a placeholder") as caught:
        gx.compile([x * 2], x)
    assert caught.value.where is not None and caught.value.where.file == __file__
    with pytest.raises(GraphError, match="two inputs are named 'x'"):
        gx.compile([x, gx.placeholder("x", (3,))], x)


def test_a_placeholder_that_is_needed_must_be_an_input() -> None:
    x, y = gx.placeholder("x", (3,)), gx.placeholder("y", (3,))
    with pytest.raises(GraphError, match=r"'y' is needed but is not among the inputs\n.*given 'x'") as caught:
        gx.compile(x, x * y)
    assert caught.value.where == y.node.where
    with pytest.raises(GraphError, match="'y' is needed"):
        gx.compile(x, x, updates={gx.variable(X[0]): y * 2})


def test_an_input_may_be_unused() -> None:
    x, y = gx.placeholder("x", ("n",)), gx.placeholder("y", ("n",), "int64")
    program = gx.compile([x, y], x * 2)
    np.testing.assert_array_equal(program(Y, [1, 2]), Y * 2)
    with pytest.raises(FeedError, match="'y' disagrees"):
        program(Y, [1])


def test_compiling_takes_a_snapshot() -> None:
    x, w = gx.placeholder("x", (3,)), gx.variable(X[0], name="w")
    y = x * w
    program = gx.compile(x, y)
    text = str(program.graph)
    later = gx.compile(x, gx.exp(y) + w, updates={w: w + 1})
    np.testing.assert_array_equal(program(X[1]), X[1] * X[0])
    assert str(program.graph) == text and not program.graph.updates
    later(X[1])
    # Variables are shared, not copied: both their assignment and other programs' updates are seen.
    np.testing.assert_array_equal(program(X[1]), X[1] * (X[0] + 1))
    w.value = 2 * X[0]
    np.testing.assert_array_equal(program(X[1]), X[1] * 2 * X[0])


def test_a_constant_is_copied_when_the_graph_is_built() -> None:
    data = X.copy()
    program = gx.compile([], gx.constant(data) * 2)
    data[...] = 0
    np.testing.assert_array_equal(program(), X * 2)


CONTROL_FLOW: dict[str, Run] = {
    "if": lambda x: 1 if x else 0,
    "and": lambda x: x and x,
    "not": lambda x: not x,
    "while": lambda x: next(iter(lambda: bool(x), True)),
    "chained comparison": lambda x: 0 < x < 1,
    "float": lambda x: float(x),
    "int": lambda x: int(x),
    "index": lambda x: [1, 2][x],
    "array": lambda x: np.asarray(x),
    "in": lambda x: x in [1, 2],
}


@pytest.mark.parametrize("use", CONTROL_FLOW.values(), ids=CONTROL_FLOW.keys())
def test_python_control_flow_on_a_tensor_names_what_to_use(use: Callable[[Tensor], object]) -> None:
    with pytest.raises(ControlFlowError, match=r"gx\.where, gx\.cond or gx\.while_loop") as caught:
        use(gx.placeholder("x", (), "int64"))
    assert caught.value.where is not None and caught.value.where.file == __file__


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (
            lambda x: np.mean(x),
            r"numpy\.mean\(\) of a symbolic Tensor.*\n  expected gx\.mean, or gx\.evaluate",
        ),
        (lambda x: np.concatenate([x, x]), r"numpy\.concatenate\(\) of a symbolic Tensor"),
        (lambda x: len(x), r"len\(\) of a symbolic Tensor.*\n  expected a first dimension of fixed size"),
        (lambda x: list(x), r"iteration of a symbolic Tensor"),
    ],
    ids=["mean", "concatenate", "len", "iteration"],
)
def test_what_numpy_and_python_cannot_do_with_a_tensor(use: Callable[[Tensor], object], text: str) -> None:
    with pytest.raises(ControlFlowError, match=text) as caught:
        use(gx.placeholder("x", ("n",)))
    assert caught.value.where is not None and caught.value.where.file == __file__


def test_numpy_functions_of_a_tensor_build_the_function_of_the_same_name() -> None:
    x = gx.placeholder("x", shape=("n",), dtype="float64")
    points = np.array([0.5, 1.5, 2.0])
    for function in (np.exp, np.abs, np.arctan, np.floor):
        np.testing.assert_allclose(gx.evaluate(function(x), {x: points}), function(points))
    for binary in (np.add, np.power, np.matmul):
        np.testing.assert_allclose(gx.evaluate(binary(points, x), {x: points}), binary(points, points))
    with pytest.raises(ControlFlowError, match=r"numpy\.add\.reduce\(\)"):
        np.add.reduce(x)


def test_an_input_cannot_take_the_name_of_the_keyword_for_results() -> None:
    x = gx.placeholder("out", shape=("n",))
    with pytest.raises(GraphError, match="cannot be named 'out'"):
        gx.compile(x, x + 1)


def test_methods_are_those_of_arrays() -> None:
    x = gx.placeholder("x", shape=("n", 3), dtype="float64")
    points = np.array([[0.5, -1.5, 2.0], [3.25, 0.0, -1.0]])
    for call in (
        lambda a: a.ravel(),
        lambda a: a.swapaxes(0, 1),
        lambda a: a.repeat(2, axis=1),
        lambda a: a.round(),
        lambda a: a.argsort(axis=0),
    ):
        np.testing.assert_array_equal(gx.evaluate(call(x), {x: points}), call(points))


def test_an_exception_of_a_users_operation_says_which_line_built_it() -> None:
    def fail(x: np.ndarray) -> np.ndarray:
        raise RuntimeError("no")

    broken = gx.custom_op("broken", lambda x: (x.shape, x.dtype), fail)
    x = gx.placeholder("x", shape=("n",))
    program = gx.compile(x, broken(x))
    with pytest.raises(RuntimeError, match="no") as caught:
        program(np.ones(2, "float32"))
    assert "broken" in caught.value.__notes__[0] and "test_program.py" in caught.value.__notes__[0]


# ------------------------------------------------------------- large outputs
def _doubled() -> tuple[gx.Program, np.ndarray[Any, Any]]:
    x = gx.placeholder("x", ("n", 1000))
    return gx.compile(x, [x * 2, x.sum()]), np.ones((300, 1000), np.float32)


def test_a_large_output_takes_the_memory_of_one_that_nobody_holds() -> None:
    program, x = _doubled()
    address = program(x)[0].ctypes.data
    again = program(x)[0]
    assert again.ctypes.data == address
    assert again.flags.owndata


@pytest.mark.parametrize(
    "hold", [lambda a: a, lambda a: a[:1], memoryview, lambda a: a.T.reshape(-1)[:1].base]
)
def test_an_output_that_is_held_in_any_way_keeps_its_memory(hold: Callable[[Any], Any]) -> None:
    program, x = _doubled()
    held = hold(program(x)[0])
    before = np.array(held)
    assert program(x * 5)[0][0, 0] == 10
    np.testing.assert_array_equal(np.array(held), before)


def test_an_output_whose_shape_was_changed_is_not_taken_again() -> None:
    program, x = _doubled()
    first = program(x)[0]
    first.flags.writeable = False
    del first
    again = program(x)[0]
    assert again.shape == (300, 1000) and again.flags.writeable


def test_an_output_can_be_the_next_input() -> None:
    program, x = _doubled()
    for _ in range(3):
        x = program(x)[0]
    np.testing.assert_array_equal(x, np.full((300, 1000), 8, np.float32))
