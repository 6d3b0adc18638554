"""The functions of an exported library, in kernel code; `interface` gives them their public names.

`t` are the tables, `c` is a context: see `graphc.native_export.layout`.
"""

from __future__ import annotations

from graphc.native_export.externs import (
    address,
    copy,
    cpuid,
    free,
    function,
    malloc,
    pointer,
    run,
    saved_state,
)
from graphc.native_export.layout import (
    ALIGNMENT,
    ARGUMENT,
    BASE_FUNCTIONS,
    BASE_SELF,
    BASE_STATUS,
    C_ARENA,
    C_CAPACITY,
    C_PLANNED,
    C_STATUS,
    CHECK,
    CONTEXT_HEAD,
    CPU,
    DATA_AT,
    DATA_BYTES,
    DATA_STATE,
    DATA_WORDS,
    DETAIL,
    FEATURE_BITS,
    FEATURE_LEAF,
    FEATURE_PART,
    FEATURE_REGISTER,
    FEATURE_WORDS,
    KINDS,
    LIMIT,
    MEMORY,
    T_AT_BASES,
    T_AT_ROWS,
    T_AT_SIZES,
    T_AT_WORDS,
    T_BASE_CALLS,
    T_BASE_DATA,
    T_BASES,
    T_CONTEXT_WORDS,
    T_DATA,
    T_DATA_AT,
    T_FEATURES,
    T_FEATURES_AT,
    T_FUNCTIONS,
    T_INPUTS,
    T_MESSAGES_AT,
    T_PORTS,
    T_PORTS_AT,
    T_PREPARE,
    T_RUN,
    T_SHAPES,
    T_SHAPES_AT,
    T_SIZES,
    T_SLOTS,
    T_SLOTS_AT,
    T_STATE,
    T_STATE_AT,
    T_STATE_BYTES,
    T_TAIL,
    T_TEXTS_AT,
    T_WORDS_AT,
)
from graphc.native_export.planning import Tables, Words, aligned, place, rest, settle, solve, write
from graphc.runtime.cpu import SAVED_STATE

__all__ = ["call", "create", "destroy", "message", "shapes", "state"]


# -- contexts
def has_feature(t: Tables, row: int) -> bool:
    """Tell whether the CPU, and the system that saves its registers, have what a row asks for."""
    leaf = t[row + FEATURE_LEAF]
    bits = t[row + FEATURE_BITS]
    found = 0
    if leaf == SAVED_STATE:
        # Whether the instruction exists that reads it.
        if cpuid(1, 0, 2) & (1 << 27) != 0:
            found = saved_state()
    else:
        # The leaf 0 says how many there are, and 0x80000000 how many of the others.
        if cpuid(leaf & (1 << 31), 0, 0) >= leaf:
            found = cpuid(leaf, t[row + FEATURE_PART], t[row + FEATURE_REGISTER])
    return found & bits == bits


def missing_feature(t: Tables) -> int:
    """Return which feature the CPU lacks, or -1."""
    missing = -1
    for k in range(t[T_FEATURES]):
        fine = has_feature(t, t[T_FEATURES_AT] + FEATURE_WORDS * k)
        if missing < 0 and not fine:
            missing = k
    return missing


def begin(t: Tables, c: Words) -> int:
    """Fill a new context: addresses that stay, and copies of what the program changes."""
    here = address(c)
    for k in range(CONTEXT_HEAD):
        c[k] = 0
    bases = t[T_AT_BASES]
    for k in range(t[T_BASES]):
        c[bases + k] = 0
    c[bases + BASE_SELF] = here + 8 * t[T_AT_WORDS]
    c[bases + BASE_STATUS] = here + 8 * C_STATUS
    for k in range(t[T_FUNCTIONS]):
        c[bases + BASE_FUNCTIONS + k] = function(k)
    own = aligned(here + 8 * t[T_CONTEXT_WORDS])
    for k in range(t[T_DATA]):
        row = t[T_DATA_AT] + DATA_WORDS * k
        at = address(t) + t[T_TAIL] + t[row + DATA_AT]
        if t[row + DATA_STATE] >= 0:
            copy(pointer(own + t[row + DATA_STATE]), pointer(at), t[row + DATA_BYTES])
            at = own + t[row + DATA_STATE]
        c[bases + t[T_BASE_DATA] + k] = at
    return 0


def create(t: Tables, holder: Words) -> int:
    """Make a context and put its address into `holder`; return the status."""
    status = 0
    if address(holder) == 0:
        status = ARGUMENT
    if status == 0:
        holder[0] = 0
        missing = missing_feature(t)
        if missing >= 0:
            status = CPU + DETAIL * missing
    if status == 0:
        c = malloc(8 * t[T_CONTEXT_WORDS] + t[T_STATE_BYTES] + ALIGNMENT)
        holder[0] = address(c)
        if address(c) == 0:
            status = MEMORY
        else:
            begin(t, c)
    return status


def destroy(c: Words) -> int:
    """Free a context."""
    if address(c) != 0:
        free(pointer(c[C_ARENA]))
        free(c)
    return 0


def state(t: Tables, c: Words, found: Words) -> int:
    """Put the addresses of a context's own copies into `found`; return the status."""
    status = 0
    if address(c) == 0 or address(found) == 0:
        status = ARGUMENT
    else:
        for k in range(t[T_STATE]):
            found[k] = c[t[T_AT_BASES] + t[T_BASE_DATA] + t[t[T_STATE_AT] + k]]
    return status


# -- calls
def is_planned(t: Tables, c: Words, sizes: Tables) -> bool:
    """Tell whether the plan is one for these sizes."""
    same = c[C_PLANNED] == 1
    for k in range(t[T_SIZES]):
        same = same and c[t[T_AT_SIZES] + k] == sizes[k]
    return same


def reserve(c: Words, need: int) -> int:
    """See to it that the arena has so many bytes; return the status."""
    status = 0
    if need > LIMIT:
        status = MEMORY
    elif need > c[C_CAPACITY]:
        free(pointer(c[C_ARENA]))
        c[C_CAPACITY] = 0
        c[C_ARENA] = address(malloc(need + ALIGNMENT))
        if c[C_ARENA] == 0:
            status = MEMORY
        else:
            c[C_CAPACITY] = need
    return status


def execute(t: Tables, c: Words, table: int) -> int:
    """Run a table of steps; return which check failed, counted from 1, or 0."""
    c[C_STATUS] = 0
    run(pointer(address(c) + 8 * (t[T_AT_WORDS] + table)), 0, 1, 0)
    return c[C_STATUS]


def plan(t: Tables, c: Words, sizes: Tables) -> int:
    """Make the plan for these sizes, and what is prepared once for them; return the status."""
    c[C_PLANNED] = 0
    d = pointer(address(c) + 8 * t[T_AT_ROWS])
    status = solve(t, d, sizes)
    if status == 0:
        need = LIMIT + 1
        if rest(t, d, sizes) != 0:
            need = place(t, c, d)
        status = reserve(c, need)
    if status == 0:
        settle(t, c, aligned(c[C_ARENA]))
        write(t, c, d)
        execute(t, c, t[T_PREPARE])
        for k in range(t[T_SIZES]):
            c[t[T_AT_SIZES] + k] = sizes[k]
        c[C_PLANNED] = 1
    return status


def bring(t: Tables, c: Words, inputs: Tables, outputs: Tables) -> int:
    """Write the addresses of inputs and outputs into the plan; return the status."""
    status = 0
    bases = t[T_AT_BASES]
    for k in range(t[T_PORTS]):
        given = inputs[k] if k < t[T_INPUTS] else outputs[k - t[T_INPUTS]]
        # An array without elements needs no memory.
        if status == 0 and given == 0 and c[t[T_AT_ROWS] + t[t[T_PORTS_AT] + k]] > 0:
            status = ARGUMENT + DETAIL * (1 + k)
        c[bases + t[T_BASE_CALLS] + k] = given
    for k in range(t[T_SLOTS]):
        slot = t[t[T_SLOTS_AT] + k]
        at = t[T_WORDS_AT] + 2 * slot
        c[t[T_AT_WORDS] + slot] = c[bases + t[at]] + c[t[T_AT_ROWS] + t[at + 1]]
    return status


def call(t: Tables, c: Words, sizes: Tables, inputs: Tables, outputs: Tables) -> int:
    """Run the program; return the status."""
    status = 0
    lacking = address(c) == 0 or (address(sizes) == 0 and t[T_SIZES] > 0)
    lacking = lacking or (address(inputs) == 0 and t[T_INPUTS] > 0)
    if lacking or (address(outputs) == 0 and t[T_PORTS] > t[T_INPUTS]):
        status = ARGUMENT
    if status == 0 and not is_planned(t, c, sizes):
        status = plan(t, c, sizes)
    if status == 0:
        status = bring(t, c, inputs, outputs)
    if status == 0:
        failed = execute(t, c, t[T_RUN])
        if failed != 0:
            status = CHECK + DETAIL * (failed - 1)
    return status


def shapes(t: Tables, d: Words, sizes: Tables, found: Words) -> int:
    """Put the shapes and bytes of all inputs and outputs into `found`; return the status."""
    status = 0
    if address(found) == 0 or (address(sizes) == 0 and t[T_SIZES] > 0):
        status = ARGUMENT
    if status == 0:
        status = solve(t, d, sizes)
    if status == 0:
        for k in range(t[T_SHAPES]):
            found[k] = d[t[t[T_SHAPES_AT] + k]]
    return status


# -- words for people
def message(t: Tables, status: int) -> int:
    """Return the address of the text for a status; the last text is for what is none."""
    kind = status & (DETAIL - 1)
    which = status >> 8
    number = t[t[T_MESSAGES_AT] + KINDS]
    if status >= 0 and kind < KINDS:
        first = t[t[T_MESSAGES_AT] + kind]
        if first + which < t[t[T_MESSAGES_AT] + kind + 1]:
            number = first + which
    return address(t) + t[T_TAIL] + t[t[T_TEXTS_AT] + number]
