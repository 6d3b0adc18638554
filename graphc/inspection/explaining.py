"""`Program.explain`: where a user's node went, and what could not be made fast, in words."""

from __future__ import annotations

import difflib
import html
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os.path import basename
from typing import TYPE_CHECKING

from graphc.errors import ArgumentError, caller
from graphc.inspection import shortfalls
from graphc.inspection.provenance import Provenance, computed
from graphc.inspection.steps import Fate, described
from graphc.ir import Node
from graphc.lower.rules import Alias, Control, Item
from graphc.printing import constant_text
from graphc.tensor import Tensor
from graphc.wording import few

if TYPE_CHECKING:
    from graphc.runtime.kernel import Kernel
    from graphc.runtime.program import Program

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, repr=False)
class Explanation:
    """What there is to say, as text: print it."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"


def explain(program: Program, subject: Tensor | Node | str | None = None) -> Explanation:
    """Tell where a node went; or, of no node, what of a program was not fused, vectorized or parallelized.

    Parameters
    ----------
    program : Program
        A program that was compiled in this process.
    subject : Tensor, Node or str, optional
        What to explain: anything that was traced, a node of any stage's graph, the name of nodes or a
        place such as ``"model.py:12"``.

    Returns
    -------
    Explanation

    Raises
    ------
    ArgumentError
        If no node has that name or place.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("n",))
    >>> e = gx.exp(x)
    >>> program = gx.compile(x, gx.log(e + 1))
    >>> print(explain(program, e))  # doctest: +ELLIPSIS
    exp at ...: float32[n]
      stabilize  absorbed by log(1 + exp(x)) --> softplus(x), with add at ..., which read it; now softplus
      runs in kernel 0, softplus, which stores it
    """
    if subject is None:
        return Explanation("\n".join(shortfalls.lines(program)))
    history = Provenance.of(program)
    nodes = _found(history, subject)
    return Explanation("\n".join(line for node in nodes for line in _lines(program.name, history, node)))


# ------------------------------------------------------------------- which nodes
def _found(history: Provenance, subject: Tensor | Node | str) -> Sequence[Node]:
    if isinstance(subject, Tensor):
        return (subject.node,)
    if isinstance(subject, Node):
        return (subject,)
    if not isinstance(subject, str):
        raise ArgumentError(
            "explain: no such thing to explain",
            expected="a Tensor, a Node, a name or a place such as 'model.py:12'",
            given=type(subject).__name__,
            where=caller(),
        )
    traced = history.places(0).owner
    found = [n for n in traced if subject in (n.name, f"{basename(n.where.file)}:{n.where.line}")]
    if not found:
        names = list(dict.fromkeys(n.name for n in traced if n.name))
        close = ", ".join(map(repr, difflib.get_close_matches(subject, names, 3)))
        raise ArgumentError(
            f"explain: nothing is named {subject!r}, nor stands on such a line",
            expected=close or f"a name ({few(names)}) or a place such as 'model.py:12'",
            given=repr(subject),
            where=caller(),
        )
    return found


# ------------------------------------------------------------------ what happened
def _lines(name: str, history: Provenance, node: Node) -> Iterator[str]:
    """Return a title for a node, a line for every stage that changed it, and what it ended as."""
    yield f"{described(node)}: {node.type}"
    if history.first_stage(node) is None:
        yield f"  is no part of {name}: no output and no update needs it"
        return
    forward = history.forward_of(node)
    if forward is not None:
        yield f"  belongs to the derivative of {described(forward)}"
    last: Node | None = node
    events: list[tuple[str, str]] = []
    for index, fate in history.course(node):
        if fate.kind != "kept" or fate.rule:
            events.append((history.stages[index].name, _event(fate)))
        last = fate.targets[0] if fate.targets else None
    width = max((len(stage) for stage, _ in events), default=0)
    yield from (f"  {stage:{width}}  {text}" for stage, text in events)
    if last is not None:
        yield f"  {_ending(history, last)}"


def _event(fate: Fate) -> str:
    return _EVENTS[fate.kind](fate)


_EVENTS: dict[str, Callable[[Fate], str]] = {
    "kept": lambda f: f"kept: {f.rule}",
    "rewritten": lambda f: f"becomes {_ops(f.targets)} by {f.rule}{_more(f.note)}",
    "merged": lambda f: f"merged {f.note} by {f.rule}",
    "folded": lambda f: f"folded to {constant_text(f.targets[0].payload)} by {f.rule}",
    "fused": lambda f: f"fused {f.note}" if f.note else "fused with views of its operands",
    "absorbed": lambda f: f"absorbed by {f.rule}, {f.note}; now {_ops(f.targets)}",
    "pruned": lambda f: f"dropped: {f.note or f.rule}",
}


def _ops(nodes: Iterable[Node]) -> str:
    return few(list(dict.fromkeys(n.op.name for n in nodes)))


def _more(note: str) -> str:
    return f"; then {note}" if note else ""


# ---------------------------------------------------------------- where it ended
def _ending(history: Provenance, node: Node) -> str:
    """Return what a node of the last graph is when the program runs."""
    kernel = history.kernel_by_node.get(node)
    if kernel is not None:
        return _in_kernel(history, kernel, node)
    if node.op.name == "constant":
        return f"is a constant of the program: {constant_text(node.payload)}"
    if node.op.name in ("placeholder", "variable"):
        return f"is {_LEAVES[node.op.name]} {node.name!r}"
    if isinstance(node.op.lowering, Control):
        inside = [k.name for k in history.kernels if _runs_in(history, k, node)]
        return f"runs as a {node.op.name} of {len(inside)} kernels: {few(inside)}"
    if isinstance(node.op.lowering, (Alias, Item)):
        return f"is a view, without a kernel, of what {_ending(history, node.inputs[0])}"
    return "is computed by no kernel"


_LEAVES = {"placeholder": "the input", "variable": "the variable"}


def _in_kernel(history: Provenance, kernel: Kernel, node: Node) -> str:
    number = next(i for i, k in enumerate(history.kernels) if k is kernel)
    where = f"runs in kernel {number}, {kernel.name}"
    if kernel.text is None:
        return f"{where}, in Python by its NumPy meaning"
    return f"{where}, " + (
        "which stores it" if computed(node) in kernel.results else "and stays in its registers"
    )


def _runs_in(history: Provenance, kernel: Kernel, control: Node) -> bool:
    owners = history.places(len(history.stages) - 1).owner
    owner = owners.get(kernel.nodes[0])
    while owner is not None and owner is not control:
        owner = owners.get(owner)
    return owner is control
