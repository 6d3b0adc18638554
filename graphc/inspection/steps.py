"""What one stage of the pipeline made of each node: the notes of `graphc.history`, put in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from graphc.ir import Graph, Node
from graphc.lower.rules import Fused, Item
from graphc.pipeline import Rewrite, Stage
from graphc.wording import few

__all__ = ["Fate", "Kind", "Places", "Step", "places"]

Kind = Literal["kept", "rewritten", "merged", "folded", "fused", "absorbed", "pruned"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What a pass made of a node.

    Attributes
    ----------
    kind : str
        ``kept``: it is still there, perhaps over other operands.  ``rewritten``: by a rule, into `targets`.
        ``merged``: with an equal node.  ``folded``: into a constant.  ``fused``: into a kernel.
        ``absorbed``: what read it was rewritten into `targets`, which do without it.  ``pruned``: nothing
        reads it any more.
    rule : str
        The rule that did it; empty where none was needed.
    targets : tuple of Node
        What stands for it after the pass, what replaces it first; none if it was pruned.
    note : str
        What else there is to say, for people.
    """

    kind: Kind
    rule: str = ""
    targets: tuple[Node, ...] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class Places:
    """All nodes of a graph, those of its sub-graphs included, and where each stands.

    Attributes
    ----------
    owner : dict of Node to Node or None
        The node in whose sub-graph each node stands; None for those of the graph itself.
    users : dict of Node to list of Node
        The nodes that read each node.
    levels : list of list of Node
        The nodes of each graph, operands first; what stands around a sub-graph before what stands in it.
    """

    owner: dict[Node, Node | None] = field(default_factory=dict)
    users: dict[Node, list[Node]] = field(default_factory=dict)
    levels: list[list[Node]] = field(default_factory=list)

    @cached_property
    def unchanged(self) -> Mapping[Node, Fate]:
        """The fate of every node where a stage changes nothing."""
        return {node: Fate("kept", targets=(node,)) for node in self.owner}

    def is_fused(self, node: Node) -> bool:
        """Tell whether a node stands in the sub-graph of a fused one."""
        owner = self.owner.get(node)
        return owner is not None and isinstance(owner.op.lowering, Fused)


def places(graph: Graph) -> Places:
    """Return where all nodes of a graph stand."""
    found = Places()
    waiting: list[tuple[Graph, Node | None]] = [(graph, None)]
    while waiting:
        inner, owner = waiting.pop()
        # A scalar constant may stand in many sub-graphs: it belongs to the first.
        level = [node for node in inner.nodes if node not in found.owner]
        found.levels.append(level)
        for node in level:
            found.owner[node] = owner
            for operand in node.inputs:
                found.users.setdefault(operand, []).append(node)
            waiting.extend((g, node) for g in node.subgraphs)
    return found


class Step:
    """What one stage made of the nodes of the graph before it.

    Parameters
    ----------
    before, after : Places
        The nodes of the graphs before and after it: the same object if it changed nothing.
    stage : Stage
        What ran.
    """

    def __init__(self, before: Places, after: Places, stage: Stage) -> None:
        self.stage = stage
        self.before = before
        self.after = after
        # The rule that was applied to each node.
        self._rules: dict[Node, Rewrite] = {}
        for rewrite in stage.rewrites:
            for node in rewrite.nodes:
                self._rules.setdefault(node, rewrite)
        # For everything on a node's way, the nodes from which the way comes.
        self._sources: dict[Node, list[Node]] = {}
        self._ways = {} if self.is_idle else {node: self._way(node) for node in self.before.owner}

    @property
    def is_idle(self) -> bool:
        """Whether the stage changed nothing."""
        return self.after is self.before

    def _way(self, node: Node) -> tuple[Node, ...]:
        """Return all that a node became in turn, itself first, up to what is there after the stage."""
        found = dict.fromkeys((node,))
        waiting = [node]
        while waiting:
            for follower in self.stage.history.followers.get(waiting.pop(), ()):
                if follower in found:
                    continue
                found[follower] = None
                if follower not in self.after.owner:
                    waiting.append(follower)
        for passed in found:
            self._sources.setdefault(passed, []).append(node)
        return tuple(found)

    # -- backwards
    def sources(self, node: Node) -> tuple[Node, ...]:
        """Return the nodes of the graph before which one of the graph after comes from."""
        if node in self.before.owner:
            return (node,)
        found = self._sources.get(node)
        if found is None and node.subgraphs:
            found = [s for g in node.subgraphs for n in g.nodes for s in self._sources.get(n, ())]
        subject: Node | None = node
        while not found and subject is not None:
            subject = self.stage.history.subjects.get(subject)
            found = self._sources.get(subject) if subject is not None else None
        if found:
            return tuple(dict.fromkeys(found))
        operand = self._stands_for(node)
        return () if operand is None else self.sources(operand)

    def _stands_for(self, node: Node) -> Node | None:
        """Return the node whose value a new one hands on: an operand of a kernel, or several results."""
        if isinstance(node.op.lowering, Item):
            return node.inputs[0]
        owner = self.after.owner.get(node)
        graph = next((g for g in owner.subgraphs if node in g.inputs), None) if owner is not None else None
        if owner is None or graph is None or len(graph.inputs) != len(owner.inputs):
            return None
        return owner.inputs[graph.inputs.index(node)]

    # -- forwards
    @cached_property
    def fates(self) -> Mapping[Node, Fate]:
        """What became of every node."""
        if self.is_idle:
            return self.before.unchanged
        found: dict[Node, Fate] = {}
        # A node of which nothing is left shares the fate of what read it, or of the loop around it.
        for level in self.before.levels:
            for node in reversed(level):
                found[node] = self._fate(node, found)
        return found

    @cached_property
    def _parts(self) -> Mapping[Node, list[Node]]:
        """For each node of the graph before, the nodes that were made as parts of what replaces it."""
        parts: dict[Node, list[Node]] = {}
        for node in self.after.owner:
            if node in self._sources or node not in self.stage.history.subjects:
                continue
            for source in self.sources(node):
                parts.setdefault(source, []).append(node)
        return parts

    @cached_property
    def _holders(self) -> Mapping[Node, Node]:
        """For each node of the graph before, the first that is still there, or only over other operands."""
        holders: dict[Node, Node] = {}
        for node, way in self._ways.items():
            if any(n in self._rules for n in way):
                continue
            image = next((n for n in way if n in self.after.owner), None)
            if image is not None:
                holders.setdefault(image, node)
        return holders

    def _targets(self, node: Node) -> list[Node]:
        found = [n for n in self._ways[node] if n in self.after.owner]
        inside = [n for n in found if self.after.is_fused(n)]
        if inside and not self.before.is_fused(node):
            # The node itself, where it is computed; not the results of the kernel around it.
            return inside
        return [*found, *self._holders_of_parts(node), *self._parts.get(node, ())]

    def _fate(self, node: Node, known: Mapping[Node, Fate]) -> Fate:
        targets = tuple(dict.fromkeys(self._targets(node)))
        if not targets:
            return self._gone(node, known)
        rules, first = self._rules_of(node), targets[0]
        if first is node:
            return Fate("kept", rules[0] if rules else "", targets)
        if not rules and _alike(node, first):
            return Fate("kept", "", targets, "over other operands")
        if not rules and isinstance(node.op.lowering, Item):
            rules = self._rules_of(node.inputs[0])
        rule, note = (rules[0], "; then ".join(rules[1:])) if rules else ("", "")
        if self.after.is_fused(first) and not self.before.is_fused(node):
            return Fate("fused", rule, targets, _company(first, self.after))
        if first.op.name == "constant" and node.op.name != "constant":
            return Fate("folded", rule or self.stage.name, targets, note)
        holder = self._holders.get(first)
        if holder is not None and holder is not node and _alike(node, first):
            return Fate("merged", rule or self.stage.name, targets, f"with {described(holder)}")
        return Fate("rewritten", rule or self.stage.name, targets, note)

    def _rules_of(self, node: Node) -> list[str]:
        return list(dict.fromkeys(self._rules[n].rule for n in self._ways[node] if n in self._rules))

    def _holders_of_parts(self, node: Node) -> tuple[Node, ...]:
        """Return the nodes of the same op that now hold a node's sub-graph."""
        if node in self.after.owner:
            return ()
        inner = (n for g in node.subgraphs for n in g.nodes if n not in g.inputs)
        owners = (self.after.owner.get(n) for n in inner)
        return tuple(dict.fromkeys(o for o in owners if o is not None and o.op is node.op))

    def _gone(self, node: Node, known: Mapping[Node, Fate]) -> Fate:
        """Return the fate of a node of which nothing is left: that of what read it."""
        rules = self._rules_of(node)
        for reader in self.before.users.get(node, ()):
            fate = known[reader]
            if fate.rule and fate.targets and fate.kind != "merged":
                rule = rules[0] if rules else fate.rule
                return Fate("absorbed", rule, fate.targets, f"with {described(reader)}, which read it")
        if rules:
            return Fate("pruned", rules[0])
        owner = self.before.owner[node]
        around = known.get(owner) if owner is not None else None
        if owner is not None and around is not None and around.rule and around.targets:
            return Fate("absorbed", around.rule, around.targets, f"with a part of {described(owner)}")
        readers = self.before.users.get(node)
        note = f"only {described(readers[0])} read it, and that is gone" if readers else "nothing reads it"
        return Fate("pruned", "unused", (), note)


def _alike(a: Node, b: Node) -> bool:
    return a.op is b.op and a.attrs == b.attrs and a.type == b.type


def _company(node: Node, after: Places) -> str:
    """Return which ops a fused node shares its kernel with."""
    owner = after.owner[node]
    others: Iterator[Node] = iter(()) if owner is None else (n for g in owner.subgraphs for n in g.nodes)
    names = dict.fromkeys(n.op.name for n in others if n is not node and n.inputs)
    return f"with {few([*names], 8)}" if names else ""


def described(node: Node) -> str:
    """Return a node in a few words: what it is, the user's name for it, the user's line and scope."""
    name = f" {node.name!r}" if node.name else ""
    scope = f" in {node.where.scope}" if node.where.scope else ""
    return f"{node.op.name}{name} at {node.where}{scope}"
