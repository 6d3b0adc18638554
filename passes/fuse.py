"""Fuse: nodes that can share one loop nest become one kernel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from graphc import dims
from graphc.dims import Shape
from graphc.history import follow
from graphc.ir import Attrs, Graph, Node
from graphc.leaves import PLACEHOLDER
from graphc.lower.cluster import Cluster, common_reductions, nontrivial
from graphc.lower.reads import Projection, Reader
from graphc.lower.region import Frame, is_reduction, reduces
from graphc.lower.rules import AxisReduce, Contract, Leaf
from graphc.lower.steps import FusedGraph
from graphc.lower.views import KINDS, find_spread, find_views, in_sequence
from graphc.ops.fused import fuse_nodes
from graphc.pipeline import decline, record
from graphc.types import is_float


@dataclass(frozen=True)
class Fuse:
    """Merge producers into consumers, reductions into rows, siblings, and epilogues into contractions.

    ``t = a * b; r = sum(t, 1); y = t / r[:, None]  -->  y = fused(a, b)``

    Two groups of nodes merge when their loops run over one index space, when every value
    is read just where it is computed, and when contracting them leaves the graph acyclic.
    Broadcasts, transposes and slices are read through.  A value that costs more than
    `recompute` multiplications is never computed again for every element that reads it.

    Attributes
    ----------
    max_nodes : int
        Largest number of nodes in one kernel.
    max_operands : int
        Largest number of operands of one kernel.
    recompute : int
        Multiplications that may be repeated to save a trip through memory.
    max_columns : int
        Longest row beside which sums across the rows are kept.
    """

    max_nodes: int = 64
    max_operands: int = 24
    recompute: int = 4
    max_columns: int = 4096

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with fused nodes, the same object if there is nothing to fuse."""
        return _Fusion(self, graph).run()


# Kernels compute what elements share at least once per so many of them.
_STRIP = 16

# The position of clusters that read nothing but constants.
FIRST = -1.0
# A loop that computes values stores them in at most so many places of one result.
_PARTS = 8


class _Fusion:
    def __init__(self, options: Fuse, graph: Graph) -> None:
        self.options = options
        self.graph = graph
        self.roots = set(graph.roots)
        self.order = {n: i for i, n in enumerate(graph.nodes)}
        self.views = find_views(graph)
        self.spread = find_spread(graph, self.views)
        self.reader = Reader(self.is_view, self.spread)
        self.cluster: dict[Node, Cluster] = {}
        self.through: dict[Node, list[Node]] = {}
        # Who reads a value, looking through views; None stands for the program's caller.
        self.readers: dict[Node, list[Node | None]] = {n: [] for n in graph.nodes}
        # Why a node did not join what computes its operand, when that was last tried.
        self.refused: dict[tuple[Node, Node], str] = {}

    def run(self) -> Graph:
        members = [n for n in self.graph.nodes if self.fusible(n)]
        for position, node in enumerate(members):
            self.start(node, float(position))
        self.note_outside_readers()
        for node in members:
            self.merge_producers(node)
        self.merge_siblings()
        self.note_refused()
        return self.rebuild()

    # -- what takes part
    def fusible(self, node: Node) -> bool:
        return isinstance(node.op.lowering, KINDS) and not self.is_view(node)

    def is_view(self, node: Node) -> bool:
        """Tell whether all consumers read through the node, so that no kernel computes it."""
        return node in self.views

    def start(self, node: Node, position: float) -> None:
        reads, through = self.reader.reads(node)
        self.through[node] = through
        shape = self.reader.frame(node)
        axes: Projection = tuple(None if d == 1 else a for a, d in enumerate(shape))
        rule = node.op.lowering
        gone = node.attrs["axes"] if isinstance(rule, AxisReduce) else ()
        reduced = frozenset(a for a in gone if shape[a] != 1)
        cluster = Cluster([node], shape, reduced, {node: axes}, position, isinstance(rule, Contract))
        cluster.reads = [(node, r) for r in reads]
        if _is_grounded(cluster):
            cluster.position = FIRST
        self.cluster[node] = cluster
        for read in reads:
            self.readers[read.source].append(node)

    def note_outside_readers(self) -> None:
        """Record readers that are no kernels of ours: the caller, reshapes, loops, callbacks."""
        for node in self.graph.nodes:
            if node in self.roots:
                self.readers[node].append(None)
            if node not in self.cluster and not self.is_view(node):
                for operand in node.inputs:
                    self.readers[operand].append(node)

    # -- merging
    def merge_producers(self, node: Node) -> None:
        own = self.cluster[node]
        sources = dict.fromkeys(r.source for _, r in own.reads if r.source in self.cluster)
        # Contractions first: an epilogue saves a pass over memory, and only its first taker gets in.
        left = sorted(sources, key=lambda s: (not self.cluster[s].contraction, -self.order[s]))
        merged = True
        # A producer that stood between another one and the node may be gone by the next round.
        while merged and left:
            tried, left, merged = left, [], False
            for source in tried:
                producer, own = self.cluster[source], self.cluster[node]
                refusal = "" if producer is own else self.try_merge(producer, own)
                if refusal:
                    left.append(source)
                    self.refused[source, node] = refusal
                else:
                    merged = True

    def merge_siblings(self) -> None:
        """Merge clusters over one space that read a common operand: one pass over memory for all.

        Scalars merge whatever they read: nothing but their launches costs anything.
        """
        by_operand: dict[tuple[Node | None, Shape], list[Cluster]] = {}
        for cluster in self.clusters():
            if cluster.contraction:
                continue
            if not cluster.space:
                by_operand.setdefault((None, ()), []).append(cluster)
            for source in dict.fromkeys(r.source for _, r in cluster.reads):
                if len(source.type.shape) == len(cluster.space):
                    by_operand.setdefault((source, cluster.space), []).append(cluster)
        for group in by_operand.values():
            first = self.cluster[group[0].nodes[0]]
            for other in group[1:]:
                current = self.cluster[other.nodes[0]]
                if current is not first and first.space == current.space:
                    self.try_merge(*sorted((first, current), key=lambda c: c.position))
                    first = self.cluster[current.nodes[0]]

    def clusters(self) -> list[Cluster]:
        return sorted(dict.fromkeys(self.cluster.values()), key=lambda c: c.position)

    def note_refused(self) -> None:
        """Report once for each pair of kernels why the one that reads the other is not a part of it."""
        said: set[tuple[Cluster, Cluster]] = set()
        for (source, node), reason in self.refused.items():
            pair = self.cluster[source], self.cluster[node]
            if pair[0] is not pair[1] and pair not in said:
                said.add(pair)
                decline("fuse", node, f"{node.op.name} with {source.op.name}: {reason}")

    def try_merge(self, producer: Cluster, consumer: Cluster) -> str:
        """Merge two clusters if that is legal and useful; returns why not."""
        if len(producer.nodes) + len(consumer.nodes) > self.options.max_nodes:
            return f"more than {self.options.max_nodes} nodes"
        if producer.contraction and consumer.contraction:
            return "two contractions"
        merged = self.unify(producer, consumer)
        if merged is None:
            return "their loops do not match"
        refusal = self.obstacle(merged)
        if refusal:
            return refusal
        if not self.affordable(producer, merged):
            return "it would be computed again for many elements"
        position = self.acyclic_position(producer, consumer)
        if position is None:
            return "others must run between them"
        # What reads constants alone can stand before everything, out of the way of later merges.
        merged.position = FIRST if _is_grounded(merged) else position
        for node in merged.nodes:
            self.cluster[node] = merged
        return ""

    def unify(self, producer: Cluster, consumer: Cluster) -> Cluster | None:
        """Return the two clusters over one index space, or None if their loops do not match."""
        pairs = self.axis_pairs(producer, consumer)
        if pairs is None:
            return None
        if not self.complete(pairs, producer, consumer):
            return None
        back = {b: a for a, b in pairs.items()}
        wide = nontrivial(producer.space)
        if set(pairs) >= wide:
            space = consumer.space
            moved, kept, mapping = producer, consumer, pairs
        elif set(back) >= nontrivial(consumer.space):
            space = producer.space
            moved, kept, mapping = consumer, producer, back
        else:
            return None
        loops = common_reductions(space, moved, kept, mapping)
        if loops is None:
            return None
        places = dict(kept.places)
        for node, axes in moved.places.items():
            places[node] = tuple(None if a is None else mapping.get(a) for a in axes)
        nodes = sorted(places, key=self.order.__getitem__)
        inside = set(nodes)
        reads = [(n, r) for n, r in (*producer.reads, *consumer.reads) if r.source not in inside]
        contraction = producer.contraction or consumer.contraction
        return Cluster(nodes, space, loops[0], places, 0.0, contraction, reads, loops[1])

    def axis_pairs(self, producer: Cluster, consumer: Cluster) -> dict[int, int] | None:
        """Match axes of the two spaces by what the consumer reads; None if a read is irregular."""
        pairs: dict[int, int] = {}
        for node, read in consumer.reads:
            if read.source not in producer.places:
                continue
            if read.projection is None or read.source in self.spread:
                return None
            for a, j in zip(producer.result_axes(read.source), read.projection, strict=True):
                b = None if j is None else consumer.places[node][j]
                if (a is None) != (b is None):
                    return None
                if a is not None and b is not None and pairs.setdefault(a, b) != b:
                    return None
        if len(set(pairs.values())) != len(pairs):
            return None
        return pairs

    def complete(self, pairs: dict[int, int], producer: Cluster, consumer: Cluster) -> bool:
        """Pair the axes that no read connects: those a reduction has consumed, with those that follow it."""
        left = [a for a in sorted(nontrivial(producer.space)) if a not in pairs]
        right = [b for b in sorted(nontrivial(consumer.space)) if b not in pairs.values()]
        if left and right:
            if [producer.space[a] for a in left] != [consumer.space[b] for b in right]:
                return False
            pairs.update(zip(left, right, strict=True))
        ordered = [pairs[a] for a in sorted(pairs)]
        return ordered == sorted(ordered)

    def obstacle(self, merged: Cluster) -> str:
        """Return why the nodes cannot share loops: each must be a full or a row value, and operands few."""
        full = nontrivial(merged.space)
        rows = full - merged.reduced
        columns = self.after_columns(merged)
        for node in merged.nodes:
            axes = {a for a in merged.result_axes(node) if a is not None}
            if node in columns:
                if axes != merged.reduced or not self.column_value(node, merged):
                    return "sums across the rows would not stay in the cache"
                continue
            if axes == full or (merged.reduced and axes == rows):
                continue
            if is_reduction(node) or self.leaves(node, merged):
                return "a result would be stored across the loops"
            # Such a value would be neither hoisted into the row nor a full value.
            between = merged.reduced and axes & merged.reduced and axes != full
            if between and node.op.cost > self.options.recompute:
                return "it would be computed again for many elements"
        if any(not self.stores_parts(n, merged) for n in self.spread.intersection(merged.nodes)):
            return "a concatenation stores its parts by itself"
        if merged.contraction and (merged.reduced or not self.is_epilogue(merged)):
            return "only elementwise work on its result can join a contraction"
        # A total over everything, then a second trip through the data: nothing is saved.
        if merged.reduced and not rows and any(self.second_trip(n, merged) for n in merged.nodes):
            return "a total must be known before anything that reads it"
        many = len({r.source for _, r in merged.reads}) > self.options.max_operands
        return f"more than {self.options.max_operands} operands" if many else ""

    def stores_parts(self, node: Node, merged: Cluster) -> bool:
        """Tell whether a concatenation may be stored part by part by loops that compute other values too."""
        if len(merged.nodes) == 1:
            return True
        # Copied beside another one, a part could not be computed in its place any more.
        copied = any(n is node and r.source in self.cluster for n, r in merged.reads)
        return not merged.reduced and len(node.inputs) <= _PARTS and not (copied and in_sequence(node))

    def after_columns(self, cluster: Cluster) -> set[Node]:
        """Return the sums across the rows, and what depends on them."""
        found: set[Node] = set()
        for node in cluster.nodes if cluster.crossed else ():
            place = cluster.places[node]
            summed = is_reduction(node) and reduces(node, place, cluster.space) == cluster.crossed
            if summed or any(i in found for i in (*node.inputs, *_view_sources(node, self.through))):
                found.add(node)
        return found

    def column_value(self, node: Node, cluster: Cluster) -> bool:
        """Tell whether a sum across the rows can be computed beside them; its readers stay outside.

        A variable's new value among them would turn all that follows the rows into work after an
        update, where nothing may fail any more.
        """
        width = dims.product(tuple(cluster.space[a] for a in cluster.reduced))
        rule = node.op.lowering
        summed = isinstance(rule, AxisReduce) and rule.kind == "sum" and is_float(node.type.dtype)
        # Wider sums would not stay in the cache from row to row.
        return summed and isinstance(width, int) and width <= self.options.max_columns

    def second_trip(self, node: Node, merged: Cluster) -> bool:
        """Tell whether a value is stored along the reduced axes after a reduction has finished."""
        stored = self.leaves(node, merged) and any(a in merged.reduced for a in merged.result_axes(node))
        return stored and self.after_reduction(node, merged)

    def after_reduction(self, node: Node, cluster: Cluster) -> bool:
        inside = set(cluster.nodes)
        stack, seen = [node], set()
        while stack:
            current = stack.pop()
            if current in seen:
                continue
            seen.add(current)
            if is_reduction(current):
                return True
            stack.extend(i for i in (*current.inputs, *_view_sources(current, self.through)) if i in inside)
        return False

    def is_epilogue(self, merged: Cluster) -> bool:
        """Tell whether everything beside the contraction is elementwise over its result."""
        if any(is_reduction(n) for n in merged.nodes):
            return False
        contractions = [n for n in merged.nodes if isinstance(n.op.lowering, Contract)]
        return len(contractions) == 1 and merged.space == contractions[0].type.shape

    def leaves(self, node: Node, cluster: Cluster) -> bool:
        """Tell whether a value is needed outside the cluster."""
        readers = self.readers[node]
        return any(r is None or r not in self.cluster or r not in cluster.places for r in readers)

    def affordable(self, producer: Cluster, merged: Cluster) -> bool:
        """Tell whether values narrower than the space are cheap to compute again along its inner axis."""
        full = sorted(nontrivial(merged.space))
        columns = self.after_columns(merged)
        for node in (n for n in producer.nodes if n not in columns):
            axes = {a for a in merged.result_axes(node) if a is not None}
            missing = [a for a in full if a not in axes and a not in merged.reduced]
            repeated = any(m < a for m in missing for a in axes)
            # Computed once for a run of elements behind its own axes: a channel's scale for its pixels.
            run = dims.product(tuple(merged.space[m] for m in missing if m > max(axes, default=-1)))
            shared = min(max(dims.lower_bound(run) or 1, 1), _STRIP)
            if repeated and node.op.cost > self.options.recompute * shared:
                return False
        return True

    # -- order
    def acyclic_position(self, producer: Cluster, consumer: Cluster) -> float | None:
        """Return where the merged cluster stands in topological order, None if it would lie on a cycle.

        Both answers are local: if everybody else who reads the producer stands behind the
        consumer, it can move down to the consumer; if all other operands of the consumer
        stand before the producer, the consumer can move up.
        """
        if not self.read_before(producer, consumer):
            return consumer.position
        others = {self.cluster[r.source] for _, r in consumer.reads if r.source in self.cluster}
        others -= {producer, consumer}
        late = [c for c in others if c.position > producer.position]
        late += self.opaque_operands(consumer, producer)
        return producer.position if not late else None

    def read_before(self, producer: Cluster, consumer: Cluster) -> bool:
        """Tell whether the producer has readers other than the consumer that may stand before it."""
        for reader in (r for n in producer.nodes for r in self.readers[n] if r is not None):
            cluster = self.cluster.get(reader)
            if cluster is None or (
                cluster not in (producer, consumer) and cluster.position < consumer.position
            ):
                return True
        return False

    def opaque_operands(self, consumer: Cluster, producer: Cluster) -> list[Cluster]:
        """Return clusters behind the consumer's operands that no kernel computes (reshapes, loops)."""
        found: list[Cluster] = []
        seen: set[Node] = set()
        stack = [r.source for _, r in consumer.reads if r.source not in self.cluster]
        while stack:
            node = stack.pop()
            if node in seen or isinstance(node.op.lowering, Leaf):
                continue
            seen.add(node)
            cluster = self.cluster.get(node)
            if cluster is None:
                stack.extend(node.inputs)
            elif cluster.position >= producer.position:
                found.append(cluster)
        return found

    # -- the new graph
    def rebuild(self) -> Graph:
        new: dict[Node, Node] = {}
        last = {c.nodes[-1]: c for c in self.clusters()}
        fused = [
            c for n, c in last.items() if len(c.nodes) > 1 or self.through[c.nodes[0]] or n in self.spread
        ]
        if not fused:
            return self.graph
        grouped = {n: c for c in fused for n in c.nodes}
        done: set[Cluster] = set()
        for root in self.graph.nodes:
            self.emit(root, grouped, done, new)
        return self.graph.rewired({old: n for old, n in new.items() if old is not n})

    def emit(
        self, root: Node, grouped: dict[Node, Cluster], done: set[Cluster], new: dict[Node, Node]
    ) -> None:
        """Build the image of `root` after that of everything it needs, without recursion."""
        stack: list[Node] = [root]
        while stack:
            node = stack[-1]
            if node in new:
                stack.pop()
                continue
            cluster = grouped.get(node)
            needs = self.operands(cluster) if cluster is not None else node.inputs
            waiting = [n for n in needs if n not in new]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            if cluster is None:
                new[node] = node.with_inputs(tuple(new[i] for i in node.inputs))
            elif cluster not in done:
                done.add(cluster)
                self.replace(cluster, new)

    def operands(self, cluster: Cluster) -> list[Node]:
        """Return the values that a cluster reads from outside; scalar constants stay literals inside."""
        inside = set(cluster.nodes)
        views = {v for n in cluster.nodes for v in self.through[n]}
        found = dict.fromkeys(
            i for n in (*cluster.nodes, *views) for i in n.inputs if i not in inside and i not in views
        )
        return sorted((n for n in found if not _is_literal(n)), key=self.order.__getitem__)

    def replace(self, cluster: Cluster, new: dict[Node, Node]) -> None:
        operands = self.operands(cluster)
        inner: dict[Node, Node] = {
            n: Node(PLACEHOLDER, (), Attrs(), n.type, n.name or f"in{k}", n.where)
            for k, n in enumerate(operands)
        }
        feeds = tuple(inner[n] for n in operands)
        views = {v for n in cluster.nodes for v in self.through[n]}
        for node in sorted({*cluster.nodes, *views}, key=self.order.__getitem__):
            for operand in node.inputs:
                if _is_literal(operand):
                    inner.setdefault(operand, operand)
            inner[node] = replace(node, inputs=tuple(inner[i] for i in node.inputs))
            follow(node, inner[node])
        results = [n for n in cluster.nodes if self.leaves(n, cluster)]
        spread = frozenset(inner[n] for n in cluster.nodes if n in self.spread)
        places = {inner[n]: axes for n, axes in cluster.places.items()}
        body = FusedGraph(
            feeds,
            tuple(inner[n] for n in results),
            frame=Frame(cluster.space, cluster.reduced, places, spread),
        )
        images = fuse_nodes(body, tuple(new[n] for n in operands))
        new.update(zip(results, images, strict=True))
        for node in cluster.nodes:
            # Values that nobody outside reads have no image; mark them as settled.
            new.setdefault(node, node)
        record(f"fuse {len(cluster.nodes)} nodes", images[0].where, nodes=(*cluster.nodes, *views))


def _is_grounded(cluster: Cluster) -> bool:
    """Tell whether a cluster reads nothing but constants."""
    return all(r.source.op.name == "constant" for _, r in cluster.reads)


def _is_literal(node: Node) -> bool:
    return node.op.name == "constant" and node.payload.array.size == 1


def _view_sources(node: Node, through: dict[Node, list[Node]]) -> Iterable[Node]:
    return (i for v in through[node] for i in v.inputs)
