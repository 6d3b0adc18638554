"""Vector math: at most 2 ulp over the whole range, and full-width vector code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from llvmlite import binding

from graphc.codegen import device, mathlib
from graphc.runtime import kernels, runner
from graphc.runtime.kernel_source import TRAILING, KernelSource

inf, nan, pi = np.inf, np.nan, np.pi
# nextafter is exact or wrong: a bound in ulps says nothing about it (see test_ops_elementwise).
NAMES = [name for name in mathlib.__all__ if not name.startswith("nextafter")]
F32_NAMES = [name for name in NAMES if name.endswith("_f32")]
F64_NAMES = [name for name in NAMES if name.endswith("_f64")]
MAX_ULP = 2
# erfc is a product of four factors, digamma a sum of up to four reciprocals and a polynomial.
ALLOWED = {"erfc": 3, "digamma": 3}
LOOP = """
def kernel({pointers}, out, n, {share}):
    for i in range(n):
        out[i] = {value}
"""


def loop(kind: str, operands: int, value: str) -> KernelSource:
    """Return the kernel ``out[i] = value`` over one array or two, x and y."""
    names = ("x", "y")[:operands]
    code = LOOP.format(pointers=", ".join(names), share=", ".join(TRAILING), value=value)
    pointer = "float32*" if kind == "f32" else "float64*"
    return KernelSource("loop", (*((name, pointer) for name in (*names, "out")), ("n", "int64")), code)


def arity(name: str) -> int:
    return len(inspect.signature(getattr(mathlib, name)).parameters)


def dtype_of(name: str) -> type[Any]:
    return np.float32 if name.endswith("f32") else np.float64


def loop_over(name: str) -> KernelSource:
    """Return the loop out[i] = f(x[i]) or f(x[i], y[i])."""
    operands = ("x[i]", "y[i]")[: arity(name)]
    return loop(name[-3:], arity(name), f"{name}({', '.join(operands)})")


def apply(name: str, *args: Any) -> Any:
    out = np.empty_like(args[0])
    (kernel,) = kernels.load_kernels([loop_over(name)])
    operands = [np.ascontiguousarray(x) for x in (*args, out)]
    block = np.array([*(x.ctypes.data for x in operands), out.size], np.int64)
    status = np.zeros(1, np.int64)
    table = np.array([1, status.ctypes.data, kernel.address, block.ctypes.data], np.int64)
    assert runner.run(table.ctypes.data) == 1
    return operands[-1]


# --- references and errors ------------------------------------------------------------------------------


def inverse_of_erfc(x: Any) -> Any:
    """Return the y of erfc(y) = x; mpmath has only the inverse of erf."""
    if not 0 < x < 2:
        return {0: mpmath.inf, 2: -mpmath.inf}.get(x, mpmath.nan)
    if x > 1e-3:
        return mpmath.erfinv(1 - x)
    y = mpmath.sqrt(-mpmath.log(x))
    for _ in range(100):
        tail = mpmath.erfc(y)
        step = (mpmath.log(tail) - mpmath.log(x)) * tail * mpmath.exp(y * y) * mpmath.sqrt(mpmath.pi) / 2
        y += step
        if abs(step) < mpmath.mpf(2) ** -90:
            break
    return y


def log_gamma(x: Any) -> Any:
    if mpmath.isint(x) and x <= 0:
        return mpmath.inf
    return mpmath.re(mpmath.loggamma(x)) if mpmath.isfinite(x) else abs(x)


def psi(x: Any) -> Any:
    if x < 0 and mpmath.isint(x):
        return mpmath.nan
    return -1 / x if x == 0 else mpmath.digamma(x)


def erfinv(x: Any) -> Any:
    return mpmath.erfinv(x) if -1 <= x <= 1 else mpmath.nan


def exactly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of one mpmath number as one of arrays."""

    def apply(x: Any) -> Any:
        with mpmath.workprec(100):
            found = [function(mpmath.mpf(float(v))) for v in x]
            return np.array([np.longdouble(mpmath.nstr(v, 25)) for v in found], np.longdouble)

    return apply


# Functions that NumPy does not have, slower to compute exactly.
SLOW: dict[str, Callable[..., Any]] = {
    "digamma": psi,
    "erf": mpmath.erf,
    "erfc": lambda x: mpmath.erfc(max(min(x, 100), -100)),
    "erfcinv": inverse_of_erfc,
    "erfinv": erfinv,
    "lgamma": log_gamma,
}
# Where a result cancels, its error is counted in ulps of what cancels.
SCALE: dict[str, Callable[..., Any]] = {
    "logaddexp": lambda x, y: np.maximum(np.abs(x), np.abs(y)),
    "lgamma": lambda x: np.where(x < 0, 4 + np.abs(x), 0),
    "digamma": lambda x: np.where(x < 0, 4 + np.abs(np.pi / np.tan(np.pi * x)) + np.abs(x), 0),
}


def scale_of(name: str, args: Sequence[Any]) -> Any:
    rule = SCALE.get(name[:-4])
    with np.errstate(all="ignore"):
        found = np.asarray(rule(*(np.asarray(x, np.float64) for x in args)) if rule else 0.0)
    return np.where(np.isfinite(found), found, 0)


# What NumPy calls by the same name is found there; float32 is checked in float64, float64 in long double.
REFERENCE: dict[str, Callable[..., Any]] = {
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    **{name: exactly(function) for name, function in SLOW.items()},
    "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, np.zeros_like(x)),
}
MPMATH: dict[str, Callable[..., Any]] = {
    **SLOW,
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "pow": mpmath.power,
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "logaddexp": lambda x, y: max(x, y) + mpmath.log1p(mpmath.exp(-abs(x - y))),
}
# Where a function is neither constant nor undefined: float32, float64.
RANGE = {
    "exp": ((-104, 89), (-746, 710)),
    "exp2": ((-151, 129), (-1076, 1025)),
    "expm1": ((-18, 89), (-38, 710)),
    "sinh": ((-90, 90), (-711, 711)),
    "cosh": ((-90, 90), (-711, 711)),
    "tanh": ((-10, 10), (-20, 20)),
    "sigmoid": ((-104, 20), (-746, 40)),
    "softplus": ((-104, 20), (-746, 40)),
    "logaddexp": ((-100, 100), (-700, 700)),
    "erf": ((-4.5, 4.5), (-6.5, 6.5)),
    "erfc": ((-4, 10.2), (-6, 27.3)),
    "erfinv": ((-1, 1), (-1, 1)),
    "erfcinv": ((0, 2), (0, 2)),
    "asin": ((-1, 1), (-1, 1)),
    "acos": ((-1, 1), (-1, 1)),
    "atanh": ((-1, 1), (-1, 1)),
    "acosh": ((1, 20), (1, 20)),
    "log1p": ((-1, 5), (-1, 5)),
}


def any_bits(rng: np.random.Generator, dtype: type[Any], count: int) -> Any:
    unsigned = np.uint32 if dtype is np.float32 else np.uint64
    return rng.integers(0, np.iinfo(unsigned).max, count, unsigned, endpoint=True).view(dtype)


def in_range(rng: np.random.Generator, name: str, count: int) -> Any:
    low, high = RANGE.get(name[:-4], ((-10, 10), (-10, 10)))[name.endswith("_f64")]
    wide = rng.uniform(low, high, count // 2)
    near_zero = rng.uniform(-2, 2, count // 4)
    tiny = rng.choice([-1, 1], count // 4) * 10.0 ** rng.uniform(-12, 1, count // 4)
    return np.concatenate([wide, near_zero, tiny]).astype(dtype_of(name))


def power_samples(rng: np.random.Generator, dtype: type[Any], count: int) -> tuple[Any, Any]:
    """Return bases and exponents whose power spans the whole range of results."""
    base = np.exp(rng.choice([1.0, 40.0, 1e-3], count) * rng.uniform(-1, 1, count)).astype(dtype)
    limit = np.log(float(np.finfo(dtype).max)) * 1.1
    exponent = rng.uniform(-limit, limit, count) / np.log(np.where(base == 1, 2, base.astype(np.float64)))
    whole = rng.random(count) < 0.2
    signs = np.where(whole & (rng.random(count) < 0.5), -1, 1)
    return base * signs.astype(dtype), np.where(whole, np.rint(exponent), exponent).astype(dtype)


def samples(name: str, count: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(2024)
    dtype = dtype_of(name)
    columns = [np.concatenate([any_bits(rng, dtype, count // 2), in_range(rng, name, count // 2)])]
    if arity(name) == 2:
        columns.append(rng.permutation(columns[0]))
    if name.startswith("pow_"):
        powers = power_samples(rng, dtype, count // 2)
        columns = [np.concatenate(pair) for pair in zip(columns, powers, strict=True)]
    return tuple(columns)


def ulp_errors(got: Any, exact: Any, scale: Any = 0) -> Any:
    """Return |got - exact| in ulps of the exact value (or of a larger scale); infinity is the next float."""
    info = np.finfo(got.dtype)
    wide = exact.dtype.type
    limit = wide(2) ** info.maxexp
    clipped, reached = np.clip(exact, -limit, limit), np.clip(got.astype(wide), -limit, limit)
    _, exponent = np.frexp(np.maximum(np.minimum(np.abs(clipped), info.max), scale))
    ulp = np.ldexp(wide(1), np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))
    errors = np.abs(reached - clipped) / ulp
    same = (got == exact) | (np.isnan(got) & np.isnan(exact))
    return np.where(same, 0, np.where(np.isnan(errors), inf, errors))


def check(name: str, args: tuple[Any, ...], wide: type[Any]) -> None:
    got = apply(name, *args)
    base = name[:-4]
    with np.errstate(all="ignore"):
        reference = REFERENCE.get(base) or getattr(np, base)
        exact = np.asarray(reference(*[x.astype(wide) for x in args]))
        errors = ulp_errors(got, exact, scale_of(name, args))
    worst = int(np.argmax(errors))
    point = [x[worst] for x in args]
    assert errors[worst] <= ALLOWED.get(base, MAX_ULP), (
        f"{name}{point} = {got[worst]!r}, exact {exact[worst]!r}"
    )


needs_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="long double is no wider than float64 here"
)

# --- tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", F32_NAMES)
def test_accuracy_f32(name: str) -> None:
    check(name, samples(name, 6_000 if name[:-4] in SLOW else 1_000_000), np.float64)


@needs_long_double
@pytest.mark.parametrize("name", F64_NAMES)
def test_accuracy_f64(name: str) -> None:
    check(name, samples(name, 6_000 if name[:-4] in SLOW else 200_000), np.longdouble)


def mpmath_error(got: float, exact: Any, scale: Any = 0) -> Any:
    """Return the error of a float64 in ulps of an mpmath number (or of a larger scale)."""
    if isinstance(exact, mpmath.mpc) or mpmath.isnan(exact):
        return 0 if np.isnan(got) else inf
    limit = mpmath.mpf(2) ** 1024
    reached = mpmath.mpf(got) if np.isfinite(got) else mpmath.sign(got) * limit
    clipped = max(min(exact, limit), -limit)
    largest = min(max(abs(clipped), scale), mpmath.mpf(np.finfo(np.float64).max))
    ulp = mpmath.mpf(2) ** max(mpmath.frexp(largest)[1] - 53, -1074)
    return abs(reached - clipped) / ulp


@pytest.mark.parametrize("name", F64_NAMES)
def test_accuracy_f64_against_mpmath(name: str) -> None:
    rng = np.random.default_rng(7)
    args = tuple(in_range(rng, name, 400) for _ in range(arity(name)))
    if name == "pow_f64":
        args = power_samples(rng, np.float64, 400)
    got = apply(name, *args)
    function = MPMATH.get(name[:-4]) or getattr(mpmath, name[:-4])
    with mpmath.workprec(200):
        for value, *point in zip(got.tolist(), *[x.tolist() for x in args], strict=True):
            try:
                exact = function(*map(mpmath.mpf, point))
            except (ValueError, ZeroDivisionError):
                exact = mpmath.nan
            scale = float(scale_of(name, point))
            assert mpmath_error(value, exact, scale) <= ALLOWED.get(name[:-4], MAX_ULP), (point, value)


def near_quarter_turns(digits: int, exponents: range) -> list[float]:
    """Return floats of that many digits that come closest to a multiple of pi/2, one for every exponent.

    They are the denominators of the continued fraction of 2**exponent / (pi/2).
    """
    with mpmath.workprec(2600):
        quarters = int(mpmath.ldexp(2 / mpmath.pi, 2500))
    points = []
    for exponent in exponents:
        numerator, denominator = 1 << 2500, (quarters << exponent) % (1 << 2500)
        previous, current = 0, 1
        while True:
            quotient, remainder = divmod(numerator, denominator)
            following = previous + quotient * current
            if following >= 1 << digits:
                break
            numerator, denominator = denominator, remainder
            previous, current = current, following
        points.append(float(mpmath.ldexp(current, exponent)))
    return points


@pytest.mark.parametrize("base", ["sin", "cos", "tan"])
def test_angles_nearest_to_quarter_turns(base: str) -> None:
    with mpmath.workprec(1300):
        for kind, digits, exponents in (("f32", 24, range(104)), ("f64", 53, range(970))):
            points = np.array(near_quarter_turns(digits, exponents), dtype_of(kind))
            got = apply(f"{base}_{kind}", points)
            unit = float(np.finfo(got.dtype).eps) / float(np.finfo(np.float64).eps)
            for point, value in zip(points.tolist(), got.tolist(), strict=True):
                error = mpmath_error(value, getattr(mpmath, base)(mpmath.mpf(point))) / unit
                assert error <= MAX_ULP, (kind, point, value)


SPECIAL: dict[str, list[tuple[Any, ...]]] = {
    "exp": [(0, 1), (-inf, 0), (inf, inf), (nan, nan), (1e30, inf), (-1e30, 0)],
    "exp2": [(0, 1), (3, 8), (-2, 0.25), (-inf, 0), (inf, inf), (nan, nan)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (-inf, -1), (inf, inf), (nan, nan)],
    "log": [(1, 0.0), (0.0, -inf), (-0.0, -inf), (-1, nan), (-inf, nan), (inf, inf), (nan, nan)],
    "log2": [(1, 0.0), (8, 3), (0.0, -inf), (-0.0, -inf), (-1, nan), (inf, inf), (nan, nan)],
    "log10": [(1, 0.0), (1000, 3), (0.0, -inf), (-1, nan), (inf, inf), (nan, nan)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1, -inf), (-2, nan), (-inf, nan), (inf, inf), (nan, nan)],
    "sigmoid": [(0, 0.5), (inf, 1), (-inf, 0), (nan, nan)],
    "softplus": [(inf, inf), (-inf, 0.0), (nan, nan)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan)],
    "erfc": [(0.0, 1), (inf, 0.0), (-inf, 2), (30, 0.0), (nan, nan)],
    "erfinv": [(0.0, 0.0), (-0.0, -0.0), (1, inf), (-1, -inf), (1.5, nan), (-inf, nan), (nan, nan)],
    "erfcinv": [(1, 0.0), (0.0, inf), (-0.0, inf), (2, -inf), (-1, nan), (2.5, nan), (inf, nan), (nan, nan)],
    "lgamma": [
        (1, 0.0), (2, 0.0), (0.0, inf), (-0.0, inf), (-3, inf), (inf, inf), (-inf, inf), (nan, nan),
        (0.5, np.log(pi) / 2),
    ],
    "digamma": [
        (1, -np.euler_gamma), (0.0, -inf), (-0.0, inf), (-2, nan), (inf, inf), (-inf, nan), (nan, nan),
    ],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (nan, nan)],
    "cosh": [(0, 1), (inf, inf), (-inf, inf), (nan, nan)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (nan, nan)],
    "acosh": [(1, 0.0), (0.5, nan), (-inf, nan), (inf, inf), (nan, nan)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1, inf), (-1, -inf), (1.5, nan), (-inf, nan), (nan, nan)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (nan, nan)],
    "cos": [(0, 1), (-0.0, 1), (inf, nan), (-inf, nan), (nan, nan)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (nan, nan)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1, pi / 2), (-1, -pi / 2), (1.5, nan), (inf, nan), (nan, nan)],
    "acos": [(1, 0.0), (-1, pi), (0, pi / 2), (-1.5, nan), (-inf, nan), (nan, nan)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (inf, pi / 2), (-inf, -pi / 2), (nan, nan)],
    "atan2": [
        (0.0, 1, 0.0), (-0.0, 1, -0.0), (0.0, 0.0, 0.0), (-0.0, 0.0, -0.0), (0.0, -0.0, pi),
        (-0.0, -0.0, -pi), (0.0, -1, pi), (-0.0, -1, -pi), (1, 0.0, pi / 2), (-1, -0.0, -pi / 2),
        (inf, inf, pi / 4), (-inf, inf, -pi / 4), (inf, -inf, 3 * pi / 4), (-inf, -inf, -3 * pi / 4),
        (1, inf, 0.0), (-1, inf, -0.0), (1, -inf, pi), (-1, -inf, -pi), (inf, 1, pi / 2),
        (nan, 1, nan), (1, nan, nan),
    ],
    "pow": [
        (2, 0.5, 2**0.5), (-2, 3, -8), (-2, 2, 4), (-8, 1 / 3, nan), (nan, 0, 1), (1, nan, 1), (nan, 1, nan),
        (2, nan, nan), (0.0, -1, inf), (-0.0, -1, -inf), (-0.0, -2, inf), (0.0, 2, 0.0), (-0.0, 3, -0.0),
        (-0.0, 0.5, 0.0), (0.5, inf, 0.0), (0.5, -inf, inf), (2, inf, inf), (2, -inf, 0.0), (-1, inf, 1),
        (-1, -inf, 1), (inf, 2, inf), (inf, -1, 0.0), (-inf, 3, -inf), (-inf, 2, inf), (-inf, 0.5, inf),
        (-inf, -3, -0.0), (1, 1e30, 1), (-1, 1e30, 1), (0.0, inf, 0.0), (0.0, -inf, inf),
    ],
    "rsqrt": [(4, 0.5), (0.0, inf), (-0.0, -inf), (inf, 0.0), (-1, nan), (nan, nan)],
    "cbrt": [(0.0, 0.0), (-0.0, -0.0), (8, 2), (-27, -3), (inf, inf), (-inf, -inf), (nan, nan)],
    "hypot": [
        (3, 4, 5), (0.0, -0.0, 0.0), (inf, nan, inf), (nan, -inf, inf), (nan, 1, nan), (1, nan, nan),
        (-inf, 1, inf), (1e38, 0, 1e38),
    ],
    "logaddexp": [
        (0, 0, np.log(2)), (-inf, -inf, -inf), (inf, inf, inf), (inf, -inf, inf), (-inf, 3, 3), (nan, 1, nan),
        (1, nan, nan), (nan, inf, nan),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_special_values(name: str) -> None:
    *args, expected = np.array(SPECIAL[name[:-4]], np.float64).T.astype(dtype_of(name))
    got = apply(name, *map(np.ascontiguousarray, args))
    with np.errstate(all="ignore"):
        assert np.all(ulp_errors(got, expected.astype(np.float64)) <= 1), (got, expected)
    exact = (expected == 0) | ~np.isfinite(expected)
    np.testing.assert_array_equal(got[exact], expected[exact])
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))


ODD = {"expm1", "log1p", "tanh", "sinh", "asinh", "atanh", "erf", "sin", "tan", "asin", "atan"}


@pytest.mark.parametrize("name", [name for name in NAMES if name[:-4] in ODD])
def test_smallest_subnormals_survive(name: str) -> None:
    """Slope 1 at zero returns a subnormal as it is; erf has another slope."""
    tiny = np.finfo(dtype_of(name)).smallest_subnormal * np.arange(-8, 9).astype(dtype_of(name))
    slope = 2 / np.sqrt(pi) if name.startswith("erf") else 1
    np.testing.assert_array_equal(apply(name, tiny), np.rint(slope * np.arange(-8, 9)) * tiny[9])


def validation_sets() -> list[Path]:
    return sorted((Path(np.__file__).parent / "_core/tests/data").glob("umath-validation-set-*.csv"))


@pytest.mark.skipif(not validation_sets(), reason="this NumPy was installed without its test data")
@pytest.mark.parametrize("path", validation_sets(), ids=lambda path: path.stem.split("-")[-1])
def test_numpy_validation_set(path: Path) -> None:
    rows = [line.split(",") for line in path.read_text().splitlines() if line.startswith("np.float")]
    base = path.stem.split("-")[-1].replace("arc", "a")
    for kind, unsigned in (("f32", np.uint32), ("f64", np.uint64)):
        name = f"{base}_{kind}"
        dtype = dtype_of(name)
        bits = [[int(x, 16) for x in row[1:3]] for row in rows if row[0] == f"np.{dtype.__name__}"]
        x, expected = np.ascontiguousarray(np.array(bits, unsigned).T).view(dtype)
        with np.errstate(invalid="ignore"):
            errors = ulp_errors(apply(name, x), expected.astype(np.longdouble))
        assert errors.max() <= MAX_ULP, (name, x[errors.argmax()])


@pytest.mark.parametrize("name", NAMES)
def test_plain_python_agrees(name: str) -> None:
    """The same source on NumPy scalars: no fused operations, so it also checks hosts without them."""
    args = samples(name, 64)
    with np.errstate(all="ignore"):
        plain = np.array([getattr(mathlib, name)(*point) for point in zip(*args, strict=True)])
        errors = ulp_errors(plain, apply(name, *args).astype(np.longdouble), scale_of(name, args))
    assert plain.dtype == dtype_of(name)
    assert errors.max() <= 2 * MAX_ULP


def widest_register(assembly: str) -> str:
    return next(r for r in (r"zmm\d+", r"ymm\d+", r"xmm\d+", r"v\d+\.[24][sd]") if re.search(r, assembly))


@cache
def full_width() -> str:
    """Return the registers that the compiler takes on this host for the simplest loop."""
    return widest_register(kernels.asm(loop("f32", 1, "x[i] + x[i]")))


@pytest.mark.skipif(
    not binding.get_host_cpu_features().get("fma", True),
    reason="without fused multiply-add instructions the exact products are calls into the C library",
)
@pytest.mark.parametrize("name", NAMES)
def test_loop_uses_full_width_vectors(name: str) -> None:
    assembly = kernels.asm(loop_over(name))
    assert widest_register(assembly) == full_width()
    arithmetic = re.compile(rf"\b(v?(f?n?m?(add|sub)|mul|div)\w*p[sd]|f(mul|mla|add))\b.*{full_width()}")
    assert len(arithmetic.findall(assembly)) >= (1 if name.startswith("rsqrt") else 5)
    called = {word.removesuffix("f") for word in re.findall(r"\b[a-z][a-z0-9]+\b", assembly)}
    assert not called & {"exp", "log", "sin", "cos", "tan", "pow", "fma", "rint", "floor"}


def test_fused_multiply_add_in_plain_python() -> None:
    for a, b, c in ((1 + 2**-20, 1 - 2**-20, -1), (3, 5, 7), (1e30, 1e30, -inf), (1e-40, 1e-5, 1e-44)):
        f, d = np.float32, np.float64
        with mpmath.workprec(300), np.errstate(all="ignore"):
            exact = mpmath.mpf(float(f(a))) * mpmath.mpf(float(f(b))) + mpmath.mpf(float(f(c)))
            assert device.fma_f32(f(a), f(b), f(c)) == f(float(exact))
            assert device.fma_f64(d(f(a)), d(f(b)), d(f(c))) == d(float(exact))
