"""How elementwise ops are made: one statement each, through `unary` and `binary`.

Operands of an elementwise node share one dtype; the public function promotes first and
inserts the conversions, so rules, gradients and lowerings see one dtype only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Callback, Index, Map, Site
from graphc.ops.attributes import DTYPE, Rule
from graphc.ops.batching import aligned, batch_by
from graphc.ops.elementwise_docs import document
from graphc.ops.elementwise_samples import Domain, default_samples
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor, promote
from graphc.types import BOOL, DTYPES, FLOAT64, FLOATS, INT64, DType, TensorType, as_dtype, is_float

__all__ = ["astype"]

Unary = Callable[[TensorLike], Tensor]
Binary = Callable[[TensorLike, TensorLike], Tensor]
Result = Callable[[DType], DType]
Samples = Callable[[], Iterable[Sample]]
Errors = Callable[[], Iterable[ErrorSample]]


def same(dtype: DType) -> DType:
    """Return the dtype of the operands: a result rule."""
    return dtype


def boolean(dtype: DType) -> DType:
    """Return bool: a result rule."""
    return BOOL


def unbroadcast(g: Tensor, like: Tensor) -> Tensor:
    """Sum a cotangent over the axes along which `like` was stretched."""
    # Deferred: reductions and reshapes use elementwise ops in turn.
    from graphc.ops.reductions import sum as sum_
    from graphc.ops.shape import reshape

    extra = g.ndim - like.ndim
    axes = [*range(extra)]
    axes += [extra + a for a, d in enumerate(like.shape) if d == 1 and g.shape[extra + a] != 1]
    if not axes:
        return g
    return reshape(sum_(g, axis=tuple(axes), keepdims=True), like.shape)


def operand_dtype(dtype: DType, dtypes: Sequence[DType], bools: DType | None = None) -> DType:
    """Return what operands of `dtype` are converted to for an op that takes `dtypes`.

    Ops on floats compute anything else in float64.  `bools` is the dtype in which an op
    without a bool meaning computes bools; where it is None too, the type rule raises.
    """
    if dtype in dtypes:
        return dtype
    if set(dtypes) <= set(FLOATS):
        return FLOAT64
    return bools if dtype == BOOL and bools is not None else dtype


def operands(
    values: Sequence[TensorLike], dtypes: Sequence[DType], bools: DType | None = None
) -> tuple[Tensor, ...]:
    """Return operands promoted to one dtype that an op on `dtypes` takes."""
    tensors, dtype = promote(*values)
    target = operand_dtype(dtype, dtypes, bools)
    return tuple(astype(t, target) for t in tensors)


def number(op: str, parameter: str, value: object) -> float:
    """Return a parameter as a float.

    Raises
    ------
    ArgumentError
        If it is not a Python or NumPy number: a Tensor has no value while the graph is built.
    """
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    raise ArgumentError(
        f"{op}: bad {parameter}", expected="a Python number", given=repr(value), where=caller()
    )


def elementwise_op(
    name: str,
    numpy: Callable[..., Any],
    scalar: Callable[..., Expr] | None,
    *,
    dtypes: Sequence[DType],
    result: Result = same,
    attributes: Mapping[str, Rule] = {},
    gradient: Callable[..., Gradients] | None = None,
    commutative: bool = False,
    cost: int = 1,
    samples: Samples = lambda: (),
    errors: Errors = lambda: (),
    api: Callable[..., Tensor] | None = None,
    listed: bool = True,
) -> Op:
    """Make the op of an elementwise function from its NumPy meaning and scalar expression.

    `numpy`, `scalar` and `gradient` receive the node's attributes as keyword arguments.  A
    gradient is written for operands of the result's shape; the sums over stretched axes
    are added here.  Without a scalar expression, the NumPy meaning is called at run time.
    """
    return Op(
        name,
        _rule(dtypes, result),
        numpy,
        Callback() if scalar is None else _map(scalar),
        attributes=attributes,
        gradient=None if gradient is None else _stretched(gradient),
        batch=aligned,
        tangent=None if gradient is None else _directional(gradient),
        api=api,
        samples=samples,
        errors=errors,
        dtypes=dtypes,
        commutative=commutative,
        cost=cost,
        listed=listed,
    )


def _rule(dtypes: Sequence[DType], result: Result) -> Callable[..., TensorType]:
    def infer(ctx: Infer, *types: TensorType, **attrs: Any) -> TensorType:
        for i, t in enumerate(types):
            ctx.dtype_in(t.dtype, dtypes, f"operand {i}")
        if len({t.dtype for t in types}) > 1:
            ctx.dtype_error("operands differ in dtype", types[0].dtype, types[-1].dtype)
        return TensorType(ctx.broadcast(*(t.shape for t in types)), result(types[0].dtype))

    return infer


def _map(scalar: Callable[..., Expr]) -> Map:
    def lower(site: Site, index: Index) -> Expr:
        value = scalar(*(site.broadcast(k, index) for k in range(len(site.inputs))), **site.attrs)
        return expr.cast(value, site.type.dtype)

    return Map(lower)


def _stretched(gradient: Callable[..., Gradients]) -> Callable[..., Gradients]:
    def backward(g: Tensor, out: Tensor, *inputs: Tensor, **attrs: Any) -> Gradients:
        parts = gradient(g, out, *inputs, **attrs)
        return [None if p is None else unbroadcast(p, x) for p, x in zip(parts, inputs, strict=True)]

    return backward


def _directional(gradient: Callable[..., Gradients]) -> Callable[..., Tensor | None]:
    """Return the tangent rule: a diagonal Jacobian is its own transpose."""

    def forward(tangents: Gradients, out: Tensor, *inputs: Tensor, **attrs: Any) -> Tensor | None:
        # Deferred: broadcasting is a function of shapes, whose ops use elementwise ops in turn.
        from graphc.ops.shape import broadcast_to

        total: Tensor | None = None
        for k, tangent in enumerate(tangents):
            if tangent is None:
                continue
            full = tangent if tangent.shape == out.shape else broadcast_to(tangent, out.shape)
            part = gradient(full, out, *inputs, **attrs)[k]
            if part is not None:
                total = part if total is None else total + part
        return total

    return forward


def unary(
    name: str,
    numpy: Callable[..., Any],
    scalar: Callable[[Expr], Expr],
    *,
    doc: str,
    notes: str = "",
    example: Sequence[Any] | None = None,
    dtypes: Sequence[DType] = FLOATS,
    bools: DType | None = None,
    result: Result = same,
    gradient: Callable[..., Gradients] | None = None,
    cost: int = 1,
    domain: Domain = (0.3, 2.7),
    reference: Callable[..., Any] | None = None,
    samples: Samples = lambda: (),
    errors: Errors = lambda: (),
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
        First line of the docstring; operands, result and an example are added.
    notes : str
        Further text of the docstring: special values, conventions.
    example : sequence, optional
        One value for each operand, shown in the docstring.
    dtypes : sequence of dtype
        What it takes.  If only floats, other operands are converted to float64 first.
    bools : dtype, optional
        What bool operands are converted to where NumPy has no loop for bool.
    result : callable
        Result dtype from operand dtype.
    gradient : callable, optional
        ``gradient(g, out, x) -> [dx]``.
    cost : int
        Rough arithmetic per element, in multiplications.
    domain : pair of float
        Where samples for finite differences are drawn: smooth and well conditioned there.
    reference : callable, optional
        The expected values of samples, by another route than `numpy`.
    samples, errors : callable
        Further samples; see `Op`.
    """

    def function(x: TensorLike) -> Tensor:
        return op(*operands((x,), dtypes, bools))

    op = elementwise_op(
        name,
        numpy,
        scalar,
        dtypes=dtypes,
        result=result,
        gradient=gradient,
        cost=cost,
        samples=lambda: [*default_samples(1, reference or numpy, dtypes, domain), *samples()],
        errors=lambda: [*_dtype_errors(function, 1, dtypes, bools), *errors()],
        api=function,
    )
    return document(
        function, name, numpy, ("x",), dtypes, result(dtypes[0]), doc=doc, notes=notes, example=example
    )


def binary(
    name: str,
    numpy: Callable[..., Any],
    scalar: Callable[[Expr, Expr], Expr],
    *,
    doc: str,
    notes: str = "",
    example: Sequence[Any] | None = None,
    dtypes: Sequence[DType] = DTYPES,
    bools: DType | None = None,
    result: Result = same,
    gradient: Callable[..., Gradients] | None = None,
    commutative: bool = False,
    cost: int = 1,
    domain: Domain = (0.3, 2.7),
    reference: Callable[..., Any] | None = None,
    samples: Samples = lambda: (),
    errors: Errors = lambda: (),
) -> Binary:
    """Define a broadcasting function of two tensors; parameters as for `unary`."""

    def function(x: TensorLike, y: TensorLike) -> Tensor:
        return op(*operands((x, y), dtypes, bools))

    op = elementwise_op(
        name,
        numpy,
        scalar,
        dtypes=dtypes,
        result=result,
        gradient=gradient,
        commutative=commutative,
        cost=cost,
        samples=lambda: [*default_samples(2, reference or numpy, dtypes, domain), *samples()],
        errors=lambda: [*_shape_errors(function), *_dtype_errors(function, 2, dtypes, bools), *errors()],
        api=function,
    )
    return document(
        function, name, numpy, ("x", "y"), dtypes, result(dtypes[0]), doc=doc, notes=notes, example=example
    )


def _shape_errors(function: Binary) -> Iterable[ErrorSample]:
    # Built from a dtype that every binary op takes or converts.
    wide, narrow = np.ones((2, 3), np.int64), np.ones((2,), np.int64)
    yield ErrorSample(lambda: function(wide, narrow), ShapeError, "do not broadcast")


def _dtype_errors(
    function: Callable[..., Tensor], arity: int, dtypes: Sequence[DType], bools: DType | None
) -> Iterable[ErrorSample]:
    refused = [d for d in (BOOL, INT64, FLOAT64) if operand_dtype(d, dtypes, bools) not in dtypes]
    for dtype in refused:
        values = (np.ones(3, dtype),) * arity
        yield ErrorSample(partial(function, *values), DTypeError, "unsupported dtype")


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
    fractions = np.array([-2.7, -0.5, 0.0, 0.5, 2.7])
    yield Sample((fractions,), {"dtype": INT64}, expected=np.array([-2, 0, 0, 0, 2]))
    yield Sample((np.array([np.nan, np.inf, 0.0]),), {"dtype": BOOL}, expected=np.array([True, True, False]))
    yield Sample((np.zeros((0, 3)),), {"dtype": "float32"}, expected=np.zeros((0, 3), np.float32))


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

    Raises
    ------
    DTypeError
        If graphc does not have the dtype.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.astype(gx.constant([1, 2]), "float32")
    <Tensor float32[2]>
    """
    t, target = as_tensor(x), as_dtype(dtype)
    return t if t.dtype == target else _ASTYPE(t, dtype=target)


_ASTYPE = Op(
    "astype",
    _astype_rule,
    _astype_numpy,
    Map(lambda site, index: expr.cast(site.read(0, index), site.type.dtype)),
    attributes={"dtype": DTYPE},
    gradient=_astype_gradient,
    batch=batch_by(),
    api=astype,
    samples=_astype_samples,
    errors=lambda: (ErrorSample(lambda: astype(np.ones(2), "complex64"), DTypeError, "not supported"),),
)
