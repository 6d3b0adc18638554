"""What the table-driven tests cannot express: composed products, notation, and symbolic geometry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from expr_eval import evaluate_lowered

import graphc as gx
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import topological

Array = np.ndarray[Any, Any]
ONES = np.ones


def draw(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(12)
    return [rng.normal(size=shape) for shape in shapes]


def placeholders(arrays: list[Array]) -> list[gx.Tensor]:
    return [gx.placeholder(f"p{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]


def op_names(tensor: gx.Tensor) -> list[str]:
    return [n.op.name for n in topological([tensor.node]) if n.inputs]


# -------------------------------------------------------------------- einsum
EINSUMS = [
    ("ij,jk", (2, 3), (3, 4)),
    ("ij,jk->ki", (2, 3), (3, 4)),
    ("bA,Ac", (2, 3), (3, 4)),
    ("bqhd,bkhd->bhqk", (2, 3, 2, 4), (2, 5, 2, 4)),
    ("bhqk,bkhd->bqhd", (2, 2, 3, 5), (2, 5, 2, 4)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->ji", (2, 2, 3)),
    ("ij->", (2, 3)),
    ("->", ()),
    (",->", (), ()),
    ("i,j", (2,), (3,)),
    ("i,i->i", (2,), (2,)),
    ("ij,k->i", (2, 3), (4,)),
    ("ij,ij->j", (0, 3), (0, 3)),
    ("...ij,...jk", (2, 3, 4), (4, 5)),
    ("...ij,...jk", (2, 1, 3, 4), (5, 4, 2)),
    ("...,...", (2, 3), (3,)),
    ("i...,...i", (2, 3), (3, 2)),
    ("...i->...", (2, 3)),
    ("ij,jk->ik", (2, 1), (3, 4)),
    (" i j , j k -> i k ", (2, 3), (3, 4)),
    ("ii,ij->j", (3, 3), (3, 2)),
    ("ij,jk,kl", (2, 3), (3, 4), (4, 5)),
    ("ij,jk,ik->", (2, 3), (3, 4), (2, 4)),
    ("a,b,c", (2,), (3,), (2,)),
    ("ab,cd,ef,ba->dcf", (2, 3), (2, 2), (2, 2), (3, 2)),
    ("a,ab,abc,ab,b,a->c", (2,), (2, 3), (2, 3, 2), (2, 3), (3,), (2,)),
]


@pytest.mark.parametrize(("spec", "shapes"), [(spec, shapes) for spec, *shapes in EINSUMS])
def test_einsum_agrees_with_numpy(spec: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = draw(*shapes)
    tensors = placeholders(arrays)
    result = gx.einsum(spec, *tensors)
    feeds = dict(zip(tensors, arrays, strict=True))
    expected = np.einsum(spec, *arrays)
    assert result.shape == expected.shape
    np.testing.assert_allclose(gx.evaluate(result, feeds), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(evaluate_lowered(result, feeds), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "spec", ["ij,jk->ik", "bij,bkj->bki", "iij,jk->ki", "ij,jk,kl->il", "ij,j->", "i,j->ij"]
)
def test_einsum_gradients(spec: str) -> None:
    sizes = {"b": 2, "i": 3, "j": 2, "k": 3, "l": 2}
    shapes = [tuple(sizes[c] for c in term) for term in spec.split("->")[0].split(",")]
    arrays = draw(*shapes)
    gx.check_gradients(lambda *xs: (gx.einsum(spec, *xs) ** 2).sum(), arrays)


def test_einsum_keeps_integer_dtypes() -> None:
    a = np.arange(6, dtype=np.int8).reshape(2, 3)
    found = gx.einsum("ij->i", a)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(gx.evaluate(found), a.sum(axis=1))
    assert gx.einsum("ij,ij->i", a, a.astype(np.int16)).dtype == np.int16


def test_einsum_with_symbolic_sizes() -> None:
    x = gx.placeholder("x", ("batch", "time", 3), "float64")
    w = gx.placeholder("w", (3, 4), "float64")
    result = gx.einsum("btc,cd,btd->bt", x, w, gx.einsum("btc,cd->btd", x, w))
    a, b = draw((2, 5, 3), (3, 4))
    assert result.shape == x.shape[:2]
    np.testing.assert_allclose(gx.evaluate(result, {x: a, w: b}), ((a @ b) ** 2).sum(-1), rtol=1e-12)


def test_a_product_without_inner_labels_is_elementwise() -> None:
    a, b = placeholders(draw((2,), (3,)))
    assert "contract" not in op_names(gx.einsum("i,j->ij", a, b))


def test_operands_are_exchanged_rather_than_the_result_permuted() -> None:
    a, b = placeholders(draw((2, 3), (3, 4)))
    assert op_names(gx.einsum("ij,jk->ki", a, b)) == ["contract"]


EINSUM_ERRORS = [
    ("ij,jk->ik", [ONES((2, 3)), ONES((4, 5))], ShapeError, "sizes of 'j' differ"),
    ("...i,...i", [ONES((2, 3)), ONES((4, 3))], ShapeError, "ellipsis"),
    ("ijk->i", [ONES((2, 3))], ShapeError, "3 labels"),
    ("i->i", [ONES((2, 3))], ShapeError, "1 labels"),
    ("ii->i", [ONES((2, 3))], ShapeError, "diagonal"),
    ("ij,j->i", [ONES((2, 2), bool), ONES(2, bool)], DTypeError, "bool"),
    ("ij,jk->ik", [ONES((2, 3))], ArgumentError, "wrong number of operands"),
    ("ij->ik", [ONES((2, 3))], ArgumentError, "'k' of the result"),
    ("ij->ii", [ONES((2, 3))], ArgumentError, "twice"),
    ("i1->i", [ONES((2, 3))], ArgumentError, "'1'"),
    ("i->i->i", [ONES(2)], ArgumentError, "more than one '->'"),
    ("i.->i", [ONES((2, 3))], ArgumentError, "no ellipsis"),
    ("......", [ONES((2, 3))], ArgumentError, "no ellipsis"),
    ("...i->i", [ONES((2, 3))], ArgumentError, "drops the axes"),
    (3, [ONES((2, 3))], ArgumentError, "the subscripts come first"),
]


@pytest.mark.parametrize(("spec", "operands", "error", "match"), EINSUM_ERRORS)
def test_einsum_errors(spec: Any, operands: list[Array], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        gx.einsum(spec, *operands)


# ------------------------------------------------------- products and gradients
def test_outer_vecdot_and_tensordot_agree_with_numpy() -> None:
    a, b, c = draw((2, 3), (4, 3), (3, 4, 2))
    np.testing.assert_allclose(gx.evaluate(gx.outer(a, b)), np.outer(a, b))
    np.testing.assert_allclose(gx.evaluate(gx.vecdot(a, b[0])), a @ b[0])
    np.testing.assert_allclose(gx.evaluate(gx.vecdot(a, b[:2], axis=-2)), (a * b[:2]).sum(axis=0))
    np.testing.assert_allclose(gx.evaluate(gx.tensordot(a, c, 1)), np.tensordot(a, c, 1))
    np.testing.assert_allclose(gx.evaluate(gx.tensordot(a, b[0], 0)), np.tensordot(a, b[0], 0))
    axes = ([0, -1], [2, 0])
    np.testing.assert_allclose(gx.evaluate(gx.tensordot(a, c, axes)), np.tensordot(a, c, axes))


def test_vecdot_keeps_integer_dtypes() -> None:
    a = np.array([100, 2], np.int8)
    found = gx.vecdot(a, a)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(gx.evaluate(found), np.vecdot(a, a) if hasattr(np, "vecdot") else 20)


PRODUCT_ERRORS = [
    (lambda: gx.vecdot(ONES((2, 3)), ONES(2)), ShapeError, "sizes of the axis differ"),
    (lambda: gx.vecdot(ONES((2, 3)), ONES((2, 3)), axis=0), ArgumentError, "bad axis"),
    (lambda: gx.tensordot(ONES((2, 3)), ONES((2, 3)), 1), ShapeError, "differ in size"),
    (lambda: gx.tensordot(ONES((2, 3)), ONES(3), 2), ArgumentError, "bad axes"),
    (lambda: gx.tensordot(ONES((2, 3)), ONES((2, 3)), ([0, 0], [0, 1])), ArgumentError, "bad axes"),
    (lambda: gx.tensordot(ONES((2, 3)), ONES((2, 3)), ([0], [5])), ArgumentError, "bad axes"),
    (lambda: gx.outer(ONES(2, bool), ONES(2, bool)), DTypeError, "bool"),
]


@pytest.mark.parametrize(("build", "error", "match"), PRODUCT_ERRORS)
def test_product_errors(build: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        build()


def test_the_gradient_of_a_shared_matrix_is_summed_inside_the_contraction() -> None:
    x = gx.placeholder("x", ("batch", 5, 3), "float64")
    w = gx.placeholder("w", (3, 4), "float64")
    dx, dw = gx.grad((x @ w).sum(), [x, w])
    assert dw.shape == (3, 4)
    assert "contract" in op_names(dw)
    assert "sum" not in op_names(dw)[op_names(dw).index("contract") :]
    a, b = draw((2, 5, 3), (3, 4))
    np.testing.assert_allclose(gx.evaluate(dw, {x: a, w: b}), a.sum(axis=(0, 1))[:, None].repeat(4, 1))
    np.testing.assert_allclose(gx.evaluate(dx, {x: a, w: b}), np.broadcast_to(b.sum(axis=1), a.shape))


# ---------------------------------------------------------------- convolutions
@pytest.mark.parametrize("size", [1, 2, 5, 6])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_same_padding_gives_the_size_divided_by_the_stride(size: int, stride: int, kernel: int) -> None:
    x = gx.placeholder("x", ("n", 2, "length"), "float64")
    a, w = draw((2, 2, size), (3, 2, kernel))
    symbolic = gx.evaluate(gx.conv1d(x, w, stride=stride, padding="same"), {x: a})
    assert symbolic.shape == (2, 3, math.ceil(size / stride))
    fixed = gx.conv1d(a, w, stride=stride, padding="same")
    assert fixed.shape == symbolic.shape
    np.testing.assert_array_equal(gx.evaluate(fixed), symbolic)
    np.testing.assert_array_equal(
        gx.evaluate(gx.max_pool1d(a, kernel, stride, "same")).shape[2:], symbolic.shape[2:]
    )


def test_symbolic_spatial_sizes_stay_readable() -> None:
    x = gx.placeholder("x", ("n", 2, "h"), "float64")
    w = ONES((3, 2, 3))
    assert gx.conv1d(x, w, padding=1).shape[2] == x.shape[2]
    assert gx.conv1d(x, w, padding="same").shape[2] == x.shape[2]
    assert (
        gx.conv_transpose1d(x, ONES((2, 3, 3)), stride=2, padding=1, output_padding=1).shape[2]
        == 2 * x.shape[2]
    )


@pytest.mark.parametrize(
    ("stride", "dilation", "output_padding"),
    [(1, 1, 0), (2, 1, 0), (2, 1, 1), (3, 1, 2), (1, 3, 0), (1, 3, 2), (2, 3, 2), (3, 3, 1)],
)
def test_transposed_convolution_is_the_transpose(stride: int, dilation: int, output_padding: int) -> None:
    y, w = draw((1, 2, 4), (2, 3, 2))
    kwargs: dict[str, Any] = {"stride": stride, "dilation": dilation}
    found = gx.evaluate(gx.conv_transpose1d(y, w, padding=1, output_padding=output_padding, **kwargs))
    full = np.zeros((1, 3, 3 * stride + dilation + 1 + output_padding))
    for o, c, t, q in np.ndindex(2, 3, 2, 4):
        full[0, c, q * stride + t * dilation] += y[0, o, q] * w[o, c, t]
    np.testing.assert_allclose(found, full[:, :, 1 : full.shape[2] - 1], rtol=1e-12)


def test_a_kernel_too_large_for_a_symbolic_size_is_found_at_the_call() -> None:
    x = gx.placeholder("x", ("n", 1, "h"), "float64")
    result = gx.conv1d(x, ONES((1, 1, 4)))
    assert gx.evaluate(result, {x: ONES((1, 1, 4))}).shape == (1, 1, 1)
    with pytest.raises(ShapeError, match="larger than the padded input"):
        gx.evaluate(result, {x: ONES((1, 1, 3))})


@pytest.mark.parametrize("order", [1, 2])
def test_convolution_gradients_of_both_orders(order: int) -> None:
    x, w = draw((2, 4, 5, 4), (4, 2, 3, 2))

    def loss(a: gx.Tensor, b: gx.Tensor) -> gx.Tensor:
        y = gx.conv2d(a, b, stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2), groups=2)
        value = (y * y).sum()
        if order == 1:
            return value
        da, db = gx.grad(value, [a, b])
        total: gx.Tensor = (da * da).sum() + (db * db * db).sum()
        return total

    gx.check_gradients(loss, [x, w])


# --------------------------------------------------------------------- pooling
@pytest.mark.parametrize("size", [3, 4, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("padding", [0, 1])
def test_ceil_mode_takes_windows_that_begin_inside(size: int, stride: int, padding: int) -> None:
    x = gx.placeholder("x", ("n", 2, "length"), "float64")
    (a,) = draw((2, 2, size))
    count = math.ceil((size + 2 * padding - 3) / stride) + 1
    count -= (count - 1) * stride >= size + padding
    padded = np.pad(a, ((0, 0), (0, 0), (padding, padding)))
    windows = [slice(i * stride, i * stride + 3) for i in range(count)]
    found = gx.evaluate(gx.avg_pool1d(x, 3, stride, padding, ceil_mode=True), {x: a})
    np.testing.assert_allclose(
        found, np.stack([padded[:, :, w].mean(axis=2) for w in windows], 2), rtol=1e-12
    )
    masked = np.pad(a, ((0, 0), (0, 0), (padding, padding)), constant_values=-np.inf)
    largest = gx.evaluate(gx.max_pool1d(x, 3, stride, padding, ceil_mode=True), {x: a})
    np.testing.assert_array_equal(largest, np.stack([masked[:, :, w].max(axis=2) for w in windows], 2))


def test_the_first_of_equal_elements_takes_the_gradient() -> None:
    x = gx.placeholder("x", (1, 1, 4), "float64")
    found = gx.evaluate(gx.grad(gx.max_pool1d(x, 2).sum(), x), {x: np.array([[[3.0, 3.0, 1.0, 2.0]]])})
    np.testing.assert_array_equal(found, [[[1.0, 0.0, 0.0, 1.0]]])


@pytest.mark.parametrize("pool", [gx.max_pool2d, gx.avg_pool2d])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_pooling_gradients_of_both_orders(pool: Any, stride: int) -> None:
    x = np.random.default_rng(3).permutation(2 * 5 * 6).reshape(1, 2, 5, 6) / 10.0

    def second(t: gx.Tensor) -> gx.Tensor:
        y = pool(t, (3, 2), stride, ((1, 1), (0, 1)))
        (dx,) = gx.grad((y * y * y).sum(), [t])
        total: gx.Tensor = (dx * dx).sum()
        return total

    gx.check_gradients(second, [x])


def test_windows_that_do_not_overlap_need_no_loop_in_their_adjoint() -> None:
    x = gx.placeholder("x", ("n", 2, 8, 8), "float64")
    (dx,) = gx.grad(gx.avg_pool2d(x, 2).sum(), [x])
    (a,) = draw((3, 2, 8, 8))
    np.testing.assert_allclose(evaluate_lowered(dx, {x: a}), np.full(a.shape, 0.25))


def test_global_pooling_keeps_the_spatial_axes() -> None:
    (a,) = draw((2, 3, 4, 5))
    np.testing.assert_allclose(gx.evaluate(gx.global_avg_pool(a)), a.mean(axis=(2, 3), keepdims=True))
    np.testing.assert_array_equal(gx.evaluate(gx.global_max_pool(a)), a.max(axis=(2, 3), keepdims=True))


@pytest.mark.parametrize(
    "shapes", [((4,), (4,)), ((2, 3, 4), (2, 4, 5)), ((3, 4), (4,)), ((4,), (2, 4, 5)), ((3,), ())]
)
def test_dot_is_numpys(shapes):
    a, b = (np.random.default_rng(0).normal(size=s) for s in shapes)
    np.testing.assert_allclose(gx.evaluate(gx.constant(a).dot(b)), np.dot(a, b), rtol=1e-12)
