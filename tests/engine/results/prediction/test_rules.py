"""Scoring rules against their definitions: integrals, pairs of draws, distributions."""

import numpy as np
import pytest
from scipy import integrate, stats
from smallarea.results.prediction import rules


def crps_by_integral(cdf, y, low=-30.0, high=30.0):
    below = integrate.quad(lambda x: cdf(x) ** 2, low, y, limit=200)[0]
    above = integrate.quad(lambda x: (1.0 - cdf(x)) ** 2, y, high, limit=200)[0]
    return below + above


@pytest.mark.parametrize(("y", "mean", "sd"), [(0.3, 0.0, 1.0), (4.0, 1.0, 2.5), (-7.0, 0.5, 0.7)])
def test_crps_of_a_normal_is_the_integral(y, mean, sd):
    assert rules.crps_normal(y, mean, sd) == pytest.approx(crps_by_integral(stats.norm(mean, sd).cdf, y), rel=1e-6)


def test_crps_of_draws_is_fair():
    rng = np.random.default_rng(1)
    # Averaged over many small ensembles it is the CRPS of the distribution that they come from.
    draws = 1.0 + 2.0 * rng.normal(size=(4, 200_000))
    got = rules.crps_draws(np.full(200_000, 2.0), draws)
    assert got.mean() == pytest.approx(float(rules.crps_normal(2.0, 1.0, 2.0)), abs=5 * got.std() / np.sqrt(200_000))
    few = draws[:, :3]
    pairs = np.abs(few[:, None] - few[None]).sum(axis=(0, 1)) / (2 * 4 * 3)
    assert got[:3] == pytest.approx(np.abs(few - 2.0).mean(axis=0) - pairs)


def test_interval_score_and_coverage():
    value, lower, upper = np.array([1.0, 5.0, -2.0, np.nan]), np.zeros(4), np.full(4, 4.0)
    assert rules.interval_score(value, lower, upper, 0.8)[:3] == pytest.approx([4.0, 4.0 + 10.0, 4.0 + 20.0])
    np.testing.assert_array_equal(rules.covered(value, lower, upper), [1.0, 0.0, 0.0, np.nan])


def test_log_and_dawid_sebastiani_scores():
    value, mean, sd = np.array([0.4, -3.0]), np.array([0.0, 1.0]), np.array([1.0, 2.0])
    log = rules.log_score_normal(value, mean, sd)
    assert log == pytest.approx(stats.norm(mean, sd).logpdf(value))
    assert rules.dawid_sebastiani(value, mean, sd) == pytest.approx(-2.0 * log - np.log(2.0 * np.pi))


@pytest.mark.parametrize("rule", [rules.crps_normal, rules.dawid_sebastiani])
def test_rules_are_proper(rule):
    # On average the true distribution scores best.
    y = 1.0 + 2.0 * stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    best = rule(y, 1.0, 2.0).mean()
    for mean, sd in [(1.3, 2.0), (0.7, 2.0), (1.0, 1.6), (1.0, 2.5)]:
        assert rule(y, mean, sd).mean() > best
