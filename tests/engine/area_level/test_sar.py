"""Spatial EBLUP: dense algebra from the definitions, sae on the grapes data, boundaries, and what simulations say."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from smallarea.area_level import StandardisedData, fit_eblup
from smallarea.area_level.sar import fit_sar, fit_sar_eblup, graph_weights, sar_model
from smallarea.area_level.sar_bootstrap import bootstrap_sar
from smallarea.areas import AreaGraph
from smallarea.errors import Cancelled, GraphProblem, JobProblem, ModelProblem, TableProblem, VarianceProblem

RELATIVE = 1e-7


@dataclass
class DenseSar:
    """The model by dense algebra. Direct estimates are NaN where not sampled."""

    y: np.ndarray
    v: np.ndarray
    x: np.ndarray
    w: np.ndarray

    @property
    def rows(self):
        return np.flatnonzero(np.isfinite(self.y))

    def effects(self, a, rho):
        b = np.eye(len(self.y)) - rho * self.w
        return a * np.linalg.inv(b.T @ b)

    def marginal(self, a, rho):
        return self.effects(a, rho)[np.ix_(self.rows, self.rows)] + np.diag(self.v[self.rows])

    def gls(self, a, rho):
        x, s = self.x[self.rows], self.marginal(a, rho)
        covariance = np.linalg.inv(x.T @ np.linalg.solve(s, x))
        return covariance @ x.T @ np.linalg.solve(s, self.y[self.rows]), covariance

    def log_likelihood(self, a, rho, method):
        beta, covariance = self.gls(a, rho)
        x, s = self.x[self.rows], self.marginal(a, rho)
        r = self.y[self.rows] - x @ beta
        value = len(r) * math.log(2 * math.pi) + np.linalg.slogdet(s)[1] + r @ np.linalg.solve(s, r)
        if method == "reml":
            value -= x.shape[1] * math.log(2 * math.pi) + np.linalg.slogdet(covariance)[1]
        return -0.5 * value

    def weights_of_data(self, a, rho):
        """Matrix of the best predictor of v from y - x beta, shape (N, m)."""
        return np.linalg.solve(self.marginal(a, rho), self.effects(a, rho)[self.rows]).T

    def predict(self, a, rho):
        beta, _ = self.gls(a, rho)
        return self.x @ beta + self.weights_of_data(a, rho) @ (self.y - self.x @ beta)[self.rows]

    def first(self, a, rho):
        """Derivatives of the effects' covariance in A and rho, by differences."""
        slope = difference(lambda t: self.effects(a, t), rho)
        return [self.effects(1.0, rho), slope]

    def second(self, a, rho):
        mixed = difference(lambda t: self.effects(1.0, t), rho)
        curved = difference(lambda t: difference(lambda s: self.effects(a, s), t), rho)
        return [[np.zeros_like(mixed), mixed], [mixed, curved]]

    def parameter_covariance(self, a, rho):
        rows, x = self.rows, self.x[self.rows]
        inverse = np.linalg.inv(self.marginal(a, rho))
        inverse = inverse - inverse @ x @ self.gls(a, rho)[1] @ x.T @ inverse
        parts = [inverse @ g[np.ix_(rows, rows)] for g in self.first(a, rho)]
        return np.linalg.inv(0.5 * np.array([[np.trace(left @ right) for right in parts] for left in parts]))

    def errors(self, a, rho, method):
        """g1, g2, g3, g4, bias and mean squared error, each from its definition."""
        rows, x = self.rows, self.x[self.rows]
        s, effects, weights = self.marginal(a, rho), self.effects(a, rho), self.weights_of_data(a, rho)
        covariance = self.gls(a, rho)[1]
        g1 = np.diag(effects - weights @ effects[rows])
        reach = self.x - weights @ x
        g2 = np.diag(reach @ covariance @ reach.T)
        variance = self.parameter_covariance(a, rho)
        slopes = [
            difference(lambda t: self.weights_of_data(t, rho), a),
            difference(lambda t: self.weights_of_data(a, t), rho),
        ]
        g3 = sum(variance[j, k] * np.diag(slopes[j] @ s @ slopes[k].T) for j in range(2) for k in range(2))
        error = np.eye(len(self.y))
        error[:, rows] -= weights
        second = self.second(a, rho)
        g4 = 0.5 * sum(variance[j, k] * np.diag(error @ second[j][k] @ error.T) for j in range(2) for k in range(2))
        bias = np.zeros(2)
        if method == "ml":
            solved = np.linalg.solve(s, x)
            traces = [np.trace(covariance @ solved.T @ g[np.ix_(rows, rows)] @ solved) for g in self.first(a, rho)]
            bias = -0.5 * variance @ np.array(traces)
        slope = np.column_stack([np.diag(error @ g @ error.T) for g in self.first(a, rho)])
        return {"g1": g1, "g2": g2, "g3": g3, "g4": g4, "bias": bias, "mse": g1 + g2 + 2 * g3 - g4 - slope @ bias}


def difference(function, at, h=1e-3):
    """Derivative by symmetric differences of sixth order."""
    near = [function(at + k * h) - function(at - k * h) for k in (1, 2, 3)]
    return (45 * near[0] - 9 * near[1] + near[2]) / (60 * h)


def simulate(graph, a=0.6, rho=0.5, seed=1, unsampled=0.2):
    """Data from the model on a graph, with an intercept and a covariate, and its row-standardised weights."""
    rng = np.random.default_rng(seed)
    n = len(graph.ids)
    precision = graph_weights(graph)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    v = rng.uniform(0.1, 0.9, size=n)
    effect = np.sqrt(a) * precision.operator(rho).solve(rng.normal(size=n))
    y = x @ [1.0, 0.5] + effect + np.sqrt(v) * rng.normal(size=n)
    gone = rng.uniform(size=n) < unsampled
    y[gone] = v[gone] = np.nan
    return y, v, x, precision


def dense(y, v, x, precision):
    return DenseSar(y, v, x, precision.weights.toarray())


def grid(rows, columns):
    index = np.arange(rows * columns).reshape(rows, columns)
    right = np.column_stack([index[:, :-1].ravel(), index[:, 1:].ravel()])
    down = np.column_stack([index[:-1].ravel(), index[1:].ravel()])
    return AreaGraph.from_edges([str(i) for i in range(index.size)], np.vstack([right, down]))


@pytest.mark.parametrize("n", [40, 110])
@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.6, 0.97])
def test_likelihood_is_that_of_the_dense_model(planar_graph, n, rho):
    y, v, x, precision = simulate(planar_graph(n, islands=3))
    model, truth = sar_model(y, v, x, precision), dense(y, v, x, precision)
    for a in (1e-6, 0.4, 30.0):
        fit = model.condition(a, rho).fit
        assert fit.log_likelihood == pytest.approx(truth.log_likelihood(a, rho, "ml"), rel=1e-11)
        assert fit.restricted_log_likelihood == pytest.approx(truth.log_likelihood(a, rho, "reml"), rel=1e-11)
        np.testing.assert_allclose(fit.beta, truth.gls(a, rho)[0], rtol=1e-9)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("n", "rho", "seed"), [(40, 0.5, 1), (110, 0.8, 2), (110, -0.6, 5)])
def test_fit_is_that_of_the_dense_model(planar_graph, method, n, rho, seed):
    y, v, x, precision = simulate(planar_graph(n, islands=3), rho=rho, seed=seed)
    fit, truth = fit_sar(y, v, x, precision, method), dense(y, v, x, precision)
    a, found = fit.model_variance, fit.rho
    slopes = [
        difference(lambda t: truth.log_likelihood(t, found, method), a, 1e-2 * a),
        difference(lambda t: truth.log_likelihood(a, t, method), found),
    ]
    errors = truth.errors(a, found, method)
    # The distance to the root of the score, in standard errors.
    assert np.all(np.abs(slopes) * np.sqrt(np.diag(truth.parameter_covariance(a, found))) < 1e-7)
    assert len(fit.notes) == 0
    np.testing.assert_allclose(fit.estimate, truth.predict(a, found), rtol=1e-9)
    np.testing.assert_allclose(fit.parameter_covariance, truth.parameter_covariance(a, found), rtol=1e-7)
    for name, values in errors.items():
        np.testing.assert_allclose(getattr(fit, name), values, rtol=1e-6, atol=1e-8, err_msg=name)
    sampled = np.isfinite(y)
    np.testing.assert_allclose(fit.gamma[sampled], np.diag(truth.weights_of_data(a, found)[sampled]), rtol=1e-8)
    assert np.isnan(fit.gamma[~sampled]).all()


def test_backends_agree(planar_graph):
    y, v, x, precision = simulate(planar_graph(90))
    found = []
    for solver in ("dense", "splu", "qdldl"):
        model = sar_model(y, v, x, precision)
        model = type(model)(model.y, model.v, model.x, model.sampled, precision, solver)
        found.append(model.condition(0.7, 0.4).fit.restricted_log_likelihood)
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_no_point_of_a_fine_grid_is_higher(planar_graph, method, seed):
    # Few areas, so that likelihoods are flat, have several maxima or end at a bound.
    y, v, x, precision = simulate(planar_graph(18), a=0.3, rho=(-0.8, 0.0, 0.9)[seed % 3], seed=seed, unsampled=0.0)
    fit, truth = fit_sar(y, v, x, precision, method), dense(y, v, x, precision)
    top = max(
        truth.log_likelihood(a, rho, method)
        for a in np.concatenate([[0.0], np.geomspace(1e-4, 30.0, 40)])
        for rho in np.concatenate([np.linspace(-0.999, 0.999, 41), [-0.9999, 0.9999]])
    )
    ours = fit.restricted_log_likelihood if method == "reml" else fit.log_likelihood
    assert ours >= top - 1e-9


def test_data_without_variation_between_areas_have_no_effects(planar_graph):
    y, v, x, precision = simulate(planar_graph(60), unsampled=0.1)
    y = x @ [1.0, 0.5] + 0.3 * np.where(np.isfinite(y), np.sin(np.arange(60.0)) * np.sqrt(0.1), np.nan)
    scaled = StandardisedData(y, v, x, np.isfinite(y), 0.0, 1.0, np.zeros(2), np.ones(2), True)
    for method in ("reml", "ml"):
        fit, independent = fit_sar(y, v, x, precision, method), fit_eblup(scaled, method)
        assert fit.model_variance == 0.0 == independent.model_variance
        assert math.isnan(fit.rho)
        assert "not identified" in fit.notes[0]
        np.testing.assert_array_equal(fit.estimate, fit.synthetic)
        np.testing.assert_allclose(fit.estimate, independent.estimate, rtol=1e-10)
        np.testing.assert_allclose(fit.g2, independent.g2, rtol=1e-9)
        assert np.all(fit.g1 == 0.0)
        assert np.all(fit.gamma[np.isfinite(y)] == 0.0)
        # That of fit_eblup leaves beta out of the information on A, a difference of order p / m.
        ratio = 1.0 / np.sqrt(fit.model_variance_error / independent.model_variance_error)
        assert 1.0 - 2 * 2 / 54 < ratio < 1.0
        sampled = np.isfinite(y)
        np.testing.assert_allclose(fit.g3[sampled], independent.g3[sampled] / ratio**2, rtol=1e-9)
        assert math.isnan(fit.parameter_covariance[1, 1])
        assert np.all(np.isfinite(fit.mse))
        assert fit.log_likelihood == pytest.approx(independent.log_likelihood, rel=1e-11)


def test_smooth_field_takes_rho_to_its_bound():
    graph = grid(12, 12)
    place = np.arange(144.0)
    y = np.hypot(place // 12, place % 12)
    v, x = np.full(144, 1e-4), np.ones((144, 1))
    fit = fit_sar(y, v, x, graph_weights(graph), "reml")
    assert fit.rho_at_bound
    assert "end of its range" in fit.notes[0]
    assert np.all(np.isfinite(fit.mse))
    np.testing.assert_allclose(fit.estimate, y, atol=0.05)


def test_errors_that_the_approximation_spoils_are_pointed_out():
    # Hardly any effects: the second-order term in rho takes more away than there is.
    y, v, x, precision = simulate(grid(9, 9), a=0.05, rho=0.5, seed=5)
    fit = fit_sar(y, v, x, precision)
    assert 0.0 < fit.model_variance < 0.05
    assert np.any(fit.mse <= 0.0)
    assert "Use the bootstrap" in fit.notes[0]
    made = bootstrap_sar(y, v, x, precision, fit, replicates=10)
    assert np.all(made.mse > 0.0)


def test_what_the_data_say_nothing_about_is_refused():
    # Only two areas are linked, and nothing was sampled there; then pairs, one of each sampled: A and rho are one.
    rng = np.random.default_rng(5)
    y, v, x = rng.normal(size=80) * 1.5, np.full(80, 0.5), np.ones((80, 1))
    unlinked = np.where(np.arange(80) < 2, np.nan, y)
    with pytest.raises(ModelProblem, match="cannot tell"):
        fit_sar(unlinked, v, x, sp.csr_array((np.ones(2), ([0, 1], [1, 0])), shape=(80, 80)))
    halves = np.where(np.arange(80) % 2, np.nan, y)
    with pytest.raises(ModelProblem, match="cannot tell"):
        fit_sar(halves, v, x, sp.block_diag([np.array([[0.0, 1.0], [1.0, 0.0]])] * 40))


def test_an_area_without_a_direct_estimate_borrows_from_its_neighbours():
    y, v, x, precision = simulate(grid(10, 10), a=1.0, rho=0.9, seed=8, unsampled=0.0)
    hidden = 44
    gone = y.copy()
    gone[hidden] = np.nan
    fit = fit_sar(gone, v, x, precision)
    around = [34, 43, 45, 54]
    assert np.sign(fit.effect[hidden]) == np.sign(fit.effect[around].mean())
    assert fit.g1[hidden] > fit.g1[around].max()
    # It is not worse than not knowing the neighbours.
    operator = precision.operator(fit.rho)
    unit = np.zeros(100)
    unit[hidden] = 1.0
    assert fit.g1[hidden] < fit.model_variance * np.sum(operator.transposed_solve(unit) ** 2)


def test_units_do_not_matter(planar_graph):
    y, v, x, precision = simulate(planar_graph(70))
    one, other = fit_sar(y, v, x, precision), fit_sar(1e4 * y, 1e8 * v, x * [1.0, 1e-3], precision)
    assert other.rho == pytest.approx(one.rho, rel=1e-7)
    np.testing.assert_allclose(other.estimate, 1e4 * one.estimate, rtol=1e-8)
    np.testing.assert_allclose(other.mse, 1e8 * one.mse, rtol=1e-6)


def test_sampling_variances_of_very_different_size(planar_graph):
    y, v, x, precision = simulate(planar_graph(70), unsampled=0.0)
    v[3], v[5] = 1e-10, 1e14
    fit, without = fit_sar(y, v, x, precision), y.copy()
    without[5] = np.nan
    assert fit.estimate[3] == pytest.approx(y[3], rel=1e-8)
    alone = fit_sar(without, v, x, precision)
    np.testing.assert_allclose(fit.estimate, alone.estimate, rtol=1e-6)
    np.testing.assert_allclose(fit.mse, alone.mse, rtol=1e-5)


def test_weights_need_not_come_from_a_graph():
    # Three nearest neighbours of points, which is not symmetric, with weights by distance.
    rng = np.random.default_rng(2)
    points = rng.uniform(size=(50, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2) + 10.0 * np.eye(50)
    nearest = np.argsort(distance, axis=1)[:, :3]
    w = np.zeros((50, 50))
    np.put_along_axis(w, nearest, 1.0 / np.take_along_axis(distance, nearest, axis=1), axis=1)
    w /= w.sum(axis=1, keepdims=True)
    y, v, x = rng.normal(size=50), np.full(50, 0.3), np.ones((50, 1))
    truth, model = DenseSar(y, v, x, w), sar_model(y, v, x, w)
    for rho in (-0.9, 0.3, 0.95):
        got = model.condition(0.5, rho).fit.log_likelihood
        assert got == pytest.approx(truth.log_likelihood(0.5, rho, "ml"), rel=1e-12)


def test_a_graph_gives_what_its_weights_give(planar_graph):
    graph = planar_graph(50)
    y, v, x, precision = simulate(graph)
    data = StandardisedData(y, v, x, np.isfinite(y), 0.0, 1.0, np.zeros(2), np.ones(2), True)
    fit = fit_sar_eblup(data, graph, "ml")
    np.testing.assert_array_equal(fit.mse, fit_sar(y, v, x, precision, "ml").mse)


def test_what_cannot_be_fitted_says_so(planar_graph):
    y, v, x, precision = simulate(planar_graph(30), unsampled=0.0)
    negative, zero = v.copy(), v.copy()
    negative[4], zero[7] = -1.0, 0.0
    few = np.where(np.arange(30) < 4, y, np.nan)
    w = precision.weights
    cases = [
        (GraphProblem, "sum above 1", (y, v, x, 2.0 * w)),
        (GraphProblem, "not negative", (y, v, x, -1.0 * w)),
        (GraphProblem, "zero diagonal", (y, v, x, sp.eye_array(30))),
        (GraphProblem, "square", (y, v, x, w[:, :10])),
        (GraphProblem, "are of 29 areas", (y, v, x, sp.csr_array((29, 29)))),
        (VarianceProblem, "rows 5", (y, negative, x, w)),
        (VarianceProblem, "rows 8", (y, zero, x, w)),
        (TableProblem, "differ in length", (y, v[:-1], x, w)),
        (TableProblem, "finite", (y, v, np.where(x == 1.0, np.nan, x), w)),
        (ModelProblem, "at least 5", (few, v, x, w)),
        (ModelProblem, "collinear", (y, v, np.column_stack([x, x[:, 0]]), w)),
        (ModelProblem, "'fh'", (y, v, x, w, "fh")),
    ]
    for error, text, arguments in cases:
        with pytest.raises(error, match=text):
            fit_sar(*arguments)
    with pytest.raises(GraphProblem, match="no edge"):
        graph_weights(AreaGraph.from_edges(["a", "b"], []))


def test_a_long_fit_can_be_cancelled(planar_graph):
    y, v, x, precision = simulate(planar_graph(200))
    seen = []

    def stop(percent, text):
        seen.append((percent, text))
        if percent > 50.0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fit_sar(y, v, x, precision, progress=stop)
    assert [percent for percent, _ in seen] == sorted(percent for percent, _ in seen)
    assert {text for _, text in seen} == {"model variance and spatial dependence", "mean squared errors"}
    fit = fit_sar(y, v, x, precision)
    with pytest.raises(Cancelled):
        bootstrap_sar(y, v, x, precision, fit, replicates=3, progress=stop)
    with pytest.raises(JobProblem, match="at least one"):
        bootstrap_sar(y, v, x, precision, fit, replicates=0)


def test_bootstrap_is_reproducible_and_near_the_analytic_errors(planar_graph):
    y, v, x, precision = simulate(planar_graph(60), a=0.8, rho=0.6, seed=4)
    fit = fit_sar(y, v, x, precision)
    seen = []
    made = bootstrap_sar(y, v, x, precision, fit, replicates=50, seed=9, progress=lambda p, _: seen.append(p))
    again = bootstrap_sar(y, v, x, precision, fit, replicates=3, seed=9)
    np.testing.assert_array_equal(made.parameters[:3], again.parameters)
    assert not np.array_equal(again.mse, bootstrap_sar(y, v, x, precision, fit, replicates=3, seed=10).mse)
    assert seen == sorted(seen)
    assert set(seen) == {2.0 * b for b in range(50)}
    # One area's error has a relative Monte Carlo error of sqrt(2 / 50) = 20 %, the mean over 60 areas of about 3 %.
    assert np.mean(made.mse) == pytest.approx(np.mean(fit.mse), rel=0.1)
    sampled = np.isfinite(y)
    ratio = made.bias_corrected / fit.mse
    assert np.median(ratio[sampled]) == pytest.approx(1.0, abs=0.1)
    assert np.median(ratio[~sampled]) == pytest.approx(1.0, abs=0.1)


def test_mean_squared_error_is_right_on_average():
    graph, a, rho = grid(9, 9), 0.8, 0.6
    _, v, x, precision = simulate(graph, seed=1, unsampled=0.0)
    rng = np.random.default_rng(6)
    gone = np.arange(81) % 4 == 1
    known = sar_model(np.where(gone, np.nan, 0.0), v, x, precision)
    given = known.condition(a, rho)
    g1 = a * given.factor.diag_inverse()
    reach = x - a * given.slope
    g2 = np.einsum("ij,jk,ik->i", reach, given.fit.covariance, reach)
    estimated, excess = [], []
    for _ in range(100):
        theta = x @ [1.0, 0.5] + np.sqrt(a) * precision.operator(rho).solve(rng.normal(size=81))
        y = np.where(gone, np.nan, theta + np.sqrt(v) * rng.normal(size=81))
        fit = fit_sar(y, v, x, precision)
        given = sar_model(y, v, x, precision).condition(a, rho)
        blup = x @ given.fit.beta + a * given.score
        # The error of the BLUP is independent of the differences between predictors, so only these are simulated.
        estimated.append(fit.mse)
        excess.append((fit.estimate - blup) ** 2)
    for group in (~gone, gone):
        truth = np.mean((g1 + g2)[group]) + np.mean(np.array(excess)[:, group])
        difference_of_means = np.array(estimated)[:, group].mean(axis=1) - np.array(excess)[:, group].mean(axis=1)
        error = np.std(difference_of_means, ddof=1) / math.sqrt(len(estimated))
        bias = np.mean(difference_of_means) - np.mean((g1 + g2)[group])
        # What the second-order formula leaves at 60 areas, besides three Monte Carlo errors.
        assert abs(bias) < 0.03 * truth + 3.0 * error


@pytest.fixture
def grapes(reference):
    folder = reference("grapes_sfh")
    table = pd.read_csv(folder / "input.csv")
    w = sp.csr_array(pd.read_csv(folder / "W_rowstd.csv").to_numpy(dtype=float))
    x = table[["area", "workdays"]].to_numpy(dtype=float)
    return folder, (table["grapehect"].to_numpy(), table["var"].to_numpy(), x, w)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_grapes(grapes, method):
    folder, arguments = grapes
    name = method.upper()
    theirs = json.loads((folder / "output_fit.json").read_text())[f"{name}_tight"]
    areas = pd.read_csv(folder / "output_areas.csv")
    fit = fit_sar(*arguments, method)
    assert fit.model_variance == pytest.approx(theirs["refvar"], rel=RELATIVE)
    assert fit.rho == pytest.approx(theirs["rho"], rel=RELATIVE)
    np.testing.assert_allclose(fit.gls.beta, [c["beta"] for c in theirs["coef"]], rtol=RELATIVE)
    errors = np.sqrt(np.diag(fit.gls.covariance))
    np.testing.assert_allclose(errors, [c["std.error"] for c in theirs["coef"]], rtol=RELATIVE)
    goodness = {"loglike": fit.log_likelihood} | {k.upper(): v for k, v in fit.information_criteria.items()}
    for key, value in theirs["goodness"].items():
        assert goodness[key] == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(fit.estimate, areas[f"eblup_{name}"], rtol=RELATIVE)
    np.testing.assert_allclose(fit.mse, areas[f"mse_{name}"], rtol=RELATIVE)


def test_grapes_bootstrap(grapes):
    folder, arguments = grapes
    areas = pd.read_csv(folder / "output_areas.csv")
    fit = fit_sar(*arguments)
    made = bootstrap_sar(*arguments, fit, replicates=50, seed=1)
    # Theirs has 100 replicates: medians over the areas agree to within the Monte Carlo error of both.
    assert np.median(made.mse / areas["mse_pboot_B100.mse"]) == pytest.approx(1.0, abs=0.1)
    assert np.median(made.bias_corrected / areas["mse_pboot_B100.msebc"]) == pytest.approx(1.0, abs=0.05)
