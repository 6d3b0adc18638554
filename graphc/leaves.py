"""The leaves of a graph: placeholders, variables and constants."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.ir import Attrs, Node
from graphc.lower.rules import Leaf
from graphc.ops.op import Op, current_place
from graphc.state import CHANGES, ConstantData, Storage
from graphc.tensor import Tensor, TensorLike
from graphc.types import TensorType, as_dtype

Array = np.ndarray[Any, Any]


def _no_rule(*args: Any, **attrs: Any) -> Any:
    raise ArgumentError("a leaf carries its own type and value")


PLACEHOLDER = Op("placeholder", _no_rule, _no_rule, Leaf())
VARIABLE = Op("variable", _no_rule, _no_rule, Leaf())
CONSTANT = Op("constant", _no_rule, _no_rule, Leaf())


# ---------------------------------------------------------------- placeholders
def placeholder(name: str, shape: Sequence[int | str | Dim] = (), dtype: object = "float32") -> Tensor:
    """Declare an input of the graph.

    Parameters
    ----------
    name : str
        Name by which it can be fed.
    shape : sequence of int, str or dimension
        Sizes; a string names a size that is known only at the call.  Equal names are equal
        sizes throughout the program.
    dtype : dtype, default float32
        Element type.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If the name or a size is not usable.
    DTypeError
        If graphc does not have the dtype.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.placeholder("x", shape=("batch", 784))
    <Tensor 'x' float32[batch, 784]>
    """
    type = TensorType(tuple(_dimension(d, name) for d in _listed(shape)), as_dtype(dtype))
    return Tensor(Node(PLACEHOLDER, (), Attrs(), type, checked_name("placeholder", name), caller()))


def checked_name(owner: str, name: object) -> str:
    """Return a user's name for something, which listings and comments show on one line.

    Raises
    ------
    ArgumentError
        If it is no text, or text that would break a line.
    """
    if isinstance(name, str) and name and name.isprintable():
        return name
    raise ArgumentError(
        f"{owner}: bad name",
        expected="a non-empty str of printable characters",
        given=repr(name),
        where=caller(),
    )


def _listed(shape: Any) -> tuple[Any, ...]:
    return (shape,) if isinstance(shape, (int, str, dims.SymbolicDim)) else tuple(shape)


def _dimension(d: Any, owner: str) -> Dim:
    if isinstance(d, str) and d.isidentifier():
        return dims.symbol(d)
    if isinstance(d, dims.SymbolicDim):
        return d
    if isinstance(d, (int, np.integer)) and not isinstance(d, bool) and d >= 0:
        return int(d)
    raise ArgumentError(
        f"placeholder {owner!r}: bad size in shape",
        expected="a non-negative int, or a name that is a Python identifier",
        given=repr(d),
        where=caller(),
    )


# ------------------------------------------------------------------- constants
def constant(value: TensorLike, dtype: object = None, name: str | None = None) -> Tensor:
    """Embed a value in the graph.

    Parameters
    ----------
    value : array_like
        Copied, so that later changes of the array change nothing.
    dtype : dtype, optional
        Element type; by default the array's own (Python floats are float64, ints int64).
    name : str, optional
        Shown when the graph is printed.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.constant([1, 2, 3])
    <Tensor int64[3]>
    """
    if isinstance(value, Tensor):
        raise ArgumentError("constant: the value is already a Tensor", given=repr(value), where=caller())
    found = _array(value, "constant")
    array = np.array(found, dtype=as_dtype(dtype if dtype is not None else found.dtype), order="C")
    return Tensor(constant_node(array, None if name is None else checked_name("constant", name)))


def constant_node(array: Array, name: str | None = None, where: Any = None) -> Node:
    """Return a constant node that owns `array` (not copied; made read-only)."""
    array.flags.writeable = False
    type = TensorType(tuple(array.shape), array.dtype)
    return Node(CONSTANT, (), Attrs(), type, name, where or current_place(), ConstantData(array))


def _array(value: Any, owner: str) -> Array:
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise ShapeError(
            f"{owner}: the value is not a rectangular array",
            expected="nested sequences of equal lengths",
            given=str(error),
            where=caller(),
        ) from error
    if found.dtype.kind in _NO_NUMBERS:
        raise DTypeError(
            f"{owner}: the value is no number",
            expected="a number or an array of numbers",
            given=repr(value),
            where=caller(),
        )
    return found


# Kinds of dtype: objects, text, bytes, records, times.
_NO_NUMBERS = "OSTUVMm"


# ------------------------------------------------------------------- variables
class Variable(Tensor):
    """State that programs read and update; a Tensor in every expression.

    Attributes
    ----------
    trainable : bool
        Whether optimizers update it by default.
    value : ndarray
        A copy of the current value; assigning replaces it.
    """

    __slots__ = ("__weakref__",)

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.storage.handle = weakref.ref(self)

    @classmethod
    def of(cls, node: Node) -> Variable:
        """Return the handle of a variable's node: the user's own while that is alive."""
        storage: Storage = node.payload
        found = storage.handle() if storage.handle is not None else None
        return found if found is not None else cls(node)

    @property
    def trainable(self) -> bool:
        """Whether optimizers update it by default."""
        return self.storage.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.storage.trainable = value

    @property
    def storage(self) -> Storage:
        """The memory that programs share."""
        storage: Storage = self.node.payload
        return storage

    @property
    def value(self) -> Array:
        """A copy of the current value."""
        with self.storage.lock:
            return self.storage.array.copy()

    @value.setter
    def value(self, new: TensorLike) -> None:
        self.assign(new)

    def numpy(self) -> Array:
        """Return a copy of the current value."""
        return self.value

    def assign(self, new: TensorLike) -> None:
        """Replace the value.

        Raises
        ------
        ShapeError, DTypeError
            If the new value does not fit; the variable is unchanged then.
        """
        array = _array(new, f"variable {self.name!r}")
        if array.shape != self.storage.array.shape:
            raise ShapeError(
                f"variable {self.name!r}: cannot assign another shape",
                expected=str(self.storage.array.shape),
                given=str(array.shape),
                where=caller(),
            )
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise DTypeError(
                f"variable {self.name!r}: cannot assign another kind of dtype",
                expected=str(self.dtype),
                given=str(array.dtype),
                where=caller(),
            )
        with self.storage.lock:
            if self.storage.watched:
                CHANGES.note((self.storage,))
            self.storage.array[...] = array

    def __repr__(self) -> str:
        return f"<Variable {self.name!r} {self.type}>"


_count = 0


def variable(
    value: TensorLike, name: str | None = None, dtype: object = None, trainable: bool | None = None
) -> Variable:
    """Create state that programs share.

    Parameters
    ----------
    value : array_like
        Initial value; copied.  Its shape and dtype are the variable's for good.
    name : str, optional
        Name in printed graphs and in saved weights.
    dtype : dtype, optional
        Element type; by default the array's own.
    trainable : bool, optional
        Whether optimizers update it by default; floating variables are, unless told not to.

    Returns
    -------
    Variable

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.zeros((2, 3), "float32"), name="w")
    >>> w
    <Variable 'w' float32[2, 3]>
    >>> w.value = np.ones((2, 3), "float32")
    >>> float(w.value.sum())
    6.0
    """
    global _count
    found = _array(value, "variable")
    kind = as_dtype(dtype if dtype is not None else found.dtype)
    _count += 1
    type = TensorType(tuple(found.shape), kind)
    label = f"variable_{_count}" if name is None else checked_name("variable", name)
    storage = Storage.of(found.astype(kind), kind.kind == "f" if trainable is None else trainable)
    return Variable(Node(VARIABLE, (), Attrs(), type, label, caller(), storage))
