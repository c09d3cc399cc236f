"""Numbers and texts as a reader wants them: few digits, no NaN, a real minus sign."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MISSING = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def as_number(value: Any) -> float:
    """Return ``value`` as a float, NaN if it is missing or not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def fixed(value: Any, decimals: int) -> str:
    """Write a number with so many decimals and thousands separators, e.g. ``−1,234.5``."""
    x = as_number(value)
    if not math.isfinite(x):
        return MISSING if math.isnan(x) else ("∞" if x > 0 else "−∞")
    text = f"{x:,.{decimals}f}"
    if float(text.replace(",", "")) == 0.0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def significant(value: Any, digits: int = 3) -> str:
    """Write a number with so many significant digits; very small and very large ones as powers of ten.

    Whole digits are never cut off: 123456 stays 123,456.
    """
    x = as_number(value)
    if not math.isfinite(x) or x == 0.0:
        return fixed(x, 0)
    # Rounding first: 0.0999 with two digits is 0.10, not 0.100.
    magnitude = math.floor(math.log10(abs(float(f"{x:.{digits - 1}e}"))))
    if magnitude < -5 or magnitude >= 12:
        mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
        return f"{mantissa.replace('-', '−')} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return fixed(x, max(0, digits - 1 - magnitude))


def count(value: Any) -> str:
    """Write a whole number with thousands separators."""
    return fixed(value, 0)


def percent(fraction: Any) -> str:
    """Write a fraction as a percentage, with more decimals the smaller it is."""
    x = 100.0 * as_number(fraction)
    if not math.isfinite(x):
        return MISSING
    size = abs(x)
    return f"{fixed(x, 0 if size >= 99.95 or size == 0 else 1 if size >= 1 else 2)}%"


def level_percent(level: Any) -> str:
    """Write a coverage level without needless zeros: ``95%``, ``97.5%``."""
    return f"{100.0 * as_number(level):.6g}%"


def p_value(value: Any) -> str:
    """Write a p-value: two significant digits, ``< 0.001`` below that."""
    p = as_number(value)
    if not math.isfinite(p):
        return MISSING
    if p < 0.001:
        return "< 0.001"
    if p > 0.995:
        return "> 0.99"
    return fixed(p, 3 if p < 0.1 else 2)


def p_equals(value: Any) -> str:
    """Write a p-value with its sign: ``p = 0.03``, ``p < 0.001``."""
    text = p_value(value)
    return f"p {text}" if text[0] in "<>" else f"p = {text}"


def plural(number: int, singular: str, several: str | None = None) -> str:
    """Write a count with its noun: ``1 area``, ``1,204 areas``."""
    return f"{count(number)} {singular if number == 1 else several or singular + 's'}"


def seconds(value: Any) -> str:
    """Write a duration."""
    s = as_number(value)
    if not math.isfinite(s):
        return MISSING
    if s >= 60:
        return f"{int(s // 60)} min {s % 60:.0f} s"
    if s < 0.001:
        return "< 1 ms"
    return f"{s * 1000:.0f} ms" if s < 0.1 else f"{s:.2f} s" if s < 10 else f"{s:.1f} s"


def listed(items: Iterable[object], limit: int = 8) -> str:
    """Write a list for a sentence: ``a, b and c``, ``a, b, c and 12 more``."""
    texts = [str(i) for i in items]
    if len(texts) > limit:
        return f"{', '.join(texts[:limit])} and {count(len(texts) - limit)} more"
    return " and ".join(part for part in (", ".join(texts[:-1]), texts[-1]) if part) if texts else ""


def setting(value: Any) -> str:
    """Write a parameter of the call."""
    if value is None:
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {setting(v)}" for k, v in value.items()) or MISSING
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(setting(v) for v in value) or MISSING
    if isinstance(value, float | np.floating):
        return f"{float(value):.12g}".replace("-", "−")
    return str(value)


@dataclass(frozen=True)
class Scale:
    """How to write numbers of one quantity, so that a whole table has the same decimals.

    Attributes
    ----------
    decimals : int
        Decimals for all values.
    """

    decimals: int

    def __call__(self, value: Any) -> str:
        """Write a value; a dash if it is missing."""
        x = as_number(value)
        if math.isfinite(x) and abs(x) >= 1e12:
            return significant(x)
        return fixed(x, self.decimals)


def scale_for(errors: npt.ArrayLike, values: npt.ArrayLike = ()) -> Scale:
    """Choose decimals by the errors: two significant digits of the typical standard error, for it and its estimate.

    Parameters
    ----------
    errors : array-like
        Standard errors; those that are missing or zero are ignored.
    values : array-like
        What to go by (three significant digits of the typical size) where there are no errors.

    Returns
    -------
    Scale
        With 0 to 8 decimals.
    """
    for numbers, digits in ((errors, 2), (values, 3)):
        sizes = np.abs(np.asarray(numbers, dtype=np.float64))
        sizes = sizes[np.isfinite(sizes) & (sizes > 0.0)]
        if sizes.size:
            magnitude = math.floor(math.log10(float(np.median(sizes))))
            return Scale(min(8, max(0, digits - 1 - magnitude)))
    return Scale(3)
