"""Sorting: argsort, sort, top_k.

Only positions are sorted; values follow by `take_along_axis`, whose gradient sends each
cotangent back to where the value came from.  NaN counts as the largest value: last in
ascending order, as NumPy has it, and first in descending order and in `top_k`, which
therefore agrees with `max`.  Equal elements always keep their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from graphc import dims, ops
from graphc.errors import ArgumentError, IndexRangeError, ShapeError, caller
from graphc.lower.rules import Loop, LoopBody, LoopSite
from graphc.ops.attributes import AXIS, FLAG, at_least
from graphc.ops.axes import is_int, normalize_axis
from graphc.ops.batching import batch_by, next_axis
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, INT64, NUMERIC, UINT8, DType, TensorType, is_float

__all__ = ["argsort", "sort", "top_k"]

Array = np.ndarray[Any, Any]


# ----------------------------------------------------------------- public face
def argsort(x: TensorLike, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the positions that sort `x` along an axis.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int, default -1
        Axis to sort along.
    descending : bool, default False
        Largest first.
    stable : bool, default True
        Equal elements keep their order; they do so in any case.

    Returns
    -------
    Tensor of int64

    Raises
    ------
    ArgumentError
        If the axis does not exist.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.argsort(gx.constant([30, 10, 20])))
    array([1, 2, 0])
    """
    t = _sortable(x)
    return _ARGSORT(t, axis=normalize_axis(axis, t.ndim, "argsort"), descending=bool(descending))


def sort(x: TensorLike, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Sort along an axis; NaN counts as the largest value.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int, default -1
        Axis to sort along.
    descending : bool, default False
        Largest first.
    stable : bool, default True
        Equal elements keep their order; they do so in any case.

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
    >>> gx.evaluate(gx.sort(gx.constant([30, 10, 20])))
    array([10, 20, 30])
    """
    t = as_tensor(x)
    along = normalize_axis(axis, t.ndim, "sort")
    return _follow(t, argsort(t, along, descending), along)


def top_k(x: TensorLike, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Find the `k` largest elements along an axis, largest first; NaN counts as the largest.

    Parameters
    ----------
    x : array_like
        Operand.
    k : int
        How many; at most the size of the axis.
    axis : int, default -1
        Axis to search along.

    Returns
    -------
    values : Tensor
        Of the dtype of `x`, the axis having size `k`.
    indices : Tensor of int64
        Their positions; of equal elements the first ones.

    Raises
    ------
    ArgumentError
        If the axis does not exist or `k` is not an int of 0 or more.
    ShapeError
        If the axis has fewer than `k` elements.  For a symbolic axis this is an
        `IndexRangeError` when the program runs.

    Examples
    --------
    >>> import graphc as gx
    >>> values, indices = gx.top_k(gx.constant([30, 10, 20]), 2)
    >>> gx.evaluate([values, indices])
    [array([30, 20]), array([0, 2])]
    """
    t = as_tensor(x)
    along = normalize_axis(axis, t.ndim, "top_k")
    if not is_int(k) or k < 0:
        raise ArgumentError("top_k: bad k", expected="an int of 0 or more", given=repr(k), where=caller())
    indices = _TOP_K(_sortable(t), axis=along, k=int(k))
    return _follow(t, indices, along), indices


def _sortable(x: TensorLike) -> Tensor:
    t = as_tensor(x)
    return astype(t, UINT8) if t.dtype == BOOL else t


def _follow(values: Tensor, order: Tensor, axis: int) -> Tensor:
    return ops.take_along_axis(values, order, axis)


# --------------------------------------------------------------------- argsort
def _argsort_rule(ctx: Infer, x: TensorType, axis: int, descending: bool) -> TensorType:
    ctx.dtype_in(x.dtype, NUMERIC)
    return TensorType(x.shape, INT64)


def _argsort_numpy(x: Array, axis: int, descending: bool) -> Any:
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    # Sorting the mirrored row and mirroring back keeps equal elements in order.
    mirrored = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - mirrored, axis)


def _precedes(x: str, y: str, dtype: DType, descending: bool) -> str:
    """Return source for "x comes strictly before y"; comparisons with NaN are false."""
    ordered = f"{x} > {y}" if descending else f"{x} < {y}"
    if not is_float(dtype):
        return ordered
    first, last = (x, y) if descending else (y, x)
    return f"{ordered} or ({first} != {first} and {last} == {last})"


def _row_geometry(site: LoopSite) -> tuple[str, str, str]:
    """Return source for the sizes before, along and after the sorted axis."""
    axis, shape = site.attrs["axis"], site.inputs[0].shape
    before, after = dims.product(shape[:axis]), dims.product(shape[axis + 1 :])
    return site.size(before), site.size(shape[axis]), site.size(after)


def _argsort_loop(site: LoopSite) -> LoopBody:
    outer, n, inner = _row_geometry(site)
    test = _precedes("right", "left", site.inputs[0].dtype, site.attrs["descending"])
    # Bottom-up merge sort: runs of doubling width, from scratch0 into scratch1 and back.
    lines = f"""
for column in range({inner}):
    for block in range({outer}):
        base = block * {n} * {inner} + column
        for i in range({n}):
            scratch0[i] = i
        width = 1
        while width < {n}:
            for start in range(0, {n}, 2 * width):
                middle = min(start + width, {n})
                stop = min(start + 2 * width, {n})
                a = start
                b = middle
                for i in range(start, stop):
                    take_right = a >= middle
                    if a < middle and b < stop:
                        left = in0[base + scratch0[a] * {inner}]
                        right = in0[base + scratch0[b] * {inner}]
                        take_right = {test}
                    if take_right:
                        scratch1[i] = scratch0[b]
                        b += 1
                    else:
                        scratch1[i] = scratch0[a]
                        a += 1
            for i in range({n}):
                scratch0[i] = scratch1[i]
            width *= 2
        for i in range({n}):
            out[base + i * {inner}] = scratch0[i]
"""
    size = site.inputs[0].shape[site.attrs["axis"]]
    return LoopBody(_lines(lines), ((INT64, size), (INT64, size)))


def _lines(source: str) -> tuple[str, ...]:
    return tuple(line for line in source.splitlines() if line)


def _order_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(3, 7, 2))
    for axis in (-1, 1, 0):
        yield Sample((x,), {"axis": axis}, expected=np.argsort(x, axis=axis, kind="stable"))
    ties = np.array([[2.0, 1.0, 2.0, 1.0, 2.0], [-0.0, 0.0, -0.0, 0.0, 0.0]])
    yield Sample((ties,), {}, expected=np.array([[1, 3, 0, 2, 4], [0, 1, 2, 3, 4]]))
    yield Sample((ties,), {"descending": True}, expected=np.array([[0, 2, 4, 1, 3], [0, 1, 2, 3, 4]]))
    special = np.array([np.nan, 1.0, np.inf, np.nan, -np.inf])
    yield Sample((special,), {}, expected=np.array([4, 1, 2, 0, 3]))
    yield Sample((special,), {"descending": True}, expected=np.array([0, 3, 2, 1, 4]))
    for shape in ((1,), (0, 3), (3, 0), (3, 1)):
        order = np.broadcast_to(np.arange(shape[-1]), shape)
        yield Sample((np.ones(shape),), {"axis": -1}, expected=order)
    yield Sample((np.array([True, False, True]),), {}, expected=np.array([1, 0, 2]))


def _sort_errors(function: Callable[..., Any]) -> Callable[[], Iterable[ErrorSample]]:
    return lambda: (
        ErrorSample(lambda: function(np.ones((2, 3)), axis=2), ArgumentError, "out of range"),
        ErrorSample(lambda: function(np.ones((2, 3)), axis=None), ArgumentError, "bad axis"),
        ErrorSample(lambda: function(np.array(1.0)), ArgumentError, "out of range"),
    )


_ARGSORT = Op(
    "argsort",
    _argsort_rule,
    _argsort_numpy,
    Loop(_argsort_loop),
    attributes={"axis": AXIS, "descending": FLAG},
    batch=batch_by(axis=next_axis),
    api=argsort,
    samples=_order_samples,
    errors=lambda: (*_sort_errors(argsort)(), *_sort_errors(sort)()),
    dtypes=NUMERIC,
    cost=16,
)


# ----------------------------------------------------------------------- top_k
def _top_k_rule(ctx: Infer, x: TensorType, axis: int, k: int) -> TensorType:
    ctx.dtype_in(x.dtype, NUMERIC)
    size = x.shape[axis]
    if isinstance(size, int) and k > size:
        ctx.shape_error("the axis has fewer than k elements", f"k of at most {size}", k)
    return TensorType((*x.shape[:axis], k, *x.shape[axis + 1 :]), INT64)


def _top_k_numpy(x: Array, axis: int, k: int) -> Any:
    if k > x.shape[axis]:
        raise IndexRangeError(
            "top_k: the axis has fewer than k elements", expected=f"at least {k}", given=str(x.shape[axis])
        )
    return np.take(_argsort_numpy(x, axis, True), range(k), axis=axis)


def _top_k_loop(site: LoopSite) -> LoopBody:
    outer, n, inner = _row_geometry(site)
    k, dtype = site.attrs["k"], site.inputs[0].dtype
    if k == 0:
        return LoopBody(("pass",))

    def better(a: str, b: str) -> tuple[str, str]:
        """Source that loads the elements at two positions, and that compares them."""
        load = f"x = in0[base + {a} * {inner}]; y = in0[base + {b} * {inner}]"
        larger, smaller = _precedes("x", "y", dtype, True), _precedes("y", "x", dtype, True)
        # Of equals the first is better: a total order, so the heap needs no stability.
        return load, f"{larger} or (not ({smaller}) and {a} < {b})"

    load_parent, parent_is_better = better("scratch0[parent]", "item")
    load_children, sibling_is_worse = better("scratch0[child]", "scratch0[child + 1]")
    load_child, item_is_better = better("item", "scratch0[child]")
    load_root, item_enters = better("item", "scratch0[0]")

    def sift_down(limit: object, depth: int) -> str:
        source = f"""
hole = 0
child = 1
while child < {limit}:
    if child + 1 < {limit}:
        {load_children}
        if {sibling_is_worse}:
            child += 1
    {load_child}
    if not ({item_is_better}):
        break
    scratch0[hole] = scratch0[child]
    hole = child
    child = 2 * hole + 1
scratch0[hole] = item"""
        return source.replace("\n", "\n" + "    " * depth)

    # A heap of the k best so far, its root the worst of them; then it is emptied from the back.
    lines = f"""
enough = {n} >= {k}
if not enough:
    {site.fail()}
for column in range({inner} if enough else 0):
    for block in range({outer}):
        base = block * {n} * {inner} + column
        target = block * {k} * {inner} + column
        for item in range({k}):
            hole = item
            while hole > 0:
                parent = (hole - 1) // 2
                {load_parent}
                if not ({parent_is_better}):
                    break
                scratch0[hole] = scratch0[parent]
                hole = parent
            scratch0[hole] = item
        for item in range({k}, {n}):
            {load_root}
            if {item_enters}:{sift_down(k, 4)}
        for rest in range({k} - 1, -1, -1):
            out[target + rest * {inner}] = scratch0[0]
            item = scratch0[rest]{sift_down("rest", 3)}
for i in range(0 if enough else {outer} * {k} * {inner}):
    out[i] = 0
"""
    return LoopBody(_lines(lines), ((INT64, k),))


def _top_k_samples() -> Iterable[Sample]:
    x = np.random.default_rng(10).normal(size=(3, 9, 2))
    for k, axis in ((1, -1), (2, 2), (4, 1), (9, 1), (0, 0), (3, 0)):
        order = np.argsort(-x, axis=axis, kind="stable")
        values = np.take_along_axis(x, np.take(order, range(k), axis), axis)
        yield Sample((x,), {"k": k, "axis": axis}, expected=values, call=_values)
        yield Sample((x,), {"k": k, "axis": axis}, expected=np.take(order, range(k), axis), call=_positions)
    special = np.array([[1.0, np.nan, np.inf, 1.0, np.nan], [2.0, 2.0, 3.0, 2.0, -np.inf]])
    expected = np.array([[1, 4, 2, 0], [2, 0, 1, 3]])
    yield Sample((special,), {"k": 4}, expected=expected, call=_positions)
    yield Sample((np.array([3, 1, 3, 2]),), {"k": 3}, expected=np.array([0, 2, 3]), call=_positions)


def _values(x: Tensor, **kwargs: Any) -> Tensor:
    return top_k(x, **kwargs)[0]


def _positions(x: Tensor, **kwargs: Any) -> Tensor:
    return top_k(x, **kwargs)[1]


_TOP_K = Op(
    "top_k",
    _top_k_rule,
    _top_k_numpy,
    Loop(_top_k_loop),
    attributes={"axis": AXIS, "k": at_least(0)},
    batch=batch_by(axis=next_axis),
    api=top_k,
    samples=_top_k_samples,
    errors=lambda: (
        ErrorSample(lambda: top_k(np.ones((2, 3)), 1, axis=2), ArgumentError, "out of range"),
        ErrorSample(lambda: top_k(np.ones((2, 3)), -1), ArgumentError, "bad k"),
        ErrorSample(lambda: top_k(np.ones((2, 3)), cast("Any", 1.5)), ArgumentError, "bad k"),
        ErrorSample(lambda: top_k(np.ones((2, 3)), 4), ShapeError, "fewer than k"),
    ),
    dtypes=NUMERIC,
    cost=8,
)
