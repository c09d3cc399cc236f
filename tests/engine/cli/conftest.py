"""Tiny layers, and the command line as a function."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner
from shapely.geometry import Polygon, box
from smallarea.cli import cli


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Twelve squares of a kilometre, four by three, and an island; with estimates on them."""
    cells = [box(x, y, x + 1000, y + 1000) for y in (0, 1000, 2000) for x in (0, 1000, 2000, 3000)]
    cells.append(box(9000, 9000, 10000, 10000))
    n = len(cells)
    generator = np.random.default_rng(7)
    x = generator.normal(size=n)
    fields = {
        "code": [f"{k:03d}" for k in range(n)],
        "rate": 10.0 + x + generator.normal(size=n),
        "rate_var": np.full(n, 0.5),
        "rate_se": np.full(n, np.sqrt(0.5)),
        "x": x,
        "rent": 500.0 - 20.0 * x + 30.0 * generator.normal(size=n),
        "rent_var": np.full(n, 400.0),
        "rate_rent": np.full(n, 3.0),
    }
    path = tmp_path / "squares.gpkg"
    gpd.GeoDataFrame(fields, geometry=cells, crs="EPSG:32617").to_file(path, layer="squares")
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Three squares, one of which crosses itself."""
    bow = Polygon([(2000, 0), (3000, 1000), (3000, 0), (2000, 1000)])
    cells = [box(0, 0, 1000, 1000), box(1000, 0, 2000, 1000), bow]
    path = tmp_path / "broken.gpkg"
    gpd.GeoDataFrame({"code": ["a", "b", "bow"]}, geometry=cells, crs="EPSG:32617").to_file(path)
    return path


@pytest.fixture
def smallarea():
    """Run a command; with ``--json`` the events come along."""

    def run(*words):
        done = CliRunner().invoke(cli, [str(word) for word in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        lines = done.stdout.splitlines() if "--json" in words else []
        return done, [json.loads(line) for line in lines]

    return run
