"""Identities that say something about their operand and vanish when a program is compiled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import DTypeError, GraphError, ShapeError, caller
from graphc.ir import Node
from graphc.leaves import variable
from graphc.lower.rules import Alias
from graphc.ops.batching import batch_by
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import TensorType, is_float

__all__ = ["stop_gradient", "with_update"]


def first_type(ctx: Infer, *types: TensorType) -> TensorType:
    """Type rule of an identity: the type of operand 0."""
    return types[0]


def first_value(*arrays: Any) -> Any:
    """NumPy meaning of an identity: operand 0."""
    return arrays[0]


def stop_gradient(x: TensorLike) -> Tensor:
    """Return `x`, which `graphc.grad` then treats as a constant.

    Parameters
    ----------
    x : array_like
        Operand.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=(), dtype="float64")
    >>> gx.evaluate(x * gx.stop_gradient(x), {x: 3.0})
    array(9.)
    """
    return _STOP_GRADIENT(as_tensor(x))


_STOP_GRADIENT = Op(
    "stop_gradient",
    first_type,
    first_value,
    Alias(),
    gradient=lambda g, out, x: [None],
    batch=batch_by(),
    api=stop_gradient,
    samples=lambda: [
        Sample((np.arange(n, dtype=np.float64),), expected=np.arange(n), differentiable=False)
        for n in (0, 1, 3)
    ],
    cost=0,
)


def with_update(out: TensorLike, variable: Tensor, value: TensorLike) -> Tensor:
    """Return `out`; a program that computes it also updates `variable` to `value`.

    The running statistics of a batch normalization and the state of random numbers change
    this way, without the caller listing them among the program's updates.  Several uses
    with the same `value` are one update; different values for one variable are an error of
    `graphc.compile`.  `graphc.evaluate` changes nothing.

    Parameters
    ----------
    out : array_like
        The value to return.
    variable : Variable
        What to update.
    value : array_like
        Its new value, of exactly its shape and dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    GraphError
        If `variable` is not a variable.
    ShapeError, DTypeError
        If `value` has another type than `variable`.

    Examples
    --------
    >>> import graphc as gx
    >>> calls = gx.variable(0, name="calls")
    >>> gx.with_update(gx.constant([1.0, 2.0]), calls, calls + 1)
    <Tensor float64[2]>
    """
    if not isinstance(variable, Tensor) or variable.node.op.name != "variable":
        raise GraphError(
            "with_update: only a variable can be updated",
            expected="a Variable",
            given=repr(variable),
            where=caller(),
        )
    return _WITH_UPDATE(as_tensor(out), variable, as_tensor(value, variable.dtype))


def _with_update_rule(ctx: Infer, out: TensorType, variable: TensorType, value: TensorType) -> TensorType:
    if value.dtype != variable.dtype:
        ctx.dtype_error("the new value has another dtype than the variable", variable, value)
    if value.shape != variable.shape:
        ctx.shape_error("the new value has another shape than the variable", variable, value)
    return out


def _with_update_gradient(g: Tensor, out: Tensor, x: Tensor, variable: Tensor, value: Tensor) -> Gradients:
    return [g if is_float(x.dtype) else None, None, None]


def _with_update_batch(
    size: Dim, batched: tuple[bool, ...], node: Node, out: Tensor, variable: Tensor, value: Tensor
) -> Tensor:
    if batched[2]:
        raise GraphError(
            f"vectorize: the update of variable {node.inputs[1].name!r} differs from row to row",
            expected="one new value, computed from what is not mapped",
            given=f"{size} values of type {node.inputs[2].type}",
            where=node.where,
        )
    return _WITH_UPDATE(out, variable, value)


def _with_update_samples() -> Iterable[Sample]:
    def build(x: Tensor) -> Tensor:
        state = _new_variable(0.0)
        return with_update(x * 2, state, state + 1)

    for shape in ((3, 5), (0, 2), (1,), ()):
        x = np.random.default_rng(1).normal(size=shape)
        yield Sample((x,), expected=2 * x, call=build)


def _with_update_errors() -> Iterable[ErrorSample]:
    state = _new_variable(np.zeros(3))
    yield ErrorSample(lambda: with_update(1.0, as_tensor(1.0), 2.0), GraphError, "only a variable")
    yield ErrorSample(lambda: with_update(1.0, state, np.zeros(2)), ShapeError, "another shape")
    yield ErrorSample(lambda: with_update(1.0, state, np.zeros(3, np.float32)), DTypeError, "another dtype")


def _new_variable(value: TensorLike) -> Tensor:
    # Deferred: leaves are ops themselves.
    return variable(value)


_WITH_UPDATE = Op(
    "with_update",
    _with_update_rule,
    first_value,
    Alias(),
    gradient=_with_update_gradient,
    batch=_with_update_batch,
    api=with_update,
    samples=_with_update_samples,
    errors=_with_update_errors,
    # Its operands differ in kind; the samples build them.
    dtypes=(),
    cost=0,
)
