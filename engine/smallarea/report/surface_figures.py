"""Maps of a surface as pictures, and how its uncertainty grows with the distance to the clusters.

No text from the data is drawn (see :mod:`smallarea.report.figures`); the document names what is mapped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallarea.report.classes import Classes, LegendItem, classes_by_breaks, classes_of_probabilities
from smallarea.report.drawing import BLUE, INK, MUTED, RED, labels, style
from smallarea.report.encoding import Picture, as_png, as_svg, new_figure
from smallarea.report.formatting import fixed, significant
from smallarea.report.maps import MAX_HEIGHT, PNG_DPI, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from smallarea.io.reduced_raster import ReducedRaster

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Inches below a map for its colours.
_BAR = 0.42
_CLASSES = 6
_BINS = 15
# Clusters up to which each has a white rim.
_FEW = 600


@dataclass(frozen=True)
class SurfaceFrame:
    """What all maps of a surface have in common.

    Attributes
    ----------
    reduced : ReducedRaster
        The surface.
    borders : list of ndarray, shape (k, 2)
        Lines to draw over it, in its reference system.
    clusters : ndarray, shape (n, 2)
        Places of the clusters, in the same.
    geographic : bool
        Whether coordinates are degrees.
    """

    reduced: ReducedRaster
    borders: Sequence[FloatArray]
    clusters: FloatArray
    geographic: bool

    @property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the blocks and the lines."""
        rows, columns = self.reduced.shape
        a, b, c, d, e, f = self.reduced.transform
        corners = [(a * j + b * i + c, d * j + e * i + f) for i in (0, rows) for j in (0, columns)]
        every = np.concatenate([np.array(corners), *self.borders])
        (west, south), (east, north) = every.min(axis=0), every.max(axis=0)
        return float(west), float(south), float(east), float(north)

    @property
    def stretch(self) -> float:
        """Length of a unit of y over that of a unit of x."""
        _, south, _, north = self.box
        # Near a pole the plane does not work anyway: 75 degrees bounds the distortion.
        middle = min(75.0, abs(0.5 * (south + north)))
        return 1.0 / math.cos(math.radians(middle)) if self.geographic else 1.0


def value_map(frame: SurfaceFrame, values: FloatArray, kind: str, *, clusters: bool = False) -> Picture:
    """Draw values in classes of about equal size.

    Parameters
    ----------
    frame : SurfaceFrame
        Where.
    values : ndarray, shape (height, width)
        NaN for none.
    kind : {'estimate', 'uncertainty'}
        Which colours.
    clusters : bool
        Whether clusters are dots.

    Returns
    -------
    Picture
    """
    return _draw(frame, classes_by_breaks(values, kind, n_classes=_CLASSES), clusters)


def probability_map(frame: SurfaceFrame, probabilities: FloatArray) -> Picture:
    """Draw probabilities of exceeding a threshold in five classes; parameters as of :func:`value_map`."""
    return _draw(frame, classes_of_probabilities(probabilities), False)


def beyond_map(frame: SurfaceFrame, beyond: FloatArray) -> Picture:
    """Draw where a covariate lies beyond its values at the clusters, and the clusters.

    Parameters
    ----------
    frame : SurfaceFrame
        Where.
    beyond : ndarray, shape (height, width)
        1 for beyond, 0 for within, NaN for none.

    Returns
    -------
    Picture
    """
    index = np.where(np.isfinite(beyond), beyond, -1.0).astype(np.int64)
    legend = tuple(
        LegendItem(colour, text, int((index == k).sum()))
        for k, (colour, text) in enumerate((("#d3dde8", "within"), (RED, "beyond")))
    )
    return _draw(frame, Classes(index, legend), True)


def _draw(frame: SurfaceFrame, found: Classes, clusters: bool) -> Picture:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap
    from matplotlib.transforms import Affine2D

    west, south, east, north = frame.box
    ratio = (north - south) * frame.stretch / (east - west)
    height = min(MAX_HEIGHT, max(0.8, WIDTH * ratio))
    bar = _BAR if found.limits else 0.0
    figure = new_figure(WIDTH, height + bar)
    axes = figure.add_axes((0.0, bar / (height + bar), 1.0, height / (height + bar)))
    axes.set_axis_off()
    colours = [item.colour for item in found.legend if not item.hatched]
    rows, columns = frame.reduced.shape
    a, b, c, d, e, f = frame.reduced.transform
    axes.imshow(
        np.ma.masked_less(found.index, 0),
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
        extent=(0, columns, rows, 0),
        interpolation="nearest",
        transform=Affine2D.from_values(a, d, b, e, c, f) + axes.transData,
        aspect="auto",
    )
    axes.add_collection(LineCollection(frame.borders, colors=INK, linewidths=0.45, alpha=0.7, zorder=3))
    if clusters:
        _dots(axes, frame.clusters)
    margin = 0.012 * max(east - west, north - south)
    axes.set_xlim(west - margin, east + margin)
    axes.set_ylim(south - margin, north + margin)
    axes.set_aspect(frame.stretch)
    if bar:
        _colour_bar(figure, colours, found.limits, bar / (height + bar))
    return as_png(figure, PNG_DPI)


def _dots(axes: Axes, places: FloatArray) -> None:
    few = len(places) <= _FEW
    axes.scatter(
        places[:, 0], places[:, 1], s=7 if few else 2, c="#111111", edgecolors="white", linewidths=0.45 if few else 0.0,
        zorder=5,
    )  # fmt: skip


def _colour_bar(figure: Any, colours: Sequence[str], limits: Sequence[str], share: float) -> None:
    """Boxes of the classes' colours with the limits between them; the first and the last class are open."""
    from matplotlib.patches import Rectangle

    bar = figure.add_axes((0.06, 0.46 * share, 0.88, 0.3 * share))
    bar.set_xlim(0, len(colours))
    bar.set_ylim(0, 1)
    for place, colour in enumerate(colours):
        bar.add_patch(Rectangle((place, 0), 1, 1, facecolor=colour, edgecolor="white", lw=0.6))
    for side in bar.spines.values():
        side.set_visible(False)
    bar.set_yticks([])
    bar.set_xticks(np.arange(1, len(colours)), limits)
    bar.tick_params(labelsize=8.5, colors=MUTED, length=2.5, width=0.6, pad=2)


def distance_chart(distance: FloatArray, sd: FloatArray, spatial_range: float | None) -> Picture | None:
    """Draw standard deviations of cells against their distance to the nearest cluster.

    Parameters
    ----------
    distance, sd : ndarray, shape (n,)
        Of cells.
    spatial_range : float or None
        Range of the field, a dashed line.

    Returns
    -------
    Picture or None
        None if all cells are about equally far.
    """
    edges = np.unique(np.quantile(distance, np.linspace(0.0, 1.0, _BINS + 1)))
    if len(edges) < 4:
        return None
    bins = np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, len(edges) - 2)
    held = [sd[bins == k] for k in range(len(edges) - 1)]
    at = np.array([np.median(distance[bins == k]) for k in range(len(edges) - 1)])
    low, middle, high = (np.array([np.quantile(part, q) for part in held]) for q in (0.1, 0.5, 0.9))
    figure = new_figure(WIDTH, 3.1)
    axes = figure.add_axes((0.125, 0.15, 0.855, 0.735))
    style(axes)
    axes.fill_between(at, low, high, color=BLUE, alpha=0.16, lw=0, zorder=2)
    axes.plot(at, middle, color=BLUE, lw=1.8, zorder=3, solid_joinstyle="round")
    if spatial_range is not None and spatial_range <= float(edges[-1]):
        axes.axvline(spatial_range, color=RED, lw=1.3, ls=(0, (4, 2)), zorder=4)
        axes.annotate(
            "range of the field", (spatial_range, 0.03), xycoords=("data", "axes fraction"), xytext=(4, 0),
            textcoords="offset points", fontsize=8.5, color=RED,
        )  # fmt: skip
    axes.set_xlim(0.0, float(at[-1]) * 1.02)
    axes.set_ylim(0.0, 1.1 * float(high.max()))
    labels(axes, "Distance to the nearest cluster", "Standard deviation of a cell")
    return as_svg(figure)


def borders_of(shapes: Sequence[Any], frame_box: tuple[float, float, float, float]) -> list[FloatArray]:
    """Outlines of polygons, simplified to what a picture can show.

    Parameters
    ----------
    shapes : sequence of shapely geometry
        Polygons.
    frame_box : tuple of float
        West, south, east, north of the picture.

    Returns
    -------
    list of ndarray, shape (k, 2)
    """
    import shapely

    west, south, east, north = frame_box
    pixel = max(east - west, north - south) / (WIDTH * PNG_DPI)
    lines = shapely.get_parts(shapely.boundary(shapely.simplify(np.asarray(shapes, dtype=object), pixel / 2.0)))
    return [shapely.get_coordinates(line) for line in lines]


def in_thousands(values: FloatArray, unit: str) -> tuple[float, str]:
    """Return what to divide lengths by, and the unit's name: kilometres where metres would be long numbers."""
    if unit in ("metre", "meter") and float(np.median(values)) >= 2000.0:
        return 1000.0, "km"
    short = {"metre": "m", "meter": "m", "degree": "degrees"}
    return 1.0, short.get(unit, unit)


def length(value: float, divisor: float, unit: str) -> str:
    """Write a length."""
    shown = value / divisor
    return f"{fixed(shown, 0 if shown >= 100.0 else 1) if shown >= 1.0 else significant(shown, 2)} {unit}"
