"""How fast counted outcomes mix where it is hard: rare events with few trials, and counts that are Poisson.

250 clusters, four covariates of which two matter, and a Matérn field. Effective draws a sweep and a second of processor
time, of hyperparameters, the mean level of all clusters, and trees plus field at single ones; with sweeps of a
calibrated likelihood, and with those of the data's own (as with ``--only``).

    python benchmarks/bartsimp_counts_mixing.py [--warmup 400] [--draws 800] [--only calibrated]
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from scipy import special
from smallarea.convergence import convergence
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings, latent_calibration, sample_bartsimp
from smallarea.unit_level.likelihoods import count_clusters

CLUSTERS, CHAINS, NEVER = 250, 2, 10**9
# Effective draws at the median cluster in 100 kept sweeps.
BAR = 20.0


def simulate(case):
    """Draw clusters of a case."""
    rng = np.random.default_rng(5)
    place, x = rng.random((CLUSTERS, 2)), rng.random((CLUSTERS, 4))
    root = np.linalg.cholesky(matern_correlation(distances(place), 0.4) + 1e-9 * np.eye(CLUSTERS))
    eta = (x[:, 0] > 0.5) + 0.8 * np.sin(3.0 * x[:, 1]) + 0.7 * root @ rng.standard_normal(CLUSTERS)
    eta -= eta.mean()
    if case == "rare":
        likelihood, sizes = "binomial", np.full(CLUSTERS, 10)
        y = rng.binomial(sizes, special.expit(eta - 5.8 + 0.4 * rng.standard_normal(CLUSTERS)))
    elif case == "common":
        likelihood, sizes = "binomial", rng.integers(10, 41, CLUSTERS)
        y = rng.binomial(sizes, special.expit(eta - 1.0 + 0.4 * rng.standard_normal(CLUSTERS)))
    else:
        likelihood, sizes = "negative_binomial", np.ones(CLUSTERS)
        y = rng.poisson(20.0 * np.exp(eta - 0.5 * eta.var()))
    return count_clusters(sizes, likelihood, y, np.arange(CLUSTERS), place, x), likelihood, y.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warmup", type=int, default=400, help="sweeps of each of two chains")
    parser.add_argument("--draws", type=int, default=800, help="and those that are kept")
    parser.add_argument("--only", choices=("own", "calibrated"), help="one of the two")
    given = parser.parse_args()
    blind, missed = latent_calibration.BLIND, False
    for case in ("rare", "poisson", "common"):
        clusters, likelihood, events = simulate(case)
        settings = BartsimpSettings(likelihood=likelihood, trees=TreePrior(min_leaf=1))
        for kind in (given.only,) if given.only else ("own", "calibrated"):
            latent_calibration.BLIND = blind if kind == "calibrated" else NEVER
            begin = time.process_time()
            drawn = sample_bartsimp(
                clusters, settings, chains=CHAINS, warmup=given.warmup, draws=given.draws, seed=3, workers=1
            )
            seconds = (time.process_time() - begin) * given.draws / (given.warmup + given.draws)
            surface = drawn.trees_at_clusters() + drawn.field_at_clusters(np.arange(CLUSTERS))
            level = float(convergence(surface.mean(axis=1).reshape(CHAINS, given.draws, 1))[1][0])
            d, kept = drawn.diagnostics, CHAINS * given.draws
            found = d.ess | {"level": level, "a cluster": float(np.median(d.f_ess))}
            found["one of twenty clusters"] = float(np.quantile(d.f_ess, 0.05))
            accepted = d.acceptance["sweep"]
            print(f"{case}, {events:.0f} events, {kind}: {accepted:.2f} of sweeps; in 100, and a second: ", end="")
            print(", ".join(f"{name} {ess / kept * 100:.0f}, {ess / seconds:.0f}" for name, ess in found.items()))
            missed |= kind == "calibrated" and found["a cluster"] / kept * 100.0 < BAR
    print("missed" if missed else "met", f"(bar: {BAR:.0f} in 100 sweeps at the median cluster)")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
