"""`print`: shows a tensor's value whenever a program computes it."""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from graphc.debug.formats import is_format, numbered
from graphc.dims import Dim
from graphc.effects import TOKEN, concerned_rows, perform, silent, ticket
from graphc.errors import ArgumentError, caller
from graphc.ir import Node
from graphc.lower.rules import Callback
from graphc.ops.attributes import FLAG, TEXT, Rule, Use, at_least, either
from graphc.ops.batching import all_stacked, with_rank
from graphc.ops.extrema import max as maximum_of
from graphc.ops.op import Infer, Op, current_place
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, TensorType

__all__ = ["print", "redirect"]

Array = np.ndarray[Any, Any]


class Sink(Protocol):
    """What lines are written to."""

    def write(self, text: str, /) -> object:
        """Take text."""
        ...


_sinks: list[Sink] = []
_lock = threading.Lock()


def print(
    tensor: TensorLike,
    *more: TensorLike,
    label: str | None = None,
    format: str | None = None,
    summarize: int = 6,
) -> Tensor:
    """Print values whenever they are computed, and return the first one unchanged.

    The result need not be used.  A program prints what it computes and what is derived from that; deriving
    may take inputs that the program reads anyway, or variables, but not both, as another model does.  Within
    the body of a loop, a branch or a vectorized function, it prints whenever that runs.  Prints and checks
    happen in the order in which they were written, and no optimization changes that.

    Parameters
    ----------
    tensor, *more : array_like
        What to print.
    label : str, optional
        What the line begins with; by default the name of the first value, or the user's line.
    format : str, optional
        Text with fields for the values, such as ``"loss {:.3f}"`` or ``"{1}, {0}"``; replaces label and
        values.
    summarize : int, default 6
        Of axes longer than this, only both ends are shown.

    Returns
    -------
    Tensor
        The first value itself.

    Raises
    ------
    ArgumentError
        If `label` or `format` is not usable, or `summarize` is no positive int.
    GraphError
        Outside of loops and branches, if the values are constants, so that no program is concerned.

    Notes
    -----
    Every print is a call back into Python with copies of the values, and keeps these from being fused away.
    Programs without prints pay nothing.  What a gradient computes again is not printed again.  Of a
    vectorized function, the values of all rows that are concerned are printed at once.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=(3,), dtype="float64")
    >>> y = gx.debug.print(x * 2, label="doubled").sum()
    >>> _ = gx.debug.print(y, y / 3, format="sum {:.1f}, mean {:.1f}")
    >>> program = gx.compile(x, y + 1)
    >>> program([1.0, 2.0, 3.0])
    doubled: [2. 4. 6.]
    sum 12.0, mean 4.0
    array(13.)
    """
    where = current_place()
    if label is not None and not (isinstance(label, str) and label.isprintable()):
        raise ArgumentError("print: bad label", expected="printable text", given=repr(label), where=where)
    template = numbered(format)
    if format is not None and not is_format(template, 1 + len(more)):
        raise ArgumentError(
            "print: bad format",
            expected="printable text with fields such as {} and {:.3f}, or {0} and {1:.3f}, for the values",
            given=repr(format),
            where=where,
        )
    if not isinstance(summarize, int) or isinstance(summarize, bool) or summarize < 1:
        raise ArgumentError(
            "print: bad summarize", expected="a positive int", given=repr(summarize), where=where
        )
    values = [as_tensor(v) for v in (tensor, *more)]
    shown = label if label is not None else values[0].name or str(where)
    first = ticket(where)
    attrs: dict[str, Any] = {"label": shown, "format": template, "summarize": summarize, "masked": False}
    perform("print", where, first, PRINT(Tensor(first), *values, **attrs).node)
    return values[0]


@contextmanager
def redirect(file: Sink) -> Iterator[None]:
    r"""Let all programs print to a file instead of to ``sys.stdout``, in all threads.

    Parameters
    ----------
    file : file-like
        Has a method ``write``.

    Yields
    ------
    None

    Raises
    ------
    ArgumentError
        If it has none.

    Examples
    --------
    >>> import graphc as gx, io
    >>> x = gx.placeholder("x", shape=(), dtype="float64")
    >>> _ = gx.debug.print(x)
    >>> program, file = gx.compile(x, x + 1), io.StringIO()
    >>> with gx.debug.redirect(file):
    ...     _ = program(2.0)
    >>> file.getvalue()
    'x: 2.0\n'
    """
    if not callable(getattr(file, "write", None)):
        raise ArgumentError(
            "redirect: not a file", expected="an object with a method write", given=repr(file), where=caller()
        )
    with _lock:
        _sinks.append(file)
    try:
        yield
    finally:
        with _lock:
            _sinks.remove(file)


# ------------------------------------------------------------------------------ the op
def token_rule(ctx: Infer, token: TensorType, *values: TensorType, **attrs: Any) -> TensorType:
    """Type rule of an effect: it hands the token on."""
    if token != TOKEN:
        ctx.shape_error("the first operand is no token", TOKEN, token)
    return token


def _print_rule(ctx: Infer, token: TensorType, *values: TensorType, masked: bool, **attrs: Any) -> TensorType:
    if masked and (not values or values[0].dtype != BOOL):
        ctx.dtype_error("the first value is no mask", BOOL, values[0] if values else "none")
    return token_rule(ctx, token)


def _show(
    token: Array, *values: Array, label: str, format: str | None, summarize: int, masked: bool
) -> Array:
    if silent(token):
        return token
    shown = list(values)
    if masked:
        concerned, *rest = values
        if not concerned.any():
            return token
        shown = [v[concerned] for v in rest]
    line = format.format(*map(_Formatted, shown)) if format is not None else _line(label, shown, summarize)
    target: Sink = _sinks[-1] if _sinks else sys.stdout
    builtins.print(line, file=target)
    return token


class _Formatted:
    """A value in a format string: its specification is that of each element."""

    def __init__(self, value: Array) -> None:
        self.value = value

    def __format__(self, spec: str) -> str:
        if self.value.ndim == 0:
            return builtins.format(self.value.item(), spec)
        each: Any = {"all": lambda v: builtins.format(v.item(), spec)}
        return np.array2string(self.value, formatter=each)


def _line(label: str, values: list[Array], summarize: int) -> str:
    prefix = f"{label}: "
    return prefix + " ".join(text_of(v, summarize, len(prefix)) for v in values)


def text_of(value: Array, summarize: int = 6, indent: int = 0) -> str:
    """Return an array as text, of long axes only both ends."""
    if value.ndim == 0:
        return str(value.item())
    edge = max(summarize // 2, 1)
    long = any(n > summarize for n in value.shape)
    return np.array2string(value, threshold=0 if long else value.size, edgeitems=edge, prefix=" " * indent)


def scalar_token(token: Tensor) -> Tensor:
    """Return one token for all rows: effects have happened for all of them."""
    return maximum_of(token) if token.ndim else token


def _batch(size: Dim, batched: tuple[bool, ...], node: Node, token: Tensor, *given: Tensor) -> Tensor:
    mask, masked = concerned_rows(), node.attrs["masked"]
    values = list(given)
    if masked or mask is not None:
        values = all_stacked(size, batched[1:], given)
    before = [values.pop(0)] if masked else []
    if mask is not None:
        before = [before[0] & with_rank(mask, before[0].ndim - 1)] if before else [mask]
    attrs = {**node.attrs, "masked": bool(before)}
    return node.op(scalar_token(token), *before, *values, **attrs)


def _is_format(value: Any, use: Use) -> bool:
    return is_format(value, len(use.types) - 1 - use.attrs["masked"])


PRINT = Op(
    "debug_print",
    _print_rule,
    _show,
    Callback(),
    attributes={
        "label": TEXT,
        "masked": FLAG,
        "summarize": at_least(1),
        # Fields that are numbers, and no widths that fill memory.
        "format": either(Rule("a format string of the values", _is_format), None),
    },
    batch=_batch,
    dtypes=(),
)
