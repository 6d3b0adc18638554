"""Log-densities, entropies and divergences of distributions, as plain functions of Tensors.

===========  ==========================  =====================  =====================================
             ``..._log_prob``            ``..._entropy``        ``..._kl``, of the first from the second
===========  ==========================  =====================  =====================================
normal       x, loc, scale               scale                  loc_p, scale_p, loc_q, scale_q
bernoulli    x, logits or probs          logits or probs        logits_p, logits_q, or probs
categorical  x, logits                   logits                 logits_p, logits_q
gamma        x, alpha, scale             alpha, scale           alpha_p, scale_p, alpha_q, scale_q
beta         x, alpha, beta              alpha, beta            alpha_p, beta_p, alpha_q, beta_q
===========  ==========================  =====================  =====================================

Arguments broadcast and are promoted to one floating dtype; gradients of any order flow to all of them.  The
divergence is that of Kullback and Leibler.  `graphc.random` draws from all of these, with the same
parameters.  Gamma and beta are computed in float64, since large terms cancel in them.
"""

from __future__ import annotations

from graphc.probability.continuous import (
    beta_entropy,
    beta_kl,
    beta_log_prob,
    gamma_entropy,
    gamma_kl,
    gamma_log_prob,
    normal_entropy,
    normal_kl,
    normal_log_prob,
)
from graphc.probability.discrete import (
    bernoulli_entropy,
    bernoulli_kl,
    bernoulli_log_prob,
    categorical_entropy,
    categorical_kl,
    categorical_log_prob,
)

__all__ = [
    "bernoulli_entropy",
    "bernoulli_kl",
    "bernoulli_log_prob",
    "beta_entropy",
    "beta_kl",
    "beta_log_prob",
    "categorical_entropy",
    "categorical_kl",
    "categorical_log_prob",
    "gamma_entropy",
    "gamma_kl",
    "gamma_log_prob",
    "normal_entropy",
    "normal_kl",
    "normal_log_prob",
]
