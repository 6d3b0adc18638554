"""Calls that only measure: with a plan of their own, and without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphc.errors import GraphError, caller
from graphc.runtime import plan as planning
from graphc.runtime.image import Image
from graphc.runtime.plan import Array, Plan
from graphc.runtime.recorder import Probes

if TYPE_CHECKING:
    from graphc.runtime.kernel import Kernel
    from graphc.runtime.program import Program

__all__ = ["Subject", "rehearsed"]


@dataclass(frozen=True)
class Subject:
    """A program ready to be measured.

    Attributes
    ----------
    name : str
        Of the program.
    image : Image
        What runs.
    kernels : sequence of Kernel
        By the numbers that the image uses.
    plain, timed : Plan
        Plans for the same sizes, without and with probes.
    probes : Probes
        Those of the second.
    run : callable
        Calls the program with a plan.
    """

    name: str
    image: Image
    kernels: Sequence[Kernel]
    plain: Plan
    timed: Plan
    probes: Probes
    run: Callable[[Plan], None]


@contextmanager
def rehearsed(program: Program, arrays: tuple[Array, ...]) -> Iterator[Subject]:
    """Let a program be called with a plan that times its steps; afterwards all is as it was.

    Parameters
    ----------
    program : Program
        Whose lock the caller holds.
    arrays : tuple of ndarray
        What it is called with.
    """
    key = tuple([a.shape for a in arrays])
    changed = [program._source.executable.leaves[k].array for k in program._image.updates]
    before = [a.copy() for a in changed]

    def run(plan: Plan) -> None:
        program._plans[key] = plan
        program._execute(arrays, None)
        if program._plans[key] is not plan:
            raise GraphError(f"{program.name}: the number of threads changed meanwhile", where=caller())

    program._execute(arrays, None)
    plain, probes = program._plans[key], Probes()
    try:
        timed = planning.build(program._linked, plain.sizes, plain.threads, plain.prepared, probes)
        yield Subject(program.name, program._image, program.kernels, plain, timed, probes, run)
    finally:
        program._plans[key] = plain
        if program._updates is not None:
            program._updates.announce()
        for array, value in zip(changed, before, strict=True):
            array[...] = value
