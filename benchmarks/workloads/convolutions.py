"""The convolutions of ResNet-18 and ResNet-50, forward and both gradients."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Forward, Gradient, Spec, Workload, normal

__all__ = ["WORKLOADS", "Shape", "workloads"]


@dataclass(frozen=True)
class Shape:
    """A convolution that keeps the image's size, up to its stride."""

    inputs: int
    size: int
    outputs: int
    window: int
    stride: int = 1

    def __str__(self) -> str:
        window = f"{self.window}x{self.window}/{self.stride}"
        return f"{self.inputs}x{self.size}x{self.size} to {self.outputs}, {window}"


SHAPES = (
    Shape(3, 224, 64, 7, 2),
    Shape(64, 56, 64, 3),
    Shape(64, 56, 128, 3, 2),
    Shape(128, 28, 128, 3),
    Shape(128, 28, 256, 3, 2),
    Shape(256, 14, 256, 3),
    Shape(256, 14, 512, 3, 2),
    Shape(512, 7, 512, 3),
    Shape(64, 56, 256, 1),
    Shape(256, 56, 64, 1),
    Shape(256, 56, 512, 1, 2),
    Shape(1024, 14, 256, 1),
    Shape(512, 7, 2048, 1),
)
BATCH = 8


def workloads(name: str, shape: Shape, batch: int) -> dict[str, Workload]:
    """Return the three of one shape; a gradient alone is wanted, not the value."""
    image = Spec((batch, shape.inputs, shape.size, shape.size), role="images")
    fan = shape.inputs * shape.window**2
    weight = Spec((shape.outputs, shape.inputs, shape.window, shape.window), normal(fan**-0.5), "conv")
    small = -(-shape.size // shape.stride)
    cotangent = Spec((batch, shape.outputs, small, small), role="images")

    def body(f: Vocabulary, v: Values) -> Tensor:
        return f.conv2d(v["x"], v["weight"], None, shape.stride, shape.window // 2)

    fed, held = {"x": image}, {"weight": weight}
    title = f"{batch}x{shape}"
    found = {f"{name}_forward": Workload(f"{title}, forward", body, fed, held, Forward("images"))}
    for wrt, what in (("x", "image"), ("weight", "weight")):
        task = Gradient((wrt,), False, "images")
        given = fed | {"cotangent": cotangent}
        found[f"{name}_{what}"] = Workload(f"{title}, gradient of {what}", body, given, held, task)
    return found


WORKLOADS: dict[str, Workload] = {}
for _number, _shape in enumerate(SHAPES, 1):
    WORKLOADS |= workloads(f"conv_{_number}", _shape, BATCH)
