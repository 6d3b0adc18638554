"""The demo from the command line to its files, and the pieces that it is made of."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import pytest
from test_data import write_cifar, write_mnist

from graphc import cli, data, plotting
from graphc.demo.session import Settings, run_demo
from graphc.demo.tasks import TASKS
from graphc.demo.training import Classifier

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

FILES = ("learning_curve.png", "graph.txt", "graph.dot")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """What the demo prints and writes when it runs with its defaults."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        report = run_demo(Settings(out=out))
    return report, out, printed.getvalue()


def test_it_recognizes_98_percent_of_the_held_out_digits(digits):
    report, _, printed = digits
    assert report.accuracy >= 0.98
    assert len(report.epochs) == TASKS["digits"].epochs
    assert f"held-out accuracy {report.accuracy:.2%} " in printed


def test_it_shows_the_passes_before_it_trains(digits):
    _, _, printed = digits
    table, _, _ = printed.partition("held-out accuracy")
    assert all(word in table for word in ("canonicalize", "cse", "kernels", "compiled two programs"))


def test_it_writes_the_curve_and_the_optimized_graph(digits):
    report, out, printed = digits
    assert [path.relative_to(out).as_posix() for path in report.files] == list(FILES)
    assert all(f"wrote {path}" in printed for path in report.files)
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "graph.txt").read_text().startswith("graph(")
    assert (out / "graph.dot").read_text().startswith("digraph ")


def test_the_graph_points_at_the_lines_of_the_demo(digits):
    _, out, _ = digits
    places = set(re.findall(r"# (\w+\.py):\d+", (out / "graph.txt").read_text()))
    assert places and places <= {"lenet.py", "training.py"}


def test_the_same_seed_gives_the_same_result(tmp_path):
    runs = [run_demo(Settings(out=tmp_path, epochs=2, seed=seed, quiet=True)) for seed in (3, 3, 4)]
    losses = [[epoch.loss for epoch in run.epochs] for run in runs]
    assert losses[0] == losses[1] != losses[2]


def test_quiet_prints_the_result_only(tmp_path, capsys):
    assert cli.main(["demo", "--quiet", "--epochs", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"held-out accuracy \d+\.\d\d% \(\d+ of 359 images\) after 1 epoch of training in [\d.]+ s\n",
        printed.out,
    )
    assert printed.err == ""


def test_progress_goes_to_the_error_stream(tmp_path, capsys):
    assert cli.main(["demo", "--epochs", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "step/s" in printed.err and "step/s" not in printed.out


@pytest.mark.parametrize(("name", "write"), [("mnist", write_mnist), ("cifar10", write_cifar)])
def test_it_trains_on_files_that_a_user_has(tmp_path, capsys, name, write):
    write(tmp_path)
    words = ["demo", "--data", name, "--path", str(tmp_path), "--epochs", "1", "--batch", "8"]
    assert cli.main([*words, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)


def test_a_wrong_file_gives_one_line_and_exit_code_1(tmp_path, capsys):
    write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"<html>")
    words = ["demo", "--data", "mnist", "--path", str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith(f"graphc: {tmp_path / 'train-images-idx3-ubyte'}: not an IDX file")


def test_a_folder_that_cannot_be_written_is_named_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    for out in (tmp_path / "file", tmp_path / "file" / "inner"):
        assert cli.main(["demo", "--out", str(out)]) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith(f"graphc: {out}: cannot be made a folder")


@pytest.mark.parametrize("package", ["matplotlib", "tqdm", "sklearn"])
def test_a_missing_package_names_the_extra(tmp_path, capsys, monkeypatch, package):
    import importlib

    found = importlib.import_module

    def import_module(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return found(name, *rest)

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert cli.main(["demo", "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and 'pip install "graphc[demo]"' in printed.err


def test_one_compilation_serves_every_batch_size():
    task = TASKS["digits"]
    classifier = Classifier(data.load_digits(), task, epochs=1, batch=100, seed=0)
    images = classifier.dataset.test
    classes = classifier.predict(classifier.standardize(images.pixels))
    one_by_one = [classifier.predict(classifier.standardize(images.pixels[i : i + 1]))[0] for i in range(20)]
    np.testing.assert_array_equal(classes[:20], one_by_one)
    assert classifier.predict(classifier.standardize(images.pixels[:0])).shape == (0,)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_learning_curve_of_one_epoch(tmp_path, suffix):
    path = tmp_path / f"curve{suffix}"
    plotting.learning_curve(path, losses=[0.5], accuracies=[0.9], title="one")
    assert path.stat().st_size > 1000
