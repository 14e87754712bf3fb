"""Units modulo n² as value · (1 + slope·n): half of every multiplication becomes an addition.

(1+n)^s = 1 + s·n modulo n², so slopes only add, and where a value is a residue modulo n a
multiplication by it is half as long. The comb and the batch checks rest on that. Nothing here
changes a byte: `unsplit` gives the one residue modulo n² that a pair stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gmpy2 import f_divmod, mpz

from .residues import inverses, product_of_powers

_WINDOW: Final = 6  # bits, of `nth_power`; 5 and 7 are as quick


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Unit k is values_k · (1 + slopes_k·n) modulo n², with 0 < values_k < n."""

    values: list[mpz]
    inverses: list[mpz]  # of the values modulo n
    slopes: list[mpz]  # modulo n


def split(units: Sequence[mpz], n: mpz) -> Split:
    """The parts of residues modulo n²; the caller has checked that they are units."""
    parts = [f_divmod(unit, n) for unit in units]
    values = [value for _, value in parts]
    inverted = inverses(values, n)
    slopes = [high * inverse % n for (high, _), inverse in zip(parts, inverted, strict=True)]
    return Split(values=values, inverses=inverted, slopes=slopes)


def unsplit(value: mpz, slope: mpz, n: mpz) -> mpz:
    """value · (1 + slope·n) mod n², for a value modulo n² and a slope of any length."""
    return (value + n * (value * slope % n)) % (n * n)


def power_product(units: Split, exponents: Sequence[mpz], n: mpz) -> mpz:
    """∏ unit^exponent mod n² for public, non-negative exponents."""
    values = product_of_powers(units.values, exponents, n * n)
    slope = sum((e * s for e, s in zip(exponents, units.slopes, strict=True)), mpz(0))
    return unsplit(values, slope % n, n)


def nth_power(x: mpz, n: mpz) -> mpz:
    """x^n mod n² for a public x.

    The digits of an element to the base n are multiplied as numbers of half the length: three
    quarters of what a power modulo n² costs.
    """
    square = f_divmod(x * x, n)
    odd = [(mpz(0), x % n)]  # x, x³, x⁵ …: high digit, low digit
    while len(odd) < 1 << (_WINDOW - 1):
        odd.append(_times(odd[-1], square, n))
    digits = n.digits(2)
    high, low = mpz(0), mpz(1)
    at = 0
    while at < len(digits):
        end = at + 1
        if digits[at] == "1":
            end = digits.rindex("1", at, at + _WINDOW) + 1
        for _ in range(at, end):
            carry, square_low = f_divmod(low * low, n)
            high, low = (2 * low * high + carry) % n, square_low
        if digits[at] == "1":
            high, low = _times((high, low), odd[int(digits[at:end], 2) >> 1], n)
        at = end
    return high * n + low


def _times(a: tuple[mpz, mpz], b: tuple[mpz, mpz], n: mpz) -> tuple[mpz, mpz]:
    """The product modulo n² of two numbers of two digits to the base n."""
    carry, low = f_divmod(a[1] * b[1], n)
    return (a[0] * b[1] + a[1] * b[0] + carry) % n, low
