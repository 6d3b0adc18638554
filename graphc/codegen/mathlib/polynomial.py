"""Horner's scheme, one function per number of coefficients so that nothing is left to unroll."""

from __future__ import annotations

from typing import TypeVar

from graphc.codegen.device import f32, f64

F = TypeVar("F", f32, f64)


def poly4(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 4 coefficients c, lowest power first, at x.

    >>> poly4(f64(1), (f64(0.5),) * 4)
    np.float64(2.0)
    """
    return ((c[3] * x + c[2]) * x + c[1]) * x + c[0]


def poly5(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 5 coefficients c, lowest power first, at x.

    >>> poly5(f64(1), (f64(0.5),) * 5)
    np.float64(2.5)
    """
    return (((c[4] * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


def poly6(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 6 coefficients c, lowest power first, at x.

    >>> poly6(f64(1), (f64(0.5),) * 6)
    np.float64(3.0)
    """
    return ((((c[5] * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


def poly7(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 7 coefficients c, lowest power first, at x.

    >>> poly7(f64(1), (f64(0.5),) * 7)
    np.float64(3.5)
    """
    return (((((c[6] * x + c[5]) * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


def poly8(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 8 coefficients c, lowest power first, at x.

    >>> poly8(f64(1), (f64(0.5),) * 8)
    np.float64(4.0)
    """
    return ((((((c[7] * x + c[6]) * x + c[5]) * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


def poly9(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 9 coefficients c, lowest power first, at x.

    >>> poly9(f64(1), (f64(0.5),) * 9)
    np.float64(4.5)
    """
    p = ((((c[8] * x + c[7]) * x + c[6]) * x + c[5]) * x + c[4]) * x + c[3]
    return ((p * x + c[2]) * x + c[1]) * x + c[0]


def poly10(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 10 coefficients c, lowest power first, at x.

    >>> poly10(f64(1), (f64(0.5),) * 10)
    np.float64(5.0)
    """
    p = ((((c[9] * x + c[8]) * x + c[7]) * x + c[6]) * x + c[5]) * x + c[4]
    return (((p * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


def poly11(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 11 coefficients c, lowest power first, at x.

    >>> poly11(f64(1), (f64(0.5),) * 11)
    np.float64(5.5)
    """
    p = ((((c[10] * x + c[9]) * x + c[8]) * x + c[7]) * x + c[6]) * x + c[5]
    return ((((p * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


def poly12(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 12 coefficients c, lowest power first, at x.

    >>> poly12(f64(1), (f64(0.5),) * 12)
    np.float64(6.0)
    """
    p = ((((c[11] * x + c[10]) * x + c[9]) * x + c[8]) * x + c[7]) * x + c[6]
    p = ((((p * x + c[5]) * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]
    return p * x + c[0]


def poly15(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 15 coefficients c, lowest power first, at x.

    >>> poly15(f64(1), (f64(0.5),) * 15)
    np.float64(7.5)
    """
    p = ((((c[14] * x + c[13]) * x + c[12]) * x + c[11]) * x + c[10]) * x + c[9]
    p = ((((p * x + c[8]) * x + c[7]) * x + c[6]) * x + c[5]) * x + c[4]
    return (((p * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


def poly18(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 18 coefficients c, lowest power first, at x.

    >>> poly18(f64(1), (f64(0.5),) * 18)
    np.float64(9.0)
    """
    p = ((((c[17] * x + c[16]) * x + c[15]) * x + c[14]) * x + c[13]) * x + c[12]
    p = ((((p * x + c[11]) * x + c[10]) * x + c[9]) * x + c[8]) * x + c[7]
    p = ((((p * x + c[6]) * x + c[5]) * x + c[4]) * x + c[3]) * x + c[2]
    return (p * x + c[1]) * x + c[0]


def poly19(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 19 coefficients c, lowest power first, at x.

    >>> poly19(f64(1), (f64(0.5),) * 19)
    np.float64(9.5)
    """
    p = ((((c[18] * x + c[17]) * x + c[16]) * x + c[15]) * x + c[14]) * x + c[13]
    p = ((((p * x + c[12]) * x + c[11]) * x + c[10]) * x + c[9]) * x + c[8]
    p = ((((p * x + c[7]) * x + c[6]) * x + c[5]) * x + c[4]) * x + c[3]
    return ((p * x + c[2]) * x + c[1]) * x + c[0]


def poly20(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 20 coefficients c, lowest power first, at x.

    >>> poly20(f64(1), (f64(0.5),) * 20)
    np.float64(10.0)
    """
    p = ((((c[19] * x + c[18]) * x + c[17]) * x + c[16]) * x + c[15]) * x + c[14]
    p = ((((p * x + c[13]) * x + c[12]) * x + c[11]) * x + c[10]) * x + c[9]
    p = ((((p * x + c[8]) * x + c[7]) * x + c[6]) * x + c[5]) * x + c[4]
    return (((p * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]


def poly22(x: F, c: tuple[F, ...]) -> F:
    """Return the polynomial with the 22 coefficients c, lowest power first, at x.

    >>> poly22(f64(1), (f64(0.5),) * 22)
    np.float64(11.0)
    """
    p = ((((c[21] * x + c[20]) * x + c[19]) * x + c[18]) * x + c[17]) * x + c[16]
    p = ((((p * x + c[15]) * x + c[14]) * x + c[13]) * x + c[12]) * x + c[11]
    p = ((((p * x + c[10]) * x + c[9]) * x + c[8]) * x + c[7]) * x + c[6]
    p = ((((p * x + c[5]) * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]
    return p * x + c[0]
