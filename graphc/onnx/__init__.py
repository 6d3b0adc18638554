"""Models in the ONNX format: what others made runs here, and what is made here runs elsewhere.

The package ``onnx`` is needed only where a model is read or written: ``pip install "graphc[onnx]"``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from graphc.extras import require

if TYPE_CHECKING:
    from graphc.ir import Graph
    from graphc.onnx.model import OnnxModel
    from graphc.runtime.program import Program

__all__ = ["load", "save"]


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


def save(
    source: Program | Graph | tuple[Any, Any],
    path: str | os.PathLike[str],
    *,
    opset: int = 21,
    name: str | None = None,
    updates: Literal["refuse", "leave out"] = "refuse",
    external: bool | None = None,
) -> None:
    """Save a program or graph as an ONNX model, for others to run.

    Sizes that have names keep them.  Variables are initializers under their names, with the values
    that they have now.  What stands for a computation in the model is the graph as it was built, before
    it was optimized.  Prints and run-time checks are left out.

    Parameters
    ----------
    source : Program, Graph or pair
        A program, a graph, or ``(inputs, outputs)`` as for `graphc.compile`.
    path : path-like
        Where to write the model; a file that is there is replaced when the new one is complete.
    opset : int, default 21
        Version of the operator set to write for, from 18 on.  A few operations need newer ones.
    name : str, optional
        Name of the graph in the model; by default that of the program.
    updates : {"refuse", "leave out"}
        What to do about variables that the program updates: a model only computes outputs.
    external : bool, optional
        Whether large weights go into a file of their own, named like the model with ``.data`` behind;
        by default where they do not fit into the model, which can hold 2 GB.

    Raises
    ------
    OnnxExportError
        Listing everything in the graph that ONNX has nothing for, with the lines where it was
        written; nothing is written then.
    ArgumentError
        If an argument is not usable.
    MissingDependencyError
        If the package onnx is not installed.

    Examples
    --------
    >>> import graphc as gx, numpy as np, tempfile, pathlib
    >>> x = gx.placeholder("x", shape=("n", 2))
    >>> w = gx.variable(np.ones((2, 3), "float32"), name="w")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "model.onnx"
    ...     gx.onnx.save((x, {"y": gx.relu(x @ w)}), path)
    ...     gx.onnx.load(path)
    <OnnxModel 'graph' (x: float32[n, 2]) -> (y: float32[n, 3])>
    """
    require("onnx", extra="onnx", purpose="gx.onnx.save")
    # Deferred: whatever writes models needs the package.
    from graphc.onnx.export.model import save as save_

    save_(source, path, opset=opset, name=name, updates=updates, external=external)
