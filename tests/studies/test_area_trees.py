"""Fay-Herriot models with trees by simulation: calibration of the sampler."""

import numpy as np
import plain_trees as plain
from scipy import stats
from smallarea.area_level import area_level_data, specify
from smallarea.area_trees import AreaTreesSettings, sample_area_trees
from smallarea.area_trees.effect import make_effect_grid
from smallarea.area_trees.settings import Scales
from smallarea.trees import Cuts, TreePrior


def test_the_sampler_is_calibrated(size, lattice):
    """Simulation-based calibration (Talts et al. 2018): ranks of what was drawn from the prior are uniform."""
    random = np.random.default_rng(17)
    replicates, kept, thin = size(120, 1000), 31, 20
    graph = lattice(4, island=True)
    n = len(graph.ids)
    settings = AreaTreesSettings(TreePrior(trees=3, min_leaf=3), leaf_k=2.0)
    scales = Scales(0.0, 1.0, 0.0, 4.0)
    tau = scales.leaf(settings)
    x, variance = random.random((n, 2)).round(1), random.uniform(0.2, 1.5, n)
    missing = 5
    variance[missing] = np.nan
    seen = np.flatnonzero(np.isfinite(variance))
    model = specify(random_effect="car")
    grid = make_effect_grid(model, graph, variance)
    bins = (cuts := Cuts.from_values(x[seen], rule="quantile")).bins(x)
    rho_weight = np.exp(grid.log_weights.reshape(len(grid.rhos), -1)[:, 0])
    ratio_weight = grid.ratios / (1.0 + grid.ratios**2)
    ranks = []
    for replicate in range(replicates):
        trees = np.zeros(n)
        for _ in range(3):
            tree = None
            while True:
                tree = plain.draw_prior(random, cuts.counts, settings.trees)
                if min(len(rows) for rows in plain.leaves(tree, bins[seen])) >= 3:
                    break
            for rows in plain.leaves(tree, bins):
                trees[rows] += tau * random.standard_normal()
        # Of the half-normal priors of both standard deviations follow those of their ratio and of one given it.
        at = random.choice(len(grid.rhos), p=rho_weight / rho_weight.sum())
        ratio = grid.ratios[random.choice(len(grid.ratios), p=ratio_weight / ratio_weight.sum())]
        sd = np.sqrt(random.chisquare(2.0) / (1.0 + ratio**2))
        everywhere = np.arange(n)
        covariance = sd**2 * grid.shape.covariance(everywhere, everywhere, grid.rhos[at], ratio)
        theta = trees + np.linalg.cholesky(covariance + 1e-12 * np.eye(n)) @ random.standard_normal(n)
        direct = theta + np.sqrt(variance) * random.standard_normal(n)
        drawn = sample_area_trees(
            area_level_data(graph.ids, direct, variance, x, ["one", "two"]), model, graph, settings, scales=scales,
            chains=1, warmup=300, draws=kept * thin, seed=replicate, workers=1,
        )  # fmt: skip
        h = {name: values[0] for name, values in drawn.hyperparameters.items()}
        draws = np.column_stack(
            [h["sd_phi"], h["rho"], h["sd_delta"], drawn.trees[:, 0], drawn.theta[:, [0, missing, n - 1]]]
        )[thin - 1 :: thin]
        true = [sd, grid.rhos[at], sd * ratio, trees[0], *theta[[0, missing, n - 1]]]
        ties = (draws == true).sum(axis=0)
        ranks.append((draws < true).sum(axis=0) + np.floor(random.random(7) * (ties + 1)))
    for column in np.array(ranks).T:
        # Eight bins of four ranks each.
        counts = np.bincount((column // 4).astype(int), minlength=8)
        assert stats.chisquare(counts).pvalue > 1e-3
