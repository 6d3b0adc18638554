"""Kernels as users see them: what runs in one, its source, LLVM IR and assembly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphc.codegen.choice import Choice
from graphc.codegen.emitter import Scratch
from graphc.codegen.loops import KernelText
from graphc.ir import Node
from graphc.lower.steps import Step
from graphc.runtime import kernels as native
from graphc.runtime.kernel_source import KernelSource

__all__ = ["Kernel"]


@dataclass(frozen=True)
class Kernel:
    """One kernel of a program, with everything that led to it.

    Attributes
    ----------
    name : str
        Made of the ops that run in it.
    nodes : tuple of Node
        These ops' nodes, with the user's lines.
    results : tuple of Node
        Those whose values it stores.
    text : KernelText or None
        Generated parameters and code; None where the step calls back into Python.
    step : Step or None
        What it was generated from; None for the copies around steps.
    """

    name: str
    nodes: tuple[Node, ...]
    results: tuple[Node, ...]
    text: KernelText | None
    compiled: KernelSource | None
    step: Step | None = None

    @property
    def source(self) -> str:
        """Generated Python, headed by the operations that it performs and what its parameters are."""
        lines = [f"# {n.op.name}: {n.type}  {n.where}" for n in self.nodes]
        if self.text is None:
            return "\n".join([*lines, "# calls the op's NumPy meaning in Python\n"])
        lines += [f"# {name} = {_meaning(handle)}" for name, handle in self.text.pointers.items()]
        lines += [f"# {name} = {size}" for name, size in self.text.sizes.items()]
        lines += [f"# {line}" for line in self.choice.lines()] if self.choice is not None else []
        return "\n".join([*lines, self.text.code])

    @property
    def choice(self) -> Choice[Any] | None:
        """The schedules among which the kernel was chosen; None where there is only one."""
        return None if self.text is None else self.text.choice

    @property
    def llvm(self) -> str:
        """Optimized LLVM IR."""
        return native.llvm(self.compiled) if self.compiled is not None else ""

    @property
    def asm(self) -> str:
        """Assembly for this machine."""
        return native.asm(self.compiled) if self.compiled is not None else ""

    def _repr_html_(self) -> str:
        # Deferred: it describes kernels.
        from graphc.inspection.display import kernel_html

        return kernel_html(self)

    def __repr__(self) -> str:
        return f"<Kernel {self.name}>"


def _meaning(handle: object) -> str:
    """Return what a pointer parameter points to."""
    if isinstance(handle, Scratch):
        return f"working memory: {handle.dtype}[{handle.count}]"
    if isinstance(handle, tuple):
        return f"result of {handle[1].op.name}: {handle[1].type}  {handle[1].where}"
    if isinstance(handle, Node):
        return f"{handle.name or handle.op.name}: {handle.type}  {handle.where}"
    return str(handle)
