"""Machine code without a linker: what object files become, where it is put, and what is refused."""

from __future__ import annotations

import ctypes

import pytest

from graphc.errors import KernelError
from graphc.runtime import cpu, features, flat_code
from graphc.runtime.flat_code import FlatCode
from graphc.runtime.flattening import flatten
from graphc.runtime.target import compile_text

CLEAR = """
define i64 @clear(ptr %at, i64 %size) {
  call void @llvm.memset.p0.i64(ptr %at, i8 0, i64 %size, i1 false)
  %length = call i64 @strlen(ptr %at)
  ret i64 %length
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i64 @strlen(ptr)
"""
# A switch whose cases do different things becomes a table of distances, a vector of numbers a constant.
_CASES = ("add i64 %x, 7", "mul i64 %x, %x", "xor i64 %x, 99", "sdiv i64 1000, %x", "call i64 @inner(i64 %x)")
TABLES = "\n".join(
    [
        "define i64 @tables(i64 %k, i64 %x, ptr %out) {",
        "  store <8 x i32> <i32 3, i32 1, i32 4, i32 1, i32 5, i32 9, i32 2, i32 6>, ptr %out, align 4",
        "  switch i64 %k, label %other [" + " ".join(f"i64 {k}, label %l{k}" for k in range(5)) + " ]",
        *(f"l{k}:\n  %v{k} = {case}\n  ret i64 %v{k}" for k, case in enumerate(_CASES)),
        "other:\n  ret i64 -1\n}",
        "define i64 @inner(i64 %x) noinline {\n  %y = mul i64 %x, 12345\n  ret i64 %y\n}",
    ]
)


def test_functions_of_the_c_library_are_found() -> None:
    flat = flatten(compile_text(CLEAR, "clear"))
    assert {name for _, name in flat.imports} == {"memset", "strlen"}
    (address,) = flat_code.place([flat])
    buffer = ctypes.create_string_buffer(b"x" * 99)
    clear = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)
    assert clear(ctypes.addressof(buffer), 99) == 0
    assert buffer.raw == bytes(100)


def test_tables_constants_and_inner_functions_move_along() -> None:
    compiled = compile_text(TABLES, "tables")
    assert b".rela.rodata" in compiled.object_code
    flat = flatten(compiled)
    # In the middle of others, as in a file.
    around = FlatCode("tables_before", b"\xcc" * 100, 0), FlatCode("tables_after", b"\xcc", 0)
    _, address, _ = flat_code.place([around[0], flat, around[1]])
    assert (address - flat.entry) % flat_code.ALIGNMENT == 0
    tables = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(address)
    out = (ctypes.c_int32 * 8)()
    found = [tables(k, 20, ctypes.addressof(out)) for k in range(6)]
    assert found == [27, 400, 20 ^ 99, 50, 20 * 12345, -1]
    assert list(out) == [3, 1, 4, 1, 5, 9, 2, 6]


def test_equal_symbols_are_put_into_memory_once() -> None:
    block = FlatCode("returns_at_once", b"\xc3", 0)
    assert flat_code.place([block, block]) == flat_code.place([block]) * 2


def test_a_function_that_the_process_lacks_is_named_and_nothing_is_placed() -> None:
    blocks = [
        FlatCode("fine", b"\xc3", 0),
        FlatCode("lost", bytes(8) + b"\xc3", 8, ((0, "no_such_function"),)),
    ]
    with pytest.raises(KernelError, match="no_such_function"):
        flat_code.place(blocks)
    assert "fine" not in flat_code._addresses


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@g = global i64 5\ndefine i64 @f() { %v = load volatile i64, ptr @g\n ret i64 %v }", "to write to"),
        ("@g = external global i64\ndefine i64 @f() { %v = load i64, ptr @g\n ret i64 %v }", ""),
        ("@g = internal constant [1 x ptr] [ptr @f]\ndefine ptr @f(i64 %k) { ret ptr @g }", "to write to"),
    ],
)
def test_what_kernels_never_hold_is_refused_or_imported(text: str, reason: str) -> None:
    compiled = compile_text(text, "f")
    if not reason:
        assert [name for _, name in flatten(compiled).imports] == ["g"]
        return
    with pytest.raises(KernelError, match=reason):
        flatten(compiled)


def test_only_elf_is_read() -> None:
    compiled = compile_text("define i64 @f() { ret i64 1 }", "f")
    for content in (b"", b"MZ" + bytes(60), b"\x7fELF\x01\x01" + bytes(60)):
        with pytest.raises(KernelError, match="no ELF"):
            flatten(type(compiled)(content, "f", b""))


def test_the_cpu_says_what_llvm_says_of_it() -> None:
    present = {name for name in cpu._BITS if name in features.cpu_features()}
    assert set(cpu.lacking(cpu._BITS)) & set(cpu._BITS) == set(cpu._BITS) - present
    assert cpu.lacking(present) == []
