"""`check`: fails the call in which a condition does not hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.control import bodies
from graphc.control.branches import branch_node
from graphc.debug.showing import scalar_token, text_of, token_rule
from graphc.dims import Dim
from graphc.effects import concerned_rows, perform, silent, ticket
from graphc.errors import ArgumentError, CheckError, DTypeError
from graphc.ir import Graph, Node
from graphc.lower.rules import Callback, Expand
from graphc.ops.attributes import TEXT, Attributes
from graphc.ops.batching import stacked, with_rank
from graphc.ops.elementwise import astype
from graphc.ops.fused import items
from graphc.ops.op import Infer, Op, current_place
from graphc.ops.reductions import all as all_of
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, INT64, TensorType

__all__ = ["check"]

Array = np.ndarray[Any, Any]


def check(cond: TensorLike, message: str, *values: TensorLike) -> None:
    """Fail every call in which a condition does not hold.

    Nothing has to be used: which programs check, and in which order, is as with `graphc.debug.print`.

    Parameters
    ----------
    cond : array_like of bool
        Must be true in every element.
    message : str
        What the error says.
    *values : array_like
        Shown by the error.

    Raises
    ------
    DTypeError
        If the condition is not boolean.
    ArgumentError
        If the message is no printable text.
    GraphError
        Outside of loops and branches, if the condition is a constant, so that no program is concerned.
    CheckError
        When a program runs and the condition does not hold.  No variable is changed by that call.

    Notes
    -----
    A check that holds costs the condition and a native branch.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("n",), dtype="float64")
    >>> gx.debug.check(x > 0, "x must be positive", x.min())
    >>> program = gx.compile(x, gx.log(x))
    >>> try:
    ...     program([1.0, -2.0])
    ... except gx.errors.CheckError as error:
    ...     print(error.what, "|", error.given)
    x must be positive | -2.0
    """
    where = current_place()
    condition = as_tensor(cond)
    if condition.dtype != BOOL:
        raise DTypeError(
            "check: the condition is not boolean", expected="bool", given=str(condition.type), where=where
        )
    if not isinstance(message, str) or not message.isprintable():
        raise ArgumentError("check: bad message", expected="printable text", given=repr(message), where=where)
    ok = all_of(condition) if condition.ndim else condition
    first = ticket(where)
    token = CHECK(Tensor(first), ok, *map(as_tensor, values), message=message)
    perform("check", where, first, token.node)


# ------------------------------------------------------------------------------ the ops
def _check_rule(
    ctx: Infer, token: TensorType, ok: TensorType, *values: TensorType, message: str
) -> TensorType:
    if ok.dtype != BOOL or ok.ndim:
        ctx.dtype_error("the condition is no boolean scalar", "bool[]", ok)
    return token_rule(ctx, token)


def _meaning(token: Array, ok: Array, *values: Array, message: str) -> Array:
    return token if bool(ok) or silent(token) else _fail(token, *values, message=message)


def _fail(token: Array, *values: Array, message: str) -> Array:
    raise CheckError(message, given=", ".join(map(text_of, values)) or None)


def _expanded(token: Tensor, ok: Tensor, *values: Tensor, message: str) -> Tensor:
    """Return a branch, so that a check that holds never calls Python."""
    operands = (token.node, *(v.node for v in values))
    graphs = []
    for failing in (False, True):
        formals = tuple(bodies.formal(n.type, n.name or "value", n.where) for n in operands)
        result = FAIL(*map(Tensor, formals), message=message).node if failing else formals[0]
        graphs.append(Graph(formals, (result,)))
    fails = astype(~ok & (token >= 0), INT64)
    return items(branch_node("check", fails.node, operands, graphs))[0]


def _batch(
    size: Dim, batched: tuple[bool, ...], node: Node, token: Tensor, ok: Tensor, *values: Tensor
) -> Tensor:
    mask = concerned_rows()
    if mask is not None:
        rows = ok if batched[1] else stacked(ok, size)
        ok = rows | with_rank(~mask, rows.ndim - 1)
    return node.op(scalar_token(token), all_of(ok) if ok.ndim else ok, *values, **node.attrs)


_MESSAGE: Attributes = {"message": TEXT}
CHECK = Op(
    "debug_check", _check_rule, _meaning, Expand(_expanded), attributes=_MESSAGE, batch=_batch, dtypes=()
)
FAIL = Op("debug_fail", token_rule, _fail, Callback(), attributes=_MESSAGE, dtypes=())
