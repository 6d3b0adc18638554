"""Small networks: a tiny one, a perceptron, LeNet-5."""

from __future__ import annotations

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Forward, Spec, Training, Workload, below, conv, dense

__all__ = ["WORKLOADS"]


def tiny(f: Vocabulary, v: Values) -> Tensor:
    """Return the logistic loss of a net with two hidden layers."""
    h = f.tanh(f.dense(v["x"], v["1.weight"], v["1.bias"]))
    h = f.tanh(f.dense(h, v["2.weight"], v["2.bias"]))
    return f.binary_cross_entropy(f.dense(h, v["3.weight"], v["3.bias"]), v["y"])


def mlp(f: Vocabulary, v: Values) -> Tensor:
    """Return the cross entropy of a perceptron with two hidden layers."""
    h = f.relu(f.dense(v["x"], v["1.weight"], v["1.bias"]))
    h = f.relu(f.dense(h, v["2.weight"], v["2.bias"]))
    return f.cross_entropy(f.dense(h, v["3.weight"], v["3.bias"]), v["y"])


def lenet(f: Vocabulary, v: Values) -> Tensor:
    """Return the cross entropy of LeNet-5."""
    return f.cross_entropy(_lenet_scores(f, v), v["y"])


def _lenet_scores(f: Vocabulary, v: Values) -> Tensor:
    """Return the scores of LeNet-5, with rectifiers and maxima as it is built today."""
    h = f.relu(f.conv2d(v["x"], v["1.weight"], v["1.bias"], padding=2))
    h = f.max_pool(h, 2, 2)
    h = f.relu(f.conv2d(h, v["2.weight"], v["2.bias"]))
    h = f.flatten(f.max_pool(h, 2, 2))
    h = f.relu(f.dense(h, v["3.weight"], v["3.bias"]))
    h = f.relu(f.dense(h, v["4.weight"], v["4.bias"]))
    return f.dense(h, v["5.weight"], v["5.bias"])


_LENET_WEIGHTS = (
    conv("1", 1, 6, 5) | conv("2", 6, 16, 5) | dense("3", 400, 120) | dense("4", 120, 84) | dense("5", 84, 10)
)


def _labels(batch: int, classes: int = 10) -> Spec:
    return Spec((batch,), below(classes), dtype="int64")


def perceptron(title: str, sizes: tuple[int, int, int, int], batch: int) -> Workload:
    """Return a training step of a perceptron with layers of the given sizes."""
    weights = [dense(str(k), *sizes[k - 1 : k + 1]) for k in (1, 2, 3)]
    inputs = {"x": Spec((batch, sizes[0])), "y": _labels(batch, sizes[3])}
    return Workload(title, mlp, inputs, weights[0] | weights[1] | weights[2], Training())


WORKLOADS = {
    "tiny": Workload(
        "net 2-16-16-1, batch 32",
        tiny,
        {"x": Spec((32, 2)), "y": Spec((32, 1), lambda rng, shape: rng.integers(0, 2, shape))},
        dense("1", 2, 16) | dense("2", 16, 16) | dense("3", 16, 1),
        Training(),
    ),
    "mlp": perceptron("MLP 784-512-512-10, batch 128", (784, 512, 512, 10), 128),
    "lenet": Workload(
        "LeNet-5 on 1x28x28, batch 64",
        lenet,
        {"x": Spec((64, 1, 28, 28), role="images"), "y": _labels(64)},
        _LENET_WEIGHTS,
        Training(),
    ),
    "lenet_inference": Workload(
        "LeNet-5 inference, 1x1x28x28",
        _lenet_scores,
        {"x": Spec((1, 1, 28, 28), role="images")},
        _LENET_WEIGHTS,
        Forward(),
    ),
}
