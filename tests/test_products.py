"""Schedules of matrix products: every form gives the right result, and the cost model picks sensibly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from llvmlite import binding as llvm

import graphc as gx
from graphc.codegen import choice, tile
from graphc.codegen.choice import Candidate, Choice, Operand, Problem
from graphc.runtime.features import limited
from graphc.runtime.layout import Layout

Array = np.ndarray[Any, Any]
Build = Callable[[gx.Tensor, gx.Tensor], gx.Tensor]


def operand(name: str, layout: str, rows: Any, cols: Any, dtype: str) -> tuple[gx.Tensor, gx.Tensor]:
    """Return a placeholder, and the matrix that is it (``n``) or its transpose (``t``)."""
    fed = gx.placeholder(name, (rows, cols) if layout == "n" else (cols, rows), dtype)
    return fed, fed if layout == "n" else fed.T


def values(tensors: list[gx.Tensor], sizes: dict[str, int], dtype: str) -> list[Array]:
    rng = np.random.default_rng(3)
    shapes = [tuple(sizes.get(str(d), d) for d in t.shape) for t in tensors]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def check(inputs: list[gx.Tensor], outputs: Any, sizes: dict[str, int], dtype: str) -> gx.Program:
    program = gx.compile(inputs, outputs)
    compare(program, inputs, outputs, sizes, dtype)
    return program


def compare(program: Any, inputs: list[gx.Tensor], outputs: Any, sizes: dict[str, int], dtype: str) -> None:
    fed = values(inputs, sizes, dtype)
    expected = gx.evaluate(outputs, dict(zip(inputs, fed, strict=True)))
    for got, wanted in zip(program(*fed), expected, strict=True):
        scale = 1 + np.abs(wanted).max(initial=0)
        np.testing.assert_allclose(got / scale, wanted / scale, atol=60 * np.finfo(dtype).eps)


def all_layouts(m: Any, n: Any, k: Any, dtype: str) -> tuple[list[gx.Tensor], list[gx.Tensor]]:
    """Return placeholders, and for each layout of the operands a product with something fused behind it."""
    inputs, outputs = [], []
    bias = gx.placeholder("bias", (n,), dtype)
    for la in "nt":
        for lb in "nt":
            a, left = operand(f"a{la}{lb}", la, m, k, dtype)
            b, right = operand(f"b{la}{lb}", lb, k, n, dtype)
            inputs += [a, b]
            product = left @ right
            outputs += [product, gx.tanh(product + bias)] if la == lb else [gx.relu(product - bias)]
    return [*inputs, bias], outputs


@pytest.fixture(params=range(3), ids=["best", "second", "third"])
def ranked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let products use the n-th best schedule: what the cost model rejects must work as well."""
    rank: int = request.param
    original = choice.choose

    def nth(problem: Problem) -> Choice[Candidate]:
        found = original(problem).candidates
        first = min(rank, len(found) - 1)
        return Choice((found[first], *found[:first], *found[first + 1 :]))

    monkeypatch.setattr(choice, "choose", nth)
    return rank


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_schedule_layout_and_register_width(
    width: int, dtype: str, ranked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphc.runtime.features.vector_bytes", lambda: width)
    check(*all_layouts(37, 29, 21, dtype), {}, dtype)


def test_every_schedule_of_a_symbolic_size(ranked: int) -> None:
    inputs, outputs = all_layouts("m", 19, 40, "float32")
    program = gx.compile(inputs, outputs)
    for m in (0, 1, 7, 65):
        compare(program, inputs, outputs, {"m": m}, "float32")


@pytest.mark.parametrize(("m", "n", "k"), [("m", "n", 5), (3, 4, "k"), ("m", 1, "k"), (1, "n", "k")])
def test_sizes_that_are_empty_or_one(m: Any, n: Any, k: Any) -> None:
    inputs, outputs = all_layouts(m, n, k, "float64")
    program = gx.compile(inputs, outputs)
    for size in (0, 1, 3, 70):
        compare(program, inputs, outputs, {"m": size, "n": 9 - size % 9, "k": size}, "float64")


def test_sums_longer_than_a_chunk(ranked: int) -> None:
    """Unfinished sums wait in the result where it may hold them, else in working memory."""
    dtype = "float32"
    a, b = gx.placeholder("a", (9, 9001), dtype), gx.placeholder("b", (9001, 35), dtype)
    check([a, b], [a @ b], {}, dtype)
    check([a, b], [gx.relu(a @ b).astype("float64")], {}, dtype)


@pytest.mark.parametrize("layouts", ["nn", "tn"])
def test_several_blocks_of_rows_and_several_chunks(layouts: str) -> None:
    a, left = operand("a", layouts[0], 1536, 1100, "float32")
    b, right = operand("b", layouts[1], 1100, 512, "float32")
    program = gx.compile([a, b], [left @ right])
    best = program.kernels[0].choice.best
    assert (best.packing, best.copies_lhs) == ("copy", layouts[0] == "t")
    compare(program, [a, b], [left @ right], {}, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "n"), [(1, 2100), (2100, 1), ("b", 2100)])
def test_products_with_a_vector(m: Any, n: int, dtype: str, ranked: int) -> None:
    batch = (m, 1) if m == "b" else (m,)
    rows = 1 if m == "b" else m
    k = 317
    inputs, outputs = [], []
    for layout in "nt":
        a = gx.placeholder(f"a{layout}", (*batch, k), dtype)
        b, right = operand(f"b{layout}", layout, k, n, dtype)
        inputs += [a, b]
        outputs += [gx.relu(a @ right), a @ right]
    a, left = operand("a", "t", rows, k, dtype)
    b = gx.placeholder("b", (k, n), dtype)
    program = gx.compile([*inputs, a, b], [*outputs, left @ b])
    for size in (1, 3):
        compare(program, [*inputs, a, b], [*outputs, left @ b], {"b": size}, dtype)


@pytest.mark.parametrize("lasting", [False, True])
def test_only_the_last_vector_of_a_known_row_is_masked(lasting: bool) -> None:
    x, b = gx.placeholder("x", (2, 300)), gx.placeholder("b", (300, 90))
    matrix = gx.constant(values([b], {}, "float32")[0]) if lasting else b
    (kernel,) = check([x] if lasting else [x, b], [x @ matrix], {}, "float32").kernels
    tiles = set(re.findall(r"tile_f32_\w+", kernel.source))
    assert {name.rpartition("_")[2] for name in tiles} <= {"full", "last"}
    (name,) = (name for name in tiles if name.endswith("last"))
    function = tile.function(name)
    assert function is not None
    # What a step loads, what is there already, and what is stored for each of two rows.
    assert [function.text.count(f" @llvm.masked.{verb}") for verb in ("load", "store")] == [3, 2]


@pytest.mark.parametrize(("columns", "forms"), [(128, {"full", "short"}), (90, {"last", "corner"})])
def test_missing_rows_mask_no_columns_that_are_known(columns: int, forms: set[str]) -> None:
    x, b = gx.placeholder("x", ("n", 50)), gx.placeholder("b", (50, columns))
    program = gx.compile([x, b], [x @ b])
    assert forms <= set(re.findall(r"tile_f32_\d+x\d+x\d+_([a-z]+)\(", program.kernels[0].source))
    for n in (0, 1, 5, 30):
        compare(program, [x, b], [x @ b], {"n": n}, "float32")


@pytest.mark.parametrize("layouts", ["nn", "nt", "tn", "tt"])
def test_strides_that_collide_in_the_caches(layouts: str) -> None:
    """Copies of either operand: large products whose rows lie 2 KiB apart."""
    a, left = operand("a", layouts[0], 512, 300, "float32")
    b, right = operand("b", layouts[1], 300, 1024, "float32")
    program = check([a, b], [gx.relu(left @ right)], {}, "float32")
    best = program.kernels[0].choice.best
    assert best.packing == ("copy" if layouts[1] == "n" else "transpose")
    assert best.copies_lhs == (layouts[0] == "t")


COPIED: dict[str, tuple[Build, tuple[Any, ...], tuple[Any, ...]]] = {
    "one for each index of the batch": (
        lambda a, b: gx.einsum("bkm,bkn->bmn", a, b),
        ("b", 301, 512),
        ("b", 301, 200),
    ),
    "one for the whole batch": (lambda a, b: a.T @ b, (301, 512), ("b", 301, 200)),
    "several inner axes": (lambda a, b: gx.einsum("jkm,jkn->mn", a, b), (2, 600, 512), (2, 600, 512)),
    "a long inner axis of unknown size": (lambda a, b: a.T @ b, ("b", 1024), ("b", 200)),
}


@pytest.mark.parametrize(("build", "left", "right"), COPIED.values(), ids=COPIED.keys())
def test_copies_of_the_left_operand_are_shared_by_all_blocks(
    build: Build, left: tuple[Any, ...], right: tuple[Any, ...]
) -> None:
    a, b = gx.placeholder("a", left, "float32"), gx.placeholder("b", right, "float32")
    program = gx.compile([a, b], [build(a, b)])
    assert program.kernels[0].choice.best.copies_lhs
    before = gx.get_num_threads()
    try:
        for threads, size in ((1, 1), (3, 2), (2, 0)):
            gx.set_num_threads(threads)
            compare(program, [a, b], [build(a, b)], {"b": size}, "float32")
    finally:
        gx.set_num_threads(before)


def test_batches_and_several_axes_in_a_group() -> None:
    q = gx.placeholder("q", ("b", 5, 3, 8), "float32")
    k = gx.placeholder("k", ("b", 7, 3, 8), "float32")
    scores = gx.einsum("bqhd,bkhd->bhqk", q, k)
    joint = gx.einsum("bqhd,bkhd->qbk", q, k)
    program = gx.compile([q, k], [scores, joint])
    for b in (0, 1, 3):
        compare(program, [q, k], [scores, joint], {"b": b}, "float32")


def test_dense_layer_and_its_gradients_in_any_number_of_threads() -> None:
    x, w = gx.placeholder("x", ("n", 784)), gx.placeholder("w", (784, 512))
    hidden = gx.relu(x @ w)
    outputs = [hidden, *gx.grad((hidden * hidden).sum(), [x, w])]
    program = gx.compile([x, w], outputs)
    fed = values([x, w], {"n": 130}, "float32")
    before = gx.get_num_threads()
    try:
        gx.set_num_threads(1)
        first = program(*fed)
        for threads in (2, 3):
            gx.set_num_threads(threads)
            for one, other in zip(first, program(*fed), strict=True):
                np.testing.assert_array_equal(one, other)
    finally:
        gx.set_num_threads(before)
    compare(program, [x, w], outputs, {"n": 130}, "float32")


# ------------------------------------------------------------------ the cost model
def problem(m: int | None, n: int | None, k: int | None, layouts: str) -> Problem:
    lhs = Operand(True, k, 1) if layouts[0] == "n" else Operand(True, 1, m)
    rhs = Operand(True, 1, n) if layouts[1] == "n" else Operand(True, k, 1)
    return Problem("f32", m, n, k, lhs, rhs, 64)


CHOICES = [
    ("a large product", (1000, 1000, 1000, "nn"), ("tile", False, "")),
    ("rows that collide", (1024, 1024, 1024, "nn"), ("tile", False, "copy")),
    ("a transposed right operand", (512, 512, 512, "nt"), ("tile", False, "transpose")),
    ("a few rows times a transposed matrix", (8, 512, 2048, "nt"), ("dot", False, "")),
    ("a matrix times a vector", (1024, 1, 1024, "nn"), ("dot", False, "")),
    ("a transposed matrix times a vector", (4096, 1, 1024, "tn"), ("sweep", True, "")),
    ("a vector times a matrix", (1, 4096, 1024, "nn"), ("sweep", False, "")),
    ("a vector times a narrow matrix", (1, 1024, 1024, "nn"), ("tile", False, "")),
    ("a vector times a long matrix", (1, 4096, 100_000, "nn"), ("tile", False, "")),
    ("a vector times a transposed matrix", (1, 1024, 1024, "nt"), ("dot", False, "")),
    ("a matrix times a few columns", (1024, 4, 1024, "nn"), ("dot", False, "gather")),
]


@pytest.mark.parametrize(("size", "expected"), [c[1:] for c in CHOICES], ids=[c[0] for c in CHOICES])
def test_what_is_chosen(size: tuple[int, int, int, str], expected: tuple[str, bool, str]) -> None:
    best = choice.choose(problem(*size)).best
    assert (best.form, best.swapped, best.packing) == expected


def test_tiles_fit_the_registers_and_candidates_are_ranked() -> None:
    for width, registers in choice.REGISTERS.items():
        found = Problem("f32", 60, 60, 60, Operand(True, 60, 1), Operand(True, 1, 60), width)
        for candidate in choice.tiles(found, swapped=False):
            vectors = candidate.cols // candidate.lanes
            assert candidate.rows * vectors + 1 <= registers
        ranking = [c.cycles for c in choice.choose(found).candidates]
        assert ranking == sorted(ranking)


def test_small_products_stay_whole_and_large_ones_are_cut() -> None:
    sizes = (
        ((64, 64, 64), "nn", 1, 1),
        ((128, 128, 128), "nn", 2, 4),
        ((128, 10, 784), "nn", 2, 4),
        ((128, 128, 128), "nt", 2, 2),  # by columns alone: the rows of a block share what it packs
        ((512, 512, 512), "nn", 8, 32),
        ((128, 512, 784), "nn", 4, 32),
    )
    for size, layouts, least, most in sizes:
        asked = problem(*size, layouts)
        best = choice.choose(asked).best
        cut = choice.blocks(asked, best, 1)
        assert cut.rows % best.rows == 0 and cut.cols % best.cols == 0
        count = -(-size[0] // cut.rows) * -(-size[1] // cut.cols)
        assert least <= count <= most


@pytest.mark.parametrize("layouts", ["nn", "nt", "tn", "tt"])
def test_panels_stay_in_the_caches_and_are_shared_by_many_rows(layouts: str) -> None:
    asked = problem(2048, 2048, 2048, layouts)
    best = choice.choose(asked).best
    cut, steps = choice.blocks(asked, best, 1), choice.chunk(asked, best)
    assert steps * best.cols * asked.itemsize <= 1 << 18
    assert cut.rows >= 1000


def test_the_choice_can_be_inspected() -> None:
    x, w = gx.placeholder("x", ("n", 64)), gx.placeholder("w", (64, 32))
    program = gx.compile([x, w], x @ w)
    (kernel,) = program.kernels
    assert kernel.choice is not None
    assert str(kernel.choice.best).startswith("tile ")
    assert str(kernel.choice.best) in str(program)
    assert all(f"# {line}" in kernel.source for line in kernel.choice.lines())
    assert "cycles" in kernel.source


def test_a_left_operand_packed_in_a_stage_of_its_own() -> None:
    x, w = gx.placeholder("x", (4, 8, 30, 30)), gx.placeholder("w", (16, 8, 5, 5))
    y = gx.conv2d(x, w, stride=2, padding=2)
    gradients = gx.grad((y * y).sum(), [x, w])
    program = gx.compile([x, w], gradients)
    fed = values([x, w], {}, "float32")
    before = gx.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            gx.set_num_threads(threads)
            found.append(program(*fed))
    finally:
        gx.set_num_threads(before)
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, same)
    expected = gx.evaluate(gradients, dict(zip([x, w], fed, strict=True)))
    for one, wanted in zip(found[0], expected, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


# ------------------------------------------------------------------ operands that last
@pytest.fixture
def packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let products pack what lasts once, however little that saves."""
    monkeypatch.setattr(choice, "_KEPT", 0)
    monkeypatch.setitem(choice._PACKING, "once", -1e9)
    # Without the memory of what was chosen before.
    monkeypatch.setattr(choice, "choose", choice.choose.__wrapped__)


def _lasting(shape: tuple[int, ...], dtype: str) -> gx.Variable:
    return gx.variable(np.random.default_rng(4).normal(size=shape).astype(dtype))


def _packings(program: gx.Program) -> list[str]:
    return [k.choice.best.packing for k in program.kernels if k.choice is not None]


@pytest.mark.usefixtures("packed_once")
@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_lasts_can_be_packed_once(width: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.runtime.features.vector_bytes", lambda: width)
    x = gx.placeholder("x", ("m", 1100), dtype)
    bias = _lasting((37,), dtype)
    # Several chunks of inner steps, a last strip that is not full, both layouts, and on the left.
    outputs = [x @ _lasting((1100, 37), dtype), gx.relu(x @ _lasting((37, 1100), dtype).T + bias)]
    outputs += [_lasting((37, 1100), dtype) @ x.T]
    program = gx.compile(x, outputs)
    assert _packings(program) == ["once"] * 3
    for m in (0, 1, 3, 40):
        compare(program, [x], outputs, {"m": m}, dtype)


@pytest.mark.usefixtures("packed_once")
def test_what_is_packed_once_may_have_any_axes() -> None:
    x, w = gx.placeholder("x", ("b", 6, 20), "float32"), _lasting((6, 20, 5, 7), "float32")
    outputs = [gx.einsum("bij,ijno->bno", x, w)]
    program = gx.compile(x, outputs)
    assert _packings(program) == ["once"]
    compare(program, [x], outputs, {"b": 9}, "float32")
    # A matrix for each element of the batch is no operand of all blocks.
    y = gx.placeholder("y", (4, 9, 20), "float32")
    outputs = [y @ _lasting((4, 20, 30), "float32")]
    program = gx.compile(y, outputs)
    assert _packings(program) == [""]
    compare(program, [y], outputs, {}, "float32")


@pytest.mark.usefixtures("packed_once")
def test_what_is_packed_once_has_the_size_of_the_call() -> None:
    x, y = (gx.placeholder(name, (4, "k"), "float32") for name in "xy")
    weights = _lasting((70, 50), "float32")
    outputs = [x @ weights, y[:, :3] @ weights[:3, 2:40]]
    program = gx.compile([x, y], outputs)
    assert _packings(program) == ["once"] * 2
    compare(program, [x, y], outputs, {"k": 70}, "float32")


@pytest.mark.usefixtures("packed_once")
def test_a_part_that_begins_elsewhere_is_packed_for_itself() -> None:
    """Where a slice begins may depend on a size that is no size of the product."""
    x, y = gx.placeholder("x", (4, 20)), gx.placeholder("y", ("n",))
    weights = _lasting((64, 30), "float32")
    begin = y.shape[0]
    outputs = [x @ weights[begin : begin + 20], y.sum()]
    program = gx.compile([x, y], outputs)
    assert _packings(program) == ["once"]
    for n in (3, 5, 9, 3):
        compare(program, [x, y], outputs, {"n": n}, "float32")


def test_what_a_loop_captures_is_packed_before_it() -> None:
    h, w = gx.placeholder("h", (32, 64)), gx.placeholder("w", (64, 64))

    def body(carry: gx.Tensor, _: object) -> tuple[gx.Tensor, None]:
        # For the inner loop, what the outer one computes is the same in all iterations.
        mixed = gx.tanh(carry.mean()) * w
        inner = gx.fori_loop(0, 4, lambda _, c: 0.1 * gx.tanh(c @ mixed), carry)
        return 0.1 * gx.tanh(inner @ w), None

    last, _ = gx.scan(body, h, length=4)
    outputs = [gx.grad(last.sum(), h)]
    program = gx.compile([h, w], outputs)
    # Each matrix, and each transposed one for the gradients.
    assert _packings(program).count("once") == 4
    assert _preparing(program._source.layout) == {1: 2, 0: 2}
    compare(program, [h, w], outputs, {}, "float32")


def _preparing(layout: Layout, depth: int = 0) -> Counter[int]:
    """Count the launches that prepare something for others, by how many loops they stand in."""
    found = Counter(depth for launch in layout.launches if launch.sources is not None)
    for launch in layout.launches:
        for inner in launch.nested:
            found += _preparing(inner, depth + 1)
    return found


def test_slices_and_what_is_carried_are_not_packed_before_a_loop() -> None:
    h, w = gx.placeholder("h", (32, 64)), gx.placeholder("w", (5, 64, 64))

    def body(carry: tuple[gx.Tensor, gx.Tensor], x: gx.Tensor) -> tuple[tuple[gx.Tensor, gx.Tensor], None]:
        h, v = carry
        return (0.01 * (h @ v.T @ x.T), v * 0.5), None

    outputs = list(gx.scan(body, (h, w[0]), w)[0])
    program = gx.compile([h, w], outputs)
    assert _packings(program) == ["transpose"] * 2
    compare(program, [h, w], outputs, {}, "float32")


def test_plain_products_are_not_summed_per_tap() -> None:
    """Rows of the right operand that lie along the sums are no windows, however few they are."""
    x, y, b = (gx.placeholder(n, (*shape, 64)) for n, shape in {"x": (32,), "y": (48,), "b": (3, 20)}.items())
    outputs = [x @ y.T, gx.einsum("nik,njk->nij", b, b), gx.einsum("ik,njk->nij", x, b)]
    program = check([x, y, b], outputs, {}, "float32")
    assert not any("taps" in str(line) for k in program.kernels if k.choice for line in k.choice.lines())


def test_packing_once_must_be_worth_its_memory() -> None:
    assert choice.choose(replace_rhs(problem(4, 1000, 512, "nn"))).best.packing == "once"
    assert choice.choose(replace_rhs(problem(16, 1024, 1024, "nn"))).best.packing == "once"
    assert choice.choose(replace_rhs(problem(32, 1000, 512, "nn"))).best.packing == "once"
    assert choice.choose(replace_rhs(problem(4, 60, 60, "nn"))).best.packing == ""
    assert choice.choose(problem(32, 1000, 512, "nn")).best.packing == ""


def replace_rhs(found: Problem) -> Problem:
    return replace(found, rhs=replace(found.rhs, lasting=True))


@pytest.mark.parametrize("shape", [(64, 64, 256), (128, 128, 128), (33, 20, 70)])
@pytest.mark.parametrize("transposed", [(False, True), (True, True), (True, False), (False, False)])
def test_plain_products_are_computed_by_tiles(
    shape: tuple[int, int, int], transposed: tuple[bool, bool]
) -> None:
    m, n, k = shape
    a = gx.placeholder("a", (k, m) if transposed[0] else (m, k))
    b = gx.placeholder("b", (n, k) if transposed[1] else (k, n))
    product = gx.matmul(a, b, transpose_a=transposed[0], transpose_b=transposed[1])
    (kernel,) = gx.compile([a, b], product).kernels
    assert kernel.choice is not None and kernel.choice.best.form in ("tile", "dot")


# ------------------------------------------------------------------ registers
@pytest.mark.skipif("x86_64" not in llvm.get_process_triple(), reason="reads x86 assembly")
@pytest.mark.parametrize("level", ["x86-64-v3", "host"])
def test_sums_stay_in_registers_whatever_follows(level: str) -> None:
    x, w, b = gx.placeholder("x", (32, 64)), gx.placeholder("w", (64, 64)), gx.placeholder("b", (64,))
    slope = gx.tanh(x @ w + b) - x
    # More constants than there are registers.
    outputs = [slope, x + 0.005 * slope, gx.erf(slope) * gx.exp(slope)]
    with limited(level) if level != "host" else nullcontext():
        program = gx.compile([x, w, b], outputs)
        (kernel,) = program.kernels
        blocks = re.split(r"^\.LBB\w+:", kernel.asm, flags=re.MULTILINE)
        hottest = max(blocks, key=lambda text: text.count("vfmadd231ps"))
        assert hottest.count("vfmadd231ps") >= 8 and "(%rsp)" not in hottest
        compare(program, [x, w, b], outputs, {}, "float32")
