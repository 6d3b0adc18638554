"""Running the tests that ONNX brings along: what each of them came to, and a table of it."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx_exclusions import reason

import graphc as gx
from graphc.errors import GraphcError
from graphc.onnx.backend import GraphcBackend, GraphcRep, inputs_of

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")


@dataclass(frozen=True)
class Case:
    """One test: a model, what goes in, and what must come out.

    `operator` is what the test is about; the expansion of an operator into others is still about it.
    """

    name: str
    kind: str
    operator: str
    model: Any
    data: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


def cases(kind: str) -> list[Case]:
    """Return the tests of one kind; those of nodes are made in memory by ONNX itself."""
    from onnx.backend.test.loader import load_model_tests

    # NumPy warns of the overflows that the tests of casts are about.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = sorted(load_model_tests(kind=kind), key=lambda c: c.name)
    about: dict[str, str] = {}
    made = []
    for case in found:
        model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
        data = case.data_sets if case.data_sets is not None else list(_stored(Path(case.model_dir), model))
        operator = about.get(case.name.partition("_expanded")[0]) or _operator(model)
        about[case.name] = operator
        made.append(Case(case.name, kind, operator, model, list(data), case.rtol, case.atol))
    return made


def _operator(model: Any) -> str:
    node = model.graph.node[0]
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)


def _stored(folder: Path, model: Any) -> Iterator[tuple[list[Any], list[Any]]]:
    for data in sorted(folder.glob("test_data_set_*")):
        yield (
            [_read(data / f"input_{k}.pb", i) for k, i in enumerate(model.graph.input) if _is_fed(model, i)],
            [_read(data / f"output_{k}.pb", o) for k, o in enumerate(model.graph.output)],
        )


def _is_fed(model: Any, info: Any) -> bool:
    return all(info.name != i.name for i in model.graph.initializer)


def _read(path: Path, info: Any) -> Any:
    kinds = {
        "sequence_type": (onnx.SequenceProto, onnx.numpy_helper.to_list),
        "optional_type": (onnx.OptionalProto, onnx.numpy_helper.to_optional),
    }
    proto, convert = kinds.get(info.type.WhichOneof("value"), (onnx.TensorProto, onnx.numpy_helper.to_array))
    message = proto()
    message.ParseFromString(path.read_bytes())
    return convert(message)


# --------------------------------------------------------------------- outcomes
@dataclass(frozen=True)
class Outcome:
    """What came of a test: nothing to complain about, or what went wrong."""

    case: Case
    problem: str | None

    @property
    def status(self) -> str:
        """What the table counts it as: passed, excluded or failed."""
        if reason(self.case.name) is not None:
            return "excluded"
        return "failed" if self.problem else "passed"


def run(case: Case, backend: type[GraphcBackend]) -> Outcome:
    """Run a test on a backend."""
    try:
        ready = backend.prepare(case.model)
        for inputs, expected in case.data:
            given = [_as_array(i) for i in inputs]
            _compare([_as_array(e) for e in expected], ready.run(given), case.rtol, case.atol)
    except (GraphcError, AssertionError) as error:
        return Outcome(case, str(error).strip())
    return Outcome(case, None)


def _as_array(value: Any) -> Any:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _compare(expected: list[Any], found: tuple[Any, ...], rtol: float, atol: float) -> None:
    from onnx.backend.test.runner import Runner

    # What ONNX brings along to compare sequences fails for those of scalars.
    assert [_length(e) for e in expected] == [_length(f) for f in found]
    with np.errstate(all="ignore"):
        Runner.assert_similar_outputs(_flat(expected), _flat(found), rtol, atol)


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


def _flat(values: Iterable[Any]) -> list[Any]:
    return [part for v in values for part in (v if isinstance(v, list) else [v])]


# ------------------------------------------------------------------------ table
def table(outcomes: Iterable[Outcome]) -> str:
    """Return the counts of node tests by operator, and why some are excluded, as Markdown."""
    counts: dict[str, dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(("passed", "excluded", "failed"), 0)
    )
    reasons: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        for row in (outcome.case.operator, "all"):
            counts[row][outcome.status] += 1
        why = reason(outcome.case.name)
        if why is not None:
            reasons[why] += 1
    total = counts.pop("all")
    lines = ["| operator | passed | excluded | failed |", "|---|---|---|---|"]
    rows = [("**all**", total), *sorted(counts.items())]
    lines += [f"| {name} | {c['passed']} | {c['excluded']} | {c['failed']} |" for name, c in rows]
    lines += ["", "| why tests are excluded | tests |", "|---|---|"]
    lines += [f"| {why} | {count} |" for why, count in sorted(reasons.items(), key=lambda r: -r[1])]
    return "\n".join(lines)


# --------------------------------------------------------------- compiled together
def has_arrays_only(case: Case) -> bool:
    """Tell whether a test has no sequences and no optional values, which programs do not have."""
    return all(isinstance(_as_array(v), (np.ndarray, np.generic)) for part in case.data[0] for v in part)


def compile_together(chosen: Sequence[Case]) -> Iterator[tuple[Case, list[Any], list[Any]]]:
    """Compile tests into one program; yield each with its expected and its actual results.

    A program of its own for each would take a minute to compile; equal kernels are compiled once.
    """
    inputs: list[gx.Tensor] = []
    feeds: list[Any] = []
    outputs: list[list[gx.Tensor]] = []
    for k, case in enumerate(chosen):
        given = [_as_array(i) for i in case.data[0][0]]
        names = inputs_of(case.model)
        model = GraphcRep(case.model, compiled=False).specialized(dict(zip(names, given, strict=False)))
        arrays = {n: model.elements[n].carry(np.asarray(a)) for n, a in zip(names, given, strict=False)}
        fed = {n: gx.placeholder(f"{n}_{k}", t.shape, t.dtype) for n, t in model.inputs.items()}
        inputs += fed.values()
        feeds += [arrays[n] for n in fed]
        found = model(**fed)
        outputs.append([found] if isinstance(found, gx.Tensor) else list(found))
    results = gx.compile(inputs, outputs)(*feeds)
    for case, found in zip(chosen, results, strict=True):
        yield case, [_as_array(e) for e in case.data[0][1]], found
