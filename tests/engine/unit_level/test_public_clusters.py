"""The linear baseline on public data: a simulated survey whose truth is known, and malaria in Tanzania end to end."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from smallarea.gmrf.mesh import MeshSizes, build_mesh
from smallarea.io.raster_points import sample_points
from smallarea.io.rasters import Band, RasterStack, band_names, grid_of
from smallarea.unit_level.aggregate import level_of
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.cross_validation import score_points, summarise
from smallarea.unit_level.predict_surface import predict_surface
from smallarea.unit_level.spde_linear import SpdeSettings, fit_spde

COVARIATES = ["pop_density", "night_light", "ndvi", "temp", "precip", "access_city"]


def test_a_simulated_survey_is_recovered(shared):
    rows = pd.read_csv(shared("bartsimp_sec6_sim_obs.csv"))
    grid = pd.read_csv(shared("bartsimp_sec6_sim_grid.csv"))
    clusters = Clusters.from_rows(
        rows["y"], rows["cluster"], rows[["s1", "s2"]].to_numpy(), rows[COVARIATES].to_numpy(), names=COVARIATES
    )
    assert (clusters.n, clusters.observations) == (400, 7_893)
    mesh = build_mesh(clusters.coordinates, MeshSizes(0.05, 0.25, 0.8))
    fit = fit_spde(clusters, SpdeSettings(draws=300), mesh=mesh, seed=1)
    draws = fit.draw(grid[["s1", "s2"]].to_numpy(), grid[COVARIATES].to_numpy())
    cells = summarise(score_points(grid["f_true"].to_numpy(), draws))
    assert cells["rmse"] < 0.14
    assert 0.9 <= cells["coverage"] <= 0.98
    weights = pd.get_dummies(grid["admin2"]).to_numpy(float) * grid["pop_u5"].to_numpy()[:, None]
    weights /= weights.sum(axis=0)
    areas = summarise(score_points(grid["f_true"].to_numpy() @ weights, draws @ weights))
    assert areas["rmse"] < cells["rmse"]
    assert areas["coverage"] >= 0.9


def test_malaria_in_tanzania_from_clusters_and_rasters_to_regions(shared, tmp_path):
    pytest.importorskip("rasterio")
    survey = pd.read_csv(shared("tanzania_malaria_dhs2015.csv"))
    path = shared("tanzania_covariates_10km.tif")
    names = band_names(path)
    grid = grid_of(path)
    stack = RasterStack(grid, [Band(name, path, i) for i, name in enumerate(names, start=1)])
    points = survey[["long", "lat"]].to_numpy()
    with stack:
        found = sample_points(stack, points, "EPSG:4326", missing="nearest")
    assert found.notes[0] == "16 without population"
    assert found.notes[-2:] == ("15 took the nearest cell with data", "1 points were left out")
    kept = np.flatnonzero(found.kept)
    assert len(kept) > 380
    place = survey[["utm_x", "utm_y"]].to_numpy()[kept]
    # One empirical logit a cluster, so that nothing is known of the error within.
    y = np.log((survey["y"] + 0.5) / (survey["n"] - survey["y"] + 0.5)).to_numpy()[kept]
    transformed = np.log(np.maximum(found.values[kept], 0.0) + 0.1)
    clusters = Clusters.from_rows(y, survey["cluster"].to_numpy()[kept], place, transformed, names=names)
    x, y_ends = grid.corner([0.0, grid.height], [0.0, grid.width])
    region = shapely.box(x.min(), y_ends.min(), x.max(), y_ends.max())
    mesh = build_mesh(place, MeshSizes(60_000.0, 2e5, 4e5), crs=grid.crs, region=region)
    fit = fit_spde(clusters, SpdeSettings(draws=100), mesh=mesh, seed=2)

    class Logged:
        def draw(self, points, covariates):
            return 1.0 / (1.0 + np.exp(-fit.draw(points, np.log(np.maximum(covariates, 0.0) + 0.1))))

    regions = gpd.read_file(shared("tanzania_regions.gpkg"))
    level = level_of("regions", regions["id"].tolist(), regions, grid)
    with stack:
        result = predict_surface(Logged(), stack, output=tmp_path / "pr.tif", levels=[level])
    assert (tmp_path / "pr.tif").exists()
    areas = result.areas["regions"]
    # The rasters end before the five regions of the islands.
    assert set(areas.without) == {"TZ.PN", "TZ.PS", "TZ.ZN", "TZ.ZS", "TZ.ZW"}
    estimate = areas.table().set_index("area")["estimate"]
    # Direct shares of positive tests, where there are tests enough: the surface must tell high from low.
    tests = gpd.GeoDataFrame(survey, geometry=gpd.points_from_xy(survey["long"], survey["lat"], crs=4326))
    joined = tests[["y", "n", "geometry"]].sjoin(regions[["id", "geometry"]])
    sums = joined.groupby("id")[["y", "n"]].sum()
    direct = (sums["y"] / sums["n"])[sums["n"] > 50].drop(list(areas.without), errors="ignore")
    assert len(direct) > 20
    assert np.corrcoef(estimate[direct.index], direct)[0, 1] > 0.8
