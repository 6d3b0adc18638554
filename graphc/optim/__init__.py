"""Optimizers: graphs that compute the new values of variables.

An optimizer turns a loss into `updates` for `graphc.compile`; its state (momenta, step
counter) are ordinary variables that the same program updates.  Those for full batches make
many steps in one call; `minimize` and `conjugate_gradient` do without variables.
"""

from graphc.optim.clipping import clip_by_global_norm, clip_by_norm, clip_by_value
from graphc.optim.full_batch import FullBatchOptimizer, FullBatchUpdates, Minimum
from graphc.optim.krylov import Solution, conjugate_gradient
from graphc.optim.methods import LBFGS, ConjugateGradient, NewtonCG
from graphc.optim.minimization import minimize
from graphc.optim.optimizer import Optimizer, Updates
from graphc.optim.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSProp
from graphc.optim.schedules import constant, cosine, exponential, multistep, one_cycle, step_decay, warmup

__all__ = [
    "LBFGS",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "ConjugateGradient",
    "FullBatchOptimizer",
    "FullBatchUpdates",
    "Minimum",
    "Momentum",
    "Nesterov",
    "NewtonCG",
    "Optimizer",
    "RMSProp",
    "Solution",
    "Updates",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "conjugate_gradient",
    "constant",
    "cosine",
    "exponential",
    "minimize",
    "multistep",
    "one_cycle",
    "step_decay",
    "warmup",
]
