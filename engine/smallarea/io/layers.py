"""Reading polygon layers of any GDAL format, writing GeoPackages that old QGIS versions read."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyogrio
import pyogrio.errors
import pyogrio.raw
import shapely

from smallarea.errors import GeometryProblem, OutputProblem, SmallareaError, named
from smallarea.io.atomic import atomic_path

if TYPE_CHECKING:
    import geopandas as gpd

GEOMETRY_COLUMN = "geom"
# GDAL's default, 1.4, is only partly supported by the GDAL of older QGIS versions, which say so on every
# opening.
GPKG_VERSION = "1.3"
_ARCHIVES = ("/vsizip/", "/vsitar/", "/vsigzip/", "/vsi7z/")
_POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_RESERVED = {"fid", GEOMETRY_COLUMN}


def read_layer(
    path: str | os.PathLike[str], layer: str | None = None, *, id_field: str | None = None
) -> gpd.GeoDataFrame:
    """Read a polygon layer of any format that GDAL reads.

    Parameters
    ----------
    path : path
        A file, a folder that is a data source (Esri geodatabase), or an archive.
    layer : str, optional
        Layer name; needed only if the file has several layers with geometries.
    id_field : str, optional
        A field that will be needed. It matters only if it is the layer's feature id column (``fid`` in a
        GeoPackage), which is otherwise not among the attributes.

    Returns
    -------
    geopandas.GeoDataFrame
        All attributes and the shapes as they are in the file, in two dimensions, curves made of short
        straight lines. Shapes may still be missing, empty, invalid, or no polygons. ``attrs["notes"]`` lists
        what was changed on the way, ``attrs["unreadable"]`` the row positions (from 0) whose shape could not
        be read at all (now missing), and ``attrs["source"]`` says where the layer came from.

    Raises
    ------
    GeometryProblem
        If the file is missing or no vector file, the layer is unknown or has to be chosen, or it has no
        polygons.
    """
    name = check_source(path, GeometryProblem)
    layer = _choose_layer(name, layer)
    info = pyogrio.read_info(name, layer=layer)
    try:
        with warnings.catch_warnings():
            # Coordinates that are not numbers and measured geometries warn here; both are looked for below.
            warnings.simplefilter("ignore")
            frame = pyogrio.read_dataframe(name, layer=layer, on_invalid="ignore", fid_as_index=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, UnicodeDecodeError) as error:
        raise GeometryProblem(f"Cannot read layer {layer!r} of {name}: {error}") from error
    unreadable = _unreadable_rows(name, layer, frame)
    if id_field is not None and id_field == info.get("fid_column") and id_field not in frame.columns:
        frame.insert(0, id_field, frame.index.to_numpy())
    frame = frame.reset_index(drop=True)
    _check_polygons(frame, name, layer, unreadable)
    flat, notes = flatten(frame)
    flat.attrs = {"notes": notes, "unreadable": unreadable, "source": f"{Path(name).name}, layer {layer}"}
    return flat


def flatten(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Drop heights and measures from the shapes.

    Returns
    -------
    (geopandas.GeoDataFrame, list of str)
        The frame (the same one if there was nothing to do) and a sentence about what was dropped.
    """
    shapes = np.asarray(frame.geometry.array)
    deep = shapely.has_z(shapes) | _has_m(shapes)
    if not deep.any():
        return frame, []
    changed = frame.copy()
    changed[frame.geometry.name] = shapely.force_2d(shapes)
    changed = changed.set_geometry(frame.geometry.name, crs=frame.crs)
    return changed, [f"Heights or measures (Z, M) of {int(deep.sum())} shapes were left out."]


def check_source(path: str | os.PathLike[str], problem: type[SmallareaError]) -> str:
    """Return the path as text if there is something to open.

    Raises
    ------
    SmallareaError
        Of the class given, if nothing is there. Addresses of servers are refused: the engine does not use the
        network.
    """
    name = os.fspath(path)
    if not name.startswith(_ARCHIVES) and not os.path.exists(name):
        raise problem(f"There is no file {name}. Check the path.")
    return name


def layer_names(name: str, problem: type[SmallareaError]) -> list[tuple[str, str | None]]:
    """List the layers of a data source with their geometry type (None for a plain table).

    Raises
    ------
    SmallareaError
        Of the class given, if GDAL does not know the format.
    """
    try:
        found = pyogrio.list_layers(name)
    except pyogrio.errors.DataSourceError as error:
        raise problem(f"{name} is not a file that GDAL can read as a layer or table: {error}") from error
    return [(str(layer), None if kind is None else str(kind)) for layer, kind in found]


def write_layer(frame: gpd.GeoDataFrame, path: str | os.PathLike[str], layer: str) -> dict[str, str]:
    """Write one layer as a GeoPackage, replacing the file that may be there.

    Parameters
    ----------
    frame : geopandas.GeoDataFrame
        What to write.
    path : path
        The GeoPackage.
    layer : str
        Layer name.

    Returns
    -------
    dict
        Fields that had to be renamed, old name to new name; see `safe_names`.

    Raises
    ------
    OutputProblem
        If it cannot be written. The old file, if any, is then untouched.
    """
    with atomic_path(path) as temporary:
        return add_layer(frame, temporary, layer)


def add_layer(frame: gpd.GeoDataFrame, path: str | os.PathLike[str], layer: str) -> dict[str, str]:
    """Write a layer into a GeoPackage that is being prepared; the other layers in it stay.

    Call it on the temporary path of an `AtomicOutputs`, once for each layer. Parameters and result are those
    of `write_layer`, but the write itself is not atomic.
    """
    fresh = not os.path.exists(path)
    renamed = safe_names([str(column) for column in frame.columns if column != frame.geometry.name])
    kind = _geometry_type(frame)
    options: dict[str, Any] = {"dataset_options": {"VERSION": GPKG_VERSION}} if fresh else {}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*crs.*was not provided.*")
            pyogrio.write_dataframe(
                _writable(frame, renamed),
                path,
                layer=layer,
                driver="GPKG",
                geometry_type=kind,
                promote_to_multi=kind.startswith("Multi"),
                layer_options={"GEOMETRY_NAME": GEOMETRY_COLUMN},
                **options,
            )
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
    ) as error:
        raise OutputProblem(f"Cannot write layer {layer!r}: {error}") from error
    return {old: new for old, new in renamed.items() if old != new}


def safe_names(fields: list[str]) -> dict[str, str]:
    """Choose field names that a GeoPackage can hold.

    A GeoPackage has columns ``fid`` and ``geom`` of its own and does not tell ``a`` from ``A``. The first of
    several that are alike keeps its name; the others get underscores at the end.

    Parameters
    ----------
    fields : list of str
        Field names, each once.

    Returns
    -------
    dict
        Name to name in the GeoPackage, in the same order.
    """
    taken = set(_RESERVED)
    # Names that need no change are settled first, so that a field "fid_" keeps its name beside a field "fid".
    settled: dict[str, str] = {}
    for field in fields:
        if field and field.lower() not in taken:
            settled[field] = field
            taken.add(field.lower())
    for field in fields:
        if field not in settled:
            new = field or "field"
            while new.lower() in taken:
                new += "_"
            settled[field] = new
            taken.add(new.lower())
    return {field: settled[field] for field in fields}


def _choose_layer(name: str, layer: str | None) -> str:
    layers = layer_names(name, GeometryProblem)
    spatial = [one for one, kind in layers if kind is not None]
    if layer is not None:
        if layer not in [one for one, _ in layers]:
            raise GeometryProblem(f"{name} has no layer {layer!r}. It has {named([one for one, _ in layers], 20)}.")
        if layer not in spatial:
            raise GeometryProblem(f"Layer {layer!r} of {name} is a table without shapes. Choose a polygon layer.")
        return layer
    if not spatial:
        raise GeometryProblem(f"{name} has no layer with shapes. Give a file with a polygon layer.")
    if len(spatial) > 1:
        raise GeometryProblem(f"{name} has {len(spatial)} layers: {named(spatial, 20)}. Say which one to use.")
    return spatial[0]


def _unreadable_rows(name: str, layer: str, frame: gpd.GeoDataFrame) -> list[int]:
    """Positions of the rows that have a shape in the file but none in the frame.

    Unclosed rings and rings of two points cannot be made into a geometry at all.
    """
    missing = np.flatnonzero(frame.geometry.isna().to_numpy())
    if not len(missing):
        return []
    _, fids, blobs, _ = pyogrio.raw.read(name, layer=layer, columns=[], return_fids=True)
    stored = {int(fid) for fid, blob in zip(fids, blobs, strict=True) if blob is not None}
    return [int(row) for row in missing if int(frame.index[row]) in stored]


def _check_polygons(frame: gpd.GeoDataFrame, name: str, layer: str, unreadable: list[int]) -> None:
    if not len(frame):
        raise GeometryProblem(f"Layer {layer!r} of {name} is empty. Choose a layer with polygons.")
    kinds = shapely.get_type_id(np.asarray(frame.geometry.array))
    usable = np.isin(kinds, (*_POLYGONAL, shapely.GeometryType.GEOMETRYCOLLECTION))
    if usable.any() or unreadable:
        return
    found = sorted({shapely.GeometryType(kind).name.lower() for kind in kinds if kind >= 0}) or ["no shapes at all"]
    raise GeometryProblem(f"Layer {layer!r} of {name} has no polygons, only {named(found)}. Choose a polygon layer.")


def _has_m(shapes: np.ndarray) -> np.ndarray:
    if shapely.geos_version < (3, 12, 0):  # which does not know measures
        return np.zeros(len(shapes), dtype=bool)
    return np.asarray(shapely.has_m(shapes))


def _geometry_type(frame: gpd.GeoDataFrame) -> str:
    """One type for the whole layer where possible: QGIS splits mixed layers."""
    kinds = set(frame.geometry.geom_type.dropna())
    depth = " Z" if frame.has_z.any() else ""
    for single in ("Polygon", "LineString", "Point"):
        if kinds and kinds <= {single, f"Multi{single}"}:
            return f"{single if kinds == {'Point'} else f'Multi{single}'}{depth}"
    return "Unknown"


def _writable(frame: gpd.GeoDataFrame, names: dict[str, str]) -> gpd.GeoDataFrame:
    """Rename the fields and turn what GDAL has no type for into text."""
    geometry = frame.geometry.name
    data: dict[str, Any] = {}
    for column in frame.columns:
        if column != geometry:
            data[names[str(column)]] = _writable_column(frame[column])
    table = pd.DataFrame(data, index=frame.index)
    shapes = frame.geometry.rename(GEOMETRY_COLUMN)
    result = type(frame)(table, geometry=shapes, crs=frame.crs)
    return result.reset_index(drop=True)


def _writable_column(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(column.cat.categories.dtype)
    if column.dtype == object:
        values = [value for value in column if not _is_missing(value)]
        if not all(isinstance(value, str) for value in values):
            return column.map(lambda value: None if _is_missing(value) else str(value)).astype(object)
    return column


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))
