"""Where programs come from: the compiler, or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from graphc.errors import GraphcError
from graphc.runtime.executable import Array, Executable

if TYPE_CHECKING:
    from graphc.ir import Graph
    from graphc.leaves import Variable
    from graphc.pipeline import Stage
    from graphc.runtime.building import Options
    from graphc.runtime.compiled_object import CompiledObject
    from graphc.runtime.flat_code import FlatCode
    from graphc.runtime.kernel import Kernel

__all__ = ["Source"]


class Source(Protocol):
    """Where a program comes from: what it runs, and what there is to see of how it came about."""

    @property
    def executable(self) -> Executable:
        """What runs."""

    @property
    def traced(self) -> Graph:
        """The graph before all passes."""

    @property
    def graph(self) -> Graph:
        """The optimized graph."""

    @property
    def variables(self) -> list[Variable]:
        """The variables that the program reads or updates."""

    @property
    def options(self) -> Options:
        """How it was compiled."""

    @property
    def code(self) -> Sequence[CompiledObject | FlatCode]:
        """The machine code of its native functions, in the order of their numbers."""

    @property
    def objects(self) -> Sequence[CompiledObject]:
        """The same as object files."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The graph after every pass."""

    @property
    def kernels(self) -> list[Kernel]:
        """What runs, in order."""

    def failure(self, code: int, arrays: Sequence[Array], sizes: Mapping[str, int]) -> GraphcError | None:
        """Return the error that explains why a run-time check failed, if that can be told."""
