"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import graphc
from graphc import cli
from graphc.commands import COMMANDS, Command, demo
from graphc.demo.tasks import TASKS
from graphc.errors import DataError
from graphc.runtime import object_cache
from graphc.runtime.compiled_object import CompiledObject


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


def test_without_a_command_the_commands_are_listed(capsys):
    assert cli.main([]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert all(command.summary in " ".join(shown.err.split()) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        cli.main([command.name, "--help"])
    assert caught.value.code == 0
    assert command.summary in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
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
@pytest.mark.parametrize(("word", "code"), [("doctor", 1), ("--help", 0)])
def test_a_closed_pipe_is_no_error(word, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "graphc", word], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) == code
    assert complaint == b""


@pytest.mark.parametrize("words", [["--help"], ["cache", "info"]])
def test_what_needs_no_compiler_does_not_load_one(words):
    code = f"""if True:
        import contextlib, sys
        from graphc.cli import main
        with contextlib.suppress(SystemExit):
            main({words})
        print(sorted({{"numpy", "llvmlite", "numba", "networkx", "graphc.ir"}} & sys.modules.keys()))
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_doctor_names_versions_machine_and_cache(capsys, kernel_cache):
    assert cli.main(["doctor"]) == 0
    facts = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["graphc"] == graphc.__version__
    assert facts["kernel cache"] == str(kernel_cache)
    assert facts["vector registers"] in ("16 bytes", "32 bytes", "64 bytes")
    assert {"numpy", "numba", "llvmlite", "networkx", "python", "cpu"} <= facts.keys()


def test_doctor_compiles_and_compares(capsys, kernel_cache):
    assert cli.main(["doctor"]) == 0
    assert re.search(r"^self-test +compiled and right, ", capsys.readouterr().out, re.MULTILINE)
    assert object_cache.active().directory == kernel_cache


def test_doctor_says_that_results_are_wrong(capsys, monkeypatch):
    wrong = {"rows": np.zeros((33, 64)), "sum": np.zeros(())}
    monkeypatch.setattr(graphc, "evaluate", lambda outputs, feeds: wrong)
    assert cli.main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["self-test"] == "FAILED: another rows and sum than the interpreter's"
    assert found["sound"] is False


def test_doctor_says_why_compiling_failed(capsys, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no such target")

    monkeypatch.setattr(graphc, "compile", fail)
    assert cli.main(["doctor"]) == 1
    assert "FAILED: RuntimeError: no such target\n" in capsys.readouterr().out
    assert cli.main(["doctor", "--quick"]) == 0


def test_doctor_finds_damage_in_the_cache(capsys, tmp_path):
    object_cache.set_cache_dir(tmp_path)
    (tmp_path / "0.gxo").write_bytes(b"torn")
    assert cli.main(["doctor", "--quick"]) == 1
    assert "1 kernels, 0.0 MB; 1 damaged: graphc cache verify --delete\n" in capsys.readouterr().out


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


def test_cache_verify_finds_and_deletes_what_is_damaged(capsys, tmp_path):
    object_cache.set_cache_dir(tmp_path)
    cache = object_cache.active()
    for key in ("a" * 64, "b" * 64):
        cache.store(key, CompiledObject(b"code", "f", b"ir"))
    assert cli.main(["cache", "verify"]) == 0
    assert capsys.readouterr().out == f"2 kernels in {tmp_path}, none damaged\n"

    torn = tmp_path / f"{'b' * 64}.gxo"
    torn.write_bytes(torn.read_bytes()[:-1] + b"?")
    assert cli.main(["cache", "verify"]) == 1
    assert capsys.readouterr().out == f"damaged  {torn}\n2 kernels in {tmp_path}, 1 damaged\n"
    assert cli.main(["cache", "verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["damaged"] == [str(torn)]
    assert cli.main(["cache", "verify", "--delete"]) == 0
    assert [path.stem for path in tmp_path.iterdir()] == ["a" * 64]
    capsys.readouterr()
    assert cli.main(["cache", "info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kernels"] == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="access is by list there")
def test_cache_verify_says_why_a_directory_is_not_used(capsys, tmp_path):
    object_cache.set_cache_dir(tmp_path)
    tmp_path.chmod(0o777)
    assert cli.main(["cache", "verify"]) == 1
    assert f"not used: others may write to it: {tmp_path}\n" in capsys.readouterr().out


def test_the_demo_offers_every_task():
    assert list(demo._PICTURES_OF) == list(TASKS)


def test_out_of_memory_is_a_failure(capsys, monkeypatch):
    def fail(arguments):
        raise MemoryError("Unable to allocate 8.00 EiB")

    monkeypatch.setattr(cli, "COMMANDS", (Command("fail", "Fails.", lambda parser: None, fail),))
    assert cli.main(["fail"]) == 1
    assert capsys.readouterr().err == "graphc: out of memory: Unable to allocate 8.00 EiB\n"
