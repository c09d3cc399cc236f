"""Figures that show what the model did and how well its assumptions hold.

No text from the data is drawn: field names and ids may hold any script, and the document sets them in the browser's
fonts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallarea.report.encoding import Picture, as_svg, new_figure
from smallarea.report.formatting import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1a2530", "#5a6773", "#e4e8ec"
BLUE, RED = "#004488", "#bb5566"
SIZE = 3.7  # inches, of a square figure; three stand side by side
MANY = 800  # points above which a cloud is drawn as pixels

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
    figure, axes = _square()
    _diagonal(axes, np.concatenate([x[usable], y[usable]]))
    _cloud(axes, x[usable], y[usable])
    for number, row in enumerate(numbered, start=1):
        if usable[row]:
            axes.plot(x[row], y[row], "o", ms=5, mfc="none", mec=RED, mew=1.1)
            axes.annotate(
                str(number), (x[row], y[row]), xytext=(5, 3), textcoords="offset points", fontsize=9, color=RED
            )
    _labels(axes, "Direct estimate", "Model estimate")
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
    figure, axes = _square()
    if y.min() > 0.0 and max(x.max(), y.max()) > 8.0 * min(x.min(), y.min()):
        limits = (float(min(x.min(), y.min())), float(max(x.max(), y.max())))
        _log(axes.xaxis, limits)
        _log(axes.yaxis, limits)
        _diagonal(axes, np.concatenate([x, y]), log=True)
    else:
        _diagonal(axes, np.concatenate([x, y]))
    _cloud(axes, x, y)
    axes.text(0.97, 0.04, "below the line:\nmodel more precise", transform=axes.transAxes, ha="right", fontsize=8.5,
              color=MUTED, linespacing=1.3)  # fmt: skip
    _labels(axes, "Standard error, direct", "Standard error, model")
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
    figure, axes = _square()
    if x.max() > 20.0 * x.min():
        _log(axes.xaxis, (float(x.min()), float(x.max())))
    axes.axhline(0.5, color=GRID, lw=1, zorder=0)
    _cloud(axes, x, y)
    axes.set_ylim(min(-0.03, float(y.min()) - 0.03), max(1.03, float(y.max()) + 0.03))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    _labels(axes, "Sampling variance", "Weight of the direct estimate")
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
    _style(axes)
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
    _labels(axes, "Areas, from the smallest to the largest estimate", "")
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
    figure, axes = _square()
    axes.fill_between(expected[corners], low, high, color="#dfe7f0", lw=0, zorder=1)
    axes.plot(expected[[0, -1]], expected[[0, -1]], color=MUTED, lw=1, zorder=2)
    _cloud(axes, expected, values)
    _labels(axes, "Expected if normal", "Standardised residual")
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
    figure, axes = _square()
    axes.axhline(0.0, color=MUTED, lw=0.7, zorder=1)
    axes.axvline(0.0, color=MUTED, lw=0.7, zorder=1)
    _cloud(axes, x, y)
    centre = x - x.mean()
    slope = float(centre @ y / (centre @ centre))
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, y.mean() + slope * (ends - x.mean()), color=RED, lw=1.4, zorder=4)
    _labels(axes, "Standardised residual of an area", "Mean of its neighbours")
    return as_svg(figure)


def _square() -> tuple[Figure, Axes]:
    figure = new_figure(SIZE, SIZE)
    axes = figure.add_axes((0.15, 0.135, 0.825, 0.785))
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#aab4bd")
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=MUTED, labelsize=9, width=0.8, length=3)
    axes.grid(visible=True, color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis)


def _plain_ticks(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, axis)))


def _log(axis: Any, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    low, high = limits
    # One, two and five where there is room for them.
    axis.set_major_locator(LogLocator(10.0, subs=(1.0, 2.0, 5.0) if high < 30.0 * low else (1.0,), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, axis)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(LogLocator(10.0, subs=(), numticks=8))


def _tick(x: float, axis: Any) -> str:
    """Write a tick: in thousands, millions or billions on an axis that needs it."""
    if abs(x) < 1e-12:
        return "0"
    largest = max(abs(v) for v in axis.get_view_interval())
    if 1e4 <= largest < 1e12:
        for unit, name in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
            if abs(x) >= unit:
                return f"{x / unit:.4g}{name}".replace("-", "−")
    text = significant(x, 4)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def _labels(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9.5, color=INK, labelpad=5)
    if y:
        # Lying above the axis: easier to read than upright, and long tick labels cannot push it off the figure.
        axes.annotate(
            y,
            (0.0, 1.0),
            xytext=(-26, 9),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9.5,
            color=INK,
            annotation_clip=False,
        )


def _cloud(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    many = x.size > MANY
    axes.scatter(
        x,
        y,
        s=4 if many else 14 if x.size > 150 else 20,
        c=BLUE,
        alpha=0.25 if many else 0.6,
        linewidths=0,
        zorder=3,
        rasterized=many,
    )


def _diagonal(axes: Axes, values: FloatArray, *, log: bool = False) -> None:
    low, high = float(values.min()), float(values.max())
    if log:
        low, high = low / 1.15, high * 1.15
    else:
        margin = 0.05 * (high - low) or 0.05 * max(abs(high), 1.0)
        low, high = low - margin, high + margin
    axes.plot([low, high], [low, high], color=MUTED, lw=1, zorder=2)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
