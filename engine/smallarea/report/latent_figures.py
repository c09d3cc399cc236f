"""Figures of a latent indicator: loadings, scores and their errors, means of areas.

No text from the data is drawn (see :mod:`smallarea.report.figures`): items and factors are numbered, the document names
them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from smallarea.report.drawing import BLUE, MUTED, RED, labels, square, style
from smallarea.report.encoding import Picture, as_svg, new_figure

FloatArray = npt.NDArray[np.float64]

_BINS = 30
_HALF_WIDTH = 1.96


def loading_chart(values: FloatArray, errors: FloatArray) -> Picture:
    """Standardised loadings with intervals of 95 %, one row each, the first on top.

    Parameters
    ----------
    values, errors : ndarray, shape (r,)
        Loadings and standard errors; NaN where there is none.
    """
    height = 0.75 + 0.27 * len(values)
    figure = new_figure(7.4, height)
    axes = figure.add_axes((0.07, 0.5 / height, 0.9, 1.0 - 0.62 / height))
    style(axes)
    place = np.arange(1, len(values) + 1)
    half = _HALF_WIDTH * np.nan_to_num(errors)
    axes.hlines(place, values - half, values + half, color=BLUE, lw=2.2, alpha=0.5, zorder=2)
    axes.plot(values, place, "o", color=BLUE, ms=5.5, zorder=3)
    axes.axvline(0.0, color=MUTED, lw=1.0, zorder=1)
    axes.set_xlim(min(-0.05, float(np.nanmin(values - half)) - 0.03), max(1.02, float(np.nanmax(values + half)) + 0.02))
    axes.set_ylim(len(values) + 0.6, 0.4)
    axes.set_yticks(place)
    axes.grid(visible=False, axis="y")
    labels(axes, "Standardised loading", "")
    return as_svg(figure)


def score_chart(scores: FloatArray, errors: FloatArray) -> Picture:
    """Distribution of the scores of a factor (grey), and of what they would be without their errors (red).

    Parameters
    ----------
    scores, errors : ndarray, shape (n,)
        Scores and standard errors of the respondents.
    """
    figure, axes = square()
    spread = float(np.sqrt(scores.var() + np.mean(errors**2)))
    low, high = np.quantile(scores, [0.002, 0.998])
    low, high = min(float(low), -3.0 * spread), max(float(high), 3.0 * spread)
    axes.hist(np.clip(scores, low, high), np.linspace(low, high, _BINS + 1).tolist(), density=True, color="#b9c6d3")
    x = np.linspace(low, high, 200)
    axes.plot(
        x, np.exp(-0.5 * ((x - scores.mean()) / spread) ** 2) / (spread * np.sqrt(2.0 * np.pi)), color=RED, lw=1.6
    )
    axes.set_yticks([])
    labels(axes, "Score", "Density")
    return as_svg(figure)


def area_chart(means: FloatArray, errors: FloatArray) -> Picture:
    """Means of areas in ascending order, with intervals of 95 %.

    Parameters
    ----------
    means, errors : ndarray, shape (D,)
        Means and standard errors.
    """
    figure = new_figure(7.4, 3.2)
    axes = figure.add_axes((0.08, 0.16, 0.89, 0.72))
    style(axes)
    order = np.argsort(means, kind="stable")
    place = np.arange(1, len(means) + 1)
    half = _HALF_WIDTH * errors[order]
    width = 2.2 if len(means) <= 80 else 1.0
    axes.vlines(place, means[order] - half, means[order] + half, color=BLUE, lw=width, alpha=0.4, zorder=2)
    axes.plot(place, means[order], "o", color=BLUE, ms=4.0 if len(means) <= 80 else 2.0, zorder=3)
    axes.axhline(0.0, color=MUTED, lw=1.0, zorder=1)
    labels(axes, "Areas, lowest mean first", "Mean of the factor")
    return as_svg(figure)
