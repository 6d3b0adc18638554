"""Colour and progress: for terminals only, and only where they are of use."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from graphc.commands import terminal


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """Standard error as a terminal, for a user without patience."""
    found = Terminal()
    # Not in sys itself: pytest puts its own there when the test begins.
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stderr=found))
    monkeypatch.setattr(terminal, "_PATIENCE", 0.0)
    monkeypatch.setattr(terminal, "_INTERVAL", 0.01)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return found


@pytest.fixture(params=["tqdm", "plain lines"])
def shown(request, screen, monkeypatch):
    """A terminal, once with tqdm and once without."""
    if request.param == "plain lines":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    else:
        pytest.importorskip("tqdm")
    return screen


def test_colour_is_for_terminals(screen, monkeypatch):
    assert terminal.paint("wrong", "red", screen) == "\x1b[31mwrong\x1b[0m"
    assert terminal.paint("wrong", "red", io.StringIO()) == "wrong"
    monkeypatch.setenv("TERM", "dumb")
    assert terminal.paint("wrong", "red", screen) == "wrong"


def test_no_color_is_honoured(screen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.paint("wrong", "red", screen) == "wrong"
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" in terminal.paint("wrong", "red", screen)


def test_long_work_shows_that_it_goes_on(shown):
    with terminal.waiting("compiling f"):
        time.sleep(0.1)
    assert "compiling f: " in shown.getvalue()


def test_counted_work_shows_how_far_it_is(shown):
    with terminal.counting("reading", "files", 20) as done:
        for number in range(1, 21):
            done(number)
            time.sleep(0.002)
    text = shown.getvalue()
    assert "reading: " in text and "of 20 files" in text


def test_plain_lines_become_rare(screen, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    now = iter([0.0, 0.1, *map(float, range(1, 33))])
    monkeypatch.setattr(time, "time", lambda: next(now))
    with terminal.counting("reading", "files", 30) as done:
        for number in range(10):
            done(number)
    lines = screen.getvalue().splitlines()
    assert 2 <= len(lines) <= 6 and lines[0].startswith("reading: 0 of 30 files")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_short_or_redirected_work_shows_nothing(monkeypatch, stream):
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stderr=stream))
    if not stream.isatty():
        monkeypatch.setattr(terminal, "_PATIENCE", 0.0)
    with terminal.waiting("compiling"), terminal.counting("reading", "files", 2) as done:
        done(1)
    assert stream.getvalue() == ""


def test_the_work_s_own_failure_ends_progress(screen):
    with pytest.raises(ZeroDivisionError), terminal.waiting("dividing"):
        time.sleep(0.05)
        raise ZeroDivisionError


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals there")
@pytest.mark.parametrize(("variables", "painted"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_failure_is_painted_in_a_real_terminal(tmp_path, variables, painted):
    ours, theirs = os.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | variables
    process = subprocess.Popen(
        [sys.executable, "-m", "graphc", "inspect", "absent.py:f"],
        cwd=tmp_path,
        env=environment,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    assert process.wait(timeout=60) == 1
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "absent.py: No such file" in text
    assert ("\x1b[31m" in text) is painted
