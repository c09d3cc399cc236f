"""Maps of direct estimates: the styles that are stored with their layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from smallarea.io.style_classes import same_sign
from smallarea.io.style_qml import NAME_WIDTH, Hatch, Style, told_apart
from smallarea.io.styles import estimate_style, uncertainty_style
from smallarea.survey.direct_table import NO_VARIANCE, ONE_PSU, ONE_RESPONDENT, ZERO_VARIANCE

if TYPE_CHECKING:
    import geopandas as gpd

_WITHOUT_VARIANCE = (ONE_RESPONDENT, ONE_PSU, ZERO_VARIANCE, NO_VARIANCE)


def direct_styles(layer: gpd.GeoDataFrame, responses: Sequence[str], fields: Mapping[str, str]) -> list[Style]:
    """Return the styles of a layer of direct estimates, the default first.

    Parameters
    ----------
    layer : geopandas.GeoDataFrame
        The layer as written, with ``NAME``, ``cv_NAME``, ``se_NAME`` and ``flag_NAME`` of each response.
    responses : sequence of str
        Names of the responses.
    fields : mapping
        Columns of the layer before writing to their names in the file, where a field had to be renamed.

    Returns
    -------
    list of Style
        Direct estimates of every response, hatched where their variance is empty; then the coefficient of variation of
        each, or the standard error where estimates are not all of one sign; for an imputed survey last the fraction of
        missing information of each.
    """
    maps = [_estimate(layer, name, fields) for name in responses]
    errors = [_uncertainty(layer, name, fields) for name in responses]
    imputed = [name for name in responses if fields.get(f"fmi_{name}", f"fmi_{name}") in layer.columns]
    return told_apart([*maps, *errors, *(_missing_information(layer, name, fields) for name in imputed)])


def _missing_information(layer: gpd.GeoDataFrame, name: str, fields: Mapping[str, str]) -> Style:
    field = fields.get(f"fmi_{name}", f"fmi_{name}")
    title = f"Missing information, {name}"
    style = estimate_style(np.asarray(layer[field], dtype=float), field=field, title=title)
    description = f"{name}: fraction of the information that missing answers cost"
    return replace(style, name=f"FMI {name}"[:NAME_WIDTH], description=description)


def _estimate(layer: gpd.GeoDataFrame, name: str, fields: Mapping[str, str]) -> Style:
    field, flag = fields.get(name, name), fields.get(f"flag_{name}", f"flag_{name}")
    hatch = None
    if layer[flag].isin(_WITHOUT_VARIANCE).any():
        hatch = Hatch(flag, _WITHOUT_VARIANCE, "hatched: no variance")
    style = estimate_style(np.asarray(layer[field], dtype=float), field=field, title=name, hatch=hatch)
    return replace(style, name=f"Direct {name}"[:NAME_WIDTH], description=f"{name}: direct estimates")


def _uncertainty(layer: gpd.GeoDataFrame, name: str, fields: Mapping[str, str]) -> Style:
    values = np.asarray(layer[fields.get(name, name)], dtype=float)
    # A share of zero has no coefficient of variation; those of the other areas are as good as ever.
    kind: Literal["cv", "se"] = "cv" if same_sign(values[values != 0.0]) else "se"
    field = fields.get(f"{kind}_{name}", f"{kind}_{name}")
    style = uncertainty_style(np.asarray(layer[field], dtype=float), field=field, title=name, kind=kind)
    what = "coefficient of variation" if kind == "cv" else "standard error"
    description = f"{name}: {what} of the direct estimates"
    return replace(style, name=f"{kind.upper()} {name}"[:NAME_WIDTH], description=description)
