"""The documentation does what it says: code blocks, examples, commands, links."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from graphc.cli import build_parser, main
from graphc.native_export import linking

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
WORDS_OF_SHELL = re.compile(r"^(make|graphc) (.*?)(?:\s+#.*)?$", re.MULTILINE)
INLINE = re.compile(r"`(make|graphc) ([^`]*)`")
PROMPT = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
# The first line of a block that is a file of its own.
NAMED = re.compile(r"# (\w+\.py)\n")
# Prints a line of its own between the outputs of two blocks.
MARK = "-- end of block --"


@dataclass
class Block:
    """A block of Python, the line it begins at, and the output the page shows below it, if any."""

    code: str
    line: int
    output: str | None = None


def page_id(path):
    return path.relative_to(ROOT).as_posix()


def blocks(page):
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for fence in FENCE.finditer(text):
        language, content = fence.groups()
        if language == "python":
            found.append(Block(content, text.count("\n", 0, fence.start()) + 1))
        elif language == "text" and found:
            found[-1].output = content
    return found


def sessions(page):
    """Return the commands that a page shows at a prompt, each with its output; `...` stands for anything."""
    text = page.read_text(encoding="utf-8")
    shown = (content for language, content in FENCE.findall(text) if language == "console")
    return [step for content in shown for step in PROMPT.findall(content)]


def script(page):
    """Return one program of all blocks of a page, each on the line where the page has it."""
    lines: list[str] = []
    for block in blocks(page):
        lines += [""] * (block.line - len(lines)) + block.code.splitlines() + [f"print({MARK!r})"]
    return "\n".join(lines) + "\n"


def run(arguments, folder):
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=page_id)
def test_code_blocks_run_and_print_what_the_page_shows(page, tmp_path):
    if page.name == "native.md" and not linking.is_possible():
        pytest.skip("needs Linux on x86-64 and a linker")
    # A process of its own: what a page registers must not reach the tables of the other tests.
    program = tmp_path / f"{page.stem}_page.py"  # no name that a module may have: a script finds itself first
    program.write_text(script(page), encoding="utf-8")
    done = run([program], tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split(f"{MARK}\n")
    for block, output in zip(blocks(page), outputs, strict=False):
        assert block.output is None or output == block.output, f"{page_id(page)}:{block.line}"


@pytest.mark.parametrize("page", [page for page in PAGES if sessions(page)], ids=page_id)
def test_commands_print_what_the_page_shows(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for block in blocks(page):
        name = NAMED.match(block.code)
        if name is not None:
            (tmp_path / name[1]).write_text(block.code, encoding="utf-8")
            assert run([name[1]], tmp_path).returncode == 0
    for command, wanted in sessions(page):
        tool, *words = shlex.split(command)
        assert tool == "graphc"
        main(words)
        printed = capsys.readouterr()
        found = printed.out + printed.err
        assert doctest.OutputChecker().check_output(wanted, found, doctest.ELLIPSIS), f"{command}\n{found}"
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("example", EXAMPLES, ids=page_id)
def test_examples_run(example, tmp_path):
    done = run([example, "--fast"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout and not done.stderr


def test_there_are_examples_and_pages():
    assert len(EXAMPLES) >= 3
    assert {"README.md", "CONTRIBUTING.md", "docs/guide.md"} <= {page_id(page) for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in LINK.findall(prose):
        assert (page.parent / target).exists(), f"{page_id(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_exist(page):
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(content for language, content in FENCE.findall(text) if language == "sh")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    prose = [(tool, " ".join(words.split())) for tool, words in INLINE.findall(FENCE.sub("", text))]
    for tool, words in [*WORDS_OF_SHELL.findall(shell), *prose]:
        if tool == "graphc":
            build_parser().parse_args(words.split())
        else:
            assert {word for word in words.split() if "=" not in word} <= targets, words


def test_pictures_are_those_of_the_programs(tmp_path):
    pytest.importorskip("matplotlib")
    source = ROOT / "docs" / "draw_pictures.py"
    spec = importlib.util.spec_from_file_location("draw_pictures", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    for drawn in tmp_path.iterdir():
        kept = (ROOT / "docs" / "pictures" / drawn.name).read_text(encoding="utf-8")
        assert words_in(drawn.read_text(encoding="utf-8")) == words_in(kept)


def words_in(svg):
    """Return the texts of a picture; coordinates may differ between versions of matplotlib."""
    return re.findall(r">([^<>\s][^<>]*)</text>", svg)
