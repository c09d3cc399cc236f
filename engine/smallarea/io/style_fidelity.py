"""QGIS styles of the layer with the fidelity of a learned prior."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from smallarea.io.style_classes import Interval
from smallarea.io.style_qml import Style, graduated

if TYPE_CHECKING:
    import geopandas as gpd

# Classes are fixed, so that maps of two priors can be compared; the middle one is what a good prior stays in.
RATIOS = (0.5, 0.8, 0.95, 1.05, 1.25, 2.0)
ERRORS = (-0.15, -0.05, -0.02, 0.02, 0.05, 0.15)
# ColorBrewer's PuOr, safe for the common kinds of colour blindness: too little is purple, too much brown.
COLOURS = ("#542788", "#998ec3", "#d8daeb", "#f7f7f7", "#fee0b6", "#f1a340", "#b35806")


def fidelity_styles(layer: gpd.GeoDataFrame) -> list[Style]:
    """Return the styles of a certificate's layer, the default first.

    Parameters
    ----------
    layer : geopandas.GeoDataFrame
        With ``variance_ratio`` and ``neighbour_error``; NaN for areas without neighbours.

    Returns
    -------
    list of Style
        Variance ratios and errors of the correlation with neighbours.
    """
    ratio = "Learned over exact variance of each area, where it is furthest from 1"
    error = "Learned minus exact correlation with the neighbours, where it is furthest from 0"
    return [
        Style("Variance ratio", ratio, _map(layer, "variance_ratio", RATIOS, 2)),
        Style("Neighbour correlation", error, _map(layer, "neighbour_error", ERRORS, 2)),
    ]


def _map(layer: gpd.GeoDataFrame, field: str, limits: Sequence[float], digits: int) -> str:
    values = np.asarray(layer[field], dtype=float)
    finite = values[np.isfinite(values)]
    # The outer classes have to reach the extremes, or QGIS would not draw them.
    low = min([limits[0] - 1.0, *(float(np.floor(v)) for v in finite)])
    high = max([limits[-1] + 1.0, *(float(np.ceil(v)) for v in finite)])
    shown = [f"{limit:.{digits}f}".replace("-", "−") for limit in limits]
    labels = [f"below {shown[0]}", *(f"{a} – {b}" for a, b in pairwise(shown)), f"above {shown[-1]}"]
    classes = [Interval(a, b, text) for (a, b), text in zip(pairwise([low, *limits, high]), labels, strict=True)]
    return graduated(field, classes, COLOURS, missing="no neighbours" if len(finite) < len(values) else None)
