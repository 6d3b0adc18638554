"""Writing models: from a graph to nodes of ONNX.

`registry` is the table of operations that have a spelling of their own, in `operations`.  All others
are written by how they lower (`lowerings`): a scalar expression over an index space becomes arithmetic on
whole tensors (`expressions`), so an operation that is added to graphc needs nothing here.
"""
