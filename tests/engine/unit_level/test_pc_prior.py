"""The prior of range and standard deviation: what it says, its density and its draws."""

import numpy as np
import pytest
from scipy import integrate, stats
from smallarea.errors import PriorProblem
from smallarea.unit_level.pc_prior import PcPrior, default_prior, paper_prior, prior_from_fit

PRIORS = [PcPrior(2.4, 0.5, 0.5, 0.5), PcPrior(0.3, 0.05, 1.2, 0.01), PcPrior(5e4, 0.1, 3.0, 0.2)]


@pytest.mark.parametrize("prior", PRIORS)
def test_the_density_integrates_to_one(prior):
    def range_part(t):
        return np.exp(prior.log_density_of_logs(t + np.log(prior.range0), np.log(prior.sd0)))

    def sd_part(t):
        return np.exp(prior.log_density_of_logs(np.log(prior.range0), t + np.log(prior.sd0)))

    # The density is a product, so two integrals along lines give the one over the plane.
    both = integrate.quad(range_part, -8.0, 25.0, limit=200)[0] * integrate.quad(sd_part, -25.0, 6.0, limit=200)[0]
    assert both / range_part(0.0) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_two_statements(prior):
    def share(f, low, high):
        return integrate.quad(f, low, high, limit=200)[0] / integrate.quad(f, -25.0, 25.0, limit=400)[0]

    below = share(lambda t: np.exp(prior.log_density_of_logs(t + np.log(prior.range0), np.log(prior.sd0))), -8.0, 0.0)
    above = share(lambda t: np.exp(prior.log_density_of_logs(np.log(prior.range0), t + np.log(prior.sd0))), 0.0, 6.0)
    assert below == pytest.approx(prior.range_alpha, abs=1e-7)
    assert above == pytest.approx(prior.sd_alpha, abs=1e-7)
    assert prior.range_quantile(prior.range_alpha) == pytest.approx(prior.range0)
    assert prior.sd_quantile(1.0 - prior.sd_alpha) == pytest.approx(prior.sd0)


@pytest.mark.parametrize("prior", PRIORS)
def test_draws_follow_the_density(prior):
    spatial_range, sd = prior.sample(np.random.default_rng(1), 20_000)

    def shares(draws, line):
        """The distribution function of the density along a line, at the draws."""
        grid = np.linspace(-8.0, 25.0, 40_001)
        density = np.exp(line(grid))
        total = integrate.cumulative_trapezoid(density, grid, initial=0.0)
        return np.interp(draws, grid, total / total[-1])

    a, b = np.log(prior.range0), np.log(prior.sd0)
    u = shares(np.log(spatial_range) - a, lambda t: prior.log_density_of_logs(t + a, b))
    v = shares(b - np.log(sd), lambda t: prior.log_density_of_logs(a, b - t))
    # Kolmogorov-Smirnov at 0.1 %.
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(v, "uniform").pvalue > 1e-3
    assert abs(stats.spearmanr(u, v).statistic) < 4.0 / np.sqrt(20_000)


def test_the_preset_of_the_paper():
    prior = paper_prior()
    assert prior.range_rate == pytest.approx(1.6636, abs=1e-4)
    assert prior.sd_rate == pytest.approx(1.3863, abs=1e-4)


def test_the_choice_from_a_fit_has_its_medians():
    prior = prior_from_fit(np.array([1.0, 3.0, 2.0]), np.array([0.2, 0.9, 0.4]))
    assert prior.range_quantile(0.5) == pytest.approx(2.0)
    assert prior.sd_quantile(0.5) == pytest.approx(0.4)


def test_the_default_scales_with_the_region_and_the_outcome():
    points = np.random.default_rng(2).uniform(size=(50, 2))
    near, far = default_prior(points, 1.0), default_prior(1e5 * points + 7.0, 20.0)
    assert far.range0 == pytest.approx(1e5 * near.range0, rel=1e-6)
    assert far.sd0 == pytest.approx(20.0 * near.sd0)
    assert 0.1 < near.range0 < 0.1415


@pytest.mark.parametrize(("name", "value"), [("range0", 0.0), ("sd0", np.nan), ("range_alpha", 1.0), ("sd_alpha", 0.0)])
def test_numbers_that_make_no_prior_are_refused(name, value):
    with pytest.raises(PriorProblem, match=name):
        PcPrior(**({"range0": 1.0, "range_alpha": 0.5, "sd0": 1.0, "sd_alpha": 0.5} | {name: value}))


def test_one_place_gives_no_default():
    with pytest.raises(PriorProblem, match="one place"):
        default_prior(np.ones((4, 2)), 1.0)
