"""The commands that work on a user's program: what they find, print, write and refuse."""

from __future__ import annotations

import json
import operator
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile

import numpy as np
import pytest

import graphc as gx
from graphc import cli
from graphc.commands import arrays, timing
from graphc.commands.inputs import Source
from graphc.native_export import linking
from graphc.runtime import object_cache

MODEL = """\
import numpy as np
import graphc as gx

w = gx.variable(np.float32([[1, 2], [3, 4], [5, 6]]), name="w")

def double():
    x = gx.placeholder("x", shape=("batch", 3))
    return x, x + x

def both():
    x = gx.placeholder("x", shape=("batch", 3))
    error = gx.mean((x @ w) ** 2)
    return {"train": (x, {"loss": error}, {w: w - gx.grad(error, w)}), "predict": ([x], [x @ w, gx.sum(x)])}

def compiled():
    x = gx.placeholder("x", shape=("batch", 3))
    return gx.compile(x, x - 1, name="minus")

ready = compiled()

def labelled():
    x = gx.placeholder("x", shape=("batch", "batch"))
    y = gx.placeholder("y", shape=(2,), dtype="int64")
    return [x, y], gx.take(x, y, axis=0)

def breaks():
    return {}["no such key"]

def mismatched():
    x = gx.placeholder("x", shape=("batch", 3))
    return x, x @ gx.zeros((4, 2))

def foreign():
    x = gx.placeholder("x", shape=("batch", 3))
    return x + 1, x

def leaves():
    raise SystemExit("enough")

def number():
    return 3

def one():
    return (gx.placeholder("x", shape=(3,)),)

def odd():
    return 1, 2

def unnamed():
    return {1: double()}

def needs(argument):
    return argument

def failing():
    def meaning(x):
        raise RuntimeError("no luck")
    x = gx.placeholder("x", shape=("batch", 3))
    op = gx.custom_op("failing", infer=lambda x: x, numpy=meaning)
    return x, op(x)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with a model and arrays, and leave Python's tables of modules as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "small_model.py").write_text(MODEL)
    np.save("x.npy", np.float32([[1, 0, 0], [0, 1, 0]]))
    np.savez("feeds.npz", x=np.ones((2, 3), "float32"))
    yield tmp_path
    for name in ("small_model", "_graphc_target"):
        sys.modules.pop(name, None)


def fails(capsys, *words):
    """Run a line that has to fail, and return its message."""
    assert cli.main(words) == 1
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err and printed.err.startswith("graphc: ")
    return printed.err.removeprefix("graphc: ")


def refused(capsys, *words):
    """Run a wrong line, and return the complaint."""
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    return capsys.readouterr().err


def report(capsys, *words):
    assert cli.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# ------------------------------------------------------------------------- run
@pytest.mark.parametrize("target", ["small_model:double", "small_model.py:double"])
def test_run_calls_a_function_of_a_module_or_a_file(capsys, folder, target):
    assert cli.main(["run", target, "--input", "x=x.npy"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "output  float32[2, 3]  [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]"
    assert second.startswith("1 result in ")


@pytest.mark.parametrize("name", ["compiled", "ready"])
def test_run_takes_programs_that_are_compiled_already(capsys, folder, name):
    assert report(capsys, "run", f"small_model:{name}", "--input", "x=x.npy")["outputs"] == {
        "output": {"dtype": "float32", "shape": [2, 3]}
    }


def test_run_writes_what_the_program_returns(capsys, folder):
    line = ["run", "small_model:both", "--program", "predict", "--input", "x=x.npy", "--out", "found.npz"]
    assert cli.main(line) == 0
    assert "2 results in" in capsys.readouterr().out
    with np.load("found.npz") as found:
        assert found.files == ["output.0", "output.1"]
        np.testing.assert_array_equal(found["output.0"], [[1, 2], [3, 4]])


def test_run_leaves_an_old_file_alone_when_it_fails(capsys, folder, monkeypatch):
    (folder / "found.npz").write_bytes(b"old")

    def full(*words, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    message = fails(capsys, "run", "small_model:double", "--input", "x=x.npy", "--out", "found.npz")
    assert "No space left" in message
    assert (folder / "found.npz").read_bytes() == b"old"
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_a_program_has_to_be_chosen_where_there_are_several(capsys, folder):
    line = ["run", "small_model:both", "--input", "x=x.npy"]
    assert "expected --program train or --program predict" in fails(capsys, *line)
    assert "holds no program 'test'" in fails(capsys, *line, "--program", "test")
    assert report(capsys, *line, "--program", "train")["outputs"].keys() == {"loss"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "input 'x' is missing"),
        (["--input", "z=x.npy"], "unknown input 'z'"),
        (["--input", "x=x.npy", "--input", "feeds.npz"], "input 'x' is given twice"),
        (["--input", "x=wide.npy"], "expected float32[batch, 3], given float64[2, 4]"),
        (["--input", "x=absent.npy"], "absent.npy: No such file or directory"),
        (["--input", "x=feeds.npz:y"], "feeds.npz has no array 'y'\n  expected x"),
        (["--input", "x=letter.npy"], "letter.npy is not a .npy or .npz file"),
        (["--input", "x=cut.npy"], "cut.npy cannot be read"),
        (["--input", "x=cut.npz"], "cut.npz cannot be read"),
        (["--input", "x=objects.npy"], "objects.npy cannot be read: Object arrays"),
        (
            ["--input", "x=x.npy", "--out", "absent/found.npz"],
            "absent/found.npz cannot be written: there is no folder absent",
        ),
    ],
)
def test_bad_feeds_are_named(capsys, folder, words, message):
    np.save("wide.npy", np.ones((2, 4)))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "letter.npy").write_bytes(b"Dear Sir")
    for whole, cut in (("x.npy", "cut.npy"), ("feeds.npz", "cut.npz")):
        (folder / cut).write_bytes((folder / whole).read_bytes()[:-8])
    found = fails(capsys, "run", "small_model:double", *words)
    assert message in found
    # No line of Python's machinery around the command is passed off as the user's.
    assert "\n  at " not in found


@pytest.mark.parametrize(
    ("name", "message", "line"),
    [
        ("breaks", "small_model:breaks: KeyError: 'no such key'", 'return {}["no such key"]'),
        ("mismatched", "matmul: inner sizes differ", "return x, x @ gx.zeros((4, 2))"),
        ("foreign", "compile: every input must be a placeholder", "def foreign():"),
        ("leaves", "small_model:leaves: it ended the process with sys.exit", 'raise SystemExit("enough")'),
        ("number", "expected a Program, (inputs, outputs)", "def number():"),
        ("one", "given tuple", "def one():"),
        ("odd", "given a tuple that begins with a int", "def odd():"),
        ("unnamed", "given a dict with the keys [1]", "def unnamed():"),
        ("needs", "missing a required argument: 'argument'", "def needs(argument):"),
        ("failing", "small_model:failing: RuntimeError: no luck", 'raise RuntimeError("no luck")'),
    ],
)
def test_mistakes_in_the_users_module_are_placed(capsys, folder, name, message, line):
    found = fails(capsys, "run", f"small_model:{name}", "--input", "x=x.npy")
    number = [text.strip() for text in MODEL.splitlines()].index(line) + 1
    assert message in found
    assert found.endswith(f"\n  at {folder / 'small_model.py'}:{number}: {line}\n")


def test_a_name_that_a_module_does_not_have(capsys, folder):
    found = fails(capsys, "run", "small_model:absent", "--input", "x=x.npy")
    assert found.startswith("small_model has no 'absent'\n  expected double, both, compiled")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nx = (\n", "SyntaxError: '(' was never closed\n  at {file}:2: x = ("),
        ("import absent_package\n", "ModuleNotFoundError: No module named 'absent_package'\n  at {file}:1"),
        ("1 / 0\n", "ZeroDivisionError: division by zero\n  at {file}:1: 1 / 0"),
        ("import numpy as np\nnp.ones(3) @ np.ones(4)\n", "ValueError: matmul"),
        ("import numpy as np\nnp.load('absent')\n", "FileNotFoundError: [Errno 2]"),
        ("\0", "null bytes"),
    ],
)
@pytest.mark.parametrize("target", ["broken:f", "broken.py:f"])
def test_a_module_that_does_not_load_says_where(capsys, folder, text, message, target):
    (folder / "broken.py").write_text(text)
    found = fails(capsys, "inspect", target)
    assert message.format(file=folder / "broken.py") in found
    assert f"{folder / 'broken.py'}:" in found or "null bytes" in found


def test_modules_and_files_that_are_not_there(capsys, folder):
    assert "there is no module 'absent_module'" in fails(capsys, "inspect", "absent_module:f")
    assert "there is no module 'absent.module'" in fails(capsys, "inspect", "absent.module:f")
    assert fails(capsys, "inspect", "absent.py:f") == "absent.py: No such file or directory\n"


def test_a_file_may_be_called_like_a_module_and_import_what_lies_beside_it(capsys, folder):
    (folder / "inner").mkdir()
    (folder / "inner" / "beside.py").write_text("SHAPE = (3,)\n")
    text = "import graphc as gx\nfrom beside import SHAPE\nx = gx.placeholder('x', shape=SHAPE)\n"
    (folder / "inner" / "json.py").write_text(text + "def f():\n    return x, -x\n")
    assert report(capsys, "inspect", "inner/json.py:f")["outputs"] == ["float32[3]"]
    sys.modules.pop("beside")


def test_what_goes_wrong_in_graphc_itself_keeps_its_traceback(folder, monkeypatch):
    monkeypatch.setattr("graphc.commands.target._programs", operator.methodcaller("defect"))
    with pytest.raises(TypeError, match="methodcaller"):
        cli.main(["inspect", "small_model:double"])


def test_a_traceback_can_be_asked_for(capsys, folder):
    assert cli.main(["--traceback", "inspect", "small_model:breaks"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "small_model"], "expected"),
        (["run", "small_model.py"], "module:function"),
        (["run", "small_model.py:"], "module:function"),
        (["run", ":double"], "module:function"),
        (["run", ".:double"], "module:function"),
        (["run", "small_model::double"], "module:function"),
        (["run", "model.gxc", "--import", "own-operation"], "expected the name of a module"),
        (["run", "small_model:double", "--input", "x.npy"], "expected NAME=FILE.npy"),
        (["run", "small_model:double", "--input", "x=x.txt"], "given 'x=x.txt'"),
        (["run", "small_model:double", "--input", "feeds.npz:x"], "expected NAME=FILE.npy"),
        (["run", "small_model:double", "--out", "found.txt"], "--out: expected FILE.npz"),
        (["compile", "small_model:double"], "required: -o/--out"),
        (["compile", "small_model:double", "-o", "model.txt"], "--out: expected FILE.gxc"),
        (["compile", "model.gxc", "-o", "other.gxc"], "expected FILE.onnx, module:function"),
        (["inspect", "small_model:double", "--show", "asm"], "--show goes with --kernel"),
        (["inspect", "small_model:double", "--kernel", "0", "--format", "dot"], "goes with --format text"),
        (["inspect", "small_model:double", "--kernel", "0", "--stage", "0"], "not allowed with"),
        (["inspect", "small_model:double", "--json", "--stage", "0"], "--json goes with"),
        (["inspect", "small_model:double", "--scope", "encoder"], "--scope goes with --format svg"),
        (["inspect", "small_model:double", "--format", "html"], "needs -o FILE.html"),
        (["inspect", "small_model:double", "--format", "html", "--stage", "0"], "without --stage"),
        (["inspect", "small_model:double", "--explain", "--format", "dot"], "goes with --format text"),
        (["bench", "small_model:double", "--size", "batch"], "expected NAME=SIZE"),
        (["bench", "small_model:double", "--size", "batch=-1"], "expected NAME=SIZE"),
        (["profile", "small_model:double", "--repeat", "0"], "expected a positive whole number"),
        (["profile", "small_model:double", "--trace", "trace.txt"], "expected FILE.json"),
        (["bench", "small_model:double", "--seconds", "0"], "expected a positive number"),
        (["bench", "small_model:double", "--seconds", "inf"], "expected a positive number"),
        (["bench", "small_model:double", "--seconds", "soon"], "expected a positive number"),
    ],
)
def test_wrong_lines(capsys, folder, words, complaint):
    assert complaint in refused(capsys, *words)


# ----------------------------------------------------------- compile, artifacts
@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The program `double` and the programs `both`, compiled into files."""
    where = tmp_path_factory.mktemp("artifacts")
    (where / "small_model.py").write_text(MODEL)
    for name in ("double", "both"):
        assert cli.main(["compile", f"{where}/small_model.py:{name}", "-o", f"{where}/{name}.gxc"]) == 0
    return where


def test_compile_tells_what_it_wrote(capsys, folder):
    assert cli.main(["compile", "small_model:both", "-o", "model.gxc", "--optimize", "none"]) == 0
    train, predict, wrote = capsys.readouterr().out.splitlines()
    assert train == "program train(x: float32[batch, 3]) -> float32[]"
    assert predict.startswith("program predict(x: float32[batch, 3]) -> ")
    assert wrote.startswith("wrote model.gxc, 0.0 MB, in ")
    found = report(capsys, "compile", "small_model:double", "-o", "model.gxc", "--name", "twice")
    assert found["kernels"] == {"twice": 1} and found["bytes"] == os.path.getsize("model.gxc")


@pytest.mark.skipif(not linking.is_possible(), reason="needs Linux on x86-64 and a linker")
def test_compile_writes_libraries(capsys, folder):
    words = ["-o", "model.gxc", "--native", "out"]
    assert cli.main(["compile", "small_model:double", *words]) == 0
    assert "wrote out/libdouble_.so" in capsys.readouterr().out
    found = report(capsys, "compile", "small_model:both", *words)
    assert found["libraries"] == ["out/train/libtrain.so", "out/predict/libpredict.so"]
    assert sorted(os.listdir("out/train")) == ["example.c", "libtrain.so", "train.h"]


def test_commands_take_artifacts(capsys, folder, artifact):
    assert cli.main(["run", f"{artifact}/double.gxc", "--input", "x=x.npy"]) == 0
    assert "float32[2, 3]  [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]" in capsys.readouterr().out
    line = [f"{artifact}/both.gxc", "--program", "predict"]
    assert report(capsys, "run", *line, "--input", "x=x.npy")["outputs"].keys() == {"output.0", "output.1"}
    assert report(capsys, "inspect", *line)["name"] == "predict"
    assert report(capsys, "bench", *line, "--size", "batch=3", "--seconds", "0.01")["samples"] >= 5


def test_one_program_and_a_dict_of_one_stay_what_they_are(folder):
    (folder / "single.py").write_text(
        "from small_model import double\nf = double()\ndef g():\n    return {'f': double()}\n"
    )
    for name in "fg":
        assert cli.main(["compile", f"single.py:{name}", "-o", f"{name}.gxc"]) == 0
    assert gx.load("f.gxc").name == "f"
    assert list(gx.load("g.gxc")) == ["f"]


def test_files_that_are_no_artifacts(capsys, folder, artifact):
    (folder / "letter.gxc").write_bytes(b"Dear Sir")
    (folder / "cut.gxc").write_bytes((artifact / "double.gxc").read_bytes()[:-1])
    assert "absent.gxc: No such file" in fails(capsys, "run", "absent.gxc")
    for name in ("letter.gxc", "cut.gxc"):
        found = fails(capsys, "run", name)
        assert found.startswith("artifact: ") and "\n  at " not in found


def test_options_that_an_artifact_has_no_use_for(capsys, folder, artifact):
    message = fails(capsys, "inspect", f"{artifact}/double.gxc", "--optimize", "fast")
    assert "compiled already\n  expected no --optimize, given fast" in message
    assert "names its programs itself\n  expected no --name" in fails(
        capsys, "compile", "small_model:both", "-o", "model.gxc", "--name", "both"
    )


def test_compile_looks_for_the_folder_before_it_compiles(capsys, folder):
    line = ["compile", "small_model:breaks", "-o", "absent/model.gxc"]
    assert fails(capsys, *line) == "absent/model.gxc cannot be written: there is no folder absent\n"


@pytest.mark.filterwarnings("default")
def test_an_artifact_of_somebody_else_is_compiled_unless_trusted(
    capsys, folder, artifact, tmp_path_factory, monkeypatch
):
    object_cache.set_cache_dir(tmp_path_factory.mktemp("cache"))
    line = ["run", f"{artifact}/double.gxc", "--input", "x=x.npy"]
    assert cli.main([*line, "--trust"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(line) == 0
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"graphc: warning: {artifact}/double.gxc: its machine code is not signed")
    assert complaint.count("\n") == 1


def test_custom_operations_of_an_artifact_can_be_imported(capsys, folder):
    text = """\
        import graphc as gx
        halve = gx.custom_op("halve", infer=lambda x: x, numpy=lambda x: x / 2)
        def f():
            x = gx.placeholder("x", shape=("batch", 3))
            return x, halve(x)
    """
    (folder / "own_operation.py").write_text(textwrap.dedent(text))
    subprocess.run(
        [sys.executable, "-m", "graphc", "compile", "own_operation:f", "-o", "own.gxc"], check=True
    )
    line = ["run", "own.gxc", "--input", "x=x.npy"]
    assert "halve" in fails(capsys, *line)
    assert cli.main([*line, "--import", "own_operation"]) == 0
    assert "[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]" in capsys.readouterr().out


# --------------------------------------------------------------------- inspect
def test_inspect_prints_the_program(capsys, folder):
    assert cli.main(["inspect", "small_model:double", "--optimize", "none"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("program double(x: float32[batch, 3]) -> float32[batch, 3]\n")
    assert "kernels:" in text and "memory:" in text and "canonicalize" not in text


def test_inspect_shows_stages_and_kernels(capsys, folder):
    def shown(*words):
        assert cli.main(["inspect", "small_model:double", *words]) == 0
        return capsys.readouterr().out

    # But for the first line, which has the time that the pass took.
    by_name, by_number = (shown("--stage", word).splitlines()[1:] for word in ("trace", "0"))
    assert by_name == by_number
    assert "add(%0, %0)  # small_model.py:8" in shown("--stage", "trace")
    assert shown("--stage", "0", "--format", "dot").startswith("digraph graphc {")
    source = shown("--kernel", "0")
    assert "# add: float32[batch, 3]  small_model.py:8" in source and "def kernel(" in source
    assert "define " in shown("--kernel", "0", "--show", "llvm")
    assert ".text" in shown("--kernel", "0", "--show", "asm")


def test_inspect_explains(capsys, folder):
    assert cli.main(["inspect", "small_model:double", "--explain", "x"]) == 0
    assert capsys.readouterr().out.startswith("placeholder 'x' at small_model.py:7: float32[batch, 3]")
    assert cli.main(["inspect", "small_model:double", "--explain"]) == 0
    assert "not vectorized: " in capsys.readouterr().out
    found = fails(capsys, "inspect", "small_model:double", "--explain", "nothing")
    assert found.startswith("explain: nothing is named 'nothing'") and "\n  at " not in found


def test_inspect_writes_a_file(capsys, folder):
    assert cli.main(["inspect", "small_model:double", "--format", "dot", "--out", "graph.dot"]) == 0
    assert capsys.readouterr().out == "wrote graph.dot\n"
    assert (folder / "graph.dot").read_text().startswith("digraph graphc {")


def test_inspect_draws(capsys, folder):
    pytest.importorskip("igraph")
    assert cli.main(["inspect", "small_model:double", "--format", "svg", "--out", "graph.svg"]) == 0
    assert (folder / "graph.svg").read_text().startswith("<svg")
    text = (
        "x = gx.placeholder('x', shape=(3,))\nwith gx.scope('inside'):\n    y = gx.exp(x)\nf = x, gx.sum(y)\n"
    )
    (folder / "scoped.py").write_text(f"import graphc as gx\n{text}")
    line = ["inspect", "scoped.py:f", "--stage", "trace", "--format", "svg"]
    capsys.readouterr()
    assert cli.main(line) == 0
    whole = capsys.readouterr().out
    assert cli.main([*line, "--scope", "inside"]) == 0
    inside = capsys.readouterr().out
    assert "exp" not in whole and "exp" in inside
    assert "there is no scope 'outside'\n  expected inside" in fails(capsys, *line, "--scope", "outside")


def test_inspect_writes_a_page(capsys, folder):
    pytest.importorskip("igraph")
    assert cli.main(["inspect", "small_model:double", "--format", "html", "--out", "page.html"]) == 0
    assert capsys.readouterr().out == "wrote page.html\n"
    assert "<title>double</title>" in (folder / "page.html").read_text()


def test_inspect_lists_what_there_is(capsys, folder):
    assert "expected 0 trace, 1 " in fails(capsys, "inspect", "small_model:double", "--stage", "absent")
    several = fails(capsys, "inspect", "small_model:double", "--stage", "prune_bodies")
    assert "stages are named 'prune_bodies'\n  expected --stage with one of 3, " in several
    assert "there is no kernel '7'\n  expected 0 " in fails(
        capsys, "inspect", "small_model:double", "--kernel", "7"
    )


def test_inspect_lists_no_more_than_a_screen_takes(capsys, folder, monkeypatch):
    monkeypatch.setattr("graphc.commands.inspect._LISTED", 2)
    message = fails(capsys, "inspect", "small_model:double", "--stage", "absent")
    assert message.splitlines()[1].startswith("  expected 0 trace, 1 merge_loops and ")


def test_inspect_reports_as_json(capsys, folder):
    found = report(capsys, "inspect", "small_model:both", "--program", "train")
    assert found["name"] == "train"
    assert found["inputs"] == [{"name": "x", "type": "float32[batch, 3]"}]
    assert found["updates"] == [{"name": "w", "type": "float32[3, 2]"}]
    assert found["stages"][0]["name"] == "trace" and found["kernels"]
    assert all(node["line"].startswith("small_model.py:") for node in found["kernels"][0]["nodes"])


def test_options_that_a_compiled_program_has_no_use_for(capsys, folder):
    message = fails(capsys, "inspect", "small_model:ready", "--optimize", "fast")
    assert "compiled already\n  expected no --optimize, given fast" in message


# ----------------------------------------------------------------------- bench
def test_bench_measures_random_feeds(capsys, folder):
    found = report(capsys, "bench", "small_model:double", "--size", "batch=4", "--seconds", "0.02")
    quantiles = list(found["seconds"].values())
    assert found["program"].startswith("double(x: float32[4, 3]), threads: ")
    assert quantiles == sorted(quantiles) and 0 < found["fastest_seconds"] <= quantiles[0]
    assert found["calls_per_second"] > 0 and found["samples"] >= 5


def test_bench_measures_given_feeds(capsys, folder):
    assert cli.main(["bench", "small_model:double", "--input", "feeds.npz", "--seconds", "0.02"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("double(x: float32[2, 3])")
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "median",
        "quantiles",
        "fastest",
        "calls/s",
        "first call",
        "samples",
    ]


def test_bench_says_which_sizes_it_needs(capsys, folder):
    line = ["bench", "small_model:labelled"]
    assert "expected --size batch=NUMBER" in fails(capsys, *line)
    assert "no random input has a size 'width'" in fails(capsys, *line, "--size", "width=3")
    assert "unknown input 'z'\n  expected x, y" in fails(capsys, *line, "--input", "z=x.npy")
    # Random integers are 0 or 1, which every axis of two or more has.
    assert cli.main([*line, "--size", "batch=2", "--seconds", "0.01"]) == 0


def test_random_inputs_fit_the_given_ones(capsys, folder):
    text = (
        "x, y = (gx.placeholder(name, shape=('n', 2)) for name in 'xy')\ndef f():\n    return [x, y], x + y\n"
    )
    (folder / "pair.py").write_text(f"import graphc as gx\n{text}")
    np.save("y.npy", np.ones((7, 2), "float32"))
    found = report(capsys, "bench", "pair.py:f", "--input", "y=y.npy", "--seconds", "0.01")
    assert found["program"].startswith("f(x: float32[7, 2], y: float32[7, 2])")


def test_samples_are_means_of_enough_calls():
    calls = []
    found = timing.measure(lambda: calls.append(1), timing.Budget(0.02))
    assert found.calls > 1
    assert len(calls) > found.calls * len(found.samples)
    slow = timing.measure(lambda: time.sleep(0.001), timing.Budget(0.001))
    assert slow.calls == 1 and len(slow.samples) == 5
    assert slow.quantile(0.5) >= 0.001


def test_quantiles():
    found = timing.Timing(0.0, tuple(float(k) for k in range(1, 11)), 1)
    assert [found.quantile(q) for q in (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)] == [1, 1, 5, 9, 10, 10]


# --------------------------------------------------------------------- profile
def test_profile_prints_a_table_and_writes_a_trace(capsys, folder):
    line = ["profile", "small_model:both", "--program", "train", "--size", "batch=8", "--repeat", "2"]
    assert cli.main([*line, "--trace", "trace.json"]) == 0
    printed = capsys.readouterr().out
    assert "small_model.py:" in printed and printed.endswith("wrote trace.json\n")
    assert json.loads((folder / "trace.json").read_text())
    found = report(capsys, *line)
    assert found["calls"] == 2 and found["sizes"] == {"batch": 8} and found["steps"]


def test_profile_writes_a_page(capsys, folder):
    pytest.importorskip("igraph")
    line = ["profile", "small_model:double", "--size", "batch=8", "--repeat", "1", "--report", "page.html"]
    assert cli.main(line) == 0
    assert "<title>double</title>" in (folder / "page.html").read_text()


# ---------------------------------------------------------------------- arrays
def test_archives_give_the_array_that_is_meant(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(1), y=np.ones(1))
    assert arrays.read([Source("x", path)])["x"] == 0
    assert arrays.read([Source("x", path, "y")])["x"] == 1
    assert list(arrays.read([Source("", path)])) == ["x", "y"]
    single = tmp_path / "b.npz"
    np.savez(single, whatever=np.ones(1))
    assert arrays.read([Source("x", single)])["x"] == 1


def test_any_name_can_be_written(tmp_path):
    found = {"file": np.arange(3), "a/b": np.float32(2), "": np.ones((0, 2), bool)}
    arrays.write(tmp_path / "a.npz", found)
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None
    with np.load(tmp_path / "a.npz") as read:
        assert {name: (a.dtype, a.shape) for name, a in read.items()} == {
            name: (np.asarray(a).dtype, np.shape(a)) for name, a in found.items()
        }


def test_results_of_one_name_are_refused(capsys, folder):
    text = "x = gx.placeholder('x', shape=(3,))\ndef f():\n    return x, {'a': [x], 'a.0': -x}\n"
    (folder / "twice.py").write_text(f"import graphc as gx\n{text}")
    np.save("x.npy", np.ones(3, "float32"))
    assert "two results are named 'a.0'" in fails(capsys, "run", "twice.py:f", "--input", "x=x.npy")


# ------------------------------------------------------------ a process's life
def test_an_interrupt_ends_a_command_quietly(folder):
    (folder / "slow.py").write_text(
        textwrap.dedent("""\
            import time
            def f():
                print("begun", flush=True)
                time.sleep(60)
            """)
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "graphc", "inspect", "slow:f"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a shell ignores interrupts, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    giving_up = threading.Timer(60, process.kill)
    giving_up.start()
    # What the user's code prints is no result of the command.
    assert process.stderr.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    printed, complaint = process.communicate()
    giving_up.cancel()
    assert (process.returncode, printed, complaint) == (130, "", "\ngraphc: interrupted\n")
