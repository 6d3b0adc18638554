"""Gamma, beta and Dirichlet distributions, whose gradients flow to their parameters too."""

from __future__ import annotations

import math

from graphc.dims import Shape
from graphc.ops import exp, log, sigmoid, softmax, where
from graphc.ops.rejection import random_gamma
from graphc.random.continuous import Continuous
from graphc.random.source import (
    Parameter,
    ShapeLike,
    as_parameter,
    check_number,
    float_dtype,
    sample_shape,
    spread,
)
from graphc.tensor import Tensor

__all__ = ["Gammas"]


class Gammas(Continuous):
    """Draws that are made of gamma variates.

    Their gradients are implicit: how a variate moves with a parameter at a fixed quantile
    (M. Figurnov, S. Mohamed, A. Mnih, 2018).
    """

    def gamma(
        self,
        alpha: Parameter,
        scale: Parameter = 1.0,
        shape: ShapeLike | None = None,
        dtype: object = None,
    ) -> Tensor:
        """Draw from a gamma distribution, by the method of Marsaglia and Tsang (2000).

        Parameters
        ----------
        alpha : array_like
            Shape of the distribution, positive.
        scale : array_like
            Scale: the inverse of the rate.
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the parameters.
        dtype : dtype, optional
            float32 or float64.  By default, that of parameters that are floating tensors, else
            float32.

        Returns
        -------
        Tensor

        Raises
        ------
        ArgumentError
            If `alpha` is a number that is not positive.

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.gamma(2.5, shape=(3, 2))
        <Tensor float32[3, 2]>
        """
        _check_positive("gamma", "alpha", alpha)
        kind = float_dtype("gamma", dtype, alpha, scale)
        a, factor = as_parameter(alpha, kind), as_parameter(scale, kind)
        variate, exponent = self._variate(a, sample_shape("gamma", shape, a, factor))
        return variate * exp(exponent) * factor

    def beta(
        self,
        alpha: Parameter,
        beta: Parameter,
        shape: ShapeLike | None = None,
        dtype: object = None,
    ) -> Tensor:
        """Draw from a beta distribution: the share that one gamma variate has of two.

        Parameters
        ----------
        alpha, beta : array_like
            Shapes of the distribution, positive; the mean is ``alpha / (alpha + beta)``.
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the parameters.
        dtype : dtype, optional
            float32 or float64.  By default, that of parameters that are floating tensors, else
            float32.

        Returns
        -------
        Tensor

        Raises
        ------
        ArgumentError
            If `alpha` or `beta` is a number that is not positive.

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.beta(2.0, 3.0, shape=(3, 2))
        <Tensor float32[3, 2]>
        """
        _check_positive("beta", "alpha", alpha)
        _check_positive("beta", "beta", beta)
        kind = float_dtype("beta", dtype, alpha, beta)
        a, b = as_parameter(alpha, kind), as_parameter(beta, kind)
        sizes = sample_shape("beta", shape, a, b)
        # In logarithms: for small parameters both variates may be too small for a float.
        return sigmoid(self._log_gamma(a, sizes) - self._log_gamma(b, sizes))

    def dirichlet(self, alpha: Parameter, shape: ShapeLike | None = None, dtype: object = None) -> Tensor:
        """Draw from a Dirichlet distribution: shares, along the last axis, of gamma variates.

        Parameters
        ----------
        alpha : array_like
            Shapes of the distribution along the last axis, positive.
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result, with the last axis; by default, that of `alpha`.
        dtype : dtype, optional
            float32 or float64.  By default, that of `alpha` if it is a floating tensor, else
            float32.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.dirichlet([1.0, 2.0, 3.0], shape=(5, 3))
        <Tensor float64[5, 3]>
        """
        kind = float_dtype("dirichlet", dtype, alpha)
        a = as_parameter(alpha, kind)
        return softmax(self._log_gamma(a, sample_shape("dirichlet", shape, a)), axis=-1)

    def _log_gamma(self, alpha: Tensor, sizes: Shape) -> Tensor:
        variate, exponent = self._variate(alpha, sizes)
        return log(variate) + exponent

    def _variate(self, alpha: Tensor, sizes: Shape) -> tuple[Tensor, Tensor]:
        """Return a variate of a shape of at least 1, and the logarithm of what to multiply it by."""
        a = spread(alpha, sizes)
        small = a < 1
        variate = random_gamma(self.key(), where(small, a + 1, a))
        # Below 1, the one of shape a + 1 times a power of a uniform number.
        exponent = -self._exponential(sizes, alpha.dtype) / where(small, a, 1)
        return variate, where(small, exponent, 0)


def _check_positive(op: str, name: str, value: Parameter) -> None:
    check_number(op, name, value, math.nextafter(0, 1), math.inf, "a positive number")
