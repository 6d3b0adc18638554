"""ResNet-18 (He et al., CVPR 2016): inference on large images, training on small ones."""

from __future__ import annotations

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import (
    Forward,
    Momentum,
    Spec,
    Training,
    Workload,
    batch_norm,
    below,
    conv,
    dense,
)

__all__ = ["WORKLOADS", "inference", "training"]

Stages = tuple[tuple[int, int], ...]
# Channels, and stride of the first block, of every two blocks.
STAGES: Stages = ((64, 1), (128, 2), (256, 2), (512, 2))
BLOCKS = 2


def _blocks(stages: Stages) -> list[tuple[str, int, int, int]]:
    """Return name, input channels, output channels and stride of every block."""
    found, inputs = [], stages[0][0]
    for stage, (outputs, stride) in enumerate(stages, 1):
        for block in range(1, BLOCKS + 1):
            found.append((f"{stage}.{block}", inputs, outputs, stride if block == 1 else 1))
            inputs = outputs
    return found


def _weights(stages: Stages, stem: int, classes: int) -> dict[str, Spec]:
    weights = conv("stem", 3, stages[0][0], stem, bias=False) | batch_norm("stem.norm", stages[0][0])
    for name, inputs, outputs, stride in _blocks(stages):
        weights |= conv(f"{name}.a", inputs, outputs, 3, bias=False) | batch_norm(f"{name}.a.norm", outputs)
        weights |= conv(f"{name}.b", outputs, outputs, 3, bias=False) | batch_norm(f"{name}.b.norm", outputs)
        if stride != 1 or inputs != outputs:
            weights |= conv(f"{name}.skip", inputs, outputs, 1, bias=False)
            weights |= batch_norm(f"{name}.skip.norm", outputs)
    return weights | dense("out", stages[-1][0], classes)


def _scores(f: Vocabulary, v: Values, stages: Stages, large: bool) -> Tensor:
    def convolution(x: Tensor, name: str, stride: int, padding: int) -> Tensor:
        return f.batch_norm(f.conv2d(x, v[f"{name}.weight"], None, stride, padding), v, f"{name}.norm")

    h = f.relu(convolution(v["x"], "stem", 2, 3) if large else convolution(v["x"], "stem", 1, 1))
    if large:
        h = f.max_pool(h, 3, 2, 1)
    for name, _, _, stride in _blocks(stages):
        skip = convolution(h, f"{name}.skip", stride, 0) if f"{name}.skip.weight" in v else h
        h = f.relu(convolution(h, f"{name}.a", stride, 1))
        h = f.relu(convolution(h, f"{name}.b", 1, 1) + skip)
    return f.dense(f.mean_of_image(h), v["out.weight"], v["out.bias"])


def inference(batch: int, size: int, stages: Stages = STAGES, classes: int = 1000) -> Workload:
    """Return the scores of images, by the network as it was built for ImageNet."""
    title = f"ResNet-18 inference, {batch}x3x{size}x{size}"
    inputs = {"x": Spec((batch, 3, size, size), role="images")}
    weights = _weights(stages, 7, classes)
    return Workload(title, lambda f, v: _scores(f, v, stages, True), inputs, weights, Forward(), 1e-3)


def training(batch: int, size: int, stages: Stages = STAGES, classes: int = 10) -> Workload:
    """Return a training step with the stem for small images: 3x3, no stride, no pooling."""
    title = f"ResNet-18 training, {batch}x3x{size}x{size}"
    inputs = {
        "x": Spec((batch, 3, size, size), role="images"),
        "y": Spec((batch,), below(classes), dtype="int64"),
    }

    def body(f: Vocabulary, v: Values) -> Tensor:
        return f.cross_entropy(_scores(f, v, stages, False), v["y"])

    weights = _weights(stages, 3, classes)
    return Workload(title, body, inputs, weights, Training(Momentum()), 1e-3)


WORKLOADS = {
    "resnet_1": inference(1, 224),
    "resnet_8": inference(8, 224),
    "resnet_training": training(32, 32),
}
