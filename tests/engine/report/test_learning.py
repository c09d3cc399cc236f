from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats
from smallarea.report.learning import learn


def with_draws(result, name, draws, prior):
    table = result.hyperparameters.copy()
    table.loc[table["name"] == name, "prior"] = prior
    drawn = {**result.posterior.hyperparameters, name: draws}
    return replace(result, hyperparameters=table, posterior=replace(result.posterior, hyperparameters=drawn))


def overlap_of_rho(result):
    return next(one.overlap for one in learn(result) if one.name.kind == "rho")


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0])
def test_overlap_of_two_normals(make_several, ratio):
    # In the coordinate where the prior is N(0, 1) the posterior is N(0, ratio^2); they cross at +-c.
    z = ratio * stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    found = overlap_of_rho(with_draws(make_several(), "rho", stats.norm.cdf(z), "Uniform(0, 1)"))
    if ratio == 1.0:
        expected = 1.0
    else:
        c = np.sqrt(2.0 * np.log(1.0 / ratio) / (1.0 / ratio**2 - 1.0))
        expected = 2.0 * stats.norm.cdf(c) - 1.0 + 2.0 * stats.norm.sf(c / ratio)
    # The kernel widens the posterior by 1.06 n^(-1/5) of its spread.
    assert found == pytest.approx(expected, abs=0.01)


def test_overlap_does_not_depend_on_the_scale_of_the_prior(make_several):
    quantiles = (np.arange(5000) + 0.5) / 5000
    for prior, draws in (("Beta(2, 5)", stats.beta.ppf(quantiles, 2, 5)), ("Uniform(-1, 1)", 2.0 * quantiles - 1.0)):
        assert overlap_of_rho(with_draws(make_several(), "rho", draws, prior)) > 0.98


def test_data_that_leave_nothing_of_the_prior(make_several):
    draws = 0.99 + 0.002 * np.random.default_rng(0).uniform(size=1000)
    assert overlap_of_rho(with_draws(make_several(), "rho", draws, "Uniform(0, 1)")) < 0.05


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
def test_a_correlation_of_an_lkj_matrix_has_its_own_marginal(make_several, names):
    # Density proportional to det^(eta - 1): each correlation is Beta on (-1, 1) with eta - 1 + K / 2 twice
    # (Lewandowski, Kurowicka and Joe 2009).
    a = 2.0 - 1.0 + 0.5 * len(names)
    draws = 2.0 * stats.beta.ppf((np.arange(5000) + 0.5) / 5000, a, a) - 1.0
    result = with_draws(make_several(names), "correlation[a,b]", draws, "LKJ(2)")
    found = {one.name.of: one.overlap for one in learn(result)}
    assert found[("a", "b")] > 0.98


def test_densities_integrate_to_what_is_shown(make_several):
    draws = np.random.default_rng(1).beta(6.0, 3.0, 4000)
    one = next(o for o in learn(with_draws(make_several(), "rho", draws, "Uniform(0, 1)")) if o.name.kind == "rho")
    np.testing.assert_allclose(one.prior, 1.0, rtol=1e-3)
    assert integrate.trapezoid(one.posterior, one.x) == pytest.approx(1.0, abs=0.02)
    expected = stats.beta.pdf(one.x, 6.0, 3.0)
    assert np.abs(one.posterior - expected).max() < 0.25


def test_only_what_has_a_prior_without_a_unit(make_several, make_result):
    assert {one.name.kind for one in learn(make_several())} == {"rho", "correlation"}
    assert learn(make_result()) == []
    fixed = with_draws(make_several(), "rho", np.full(400, 0.9), "Fixed(0.9)")
    assert {one.name.kind for one in learn(fixed)} == {"correlation"}
