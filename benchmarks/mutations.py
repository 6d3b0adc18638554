"""Ways to damage an artifact: its bytes, its table of sections, and its JSON under correct hashes."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.artifact import container

__all__ = ["MUTATIONS", "rebuild", "sections_of"]

# The header fields that mutations keep right: offset and length of the table, length of the file, hash.
_PLACES = struct.Struct("<QQQ32s")
_PLACES_AT = 48


# ----------------------------------------------------------------------- bytes
def flip_bits(file: bytes, rng: random.Random) -> bytes:
    """Flip up to eight bits."""
    changed = bytearray(file)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def damage_header(file: bytes, rng: random.Random) -> bytes:
    """Overwrite a few bytes of the header."""
    changed = bytearray(file)
    at = rng.randrange(container.HEADER_BYTES - 8)
    changed[at : at + rng.choice((1, 4, 8))] = rng.randbytes(8)
    return bytes(changed)


def truncate(file: bytes, rng: random.Random) -> bytes:
    """Cut the end off."""
    return file[: rng.randrange(len(file))]


def extend(file: bytes, rng: random.Random) -> bytes:
    """Append bytes."""
    return file + rng.randbytes(rng.randint(1, 200))


def splice(file: bytes, rng: random.Random) -> bytes:
    """Copy one stretch of the file over another, move it, or take it out."""
    a, b = sorted(rng.randrange(len(file)) for _ in range(2))
    at = rng.randrange(len(file))
    piece = file[a : min(b, a + 500)]
    return rng.choice(
        (
            file[:at] + piece + file[at + len(piece) :],
            file[:at] + piece + file[at:],
            file[:a] + file[a + len(piece) :],
        )
    )


# ------------------------------------------------------------------------ JSON
ODD = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    7,
    1 << 31,
    (1 << 48) + 1,
    1 << 63,
    -(1 << 63),
    10**40,
    0.5,
    "",
    "x",
    "sum",
    "item",
    "loop",
    "\n",
    "é" * 5000,
    [],
    [[]],
    {},
    {"dim": 0},
    {"dim": -1},
    {"float": "inf"},
    {"float": "x"},
    {"dtype": "float64"},
    {"scalar": ["int8", 300]},
)


def containers(value: Any) -> list[Any]:
    """Return all lists and objects of a JSON value that are not empty."""
    found: list[Any] = []
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, (dict, list)) and top:
            found.append(top)
            stack.extend(top.values() if isinstance(top, dict) else top)
    return found


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


def edit(value: Any, rng: random.Random) -> None:
    """Change one place of a JSON value, in place."""
    holders = containers(value)
    if not holders:
        return
    holder = rng.choice(holders)
    key = rng.choice(_keys(holder))
    rng.choice(_EDITS)(holder, key, holders, rng)


def _replace(holder: Any, key: Any, holders: list[Any], rng: random.Random) -> None:
    holder[key] = _copy(rng.choice(ODD))


def _nudge(holder: Any, key: Any, holders: list[Any], rng: random.Random) -> None:
    if isinstance(holder[key], int):
        holder[key] += rng.choice((-2, -1, 1, 2))
    else:
        _borrow(holder, key, holders, rng)


def _remove(holder: Any, key: Any, holders: list[Any], rng: random.Random) -> None:
    del holder[key]


def _repeat(holder: Any, key: Any, holders: list[Any], rng: random.Random) -> None:
    if isinstance(holder, list):
        holder.insert(key, _copy(holder[key]))
    else:
        holder[f"{key}2"] = _copy(holder[key])


def _swap(holder: Any, key: Any, holders: list[Any], rng: random.Random) -> None:
    other = rng.choice(_keys(holder))
    # Siblings: neither holds the other.
    holder[key], holder[other] = holder[other], holder[key]


def _borrow(holder: Any, key: Any, holders: list[Any], rng: random.Random) -> None:
    """Put a copy of a value from elsewhere."""
    source = rng.choice(holders)
    holder[key] = _copy(source[rng.choice(_keys(source))])


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


_EDITS = (_replace, _nudge, _remove, _repeat, _swap, _borrow)


# ------------------------------------------------------- the file, with correct hashes
def sections_of(file: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the table of a sound file, and the bytes of its sections."""
    start, length, _, _ = _PLACES.unpack_from(file, _PLACES_AT)
    table = json.loads(file[start : start + length])
    return table, {s["name"]: file[s["offset"] : s["offset"] + s["length"]] for s in table["sections"]}


def rebuild(file: bytes, contents: Mapping[str, bytes]) -> bytes:
    """Return the file with other contents of its sections, all places and hashes correct."""
    table, _ = sections_of(file)
    body = bytearray(file[: container.HEADER_BYTES])
    for section in table["sections"]:
        body += bytes(-len(body) % container.ALIGNMENT)
        data = contents[section["name"]]
        algorithm = section["hash"].partition(":")[0]
        hash = container.digest(np.frombuffer(data, np.uint8), algorithm)
        section.update(offset=len(body), length=len(data), hash=f"{algorithm}:{hash}")
        body += data
    body += bytes(-len(body) % container.ALIGNMENT)
    return with_table(bytes(body), json.dumps(table).encode())


def with_table(body: bytes, table: bytes) -> bytes:
    """Return header and sections with a table behind them that the header is right about."""
    header = bytearray(body)
    places = len(body), len(table), len(body) + len(table), hashlib.sha256(table).digest()
    _PLACES.pack_into(header, _PLACES_AT, *places)
    return bytes(header) + table


def edit_table(file: bytes, rng: random.Random) -> bytes:
    """Change the table of sections, its hash corrected."""
    start, _, _, _ = _PLACES.unpack_from(file, _PLACES_AT)
    table, _ = sections_of(file)
    edit(table, rng)
    return with_table(file[:start], json.dumps(table).encode())


def edit_json(file: bytes, rng: random.Random) -> bytes:
    """Change up to four places of the graph or of the table of its data, all hashes corrected."""
    table, contents = sections_of(file)
    name = rng.choice([s["name"] for s in table["sections"] if s["codec"] == "json" and s["length"] > 100])
    value = json.loads(contents[name])
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        edit(value, rng)
    return rebuild(file, {**contents, name: json.dumps(value).encode()})


def edit_text(file: bytes, rng: random.Random) -> bytes:
    """Change the JSON text itself, all hashes corrected: it may no longer be JSON."""
    table, contents = sections_of(file)
    name = rng.choice([s["name"] for s in table["sections"] if s["codec"] == "json"])
    change = rng.choice((flip_bits, truncate, splice, nest))
    return rebuild(file, {**contents, name: change(contents[name], rng)})


def nest(text: bytes, rng: random.Random) -> bytes:
    """Put lists into lists, deeper than parsers recur."""
    depth = rng.choice((10, 1_000, 50_000))
    return b"[" * depth + text + b"]" * depth


MUTATIONS: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    "flip bits": flip_bits,
    "damage the header": damage_header,
    "truncate": truncate,
    "extend": extend,
    "splice": splice,
    "edit the table": edit_table,
    "edit JSON": edit_json,
    "edit text": edit_text,
}
