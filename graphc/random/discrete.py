"""Discrete distributions, permutations and choices."""

from __future__ import annotations

import math

from graphc.dims import Dim
from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.ops import (
    arange,
    argmax,
    argsort,
    astype,
    bitwise_left_shift,
    bitwise_xor,
    log,
    one_hot,
    softmax,
    stop_gradient,
    take,
)
from graphc.ops.axes import as_dim, as_shape, is_int, normalize_axis
from graphc.ops.random_words import random_words
from graphc.ops.rejection import random_below, random_poisson
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
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import INT64, INTEGERS, as_dtype

__all__ = ["Discrete"]


class Discrete(Continuous):
    """Draws of whole numbers, of classes and of orders."""

    def bernoulli(self, shape: ShapeLike | None = None, p: Parameter = 0.5) -> Tensor:
        """Draw booleans that are true with probability `p`.

        Parameters
        ----------
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of `p`.
        p : array_like, default 0.5
            Probability, exact to 24 bits, to 53 for float64 tensors.

        Returns
        -------
        Tensor

        Raises
        ------
        ArgumentError
            If `p` is a number outside [0, 1].

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.bernoulli((3,), p=0.1)
        <Tensor bool[3]>
        """
        check_number("bernoulli", "probability", p, 0.0, 1.0, "a number in [0, 1]")
        kind = float_dtype("bernoulli", None, p)
        probability = as_parameter(p, kind)
        return self._unit(sample_shape("bernoulli", shape, probability), kind) < probability

    def categorical(self, logits: Parameter, shape: ShapeLike | None = None) -> Tensor:
        """Draw classes with probabilities ``softmax(logits)`` along the last axis, by the Gumbel maximum.

        Parameters
        ----------
        logits : array_like
            Logarithms of probabilities, up to a constant, along the last axis.
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; by default, those of `logits` without the last axis.

        Returns
        -------
        Tensor of int64

        Raises
        ------
        ShapeError
            If `logits` has no axes.

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.categorical([0.0, 1.0, 2.0], shape=(5,))
        <Tensor int64[5]>
        """
        kind = float_dtype("categorical", None, logits)
        scores = as_parameter(logits, kind)
        if not scores.ndim:
            raise ShapeError(
                "categorical: logits have no axes", expected="one or more", given=str(scores), where=caller()
            )
        classes = scores.shape[-1]
        leading = scores.shape[:-1] if shape is None else as_shape(shape, "categorical")
        sizes = sample_shape("categorical", (*leading, classes), scores)
        return argmax(scores - log(self._exponential(sizes, kind)), axis=-1)

    def gumbel_softmax(self, logits: Parameter, temperature: Parameter = 1.0, hard: bool = False) -> Tensor:
        """Draw soft classes along the last axis, whose gradients flow to the logits.

        From E. Jang, S. Gu, B. Poole, "Categorical reparameterization with Gumbel-softmax"
        (2017).  The lower the temperature, the closer to a one-hot vector.

        Parameters
        ----------
        logits : array_like
            Logarithms of probabilities, up to a constant, along the last axis.
        temperature : array_like, default 1.0
            Positive.
        hard : bool, default False
            Return one-hot vectors, with the gradients of the soft ones.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx, numpy as np
        >>> gx.random.gumbel_softmax(np.zeros((2, 5), "float32"), temperature=0.5)
        <Tensor float32[2, 5]>
        """
        check_number(
            "gumbel_softmax", "temperature", temperature, math.nextafter(0, 1), math.inf, "a positive number"
        )
        kind = float_dtype("gumbel_softmax", None, logits)
        scores = as_parameter(logits, kind)
        noisy = scores - log(self._exponential(scores.shape, kind))
        soft = softmax(noisy / as_parameter(temperature, kind), axis=-1)
        if not hard:
            return soft
        chosen = one_hot(argmax(soft, axis=-1), scores.shape[-1], kind)
        return soft + stop_gradient(chosen - soft)

    def poisson(self, rate: Parameter, shape: ShapeLike | None = None) -> Tensor:
        """Draw from a Poisson distribution: how often something happens.

        By inversion below a rate of 10, else by W. Hormann's transformed rejection (1993).

        Parameters
        ----------
        rate : array_like
            Mean; of an element that is negative or NaN, the result is 0.
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of `rate`.

        Returns
        -------
        Tensor of int64

        Raises
        ------
        ArgumentError
            If `rate` is a negative number.

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.poisson(3.5, shape=(4,))
        <Tensor int64[4]>
        """
        check_number("poisson", "rate", rate, 0.0, 2.0**62, "a number of at least 0")
        mean = as_parameter(rate, float_dtype("poisson", None, rate))
        return random_poisson(self.key(), spread(mean, sample_shape("poisson", shape, mean)))

    def randint(
        self, low: TensorLike, high: TensorLike, shape: ShapeLike | None = None, dtype: object = "int64"
    ) -> Tensor:
        """Draw whole numbers from `low` to below `high`, each equally likely.

        Parameters
        ----------
        low, high : array_like
            Bounds; integers.  Where `high` is not above `low`, the result is `low`.
        shape : int, str, dimension or sequence of these, optional
            Sizes of the result; they may be symbolic.  By default, that of the bounds.
        dtype : dtype, default int64
            An integer dtype.

        Returns
        -------
        Tensor

        Raises
        ------
        ArgumentError
            If the bounds are numbers between which there is none, or more than 2**63.
        DTypeError
            If a bound or `dtype` is no integer.

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.randint(1, 7, shape=(2,))
        <Tensor int64[2]>
        """
        if is_int(low) and is_int(high) and not 0 < int(high) - int(low) < 2**63:
            raise ArgumentError(
                "randint: bad bounds", expected="low below high", given=f"{low} and {high}", where=caller()
            )
        start, stop = (_integer("randint", bound) for bound in (low, high))
        sizes = sample_shape("randint", shape, start, stop)
        drawn = start + random_below(self.key(), spread(stop - start, sizes))
        target = as_dtype(dtype)
        if target not in INTEGERS:
            raise DTypeError(
                "randint: unsupported dtype", expected="an integer dtype", given=str(target), where=caller()
            )
        return astype(drawn, target)

    def permutation(self, n: int | str | Dim) -> Tensor:
        """Draw an order of the numbers from 0 to below `n`, each equally likely.

        Parameters
        ----------
        n : int, str or dimension
            How many; it may be symbolic.

        Returns
        -------
        Tensor of int64

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.permutation(10)
        <Tensor int64[10]>
        """
        # An order by 64 bits: among n numbers, two agree with probability n**2 / 2**65.
        first, second = random_words(self.key(), (as_dim(n, "permutation"),))
        high = bitwise_left_shift(astype(first, INT64), 32)
        return argsort(bitwise_xor(high, astype(second, INT64)))

    def shuffle(self, x: TensorLike, axis: int = 0) -> Tensor:
        """Return the slices of `x` along an axis in a random order.

        Parameters
        ----------
        x : array_like
            Operand.
        axis : int, default 0
            Along which to reorder.

        Returns
        -------
        Tensor

        Examples
        --------
        >>> import graphc as gx, numpy as np
        >>> gx.random.shuffle(np.arange(10))
        <Tensor int64[10]>
        """
        t = as_tensor(x)
        position = normalize_axis(axis, t.ndim, "shuffle")
        return take(t, self.permutation(t.shape[position]), axis=position)

    def choice(
        self,
        values: TensorLike,
        shape: ShapeLike = (),
        replace: bool = True,
        p: TensorLike | None = None,
    ) -> Tensor:
        """Draw elements of `values` along its first axis.

        Parameters
        ----------
        values : int or array_like
            What to draw from; an int n stands for the numbers from 0 to below n.
        shape : int, str, dimension or sequence of these, default ()
            How many, in which shape; of one axis at most if not `replace`.
        replace : bool, default True
            Whether an element may be drawn more than once.
        p : array_like, optional
            Weight of each element; by default, all are equally likely.

        Returns
        -------
        Tensor

        Raises
        ------
        ShapeError
            If `values` has no axes, `p` does not belong to its first one, or more are drawn
            without replacement than there are.

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.choice(10, shape=(3,), replace=False)
        <Tensor int64[3]>
        """
        t = arange(int(values)) if is_int(values) else as_tensor(values)
        sizes = as_shape(shape, "choice")
        _check_choice(t, sizes, replace, None if p is None else as_tensor(p))
        if not replace:
            order = self._weighted_order(t.shape[0], p)
            return take(t, order[: sizes[0]] if sizes else order[0], axis=0)
        if p is not None:
            return take(t, self.categorical(log(as_tensor(p)), sizes), axis=0)
        return take(t, self.randint(0, as_tensor(t.shape[0], INT64), sizes), axis=0)

    def _weighted_order(self, n: Dim, p: TensorLike | None) -> Tensor:
        """Return an order in which elements of larger weight are likely to come first."""
        if p is None:
            return self.permutation(n)
        # The next arrival among clocks whose rates are the weights (P. Efraimidis, P. Spirakis, 2006).
        kind = float_dtype("choice", None, p)
        return argsort(self._exponential((n,), kind) / as_parameter(p, kind))

    def pooling_boundaries(self, size: int, regions: int) -> Tensor:
        """Draw where the regions of a fractional max pooling begin and end along an axis.

        Pseudo-random sequences of B. Graham, "Fractional max-pooling" (2014): the regions have
        two lengths, the whole numbers around ``size / regions``, in an order that one random
        number decides.

        Parameters
        ----------
        size : int
            Size of the axis.
        regions : int
            How many regions to divide it into.

        Returns
        -------
        Tensor of int64
            ``regions + 1`` numbers from 0 to `size`; region i begins at number i and ends
            before number i + 1, or with it, where regions overlap.

        Raises
        ------
        ArgumentError
            If there are fewer than one region, or more than `size`.

        Examples
        --------
        >>> import graphc as gx
        >>> gx.random.pooling_boundaries(25, 16)
        <Tensor int64[17]>
        """
        if not is_int(size) or not is_int(regions) or not 1 <= regions <= size:
            raise ArgumentError(
                "pooling_boundaries: bad number of regions",
                expected="from 1 to the size of the axis",
                given=f"{regions!r} of {size!r}",
                where=caller(),
            )
        return (arange(regions + 1) * size + self.randint(0, regions)) // regions


def _integer(op: str, bound: TensorLike) -> Tensor:
    t = as_tensor(bound, INT64) if is_int(bound) else as_tensor(bound)
    if t.dtype not in INTEGERS:
        raise DTypeError(
            f"{op}: a bound has an unsupported dtype",
            expected="an integer dtype",
            given=str(t.dtype),
            where=caller(),
        )
    return astype(t, INT64)


def _check_choice(values: Tensor, sizes: tuple[Dim, ...], replace: bool, p: Tensor | None) -> None:
    if not values.ndim:
        raise ShapeError(
            "choice: values have no axes", expected="one or more", given=str(values), where=caller()
        )
    if p is not None and p.shape != values.shape[:1]:
        raise ShapeError(
            "choice: bad weights", expected=f"one for each of {values.shape[0]}", given=str(p), where=caller()
        )
    if replace:
        return
    n, count = values.shape[0], math.prod(sizes) if sizes else 1
    if len(sizes) > 1 or (is_int(n) and is_int(count) and count > n):
        raise ShapeError(
            "choice: too many without replacement",
            expected=f"one axis of at most {n}",
            given=str(tuple(map(str, sizes))),
            where=caller(),
        )
