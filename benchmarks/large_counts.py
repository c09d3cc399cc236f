"""Counts on a state's tracts: time, memory and effective samples of a whole `fit_counts`, from layer to files.

On a layer of one's own, binomial counts are drawn at published shares (per cent) with 80 to 400 people asked in each
area; without one, on a simulated map of 8,000 areas. Exit code 1 if the fit takes longer than 15 minutes.

usage: python benchmarks/large_counts.py [--form FORM] [LAYER ID_FIELD SHARE_FIELD COVARIATE...]
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
import smallarea
from cases import simulated
from scipy.special import expit
from shapely.geometry import box

LIMIT_MINUTES = 15.0
FEWEST, MOST = 80, 400


def from_file(path: str, id_field: str, share_field: str, covariates: list[str]) -> gpd.GeoDataFrame:
    """Read a layer and take its shares for the truth; missing ones are the median."""
    frame = gpd.read_file(path)[[id_field, share_field, *covariates, "geometry"]]
    percent = frame[share_field].fillna(frame[share_field].median()).clip(0.5, 95.0)
    return frame.assign(truth=percent / 100.0).drop(columns=share_field).rename(columns={id_field: "id"})


def lattice(n: int) -> gpd.GeoDataFrame:
    """Make square areas with a smooth truth; the estimates of a simulated case give the covariates."""
    side = int(np.ceil(np.sqrt(n)))
    row, column = np.divmod(np.arange(n), side)
    x = simulated(n, 1).covariates[:, :2]
    linear = -1.7 + 0.6 * np.sin(row / 9.0) * np.cos(column / 7.0) + 0.2 * x[:, 0]
    cells = [box(j, i, j + 1, i + 1) for i, j in zip(row.tolist(), column.tolist(), strict=True)]
    ids = [f"{i:05d}" for i in range(n)]
    columns = {"id": ids, "truth": expit(linear), "x1": x[:, 0], "x2": x[:, 1]}
    return gpd.GeoDataFrame(columns, geometry=cells, crs="EPSG:3857")


def main() -> int:
    """Draw counts, fit them, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--form", default="auto")
    parser.add_argument("layer", nargs="*")
    given = parser.parse_args()
    if given.layer:
        path, id_field, share, *covariates = given.layer
        frame = from_file(path, id_field, share, covariates)
    else:
        frame, covariates = lattice(8_000), ["x1", "x2"]
    rng = np.random.default_rng(1)
    frame["asked"] = rng.integers(FEWEST, MOST, len(frame))
    frame["yes"] = rng.binomial(frame["asked"], frame["truth"])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = smallarea.fit_counts(
            frame, id_field="id", count="yes", trials="asked", covariates=covariates, form=given.form,
            output=Path(folder) / "estimates.gpkg", report=Path(folder) / "report.html",
        )  # fmt: skip
        seconds = time.perf_counter() - start
    d = result.diagnostics
    inside = result.estimates["lower"].to_numpy() <= frame["truth"].to_numpy()
    inside &= frame["truth"].to_numpy() <= result.estimates["upper"].to_numpy()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(frame)} areas: {seconds:.0f} s, {peak:.1f} GiB, ESS of the worst "
        f"hyperparameter {d['ess_min']:.0f} of {d['draws']:.0f}, R-hat {d['r_hat_max']:.3f}, "
        f"{d['leapfrogs']:.0f} gradients a step, {d['divergences']:.0f} divergent; intervals hold {inside.mean():.1%}"
    )
    return int(seconds > 60.0 * LIMIT_MINUTES)


if __name__ == "__main__":
    sys.exit(main())
