"""Mixtures of normals against numerical integration."""

import numpy as np
import pytest
from scipy import integrate, stats
from smallarea.results.prediction.predictions import Predictions, mixture_predictions


def mixture(m, seed=1):
    rng = np.random.default_rng(seed)
    means, sds = rng.normal(size=(m, 2, 1)), rng.uniform(0.4, 1.5, size=(m, 2, 1))
    weights = rng.dirichlet(np.ones(m), size=2).T[:, :, None]
    none = np.full((2, 1), np.nan)
    return Predictions(means, sds, weights, none, none[:, 0], none, none, none[:, 0])


def cdf(found, cell):
    m, s, w = (part[:, cell, 0] for part in (found.means, found.sds, found.weights))
    return lambda x: float(w @ stats.norm(m, s).cdf(x))


def test_pit_quantiles_and_moments():
    found = mixture(7)
    value = np.array([[0.3], [-1.2]])
    for cell in range(2):
        below = cdf(found, cell)
        assert found.below(value)[cell, 0] == pytest.approx(below(value[cell, 0]))
        assert below(found.quantile(0.9)[cell, 0]) == pytest.approx(0.9, abs=1e-8)
        m, s, w = (part[:, cell, 0] for part in (found.means, found.sds, found.weights))
        assert found.mean[cell, 0] == pytest.approx(w @ m)
        assert found.sd[cell, 0] == pytest.approx(np.sqrt(w @ (s**2 + m**2) - (w @ m) ** 2))


@pytest.mark.parametrize(("components", "close"), [(1, 1e-7), (7, 1e-7), (400, 1e-7)])
def test_crps_is_the_integral(components, close):
    found = mixture(components)
    value = np.array([[0.3], [-1.2]])
    for cell in range(2):
        below, y = cdf(found, cell), value[cell, 0]
        want = integrate.quad(lambda x, f=below: f(x) ** 2, -15, y, limit=200)[0]
        want += integrate.quad(lambda x, f=below: (1 - f(x)) ** 2, y, 15, limit=200)[0]
        assert found.crps(value)[cell, 0] == pytest.approx(want, abs=close)


def test_areas_predicted_as_a_whole():
    rng = np.random.default_rng(4)
    means = rng.normal(size=(5, 3, 2))
    half = rng.normal(size=(5, 3, 2, 2))
    covariances = half @ half.swapaxes(2, 3) + 0.3 * np.eye(2)
    value = np.array([[0.2, 1.0], [np.nan, 0.4], [np.nan, np.nan]])
    found = mixture_predictions(means, covariances, value)
    joint = np.mean([stats.multivariate_normal(means[m, 0], covariances[m, 0]).pdf(value[0]) for m in range(5)])
    assert found.joint[0] == pytest.approx(np.log(joint))
    alone = np.log(np.mean(stats.norm(means[:, 1, 1], np.sqrt(covariances[:, 1, 1, 1])).pdf(0.4)))
    assert found.joint[1] == pytest.approx(alone)
    assert found.log_score[1, 1] == pytest.approx(alone)
    assert np.isnan(found.joint[2])
    assert found.known.tolist() == [[True, True], [False, True], [False, False]]


def test_the_squared_error_of_the_truth_is_unbiased():
    rng = np.random.default_rng(6)
    n = 50_000
    truth, v = rng.normal(size=n), rng.uniform(0.5, 2.0, size=n)
    guess = truth + 0.5 * rng.normal(size=n)
    direct = truth + np.sqrt(v) * rng.normal(size=n)
    found = mixture_predictions(guess[None, :, None], (0.25 + v)[None, :, None, None], direct[:, None])
    got = found.scores(direct[:, None], v[:, None], 0.9)
    error = got["squared_error_of_truth"]
    assert error.mean() == pytest.approx(0.25, abs=5 * error.std() / np.sqrt(n))
    assert got["covered"].mean() == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / n))
