"""Class limits for maps: about equal counts, rounded to numbers that a person would write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, isfinite, log10

import numpy as np


@dataclass(frozen=True)
class Interval:
    """One class of a map: a value belongs to the first class with ``lower <= value <= upper``."""

    lower: float
    upper: float
    label: str


def same_sign(values: np.ndarray) -> bool:
    """Say whether all finite values are positive or all negative."""
    finite = values[np.isfinite(values)]
    return bool(np.all(finite > 0) or np.all(finite < 0))


def intervals(values: Sequence[float] | np.ndarray, classes: int = 5, *, percent: bool = False) -> list[Interval]:
    """Divide values into classes of about equal count with rounded limits.

    Parameters
    ----------
    values : array-like of float
        Values; those that are not finite are left out.
    classes : int
        Number of classes wanted. Repeated values can make it fewer.
    percent : bool
        Write the labels in percent.

    Returns
    -------
    list of Interval
        In ascending order and without gaps; empty if no value is finite.
    """
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return []
    cuts = np.unique(np.quantile(finite, np.linspace(0.0, 1.0, classes + 1)))
    scale = 100.0 if percent else 1.0
    if cuts.size == 1:
        value = float(cuts[0])
        return [Interval(value, value, _text(value * scale, _digits(abs(value) * scale / 100), percent))]
    limits, digits = _rounded(cuts * scale)
    return [
        Interval(low / scale, high / scale, f"{_text(low, digits, False)} – {_text(high, digits, percent)}")
        for low, high in pairwise(limits)
    ]


def _rounded(cuts: np.ndarray) -> tuple[list[float], int]:
    """Round to the fewest decimals that change no class by much: the ends outwards, the others a tenth."""
    narrowest = float(np.min(np.diff(cuts)))
    start = _digits(float(cuts[-1] - cuts[0]))
    for digits in range(start, start + 12):
        inner = [round(float(cut), digits) for cut in cuts[1:-1]]
        moved = max((abs(a - float(b)) for a, b in zip(inner, cuts[1:-1], strict=True)), default=0.0)
        limits = [_outwards(float(cuts[0]), digits, floor), *inner, _outwards(float(cuts[-1]), digits, ceil)]
        widened = max(float(cuts[0]) - limits[0], limits[-1] - float(cuts[-1]))
        fits = moved <= 0.1 * narrowest and widened <= 0.25 * narrowest
        if fits and all(a < b for a, b in pairwise(limits)):
            return limits, digits
    return [float(cut) for cut in cuts], start + 12


def _outwards(value: float, digits: int, direction: object) -> float:
    """Round the ends of the range away from the data, so that the extremes stay inside."""
    step = 10.0**-digits
    whole = (floor if direction is floor else ceil)(value / step)
    rounded = round(whole * step, digits)
    inside = rounded <= value if direction is floor else rounded >= value
    return rounded if isfinite(rounded) and inside else value


def _digits(size: float) -> int:
    """Decimals that show the leading digit of a number of this size."""
    return -floor(log10(size)) if size > 0 else 0


def _text(value: float, digits: int, percent: bool) -> str:
    """Write a limit with a real minus sign and, from ten thousand on, groups of three digits."""
    text = f"{value:,.{max(digits, 0)}f}" if abs(value) >= 10_000 else f"{value:.{max(digits, 0)}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−") + (" %" if percent else "")
