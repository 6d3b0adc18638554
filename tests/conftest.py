"""What all tests share: one kernel cache, golden texts, and graphc.passes in a bare checkout."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"


class PassesFinder:
    """Finds graphc.passes where it stands, when graphc is not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "graphc.passes":
            return None
        folder = ROOT / "passes"
        return importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


# The same examples in every run, on a machine of any speed; a search for new ones raises max_examples
# and passes --hypothesis-seed.
settings.register_profile(
    "graphc", deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("graphc")


# Last in line: an installed graphc finds its own passes first.
sys.meta_path.append(PassesFinder)


# One fresh kernel cache for the whole run. Workers and child processes inherit the variable, so a
# kernel is compiled once, and nothing that an earlier run left behind can hide a failure.
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="graphc-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def kernel_cache() -> Iterator[Path]:
    """Start every test with the cache of the run, whatever the one before it chose."""
    from graphc.runtime import object_cache  # not at the top: without PassesFinder it cannot be imported

    directory = Path(os.environ["XDG_CACHE_HOME"]) / "graphc"
    object_cache.set_cache_dir(directory)
    yield directory


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the texts in tests/golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the one on file, or put it on file with --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden"):
            path.write_text(text + "\n", encoding="utf-8")
        assert path.exists(), f"no golden text {path.name}; run pytest --update-golden"
        assert text + "\n" == path.read_text(encoding="utf-8")

    return check
