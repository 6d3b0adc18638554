"""Whole Jacobians and Hessians: all rows or columns at once, by `graphc.vectorize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

from graphc import directions
from graphc.autodiff import grad
from graphc.costs import elements
from graphc.errors import ArgumentError, caller
from graphc.forward_mode import jvp
from graphc.interpreter import flatten
from graphc.ops import expand_dims, eye, moveaxis, ones_like, reshape
from graphc.tensor import Tensor
from graphc.vectorization import vectorize

__all__ = ["Mode", "hessian", "jacobian"]

Mode = Literal["auto", "reverse", "forward"]


def jacobian(outputs: Any, wrt: Any, mode: Mode = "auto") -> Any:
    """Differentiate every element of tensors by every element of others.

    Parameters
    ----------
    outputs : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by: placeholders, variables or any intermediate
        result.
    mode : {"auto", "reverse", "forward"}
        Reverse mode sends a cotangent back for every element of `outputs`, forward mode a
        tangent through for every element of `wrt`; "auto" takes the fewer.

    Returns
    -------
    Tensor, list, tuple or dict
        In the structure of `outputs`, and within in that of `wrt`: for an output of shape
        ``(a, b)`` and an input of shape ``(c,)`` a Tensor of shape ``(a, b, c)``.

    Raises
    ------
    GradientError
        If a dtype is not floating, or if an op on the way has no gradient.
    ArgumentError
        If there is no such mode.

    Notes
    -----
    All cotangents or tangents run through the graph together; nothing is done row by row.
    `graphc.linearize` multiplies by a Jacobian without forming it.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.variable([1.0, 2.0], name="x")
    >>> gx.evaluate(gx.jacobian(x * x.sum(), x))
    array([[4., 1.],
           [2., 5.]])
    """
    return _jacobian("jacobian", outputs, wrt, mode)


def hessian(output: Tensor, wrt: Any) -> Any:
    """Differentiate a scalar twice by every pair of elements.

    The gradient is differentiated in forward mode.

    Parameters
    ----------
    output : Tensor
        Floating scalar.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by.

    Returns
    -------
    Tensor, list, tuple or dict
        In the structure of `wrt`, and within again: for inputs of shapes ``(a, b)`` and ``(c,)``
        a Tensor of shape ``(a, b, c)``.

    Raises
    ------
    GradientError
        If `output` is not a floating scalar, or if an op on the way has no gradient.

    Notes
    -----
    `graphc.hvp` multiplies by a Hessian without forming it.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.variable([1.0, 2.0], name="x")
    >>> gx.evaluate(gx.hessian(x[0] * x[1] * x[1], x))
    array([[0., 4.],
           [4., 2.]])
    """
    directions.scalar("hessian", "the output", output)
    directions.floating("hessian", "what to differentiate by", wrt, "differentiate with respect to")
    return _jacobian("hessian", grad(output, wrt), wrt, "forward")


def _jacobian(owner: str, outputs: Any, wrt: Any, mode: Mode) -> Any:
    if mode not in get_args(Mode):
        raise ArgumentError(
            f"{owner}: no such mode",
            expected=" or ".join(map(repr, get_args(Mode))),
            given=repr(mode),
            where=caller(),
        )
    results = directions.floating(owner, "the output", outputs, "differentiate")
    targets = directions.floating(owner, "what to differentiate by", wrt, "differentiate with respect to")
    forward = mode == "forward" or (mode == "auto" and _size(targets) < _size(results))
    blocks = (_columns if forward else _rows)(results, targets)
    inner = flatten(wrt)[1]
    return flatten(outputs)[1]([inner(row) for row in blocks])


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(elements(t.shape) for t in tensors)


def _rows(results: Sequence[Tensor], targets: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the blocks of the Jacobian, by one cotangent per element of each result."""
    blocks = []
    for y in results:
        rows = _along_basis(y, partial(grad, y, list(targets)))
        blocks.append([reshape(r, (*y.shape, *x.shape)) for r, x in zip(rows, targets, strict=True)])
    return blocks


def _columns(results: Sequence[Tensor], targets: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the blocks of the Jacobian, by one tangent per element of each target."""
    blocks: list[list[Tensor]] = [[] for _ in results]
    for x in targets:
        columns = _along_basis(x, partial(jvp, list(results), x))
        for row, column, y in zip(blocks, columns, results, strict=True):
            row.append(reshape(moveaxis(column, 0, -1), (*y.shape, *x.shape)))
    return blocks


def _along_basis(tensor: Tensor, fn: Callable[[Tensor], list[Tensor]]) -> list[Tensor]:
    """Apply a linear function to every tensor of `tensor`'s type that is 1 in one place and 0 elsewhere."""
    if tensor.size == 1:
        return [expand_dims(t, 0) for t in fn(ones_like(tensor))]
    basis = reshape(eye(tensor.size, dtype=tensor.dtype), (tensor.size, *tensor.shape))
    found: list[Tensor] = vectorize(fn)(basis)
    return found
