"""Exported libraries: the same bits as the program's, for all sizes, without Python."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_library import Library, ports, words

import graphc as gx
from graphc import placement
from graphc.errors import ArgumentError, MissingDependencyError, UnsupportedError
from graphc.frontend.library import find
from graphc.frontend.types import I64
from graphc.frontend.writer import Value, module_text
from graphc.native_export import exporting, externs, layout, library, linking, planning
from graphc.native_export.header import identifier, interface
from graphc.native_export.preparing import data_of
from graphc.native_export.tables import Data, size_names, tables
from graphc.native_export.template import numbering, template
from graphc.runtime import control_llvm, cpu, features, linker, target
from graphc.runtime import plan as plans
from graphc.runtime.image import Facts, Image, Room, Section
from graphc.runtime.prepared import Preparations
from graphc.runtime.settling import lasting

Array = np.ndarray[Any, Any]
Feeds = list[Array]
ROOT = Path(__file__).resolve().parent.parent
CC, CXX = shutil.which("cc"), shutil.which("c++")
pytestmark = pytest.mark.skipif(not linking.is_possible(), reason="needs Linux on x86-64 and a linker")
needs_compiler = pytest.mark.skipif(CC is None, reason="needs a C compiler")


def feeds(*shapes: tuple[int, ...]) -> Feeds:
    rng = np.random.default_rng(sum(map(sum, shapes)))
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


# ------------------------------------------------------------------------------ programs
def lenet() -> gx.Program:
    conv = [gx.nn.Conv2d(1, 6, 5, padding=2, activation=gx.relu, seed=1), gx.nn.MaxPool2d(2)]
    conv += [gx.nn.Conv2d(6, 16, 5, activation=gx.relu, seed=2), gx.nn.MaxPool2d(2), gx.nn.Flatten()]
    net = gx.nn.Sequential(
        *conv, gx.nn.Dense(400, 120, activation=gx.relu, seed=3), gx.nn.Dense(120, 10, seed=4)
    )
    images = gx.placeholder("images", shape=("batch", 1, 28, 28))
    return gx.compile(images, gx.softmax(net(images)), name="lenet")


def loops() -> gx.Program:
    """Return a program with a branch in a loop, and a loop in a loop; its outputs have names."""
    xs = gx.placeholder("xs", shape=("time", "batch", 4))
    h = gx.placeholder("double", shape=("batch", 4))
    w = gx.variable(feeds((4, 4))[0], name="w")

    def step(carry: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        carry = gx.tanh(carry @ w + x)
        return carry, gx.cond(carry.sum() > 0, lambda a: a * 2, lambda a: a @ w, carry)

    def row(carry: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        return carry + x, (carry @ w) * x

    def rows(carry: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        total, ys = gx.scan(row, carry, x, reverse=True)
        return gx.softmax(total), ys

    last, ys = gx.scan(step, h, xs)
    # Body and condition of this loop both need room.
    halved = gx.while_loop(lambda a: ((a @ w) @ w).sum() > 1, lambda a: (a @ w) @ w / 9, last)
    results = {"last": last, "ys": ys, "halved": halved, "nested": gx.scan(rows, h.sum(axis=0), xs)[1]}
    return gx.compile([xs, h], results, name="loops")


def convolution() -> gx.Program:
    """Return a program that packs weights once, and prepares tables by the size of its images."""
    x = gx.placeholder("x", shape=("batch", 3, "size", "size"))
    y = gx.placeholder("y", shape=("batch", 8, 9, 9))
    kernels = [gx.variable(feeds(shape)[0]) for shape in ((6, 3, 5, 5), (24, 8, 3, 3))]
    results = [gx.conv2d(x, kernels[0], padding=2), gx.conv2d(y, kernels[1], stride=2, padding=1)]
    return gx.compile([x, y], results, name="convolution")


def counting() -> gx.Program:
    """Return a program that changes variables, and that checks an index."""
    index = gx.placeholder("index", shape=("n",), dtype="int64")
    table = gx.constant(np.arange(12, dtype=np.float64).reshape(4, 3))
    calls = gx.variable(np.zeros((), np.int64), name="calls", trainable=False)
    total = gx.variable(np.zeros(3), name="sum/of rows", trainable=False)
    rows = gx.take(table, index, axis=0)
    updates = {calls: calls + 1, total: total + rows.sum(axis=0)}
    return gx.compile(index, [rows, total], updates=updates, name="counting")


def training() -> gx.Program:
    """Return a training step, whose plans have many rooms."""
    x, y = gx.placeholder("x", shape=("batch", 8)), gx.placeholder("y", shape=("batch", 2))
    net = gx.nn.Sequential(gx.nn.Dense(8, 32, activation=gx.tanh, seed=1), gx.nn.Dense(32, 2, seed=2))
    loss = ((net(x) - y) ** 2).mean()
    return gx.compile([x, y], loss, updates=gx.optim.Adam(1e-2).minimize(loss), name="training")


PROGRAMS = {f.__name__: f for f in (lenet, loops, convolution, counting, training)}
SIZES: dict[str, list[tuple[int, ...]]] = {
    "lenet": [(1,), (0,), (3,), (17,), (1,)],
    "loops": [(3, 2), (0, 2), (5, 0), (9, 30)],
    "convolution": [(2, 20), (1, 20), (2, 31), (0, 20), (1, 20)],
    "counting": [(2,), (0,), (5,)],
    "training": [(1,), (0,), (7,), (100,)],
}


def arrays_for(name: str, sizes: tuple[int, ...]) -> Feeds:
    if name == "counting":
        return [np.arange(*sizes) % 4]
    shapes = {
        "lenet": lambda n: [(n, 1, 28, 28)],
        "loops": lambda t, n: [(t, n, 4), (n, 4)],
        "convolution": lambda n, size: [(n, 3, size, size), (n, 8, 9, 9)],
        "training": lambda n: [(n, 8), (n, 2)],
    }
    return feeds(*shapes[name](*sizes))


@pytest.fixture(scope="module")
def programs() -> dict[str, gx.Program]:
    return {name: make() for name, make in PROGRAMS.items()}


@pytest.fixture(scope="module")
def exported(
    programs: dict[str, gx.Program], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, exporting.NativeFiles]:
    folder = tmp_path_factory.mktemp("native")
    return {name: program.export_native(folder / name) for name, program in programs.items()}


@pytest.fixture
def opened(programs: dict[str, gx.Program], exported: dict[str, exporting.NativeFiles]) -> Iterator[Any]:
    made: list[Library] = []

    def open(name: str) -> Library:
        made.append(Library(exported[name].library, ports(programs[name])))
        return made[-1]

    yield open
    for each in made:
        each.close()


def outputs_of(program: gx.Program, given: Feeds) -> list[Array]:
    found = program(*given)
    return list(found.values() if isinstance(found, dict) else found if isinstance(found, list) else [found])


# ------------------------------------------------------------------------------ running
@pytest.mark.parametrize("name", PROGRAMS)
def test_libraries_give_the_bits_of_their_programs(name: str, opened: Any) -> None:
    # A program of its own: those with updates go on from where they are.
    program, native = PROGRAMS[name](), opened(name)
    for sizes in [s for s in SIZES[name] for _ in range(2)]:
        given = arrays_for(name, sizes)
        status, found = native.run(sizes, given)
        assert status == 0, native.message(status)
        expected = outputs_of(program, given)
        assert [a.shape for a in found] == [a.shape for a in expected]
        assert [a.tobytes() for a in found] == [a.tobytes() for a in expected], sizes


def test_some_preparations_depend_on_sizes(programs: dict[str, gx.Program]) -> None:
    """The programs above cover both kinds: prepared when exported, and at each size."""
    image = programs["convolution"]._image
    assert 0 < len(lasting(image)) < len(image.preparations)


def state_of(native: Library, image: Image) -> tuple[int, list[float]]:
    """Return the variables of `counting` in a context."""
    found = words([0, 0])
    assert native("state_of")(native.context, found) == 0
    at = dict(zip([image.leaves[k].name for k in image.updates], found, strict=True))
    total = (ctypes.c_double * 3).from_address(at["sum/of rows"])
    return ctypes.c_int64.from_address(at["calls"]).value, list(total)


def test_contexts_keep_what_calls_change_apart(opened: Any, exported: Any, programs: Any) -> None:
    first, second = opened("counting"), opened("counting")
    for native, calls in ((first, 3), (second, 1)):
        for _ in range(calls):
            assert native.run((2,), [np.array([1, 2])])[0] == 0
        expected = calls, [9.0 * calls, 11.0 * calls, 13.0 * calls]
        assert state_of(native, programs["counting"]._image) == expected
    assert "double *sum_of_rows; /* sum/of rows: float64[3] */" in exported["counting"].header.read_text()


def test_threads_have_contexts_of_their_own(opened: Any) -> None:
    cases = [(n, arrays_for("lenet", (n,))) for n in (1, 2, 3)]
    expected = [opened("lenet").run((n,), given)[1][0].tobytes() for n, given in cases]
    wrong: list[int] = []

    def work(native: Library) -> None:
        for _ in range(10):
            for (n, given), good in zip(cases, expected, strict=True):
                if native.run((n,), given)[1][0].tobytes() != good:
                    wrong.append(n)

    threads = [threading.Thread(target=work, args=(opened("lenet"),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_shapes_are_known_before_the_call(opened: Any) -> None:
    native = opened("loops")
    arrays, rows = ((3, 2, 4), 96), ((2, 4), 32)
    expected = [arrays, rows, rows, arrays, rows, arrays]
    assert native.shapes((3, 2)) == (0, expected)


# ------------------------------------------------------------------------------ errors
def test_failed_checks_name_the_line(opened: Any, programs: Any) -> None:
    native = opened("counting")
    status, _ = native.run((3,), [np.array([0, 4, 1])])
    line = next(k for k, t in enumerate(Path(__file__).read_text().splitlines(), 1) if "gx.take(table" in t)
    assert status & 255 == layout.CHECK
    assert native.message(status) == f"gather: a run-time check failed (test_native_export.py:{line})"
    # Nothing has changed, and the context goes on working.
    assert state_of(native, programs["counting"]._image) == (0, [0.0, 0.0, 0.0])
    assert native.run((1,), [np.array([3])])[0] == 0


@pytest.mark.parametrize(
    ("sizes", "kind", "text"),
    [
        ((-1,), layout.SIZES, "size 'batch' is negative"),
        ((1 << 62,), layout.SIZES, "the sizes are too large"),
        ((1 << 44,), layout.MEMORY, "out of memory"),
        # What no address space has, and malloc is asked for.
        ((1 << 36,), layout.MEMORY, "out of memory"),
        ((2,), layout.ARGUMENT, "input 'images' is NULL"),
    ],
)
def test_bad_calls_have_a_status(opened: Any, sizes: tuple[int], kind: int, text: str) -> None:
    native = opened("lenet")
    given, taken = words([0]), words([8])
    status = native("run")(native.context, words(sizes), given, taken)
    assert (status & 255, native.message(status)) == (kind, text)
    assert native.run((1,), arrays_for("lenet", (1,)))[0] == 0


def test_pointers_may_not_be_null(opened: Any) -> None:
    native = opened("lenet")
    block = words([1] * 8)
    for given in ((None, block, block, block), (native.context, None, block, block)):
        assert native("run")(*given) == layout.ARGUMENT
    assert native("run")(native.context, block, None, block) == layout.ARGUMENT
    assert native("run")(native.context, block, block, None) == layout.ARGUMENT
    assert native("create")(None) == native("shapes_at")(block, None) == layout.ARGUMENT
    assert native("shapes_at")(None, block) == native("state_of")(native.context, None) == layout.ARGUMENT
    native("destroy")(None)


def test_every_number_has_a_message(opened: Any) -> None:
    native = opened("lenet")
    found = {native.message(k) for k in (-1, 6, 255, 1 << 30, layout.CHECK, layout.OK + 256)}
    assert found == {"unknown status"}
    assert native.message(0) == "no error"


def test_sizes_that_do_not_go_together_name_the_line(tmp_path: Path) -> None:
    x, y = gx.placeholder("x", shape=("n",)), gx.placeholder("y", shape=("m",))
    shorter = x[3:]
    program = gx.compile([x, y], [gx.concat([x, y]).reshape((2, "n")), shorter], name="pair")
    files = program.export_native(tmp_path)
    native = Library(files.library, ports(program))
    assert native.run((4, 4), feeds((4,), (4,)))[0] == 0
    status = native.shapes((4, 5))[0]
    assert status & 255 == layout.SIZES
    assert re.search(r"are not equal \(test_native_export.py:\d+\)", native.message(status))
    native.close()


def test_a_cpu_without_a_feature_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A leaf that no CPU has.
    monkeypatch.setattr(exporting, "needed", lambda _: {"sse3": (1, 0, 2, 1), "wings": (0x0FFFFFFF, 0, 0, 1)})
    x = gx.placeholder("x", shape=("n",))
    files = gx.compile(x, x + 1, name="flying").export_native(tmp_path)
    code, context = ctypes.CDLL(str(files.library)), ctypes.c_void_p(1)
    code.flying_message.restype = ctypes.c_char_p
    status = code.flying_create(ctypes.byref(context))
    assert (status & 255, context.value) == (layout.CPU, None)
    assert code.flying_message(status) == b"this CPU lacks wings"


@pytest.mark.parametrize("name", ["2x", "a-b", "", "double", "größe"])
def test_names_must_be_names_of_c(name: str, programs: dict[str, gx.Program], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="C has no such name"):
        programs["lenet"].export_native(tmp_path / "none", name=name)
    assert not (tmp_path / "none").exists()


def test_programs_that_call_python_are_refused(tmp_path: Path) -> None:
    x = gx.placeholder("x", shape=("n",))
    op = gx.custom_op("secret", infer=lambda t: t, numpy=lambda a: a + 1)
    with pytest.raises(UnsupportedError, match=r"secret is computed in Python[^$]*test_native_export.py"):
        gx.compile(x, op(x)).export_native(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_systems_without_a_linker_are_told(programs: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match="no linker"):
        programs["lenet"].export_native(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_linker_that_fails_is_quoted(programs: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(linking, "_C_LIBRARY", ("-lno_such_library",))
    monkeypatch.setattr(linking, "_LIBRARIES", ("no_such_library",))
    with pytest.raises(UnsupportedError, match=r"linker failed[^$]*no_such_library"):
        programs["lenet"].export_native(tmp_path)


@pytest.mark.skipif(shutil.which("ld") is None, reason="needs ld")
def test_a_linker_alone_is_enough(programs: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(linking, "_DRIVERS", ())
    files = programs["lenet"].export_native(tmp_path, name="alone")
    native = Library(files.library, ports(programs["lenet"]))
    given = arrays_for("lenet", (2,))
    assert native.run((2,), given)[1][0].tobytes() == programs["lenet"](*given).tobytes()
    native.close()


def test_other_systems_are_refused(programs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(UnsupportedError, match="expected Linux on x86-64, given plan9"):
        programs["lenet"].export_native(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_programs_from_files_are_exported_as_well(programs: Any, tmp_path: Path) -> None:
    programs["loops"].save(tmp_path / "loops.gxc")
    loaded = gx.load(tmp_path / "loops.gxc", trust=True)
    assert isinstance(loaded, gx.Program)
    native = Library(loaded.export_native(tmp_path, name="again").library, ports(loaded))
    given = arrays_for("loops", (3, 2))
    expected = [a.tobytes() for a in outputs_of(programs["loops"], given)]
    assert [a.tobytes() for a in native.run((3, 2), given)[1]] == expected
    native.close()


# ------------------------------------------------------------------------------ other CPUs
def test_a_library_can_be_for_older_cpus(programs: Any, tmp_path: Path) -> None:
    files = programs["loops"].export_native(tmp_path, name="old", cpu="x86-64")
    assert "avx" not in files.header.read_text()
    native = Library(files.library, ports(programs["loops"]))
    given = arrays_for("loops", (3, 2))
    for found, expected in zip(
        native.run((3, 2), given)[1], outputs_of(programs["loops"], given), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    native.close()
    with pytest.raises(ArgumentError, match="unknown kind of CPU"):
        programs["loops"].export_native(tmp_path, cpu="z80")


@pytest.mark.parametrize(
    ("level", "most"),
    [
        ("x86-64", ""),
        (
            "x86-64-v3",
            "sse3 ssse3 sse4.1 sse4.2 crc32 cx16 popcnt sahf avx avx2 bmi bmi2 f16c fma lzcnt movbe",
        ),
    ],
)
def test_levels_need_what_all_their_cpus_have(level: str, most: str) -> None:
    with features.limited(level):
        found = cpu.needed(features.cpu_features())
    assert {name for name in found if " " not in name} <= set(most.split())


def test_the_features_of_this_cpu_are_found_and_others_are_not() -> None:
    """What the table of features says agrees with what LLVM finds out by itself."""
    function = find("has_feature", vars(library))
    assert callable(function)
    compiled = function((Value(externs.WORDS, "%t"), Value(I64, "%row")))
    head = f"define i64 @graphc_asks(ptr %t) {{\n  %y = call i1 @{compiled.symbol}(ptr %t, i64 0)"
    text = "\n".join([module_text(compiled), head, "  %r = zext i1 %y to i64\n  ret i64 %r\n}"])
    address = linker.link({"graphc_asks": target.compile_portable(text)})["graphc_asks"]
    asks = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address)
    present = set(features.cpu_features())
    for name in cpu._BITS:
        feature = cpu.needed([name])[name]
        assert asks(words(feature)) == (name in present), name


# ------------------------------------------------------------------------------ plans
def planned(t: list[int], sizes: Sequence[int], bases: dict[int, int]) -> list[int]:
    """Return a context in which the planner of libraries, as Python, has made a plan."""
    c, d = [0] * t[layout.T_CONTEXT_WORDS], [0] * t[layout.T_ROWS]
    assert planning.solve(t, d, sizes) == 0
    assert planning.rest(t, d, sizes) == 1
    planning.place(t, c, d)
    planning.settle(t, c, 0)
    for base, address in bases.items():
        c[t[layout.T_AT_BASES] + base] = address
    planning.write(t, c, d)
    return c


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_planner_writes_the_words_of_plans(name: str, programs: dict[str, gx.Program]) -> None:
    program = programs[name]
    image, linked = program._image, program._linked
    numbers = numbering(image, {f.number for p in lasting(image) for f in p.fills})
    made = template(image, numbers)
    executable = program._source.executable
    t = np.frombuffer(tables(image, numbers, made, data_of(executable), {}).pieces[0], np.int64).tolist()
    preparations = Preparations(image, executable.leaves)
    for sizes in [*SIZES[name], *((7 * k, *s[1:]) for k, s in enumerate(SIZES[name], 1))]:
        named = dict(zip(size_names(image), sizes, strict=True))
        plan = plans.build(linked, named, 1, prepared := preparations.at(named))
        plan.rebase(0)
        functions = [*linked.functions, control_llvm.loop(), control_llvm.switch()]
        bases = {layout.BASE_SELF: ctypes.addressof(plan.words), layout.BASE_STATUS: linked.status}
        bases |= {layout.BASE_FUNCTIONS + k: address for k, address in enumerate(functions)}
        bases |= {numbers.data + k: address for k, address in enumerate(linked.leaves)}
        for number, address in (item for p in prepared for item in p.addresses.items()):
            first = numbers.data + numbers.leaves if number in numbers.lasting else numbers.fill
            bases[first + number] = address
        c = planned(t, sizes, bases)
        assert c[t[layout.T_AT_SECTION_BYTES]] == plan.arena_size
        # The program's own table stands last of what it runs.
        end = made.run + 2 + 2 * len(image.sections[0].steps)
        differing = [
            k for k in range(end) if c[t[layout.T_AT_WORDS] + k] != plan.words[k] and k not in made.slots
        ]
        assert not differing
        slots = {slot for slot, _ in plan.call_slots} | {slot for slot, *_ in plan.inner_slots}
        assert slots == {k for k in made.slots if k < end}


def test_rooms_lie_where_plans_have_them() -> None:
    rng = np.random.default_rng(5)
    for count in (1, 2, 5, 20, 60):
        for _ in range(20):
            first = rng.integers(0, 12, count)
            last = first + rng.integers(0, 6, count)
            sizes = rng.integers(0, 5, count) * int(rng.choice([1, 64, 100]))
            rows = np.stack([first, last, sizes], axis=1).tolist()
            rooms = tuple(Room(*row) for row in rows)
            facts = Facts((), (), (), 0, ())
            image = Image((), (), (), (), (), 0, (Section((), rooms),), (), (), facts)
            numbers = numbering(image, set())
            made = tables(image, numbers, template(image, numbers), Data({}, {}, ()), {})
            t = np.frombuffer(made.pieces[0], np.int64).tolist()
            c = planned(t, [], {})
            found, size = placement.place([placement.Block(k, *row) for k, row in enumerate(rows)])
            offsets = {k: c[t[layout.T_AT_OFFSETS] + numbers.order[0, k]] for k in range(count)}
            assert (offsets, c[t[layout.T_AT_SECTION_BYTES]]) == (found, size)


@pytest.mark.parametrize("sizes", [(1 << 40, 1 << 40), (-(1 << 63), 1), ((1 << 63) - 1, 1)])
def test_products_beyond_a_word_are_noticed(sizes: tuple[int, int]) -> None:
    x = gx.placeholder("x", shape=("a", "b"))
    image = gx.compile(x, x + 1, optimize="none")._image
    numbers = numbering(image, set())
    made = tables(image, numbers, template(image, numbers), Data({}, {}, ()), {})
    t = np.frombuffer(made.pieces[0], np.int64).tolist()
    assert planning.solve(t, [0] * t[layout.T_ROWS], sizes) & 255 == layout.SIZES


# ------------------------------------------------------------------------------ C
def compiled(folder: Path, source: str, *options: str) -> Path:
    """Compile a C program beside a library."""
    (folder / "main.c").write_text(source)
    name = next(folder.glob("lib*.so")).stem.removeprefix("lib")
    command = [str(CC), "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O1", "main.c", "-o", "main"]
    command += ["-L.", f"-l{name}", "-Wl,-rpath,$ORIGIN", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "main"


@needs_compiler
@pytest.mark.parametrize("name", ["lenet", "loops"])
def test_the_example_runs_on_bytes_from_a_pipe(name: str, programs: Any, exported: Any) -> None:
    example = exported[name].example
    main = compiled(example.parent, example.read_text())
    for sizes in SIZES[name][:3]:
        given = arrays_for(name, sizes)
        piped = b"".join(a.tobytes() for a in given)
        done = subprocess.run([main, *map(str, sizes)], input=piped, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == b"".join(a.tobytes() for a in outputs_of(programs[name], given))
    short = subprocess.run([main, *"99"[: len(sizes)]], input=b"", capture_output=True, check=False)
    assert short.returncode == 1 and short.stderr.startswith(b"cannot read ")
    assert subprocess.run([main], capture_output=True, check=False).returncode == 2
    bad = subprocess.run([main, *["-1"] * len(sizes)], input=b"", capture_output=True, check=False)
    assert bad.returncode == 1 and b"is negative" in bad.stderr


THREADS = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lenet.h"

static float images[8 * 784], expected[8][80];

static void *work(void *wrong) {
  lenet_context *context;
  if (lenet_create(&context)) return wrong;
  for (int round = 0; round < 40; round++) {
    float scores[80];
    lenet_sizes sizes = {.batch = 1 + round % 8};
    lenet_inputs inputs = {.images = images};
    lenet_outputs outputs = {.output = scores};
    if (lenet_run(context, &sizes, &inputs, &outputs)) *(int *)wrong += 1;
    if (memcmp(scores, expected[round % 8], sizes.batch * 10 * sizeof(float))) *(int *)wrong += 1;
  }
  lenet_destroy(context);
  return NULL;
}

int main(void) {
  for (int k = 0; k < 8 * 784; k++) images[k] = (float)(k % 97) / 97;
  lenet_context *context;
  if (lenet_create(&context)) return 1;
  for (int n = 0; n < 8; n++) {
    lenet_sizes sizes = {.batch = 1 + n};
    lenet_inputs inputs = {.images = images};
    lenet_outputs outputs = {.output = expected[n]};
    if (lenet_run(context, &sizes, &inputs, &outputs)) return 1;
  }
  lenet_destroy(context);
  pthread_t threads[2];
  int wrong[2] = {0, 0};
  for (int k = 0; k < 2; k++) pthread_create(&threads[k], NULL, work, &wrong[k]);
  for (int k = 0; k < 2; k++) pthread_join(threads[k], NULL);
  printf("%d %d\\n", wrong[0], wrong[1]);
  return 0;
}
"""


@needs_compiler
def test_two_threads_of_c_run_at_once(exported: Any) -> None:
    main = compiled(exported["lenet"].example.parent, THREADS, "-pthread")
    assert subprocess.run([main], capture_output=True, text=True, check=False).stdout == "0 0\n"


@pytest.mark.skipif(CXX is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", PROGRAMS)
def test_headers_are_c_plus_plus_as_well(name: str, exported: Any) -> None:
    command = [str(CXX), "-fsyntax-only", "-x", "c++", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    done = subprocess.run(
        [*command, "-"], input=exported[name].header.read_bytes(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_names_of_fields_are_names_of_c() -> None:
    given = ["a/b", "a b", "a_b", "if", "0", "", "größe"]
    assert [identifier(n) for n in given] == ["a_b", "a_b", "a_b", "if_", "_0", "_", "gr__e"]
    a, b = gx.placeholder("a/b", shape=()), gx.placeholder("a b", shape=())
    face = interface("pair", gx.compile([a, b], a + b)._image, gx.compile([a, b], a + b)._nest)
    assert [f.name for f in face.inputs] == ["a_b", "a_b_2"]


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_libraries_show_their_functions_and_need_libc_alone(exported: Any) -> None:
    def symbols(kind: str) -> set[str]:
        command = ["nm", "-D", kind, str(exported["loops"].library)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {line.split()[-1].partition("@")[0] for line in text.splitlines()}

    shown = {f"loops_{what}" for what in ("create", "destroy", "run", "shapes_at", "state_of", "message")}
    assert symbols("--defined-only") == shown
    assert symbols("--undefined-only") <= {"malloc", "free", "memcpy", "memset", "memmove"}


@needs_compiler
def test_the_program_in_the_documentation_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "native.md").read_text(encoding="utf-8")
    fences = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    of = {language: [content for kind, content in fences if kind == language] for language, _ in fences}
    subprocess.run([sys.executable, "-c", of["python"][0]], cwd=tmp_path, check=True)
    (source,) = of["c"]
    main = compiled(tmp_path / "out", source)
    assert subprocess.run([main], capture_output=True, text=True, check=True).stdout == of["output"][0]
