"""Products with Jacobians and Hessians, made of the two sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphc import directions
from graphc.autodiff import grad
from graphc.forward_mode import jvp
from graphc.interpreter import flatten
from graphc.tensor import Tensor

__all__ = ["Linearization", "gauss_newton_vp", "hvp", "linearize", "vjp"]


def vjp(outputs: Any, wrt: Any, cotangents: Any) -> Any:
    """Send cotangents back: the vector-Jacobian product.

    The same as ``graphc.grad(outputs, wrt, cotangents)``, under the name that goes with
    `graphc.jvp`.

    Parameters
    ----------
    outputs : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by: placeholders, variables or any intermediate
        result.
    cotangents : array_like, or structure of them
        How much each element of `outputs` counts, in the structure, shapes and dtypes of these.

    Returns
    -------
    Tensor, list, tuple or dict
        The product, in the structure of `wrt`.

    Raises
    ------
    GradientError
        If cotangents do not match `outputs`, if a dtype is not floating, or if an op on the
        way has no gradient.

    Notes
    -----
    JAX's ``y, back = jax.vjp(f, x); back(g)`` is ``y = f(x); gx.vjp(y, x, g)``: a graph has
    its outputs already.  `graphc.linearize` gives the function ``back``.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.variable([1.0, 2.0, 3.0], name="x")
    >>> gx.evaluate(gx.vjp([x * x, x.sum()], x, [[1.0, 0.0, 10.0], 100.0]))
    array([102., 100., 160.])
    """
    _require("vjp", outputs, wrt)
    return grad(outputs, wrt, _given("vjp", "the cotangent", outputs, cotangents))


@dataclass(frozen=True)
class Linearization:
    """The linear map from changes of `wrt` to changes of `outputs`, at the point where a graph stands.

    Attributes
    ----------
    outputs : Tensor, list, tuple or dict
        What changes.
    wrt : Tensor, list, tuple or dict
        What moves.
    """

    outputs: Any
    wrt: Any

    def __call__(self, tangents: Any) -> Any:
        """Return the changes of `outputs` for given changes of `wrt`: `graphc.jvp`."""
        return jvp(self.outputs, self.wrt, tangents)

    def transpose(self, cotangents: Any) -> Any:
        """Return what the transposed map makes of cotangents of `outputs`: `graphc.vjp`."""
        return vjp(self.outputs, self.wrt, cotangents)


def linearize(outputs: Any, wrt: Any) -> Linearization:
    """Return the derivative of tensors as a linear map.

    However often it is applied, the forward pass is in the graph once: all applications read
    the same nodes.

    Parameters
    ----------
    outputs : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by.

    Returns
    -------
    Linearization
        Call it with tangents of `wrt`; its ``transpose`` takes cotangents of `outputs`.

    Raises
    ------
    GradientError
        If a dtype is not floating.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.variable([1.0, 2.0], name="x")
    >>> slope = gx.linearize(x * x * x, x)
    >>> gx.evaluate([slope([1.0, 0.0]), slope([0.0, 1.0]), slope.transpose([1.0, 1.0])])
    [array([3., 0.]), array([ 0., 12.]), array([ 3., 12.])]
    """
    _require("linearize", outputs, wrt)
    return Linearization(outputs, wrt)


def hvp(output: Tensor, wrt: Any, vectors: Any) -> Any:
    """Multiply the Hessian by a vector, without forming it.

    The gradient is differentiated along the vector (Pearlmutter, *Fast Exact Multiplication
    by the Hessian*, 1994), which costs a few times as much as the gradient.

    Parameters
    ----------
    output : Tensor
        Floating scalar to differentiate twice.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by.
    vectors : array_like, or structure of them
        What to multiply by, in the structure, shapes and dtypes of `wrt`.

    Returns
    -------
    Tensor, list, tuple or dict
        The product, in the structure of `wrt`.

    Raises
    ------
    GradientError
        If `output` is not a floating scalar, or if vectors do not match `wrt`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.variable([1.0, 2.0], name="x")
    >>> gx.evaluate(gx.hvp((x * x * x).sum(), x, [1.0, 10.0]))
    array([  6., 120.])
    """
    _require("hvp", output, wrt)
    directions.scalar("hvp", "the output", output)
    return jvp(grad(output, wrt), wrt, _given("hvp", "the vector", wrt, vectors))


def gauss_newton_vp(loss: Tensor, outputs: Any, wrt: Any, vectors: Any) -> Any:
    """Multiply the generalized Gauss-Newton matrix by a vector, without forming it.

    The matrix is ``J' H J``: J differentiates `outputs` by `wrt`, H is the Hessian of `loss`
    by `outputs`.  Where the loss is convex in the outputs it is positive semidefinite, which
    the Hessian of the whole need not be (Schraudolph, *Fast Curvature Matrix-Vector Products*,
    2002).

    Parameters
    ----------
    loss : Tensor
        Floating scalar that depends on `outputs`.
    outputs : Tensor, or list, tuple or dict of Tensor
        Intermediate results, scores for example; none of them depends on another.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by: the weights, for example.
    vectors : array_like, or structure of them
        What to multiply by, in the structure, shapes and dtypes of `wrt`.

    Returns
    -------
    Tensor, list, tuple or dict
        The product, in the structure of `wrt`.

    Raises
    ------
    GradientError
        If `loss` is not a floating scalar, or if vectors do not match `wrt`.

    Examples
    --------
    >>> import graphc as gx
    >>> w = gx.variable([1.0, 2.0], name="w")
    >>> scores = w * w
    >>> gx.evaluate(gx.gauss_newton_vp((scores * scores).sum(), scores, w, [1.0, 1.0]))
    array([ 8., 32.])
    """
    _require("gauss_newton_vp", outputs, wrt)
    directions.scalar("gauss_newton_vp", "the loss", loss)
    moved = jvp(outputs, wrt, _given("gauss_newton_vp", "the vector", wrt, vectors))
    return grad(outputs, wrt, hvp(loss, outputs, moved))


def _require(owner: str, outputs: Any, wrt: Any) -> None:
    directions.floating(owner, "the output", outputs, "differentiate")
    directions.floating(owner, "what to differentiate by", wrt, "differentiate with respect to")


def _given(owner: str, what: str, structure: Any, values: Any) -> Any:
    return flatten(structure)[1](directions.matched(owner, what, structure, values))
