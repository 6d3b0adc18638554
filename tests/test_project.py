"""What holds for the tree as a whole: how files look, what imports what, what users see."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import graphc as gx
from graphc import errors

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(p for folder in ("graphc", "passes") for p in (ROOT / folder).rglob("*.py"))
EVERY_PYTHON_FILE = sorted(
    [*SOURCES, *(p for folder in ("tests", "benchmarks") for p in (ROOT / folder).rglob("*.py"))]
)
DOCUMENTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "docs")

LONGEST_MODULE = 500
# Packages that importing graphc does not import.
HEAVY = ["numba", "networkx", "onnx", "safetensors", "tqdm", "matplotlib", "sklearn", "scipy", "torch", "jax"]
STAR_IMPORTS = {"graphc/ops/public.py", "graphc/public.py"}
# Exceptions that are not errors of graphc: the command line's, and the end of a process.
PYTHONS_OWN = {"AttributeError", "NotImplementedError", "SystemExit", "StopIteration"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


# ----------------------------------------------------------------------- files
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_project_is_documented(name: str) -> None:
    assert (ROOT / name).exists()


def test_files_are_tidy() -> None:
    # Put together from parts, so that this file does not find itself.
    forbidden = re.compile("|".join(["\t", "TO" + "DO", "FIX" + "ME", "no" + "qa", "type: " + "ignore"]))
    found = {}
    for path in EVERY_PYTHON_FILE:
        text = path.read_text(encoding="utf-8")
        lines = [n for n, line in enumerate(text.splitlines(), 1) if forbidden.search(line)]
        if lines:
            found[relative(path)] = lines
    assert not found


def test_modules_have_a_subject_and_an_end() -> None:
    lengths = {relative(p): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert not {name: n for name, n in lengths.items() if n > LONGEST_MODULE}
    assert not [p for p in SOURCES if p.stem in ("helpers", "utils", "util", "common", "misc")]


def test_star_imports_only_gather_the_ops() -> None:
    found = {relative(p) for p in SOURCES if re.search(r"^from \S+ import \*", p.read_text(), re.MULTILINE)}
    assert found <= STAR_IMPORTS


def test_no_assert_and_no_foreign_error() -> None:
    """Users' mistakes raise errors of graphc, also under ``python -O``."""
    ours = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, errors.GraphcError)}
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                found.append(f"{relative(path)}:{node.lineno}: assert")
            if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                continue
            name = node.exc.func.id if isinstance(node.exc.func, ast.Name) else ""
            if name.endswith("Error") and name not in ours | PYTHONS_OWN:
                found.append(f"{relative(path)}:{node.lineno}: {name}")
    assert not found


# --------------------------------------------------------------------- imports
def test_numba_is_imported_by_its_own_frontend_alone() -> None:
    found = {relative(p).rpartition("/")[0] for p in SOURCES if "numba" in imports(p)}
    assert found == {"graphc/numba_frontend"}


def test_importing_graphc_is_light() -> None:
    """What only a cold cache, the demo or another framework needs is not imported with graphc."""
    heavy = [
        "numba",
        "networkx",
        "torch",
        "jax",
        "tensorflow",
        "matplotlib",
        "sklearn",
        "scipy",
        "onnx",
        "safetensors",
        "tqdm",
    ]
    code = f"import json, sys, graphc; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT).stdout
    assert json.loads(output) == []


# ------------------------------------------------------------- the public face
def test_the_public_face_holds_no_modules_but_the_namespaces() -> None:
    modules = {n for n in dir(gx) if isinstance(getattr(gx, n), ModuleType)}
    assert modules == {"debug", "errors", "nn", "onnx", "optim", "probability", "random"}


def test_the_public_face_is_what_the_ops_declare() -> None:
    families = [ROOT / "graphc" / "ops" / f"{m}.py" for m in _families()]
    declared: dict[str, str] = {}
    for path in families:
        for name in importlib.import_module(f"graphc.ops.{path.stem}").__all__:
            assert name not in declared, f"{name} is declared by {declared[name]} and {path.stem}"
            declared[name] = path.stem
    assert declared.keys() <= set(dir(gx))
    assert not hasattr(gx, "l1")  # losses belong to layers, not to arrays
    assert callable(gx.nn.l1)


def _families() -> list[str]:
    text = (ROOT / "graphc" / "ops" / "public.py").read_text(encoding="utf-8")
    return re.findall(r"^from graphc\.ops\.(\w+) import \*$", text, re.MULTILINE)


def test_every_error_is_a_graphc_error_or_a_warning() -> None:
    found = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert errors.GraphcError in found
    assert all(issubclass(v, errors.GraphcError | UserWarning) for v in found)


@pytest.mark.parametrize("name", ["nn", "optim", "random", "probability", "debug", "passes", "leaves"])
def test_parts_can_be_imported_first(name: str) -> None:
    subprocess.run([sys.executable, "-c", f"import graphc.{name}"], check=True)


def test_running_needs_neither_ops_nor_passes() -> None:
    """What loads and runs compiled programs imports in a fraction of the time that compiling takes."""
    code = "import graphc, sys; graphc.Program; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = found.stdout.split()
    assert not [m for m in loaded if m.startswith(("graphc.ops", "graphc.passes", "graphc.lower", "numba"))]
