"""Programs: what `compile` returns and users call."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import CheckError, FeedError, GraphError, caller
from graphc.feeds import as_array, check_feed, solve_sizes
from graphc.nests import Nest
from graphc.runtime import buffers, runner, team
from graphc.runtime import plan as planning
from graphc.runtime.callbacks import RAISED, Callback, Outcome
from graphc.runtime.executable import Meaning
from graphc.runtime.memory_report import MemoryReport
from graphc.runtime.plan import Arena, Linked, Plan
from graphc.runtime.prepared import Preparations, Updates
from graphc.runtime.source import Source
from graphc.state import CHANGES, STATE_LOCK

if TYPE_CHECKING:
    from graphc.inspection.explaining import Explanation
    from graphc.inspection.profile import Profile
    from graphc.ir import Graph, Node
    from graphc.leaves import Variable
    from graphc.native_export.exporting import NativeFiles
    from graphc.pipeline import Stage
    from graphc.runtime.kernel import Kernel
    from graphc.tensor import Tensor

__all__ = ["MemoryReport", "Program"]

Array = np.ndarray[Any, Any]
# Plans kept per program; beyond it the oldest is dropped.
PLANS = 256
# Bound once: looking them up takes longer than what they are asked.
_ndarray, _empty = np.ndarray, np.empty
_addressof, _window = buffers.addressof, buffers.window


_programs: weakref.WeakSet[Program] = weakref.WeakSet()


def _after_fork() -> None:
    """Free the child's programs from calls that ran in other threads of the parent."""
    STATE_LOCK.release()
    for program in list(_programs):
        program._interrupted()


# A fork waits until no program is changing variables; stateless ones just start afresh in the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=STATE_LOCK.acquire, after_in_parent=STATE_LOCK.release, after_in_child=_after_fork
    )


class Program:
    """A compiled graph: call it with arrays.

    Made by `graphc.compile`.  Calls are thread-safe: they run one after another.  A forked
    child can go on calling it.

    Attributes
    ----------
    name : str
        Given at compilation.
    """

    def __init__(self, name: str, source: Source, nest: Nest | None) -> None:
        executable = source.executable
        image = executable.image
        self.name = name
        self._source = source
        self._nest = nest
        self._image = image
        self._outcome = Outcome()
        self._status = ctypes.c_int64(0)
        # Native functions that call back live as long as the program.
        self._callbacks: list[Callback] = []
        leaves: list[int] = [payload.array.ctypes.data for payload in executable.leaves]
        functions = tuple(map(self._address, executable.functions))
        self._linked = Linked(image, functions, leaves, ctypes.addressof(self._status))
        self._preparations = Preparations(image, executable.leaves)
        changed = [executable.leaves[k] for k in image.updates]
        self._updates = Updates(changed) if changed else None
        self._arena = Arena()
        # Large outputs of the latest call, and the plan that they belong to.
        self._kept: dict[int, Array] = {}
        self._kept_for: Plan | None = None
        self._plans: dict[tuple[tuple[int, ...], ...], Plan] = {}
        self._run = runner.starter()
        self._types = tuple(port.type.dtype for port in image.inputs)
        self._names = tuple(port.name for port in image.inputs)
        # Programs that touch variables exclude each other: an update is seen whole or not at all.
        has_state = any(leaf.variable for leaf in image.leaves)
        self._lock = STATE_LOCK if has_state else threading.RLock()
        _programs.add(self)

    def _address(self, function: int | Meaning) -> int:
        if isinstance(function, int):
            return function
        callback = Callback(function, self._outcome)
        self._callbacks.append(callback)
        return callback.address

    # -- calling
    def __call__(self, /, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Run the program.

        Parameters
        ----------
        *args, **kwargs : array_like
            One value per placeholder, by position or by name.
        out : ndarray or sequence of ndarray, optional
            Arrays to write the outputs into, in order; by default new ones are allocated.

        Returns
        -------
        ndarray, list, tuple or dict
            The outputs, structured as they were given to `compile`.

        Raises
        ------
        FeedError
            If a value is missing, unknown, or does not fit its placeholder.
        CheckError
            If a run-time check fails.  No variable has changed then.
        """
        if kwargs or len(args) != len(self._names):
            args = self._by_name(args, kwargs)
        with self._lock:
            results = self._execute(args, out)
        return None if self._nest is None else self._nest(results)

    def profile(self, /, *args: Any, repeat: int | None = None, **kwargs: Any) -> Profile:
        """Run the program several times and tell what its time is spent on.

        Variables have their former values afterwards, so a step of training can be profiled at any time.

        Parameters
        ----------
        *args, **kwargs : array_like
            One value per placeholder, by position or by name.
        repeat : int, optional
            How many calls to time; by default as many as take a quarter of a second, 100 at most.

        Returns
        -------
        Profile
            Prints as a table; has the steps, their spans and what the machine can do at most.

        Raises
        ------
        ArgumentError
            If `repeat` is no positive number.
        FeedError, CheckError
            As in a call.

        Examples
        --------
        >>> import graphc as gx, numpy as np
        >>> x = gx.placeholder("x", shape=("n", "n"))
        >>> profile = gx.compile(x, gx.relu(x @ x)).profile(np.ones((64, 64), "float32"))
        >>> [(step.name, step.flops) for step in profile.steps]
        [('matmul_relu', {'float32': 528384})]
        """
        # Deferred: most programs are never profiled.
        from graphc.inspection import profiling
        from graphc.runtime import rehearsal

        repeat = profiling.checked_repeat(repeat)
        if kwargs or len(args) != len(self._names):
            args = self._by_name(args, kwargs)
        with self._lock:
            arrays = tuple([self._convert(k, value) for k, value in enumerate(args)])
            with rehearsal.rehearsed(self, arrays) as subject:
                return profiling.measure(subject, repeat)

    def _by_name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        values = dict(zip(self._names, args, strict=False))
        unknown = [k for k in kwargs if k not in self._names]
        double = [k for k in kwargs if k in values]
        missing = [n for n in self._names if n not in values and n not in kwargs]
        expected = ", ".join(f"{n.name}: {n.type}" for n in self._image.inputs) or "no inputs"
        problems = [f"unknown input {k!r}" for k in unknown] + [f"input {k!r} given twice" for k in double]
        problems += [f"input {k!r} is missing" for k in missing]
        if len(args) > len(self._names):
            problems.append(f"{len(args)} values for {len(self._names)} inputs")
        if problems:
            raise FeedError(
                f"{self.name}: {problems[0]}",
                expected=expected,
                given=f"{len(args)} by position, {', '.join(kwargs) or 'none'} by name",
                where=caller(),
            )
        values.update(kwargs)
        return tuple(values[n] for n in self._names)

    def _execute(self, args: tuple[Any, ...], out: Any) -> list[Any]:
        if self._outcome.calling:
            raise GraphError(f"{self.name} is called by an operation that it calls itself", where=caller())
        addresses, shapes = [], []
        for a, dtype in zip(args, self._types, strict=True):
            if type(a) is not _ndarray or (a.dtype is not dtype and a.dtype != dtype) or not a.flags.carray:
                args = tuple([self._convert(k, value) for k, value in enumerate(args)])
                addresses = [value.__array_interface__["data"][0] for value in args]
                shapes = [value.shape for value in args]
                break
            addresses.append(_addressof(_window(a)))
            shapes.append(a.shape)
        plan = self._plans.get(tuple(shapes))
        if plan is None or plan.threads != team.count:
            plan = self._plan(args)
        if plan.base != self._arena.base:
            plan.rebase(self._arena.base)
        if plan.preparing and plan.changes != CHANGES.count:
            self._prepare(plan)
        if self._updates is not None:
            self._updates.announce()
        if out is None:
            results = self._outputs(plan)
            for a in results:
                addresses.append(_addressof(_window(a)))
        else:
            results = self._given_outputs(out, plan, addresses)
        words = plan.words
        for slot, k in plan.call_slots:
            words[slot] = addresses[k]
        for slot, k, offset in plan.inner_slots:
            words[slot] = addresses[k] + offset
        if not (plan.shared and self._share(plan.shared)):
            self._run(plan.table)
        if self._callbacks and self._updates is not None:
            # Programs that were called back may have packed values from before the updates.
            self._updates.announce()
        if self._status.value:
            self._fail(args, plan)
        return results

    def _share(self, table: int) -> bool:
        """Run a table together with the team; return whether that was free."""
        if not team.enter():
            return False
        try:
            self._run(table)
        finally:
            team.leave()
        return True

    def _prepare(self, plan: Plan) -> None:
        """Fill what is kept from call to call, where it is not or where a variable has changed since."""
        for prepared, table, shared in plan.preparing:
            if not prepared.stale:
                continue
            if not (shared and self._share(shared)):
                self._run(table)
            prepared.filled()
        plan.preparing = [entry for entry in plan.preparing if entry[0].variables]
        plan.changes = CHANGES.count

    def _convert(self, k: int, value: Any) -> Array:
        """Return a feed as an array the kernels can read; only Python numbers and lists change dtype."""
        port = self._image.inputs[k]
        try:
            found = as_array(value, port)
            check_feed(port, found)
        except FeedError as error:
            raise self._named(error) from None
        return np.require(found, requirements=["C", "A"])

    def _named(self, error: FeedError) -> FeedError:
        """Return an error about a feed with the program's name and the line that calls it."""
        what = f"{self.name}: {error.what}"
        return FeedError(what, expected=error.expected, given=error.given, where=caller())

    def _plan(self, arrays: Sequence[Array]) -> Plan:
        fed = list(zip(self._image.inputs, arrays, strict=True))
        try:
            for port, array in fed:
                check_feed(port, array)
            sizes = solve_sizes(fed, self._image.checks)
        except FeedError as error:
            raise self._named(error) from None
        prepared = self._preparations.at(sizes)
        plan = planning.build(self._linked, sizes, team.count, prepared)
        self._arena.reserve(plan.arena_size)
        plan.rebase(self._arena.base)
        key = tuple([a.shape for a in arrays])
        # The newest plan stands last, also where it replaces one for another number of threads.
        self._plans.pop(key, None)
        if len(self._plans) >= PLANS:
            self._plans.pop(next(iter(self._plans)))
        self._plans[key] = plan
        return plan

    def _outputs(self, plan: Plan) -> list[Array]:
        """Return arrays for the outputs: new ones, or large ones of the last call that nobody holds any more.

        New memory costs more than many kernels: the system clears every page of it.
        """
        if not plan.large:
            return [_empty(shape, dtype) for shape, dtype in plan.outputs]
        if self._kept_for is not plan:
            self._kept_for, self._kept = plan, {}
        kept = self._kept
        for k in plan.large:
            shape, dtype = plan.outputs[k]
            free = k in kept and buffers.references(kept, k) == buffers.UNSHARED
            if not free or buffers.misfit(kept[k], shape, dtype):
                kept[k] = _empty(shape, dtype)
        return [
            kept[k] if k in kept else _empty(shape, dtype) for k, (shape, dtype) in enumerate(plan.outputs)
        ]

    def _given_outputs(self, out: Any, plan: Plan, taken: list[int]) -> list[Array]:
        """Return the arrays given for the outputs, if the kernels can write into them.

        `taken` holds the inputs' addresses; those of the outputs are added.
        """
        given = list(out) if isinstance(out, (list, tuple)) else [out]
        problem = "" if len(given) == len(plan.outputs) else f"{len(given)} arrays"
        for a, (shape, dtype) in zip(given, plan.outputs, strict=not problem):
            problem = problem or buffers.misfit(a, shape, dtype)
            if not problem:
                problem = buffers.overlap(_addressof(_window(a)), plan.extents, taken)
        if problem:
            expected = ", ".join(f"{dtype}{list(shape)}" for shape, dtype in plan.outputs)
            what = f"{self.name}: out does not fit"
            raise FeedError(what, expected=expected, given=problem, where=caller())
        return given

    # -- failures
    def _fail(self, arrays: Sequence[Array], plan: Plan) -> None:
        """Raise the failed check, with the interpreter's words for what was wrong."""
        code, error = self._status.value, self._outcome.error
        self._status.value, self._outcome.error = 0, None
        if code == RAISED and error is not None:
            raise error
        failure = self._image.failures[code - 1]
        raise self._source.failure(code, arrays, plan.sizes) or CheckError(
            f"{failure.op}: a run-time check failed", where=failure.where
        )

    def _interrupted(self) -> None:
        if self._lock is not STATE_LOCK:
            self._lock = threading.RLock()
            self._outcome.calling, self._outcome.error = False, None
            self._status.value = 0

    # -- keeping
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program into a file, from which `graphc.load` has it running in milliseconds.

        The file holds the graph, the present values of all variables, and the machine code.
        `graphc.save` writes several programs that share variables into one.

        Parameters
        ----------
        path : path-like
            File to write; an existing one is replaced, whole or not at all.

        Raises
        ------
        ArtifactError
            If an operation of the graph holds what cannot be written down, such as a function.

        Examples
        --------
        >>> import graphc as gx, os, tempfile
        >>> x = gx.placeholder("x", shape=("n",))
        >>> path = os.path.join(tempfile.mkdtemp(), "double.gxc")
        >>> gx.compile(x, x * 2).save(path)
        >>> gx.load(path)([1.0, 2.0])
        array([2., 4.], dtype=float32)
        """
        # Deferred: most programs are never saved.
        from graphc.artifact.saving import save

        save(path, self)

    def export_native(
        self, directory: str | os.PathLike[str], *, name: str | None = None, cpu: str | None = None
    ) -> NativeFiles:
        """Write a shared library for C: see `graphc.native_export.exporting.export_native`."""
        # Deferred: most programs are never exported.
        from graphc.native_export.exporting import export_native

        return export_native(self, directory, name=name, cpu=cpu)

    @property
    def variables(self) -> list[Variable]:
        """The variables that the program reads or updates."""
        return self._source.variables

    # -- looking
    @property
    def graph(self) -> Graph:
        """The optimized graph."""
        return self._source.graph

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The graph after every pass, with counts, times and rewrites."""
        return self._source.stages

    @property
    def kernels(self) -> list[Kernel]:
        """What runs, in order."""
        return self._source.kernels

    @property
    def memory(self) -> MemoryReport:
        """How the program uses memory, at the sizes of the latest call."""
        plan = next(reversed(self._plans.values()), None)
        return MemoryReport.of(self._image.facts, plan)

    @property
    def specializations(self) -> list[dict[str, int]]:
        """Sizes for which a plan exists.  Kernels are compiled once for all of them."""
        return [dict(p.sizes) for p in self._plans.values()]

    def to_svg(self, scope: str = "") -> str:
        """Return a drawing of the optimized graph, kernels as boxes; see `Graph.to_svg`."""
        return self.graph.to_svg(scope)

    def _repr_html_(self) -> str:
        # Deferred: as below.
        from graphc.inspection.display import program_html

        return program_html(self)

    def _repr_svg_(self) -> str | None:
        return self.graph._repr_svg_()

    def explain(self, subject: Tensor | Node | str | None = None) -> Explanation:
        """Tell where a tensor, node, name or line went; or what was not fused, vectorized or parallelized.

        See `graphc.inspection.explaining.explain`.
        """
        # Deferred: inspection describes programs.
        from graphc.inspection.explaining import explain

        return explain(self, subject)

    def report(self, path: str | os.PathLike[str], profile: Profile | None = None) -> None:
        """Write a page that shows what was compiled, for a browser: see `graphc.report.write_report`."""
        # Deferred: the report describes programs.
        from graphc.report import write_report

        write_report(self, path, profile)

    def __str__(self) -> str:
        # Deferred: printing describes programs.
        from graphc.printing import program_to_text

        return program_to_text(self)

    def __repr__(self) -> str:
        counts = (
            f"inputs: {len(self._names)}, outputs: {len(self._image.outputs)}, kernels: {self._image.kernels}"
        )
        return f"<Program {self.name!r}: {counts}>"
