"""How elementwise ops are made: one statement each, through `unary` and `binary`.

Operands of an elementwise node share one dtype; the public function promotes first and
inserts the conversions, so rules, gradients and lowerings see one dtype only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor, promote
from graphc.types import BOOL, DTYPES, FLOAT64, FLOATS, DType, TensorType, is_float

__all__ = ["astype"]

Unary = Callable[[TensorLike], Tensor]
Binary = Callable[[TensorLike, TensorLike], Tensor]
Result = Callable[[DType], DType]


def same(dtype: DType) -> DType:
    """Result dtype rule: that of the operands."""
    return dtype


def boolean(dtype: DType) -> DType:
    """Result dtype rule: bool."""
    return BOOL


def unbroadcast(g: Tensor, like: Tensor) -> Tensor:
    """Sum a cotangent over the axes along which `like` was stretched."""
    from graphc.ops import reshape
    from graphc.ops import sum as sum_

    extra = g.ndim - like.ndim
    axes = [*range(extra)]
    axes += [extra + a for a, d in enumerate(like.shape) if d == 1 and g.shape[extra + a] != 1]
    if not axes:
        return g
    return reshape(sum_(g, axis=tuple(axes), keepdims=True), like.shape)


def elementwise_op(
    name: str,
    numpy: Callable[..., Any],
    scalar: Callable[..., Expr],
    *,
    dtypes: Sequence[DType],
    result: Result,
    gradient: Callable[..., Gradients] | None,
    commutative: bool,
    cost: int,
    samples: Callable[[], Iterable[Sample]],
    errors: Callable[[], Iterable[ErrorSample]],
    api: Callable[..., Tensor] | None = None,
    listed: bool = True,
) -> Op:
    """Make the op of an elementwise function from its NumPy meaning and scalar expression."""

    def infer(ctx: Infer, *types: TensorType) -> TensorType:
        for i, t in enumerate(types):
            ctx.dtype_in(t.dtype, dtypes, f"operand {i}")
        if len({t.dtype for t in types}) > 1:
            ctx.dtype_error("operands differ in dtype", types[0].dtype, types[-1].dtype)
        return TensorType(ctx.broadcast(*(t.shape for t in types)), result(types[0].dtype))

    def lower(site: Site, index: Index) -> Expr:
        value = scalar(*(site.broadcast(k, index) for k in range(len(site.inputs))))
        return expr.cast(value, site.type.dtype)

    def backward(g: Tensor, out: Tensor, *inputs: Tensor) -> Gradients:
        if gradient is None:
            return [None] * len(inputs)
        parts = gradient(g, out, *inputs)
        return [None if p is None else unbroadcast(p, x) for p, x in zip(parts, inputs, strict=True)]

    return Op(
        name,
        infer,
        numpy,
        Map(lower),
        gradient=backward if gradient is not None else None,
        api=api,
        samples=samples,
        errors=errors,
        dtypes=dtypes,
        commutative=commutative,
        cost=cost,
        listed=listed,
    )


def unary(
    name: str,
    numpy: Callable[..., Any],
    scalar: Callable[[Expr], Expr],
    *,
    doc: str,
    dtypes: Sequence[DType] = FLOATS,
    result: Result = same,
    gradient: Callable[..., Gradients] | None = None,
    cost: int = 1,
    samples: Callable[[], Iterable[Sample]] | None = None,
    errors: Callable[[], Iterable[ErrorSample]] = lambda: (),
) -> Unary:
    """Define a function of one tensor; returns the public function.

    Parameters
    ----------
    name : str
        Name of the op and of the public function.
    numpy : callable
        The NumPy meaning.
    scalar : callable
        The same on one `Expr`, whose dtype is one of `dtypes`.
    doc : str
        First line of the docstring; shapes, dtypes and an example are added.
    dtypes : sequence of dtype
        What it takes.  If only floats, other operands are converted to float64 first.
    result : callable
        Result dtype from operand dtype.
    gradient : callable, optional
        ``gradient(g, out, x) -> [dx]``.
    cost : int
        Rough arithmetic per element, in multiplications.
    samples, errors : callable, optional
        See `Op`; by default values inside and outside [-1, 1], zero, NaN and infinities.
    """

    def function(x: TensorLike) -> Tensor:
        return op(_prepare(as_tensor(x), dtypes))

    op = elementwise_op(
        name,
        numpy,
        scalar,
        dtypes=dtypes,
        result=result,
        gradient=gradient,
        commutative=False,
        cost=cost,
        samples=samples or (lambda: default_samples(1, numpy, dtypes)),
        errors=errors,
        api=function,
    )
    return _document(function, name, doc, ("x",), dtypes)


def binary(
    name: str,
    numpy: Callable[..., Any],
    scalar: Callable[[Expr, Expr], Expr],
    *,
    doc: str,
    dtypes: Sequence[DType] = DTYPES,
    result: Result = same,
    gradient: Callable[..., Gradients] | None = None,
    commutative: bool = False,
    cost: int = 1,
    samples: Callable[[], Iterable[Sample]] | None = None,
    errors: Callable[[], Iterable[ErrorSample]] = lambda: (),
) -> Binary:
    """Define a broadcasting function of two tensors; parameters as for `unary`."""

    def function(x: TensorLike, y: TensorLike) -> Tensor:
        (a, b), dtype = promote(x, y)
        target = dtype if dtype in dtypes or not set(dtypes) <= set(FLOATS) else FLOAT64
        return op(astype(a, target), astype(b, target))

    op = elementwise_op(
        name,
        numpy,
        scalar,
        dtypes=dtypes,
        result=result,
        gradient=gradient,
        commutative=commutative,
        cost=cost,
        samples=samples or (lambda: default_samples(2, numpy, dtypes)),
        errors=errors,
        api=function,
    )
    return _document(function, name, doc, ("x", "y"), dtypes)


def _prepare(x: Tensor, dtypes: Sequence[DType]) -> Tensor:
    needs_float = set(dtypes) <= set(FLOATS) and not is_float(x.dtype)
    return astype(x, FLOAT64) if needs_float else x


def _document(function: Any, name: str, doc: str, operands: tuple[str, ...], dtypes: Sequence[DType]) -> Any:
    function.__name__ = function.__qualname__ = name
    listed = "any dtype" if len(dtypes) == len(DTYPES) else ", ".join(map(str, dtypes))
    lines = [doc, "", "Parameters", "----------"]
    lines += [f"{', '.join(operands)} : array_like", f"    Operands ({listed}); they broadcast."]
    lines += ["", "Returns", "-------", "Tensor", "    Of the broadcast shape."]
    function.__doc__ = "\n".join(lines)
    return function


def default_samples(arity: int, meaning: Callable[..., Any], dtypes: Sequence[DType]) -> Iterable[Sample]:
    """Return samples that any elementwise op must survive: shapes 0, 1, odd; special values."""
    rng = np.random.default_rng(7)
    dtype = FLOAT64 if FLOAT64 in dtypes else dtypes[0]

    def draw(*shape: int) -> Any:
        return (rng.uniform(0.1, 0.9, shape) * 3).astype(dtype)

    shapes = [((3, 5), (3, 5)), ((0, 4), (1, 4)), ((1,), (7,)), ((2, 1, 3), (4, 1)), ((), (3,))]
    for left, right in shapes:
        yield Sample((draw(*left), draw(*right))[:arity], expected=meaning)
    if dtype.kind == "f":
        special = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, np.inf, -np.inf, np.nan], dtype)
        pair = (special[:, None], special[None, :]) if arity == 2 else (special,)
        yield Sample(pair, expected=meaning, differentiable=False)


# ------------------------------------------------------------------ conversion
def _astype_rule(ctx: Infer, x: TensorType, dtype: DType) -> TensorType:
    return TensorType(x.shape, dtype)


def _astype_numpy(x: Any, dtype: DType) -> Any:
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def _astype_gradient(g: Tensor, out: Tensor, x: Tensor, dtype: DType) -> Gradients:
    return [astype(g, x.dtype) if is_float(x.dtype) else None]


def _astype_samples() -> Iterable[Sample]:
    for source in DTYPES:
        for target in DTYPES:
            values = np.array([[0, 1, 2], [3, 100, 7]]).astype(source)
            yield Sample((values,), {"dtype": target}, expected=values.astype(target))


def astype(x: TensorLike, dtype: object) -> Tensor:
    """Convert to another dtype, as NumPy's ``astype``.

    Converting a float that does not fit an integer dtype gives an unspecified integer.

    Parameters
    ----------
    x : array_like
        Operand.
    dtype : dtype
        Target.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.astype(gx.constant([1, 2]), "float32")
    <Tensor float32[2]>
    """
    from graphc.types import as_dtype

    t, target = as_tensor(x), as_dtype(dtype)
    return t if t.dtype == target else _ASTYPE(t, dtype=target)


_ASTYPE = Op(
    "astype",
    _astype_rule,
    _astype_numpy,
    Map(lambda site, index: expr.cast(site.read(0, index), site.type.dtype)),
    gradient=_astype_gradient,
    api=astype,
    samples=_astype_samples,
)
