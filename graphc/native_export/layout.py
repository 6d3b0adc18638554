"""Where things lie in the two blocks of words that an exported library works with.

The *tables* are constant and the same for all contexts: how to work out dimensions, what needs room,
what each word of a plan holds.  A *context* is the memory of one user of the library: dimensions,
addresses and the plan itself, for the sizes of its latest call.

The code of the library reads these numbers as constants, so they are plain integers.
"""

from __future__ import annotations

# -- what a function returns: one of these, and 256 times which message of its kind.
OK, ARGUMENT, MEMORY, CPU, SIZES, CHECK = range(6)
KINDS = 6
DETAIL = 256

# -- rows of dimensions: an operation and two operands, which are earlier rows.
CONSTANT, SIZE, ADD, MULTIPLY, DIVIDE, MAXIMUM, MINIMUM = range(7)
ROW_WORDS = 3
# No dimension and no number of bytes may be larger: sums of several still fit into a word.
LIMIT = 1 << 60

# -- rows of rooms: see `graphc.runtime.image.Room`; nested sections are a range of the list of them.
ROOM_FIRST, ROOM_LAST, ROOM_BYTES, ROOM_NESTED, ROOM_NESTED_END, ROOM_BESIDE = range(6)
ROOM_WORDS = 6
ALIGNMENT = 64

# -- rows of data: bytes behind the start of the tail; bytes behind the start of a context's own copies,
# or -1 if none is made; how many.
DATA_AT, DATA_STATE, DATA_BYTES = range(3)
DATA_WORDS = 3

# -- rows of CPU features: leaf, part and register of CPUID, and the bits that must be set.
FEATURE_LEAF, FEATURE_PART, FEATURE_REGISTER, FEATURE_BITS = range(4)
FEATURE_WORDS = 4

# -- the head of the tables: how many there are of a kind, and at which word they begin.
(
    T_SIZES,
    T_ROWS,
    T_ROWS_AT,
    T_ASKED,
    T_FACTS,
    T_FACTS_AT,
    T_INPUTS,
    T_PORTS,
    T_PORTS_AT,
    T_SHAPES,
    T_SHAPES_AT,
    T_SECTIONS,
    T_SECTIONS_AT,
    T_ROOMS_AT,
    T_NESTED_AT,
    T_FILLS,
    T_FILLS_AT,
    T_WORDS,
    T_WORDS_AT,
    T_SLOTS,
    T_SLOTS_AT,
    T_FUNCTIONS,
    T_DATA,
    T_DATA_AT,
    T_STATE,
    T_STATE_AT,
    T_STATE_BYTES,
    T_FEATURES,
    T_FEATURES_AT,
    T_MESSAGES_AT,
    T_TEXTS_AT,
    # Bytes from the start of the tables to texts and data.
    T_TAIL,
    T_RUN,
    T_PREPARE,
    # Numbers of the first address of each kind.
    T_BASE_DATA,
    T_BASE_ROOMS,
    T_BASE_FILLS,
    T_BASE_CALLS,
    T_BASES,
    # Positions in a context.
    T_AT_SIZES,
    T_AT_ROWS,
    T_AT_BASES,
    T_AT_WORDS,
    T_AT_ROOM_BYTES,
    T_AT_OFFSETS,
    T_AT_SECTION_BYTES,
    T_AT_SECTION_BASES,
    T_AT_ORDER,
    T_AT_OPEN,
    T_AT_GAPS,
    T_CONTEXT_WORDS,
) = range(51)
HEAD_WORDS = 51

# -- addresses that words are relative to: none, the words themselves, the status word; then those of
# functions, of data, of rooms, of what is prepared, of what a call brings.
BASE_ZERO, BASE_SELF, BASE_STATUS, BASE_FUNCTIONS = range(4)

# -- the head of a context; a word each.
C_STATUS, C_ARENA, C_CAPACITY, C_PLANNED = range(4)
CONTEXT_HEAD = 4
