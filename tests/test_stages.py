"""What stages that prepare others depend on, as they say and as they are written."""

from __future__ import annotations

import ast
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc.codegen.emitter import Emitter
from graphc.codegen.loops import KernelText, preparation
from graphc.ir import Node
from graphc.lower import expr
from graphc.tensor import Tensor

RNG = np.random.default_rng(5)


def _weights(*shape: int) -> gx.Variable:
    return gx.variable(RNG.normal(size=shape).astype(np.float32), name="w")


def _gathered() -> tuple[Tensor, Tensor]:
    x = gx.placeholder("x", ("b", 8, 9, 9))
    return x, gx.conv2d(x, _weights(24, 8, 3, 3), stride=2, padding=1)


def _adjoint() -> tuple[Tensor, Tensor]:
    x = gx.placeholder("x", ("b", 8, 5, 5))
    return x, gx.conv_transpose2d(x, _weights(8, 6, 3, 3), stride=2, padding=1)


def _summed() -> tuple[Tensor, Tensor]:
    x, w = gx.placeholder("x", ("b", 8, 9, 9)), _weights(16, 8, 3, 3)
    (gradient,) = gx.grad(gx.square(gx.conv2d(x, w, padding=1)).sum(), [w])
    return x, gradient


def _walked() -> tuple[Tensor, Tensor]:
    x = gx.placeholder("x", ("b", 3, 20, 20))
    return x, gx.conv2d(x, _weights(6, 3, 5, 5))


def _walked_adjoint() -> tuple[Tensor, Tensor]:
    x = gx.placeholder("x", ("b", 6, 20, 20))
    return x, gx.conv_transpose2d(x, _weights(6, 3, 5, 5))


def _any_size() -> tuple[Tensor, Tensor]:
    x = gx.placeholder("x", ("b", 3, "h", "w"))
    return x, gx.conv_transpose2d(x, _weights(3, 4, 3, 3), stride=2)


CASES = [_gathered, _adjoint, _summed, _walked, _walked_adjoint, _any_size]


def _texts(case: Callable[[], tuple[Tensor, Tensor]]) -> list[KernelText]:
    x, y = case()
    program = gx.compile(x, y)
    return [k.text for k in program.kernels if k.text is not None]


def _written(text: KernelText, number: int) -> set[str]:
    """Return the kernel's parameters that the code of a stage mentions, by way of variables, too."""
    function = ast.parse(text.code).body[0]
    assert isinstance(function, ast.FunctionDef)
    made: dict[str, set[str]] = {}
    block: list[ast.stmt] = []
    for statement in function.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test).startswith("stage == "):
            here = ast.unparse(statement.test) == f"stage == {number}"
            block += statement.body if here else []
        elif isinstance(statement, ast.Assign):
            made[ast.unparse(statement.targets[0])] = _names(statement.value)
    found: set[str] = set()
    waiting = {name for statement in block for name in _names(statement)}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= made.get(name, set()) - found
    return found & {name for name, _ in text.params}


def _names(tree: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}


@pytest.mark.parametrize("case", CASES)
def test_a_preparing_stage_reads_and_fills_what_it_says(case: Callable[[], tuple[Tensor, Tensor]]) -> None:
    """Its code mentions its source, what it and stages before it fill, and its sizes: nothing else."""
    seen = 0
    for text in _texts(case):
        names = {handle: name for name, handle in text.pointers.items()}
        sizes = {d: name for name, d in text.sizes.items()}
        filled: set[str] = set()
        for number, stage in enumerate(text.stages):
            if stage.source is None:
                continue
            seen += 1
            own = {names[s] for s in stage.fills}
            assert own and all(s.shared for s in stage.fills)
            allowed = {"stage"} | filled | own
            allowed |= {names[handle] for handle in stage.source} | {sizes[d] for d in stage.sizes}
            found = _written(text, number)
            assert own <= found
            assert found <= allowed
            filled |= own
    assert seen


@pytest.mark.parametrize(
    ("case", "sources"),
    [(_gathered, [0, 1]), (_summed, [0]), (_walked, [0]), (_walked_adjoint, [0, 1]), (_any_size, [1])],
)
def test_tables_depend_on_no_operand_and_panels_on_one(
    case: Callable[[], tuple[Tensor, Tensor]], sources: list[int]
) -> None:
    """Tables come first, then packed panels; the last stage may depend on anything."""
    found = [text.stages for text in _texts(case) if len(text.stages) > 1]
    stages = found[-1]
    assert [len(s.source) for s in stages if s.source is not None] == sources
    assert stages[-1].source is None
    assert all(isinstance(handle, Node) for s in stages for handle in s.source or ())


def test_a_stage_that_checks_may_depend_on_anything() -> None:
    """A check has its say at every call, even where the operands do not change."""
    emitter, w = Emitter(), _weights(4).node
    value = expr.load(w, (expr.index("i"),), w.type.dtype)
    checked = expr.check(value < value, value, w)
    assert preparation(emitter, 1, 0, value, ()).source == (w,)
    assert preparation(emitter, 1, 0, checked, ()).source is None
