"""BLAKE3's compression of many inputs at once, in LLVM IR: each lane of a vector has an input of its own.

The specification is "BLAKE3: one function, fast everywhere" by O'Connor, Aumasson, Neves and
Wilcox-O'Hearn (2020), section 2; filling vectors with inputs is what its section 5.3 proposes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

__all__ = ["LANES", "MANY", "many"]

LANES = 16
MANY = "blake3_many"
"""The function: inputs of `blocks` blocks each, `stride` bytes apart, to 32 bytes each.

Arguments: address of the first input, stride, number of inputs, blocks of each, bytes of the last block (the
rest must be zeros), counter of the first input, by how much it grows, flags of the first, every and the last
block, address of the results.
"""
_IV = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_ROUNDS = 7
# What a quarter round mixes: columns, then diagonals.
_QUARTERS = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)
_V = f"<{LANES} x i32>"
_WIDE = f"<{LANES} x i64>"
_HEAD = f"""
define void @{MANY}(ptr %in, i64 %stride, i64 %count, i64 %blocks, i32 %rest, i64 %counter, i64 %step,
                    i32 %first_flags, i32 %flags, i32 %last_flags, ptr %out) nounwind {{
entry:
  %last = sub i64 %count, 1
  %last_block = sub i64 %blocks, 1
  br label %group
group:
  %at = phi i64 [ 0, %entry ], [ %at_next, %done ]
  %some = icmp slt i64 %at, %count
  br i1 %some, label %begin, label %end
"""
_TAIL = f"""
  %at_next = add i64 %at, {LANES}
  br label %group
end:
  ret void
}}
declare {_V} @llvm.fshr.v{LANES}i32({_V}, {_V}, {_V})
declare i64 @llvm.smin.i64(i64, i64)
"""


def _splat(value: int | str, type: str = "i32") -> str:
    return "<" + ", ".join([f"{type} {value}"] * LANES) + ">"


class _Text:
    """Lines of a function, and names for what they compute."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names = (f"%t{k}" for k in range(1 << 20))

    def add(self, line: str) -> None:
        self.lines.append("  " + line)

    def let(self, expression: str) -> str:
        name = next(self.names)
        self.add(f"{name} = {expression}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def broadcast(self, value: str, type: str = "i32") -> str:
        """Return a vector with a value in every lane."""
        vector = f"<{LANES} x {type}>"
        one = self.let(f"insertelement {vector} poison, {type} {value}, i64 0")
        return self.let(f"shufflevector {vector} {one}, {vector} poison, <{LANES} x i32> {_splat(0)}")

    def gathered(self, values: Sequence[str], type: str) -> str:
        """Return a vector of scalars."""
        vector, found = f"<{LANES} x {type}>", "poison"
        for k, value in enumerate(values):
            found = self.let(f"insertelement {vector} {found}, {type} {value}, i64 {k}")
        return found

    def transposed(self, rows: Sequence[str]) -> list[str]:
        """Return the columns of a square of vectors: halves are exchanged, then quarters, and so on."""
        found, width = list(rows), 1
        while width < LANES:
            low, high = _interleaving(width, 0), _interleaving(width, width)
            for k in (k for k in range(LANES) if not k & width):
                a, b = found[k], found[k + width]
                found[k] = self.let(f"shufflevector {_V} {a}, {_V} {b}, {_V} {low}")
                found[k + width] = self.let(f"shufflevector {_V} {a}, {_V} {b}, {_V} {high}")
            width *= 2
        return found


def _interleaving(width: int, offset: int) -> str:
    """Return which lanes of two rows make a row in which their `width` x `width` squares are exchanged."""
    lanes = (k - (k & width) + offset + (LANES if k & width else 0) for k in range(LANES))
    return "<" + ", ".join(f"i32 {lane}" for lane in lanes) + ">"


def _quarter(text: _Text, state: list[str], places: Sequence[int], x: str, y: str) -> None:
    a, b, c, d = places
    for word, (right, left) in ((x, (16, 12)), (y, (8, 7))):
        total = text.let(f"add {_V} {state[a]}, {state[b]}")
        state[a] = text.let(f"add {_V} {total}, {word}")
        state[d] = _rotated(text, state[d], state[a], right)
        state[c] = text.let(f"add {_V} {state[c]}, {state[d]}")
        state[b] = _rotated(text, state[b], state[c], left)


def _rotated(text: _Text, a: str, b: str, distance: int) -> str:
    mixed = text.let(f"xor {_V} {a}, {b}")
    amount = _splat(distance)
    return text.let(f"call {_V} @llvm.fshr.v{LANES}i32({_V} {mixed}, {_V} {mixed}, {_V} {amount})")


def _schedule() -> Iterator[tuple[int, ...]]:
    order = tuple(range(16))
    for _ in range(_ROUNDS):
        yield order
        order = tuple(order[k] for k in _PERMUTATION)


def _compressed(text: _Text, chain: Sequence[str], words: Sequence[str], rest: Sequence[str]) -> list[str]:
    """Return the next chaining value; `rest` is the counter, the length and the flags."""
    state = [*chain, *(_splat(_IV[k]) for k in range(4)), *rest]
    for order in _schedule():
        for k, places in enumerate(_QUARTERS):
            _quarter(text, state, places, words[order[2 * k]], words[order[2 * k + 1]])
    return [text.let(f"xor {_V} {state[k]}, {state[k + 8]}") for k in range(8)]


@functools.cache
def many() -> str:
    """Return the module that defines `MANY`.

    Examples
    --------
    >>> MANY in many()
    True
    """
    text = _Text()
    text.label("begin")
    # Lanes beyond the last input compute it once more.
    indices = [text.let(f"add i64 %at, {lane}") for lane in range(LANES)]
    inputs = [text.let(f"call i64 @llvm.smin.i64(i64 {index}, i64 %last)") for index in indices]
    offsets = [text.let(f"mul i64 {k}, %stride") for k in inputs]
    starts = [text.let(f"getelementptr inbounds i8, ptr %in, i64 {offset}") for offset in offsets]
    steps = text.let(f"mul {_WIDE} {text.gathered(inputs, 'i64')}, {text.broadcast('%step', 'i64')}")
    counters = text.let(f"add {_WIDE} {steps}, {text.broadcast('%counter', 'i64')}")
    low = text.let(f"trunc {_WIDE} {counters} to {_V}")
    shifted = text.let(f"lshr {_WIDE} {counters}, {_splat(32, 'i64')}")
    high = text.let(f"trunc {_WIDE} {shifted} to {_V}")
    text.add("br label %block")
    text.label("block")
    text.add("%b = phi i64 [ 0, %begin ], [ %b_next, %block ]")
    chain = [f"%chain{k}" for k in range(8)]
    # Their values after this block are named when they are known.
    results = [f"%next{k}" for k in range(8)]
    for name, begin, after in zip(chain, _IV, results, strict=True):
        text.add(f"{name} = phi {_V} [ {_splat(begin)}, %begin ], [ {after}, %block ]")
    offset = text.let("shl i64 %b, 6")
    places = [text.let(f"getelementptr inbounds i8, ptr {start}, i64 {offset}") for start in starts]
    rows = [text.let(f"load {_V}, ptr {place}, align 1") for place in places]
    final = text.let("icmp eq i64 %b, %last_block")
    length = text.let(f"select i1 {final}, i32 %rest, i32 64")
    starting = text.let(f"select i1 {text.let('icmp eq i64 %b, 0')}, i32 %first_flags, i32 0")
    ending = text.let(f"select i1 {final}, i32 %last_flags, i32 0")
    flags = text.let(f"or i32 {text.let(f'or i32 {starting}, {ending}')}, %flags")
    rest = [low, high, text.broadcast(length), text.broadcast(flags)]
    found = _compressed(text, chain, text.transposed(rows), rest)
    for name, value in zip(results, found, strict=True):
        text.add(f"{name} = bitcast {_V} {value} to {_V}")
    text.add("%b_next = add i64 %b, 1")
    text.add(f"br i1 {final}, label %done, label %block")
    text.label("done")
    half = f"<{LANES // 2} x i32>"
    first = "<" + ", ".join(f"i32 {k}" for k in range(LANES // 2)) + ">"
    for k, row in zip(inputs, text.transposed([*results, *results]), strict=True):
        value = text.let(f"shufflevector {_V} {row}, {_V} poison, {half} {first}")
        start = text.let(f"shl i64 {k}, 5")
        place = text.let(f"getelementptr inbounds i8, ptr %out, i64 {start}")
        text.add(f"store {half} {value}, ptr {place}, align 1")
    return _HEAD + "\n".join(text.lines) + _TAIL
