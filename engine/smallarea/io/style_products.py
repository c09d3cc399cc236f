"""QGIS styles of layers with exceedance probabilities and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from smallarea.io.style_classes import Interval, intervals
from smallarea.io.style_qml import NAME_WIDTH, Style, graduated

# Probabilities mean the same on every map: classes are fixed, and narrow where a decision is near certain.
PROBABILITIES = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)
# ColorBrewer's PuOr, safe for the common kinds of colour blindness: brown is likely, purple unlikely.
PROBABILITY_COLOURS = ("#542788", "#998ec3", "#d8daeb", "#fee0b6", "#f1a340", "#b35806")
# The first ranks are dark.
RANK_RAMP = ("#253494", "#2c7fb8", "#41b6c4", "#a1dab4", "#ffffcc")


def probability_style(values: Sequence[float] | np.ndarray, *, field: str, name: str, title: str) -> Style:
    """Return a map of probabilities in fixed classes.

    Parameters
    ----------
    values : array-like of float
        The column as written; NaN becomes a grey class.
    field : str
        Name of the column in the layer.
    name : str
        Name of the style.
    title : str
        What the probability is of, for the description.

    Returns
    -------
    Style
    """
    classes = [Interval(low, high, f"{100 * low:.0f} – {100 * high:.0f} %") for low, high in pairwise(PROBABILITIES)]
    qml = graduated(field, classes, PROBABILITY_COLOURS, missing=_missing(values))
    return Style(name[:NAME_WIDTH], title, qml)


def rank_style(values: Sequence[float] | np.ndarray, *, field: str, name: str, title: str) -> Style:
    """Return a map of ranks in classes of about equal count, the first ranks dark.

    Parameters
    ----------
    values : array-like of float
        The column as written; NaN becomes a grey class.
    field : str
        Name of the column in the layer.
    name : str
        Name of the style.
    title : str
        What is ranked, for the description.

    Returns
    -------
    Style
    """
    found = intervals(values, len(RANK_RAMP))
    places = np.linspace(0, len(RANK_RAMP) - 1, len(found)).round().astype(int).tolist()
    qml = graduated(field, found, [RANK_RAMP[place] for place in places], missing=_missing(values))
    return Style(name[:NAME_WIDTH], title, qml)


def _missing(values: Sequence[float] | np.ndarray) -> str | None:
    return "no estimate" if bool(np.any(~np.isfinite(np.asarray(values, dtype=float)))) else None
