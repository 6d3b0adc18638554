"""Einstein summation: any sum of products over named axes.

The notation is rewritten until only contractions of two operands are left: an ellipsis
becomes labels, a repeated label a diagonal, an axis of static size 1 that must stretch is
dropped, and three or more operands are contracted in pairs.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from graphc.dims import Dim
from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.attributes import at_least, tuple_of
from graphc.ops.batching import batch_by, first_kept
from graphc.ops.contraction import Labels, contract_pair, permute_labels, stored_order, sum_labels
from graphc.ops.elementwise import astype
from graphc.ops.op import Array, ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, promote
from graphc.types import BOOL, TensorType

__all__ = ["einsum"]

# Stands for sizes that are unknown (or zero) when the order of contractions is chosen.
_TYPICAL_SIZE = 64
# Up to here every order of contractions is tried.
_EXHAUSTIVE_OPERANDS = 5


# -------------------------------------------------------------------- diagonal
def _diagonal_rule(ctx: Infer, x: TensorType, labels: Labels) -> TensorType:
    ctx.rank(x, len(labels))
    sizes: dict[int, Dim] = {}
    for label, size in zip(labels, x.shape, strict=True):
        sizes[label] = ctx.same(sizes.get(label, size), size, "sizes of a diagonal's axes differ")
    return TensorType(tuple(sizes.values()), x.dtype)


def _embed_rule(ctx: Infer, x: TensorType, labels: Labels) -> TensorType:
    ctx.rank(x, len(set(labels)))
    return TensorType(tuple(x.shape[label] for label in labels), x.dtype)


def _diagonal_view(x: Array, labels: Labels) -> Array:
    view: Array = np.einsum(x, list(labels), list(range(len(set(labels)))))
    return view


def _embed_numpy(x: Array, labels: Labels) -> Array:
    result = np.zeros([x.shape[label] for label in labels], x.dtype)
    _diagonal_view(result, labels)[...] = x
    return result


def _diagonal_lower(site: Site, index: Index) -> Expr:
    return site.read(0, tuple(index[label] for label in site.attrs["labels"]))


def _embed_lower(site: Site, index: Index) -> Expr:
    labels: Labels = site.attrs["labels"]
    inside = expr.TRUE
    first = dict(zip(reversed(labels), reversed(index), strict=True))
    for label, i in zip(labels, index, strict=True):
        inside = inside if first[label] is i else inside & first[label].eq(i)
    value = site.read(0, tuple(first[label] for label in range(len(first))))
    return expr.where(inside, value, expr.const(0, site.type.dtype))


def _diagonal_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(2)

    def call(x: TensorLike, labels: Labels) -> Tensor:
        return _DIAGONAL(promote(x)[0][0], labels=labels)

    for shape, labels in (((3, 3), (0, 0)), ((2, 3, 2), (0, 1, 0)), ((2, 2, 2), (0, 0, 0)), ((0, 0), (0, 0))):
        x = rng.normal(size=shape)
        yield Sample((x,), {"labels": labels}, expected=_diagonal_view(x, labels), call=call)


def _embed_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(2)

    def call(x: TensorLike, labels: Labels) -> Tensor:
        return _EMBED(promote(x)[0][0], labels=labels)

    x = rng.normal(size=3)
    yield Sample((x,), {"labels": (0, 0)}, expected=np.diag(x), call=call)
    yield Sample((rng.normal(size=(2, 3)),), {"labels": (0, 1, 0)}, call=call)
    yield Sample((np.zeros(0),), {"labels": (0, 0)}, expected=np.zeros((0, 0)), call=call)


def _diagonal_gradient(g: Tensor, out: Tensor, x: Tensor, labels: Labels) -> Gradients:
    return [_EMBED(g, labels=labels)]


def _embed_gradient(g: Tensor, out: Tensor, x: Tensor, labels: Labels) -> Gradients:
    return [_DIAGONAL(g, labels=labels)]


def _diagonal_errors() -> Iterable[ErrorSample]:
    yield ErrorSample(lambda: einsum("ii->i", np.ones((2, 3))), ShapeError, "diagonal")


_LABELS = tuple_of(at_least(0)).narrowed(
    "without gaps", lambda value, use: set(value) == set(range(len(set(value))))
)
_FIRST_LABELS = _LABELS.narrowed(
    "numbered as they first stand", lambda value, use: list(dict.fromkeys(value)) == sorted(set(value))
)

_DIAGONAL: Op = Op(
    "diagonal",
    _diagonal_rule,
    _diagonal_view,
    Map(_diagonal_lower),
    attributes={"labels": _FIRST_LABELS},
    gradient=_diagonal_gradient,
    batch=batch_by(labels=first_kept),
    samples=_diagonal_samples,
    errors=_diagonal_errors,
)
_EMBED: Op = Op(
    "embed_diagonal",
    _embed_rule,
    _embed_numpy,
    Map(_embed_lower),
    attributes={"labels": _LABELS},
    gradient=_embed_gradient,
    batch=batch_by(labels=first_kept),
    samples=_embed_samples,
)


# --------------------------------------------------------------------- parsing
def _fail(what: str, expected: str, given: object) -> NoReturn:
    raise ArgumentError(f"einsum: {what}", expected=expected, given=str(given), where=caller())


def _terms(subscripts: Any, count: int) -> tuple[list[str], str | None]:
    """Return the text of each operand's labels and of the result's, None where it is implied."""
    if not isinstance(subscripts, str):
        _fail("the subscripts come first, as text", "a str such as 'ij,jk->ik'", type(subscripts).__name__)
    text = subscripts.replace(" ", "")
    sides = text.split("->")
    strange = set("".join(sides)) - set(string.ascii_letters + ",.")
    if len(sides) > 2 or strange:
        bad = repr(min(strange)) if strange else "more than one '->'"
        _fail(f"{bad} in the subscripts", "letters, commas, '...' and one '->'", repr(subscripts))
    terms = sides[0].split(",")
    if len(terms) != count:
        _fail("wrong number of operands", f"{len(terms)} for {subscripts!r}", count)
    return terms, sides[1] if len(sides) == 2 else None


def _labels(term: str, ellipsis: int) -> Labels:
    """Return one label per axis: letters as code points, the ellipsis' axes as -n .. -1."""
    head, dots, tail = term.partition("...")
    if "." in head + tail:
        _fail("a lone '.' is no ellipsis", "'...' at most once in each term", repr(term))
    middle = range(-ellipsis, 0) if dots else ()
    return (*map(ord, head), *middle, *map(ord, tail))


def _operand_labels(term: str, x: Tensor) -> Labels:
    named = len(term.replace("...", ""))
    spare = x.ndim - named
    if spare < 0 or (spare and "..." not in term):
        raise ShapeError(
            f"einsum: {term!r} has {named} labels",
            expected=f"an operand of {named} dimensions" + (" or more" if "..." in term else ""),
            given=str(x.type),
            where=caller(),
        )
    return _labels(term, spare)


def _result_labels(term: str | None, operands: Sequence[Labels]) -> Labels:
    found = Counter(label for labels in operands for label in labels)
    spread = tuple(sorted(label for label in found if label < 0))
    if term is None:
        return (*spread, *sorted(label for label, n in found.items() if n == 1 and label >= 0))
    result = _labels(term, len(spread))
    if spread and "..." not in term:
        _fail(
            "the result drops the axes of an ellipsis", "'...' in the result, or letters instead", repr(term)
        )
    unknown = [chr(label) for label in result if label not in found]
    if unknown:
        _fail(f"{unknown[0]!r} of the result is in no operand", "labels of the operands", repr(term))
    if len(set(result)) < len(result):
        _fail("the result has a label twice", "distinct labels", repr(term))
    return result


# ------------------------------------------------------------------- rewriting
def _take_diagonal(labels: Labels, x: Tensor) -> tuple[Labels, Tensor]:
    distinct = tuple(dict.fromkeys(labels))
    if distinct == labels:
        return labels, x
    return distinct, _DIAGONAL(x, labels=tuple(distinct.index(label) for label in labels))


def _common_sizes(terms: Sequence[tuple[Labels, Tensor]]) -> dict[int, Dim]:
    """Return the size of each label: what is not 1 wins, a fixed size before a symbolic one."""
    sizes: dict[int, Dim] = {}
    for labels, x in terms:
        for label, size in zip(labels, x.shape, strict=True):
            known = sizes.setdefault(label, size)
            if isinstance(size, int) and isinstance(known, int) and size != known and 1 not in (size, known):
                raise ShapeError(
                    f"einsum: sizes of {_name(label)} differ",
                    expected=f"{known}",
                    given=f"{size} in {x.type}",
                    where=caller(),
                )
            if known == 1 or (isinstance(size, int) and size != 1):
                sizes[label] = size
    return sizes


def _name(label: int) -> str:
    return repr(chr(label)) if label >= 0 else f"axis {label} of the ellipsis"


def _drop_stretched(labels: Labels, x: Tensor, sizes: dict[int, Dim]) -> tuple[Labels, Tensor]:
    """Drop the axes of static size 1 whose label is wider elsewhere: they only repeat."""
    kept = [(i, d) for i, d in zip(labels, x.shape, strict=True) if d != 1 or sizes[i] == 1]
    if len(kept) == len(labels):
        return labels, x
    return tuple(i for i, _ in kept), x.reshape(tuple(d for _, d in kept))


def _contraction_order(
    terms: Sequence[Labels], result: Labels, sizes: dict[int, Dim]
) -> list[tuple[int, ...]]:
    """Return which operands to contract at each step; results go to the end of the list."""
    numbers = {label: n for n, label in enumerate(sizes)}
    layout: list[Any] = []
    for labels in terms:
        shape = [d if isinstance(d, int) and d else _TYPICAL_SIZE for d in (sizes[i] for i in labels)]
        layout += [np.broadcast_to(np.zeros(()), shape), [numbers[i] for i in labels]]
    method = "optimal" if len(terms) <= _EXHAUSTIVE_OPERANDS else "greedy"
    path = np.einsum_path(*layout, [numbers[i] for i in result], optimize=method)[0]
    return [tuple(step) for step in path[1:]]


def _contract_all(terms: list[tuple[Labels, Tensor]], result: Labels, sizes: dict[int, Dim]) -> Tensor:
    for step in _contraction_order([labels for labels, _ in terms], result, sizes):
        group = [terms[i] for i in step]
        terms = [t for i, t in enumerate(terms) if i not in step]
        left, a = group[0]
        for n, (right, b) in enumerate(group[1:], start=2):
            needed = {*result, *(i for labels, _ in (*terms, *group[n:]) for i in labels)}
            last = not terms and n == len(group)
            kept = tuple(i for i in dict.fromkeys((*left, *right)) if i in needed)
            target = result if last else stored_order(left, right, kept)
            left, a = target, contract_pair(left, a, right, b, target)
        terms.append((left, a))
    return terms[0][1]


def einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    """Sum products over named axes, in Einstein's notation.

    Parameters
    ----------
    subscripts : str
        A label per axis, operands separated by commas, then ``->`` and the result's labels;
        without ``->`` the result has every label that occurs once, in alphabetical order.
        Labels that the result lacks are summed over, a label twice in one operand takes its
        diagonal, and ``...`` stands for axes that broadcast.
    *operands : array_like
        Numeric; three or more are contracted in pairs, in an order of low cost.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If the subscripts cannot be read or do not fit the number of operands.
    ShapeError
        If an operand has not as many axes as labels, or sizes of one label differ.
    DTypeError
        If an operand is bool.

    Examples
    --------
    >>> import graphc as gx
    >>> a = gx.constant([[1, 2], [3, 4]])
    >>> gx.evaluate(gx.einsum("ij,jk->ik", a, a))
    array([[ 7, 10],
           [15, 22]])
    >>> gx.evaluate(gx.einsum("ii", a)).item()
    5
    """
    texts, output = _terms(subscripts, len(operands))
    tensors, dtype = promote(*operands)
    if any(t.dtype == BOOL for t in tensors):
        raise DTypeError(
            "einsum: an operand is bool", expected="numbers (see astype)", given=str(BOOL), where=caller()
        )
    labels = [_operand_labels(text, x) for text, x in zip(texts, tensors, strict=True)]
    result = _result_labels(output, labels)
    terms = [_take_diagonal(i, astype(x, dtype)) for i, x in zip(labels, tensors, strict=True)]
    sizes = _common_sizes(terms)
    terms = [_drop_stretched(i, x, sizes) for i, x in terms]
    if len(terms) == 1:
        only, x = sum_labels(*terms[0], keep=set(result))
        return permute_labels(only, x, result)
    return _contract_all(terms, result, sizes)
