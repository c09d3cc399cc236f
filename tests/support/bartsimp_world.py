"""A small simulated country for tests of cluster models: clusters, rasters, regions and people."""

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from shapely.geometry import box

CRS = "EPSG:32736"
SIDE, CELLS = 100_000.0, 20
WEST, NORTH = 300_000.0, 9_400_000.0
QUICK = {"trees": 5, "chains": 2, "warmup": 60, "draws": 60, "seed": 3}


def raster(path, names, values, nodata=-9999.0):
    """Write bands over the country, shape (bands, CELLS, CELLS)."""
    size = SIDE / values.shape[1]
    transform = rasterio.Affine(size, 0.0, WEST, 0.0, -size, NORTH)
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[1], width=values.shape[2], count=len(names), dtype="float64",
        crs=CRS, transform=transform, nodata=nodata,
    ) as target:  # fmt: skip
        target.write(values)
        for number, name in enumerate(names, start=1):
            target.set_band_description(number, name)


def make_country(folder, seed=1, n=60):
    """Write covariates.tif (green, land), people.tif, clusters.csv and regions.gpkg; return both tables."""
    random = np.random.default_rng(seed)
    row, column = np.meshgrid(np.arange(CELLS), np.arange(CELLS), indexing="ij")
    green = np.sin(row / 3.0) + column / CELLS
    land = 1.0 + (row // 7 + column // 7) % 3
    raster(folder / "covariates.tif", ["green", "land"], np.stack([green, land]))
    raster(folder / "people.tif", ["people"], (1.0 + row)[None].astype(float))
    i, j = random.integers(0, CELLS, (2, n))
    size = SIDE / CELLS
    x = WEST + (j + random.uniform(0.1, 0.9, n)) * size
    y = NORTH - (i + random.uniform(0.1, 0.9, n)) * size
    level = 5.0 + 2.0 * (green[i, j] > 0.5) + np.sin((x - WEST) / 40_000.0) + (land[i, j] == 2.0)
    rows = np.repeat(np.arange(n), 4)
    clusters = pd.DataFrame({
        "cluster": [f"c{k:02d}" for k in rows], "east": x[rows], "north": y[rows],
        "y": level[rows] + 0.4 * random.standard_normal(len(rows)),
        "zone": ["n" if a < CELLS / 2 else "s" for a in i[rows]],
    })  # fmt: skip
    clusters.to_csv(folder / "clusters.csv", index=False)
    half = SIDE / 2.0
    shapes = [box(WEST + a * half, NORTH - (b + 1) * half, WEST + (a + 1) * half, NORTH - b * half)
              for b in (0, 1) for a in (0, 1)]  # fmt: skip
    shapes.append(box(WEST + 2.0 * SIDE, NORTH, WEST + 2.1 * SIDE, NORTH + half))
    regions = gpd.GeoDataFrame({"code": ["nw", "ne", "sw", "se", "island"]}, geometry=shapes, crs=CRS)
    regions.to_file(folder / "regions.gpkg")
    return clusters, regions


def call(folder, **more):
    """Return the parameters of a quick fit."""
    return {
        "longitude_field": "east", "latitude_field": "north", "point_crs": CRS, "outcome_field": "y",
        "rasters": str(folder / "covariates.tif"), "categorical": "land", **QUICK, **more,
    }  # fmt: skip
