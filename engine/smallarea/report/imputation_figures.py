"""Figures of an imputation: patterns, correlations, observed against imputed answers, hidden answers, deltas.

No text from the data is drawn (see :mod:`smallarea.report.figures`): variables are numbered, the document names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from smallarea.report.classes import DIVERGING
from smallarea.report.drawing import BLUE, GRID, MUTED, RED, labels, square, style
from smallarea.report.encoding import Picture, as_svg, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from smallarea.survey.imputation.overimputation import Overimputation

FloatArray = npt.NDArray[np.float64]

_BINS = 30
_RANKS = 20
# More rows or columns than this are numbered every fifth time.
_NUMBERED = 16


def heat_chart(matrix: FloatArray, limit: float) -> Picture:
    """Correlations or their residuals as colours, brown below 0 and blue above.

    Parameters
    ----------
    matrix : ndarray, shape (p, p)
        NaN stays grey.
    limit : float
        Value of the strongest colour.
    """
    from matplotlib.colors import LinearSegmentedColormap

    figure, axes = square()
    axes.set_position((0.09, 0.1, 0.74, 0.82))
    colours = LinearSegmentedColormap.from_list("residuals", DIVERGING).with_extremes(bad="#d5d9dd")
    shown = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    image = axes.imshow(np.ma.masked_invalid(shown), cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
    _number(axes, len(matrix), len(matrix))
    axes.grid(visible=False)
    bar = figure.colorbar(image, cax=figure.add_axes((0.86, 0.2, 0.03, 0.62)))
    bar.set_ticks([-limit, 0.0, limit], labels=[f"−{limit:.2g}", "0", f"{limit:.2g}"])
    bar.ax.tick_params(colors=MUTED, labelsize=8.5, length=2)
    bar.outline.set_visible(False)
    return as_svg(figure)


def pattern_chart(patterns: pd.DataFrame) -> Picture:
    """Patterns of missing answers as rows, variables as columns: dark is missing; bars are shares of respondents.

    Parameters
    ----------
    patterns : DataFrame
        Of :func:`smallarea.survey.imputation.missing_patterns.pattern_table`.
    """
    from matplotlib.colors import ListedColormap

    cells = patterns.drop(columns=["rows", "share"]).to_numpy(dtype=float)
    height = 0.9 + 0.2 * len(cells)
    figure = new_figure(7.4, height)
    axes = figure.add_axes((0.055, 0.42 / height, 0.6, 1.0 - 0.8 / height))
    style(axes)
    axes.imshow(
        cells, cmap=ListedColormap(["#eef1f4", BLUE]), vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest"
    )
    _number(axes, len(cells), cells.shape[1])
    axes.set_xticks(np.arange(cells.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(cells) + 1) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(visible=True, which="minor", color="white", lw=1.2)
    axes.tick_params(which="minor", length=0)
    labels(axes, "Variable", "Pattern")
    bars = figure.add_axes((0.69, 0.42 / height, 0.28, 1.0 - 0.8 / height))
    style(bars)
    bars.barh(np.arange(len(cells)), 100.0 * patterns["share"].to_numpy(), color=BLUE, height=0.7)
    bars.set_ylim(len(cells) - 0.5, -0.5)
    bars.set_yticks([])
    labels(bars, "% of respondents", "")
    return as_svg(figure)


def overlay_chart(observed: FloatArray, imputed: FloatArray) -> Picture:
    """Distributions of observed and imputed answers, areas of 1 each.

    Parameters
    ----------
    observed, imputed : ndarray
        Answers of either kind; imputed ones of all completed tables.
    """
    figure, axes = square()
    both = np.concatenate([observed, imputed])
    # The outermost answers of a long tail would leave a single bar of the others.
    low, high = np.quantile(both, [0.002, 0.998])
    edges = np.linspace(low, high, _BINS + 1).tolist() if low < high else [low - 0.5, low + 0.5]
    axes.hist(np.clip(observed, low, high), edges, density=True, color="#b9c6d3", zorder=2)
    axes.hist(np.clip(imputed, low, high), edges, density=True, histtype="step", color=RED, lw=1.6, zorder=3)
    axes.set_yticks([])
    labels(axes, "Answer", "Density")
    return as_svg(figure)


def category_chart(observed: FloatArray, imputed: FloatArray) -> Picture:
    """Shares of categories among observed and imputed answers.

    Parameters
    ----------
    observed, imputed : ndarray, shape (K,)
        Shares from 0 to 1.
    """
    figure, axes = square()
    place = np.arange(1, len(observed) + 1)
    axes.bar(place - 0.2, 100.0 * observed, 0.38, color="#b9c6d3", zorder=2)
    axes.bar(place + 0.2, 100.0 * imputed, 0.38, facecolor="none", edgecolor=RED, lw=1.6, zorder=3)
    axes.set_xticks(place if len(place) <= _NUMBERED else place[4::5])
    labels(axes, "Category", "Share, %")
    return as_svg(figure)


def truth_chart(found: Overimputation) -> Picture | None:
    """Hidden answers against the means of their draws, in standard deviations of each variable.

    None without a variable that holds numbers.
    """
    numbers = [one for one in found.hidden if not one.variable.categorical and one.known.std() > 0.0]
    if not numbers:
        return None
    centre, scale = zip(*((one.known.mean(), one.known.std()) for one in numbers), strict=True)
    truth = np.concatenate([(one.truth - c) / s for one, c, s in zip(numbers, centre, scale, strict=True)])
    mean = np.concatenate([(one.draws.mean(axis=0) - c) / s for one, c, s in zip(numbers, centre, scale, strict=True)])
    figure, axes = square()
    many = len(truth) > 400
    axes.scatter(mean, truth, s=5 if many else 14, c=BLUE, alpha=0.3 if many else 0.6, linewidths=0, rasterized=many)
    low, high = float(min(truth.min(), mean.min())), float(max(truth.max(), mean.max()))
    axes.plot([low, high], [low, high], color=MUTED, lw=1.0)
    labels(axes, "Mean of the draws, SD", "Hidden answer, SD")
    return as_svg(figure)


def rank_chart(found: Overimputation) -> Picture | None:
    """Ranks of hidden answers among their draws, all variables together: flat if draws are right.

    None without a variable that holds numbers.
    """
    numbers = [one for one in found.hidden if not one.variable.categorical]
    if not numbers:
        return None
    # Ties (answers that many give) are spread evenly over their ranks.
    ranks = np.concatenate([_ranks(one.truth, one.draws) for one in numbers])
    figure, axes = square()
    count, edges = np.histogram(ranks, _RANKS, (0.0, 1.0))
    expected = len(ranks) / _RANKS
    axes.axhspan(
        expected - 1.96 * np.sqrt(expected), expected + 1.96 * np.sqrt(expected), color=GRID, alpha=0.9, lw=0, zorder=1
    )
    axes.axhline(expected, color=MUTED, lw=1.0, zorder=3)
    axes.bar(edges[:-1], count, np.diff(edges), align="edge", color=BLUE, alpha=0.7, zorder=2)
    labels(axes, "Rank of the hidden answer, 0 to 1", "Hidden answers")
    return as_svg(figure)


def _ranks(truth: FloatArray, draws: FloatArray) -> FloatArray:
    below, same = (draws < truth).sum(axis=0), (draws == truth).sum(axis=0)
    # The golden ratio's multiples fill an interval evenly, the same way every time.
    fraction = np.modf(0.6180339887 * np.arange(1, len(truth) + 1))[0]
    return np.asarray((below + fraction * (same + 1.0)) / (len(draws) + 1.0))


def _number(axes: Axes, rows: int, columns: int) -> None:
    """Write numbers from 1 beside rows and columns."""
    for axis, n in ((axes.xaxis, columns), (axes.yaxis, rows)):
        place = np.arange(n) if n <= _NUMBERED else np.arange(4, n, 5)
        axis.set_ticks(place, labels=[str(k + 1) for k in place])
    axes.tick_params(length=0, labelsize=8.5)
