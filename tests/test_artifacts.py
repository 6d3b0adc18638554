"""Programs in files: what is loaded runs as what was saved, with or without the machine code."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.artifact import native, signing
from graphc.artifact.container import Container
from graphc.errors import ArgumentError, ArtifactError, ArtifactWarning, CheckError, FeedError
from graphc.runtime import kernels

Pair = namedtuple("Pair", "loss scores")
X = np.arange(12, dtype="float32").reshape(4, 3)
LABELS = np.array([0, 1, 1, 0])


def _train(seed: int = 0) -> dict[str, gx.Program]:
    """Return two programs that share their weights."""
    x, y = gx.placeholder("x", ("n", 3)), gx.placeholder("y", ("n",), "int64")
    weights = np.random.default_rng(seed).normal(size=(3, 2)).astype("float32")
    w, b = gx.variable(weights, name="w"), gx.variable(np.zeros(2, "float32"), name="b")
    scores = x @ w + b
    loss = gx.nn.softmax_cross_entropy(scores, y).mean()
    updates = gx.optim.Adam(0.1).minimize(loss)
    train = gx.compile([x, y], Pair(loss, [scores]), updates=updates, name="train")
    return {"train": train, "predict": gx.compile(x, {"best": gx.argmax(scores, axis=1)}, name="predict")}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A file written in the middle of training, and what the original computed from there on."""
    programs = _train()
    for _ in range(3):
        programs["train"](X, LABELS)
    path = tmp_path_factory.mktemp("artifacts") / "model.gxc"
    gx.save(path, programs)
    return path, [programs["train"](X, LABELS) for _ in range(3)] + [programs["predict"](X)]


def _continue(programs: Any) -> list[Any]:
    return [programs["train"](X, LABELS) for _ in range(3)] + [programs["predict"](X)]


def _same(found: list[Any], wanted: list[Any]) -> None:
    for a, b in zip(found[:-1], wanted[:-1], strict=True):
        assert a.loss == b.loss
        np.testing.assert_array_equal(a.scores[0], b.scores[0])
    np.testing.assert_array_equal(found[-1]["best"], wanted[-1]["best"])


def test_training_goes_on_with_the_same_bits(saved: tuple[Path, list[Any]]) -> None:
    path, wanted = saved
    before = kernels.compilations()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        programs = gx.load(path)
    assert list(programs) == ["train", "predict"]
    found = _continue(programs)
    _same(found, wanted)
    assert type(found[0]).__name__ == "Pair" and found[0]._fields == ("loss", "scores")
    assert kernels.compilations() == before


def test_a_new_process_needs_neither_passes_nor_compiler(saved: tuple[Path, list[Any]]) -> None:
    path, wanted = saved
    code = f"""
        import sys
        import numpy as np
        import graphc as gx
        programs = gx.load({str(path)!r})
        x, y = np.arange(12, dtype="float32").reshape(4, 3), np.array([0, 1, 1, 0])
        print(*(programs["train"](x, y).loss.tobytes().hex() for _ in range(3)))
        heavy = "graphc.ops graphc.passes graphc.ir graphc.codegen llvmlite.binding numba networkx".split()
        print(*[m for m in sys.modules if m.startswith(tuple(heavy))])
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    )
    losses, imported = run.stdout.split("\n")[:2]
    assert losses.split() == [w.loss.tobytes().hex() for w in wanted[:3]]
    assert not imported


def test_a_new_process_prints_and_checks(tmp_path: Path) -> None:
    x = gx.placeholder("x", ("n",))
    gx.debug.check((x > 0).all(), "x must be positive")
    path = tmp_path / "talks.gxc"
    gx.compile(x, gx.debug.print(x * 2, label="doubled")).save(path)
    code = f"""
        import graphc as gx
        program = gx.load({str(path)!r})
        program([1.0])
        try:
            program([-1.0])
        except gx.errors.CheckError as error:
            print(error.what)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    )
    assert run.stdout == "doubled: [2.]\nx must be positive\n"


def test_files_of_others_are_compiled_unless_trusted(
    saved: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, wanted = saved
    monkeypatch.setattr(signing, "is_signed_by_user", lambda *_: False)
    with pytest.warns(ArtifactWarning, match="not signed by you") as caught:
        programs = gx.load(path)
    assert len(caught) == 1 and caught[0].filename == __file__
    _same(_continue(programs), wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _same(_continue(gx.load(path, trust=True)), wanted)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"features": ["a_feature_of_the_future"]}, "this CPU lacks a_feature_of_the_future"),
        ({"llvmlite": "0.1"}, "made for llvmlite 0.1"),
        ({"system": "linux on riscv64"}, "made for system linux on riscv64"),
        ({"native": 0}, "made for native 0"),
    ],
)
def test_code_for_other_machines_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], reason: str
) -> None:
    made = native.target()
    path = tmp_path / "other.gxc"
    x = gx.placeholder("x", ("n",))
    program = gx.compile(x, gx.exp(x))
    monkeypatch.setattr("graphc.artifact.saving.target", lambda: {**made, **change})
    program.save(path)
    with pytest.warns(ArtifactWarning, match=reason):
        loaded = gx.load(path)
    np.testing.assert_array_equal(loaded(X[0]), program(X[0]))


def test_everything_can_be_seen_of_a_loaded_program(saved: tuple[Path, list[Any]]) -> None:
    predict = gx.load(saved[0])["predict"]
    original = _train()["predict"]
    assert repr(predict) == repr(original)
    assert str(predict.graph.outputs[0].type) == "int64[n]"
    assert [s.name for s in predict.stages] == [s.name for s in original.stages]
    assert [k.name for k in predict.kernels] == [k.name for k in original.kernels]
    assert "def kernel" in predict.kernels[0].source
    predict(X)
    original(X)
    assert str(predict.memory) == str(original.memory)


def test_variables_of_a_loaded_program(saved: tuple[Path, list[Any]]) -> None:
    programs = gx.load(saved[0])
    variables = {v.name: v for v in programs["train"].variables}
    assert variables["w"].trainable
    (shared,) = [v for v in programs["predict"].variables if v.name == "w"]
    shared.value = np.zeros((3, 2))
    variables["b"].value = [1.0, 2.0]
    np.testing.assert_array_equal(programs["predict"](X)["best"], np.ones(4))


def test_saving_again_what_was_loaded(saved: tuple[Path, list[Any]], tmp_path: Path) -> None:
    path, wanted = saved
    gx.save(tmp_path / "copy.gxc", gx.load(path))
    _same(_continue(gx.load(tmp_path / "copy.gxc")), wanted)


def test_writing_into_a_loaded_program_leaves_the_file_alone(saved: tuple[Path, list[Any]]) -> None:
    path = saved[0]
    before = path.read_bytes()
    _continue(gx.load(path))
    assert path.read_bytes() == before


def test_failed_checks_speak_as_before(tmp_path: Path) -> None:
    x, k = gx.placeholder("x", ("n",)), gx.placeholder("k", (), "int64")
    program = gx.compile([x, k], gx.take(x, k))
    program.save(tmp_path / "take.gxc")
    loaded = gx.load(tmp_path / "take.gxc")
    assert loaded(X[0], 2) == 2.0
    messages = []
    for each in (program, loaded):
        with pytest.raises((CheckError, IndexError)) as caught:
            each(X[0], 7)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    with pytest.raises(FeedError, match="'x'"):
        loaded(X, 1)


def test_ops_that_python_computes(tmp_path: Path) -> None:
    mine = gx.elementwise_op("doubled_by_numpy", lambda x: x * 2)
    x = gx.placeholder("x", ("n",))
    program = gx.compile(x, mine(x) + 1)
    program.save(tmp_path / "mine.gxc")
    np.testing.assert_array_equal(gx.load(tmp_path / "mine.gxc")(X[0]), X[0] * 2 + 1)


def test_loops_and_branches(tmp_path: Path) -> None:
    h = gx.placeholder("h", (3,))

    def body(c: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        return gx.cond(c.sum() > x, lambda: c * 0.5, lambda: gx.tanh(c) + x), c

    xs = gx.placeholder("xs", ("t",))
    last, states = gx.scan(body, h, xs)
    program = gx.compile([h, xs], [last, states, gx.grad(last.sum(), h)])
    program.save(tmp_path / "scan.gxc")
    loaded = gx.load(tmp_path / "scan.gxc")
    for length in (5, 0, 1):
        fed = X[0], np.linspace(-1, 1, length, dtype="float32")
        for found, wanted in zip(loaded(*fed), program(*fed), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no programs"):
        gx.save(tmp_path / "none.gxc", {})
    assert not list(tmp_path.iterdir())


def test_passes_given_one_by_one_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc.passes import Prune

    x = gx.placeholder("x", ("n",))
    gx.compile(x, gx.exp(x) + 0, optimize=[Prune()]).save(tmp_path / "own.gxc")
    loaded = gx.load(tmp_path / "own.gxc")
    np.testing.assert_allclose(loaded(X[0]), np.exp(X[0]), rtol=1e-6)
    with pytest.warns(ArtifactWarning, match=r"Prune\(\)"):
        assert loaded.stages


def test_damage_is_found(saved: tuple[Path, list[Any]], tmp_path: Path) -> None:
    content = bytearray(saved[0].read_bytes())
    with Container.open(saved[0]) as container:
        offsets = [s.offset for s in container.sections.values() if s.length]
    for offset in offsets:
        damaged = bytearray(content)
        damaged[offset] ^= 1
        (tmp_path / "damaged.gxc").write_bytes(damaged)
        with pytest.raises(ArtifactError, match="damaged"):
            _ = [p.graph for p in gx.load(tmp_path / "damaged.gxc").values()]


def test_running_reads_no_constant_that_was_folded_away(tmp_path: Path) -> None:
    x = gx.placeholder("x", ("n", 3))
    big = gx.constant(np.ones((3, 1000), "float32"))
    program = gx.compile(x, x @ gx.sum(big, axis=1, keepdims=True))
    program.save(tmp_path / "folded.gxc")
    with Container.open(tmp_path / "folded.gxc") as container:
        lengths = {name: s.length for name, s in container.sections.items()}
    assert lengths["data"] < 100 and lengths["data/graphs"] >= 12000
    loaded = gx.load(tmp_path / "folded.gxc")
    np.testing.assert_array_equal(loaded(X), program(X))
    assert [c.size for c in loaded._source.traced.constants.values()] == [3000]
