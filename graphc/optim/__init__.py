"""Optimizers: graphs that compute the new values of variables.

An optimizer turns a loss into `updates` for `graphc.compile`; its state (momenta, step
counter) are ordinary variables that the same program updates.
"""

from graphc.optim.clipping import clip_by_global_norm, clip_by_norm, clip_by_value
from graphc.optim.optimizer import Optimizer, Updates
from graphc.optim.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSProp
from graphc.optim.schedules import constant, cosine, exponential, multistep, one_cycle, step_decay, warmup

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSProp",
    "Updates",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "constant",
    "cosine",
    "exponential",
    "multistep",
    "one_cycle",
    "step_decay",
    "warmup",
]
