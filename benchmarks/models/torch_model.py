"""PyTorch, eagerly: the module itself where there is one, else its own functions, operation by operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf

import torch
from torch.nn import functional

from benchmarks.machine import usable_cpus
from benchmarks.models import Case, Model, Operation, Step
from benchmarks.models.encoder import encoder
from benchmarks.vocabulary import UnsupportedError
from benchmarks.workload import Array

__all__ = ["opened"]

Tensor = torch.Tensor
Function = Callable[..., Tensor]
LAYOUTS = (torch.channels_last, torch.contiguous_format)
# Calls that decide which layout is faster, after one that does not count.
TRIALS = 3


def opened(case: Case, feed: Array, directory: str) -> Step:
    """Build the module; of the layouts of images, the faster one is taken."""
    torch.set_num_threads(usable_cpus())
    if case.state.exists():
        return _module(case, torch.from_numpy(feed))
    model = case.read()
    return min((_Interpreter(model, feed, layout) for layout in LAYOUTS), key=_fastest)


def _module(case: Case, x: Tensor) -> Step:
    module = encoder()
    module.load_state_dict(torch.load(case.state))

    def step() -> Sequence[Array]:
        with torch.inference_mode():
            return [module(x).numpy()]

    return step


def _fastest(step: Step) -> float:
    step()
    shortest = inf
    for _ in range(TRIALS):
        started = time.perf_counter()
        step()
        shortest = min(shortest, time.perf_counter() - started)
    return shortest


class _Interpreter:
    """A model, operation by operation; what weights alone decide is computed once.

    Parameters
    ----------
    model : Model
        The model.
    feed : ndarray
        What its input is fed.
    layout : torch.memory_format
        How images and weights of convolutions lie in memory.
    """

    def __init__(self, model: Model, feed: Array, layout: torch.memory_format) -> None:
        self.layout, self.results = layout, model.results
        self.known = {name: self._tensor(array) for name, array in model.weights.items()}
        self.steps: list[tuple[Function, Sequence[str], str, Sequence[str]]] = []
        last = {name: k for k, op in enumerate(model.operations) for name in op.inputs}
        kinds = {name: op.kind for op in model.operations for name in op.outputs}
        for k, op in enumerate(model.operations):
            dead = [n for n in dict.fromkeys(op.inputs) if last[n] == k and n not in model.results]
            own = any(name in dead and kinds.get(name) in FRESH for name in op.inputs)
            self._add(op, _function(op, own), dead)
        self.known[model.fed] = self._tensor(feed)

    def _add(self, op: Operation, function: Function, dead: Sequence[str]) -> None:
        if all(name in self.known for name in op.inputs):
            self.known[op.outputs[0]] = function(*(self.known[name] for name in op.inputs))
            return
        self.steps.append((function, op.inputs, op.outputs[0], [n for n in dead if n not in self.known]))

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(array.copy())
        return tensor.contiguous(memory_format=self.layout) if tensor.dim() == 4 else tensor

    def __call__(self) -> Sequence[Array]:
        with torch.inference_mode():
            values = dict(self.known)
            for function, operands, result, dead in self.steps:
                values[result] = function(*map(values.__getitem__, operands))
                for name in dead:
                    del values[name]
            return [values[name].contiguous().numpy() for name in self.results]


def _function(op: Operation, own: bool) -> Function:
    """Return what computes an operation; in place, if that is faster and the operand is its own."""
    if own and op.kind in IN_PLACE:
        return IN_PLACE[op.kind]
    if op.kind not in FUNCTIONS:
        raise UnsupportedError(f"{op.kind} is not written for it")
    return FUNCTIONS[op.kind](op)


# ------------------------------------------------------------------ operations
def _plain(function: Function) -> Callable[[Operation], Function]:
    """Return what makes the function of an operation without attributes that matter."""
    return lambda op: function


def _conv(op: Operation) -> Function:
    a = op.attributes
    rank = len(a["kernel_shape"])
    options = {
        "stride": a.get("strides", 1),
        "padding": _symmetric(a, rank),
        "dilation": a.get("dilations", 1),
        "groups": a.get("group", 1),
    }
    return partial(functional.conv2d, **options)


def _symmetric(attributes: Mapping[str, Sequence[int]], rank: int) -> list[int]:
    before, after = _pads(attributes, rank)
    if before != after:
        raise UnsupportedError("padding at one end is not written for it")
    return before


def _pads(attributes: Mapping[str, Sequence[int]], rank: int) -> tuple[list[int], list[int]]:
    pads = list(attributes.get("pads", [0] * (2 * rank)))
    return pads[:rank], pads[rank:]


def _pool(function: Function, **options: object) -> Callable[[Operation], Function]:
    def made(op: Operation) -> Function:
        a = op.attributes
        window = a["kernel_shape"]
        before, after = _pads(a, len(window))
        fixed = partial(function, stride=a.get("strides", 1), padding=before, **options)
        if before == after:
            return partial(fixed, kernel_size=window)
        # A longer end lets one more window in, which is what rounding up does; or the only one.
        rounded = partial(fixed, ceil_mode=True)
        return lambda x: rounded(x, list(map(min, window, x.shape[2:])))

    return made


def _gemm(op: Operation) -> Function:
    a = op.attributes
    if a.get("transA", 0) or a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0:
        raise UnsupportedError("scaled or transposed products are not written for it")
    return functional.linear if a.get("transB", 0) else lambda x, w, b: torch.addmm(b, x, w)


def _batch_norm(op: Operation) -> Function:
    eps = op.attributes.get("epsilon", 1e-5)
    return lambda x, scale, shift, mean, var: functional.batch_norm(
        x, mean, var, scale, shift, training=False, eps=eps
    )


def _response_norm(op: Operation) -> Function:
    a = op.attributes
    options = {"alpha": a.get("alpha", 1e-4), "beta": a.get("beta", 0.75), "k": a.get("bias", 1.0)}
    return partial(functional.local_response_norm, size=a["size"], **options)


def _softmax(op: Operation) -> Function:
    """Return the function as it was up to opset 12: over all axes from one on."""
    axis = op.attributes.get("axis", 1)
    return lambda x: functional.softmax(x.flatten(axis), dim=axis).view(x.shape)


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    return x.reshape([x.shape[k] if size == 0 else size for k, size in enumerate(sizes)])


def _unsqueeze(op: Operation) -> Function:
    def function(x: Tensor) -> Tensor:
        for axis in sorted(op.attributes["axes"]):
            x = x.unsqueeze(axis)
        return x

    return function


def _sum(*operands: Tensor) -> Tensor:
    first, *others = operands
    for other in others:
        first = first + other
    return first


FUNCTIONS: Mapping[str, Callable[[Operation], Function]] = {
    "Add": _plain(torch.add),
    "AveragePool": _pool(functional.avg_pool2d, count_include_pad=False),
    "BatchNormalization": _batch_norm,
    "Concat": lambda op: lambda *operands: torch.cat(operands, op.attributes["axis"]),
    "Conv": _conv,
    "Dropout": _plain(lambda x: x),
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: functional.adaptive_avg_pool2d(x, 1)),
    "LRN": _response_norm,
    "MaxPool": _pool(functional.max_pool2d),
    "Mul": _plain(torch.mul),
    "Relu": _plain(functional.relu),
    "Reshape": _plain(_reshape),
    "Softmax": _softmax,
    "Sum": _plain(_sum),
    "Transpose": lambda op: lambda x: x.permute(op.attributes["perm"]),
    "Unsqueeze": _unsqueeze,
}
# Results that nothing else looks at, and what may overwrite them.
FRESH = ("Add", "BatchNormalization", "Conv", "Gemm", "Mul", "Sum")
IN_PLACE: Mapping[str, Function] = {"Relu": torch.relu_}
