"""BLAKE3 in vectors: against the published test vectors, whatever the number of threads and of lanes."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.artifact import blake3_llvm, hashing
from graphc.artifact.hashing import Hashing, blake3
from graphc.runtime import features, flat_code
from graphc.runtime.flattening import flatten
from graphc.runtime.target import compile_text

# From test_vectors.json of the reference implementation: inputs are the bytes 0 to 250, again and again.
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    2048: "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
    2049: "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
    3072: "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
    31744: "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}


def pattern(size: int) -> hashing.Bytes:
    return (np.arange(size) % 251).astype(np.uint8)


@pytest.mark.parametrize("size", VECTORS)
def test_published_vectors(size: int) -> None:
    assert blake3(pattern(size)).hex() == VECTORS[size]


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3"])
def test_narrower_vectors_give_the_same(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with features.limited(level):
        compiled = compile_text(blake3_llvm.many(), blake3_llvm.MANY)
    block = flatten(compiled)._replace(symbol=f"blake3_{level}")
    (address,) = flat_code.place([block])
    hashing._many.cache_clear()
    monkeypatch.setattr(hashing, "load_llvm", lambda *_: address)
    try:
        assert blake3(pattern(102400)).hex() == VECTORS[102400]
    finally:
        hashing._many.cache_clear()


@pytest.mark.parametrize("size", [0, 5000, 3 * hashing._PIECE * 1024 + 17])
def test_threads_share_the_work(size: int) -> None:
    data = pattern(size)
    assert len({Hashing(data, threads).result() for threads in (1, 2, 3, 7)}) == 1


def test_every_byte_counts() -> None:
    data = pattern(5 * 1024 + 100)
    found = {blake3(data)}
    for place in range(0, data.size, 97):
        data[place] ^= 1
        found.add(blake3(data))
        data[place] ^= 1
    assert len(found) == 1 + len(range(0, data.size, 97))
