"""Vector math: elementary functions of float32 and float64 as branch-free arithmetic that LLVM vectorizes.

Each function exists twice, `exp_f32` and `exp_f64`, and stays within 2 ulp of the exact result over the whole
range: infinities, nan, signed zeros and subnormals included. Exceptions are erfc and digamma with 3 ulp, and
results that cancel: of logaddexp near zero, whose error is then counted in ulps of the larger operand, and of
lgamma and digamma for negative arguments. The functions are plain Python functions of NumPy scalars. The
just-in-time compiler takes them as they are, replaces the free names that come from `graphc.codegen.device`
by LLVM types and instructions, compiles every function they call the same way, and inlines all of it into a
kernel's loop.

Rules that keep them vectorizable and exact:

- no branches: both sides of every `a if c else b` are computed before, so that it becomes a select;
- no calls into the C library, no tables in memory, no conversion between int64 and float64. Processors
  without fused multiply-add or rounding instructions do call it for `fma`, `rint` and `floor`: same results,
  but pow, and the float64 angles, are then not vectorized;
- fused and unfused multiply-add may be chosen freely: where a product must not be rounded it is exact by
  its bits, or `fma` is spelled out. The flags nnan, ninf, nsz and reassoc must not be set on this code.
"""

from __future__ import annotations

from graphc.codegen.mathlib.error_function import (
    erf_f32,
    erf_f64,
)
from graphc.codegen.mathlib.exponential import (
    cosh_f32,
    cosh_f64,
    exp2_f32,
    exp2_f64,
    exp_f32,
    exp_f64,
    expm1_f32,
    expm1_f64,
    sigmoid_f32,
    sigmoid_f64,
    sinh_f32,
    sinh_f64,
    tanh_f32,
    tanh_f64,
)
from graphc.codegen.mathlib.gamma_function import (
    digamma_f32,
    digamma_f64,
    lgamma_f32,
    lgamma_f64,
)
from graphc.codegen.mathlib.inverse_error import (
    erfc_f32,
    erfc_f64,
    erfcinv_f32,
    erfcinv_f64,
    erfinv_f32,
    erfinv_f64,
)
from graphc.codegen.mathlib.inverse_hyperbolic import (
    acosh_f32,
    acosh_f64,
    asinh_f32,
    asinh_f64,
    atanh_f32,
    atanh_f64,
)
from graphc.codegen.mathlib.inverse_trigonometric import (
    acos_f32,
    acos_f64,
    asin_f32,
    asin_f64,
    atan2_f32,
    atan2_f64,
    atan_f32,
    atan_f64,
)
from graphc.codegen.mathlib.logarithm import (
    log1p_f32,
    log1p_f64,
    log2_f32,
    log2_f64,
    log10_f32,
    log10_f64,
    log_f32,
    log_f64,
    logaddexp_f32,
    logaddexp_f64,
    softplus_f32,
    softplus_f64,
)
from graphc.codegen.mathlib.neighbour import nextafter_f32, nextafter_f64
from graphc.codegen.mathlib.power import (
    cbrt_f32,
    cbrt_f64,
    hypot_f32,
    hypot_f64,
    pow_f32,
    pow_f64,
    rsqrt_f32,
    rsqrt_f64,
)
from graphc.codegen.mathlib.trigonometric import (
    cos_f32,
    cos_f64,
    sin_f32,
    sin_f64,
    tan_f32,
    tan_f64,
)

__all__ = [
    "acos_f32",
    "acos_f64",
    "acosh_f32",
    "acosh_f64",
    "asin_f32",
    "asin_f64",
    "asinh_f32",
    "asinh_f64",
    "atan2_f32",
    "atan2_f64",
    "atan_f32",
    "atan_f64",
    "atanh_f32",
    "atanh_f64",
    "cbrt_f32",
    "cbrt_f64",
    "cos_f32",
    "cos_f64",
    "cosh_f32",
    "cosh_f64",
    "digamma_f32",
    "digamma_f64",
    "erf_f32",
    "erf_f64",
    "erfc_f32",
    "erfc_f64",
    "erfcinv_f32",
    "erfcinv_f64",
    "erfinv_f32",
    "erfinv_f64",
    "exp2_f32",
    "exp2_f64",
    "exp_f32",
    "exp_f64",
    "expm1_f32",
    "expm1_f64",
    "hypot_f32",
    "hypot_f64",
    "lgamma_f32",
    "lgamma_f64",
    "log1p_f32",
    "log1p_f64",
    "log2_f32",
    "log2_f64",
    "log10_f32",
    "log10_f64",
    "log_f32",
    "log_f64",
    "logaddexp_f32",
    "logaddexp_f64",
    "nextafter_f32",
    "nextafter_f64",
    "pow_f32",
    "pow_f64",
    "rsqrt_f32",
    "rsqrt_f64",
    "sigmoid_f32",
    "sigmoid_f64",
    "sin_f32",
    "sin_f64",
    "sinh_f32",
    "sinh_f64",
    "softplus_f32",
    "softplus_f64",
    "tan_f32",
    "tan_f64",
    "tanh_f32",
    "tanh_f64",
]
