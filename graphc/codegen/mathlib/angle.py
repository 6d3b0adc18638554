"""Reduction of an angle to a fraction of half a turn, for any finite argument.

x/pi modulo 2 is computed from a window of the binary digits of 1/pi: digits so high that their product with
x is a multiple of 2 are left out, and digits so low that they cannot matter (M. H. Payne, R. N. Hanek,
"Radian reduction for trigonometric functions", 1983). The window is chosen by selects: no branch, no table.
"""

from __future__ import annotations

from graphc.codegen.device import f32, f64, f64_as_i64, floor_f64, fma_f64, i64, i64_as_f64, rint_f64

# Binary digits of 1/pi from the digit on at which a window starts: 29, 29 and 53 of them. The product of a
# float32 with the first two is exact in float64.
DIGITS_0, DIGITS_25, DIGITS_51, DIGITS_77 = (
    (f64(0.31830988451838493), f64(1.6654057369280828e-09), f64(1.138005036539198e-18)),
    (f64(1.2841276597619355e-08), f64(3.5832474517591816e-17), f64(3.8483524320197856e-26)),
    (f64(1.4685477646311959e-16), f64(5.554714066972398e-25), f64(4.686003272204883e-34)),
    (f64(3.037013239734091e-24), f64(5.090832174320361e-33), f64(1.9429493537593412e-41)),
)
# Binary digits of 1/pi, 53 to a word; word j stands for WORDS[j] * 2**(-53*j).
WORDS = (
    f64(0.31830988618379064),
    f64(0.3227502381170073),
    f64(0.41301737510836456),
    f64(0.30885148432533194),
    f64(0.11473023103740487),
    f64(0.14230693930387472),
    f64(0.003069273488315316),
    f64(0.28301957055777915),
    f64(0.5813541086982744),
    f64(0.32390906110104023),
    f64(0.8761811701083475),
    f64(0.3924187647251588),
    f64(0.6441060892229294),
    f64(0.1571521741789178),
    f64(0.752731441962063),
    f64(0.17737064987678097),
    f64(0.24767422059527044),
    f64(0.9546503075161987),
    f64(0.3551377927795719),
    f64(0.48582167965513845),
    f64(0.32257982049473444),
    f64(0.6918876983766822),
    f64(0.3985728955426192),
)
ONE_WORD = f64(2.0**-53)


def half_turns_f32(x: f32, quarter: f64) -> tuple[f64, f64]:
    """Return x/pi + quarter as a fraction of at most about 1/2 and, modulo 2, the whole number taken off.

    >>> fraction, whole = half_turns_f32(f32(3), f64(0))
    >>> round(float(fraction), 12), whole
    (-0.045070341449, np.float64(1.0))
    """
    size = f64(x)
    magnitude = -size if size < f64(0) else size
    beyond_49, beyond_75, beyond_101 = (
        magnitude >= f64(2.0**49),
        magnitude >= f64(2.0**75),
        magnitude >= f64(2.0**101),
    )
    top = DIGITS_25[0] if beyond_49 else DIGITS_0[0]
    top = DIGITS_51[0] if beyond_75 else top
    top = DIGITS_77[0] if beyond_101 else top
    middle = DIGITS_25[1] if beyond_49 else DIGITS_0[1]
    middle = DIGITS_51[1] if beyond_75 else middle
    middle = DIGITS_77[1] if beyond_101 else middle
    bottom = DIGITS_25[2] if beyond_49 else DIGITS_0[2]
    bottom = DIGITS_51[2] if beyond_75 else bottom
    bottom = DIGITS_77[2] if beyond_101 else bottom
    first, second = size * top, size * middle
    whole = rint_f64(first)
    rest = (first - whole) + quarter
    total = rest + second
    carry = rint_f64(total)
    return (total - carry) + size * bottom, modulo_2(modulo_2(whole) + carry)


def modulo_2(x: f64) -> f64:
    """Return x less the nearest multiple of 2, which is exact.

    >>> modulo_2(f64(7.5))
    np.float64(-0.5)
    """
    return x - f64(2) * rint_f64(f64(0.5) * x)


def two_sum(x: f64, y: f64) -> tuple[f64, f64]:
    """Return the rounded sum and its rounding error (D. E. Knuth, TAOCP 2, 4.2.2).

    >>> two_sum(f64(1), f64(2.0**-80))
    (np.float64(1.0), np.float64(8.271806125530277e-25))
    """
    total = x + y
    back = total - x
    return total, (x - (total - back)) + (y - back)


def window_f64(x: f64) -> tuple[f64, f64, f64, f64, f64, f64]:
    """Return x scaled down by a power of two and the five words of 1/pi that then take part.

    Word numbers are shifted like bits in a barrel shifter, 16, 8, 4, 2 and 1 places: 38 selects.

    >>> window_f64(f64(2.0**107))[:2] == (f64(2.0**54), WORDS[1])
    True
    """
    bits = f64_as_i64(x)
    exponent = i64_as_f64(i64(((bits >> 52) & 0x7FF) | 0x4330000000000000)) - f64(2**52 + 1023)
    words = floor_f64((exponent + f64(0.5)) * f64(1 / 53)) - f64(1)
    words = f64(0) if words < f64(0) else words
    places = f64_as_i64(words * f64(53) + f64(2**52))
    scaled = i64_as_f64(i64(bits - i64(places << 52)))
    by_16 = words >= f64(16)
    words = words - f64(16) if by_16 else words
    by_8 = words >= f64(8)
    words = words - f64(8) if by_8 else words
    by_4 = words >= f64(4)
    words = words - f64(4) if by_4 else words
    by_2 = words >= f64(2)
    words = words - f64(2) if by_2 else words
    by_1 = words >= f64(1)
    (
        w0,
        w1,
        w2,
        w3,
        w4,
        w5,
        w6,
        w7,
        w8,
        w9,
        w10,
        w11,
        w12,
        w13,
        w14,
        w15,
        w16,
        w17,
        w18,
        w19,
        w20,
        w21,
        w22,
    ) = WORDS
    w0 = w16 if by_16 else w0
    w1 = w17 if by_16 else w1
    w2 = w18 if by_16 else w2
    w3 = w19 if by_16 else w3
    w4 = w20 if by_16 else w4
    w5 = w21 if by_16 else w5
    w6 = w22 if by_16 else w6
    w0 = w8 if by_8 else w0
    w1 = w9 if by_8 else w1
    w2 = w10 if by_8 else w2
    w3 = w11 if by_8 else w3
    w4 = w12 if by_8 else w4
    w5 = w13 if by_8 else w5
    w6 = w14 if by_8 else w6
    w7 = w15 if by_8 else w7
    w8 = w16 if by_8 else w8
    w9 = w17 if by_8 else w9
    w10 = w18 if by_8 else w10
    w11 = w19 if by_8 else w11
    w0 = w4 if by_4 else w0
    w1 = w5 if by_4 else w1
    w2 = w6 if by_4 else w2
    w3 = w7 if by_4 else w3
    w4 = w8 if by_4 else w4
    w5 = w9 if by_4 else w5
    w6 = w10 if by_4 else w6
    w7 = w11 if by_4 else w7
    w0 = w2 if by_2 else w0
    w1 = w3 if by_2 else w1
    w2 = w4 if by_2 else w2
    w3 = w5 if by_2 else w3
    w4 = w6 if by_2 else w4
    w5 = w7 if by_2 else w5
    w0 = w1 if by_1 else w0
    w1 = w2 if by_1 else w1
    w2 = w3 if by_1 else w2
    w3 = w4 if by_1 else w3
    w4 = w5 if by_1 else w4
    return scaled, w0, w1, w2, w3, w4


def half_turns_f64(x: f64, quarter: f64) -> tuple[f64, f64, f64]:
    """Return x/pi + quarter as a fraction of at most about 1/2 in two parts, and the whole number modulo 2.

    >>> high, low, whole = half_turns_f64(f64(3), f64(0))
    >>> round(float(high), 12), whole
    (-0.045070341449, np.float64(1.0))
    """
    x1, w0, w1, w2, w3, w4 = window_f64(x)
    x2 = x1 * ONE_WORD
    x3 = x2 * ONE_WORD
    x4 = x3 * ONE_WORD
    p1, p2, p3, p4 = x1 * w0, x2 * w1, x3 * w2, x4 * w3
    e1, e2, e3, e4 = fma_f64(x1, w0, -p1), fma_f64(x2, w1, -p2), fma_f64(x3, w2, -p3), fma_f64(x4, w3, -p4)
    second, second_error = two_sum(modulo_2(e1), modulo_2(p2))
    third, third_error = two_sum(e2, p3)
    fourth, fourth_error = two_sum(e3, p4)
    # From here on the largest terms come first, and whole numbers go as soon as they appear: what is left
    # after a cancellation is then exact.
    total, low = two_sum(modulo_2(p1), second)
    whole = rint_f64(total)
    total, error = two_sum(total - whole, quarter)
    low = low + error
    total, error = two_sum(total, second_error)
    low = low + error
    total, error = two_sum(total, third)
    carry = rint_f64(total)
    total, small = two_sum(total - carry, low + error)
    total, error = two_sum(total, fourth)
    small = small + error + third_error + (fourth_error + (e4 + x4 * ONE_WORD * w4))
    return total, small, modulo_2(whole + carry)
