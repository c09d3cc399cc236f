"""Space-time EBLUP: dense algebra from the definition, bounds, missing cells, recovery, bootstrap."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import toeplitz
from smallarea.area_level.maximise import climb
from smallarea.area_level.sar import fit_sar, graph_weights
from smallarea.area_level.space_time import bootstrap_space_time, fit_space_time, simulate_effects
from smallarea.area_level.space_time_model import SpaceTimeModel, SpaceTimeParameters
from smallarea.areas import AreaGraph
from smallarea.errors import Cancelled, GraphProblem, JobProblem, ModelProblem, TableProblem, VarianceProblem

TRUTH = SpaceTimeParameters(0.5, 0.6, 0.4, 0.7)


def grid(rows, columns):
    index = np.arange(rows * columns).reshape(rows, columns)
    right = np.column_stack([index[:, :-1].ravel(), index[:, 1:].ravel()])
    down = np.column_stack([index[:-1].ravel(), index[1:].ravel()])
    return AreaGraph.from_edges([str(i) for i in range(index.size)], np.vstack([right, down]))


def simulate(rows=5, times=4, parameters=TRUTH, seed=1, missing=0.0, noise=(0.1, 0.5)):
    rng = np.random.default_rng(seed)
    precision = graph_weights(grid(rows, rows))
    areas = rows * rows
    x = np.stack([np.ones((areas, times)), rng.normal(size=(areas, times))], axis=2)
    v = rng.uniform(*noise, size=(areas, times))
    theta = x @ [1.0, 0.5] + simulate_effects(parameters, precision, times, rng)
    y = theta + np.sqrt(v) * rng.normal(size=theta.shape)
    gone = rng.uniform(size=y.shape) < missing
    y[gone] = v[gone] = np.nan
    return y, v, x, precision, theta


def dense_covariances(parameters, w, times):
    """Covariance of u1 + u2 over all cells, areas outside and times inside."""
    b = np.eye(len(w)) - parameters.rho_area * w
    over_map = parameters.area_variance * np.linalg.inv(b.T @ b)
    in_time = toeplitz(parameters.rho_time ** np.arange(times)) / (1.0 - parameters.rho_time**2)
    return np.kron(over_map, np.ones((times, times))) + np.kron(np.eye(len(w)), parameters.time_variance * in_time)


def dense_fit(y, v, x, w, parameters):
    """Log likelihoods, coefficients, predictions and the error of the BLUP, from the definition."""
    observed = np.isfinite(y).ravel()
    effects = dense_covariances(parameters, w, y.shape[1])
    design, r, s = x.reshape(-1, x.shape[2]), y.ravel()[observed], effects[np.ix_(observed, observed)]
    s = s + np.diag(v.ravel()[observed])
    seen = design[observed]
    covariance = np.linalg.inv(seen.T @ np.linalg.solve(s, seen))
    beta = covariance @ seen.T @ np.linalg.solve(s, r)
    r = r - seen @ beta
    full = -0.5 * (len(r) * math.log(2 * math.pi) + np.linalg.slogdet(s)[1] + r @ np.linalg.solve(s, r))
    restricted = full + 0.5 * (len(beta) * math.log(2 * math.pi) + np.linalg.slogdet(covariance)[1])
    weights = np.linalg.solve(s, effects[observed]).T
    reach = design - weights @ seen
    error = np.diag(effects - weights @ effects[observed]) + np.einsum("ij,jk,ik->i", reach, covariance, reach)
    estimate = (design @ beta + weights @ r).reshape(y.shape)
    return full, restricted, beta, estimate, error.reshape(y.shape)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(
    "parameters",
    [
        TRUTH,
        SpaceTimeParameters(0.5, -0.9, 0.2, 0.0),
        SpaceTimeParameters(2.0, 0.99, 0.01, -0.8),
        SpaceTimeParameters(0.0, 0.0, 0.7, 0.999),
        SpaceTimeParameters(0.7, 0.3, 0.0, 0.0),
        SpaceTimeParameters(0.0, 0.0, 0.0, 0.0),
    ],
)
def test_likelihood_and_prediction_are_those_of_the_dense_model(parameters, missing):
    y, v, x, precision, _ = simulate(missing=missing)
    given = SpaceTimeModel(y, v, x, precision, True).condition(parameters)
    full, restricted, beta, estimate, _ = dense_fit(y, v, x, precision.weights.toarray(), parameters)
    assert given.fit.log_likelihood == pytest.approx(full, rel=1e-10)
    assert given.fit.restricted_log_likelihood == pytest.approx(restricted, rel=1e-10)
    np.testing.assert_allclose(given.fit.beta, beta, rtol=1e-8)
    ours = x @ given.fit.beta + given.area_effect[:, None] + given.time_effect
    np.testing.assert_allclose(ours, estimate, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("structure", ["ST", "S"])
def test_fit_is_a_maximum_of_the_dense_likelihood(structure, method):
    y, v, x, precision, _ = simulate(rows=7, times=5, missing=0.1, seed=3)
    fit = fit_space_time(y, v, x, precision, structure=structure, method=method)
    w, found = precision.weights.toarray(), fit.parameters
    names = ["area_variance", "rho_area", "time_variance", "rho_time"][: 4 if structure == "ST" else 3]
    assert fit.notes == ()
    assert (found.rho_time == 0.0) == (structure == "S")

    def value(**change):
        at = SpaceTimeParameters(**(vars(found) | change))
        return dense_fit(y, v, x, w, at)[1 if method == "reml" else 0]

    information = np.empty((len(names), len(names)))
    for i, one in enumerate(names):
        h = 1e-3
        near = [
            value(**{one: getattr(found, one) + k * h}) - value(**{one: getattr(found, one) - k * h}) for k in (1, 2)
        ]
        error = math.sqrt(fit.parameter_covariance[i, i])
        assert abs((8 * near[0] - near[1]) / (12 * h)) * error < 1e-6
        for j, other in enumerate(names):
            corners = [
                value(**{other: getattr(found, other)} | {one: getattr(found, one) + s * h})
                if i == j
                else value(**{one: getattr(found, one) + s * h, other: getattr(found, other) + t * h})
                for s, t in ((1, 1), (-1, -1), (1, -1), (-1, 1))
            ]
            if i == j:
                information[i, i] = -(corners[0] + corners[1] - 2 * value()) / h**2
            else:
                information[i, j] = -(corners[0] + corners[1] - corners[2] - corners[3]) / (4 * h**2)
    size = len(names)
    np.testing.assert_allclose(fit.parameter_covariance[:size, :size], np.linalg.inv(information), rtol=2e-3, atol=1e-6)
    assert np.isnan(fit.parameter_covariance[size:]).all()
    np.testing.assert_allclose(fit.estimate, dense_fit(y, v, x, w, found)[3], rtol=1e-8)
    assert fit.information_criteria["aic"] == pytest.approx(-2 * fit.log_likelihood + 2 * (2 + size), rel=1e-12)


@pytest.mark.parametrize("seed", [0, 3])
def test_no_random_start_leads_higher(seed):
    y, v, x, precision, _ = simulate(rows=4, times=3, seed=seed, noise=(0.3, 1.0))
    fit = fit_space_time(y, v, x, precision)
    model = SpaceTimeModel(y, v, x, precision, True)

    def criterion(point):
        at = SpaceTimeParameters(math.exp(point[0]), math.tanh(point[1]), math.exp(point[2]), math.tanh(point[3]))
        return model.criterion(at, "reml")

    rng = np.random.default_rng(seed)
    bound = np.array([10.0, math.atanh(0.9999), 10.0, math.atanh(0.9999)])
    for _ in range(5):
        start = rng.uniform([-5, -2, -5, -2], [2, 2, 2, 2])
        assert climb(criterion, start, -bound, bound).value <= fit.restricted_log_likelihood + 1e-6


def test_simulation_recovers_the_parameters():
    names = ("area_variance", "rho_area", "time_variance", "rho_time")
    found, inside = [], []
    for seed in range(14):
        y, v, x, precision, _ = simulate(rows=9, times=6, seed=100 + seed, missing=0.1)
        fit = fit_space_time(y, v, x, precision)
        values = np.array([getattr(fit.parameters, name) for name in names])
        found.append(values)
        # Normal intervals suit correlations and log variances.
        scale = np.array([values[0], 1 - values[1] ** 2, values[2], 1 - values[3] ** 2])
        distance = np.array(
            [
                math.log(values[0] / TRUTH.area_variance),
                math.atanh(values[1]) - math.atanh(TRUTH.rho_area),
                math.log(values[2] / TRUTH.time_variance),
                math.atanh(values[3]) - math.atanh(TRUTH.rho_time),
            ]
        )
        inside.append(np.abs(distance) < 1.96 * np.sqrt(np.diag(fit.parameter_covariance)) / scale)
    found = np.array(found)
    error = found.std(axis=0, ddof=1) / math.sqrt(len(found))
    truth = np.array([getattr(TRUTH, name) for name in names])
    # REML of correlations is biased of order 1 / D; medians over runs with three Monte Carlo errors.
    assert np.all(np.abs(np.median(found, axis=0) - truth) < 3.0 * 1.25 * error + 0.02)
    # 56 intervals with a nominal 95 %: fewer than 46 would have a probability below 1e-4.
    assert np.sum(inside) >= 46


def test_chains_that_are_all_but_random_walks():
    parameters = SpaceTimeParameters(0.3, 0.5, 0.05, 0.9995)
    y, v, x, precision, theta = simulate(rows=7, times=8, parameters=parameters, seed=2)
    fit = fit_space_time(y, v, x, precision)
    assert 0.97 < fit.parameters.rho_time <= 0.9999
    assert np.all(np.isfinite(fit.estimate))
    assert np.mean((fit.estimate - theta) ** 2) < 0.6 * np.mean((y - theta) ** 2)


def test_effects_that_are_not_there_are_zero():
    nothing = SpaceTimeParameters(0.0, 0.0, 0.0, 0.0)
    y, v, x, precision, _ = simulate(parameters=nothing, seed=4)
    quiet = x @ [1.0, 0.5] + 0.5 * (y - x @ [1.0, 0.5])
    fit = fit_space_time(quiet, v, x, precision)
    assert fit.parameters == nothing
    assert [("area effects" in note, "area and time" in note) for note in fit.notes] == [(True, False), (False, True)]
    np.testing.assert_array_equal(fit.estimate, fit.synthetic)
    assert np.isnan(fit.parameter_covariance).all()


def test_only_area_effects_are_the_spatial_model_of_the_means():
    # With one variance for all times of an area and covariates of areas, means over time are sufficient.
    only = SpaceTimeParameters(1.0, 0.7, 0.0, 0.0)
    y, v, x, precision, _ = simulate(rows=8, times=3, parameters=only, seed=12)
    v[:], x[:] = v[:, :1], x[:, :1]
    spatial = fit_sar(y.mean(axis=1), v[:, 0] / 3.0, x[:, 0], precision)
    model = SpaceTimeModel(y, v, x, precision, True)
    at = SpaceTimeParameters(spatial.model_variance, spatial.rho, 0.0, 0.0)
    fit = model.condition(at)
    np.testing.assert_allclose(fit.fit.beta, spatial.gls.beta, rtol=1e-9)
    np.testing.assert_allclose(fit.area_effect, spatial.effect, rtol=1e-8, atol=1e-12)


def test_missing_cells_and_areas_are_predicted():
    y, v, x, precision, theta = simulate(rows=8, times=6, seed=6, noise=(0.02, 0.1))
    y[10] = np.nan
    y[20, 2] = y[20, 5] = np.nan
    fit = fit_space_time(y, v, x, precision)
    full, restricted, _, estimate, error = dense_fit(y, v, x, precision.weights.toarray(), fit.parameters)
    np.testing.assert_allclose(fit.estimate, estimate, rtol=1e-8)
    assert fit.log_likelihood == pytest.approx(full, rel=1e-10)
    assert fit.restricted_log_likelihood == pytest.approx(restricted, rel=1e-10)
    assert not fit.observed[10].any()
    assert abs(fit.estimate[20, 2] - theta[20, 2]) < 4.0 * math.sqrt(error[20, 2])
    assert np.all(np.abs(fit.estimate[10] - theta[10]) < 4.0 * np.sqrt(error[10]))


def test_bootstrap_is_reproducible_and_near_what_known_parameters_would_give():
    y, v, x, precision, _ = simulate(rows=6, times=4, seed=5, missing=0.1)
    fit = fit_space_time(y, v, x, precision)
    seen = []
    made = bootstrap_space_time(y, v, x, precision, fit, replicates=20, seed=3, progress=lambda p, _: seen.append(p))
    again = bootstrap_space_time(y, v, x, precision, fit, replicates=2, seed=3)
    assert made.parameters[:2] == again.parameters
    assert set(seen) == {5.0 * b for b in range(20)}
    known = dense_fit(y, v, x, precision.weights.toarray(), fit.parameters)[4]
    # Estimating four parameters from 130 cells adds several percent; the mean over cells is known to about 4 %.
    assert 0.95 < made.mse.mean() / known.mean() < 1.25

    def stop(percent, text):
        raise Cancelled(text)

    with pytest.raises(Cancelled):
        bootstrap_space_time(y, v, x, precision, fit, replicates=2, progress=stop)
    with pytest.raises(Cancelled, match="variances and correlations"):
        fit_space_time(y, v, x, precision, progress=stop)
    with pytest.raises(JobProblem, match="at least one"):
        bootstrap_space_time(y, v, x, precision, fit, replicates=0)


def test_simulated_effects_have_the_covariance_of_the_model():
    precision = graph_weights(grid(2, 2))
    rng = np.random.default_rng(1)
    draws = np.array([simulate_effects(TRUTH, precision, 3, rng).ravel() for _ in range(20000)])
    truth = dense_covariances(TRUTH, precision.weights.toarray(), 3)
    spread = np.sqrt((np.outer(np.diag(truth), np.diag(truth)) + truth**2) / len(draws))
    assert np.max(np.abs(np.cov(draws.T) - truth) / spread) < 4.5


def test_what_cannot_be_fitted_says_so():
    y, v, x, precision, _ = simulate()
    zero = v.copy()
    zero[3, 2] = 0.0
    cases = [
        (JobProblem, "not 'AR'", (y, v, x, precision), {"structure": "AR"}),
        (ModelProblem, "'fh'", (y, v, x, precision), {"method": "fh"}),
        (TableProblem, "differ in shape", (y, v[:-1], x, precision), {}),
        (TableProblem, "finite", (y, v, x * np.nan, precision), {}),
        (VarianceProblem, "area 3 time 2", (y, zero, x, precision), {}),
        (GraphProblem, "are of 9 areas", (y, v, x, sp.csr_array((9, 9))), {}),
        (ModelProblem, "two times", (y[:, :1], v[:, :1], x[:, :1], precision), {}),
        (ModelProblem, "collinear", (y, v, np.concatenate([x, x[:, :, :1]], axis=2), precision), {}),
    ]
    for error, text, arguments, options in cases:
        with pytest.raises(error, match=text):
            fit_space_time(*arguments, **options)
