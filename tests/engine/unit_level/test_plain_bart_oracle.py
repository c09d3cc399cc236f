"""BART without a field against bartz, which samples the same posterior by other means.

bartz (Petrillo 2024) knows grow and prune only, with leaves drawn given the other trees, on single observations in
single precision. Here both have the same cuts (halfway between the few values of the covariates), the same prior of
trees, leaves and error, and the same smallest leaf. Its chains are treated as further chains of the same run.
"""

from dataclasses import replace

import numpy as np
import pytest
from bartz import Bart
from scipy import stats
from smallarea.convergence import convergence
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings, Clusters, sample_bartsimp
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.settings import scales

LEVELS, TREES, CHAINS, KEPT = 8, 5, 4, 2000
PLAIN = BartsimpSettings(field="none", trees=TreePrior(trees=TREES, min_leaf=5))
VANISHING = replace(PLAIN, field="exact", field_prior=PcPrior(1.0, 0.5, 1e-6, 0.5), range_points=5)
# A quantity fails by chance once in ten thousand times.
ALMOST_SURELY = 1.0 - 1e-4
MOST = stats.norm.ppf(1.0 - (1.0 - ALMOST_SURELY) / 2.0)


def observations():
    """Two to four observations at each pair of covariates: a step, an interaction, a curve."""
    random = np.random.default_rng(11)
    x = np.stack(np.meshgrid(np.arange(LEVELS) + 1.0, np.arange(LEVELS) + 1.0, indexing="ij"), axis=-1).reshape(-1, 2)
    cluster = np.repeat(np.arange(len(x)), random.integers(2, 5, len(x)))
    u = x / LEVELS
    surface = np.where(u[:, 0] <= 0.5, 0.8, np.where(u[:, 1] <= 0.4, 0.0, -0.8)) + 0.5 * np.sin(5.0 * u[:, 1])
    return surface[cluster] + random.standard_normal(len(cluster)), cluster, x


def points():
    """Twenty pairs of covariates: at clusters, and between the values and beyond them."""
    _, _, x = observations()
    return np.concatenate([x[::6], [[0.2, 3.2], [4.7, 4.8], [9.5, 1.3], [2.6, 9.9], [6.1, 0.1], [3.3, 6.8], [5.2, 2.2],
                                    [7.6, 5.6], [1.2, 7.7]]])  # fmt: skip


def gathered():
    y, cluster, x = observations()
    place = np.random.default_rng(12).random((len(x), 2))
    return Clusters.from_rows(y, cluster, place[cluster], x[cluster])


def ours(settings, seed=1):
    """Standard deviation of the error, and the surface, shape (CHAINS, KEPT, 21)."""
    clusters = gathered()
    drawn = sample_bartsimp(clusters, settings, chains=CHAINS, warmup=500, draws=2 * KEPT, seed=seed)
    surface = drawn.trees_at(points()).reshape(CHAINS, 2 * KEPT, -1)
    return np.concatenate([drawn.sigma_e[..., None], surface], axis=2)[:, ::2]


@pytest.fixture(scope="module")
def theirs():
    y, cluster, x = observations()
    scale, trees = scales(gathered(), PLAIN), PLAIN.trees
    drawn = Bart(
        x[cluster].T,
        (y - y.mean()).astype(np.float32),
        offset=0.0,
        k=1.0,
        tau_num=scale.leaf * np.sqrt(TREES),
        base=trees.base,
        power=trees.power,
        sigma_df=PLAIN.error_df,
        sigma_scale=np.sqrt(scale.nu_lambda / PLAIN.error_df),
        num_trees=TREES,
        maxdepth=8,
        num_chains=CHAINS,
        num_chain_devices=None,
        n_burn=1000,
        n_save=KEPT,
        n_skip=6,
        printevery=None,
        seed=2,
        init_kw={"min_points_per_leaf": trees.min_leaf, "min_points_per_decision_node": 2 * trees.min_leaf},
    )
    surface = np.asarray(drawn.predict(points().T, kind="latent_samples"), float).reshape(CHAINS, KEPT, -1)
    return np.concatenate([np.asarray(drawn.get_error_sdev(), float).reshape(CHAINS, KEPT, 1), surface], axis=2)


def excess(mine, theirs):
    """Rank R-hat, and folded rank R-hat, of all chains together over what chance allows chains that agree.

    A chain cut in halves gives means whose variance is 1 / e of the quantity's, e the effective draws of a half; so
    R-hat squared less 1 is a chi-squared over its degrees of freedom, over e.
    """
    middle = np.median(np.concatenate([mine, theirs]), axis=(0, 1))
    mine, theirs = (np.concatenate([draws, np.abs(draws - middle)], axis=2) for draws in (mine, theirs))
    r_hat, _ = convergence(np.concatenate([mine, theirs]))
    halves = 2 * (len(mine) + len(theirs))
    fewest = np.minimum(convergence(mine)[1], convergence(theirs)[1]) / (2 * CHAINS)
    return r_hat / np.sqrt(1.0 + stats.chi2.ppf(ALMOST_SURELY, halves - 1) / (halves - 1) / fewest)


def distance(mine, theirs):
    """Differences of means and of squares about a common centre, in their Monte Carlo standard errors."""
    centre = np.concatenate([mine, theirs]).mean(axis=(0, 1))
    both = [np.concatenate([draws, (draws - centre) ** 2], axis=2) for draws in (mine, theirs)]
    variances = [draws.var(axis=(0, 1)) / convergence(draws)[1] for draws in both]
    return (both[0].mean(axis=(0, 1)) - both[1].mean(axis=(0, 1))) / np.sqrt(sum(variances))


@pytest.mark.parametrize("settings", [PLAIN, VANISHING], ids=["none", "vanishing"])
def test_without_a_field_bartsimp_is_bart(theirs, settings):
    mine = ours(settings)
    assert excess(mine, theirs).max() < 1.0
    assert np.abs(distance(mine, theirs)).max() < MOST


@pytest.mark.parametrize(
    "wrong",
    [
        replace(PLAIN, leaf_k=3.0),
        replace(PLAIN, trees=replace(PLAIN.trees, min_leaf=25)),
        replace(PLAIN, trees=replace(PLAIN.trees, base=0.7)),
        replace(PLAIN, error_quantile=0.3),
    ],
    ids=["leaves", "smallest leaf", "splits", "error"],
)
def test_another_prior_would_be_noticed(theirs, wrong):
    assert np.abs(distance(ours(wrong), theirs)).max() > MOST
