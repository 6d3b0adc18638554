"""Continuous distributions that a formula makes of uniform numbers; gradients flow to their parameters."""

from __future__ import annotations

import math

from graphc.dims import Shape
from graphc.ops import clip, erfc, erfcinv, log, log1p, where
from graphc.random.source import Parameter, ShapeLike, Source, as_parameter, float_dtype, sample_shape
from graphc.tensor import Tensor
from graphc.types import FLOAT64, DType

__all__ = ["Continuous"]


class Continuous(Source):
    """Draws from continuous distributions by location, scale or bounds."""

    def uniform(
        self,
        shape: ShapeLike | None = None,
        low: Parameter = 0.0,
        high: Parameter = 1.0,
        dtype: object = None,
    ) -> Tensor:
        """Draw uniformly from [low, high).

        Parameters
        ----------
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the parameters.
        low, high : array_like
            Bounds.  Rounding to `dtype` may reach `high` unless it is 1 and `low` is 0.
        dtype : dtype, optional
            float32 (24 random bits) or float64 (53).  By default, that of parameters that are
            floating tensors, else float32.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.uniform(("batch", 4), -1, 1)
        <Tensor float32[batch, 4]>
        """
        kind = float_dtype("uniform", dtype, low, high)
        start, stop = as_parameter(low, kind), as_parameter(high, kind)
        unit = self._unit(sample_shape("uniform", shape, start, stop), kind)
        plain = isinstance(low, (int, float)) and isinstance(high, (int, float)) and (low, high) == (0, 1)
        return unit if plain else unit * (stop - start) + start

    def normal(
        self,
        shape: ShapeLike | None = None,
        mean: Parameter = 0.0,
        std: Parameter = 1.0,
        dtype: object = None,
    ) -> Tensor:
        """Draw from a normal distribution, by the method of Box and Muller (1958).

        The tails reach 6.6 standard deviations in float32 and 9.3 in float64: as far as an
        event of probability 2**-32 or 2**-63 lies.

        Parameters
        ----------
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the parameters.
        mean, std : array_like
            Mean and standard deviation.
        dtype : dtype, optional
            float32 or float64.  By default, that of parameters that are floating tensors, else
            float32.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.normal((3, 2))
        <Tensor float32[3, 2]>
        """
        kind = float_dtype("normal", dtype, mean, std)
        center, scale = as_parameter(mean, kind), as_parameter(std, kind)
        standard = self._standard_normal(sample_shape("normal", shape, center, scale), kind)
        return _placed(standard, center, scale, (mean, std))

    def truncated_normal(
        self,
        shape: ShapeLike | None = None,
        low: Parameter = -2.0,
        high: Parameter = 2.0,
        mean: Parameter = 0.0,
        std: Parameter = 1.0,
        dtype: object = None,
    ) -> Tensor:
        """Draw from a normal distribution within bounds, by inversion.

        Bounds far in one tail are exact as well, up to 37 standard deviations.

        Parameters
        ----------
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the parameters.
        low, high : array_like
            Bounds, in standard deviations from the mean; they may be infinite.
        mean, std : array_like
            Mean and standard deviation before truncation.
        dtype : dtype, optional
            float32 or float64.  By default, that of parameters that are floating tensors, else
            float32.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.truncated_normal((3, 2), low=0, high=float("inf"))
        <Tensor float32[3, 2]>
        """
        kind = float_dtype("truncated_normal", dtype, low, high, mean, std)
        start, stop = as_parameter(low, FLOAT64), as_parameter(high, FLOAT64)
        center, scale = as_parameter(mean, kind), as_parameter(std, kind)
        sizes = sample_shape("truncated_normal", shape, start, stop, center, scale)
        _, unit = self._sign_and_unit(sizes, kind)
        # Small probabilities keep their places: the interval is mirrored to lie to the left.
        right = start + stop > 0
        left_end, right_end = where(right, -stop, start), where(right, -start, stop)
        # Twice the distribution function.
        least, most = erfc(left_end * -math.sqrt(0.5)), erfc(right_end * -math.sqrt(0.5))
        place = erfcinv(least + unit.astype(FLOAT64) * (most - least)) * -math.sqrt(2.0)
        inside = clip(place, left_end, right_end)
        standard = where(right, -inside, inside).astype(kind)
        return _placed(standard, center, scale, (mean, std))

    def exponential(
        self, shape: ShapeLike | None = None, scale: Parameter = 1.0, dtype: object = None
    ) -> Tensor:
        """Draw from an exponential distribution.

        Parameters
        ----------
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the parameter.
        scale : array_like
            Mean: the inverse of the rate.
        dtype : dtype, optional
            float32 or float64.  By default, that of a parameter that is a floating tensor, else
            float32.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.exponential((3, 2), scale=2.0)
        <Tensor float32[3, 2]>
        """
        kind = float_dtype("exponential", dtype, scale)
        factor = as_parameter(scale, kind)
        return self._exponential(sample_shape("exponential", shape, factor), kind) * factor

    def gumbel(
        self,
        shape: ShapeLike | None = None,
        loc: Parameter = 0.0,
        scale: Parameter = 1.0,
        dtype: object = None,
    ) -> Tensor:
        """Draw from a Gumbel distribution: that of the maximum of many.

        Parameters
        ----------
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the parameters.
        loc, scale : array_like
            Mode and scale.
        dtype : dtype, optional
            float32 or float64.  By default, that of parameters that are floating tensors, else
            float32.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.gumbel((3, 2))
        <Tensor float32[3, 2]>
        """
        kind = float_dtype("gumbel", dtype, loc, scale)
        center, factor = as_parameter(loc, kind), as_parameter(scale, kind)
        sizes = sample_shape("gumbel", shape, center, factor)
        return _placed(-log(self._exponential(sizes, kind)), center, factor, (loc, scale))

    def laplace(
        self,
        shape: ShapeLike | None = None,
        loc: Parameter = 0.0,
        scale: Parameter = 1.0,
        dtype: object = None,
    ) -> Tensor:
        """Draw from a Laplace distribution: an exponential one on either side.

        Parameters
        ----------
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the parameters.
        loc, scale : array_like
            Mean, and mean absolute deviation.
        dtype : dtype, optional
            float32 or float64.  By default, that of parameters that are floating tensors, else
            float32.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.laplace((3, 2))
        <Tensor float32[3, 2]>
        """
        kind = float_dtype("laplace", dtype, loc, scale)
        center, factor = as_parameter(loc, kind), as_parameter(scale, kind)
        left, unit = self._sign_and_unit(sample_shape("laplace", shape, center, factor), kind)
        size = log(unit)
        return _placed(where(left, size, -size), center, factor, (loc, scale))

    def _exponential(self, sizes: Shape, kind: DType) -> Tensor:
        """Draw from the exponential distribution of mean 1, with exact tails on either side."""
        large, unit = self._sign_and_unit(sizes, kind)
        half = 0.5 * unit
        return -where(large, log(half), log1p(-half))


def _placed(standard: Tensor, loc: Tensor, scale: Tensor, given: tuple[Parameter, Parameter]) -> Tensor:
    """Return a standard draw at a location and scale."""
    plain = all(isinstance(p, (int, float)) for p in given) and given == (0, 1)
    return standard if plain else standard * scale + loc
