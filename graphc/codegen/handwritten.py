"""Kernels of `Loop` ops: the op's own statements, with pointers and sizes bound to parameters."""

from __future__ import annotations

from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.loops import KernelText, Stage, finish
from graphc.dims import Dim
from graphc.lower.rules import Loop, LoopSite
from graphc.lower.steps import Step

# Assumed for each element that such a kernel reads or writes.
NANOSECONDS = 2


def generate(step: Step, rule: Loop) -> KernelText:
    """Write the kernel of a `Loop` op."""
    emitter = Emitter()
    node = step.node
    renames: list[tuple[str, str]] = []
    for k, operand in enumerate(node.inputs):
        # One operand may stand in several places; it is one pointer.
        buffer = emitter.buffer(operand, operand.type.shape, operand.type.dtype)
        renames.append((f"in{k}", buffer.name))
    out = emitter.buffer(("out", node), node.type.shape, node.type.dtype)
    renames.append(("out", out.name))
    types = tuple(i.type for i in node.inputs)
    body = rule.fn(LoopSite(node.type, types, node.attrs, emitter.size, lambda: emitter.fail(node)))
    for k, (dtype, count) in enumerate(body.scratch):
        buffer = emitter.buffer(Scratch(count, dtype), (count,), dtype)
        renames.append((f"scratch{k}", buffer.name))
    for name, parameter in renames:
        emitter.line(f"{name} = {parameter}")
    for line in body.lines:
        emitter.line(line)
    touched: Dim = sum((t.size for t in types), start=node.type.size)
    return finish(emitter, [Stage(1, touched * NANOSECONDS)])
