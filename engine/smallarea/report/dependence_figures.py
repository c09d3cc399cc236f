"""Pictures of effects of covariates, one small axes each with the same scale, so that they can be compared.

No text from the data is drawn (see :mod:`smallarea.report.figures`); the document names the covariates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from smallarea.report.drawing import BLUE, INK, MANY, MUTED, RED, plain_ticks, style
from smallarea.report.encoding import Picture, as_svg, new_figure
from smallarea.report.formatting import significant

FloatArray = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 3.7, 2.6
_BOX = (0.145, 0.115, 0.83, 0.84)
# Codes up to which each is written below its mark.
_MOST_CODES = 12


def curve_chart(
    values: FloatArray,
    curve: tuple[FloatArray, FloatArray, FloatArray],
    deciles: Sequence[float],
    limits: tuple[float, float],
    *,
    level: float,
    other: FloatArray | None = None,
) -> Picture:
    """Draw the effect of a covariate that is a number.

    Parameters
    ----------
    values : ndarray, shape (K,)
        Increasing.
    curve : tuple of ndarray, each of shape (K,)
        Estimate, lower and upper limit.
    deciles : sequence of float
        Of the rows, drawn as ticks: between two of them lies a tenth of the rows.
    limits : tuple of float
        Of the vertical axis.
    level : float
        Where a thin line says that there is no effect.
    other : ndarray, shape (K,), optional
        Another curve, drawn dashed.

    Returns
    -------
    Picture
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.add_axes(_BOX)
    style(axes)
    estimate, lower, upper = curve
    axes.axhline(level, color=MUTED, lw=0.8, zorder=1)
    axes.fill_between(values, lower, upper, color=BLUE, alpha=0.16, lw=0, zorder=2)
    if other is not None:
        axes.plot(values, other, color=RED, lw=1.3, ls=(0, (4, 2)), zorder=3)
    axes.plot(values, estimate, color=BLUE, lw=1.8, zorder=4, solid_joinstyle="round")
    bottom, top = limits
    axes.vlines(deciles, bottom, bottom + 0.045 * (top - bottom), color=MUTED, lw=1.1, zorder=5)
    axes.set_ylim(bottom, top)
    margin = 0.02 * float(values[-1] - values[0])
    axes.set_xlim(float(values[0]) - margin, float(values[-1]) + margin)
    return as_svg(figure)


def code_chart(
    codes: FloatArray, curve: tuple[FloatArray, FloatArray, FloatArray], limits: tuple[float, float], *, level: float
) -> Picture:
    """Draw the effect of a covariate with codes, each a dot with its interval.

    Parameters
    ----------
    codes : ndarray, shape (K,)
        The codes.
    curve : tuple of ndarray, each of shape (K,)
        Estimate, lower and upper limit; NaN where there is none.
    limits : tuple of float
        Of the vertical axis.
    level : float
        Where a thin line says that there is no effect.

    Returns
    -------
    Picture
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.add_axes(_BOX)
    style(axes)
    order = np.argsort(codes)
    estimate, lower, upper = (part[order] for part in curve)
    place = np.arange(len(codes))
    axes.axhline(level, color=MUTED, lw=0.8, zorder=1)
    axes.vlines(place, lower, upper, color=BLUE, lw=5.0, alpha=0.22, zorder=2)
    axes.plot(place, estimate, "o", color=BLUE, ms=5.5, zorder=3)
    axes.grid(visible=False, axis="x")
    step = -(-len(codes) // _MOST_CODES)
    axes.set_xticks(
        place[::step],
        [significant(code, 6).rstrip("0").rstrip(".") if code % 1 else f"{code:g}" for code in codes[order][::step]],
    )
    axes.set_xlim(-0.6, len(codes) - 0.4)
    axes.set_ylim(*limits)
    return as_svg(figure)


def joint_chart(values: FloatArray, other: FloatArray, estimate: FloatArray, places: FloatArray) -> Picture:
    """Draw the joint effect of two covariates, and where the data are.

    Values of the grid are equally far apart, so that each step of an axis holds as many rows as the next, however
    skewed the covariate is.

    Parameters
    ----------
    values, other : ndarray, shapes (K,) and (L,)
        Values along the horizontal and the vertical axis, increasing.
    estimate : ndarray, shape (K, L)
        Expected outcome.
    places : ndarray, shape (n, 2)
        The rows.

    Returns
    -------
    Picture
    """
    figure = new_figure(_WIDTH, 3.7)
    axes = figure.add_axes((0.145, 0.225, 0.83, 0.74))
    style(axes)
    axes.grid(visible=False)
    mesh = axes.pcolormesh(
        np.arange(len(values)), np.arange(len(other)), estimate.T, cmap="viridis", shading="nearest", rasterized=True
    )
    shown = np.column_stack([
        np.interp(places[:, column], grid, np.arange(len(grid))) for column, grid in enumerate((values, other))
    ])  # fmt: skip
    many = len(places) > MANY
    axes.scatter(shown[:, 0], shown[:, 1], s=2 if many else 7, c="white", edgecolors=INK, linewidths=0.4, alpha=0.85,
                 rasterized=many)  # fmt: skip
    for axis, grid in ((axes.xaxis, values), (axes.yaxis, other)):
        ticks = np.unique(np.linspace(0, len(grid) - 1, min(len(grid), 5)).round().astype(int))
        axis.set_ticks(ticks, [significant(grid[tick], 2) for tick in ticks])
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_ylim(-0.5, len(other) - 0.5)
    place = figure.add_axes((0.145, 0.085, 0.83, 0.03))
    bar = figure.colorbar(mesh, cax=place, orientation="horizontal")
    bar.outline.set_visible(False)
    place.tick_params(labelsize=8, colors=MUTED, length=2)
    plain_ticks(place.xaxis)
    return as_svg(figure)
