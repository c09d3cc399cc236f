"""Small maps drawn by hand."""

from __future__ import annotations

from collections.abc import Callable

import geopandas as gpd
import pytest
from shapely import box
from shapely.geometry.base import BaseGeometry

PLANE = "EPSG:32630"


@pytest.fixture
def draw() -> Callable[..., gpd.GeoDataFrame]:
    """Make a layer of named shapes, in metres unless told otherwise."""

    def make(shapes: dict[str, BaseGeometry | None], crs: str | None = PLANE) -> gpd.GeoDataFrame:
        return gpd.GeoDataFrame({"id": list(shapes)}, geometry=list(shapes.values()), crs=crs)

    return make


@pytest.fixture
def grid() -> Callable[..., gpd.GeoDataFrame]:
    """Make a grid of square kilometres, ids r0c0, r0c1, ..."""

    def make(rows: int = 3, columns: int = 4, side: float = 1000.0, origin: float = 500_000.0) -> gpd.GeoDataFrame:
        cells = {
            f"r{r}c{c}": box(origin + c * side, origin + r * side, origin + (c + 1) * side, origin + (r + 1) * side)
            for r in range(rows)
            for c in range(columns)
        }
        return gpd.GeoDataFrame({"id": list(cells)}, geometry=list(cells.values()), crs=PLANE)

    return make
