"""Files: a model, and its large weights beside it where they are too large or asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from onnx import StringStringEntryProto, TensorProto, numpy_helper

from graphc.errors import OnnxExportError, caller
from graphc.onnx.export.writer import code_of
from graphc.replacing import replacing

Array = np.ndarray[Any, Any]
# What fits into a message of protobuf, with room for the graph.
_INLINE = 2**31 - 2**24
# Shapes and other small constants stay in the model, where readers look for them.
_SMALL = 1024
_ALIGNMENT = 64


def write(model: Any, arrays: Mapping[str, Array], path: Path, external: bool | None) -> None:
    """Write a model and its initializers; nothing is left behind of a file that could not be written.

    Raises
    ------
    OnnxExportError
        If the weights do not fit into the file and are not to have one of their own.
    """
    total = sum(a.nbytes for a in arrays.values())
    if external is False and total > _INLINE:
        raise OnnxExportError(
            f"{path.name}: the weights do not fit into a model file",
            expected=f"at most {_INLINE} bytes, or a file of their own: external=True",
            given=f"{total} bytes",
            where=caller(),
        )
    apart = external or total > _INLINE
    large = {n: a for n, a in arrays.items() if apart and a.nbytes >= _SMALL}
    tensors = model.graph.initializer
    tensors.extend(numpy_helper.from_array(a, n) for n, a in arrays.items() if n not in large)
    if not large:
        with replacing(path) as file:
            file.write(model.SerializeToString(deterministic=True))
        return
    data = path.with_name(path.name + ".data")
    with replacing(data) as weights, replacing(path) as file:
        tensors.extend(_stored(n, a, weights, data.name) for n, a in large.items())
        file.write(model.SerializeToString(deterministic=True))


def _stored(name: str, array: Array, file: IO[bytes], location: str) -> Any:
    """Append an array to a file and return the tensor that refers to it."""
    start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
    file.write(b"\0" * (start - file.tell()))
    file.write(np.ascontiguousarray(array).data)
    entries = {"location": location, "offset": str(start), "length": str(array.nbytes)}
    return TensorProto(
        name=name,
        dims=array.shape,
        data_type=code_of(array.dtype),
        data_location=TensorProto.EXTERNAL,
        external_data=[StringStringEntryProto(key=k, value=v) for k, v in entries.items()],
    )
