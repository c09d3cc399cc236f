"""Values in classes for a map: round limits, colours that everybody can tell apart, and a legend with counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from smallarea.report.formatting import Scale, fixed, percent

NO_VALUE = "#e3e3e3"
# Lightness falls steadily in both, so they survive colour blindness and a black and white printer. From ColorBrewer's
# YlGnBu and BuPu (Cynthia Brewer, colorbrewer2.org), without their palest steps, which would look like missing areas.
SEQUENTIAL = {
    "estimate": ("#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494"),
    "uncertainty": ("#d3e0ee", "#b3cde3", "#8c96c6", "#8c6bb1", "#88419d", "#5c0a5e"),
}
DIVERGING = ("#8c510a", "#d8b365", "#f0f0ee", "#7fb8c9", "#1f6089")
RESIDUAL_BREAKS = (-2.0, -1.0, 1.0, 2.0)
# Of the probability that a threshold is exceeded: surely not, hardly, open, likely, surely. What is open is pale
# yellow, since grey and white are for no value.
PROBABILITY_BREAKS = (0.05, 0.2, 0.8, 0.95)
PROBABILITIES = ("#8c510a", "#d8b365", "#f6ecc0", "#7fb8c9", "#1f6089")


IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LegendItem:
    """One line of a legend.

    Attributes
    ----------
    colour : str
        ``#rrggbb``.
    label : str
        What it stands for.
    count : int
        How many areas.
    hatched : bool
        Whether it is hatched: no value.
    """

    colour: str
    label: str
    count: int
    hatched: bool = False


@dataclass(frozen=True)
class Classes:
    """Areas in classes.

    Attributes
    ----------
    index : numpy.ndarray of int
        Class of each area, -1 for no value.
    legend : tuple of LegendItem
        One for each class, and one for no value if there is such an area.
    limits : tuple of str
        Limits between the classes, for a colour bar; empty where classes are no intervals.
    """

    index: IntArray
    legend: tuple[LegendItem, ...]
    limits: tuple[str, ...] = ()

    @property
    def colours(self) -> list[str]:
        """Colour of each area."""
        return [self.legend[i].colour if i >= 0 else NO_VALUE for i in self.index]


def classes_by_breaks(
    values: npt.ArrayLike, kind: str, scale: Scale | None = None, *, as_percent: bool = False, n_classes: int = 5
) -> Classes:
    """Put values in classes of about equal size with round breaks.

    Parameters
    ----------
    values : array-like
        NaN for no value.
    kind : {'estimate', 'uncertainty'}
        Which colours.
    scale : Scale, optional
        How to write the breaks; as many decimals as they need if not given.
    as_percent : bool
        Whether values are fractions to be written as percentages.
    n_classes : int
        At most so many, up to six.

    Returns
    -------
    Classes
        Classes and their legend.
    """
    numbers = np.asarray(values, dtype=np.float64)
    present = np.isfinite(numbers)
    known = numbers[present] * (100.0 if as_percent else 1.0)
    breaks = round_breaks(known, n_classes)
    palette = _pick(SEQUENTIAL[kind], len(breaks) + 1)
    index = np.full(numbers.shape, -1, dtype=np.int64)
    index[present] = np.searchsorted(breaks, known, side="right")
    decimals = max((_decimals(b) for b in breaks), default=0)
    unit = "%" if as_percent else ""

    def text(x: float) -> str:
        return fixed(x, decimals)

    if not breaks:
        only = (percent(known[0] / 100.0) if as_percent else (scale or Scale(3))(known[0])) if known.size else ""
        labels = [only]
    else:
        labels = [f"below {text(breaks[0])}{unit}"]
        labels += [f"{text(a)} to {text(b)}{unit}" for a, b in pairwise(breaks)]
        labels.append(f"{text(breaks[-1])}{unit} and more")
    return _with_legend(index, labels, palette, limits=tuple(f"{text(b)}{unit}" for b in breaks))


def classes_of_residuals(residuals: npt.ArrayLike) -> Classes:
    """Put standardised residuals in five classes around zero."""
    numbers = np.asarray(residuals, dtype=np.float64)
    present = np.isfinite(numbers)
    index = np.full(numbers.shape, -1, dtype=np.int64)
    index[present] = np.searchsorted(RESIDUAL_BREAKS, numbers[present], side="right")
    labels = ["below −2", "−2 to −1", "−1 to 1", "1 to 2", "2 and more"]
    return _with_legend(index, labels, DIVERGING, missing="no direct estimate")


def classes_of_probabilities(probabilities: npt.ArrayLike) -> Classes:
    """Put probabilities of exceeding a threshold in five classes, the middle one of those that are open."""
    numbers = np.asarray(probabilities, dtype=np.float64)
    present = np.isfinite(numbers)
    index = np.full(numbers.shape, -1, dtype=np.int64)
    index[present] = np.searchsorted(PROBABILITY_BREAKS, numbers[present], side="right")
    labels = ["below 5%", "5 to 20%", "20 to 80%", "80 to 95%", "95% and more"]
    return _with_legend(index, labels, PROBABILITIES, limits=("5%", "20%", "80%", "95%"))


def classes_of_labels(flags: npt.ArrayLike, classes: list[dict[str, str]], no_estimate: str) -> Classes:
    """Put areas in their reliability classes.

    Parameters
    ----------
    flags : array-like of str
        Label of each area.
    classes : list of dict
        ``label`` and ``colour`` of each class, in order.
    no_estimate : str
        The label that means no estimate; it is drawn hatched.

    Returns
    -------
    Classes
        Only the classes that occur.
    """
    labels = np.asarray(flags, dtype=object)
    used = [c for c in classes if c["label"] != no_estimate and np.any(labels == c["label"])]
    index = np.full(labels.shape, -1, dtype=np.int64)
    for position, one in enumerate(used):
        index[labels == one["label"]] = position
    return _with_legend(index, [c["label"] for c in used], [c["colour"] for c in used])


def round_breaks(values: npt.ArrayLike, n_classes: int = 5) -> list[float]:
    """Quantiles, rounded to as few digits as keep the classes roughly even.

    Parameters
    ----------
    values : array-like
        Finite numbers.
    n_classes : int
        At most so many classes.

    Returns
    -------
    list of float
        Increasing breaks between the smallest and the largest value, at most ``n_classes - 1``.
    """
    numbers = np.sort(np.asarray(values, dtype=np.float64))
    if not numbers.size or numbers[0] == numbers[-1]:
        return []
    at = np.arange(1, n_classes) / n_classes
    quantiles = np.quantile(numbers, at)
    if quantiles[-1] == numbers[0]:
        # Nearly all values are the same smallest one: what differs from it decides.
        quantiles = np.quantile(np.unique(numbers), at)
    spread = float(quantiles[-1] - quantiles[0]) or float(numbers[-1] - numbers[0])
    start = math.floor(math.log10(spread))
    best: list[float] = []
    for step in (m * 10.0 ** (start - k) for k in range(4) for m in (5.0, 2.0, 1.0)):
        rounded = np.unique(np.round(quantiles / step) * step)
        best = [_clean(b, step) for b in rounded if numbers[0] < b <= numbers[-1]]
        shares = np.diff([0, *np.searchsorted(numbers, best), numbers.size]) / numbers.size
        if len(best) == n_classes - 1 and shares.min() > 0.5 / n_classes and shares.max() < 1.6 / n_classes:
            break
    # No empty classes: of breaks with no value between them the last one stays.
    below = np.searchsorted(numbers, best)
    kept = [b for b, k, following in zip(best, below, [*below[1:], -1], strict=True) if k > 0 and k != following]
    return kept or [float(np.unique(numbers)[1])]


def _clean(value: float, step: float) -> float:
    # Without the dust of binary arithmetic: 0.30000000000000004 is 0.3.
    return round(value, max(0, 1 - math.floor(math.log10(step))))


def _decimals(value: float) -> int:
    text = f"{value:.8f}".rstrip("0")
    return len(text.split(".")[1])


def _pick(colours: tuple[str, ...], n: int) -> list[str]:
    if n == 1:
        return [colours[len(colours) // 2]]
    return [colours[round(i * (len(colours) - 1) / (n - 1))] for i in range(n)]


def _with_legend(
    index: IntArray,
    labels: list[str],
    colours: list[str] | tuple[str, ...],
    missing: str = "no estimate",
    limits: tuple[str, ...] = (),
) -> Classes:
    counts = np.bincount(index[index >= 0], minlength=len(labels))
    items = [LegendItem(c, t, int(k)) for c, t, k in zip(colours, labels, counts, strict=False)]
    without = int(np.count_nonzero(index < 0))
    if without:
        items.append(LegendItem(NO_VALUE, missing, without, hatched=True))
    return Classes(index, tuple(items), limits)
