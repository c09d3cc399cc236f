"""BARTSIMP's sampler against a dense density for every proposal, and effective samples per second and core.

python benchmarks/bartsimp_speed.py [--clusters 250 1584] [--sweeps 2000] [--chains 4] [--rank 300] [--mixing-only]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from smallarea.cores import available_cores
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.unit_level import BartsimpSettings, Clusters, paper_settings, sample_bartsimp
from smallarea.unit_level.chain import Chain
from smallarea.unit_level.far_directions import FROM_CLUSTERS
from smallarea.unit_level.sampler import prepare

Vector = NDArray[np.float64]
# By clusters: times the yardstick (exact, reduced), and seconds of four chains of 4,000 sweeps on two cores.
BARS = {250: (50.0, 50.0, 5.0), 1584: (200.0, 1000.0, 120.0)}
TIMED_SWEEPS = 200


def survey(n: int, seed: int = 1) -> Clusters:
    """Draw a survey with a field, a tree and six covariates; as large as Kenya's at 1,584 clusters."""
    random = np.random.default_rng(seed)
    points, x = random.random((n, 2)), random.random((n, 6))
    x[:, 2] = np.sin(3.0 * points[:, 0]) + 0.3 * random.random(n)
    root = np.linalg.cholesky(matern_correlation(distances(points), 0.4) + 1e-9 * np.eye(n))
    f = 0.5 * root @ random.standard_normal(n) + np.where(x[:, 0] < 0.5, 0.5, -0.5 * x[:, 1])
    cluster = np.repeat(np.arange(n), random.integers(8, 19, n))
    y = f[cluster] + 1.2 * random.standard_normal(len(cluster))
    return Clusters.from_rows(y, cluster, points[cluster], x[cluster])


def yardstick(clusters: Clusters, settings: BartsimpSettings, ranges: int, repeats: int) -> float:
    """Seconds of a sweep of as many proposals, each judged by a dense n x n density.

    A tree takes one density for what it is and one a proposal; standard deviations take one a proposal, and so do
    ``ranges`` proposals of the range, with new correlations. Draws of leaves and everything else are left out.
    """
    n = clusters.n
    between = distances(clusters.coordinates)
    known = matern_correlation(between, 0.4)
    member = np.eye(4)[np.arange(n) % 4]
    y = clusters.means - clusters.mean

    def density(correlation: Vector) -> float:
        covariance = 0.25 * correlation + np.diag(1.4 / clusters.sizes) + 0.1 * member @ member.T
        factor = linalg.cholesky(covariance, lower=True, check_finite=False)
        half = linalg.solve_triangular(factor, y, lower=True, check_finite=False)
        return float(-np.log(np.diag(factor)).sum() - 0.5 * half @ half)

    def timed(work: Callable[[], float]) -> float:
        work()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        return (time.perf_counter() - start) / repeats

    trees = settings.trees
    plain = trees.trees * (1 + trees.attempts) + 2 * settings.walks
    return plain * timed(lambda: density(known)) + ranges * timed(lambda: density(matern_correlation(between, 0.41)))


def seconds_a_sweep(clusters: Clusters, settings: BartsimpSettings) -> float:
    """Seconds of one sweep on one core, after warming up."""
    chain = Chain(prepare(clusters, settings), np.random.SeedSequence(1), 2 * TIMED_SWEEPS, TIMED_SWEEPS)
    while chain.done < chain.warmup:
        chain.advance()
    start = time.perf_counter()
    while not chain.finished:
        chain.advance()
    return (time.perf_counter() - start) / TIMED_SWEEPS


def compare(n: int, rank: int) -> bool:
    """Print times of a sweep: yardstick, exact, reduced."""
    clusters = survey(n)
    repeats = 20 if n < 1000 else 3
    # Where sweeps are proposals themselves, only one range of each is judged by all directions.
    dense = yardstick(
        clusters, paper_settings(), paper_settings().range_moves_of(n) if n < FROM_CLUSTERS else 1, repeats
    )
    exact = seconds_a_sweep(clusters, paper_settings())
    less, most_reduced, most_seconds = BARS.get(n, (0.0, 0.0, np.inf))
    whole = 4 * 4000 * exact / 2
    print(f"{n} clusters, {clusters.observations:.0f} observations: yardstick {1e3 * dense:.1f} ms a sweep, exact "
          f"{1e3 * exact:.2f} ms ({dense / exact:.0f} times), 4 x 4,000 sweeps on two cores {whole:.1f} s")  # fmt: skip
    met = dense / exact >= less and whole <= most_seconds
    if n > rank:
        settings = replace(paper_settings(field="reduced"), rank=rank)
        reduced = seconds_a_sweep(clusters, settings)
        dense = yardstick(clusters, settings, settings.range_moves_of(rank), repeats)
        print(f"  rank {rank}: yardstick {1e3 * dense:.1f} ms, {1e3 * reduced:.2f} ms ({dense / reduced:.0f} times)")
        met = met and (n < 1000 or dense / reduced >= most_reduced)
    return met


def mixing(n: int, sweeps: int, chains: int) -> None:
    """Print effective samples per second and core, warm-up included, after the set-up and with it."""
    start = time.perf_counter()
    sampling_since: list[float] = []

    def note(_: float, text: str) -> None:
        if text == "sampling" and not sampling_since:
            sampling_since.append(time.perf_counter())

    drawn = sample_bartsimp(
        survey(n), paper_settings(), chains=chains, warmup=sweeps // 2, draws=sweeps, seed=1, progress=note
    )
    end = time.perf_counter()
    d = drawn.diagnostics
    print(
        f"  {chains} chains of {sweeps // 2} + {sweeps} sweeps, R-hat of f at most {d.f_r_hat.max():.3f}; accepted:",
        end=" ",
    )
    print(", ".join(f"{kind} {share:.0%}" for kind, share in d.acceptance.items()))
    for since, what in ((sampling_since[0], "after"), (start, "with")):
        spent = (end - since) * available_cores()
        each = ", ".join(f"{name} {ess / spent:.0f}" for name, ess in d.ess.items())
        f = d.f_ess / spent
        print(f"  effective samples per second and core {what} {sampling_since[0] - start:.0f} s of set-up: {each}; "
              f"f median {np.median(f):.0f}, 5th percentile {np.quantile(f, 0.05):.1f}")  # fmt: skip


def main() -> None:
    """Run all sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clusters", type=int, nargs="+", default=[250, 1584])
    parser.add_argument("--sweeps", type=int, default=2000, help="kept of each chain; 0 leaves mixing out")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--mixing-only", action="store_true", help="leave the comparison with the yardstick out")
    parser.add_argument("--rank", type=int, default=300)
    arguments = parser.parse_args()
    met = True
    for n in arguments.clusters:
        if not arguments.mixing_only:
            met = compare(n, arguments.rank) and met
        if arguments.sweeps:
            mixing(n, arguments.sweeps, arguments.chains)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
