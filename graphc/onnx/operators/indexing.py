"""Selection by indices, and sorting."""

from __future__ import annotations

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.ops.scattering import Combine, put
from graphc.tensor import Tensor


@converter("Gather", exact=True)
def _gather(call: Call) -> Tensor:
    return gx.take(call.tensor(0), call.tensor(1), call.integer("axis", 0))


@converter("GatherElements", since=11, exact=True)
def _gather_elements(call: Call) -> Tensor:
    x, indices = call.tensor(0), call.tensor(1)
    axis = call.integer("axis", 0) % x.ndim
    # There may be fewer rows of indices than of elements: the first are meant.
    rows = tuple(slice(None) if a == axis else slice(0, n) for a, n in enumerate(indices.shape))
    return gx.take_along_axis(x[rows] if indices.ndim == x.ndim else x, indices, axis)


@converter("GatherND", since=11, exact=True)
def _gather_nd(call: Call) -> Tensor:
    x, indices, batch = call.tensor(0), call.tensor(1), call.integer("batch_dims", 0)
    return x[_key(call, x, indices, batch)]


def _key(call: Call, x: Tensor, indices: Tensor, batch: int) -> tuple[Tensor, ...]:
    """Return one index tensor per axis that tuples of indices select from."""
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        call.fail("tuples of indices whose length has a name", given=str(indices.type))
    rank = indices.ndim - 1
    rows = [
        gx.broadcast_to(gx.reshape(gx.arange(indices.shape[a]), _along(a, rank)), indices.shape[:-1])
        for a in range(batch)
    ]
    return (*rows, *(indices[..., k] for k in range(depth)))


def _along(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(-1 if a == axis else 1 for a in range(rank))


@converter("OneHot", since=9, exact=True)
def _one_hot(call: Call) -> Tensor:
    places, depth, values = call.tensor(0), call.dim(1), call.tensor(2)
    axis = call.integer("axis", -1)
    at = axis + places.ndim + 1 if axis < 0 else axis
    whole = gx.astype(places, "int64")
    wrapped = gx.where(whole < 0, whole + depth, whole)
    classes = gx.reshape(gx.arange(depth), _along(at, places.ndim + 1))
    return gx.where(gx.equal(gx.expand_dims(wrapped, at), classes), values[1], values[0])


@converter("TopK", exact=True)
def _top_k(call: Call) -> list[Tensor]:
    x, axis = call.tensor(0), call.integer("axis", -1)
    count = call.dim(1) if call.has(1) else call.integer("k", 1)
    call.ignore("sorted")
    largest = call.flag("largest", True)
    if largest and isinstance(count, int):
        return list(gx.top_k(x, count, axis))
    order = gx.argsort(x, axis, descending=largest)
    first = order[(slice(None),) * (axis % x.ndim) + (slice(0, count),)]
    return [gx.take_along_axis(x, first, axis), first]


@converter("ReverseSequence", since=10, exact=True)
def _reverse_sequence(call: Call) -> Tensor:
    """Reverse the first elements along time, as many as a sequence is long."""
    x, lengths = call.tensor(0), call.tensor(1)
    time, batch = call.integer("time_axis", 0), call.integer("batch_axis", 1)
    places = gx.reshape(gx.arange(x.shape[time]), _along(time, x.ndim))
    long = gx.reshape(lengths, _along(batch, x.ndim))
    mirrored = gx.where(places < long, long - 1 - places, places)
    return gx.take_along_axis(x, gx.broadcast_to(mirrored, x.shape), time)


# ------------------------------------------------------------------- scattering
_COMBINE: dict[str, Combine] = {
    "none": "set",
    "add": "add",
    "mul": "multiply",
    "max": "maximum",
    "min": "minimum",
}


@converter("Scatter", since=9, exact=True)
@converter("ScatterElements", since=11)
def _scatter_elements(call: Call) -> Tensor:
    how = _COMBINE[call.choice("reduction", "none", tuple(_COMBINE))]
    axis = call.integer("axis", 0)
    return gx.put_along_axis(call.tensor(0), call.tensor(1), call.tensor(2), axis=axis, combine=how)


@converter("ScatterND", since=11)
def _scatter_nd(call: Call) -> Tensor:
    x, indices = call.tensor(0), call.tensor(1)
    how = _COMBINE[call.choice("reduction", "none", tuple(_COMBINE))]
    return put(x, list(_key(call, x, indices, 0)), call.tensor(2), how)


@converter("TensorScatter", since=24, exact=True)
def _tensor_scatter(call: Call) -> Tensor:
    """Write a piece of every sequence into its cache, from a place of its own on."""
    cache, update = call.tensor(0), call.tensor(1)
    axis = call.integer("axis", -2) % cache.ndim
    circular = call.choice("mode", "linear", ("linear", "circular")) == "circular"
    places = gx.reshape(gx.arange(update.shape[axis]), _along(axis, cache.ndim))
    if call.has(2):
        places = places + gx.reshape(call.tensor(2), _along(0, cache.ndim))
    if circular:
        places = gx.remainder(places, cache.shape[axis])
    return gx.put_along_axis(cache, gx.broadcast_to(places, update.shape), update, axis=axis)
