"""Scalar expressions as Python statements, every shared sub-expression once.

The emitter writes statements into nested scopes (kernel, row, inner loop).  A value that
depends on no variable of the current loop is written into the outermost scope that knows
its operands, so loop-invariant work leaves the loop here, not by the grace of LLVM.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphc import dims
from graphc.codegen import scalar
from graphc.dims import Dim
from graphc.errors import KernelError
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rewrite import substitute
from graphc.lower.unroll import UNROLL
from graphc.runtime.kernel_source import TRAILING
from graphc.types import BOOL, DType

CACHE_LINE = 64

# What kernel code calls dtypes (u32 and u64 appear in the vector math library only).
_DTYPE_NAMES = frozenset({*scalar.SHORT.values(), "u32", "u64"})

INIT: Mapping[str, object] = {"sum": 0, "prod": 1, "any": False, "all": True}


@dataclass
class Scope:
    """A block of statements under construction, and the values it has named."""

    depth: int
    lines: list[str] = field(default_factory=list)
    names: dict[Expr, str] = field(default_factory=dict)
    # Loop variables and locals that come into being in this scope.
    defines: set[Expr] = field(default_factory=set)
    # A conditional branch keeps to itself: nothing may be moved out of it.
    conditional: bool = False


@dataclass(frozen=True)
class Buffer:
    """A pointer parameter: its name and the shape that turns indices into offsets."""

    name: str
    shape: tuple[Dim, ...]
    dtype: DType


@dataclass(frozen=True, eq=False)
class Scratch:
    """Working memory of one kernel: a handle for loads, with its size and dtype.

    Every worker has a piece of its own, unless it is `shared` by all blocks and stages.
    """

    count: Dim
    dtype: DType
    shared: bool = False

    @property
    def pitch(self) -> Dim:
        """Elements from one worker's piece to the next: whole cache lines, so that no two share one."""
        line = CACHE_LINE // self.dtype.itemsize
        return dims.floordiv(self.count + (line - 1), line) * line


class Emitter:
    """Writes the body of one kernel."""

    def __init__(self) -> None:
        self.params: dict[str, str] = {}
        self.sizes: dict[Dim, str] = {}
        self.buffers: dict[object, Buffer] = {}
        self.messages: dict[Node, str] = {}
        self.scopes: list[Scope] = [Scope(1)]
        self.replaced: dict[Expr, Expr] = {}
        self.merged: dict[tuple[Expr, Expr], Expr] = {}
        # Pointers to working memory of which every worker has its own piece, and the pieces' length.
        self.private: dict[str, str] = {}
        # Whether sizes that are known are read from the argument block all the same.
        self.generic = False
        self._fresh = itertools.count()

    # -- parameters
    def buffer(self, handle: object, shape: tuple[Dim, ...], dtype: DType, share: object = None) -> Buffer:
        """Return the pointer parameter for `handle`; `share` names one whose memory it reuses."""
        found = self.buffers.get(handle)
        if found is not None:
            return found
        owner = self.buffers.get(share) if share is not None else None
        name = owner.name if owner is not None else f"p{len({b.name for b in self.buffers.values()})}"
        self.params.setdefault(name, f"{dtype}*")
        self.buffers[handle] = Buffer(name, shape, dtype)
        if isinstance(handle, Scratch) and not handle.shared:
            pitch = handle.pitch
            self.private[name] = str(pitch) if isinstance(pitch, int) else self.size(pitch)
        return self.buffers[handle]

    def size(self, d: Dim) -> str:
        """Return a dimension as text: a literal, or an int64 parameter."""
        if isinstance(d, int) and (d < 2 or not self.generic):
            return str(d)
        if d not in self.sizes:
            self.sizes[d] = f"dim{len(self.sizes)}"
            self.params.setdefault(self.sizes[d], "int64")
        return self.sizes[d]

    # -- statements
    def fresh(self, prefix: str = "t") -> str:
        """Return a new variable name; prefix ``p`` belongs to the pointer parameters."""
        name = f"{prefix}{next(self._fresh)}"
        # A loop variable i8 would hide the dtype of that name.
        return self.fresh(prefix) if name in _DTYPE_NAMES else name

    @property
    def scope(self) -> Scope:
        """The innermost open scope."""
        return self.scopes[-1]

    def line(self, text: str) -> None:
        """Write a statement into the innermost scope."""
        self.scope.lines.append("    " * self.scope.depth + text)

    def open(self, header: str | None, defines: Iterable[Expr] = (), conditional: bool = False) -> None:
        """Start a nested block under `header`; values hoisted out of it go before the header.

        Without a header the block continues at the current indentation.
        """
        depth = self.scope.depth + (1 if header is not None else 0)
        self.scopes.append(Scope(depth, defines=set(defines), conditional=conditional))
        if header is not None:
            self.scopes[-1].lines.append("    " * (depth - 1) + header)

    def close(self) -> None:
        """End the innermost block, appending it to the one around it."""
        done = self.scopes.pop()
        if done.lines and done.lines[-1].endswith(":"):
            done.lines.append("    " * done.depth + "pass")
        self.scope.lines.extend(done.lines)

    def name(self, e: Expr, text: str) -> None:
        """Let `text` stand for `e` in the innermost scope."""
        self.scope.names[e] = text
        self.scope.defines.add(e)

    def part(self, extent: str, grain: int = 1) -> tuple[str, str]:
        """Name the bounds of this block's part of ``range(extent)``, cut at multiples of `grain`."""
        first, last, units = self.fresh("lo"), self.fresh("hi"), extent
        if grain == 1:
            self.line(f"{first} = share({units}, block, blocks)")
            self.line(f"{last} = share({units}, block + 1, blocks)")
            return first, last
        units = self.fresh("u")
        self.line(f"{units} = ({extent} + {grain - 1}) // {grain}")
        self.line(f"{first} = share({units}, block, blocks) * {grain}")
        self.line(f"{last} = min({extent}, share({units}, block + 1, blocks) * {grain})")
        return first, last

    # -- expressions
    def text(self, root: Expr) -> str:
        """Return a name or literal for `root`, writing the statements that compute it."""
        # Operands first, without recursion over long chains.
        for e in self._pending(root):
            self._emit(e)
        return self._known(root) or ""

    def _pending(self, root: Expr) -> list[Expr]:
        order: list[Expr] = []
        seen: set[Expr] = set()
        stack: list[tuple[Expr, bool]] = [(self.resolve(root), False)]
        while stack:
            e, expanded = stack.pop()
            if expanded:
                order.append(e)
            elif e not in seen and self._known(e) is None:
                seen.add(e)
                stack.append((e, True))
                stack.extend((self.resolve(a), False) for a in reversed(_eager(e)))
        return order

    def resolve(self, e: Expr) -> Expr:
        """Return what `e` was replaced by: a value kept from an earlier phase."""
        return self.replaced.get(e, e)

    def _known(self, e: Expr) -> str | None:
        e = self.resolve(e)
        if e.kind == "const":
            return scalar.literal(e.data, e.dtype)
        if e.kind == "size":
            return self.size(e.data.dim)
        for scope in reversed(self.scopes):
            if e in scope.names:
                return scope.names[e]
        return None

    def operand(self, e: Expr) -> str:
        """Return the text of an operand that has been emitted."""
        found = self._known(e)
        return found if found is not None else self.text(e)

    def _emit(self, e: Expr) -> None:
        if self._known(e) is not None:
            return
        special = {"guard": self._emit_guard, "fold": self._emit_fold, "check": self._emit_check}
        if e.kind in special:
            special[e.kind](e)
            return
        home = self._home(e)
        texts = {"load": self._load_text, "cast": self._cast_text, "call": self._call_text}
        if e.kind not in texts:
            raise KernelError(f"{e!r} is used outside the loop that defines it")
        name = self.fresh()
        home.lines.append("    " * home.depth + f"{name} = {texts[e.kind](e)}")
        home.names[e] = name

    def _home(self, e: Expr) -> Scope:
        """Return the outermost scope in which all operands of `e` exist."""
        for position in range(len(self.scopes) - 1, -1, -1):
            scope = self.scopes[position]
            if position == 0 or scope.conditional or self._uses(e, scope):
                return scope
        return self.scopes[0]

    def _uses(self, e: Expr, scope: Scope) -> bool:
        return any(a in scope.names or a in scope.defines for a in map(self.resolve, e.args))

    def _load_text(self, e: Expr) -> str:
        buffer = self.buffers[e.data]
        text = f"{buffer.name}[{self.offset(buffer, e.args)}]"
        return f"({text} != 0)" if buffer.dtype == BOOL else text

    def _cast_text(self, e: Expr) -> str:
        return scalar.convert(self.operand(e.args[0]), e.args[0].dtype, e.dtype)

    def _call_text(self, e: Expr) -> str:
        operand = e.args[-1].dtype
        return scalar.render(e.data, tuple(self.operand(a) for a in e.args), operand, e.dtype)

    def offset(self, buffer: Buffer, index: Sequence[Expr]) -> str:
        """Return the row-major offset of a multi-index as text."""
        text = ""
        axis = 0
        while axis < len(index):
            d, at, taken = self._axis(buffer, index, axis)
            axis += taken
            term = self.operand(at)
            if d == 1 and term == "0":
                continue
            text = term if text in ("", "0") else f"({text}) * {self.size(d)} + {term}"
        return text or "0"

    def _axis(self, buffer: Buffer, index: Sequence[Expr], axis: int) -> tuple[Dim, Expr, int]:
        if axis + 1 < len(index):
            joined = self.merged.get((index[axis], index[axis + 1]))
            if joined is not None:
                return self._axis_pair(buffer, index, axis, joined)
        return buffer.shape[axis], index[axis], 1

    def _axis_pair(
        self, buffer: Buffer, index: Sequence[Expr], axis: int, joined: Expr
    ) -> tuple[Dim, Expr, int]:
        size: Dim = buffer.shape[axis] * buffer.shape[axis + 1]
        taken = 2
        while axis + taken < len(index) and (joined, index[axis + taken]) in self.merged:
            size = size * buffer.shape[axis + taken]
            joined = self.merged[joined, index[axis + taken]]
            taken += 1
        return size, joined, taken

    # -- expressions that need statements of their own
    def _emit_guard(self, e: Expr) -> None:
        cond, chosen, other = e.args
        name = self.fresh()
        test = self.operand(cond)
        self.open(f"if {test}:", conditional=True)
        self.line(f"{name} = {self.text(chosen)}")
        self.close()
        self.open("else:", conditional=True)
        self.line(f"{name} = {self.text(other)}")
        self.close()
        self.name(e, name)

    def _emit_fold(self, e: Expr) -> None:
        rank = (len(e.args) - 1) // 2
        body, variables, extents = e.args[0], e.args[1 : 1 + rank], e.args[1 + rank :]
        static = [x.data for x in extents if x.kind == "const"]
        count = 1
        for n in static:
            count *= n
        accumulator = Accumulator(self, e.data, body.dtype if e.data.startswith("arg") else e.dtype)
        if len(static) == rank and 0 < count <= UNROLL:
            for flat, at in enumerate(itertools.product(*(range(n) for n in static))):
                values = dict(zip(variables, map(expr.index_const, at), strict=True))
                accumulator.add(self.text(substitute(body, values)), str(flat))
        else:
            accumulator.start()
            self._fold_loops(accumulator, body, variables, extents)
        self.name(e, accumulator.result())

    def _fold_loops(
        self, accumulator: Accumulator, body: Expr, variables: Sequence[Expr], extents: Sequence[Expr]
    ) -> None:
        flat = "0"
        for variable, extent in zip(variables, extents, strict=True):
            name, n = self.fresh("w"), self.operand(extent)
            self.open(f"for {name} in range({n}):")
            self.name(variable, name)
            flat = name if flat == "0" else f"({flat}) * {n} + {name}"
        accumulator.add(self.text(body), flat)
        for _ in variables:
            self.close()

    def _emit_check(self, e: Expr) -> None:
        ok, value = e.args
        flag = self._flag(e.data)
        self.line(f"{flag} = {flag} | (0 if {self.operand(ok)} else 1)")
        self.name(e, self.operand(value))

    def fail(self, message: Node) -> str:
        """Return a statement that makes the node's run-time check fail."""
        return f"{self._flag(message)} = 1"

    def _flag(self, message: Node) -> str:
        if message not in self.messages:
            self.messages[message] = f"bad{len(self.messages)}"
            root = self.scopes[0]
            root.lines.insert(0, "    " * root.depth + f"{self.messages[message]} = 0")
        return self.messages[message]

    # -- the finished kernel
    def finish(self) -> str:
        """Close the kernel: report failed checks, and return its Python text."""
        for position, flag in enumerate(self.messages.values()):
            self.params.setdefault("status", "int64*")
            self.params.setdefault(f"code{position}", "int64")
            self.line(f"if {flag} != 0:")
            self.line(f"    status[0] = code{position}")
        if not self.scope.lines:
            self.line("pass")
        root = self.scopes[0]
        own = [f"    {name} = addr({name}, worker * {pitch})" for name, pitch in self.private.items()]
        root.lines[:0] = own
        header = ", ".join([*self.params, *TRAILING])
        return "\n".join([f"def kernel({header}):", *self.scope.lines, ""])


def _eager(e: Expr) -> Sequence[Expr]:
    """Return the operands to write before `e` itself."""
    if e.kind == "guard":
        # The two sides are written inside their branches.
        return e.args[:1]
    if e.kind == "fold":
        return ()
    if e.kind == "load":
        # Bare loop variables may have been joined into one; `offset` looks.
        return [a for a in e.args if a.kind != "index"]
    return e.args


class Accumulator:
    """Running value of one reduction, as a local variable (two for the arg kinds)."""

    def __init__(self, emitter: Emitter, kind: str, dtype: DType) -> None:
        self.emitter = emitter
        self.kind = kind
        self.dtype = dtype
        self.value = emitter.fresh("a")
        self.position = emitter.fresh("k") if kind.startswith("arg") else ""
        self.started = False

    def start(self) -> None:
        """Write the initialization."""
        self.started = True
        self.emitter.line(f"{self.value} = {scalar.literal(initial(self.kind, self.dtype), self.dtype)}")
        if self.position:
            self.emitter.line(f"{self.position} = 0")

    def add(self, text: str, flat: str = "0") -> None:
        """Write the step that takes in one more element, at flat position `flat`."""
        if not self.started:
            # Straight-line code needs no neutral element: it begins with the first value.
            self.started = True
            self.emitter.line(f"{self.value} = {text}")
            if self.position:
                self.emitter.line(f"{self.position} = {flat}")
            return
        for statement in step(self.kind, self.dtype, self.value, self.position, text, flat):
            self.emitter.line(statement)

    def result(self) -> str:
        """Return the variable that holds the outcome."""
        return self.position or self.value


_STEPS = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}
_ACCUMULATE = {"sum": "accumulate_sum", "prod": "accumulate_product"}
_LOGICAL = {"any": "{a} = {a} | {v}", "all": "{a} = {a} & {v}"}


def step(kind: str, dtype: DType, value: str, position: str, text: str, flat: str) -> list[str]:
    """Return the statements by which a reduction takes in element `text`."""
    if kind in _LOGICAL:
        return [_LOGICAL[kind].format(a=value, v=text)]
    if kind in _ACCUMULATE and dtype.kind == "f":
        return [f"{value} = {_ACCUMULATE[kind]}({value}, {text})"]
    if kind in _STEPS:
        # The running value stands second: x86 tests the first operand for NaN, beside the chain of maxima.
        return [f"{value} = {scalar.render(_STEPS[kind], (text, value), dtype, dtype)}"]
    sign = ">" if kind == "argmax" else "<"
    # The first NaN wins over every number, as in NumPy; on ties the first position stays.
    better = f"({text} {sign} {value})"
    if dtype.kind == "f":
        worse = f"({text} {'<=' if sign == '>' else '>='} {value})"
        better = f"(({worse} == False) & ({value} == {value}))"
    # A first element equal to the initial value keeps position 0.
    return [f"{position} = {flat} if {better} else {position}", f"{value} = {text} if {better} else {value}"]


def initial(kind: str, dtype: DType) -> object:
    """Return the neutral element of a reduction."""
    if kind in INIT:
        return INIT[kind]
    high = kind in ("min", "argmin")
    if dtype == BOOL:
        return high
    if dtype.kind == "f":
        return float("inf") if high else float("-inf")
    info = np.iinfo(dtype)
    return info.max if high else info.min
