"""BARTSIMP with a binomial likelihood: time and effective draws, and rare shares beside empirical logits.

250 clusters of 10 to 40 trials, four covariates of which two matter, a Matérn field and differences between clusters.
``--share`` is about the typical share; the truth at 400 points that hold no cluster is the share averaged over how
clusters differ.

    python benchmarks/bartsimp_counts.py [--share 0.02] [--replicates 5] [--sweeps 1000] [--likelihood binomial]
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from scipy import special
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings, Clusters, sample_bartsimp
from smallarea.unit_level.likelihoods import count_clusters, expected

CLUSTERS, POINTS, OWN = 250, 400, 0.4
# Nine points of ten or more must be covered by 95 % intervals, and the level of shares be right within a tenth.
COVERAGE, LEVEL = 0.90, 0.10


def simulate(likelihood, level, seed):
    """Draw clusters, and what is true at other points."""
    random = np.random.default_rng(seed)
    place, x = random.random((CLUSTERS + POINTS, 2)), random.random((CLUSTERS + POINTS, 4))
    root = np.linalg.cholesky(matern_correlation(distances(place), 0.4) + 1e-9 * np.eye(len(place)))
    eta = level + (x[:, 0] > 0.5) + 0.8 * np.sin(3.0 * x[:, 1]) + 0.7 * root @ random.standard_normal(len(place))
    seen = slice(0, CLUSTERS)
    if likelihood == "binomial":
        sizes = random.integers(10, 41, CLUSTERS)
        y = random.binomial(sizes, special.expit(eta[seen] + OWN * random.standard_normal(CLUSTERS)))
    else:
        sizes = random.uniform(0.5, 2.0, CLUSTERS)
        y = random.poisson(sizes * np.exp(eta[seen]) * random.gamma(OWN**-2.0, OWN**2.0, CLUSTERS))
    truth = expected(eta[None, CLUSTERS:], np.array([OWN]), likelihood)[0]
    return (sizes, y, place[seen], x[seen]), (place[CLUSTERS:], x[CLUSTERS:], truth)


def scores(draws, truth):
    """Root mean squared error, level, coverage and mean width of 95 % intervals."""
    lower, upper = np.quantile(draws, [0.025, 0.975], axis=0)
    mean = draws.mean(axis=0)
    covered = np.mean((lower < truth) & (truth < upper))
    return np.array(
        [np.sqrt(np.mean((mean - truth) ** 2)), mean.mean() / truth.mean(), covered, (upper - lower).mean()]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.02, help="typical share, or rate")
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--sweeps", type=int, default=1000, help="of warm-up, and as many kept, in each of four chains")
    parser.add_argument("--likelihood", choices=("binomial", "negative_binomial"), default="binomial")
    given = parser.parse_args()
    level = special.logit(given.share) if given.likelihood == "binomial" else np.log(given.share)
    run = {"chains": 4, "warmup": given.sweeps, "draws": given.sweeps}
    # Trees and field bring in 0.5 + 0.5 on average, which is taken off again.
    level -= 1.0
    counted = BartsimpSettings(likelihood=given.likelihood, trees=TreePrior(min_leaf=1))
    found = {"likelihood": [], "empirical logits": []}
    for seed in range(given.replicates):
        (sizes, y, place, x), (points, values, truth) = simulate(given.likelihood, level, seed)
        begin = time.perf_counter()
        drawn = sample_bartsimp(
            count_clusters(sizes, given.likelihood, y, np.arange(CLUSTERS), place, x), counted, seed=seed, **run
        )
        seconds = time.perf_counter() - begin
        d = drawn.diagnostics
        ess = " ".join(f"{name} {value:.0f}" for name, value in d.ess.items())
        eta = f"{np.median(d.f_ess):.0f} at the median cluster, {np.quantile(d.f_ess, 0.05):.0f} at the worst of twenty"
        print(f"{y.sum()} of {sizes.sum():.0f}; {seconds:.1f} s; ESS {ess}; trees plus field {eta}; ", end="")
        print(f"largest R-hat {max([*d.r_hat.values(), d.f_r_hat.max()]):.3f}", flush=True)
        found["likelihood"].append(scores(drawn.predict(points, values, draws=1000).total, truth))
        if given.likelihood == "binomial":
            logits = Clusters.from_rows(np.log((y + 0.5) / (sizes - y + 0.5)), np.arange(CLUSTERS), place, x)
            normal = sample_bartsimp(logits, BartsimpSettings(), seed=seed, **run)
            shares = special.expit(normal.predict(points, values, draws=1000).total)
            found["empirical logits"].append(scores(shares, truth))
    for name, rows in found.items():
        if rows:
            rmse, of_level, coverage, width = np.mean(rows, axis=0)
            print(f"{name}: RMSE {rmse:.4f}, level {of_level:.3f} of the truth, coverage {coverage:.3f}, ", end="")
            print(f"width {width:.4f}")
    _, of_level, coverage, _ = np.mean(found["likelihood"], axis=0)
    missed = coverage < COVERAGE or abs(of_level - 1.0) > LEVEL
    print("missed" if missed else "met", f"(bar: coverage {COVERAGE}, level within {LEVEL:.0%})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
