"""QGIS styles for the layers that we write, kept inside the GeoPackage.

A style stored in the ``layer_styles`` table travels with the file: QGIS applies the default one whenever the
layer is opened, on any machine, and lists the others under *Layer Properties > Style > Load Style > From
Database*. Nothing here needs QGIS; the QML is what QGIS 3.22 writes, cut down to what it reads.

Typical use, after the layer has been written::

    styles = estimates_styles(layer, title="Log income", reliability=result.reliability)
    store_styles("estimates.gpkg", "estimates", styles)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from smallarea.io.style_classes import intervals, same_sign
from smallarea.io.style_qml import Category, Hatch, Style, categorized, graduated, told_apart
from smallarea.io.style_table import store_styles

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "Hatch",
    "Style",
    "estimate_style",
    "estimates_styles",
    "ramp",
    "reliability_style",
    "store_styles",
    "uncertainty_style",
]

# ColorBrewer's YlGnBu and YlOrBr, safe for the common kinds of colour blindness, ordered in grey print.
ESTIMATE_RAMP = ("#ffffcc", "#a1dab4", "#41b6c4", "#2c7fb8", "#253494")
UNCERTAINTY_RAMP = ("#ffffd4", "#fed98e", "#fe9929", "#d95f0e", "#993404")


def estimate_style(
    values: Sequence[float] | np.ndarray,
    *,
    field: str = "estimate",
    title: str = "Estimate",
    classes: int = 5,
    hatch: Hatch | None = None,
) -> Style:
    """Return a choropleth of the estimates: classes of about equal count, with rounded limits.

    Parameters
    ----------
    values : array-like of float
        The column as written; NaN where an area has no estimate. Such areas get a grey class of their own.
    field : str
        Name of the column in the layer.
    title : str
        What is mapped, for the description.
    classes : int
        Number of classes; fewer come out if there are few distinct values.
    hatch : Hatch, optional
        Areas to hatch over their colour.

    Returns
    -------
    Style
    """
    found = intervals(values, classes)
    qml = graduated(field, found, ramp(ESTIMATE_RAMP, len(found)), missing=_missing(values, "no estimate"), hatch=hatch)
    return Style("Estimate", f"{title}: model estimates", qml)


def uncertainty_style(
    values: Sequence[float] | np.ndarray,
    *,
    field: str = "cv",
    title: str = "Estimate",
    classes: int = 5,
    kind: Literal["cv", "se"] = "cv",
) -> Style:
    """Return a choropleth of an uncertainty column: the coefficient of variation or the standard error.

    Parameters
    ----------
    values : array-like of float
        The column as written; NaN becomes a grey class.
    field : str
        Name of the column in the layer.
    title : str
        What the uncertainty is of, for the description.
    classes : int
        Number of classes.
    kind : {"cv", "se"}
        What the column holds: coefficients of variation, shown in percent, or standard errors.

    Returns
    -------
    Style
    """
    found = intervals(values, classes, percent=kind == "cv")
    what = "coefficient of variation" if kind == "cv" else "standard error"
    qml = graduated(field, found, ramp(UNCERTAINTY_RAMP, len(found)), missing=_missing(values, f"no {what}"))
    return Style(f"Uncertainty ({kind.upper()})", f"{title}: {what} of the estimates", qml)


def reliability_style(classes: Sequence[Mapping[str, str]], *, field: str = "flag", title: str = "Estimate") -> Style:
    """Return a style with one colour for each reliability class.

    Parameters
    ----------
    classes : sequence of mapping
        ``label`` and ``colour`` (``#rrggbb``) of each class, as in a reliability preset.
    field : str
        Name of the flag column in the layer.
    title : str
        What is judged, for the description.

    Returns
    -------
    Style
    """
    # Labels without their meanings: the legend is a narrow column, and the report explains them.
    entries = [Category(c["label"], c.get("colour", "#bdbdbd")) for c in classes]
    return Style("Reliability", f"{title}: reliability of the estimates", categorized(field, entries))


def estimates_styles(
    layer: gpd.GeoDataFrame,
    *,
    responses: Sequence[str] = (),
    fields: Mapping[str, str] | None = None,
    title: str = "Estimate",
    reliability: Mapping[str, Any] | None = None,
) -> list[Style]:
    """Return the styles of an estimates layer, the default first.

    Parameters
    ----------
    layer : geopandas.GeoDataFrame
        The layer as written, with ``estimate`` and, where there, ``cv``, ``se`` and ``flag``. A column may
        have the prefix ``est_``, which it gets if the id field has taken its name.
    responses : sequence of str
        The responses. With several, field names end in ``_<response>``, and each response has styles of its own,
        whose names and descriptions say which it is.
    fields : mapping, optional
        Columns of the layer before writing to their names in the file, where a field had to be renamed.
    title : str
        What was estimated, for the descriptions; with several responses their names stand there.
    reliability : mapping, optional
        The reliability preset: ``classes`` with ``label``, ``colour`` and ``when``. Areas of the class for
        what is otherwise in none, the least reliable one, are hatched on the map of estimates.

    Returns
    -------
    list of Style
        Estimate, uncertainty (CV; the standard error where estimates are not all of one sign, since a CV says
        nothing there) and reliability, as far as the columns exist.
    """
    if len(responses) < 2:
        return _styles_of(layer, "", fields or {}, title, reliability)
    # The maps of the estimates first: the one that opens is the first response's.
    found = [
        [style.renamed(f"_{name}") for style in _styles_of(layer, f"_{name}", fields or {}, name, reliability)]
        for name in responses
    ]
    ordered = [style for styles in found for style in styles[:1]] + [style for styles in found for style in styles[1:]]
    return told_apart(ordered)


def _styles_of(
    layer: gpd.GeoDataFrame,
    suffix: str,
    fields: Mapping[str, str],
    title: str,
    reliability: Mapping[str, Any] | None,
) -> list[Style]:
    """Return the styles of one response, whose fields end in the suffix."""
    estimate, flag = _column(layer, "estimate", suffix, fields), _column(layer, "flag", suffix, fields)
    preset = list((reliability or {}).get("classes", ())) if flag is not None else []
    if estimate is None:
        return []
    values = np.asarray(layer[estimate], dtype=float)
    hatch = _hatch_of_worst(layer[flag], preset, flag) if flag is not None and preset else None
    styles = [estimate_style(values, field=estimate, title=title, hatch=hatch)]
    for kind in ("cv", "se") if same_sign(values) else ("se", "cv"):
        column = _column(layer, kind, suffix, fields)
        if column is not None:
            styles.append(uncertainty_style(layer[column], field=column, title=title, kind=kind))
            break
    if flag is not None and preset:
        styles.append(reliability_style(preset, field=flag, title=title))
    return styles


def _column(layer: gpd.GeoDataFrame, name: str, suffix: str, fields: Mapping[str, str]) -> str | None:
    """Find a column of the estimates table; the prefixed one first, since the other is then another field."""
    names = (f"est_{name}{suffix}", f"{name}{suffix}")
    return next((written for c in names if (written := fields.get(c, c)) in layer.columns), None)


def _hatch_of_worst(flags: Any, preset: Sequence[Mapping[str, str]], field: str) -> Hatch | None:
    """Hatch the least reliable class, if any area is in it: an empty legend entry would puzzle."""
    worst = next((c["label"] for c in preset if c.get("when") == "otherwise"), preset[-1]["label"])
    return Hatch(field, (worst,), f"hatched: {worst}") if bool((flags == worst).any()) else None


def _missing(values: Any, label: str) -> str | None:
    return label if bool(np.any(~np.isfinite(np.asarray(values, dtype=float)))) else None


def ramp(colours: Sequence[str], count: int) -> list[str]:
    """Spread ``count`` colours over a ramp, given as ``#rrggbb``; the middle one for a single class."""
    if count == 1:
        return [colours[len(colours) // 2]]
    places = np.linspace(0, len(colours) - 1, count)
    return [_mix(colours, place) for place in places]


def _mix(colours: Sequence[str], place: float) -> str:
    low = min(int(place), len(colours) - 2)
    share = place - low
    ends = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colours[low], colours[low + 1])]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(*ends, strict=True))
