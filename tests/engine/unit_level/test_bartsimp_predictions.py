"""BARTSIMP's posterior in the tools that it shares with the linear baselines."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.gmrf.mesh import MeshSizes, build_mesh
from smallarea.io.rasters import Band, RasterStack, grid_of
from smallarea.unit_level.aggregate import level_of
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.cross_validation import cross_validate
from smallarea.unit_level.folds import cluster_folds
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.predict_surface import predict_surface
from smallarea.unit_level.sampler import sample_bartsimp
from smallarea.unit_level.settings import BartsimpSettings
from smallarea.unit_level.spde_linear import SpdeSettings, fit_spde
from smallarea.unit_level.surface import SurfaceDraws

PRIOR = PcPrior(0.4, 0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def clusters():
    """A step in the covariate, which no line can follow, and a weak field."""
    rng = np.random.default_rng(1)
    n = 100
    place, x = rng.uniform(size=(n, 2)), rng.uniform(size=(n, 1))
    field = np.linalg.cholesky(0.1 * matern_correlation(distances(place), 0.4) + 1e-9 * np.eye(n))
    f = np.where((x[:, 0] > 0.3) & (x[:, 0] < 0.7), 2.0, -1.0) + field @ rng.standard_normal(n)
    rows = np.repeat(np.arange(n), 5)
    return Clusters.from_rows(f[rows] + 0.5 * rng.standard_normal(5 * n), rows, place[rows], x[rows])


def trees(part: Clusters, seed: int):
    settings = BartsimpSettings(field_prior=PRIOR, range_points=8)
    return sample_bartsimp(part, settings, chains=2, warmup=120, draws=60, seed=seed, workers=1)


def test_trees_pay_where_lines_cannot_follow(clusters):
    mesh = build_mesh(clusters.coordinates, MeshSizes(0.12, 0.3, 0.6))
    settings = SpdeSettings(field_prior=PRIOR, draws=150)
    models = {
        "BARTSIMP": trees,
        "SPDE": lambda part, seed: fit_spde(part, settings, mesh=mesh, seed=seed),
    }
    folds = cluster_folds(clusters.n, 2, np.random.default_rng(2))
    found = cross_validate(models, clusters, folds)
    table = found.table().set_index("model")
    assert table.loc["BARTSIMP", "rmse"] < 0.6 * table.loc["SPDE", "rmse"]
    assert "better than SPDE" in found.verdict("BARTSIMP", "SPDE")


def test_a_surface_and_areas_of_trees_and_field(clusters, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    side = 20
    x = np.random.default_rng(3).uniform(size=(side, side)).astype("float32")
    profile = {"driver": "GTiff", "count": 1, "height": side, "width": side, "dtype": "float32"}
    transform = rasterio.Affine(1.0 / side, 0.0, 0.0, 0.0, -1.0 / side, 1.0)
    plane = "EPSG:32736"
    with rasterio.open(tmp_path / "x.tif", "w", **profile, crs=plane, transform=transform) as file:
        file.write(x, 1)
    posterior = trees(clusters, 4)
    draws = SurfaceDraws(posterior, (0.0, 0.0, 1.0, 1.0), draws=100, seed=5)
    grid = grid_of(tmp_path / "x.tif")
    halves = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 0.5, 1), shapely.box(0.5, 0, 1, 1)], crs=plane)
    with RasterStack(grid, [Band("x", tmp_path / "x.tif")]) as stack:
        found = predict_surface(
            draws, stack, output=tmp_path / "s.tif", levels=[level_of("halves", ["w", "e"], halves, grid)]
        )
    with rasterio.open(tmp_path / "s.tif") as file:
        mean = file.read(1)
    high = (x > 0.35) & (x < 0.65)
    low = (x < 0.25) | (x > 0.75)
    assert mean[high].mean() == pytest.approx(2.0, abs=0.5)
    assert mean[low].mean() == pytest.approx(-1.0, abs=0.5)
    estimate = found.areas["halves"].table()["estimate"]
    np.testing.assert_allclose(estimate, [mean[:, :10].mean(), mean[:, 10:].mean()], atol=1e-5)
