"""Every operation, one family a file; each op's knowledge stands together in one object.

What users call is collected in `graphc.ops.public`, and imported when first asked for: single
families import each other in any order.
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from graphc.ops.public import *
else:

    def __getattr__(name: str) -> object:
        """Return what users call by this name."""
        # `from graphc.ops import family` asks for an attribute first, then imports a module.
        if not name.startswith("_") and _find_spec(f"graphc.ops.{name}") is None:
            found = vars(_import_module("graphc.ops.public"))
            if name in found:
                return found[name]
        raise AttributeError(f"module 'graphc.ops' has no attribute {name!r}")
