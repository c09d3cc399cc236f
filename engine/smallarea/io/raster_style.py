"""The style of a surface: a file beside the GeoTIFF, of the same name, which QGIS applies when it opens the raster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from smallarea.io.atomic import AtomicOutputs
from smallarea.io.reduced_raster import ReducedRaster
from smallarea.io.style_classes import Interval, intervals
from smallarea.io.styles import ESTIMATE_RAMP, ramp

# More classes than a map of areas has: a surface is smooth.
CLASSES = 7
_MARK = "<!-- style of a surface, written by smallarea -->"
_HEAD = 2000


def style_path(surface: str | os.PathLike[str]) -> Path:
    """Return where QGIS looks for the style of a raster: the same name with the ending ``.qml``."""
    return Path(surface).with_suffix(".qml")


def write_surface_style(outputs: AtomicOutputs, surface: str | os.PathLike[str], reduced: ReducedRaster) -> str | None:
    """Write the style of a surface's first band, unless there is a style that is not ours.

    Parameters
    ----------
    outputs : AtomicOutputs
        Where it is put in place together with the surface.
    surface : path
        The GeoTIFF.
    reduced : ReducedRaster
        Its bands, from which the classes are made.

    Returns
    -------
    str or None
        A note, if a style that was there stays.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    target = style_path(surface)
    if target.exists() and not _is_ours(target):
        return f"{target.name} is a style of your own and was left as it is; remove it to get one for this surface."
    first = next(iter(reduced.values.values()))
    outputs.path(target).write_text(pseudocolour(1, intervals(first.ravel(), CLASSES)), encoding="utf-8", newline="\n")
    return None


def pseudocolour(band: int, classes: Sequence[Interval]) -> str:
    """Return a style that colours one band in classes.

    Classes come from averages of cells, so single cells may lie beyond the first and the last: these two are open.

    Parameters
    ----------
    band : int
        Number of the band, from 1.
    classes : sequence of Interval
        In ascending order, without gaps; at least one.

    Returns
    -------
    str
        QML as QGIS 3.22 reads it.
    """
    low, high = classes[0].lower, classes[-1].upper
    items = "".join(
        f'<item alpha="255" color="{colour}" value="{value}" label="{escape(label, quote=True)}"/>'
        for (value, label), colour in zip(_steps(classes), ramp(ESTIMATE_RAMP, len(classes)), strict=True)
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        f'{_MARK}\n<qgis version="3.22.0" styleCategories="Symbology"><pipe>'
        f'<rasterrenderer type="singlebandpseudocolor" band="{band}" opacity="1" alphaBand="-1" nodataColor="" '
        f'classificationMin="{low!r}" classificationMax="{high!r}"><rasterTransparency/>'
        "<minMaxOrigin><limits>None</limits><extent>WholeRaster</extent><statAccuracy>Estimated</statAccuracy>"
        "</minMaxOrigin><rastershader>"
        '<colorrampshader colorRampType="DISCRETE" classificationMode="1" clip="0" labelPrecision="6" '
        f'minimumValue="{low!r}" maximumValue="{high!r}">{items}</colorrampshader></rastershader></rasterrenderer>'
        '<brightnesscontrast brightness="0" contrast="0" gamma="1"/><rasterresampler maxOversampling="2"/></pipe>'
        "<blendMode>0</blendMode></qgis>\n"
    )


def _steps(classes: Sequence[Interval]) -> list[tuple[str, str]]:
    """Upper limit and legend text of each class; the first and the last are open."""
    if len(classes) == 1:
        return [("inf", classes[0].label)]
    texts = [one.label.split(" – ") for one in classes]
    labels = [f"below {texts[0][-1]}", *(one.label for one in classes[1:-1]), f"{texts[-1][0]} and more"]
    return [*zip([repr(one.upper) for one in classes[:-1]], labels[:-1], strict=True), ("inf", labels[-1])]


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return _MARK in file.read(_HEAD)
