"""`Module` owns variables; `Layer` is one from a Tensor to a Tensor; `Sequential` is a chain of them."""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import ArgumentError, caller
from graphc.leaves import Variable, variable
from graphc.nn.initializers import Initializer, resolve
from graphc.scopes import enter
from graphc.tensor import Tensor, TensorLike, as_tensor

__all__ = ["Activation", "Flatten", "Layer", "Module", "Sequential"]

Function = Callable[[Tensor], Tensor]
_counters: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))
_lock = threading.Lock()


class Module:
    """What owns variables, however it is called; `Layer` is the usual one.

    Variables and modules are kept in attributes, alone or in lists, tuples and dicts; they are
    found there in order of definition.

    Parameters
    ----------
    name : str, optional
        Prefix of its variables' names in printed graphs; by default the class and a number.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> class Distance(gx.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.dense = gx.nn.Dense(3, 2, bias=False, seed=0)
    ...
    ...     def __call__(self, x, y):
    ...         return gx.abs(self.dense(x) - self.dense(y)).sum(axis=-1)
    >>> distance = Distance()
    >>> list(distance.named_variables())
    ['dense.weight']
    >>> gx.evaluate(distance(np.ones((4, 3)), np.ones(3)))
    array([0., 0., 0., 0.])
    """

    def __init__(self, name: str | None = None) -> None:
        kind = type(self).__name__
        with _lock:
            self.name = name if name is not None else f"{kind}_{next(_counters[kind])}"
        # A number of the whole process would make equal models print differently.
        self.scope_name = kind if name is None else name

    def as_layer(self) -> Layer:
        """Return what stands for it where one Tensor is passed on, as in a chain of layers.

        Raises
        ------
        ArgumentError
            If it is not made for that.
        """
        raise ArgumentError(
            f"{type(self).__name__}: not a layer",
            expected="a Layer, or a function of a Tensor",
            given=repr(self),
            where=caller(),
        )

    @property
    def variables(self) -> list[Variable]:
        """Every variable, in order of definition, each once."""
        return list(self.named_variables().values())

    def named_variables(self) -> dict[str, Variable]:
        """Return the variables by their place: ``{"0.weight": ..., "0.bias": ...}``.

        A variable that stands in several places has the name of the first.
        """
        places: dict[Variable, str] = {}
        for place, found in _variables_in(self.members(), ""):
            places.setdefault(found, place)
        return {place: found for found, place in places.items()}

    def members(self) -> Mapping[str, object]:
        """Return where variables and inner modules are looked for: the attributes."""
        return vars(self)

    def weight_variable(
        self,
        role: str,
        shape: tuple[int, ...],
        initializer: str | Initializer,
        dtype: object,
        rng: Any = None,
    ) -> Variable:
        """Create a trainable variable of this module."""
        value = resolve(initializer)(shape, dtype, rng)
        return variable(value, name=f"{self.name}.{role}", trainable=True)

    def __repr__(self) -> str:
        count = sum(v.storage.array.size for v in self.variables)
        return f"<{type(self).__name__} {self.name!r}, {count} values>"


class Layer(Module, ABC):
    """Base of the layers: modules that make one Tensor of another.

    A subclass defines `forward`.

    Parameters
    ----------
    name : str, optional
        Prefix of its variables' names in printed graphs; by default the class and a number.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> class Scale(gx.nn.Layer):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = gx.variable(np.float32(2), name="factor")
    ...
    ...     def forward(self, x, training):
    ...         return x * self.factor
    >>> scale = Scale()
    >>> scale.variables
    [<Variable 'factor' float32[]>]
    >>> gx.evaluate(scale(np.float32([1, 2])))
    array([2., 4.], dtype=float32)
    """

    def __call__(self, x: TensorLike, training: bool = False) -> Tensor:
        """Apply the layer; `training` chooses the behaviour of dropout and batch normalization."""
        return self.applied(x, training, self.scope_name)

    def applied(self, x: TensorLike, training: bool, label: str) -> Tensor:
        """Apply the layer in a scope."""
        with enter(label):
            return self.forward(as_tensor(x), training)

    @abstractmethod
    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return the layer's output for `x`."""

    def as_layer(self) -> Layer:
        """Return the layer itself."""
        return self


def _variables_in(value: object, place: str) -> Iterator[tuple[str, Variable]]:
    if isinstance(value, Variable):
        yield place, value
        return
    for key, inner in _members_of(value):
        yield from _variables_in(inner, f"{place}.{key}" if place else key)


def _members_of(value: object) -> list[tuple[str, object]]:
    if isinstance(value, Module):
        return list(value.members().items())
    if isinstance(value, Mapping):
        return [(str(key), inner) for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return [(str(position), inner) for position, inner in enumerate(value)]
    return []


class Sequential(Layer):
    """Layers applied one after another.

    Parameters
    ----------
    *layers : Module or callable
        Layers, and plain functions of a Tensor such as `graphc.relu`; of recurrent layers, the
        outputs are passed on.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> model = gx.nn.Sequential(gx.nn.Dense(4, 8, seed=0), gx.relu, gx.nn.Dense(8, 2, seed=1))
    >>> model(np.ones((3, 4), "float32"))
    <Tensor float32[3, 2]>
    >>> list(model.named_variables())
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Module | Function, name: str | None = None) -> None:
        super().__init__(name)
        self.layers = tuple(layer_of("Sequential", item) for item in layers)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Apply every layer in turn."""
        for position, layer in enumerate(self.layers):
            x = layer.applied(x, training, f"{position}.{layer.scope_name}")
        return x

    def members(self) -> Mapping[str, object]:
        """Return the layers by position."""
        return {str(position): layer for position, layer in enumerate(self.layers)}

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Layer:
        return self.layers[position]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)


class Activation(Layer):
    """A function as a layer.

    Parameters
    ----------
    function : callable
        From Tensor to Tensor.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.nn.Activation(gx.relu)([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self, function: Function, name: str | None = None) -> None:
        super().__init__(name if name is not None else getattr(function, "__name__", None))
        self.function = function

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Apply the function."""
        return self.function(x)


class Flatten(Layer):
    """Join all axes from `start_axis` on into one.

    Parameters
    ----------
    start_axis : int, default 1
        The first axis to join; the batch stays as it is by default.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.Flatten()(np.zeros((2, 3, 4)))
    <Tensor float64[2, 12]>
    """

    def __init__(self, start_axis: int = 1, name: str | None = None) -> None:
        super().__init__(name)
        self.start_axis = start_axis

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return `x` with its last axes joined."""
        start = self.start_axis + x.ndim if self.start_axis < 0 else self.start_axis
        if not 0 <= start < x.ndim:
            raise ArgumentError(
                "Flatten: bad start_axis",
                expected=f"an axis of {x.type}",
                given=repr(self.start_axis),
                where=caller(),
            )
        return x.reshape((*x.shape[:start], dims.product(x.shape[start:])))


def layer_of(owner: str, item: Any) -> Layer:
    """Return a module or a function as a layer, or raise `ArgumentError`."""
    if isinstance(item, Module):
        return item.as_layer()
    if callable(item):
        return Activation(item)
    raise ArgumentError(
        f"{owner}: not a layer",
        expected="a Layer, or a function of a Tensor",
        given=repr(item),
        where=caller(),
    )


def positive(owner: str, **sizes: int) -> None:
    """Raise `ArgumentError` unless every size is a positive int."""
    for name, value in sizes.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise ArgumentError(
                f"{owner}: bad {name}", expected="a positive int", given=repr(value), where=caller()
            )
