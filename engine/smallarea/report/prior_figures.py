"""Figures of a fidelity certificate: learned against exact covariances, errors over the range, the course of training.

No text from the data is drawn (see :mod:`smallarea.report.figures`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from smallarea.priors.fidelity.certificate_record import Certificate
from smallarea.priors.fidelity.gate import GATE
from smallarea.report.classes import NO_VALUE, Classes, LegendItem, classes_by_breaks
from smallarea.report.drawing import BLUE, GRID, MUTED, RED, cloud, diagonal, labels, log_axis, square
from smallarea.report.encoding import Picture, as_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

# Brown below, blue above; what is as it should be has a colour of its own, since most of a good map has it.
_AROUND = ("#8c510a", "#d8b365", "#d3e2d6", "#7fb8c9", "#1f6089")
RATIO_BREAKS = (0.8, 0.95, 1.05, 1.25)
ERROR_BREAKS = (-0.1, -0.02, 0.02, 0.1)
# Errors below this are rounding.
_FLOOR = 1e-8


def covariance_chart(exact: FloatArray, learned: FloatArray) -> Picture:
    """Learned against exact covariances with the line of equality.

    Parameters
    ----------
    exact, learned : ndarray, shape (M,)
        Covariances in one unit.
    """
    figure, axes = square()
    diagonal(axes, np.concatenate([exact, learned]))
    cloud(axes, exact, learned)
    labels(axes, "Exact covariance", "Learned covariance")
    return as_svg(figure)


def degree_chart(certificate: Certificate, shown: float | None) -> Picture:
    """Variance ratio against the number of neighbours, a line for each value of the grid.

    Parameters
    ----------
    certificate : Certificate
        The certificate.
    shown : float or None
        The value whose line stands out.
    """
    figure, axes = square()
    axes.axhspan(1.0 - GATE.variance, 1.0 + GATE.variance, color=GRID, alpha=0.6, lw=0, zorder=0)
    axes.axhline(1.0, color=MUTED, lw=1.0, zorder=1)
    seen = [1.0 - 1.5 * GATE.variance, 1.0 + 1.5 * GATE.variance]
    for point in certificate.points:
        x = [one.degree for one in point.by_degree]
        y = [one.ratio for one in point.by_degree]
        seen += [ratio for ratio in y if np.isfinite(ratio)]
        own = point.value == shown
        axes.plot(
            x,
            y,
            "o-",
            ms=5 if own else 3,
            lw=1.6 if own else 0.8,
            color=BLUE if own else "#9fb3c8",
            zorder=4 if own else 3,
        )
    axes.set_ylim(min(seen) - 0.02, max(seen) + 0.02)
    labels(axes, "Neighbours", "Learned / exact variance")
    return as_svg(figure)


def error_chart(certificate: Certificate) -> Picture | None:
    """Frobenius error over the grid, with its bar.

    Parameters
    ----------
    certificate : Certificate
        The certificate.

    Returns
    -------
    Picture or None
        None with a single point.
    """
    points = [point for point in certificate.points if np.isfinite(point.frobenius + point.frobenius_se)]
    if len(points) < 2:
        return None
    figure, axes = square()
    x = np.arange(len(points))
    y = np.maximum([point.frobenius for point in points], _FLOOR)
    upper = np.maximum([point.frobenius + point.frobenius_se for point in points], _FLOOR)
    axes.axhline(GATE.frobenius, color=RED, lw=1.1, ls=(0, (4, 3)), zorder=2)
    axes.vlines(x, y, upper, color=BLUE, lw=1.2, zorder=3)
    axes.plot(x, y, "o-", ms=5, lw=1.2, color=BLUE, zorder=4)
    log_axis(axes.yaxis, (float(y.min()), max(GATE.frobenius, float(upper.max()))))
    axes.set_ylim(float(y.min()) / 2.0, 2.0 * max(GATE.frobenius, float(upper.max())))
    _powers(axes)
    axes.set_xticks(x, [f"{point.value:.3g}" for point in points])
    axes.tick_params(axis="x", labelsize=8)
    labels(axes, "Hyperparameter", "Relative Frobenius error")
    return as_svg(figure)


def loss_chart(losses: Sequence[Sequence[float | None]]) -> Picture | None:
    """Losses in the course of training: on training draws pale, on the validation set dark.

    Parameters
    ----------
    losses : sequence of (step, training loss or None, validation loss)
        The record of the training.

    Returns
    -------
    Picture or None
        None with fewer than two steps.
    """
    rows = np.array([[np.nan if x is None else float(x) for x in row] for row in losses], dtype=float)
    if len(rows) < 2 or rows.shape[1] != 3:
        return None
    figure, axes = square()
    for column, colour, width in ((1, "#9fb3c8", 1.0), (2, BLUE, 1.6)):
        usable = np.isfinite(rows[:, column])
        axes.plot(rows[usable, 0], rows[usable, column], color=colour, lw=width, zorder=column + 2)
    positive = rows[:, 1:][np.isfinite(rows[:, 1:])]
    if positive.size and positive.min() > 0.0 and positive.max() > 3.0 * positive.min():
        log_axis(axes.yaxis, (float(positive.min()), float(positive.max())))
        _powers(axes)
    labels(axes, "Step", "Loss")
    return as_svg(figure)


def _powers(axes: Axes) -> None:
    """Write the ticks of a logarithmic axis of small numbers as powers of ten."""
    low, high = axes.get_ylim()
    if low < 1e-3:
        from matplotlib.ticker import FuncFormatter, LogLocator

        decades = int(np.ceil(np.log10(high / low)))
        axes.yaxis.set_major_locator(LogLocator(10.0, numticks=max(2, min(6, decades))))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"10{_superscript(round(np.log10(y)))}"))


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def common_classes(first: FloatArray, other: FloatArray, n_classes: int = 6) -> tuple[Classes, Classes]:
    """Put two sets of values in the same classes, so that their maps can be compared.

    Parameters
    ----------
    first, other : ndarray, shape (N,)
        Values; NaN where there is none.
    n_classes : int
        At most so many.
    """
    both = classes_by_breaks(np.concatenate([first, other]), "estimate", n_classes=n_classes)
    return _own(both.index[: len(first)], both.legend), _own(both.index[len(first) :], both.legend)


def _own(index: npt.NDArray[np.int64], legend: Sequence[LegendItem]) -> Classes:
    """Count again for one of the maps."""
    filled = [item for item in legend if not item.hatched]
    items = [LegendItem(item.colour, item.label, int(np.count_nonzero(index == k))) for k, item in enumerate(filled)]
    return Classes(index, (*items, *_without(index)))


def _without(index: npt.NDArray[np.int64]) -> list[LegendItem]:
    missing = int(np.count_nonzero(index < 0))
    return [LegendItem(NO_VALUE, "no neighbours", missing, hatched=True)] if missing else []


def classes_at(values: FloatArray, breaks: Sequence[float], texts: Sequence[str]) -> Classes:
    """Put values in five classes with given breaks around the middle one, which is as it should be.

    Parameters
    ----------
    values : ndarray, shape (N,)
        NaN where there is none.
    breaks : sequence of four floats
        Increasing.
    texts : sequence of five str
        Their labels.
    """
    index = np.where(np.isfinite(values), np.searchsorted(breaks, np.nan_to_num(values), side="right"), -1)
    items = [
        LegendItem(colour, text, int(np.count_nonzero(index == k)))
        for k, (colour, text) in enumerate(zip(_AROUND, texts, strict=True))
    ]
    return Classes(index.astype(np.int64), (*items, *_without(index)))
