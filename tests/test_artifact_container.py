"""The file around an artifact: complete or absent, checked before it is believed, mapped and not read."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import mutations
from graphc.artifact import container
from graphc.artifact.container import Container, Writer, digest
from graphc.errors import ArtifactError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "example.gxc"
    with Writer(found, "graphc 1.2.3") as writer:
        writer.add_json("manifest", {"programs": ["train"]})
        writer.add("weights", [np.arange(5.0).view(np.uint8).data, b"tail"])
        writer.add("empty", b"")
    return found


def test_sections_come_back(path: Path) -> None:
    with Container.open(path) as file:
        assert list(file.sections) == ["manifest", "weights", "empty"]
        assert file.json("manifest") == {"programs": ["train"]}
        assert file.array("weights")[:40].view(np.float64).tolist() == [0, 1, 2, 3, 4]
        assert bytes(file.view("weights"))[40:] == b"tail"
        assert bytes(file.view("empty")) == b"" and file.array("empty").size == 0
        assert "weights" in file and "graph" not in file
        assert (file.producer, file.signature) == ("graphc 1.2.3", None)
        assert all(s.offset % 64 == 0 for s in file.sections.values())


def test_arrays_are_mapped_and_written_to_without_changing_the_file(path: Path) -> None:
    before = path.read_bytes()
    with Container.open(path) as file:
        array = file.array("weights")
        assert array.ctypes.data % 64 == 0 and array.flags.writeable
        array[:] = 7
        assert file.array("weights")[0] == 7
        with pytest.raises(TypeError):
            file.view("weights")[0] = 1
    assert path.read_bytes() == before
    # The array outlives the file it came from.
    assert array.sum() == 7 * array.size


def test_reading_does_not_copy(tmp_path: Path) -> None:
    path, size = tmp_path / "large.gxc", (12 << 20) + 5
    with Writer(path, "test") as writer:
        writer.add("weights", (bytes(1 << 21) for _ in range(6)), algorithm="blake3")
        writer.add("more", bytes(size), algorithm="blake3")
    tracemalloc.start()
    try:
        with Container.open(path) as file:
            assert file.array("more").size == size
            peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size // 4


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_hashes_are_of_the_whole_section(tmp_path: Path, size: int, algorithm: str) -> None:
    data = random.Random(size).randbytes(size)
    with Writer(tmp_path / "f", "test") as writer:
        writer.add("pieces", [data[k : k + 99_983] for k in range(0, size, 99_983)], algorithm=algorithm)
    with Container.open(tmp_path / "f") as file:
        whole = digest(np.frombuffer(data, np.uint8), algorithm)
        assert file.sections["pieces"].hash == f"{algorithm}:{whole}"
        assert bytes(file.view("pieces")) == data


def test_a_hash_may_be_begun_before_the_section_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with Writer(path, "test") as writer:
        writer.add("weights", bytes(40 << 20), algorithm="blake3")
        writer.add("small", b"1")
    for damaged in (False, True):
        with Container.open(path) as file:
            offset = file.sections["weights"].offset
            for name in ("weights", "small", "nothing"):
                file.expect(name)
            if damaged:
                with pytest.raises(ArtifactError, match="damaged"):
                    file.array("weights")
            else:
                assert not file.array("weights").any()
        data = bytearray(path.read_bytes())
        data[offset + (33 << 20)] ^= 1
        path.write_bytes(data)


def test_a_failed_write_leaves_what_was_there(path: Path) -> None:
    before = path.read_bytes()

    def write() -> None:
        with Writer(path, "test") as writer:
            writer.add("a", b"1")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_names_are_distinct_and_printable(tmp_path: Path) -> None:
    with Writer(tmp_path / "f", "test") as writer:
        writer.add("a", b"1")
        for name in ("a", "", "b\n", "x" * 500):
            with pytest.raises(ArtifactError):
                writer.add(name, b"2")
        with pytest.raises(ArtifactError, match="codec"):
            writer.add("c", b"", "pickle")


def test_the_signature_is_over_the_table(tmp_path: Path) -> None:
    signed: list[bytes] = []

    def sign(table: bytes) -> bytes:
        signed.append(table)
        return b"s" * 32

    with Writer(tmp_path / "f", "test", sign) as writer:
        writer.add("a", b"1")
    with Container.open(tmp_path / "f") as file:
        assert (file.signature, [file.table]) == (b"s" * 32, signed)
    assert digest(np.frombuffer(b"1", np.uint8), "sha256").encode() in signed[0]


# ------------------------------------------------------------------------- what is refused
def refused(path: Path, match: str) -> ArtifactError:
    with pytest.raises(ArtifactError, match=match) as caught:
        Container.open(path)
    assert caught.value.where is not None and caught.value.where.file == __file__
    return caught.value


def test_a_newer_format_names_who_wrote_it(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8] = container.FORMAT_VERSION + 1
    path.write_bytes(data)
    assert "graphc 1.2.3" in str(refused(path, "newer format"))


def test_a_damaged_section_is_found_when_it_is_used(path: Path) -> None:
    with Container.open(path) as file:
        offset = file.sections["weights"].offset
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    with Container.open(path) as file:
        file.json("manifest")
        with pytest.raises(ArtifactError, match="'weights' is damaged"):
            file.array("weights")


def test_truncated_extended_and_empty_files_are_refused(path: Path) -> None:
    data = path.read_bytes()
    for size in (0, 1, 191, 192, len(data) - 1):
        path.write_bytes(data[:size])
        refused(path, "not an artifact|truncated")
    path.write_bytes(data + b"\0")
    refused(path, "truncated or extended")
    path.write_bytes(b"PK" + data[2:])
    refused(path, "not an artifact")


def test_no_such_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Container.open(tmp_path / "absent")


Change = dict[str, Any]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"offset": 256 + 1}, "not aligned"),
        ({"offset": 0}, "bad offset"),
        ({"offset": 192}, "overlaps"),
        ({"offset": 1 << 40}, "bad offset"),
        ({"offset": -64}, "bad offset"),
        ({"offset": True}, "bad offset"),
        ({"length": 1 << 62}, "bad length"),
        ({"length": -1}, "bad length"),
        ({"length": 1.0}, "bad length"),
        ({"name": "manifest"}, "two sections"),
        ({"name": 5}, "bad section name"),
        ({"codec": "zip"}, "bad codec"),
        ({"codec": []}, "bad codec"),
        ({"hash": None}, "bad hash"),
        ({"hash": "md5:d41d8cd98f00b204e9800998ecf8427e"}, "bad hash"),
        ({"mode": 1}, "bad section"),
    ],
)
def test_tables_are_not_believed(path: Path, change: Change, match: str) -> None:
    data = path.read_bytes()
    table, _ = mutations.sections_of(data)
    start = Container.open(path).sections["empty"].offset
    table["sections"][1].update(change)
    path.write_bytes(mutations.with_table(data[:start], json.dumps(table).encode()))
    refused(path, match)


def test_a_section_of_raw_bytes_is_no_json(path: Path) -> None:
    with Container.open(path) as file:
        with pytest.raises(ArtifactError, match="another codec"):
            file.json("weights")
        with pytest.raises(ArtifactError, match="no such section"):
            file.view("nothing")


def test_reading_needs_neither_compiler_nor_ops() -> None:
    """The module's own imports: what `import graphc` itself brings in is another matter."""
    lines = Path(container.__file__).read_text().splitlines()
    folder = Path(container.__file__).parent
    for name in ("fields.py", "hashing.py", "blake3_llvm.py"):
        lines += (folder / name).read_text().splitlines()
    own = {line.split()[1] for line in lines if line.startswith(("import graphc", "from graphc"))}
    hash = {"graphc.artifact.blake3_llvm", "graphc.runtime.llvm_functions"}
    assert own - hash == {"graphc.artifact", "graphc.artifact.fields", "graphc.errors"}


def test_two_writers_leave_one_whole_file(tmp_path: Path) -> None:
    program = """
import sys
from graphc.artifact.container import Writer
for k in range(30):
    with Writer(sys.argv[1], sys.argv[2]) as writer:
        writer.add("a", sys.argv[2].encode() * 1000)
"""
    path = tmp_path / "f"
    jobs = [subprocess.Popen([sys.executable, "-c", program, str(path), who]) for who in ("one", "two")]
    assert [job.wait() for job in jobs] == [0, 0]
    with Container.open(path) as file:
        assert bytes(file.view("a")) == file.producer.encode() * 1000
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
