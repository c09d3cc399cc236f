"""Axes, clouds and ticks that all figures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallarea.report.encoding import new_figure
from smallarea.report.formatting import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1a2530", "#5a6773", "#e4e8ec"
BLUE, RED = "#004488", "#bb5566"
SIZE = 3.7  # inches, of a square figure; three stand side by side
MANY = 800  # points above which a cloud is drawn as pixels

FloatArray = npt.NDArray[np.float64]


def square() -> tuple[Figure, Axes]:
    """Square figure with one empty set of axes."""
    figure = new_figure(SIZE, SIZE)
    axes = figure.add_axes((0.15, 0.135, 0.825, 0.785))
    style(axes)
    return figure, axes


def style(axes: Axes) -> None:
    """Light spines and grid, few ticks."""
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
        plain_ticks(axis)


def plain_ticks(axis: Any) -> None:
    """Write the ticks of an axis as plain numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, axis)))


def log_axis(axis: Any, limits: tuple[float, float]) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    low, high = limits
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


def labels(axes: Axes, x: str, y: str) -> None:
    """Name the axes."""
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


def cloud(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    """Scatter points, smaller and paler the more there are."""
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


def diagonal(axes: Axes, values: FloatArray, *, log: bool = False) -> None:
    """Draw the line of equality and give both axes the range of the values."""
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
