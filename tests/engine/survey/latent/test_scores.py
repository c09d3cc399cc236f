"""Scores and plausible values against the joint normal distribution and against areas whose truth is known."""

import numpy as np
import pytest
from smallarea.errors import ModelProblem
from smallarea.survey.latent.area_weights import area_weights
from smallarea.survey.latent.model import build_model
from smallarea.survey.latent.scores import (
    AreaVariation,
    area_variation,
    evidence,
    factor_scores,
    plausible_values,
)

TEXT = "f =~ x1 + x2 + x3\ng =~ x4 + x5 + x6\ng ~ f"
VALUES = {
    "f =~ x2": 0.8, "f =~ x3": 1.2, "g =~ x5": 0.7, "g =~ x6": 0.9, "g ~ f": 0.6, "f ~~ f": 1.0, "g ~~ g": 0.64,
    **{f"x{i} ~~ x{i}": 0.5 + 0.1 * i for i in range(1, 7)},
}  # fmt: skip


def known():
    model = build_model(TEXT)
    return model, np.array([VALUES[name] for name in model.names])


def simulated(model, theta, n, seed, shift=None):
    """Items of n respondents whose factors are moved by `shift`."""
    rng = np.random.default_rng(seed)
    joint = model.covariance(theta)
    eta = rng.multivariate_normal(np.zeros(2), joint[6:, 6:], size=n)
    eta = eta if shift is None else shift + np.sqrt(0.8) * eta
    loadings = joint[:6, 6:] @ np.linalg.inv(joint[6:, 6:])
    residual = np.array([VALUES[f"x{i} ~~ x{i}"] for i in range(1, 7)])
    return eta, eta @ loadings.T + rng.standard_normal((n, 6)) * np.sqrt(residual)


def test_scores_are_conditional_means_and_variances():
    model, theta = known()
    _, values = simulated(model, theta, 40, 1)
    values[np.random.default_rng(2).random(values.shape) < 0.3] = np.nan
    values[0] = np.nan
    mean = np.linspace(-1, 1, 6)
    found = factor_scores(evidence(model, theta, mean, values))
    joint = model.covariance(theta)
    for row, m, v in zip(values, found.mean, found.variance, strict=True):
        o = np.flatnonzero(np.isfinite(row))
        slopes = joint[6:, o] @ np.linalg.inv(joint[np.ix_(o, o)])
        np.testing.assert_allclose(m, slopes @ (row[o] - mean[o]), atol=1e-10)
        np.testing.assert_allclose(v, np.diag(joint[6:, 6:] - slopes @ joint[o, 6:]), atol=1e-10)


def test_plausible_values_have_the_distribution_of_the_factors():
    model, theta = known()
    _, values = simulated(model, theta, 20_000, 3)
    of = evidence(model, theta, np.zeros(6), values)
    drawn = plausible_values(of, np.random.default_rng(1), None, None)
    truth = model.covariance(theta)[6:, 6:]
    # Scores vary too little; plausible values as much as the factors, up to the sample's own error (1 percent).
    np.testing.assert_allclose(np.cov(drawn.T), truth, atol=0.05)
    assert (np.var(factor_scores(of).mean, axis=0) < 0.85 * np.diag(truth)).all()
    again = plausible_values(of, np.random.default_rng(1), None, None)
    np.testing.assert_array_equal(drawn, again)


@pytest.fixture(scope="module")
def districts():
    model, theta = known()
    rng = np.random.default_rng(11)
    truth = rng.multivariate_normal(np.zeros(2), 0.2 * model.covariance(theta)[6:, 6:], size=60)
    areas = np.repeat(np.arange(60), 30)
    eta, values = simulated(model, theta, 1800, 12, truth[areas])
    return model, theta, areas, eta, values


def test_areas_are_not_washed_out(districts):
    model, theta, areas, eta, values = districts
    of = evidence(model, theta, np.zeros(6), values[:, :])
    of_means = lambda x: np.stack([x[areas == a].mean(axis=0) for a in range(60)])  # noqa: E731
    truth = of_means(eta)
    plain = of_means(factor_scores(of).mean)
    variation = area_variation(of, areas)
    own = of_means(factor_scores(of, areas, variation).mean)
    slope = lambda x, k: np.polyfit(truth[:, k], x[:, k], 1)[0]  # noqa: E731
    for k in range(2):
        assert slope(plain, k) < 0.85
        assert slope(own, k) > slope(plain, k) + 0.05
        assert np.mean((own - truth)[:, k] ** 2) < np.mean((plain - truth)[:, k] ** 2)
    share = np.diag(variation.between) / np.diag(variation.between + variation.within)
    np.testing.assert_allclose(share, 0.2, atol=0.08)  # 60 areas know it to 0.04


def test_intervals_of_areas_by_rubins_rules(districts):
    """Means of plausible values cover the areas' true means of the factors; means of scores do not."""
    model, theta, areas, eta, values = districts
    of = evidence(model, theta, np.zeros(6), values)
    variation = area_variation(of, areas)
    drawn = np.stack([plausible_values(of, np.random.default_rng(s), areas, variation) for s in range(40)])
    inside = []
    for a in range(60):
        means = drawn[:, areas == a].mean(axis=1)  # the finite sample's mean: no variance within
        se = np.sqrt(means.var(axis=0, ddof=1) * (1 + 1 / 40))
        inside.append(np.abs(means.mean(axis=0) - eta[areas == a].mean(axis=0)) < 2.02 * se)
    # 120 intervals, two and two related: 95 percent give or take 5.
    assert 0.90 <= np.mean(inside) <= 0.99


def test_the_variation_between_areas_maximises_the_likelihood(districts):
    model, theta, areas, _, values = districts
    of = evidence(model, theta, np.zeros(6), values)
    found = area_variation(of, areas)

    def log_likelihood(v):
        """Of the two-level model, area by area as one normal vector of sufficient statistics."""
        total = 0.0
        spread = np.linalg.inv(of.precision[0])  # complete answers: one pattern
        said = of.natural @ spread  # h = J eta_hat
        for a in range(60):
            x = said[areas == a]
            n = len(x)
            covariance = np.kron(np.eye(n), v.within + spread) + np.kron(np.ones((n, n)), v.between)
            total -= 0.5 * (np.linalg.slogdet(covariance)[1] + x.ravel() @ np.linalg.solve(covariance, x.ravel()))
        return total

    best = log_likelihood(found)
    for change in (0.8, 1.25):
        assert log_likelihood(AreaVariation(change * found.between, found.within)) < best
        assert log_likelihood(AreaVariation(found.between, change * found.within)) < best


def test_a_negative_variance_is_refused():
    model, theta = known()
    theta[model.names.index("x2 ~~ x2")] = -0.1
    with pytest.raises(ModelProblem, match=r"'x2' .* Heywood"):
        evidence(model, theta, np.zeros(6), np.zeros((3, 6)))


def test_a_weight_is_a_number_of_replicates(districts):
    model, theta, areas, _, values = districts
    values = values.copy()
    values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
    counts = np.random.default_rng(2).integers(0, 4, len(areas))
    rows = np.repeat(np.arange(len(areas)), counts)
    weighted = evidence(model, theta, np.zeros(6), values)
    replicated = evidence(model, theta, np.zeros(6), values[rows])
    one = area_variation(weighted, areas, weights=counts.astype(float))
    two = area_variation(replicated, areas[rows])
    np.testing.assert_allclose(one.between, two.between, rtol=1e-9)
    np.testing.assert_allclose(one.within, two.within, rtol=1e-9)
    scores = factor_scores(weighted, areas, one, counts.astype(float))
    again = factor_scores(replicated, areas[rows], two)
    np.testing.assert_allclose(scores.mean[rows], again.mean, atol=1e-9)
    np.testing.assert_allclose(scores.variance[rows], again.variance, atol=1e-9)


def test_weights_of_an_area_add_up_to_its_effective_number():
    areas = np.array([0, 0, 0, 1, 1, 2])
    np.testing.assert_allclose(area_weights(np.full(6, 7.0), areas), 1.0)
    found = area_weights(np.array([1.0, 1.0, 2.0, 0.0, 3.0, 0.0]), areas)
    np.testing.assert_allclose(found, [2 / 3, 2 / 3, 4 / 3, 0.0, 1.0, 0.0])


def test_weights_take_out_what_sampling_put_in():
    """Those with more of f are sampled three times as often; weighted, areas have the level of their population."""
    model, theta = known()
    rng = np.random.default_rng(21)
    truth = rng.multivariate_normal(np.zeros(2), 0.2 * model.covariance(theta)[6:, 6:], size=40)
    everyone = np.repeat(np.arange(40), 200)
    eta, values = simulated(model, theta, 8000, 22, truth[everyone])
    chance = np.where(eta[:, 0] > truth[everyone, 0], 0.6, 0.2)
    taken = rng.random(8000) < chance
    areas, weights = everyone[taken], 1.0 / chance[taken]
    of = evidence(model, theta, np.zeros(6), values[taken])
    population = np.bincount(everyone, eta[:, 0]) / 200
    error = {}
    for name, w in (("weighted", area_weights(weights, areas)), ("not", None)):
        variation = area_variation(of, areas, weights=w)
        drawn = np.mean(
            [plausible_values(of, np.random.default_rng(s), areas, variation, w)[:, 0] for s in range(10)], axis=0
        )
        error[name] = (np.bincount(areas, weights * drawn) / np.bincount(areas, weights) - population).mean()
    # 40 areas of 80 respondents: the mean of their errors is known to about 0.02.
    assert abs(error["weighted"]) < 0.06
    assert error["not"] > abs(error["weighted"]) + 0.03
