"""What loops and branches of a file must satisfy: they carry their own type, so no rule infers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphc.artifact.attributes import check_attributes
from graphc.artifact.fields import reject, require
from graphc.control.branches import SWITCH
from graphc.control.loop import LOOP, Loop
from graphc.ir import Graph, Node
from graphc.ops.op import Op
from graphc.types import BOOL, INT64, TensorType, TupleType, is_integer

__all__ = ["check_control"]

Types = Sequence[TensorType]


def check_control(node: Node) -> None:
    """Require that a loop or branch fits its bodies.

    Raises
    ------
    ArtifactError
        If it does not.
    """
    check = _CHECKS.get(node.op)
    if check is None:
        reject(f"unknown control flow {node.op.name}", "loop or switch", node.op.name)
    for body in node.subgraphs:
        require(not body.effects, f"a body of {node.op.name} has effects", "none", len(body.effects))
        require(
            not body.updates, f"a body of {node.op.name} updates variables", "no updates", len(body.updates)
        )
    check_attributes(node.op, tuple(n.type for n in node.inputs), node.attrs)
    check(node)


def _same(what: str, expected: Types, given: Types) -> None:
    require(list(expected) == list(given), f"{what} differ", _shown(expected), _shown(given))


def _shown(types: Types) -> str:
    return ", ".join(map(str, types))[:200]


def _types(nodes: Sequence[Node]) -> list[TensorType]:
    return [n.type for n in nodes]


# ------------------------------------------------------------------------- branches
def _check_switch(node: Node) -> None:
    require(bool(node.inputs and node.subgraphs), "bad switch", "an index and branches", node.op.name)
    index, *captures = node.inputs
    scalar = is_integer(index.type.dtype) and not index.type.ndim and not isinstance(index.type, TupleType)
    require(scalar, "bad index of switch", "an integer scalar", str(index.type))
    for body in node.subgraphs:
        _same("operands of a branch", _types(captures), _types(body.inputs))
        _same_results(node, _types(body.outputs))


def _same_results(node: Node, types: Types) -> None:
    items = node.type.items if isinstance(node.type, TupleType) else ()
    _same(f"results of {node.op.name}", items, types)


# ---------------------------------------------------------------------------- loops
def _check_loop(node: Node) -> None:
    require(len(node.subgraphs) in (1, 2), "bad loop", "a body, perhaps a condition", len(node.subgraphs))
    body, *conditions = node.subgraphs
    counted = int(node.attrs["counted"])
    captures, carries = node.attrs["captures"], node.attrs["carries"]
    slices = len(node.inputs) - counted - captures - carries
    require(slices >= 0, "bad loop", "an operand for each role", len(node.inputs))
    stacks = len(body.outputs) - carries
    require(
        stacks >= 0 and len(body.inputs) == captures + 1 + carries + slices,
        "bad body of a loop",
        f"{captures + 1 + carries + slices} inputs",
        len(body.inputs),
    )
    require(
        len(node.attrs["flip"]) == slices + stacks, "bad flip of a loop", f"{slices + stacks} flags", "others"
    )
    loop = Loop.of(node)
    _check_operands(loop)
    for condition in conditions:
        _check_condition(loop, condition)
    _same_results(node, loop.type.items)


def _check_operands(loop: Loop) -> None:
    scalar = TensorType((), INT64)
    counts = [] if loop.count is None else [loop.count]
    _same("number of iterations", [scalar] * len(counts), _types(counts))
    _same("captures of a loop", _types(loop.captures), _types(loop.formals))
    _same("number of the iteration", [scalar], [loop.iteration.type])
    _same("carried values", _types(loop.inits), _types(loop.carries))
    _same("next carried values", _types(loop.inits), _types(loop.following))
    known = loop.length is not None or not (loop.xs or loop.ys)
    require(known, "loop of unknown length", "a length for what is taken or stacked", loop.what)
    for x, formal in zip(loop.xs, loop.slices, strict=True):
        fits = x.type.ndim > 0 and x.type.shape[0] == loop.length
        require(fits, "bad array of a loop", f"{loop.length} slices", str(x.type))
        _same("slices of a loop", [TensorType(x.type.shape[1:], x.type.dtype)], [formal.type])


def _check_condition(loop: Loop, condition: Graph) -> None:
    given = [*_types(loop.formals), loop.iteration.type, *_types(loop.carries)]
    _same("operands of a condition", given, _types(condition.inputs))
    _same("result of a condition", [TensorType((), BOOL)], _types(condition.outputs))


_CHECKS: Mapping[Op, Callable[[Node], None]] = {LOOP: _check_loop, SWITCH: _check_switch}
