"""A small C program that uses an exported library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.native_export.header import Field, Interface

__all__ = ["example"]


def example(face: Interface) -> str:
    """Return a C program that runs a library on bytes from a pipe."""
    name, sizes = face.name, list(face.sizes.values())
    words = " ".join(["./example", *(s.upper() for s in sizes)])
    return "\n".join(
        [
            f"/* Reads the inputs of {name} one after the other as raw bytes, and writes the outputs so:",
            "",
            f"       cc -O2 example.c -o example -L. -l{name} -Wl,-rpath,'$ORIGIN'",
            f"       {words} < inputs > outputs",
            "*/",
            f'#include "{name}.h"',
            "",
            "#include <stdio.h>",
            "#include <stdlib.h>",
            "",
            _FAIL.format(name=name),
            "int main(int count, char **words) {",
            *(f"  {line}" if line else "" for line in _body(face, sizes)),
            "}",
            "",
        ]
    )


_FAIL = """\
static int fail(int status) {{
  fprintf(stderr, "%s\\n", {name}_message(status));
  return 1;
}}
"""


def _body(face: Interface, sizes: Sequence[str]) -> Iterator[str]:
    name = face.name
    yield f"if (count != {1 + len(sizes)}) {{"
    yield f'  fprintf(stderr, "usage: %s{"".join(" " + s.upper() for s in sizes)}\\n", words[0]);'
    yield "  return 2;"
    yield "}"
    values = ", ".join(f".{s} = strtoll(words[{k}], NULL, 10)" for k, s in enumerate(sizes, 1))
    yield f"{name}_sizes sizes = {{{values or '0'}}};"
    yield f"{name}_shapes shapes;"
    yield f"int status = {name}_shapes_at(&sizes, &shapes);"
    yield "if (status) return fail(status);"
    yield ""
    yield from _allocated("inputs", face.inputs)
    yield from _allocated("outputs", face.outputs)
    arrays = [f"inputs_{f.name}" for f in face.inputs] + [f"outputs_{f.name}" for f in face.outputs]
    yield f"if ({' || '.join(f'!{array}' for array in arrays) or '0'}) return fail({name.upper()}_MEMORY);"
    yield f"{name}_inputs inputs = {{{_fields('inputs', face.inputs)}}};"
    yield f"{name}_outputs outputs = {{{_fields('outputs', face.outputs)}}};"
    yield from _moved("inputs", face.inputs, "fread", "stdin")
    yield ""
    yield f"{name}_context *context;"
    yield f"status = {name}_create(&context);"
    yield "if (status) return fail(status);"
    yield f"status = {name}_run(context, &sizes, &inputs, &outputs);"
    yield "if (status) return fail(status);"
    yield from _moved("outputs", face.outputs, "fwrite", "stdout")
    yield ""
    yield f"{name}_destroy(context);"
    for what, fields in (("inputs", face.inputs), ("outputs", face.outputs)):
        yield from (f"free({what}_{field.name});" for field in fields)
    yield "return 0;"


def _allocated(what: str, fields: Sequence[Field]) -> Iterator[str]:
    for field in fields:
        # Memory of no bytes may lie at NULL.
        yield f"void *{what}_{field.name} = malloc(shapes.{what}.{field.name}.bytes + 1);"


def _fields(what: str, fields: Sequence[Field]) -> str:
    return ", ".join(f".{field.name} = {what}_{field.name}" for field in fields) or "0"


def _moved(what: str, fields: Sequence[Field], move: str, stream: str) -> Iterator[str]:
    for field in fields:
        array = f"{what}_{field.name}"
        yield f"if ({move}({array}, 1, shapes.{what}.{field.name}.bytes, {stream}) !="
        yield f"    (size_t)shapes.{what}.{field.name}.bytes)"
        yield f'  return fprintf(stderr, "cannot {_VERBS[move]} {field.name}\\n"), 1;'


_VERBS = {"fread": "read", "fwrite": "write"}
