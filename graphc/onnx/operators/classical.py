"""Classical machine learning, as far as it is arithmetic on numbers: ``ai.onnx.ml``, and n-grams."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
DOMAIN = "ai.onnx.ml"


@converter("Binarizer", domain=DOMAIN)
def _binarizer(call: Call) -> Tensor:
    x = call.tensor(0)
    return gx.astype(x > call.number("threshold", 0.0), x.dtype)


@converter("ArrayFeatureExtractor", domain=DOMAIN, exact=True)
def _extracted(call: Call) -> Tensor:
    x = gx.expand_dims(call.tensor(0), 0) if call.tensor(0).ndim == 1 else call.tensor(0)
    return gx.take(x, gx.reshape(call.tensor(1), (-1,)), -1)


@converter("Scaler", domain=DOMAIN)
def _scaled(call: Call) -> Tensor:
    x = gx.astype(call.tensor(0), "float32")
    offset, scale = call.numbers("offset", (0.0,)), call.numbers("scale", (1.0,))
    return (x - np.array(offset, "float32")) * np.array(scale, "float32")


# ------------------------------------------------------------------------ trees
# Conditions of nodes by their number; 6 asks whether a value is in a set.
_CONDITIONS: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    0: gx.less_equal,
    1: gx.less,
    2: gx.greater_equal,
    3: gx.greater,
    4: gx.equal,
    5: gx.not_equal,
}
_MEMBER = 6
_AFTERWARDS: dict[int, Callable[[Tensor], Tensor]] = {
    0: lambda y: y,
    1: lambda y: gx.softmax(y, axis=-1),
    2: gx.sigmoid,
}


@converter("TreeEnsemble", domain=DOMAIN, since=5)
def _trees(call: Call) -> Tensor:
    """Let all rows go down all trees at once, as many steps as the deepest tree has.

    Leaves stand behind the inner nodes in one table and lead to themselves.
    """
    x, roots = call.tensor(0), np.array(call.integers("tree_roots", ()), np.int64)
    weights, targets = _array(call, "leaf_weights"), np.array(call.integers("leaf_targetids", ()), np.int64)
    inner, leaves = len(call.integers("nodes_featureids", ())), len(weights)
    yes, no = (_next(call, f"nodes_{side}", inner, leaves) for side in ("true", "false"))
    features = gx.constant(_padded(call.integers("nodes_featureids", ()), leaves))
    holds = _condition(call, leaves)
    call.ignore("nodes_hitrates")

    def step(_: Tensor, place: Tensor) -> Tensor:
        value = gx.take_along_axis(x, gx.take(features, place, 0), 1)
        return gx.where(holds(value, place), gx.take(yes, place, 0), gx.take(no, place, 0))

    start = gx.broadcast_to(gx.constant(roots), (x.shape[0], len(roots)))
    leaf = gx.fori_loop(0, _depth(call, roots, yes, no, inner), step, start) - inner
    found = gx.take(gx.constant(weights.astype(x.dtype)), leaf, 0)
    return _added(call, found, gx.take(gx.constant(targets), leaf, 0))


def _array(call: Call, name: str) -> Array:
    call.needs(name)
    value = call.constant(name)
    known = None if value is None else value.known()
    return call.fail(f"attribute {name!r} is missing") if known is None else known


def _padded(numbers: Any, leaves: int) -> Array:
    return np.concatenate([np.array(numbers, np.int64), np.zeros(leaves, np.int64)])


def _next(call: Call, side: str, inner: int, leaves: int) -> Array:
    """Return where each node leads on one side; leaves lead to themselves."""
    nodes = np.array(call.integers(f"{side}nodeids", ()), np.int64)
    found = nodes + inner * np.array(call.integers(f"{side}leafs", ()), np.int64)
    if len(found) != inner or (inner and not 0 <= found.min() <= found.max() < inner + leaves):
        call.fail(f"{side}nodeids names no node", expected=f"{inner} nodes and {leaves} leaves")
    return np.concatenate([found, np.arange(inner, inner + leaves)])


def _depth(call: Call, roots: Array, yes: Array, no: Array, inner: int) -> int:
    """Return how many steps lead from any root to a leaf."""
    places, steps = set(roots.tolist()), 0
    while any(p < inner for p in places):
        places = {int(side[p]) for p in places for side in (yes, no)}
        steps += 1
        if steps > inner:
            call.fail("a tree that leads back to itself")
    return steps


def _condition(call: Call, leaves: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function that tells, for values at nodes, whether the conditions there hold."""
    modes = _array(call, "nodes_modes").astype(np.int64)
    splits = gx.constant(np.concatenate([_array(call, "nodes_splits"), np.zeros(leaves)]))
    missing = call.integers("nodes_missing_value_tracks_true", None) or (0,) * len(modes)
    unknown = set(modes.tolist()) - {*_CONDITIONS, _MEMBER}
    if unknown:
        call.fail("unknown conditions", expected="0 to 6", given=", ".join(map(str, sorted(unknown))))
    kinds, astray = gx.constant(_padded(modes, leaves)), gx.constant(_padded(missing, leaves) > 0)
    sets = gx.constant(_sets(call, modes, leaves))

    def holds(value: Tensor, place: Tensor) -> Tensor:
        kind, split = gx.take(kinds, place, 0), gx.take(splits, place, 0)
        wide = gx.astype(value, splits.dtype)
        found = gx.isnan(wide) & gx.take(astray, place, 0)
        for mode in sorted(set(modes.tolist()) - {_MEMBER}):
            found = found | (gx.equal(kind, mode) & _CONDITIONS[mode](wide, split))
        if _MEMBER not in modes:
            return found
        within = gx.any(gx.equal(gx.expand_dims(wide, -1), gx.take(sets, place, 0)), axis=-1)
        return found | (gx.equal(kind, _MEMBER) & within)

    return holds


def _sets(call: Call, modes: Array, leaves: int) -> Array:
    """Return the members of each node's set, filled up with nan, which equals nothing."""
    wanted = np.flatnonzero(modes == _MEMBER)
    if not wanted.size:
        return np.full((len(modes) + leaves, 1), np.nan)
    members = _array(call, "membership_values")
    ends = np.flatnonzero(np.isnan(members))
    if len(ends) != len(wanted):
        call.fail("sets", expected=f"{len(wanted)}, each ended by nan", given=str(len(ends)))
    parts = [p[~np.isnan(p)] for p in np.split(members, ends + 1)[: len(wanted)]]
    found = np.full((len(modes) + leaves, max(1, *map(len, parts))), np.nan)
    for node, part in zip(wanted, parts, strict=True):
        found[node, : len(part)] = part
    return found


def _added(call: Call, weights: Tensor, targets: Tensor) -> Tensor:
    """Return what the trees say of each target, summed or averaged, or the extreme of it."""
    how, after = call.integer("aggregate_function", 1), call.integer("post_transform", 0)
    if how not in (0, 1, 2, 3) or after not in _AFTERWARDS:
        call.fail("a result of this kind", given=f"aggregate_function {how}, post_transform {after}")
    here = gx.equal(gx.expand_dims(targets, -1), gx.arange(call.integer("n_targets", 1)))
    spread = gx.expand_dims(weights, -1)
    largest = float(np.finfo(weights.dtype).max)
    combined = {
        0: lambda: gx.sum(gx.where(here, spread, 0.0), axis=1) / weights.shape[1],
        1: lambda: gx.sum(gx.where(here, spread, 0.0), axis=1),
        2: lambda: gx.min(gx.where(here, spread, largest), axis=1),
        3: lambda: gx.max(gx.where(here, spread, -largest), axis=1),
    }[how]()
    return _AFTERWARDS[after](combined)


# ---------------------------------------------------------------------- n-grams
@converter("TfIdfVectorizer", since=9)
def _counts_of_grams(call: Call) -> Tensor:
    """Count groups of tokens that lie at equal distances; groups are those of a pool."""
    call.needs("mode", "ngram_counts", "ngram_indexes", "pool_int64s")
    x = gx.astype(call.tensor(0), "int64")
    mode = call.choice("mode", "TF", ("TF", "IDF", "TFIDF"))
    starts, pool = call.integers("ngram_counts", ()), np.array(call.integers("pool_int64s", ()), np.int64)
    places = np.array(call.integers("ngram_indexes", ()), np.int64)
    shortest, longest = call.integer("min_gram_length", 1), call.integer("max_gram_length", 1)
    skips, weights = call.integer("max_skip_count", 0), call.numbers("weights", None)
    total = gx.zeros((*x.shape[:-1], int(places.max()) + 1), dtype="float32")
    first = 0
    for size, (start, stop) in enumerate(zip(starts, (*starts[1:], len(pool)), strict=True), 1):
        grams = pool[start:stop].reshape(-1, size)
        at, first = places[first : first + len(grams)], first + len(grams)
        if shortest <= size <= longest and len(grams):
            total = gx.scatter_add(total, at, _counted(call, x, grams, skips), axis=-1)
    if mode == "IDF":
        total = gx.astype(total > 0, "float32")
    # One weight for each element of the result, as all implementations have it.
    return total if mode == "TF" or weights is None else total * np.array(weights, "float32")


def _counted(call: Call, x: Tensor, grams: Array, skips: int) -> Tensor:
    """Return how often each group occurs, at any distance of its tokens."""
    length, size = x.shape[-1], grams.shape[1]
    if not isinstance(length, int):
        call.fail("a list of tokens whose length has a name", expected="sizes=", given=str(x.type))
    # A single token has no distances to the next.
    steps = range(1, (skips if size > 1 else 0) + 2)
    counts = {step: length - step * (size - 1) for step in steps}
    found = [_at_distance(x, grams, step, count) for step, count in counts.items() if count > 0]
    return reduce(gx.add, found, gx.zeros((*x.shape[:-1], len(grams)), dtype="float32"))


def _at_distance(x: Tensor, grams: Array, step: int, count: int) -> Tensor:
    """Return how often each group occurs among the first `count` starts, its tokens `step` apart."""
    tokens = [x[..., step * k : step * k + count] for k in range(grams.shape[1])]
    hits = [gx.equal(gx.expand_dims(t, -1), grams[:, k]) for k, t in enumerate(tokens)]
    return gx.astype(gx.sum(gx.astype(reduce(gx.logical_and, hits), "int64"), axis=-2), "float32")
