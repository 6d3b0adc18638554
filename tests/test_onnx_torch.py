"""Models that PyTorch exports, against PyTorch and ONNX Runtime at several batch sizes."""

from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import pytest

import graphc as gx

torch = pytest.importorskip("torch", reason="compared with PyTorch")
runtime = pytest.importorskip("onnxruntime", reason="compared with ONNX Runtime")
models = pytest.importorskip("torch_models", reason="compared with PyTorch")


def made(case):
    """Return the module of a case, with statistics of normalization that are not those of a new one."""
    torch.manual_seed(1)
    module = case.make().eval()
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 1.5)
    return module


def exported(case, module):
    """Return the model as the older exporter writes it, which follows a call."""
    example = case.feeds(3, torch.Generator().manual_seed(0))
    names = [f"x{k}" for k in range(len(example))]
    axes = {name: {0: "batch"} for name, batched in zip(names, case.batched, strict=True) if batched}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, example, file, dynamo=False, opset_version=20, input_names=names, dynamic_axes=axes
        )
    return file.getvalue()


def exported_whole(case, module):
    """Return the model as the newer exporter writes it, which follows the code."""
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs it")
    example = case.feeds(3, torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} if batched else None for batched in case.batched)
    if isinstance(module, models.Function):
        shapes = (shapes,)  # of its one starred argument
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, example, dynamo=True, dynamic_shapes=shapes, verbose=False)
    return program.model_proto.SerializeToString()


def assert_agrees(case, module, data):
    """Compile the model once and compare its results at every batch size."""
    model = gx.onnx.load(data)
    program = model.compile()
    kernels = len(program.kernels)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    for size in case.sizes:
        given = case.feeds(size, torch.Generator().manual_seed(size))
        with torch.no_grad():
            flat, _ = torch.utils._pytree.tree_flatten(module(*given))
        arrays = [t.numpy() for t in given]
        found = list(program(*arrays).values())
        other = session.run(None, dict(zip(model.inputs, arrays, strict=True)))
        for ours, theirs, source in zip(found, other, flat, strict=True):
            assert_close(ours, theirs)
            assert_close(ours, source.numpy())
    assert len(program.kernels) == kernels
    assert len(program.specializations) == len(case.sizes)


def assert_close(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=1))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5 * scale)


@pytest.mark.parametrize("name", models.CASES)
def test_exported_models(name):
    case = models.CASES[name]
    module = made(case)
    assert_agrees(case, module, exported(case, module))


@pytest.mark.parametrize("name", models.EXPORTED)
def test_models_by_the_newer_exporter(name):
    case = models.CASES[name]
    module = made(case)
    assert_agrees(case, module, exported_whole(case, module))
