"""What an exported library has beside kernels, as LLVM IR: code of all libraries, and public functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphc.errors import KernelError
from graphc.frontend.library import find
from graphc.frontend.types import I64, Pointer, Scalar
from graphc.frontend.writer import Function, Operand, Value, module_text
from graphc.native_export import library
from graphc.runtime.control_llvm import LOOP, SWITCH

__all__ = ["library_module", "program_module", "public_symbols"]

_WORDS = Pointer(I64)


@dataclass(frozen=True)
class _Public:
    """A public function.

    Attributes
    ----------
    result : str
        LLVM's type of what it returns.
    parameters : sequence of str
        What it is given: ``t`` are the tables, ``d`` is memory to work in, others are pointers of its
        own, but for ``status``.
    """

    result: str
    parameters: Sequence[str]


# By their names in `library`.
_FUNCTIONS: Mapping[str, _Public] = {
    "create": _Public("i32", ("t", "holder")),
    "destroy": _Public("void", ("context",)),
    "call": _Public("i32", ("t", "context", "sizes", "inputs", "outputs")),
    "shapes": _Public("i32", ("t", "d", "sizes", "found")),
    "state": _Public("i32", ("t", "context", "found")),
    "message": _Public("ptr", ("t", "status")),
}

# A function and a struct of C cannot share a name.
_RENAMED = {"call": "run", "shapes": "shapes_at", "state": "state_of"}
# The directives of ELF assemblers; the file is read when the module is compiled.
_DATA = """
module asm ".section .rodata.tables,\\22a\\22,@progbits"
module asm ".balign 64"
module asm ".hidden tables"
module asm ".globl tables"
module asm "tables:"
module asm ".incbin \\22{path}\\22"
@tables = external hidden constant i8, align 64
"""


def public_symbols(name: str) -> list[str]:
    """Return the symbols of a library's public functions.

    Examples
    --------
    >>> public_symbols("lenet")[:2]
    ['lenet_create', 'lenet_destroy']
    """
    return [_symbol(name, each) for each in _FUNCTIONS]


def _symbol(name: str, each: str) -> str:
    return f"{name}_{_RENAMED.get(each, each)}"


def library_module() -> str:
    """Return the module of what all libraries have in common; `functions` is the table of a program's."""
    compiled = tuple(_compiled(each) for each in _FUNCTIONS)
    text = module_text(Function("root", (), None, "", {}, compiled))
    for function in compiled:
        text = text.replace(
            f"define internal i64 @{function.symbol}(", f"define hidden i64 @{function.symbol}("
        )
    shown = (_without_declarations(LOOP), SWITCH)
    steps = (step.replace("define void", "define hidden void") for step in shown)
    return "\n".join(["@functions = external hidden constant ptr", text, *steps])


def program_module(name: str, kernels: Sequence[str], data: Path, scratch: int) -> str:
    """Return the module of what is a program's own.

    Parameters
    ----------
    name : str
        What the names of public functions begin with.
    kernels : sequence of str
        Symbols of the program's functions, by number.
    data : Path
        The file that holds the tables.
    scratch : int
        How many words it takes to work out shapes.
    """
    steps = [*kernels, "loop", "switch"]
    entries = ", ".join(f"ptr @{symbol}" for symbol in steps)
    parts = [
        _DATA.format(path=_escaped(data)),
        f"@functions = hidden constant [{len(steps)} x ptr] [{entries}]",
        *(f"declare hidden void @{symbol}(ptr, i64, i64, i64)" for symbol in dict.fromkeys(steps)),
        *(_public(name, each, scratch) for each in _FUNCTIONS),
    ]
    return "\n".join(parts)


def _compiled(name: str) -> Function:
    """Compile a function of the library for pointers to words."""
    public, specialize = _FUNCTIONS[name], find(name, vars(library))
    if not callable(specialize):
        raise KernelError(f"{name} is no function")
    given: tuple[Operand, ...] = tuple(Value(_kind(p), f"%{p}") for p in public.parameters)
    return specialize(given)


def _kind(parameter: str) -> Scalar | Pointer:
    return I64 if parameter == "status" else _WORDS


def _public(name: str, each: str, scratch: int) -> str:
    """Return a public function: it calls one of the library with the program's tables."""
    public, symbol = _FUNCTIONS[each], _compiled(each).symbol
    own = [p for p in public.parameters if p not in ("t", "d")]
    kinds = ", ".join(_kind(p).llvm for p in public.parameters)
    header = ", ".join(f"i32 %{p}.in" if p == "status" else f"ptr %{p}" for p in own)
    values = {"t": "ptr @tables", "status": "i64 %status"}
    lines = [f"declare hidden i64 @{symbol}({kinds})"]
    lines.append(f"define {public.result} @{_symbol(name, each)}({header}) nounwind {{")
    if "status" in own:
        lines.append("  %status = sext i32 %status.in to i64")
    if "d" in public.parameters:
        lines.append(f"  %d = alloca [{max(scratch, 1)} x i64], align 8")
    given = ", ".join(values.get(p, f"ptr %{p}") for p in public.parameters)
    lines.append(f"  %result = call i64 @{symbol}({given})")
    return "\n".join([*lines, *_ENDINGS[public.result], "}"])


_ENDINGS = {
    "void": ("  ret void",),
    "i32": ("  %code = trunc i64 %result to i32", "  ret i32 %code"),
    "ptr": ("  %text = inttoptr i64 %result to ptr", "  ret ptr %text"),
}


def _without_declarations(text: str) -> str:
    """Return LLVM IR without declarations of intrinsics, which may stand in a module once."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("declare"))


def _escaped(path: Path) -> str:
    """Return a path as it stands in a string of assembly within a string of LLVM IR."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return text.replace("\\", "\\5C").replace('"', "\\22")
