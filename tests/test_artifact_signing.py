"""Signatures: the user's own artifacts are known by a key that is the user's alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphc.artifact.signing import KEY_NAME, SigningWarning, is_signed_by_user, sign
from graphc.errors import ArtifactError
from graphc.runtime.object_cache import active


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_the_users_own_signature_is_known(place: Path) -> None:
    signature = sign(b"table", place)
    assert len(signature) == 32 and signature == sign(b"table", place)
    assert is_signed_by_user(b"table", signature, place)
    assert not is_signed_by_user(b"tablf", signature, place)
    assert not is_signed_by_user(b"table", signature[::-1], place)
    assert not is_signed_by_user(b"table", b"", place)
    assert not is_signed_by_user(b"table", None, place)


def test_another_users_is_not(place: Path, tmp_path: Path) -> None:
    assert not is_signed_by_user(b"table", sign(b"table", tmp_path / "other"), place)
    assert not place.exists()


def test_the_key_is_private_and_its_making_leaves_nothing(place: Path) -> None:
    sign(b"", place)
    assert (place / KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert place.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in place.iterdir()] == [KEY_NAME]


def _readable_by_others(key: Path) -> None:
    key.chmod(0o640)


def _of_another_length(key: Path) -> None:
    key.write_bytes(b"short")


def _a_link(key: Path) -> None:
    key.rename(key.with_name("elsewhere"))
    key.symlink_to("elsewhere")


def _a_directory(key: Path) -> None:
    key.unlink()
    key.mkdir()


def _a_pipe(key: Path) -> None:
    key.unlink()
    os.mkfifo(key, 0o600)


@pytest.mark.skipif(sys.platform == "win32", reason="modes and links are of POSIX")
@pytest.mark.parametrize("spoil", [_readable_by_others, _of_another_length, _a_link, _a_directory, _a_pipe])
def test_a_key_that_may_not_be_the_users_alone_is_refused(place: Path, spoil: object) -> None:
    signature = sign(b"table", place)
    assert callable(spoil)
    spoil(place / KEY_NAME)
    with pytest.raises(ArtifactError, match="signing key cannot be used"):
        sign(b"table", place)
    with pytest.warns(SigningWarning, match="no artifact counts as your own"):
        assert not is_signed_by_user(b"table", signature, place)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="signing key cannot be used"):
        sign(b"table", tmp_path / "file" / "keys")


def test_the_key_lies_beside_the_cache() -> None:
    assert is_signed_by_user(b"table", sign(b"table"))
    assert (active().directory / KEY_NAME).exists()


def test_processes_that_make_the_key_at_once_agree(place: Path) -> None:
    program = """
import sys
from pathlib import Path
from graphc.artifact.signing import sign
sys.stdin.read(1)
print(sign(b"table", Path(sys.argv[1])).hex())
"""
    command = [sys.executable, "-c", program, str(place)]
    jobs = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    found = {job.communicate("\n")[0] for job in jobs}
    assert found == {sign(b"table", place).hex() + "\n"}
