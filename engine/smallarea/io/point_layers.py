"""Points of a vector layer."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyogrio
import pyogrio.errors
import shapely

from smallarea.errors import TableProblem, named
from smallarea.io.layers import check_source, flatten, layer_names

if TYPE_CHECKING:
    import geopandas as gpd


def read_points(path: str | os.PathLike[str], layer: str | None = None) -> gpd.GeoSeries:
    """Read the points of a layer.

    Parameters
    ----------
    path : path
        Any vector file that GDAL reads.
    layer : str, optional
        Layer name; needed only if there are several.

    Returns
    -------
    geopandas.GeoSeries
        One point a row in the order of the file, two-dimensional; None where a row has none.

    Raises
    ------
    TableProblem
        If the file or the layer is missing, or a shape is something else than one point.
    """
    name = check_source(path, TableProblem)
    kinds = dict(layer_names(name, TableProblem))
    if layer is None and len(kinds) > 1:
        raise TableProblem(f"{name} has {len(kinds)} layers: {named(kinds, 20)}. Say which one to use.")
    if layer is not None and layer not in kinds:
        raise TableProblem(f"{name} has no layer {layer!r}. It has {named(kinds, 20)}.")
    chosen = layer if layer is not None else next(iter(kinds))
    if kinds[chosen] is None:
        raise TableProblem(f"{Path(name).name} has no points. Choose a point layer, or name its coordinate columns.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # coordinates that are not numbers; they are looked for later
            frame = pyogrio.read_dataframe(name, layer=chosen, columns=[], on_invalid="ignore")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, UnicodeDecodeError) as error:
        raise TableProblem(f"Cannot read the points of {name}: {error}") from error
    return only_points(flatten(frame)[0].geometry, Path(name).name)


def only_points(shapes: gpd.GeoSeries, name: str) -> gpd.GeoSeries:
    """Refuse shapes that are no points.

    Raises
    ------
    TableProblem
        Naming the rows.
    """
    other = np.flatnonzero(~np.isin(shapely.get_type_id(np.asarray(shapes.array)), (-1, shapely.GeometryType.POINT)))
    if len(other):
        kind = shapes.iloc[int(other[0])].geom_type
        raise TableProblem(
            f"{len(other)} rows of {name} are no points but, for example, a {kind}: row {named(other + 1)}. Give a "
            "layer with one point a row."
        )
    return shapes.reset_index(drop=True)
