"""Figures of smoothed variances: the function, raw against smoothed, residuals.

No text from the data is drawn (see :mod:`smallarea.report.figures`): outliers are numbered, the document names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from smallarea.report.drawing import INK, MANY, MUTED, RED, cloud, diagonal, labels, log_axis, square
from smallarea.report.encoding import Picture, as_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from smallarea.survey.smoothing import SmoothedResponse

# Powers of ten below this are written as powers.
_SMALL = 1e-3
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

FloatArray = npt.NDArray[np.float64]


def size_chart(response: SmoothedResponse) -> Picture | None:
    """Raw and smoothed variances against the sample size, both axes logarithmic.

    Parameters
    ----------
    response : SmoothedResponse
        The response.

    Returns
    -------
    Picture or None
        None without sample sizes. Where the function depends on nothing else its points lie on a line.
    """
    size = response.raw.size
    if size is None:
        return None
    used, rest = response.function.used, response.replaced
    figure, axes = _square()
    cloud(axes, size[used], response.raw.variance[used])
    every = np.isfinite(response.variance)
    if _depends_on_size_alone(response):
        order = np.argsort(size[every], kind="stable")
        axes.plot(size[every][order], response.variance[every][order], color=INK, lw=1.6, zorder=4)
    else:
        many = int(every.sum()) > MANY
        axes.scatter(
            size[every], response.variance[every], s=3 if many else 8, c=INK, linewidths=0, zorder=4, rasterized=many
        )
    axes.scatter(size[rest], response.variance[rest], s=34, facecolors="none", edgecolors=RED, linewidths=1.1, zorder=5)
    _logarithmic(axes.xaxis, size[every])
    _logarithmic(axes.yaxis, np.concatenate([response.raw.variance[used], response.variance[every]]))
    labels(axes, "Sample size", "Sampling variance")
    return as_svg(figure)


def raw_chart(response: SmoothedResponse) -> Picture:
    """Smoothed against raw variances, both axes logarithmic, with the line of equality.

    Parameters
    ----------
    response : SmoothedResponse
        The response.

    Returns
    -------
    Picture
        One point an area with a usable raw variance.
    """
    used = response.function.used
    raw, smoothed = response.raw.variance[used], response.variance[used]
    figure, axes = _square()
    cloud(axes, raw, smoothed)
    both = np.concatenate([raw, smoothed])
    # First the scale: on a linear one, variances of 1e-30 leave nothing between the limits.
    for axis in (axes.xaxis, axes.yaxis):
        _logarithmic(axis, both, limits=False)
    diagonal(axes, both, log=True)
    low, high = both.min() / 1.15, both.max() * 1.15
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    labels(axes, "Raw variance", "Smoothed variance")
    return as_svg(figure)


def residual_chart(response: SmoothedResponse, far: Sequence[int], beyond: float) -> Picture:
    """Raw variances as multiples of the function's, against the latter.

    Parameters
    ----------
    response : SmoothedResponse
        The response.
    far : sequence of int
        Rows to number, in their order.
    beyond : float
        Standard deviations at which the broken lines are, without degrees of freedom.

    Returns
    -------
    Picture
        Both axes logarithmic.
    """
    function = response.function
    used = function.used
    x = function.fitted[used]
    ratio = response.raw.variance[used] / x
    figure, axes = _square()
    cloud(axes, x, ratio)
    ends = []
    axes.axhline(1.0, color=MUTED, lw=1.0, zorder=2)
    if response.raw.df is None:
        # With degrees of freedom of their own every area has other limits.
        middle = np.log(ratio).mean()
        ends = [np.exp(middle - beyond * function.residual_sd), np.exp(middle + beyond * function.residual_sd)]
        for end in ends:
            axes.axhline(end, color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=2)
    for number, row in enumerate(far, start=1):
        at = (function.fitted[row], response.raw.variance[row] / function.fitted[row])
        axes.plot(*at, "o", ms=5, color=RED, zorder=4)
        axes.annotate(str(number), at, xytext=(4, 3), textcoords="offset points", fontsize=9, color=RED, zorder=5)
    _logarithmic(axes.xaxis, x)
    _logarithmic(axes.yaxis, np.concatenate([ratio, ends]))
    labels(axes, "Variance of the function", "Raw variance / function's")
    return as_svg(figure)


def _square() -> tuple[Figure, Axes]:
    """Square figure with room for the long numbers of small variances."""
    figure, axes = square()
    axes.set_position((0.2, 0.135, 0.755, 0.785))
    return figure, axes


def _depends_on_size_alone(response: SmoothedResponse) -> bool:
    size = response.raw.size
    if response.prior_df is not None or size is None:
        return False
    if tuple(response.function.terms) == ("intercept", "log n"):
        return True
    # A pooled value over n; with an estimate term it is multiplied with what the estimate says.
    pooled = (response.variance * size)[np.isfinite(response.variance)]
    return tuple(response.function.terms) == ("all areas",) and bool(np.ptp(pooled) <= 1e-9 * np.abs(pooled).max())


def _power(x: float) -> str:
    """Write a small power of ten; nothing for other numbers."""
    exponent = round(np.log10(x))
    is_power = abs(np.log10(x) - exponent) < 1e-9
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}" if x < _SMALL and is_power else ""


def _logarithmic(axis: object, values: FloatArray, *, limits: bool = True) -> None:
    low, high = float(values.min()), float(values.max())
    if not low < high:
        low, high = 0.5 * low, 2.0 * high
    log_axis(axis, (low, high))
    if low < _SMALL:
        plain = axis.get_major_formatter()  # type: ignore[attr-defined]
        axis.set_major_formatter(lambda x, place: _power(x) or plain(x, place))  # type: ignore[attr-defined]
    if limits:
        axes: Axes = axis.axes  # type: ignore[attr-defined]
        margin = (high / low) ** 0.05
        name = axis.axis_name  # type: ignore[attr-defined]
        (axes.set_xlim if name == "x" else axes.set_ylim)(low / margin, high * margin)
