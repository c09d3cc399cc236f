"""The posterior: its likelihood by numerical integration, its derivative, and its agreement with maximum likelihood."""

import numpy as np
import pytest
from known_latent_models import PUPILS, symmetric, with_moments
from scipy import stats
from smallarea.survey.design import survey_design
from smallarea.survey.latent.bayes import draw_means, sample_posterior
from smallarea.survey.latent.estimates import from_posterior
from smallarea.survey.latent.maximum_likelihood import maximise
from smallarea.survey.latent.model import build_model
from smallarea.survey.latent.patterns import likelihood, make_answers
from smallarea.survey.latent.prior_layout import LatentPriors, PriorLayout

jax = pytest.importorskip("jax")
pytest.importorskip("numpyro")

MODEL = "f =~ x1 + x2 + x3\ng =~ x4 + x5 + x6\nx1 ~~ x4"
NAMES = tuple(f"x{i}" for i in range(1, 7))


def answers(n=300, share=0.2, seed=3):
    """Two of the items have gaps, so that there are four patterns: the compiler takes its time for each."""
    rng = np.random.default_rng(seed)
    values = with_moments(symmetric(PUPILS)[:6, :6], n, seed) + np.arange(6)
    for item in (1, 3):
        values[rng.random(n) < share, item] = np.nan
    return make_answers(values, NAMES)


def test_the_density_is_the_likelihood_with_the_means_integrated_out():
    """A normal integral: the likelihood at its best means, times the volume of the means' uncertainty."""
    from smallarea.survey.latent.marginal_density import log_density

    data, model = answers(), build_model(MODEL)
    theta = maximise(model, data).theta
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        density = log_density(model, data)
        differences = []
        for _ in range(4):
            at = theta * (1.0 + 0.05 * rng.standard_normal(len(theta)))
            known = likelihood(data, model.covariance(at)[:6, :6])
            integrated = known.value - 0.5 * np.linalg.slogdet(known.mean_information)[1]
            differences.append(float(density(at)) - integrated)
        np.testing.assert_allclose(differences, differences[0], atol=1e-8)  # up to a constant
        slope = np.asarray(jax.grad(density)(theta))
        for k in range(len(theta)):
            move = 1e-5 * np.eye(len(theta))[k]
            assert slope[k] == pytest.approx(float(density(theta + move) - density(theta - move)) / 2e-5, abs=1e-5)


def test_means_are_drawn_from_their_conditional_distribution():
    data, model = answers(), build_model(MODEL)
    sigma = model.covariance(maximise(model, data).theta)[:6, :6]
    rng = np.random.default_rng(1)
    drawn = np.stack([draw_means(data, sigma, rng) for _ in range(800)])
    known = likelihood(data, sigma)
    truth = np.linalg.inv(known.mean_information)
    assert np.abs((drawn.mean(axis=0) - known.mean) / np.sqrt(np.diag(truth) / 800)).max() < 4.0
    np.testing.assert_allclose(np.cov(drawn.T), truth, atol=0.2 * np.diag(truth).max())


def test_priors_are_on_the_scale_of_standardised_items():
    """Prior draws of a model whose items have other units, against the distributions that are promised."""
    from numpyro import handlers

    data, model = answers(), build_model(MODEL)
    layout = PriorLayout(model, data, LatentPriors(residual="inverse_gamma"))
    spread = np.nanstd(data.values, axis=0)
    with jax.enable_x64(True):
        draw = layout.numpyro_model(data)
        keys = jax.random.split(jax.random.PRNGKey(1), 2000)
        run = jax.jit(jax.vmap(lambda key: handlers.trace(handlers.seed(draw, key)).get_trace()["theta"]["value"]))
        theta = dict(zip(model.names, np.asarray(run(keys)).T, strict=True))
    loading = theta["f =~ x2"] * spread[0] / spread[1]
    assert stats.kstest(loading, stats.norm(1.0, 0.5).cdf).pvalue > 1e-3
    residual = np.sqrt(theta["x3 ~~ x3"]) / spread[2]
    assert stats.kstest(residual, stats.invgamma(3, scale=4).cdf).pvalue > 1e-3
    factor = np.sqrt(theta["g ~~ g"]) / spread[3]
    assert stats.kstest(factor, stats.halfnorm().cdf).pvalue > 1e-3
    correlation = theta["f ~~ g"] / np.sqrt(theta["f ~~ f"] * theta["g ~~ g"])
    # LKJ(2) of two variables: (1 + r) / 2 is Beta(2, 2).
    assert stats.kstest((1 + correlation) / 2, stats.beta(2, 2).cdf).pvalue > 1e-3
    alone = theta["x1 ~~ x4"] / np.sqrt(theta["x1 ~~ x1"] * theta["x4 ~~ x4"])
    assert stats.kstest(alone, stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_the_posterior_agrees_with_maximum_likelihood():
    """One factor of four items, gaps in two, unequal weights: with many respondents priors hardly count.

    Weights that add up to the effective number make the posterior as wide as the errors of a sampling design.
    """
    values = answers(2000).values[:, [0, 1, 2, 3]]
    weights = np.exp(0.8 * np.random.default_rng(9).standard_normal(len(values)))
    model = build_model("f =~ x1 + x2 + x3 + x4")
    found = maximise(model, make_answers(values, model.observed, weights), survey_design(weights))
    data = make_answers(values, model.observed, weights, effective=True)
    assert data.weights.sum() == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=0.02)
    posterior = sample_posterior(model, data, found, priors=LatentPriors(), chains=1, warmup=200, draws=300, seed=1)
    errors = np.sqrt(np.diag(found.covariance))
    monte_carlo = posterior.flat.std(axis=0) / np.sqrt(posterior.ess)
    # The priors move a posterior by a fraction of its standard deviation at most; the rest is Monte Carlo error.
    assert np.all(np.abs(posterior.theta - found.theta) < 0.25 * errors + 4.0 * monte_carlo)
    np.testing.assert_allclose(posterior.flat.std(axis=0), errors, rtol=0.25)  # 300 draws, 1,000 effective respondents
    assert from_posterior(posterior, 0.95).parameters["ess"].notna().sum() == len(model.names)
