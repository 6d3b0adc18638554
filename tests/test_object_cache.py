"""The on-disk cache: hits, races, damage, permissions."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from graphc.runtime import cache_place
from graphc.runtime.compiled_object import CompiledObject
from graphc.runtime.object_cache import CacheWarning, ObjectCache, decode, encode

KEY = "ab" * 32
ENTRY = CompiledObject(b"object code", "kernel_ab", b"packed")
ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import sys
from graphc.runtime import kernels, object_cache
from graphc.runtime.kernel_source import KernelSource
object_cache.set_cache_dir(sys.argv[1])
code = "def kernel(x, block, blocks, worker):\\n    x[0] = x[1] + f32({}.0)\\n"
sources = [KernelSource("k", (("x", "float32*"),), code.format(i)) for i in range(int(sys.argv[2]))]
loaded = kernels.load_kernels(sources)
assert kernels.asm(sources[0]) and "define void" in kernels.llvm(sources[0])
statistics = object_cache.active().statistics
print(kernels.compilations(), statistics.hits, statistics.misses, "numba" in sys.modules)
print(all(kernel.from_cache for kernel in loaded))
"""
posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")


@pytest.fixture
def cache(tmp_path):
    return ObjectCache(tmp_path / "cache")


def start(directory, count):
    command = [sys.executable, "-c", PROGRAM, str(directory), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finish(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output.split()


def test_what_is_stored_is_loaded(cache):
    assert cache.load(KEY) is None
    cache.store(KEY, ENTRY)
    assert cache.load(KEY) == ENTRY
    assert (cache.statistics.hits, cache.statistics.misses, cache.statistics.compiled) == (1, 1, 1)


def test_storing_leaves_no_other_files(cache):
    cache.store(KEY, ENTRY)
    cache.store(KEY, ENTRY)
    assert [path.name for path in cache.directory.iterdir()] == [f"{KEY}.gxo"]


@posix
def test_only_the_owner_has_access(cache):
    cache.store(KEY, ENTRY)
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((cache.directory / f"{KEY}.gxo").stat().st_mode) == 0o600


@pytest.mark.parametrize("size", [0, 1, 31, 32, 100, -1])
def test_a_truncated_entry_is_a_miss_and_is_replaced(cache, size):
    cache.store(KEY, ENTRY)
    path = cache.directory / f"{KEY}.gxo"
    path.write_bytes(path.read_bytes()[:size])
    assert cache.load(KEY) is None
    cache.store(KEY, ENTRY)
    assert cache.load(KEY) == ENTRY


def test_any_flipped_bit_is_a_miss():
    entry = encode(KEY, ENTRY)
    for position in range(len(entry)):
        damaged = bytearray(entry)
        damaged[position] ^= 0x10
        assert decode(KEY, bytes(damaged)) is None


def test_an_entry_of_another_key_is_a_miss():
    assert decode("cd" * 32, encode(KEY, ENTRY)) is None


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_others_can_write_to_is_refused_once(tmp_path, mode):
    tmp_path.chmod(mode)
    cache = ObjectCache(tmp_path)
    with pytest.warns(CacheWarning, match="others may write"):
        cache.store(KEY, ENTRY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store(KEY, ENTRY)
        assert cache.load(KEY) is None
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_directory_of_another_user_is_refused(cache, monkeypatch):
    cache.store(KEY, ENTRY)
    monkeypatch.setattr(os, "getuid", lambda: 123456)
    other = ObjectCache(cache.directory)
    with pytest.warns(CacheWarning, match="another user"):
        assert other.load(KEY) is None


def test_an_impossible_directory_costs_one_warning(tmp_path):
    (tmp_path / "file").write_text("")
    cache = ObjectCache(tmp_path / "file" / "cache")
    with pytest.warns(CacheWarning, match="cannot be used"):
        cache.load(KEY)
        cache.store(KEY, ENTRY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store(KEY, ENTRY)


def test_a_full_disk_costs_one_warning_and_leaves_nothing(cache, monkeypatch):
    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(CacheWarning, match="No space left"):
        cache.store(KEY, ENTRY)
    assert list(cache.directory.iterdir()) == []


def test_the_default_directory_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_place.default_directory() == tmp_path / "graphc"


def test_a_second_process_compiles_nothing(tmp_path):
    assert finish(start(tmp_path / "cache", 3)) == ["3", "0", "3", "False", "False"]
    assert finish(start(tmp_path / "cache", 3)) == ["0", "3", "0", "False", "True"]


def test_a_damaged_entry_is_compiled_again(tmp_path):
    finish(start(tmp_path / "cache", 2))
    victim = sorted((tmp_path / "cache").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:-7])
    assert finish(start(tmp_path / "cache", 2))[:3] == ["1", "1", "1"]
    assert finish(start(tmp_path / "cache", 2))[:3] == ["0", "2", "0"]


def test_two_processes_may_race(tmp_path):
    racers = [start(tmp_path / "cache", 4) for _ in range(2)]
    for racer in racers:
        finish(racer)
    assert len(list((tmp_path / "cache").iterdir())) == 4
    assert finish(start(tmp_path / "cache", 4))[0] == "0"
