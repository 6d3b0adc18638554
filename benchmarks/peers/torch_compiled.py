"""PyTorch with `torch.compile`: forward and backward pass; the optimizer is fused anyway."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch._dynamo.utils import counters

from benchmarks.peers import Peer
from benchmarks.peers.torch_eager import TorchRunner
from benchmarks.vocabulary import UnsupportedError
from benchmarks.workload import Forward, Workload

__all__ = ["PEER"]

Feed = dict[str, torch.Tensor]


class _Held(torch.nn.Module):
    """The body with its weights as parameters: the form in which they can be frozen."""

    def __init__(self, body: Callable[[Feed], torch.Tensor], weights: Feed) -> None:
        super().__init__()
        self.body = body
        self.names = list(weights)
        self.held = torch.nn.ParameterList(torch.nn.Parameter(w, w.requires_grad) for w in weights.values())

    def forward(self, feed: Feed) -> torch.Tensor:
        return self.body(feed | dict(zip(self.names, self.held, strict=True)))


class _Runner(TorchRunner):
    def __init__(self, workload: Workload) -> None:
        # What an earlier workload left would count against its limit of recompilations.
        torch.compiler.reset()
        self.before = _graphs()
        super().__init__(workload)

    def prepared(self, body: Callable[[Feed], torch.Tensor]) -> Callable[[Feed], torch.Tensor]:
        # Kept as it is, as in PyTorch's own layer: taken apart, it is slower, and compiles for minutes.
        self.words.lstm = torch.compiler.disable(self.words.lstm)
        self.words.gru = torch.compiler.disable(self.words.gru)
        self.words.iterate = torch.compiler.disable(_refuse_loop)
        if isinstance(self.workload.task, Forward):
            compiled: Any = torch.compile(_Held(body, self.weights).eval(), options={"freezing": True})
            return lambda feed: compiled(feed)
        compiled = torch.compile(body)
        return lambda feed: compiled(feed | self.weights)

    def whole(self, step: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = torch.compile(step)
        return compiled

    def compilations(self) -> int:
        return _graphs() - self.before


def _refuse_loop(*arguments: Any) -> torch.Tensor:
    raise UnsupportedError("unrolls loops, and compiles them for minutes")


def _graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


def _build(workload: Workload, varies: bool) -> _Runner:
    return _Runner(workload)


def _keep_compiled_in(directory: str) -> None:
    # It reads no other setting.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = directory


PEER = Peer(_build, _keep_compiled_in)
