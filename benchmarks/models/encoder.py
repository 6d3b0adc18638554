"""A transformer's encoder as PyTorch has it, and as PyTorch exports it."""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import children
from benchmarks.models import Case
from benchmarks.vocabulary import UnsupportedError

__all__ = ["encoder", "export"]

LAYERS, WIDTH, HEADS, FORWARD, TOKENS = 4, 256, 4, 1024, 128
NEEDED = ("onnx", "onnxscript")


def encoder() -> nn.Module:
    """Return the module, with weights that are not yet drawn."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FORWARD, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False).eval()


def _drawn() -> nn.Module:
    torch.manual_seed(0)
    module = encoder()
    # All layers begin as copies of one.
    for weight in module.parameters():
        if weight.dim() > 1:
            nn.init.xavier_uniform_(weight)
    return module


def export(batch: str, folder: str) -> dict[str, Any]:
    """Write the module's weights and the model, whose batch may be of any size.

    Raises
    ------
    UnsupportedError
        If the exporter lacks a package.
    """
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        raise UnsupportedError(f"exporting needs {' and '.join(lacking)}")
    module, case = _drawn(), Case(Path(folder))
    x = torch.randn(int(batch), TOKENS, WIDTH)
    # An example of one would make the exporter take the batch for a constant.
    example = torch.randn(2, TOKENS, WIDTH)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["x"],
            verbose=False,
        )
    torch.save(module.state_dict(), case.state)
    case.write(program.model_proto.SerializeToString(), x.numpy())
    return {}


if __name__ == "__main__":
    children.answer(export)
