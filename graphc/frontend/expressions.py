"""Expressions of kernel code, from their syntax trees to LLVM IR."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.errors import KernelError
from graphc.frontend import operators
from graphc.frontend.instructions import INSTRUCTIONS
from graphc.frontend.types import BOOL, I64, Pointer, Scalar, common
from graphc.frontend.writer import Bundle, Function, Operand, Value, Writer, constant

__all__ = ["Expressions", "Resolve", "Specialize"]

Specialize = Callable[[tuple[Operand, ...]], Function]
"""Returns a function compiled for operands like these."""
Resolve = Callable[[str], Operand | Specialize]
"""Finds what a name means that is no variable: a constant, or how to compile a function."""

# What an arm of a conditional expression may be made of to be computed in any case.
_PLAIN = (
    ast.Name,
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.expr_context,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
)
_COSTLY = (ast.Div, ast.FloorDiv, ast.Mod)


class Expressions:
    """Compiles expressions at the writer's position.

    Parameters
    ----------
    resolve : callable
        Finds what a name means that is no variable.
    """

    def __init__(self, resolve: Resolve) -> None:
        self.w = Writer()
        self.resolve = resolve

    def read(self, name: str) -> Operand:
        """Return the value of a name."""
        found = self.resolve(name)
        if isinstance(found, (Value, Bundle)):
            return found
        raise KernelError(f"{name!r} is a function and can only be called")

    def operand(self, node: ast.expr) -> Operand:
        """Compile an expression."""
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise KernelError(f"line {node.lineno}: {ast.unparse(node)} is no kernel code")
        return handler(self, node)

    def value(self, node: ast.expr) -> Value:
        """Compile an expression that is one number or pointer."""
        found = self.operand(node)
        if isinstance(found, Bundle):
            raise KernelError(f"line {node.lineno}: {ast.unparse(node)} is a tuple")
        return found

    def truth(self, node: ast.expr) -> Value:
        """Compile a condition."""
        return operators.convert(self.w, self.value(node), BOOL)

    def _name(self, node: ast.Name) -> Operand:
        return self.read(node.id)

    def _constant(self, node: ast.Constant) -> Value:
        number = node.value
        if isinstance(number, bool):
            return constant(BOOL, number)
        if isinstance(number, (int, float)):
            return operators.literal(number)
        raise KernelError(f"line {node.lineno}: {number!r} is no number")

    def _tuple(self, node: ast.Tuple) -> Bundle:
        return Bundle(tuple(self.value(e) for e in node.elts))

    def _binary(self, node: ast.BinOp) -> Value:
        return operators.binary(self.w, node.op, self.value(node.left), self.value(node.right))

    def _unary(self, node: ast.UnaryOp) -> Value:
        return operators.unary(self.w, node.op, self.value(node.operand))

    def _compare(self, node: ast.Compare) -> Value:
        operands = [self.value(e) for e in (node.left, *node.comparators)]
        pairs = zip(node.ops, operands[:-1], operands[1:], strict=True)
        result, *others = [operators.compare(self.w, op, a, b) for op, a, b in pairs]
        for test in others:
            result = self.w.value(BOOL, f"and {result}, {test.text}")
        return result

    # -- choices
    def _logic(self, node: ast.BoolOp) -> Value:
        is_and = isinstance(node.op, ast.And)
        result = self._condition(node.values[0])
        for part in node.values[1:]:
            result = self._and_or(is_and, result, part)
        return result

    def _condition(self, node: ast.expr) -> Value:
        # In Python `x or y` is x or y, and no condition.
        value = self.value(node)
        if value.type != BOOL:
            raise KernelError(f"line {node.lineno}: {ast.unparse(node)} is no condition, but {value.type}")
        return value

    def _and_or(self, is_and: bool, first: Value, part: ast.expr) -> Value:
        w = self.w
        if _is_plain(part):
            return w.value(BOOL, f"{'and' if is_and else 'or'} {first}, {self._condition(part).text}")
        more, done = w.labels("more", "known")
        before = w.block
        w.branch(first, *((more, done) if is_and else (done, more)))
        w.start(more)
        second = self._condition(part)
        end = w.block
        w.jump(done)
        w.start(done)
        return w.phi(BOOL, ("false" if is_and else "true", before), (second.text, end))

    def _choice(self, node: ast.IfExp) -> Value:
        condition = self.truth(node.test)
        if not (_is_plain(node.body) and _is_plain(node.orelse)):
            return self._branches(condition, node)
        first, second = self.value(node.body), self.value(node.orelse)
        kind = _common(first, second)
        first, second = self._converted(first, kind), self._converted(second, kind)
        return self.w.value(kind, f"select {condition}, {first}, {second}")

    def _branches(self, condition: Value, node: ast.IfExp) -> Value:
        w = self.w
        then, otherwise, done = w.labels("then", "else", "either")
        w.branch(condition, then, otherwise)
        w.start(then)
        first, end = self.value(node.body), w.block
        # The first arm ends in a conversion to a type that only the second arm decides.
        lines, w.lines = w.lines, []
        w.start(otherwise)
        second, other_end = self.value(node.orelse), w.block
        kind = _common(first, second)
        second = self._converted(second, kind)
        w.jump(done)
        other_lines, w.lines = w.lines, lines
        first = self._converted(first, kind)
        w.jump(done)
        w.lines += other_lines
        w.start(done)
        return w.phi(kind, (first.text, end), (second.text, other_end))

    def _converted(self, value: Value, kind: Scalar | Pointer) -> Value:
        return value if isinstance(kind, Pointer) else operators.convert(self.w, value, kind)

    # -- memory
    def load(self, node: ast.Subscript) -> Value:
        """Compile the reading of an element."""
        base = self.operand(node.value)
        if isinstance(base, Bundle):
            return _item(base, self.value(node.slice))
        address, element = self.place(base, node)
        return self.w.value(element, f"load {element.llvm}, ptr {address}")

    def place(self, base: Operand, node: ast.Subscript) -> tuple[str, Scalar]:
        """Return the address and the type of an element."""
        if isinstance(base, Bundle) or not isinstance(base.type, Pointer):
            raise KernelError(f"line {node.lineno}: {ast.unparse(node.value)} is no pointer")
        index = operators.convert(self.w, self.value(node.slice), I64)
        return self.w.element(base, index), base.type.element

    # -- calls
    def _call(self, node: ast.Call) -> Operand:
        result = self.call(node)
        if result is None:
            raise KernelError(f"line {node.lineno}: {ast.unparse(node.func)}() returns nothing")
        return result

    def call(self, node: ast.Call) -> Operand | None:
        """Compile a call; returns None where the function does."""
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise KernelError(f"line {node.lineno}: {ast.unparse(node)} is no kernel code")
        name, arguments = node.func.id, self._arguments(node.args)
        instruction = INSTRUCTIONS.get(name)
        if instruction is None:
            return self._call_function(name, arguments)
        return instruction(self.w, [_single(name, a) for a in arguments])

    def _arguments(self, nodes: Sequence[ast.expr]) -> tuple[Operand, ...]:
        found: list[Operand] = []
        for node in nodes:
            if not isinstance(node, ast.Starred):
                found.append(self.operand(node))
                continue
            several = self.operand(node.value)
            found += several.items if isinstance(several, Bundle) else (several,)
        return tuple(found)

    def _call_function(self, name: str, arguments: tuple[Operand, ...]) -> Operand | None:
        specialize = self.resolve(name)
        if isinstance(specialize, (Value, Bundle)):
            raise KernelError(f"{name!r} is no function")
        function = specialize(arguments)
        self.w.callees[function] = None
        flat = [item for a in arguments for item in (a.items if isinstance(a, Bundle) else (a,))]
        operands = ", ".join(map(str, flat))
        if function.result is None:
            self.w.run(f"call void @{function.symbol}({operands})")
            return None
        call = f"call {function.result.llvm} @{function.symbol}({operands})"
        if isinstance(function.result, (Scalar, Pointer)):
            return self.w.value(function.result, call)
        struct = f"{function.result.llvm} {self.w.name(call)}"
        kinds = enumerate(function.result.items)
        return Bundle(tuple(self.w.value(kind, f"extractvalue {struct}, {i}") for i, kind in kinds))


def _is_plain(node: ast.expr) -> bool:
    """Tell whether computing an expression in vain costs little and never fails."""
    for part in ast.walk(node):
        if not isinstance(part, _PLAIN) or isinstance(part, _COSTLY):
            return False
        if isinstance(part, ast.Call) and not (
            isinstance(part.func, ast.Name) and part.func.id in INSTRUCTIONS
        ):
            return False
    return True


def _common(first: Value, second: Value) -> Scalar | Pointer:
    if first.type == second.type:
        return first.type
    kind = common(operators.scalar_of(first), operators.scalar_of(second))
    if kind is None:
        raise KernelError(f"no common type of {first.type} and {second.type}")
    return kind


def _single(name: str, argument: Operand) -> Value:
    if isinstance(argument, Bundle):
        raise KernelError(f"{name}() takes no tuple")
    return argument


def _item(bundle: Bundle, index: Value) -> Value:
    position = index.known
    if not isinstance(position, int) or not 0 <= position < len(bundle.items):
        raise KernelError("a tuple is indexed by a literal within its length")
    return bundle.items[position]


_HANDLERS: Mapping[type[ast.expr], Callable[[Expressions, Any], Operand]] = {
    ast.Name: Expressions._name,
    ast.Constant: Expressions._constant,
    ast.Tuple: Expressions._tuple,
    ast.BinOp: Expressions._binary,
    ast.UnaryOp: Expressions._unary,
    ast.Compare: Expressions._compare,
    ast.BoolOp: Expressions._logic,
    ast.IfExp: Expressions._choice,
    ast.Subscript: Expressions.load,
    ast.Call: Expressions._call,
}
