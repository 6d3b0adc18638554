"""Device functions: what kernels and each other call by name, compiled on demand for each operand type."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np

from graphc.codegen import (
    tile,
    tile_ahead,
    tile_classes,
    tile_copy,
    tile_dot,
    tile_gather,
    tile_slide,
    tile_taps,
    tile_transpose,
)
from graphc.errors import KernelError
from graphc.frontend.expressions import Specialize
from graphc.frontend.operators import literal
from graphc.frontend.statements import Body
from graphc.frontend.types import SCALARS, STORAGE, Tuple, Type
from graphc.frontend.writer import Bundle, Function, Operand, Value, constant

__all__ = ["find", "specialized", "tile_named"]

# Plain Python functions that kernels call by name; each may call others of its own module.
DEVICE_MODULES = ("graphc.codegen.mathlib", "graphc.codegen.devicelib")
# Modules that write register tiles: function(name) returns one, or None.
TILE_MODULES = (
    tile,
    tile_ahead,
    tile_classes,
    tile_copy,
    tile_dot,
    tile_gather,
    tile_slide,
    tile_taps,
    tile_transpose,
)
_ATTRIBUTES = "alwaysinline nounwind"


def find(name: str, scope: Mapping[str, Any] | None = None) -> Operand | Specialize:
    """Return what a free name of a kernel or of a device function means.

    Parameters
    ----------
    name : str
        The name.
    scope : mapping of str to object, optional
        Globals of the device function that uses it.

    Raises
    ------
    KernelError
        If it means nothing.
    """
    value = (scope or {}).get(name)
    if value is None:
        value = _of_the_library(name)
    if value is None:
        raise KernelError(f"unknown name {name!r} in kernel code")
    if isinstance(value, FunctionType):
        return functools.partial(specialized, value)
    return value if isinstance(value, functools.partial) else _constant(name, value)


def _of_the_library(name: str) -> Any:
    for module in map(importlib.import_module, DEVICE_MODULES):
        if hasattr(module, name):
            return getattr(module, name)
    written = tile_named(name)
    return None if written is None else functools.partial(_ready, written)


def tile_named(name: str) -> Function | None:
    """Return the register tile of this name, None if it names none."""
    found = (module.function(name) for module in TILE_MODULES)
    return next((written for written in found if written is not None), None)


def _ready(function: Function, arguments: tuple[Operand, ...]) -> Function:
    given = tuple(a.type for a in arguments)
    if given != function.parameters:
        expected, found = (", ".join(map(str, kinds)) for kinds in (function.parameters, given))
        raise KernelError(f"{function.symbol}({expected}) is called with ({found})")
    return function


def _constant(name: str, value: Any) -> Operand:
    if isinstance(value, tuple):
        return Bundle(tuple(_number(name, item) for item in value))
    return _number(name, value)


def _number(name: str, value: Any) -> Value:
    if isinstance(value, np.generic):
        kind = SCALARS["b1"] if value.dtype == np.bool_ else STORAGE.get(str(value.dtype))
        if kind is not None:
            return constant(kind, value.item())
    if isinstance(value, (int, float)):
        return literal(value)
    raise KernelError(f"{name!r} is {type(value).__name__}, which kernel code cannot use")


def specialized(function: FunctionType, arguments: tuple[Operand, ...]) -> Function:
    """Return a device function compiled for operands of these types."""
    return _compiled(function, tuple(a.type for a in arguments))


@functools.cache
def _compiled(function: FunctionType, kinds: tuple[Type, ...]) -> Function:
    """Compile a device function, once in a process for each tuple of operand types."""
    tree = _syntax(function)
    names = [a.arg for a in tree.args.args]
    if len(names) != len(kinds):
        raise KernelError(f"{function.__name__}() takes {len(names)} operands, not {len(kinds)}")
    arguments: dict[str, Operand] = {}
    parameters: list[str] = []
    for name, kind in zip(names, kinds, strict=True):
        items = kind.items if isinstance(kind, Tuple) else (kind,)
        values = tuple(Value(item, f"%p{len(parameters) + k}") for k, item in enumerate(items))
        parameters += map(str, values)
        arguments[name] = Bundle(values) if isinstance(kind, Tuple) else values[0]
    body = Body(functools.partial(find, scope=function.__globals__), tree, arguments)
    result = body.result
    if result is None:
        raise KernelError(f"{function.__name__}() returns nothing")
    body.w.run(f"ret {_whole(body, result)}")
    symbol = f"{function.__module__.rpartition('.')[2]}.{function.__name__}.{'.'.join(map(_tag, kinds))}"
    header = f"define internal {result.type.llvm} @{symbol}({', '.join(parameters)}) {_ATTRIBUTES}"
    text = body.w.finish(header)
    return Function(symbol, kinds, result.type, text, body.w.declarations, tuple(body.w.callees))


def _tag(kind: Type) -> str:
    """Return a type as a part of a symbol."""
    if isinstance(kind, Tuple):
        return "_".join(map(_tag, kind.items))
    return str(kind).replace("*", "p")


def _whole(body: Body, result: Operand) -> str:
    """Return a result as one operand: a tuple becomes a struct."""
    if isinstance(result, Value):
        return str(result)
    kind, text = result.type.llvm, "poison"
    for position, item in enumerate(result.items):
        text = body.w.name(f"insertvalue {kind} {text}, {item}, {position}")
    return f"{kind} {text}"


def _syntax(function: FunctionType) -> ast.FunctionDef:
    try:
        return _module_syntax(function.__module__)[function.__name__]
    except (OSError, KeyError) as error:
        where = f"{function.__module__}.{function.__name__}"
        raise KernelError(f"the source of {where} is needed to compile it, and is not there") from error


@functools.cache
def _module_syntax(name: str) -> Mapping[str, ast.FunctionDef]:
    """Return the syntax trees of a module's functions, all parsed at once."""
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
