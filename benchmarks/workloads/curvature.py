"""Second derivatives: the Hessian of a logistic regression, and Newton's method on it."""

from __future__ import annotations

import numpy as np

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Array, Hessian, Minimum, Spec, Workload, normal, uniform, zeros

__all__ = ["WORKLOADS", "hessian", "newton"]

_PENALTY = 0.01


def _regression(f: Vocabulary, v: Values) -> Tensor:
    """Return the mean cross entropy of a linear model, with a penalty on its weights."""
    w = v["w"]
    return f.binary_cross_entropy(f.matmul(v["x"], w), v["y"]) + f.total(w * w) * (_PENALTY / 2)


def _uneven(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw features of different sizes, so that the problem is not round."""
    return rng.normal(size=shape) * np.geomspace(0.2, 2.0, shape[-1])


def _inputs(rows: int, features: int) -> dict[str, Spec]:
    return {"x": Spec((rows, features), _uneven), "y": Spec((rows,), uniform(0.0, 1.0))}


def hessian(rows: int, features: int) -> Workload:
    """Return the Hessian at some weights."""
    title = f"Hessian of a logistic regression, {rows} rows, {features} parameters"
    weights = {"w": Spec((features,), normal(0.1))}
    return Workload(title, _regression, _inputs(rows, features), weights, Hessian("w"))


def newton(rows: int, features: int) -> Workload:
    """Return the search for the best weights."""
    title = f"Newton's method on a logistic regression, {rows} rows, {features} parameters"
    weights = {"w": Spec((features,), zeros)}
    return Workload(title, _regression, _inputs(rows, features), weights, Minimum("w"), 1e-3)


WORKLOADS = {"logistic_hessian": hessian(1000, 50), "logistic_newton": newton(1000, 50)}
