"""Variables on disk: exact round trips, strict matching, damaged files."""

from __future__ import annotations

import builtins
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import graphc as gx
from graphc.errors import ArgumentError, DataError, MissingDependencyError
from graphc.types import DTYPES

pytest.importorskip("safetensors")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3)])
def test_round_trip_is_exact(path, dtype, shape):
    value = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    gx.save_variables(path, {"v": gx.variable(value)})
    target = gx.variable(np.ones(shape, dtype))
    gx.load_variables(path, {"v": target})
    assert_array_equal(target.value, value)


def test_special_floats_survive(path):
    value = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    v = gx.variable(value, name="v")
    gx.save_variables(path, [v])
    v.value = np.zeros(5)
    gx.load_variables(path, [v])
    assert v.value.tobytes() == value.tobytes()


def test_layer_and_optimizer(path):
    def build(seed):
        model = gx.nn.Sequential(gx.nn.Dense(3, 4, seed=seed), gx.nn.Dense(4, 1, seed=seed))
        optimizer = gx.optim.Adam()
        optimizer.minimize(model(np.ones((2, 3), np.float32)).sum())
        return model, optimizer

    (model, optimizer), (other, fresh) = build(0), build(1)
    optimizer.variables[0].value = 7
    for owner, target in ((model, other), (optimizer, fresh)):
        gx.save_variables(path, owner)
        gx.load_variables(path, target)
        for a, b in zip(owner.variables, target.variables, strict=True):
            assert_array_equal(a.value, b.value)
    assert len(optimizer.variables) == 1 + 2 * 4


def test_all_mismatches_are_listed_and_nothing_changes(path):
    gx.save_variables(path, {n: gx.variable(np.ones(2)) for n in ("same", "shape", "dtype", "extra")})
    targets = {
        "same": gx.variable(np.zeros(2)),
        "shape": gx.variable(np.zeros(3)),
        "dtype": gx.variable(np.zeros(2, np.float32)),
        "absent": gx.variable(np.zeros(2)),
    }
    with pytest.raises(DataError) as caught:
        gx.load_variables(path, targets)
    text = str(caught.value)
    assert "'absent' is missing" in text and "'extra' is unexpected" in text
    assert "'shape' is float64[2] instead of float64[3]" in text
    assert "'dtype' is float64[2] instead of float32[2]" in text
    assert "'same'" not in text
    assert all((v.value == 0).all() for v in targets.values())


def test_a_dtype_that_graphc_lacks_is_a_mismatch(path):
    from safetensors.numpy import save_file

    save_file({"v": np.zeros(2, np.float16)}, path)
    with pytest.raises(DataError, match=r"'v' is F16\[2\] instead of float32\[2\]"):
        gx.load_variables(path, {"v": gx.variable(np.zeros(2, np.float32))})


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated", "longer", "header"])
def test_damaged_files(path, damage):
    v = gx.variable(np.ones(100), name="v")
    gx.save_variables(path, [v])
    whole = path.read_bytes()
    broken = {
        "empty": b"",
        "garbage": b"\x00\xff not a weights file" * 9,
        "truncated": whole[:-1],
        "longer": whole + b"x",
        "header": whole[:8] + b"]" + whole[9:],
    }
    path.write_bytes(broken[damage])
    v.value = np.zeros(100)
    with pytest.raises(DataError, match="not a readable safetensors file"):
        gx.load_variables(path, [v])
    assert (v.value == 0).all()


def test_missing_file(path):
    with pytest.raises(FileNotFoundError):
        gx.load_variables(path, [gx.variable(1.0)])


def test_names_must_differ(path):
    pair = [gx.variable(1.0, name="w"), gx.variable(2.0, name="w")]
    with pytest.raises(ArgumentError, match="two variables are named 'w'"):
        gx.save_variables(path, pair)
    with pytest.raises(ArgumentError, match="not a variable"):
        gx.save_variables(path, {"w": gx.constant(1.0)})
    assert not path.exists()


def test_writing_replaces_atomically(path, monkeypatch):
    v = gx.variable(np.ones(2), name="v")
    gx.save_variables(path, [v])
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    v.value = np.zeros(2)
    with pytest.raises(OSError, match="disk full"):
        gx.save_variables(path, [v])
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_new_file_has_the_usual_permissions(path):
    gx.save_variables(path, [gx.variable(1.0, name="v")])
    usual = path.with_name("usual")
    usual.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_missing_package_is_named(path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("safetensors"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"graphc\[io\]"):
        gx.save_variables(path, [gx.variable(1.0, name="v")])


def test_what_holds_no_variables_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="nothing that holds variables"):
        gx.save_variables(tmp_path / "w.safetensors", 3)
