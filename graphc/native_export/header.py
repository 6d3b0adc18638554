"""The C interface of an exported library as text: its header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import graphc
from graphc.native_export import layout
from graphc.native_export.tables import size_names
from graphc.nests import Nest
from graphc.runtime.image import Image
from graphc.types import TensorType

__all__ = ["CTYPES", "Field", "Interface", "header", "identifier", "interface"]

CTYPES = {
    "bool": "bool",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "float32": "float",
    "float64": "double",
}
"""C's types by those of elements."""

# Words of C and C++ that no field can be called, and macros that a compiler or common headers define.
_WORDS = (
    "alignas alignof and and_eq asm atomic auto bitand bitor bool break case catch char class co_await "
    "co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype "
    "default delete do double dynamic_cast else enum explicit export extern false float for friend goto "
    "if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private "
    "protected public register reinterpret_cast requires restrict return short signed sizeof static "
    "static_assert static_cast struct switch template this thread_local throw true try typedef typeid "
    "typename typeof union unsigned using virtual void volatile wchar_t while xor xor_eq"
)
_MACROS = "EOF NULL assert errno linux signbit stderr stdin stdout unix"
_TAKEN = frozenset([*_WORDS.split(), *_MACROS.split()])
# What `OK` and the other kinds of status are called, in their order, and when they occur.
_STATUSES = {
    "OK": "done",
    "ARGUMENT": "a pointer is NULL",
    "MEMORY": "there is not enough memory; the context can still be used",
    "CPU": "this CPU lacks something that the program was compiled for",
    "SIZES": "the program does not work at these sizes",
    "CHECK": "a run-time check failed, such as one of an index",
}


@dataclass(frozen=True)
class Field:
    """A field of a struct: its name in C, the name and type of the array that it is for."""

    name: str
    what: str
    type: TensorType

    @property
    def ctype(self) -> str:
        """The type of the array's elements."""
        return CTYPES[str(self.type.dtype)]


@dataclass(frozen=True)
class Interface:
    """What a library offers.

    Attributes
    ----------
    name : str
        What all its names begin with.
    sizes : dict of str to str
        Fields by the names of sizes.
    inputs, outputs, state : list of Field
        Arrays.
    """

    name: str
    sizes: dict[str, str]
    inputs: list[Field]
    outputs: list[Field]
    state: list[Field]


def identifier(name: str) -> str:
    """Return a name as C takes it.

    Examples
    --------
    >>> identifier("layer/1.weight"), identifier("2x"), identifier("double")
    ('layer_1_weight', '_2x', 'double_')
    """
    found = re.sub(r"[^0-9A-Za-z_]", "_", name) or "_"
    if found[0].isdigit():
        found = f"_{found}"
    return f"{found}_" if found in _TAKEN else found


def interface(name: str, image: Image, nest: Nest | None) -> Interface:
    """Return the interface of a program; `nest` is the structure of its outputs."""
    sizes = size_names(image)
    outputs = zip(_paths(nest), image.outputs, strict=True)
    leaves = [image.leaves[k] for k in image.updates]
    return Interface(
        name,
        dict(zip(sizes, _distinct(sizes), strict=True)),
        _fields((port.name, port.type) for port in image.inputs),
        _fields(outputs),
        _fields((leaf.name, leaf.type) for leaf in leaves),
    )


def _fields(named: Iterable[tuple[str, TensorType]]) -> list[Field]:
    pairs = list(named)
    names = _distinct([what for what, _ in pairs])
    return [Field(name, what, type) for name, (what, type) in zip(names, pairs, strict=True)]


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names as C takes them, no two of them equal."""
    found: list[str] = []
    for name in map(identifier, names):
        number, fresh = 1, name
        while fresh in found:
            number += 1
            fresh = f"{name}_{number}"
        found.append(fresh)
    return found


def _paths(nest: Nest | None, path: str = "") -> list[str]:
    """Return names for outputs by where they stand: keys of dicts, numbers in lists."""
    if nest is None or nest.kind == "nothing":
        return []
    if nest.kind == "value":
        return [path or "output"]
    keys = nest.keys if nest.kind in ("dict", "named") else range(len(nest.parts))
    before = f"{path}_" if path else "" if nest.kind in ("dict", "named") else "output_"
    pairs = zip(keys, nest.parts, strict=True)
    return [found for key, part in pairs for found in _paths(part, f"{before}{key}")]


def header(face: Interface, features: Sequence[str]) -> str:
    """Return the text of the header."""
    name, upper = face.name, face.name.upper()
    parts = [
        _opening(face, features),
        _statuses(upper),
        _struct(f"{name}_sizes", "The sizes that arrays have in common.", _sizes(face)),
        _struct(f"{name}_inputs", _INPUTS, _arrays(face.inputs, "const ")),
        _struct(f"{name}_outputs", _OUTPUTS, _arrays(face.outputs, "")),
        _shapes(face),
        *([_struct(f"{name}_state", _STATE, _arrays(face.state, ""))] if face.state else []),
        _functions(face),
        _CLOSING,
    ]
    return "\n".join(parts)


_INPUTS = "Where the inputs lie: dense arrays, the last dimension running fastest, not overlapping outputs."
_OUTPUTS = "Where to write the outputs, which must not overlap each other."
_STATE = "What calls change, in the memory of a context, as long as that lives."
_CLOSING = """
#ifdef __cplusplus
}
#endif

#endif
"""


def _opening(face: Interface, features: Sequence[str]) -> str:
    name, guard = face.name, f"{face.name.upper()}_H"
    needs = f"needs {', '.join(features)}" if features else "needs nothing else"
    return f"""\
/* {name}: a program compiled by graphc {graphc.__version__}.

   Runs on x86-64 and {_wrapped(needs)}.
   Make a context, and run the program in it as often as you like, at any sizes.  A context serves one call
   at a time; threads that call at the same time have a context each.  Each call runs on the thread that makes
   it.  Nothing is printed and nothing aborts: functions return a status, of which
   {name}_message tells more. */
#ifndef {guard}
#define {guard}

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {name}_context {name}_context;
"""


def _wrapped(text: str) -> str:
    lines: list[str] = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > 90:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n   ".join(lines)


def _statuses(upper: str) -> str:
    lines = [f"  {upper}_{word} = {k}, /* {why} */" for k, (word, why) in enumerate(_STATUSES.items())]
    return "\n".join(
        [
            f"/* Kinds of status: {upper}_KIND(status) is one of these.  Only {upper}_OK is 0. */",
            "enum {",
            *lines,
            "};",
            f"#define {upper}_KIND(status) ((status) & {layout.DETAIL - 1})",
            "",
        ]
    )


def _sizes(face: Interface) -> list[str]:
    return [f"int64_t {field};" for field in face.sizes.values()]


def _arrays(fields: Sequence[Field], before: str) -> list[str]:
    return [f"{before}{f.ctype} *{f.name}; /* {_comment(f)} */" for f in fields]


def _comment(field: Field) -> str:
    # A name may hold anything but the end of a comment.
    return f"{field.what}: {field.type}".replace("*/", "* /").replace("/*", "/ *")


def _struct(name: str, why: str, lines: Sequence[str]) -> str:
    # C has no empty structs.
    found = lines or ["int64_t none; /* there are none: give NULL */"]
    return "\n".join(
        [f"/* {why} */", f"typedef struct {name} {{", *(f"  {x}" for x in found), f"}} {name};", ""]
    )


def _shapes(face: Interface) -> str:
    lines: list[str] = []
    for what, fields in (("inputs", face.inputs), ("outputs", face.outputs)):
        if not fields:
            continue
        lines.append("  struct {")
        for field in fields:
            shape = f"int64_t shape[{field.type.ndim}]; " if field.type.ndim else ""
            lines.append(f"    struct {{ {shape}int64_t bytes; }} {field.name}; /* {_comment(field)} */")
        lines.append(f"  }} {what};")
    name = face.name
    return "\n".join(
        [
            "/* The shapes of arrays, and their bytes. */",
            f"typedef struct {name}_shapes {{",
            *(lines or ["  int64_t none;"]),
            f"}} {name}_shapes;",
            "",
        ]
    )


def _functions(face: Interface) -> str:
    name = face.name
    state = f"""
/* Tell where a context keeps what calls change.  Set it before the first call, or between calls, to go on
   from there; the first values are those that the program had when it was exported. */
int {name}_state_of(const {name}_context *context, {name}_state *state);
"""
    return f"""\
/* Make a context; {name}_destroy frees it.  On failure *context is NULL. */
int {name}_create({name}_context **context);
void {name}_destroy({name}_context *context);

/* Run the program.  The first call at other sizes than the call before makes a plan for them, which takes
   microseconds, or a millisecond where there are a thousand steps, and may allocate memory; other calls
   allocate nothing. */
int {name}_run({name}_context *context, const {name}_sizes *sizes, const {name}_inputs *inputs,
    const {name}_outputs *outputs);

/* Work out the shapes that all arrays have at these sizes. */
int {name}_shapes_at(const {name}_sizes *sizes, {name}_shapes *shapes);
{state if face.state else ""}
/* Say what a status means: text that is never freed. */
const char *{name}_message(int status);
"""
