"""A variational autoencoder (Kingma and Welling, ICLR 2014)."""

from __future__ import annotations

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Spec, Training, Workload, dense, uniform

__all__ = ["WORKLOADS", "autoencoder"]


def autoencoder(batch: int, pixels: int, hidden: int, code: int) -> Workload:
    """Return a training step; the noise is fed, since each framework would draw another."""

    def body(f: Vocabulary, v: Values) -> Tensor:
        def layer(x: Tensor, name: str) -> Tensor:
            return f.dense(x, v[f"{name}.weight"], v[f"{name}.bias"])

        h = f.relu(layer(v["x"], "in"))
        mean, log_var = layer(h, "mean"), layer(h, "log_var")
        z = mean + f.exp(log_var * 0.5) * v["noise"]
        scores = layer(f.relu(layer(z, "up")), "out")
        reconstruction = f.binary_cross_entropy(scores, v["x"]) * float(pixels)
        divergence = f.total(mean * mean + f.exp(log_var) - log_var - 1.0) * (0.5 / batch)
        return reconstruction + divergence

    weights = (
        dense("in", pixels, hidden)
        | dense("mean", hidden, code)
        | dense("log_var", hidden, code)
        | dense("up", code, hidden)
        | dense("out", hidden, pixels)
    )
    inputs = {"x": Spec((batch, pixels), uniform(0.0, 1.0)), "noise": Spec((batch, code))}
    return Workload(f"VAE {pixels}-{hidden}-{code}, batch {batch}", body, inputs, weights, Training())


WORKLOADS = {"vae": autoencoder(128, 784, 400, 20)}
