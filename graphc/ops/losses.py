"""Every loss and penalty; losses return one value per example.

They stand apart from the top level, where ``l1`` would mean little: `graphc.nn` shows them.
"""

from graphc.ops.classification_losses import multiclass_hinge, softmax_cross_entropy
from graphc.ops.penalties import elastic_penalty, l1_penalty, l2_penalty
from graphc.ops.regression_losses import (
    binary_cross_entropy,
    huber,
    kl_divergence,
    l1,
    mse,
    sigmoid_cross_entropy,
)

__all__ = [
    "binary_cross_entropy",
    "elastic_penalty",
    "huber",
    "kl_divergence",
    "l1",
    "l1_penalty",
    "l2_penalty",
    "mse",
    "multiclass_hinge",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]
