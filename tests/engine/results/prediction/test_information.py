"""The conditional AIC: its penalty is the trace of the derivative of the estimates in the data."""

from dataclasses import replace

import numpy as np
import pytest
from smallarea.area_level import area_level_data, build_model, specify, stack, standardise
from smallarea.area_level.likelihood import fit_likelihood
from smallarea.areas import AreaGraph
from smallarea.results.prediction.information import conditional_aic


@pytest.fixture
def ring():
    edges = [(i, (i + 1) % 16) for i in range(16)] + [(0, 8), (3, 11)]
    return AreaGraph.from_edges([f"a{i}" for i in range(16)], np.array(edges))


def fitted(stacked, graph, effect, method):
    names = ("a", "b")[: stacked.shape[1]]
    specification = specify(["x"], responses=names, random_effect=effect, method=method)
    return fit_likelihood(build_model(specification, stacked, graph), specification)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("effect", "correlation"), [("iid", None), ("leroux", None), ("iid", 0.4)])
def test_the_penalty_is_the_trace_of_the_derivative(ring, effect, correlation, method):
    rng = np.random.default_rng(14)
    n, k = 16, 2 if correlation else 1
    x = rng.normal(size=n)
    # Smooth enough to be noticed, and not so smooth that rho ends at its boundary.
    smooth = 0.6 * np.sin(np.arange(n) * 2 * np.pi / 16)
    data = []
    for _ in range(k):
        v = rng.uniform(0.1, 0.5, size=n)
        y = 2.0 + x + smooth + rng.normal(size=n) * np.sqrt(0.6 + v)
        data.append(area_level_data(ring.ids, y, v, x[:, None], ["x"]))
    scaled = [standardise(response, True) for response in data]
    matrix = np.full((n, 2, 2), correlation) if correlation else None
    stacked = stack(scaled, matrix)
    fit = fitted(stacked, ring, effect, method)
    assert not fit.at_boundary
    got = conditional_aic(
        stacked.precision, stacked.y - fit.estimate, fit.covariance, fit.sensitivity, stacked.observed
    )
    step, trace = 1e-3, 0.0
    for i in range(n):
        for j in range(k):
            ends = []
            for sign in (1.0, -1.0):
                moved = [replace(response, y=response.y.copy()) for response in scaled]
                moved[j].y[i] += sign * step
                ends.append(fitted(stack(moved, matrix), ring, effect, method).estimate[i, j])
            trace += (ends[0] - ends[1]) / (2.0 * step)
    assert got["effective_df"] == pytest.approx(trace, rel=2e-3)
    assert got["effective_df_known"] < got["effective_df"]
    error = (stacked.y - fit.estimate)[:, :, None]
    own = stacked.covariance
    log = -0.5 * np.sum(np.log(np.linalg.det(2 * np.pi * own)))
    log -= 0.5 * float(np.sum(error * np.linalg.solve(own, error)))
    assert got["conditional_log_likelihood"] == pytest.approx(log)
    assert got["caic"] == pytest.approx(-2.0 * log + 2.0 * got["effective_df"])


def test_degrees_of_freedom_are_the_sum_of_the_weights():
    # Independent effects with a known variance A: gamma_i for the direct estimate, and a share of the regression.
    rng = np.random.default_rng(3)
    n, a = 12, 0.5
    v, x = rng.uniform(0.2, 1.0, size=n), np.column_stack([np.ones(n), rng.normal(size=n)])
    s = np.diag(a + v)
    hat = x @ np.linalg.inv(x.T @ np.linalg.inv(s) @ x) @ x.T @ np.linalg.inv(s)
    gamma = a / (a + v)
    smoother = np.diag(gamma) + (1.0 - gamma)[:, None] * hat
    covariance = (smoother * v[None, :])[np.arange(n), np.arange(n)]
    got = conditional_aic(
        (1.0 / v)[:, None, None], np.zeros((n, 1)), covariance[:, None, None], np.zeros((n, 1, 1)),
        np.ones((n, 1), dtype=bool),
    )  # fmt: skip
    assert got["effective_df_known"] == pytest.approx(np.trace(smoother))
