"""Binomial, Poisson and beta models against a posterior by brute force, and what their data may look like."""

import numpy as np
import pytest
from count_reference import exact_posterior
from scipy import special, stats
from smallarea.area_level import specify
from smallarea.area_level.hmc import (
    beta_observations,
    binomial_observations,
    chosen_form,
    poisson_observations,
    sample_hmc,
)
from smallarea.areas import AreaGraph
from smallarea.convergence import convergence
from smallarea.errors import ModelProblem, TableProblem, VarianceProblem

EDGES = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 0), (0, 3), (2, 6)]
NINE = AreaGraph.from_edges([f"a{i}" for i in range(8)], EDGES)
X = np.array([0.3, -1.2, 0.8, 1.5, -0.4, -0.9, 0.1, 0.6])
Y = np.array([3.0, 9.0, 4.0, 0.0, 7.0, np.nan, 5.0, 2.0])
SIZE = np.array([12.0, 20.0, 9.0, 15.0, 11.0, 8.0, 14.0, 10.0])
SHARES = np.array([0.2, 0.45, 0.35, 0.08, 0.6, np.nan, 0.4, 0.25])


def observed(likelihood: str):
    """Area 5 is missing, area 7 an island."""
    covariates = X[:, None]
    if likelihood == "binomial":
        return binomial_observations(NINE.ids, Y, SIZE, covariates, ["x"])
    if likelihood == "poisson":
        return poisson_observations(NINE.ids, Y, SIZE / 10.0, covariates, ["x"])
    return beta_observations(NINE.ids, SHARES, SHARES * (1.0 - SHARES) / SIZE, covariates, ["x"])


def likelihood_of(name: str):
    """Log likelihood, its slope and minus its curvature by area, from SciPy's densities and elementary formulas."""
    seen = np.isfinite(Y)

    def log_likelihood(eta):
        if name == "binomial":
            terms = stats.binom.logpmf(Y[seen], SIZE[seen], special.expit(eta[..., seen]))
        elif name == "poisson":
            terms = stats.poisson.logpmf(Y[seen], SIZE[seen] / 10.0 * np.exp(eta[..., seen]))
        else:
            mu, precision = special.expit(eta[..., seen]), SIZE[seen] - 1.0
            terms = stats.beta.logpdf(SHARES[seen], mu * precision, (1.0 - mu) * precision)
        return terms.sum(axis=-1)

    def slopes(eta):
        mu = special.expit(eta)
        if name == "binomial":
            first, second = np.nan_to_num(Y) - SIZE * mu, SIZE * mu * (1.0 - mu)
        elif name == "poisson":
            rate = SIZE / 10.0 * np.exp(eta)
            first, second = np.nan_to_num(Y) - rate, rate
        else:
            share = np.where(seen, SHARES, 0.5)
            working = SIZE * share * (1.0 - share)
            first, second = working * (special.logit(share) - eta), np.broadcast_to(working, eta.shape)
        return np.where(seen, first, 0.0), np.where(seen, second, 0.0)

    return log_likelihood, slopes


def brute_force(likelihood: str):
    """sd_phi, rho, sd_delta and the linear predictor of a proper CAR beside iid effects."""
    w = NINE.adjacency.toarray()[:7, :7]

    def prior(u):
        return np.column_stack([stats.halfnorm.ppf(u[:, 0]), u[:, 1], stats.halfnorm.ppf(u[:, 2])])

    def covariance(hyper):
        s = np.einsum("m,ij->mij", hyper[:, 2] ** 2, np.eye(8))
        q = np.diag(w.sum(axis=1)) - hyper[:, 1][:, None, None] * w
        s[:, :7, :7] += hyper[:, 0][:, None, None] ** 2 * np.linalg.inv(q)
        return s

    design = np.column_stack([np.ones(8), X])
    return exact_posterior(*likelihood_of(likelihood), covariance, prior, 3, design)


@pytest.mark.parametrize("likelihood", ["binomial", "poisson", "beta"])
def test_posterior_against_brute_force(likelihood) -> None:
    exact = brute_force(likelihood)
    forms = ("density", "filter") if likelihood == "poisson" else ("density",)
    for form in forms:
        fit = sample_hmc(observed(likelihood), specify(["x"]), NINE, form=form, draws=2000)
        assert fit.diagnostics.r_hat_max < 1.03
        link = np.log if likelihood == "poisson" else special.logit
        values = np.concatenate([fit.hyperparameters, link(fit.theta[:, :, 0])], axis=1)
        ess = convergence(values.reshape(4, -1, values.shape[1]))[1]
        mean, sd = values.mean(axis=0), values.std(axis=0)
        error = np.sqrt(exact.mean_error**2 + sd**2 / ess)
        assert np.max(np.abs(mean - exact.mean) / error) < 4.5
        squares = (values - mean) ** 2
        square_error = squares.std(axis=0) / np.sqrt(convergence(squares.reshape(4, -1, squares.shape[1]))[1])
        assert np.max(np.abs(sd - exact.sd) / np.hypot(exact.sd_error, square_error / (2.0 * sd))) < 4.5
        np.testing.assert_allclose(fit.linear_mean[:, 0], mean[3:], atol=1e-9)


def test_order_of_areas_and_unit_of_exposure_do_not_matter() -> None:
    order = np.array([4, 0, 7, 2, 6, 1, 5, 3])
    graph = NINE.reorder([NINE.ids[i] for i in order])
    first = sample_hmc(observed("poisson"), specify(["x"]), NINE, draws=2000)
    moved = poisson_observations(graph.ids, Y[order], 100.0 * SIZE[order], X[order, None], ["x"])
    second = sample_hmc(moved, specify(["x"]), graph, draws=2000)
    gap = first.linear_mean[order] - (second.linear_mean + np.log(1000.0))
    assert np.max(np.abs(gap) / first.linear_sd[order]) < 0.17


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda y, n: binomial_observations(NINE.ids, n, y), TableProblem, "more counts than trials"),
        (lambda y, n: binomial_observations(NINE.ids, y + 0.5, n), TableProblem, "whole numbers"),
        (lambda y, n: binomial_observations(NINE.ids, y, n - 0.5), TableProblem, "whole numbers"),
        (lambda y, n: poisson_observations(NINE.ids, -y), TableProblem, "'a0'"),
        (lambda y, n: poisson_observations(NINE.ids, y, 0.0 * n), TableProblem, "positive"),
        (lambda y, n: poisson_observations(NINE.ids, y, n, np.full((8, 1), np.nan), ["x"]), TableProblem, "covariate"),
        (lambda y, n: poisson_observations(NINE.ids, y, n, np.ones((8, 1)), ["x"]), ModelProblem, "same everywhere"),
        (lambda y, n: poisson_observations(NINE.ids, np.full(8, np.nan), n), ModelProblem, "too few"),
        (lambda y, n: poisson_observations(NINE.ids[:5], y, n), TableProblem, "areas"),
        (lambda y, n: beta_observations(NINE.ids, y / 10.0, 0.01 * n), TableProblem, "between 0 and 1"),
        (lambda y, n: beta_observations(NINE.ids, (y + 1.0) / 20.0, n), VarianceProblem, "y \\(1 - y\\)"),
        (lambda y, n: beta_observations(NINE.ids, (y + 1.0) / 20.0, 0.0 * n), VarianceProblem, "positive"),
        (lambda y, n: binomial_observations(NINE.ids, y, n, intercept=False), ModelProblem, "neither"),
    ],
)
def test_impossible_data_are_refused(make, error, text) -> None:
    with pytest.raises(error, match=text):
        make(np.nan_to_num(Y, nan=1.0) if error is not ModelProblem else Y, SIZE)


def test_areas_without_trials_are_missing() -> None:
    data = binomial_observations(NINE.ids, np.zeros(8), np.where(np.arange(8) < 2, 0.0, 10.0))
    assert data.observed[:, 0].tolist() == [False, False, True, True, True, True, True, True]


def test_chosen_forms() -> None:
    assert chosen_form(specify(), "auto", None) == "density"
    assert chosen_form(specify(random_effect="bym2"), "auto", None) == "filter"
    assert chosen_form(specify(random_effect="iid"), "auto", None) == "iid"
