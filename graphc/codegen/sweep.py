"""A vector times a matrix, by sweeping over rows of the matrix.

A register tile would read a few hundred bytes of each row and jump to the next.  Where the
matrix comes from memory, it is faster to read several rows from end to end, and to keep the
sums in the L1 cache instead of registers.
"""

from __future__ import annotations

from graphc.codegen.emitter import Emitter

# Rows that are added to the sums together: sums are loaded and stored once for all of them.
TOGETHER = 8


def write(
    emitter: Emitter,
    short: str,
    vector: tuple[str, str],
    matrix: tuple[str, str],
    sums: str,
    extent: tuple[str, str],
    add: str,
) -> None:
    """Write the loops for one strip of columns.

    Parameters
    ----------
    emitter : Emitter
        Where to write.
    short : str
        Type of the sums in kernel code.
    vector, matrix : tuple of str
        Pointers, and the distances of neighbours on the inner axes; columns are contiguous.
    sums : str
        Pointer to the sums.
    extent : tuple of str
        Numbers of inner steps and of columns.
    add : str
        Whether the sums go on from what is there.
    """
    steps, width = extent
    a, b, c, whole, q, j = (emitter.fresh(p) for p in "abcwqj")
    for name, pointer in ((a, vector[0]), (b, matrix[0]), (c, sums)):
        emitter.line(f"{name} = {pointer}")
    emitter.open(f"if {add} == 0:", conditional=True)
    emitter.open(f"for {j} in range({width}):")
    emitter.line(f"{c}[{j}] = {short}(0.0)")
    emitter.close()
    emitter.close()
    emitter.line(f"{whole} = {steps} // {TOGETHER} * {TOGETHER}")
    for count, span in ((TOGETHER, f"0, {whole}, {TOGETHER}"), (1, f"{whole}, {steps}")):
        emitter.open(f"for {q} in range({span}):")
        places = [f"({q} + {g})" for g in range(count)]
        scales = [emitter.fresh("s") for _ in places]
        for scale, place in zip(scales, places, strict=True):
            emitter.line(f"{scale} = {a}[{place} * {vector[1]}]")
        terms = [f"{s} * {b}[{p} * {matrix[1]} + {j}]" for s, p in zip(scales, places, strict=True)]
        emitter.open(f"for {j} in range({width}):")
        emitter.line(f"{c}[{j}] = {c}[{j}] + ({' + '.join(terms)})")
        emitter.close()
        emitter.close()
