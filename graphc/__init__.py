"""graphc: a static-graph compiler and executor.

Define a symbolic graph, let passes fuse and prune it, run the compiled program::

    import graphc as gx
"""

from graphc import debug, nn, optim, random
from graphc.autodiff import grad
from graphc.compiler import compile
from graphc.gradient_check import check_gradients
from graphc.interpreter import evaluate
from graphc.leaves import Variable, constant, placeholder, variable
from graphc.nn.dropout import drop_connect, dropout
from graphc.ops import *
from graphc.runtime.program import Program
from graphc.serialization import load_variables, save_variables
from graphc.tensor import Tensor

__all__ = [
    "Program",
    "Tensor",
    "Variable",
    "check_gradients",
    "compile",
    "constant",
    "debug",
    "drop_connect",
    "dropout",
    "evaluate",
    "grad",
    "load_variables",
    "nn",
    "optim",
    "placeholder",
    "random",
    "save_variables",
    "variable",
]
__version__ = "0.1.0"
