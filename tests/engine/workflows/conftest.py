"""Small maps of squares with direct estimates from a known model."""

from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pytest
import shapely


def squares(rows: int, columns: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(columns) * 1000.0, np.arange(rows) * 1000.0)
    return shapely.box(x.ravel(), y.ravel(), x.ravel() + 1000.0, y.ravel() + 1000.0)


@pytest.fixture
def make_map() -> Callable[..., gpd.GeoDataFrame]:
    """Return a map with columns ``code``, ``y``, ``v``, ``x1``, ``x2``."""

    def make(rows: int = 5, columns: int = 6, seed: int = 1, islands: int = 0) -> gpd.GeoDataFrame:
        rng = np.random.default_rng(seed)
        shapes = squares(rows, columns)
        if islands:
            corners = np.arange(islands) * 5000.0
            shapes = np.concatenate([shapes, shapely.box(corners, -9000.0, corners + 900.0, -8100.0)])
        n = len(shapes)
        x = rng.normal(size=(n, 2))
        v = rng.uniform(0.1, 0.5, size=n)
        smooth = shapely.get_coordinates(shapely.centroid(shapes))[:, 0] / 3000.0
        y = 5.0 + x[:, 0] + smooth + rng.normal(size=n) * np.sqrt(0.3 + v)
        columns_of = {"code": [f"A{i:03d}" for i in range(n)], "y": y, "v": v, "x1": x[:, 0], "x2": x[:, 1]}
        return gpd.GeoDataFrame(columns_of, geometry=shapes, crs="EPSG:32617")

    return make


@pytest.fixture
def make_pair() -> Callable[..., gpd.GeoDataFrame]:
    """Return a map with two responses: ``y``, ``z`` (100 times the unit), variances ``v``, ``w``, covariance ``c``."""

    def make(rows: int = 5, columns: int = 6, seed: int = 1) -> gpd.GeoDataFrame:
        rng = np.random.default_rng(seed)
        shapes = squares(rows, columns)
        n = len(shapes)
        x = rng.normal(size=n)
        v = rng.uniform(0.1, 0.5, size=(n, 2))
        smooth = shapely.get_coordinates(shapely.centroid(shapes))[:, 0] / 3000.0
        effect = rng.multivariate_normal([0.0, 0.0], [[0.3, 0.2], [0.2, 0.4]], size=n)
        noise = rng.normal(size=(n, 2)) * np.sqrt(v)
        y = 5.0 + x + smooth + effect[:, 0] + noise[:, 0]
        z = 100.0 * (2.0 - x + smooth + effect[:, 1] + noise[:, 1])
        fields = {"code": [f"A{i:03d}" for i in range(n)], "y": y, "z": z, "v": v[:, 0], "w": 1e4 * v[:, 1], "x": x}
        fields["c"] = 100.0 * 0.3 * np.sqrt(v[:, 0] * v[:, 1])
        return gpd.GeoDataFrame(fields, geometry=shapes, crs="EPSG:32617")

    return make
