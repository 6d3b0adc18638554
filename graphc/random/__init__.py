"""Random tensors: every run of a program draws anew, reproducibly.

Random state is an ordinary variable (seed, counter).  A program that draws advances the
counter once per call, so each call sees other numbers; the same seed and counter give the
same numbers on any number of threads.

The functions of this module are the methods of one generator, `DEFAULT`.
"""

from __future__ import annotations

from graphc.random.generator import Generator

__all__ = [
    "Generator",
    "bernoulli",
    "beta",
    "categorical",
    "choice",
    "dirichlet",
    "exponential",
    "gamma",
    "gumbel",
    "gumbel_softmax",
    "key",
    "laplace",
    "normal",
    "permutation",
    "poisson",
    "pooling_boundaries",
    "randint",
    "seed",
    "shuffle",
    "split",
    "truncated_normal",
    "uniform",
]

DEFAULT = Generator()
"""The generator behind the functions of this module; its seed is 0 until `seed` is called."""

bernoulli = DEFAULT.bernoulli
beta = DEFAULT.beta
categorical = DEFAULT.categorical
choice = DEFAULT.choice
dirichlet = DEFAULT.dirichlet
exponential = DEFAULT.exponential
gamma = DEFAULT.gamma
gumbel = DEFAULT.gumbel
gumbel_softmax = DEFAULT.gumbel_softmax
key = DEFAULT.key
laplace = DEFAULT.laplace
normal = DEFAULT.normal
permutation = DEFAULT.permutation
poisson = DEFAULT.poisson
pooling_boundaries = DEFAULT.pooling_boundaries
randint = DEFAULT.randint
seed = DEFAULT.seed
shuffle = DEFAULT.shuffle
split = DEFAULT.split
truncated_normal = DEFAULT.truncated_normal
uniform = DEFAULT.uniform
