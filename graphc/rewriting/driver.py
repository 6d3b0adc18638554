"""The driver that applies a table of rules: one worklist, producers first.

Every node is matched once against the rules for its op, and every replacement is
matched again, so the work is the number of nodes plus the number of applications.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphc.errors import PassError
from graphc.feeds import DimCheck
from graphc.history import follow
from graphc.ir import Graph, Node
from graphc.ops.op import Op, inherit_place
from graphc.pipeline import record
from graphc.rewriting.patterns import Rule, may_match

# A rule that fires this often per node of the graph is taken not to terminate.
_BUDGET_PER_NODE = 8
_BUDGET_FLOOR = 200
# All rules together may fire this many times as often as one.
_GRAPH_FACTOR = 4


def apply_rules(graph: Graph, rules: Sequence[Rule]) -> Graph:
    """Rewrite a graph until no rule matches; the same object when none did.

    Parameters
    ----------
    graph : Graph
        What to rewrite.
    rules : sequence of Rule
        Tried in order at every node.

    Returns
    -------
    Graph

    Raises
    ------
    PassError
        If a replacement has another type than what it replaces, or a rule exceeds its budget.
    """
    driver = _Driver(rules, len(graph.nodes))
    for node in graph.nodes:
        driver.settle(node)
    if not driver.applied:
        return graph
    changed = {old: new for old, new in driver.final.items() if old is not new}
    return with_new_checks(graph, graph.rewired(changed))


def with_new_checks(before: Graph, after: Graph) -> Graph:
    """Return `after` with the checks that nodes made since `before` rely on."""
    known = {_pair(c) for c in after.checks} | {_pair(c) for n in before.nodes for c in n.checks}
    missing = (c for n in after.nodes for c in n.checks if _pair(c) not in known)
    return after.rewired({}, dict((_pair(c), c) for c in missing).values())


def _pair(check: DimCheck) -> frozenset[object]:
    return frozenset((check.left, check.right))


class _Driver:
    """The state of one run.

    Attributes
    ----------
    final : dict
        For every node seen, the fully rewritten node that stands for it.
    applied : Counter
        Applications by rule name.
    """

    def __init__(self, rules: Sequence[Rule], size: int) -> None:
        self.by_op: dict[str | None, list[tuple[int, Rule]]] = {}
        for position, rule in enumerate(rules):
            self.by_op.setdefault(rule.pattern.op, []).append((position, rule))
        self.budget = _BUDGET_FLOOR + _BUDGET_PER_NODE * size
        self.candidates: dict[tuple[Op, ...], tuple[Rule, ...]] = {}
        self.final: dict[Node, Node] = {}
        self.applied: Counter[str] = Counter()
        self.total = 0

    def settle(self, start: Node) -> None:
        """Find the final form of a node whose operands have theirs; what replaces it comes first."""
        if start in self.final:
            return
        # Most nodes stay as they are.
        result = self._step(start)
        self._close(start, result)
        becomes = {start: result}
        stack = [start]
        while stack:
            node = stack[-1]
            if node in self.final:
                stack.pop()
                continue
            target = becomes.get(node)
            if target is not None and target in self.final:
                self.final[node] = self.final[target]
                continue
            waiting = [i for i in node.inputs if i not in self.final] if target is None else [target]
            if any(w in becomes for w in waiting):
                raise PassError("rewriting: a replacement contains what it replaces", where=node.where)
            stack.extend(reversed(waiting))
            if not waiting:
                becomes[node] = self._step(node)
                self._close(node, becomes[node])

    def _close(self, node: Node, result: Node) -> None:
        if result is node:
            self.final[node] = node

    def _step(self, node: Node) -> Node:
        """Return the node over its final operands, or else its replacement, or else the node itself."""
        rebuilt = node.with_inputs(tuple(self.final[i] for i in node.inputs))
        return rebuilt if rebuilt is not node else self._rewrite(node)

    def _rewrite(self, node: Node) -> Node:
        for rule in self._rules_for(node.op, tuple(i.op for i in node.inputs)):
            for match in rule.matches(node):
                with inherit_place(node):
                    result = rule.build(match)
                if result is not node:
                    return self._accept(rule, node, result)
        return node

    def _rules_for(self, op: Op, operands: tuple[Op, ...]) -> Iterable[Rule]:
        """Return the rules that may match a node of an op over operands of some ops."""
        key = (op, *operands)
        found = self.candidates.get(key)
        if found is None:
            rows = (*self.by_op.get(op.name, ()), *self.by_op.get(None, ()))
            fitting = [row for row in rows if may_match(row[1].pattern, op, operands)]
            ordered = sorted(fitting, key=lambda row: row[0])
            found = self.candidates[key] = tuple(rule for _, rule in ordered)
        return found

    def _accept(self, rule: Rule, node: Node, result: Node) -> Node:
        if result.type != node.type:
            raise PassError(
                f"rule {rule.name!r} changed the type of {node.op.name}",
                expected=str(node.type),
                given=str(result.type),
                where=node.where,
            )
        self._charge(rule, node)
        record(rule.name, node)
        named = self._named(node, result)
        follow(node, named)
        return named

    def _charge(self, rule: Rule, node: Node) -> None:
        """Count an application against the budgets of its rule and of the graph."""
        self.applied[rule.name] += 1
        self.total += rule.budget is None
        limit = rule.budget or self.budget
        if self.applied[rule.name] > limit or self.total > _GRAPH_FACTOR * self.budget:
            raise PassError(
                f"rule {rule.name!r} does not terminate",
                expected=f"at most {limit} applications on this graph",
                given=", ".join(f"{count} x {name}" for name, count in self.applied.most_common(3)),
                where=node.where,
            )

    def _named(self, node: Node, result: Node) -> Node:
        """Let a new node keep the user's name for what it replaces."""
        is_new = result not in self.final and result.name is None and result.inputs
        if not (node.name and is_new):
            return result
        named = replace(result, name=node.name)
        follow(result, named)
        return named
