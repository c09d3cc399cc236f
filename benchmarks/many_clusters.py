"""Memory and time of BARTSIMP with tens of thousands of clusters, the field on a mesh.

A survey of the unit square with a field, a tree and six covariates. Four chains run for some sweeps each; time grows
with the sweeps, memory hardly. Exit code 1 if the process needs more than 8 GiB at its peak.

usage: python benchmarks/many_clusters.py [--clusters 30000] [--nodes 1000] [--warmup 50] [--draws 50]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
from smallarea.gmrf.factor import factoriser
from smallarea.gmrf.mesh import MeshSizes, build_mesh
from smallarea.gmrf.spde import Spde
from smallarea.unit_level import BartsimpSettings, Clusters, sample_bartsimp
from smallarea.unit_level.sampler import prepare

LIMIT_GIB = 8.0
RANGE, SD, ERROR = 0.4, 0.5, 1.2


def survey(n: int) -> tuple[Clusters, np.ndarray]:
    """Draw a survey, and the true surface at its clusters."""
    random = np.random.default_rng(1)
    points, x = random.random((n, 2)), random.random((n, 6))
    x[:, 2] = np.sin(3.0 * points[:, 0]) + 0.3 * random.random(n)
    # A dense correlation of so many places would not fit: the truth lives on a mesh too, a finer one than the model's.
    mesh = build_mesh(points[:: max(1, n // 2000)], MeshSizes(0.02, 0.1, RANGE))
    spde = Spde(mesh)
    values = spde.entries(RANGE, SD)
    factor = factoriser(spde.pattern).factor(values[: mesh.n], values[mesh.n :])
    field = mesh.projector(points) @ factor.half_solve(random.standard_normal(mesh.n))
    f = field + np.where(x[:, 0] < 0.5, 0.5, -0.5 * x[:, 1])
    cluster = np.repeat(np.arange(n), random.integers(8, 19, n))
    y = f[cluster] + ERROR * random.standard_normal(len(cluster))
    clusters = Clusters.from_rows(y, cluster, points[cluster], x[cluster])
    return clusters, f[np.array(clusters.ids, dtype=int)]


def main() -> None:
    """Fit and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clusters", type=int, default=30_000)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--draws", type=int, default=50)
    a = parser.parse_args()
    clusters, truth = survey(a.clusters)
    settings = BartsimpSettings(field="mesh", mesh_nodes=a.nodes)
    start = time.perf_counter()
    grid = prepare(clusters, settings).grid
    ready = time.perf_counter() - start
    start = time.perf_counter()
    drawn = sample_bartsimp(clusters, settings, chains=4, warmup=a.warmup, draws=a.draws, seed=1)
    sweep = (time.perf_counter() - start - ready) / (4 * (a.warmup + a.draws))
    some = np.arange(0, clusters.n, 10)
    fitted = drawn.trees_at(clusters.covariates[some]) + drawn.field_at_clusters(some) + clusters.mean
    error = np.sqrt(np.mean((fitted.mean(axis=0) - truth[some]) ** 2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{clusters.n} clusters, {clusters.observations:.0f} observations, {grid.rank} nodes: set up in {ready:.0f} s, "
        f"{sweep:.2f} s for a sweep of a chain (four on this machine's cores), RMSE {error:.3f} against the truth's SD "
        f"{truth.std():.3f}, range {np.median(drawn.range):.2f} (true {RANGE}), peak {peak:.1f} GiB"
    )
    sys.exit(0 if peak < LIMIT_GIB else 1)


if __name__ == "__main__":
    main()
