"""Figures of a comparison: differences between models with their errors, and whether probabilities are right.

No text from the data is drawn (see :mod:`smallarea.report.figures`): rows and panels are numbered, and the document
names them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from smallarea.report.drawing import BLUE, GRID, INK, MUTED, plain_ticks, style
from smallarea.report.encoding import Picture, as_svg, new_figure

_BINS = 10


def difference_chart(overall: pd.DataFrame) -> Picture | None:
    """Differences of log scores to the best model, a panel for each criterion, with two standard errors.

    Parameters
    ----------
    overall : pandas.DataFrame
        Scores over all responses, the models of each criterion in their order.

    Returns
    -------
    Picture or None
        Rows are numbered in the order of the models' first panel; None without scores.
    """
    criteria = [of for _, of in overall.groupby("criterion", sort=False)]
    if not criteria:
        return None
    models = list(criteria[0]["model"])
    width, row = 10.6, 0.34
    height = 0.95 + row * len(models)
    figure = new_figure(width, height)
    each = 0.95 / len(criteria)
    for at, of in enumerate(criteria):
        bottom = 0.55 / height
        axes = figure.add_axes((0.04 + at * each, bottom, each - 0.03, 1.0 - bottom - 0.32 / height))
        style(axes)
        axes.grid(axis="y", visible=False)
        place = np.array([models.index(model) for model in of["model"]])
        value, error = of["difference"].to_numpy(float), of["difference_se"].to_numpy(float)
        axes.axvline(0.0, color=MUTED, lw=0.9, zorder=1)
        axes.hlines(place, value - 2.0 * error, value + 2.0 * error, color="#9db8d6", lw=3.2, zorder=2)
        axes.plot(value, place, "o", ms=5.5, color=BLUE, zorder=3)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_yticks(range(len(models)))
        axes.set_yticklabels([str(k + 1) for k in range(len(models))] if at == 0 else [])
        plain_ticks(axes.xaxis)
        axes.set_title(f"{chr(ord('A') + at)}", fontsize=10.5, color=INK, loc="left", pad=6)
        if at == 0:
            axes.set_xlabel("Difference to the best, with two standard errors", fontsize=9.5, color=INK, loc="left")
    return as_svg(figure)


def pit_charts(values: Mapping[str, npt.NDArray[np.float64]]) -> Picture | None:
    """Histograms of the probabilities below the direct estimates, flat if the predictions are calibrated.

    Parameters
    ----------
    values : mapping
        Response to PIT values, NaN where there are none.

    Returns
    -------
    Picture or None
        Panels in the order of the mapping, with the band that 95 % of a bar's heights lie in if it is flat; None with
        fewer than twenty values.
    """
    from scipy import stats

    known = [v[np.isfinite(v)] for v in values.values()]
    if not known or min(len(v) for v in known) < 20:
        return None
    figure = new_figure(min(10.6, 3.6 * len(known)), 2.3)
    each = 1.0 / len(known)
    for at, pit in enumerate(known):
        axes = figure.add_axes((at * each + 0.11 * each, 0.16, 0.85 * each, 0.76))
        style(axes)
        low, high = stats.binom.ppf([0.025, 0.975], len(pit), 1.0 / _BINS)
        axes.axhspan(low, high, color="#dfe7f0", lw=0, zorder=1)
        axes.axhline(len(pit) / _BINS, color=MUTED, lw=0.9, zorder=2)
        counts = np.histogram(pit, bins=_BINS, range=(0.0, 1.0))[0]
        axes.bar((np.arange(_BINS) + 0.5) / _BINS, counts, width=0.8 / _BINS, color=BLUE, alpha=0.75, zorder=3)
        axes.set_xlim(0.0, 1.0)
        axes.grid(axis="x", visible=False)
        axes.grid(axis="y", color=GRID, lw=0.7)
    return as_svg(figure)
