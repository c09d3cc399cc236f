"""Displaced clusters by simulation: calibration of the sampler with places as parameters."""

from dataclasses import replace

import numpy as np
import plain_trees as plain
from scipy import stats
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import Cuts, TreePrior
from smallarea.unit_level import Clusters
from smallarea.unit_level.candidates import Candidates
from smallarea.unit_level.chain import Problem
from smallarea.unit_level.field_exact import make_range_grid
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.position_chain import PositionChain
from smallarea.unit_level.settings import BartsimpSettings, Scales


def test_the_sampler_of_places_is_calibrated(size):
    """Simulation-based calibration (Talts et al. 2018): ranks of what was drawn from the prior are uniform.

    Trees and places are drawn from their joint prior, in which the truncation by leaf sizes ties them together: both
    are drawn anew until every leaf of every tree is large enough.
    """
    random = np.random.default_rng(82)
    n, replicates, kept, thin, trees = 20, size(120, 1000), 31, 20, 2
    prior = PcPrior(0.5, 0.5, 1.0, 0.5)
    settings = BartsimpSettings(
        trees=TreePrior(trees=trees), field_prior=prior, range_points=10, range_bounds=(0.1, 10.0), cuts=10
    )
    scales = Scales(leaf=0.8, error_start=0.8, nu_lambda=3 * 0.4, field_prior=prior)
    place, sizes = random.random((n, 2)), random.integers(2, 5, n)
    cluster = np.repeat(np.arange(n), sizes)
    order = Clusters.from_rows(np.zeros(len(cluster)), cluster, place[cluster], np.zeros((len(cluster), 2)))
    place, sizes = order.coordinates, order.sizes.astype(int)
    cluster = np.repeat(np.arange(n), sizes)
    x = random.random((3 * n, 2)).round(1)
    weights = random.dirichlet(np.ones(3), n).ravel()
    found = Candidates(np.arange(0, 3 * n + 1, 3), np.repeat(place, 3, axis=0), x, weights)
    cuts = Cuts.from_values(x, count=10)
    bins = cuts.bins(x)
    grid = make_range_grid(place, sizes.astype(float), prior, points=10, bounds=(0.1, 10.0))
    mass = np.exp(grid.log_weights - grid.log_weights.max())
    ranks = []
    for replicate in range(replicates):
        parts = [[np.empty(0, int)]]
        while min(sizes[rows].sum() for tree in parts for rows in tree) < settings.trees.min_leaf:
            true = found.drawn(random, 1)[0]
            made = [plain.draw_prior(random, cuts.counts, settings.trees) for _ in range(trees)]
            parts = [plain.leaves(tree, bins[true]) for tree in made]
        tree_sum = np.zeros(n)
        for tree in parts:
            for rows in tree:
                tree_sum[rows] += scales.leaf * random.standard_normal()
        error = np.sqrt(scales.nu_lambda / random.chisquare(3.0))
        sd = random.standard_exponential() / prior.sd_rate
        at = random.choice(10, p=mass / mass.sum())
        root = np.linalg.cholesky(matern_correlation(distances(place), grid.ranges[at]) + 1e-10 * np.eye(n))
        y = (tree_sum + sd * root @ random.standard_normal(n))[cluster] + error * random.standard_normal(len(cluster))
        clusters = replace(Clusters.from_rows(y, cluster, place[cluster], x[::3][cluster]), candidates=found)
        chain = PositionChain(
            Problem(clusters, settings, scales, cuts, grid), np.random.SeedSequence(replicate), 300, kept * thin
        )
        chain._means[:] = clusters.means
        while not chain.finished:
            chain.advance()
        hyper, forest, _ = chain.result()
        which = np.arange(thin - 1, kept * thin, thin)
        rows = chain.positions()[which].astype(int) + found.starts[:-1]
        sums = np.array([forest.evaluate(bins[row[:2]], which[[s]])[0] for s, row in enumerate(rows)])
        # Of the places: the covariates where all clusters are, on average, and the prior probability of being there.
        drawn = np.column_stack([hyper[which], sums, x[rows].mean(axis=1), np.log(weights[rows]).sum(axis=1)])
        true_values = [np.log(error), np.log(sd), at, *tree_sum[:2], *x[true].mean(axis=0), np.log(weights[true]).sum()]
        below = (drawn < true_values).sum(axis=0)
        ties = (drawn == true_values).sum(axis=0)
        ranks.append(below + np.floor(random.random(len(below)) * (ties + 1)))
    for column in np.array(ranks).T:
        # Eight bins of four ranks each.
        counts = np.bincount((column // 4).astype(int), minlength=8)
        assert stats.chisquare(counts).pvalue > 1e-3
