"""`scope`: the user's names for parts of a model."""

from __future__ import annotations

from contextlib import _GeneratorContextManager

from graphc.errors import ArgumentError, caller
from graphc.scopes import enter

__all__ = ["scope"]


def scope(name: str) -> _GeneratorContextManager[None]:
    """Name the nodes that are made within a ``with`` block, for every view of a graph.

    Scopes nest.  Layers and optimizers open one of their own when they are used.  Nodes of a gradient belong
    to the scope of the nodes that they derive from.  Names of variables do not change.

    Parameters
    ----------
    name : str
        Printable and without blanks; ``"a/b"`` is the scope ``b`` within ``a``.

    Returns
    -------
    context manager
        To be entered by ``with``, or to decorate a function.

    Raises
    ------
    ArgumentError
        If the name is not usable.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("n",))
    >>> with gx.scope("encoder"), gx.scope("head"):
    ...     y = gx.exp(x)
    >>> y.node.where.scope
    'encoder/head'

    A scope serves as a decorator, too:

    >>> @gx.scope("decoder")
    ... def decode(x):
    ...     return -x
    >>> decode(y).node.where.scope
    'decoder'
    """
    if not _is_usable(name):
        raise ArgumentError(
            "scope: bad name",
            expected="a printable name without blanks, or several joined by slashes",
            given=repr(name),
            where=caller(),
        )
    return enter(name)


def _is_usable(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and " " not in name and all(name.split("/"))
