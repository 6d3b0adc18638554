"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

import graphc
from graphc import cli
from graphc.commands import COMMANDS, Command
from graphc.errors import DataError
from graphc.runtime import object_cache


def run(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "graphc", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def usage_error(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"graphc {graphc.__version__}\n"


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(command.name in text and command.summary in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        cli.main([command.name, "--help"])
    assert caught.value.code == 0
    assert command.summary in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "required: COMMAND"),
        (["train"], "invalid choice: 'train'"),
        (["demo", "--data", "imagenet"], "invalid choice: 'imagenet'"),
        (["demo", "--epochs", "0"], "--epochs: expected a positive whole number, given '0'"),
        (["demo", "--batch", "many"], "--batch: expected a positive whole number, given 'many'"),
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--data", "mnist"], "--data mnist needs --path DIR"),
        (["demo", "--data", "cifar10"], "--data cifar10 needs --path DIR"),
        (["demo", "--path", "somewhere"], "--path goes with --data mnist"),
        (["cache"], "required: action"),
    ],
)
def test_a_wrong_line_has_exit_code_2(capsys, words, complaint):
    assert complaint in usage_error(capsys, *words)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DataError("a.gz: truncated"), "graphc: a.gz: truncated"),
        (OSError(28, "No space left on device", "curve.png"), "graphc: curve.png: No space left on device"),
        (OSError("strange"), "graphc: strange"),
    ],
)
def test_a_failure_has_exit_code_1_and_no_traceback(capsys, monkeypatch, error, message):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "COMMANDS", (Command("fail", "Fails.", lambda parser: None, fail),))
    assert cli.main(["fail"]) == 1
    printed = capsys.readouterr()
    assert printed.err == f"{message}\n" and printed.out == ""


def test_an_interrupt_has_exit_code_130(capsys, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "COMMANDS", (Command("wait", "Waits.", lambda parser: None, interrupted),))
    assert cli.main(["wait"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_python_dash_m_runs_the_same_program():
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"graphc {graphc.__version__}\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break differently there")
def test_a_closed_pipe_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "graphc", "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) == 1
    assert complaint == b""


def test_asking_for_help_does_not_load_the_compiler():
    code = "import sys; from graphc.cli import build_parser; build_parser(); print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "False"


def test_doctor_names_versions_machine_and_cache(capsys, kernel_cache):
    assert cli.main(["doctor"]) == 0
    facts = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["graphc"] == graphc.__version__
    assert facts["kernel cache"] == str(kernel_cache)
    assert facts["vector registers"] in ("16 bytes", "32 bytes", "64 bytes")
    assert {"numpy", "numba", "llvmlite", "networkx", "python", "cpu"} <= facts.keys()


def test_doctor_fails_without_a_required_package(capsys, monkeypatch):
    from graphc.commands import doctor

    monkeypatch.setattr(doctor, "_REQUIRED", ("no-such-package",))
    assert cli.main(["doctor"]) == 1
    assert "not installed\n" in capsys.readouterr().out


def test_cache_counts_and_clears_its_own_files_only(capsys, tmp_path):
    object_cache.set_cache_dir(tmp_path)
    for name in ("a.gxo", "b.gxo", ".c.gxo", "letter.txt"):
        (tmp_path / name).write_bytes(bytes(500_000))
    assert cli.main(["cache", "info"]) == 0
    assert capsys.readouterr().out == f"directory  {tmp_path}\nkernels    2\nsize       1.0 MB\n"
    assert cli.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"removed 2 kernels from {tmp_path}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".c.gxo", "letter.txt"]


def test_a_cache_that_is_not_there_yet_is_empty(capsys, tmp_path):
    object_cache.set_cache_dir(tmp_path / "absent")
    assert cli.main(["cache", "info"]) == 0
    assert "kernels    0" in capsys.readouterr().out
    assert cli.main(["cache", "clear"]) == 0
