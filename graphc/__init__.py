"""graphc: a static-graph compiler and executor.

Define a symbolic graph, let passes fuse and prune it, run the compiled program::

    import graphc as gx

    x = gx.placeholder("x", shape=("batch", 784))
    w = gx.variable(np.zeros((784, 10), "float32"), name="w")
    scores = gx.compile(x, gx.softmax(x @ w))
    scores(images)
"""

from types import ModuleType as _ModuleType

from graphc import debug as debug
from graphc import errors as errors
from graphc import nn as nn
from graphc import optim as optim
from graphc import probability as probability
from graphc import random as random
from graphc.autodiff import grad as grad
from graphc.checkpointing import checkpoint as checkpoint
from graphc.compiler import compile as compile
from graphc.control import associative_scan as associative_scan
from graphc.control import cond as cond
from graphc.control import fori_loop as fori_loop
from graphc.control import map as map
from graphc.control import scan as scan
from graphc.control import switch as switch
from graphc.control import while_loop as while_loop
from graphc.derivatives import Linearization as Linearization
from graphc.derivatives import gauss_newton_vp as gauss_newton_vp
from graphc.derivatives import hvp as hvp
from graphc.derivatives import linearize as linearize
from graphc.derivatives import vjp as vjp
from graphc.forward_mode import jvp as jvp
from graphc.gradient_check import check_gradients as check_gradients
from graphc.interpreter import evaluate as evaluate
from graphc.jacobians import hessian as hessian
from graphc.jacobians import jacobian as jacobian
from graphc.leaves import Variable as Variable
from graphc.leaves import constant as constant
from graphc.leaves import placeholder as placeholder
from graphc.leaves import variable as variable
from graphc.nn.attention import scaled_dot_product_attention as scaled_dot_product_attention
from graphc.nn.dropout import drop_connect as drop_connect
from graphc.nn.dropout import dropout as dropout
from graphc.ops.public import *
from graphc.runtime.program import Program as Program
from graphc.runtime.team import get_num_threads as get_num_threads
from graphc.runtime.team import set_num_threads as set_num_threads
from graphc.serialization import load_variables as load_variables
from graphc.serialization import save_variables as save_variables
from graphc.tensor import Tensor as Tensor
from graphc.vectorization import vectorize as vectorize

__version__ = "0.1.0"
_NAMESPACES = ("debug", "errors", "nn", "optim", "probability", "random")


def __dir__() -> list[str]:
    """List the public face: every op, what stands above, and the namespaces; not the modules behind them."""
    found = (n for n, v in globals().items() if n in _NAMESPACES or not isinstance(v, _ModuleType))
    return sorted(n for n in found if not n.startswith("_"))
