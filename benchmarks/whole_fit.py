"""From layer to written GeoPackage and report: wall-clock seconds and memory of `smallarea fit`, as a user pays them.

Without arguments it makes maps of Voronoi polygons with a simulated spatial quantity (CAR + iid, two covariates), the
largest of them the size of a state's census tracts, and fits each in a fresh process. With a layer it fits that one:

usage: python benchmarks/whole_fit.py [LAYER ID_FIELD DIRECT VARIANCE COVARIATE...]

Exit code 1 if the largest map misses its bar: 25 s, 1.5 GiB, effective sample size 1,000, on two cores.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (500, 2_000, 8_000)
SECONDS, GIBIBYTES, ESS = 25.0, 1.5, 1_000.0


def make_map(path: Path, n: int) -> list[str]:
    """Write a map of n Voronoi polygons and return the fit's arguments for it."""
    import geopandas as gpd
    import numpy as np
    import shapely
    from smallarea.areas import build_adjacency, read_areas
    from smallarea.gmrf import CarPrecision, factoriser

    rng = np.random.default_rng(n)
    points = shapely.points(rng.uniform(0.0, 400_000.0, (n, 2)))
    cells = shapely.get_parts(
        shapely.voronoi_polygons(shapely.multipoints(points), extend_to=shapely.box(0, 0, 4e5, 4e5))
    )
    frame = gpd.GeoDataFrame({"id": [f"a{i:05d}" for i in range(n)]}, geometry=cells, crs="EPSG:3310")
    graph = build_adjacency(read_areas(frame, id_field="id"))
    precision = CarPrecision(n, graph.edges)
    factor = factoriser(precision.pattern).factor(precision.diagonal(0.99), precision.off_diagonal(0.99))
    covariates = rng.standard_normal((n, 2))
    truth = 11.0 + covariates @ [0.2, -0.1] + 0.4 * factor.half_solve(rng.standard_normal(n))
    truth += 0.1 * rng.standard_normal(n)
    frame["variance"] = 0.012 * rng.gamma(2.0, 0.5, n)
    frame["direct"] = truth + np.sqrt(frame["variance"]) * rng.standard_normal(n)
    frame["x1"], frame["x2"] = covariates.T
    frame.loc[frame.sample(frac=0.01, random_state=1).index, ["direct", "variance"]] = np.nan
    frame.to_file(path)
    return [str(path), "id", "direct", "variance", "x1", "x2"]


def measure(arguments: list[str], folder: Path) -> dict[str, float]:
    """Fit in a fresh process; seconds, memory of the process, and what the result event says."""
    layer, id_field, direct, variance, *covariates = arguments
    command = [sys.executable, "-m", "smallarea", "fit", layer, "--id-field", id_field, "--direct", direct]
    command += ["--variance", variance, "--json"]
    command += ["--output", str(folder / "estimates.gpkg"), "--report", str(folder / "report.html")]
    for name in covariates:
        command += ["--covariates", name]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall = time.perf_counter() - start
    summary = json.loads(done.stdout.splitlines()[-1])["summary"]
    # ru_maxrss of children is that of the largest so far; sizes grow from case to case.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {
        "areas": summary["n_areas"],
        "seconds": wall,
        "gibibytes": peak,
        "ess": summary["ess_min"],
        "pareto_k": summary["pareto_k"],
    }


def main() -> int:
    print(f"{'areas':>8}{'seconds':>10}{'GiB':>8}{'ESS':>9}{'Pareto k':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = [sys.argv[1:]] if len(sys.argv) > 1 else [make_map(folder / f"map{n}.gpkg", n) for n in SIZES]
        for case in cases:
            found = measure(case, folder)
            print("{areas:>8}{seconds:>10.1f}{gibibytes:>8.2f}{ess:>9.0f}{pareto_k:>10.2f}".format(**found))
    return int(found["seconds"] > SECONDS or found["gibibytes"] > GIBIBYTES or found["ess"] < ESS)


if __name__ == "__main__":
    sys.exit(main())
