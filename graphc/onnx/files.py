"""From a path to a model in memory: reading, and tensors that lie in files of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphc.errors import OnnxImportError, caller
from graphc.onnx.elements import element_of

Array = np.ndarray[Any, Any]
# What protobuf can hold in one message.
LARGEST_FILE = 2**31 - 1


def read_model(source: Any) -> tuple[Any, Path | None]:
    """Return a model as a ModelProto, and the folder that its external data may lie in.

    Parameters
    ----------
    source : path-like, bytes or ModelProto
        A file, what it contains, or the model itself; only a file's model may have external data.

    Raises
    ------
    OnnxImportError
        If it is no model.
    FileNotFoundError
        If there is no such file.
    """
    if isinstance(source, onnx.ModelProto):
        return source, None
    if isinstance(source, bytes):
        return _parsed(source, "the bytes given"), None
    if not isinstance(source, (str, os.PathLike)):
        raise OnnxImportError(
            "no model of ONNX",
            expected="a path, bytes or an onnx.ModelProto",
            given=type(source).__name__,
            where=caller(),
        )
    path = Path(source)
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise OnnxImportError(
            f"{path.name}: too large for a model of ONNX",
            expected=f"at most {LARGEST_FILE} bytes; larger models keep their weights as external data",
            given=f"{size} bytes",
            where=caller(),
        )
    return _parsed(path.read_bytes(), path.name), path.resolve().parent


def _parsed(data: bytes, owner: str) -> Any:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's own class differs from one implementation to the next
        raise OnnxImportError(
            f"{owner}: no model of ONNX",
            expected="a serialized ModelProto",
            given=str(error),
            where=caller(),
        ) from error
    return model


# -------------------------------------------------------------------- tensors
def array_of(proto: Any, folder: Path | None) -> Array:
    """Return the values of a TensorProto, in the carrier of its element type.

    Nothing is allocated before the data is known to be as long as the shape says.

    Raises
    ------
    OnnxImportError
        If the data is missing, of another length than the shape says, of a type that graphc does
        not have, or outside the model's folder.
    """
    owner = f"tensor {proto.name!r}"
    element = element_of(proto.data_type, owner)
    shape = tuple(proto.dims)
    if any(n < 0 for n in shape):
        raise OnnxImportError(f"{owner}: negative size", given=str(shape), where=caller())
    count = 1
    for n in shape:
        count *= n
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        local = onnx.TensorProto(data_type=proto.data_type, dims=proto.dims, name=proto.name)
        local.raw_data = _external(proto, folder, _raw_bytes(count, element.bits), owner)
        proto = local
    _check_length(proto, count, element.bits, owner)
    return element.carry(np.asarray(onnx.numpy_helper.to_array(proto)))


def _raw_bytes(count: int, bits: int) -> int:
    # Bools take a byte each; types of less than a byte are packed.
    return count if bits == 1 else (count * bits + 7) // 8


def _check_length(proto: Any, count: int, bits: int, owner: str) -> None:
    field = _FIELDS.get(proto.data_type, "int32_data")
    raw = proto.HasField("raw_data")
    given = len(proto.raw_data) if raw else len(getattr(proto, field))
    packed = max(1, 8 // bits) if bits != 1 else 1
    expected = _raw_bytes(count, bits) if raw else -(-count // packed)
    if given != expected:
        what = "bytes" if raw else field
        raise OnnxImportError(
            f"{owner}: the data does not have the length that its shape says",
            expected=f"{expected} {what} for shape {tuple(proto.dims)}",
            given=str(given),
            where=caller(),
        )


# Where data stands that is not raw; all other types use int32_data.
_FIELDS = {1: "float_data", 11: "double_data", 7: "int64_data", 12: "uint64_data", 13: "uint64_data"}


def _external(proto: Any, folder: Path | None, length: int, owner: str) -> bytes:
    entries = {e.key: e.value for e in proto.external_data}
    path = _confined(entries.get("location", ""), folder, owner)
    try:
        offset, given = int(entries.get("offset", 0)), int(entries.get("length", length))
        size = path.stat().st_size
    except (ValueError, OSError) as error:
        raise OnnxImportError(
            f"{owner}: external data cannot be read", given=str(error), where=caller()
        ) from error
    if offset < 0 or given != length or offset + length > size:
        raise OnnxImportError(
            f"{owner}: external data does not fit the tensor",
            expected=f"{length} bytes within the {size} of {path.name}",
            given=f"{given} bytes from {offset} on",
            where=caller(),
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _confined(location: str, folder: Path | None, owner: str) -> Path:
    """Return the path of external data, which must lie in the model's folder."""
    if folder is None:
        raise OnnxImportError(
            f"{owner}: external data of a model that is no file",
            expected="a path to the model, whose folder holds the data",
            given=repr(location),
            where=caller(),
        )
    path = (folder / location).resolve() if "\0" not in location else folder
    if not location or Path(location).is_absolute() or not path.is_relative_to(folder) or path == folder:
        raise OnnxImportError(
            f"{owner}: external data outside of the model's folder",
            expected="a file in the folder of the model, or below it",
            given=repr(location),
            where=caller(),
        )
    return path
