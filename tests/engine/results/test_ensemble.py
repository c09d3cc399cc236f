"""Estimates that spread as the quantities do."""

import numpy as np
import pytest
from smallarea.errors import ModelProblem
from smallarea.results.draws import estimated
from smallarea.results.ensemble import constrained_bayes, triple_goal
from smallarea.results.ranks import mean_ranks, rank_areas


def test_mean_and_spread_are_those_of_the_quantities(theta, block_size):
    there = estimated(theta)
    got, factor = constrained_bayes(theta)
    draws = theta[:, there]
    assert got[there].mean() == pytest.approx(draws.mean())
    assert got[there].var() == pytest.approx(draws.var(axis=1).mean())
    assert factor > 1.0
    np.testing.assert_allclose(got[there] - draws.mean(), factor * (draws.mean(axis=0) - draws.mean()))
    assert np.isnan(got[~there]).all()


def test_ghosh_by_formula():
    # theta_i | y ~ N(g y_i, g v), independent: H1 = (m - 1) g v, H2 = g^2 sum (y_i - mean y)^2.
    rng = np.random.default_rng(5)
    m, v, g = 200, 1.0, 0.5
    y = rng.normal(size=m) * np.sqrt(2.0)
    draws = g * y + np.sqrt(g * v) * rng.normal(size=(20_000, m))
    a = np.sqrt(1.0 + (m - 1) * g * v / (g**2 * np.sum((y - y.mean()) ** 2)))
    # The mean of 20,000 sums of squares of 199 degrees of freedom: its relative error is sqrt(2 / 199 / 20000) = 7e-4.
    assert constrained_bayes(draws)[1] == pytest.approx(a, rel=3.5e-3)


def test_no_spread_to_restore():
    with pytest.raises(ModelProblem, match="do not differ"):
        constrained_bayes(np.tile(np.array([[1.0], [2.0]]), (1, 4)))
    with pytest.raises(ModelProblem, match="do not differ"):
        constrained_bayes(np.array([[1.0, np.nan], [2.0, np.nan]]))


def test_triple_goal_by_definition(theta):
    there = np.flatnonzero(estimated(theta))
    ranks = mean_ranks(theta)
    np.testing.assert_allclose(ranks, rank_areas(theta, 0.9, direction="low").mean)
    got = triple_goal(theta, ranks)
    pooled = np.sort(theta[:, there].ravel())
    share = np.arange(1, pooled.size + 1) / pooled.size
    order = there[np.argsort(ranks[there])]
    for j, area in enumerate(order, start=1):
        assert got[area] == pooled[np.searchsorted(share, (2 * j - 1) / 20 - 1e-12)]
    assert np.isnan(got[[3, 7]]).all()


def test_triple_goal_restores_the_histogram():
    # Quantities N(0, 1), data of variance 1: posterior means have variance 1/2, the ensemble has 1.
    rng = np.random.default_rng(9)
    truth = rng.normal(size=1500)
    means = 0.5 * (truth + rng.normal(size=1500))
    draws = means + np.sqrt(0.5) * rng.normal(size=(400, 1500))
    got = triple_goal(draws, mean_ranks(draws))
    assert means.var() == pytest.approx(0.5, abs=0.1)
    # The variance of 1500 normal values has the standard error sqrt(2 / 1500) = 0.037.
    assert got.var() == pytest.approx(1.0, abs=0.15)
    assert np.corrcoef(got, means)[0, 1] > 0.98
    assert np.isnan(triple_goal(np.full((5, 2), np.nan), np.full(2, np.nan))).all()
