"""Models in the ONNX format: what others made runs here.

The package ``onnx`` is needed only where a model is read: ``pip install "graphc[onnx]"``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from graphc.extras import require

if TYPE_CHECKING:
    from graphc.onnx.model import OnnxModel

__all__ = ["load"]


def load(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    weights: Literal["variables", "constants"] = "variables",
    sizes: Mapping[str, int] | None = None,
    values: Mapping[str, Any] | None = None,
) -> OnnxModel:
    """Load a model from an ONNX file.

    Sizes that have names in the model have them in the graph: it is compiled once for all of them.
    Arithmetic on shapes is done here and leaves nothing in the graph.

    Parameters
    ----------
    source : path-like, bytes or onnx.ModelProto
        The model.  External data is read from the folder of its file and from nowhere else.
    weights : {"variables", "constants"}
        What initializers of floating-point numbers become: variables, which can be trained and are
        named as in the model, or constants, which are folded and packed when compiling.  Scalars
        and all other initializers are constants either way.
    sizes : mapping of str to int, optional
        Numbers for sizes that have names.
    values : mapping of str to array, optional
        Values of inputs that are to be constants, such as a shape or a number of elements.  A
        sequence is a list of arrays, and None an optional value that is not there.

    Returns
    -------
    OnnxModel
        With `inputs`, `outputs` and `variables`; call it on Tensors, or compile it.

    Raises
    ------
    OnnxImportError
        If the file is damaged, or listing the operators of the model that graphc does not have.
    MissingDependencyError
        If the package onnx is not installed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> from onnx import parser
    >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 3] x) => (float[n, 3] y) {y = Relu(x)}'
    >>> model = gx.onnx.load(parser.parse_model(text))
    >>> model
    <OnnxModel 'g' (x: float32[n, 3]) -> (y: float32[n, 3])>
    >>> model.compile()(np.array([[-1, 0, 1]], "float32"))
    {'y': array([[0., 0., 1.]], dtype=float32)}
    """
    require("onnx", extra="onnx", purpose="gx.onnx.load")
    # Deferred: whatever reads models needs the package.
    from graphc.onnx.model import load as load_

    return load_(source, weights=weights, sizes=sizes, values=values)
