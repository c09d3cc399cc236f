"""Tables out: CSV, Parquet, or a GeoPackage that may have points."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyogrio
import pyogrio.errors

from smallarea.errors import EngineUnavailable, OutputProblem
from smallarea.io.atomic import check_suffix
from smallarea.io.layers import GPKG_VERSION, add_layer, safe_names

if TYPE_CHECKING:
    import geopandas as gpd

_PARQUET = ".parquet"
_GEOPACKAGE = ".gpkg"


def check_table_output(path: str | os.PathLike[str]) -> None:
    """Refuse what `write_table` cannot write, before the work.

    Raises
    ------
    OutputProblem
        If the name ends in something else than .csv, .parquet or .gpkg.
    EngineUnavailable
        If Parquet is asked for and pyarrow is not installed.
    """
    check_suffix(path, (".csv", _PARQUET, _GEOPACKAGE), "a table")
    if Path(path).suffix.lower() == _PARQUET:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise EngineUnavailable(
                "Writing Parquet files needs pyarrow. Install it (pip install pyarrow), or ask for CSV."
            ) from error


def write_table(
    frame: pd.DataFrame, path: str | os.PathLike[str], layer: str, points: gpd.GeoSeries | None = None
) -> dict[str, str]:
    """Write a table in the format that its name says.

    Call it on the temporary path of an `AtomicOutputs`; the write itself is not atomic.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows.
    path : path
        Ending in .csv, .parquet or .gpkg.
    layer : str
        Layer name in a GeoPackage.
    points : geopandas.GeoSeries, optional
        A point for each row; only a GeoPackage holds them.

    Returns
    -------
    dict
        Fields that a GeoPackage holds under another name, old name to new name.

    Raises
    ------
    OutputProblem
        If it cannot be written.
    """
    kind = Path(path).suffix.lower()
    if kind == _GEOPACKAGE:
        return _add_points(frame, path, layer, points) if points is not None else _add_table(frame, path, layer)
    try:
        if kind == _PARQUET:
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False)
    except (OSError, ValueError, TypeError) as error:  # pyarrow has no type for columns that mix text and numbers
        raise OutputProblem(f"Cannot write the table: {error}. Ask for CSV instead.") from error
    return {}


def _add_points(frame: pd.DataFrame, path: str | os.PathLike[str], layer: str, points: gpd.GeoSeries) -> dict[str, str]:
    import geopandas as gpd

    shapes = points.reset_index(drop=True)
    return add_layer(gpd.GeoDataFrame(frame.reset_index(drop=True), geometry=shapes.array, crs=points.crs), path, layer)


def _add_table(frame: pd.DataFrame, path: str | os.PathLike[str], layer: str) -> dict[str, str]:
    renamed = safe_names([str(column) for column in frame.columns])
    plain = pd.DataFrame({renamed[str(column)]: _plain(frame[column]) for column in frame.columns})
    try:
        pyogrio.write_dataframe(plain, path, layer=layer, driver="GPKG", dataset_options={"VERSION": GPKG_VERSION})
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError) as error:
        raise OutputProblem(f"Cannot write the table {layer!r}: {error}") from error
    return {old: new for old, new in renamed.items() if old != new}


def _plain(column: pd.Series) -> np.ndarray | pd.Series:
    """Return texts as objects, and what is neither text nor missing in such a column as text."""
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column
    return np.array([None if pd.isna(one) else str(one) for one in column], dtype=object)
