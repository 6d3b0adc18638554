"""Jobs on several threads, and compiling on them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

import graphc as gx
from graphc.errors import KernelError
from graphc.runtime import kernels, object_cache, target
from graphc.runtime.concurrently import run_all
from graphc.runtime.kernel_source import TRAILING, KernelSource


def source(k: int, body: str = "out[i] = exp_f32(x[i]) * f32({k}.5)") -> KernelSource:
    header = f"def kernel(x, out, n, {', '.join(TRAILING)}):"
    code = f"{header}\n    for i in range(n):\n        {body.format(k=k)}\n"
    return KernelSource("k", (("x", "float32*"), ("out", "float32*"), ("n", "int64")), code)


@pytest.mark.parametrize("threads", [1, 2, 5, 50])
def test_results_come_in_order(threads: int) -> None:
    jobs: list[Callable[[], int]] = [lambda k=k: k * k for k in range(20)]
    assert run_all(jobs, threads) == [k * k for k in range(20)]
    assert run_all([], threads) == []


def test_two_jobs_are_under_way_at_once() -> None:
    barrier = threading.Barrier(2, timeout=30)
    assert sorted(run_all([barrier.wait, barrier.wait], 2)) == [0, 1]


def test_the_first_failure_is_raised_and_later_jobs_are_left_out() -> None:
    done: list[int] = []

    def job(k: int) -> None:
        if k in (3, 5):
            raise ValueError(str(k))
        done.append(k)

    with pytest.raises(ValueError, match="3"):
        run_all([lambda k=k: job(k) for k in range(9)], 1)
    assert done == [0, 1, 2]


def test_the_caller_does_it_all_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert run_all([threading.get_ident, threading.get_ident], 2) == [threading.get_ident()] * 2


def test_threads_compile_the_same_code(tmp_path, monkeypatch) -> None:
    sources = [source(k) for k in range(6)]
    made = []
    before = gx.get_num_threads()
    for threads in (1, 4):
        gx.set_num_threads(threads)
        object_cache.set_cache_dir(tmp_path / str(threads))
        monkeypatch.setattr(kernels, "_loaded", {})
        made.append([kernels.object_code(s).object_code for s in sources if kernels.load_kernels(sources)])
    gx.set_num_threads(before)
    assert made[0] == made[1]


def test_a_failing_kernel_is_named_and_the_next_program_compiles(tmp_path) -> None:
    object_cache.set_cache_dir(tmp_path)
    with pytest.raises(KernelError, match="unknown name 'nothing'"):
        kernels.load_kernels([source(1), source(2, "out[i] = nothing"), source(3)])
    assert kernels.load_kernels([source(1)])[0].address


def test_a_target_machine_serves_one_thread_at_a_time() -> None:
    with target.machine() as first, target.machine() as second:
        assert first is not second
    with target.machine() as third:
        assert third is first or third is second


def test_compiling_while_the_interpreter_ends() -> None:
    script = (
        "import atexit\n"
        "import graphc as gx\n"
        "from graphc.runtime import object_cache\n"
        "import tempfile\n"
        "object_cache.set_cache_dir(tempfile.mkdtemp())\n"
        "x = gx.placeholder('x', (3,))\n"
        "@atexit.register\n"
        "def last():\n"
        "    program = gx.compile(x, [gx.exp(x).sum(), gx.argsort(x)])\n"
        "    print(program([0, 0, 0])[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "3.0", done.stderr
