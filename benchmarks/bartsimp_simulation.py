"""The simulation of the paper that introduced BARTSIMP: a tree and a field, mixed in five shares.

python benchmarks/bartsimp_simulation.py [--omegas 1 0.8 0.5 0.2 0] [--datasets 10] [--sweeps 2000] [--oracle]
    [--others] [--cuts 100]

A surface f = (1 - omega) field + omega tree on 50 x 50 cells of the unit square, 250 clusters of 5 to 10 observations
with noise of variance 1; both models are scored on f at all cells. "BART" is this program's, whose trees move more
freely than those of others; --others also fits it with the usual moves, and stochtree's (`pip install stochtree`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees.specification import MOVES
from smallarea.unit_level import BartsimpSettings, Clusters, paper_settings, sample_bartsimp
from smallarea.unit_level.settings import PAPER_CUTS

Vector = NDArray[np.float64]
SIDE, CLUSTERS = 50, 250
KAPPA, VARIANCE = 2.5, 0.5
# By omega: error, ratio to the error of BART, and interval score, all at most.
BARS = {1.0: (0.26, 1.03, 1.05), 0.8: (0.24, 0.90, 1.05), 0.5: (0.20, 0.73, 1.00), 0.2: (0.18, 0.48, 0.92),
        0.0: (0.18, 0.43, 0.92)}  # fmt: skip
COVERAGE = (0.94, 0.99)
CHAINS, SCORED_DRAWS = 4, 2000


@dataclass(frozen=True)
class Simulated:
    """Clusters, cells with their covariates, the true surface, how much of it is the field's; observations."""

    clusters: Clusters
    cells: Vector
    covariates: Vector
    truth: Vector
    field: Vector
    without_field: Clusters
    outcome: Vector
    of_rows: Vector


@dataclass(frozen=True)
class Score:
    """Of one model on one data set."""

    rmse: float
    coverage: float
    interval: float
    seconds: float


def simulate(omega: float, seed: int, side: int = SIDE, n: int = CLUSTERS) -> Simulated:
    """Draw a surface and a survey of it."""
    random = np.random.default_rng([71, seed])
    middle = (np.arange(side) + 0.5) / side
    cells = np.column_stack([np.repeat(middle, side), np.tile(middle, side)])
    covariates = random.random((side * side, 2))
    correlation = matern_correlation(distances(cells), np.sqrt(8.0) / KAPPA)
    root = np.linalg.cholesky(correlation + 1e-9 * np.eye(side * side))
    field = np.sqrt(VARIANCE) * root @ random.standard_normal(side * side)
    tree = np.where(covariates[:, 0] < 0.5, 3.0, np.where(covariates[:, 1] >= 0.5, 0.0, -2.0))
    truth = (1.0 - omega) * field + omega * tree
    chosen = random.choice(side * side, n, replace=False)
    points = cells[chosen] + (random.random((n, 2)) - 0.5) / side
    cluster = np.repeat(np.arange(n), random.integers(5, 11, n))
    outcome = truth[chosen][cluster] + random.standard_normal(len(cluster))
    share = (1.0 - omega) * field
    made = [
        Clusters.from_rows(y, cluster, points[cluster], covariates[chosen][cluster])
        for y in (outcome, outcome - share[chosen][cluster])
    ]
    return Simulated(made[0], cells, covariates, truth, share, made[1], outcome, covariates[chosen][cluster])


def score(data: Simulated, settings: BartsimpSettings, sweeps: int, seed: int, *, told: bool = False) -> Score:
    """Fit and score on all cells; if ``told``, to data without the field, which is added to the prediction."""

    def draw() -> Vector:
        clusters = data.without_field if told else data.clusters
        drawn = sample_bartsimp(clusters, settings, chains=CHAINS, warmup=sweeps, draws=sweeps, seed=seed)
        surface = drawn.predict(data.cells, data.covariates, draws=SCORED_DRAWS).total
        return surface + data.field if told else surface

    return score_draws(data, draw)


def score_draws(data: Simulated, draw: Callable[[], Vector]) -> Score:
    """Score draws of the surface, shape (draws, cells), on all cells."""
    start = time.perf_counter()
    surface = draw()
    seconds = time.perf_counter() - start
    low, high = np.quantile(surface, [0.025, 0.975], axis=0)
    f = data.truth
    missed = np.maximum(low - f, 0.0) + np.maximum(f - high, 0.0)
    return Score(
        float(np.sqrt(np.mean((surface.mean(axis=0) - f) ** 2))),
        float(np.mean(missed == 0.0)),
        float(np.mean(high - low + 2.0 / 0.05 * missed)),
        seconds,
    )


def score_others(data: Simulated, plain: BartsimpSettings, sweeps: int, seed: int) -> dict[str, Score]:
    """Plain BART in the usual manner: with few moves, and by another program, with the same prior and as it comes."""
    from other_bart import as_it_comes, same_prior

    births = tuple(float(move in {"grow", "prune"}) for move in MOVES)
    few = replace(plain.trees, moves=births, attempts=1, partners=0, together=0)
    rows, points = (data.outcome, data.of_rows), data.covariates
    run = {"chains": CHAINS, "sweeps": sweeps, "keep": SCORED_DRAWS, "seed": seed}
    return {
        "BART, grow and prune only": score(data, replace(plain, trees=few), sweeps, seed),
        "stochtree, same prior": score_draws(data, lambda: same_prior(data.clusters, plain, *rows, points, **run)),
        "stochtree as it comes": score_draws(data, lambda: as_it_comes(*rows, points, plain.trees.trees, **run)),
    }


def study(
    omega: float, datasets: int, sweeps: int, first: int, oracle: bool, others: bool = False, cuts: int = PAPER_CUTS
) -> bool:
    """Run both models on several data sets of one share and say whether the bars are met."""
    settings, plain = (replace(found, cuts=cuts) for found in (paper_settings(), paper_settings(field="none")))
    scores, barts, told = [], [], []
    other: dict[str, list[Score]] = {}
    for seed in range(first, first + datasets):
        data = simulate(omega, seed)
        scores.append(score(data, settings, sweeps, seed))
        barts.append(score(data, plain, sweeps, seed))
        if oracle:
            told.append(score(data, plain, sweeps, seed, told=True).rmse)
        for name, found in score_others(data, plain, sweeps, seed).items() if others else ():
            other.setdefault(name, []).append(found)
    (rmse, of_rmse), (coverage, _), (interval, of_interval) = (
        _mean([getattr(s, k) for s in scores]) for k in ("rmse", "coverage", "interval")
    )
    ratio = _ratio(scores, barts)[0]
    most_rmse, most_ratio, most_interval = BARS[omega]
    print(
        f"omega {omega}: RMSE {rmse:.3f} +- {of_rmse:.3f} (at most {most_rmse}), ratio to BART {ratio:.3f} "
        f"({most_ratio}), coverage {coverage:.3f}, interval score {interval:.3f} +- {of_interval:.3f} "
        f"({most_interval}), {np.mean([s.seconds for s in scores]):.1f} s a fit with its prediction",
        flush=True,
    )
    if oracle:
        best = float(np.mean(told))
        print(f"  told the whole field, trees would err by {best:.3f}, {best * ratio / rmse:.3f} of BART", flush=True)
    for name, theirs in {"BART": barts, **other}.items():
        print(describe(name, scores, theirs), flush=True)
    met = rmse <= most_rmse and ratio <= most_ratio and interval <= most_interval
    return met and COVERAGE[0] <= coverage <= COVERAGE[1]


def describe(name: str, scores: list[Score], theirs: list[Score]) -> str:
    """Say how another model did and how BARTSIMP compares on the same data sets."""
    (rmse, of_rmse), (ratio, of_ratio) = _mean([s.rmse for s in theirs]), _ratio(scores, theirs)
    coverage, interval, seconds = (
        float(np.mean([getattr(s, k) for s in theirs])) for k in ("coverage", "interval", "seconds")
    )
    return (
        f"  {name}: RMSE {rmse:.3f} +- {of_rmse:.3f}, BARTSIMP's is {ratio:.3f} +- {of_ratio:.3f} of it; "
        f"coverage {coverage:.3f}, interval score {interval:.3f}, {seconds:.1f} s a fit with its prediction"
    )


def _ratio(scores: list[Score], theirs: list[Score]) -> tuple[float, float]:
    """Mean error of the first over that of the second, and its standard error over pairs (delta method)."""
    a, b = (np.array([s.rmse for s in which]) for which in (scores, theirs))
    ratio = float(a.mean() / b.mean())
    return ratio, _mean(list((a - ratio * b) / b.mean()))[1]


def _mean(values: list[float]) -> tuple[float, float]:
    """Mean over data sets and its standard error; surfaces are drawn anew for each, so that it is large."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), spread / float(np.sqrt(len(values)))


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--omegas", type=float, nargs="+", default=list(BARS), choices=list(BARS))
    parser.add_argument("--datasets", type=int, default=10)
    parser.add_argument("--sweeps", type=int, default=2000, help="of warm-up, and of sampling")
    parser.add_argument("--first", type=int, default=0, help="seed of the first data set")
    parser.add_argument("--oracle", action="store_true", help="also fit trees to data from which the field is taken")
    parser.add_argument("--cuts", type=int, default=PAPER_CUTS, help="most cuts of a covariate, of all models here")
    parser.add_argument("--others", action="store_true", help="also fit BART with the usual moves, and stochtree's")
    a = parser.parse_args()
    met = [study(o, a.datasets, a.sweeps, a.first, a.oracle, a.others, a.cuts) for o in a.omegas]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
