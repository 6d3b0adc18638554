"""Damaged artifacts: an `ArtifactError` or a sound graph, whatever the damage; 20,000 more in benchmarks."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from benchmarks import artifact_files, fuzz_artifacts
from benchmarks.artifact_files import EXAMPLES
from benchmarks.mutations import MUTATIONS

# More of those that reach the decoder of graphs.
ROUNDS = {name: 20 for name in MUTATIONS} | {"edit JSON": 40}


@pytest.fixture(scope="module", params=EXAMPLES)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("artifact") / "sound.gxc"
    artifact_files.write(path, EXAMPLES[request.param]())
    return path


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_damage_is_refused_or_harmless(file: Path, tmp_path: Path, mutation: str) -> None:
    data = file.read_bytes()
    sound = artifact_files.fingerprint(artifact_files.read(file))
    damaged = tmp_path / "damaged.gxc"
    for seed in range(ROUNDS[mutation]):
        damaged.write_bytes(MUTATIONS[mutation](data, random.Random(seed)))
        found = artifact_files.outcome(damaged, sound)
        # Under wrong hashes nothing else gets through; what the hashes confirm may be another program.
        assert found in ("refused", "equal") or mutation in ("edit JSON", "edit the table", "edit text"), seed


def test_memory_stays_within_a_multiple_of_the_file(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    damaged = tmp_path / "damaged.gxc"
    tracemalloc.start()
    try:
        for seed in range(10):
            changed = MUTATIONS["edit JSON"](data, random.Random(1000 + seed))
            damaged.write_bytes(changed)
            tracemalloc.reset_peak()
            artifact_files.outcome(damaged, ("", "", b""))
            assert tracemalloc.get_traced_memory()[1] < 64 * len(changed) + (8 << 20), seed
    finally:
        tracemalloc.stop()


def test_the_benchmark_counts_outcomes(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz_artifacts.main(["--count", "60", "--batch", "30", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "refused" in shown and "60 mutations" in shown


def test_the_benchmark_reports_what_kills_a_reader() -> None:
    found = fuzz_artifacts.judge(-11, "", range(5, 8))
    assert found["killed"] == {"count": 1, "seeds": [5, 6, 7]}
    found = fuzz_artifacts.judge(0, '{"refused": {"count": 3, "seeds": []}}', range(5, 8))
    assert found["refused"]["count"] == 3
