"""The passes, one file each, and the default pipelines made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from graphc.errors import ArgumentError, caller
from graphc.pipeline import Repeat, Step

from .canonicalize import Canonicalize
from .cse import MergeEqual
from .expand import ExpandComposites
from .fold_batch_norm import FoldBatchNorm
from .fold_constants import FoldConstants
from .fuse import Fuse
from .hoist_loop_inputs import HoistLoopInputs
from .hoist_loop_outputs import HoistLoopOutputs
from .hoist_loop_sums import HoistLoopSums
from .join_scans import JoinScans
from .join_windows import JoinWindows
from .keep_last import KeepLast
from .merge_loops import MergeLoops
from .merge_matmuls import MergeSiblingMatmuls
from .own_results import OwnResults
from .prune import Prune
from .prune_bodies import PruneBodies
from .rematerialize import Rematerialize
from .simplify import Simplify
from .stabilize import Stabilize
from .store_transposes import StoreTransposes
from .sum_matmuls import SumMatmuls
from .sum_reductions import SumReductions

__all__ = [
    "FAST",
    "FULL",
    "NONE",
    "PIPELINES",
    "Canonicalize",
    "ExpandComposites",
    "FoldBatchNorm",
    "FoldConstants",
    "Fuse",
    "HoistLoopInputs",
    "HoistLoopOutputs",
    "HoistLoopSums",
    "JoinScans",
    "JoinWindows",
    "KeepLast",
    "MergeEqual",
    "MergeLoops",
    "MergeSiblingMatmuls",
    "OwnResults",
    "Prune",
    "PruneBodies",
    "Rematerialize",
    "Simplify",
    "Stabilize",
    "StoreTransposes",
    "SumMatmuls",
    "SumReductions",
    "steps_for",
]

Optimize = Literal["none", "fast", "full"] | Sequence[Step]

NONE: tuple[Step, ...] = (
    # Nothing lowers a composite op: this is the one pass that is not optional.
    ExpandComposites(),
)

FAST: tuple[Step, ...] = (
    # While a loop and what its gradient makes of it still have the same nodes for bodies.
    MergeLoops(),
    # First, so that the patterns of all later rules need one spelling only.
    Canonicalize(),
    # Before expansion, while softmax and sigmoid are still single nodes.
    Stabilize(),
    ExpandComposites(),
    # Forward and backward pass expand the same softmax: merge before anything looks at uses.
    MergeEqual(),
    # Before fusing, so that dead readers do not force values out of kernels.
    PruneBodies(),
    Prune(),
    # A copy made now is one more store of the kernel that has the value.
    OwnResults(),
    Fuse(),
)

FULL: tuple[Step, ...] = (
    # While a loop and what its gradient makes of it still have the same nodes for bodies.
    MergeLoops(),
    # While softmax and its like are still single nodes: what users wrote, in its stable form.
    Repeat(
        (
            # First, so that the patterns of all later rules need one spelling only.
            Canonicalize(),
            # Moves constants into bodies, and bodies of branches that are known out of them.
            PruneBodies(),
            # Turns subgraphs into the constants that the algebra below looks for.
            FoldConstants(),
            # Before the algebra, which may take a formula apart.
            Stabilize(),
            Simplify(),
            # After the algebra, which makes more nodes equal.
            MergeEqual(),
        )
    ),
    # While batch norm is still a single node; what it makes of constants is folded below.
    FoldBatchNorm(),
    # After it no rule may bring a composite back: stabilize stays outside the next group.
    ExpandComposites(),
    # Once what reads a stack is a slice, and before products that only a stack needs move out.
    KeepLast(),
    # Before products are merged, which would tie those of a loop's slices to those of carried values.
    PruneBodies(),
    HoistLoopInputs(),
    # Sums first: what they stack costs results that need the same nothing.
    HoistLoopSums(),
    HoistLoopOutputs(),
    # After products moved out, which may be what one loop needs of another.
    JoinScans(),
    PruneBodies(),
    # Sums first: they join what siblings then need as well.  Both on merged operands.
    SumMatmuls(),
    SumReductions(),
    MergeSiblingMatmuls(),
    # What the two have put side by side may have been parts of one tensor.
    JoinWindows(),
    # Expansions leave shapes and constants in any order; two rounds settle most graphs.
    Repeat((Canonicalize(), FoldConstants(), Simplify(), MergeEqual())),
    # After all that merges products, which may leave one reader.
    StoreTransposes(),
    # Before fusing, so that dead readers do not force values out of kernels.
    PruneBodies(),
    Prune(),
    # A copy made now is one more store of the kernel that has the value.
    OwnResults(),
    # Last: it hides single ops inside kernels, where no other rule looks.
    Fuse(),
)

PIPELINES: dict[str, tuple[Step, ...]] = {"none": NONE, "fast": FAST, "full": FULL}


def steps_for(optimize: Optimize) -> tuple[Step, ...]:
    """Return the passes that an ``optimize`` argument asks for.

    Parameters
    ----------
    optimize : {"none", "fast", "full"} or sequence of Pass
        A default pipeline, or passes to run as given; expansion of composite ops follows
        them, which changes nothing if one of them was it.

    Returns
    -------
    tuple of Pass or Repeat

    Raises
    ------
    ArgumentError
        If there is no pipeline of that name.

    Examples
    --------
    >>> from graphc.passes import Prune, steps_for
    >>> steps_for([Prune()])
    (Prune(), ExpandComposites())
    """
    if not isinstance(optimize, str):
        return (*optimize, ExpandComposites())
    if optimize not in PIPELINES:
        raise ArgumentError(
            "optimize: no such pipeline",
            expected=" or ".join(map(repr, PIPELINES)) + ", or a list of passes",
            given=repr(optimize),
            where=caller(),
        )
    return PIPELINES[optimize]
