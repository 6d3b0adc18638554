"""The distribution holds every module, and graphc.passes among them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_module_is_built(tmp_path: Path) -> None:
    built = tmp_path / "lib"
    arguments = [
        "-q",
        "egg_info",
        "--egg-base",
        str(tmp_path),
        "build",
        "-b",
        str(tmp_path / "b"),
        "--build-lib",
        str(built),
    ]
    subprocess.run([sys.executable, "setup.py", *arguments], cwd=ROOT, check=True, capture_output=True)
    found = {p.relative_to(built).as_posix() for p in built.rglob("*.py")}
    package = {p.relative_to(ROOT).as_posix() for p in (ROOT / "graphc").rglob("*.py")}
    passes = {
        f"graphc/passes/{p.relative_to(ROOT / 'passes').as_posix()}" for p in (ROOT / "passes").rglob("*.py")
    }
    assert found == package | passes
    assert (built / "graphc" / "py.typed").exists()


def test_passes_are_part_of_the_package() -> None:
    module = importlib.import_module("graphc.passes.simplify")
    assert module.__name__ == "graphc.passes.simplify"
