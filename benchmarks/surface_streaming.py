"""Memory and time of predicting a national grid: summaries to a raster and draws to areas in one pass.

A field on a mesh (500 draws of its nodes) plus two covariates is predicted on a square grid, written as a GeoTIFF with
mean, standard deviation, three quantiles and an exceedance, and averaged by population over two levels of areas. Exit
code 1 if the process needs more than 2 GiB at its peak.

usage: python benchmarks/surface_streaming.py [--side 5000] [--draws 500]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from smallarea.gmrf.factor import factoriser
from smallarea.gmrf.mesh import MeshSizes, build_mesh
from smallarea.gmrf.spde import Spde
from smallarea.io.raster_grid import TILE
from smallarea.io.rasters import Band, RasterStack, grid_of
from smallarea.unit_level.aggregate import level_of
from smallarea.unit_level.predict_surface import SurfaceStatistics, predict_surface

CRS = "EPSG:32736"
EXTENT = 1_000_000.0
LIMIT_GIB = 2.0


class FieldDraws:
    """Draws of a field on a mesh and of two coefficients."""

    def __init__(self, draws: int) -> None:
        rng = np.random.default_rng(1)
        corners = EXTENT * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        self.mesh = build_mesh(corners, MeshSizes(25_000.0, 100_000.0, 300_000.0), crs=CRS)
        spde = Spde(self.mesh)
        values = spde.entries(200_000.0, 1.0)
        factor = factoriser(spde.pattern).factor(values[: self.mesh.n], values[self.mesh.n :])
        self.nodes = np.column_stack([factor.half_solve(e) for e in rng.standard_normal((draws, self.mesh.n))])
        self.slopes = rng.normal(size=(draws, 2))

    def draw(self, points: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        drawn = self.slopes @ covariates.T
        drawn += (self.mesh.projector(points) @ self.nodes).T
        return drawn


def write_rasters(folder: Path, side: int) -> None:
    """Write two covariates and a population, tile by tile."""
    rng = np.random.default_rng(2)
    transform = rasterio.Affine(EXTENT / side, 0.0, 0.0, 0.0, -EXTENT / side, EXTENT)
    profile = {"driver": "GTiff", "height": side, "width": side, "dtype": "float32", "crs": CRS, "tiled": True}
    profile |= {"blockxsize": TILE, "blockysize": TILE, "transform": transform}
    for name, count in (("covariates.tif", 2), ("people.tif", 1)):
        with rasterio.open(folder / name, "w", count=count, **profile) as file:
            for _, window in file.block_windows(1):
                file.write(rng.exponential(size=(count, window.height, window.width)).astype("f4"), window=window)


def squares(count: int, grid: object, name: str) -> object:
    """Return a level of count x count squares, turned a little so that borders cut cells."""
    step = EXTENT / count
    shapes = [
        shapely.box(i * step, j * step, (i + 1) * step, (j + 1) * step) for i in range(count) for j in range(count)
    ]
    turned = shapely.affinity.rotate(shapely.GeometryCollection(shapes), 3.0)
    frame = gpd.GeoDataFrame(geometry=list(turned.geoms), crs=CRS)
    return level_of(name, [str(i) for i in range(len(shapes))], frame, grid)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=5_000)
    parser.add_argument("--draws", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        write_rasters(folder, options.side)
        grid = grid_of(folder / "covariates.tif")
        bands = [Band("a", folder / "covariates.tif", 1), Band("b", folder / "covariates.tif", 2)]
        people = RasterStack(grid, [Band("people", folder / "people.tif", kind="count")])
        draws = FieldDraws(options.draws)
        start = time.perf_counter()
        with RasterStack(grid, bands) as covariates, people:
            found = predict_surface(
                draws,
                covariates,
                crs=CRS,
                output=folder / "surface.tif",
                statistics=SurfaceStatistics(thresholds=(1.0,)),
                levels=[squares(6, grid, "regions"), squares(25, grid, "districts")],
                population=people,
            )
        seconds = time.perf_counter() - start
        megabytes = (folder / "surface.tif").stat().st_size / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{options.side} x {options.side} cells, {options.draws} draws, mesh of {draws.mesh.n} nodes: {seconds:.0f} s, "
        f"{1e6 * seconds / found.predicted:.1f} s a million cells, peak {peak:.2f} GiB, raster {megabytes:.0f} MB"
    )
    return int(peak > LIMIT_GIB)


if __name__ == "__main__":
    sys.exit(main())
