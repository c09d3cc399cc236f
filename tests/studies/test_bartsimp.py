"""BARTSIMP by simulation: calibration of the sampler, and the paper's design beside plain BART."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import plain_trees as plain
import pytest
from scipy import stats
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import Cuts, TreePrior
from smallarea.unit_level import Clusters, paper_settings
from smallarea.unit_level.chain import Chain, Problem
from smallarea.unit_level.field_exact import make_range_grid
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.settings import BartsimpSettings, Scales

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "bartsimp_simulation.py"


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("bartsimp_simulation", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_sampler_is_calibrated(size):
    """Simulation-based calibration (Talts et al. 2018): ranks of what was drawn from the prior are uniform."""
    random = np.random.default_rng(81)
    n, replicates, kept, thin = 20, size(120, 1000), 31, 20
    prior = PcPrior(0.5, 0.5, 1.0, 0.5)
    settings = BartsimpSettings(
        trees=TreePrior(trees=3), field_prior=prior, range_points=10, range_bounds=(0.1, 10.0), cuts=10
    )
    scales = Scales(leaf=0.6, error_start=0.8, nu_lambda=3 * 0.4, field_prior=prior)
    place, x = random.random((n, 2)), random.random((n, 2)).round(1)
    sizes = random.integers(2, 5, n)
    cluster = np.repeat(np.arange(n), sizes)
    order = Clusters.from_rows(np.zeros(len(cluster)), cluster, place[cluster], x[cluster])
    place, x, sizes = order.coordinates, order.covariates, order.sizes.astype(int)
    cluster = np.repeat(np.arange(n), sizes)
    cuts = Cuts.from_values(x, count=10)
    bins = cuts.bins(x)
    grid = make_range_grid(place, sizes.astype(float), prior, points=10, bounds=(0.1, 10.0))
    mass = np.exp(grid.log_weights - grid.log_weights.max())
    ranks = []
    for replicate in range(replicates):
        tree_sum = np.zeros(n)
        for _ in range(3):
            rows = None
            while rows is None or min(sizes[r].sum() for r in rows) < settings.trees.min_leaf:
                rows = plain.leaves(plain.draw_prior(random, cuts.counts, settings.trees), bins)
            for r in rows:
                tree_sum[r] += 0.6 * random.standard_normal()
        error = np.sqrt(scales.nu_lambda / random.chisquare(3.0))
        sd = random.standard_exponential() / prior.sd_rate
        at = random.choice(10, p=mass / mass.sum())
        root = np.linalg.cholesky(matern_correlation(distances(place), grid.ranges[at]) + 1e-10 * np.eye(n))
        y = (tree_sum + sd * root @ random.standard_normal(n))[cluster] + error * random.standard_normal(len(cluster))
        clusters = Clusters.from_rows(y, cluster, place[cluster], x[cluster])
        chain = Chain(
            Problem(clusters, settings, scales, cuts, grid), np.random.SeedSequence(replicate), 300, kept * thin
        )
        # The prior is about outcomes as they are, not about their distances from the sample's mean.
        chain._means[:] = clusters.means
        while not chain.finished:
            chain.advance()
        hyper, forest, _ = chain.result()
        which = np.arange(thin - 1, kept * thin, thin)
        drawn = np.column_stack([hyper[which], forest.evaluate(bins[:2], which)])
        true = [np.log(error), np.log(sd), at, *tree_sum[:2]]
        below = (drawn[:, :5] < true).sum(axis=0)
        ties = (drawn[:, :5] == true).sum(axis=0)
        ranks.append(below + np.floor(random.random(5) * (ties + 1)))
    for column in np.array(ranks).T:
        # Eight bins of four ranks each.
        counts = np.bincount((column // 4).astype(int), minlength=8)
        assert stats.chisquare(counts).pvalue > 1e-3


# At omega = 0.8 one data set cannot tell the two apart: errors 0.247 and 0.252, interval scores 1.09 and 1.08.
@pytest.mark.parametrize("omega", [0.5, 0.2])
def test_the_papers_design_in_small(simulation, size, omega):
    if size(0, 1):
        assert simulation.study(omega, datasets=10, sweeps=2000, first=0, oracle=False)
        return
    data = simulation.simulate(omega, 1, side=25)
    both = simulation.score(data, paper_settings(), 400, 1)
    plain_bart = simulation.score(data, paper_settings(field="none"), 400, 1)
    assert both.rmse < min(0.32, plain_bart.rmse)
    assert both.interval < plain_bart.interval
    assert 0.9 <= both.coverage <= 1.0
