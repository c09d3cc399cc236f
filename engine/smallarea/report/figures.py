"""Figures that show what the model did and how well its assumptions hold.

No text from the data is drawn: field names and ids may hold any script, and the document sets them in the browser's
fonts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from smallarea.report.drawing import (
    BLUE,
    GRID,
    INK,
    MANY,
    MUTED,
    RED,
    cloud,
    diagonal,
    labels,
    log_axis,
    square,
    style,
)
from smallarea.report.encoding import Picture, as_svg, new_figure

FloatArray = npt.NDArray[np.float64]


def direct_and_model(direct: npt.ArrayLike, estimate: npt.ArrayLike, numbered: list[int]) -> Picture | None:
    """Direct against model estimates with the 45-degree line.

    Parameters
    ----------
    direct, estimate : array-like
        NaN where missing.
    numbered : list of int
        Rows to number 1, 2, ...: those of the largest changes.

    Returns
    -------
    Picture or None
        None with fewer than two areas.
    """
    x, y = np.asarray(direct, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    usable = np.isfinite(x) & np.isfinite(y)
    if np.count_nonzero(usable) < 2:
        return None
    figure, axes = square()
    diagonal(axes, np.concatenate([x[usable], y[usable]]))
    cloud(axes, x[usable], y[usable])
    for number, row in enumerate(numbered, start=1):
        if usable[row]:
            axes.plot(x[row], y[row], "o", ms=5, mfc="none", mec=RED, mew=1.1)
            axes.annotate(
                str(number), (x[row], y[row]), xytext=(5, 3), textcoords="offset points", fontsize=9, color=RED
            )
    labels(axes, "Direct estimate", "Model estimate")
    return as_svg(figure)


def errors_before_after(direct_se: npt.ArrayLike, se: npt.ArrayLike) -> Picture | None:
    """Draw standard errors of the direct against those of the model estimates, with the line of no gain.

    Parameters
    ----------
    direct_se, se : array-like
        NaN where missing.

    Returns
    -------
    Picture or None
        None with fewer than two areas.
    """
    x, y = np.asarray(direct_se, dtype=np.float64), np.asarray(se, dtype=np.float64)
    usable = np.isfinite(x) & np.isfinite(y) & (x > 0.0)
    if np.count_nonzero(usable) < 2:
        return None
    x, y = x[usable], y[usable]
    figure, axes = square()
    if y.min() > 0.0 and max(x.max(), y.max()) > 8.0 * min(x.min(), y.min()):
        limits = (float(min(x.min(), y.min())), float(max(x.max(), y.max())))
        log_axis(axes.xaxis, limits)
        log_axis(axes.yaxis, limits)
        diagonal(axes, np.concatenate([x, y]), log=True)
    else:
        diagonal(axes, np.concatenate([x, y]))
    cloud(axes, x, y)
    axes.text(0.97, 0.04, "below the line:\nmodel more precise", transform=axes.transAxes, ha="right", fontsize=8.5,
              color=MUTED, linespacing=1.3)  # fmt: skip
    labels(axes, "Standard error, direct", "Standard error, model")
    return as_svg(figure)


def shrinkage_and_variance(direct_se: npt.ArrayLike, shrinkage: npt.ArrayLike) -> Picture | None:
    """Shrinkage factor against the sampling variance.

    Parameters
    ----------
    direct_se, shrinkage : array-like
        NaN where missing.

    Returns
    -------
    Picture or None
        None with fewer than two areas.
    """
    x, y = np.asarray(direct_se, dtype=np.float64) ** 2, np.asarray(shrinkage, dtype=np.float64)
    usable = np.isfinite(x) & np.isfinite(y) & (x > 0.0)
    if np.count_nonzero(usable) < 2:
        return None
    x, y = x[usable], y[usable]
    figure, axes = square()
    if x.max() > 20.0 * x.min():
        log_axis(axes.xaxis, (float(x.min()), float(x.max())))
    axes.axhline(0.5, color=GRID, lw=1, zorder=0)
    cloud(axes, x, y)
    axes.set_ylim(min(-0.03, float(y.min()) - 0.03), max(1.03, float(y.max()) + 0.03))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    labels(axes, "Sampling variance", "Weight of the direct estimate")
    return as_svg(figure)


def ranked_intervals(
    estimate: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike, direct: npt.ArrayLike
) -> Picture | None:
    """Estimates in order with their intervals, and the direct estimates.

    Parameters
    ----------
    estimate, lower, upper, direct : array-like
        NaN where missing.

    Returns
    -------
    Picture or None
        None with fewer than two estimates.
    """
    e, lo, hi, d = (np.asarray(v, dtype=np.float64) for v in (estimate, lower, upper, direct))
    usable = np.flatnonzero(np.isfinite(e) & np.isfinite(lo) & np.isfinite(hi))
    if usable.size < 2:
        return None
    order = usable[np.argsort(e[usable], kind="stable")]
    rank = np.arange(1, order.size + 1)
    figure = new_figure(10.6, 3.4)
    axes = figure.add_axes((0.06, 0.14, 0.925, 0.82))
    style(axes)
    axes.vlines(rank, lo[order], hi[order], color="#9db8d6", lw=max(0.5, min(3.0, 420.0 / order.size)), zorder=2)
    axes.plot(rank, e[order], "_", color=BLUE, ms=max(1.5, min(7.0, 700.0 / order.size)), mew=1.6, zorder=4)
    sampled = np.isfinite(d[order])
    axes.plot(rank[sampled], d[order][sampled], "o", ms=2.6, mfc="none", mec=RED, mew=0.7, zorder=3)
    axes.set_xlim(0.0, order.size + 1.0)
    # A few wild direct estimates must not flatten everything else.
    low, high = float(lo[order].min()), float(hi[order].max())
    seen = np.concatenate([d[order][sampled], [low, high]])
    room = 0.6 * (high - low)
    axes.set_ylim(max(low - room, float(seen.min())) - 0.03 * room, min(high + room, float(seen.max())) + 0.03 * room)
    axes.grid(axis="x", visible=False)
    labels(axes, "Areas, from the smallest to the largest estimate", "")
    return as_svg(figure)


def normal_quantiles(residuals: npt.ArrayLike) -> Picture | None:
    """Standardised residuals against normal quantiles, with a pointwise 95 % band.

    Parameters
    ----------
    residuals : array-like
        NaN where missing.

    Returns
    -------
    Picture or None
        None with fewer than three residuals.
    """
    from scipy import stats

    values = np.asarray(residuals, dtype=np.float64)
    values = np.sort(values[np.isfinite(values)])
    n = values.size
    if n < 3:
        return None
    rank = np.arange(1, n + 1)
    expected = stats.norm.ppf((rank - 0.375) / (n + 0.25))
    # The i-th smallest of n uniform numbers is Beta(i, n + 1 - i).
    # At most 200 of them: a band of thousands of corners looks the same and weighs half a megabyte.
    corners = np.unique(np.round(np.linspace(0, n - 1, min(n, 200))).astype(int))
    band_rank = rank[corners]
    low, high = (stats.norm.ppf(stats.beta.ppf(q, band_rank, n + 1 - band_rank)) for q in (0.025, 0.975))
    figure, axes = square()
    axes.fill_between(expected[corners], low, high, color="#dfe7f0", lw=0, zorder=1)
    axes.plot(expected[[0, -1]], expected[[0, -1]], color=MUTED, lw=1, zorder=2)
    cloud(axes, expected, values)
    labels(axes, "Expected if normal", "Standardised residual")
    return as_svg(figure)


def moran_scatter(residuals: npt.ArrayLike, lag: npt.ArrayLike) -> Picture | None:
    """Mean residual of the neighbours against an area's own, with the line of best fit.

    Parameters
    ----------
    residuals, lag : array-like
        NaN where missing.

    Returns
    -------
    Picture or None
        None with fewer than four areas.
    """
    x, y = np.asarray(residuals, dtype=np.float64), np.asarray(lag, dtype=np.float64)
    usable = np.isfinite(x) & np.isfinite(y)
    if np.count_nonzero(usable) < 4 or np.ptp(x[usable]) == 0.0:
        return None
    x, y = x[usable], y[usable]
    figure, axes = square()
    axes.axhline(0.0, color=MUTED, lw=0.7, zorder=1)
    axes.axvline(0.0, color=MUTED, lw=0.7, zorder=1)
    cloud(axes, x, y)
    centre = x - x.mean()
    slope = float(centre @ y / (centre @ centre))
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, y.mean() + slope * (ends - x.mean()), color=RED, lw=1.4, zorder=4)
    labels(axes, "Standardised residual of an area", "Mean of its neighbours")
    return as_svg(figure)


def between_responses(direct: tuple[FloatArray, FloatArray], estimate: tuple[FloatArray, FloatArray]) -> Picture | None:
    """Estimates of one response against those of another, direct and by the model.

    Parameters
    ----------
    direct, estimate : pair of numpy.ndarray
        Of the first and the second response; NaN where missing.

    Returns
    -------
    Picture or None
        None with fewer than two areas that have both model estimates.
    """
    usable = np.isfinite(estimate[0]) & np.isfinite(estimate[1])
    if np.count_nonzero(usable) < 2:
        return None
    figure, axes = square()
    surveyed = usable & np.isfinite(direct[0]) & np.isfinite(direct[1])
    many = usable.sum() > MANY
    if not many:
        ends = zip(*(values[surveyed] for values in (*direct, *estimate)), strict=True)
        axes.plot(*_segments(list(ends)), color="#c3ccd5", lw=0.7, zorder=1)
    axes.scatter(
        direct[0][surveyed],
        direct[1][surveyed],
        s=3 if many else 12,
        facecolors="none",
        edgecolors=RED,
        linewidths=0.3 if many else 0.8,
        zorder=2,
        rasterized=many,
    )
    cloud(axes, estimate[0][usable], estimate[1][usable])
    labels(axes, "First response", "Second response")
    return as_svg(figure)


def _segments(ends: list[tuple[float, float, float, float]]) -> tuple[list[float], list[float]]:
    """One line for all steps from direct to model estimates, broken between them: light in a vector file."""
    gap = float("nan")
    x = [value for x0, _, x1, _ in ends for value in (x0, x1, gap)]
    y = [value for _, y0, _, y1 in ends for value in (y0, y1, gap)]
    return x, y


def prior_and_posterior(x: FloatArray, prior: FloatArray, posterior: FloatArray) -> Picture:
    """Densities of a hyperparameter before and after the data.

    Parameters
    ----------
    x, prior, posterior : numpy.ndarray
        Values and densities.
    """
    figure, axes = square()
    axes.fill_between(x, np.minimum(prior, posterior), color="#dfe7f0", lw=0, zorder=1)
    axes.plot(x, prior, color=MUTED, lw=1.3, ls="--", zorder=2, label="prior")
    axes.plot(x, posterior, color=BLUE, lw=1.7, zorder=3, label="posterior")
    axes.set_ylim(0.0, 1.35 * float(max(prior.max(), posterior.max())))
    axes.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=INK, ncols=2, handlelength=1.6)
    labels(axes, "Value", "Density")
    return as_svg(figure)
