"""Tensor handles: what users compose into a graph.

A `Tensor` wraps a `Node` and adds operators, indexing and NumPy's methods.  It has no
value; Python control flow on it raises and names the graph's own control flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, Union, cast

import numpy as np

# The ops are written in terms of Tensor: its methods look them up when they are called.
import graphc as gx
from graphc.dims import Dim, Shape, SymbolicDim
from graphc.errors import ControlFlowError, DTypeError, caller
from graphc.ir import Node
from graphc.types import INT64, DType, Scalar, TensorType

Array = np.ndarray[Any, Any]
TensorLike = Union["Tensor", Array, np.generic, Scalar, SymbolicDim, Sequence[Any]]
Axes = int | Sequence[int] | None


class Tensor:
    """A value of the graph: a shape, a dtype and how to compute it.

    Tensors come from `graphc.placeholder`, `graphc.variable`, `graphc.constant` and from
    operations on these.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("n", 3), dtype="float32")
    >>> (x * 2).sum(axis=1)
    <Tensor float32[n]>
    """

    __slots__ = ("node",)
    # NumPy arrays on the left hand defer to the Tensor's reflected operators.
    __array_priority__ = 1000

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def type(self) -> TensorType:
        """Shape and dtype."""
        return self.node.type

    @property
    def shape(self) -> Shape:
        """Sizes, each an int or a symbolic dimension."""
        return self.node.type.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.node.type.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.node.type.ndim

    @property
    def size(self) -> Dim:
        """Number of elements."""
        return self.node.type.size

    @property
    def name(self) -> str | None:
        """The user's name for it, if any."""
        return self.node.name

    def __repr__(self) -> str:
        label = f" {self.name!r}" if self.name else ""
        return f"<Tensor{label} {self.type}>"

    def _repr_html_(self) -> str:
        # Deferred: it describes tensors.
        from graphc.inspection.display import tensor_html

        return tensor_html(self)

    def _repr_svg_(self) -> str | None:
        # Deferred: it describes tensors.
        from graphc.inspection.display import tensor_picture

        return tensor_picture(self)

    # -- what a symbolic value cannot do
    def _no_value(
        self, asked: str, instead: str = "gx.where, gx.cond or gx.while_loop; gx.evaluate shows a value"
    ) -> NoReturn:
        raise ControlFlowError(
            f"{asked} of a symbolic Tensor: its value exists only when a program runs",
            expected=instead,
            given=repr(self),
            where=caller(),
        )

    def __bool__(self) -> bool:
        self._no_value("truth value (if, while, and, or, not)")

    def __float__(self) -> float:
        self._no_value("float()")

    def __int__(self) -> int:
        self._no_value("int()")

    def __index__(self) -> int:
        self._no_value("use as a Python index")

    def __len__(self) -> int:
        return self._rows("len()")

    def __iter__(self) -> Any:
        return (self[i] for i in range(self._rows("iteration")))

    def _rows(self, asked: str) -> int:
        first = self.shape[0] if self.shape else None
        if isinstance(first, int):
            return first
        self._no_value(asked, "a first dimension of fixed size (.shape[0] is a size like any other)")

    def __array__(self, dtype: object = None, copy: object = None) -> Array:
        self._no_value("conversion to a NumPy array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Tensor:
        # numpy.exp(x) builds gx.exp(x): ours is the function that NumPy has under the same name.
        ours = next((n for n in dir(gx) if getattr(np, n, None) is ufunc), None)
        if ours is None or method != "__call__" or kwargs:
            call = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            self._no_value(f"numpy.{call}()", "a function of graphc, or gx.evaluate for a value")
        result: Tensor = getattr(gx, ours)(*inputs)
        return result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> NoReturn:
        name = function.__name__
        instead = f"gx.{name}" if hasattr(gx, name) else "a function of graphc"
        self._no_value(f"numpy.{name}()", f"{instead}, or gx.evaluate for a value")

    __hash__ = object.__hash__

    # -- operators
    def __add__(self, other: TensorLike) -> Tensor:
        return gx.add(self, other)

    def __radd__(self, other: TensorLike) -> Tensor:
        return gx.add(other, self)

    def __sub__(self, other: TensorLike) -> Tensor:
        return gx.subtract(self, other)

    def __rsub__(self, other: TensorLike) -> Tensor:
        return gx.subtract(other, self)

    def __mul__(self, other: TensorLike) -> Tensor:
        return gx.multiply(self, other)

    def __rmul__(self, other: TensorLike) -> Tensor:
        return gx.multiply(other, self)

    def __truediv__(self, other: TensorLike) -> Tensor:
        return gx.divide(self, other)

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return gx.divide(other, self)

    def __floordiv__(self, other: TensorLike) -> Tensor:
        return gx.floor_divide(self, other)

    def __rfloordiv__(self, other: TensorLike) -> Tensor:
        return gx.floor_divide(other, self)

    def __mod__(self, other: TensorLike) -> Tensor:
        return gx.remainder(self, other)

    def __rmod__(self, other: TensorLike) -> Tensor:
        return gx.remainder(other, self)

    def __pow__(self, other: TensorLike) -> Tensor:
        return gx.pow(self, other)

    def __rpow__(self, other: TensorLike) -> Tensor:
        return gx.pow(other, self)

    def __matmul__(self, other: TensorLike) -> Tensor:
        return gx.matmul(self, other)

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return gx.matmul(other, self)

    def __and__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_and(self, other)

    def __rand__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_and(other, self)

    def __or__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_or(self, other)

    def __ror__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_or(other, self)

    def __xor__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_xor(self, other)

    def __rxor__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_xor(other, self)

    def __lshift__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_left_shift(self, other)

    def __rlshift__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_left_shift(other, self)

    def __rshift__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_right_shift(self, other)

    def __rrshift__(self, other: TensorLike) -> Tensor:
        return gx.bitwise_right_shift(other, self)

    def __neg__(self) -> Tensor:
        return gx.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return gx.abs(self)

    def __invert__(self) -> Tensor:
        return gx.bitwise_invert(self)

    def __lt__(self, other: TensorLike) -> Tensor:
        return gx.less(self, other)

    def __le__(self, other: TensorLike) -> Tensor:
        return gx.less_equal(self, other)

    def __gt__(self, other: TensorLike) -> Tensor:
        return gx.greater(self, other)

    def __ge__(self, other: TensorLike) -> Tensor:
        return gx.greater_equal(self, other)

    def __eq__(self, other: object) -> Any:
        return gx.equal(self, cast("TensorLike", other))

    def __ne__(self, other: object) -> Any:
        return gx.not_equal(self, cast("TensorLike", other))

    def __getitem__(self, key: Any) -> Tensor:
        from graphc.ops.getitem import getitem  # for the same reason; users write x[key]

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise ControlFlowError(
            "item assignment: a Tensor is a value and never changes",
            expected="gx.where(mask, a, b), or an update of a variable",
            given=f"{self!r}[...] = ...",
            where=caller(),
        )

    # -- NumPy's methods
    @property
    def T(self) -> Tensor:
        """Transpose: axes reversed."""
        return gx.permute_dims(self, tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:
        """Matrix transpose: the last two axes exchanged."""
        return gx.matrix_transpose(self)

    def astype(self, dtype: object) -> Tensor:
        """Convert to another dtype."""
        return gx.astype(self, dtype)

    def reshape(self, *shape: Any) -> Tensor:
        """Give the elements another shape; one size may be -1."""
        return gx.reshape(self, _unpack(shape))

    def transpose(self, *axes: Any) -> Tensor:
        """Permute the axes; without arguments, reverse them."""
        order = _unpack(axes) if axes else tuple(reversed(range(self.ndim)))
        return gx.permute_dims(self, order)

    def flatten(self) -> Tensor:
        """Return the elements as one axis."""
        return gx.reshape(self, (-1,))

    def ravel(self) -> Tensor:
        """Return the elements as one axis."""
        return gx.reshape(self, (-1,))

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Exchange two axes."""
        return gx.swapaxes(self, axis1, axis2)

    def repeat(self, repeats: int, axis: int | None = None) -> Tensor:
        """Repeat each element along an axis."""
        return gx.repeat(self, repeats, axis=axis)

    def round(self) -> Tensor:
        """Round to the nearest integer, halves to even."""
        return gx.round(self)

    def argsort(self, axis: int = -1) -> Tensor:
        """Return the positions that sort the elements along an axis."""
        return gx.argsort(self, axis=axis)

    def squeeze(self, axis: Axes = None) -> Tensor:
        """Drop axes of size 1."""
        return gx.squeeze(self, axis)

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Sum over axes."""
        return gx.sum(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Multiply over axes."""
        return gx.prod(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Average over axes."""
        return gx.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Largest element over axes."""
        return gx.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Smallest element over axes."""
        return gx.min(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axes = None, correction: float = 0, keepdims: bool = False) -> Tensor:
        """Variance over axes."""
        return gx.var(self, axis=axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Axes = None, correction: float = 0, keepdims: bool = False) -> Tensor:
        """Compute the standard deviation over axes."""
        return gx.std(self, axis=axis, correction=correction, keepdims=keepdims)

    def any(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Whether any element is true, over axes."""
        return gx.any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Whether all elements are true, over axes."""
        return gx.all(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Position of the largest element along an axis."""
        return gx.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Position of the smallest element along an axis."""
        return gx.argmin(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """Cumulative sum along an axis."""
        return gx.cumulative_sum(self, axis=axis)

    def clip(self, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
        """Limit the elements to an interval."""
        return gx.clip(self, min, max)

    def dot(self, other: TensorLike) -> Tensor:
        """Return NumPy's ``dot``: a matrix product that pairs all leading axes instead of matching them."""
        right = as_tensor(other)
        if self.ndim == 0 or right.ndim == 0:
            return gx.multiply(self, other)
        if right.ndim <= 2:
            return gx.matmul(self, right)
        return gx.tensordot(self, right, axes=((-1,), (-2,)))

    def take(self, indices: TensorLike, axis: int | None = None) -> Tensor:
        """Select elements along an axis."""
        return gx.take(self, indices, axis=axis)


def _unpack(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args


def as_tensor(value: TensorLike, like: DType | None = None) -> Tensor:
    """Return `value` as a Tensor: arrays become constants, Python scalars take dtype `like`.

    A symbolic size is a Python int that is known later: read at the call, of dtype `like` or int64.

    Raises
    ------
    DTypeError
        If the value has no numeric dtype, or a Python integer does not fit `like`.
    """
    # Deferred: leaves are Tensors.
    from graphc.leaves import constant

    if isinstance(value, Tensor):
        return value
    if isinstance(value, SymbolicDim):
        from graphc.ops.counting import size_tensor  # deferred like the methods' ops

        return size_tensor(value, INT64 if like is None else like)
    if isinstance(value, (bool, int, float)) and like is not None:
        return constant(_fit(value, like))
    return constant(value)


def _fit(value: Scalar, dtype: DType) -> Array:
    try:
        return np.asarray(value, dtype)
    except OverflowError as error:
        info = np.iinfo(dtype)
        raise DTypeError(
            f"Python integer {value} does not fit {dtype}",
            expected=f"{info.min} to {info.max}",
            given=str(value),
            where=caller(),
        ) from error


def promote(*values: TensorLike) -> tuple[tuple[Tensor, ...], DType]:
    """Return operands as Tensors and their common dtype by NumPy-2 rules.

    Python scalars are weak: they take part by kind (bool < int < float), not by width.
    """
    known = [v if isinstance(v, (bool, int, float, SymbolicDim)) else as_tensor(v) for v in values]
    # A size has the kind of an int, whatever it turns out to be.
    parts = [v.dtype if isinstance(v, Tensor) else 0 if isinstance(v, SymbolicDim) else v for v in known]
    dtype = np.result_type(*parts)
    if all(not isinstance(v, Tensor) for v in known):
        dtype = np.result_type(*map(np.asarray, parts))
    return tuple(v if isinstance(v, Tensor) else as_tensor(v, dtype) for v in known), np.dtype(dtype)
