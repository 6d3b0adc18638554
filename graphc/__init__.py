"""graphc: a static-graph compiler and executor.

Define a symbolic graph, let passes fuse and prune it, run the compiled program::

    import graphc as gx

    x = gx.placeholder("x", shape=("batch", 784))
    w = gx.variable(np.zeros((784, 10), "float32"), name="w")
    scores = gx.compile(x, gx.softmax(x @ w))
    scores(images)
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING

__version__ = "0.1.0"
_NAMESPACES = ("debug", "errors", "nn", "onnx", "optim", "probability", "random")
# What a process needs that only runs compiled programs: the rest takes far longer to import.
_LIGHT = {
    "Program": "graphc.runtime.program",
    "load": "graphc.artifact.loading",
    "get_num_threads": "graphc.runtime.team",
    "set_num_threads": "graphc.runtime.team",
}

if _TYPE_CHECKING:
    from graphc.public import *
else:

    def __getattr__(name: str) -> object:
        """Import what is asked for: a few things alone, anything else with the whole public face."""
        if name in _LIGHT:
            return getattr(_import_module(_LIGHT[name]), name)
        if name in _NAMESPACES:
            return _import_module(f"graphc.{name}")
        # `from graphc import module` asks for an attribute first, and imports the module if there is none.
        if not name.startswith("_") and _find_spec(f"graphc.{name}") is None:
            public = vars(_import_module("graphc.public"))
            globals().update({k: v for k, v in public.items() if not k.startswith("_")})
            if name in public:
                return public[name]
        raise AttributeError(f"module 'graphc' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public face: every op, what stands above, and the namespaces; not the modules behind them."""
    found = vars(_import_module("graphc.public"))
    return sorted(
        n
        for n, v in found.items()
        if not n.startswith("_") and (n in _NAMESPACES or not isinstance(v, _ModuleType))
    )
