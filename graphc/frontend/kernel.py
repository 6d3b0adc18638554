"""A kernel as a module of LLVM IR: its own code, the entry point of its ABI, and all that it calls."""

from __future__ import annotations

import ast

from graphc.errors import KernelError
from graphc.frontend import library
from graphc.frontend.statements import Body
from graphc.frontend.types import I64, STORAGE, Pointer, Scalar
from graphc.frontend.writer import Function, Operand, Value, module_text
from graphc.runtime.kernel_source import TRAILING, KernelSource

__all__ = ["kernel_module"]


def kernel_module(source: KernelSource, symbol: str) -> str:
    r"""Return the LLVM IR of a kernel and of all it needs, not yet optimized.

    Parameters
    ----------
    source : KernelSource
        The kernel.
    symbol : str
        Name of the public function.

    Raises
    ------
    KernelError
        If the text is not kernel code.

    Examples
    --------
    >>> code = "def kernel(x, block, blocks, worker):\n    x[0] = x[1]\n"
    >>> "load i32" in kernel_module(KernelSource("copy", (("x", "int32*"),), code), "copy")
    True
    """
    try:
        return _compiled(source, _syntax(source), symbol)
    except KernelError as error:
        raise KernelError(f"kernel {source.name} does not compile: {error}\n{source.code}") from error


def _syntax(source: KernelSource) -> ast.FunctionDef:
    try:
        tree = ast.parse(source.code)
    except SyntaxError as error:
        raise KernelError(f"it is not Python: {error}") from error
    found = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == "kernel"]
    if not found:
        raise KernelError("the code does not define kernel()")
    expected = (*(name for name, _ in source.params), *TRAILING)
    actual = tuple(a.arg for a in found[-1].args.args)
    if actual != expected:
        raise KernelError(f"parameters are {actual}, expected {expected}")
    return found[-1]


def _compiled(source: KernelSource, function: ast.FunctionDef, symbol: str) -> str:
    kinds = {name: _parameter_type(kind) for name, kind in source.params} | dict.fromkeys(TRAILING, I64)
    arguments: dict[str, Operand] = {name: Value(kind, f"%{name}.in") for name, kind in kinds.items()}
    body = Body(library.find, function, arguments)
    if body.result is not None:
        raise KernelError("a kernel returns nothing")
    body.w.run("ret void")
    header = ", ".join(_parameter(name, kind) for name, kind in kinds.items())
    text = body.w.finish(f"define internal void @kernel({header}) alwaysinline nounwind")
    kernel = Function("kernel", (), None, text, body.w.declarations, tuple(body.w.callees))
    return "\n".join((_entry_point(source, symbol), module_text(kernel)))


def _parameter_type(kind: str) -> Scalar | Pointer:
    return Pointer(STORAGE[kind.removesuffix("*")]) if kind.endswith("*") else STORAGE[kind]


def _parameter(name: str, kind: Scalar | Pointer) -> str:
    return f"{kind.llvm} {'noalias ' if isinstance(kind, Pointer) else ''}%{name}.in"


def _entry_point(source: KernelSource, symbol: str) -> str:
    """Return the public function: it unpacks the args block and calls the kernel."""
    lines: list[str] = []
    arguments: list[str] = []
    for position, (_, kind) in enumerate(source.params):
        llvm = _parameter_type(kind).llvm
        lines.append(f"  %slot{position} = getelementptr inbounds i64, ptr %args, i64 {position}")
        lines.append(f"  %value{position} = load {llvm}, ptr %slot{position}")
        arguments.append(f"{llvm} %value{position}")
    share = [f"i64 %{name}" for name in TRAILING]
    header = f"define void @{symbol}({', '.join(['ptr noalias readonly %args', *share])}) nounwind {{"
    call = f"  call void @kernel({', '.join([*arguments, *share])})"
    return "\n".join([header, *lines, call, "  ret void", "}"])
