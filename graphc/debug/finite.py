"""Values watched at run time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.errors import NonFiniteError
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.attributes import TEXT
from graphc.ops.batching import batch_by
from graphc.ops.op import Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, FLOATS, TensorType, is_float

__all__ = ["check_finite"]

Array = np.ndarray[Any, Any]


def check_finite(t: TensorLike, name: str | None = None) -> Tensor:
    """Return `t` unchanged, but fail the call that produces a NaN or an infinity in it.

    The check belongs to the returned Tensor: use it in place of `t`.  Gradients pass
    through unchecked.

    Parameters
    ----------
    t : array_like
        Integers and booleans are always finite and are returned as they are.
    name : str, optional
        What the error calls the value; by default the Tensor's own name.

    Returns
    -------
    Tensor

    Raises
    ------
    NonFiniteError
        When a program runs into one.  No variable is changed by that call.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=(2,), dtype="float64")
    >>> gx.evaluate(gx.debug.check_finite(1 / x), {x: [1.0, 2.0]})
    array([1. , 0.5])
    """
    x = as_tensor(t)
    return CHECK_FINITE(x, label=name or x.name or "value") if is_float(x.dtype) else x


def _rule(ctx: Infer, x: TensorType, label: str) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    return x


def _numpy(x: Array, label: str) -> Array:
    bad = ~np.isfinite(x)
    if not bad.any():
        return x
    first = np.unravel_index(int(bad.argmax()), x.shape)
    raise NonFiniteError(
        f"check_finite: {label} is not finite",
        expected="no NaN and no infinity",
        given=f"{x[first]} at index {tuple(map(int, first))}, {int(bad.sum())} of {x.size} elements",
    )


def _lower(site: Site, index: Index) -> Expr:
    value = site.read(0, index)
    return expr.check(expr.call("isfinite", value, dtype=BOOL), value, site.message)


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(5)
    for shape in ((), (0, 2), (1,), (3, 5)):
        values = rng.normal(size=shape)
        yield Sample((values,), expected=values)


def _gradient(g: Tensor, out: Tensor, x: Tensor, label: str) -> Gradients:
    return [g]


CHECK_FINITE = Op(
    "check_finite",
    _rule,
    _numpy,
    Map(_lower),
    attributes={"label": TEXT},
    gradient=_gradient,
    batch=batch_by(),
    api=check_finite,
    samples=_samples,
    dtypes=FLOATS,
)
