"""Kernels from Python text to running machine code."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from graphc.errors import KernelError
from graphc.frontend import library
from graphc.runtime import features, kernels, linker, object_cache, runner
from graphc.runtime.kernel_source import KernelSource

POINTWISE = """
def kernel(x, y, out, n, block, blocks, worker):
    for i in range(n * block // blocks, n * (block + 1) // blocks):
        t = x[i] * f32(2.5) + y[i]
        out[i] = max(t, f32(0.0)) * t
"""
POINTWISE_PARAMS = (("x", "float32*"), ("y", "float32*"), ("out", "float32*"), ("n", "int64"))
VECTOR_REGISTER = {64: "zmm", 32: "ymm", 16: "xmm"}
LIBC_SYMBOLS = {"memset", "memcpy", "memmove", "floorf", "floor", "fmodf", "fmod", "lgammaf", "lgamma"}


@pytest.fixture(autouse=True)
def cache_dir(tmp_path):
    object_cache.set_cache_dir(tmp_path / "cache")
    return tmp_path / "cache"


def words(*values):
    return np.array([v.ctypes.data if isinstance(v, np.ndarray) else v for v in values], dtype=np.int64)


def call(source, *arguments, blocks=1):
    (kernel,) = kernels.load_kernels([source])
    args, status = words(*arguments), np.zeros(1, np.int64)
    table = words(1, status, kernel.address, args)
    for block in range(blocks):
        assert runner.run(table.ctypes.data, block, blocks) == 1


def unary(expression, dtype="float32", out="float32"):
    header = "def kernel(x, out, n, block, blocks, worker):"
    code = f"{header}\n    for i in range(n):\n        out[i] = {expression}\n"
    return KernelSource("unary", (("x", f"{dtype}*"), ("out", f"{out}*"), ("n", "int64")), code)


def apply(expression, x, out="float32"):
    result = np.zeros(x.shape, out)
    call(unary(expression, str(x.dtype), out), x, result, x.size)
    return result


def undefined_symbols(elf):
    """Names an ELF64 relocatable object leaves to the linker, read from its symbol table (System V ABI)."""
    (offset,) = struct.unpack_from("<Q", elf, 40)
    size, count, _ = struct.unpack_from("<HHH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + size * i) for i in range(count)]
    table = next(section for section in sections if section[1] == 2)
    names = sections[table[6]][4]
    found = set()
    for entry in range(table[4] + 24, table[4] + table[5], 24):
        name, _, _, section = struct.unpack_from("<IBBH", elf, entry)
        if section == 0:
            start = names + name
            found.add(elf[start : elf.index(b"\0", start)].decode())
    return found


@pytest.mark.parametrize("blocks", [1, 3])
def test_pointwise_kernel_equals_numpy(blocks):
    rng = np.random.default_rng(0)
    for n in (0, 1, 7, 1000):
        x, y = rng.standard_normal((2, n), dtype=np.float32)
        out = np.full(n, 9, np.float32)
        call(KernelSource("p", POINTWISE_PARAMS, POINTWISE), x, y, out, n, blocks=blocks)
        t = x * np.float32(2.5) + y
        np.testing.assert_allclose(out, np.maximum(t, 0) * t, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "int16", "int32", "int64", "uint8", "uint32", "float32", "float64"]
)
def test_every_pointer_dtype_copies(dtype):
    x = (np.arange(37) % 5).astype(dtype)
    np.testing.assert_array_equal(apply("x[i]", x, dtype), x)


@pytest.mark.parametrize(
    ("expression", "meaning"),
    [
        ("abs(x[i])", np.abs),
        ("floor(x[i])", np.floor),
        ("ceil_f32(x[i])", np.ceil),
        ("trunc(x[i])", np.trunc),
        ("rint_f32(x[i])", np.rint),
        ("sqrt(fabs(x[i]))", lambda x: np.sqrt(np.abs(x))),
        ("copysign(f32(1.0), x[i])", lambda x: np.copysign(np.float32(1), x)),
        ("maximum(x[i], f32(0.0))", lambda x: np.maximum(x, np.float32(0))),
        ("minimum(x[i], f32(0.0))", lambda x: np.minimum(x, np.float32(0))),
        ("f32(max(i32(x[i]), i32(1)))", lambda x: np.maximum(np.nan_to_num(x).astype(np.int32), 1)),
        ("i32_as_f32(f32_as_i32(x[i]) ^ i32(-2147483648))", np.negative),
        ("f32(i64_as_f64(f64_as_i64(f64(x[i]))))", lambda x: x),
        ("fma(x[i], x[i], f32(1.0))", lambda x: (x.astype(np.float64) ** 2 + 1).astype(np.float32)),
        ("addr(x, i)[0]", lambda x: x),
        ("x[i] if x[i] > f32(0.0) else f32(7.0)", lambda x: np.where(x > 0, x, np.float32(7))),
        ("f32(not (x[i] > f32(0.0) and i > 3))", lambda x: ~((x > 0) & (np.arange(x.size) > 3))),
        ("f32(i64(x[i]) // 2 + i % 3)", lambda x: x.astype(np.int64) // 2 + np.arange(x.size) % 3),
    ],
)
def test_kernel_language(expression, meaning):
    x = np.linspace(-9, 9, 53).astype(np.float32)
    np.testing.assert_allclose(apply(expression, x), meaning(x), rtol=2e-6)


def test_nan_and_inf_propagate():
    x = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32)
    np.testing.assert_array_equal(apply("maximum(x[i], f32(0.0))", x), [np.nan, np.inf, 0, 0])
    np.testing.assert_array_equal(apply("x[i] * f32(2.0) + x[i]", x), [np.nan, np.inf, -np.inf, 0])
    np.testing.assert_array_equal(apply("f32(x[i] != x[i])", x), [1, 0, 0, 0])


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="register names are those of x86-64"
)
@pytest.mark.parametrize(
    "source",
    [KernelSource("p", POINTWISE_PARAMS, POINTWISE), unary("floor(x[i]) + maximum(x[i], f32(0.0))")],
    ids=["pointwise", "intrinsics"],
)
def test_loops_use_the_widest_registers_without_alias_checks(source):
    assert VECTOR_REGISTER[features.vector_bytes()] in kernels.asm(source)
    assert "vector.memcheck" not in kernels.llvm(source)
    assert "vector.body" in kernels.llvm(source)


def test_reductions_vectorize():
    code = """
def kernel(x, out, n, block, blocks, worker):
    s = f32(0.0)
    for i in range(n):
        s = accumulate_sum(s, x[i])
    out[0] = s
"""
    source = KernelSource("sum", (("x", "float32*"), ("out", "float32*"), ("n", "int64")), code)
    x, out = np.arange(1000, dtype=np.float32), np.zeros(1, np.float32)
    call(source, x, out, x.size)
    assert out[0] == x.sum()
    assert "llvm.vector.reduce.fadd" in kernels.llvm(source)


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF objects")
@pytest.mark.parametrize(
    "expression", ["x[i]", "floor(x[i])", "x[i] % f32(3.0)", "f32(i // (i - 3))", "f32(0.0)"]
)
def test_objects_need_nothing_but_libc(expression):
    content = kernels.object_code(unary(expression)).object_code
    assert undefined_symbols(content) <= LIBC_SYMBOLS


def test_range_with_a_zero_step_leaves_no_python_behind():
    code = "def kernel(out, n, block, blocks, worker):\n    for i in range(0, 10, n):\n        out[i] = i\n"
    out = np.zeros(10, np.int64)
    call(KernelSource("steps", (("out", "int64*"), ("n", "int64")), code), out, 3)
    assert out.tolist() == [0, 0, 0, 3, 0, 0, 6, 0, 0, 9]


def test_equal_kernels_share_one_compilation():
    first = KernelSource("first", POINTWISE_PARAMS, POINTWISE)
    second = KernelSource("second", POINTWISE_PARAMS, "# node 3, model.py:7\n" + POINTWISE)
    before = kernels.compilations()
    loaded = kernels.load_kernels([first, second, first])
    assert len({kernel.address for kernel in loaded}) == 1
    assert kernels.compilations() - before <= 1


def test_a_different_cpu_or_version_is_a_different_kernel():
    source = KernelSource("p", POINTWISE_PARAMS, POINTWISE)
    assert source.key("a") != source.key("b")
    retyped = KernelSource("p", (("x", "float64*"), *POINTWISE_PARAMS[1:]), POINTWISE)
    assert source.key("a") != retyped.key("a")


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ((), "def kernel(block, blocks, worker):\n    unheard_of(1)\n", "unknown name 'unheard_of'"),
        ((), "def other(block, blocks, worker):\n    pass\n", "does not define kernel"),
        ((("x", "int64"),), "def kernel(y, block, blocks, worker):\n    pass\n", "expected \\('x'"),
        ((), "def kernel(block, blocks, worker):\n    return +\n", "it is not Python"),
        ((("x", "int64"),), "def kernel(x, block, blocks, worker):\n    x[0] = 1\n", "does not compile"),
    ],
)
def test_defective_kernels_are_named(params, code, message):
    with pytest.raises(KernelError, match=message):
        kernels.load_kernels([KernelSource("broken", params, code)])


def test_defective_headers_are_refused():
    with pytest.raises(KernelError, match="unknown kind 'float16"):
        KernelSource("k", (("x", "float16*"),), "")
    with pytest.raises(KernelError, match="identifier"):
        KernelSource("a b", (), "")


def test_device_functions_call_each_other(monkeypatch, tmp_path):
    text = """
HALF, ONES = 0.5, (1.0, 1.0)
def inner(x, a):
    return x * a * f32(ONES[0]) + f32(HALF)
def outer(x):
    y = inner(x, f32(2.0)) if x > f32(0.0) else x
    return inner(y, fma_f32(x, x, f32(1.0))) + f32(floor(y))
"""
    (tmp_path / "own_device_functions.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(library, "DEVICE_MODULES", ("own_device_functions",))
    x = np.linspace(-2, 2, 101).astype(np.float32)
    y = np.where(x > 0, x * 2 + np.float32(0.5), x)
    np.testing.assert_allclose(
        apply("outer(x[i])", x), y * (x * x + 1) + 0.5 + np.floor(y), rtol=1e-5, atol=1e-5
    )
    if platform.machine() == "x86_64":
        assert VECTOR_REGISTER[features.vector_bytes()] in kernels.asm(unary("outer(x[i])"))


def test_runner_walks_the_table_and_stops_on_a_status():
    step = KernelSource(
        "step", (("x", "int64*"),), "def kernel(x, block, blocks, worker):\n    x[0] = x[0] + 1\n"
    )
    fail = KernelSource("fail", (("x", "int64*"),), "def kernel(x, block, blocks, worker):\n    x[0] = 5\n")
    step_kernel, fail_kernel = kernels.load_kernels([step, fail])
    counter, status = np.zeros(1, np.int64), np.zeros(1, np.int64)
    count_args, fail_args = words(counter), words(status)
    good, bad = (step_kernel.address, count_args), (fail_kernel.address, fail_args)
    table = words(4, status, *good, *good, *bad, *good)
    assert runner.run(table.ctypes.data) == 3
    assert counter[0] == 2
    assert runner.run(table.ctypes.data) == 0
    status[0] = 0
    nested = words(2, status, runner.address(), words_kept := words(2, status, *good, *good), *good)
    assert runner.run(nested.ctypes.data) == 2
    assert counter[0] == 5
    assert words_kept.size == 6


def test_runner_releases_the_gil_between_threads():
    source = KernelSource("p", POINTWISE_PARAMS, POINTWISE)
    x, y, out = np.ones((3, 4096), np.float32)
    (kernel,) = kernels.load_kernels([source])
    args, status = words(x, y, out, 4096), np.zeros(1, np.int64)
    table = words(1, status, kernel.address, args)
    workers = [threading.Thread(target=runner.run, args=(table.ctypes.data, k, 4)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (out == np.float32(3.5) ** 2).all()


def test_threads_compile_concurrently():
    sources = [unary(f"x[i] + f32({k}.0)") for k in range(3)]
    addresses = [[] for _ in range(4)]
    workers = [
        threading.Thread(
            target=lambda mine: mine.extend(k.address for k in kernels.load_kernels(sources)), args=(mine,)
        )
        for mine in addresses
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(mine == addresses[0] and len(mine) == 3 for mine in addresses)


def test_an_object_with_a_missing_symbol_is_an_error():
    text = "declare void @graphc_missing()\ndefine void @lonely() { call void @graphc_missing() ret void }"
    with pytest.raises(RuntimeError):
        kernels.compile_llvm("lonely", text, "lonely")
    assert linker.link({}) == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_keeps_kernels_and_compiles_new_ones():
    old, new = unary("x[i] * f32(3.0)"), unary("x[i] * f32(11.0)")
    x = np.ones(5, np.float32)
    out = np.zeros(5, np.float32)
    call(old, x, out, 5)
    child = os.fork()
    if child == 0:
        try:
            call(old, x, out, 5)
            call(new, x, out, 5)
            os._exit(0 if (out == 11).all() else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (out == 3).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_during_a_compilation_in_another_thread():
    worker = threading.Thread(
        target=kernels.load_kernels, args=([unary(f"x[i] - f32({k}.0)") for k in range(4)],)
    )
    worker.start()
    child = os.fork()
    if child == 0:
        try:
            kernels.load_kernels([unary("x[i] - f32(99.0)")])
            os._exit(0)
        finally:
            os._exit(2)
    worker.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_compiling_needs_nothing_but_llvmlite(tmp_path):
    script = (
        "import sys\n"
        "from graphc.runtime import kernels, object_cache\n"
        "from graphc.runtime.kernel_source import KernelSource\n"
        f"object_cache.set_cache_dir({str(tmp_path / 'other')!r})\n"
        "code = 'def kernel(x, block, blocks, worker):\\n    x[0] = min(x[1], exp_f32(x[2]))\\n'\n"
        "kernels.load_kernels([KernelSource('k', (('x', 'float32*'),), code)])\n"
        "assert not {'numba', 'networkx'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root, timeout=120)
