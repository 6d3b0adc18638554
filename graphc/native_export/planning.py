"""The planner of an exported library, in kernel code: what `graphc.runtime.plan` does for one thread.

Given the sizes of a call it works out all dimensions, places what needs room, and writes the words of
the plan, each of which is an address plus a dimension.  `t` are the tables, `c` is a context, `d` holds
the dimensions: see `graphc.native_export.layout`.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

from graphc.native_export.layout import (
    ADD,
    ALIGNMENT,
    CONSTANT,
    DETAIL,
    DIVIDE,
    LIMIT,
    MAXIMUM,
    MINIMUM,
    MULTIPLY,
    ROOM_BESIDE,
    ROOM_BYTES,
    ROOM_FIRST,
    ROOM_LAST,
    ROOM_NESTED,
    ROOM_NESTED_END,
    ROOM_WORDS,
    ROW_WORDS,
    SIZE,
    SIZES,
    T_ASKED,
    T_AT_BASES,
    T_AT_GAPS,
    T_AT_OFFSETS,
    T_AT_OPEN,
    T_AT_ORDER,
    T_AT_ROOM_BYTES,
    T_AT_SECTION_BASES,
    T_AT_SECTION_BYTES,
    T_AT_WORDS,
    T_BASE_FILLS,
    T_BASE_ROOMS,
    T_FACTS,
    T_FACTS_AT,
    T_FILLS,
    T_FILLS_AT,
    T_NESTED_AT,
    T_ROOMS_AT,
    T_ROWS,
    T_ROWS_AT,
    T_SECTIONS,
    T_SECTIONS_AT,
    T_SIZES,
    T_WORDS,
    T_WORDS_AT,
)

Tables = Sequence[int]
Words = MutableSequence[int]


# -- dimensions
def multiply(a: int, b: int) -> int:
    """Return a product, or something beyond the limit where it is too large."""
    large = max(a, -a)
    other = max(b, -b)
    return a * b if other == 0 or large <= LIMIT // other else LIMIT + 1


def evaluate(t: Tables, d: Words, sizes: Tables, first: int, last: int) -> int:
    """Work out rows of dimensions, all before them being known; return 0 if one is too large."""
    fine = 1
    for k in range(first, last):
        at = t[T_ROWS_AT] + ROW_WORDS * k
        operation = t[at]
        a = t[at + 1]
        b = t[at + 2]
        value = a
        if operation == SIZE:
            value = sizes[a]
        elif operation == ADD:
            value = d[a] + d[b]
        elif operation == MULTIPLY:
            value = multiply(d[a], d[b])
        elif operation == DIVIDE:
            value = d[a] // d[b]
        elif operation == MAXIMUM:
            value = max(d[a], d[b])
        elif operation == MINIMUM:
            value = min(d[a], d[b])
        d[k] = value
        if operation != CONSTANT and max(value, -value) > LIMIT:
            fine = 0
    return fine


def solve(t: Tables, d: Words, sizes: Tables) -> int:
    """Work out the dimensions that callers see, and check them; return the status."""
    status = 0
    for k in range(t[T_SIZES]):
        if status == 0 and sizes[k] < 0:
            status = SIZES + DETAIL * k
    if status == 0:
        fine = evaluate(t, d, sizes, 0, t[T_ASKED])
        if fine == 0:
            status = SIZES + DETAIL * t[T_SIZES]
    for k in range(t[T_FACTS]):
        at = t[T_FACTS_AT] + 2 * k
        if status == 0 and d[t[at]] != d[t[at + 1]]:
            status = SIZES + DETAIL * (t[T_SIZES] + 1 + k)
    return status


# -- rooms: see `graphc.placement`, whose choices these are
def aligned(size: int) -> int:
    """Return a size in bytes, rounded up to whole cache lines."""
    return (size + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT


def measure(t: Tables, c: Words, d: Words, room: int) -> int:
    """Return the bytes of a room; those of nested sections are known."""
    at = t[T_ROOMS_AT] + ROOM_WORDS * room
    total = max(d[t[at + ROOM_BYTES]], 0)
    for n in range(t[at + ROOM_NESTED], t[at + ROOM_NESTED_END]):
        size = aligned(c[t[T_AT_SECTION_BYTES] + t[t[T_NESTED_AT] + n]])
        total = max(total, size) if t[at + ROOM_BESIDE] == 0 else total + size
    return total


def sort(t: Tables, c: Words, low: int, high: int) -> int:
    """Order rooms by first use, larger ones first; they come ordered by first use."""
    order = t[T_AT_ORDER]
    for room in range(low, high):
        size = c[t[T_AT_ROOM_BYTES] + room]
        first = t[t[T_ROOMS_AT] + ROOM_WORDS * room + ROOM_FIRST]
        at = order + room - low
        looking = 1
        while looking == 1 and at > order:
            before = c[at - 1]
            same = t[t[T_ROOMS_AT] + ROOM_WORDS * before + ROOM_FIRST] == first
            if same and c[t[T_AT_ROOM_BYTES] + before] < size:
                c[at] = before
                at = at - 1
            else:
                looking = 0
        c[at] = room
    return 0


def earliest(t: Tables, c: Words, opened: int) -> int:
    """Return which of the open rooms ends first; of several, the one that lies first."""
    best = 0
    for k in range(1, opened):
        room = c[t[T_AT_OPEN] + k]
        other = c[t[T_AT_OPEN] + best]
        last = t[t[T_ROOMS_AT] + ROOM_WORDS * room + ROOM_LAST]
        known = t[t[T_ROOMS_AT] + ROOM_WORDS * other + ROOM_LAST]
        start = c[t[T_AT_OFFSETS] + room]
        place = c[t[T_AT_OFFSETS] + other]
        # Two that begin at one place differ in size, or it does not matter which comes first.
        smaller = aligned(c[t[T_AT_ROOM_BYTES] + room]) < aligned(c[t[T_AT_ROOM_BYTES] + other])
        nearer = start < place or (start == place and smaller)
        if last < known or (last == known and nearer):
            best = k
    return best


def release(c: Words, gaps_at: int, gaps: int, start: int, end: int) -> int:
    """Add a gap, joined with its neighbours; return how many there are now."""
    kept = 0
    for k in range(gaps):
        low = c[gaps_at + 2 * k]
        size = c[gaps_at + 2 * k + 1]
        if low + size == start:
            start = low
        elif low == end:
            end = low + size
        else:
            c[gaps_at + 2 * kept] = low
            c[gaps_at + 2 * kept + 1] = size
            kept = kept + 1
    c[gaps_at + 2 * kept] = start
    c[gaps_at + 2 * kept + 1] = end - start
    return kept + 1


def close(t: Tables, c: Words, opened: int, gaps: int, first: int) -> tuple[int, int]:
    """Close the rooms that are last used before `first`; return how many are open, and how many gaps."""
    looking = opened
    while looking > 0:
        k = earliest(t, c, opened)
        room = c[t[T_AT_OPEN] + k]
        if t[t[T_ROOMS_AT] + ROOM_WORDS * room + ROOM_LAST] < first:
            start = c[t[T_AT_OFFSETS] + room]
            gaps = release(c, t[T_AT_GAPS], gaps, start, start + aligned(c[t[T_AT_ROOM_BYTES] + room]))
            opened = opened - 1
            c[t[T_AT_OPEN] + k] = c[t[T_AT_OPEN] + opened]
            looking = opened
        else:
            looking = 0
    return opened, gaps


def fit(c: Words, gaps_at: int, gaps: int, size: int) -> int:
    """Return which gap is the smallest that holds so many bytes, or -1."""
    best = -1
    least = LIMIT * 2
    for k in range(gaps):
        length = c[gaps_at + 2 * k + 1]
        if length >= size and length < least:
            best = k
            least = length
    return best


def take(c: Words, gaps_at: int, gaps: int, k: int, size: int) -> int:
    """Cut so many bytes from the start of a gap, whose rest comes last; return how many gaps there are."""
    start = c[gaps_at + 2 * k]
    length = c[gaps_at + 2 * k + 1]
    for later in range(k + 1, gaps):
        c[gaps_at + 2 * later - 2] = c[gaps_at + 2 * later]
        c[gaps_at + 2 * later - 1] = c[gaps_at + 2 * later + 1]
    left = gaps - 1
    if length > size:
        c[gaps_at + 2 * left] = start + size
        c[gaps_at + 2 * left + 1] = length - size
        left = left + 1
    return left


def place_section(t: Tables, c: Words, d: Words, section: int) -> int:
    """Place the rooms of a section; return how many bytes that takes."""
    low = t[t[T_SECTIONS_AT] + section]
    high = t[t[T_SECTIONS_AT] + section + 1]
    for room in range(low, high):
        c[t[T_AT_ROOM_BYTES] + room] = min(measure(t, c, d, room), LIMIT + 1)
    sort(t, c, low, high)
    top = 0
    opened = 0
    gaps = 0
    for k in range(high - low):
        room = c[t[T_AT_ORDER] + k]
        opened, gaps = close(t, c, opened, gaps, t[t[T_ROOMS_AT] + ROOM_WORDS * room + ROOM_FIRST])
        size = aligned(c[t[T_AT_ROOM_BYTES] + room])
        gap = fit(c, t[T_AT_GAPS], gaps, size)
        start = top
        if gap >= 0:
            start = c[t[T_AT_GAPS] + 2 * gap]
            gaps = take(c, t[T_AT_GAPS], gaps, gap, size)
        else:
            top = min(top + size, LIMIT + 1)
        c[t[T_AT_OFFSETS] + room] = start
        c[t[T_AT_OPEN] + opened] = room
        opened = opened + 1
    return top


def place(t: Tables, c: Words, d: Words) -> int:
    """Place everything, nested sections first; return the bytes that it takes, or more than the limit."""
    for k in range(t[T_SECTIONS]):
        section = t[T_SECTIONS] - 1 - k
        c[t[T_AT_SECTION_BYTES] + section] = place_section(t, c, d, section)
    # What is prepared for these sizes lies behind the arena.
    total = aligned(c[t[T_AT_SECTION_BYTES]])
    for k in range(t[T_FILLS]):
        c[t[T_AT_BASES] + t[T_BASE_FILLS] + k] = total
        total = min(total + aligned(d[t[t[T_FILLS_AT] + k]]), LIMIT + 1)
    return total


# -- addresses
def settle(t: Tables, c: Words, base: int) -> int:
    """Fix the addresses of everything in the arena, which begins at `base`; outer sections come first."""
    c[t[T_AT_SECTION_BASES]] = base
    for section in range(t[T_SECTIONS]):
        for room in range(t[t[T_SECTIONS_AT] + section], t[t[T_SECTIONS_AT] + section + 1]):
            at = t[T_ROOMS_AT] + ROOM_WORDS * room
            start = c[t[T_AT_SECTION_BASES] + section] + c[t[T_AT_OFFSETS] + room]
            c[t[T_AT_BASES] + t[T_BASE_ROOMS] + room] = start
            for n in range(t[at + ROOM_NESTED], t[at + ROOM_NESTED_END]):
                nested = t[t[T_NESTED_AT] + n]
                c[t[T_AT_SECTION_BASES] + nested] = start
                if t[at + ROOM_BESIDE] != 0:
                    start = start + aligned(c[t[T_AT_SECTION_BYTES] + nested])
    for k in range(t[T_FILLS]):
        at = t[T_AT_BASES] + t[T_BASE_FILLS] + k
        c[at] = c[at] + base
    return 0


def write(t: Tables, c: Words, d: Words) -> int:
    """Write the words of the plan."""
    for k in range(t[T_WORDS]):
        at = t[T_WORDS_AT] + 2 * k
        c[t[T_AT_WORDS] + k] = c[t[T_AT_BASES] + t[at]] + d[t[at + 1]]
    return 0


def rest(t: Tables, d: Words, sizes: Tables) -> int:
    """Work out the dimensions that callers do not see; return 0 if one is too large."""
    return evaluate(t, d, sizes, t[T_ASKED], t[T_ROWS])
