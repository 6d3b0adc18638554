"""Statements of kernel code, from their syntax trees to LLVM IR.

A variable that is assigned once is an SSA value; any other gets a slot on the stack for each type it has,
which LLVM turns into registers.  A name can be read where Python is certain to have assigned it: one that
only a branch or the body of a loop assigns is unknown after it, and so is one that two branches leave
with different types.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.errors import KernelError
from graphc.frontend import operators
from graphc.frontend.expressions import Expressions, Resolve
from graphc.frontend.types import BOOL, I64, Pointer, Scalar
from graphc.frontend.writer import Bundle, Operand, Value, constant

__all__ = ["Body"]


@dataclass(frozen=True, eq=False)
class Slot:
    """A variable on the stack."""

    kind: Scalar | Pointer
    address: str


Names = dict[str, Operand | Slot]


@dataclass(frozen=True)
class Loop:
    """A loop that is being compiled: where `continue` and `break` lead, and what it found."""

    following: str
    done: str
    names: Names


class Body(Expressions):
    """Compiles the body of one function.

    Parameters
    ----------
    resolve : callable
        Finds what a name means that is no variable.
    function : ast.FunctionDef
        The function.
    arguments : mapping of str to Operand
        What its parameters hold.
    """

    def __init__(self, resolve: Resolve, function: ast.FunctionDef, arguments: Mapping[str, Operand]) -> None:
        super().__init__(resolve)
        self.names: Names = {}
        self.slots: dict[tuple[str, Scalar | Pointer], Slot] = {}
        self.loops: list[Loop] = []
        self.result: Operand | None = None
        # Whether the current block has ended and nothing can follow.
        self.ended = False
        self.last = function.body[-1]
        self.variables, self.varying = _variables(function)
        for name, value in arguments.items():
            self.assign(name, value)
        self.statements(function.body)

    # -- names
    def assign(self, name: str, value: Operand) -> None:
        """Let a name hold a value from here on."""
        if isinstance(value, Bundle) or name not in self.varying:
            self.names[name] = value
            return
        slot = self.slots.get((name, value.type))
        if slot is None:
            slot = self.slots[name, value.type] = Slot(value.type, self.w.slot(value.type))
        self.w.run(f"store {value}, ptr {slot.address}")
        self.names[name] = slot

    def read(self, name: str) -> Operand:
        """Return the value of a name."""
        bound = self.names.get(name)
        if isinstance(bound, Slot):
            return self.w.value(bound.kind, f"load {bound.kind.llvm}, ptr {bound.address}")
        if bound is not None:
            return bound
        if name in self.variables:
            raise KernelError(f"{name!r} may have no value, or values of several types, where it is read")
        return super().read(name)

    # -- statements
    def statements(self, body: Sequence[ast.stmt]) -> None:
        """Compile statements in order."""
        for statement in body:
            if self.ended:
                raise KernelError(f"line {statement.lineno} is never reached")
            handler = _HANDLERS.get(type(statement))
            if handler is None:
                raise KernelError(f"line {statement.lineno}: {ast.unparse(statement)} is no kernel code")
            handler(self, statement)

    def _assign(self, node: ast.Assign) -> None:
        value = self.operand(node.value)
        for target in node.targets:
            self._bind(target, value)

    def _bind(self, target: ast.expr, value: Operand) -> None:
        if isinstance(target, ast.Name):
            self.assign(target.id, value)
        elif isinstance(target, ast.Subscript) and isinstance(value, Value):
            address, element = self.place(self.operand(target.value), target)
            self.w.run(f"store {operators.convert(self.w, value, element)}, ptr {address}")
        elif isinstance(target, ast.Tuple) and isinstance(value, Bundle):
            for part, item in zip(target.elts, value.items, strict=True):
                self._bind(part, item)
        else:
            raise KernelError(f"line {target.lineno}: cannot assign to {ast.unparse(target)}")

    def _augment(self, node: ast.AugAssign) -> None:
        current = (
            self.load(node.target) if isinstance(node.target, ast.Subscript) else self.value(node.target)
        )
        self._bind(node.target, operators.binary(self.w, node.op, current, self.value(node.value)))

    def _expression(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.call(node.value)
        elif not isinstance(node.value, ast.Constant):
            raise KernelError(f"line {node.lineno}: {ast.unparse(node)} does nothing")

    def _pass(self, node: ast.Pass) -> None:
        """Write nothing."""

    def _return(self, node: ast.Return) -> None:
        if node.value is None or node is not self.last:
            raise KernelError(f"line {node.lineno}: a device function returns a value, by its last statement")
        self.result = self.operand(node.value)
        self.ended = True

    # -- branches
    def _if(self, node: ast.If) -> None:
        condition = self.truth(node.test)
        then, otherwise, done = self.w.labels("then", "else", "endif")
        self.w.branch(condition, then, otherwise)
        before = self.names
        arms = [
            self._arm(label, body, done, before)
            for label, body in ((then, node.body), (otherwise, node.orelse))
        ]
        reached = [names for names in arms if names is not None]
        self.ended = not reached
        if reached:
            self.names = _agreed(reached)
            self.w.start(done)

    def _arm(self, label: str, body: Sequence[ast.stmt], done: str, before: Names) -> Names | None:
        """Compile a branch; returns the names known after it, None if it ends elsewhere."""
        self.names, self.ended = dict(before), False
        self.w.start(label)
        self.statements(body)
        if self.ended:
            return None
        self.w.jump(done)
        return self.names

    # -- loops
    def _while(self, node: ast.While) -> None:
        check, body, done = self.w.labels("while", "do", "endwhile")
        self.w.jump(check)
        self.w.start(check)
        self.w.branch(self.truth(node.test), body, done)
        self.w.start(body)
        self._loop(node, Loop(check, done, dict(self.names)))
        self.w.start(done)

    def _for(self, node: ast.For) -> None:
        if not isinstance(node.target, ast.Name):
            raise KernelError(f"line {node.lineno}: a loop has one variable")
        w = self.w
        start, stop, step = self._range(node.iter)
        body, following, done = w.labels("for", "next", "endfor")
        before = w.block
        w.branch(self._continues(start, stop, step), body, done)
        w.start(body)
        after = f"%{w.fresh('i')}"
        variable = w.phi(I64, (start.text, before), (after, following))
        target, found = node.target.id, self.names
        self.names = dict(found)
        self.assign(target, variable)
        # A variable that was there before keeps its slot; any other ends with the loop.
        names = {name: bound for name, bound in found.items() if name != target or self.names[name] is bound}
        self._loop(node, Loop(following, done, names))
        w.start(following)
        w.run(f"{after} = add nsw {variable}, {step.text}")
        w.branch(self._continues(Value(I64, after), stop, step), body, done)
        w.start(done)

    def _range(self, node: ast.expr) -> tuple[Value, Value, Value]:
        is_range = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"
        if not isinstance(node, ast.Call) or not is_range or not 1 <= len(node.args) <= 3:
            raise KernelError(f"line {node.lineno}: loops run over range()")
        bounds = [operators.convert(self.w, self.value(a), I64) for a in node.args]
        start, stop, *steps = bounds if len(bounds) > 1 else (constant(I64, 0), *bounds)
        return start, stop, steps[0] if steps else constant(I64, 1)

    def _continues(self, i: Value, stop: Value, step: Value) -> Value:
        """Return whether the loop goes on with `i`; a step of 0, an error in Python, makes it empty."""
        w = self.w
        if step.known:
            return w.value(BOOL, f"icmp {'slt' if step.known > 0 else 'sgt'} {i}, {stop.text}")
        upward = w.name(f"icmp sgt {step}, 0")
        downward = w.name(f"icmp slt {step}, 0")
        below = w.name(f"and i1 {upward}, {w.name(f'icmp slt {i}, {stop.text}')}")
        above = w.name(f"and i1 {downward}, {w.name(f'icmp sgt {i}, {stop.text}')}")
        return w.value(BOOL, f"or i1 {below}, {above}")

    def _loop(self, node: ast.For | ast.While, loop: Loop) -> None:
        """Compile a loop's body; what is known after it is what it found."""
        if node.orelse:
            raise KernelError(f"line {node.lineno}: a loop has no else")
        self.loops.append(loop)
        self.statements(node.body)
        if not self.ended:
            self._leave(loop.following)
        self.loops.pop()
        self.ended = False
        self.names = dict(loop.names)

    def _leave(self, label: str) -> None:
        """Go to the loop's next round or end, where each name must be what the loop found."""
        for name, bound in self.loops[-1].names.items():
            if self.names.get(name) is not bound:
                raise KernelError(f"{name!r} changes its type in a loop")
        self.w.jump(label)
        self.ended = True

    def _break(self, node: ast.Break) -> None:
        self._leave(self.loops[-1].done)

    def _continue(self, node: ast.Continue) -> None:
        self._leave(self.loops[-1].following)


def _agreed(arms: Sequence[Names]) -> Names:
    first, *others = arms
    return {name: bound for name, bound in first.items() if all(arm.get(name) is bound for arm in others)}


def _variables(function: ast.FunctionDef) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that a function assigns, and those of them that need a slot."""
    assigned: Counter[str] = Counter()
    counting: Counter[str] = Counter()
    for statement in _within(function.body):
        if isinstance(statement, ast.For):
            counting.update(_targets(statement.target))
        elif isinstance(statement, ast.Assign):
            assigned.update(name for target in statement.targets for name in _targets(target))
        elif isinstance(statement, ast.AugAssign):
            assigned.update(_targets(statement.target))
    parameters = {a.arg for a in function.args.args}
    # Variables that only loops assign have one value a round, others one value if assigned once.
    varying = {n for n, times in assigned.items() if times > 1 or n in counting or n in parameters}
    varying |= counting.keys() & parameters
    return frozenset(assigned) | frozenset(counting), frozenset(varying)


def _within(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, (ast.For, ast.While, ast.If)):
            yield from _within(statement.body)
            yield from _within(statement.orelse)


def _targets(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple):
        for part in target.elts:
            yield from _targets(part)


_HANDLERS: Mapping[type[ast.stmt], Callable[[Body, Any], None]] = {
    ast.Assign: Body._assign,
    ast.AugAssign: Body._augment,
    ast.Expr: Body._expression,
    ast.Pass: Body._pass,
    ast.Return: Body._return,
    ast.If: Body._if,
    ast.While: Body._while,
    ast.For: Body._for,
    ast.Break: Body._break,
    ast.Continue: Body._continue,
}
