"""Running sums and products along an axis, and the linear recurrence beneath their gradients.

Everything here is a special case of ``y[i] = a[i] * y[i - 1] + b[i]``.  The recurrence's
gradient is the same recurrence run backwards, so derivatives of any order exist and stay
exact where elements are zero.  float32 accumulates in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import dims, ops
from graphc.errors import ArgumentError
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Loop, LoopBody, LoopSite, Map, Site
from graphc.ops.attributes import AXIS, FLAG, INTEGER, Attributes, number_of
from graphc.ops.axes import normalize_axis
from graphc.ops.batching import batch_by, next_axis
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT64, FLOATS, INT64, DType, TensorType, is_float

__all__ = ["cumulative_prod", "cumulative_sum"]

Array = np.ndarray[Any, Any]


# --------------------------------------------------------------- shared by all
def _accumulator(dtype: DType) -> DType:
    return FLOAT64 if is_float(dtype) else INT64


def _running_rule(ctx: Infer, x: TensorType, axis: int, reverse: bool) -> TensorType:
    return TensorType(x.shape, x.dtype if is_float(x.dtype) else INT64)


def _running_numpy(meaning: Callable[..., Any]) -> Callable[..., Any]:
    def numpy(x: Array, axis: int, reverse: bool) -> Any:
        ahead = np.flip(x, axis) if reverse else x
        found = meaning(ahead, axis=axis, dtype=_accumulator(x.dtype))
        found = found.astype(x.dtype if is_float(x.dtype) else INT64)
        return np.flip(found, axis) if reverse else found

    return numpy


def _running_loop(start: int, step: str) -> Loop:
    """Return the loop that replaces an accumulator by `step` at every element.

    `step` may name the accumulator ``acc``, and the position ``p`` in the operands
    through ``wide(in0[p])``, where ``wide`` converts to the accumulator's dtype.
    """

    def fn(site: LoopSite) -> LoopBody:
        axis, shape = site.attrs["axis"], site.type.shape
        inner = dims.product(shape[axis + 1 :])
        outer, length, inside = (site.size(d) for d in (dims.product(shape[:axis]), shape[axis], inner))
        wide = "f64" if is_float(site.type.dtype) else "i64"
        narrow = "f32" if site.type.dtype == np.float32 else wide
        # The accumulators of neighbouring columns advance together: the inner loop vectorizes.
        update = step.replace("acc", "scratch0[i]").replace("wide", wide)
        lines = (
            f"for o in range({outer}):",
            f"    for i in range({inside}):",
            f"        scratch0[i] = {wide}({start})",
            f"    for j in range({length}):",
            f"        k = {f'{length} - 1 - j' if site.attrs['reverse'] else 'j'}",
            f"        for i in range({inside}):",
            f"            p = (o * {length} + k) * {inside} + i",
            f"            scratch0[i] = {update}",
            f"            out[p] = {narrow}(scratch0[i])",
        )
        return LoopBody(lines, ((_accumulator(site.type.dtype), inner),))

    return Loop(fn)


def _prepare(x: TensorLike, axis: int | None, owner: str) -> tuple[Tensor, int]:
    t = as_tensor(x)
    return (ops.reshape(t, (-1,)), 0) if axis is None else (t, normalize_axis(axis, t.ndim, owner))


def _with_initial(running: Tensor, value: int, axis: int, reverse: bool, owner: Tensor) -> Tensor:
    edge = tuple(1 if a == axis else d for a, d in enumerate(owner.shape))
    initial = ops.broadcast_to(as_tensor(value, running.dtype), edge)
    return ops.concat([running, initial] if reverse else [initial, running], axis=axis)


# ------------------------------------------------------- cumulative sum and product
def cumulative_sum(
    x: TensorLike, axis: int | None = None, include_initial: bool = False, reverse: bool = False
) -> Tensor:
    """Sum up to and including every element along an axis.

    Parameters
    ----------
    x : array_like
        Operand; integers and bools are summed as int64.
    axis : int, optional
        Axis to sum along; by default the flattened operand.
    include_initial : bool, default False
        Put the empty sum first, so that the axis grows by one.
    reverse : bool, default False
        Sum from the end: every element with those after it.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If the axis does not exist.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.cumulative_sum(gx.constant([1, 2, 3])))
    array([1, 3, 6])
    """
    t, along = _prepare(x, axis, "cumulative_sum")
    running = _SUM(t, axis=along, reverse=bool(reverse))
    return _with_initial(running, 0, along, reverse, t) if include_initial else running


def cumulative_prod(
    x: TensorLike, axis: int | None = None, include_initial: bool = False, reverse: bool = False
) -> Tensor:
    """Multiply up to and including every element along an axis.

    Parameters
    ----------
    x : array_like
        Operand; integers and bools are multiplied as int64.
    axis : int, optional
        Axis to multiply along; by default the flattened operand.
    include_initial : bool, default False
        Put the empty product first, so that the axis grows by one.
    reverse : bool, default False
        Multiply from the end: every element with those after it.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If the axis does not exist.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.cumulative_prod(gx.constant([1, 2, 3, 4])))
    array([ 1,  2,  6, 24])
    """
    t, along = _prepare(x, axis, "cumulative_prod")
    running = _PROD(t, axis=along, reverse=bool(reverse))
    return _with_initial(running, 1, along, reverse, t) if include_initial else running


def _sum_gradient(g: Tensor, out: Tensor, x: Tensor, axis: int, reverse: bool) -> Gradients:
    return [_SUM(g, axis=axis, reverse=not reverse) if is_float(x.dtype) else None]


def _prod_gradient(g: Tensor, out: Tensor, x: Tensor, axis: int, reverse: bool) -> Gradients:
    if not is_float(x.dtype):
        return [None]
    step = -1 if reverse else 1
    before = _shift(out, axis, step, 1)
    return [before * _SCAN(_shift(x, axis, -step, 0), g, axis=axis, reverse=not reverse)]


def product_of_others(x: Tensor, axis: int) -> Tensor:
    """Return, for every element, the product of the others along an axis."""
    before = _shift(cumulative_prod(x, axis), axis, 1, 1)
    return before * _shift(cumulative_prod(x, axis, reverse=True), axis, -1, 1)


def _running_samples(meaning: Callable[..., Any], initial: float) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        x = np.random.default_rng(4).uniform(0.5, 1.5, (2, 5, 3))
        x[0, 1, 0] = x[0, 3, 0] = x[1, 2, 1] = 0.0
        for axis in (1, -1, 0):
            yield Sample((x,), {"axis": axis}, expected=meaning(x, axis=axis))
        yield Sample((x,), {}, expected=meaning(x.ravel()))
        backwards = np.flip(meaning(np.flip(x, 1), axis=1), 1)
        yield Sample((x,), {"axis": 1, "reverse": True}, expected=backwards)
        first = np.full((2, 1, 3), initial)
        ahead = np.concatenate([first, meaning(x, axis=1)], 1)
        yield Sample((x,), {"axis": 1, "include_initial": True}, expected=ahead)
        behind = np.concatenate([backwards, first], 1)
        yield Sample((x,), {"axis": 1, "include_initial": True, "reverse": True}, expected=behind)
        for shape in ((1,), (0, 3), (3, 0), (3, 1)):
            y = np.random.default_rng(6).normal(size=shape)
            yield Sample((y,), {"axis": -1}, expected=meaning(y, axis=-1))
        special = np.array([1.0, np.inf, -1.0, np.nan, 2.0])
        yield Sample((special,), {"axis": 0}, expected=meaning(special), differentiable=False)

    return samples


def _running_errors(function: Callable[..., Any]) -> Callable[[], Iterable[ErrorSample]]:
    return lambda: (
        ErrorSample(lambda: function(np.ones((2, 3)), axis=2), ArgumentError, "out of range"),
        ErrorSample(lambda: function(np.ones((2, 3)), axis=(0, 1)), ArgumentError, "bad axis"),
    )


_RUNNING: Attributes = {"axis": AXIS, "reverse": FLAG}

_SUM = Op(
    "cumulative_sum",
    _running_rule,
    _running_numpy(np.cumsum),
    _running_loop(0, "acc + wide(in0[p])"),
    attributes=_RUNNING,
    gradient=_sum_gradient,
    batch=batch_by(axis=next_axis),
    api=cumulative_sum,
    samples=_running_samples(np.cumsum, 0.0),
    errors=_running_errors(cumulative_sum),
)
_PROD = Op(
    "cumulative_prod",
    _running_rule,
    _running_numpy(np.cumprod),
    _running_loop(1, "acc * wide(in0[p])"),
    attributes=_RUNNING,
    gradient=_prod_gradient,
    batch=batch_by(axis=next_axis),
    api=cumulative_prod,
    samples=_running_samples(np.cumprod, 1.0),
    errors=_running_errors(cumulative_prod),
)


# ------------------------------------------------------------ linear recurrence
def _scan_rule(ctx: Infer, a: TensorType, b: TensorType, axis: int, reverse: bool) -> TensorType:
    ctx.dtype_in(b.dtype, FLOATS)
    if a.dtype != b.dtype:
        ctx.dtype_error("factors and terms differ in dtype", b.dtype, a.dtype)
    ctx.rank(a, b.ndim, "factors")
    shape = tuple(
        ctx.same(n, m, "factors and terms differ in size") for n, m in zip(a.shape, b.shape, strict=True)
    )
    return TensorType(shape, b.dtype)


def _scan_numpy(a: Array, b: Array, axis: int, reverse: bool) -> Any:
    out = np.empty(b.shape, FLOAT64)
    rows, factors, terms = (np.moveaxis(v, axis, 0) for v in (out, a, b))
    state = np.zeros(rows.shape[1:], FLOAT64)
    for i in reversed(range(len(rows))) if reverse else range(len(rows)):
        rows[i] = state = factors[i] * state + terms[i]
    return out.astype(b.dtype)


def _scan_gradient(g: Tensor, out: Tensor, a: Tensor, b: Tensor, axis: int, reverse: bool) -> Gradients:
    step = -1 if reverse else 1
    db = _SCAN(_shift(a, axis, -step, 0), g, axis=axis, reverse=not reverse)
    return [db * _shift(out, axis, step, 0), db]


def _scan_samples() -> Iterable[Sample]:
    a, b = np.random.default_rng(8).normal(size=(2, 2, 4, 3))
    expected = np.empty_like(b)
    expected[:, 0] = b[:, 0]
    for i in range(1, 4):
        expected[:, i] = a[:, i] * expected[:, i - 1] + b[:, i]
    yield Sample((a, b), {"axis": 1, "reverse": False}, expected=expected, call=_SCAN)
    flipped = (np.flip(a, 1).copy(), np.flip(b, 1).copy())
    yield Sample(flipped, {"axis": 1, "reverse": True}, expected=np.flip(expected, 1), call=_SCAN)
    yield Sample((a[:, :, :0], b[:, :, :0]), {"axis": 2, "reverse": False}, call=_SCAN)


_SCAN = Op(
    "linear_recurrence",
    _scan_rule,
    _scan_numpy,
    _running_loop(0, "wide(in0[p]) * acc + wide(in1[p])"),
    attributes=_RUNNING,
    gradient=_scan_gradient,
    batch=batch_by(axis=next_axis),
    samples=_scan_samples,
    dtypes=FLOATS,
)


# ------------------------------------------------------------------------ shift
def _shift(x: Tensor, axis: int, offset: int, fill: int) -> Tensor:
    """Move the elements by `offset` along an axis, dropping some and filling the gap."""
    return _SHIFT(x, axis=axis, offset=offset, fill=fill)


def _shift_rule(ctx: Infer, x: TensorType, axis: int, offset: int, fill: int) -> TensorType:
    return x


def _shift_numpy(x: Array, axis: int, offset: int, fill: int) -> Any:
    out = np.full_like(x, fill)
    to, source = np.moveaxis(out, axis, 0), np.moveaxis(x, axis, 0)
    if offset >= 0:
        to[offset:] = source[: max(len(source) - offset, 0)]
    else:
        to[:offset] = source[-offset:]
    return out


def _shift_lower(site: Site, index: Index) -> Expr:
    axis, offset = site.attrs["axis"], site.attrs["offset"]
    source = index[axis] - offset
    limit = expr.size(site.type.shape[axis])
    inside = source >= expr.ZERO if offset >= 0 else source < limit
    moved = site.read(0, (*index[:axis], source, *index[axis + 1 :]))
    return expr.guard(inside, moved, expr.const(site.attrs["fill"], site.type.dtype))


def _shift_gradient(g: Tensor, out: Tensor, x: Tensor, axis: int, offset: int, fill: int) -> Gradients:
    return [_shift(g, axis, -offset, 0) if is_float(x.dtype) else None]


def _shift_samples() -> Iterable[Sample]:
    x = np.arange(6.0).reshape(2, 3) + 1
    ahead, back = np.array([[9.0, 1, 2], [9, 4, 5]]), np.array([[4.0, 5, 6], [0, 0, 0]])
    yield Sample((x,), {"axis": 1, "offset": 1, "fill": 9}, expected=ahead, call=_SHIFT)
    yield Sample((x,), {"axis": 0, "offset": -1, "fill": 0}, expected=back, call=_SHIFT)
    yield Sample((x[:, :1],), {"axis": 1, "offset": 2, "fill": 7}, expected=np.full((2, 1), 7.0), call=_SHIFT)
    yield Sample((x[:0],), {"axis": 0, "offset": -1, "fill": 0}, expected=x[:0], call=_SHIFT)


_SHIFT = Op(
    "shift",
    _shift_rule,
    _shift_numpy,
    Map(_shift_lower),
    attributes={"axis": AXIS, "offset": INTEGER, "fill": number_of(lambda use: use.types[0].dtype)},
    gradient=_shift_gradient,
    batch=batch_by(axis=next_axis),
    samples=_shift_samples,
)
