"""What loading does without: packing weights again, hashing a file again that has not changed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import cli
from graphc.artifact import hashing, seen
from graphc.artifact.container import Container
from graphc.errors import ArtifactError
from graphc.runtime import cache_place, object_cache
from graphc.runtime.settling import settled

RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(64, 32, 3, 3)).astype("float32")
X = RNG.normal(size=(2, 32, 9, 9)).astype("float32")


def convolution(weights: Any) -> gx.Program:
    x = gx.placeholder("x", ("n", 32, 9, 9))
    return gx.compile(x, gx.relu(gx.conv2d(x, weights, padding=1)), name="convolution")


@pytest.fixture(scope="module")
def program() -> gx.Program:
    return convolution(gx.constant(WEIGHTS))


@pytest.fixture
def path(program: gx.Program, tmp_path: Path) -> Path:
    found = tmp_path / "convolution.gxc"
    program.save(found)
    # As if it had been written long ago.
    long_ago = time.time() - 100
    os.utime(found, (long_ago, long_ago))
    return found


# ------------------------------------------------------------------ what is prepared
def test_packed_constants_are_loaded_and_not_made(program: gx.Program, path: Path) -> None:
    loaded = gx.load(path)
    assert program._image.preparations and not loaded._image.preparations
    np.testing.assert_array_equal(loaded(X), program(X))
    np.testing.assert_array_equal(loaded(X[:1]), program(X[:1]))
    # The plain weights are for the graph only.
    leaves = Container.open(path).json("leaves")
    plain = [c for c in leaves["constants"] if c.get("cold")]
    assert len(plain) == 1
    np.testing.assert_array_equal(loaded.graph.outputs[0].inputs[1].payload.array, WEIGHTS)


def test_what_was_loaded_can_be_saved(program: gx.Program, path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.gxc"
    gx.load(path).save(again)
    assert again.stat().st_size == path.stat().st_size
    np.testing.assert_array_equal(gx.load(again)(X), program(X))


def test_packed_variables_follow_their_variable(tmp_path: Path) -> None:
    w = gx.variable(WEIGHTS, name="w")
    original = convolution(w)
    original.save(tmp_path / "variable.gxc")
    loaded = gx.load(tmp_path / "variable.gxc")
    np.testing.assert_array_equal(loaded(X), original(X))
    w.value = loaded.variables[0].value = WEIGHTS[::-1]
    np.testing.assert_array_equal(loaded(X), original(X))


def test_settling_leaves_what_variables_decide() -> None:
    x, w = gx.placeholder("x", ("n", 32, 9, 9)), gx.variable(WEIGHTS, name="w")
    c = gx.constant(np.swapaxes(WEIGHTS, 0, 1))
    program = gx.compile(x, gx.conv2d(gx.conv2d(x, w, padding=1), c, padding=1))
    before, after = program._image, settled(program._source.executable).image
    read = {k for p in after.preparations for k in p.leaves}
    assert len(before.preparations) > len(after.preparations) > 0
    assert [after.leaves[k].variable for k in read] == [True]


def test_constants_stay_apart_when_what_was_loaded_is_saved(tmp_path: Path) -> None:
    x = gx.placeholder("x", ("n", 4))
    a, b = gx.constant(RNG.normal(size=4)), gx.constant(RNG.normal(size=4))
    program = gx.compile(x, gx.exp(x * a) + gx.tanh(x + b))
    program.save(tmp_path / "first.gxc")
    gx.load(tmp_path / "first.gxc").save(tmp_path / "second.gxc")
    x = RNG.normal(size=(3, 4)).astype("float32")
    np.testing.assert_array_equal(gx.load(tmp_path / "second.gxc")(x), program(x))


# ------------------------------------------------------------------ what was verified
def hashed(monkeypatch: pytest.MonkeyPatch, path: Path) -> int:
    """Return how many large sections loading a file hashes."""
    count = []
    result = hashing.Hashing.result
    with monkeypatch.context() as patched:
        patched.setattr(hashing.Hashing, "result", lambda self: (count.append(1), result(self))[1])
        gx.load(path)
    return len(count)


@pytest.fixture
def place(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of the user's, with the key that signed the file."""
    found = tmp_path / "user"
    found.mkdir(mode=0o700)
    (found / "signing.key").write_bytes((cache_place.current() / "signing.key").read_bytes())
    (found / "signing.key").chmod(0o600)
    monkeypatch.setattr(cache_place, "_chosen", [found])
    # Times of a file cannot be set back: the clock is put forward.
    now = time.time_ns
    monkeypatch.setattr(seen.time, "time_ns", lambda: now() + 10 * seen._SETTLED_NS)
    return found


def test_a_file_is_hashed_until_it_changes(path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [hashed(monkeypatch, path) for _ in range(3)] == [1, 0, 0]
    assert len(list((place / seen.FOLDER).iterdir())) == 1
    os.utime(path)
    assert [hashed(monkeypatch, path) for _ in range(2)] == [1, 0]
    content = path.read_bytes()
    with Container.open(path) as container:
        offset = container.sections["data"].offset
    path.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
    for _ in range(2):
        with pytest.raises(ArtifactError, match="'data' is damaged"):
            gx.load(path)


def test_a_copy_is_another_file(path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gx.load(path)
    copy = path.with_name("copy.gxc")
    copy.write_bytes(path.read_bytes())
    assert [hashed(monkeypatch, p) for p in (copy, copy, path)] == [1, 0, 1]


def test_a_file_that_was_just_written_is_hashed_again(
    path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen.time, "time_ns", lambda: path.stat().st_ctime_ns + seen._SETTLED_NS // 2)
    assert [hashed(monkeypatch, path) for _ in range(2)] == [1, 1]


def test_records_of_others_are_not_believed(path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gx.load(path)
    (record,) = (place / seen.FOLDER).iterdir()
    record.write_bytes(bytes(32))
    assert hashed(monkeypatch, path) == 1
    record.unlink()
    # What signs the table of sections of a file says nothing of its content.
    with Container.open(path) as container:
        record.write_bytes(container.signature or b"")
    assert hashed(monkeypatch, path) == 1


def test_clearing_the_cache_forgets_what_was_verified(
    path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gx.load(path)
    monkeypatch.setattr(object_cache, "_active", [object_cache.ObjectCache(place)])
    assert cli.main(["cache", "clear"]) == 0
    assert not list((place / seen.FOLDER).iterdir()) and (place / "signing.key").exists()
    assert hashed(monkeypatch, path) == 1


def test_where_no_record_can_be_kept_every_load_hashes(
    path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / seen.FOLDER).write_bytes(b"a file in the way")
    assert [hashed(monkeypatch, path) for _ in range(2)] == [1, 1]
