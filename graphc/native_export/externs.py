"""What the code of an exported library calls that is no kernel code: libc, and single instructions."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from functools import partial
from typing import Any

from graphc.frontend.types import I64, Pointer, Type
from graphc.frontend.writer import Function, Operand
from graphc.runtime.runner import RUN

__all__ = ["WORDS", "address", "copy", "cpuid", "free", "function", "malloc", "pointer", "run", "saved_state"]

WORDS = Pointer(I64)
"""The address of words."""

_ADDRESS = """
define internal i64 @address(ptr %at) alwaysinline nounwind {
  %number = ptrtoint ptr %at to i64
  ret i64 %number
}
"""
_POINTER = """
define internal ptr @pointer(i64 %address) alwaysinline nounwind {
  %at = inttoptr i64 %address to ptr
  ret ptr %at
}
"""
# `functions` is the table that the module defines.
_FUNCTION = """
define internal i64 @function(i64 %number) alwaysinline nounwind {
  %slot = getelementptr inbounds ptr, ptr @functions, i64 %number
  %at = load ptr, ptr %slot
  %address = ptrtoint ptr %at to i64
  ret i64 %address
}
"""
_CPUID = """
define internal i64 @cpuid(i64 %leaf, i64 %part, i64 %which) nounwind {
  %a = trunc i64 %leaf to i32
  %c = trunc i64 %part to i32
  %found = call { i32, i32, i32, i32 } asm sideeffect "cpuid",
      "={ax},={bx},={cx},={dx},{ax},{cx},~{dirflag},~{fpsr},~{flags}"(i32 %a, i32 %c)
  %ax = extractvalue { i32, i32, i32, i32 } %found, 0
  %bx = extractvalue { i32, i32, i32, i32 } %found, 1
  %cx = extractvalue { i32, i32, i32, i32 } %found, 2
  %dx = extractvalue { i32, i32, i32, i32 } %found, 3
  %is_bx = icmp eq i64 %which, 1
  %is_cx = icmp eq i64 %which, 2
  %is_dx = icmp eq i64 %which, 3
  %one = select i1 %is_bx, i32 %bx, i32 %ax
  %two = select i1 %is_cx, i32 %cx, i32 %one
  %three = select i1 %is_dx, i32 %dx, i32 %two
  %register = zext i32 %three to i64
  ret i64 %register
}
"""
_SAVED_STATE = """
define internal i64 @saved_state() nounwind {
  %found = call { i32, i32 } asm sideeffect "xgetbv",
      "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}"(i32 0)
  %low = extractvalue { i32, i32 } %found, 0
  %state = zext i32 %low to i64
  ret i64 %state
}
"""


def _extern(symbol: str, parameters: tuple[Type, ...], result: Type | None, text: str) -> Any:
    """Return what `graphc.frontend.library.find` gives for a name that stands for LLVM IR."""
    return partial(_always, Function(symbol, parameters, result, text, {}, ()))


def _always(function: Function, arguments: tuple[Operand, ...]) -> Function:
    return function


# What each is in Python: the address of words is the words.
address: Callable[[Sequence[int]], int] = _extern("address", (WORDS,), I64, _ADDRESS)
pointer: Callable[[int], MutableSequence[int]] = _extern("pointer", (I64,), WORDS, _POINTER)
function: Callable[[int], int] = _extern("function", (I64,), I64, _FUNCTION)
cpuid: Callable[[int, int, int], int] = _extern("cpuid", (I64, I64, I64), I64, _CPUID)
saved_state: Callable[[], int] = _extern("saved_state", (), I64, _SAVED_STATE)
malloc: Callable[[int], MutableSequence[int]] = _extern("malloc", (I64,), WORDS, "declare ptr @malloc(i64)")
free: Callable[[Sequence[int]], None] = _extern("free", (WORDS,), None, "declare void @free(ptr)")
copy: Callable[[Sequence[int], Sequence[int], int], Sequence[int]] = _extern(
    "memcpy", (WORDS, WORDS, I64), WORDS, "declare ptr @memcpy(ptr, ptr, i64)"
)
run: Callable[[Sequence[int], int, int, int], int] = _extern(
    "run", (WORDS, I64, I64, I64), I64, RUN.replace("define i64", "define internal i64")
)
