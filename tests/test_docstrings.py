"""Docstrings: every example runs and prints what it says, and public functions document themselves."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import graphc as gx
from graphc import data, passes

ROOT = Path(__file__).resolve().parent.parent
NAMESPACES = (gx, gx.debug, gx.nn, gx.nn.initializers, gx.optim, gx.probability, gx.random, data, passes)
# They read files that a user has to have.
NO_EXAMPLE = {"load_cifar10", "load_mnist"}


def module_names() -> list[str]:
    # By their files: importing all of them is the tests' business, not the collection's.
    files = [p.relative_to(ROOT) for p in (ROOT / "graphc").rglob("*.py")]
    files += [Path("graphc") / p.relative_to(ROOT) for p in (ROOT / "passes").rglob("*.py")]
    names = [".".join(p.with_suffix("").parts).removesuffix(".__init__") for p in files]
    return sorted(n for n in names if not n.endswith("__main__"))


@pytest.mark.parametrize("name", module_names())
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failures, _ = doctest.testmod(importlib.import_module(name))
    assert failures == 0


def public_functions(namespace: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in getattr(namespace, "__all__", dir(namespace)):
        found = getattr(namespace, name)
        # The functions of graphc.random are methods of one generator.
        if (inspect.isfunction(found) or inspect.ismethod(found)) and found.__module__.startswith("graphc"):
            yield name, found


@pytest.mark.parametrize("namespace", NAMESPACES, ids=lambda n: n.__name__)
def test_public_functions_document_themselves(namespace: ModuleType) -> None:
    missing = []
    for name, function in public_functions(namespace):
        signature = inspect.signature(function)
        wanted = {
            "Parameters\n": bool(signature.parameters),
            "Returns\n": signature.return_annotation not in ("None", None),
            "Examples\n": name not in NO_EXAMPLE,
        }
        text = (inspect.getdoc(function) or "").replace("Yields\n", "Returns\n")
        missing += [f"{name}: {s.strip()}" for s, needed in wanted.items() if needed and s not in text]
        missing += [f"{name}: {p}" for p in signature.parameters if p not in text]
    assert not missing
