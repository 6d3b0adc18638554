"""The matrix product."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphc.dims import Dim, Shape
from graphc.errors import DTypeError, ShapeError, caller
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Contract, Contraction, Index, Site
from graphc.ops.attributes import FLAG
from graphc.ops.batching import aligned
from graphc.ops.contraction import Labels, contract_pair
from graphc.ops.elementwise import astype
from graphc.ops.op import Array, ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, promote
from graphc.types import NUMERIC, TensorType

__all__ = ["matmul"]


# ---------------------------------------------------------------------- matmul
def _matrix(shape: Shape, transpose: bool) -> tuple[Dim, Dim]:
    """Return rows and columns of an operand's matrices as the product sees them."""
    return (shape[-1], shape[-2]) if transpose else (shape[-2], shape[-1])


def _matmul_rule(
    ctx: Infer, a: TensorType, b: TensorType, transpose_a: bool, transpose_b: bool
) -> TensorType:
    ctx.dtype_in(a.dtype, NUMERIC, "operand 0")
    ctx.dtype_in(b.dtype, NUMERIC, "operand 1")
    if a.dtype != b.dtype:
        ctx.dtype_error("operands differ in dtype", a.dtype, b.dtype)
    if a.ndim < 2 or b.ndim < 2:
        ctx.shape_error("operands must be matrices or stacks of them", "2 or more dimensions", f"{a} and {b}")
    rows, left = _matrix(a.shape, transpose_a)
    right, cols = _matrix(b.shape, transpose_b)
    if isinstance(left, int) and isinstance(right, int) and left != right:
        ctx.shape_error("inner sizes differ", f"{left} rows in the second operand", f"{a} @ {b}")
    ctx.same(left, right, "inner sizes differ")
    return TensorType((*ctx.broadcast(a.shape[:-2], b.shape[:-2]), rows, cols), a.dtype)


def _matmul_numpy(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> Array:
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(b, -1, -2) if transpose_b else b
    result: Array = np.matmul(left, right)
    return result


def _stretched(shape: Shape, index: Index) -> Index:
    """Return the index into batch axes `shape` that a full batch index reads under broadcasting."""
    aligned = index[len(index) - len(shape) :]
    return tuple(expr.ZERO if d == 1 else i for d, i in zip(shape, aligned, strict=True))


def _shared_axes(batch: Shape, right: Shape) -> int:
    """Return how many leading batch axes stay batch; the right operand lacks all axes after them."""
    own = (1,) * (len(batch) - len(right)) + right
    count = len(batch)
    while count and own[count - 1] == 1:
        count -= 1
    return count


def _matmul_lower(site: Site) -> Contraction:
    a, b = site.inputs
    transpose_a, transpose_b = site.attrs["transpose_a"], site.attrs["transpose_b"]
    batch, (rows, cols) = site.type.shape[:-2], site.type.shape[-2:]
    # Stacked rows times one matrix is a single taller product.
    shared = _shared_axes(batch, b.shape[:-2])
    left, right = _matrix(a.shape, transpose_a)[1], _matrix(b.shape, transpose_b)[0]

    def lhs(n: Index, m: Index, k: Index) -> Expr:
        stack = _stretched(a.shape[:-2], (*n, *m[:-1]))
        return site.read(0, (*stack, *((k[0], m[-1]) if transpose_a else (m[-1], k[0]))))

    def rhs(n: Index, k: Index, c: Index) -> Expr:
        stack = _stretched(b.shape[:-2], (*n, *(expr.ZERO,) * (len(batch) - shared)))
        return site.read(1, (*stack, *((c[0], k[0]) if transpose_b else (k[0], c[0]))))

    inner = left if isinstance(left, int) else right
    return Contraction(batch[:shared], (*batch[shared:], rows), (cols,), (inner,), lhs, rhs, site.type.dtype)


def _matmul_gradient(
    g: Tensor, out: Tensor, a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool
) -> Gradients:
    # With A, B the operands as the product sees them: dA = g @ B^T and dB = A^T @ g,
    # transposed once more where the operand is stored transposed.
    da = _product(b, g, transpose_b, True) if transpose_a else _product(g, b, False, not transpose_b)
    db = _product(g, a, True, transpose_a) if transpose_b else _product(a, g, not transpose_a, False)
    if _fills_stack(a, g) and _fills_stack(b, g):
        return [_shaped(da, a.shape), _shaped(db, b.shape)]
    summed_a, summed_b = _summed_adjoints(g, a, b, transpose_a, transpose_b)
    return [
        _shaped(da if _fills_stack(a, g) else summed_a, a.shape),
        _shaped(db if _fills_stack(b, g) else summed_b, b.shape),
    ]


def _fills_stack(x: Tensor, g: Tensor) -> bool:
    """Tell whether no axis of `x` was stretched to the stack of the product `g`."""
    stretched = (d == 1 and n != 1 for d, n in zip(x.shape[:-2], g.shape[:-2], strict=False))
    return x.ndim == g.ndim and not any(stretched)


def _summed_adjoints(g: Tensor, a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> list[Tensor]:
    """Return both adjoints with the stretched stack axes among the contracted ones, so none is stored."""
    row, col, inner = g.ndim - 2, g.ndim - 1, g.ndim
    of_g = _without_ones(g, g.ndim, (row, col))
    of_a = _without_ones(a, g.ndim, (inner, row) if transpose_a else (row, inner))
    of_b = _without_ones(b, g.ndim, (col, inner) if transpose_b else (inner, col))
    return [contract_pair(*of_g, *of_b, of_a[0]), contract_pair(*of_a, *of_g, of_b[0])]


def _without_ones(x: Tensor, rank: int, matrix: Labels) -> tuple[Labels, Tensor]:
    """Label the axes of `x` like those of the product, dropping stack axes of size 1."""
    stack = [(rank - x.ndim + axis, d) for axis, d in enumerate(x.shape[:-2]) if d != 1]
    shape = (*(d for _, d in stack), *x.shape[-2:])
    return (*(label for label, _ in stack), *matrix), _shaped(x, shape)


def _shaped(x: Tensor, shape: Shape) -> Tensor:
    return x if x.shape == shape else x.reshape(shape)


def _product(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> Tensor:
    return _MATMUL(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def _matmul_batch(size: Dim, batched: tuple[bool, ...], node: Node, a: Tensor, b: Tensor) -> Tensor:
    if batched == (False, True) and node.type.ndim == 2 and node.type.shape[1] == 1:
        # Many vectors times one matrix are one product: the vectors are its rows.
        inner = _matrix(node.inputs[1].type.shape, node.attrs["transpose_b"])[0]
        vectors = b.reshape((size, inner))
        return _product(vectors, a, False, not node.attrs["transpose_a"]).reshape((size, *node.type.shape))
    # Rows of the left operand alone are merged by the lowering.
    return aligned(size, batched, node, a, b)


def _matmul_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(11)
    shapes = [
        ((3, 4), (4, 5)),
        ((1, 1), (1, 1)),
        ((0, 4), (4, 3)),
        ((3, 0), (0, 2)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 5, 1, 3), (2, 1, 3, 2)),
        ((3, 4), (2, 4, 1)),
        ((0, 3, 4), (4, 2)),
        ((4,), (4,)),
        ((4,), (4, 3)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)),
    ]
    for left, right in shapes:
        yield Sample((rng.normal(size=left), rng.normal(size=right)), expected=np.matmul)
    for flags in ((True, False), (False, True), (True, True)):
        a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
        stored = (a.swapaxes(1, 2) if flags[0] else a, b.swapaxes(1, 2) if flags[1] else b)
        kwargs = dict(zip(("transpose_a", "transpose_b"), flags, strict=True))
        yield Sample(stored, kwargs, expected=np.matmul(a, b))
        yield Sample((stored[0][:1], stored[1]), kwargs, expected=np.matmul(a[:1], b))
        yield Sample((stored[0], stored[1][0]), kwargs, expected=np.matmul(a, b[0]))
    for dtype in NUMERIC:
        a, b = (rng.integers(0, 100, s).astype(dtype) for s in ((3, 7), (7, 2)))
        yield Sample((a, b), expected=np.matmul(a, b))
    special = np.array([[np.nan, 1.0], [np.inf, 2.0], [0.0, -0.0]])
    other = np.array([[1.0, 2.0], [-np.inf, 3.0]])
    with np.errstate(invalid="ignore"):
        yield Sample((special, other), expected=np.matmul(special, other), differentiable=False)


def _matmul_errors() -> Iterable[ErrorSample]:
    ones = np.ones
    yield ErrorSample(lambda: matmul(ones((2, 3)), ones((4, 2))), ShapeError, "inner sizes differ")
    yield ErrorSample(lambda: matmul(ones((2, 2, 3)), ones((5, 3, 2))), ShapeError, "broadcast")
    yield ErrorSample(lambda: matmul(2.0, ones((3, 2))), ShapeError, "scalar")
    yield ErrorSample(lambda: matmul(ones((2, 2), bool), ones((2, 2), bool)), DTypeError, "unsupported dtype")


def matmul(x: TensorLike, y: TensorLike, *, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Multiply matrices, as ``x @ y``.

    Parameters
    ----------
    x, y : array_like
        Numeric operands.  Axes before the last two are stacks of matrices and broadcast; a
        vector is a row on the left and a column on the right, and that axis is dropped again.
    transpose_a, transpose_b : bool, default False
        Read the matrices of `x` or `y` transposed; free, unlike a transpose that is stored.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If an operand is a scalar, or the inner sizes or the stacks do not match.
    DTypeError
        If an operand is bool.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.matmul(gx.constant([[1, 2], [3, 4]]), gx.constant([[1], [1]])))
    array([[3],
           [7]])
    """
    (a, b), dtype = promote(x, y)
    if not a.ndim or not b.ndim:
        raise ShapeError(
            "matmul: an operand is a scalar",
            expected="1 or more dimensions (multiply by a scalar with *)",
            given=f"{a.type} and {b.type}",
            where=caller(),
        )
    left = a.reshape((1, a.shape[0])) if a.ndim == 1 else a
    right = b.reshape((b.shape[0], 1)) if b.ndim == 1 else b
    product = _product(
        astype(left, dtype), astype(right, dtype), transpose_a and a.ndim > 1, transpose_b and b.ndim > 1
    )
    if a.ndim > 1 and b.ndim > 1:
        return product
    rows = product.shape[-2:-1] if a.ndim > 1 else ()
    cols = product.shape[-1:] if b.ndim > 1 else ()
    return product.reshape((*product.shape[:-2], *rows, *cols))


_MATMUL = Op(
    "matmul",
    _matmul_rule,
    _matmul_numpy,
    Contract(_matmul_lower),
    attributes={"transpose_a": FLAG, "transpose_b": FLAG},
    gradient=_matmul_gradient,
    batch=_matmul_batch,
    api=matmul,
    samples=_matmul_samples,
    errors=_matmul_errors,
    dtypes=NUMERIC,
    cost=8,
)
