"""Several responses: dense algebra, the univariate fit, R's numbers, boundaries, invariance and simulations."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize
from smallarea.area_level import StandardisedData, fit_eblup
from smallarea.area_level.between_response import structure
from smallarea.area_level.multivariate_data import MultivariateData, multivariate_data
from smallarea.area_level.multivariate_eblup import STRUCTURES, fit_multivariate_eblup
from smallarea.area_level.multivariate_likelihood import MultivariateModel
from smallarea.area_level.newton import maximise
from smallarea.errors import ModelProblem, TableProblem, VarianceProblem


def covariances(rng, n, k, low=0.1, high=0.8):
    """Sampling covariance matrices with correlations of either sign."""
    factor = rng.normal(size=(n, k, k))
    v = factor @ factor.transpose(0, 2, 1) + 0.5 * np.eye(k)
    size = np.sqrt(np.einsum("ikk->ik", v))
    sd = np.sqrt(rng.uniform(low, high, size=(n, k)))
    return v / size[:, :, None] / size[:, None, :] * sd[:, :, None] * sd[:, None, :]


def make(n=30, k=3, sigma=None, missing=0.25, seed=1):
    """Data with covariates of their own for each response and holes; one area has no direct estimate at all."""
    rng = np.random.default_rng(seed)
    if sigma is None:
        factor = rng.normal(size=(k, k))
        sigma = factor @ factor.T / k + 0.3 * np.eye(k)
    tables = [rng.normal(size=(n, 1 + (j % 2))) for j in range(k)]
    v = covariances(rng, n, k)
    y = np.stack([1.0 + table.sum(axis=1) for table in tables], axis=1)
    y += rng.multivariate_normal(np.zeros(k), sigma, size=n, method="eigh")
    y += np.einsum("ikl,il->ik", np.linalg.cholesky(v), rng.normal(size=(n, k)))
    if missing:
        y[rng.uniform(size=(n, k)) < missing] = np.nan
        y[3] = np.nan
    names = [[f"x{c}" for c in range(table.shape[1])] for table in tables]
    return multivariate_data([f"a{i}" for i in range(n)], [f"r{j}" for j in range(k)], y, v, tables, names)


class Dense:
    """Everything at once, as in the textbook: observed cells stacked, matrices of their full size."""

    def __init__(self, data: MultivariateData) -> None:
        n, k = data.y.shape
        self.seen = np.flatnonzero(data.observed.ravel())
        self.all_x = data.x.reshape(n * k, -1)
        self.y, self.x = data.y.ravel()[self.seen], self.all_x[self.seen]
        self.v = np.zeros((n * k, n * k))
        for i in range(n):
            self.v[i * k : i * k + k, i * k : i * k + k] = data.v[i]
        self.v = self.v[np.ix_(self.seen, self.seen)]
        self.n, self.k = n, k

    def blow(self, a):
        return np.kron(np.eye(self.n), a)

    def parts(self, sigma):
        big = self.blow(sigma)
        s = big[np.ix_(self.seen, self.seen)] + self.v
        q = np.linalg.inv(s)
        c = np.linalg.inv(self.x.T @ q @ self.x)
        return big, s, q, c

    def log_likelihood(self, sigma, restricted):
        _, s, q, c = self.parts(sigma)
        r = self.y - self.x @ (c @ self.x.T @ q @ self.y)
        value = -0.5 * (len(r) * math.log(2 * math.pi) + np.linalg.slogdet(s)[1] + r @ q @ r)
        if restricted:
            value += 0.5 * (self.x.shape[1] * math.log(2 * math.pi) + np.linalg.slogdet(c)[1])
        return value

    def projected(self, sigma):
        _, _, q, c = self.parts(sigma)
        return q - q @ self.x @ c @ self.x.T @ q

    def sub(self, a):
        return self.blow(a)[np.ix_(self.seen, self.seen)]


def blocks(matrix, n, k):
    return np.stack([matrix[i * k : i * k + k, i * k : i * k + k] for i in range(n)])


def numeric_structure(fit, k):
    """Sigma as a function of the reported parameters, written out anew."""
    lag = np.abs(np.arange(k)[:, None] - np.arange(k)[None, :])

    def sigma(parameters):
        if fit.structure == "unstructured":
            out = np.zeros((k, k), dtype=parameters.dtype)
            out[np.tril_indices(k)] = parameters
            return out + np.tril(out, -1).T
        if fit.structure == "diagonal":
            return np.diag(parameters)
        sd = parameters[0] * np.ones(k) if fit.structure == "ar1" else parameters[:k]
        return np.outer(sd, sd) * parameters[-1] ** lag

    return sigma


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize(("k", "seed"), [(2, 1), (3, 2), (4, 3)])
def test_against_dense_algebra(name, method, k, seed):
    data = make(40, k, seed=seed)
    n = 40
    fit = fit_multivariate_eblup(data, name, method)
    dense = Dense(data)
    big, s, q, c = dense.parts(fit.sigma)
    assert fit.log_likelihood == pytest.approx(dense.log_likelihood(fit.sigma, False), rel=1e-10)
    assert fit.restricted_log_likelihood == pytest.approx(dense.log_likelihood(fit.sigma, True), rel=1e-10)
    beta = c @ dense.x.T @ q @ dense.y
    np.testing.assert_allclose(fit.gls.beta, beta, rtol=1e-8)
    np.testing.assert_allclose(fit.gls.covariance, c, rtol=1e-8, atol=1e-12)
    cross = big[:, dense.seen]
    want = dense.all_x @ beta + cross @ q @ (dense.y - dense.x @ beta)
    np.testing.assert_allclose(fit.estimate.ravel(), want, rtol=1e-8, atol=1e-10)
    assert np.isfinite(fit.estimate).all()
    np.testing.assert_array_equal(fit.estimate[3], fit.synthetic[3])
    np.testing.assert_allclose(fit.g1, blocks(big - cross @ q @ cross.T, n, k), atol=1e-10)
    d = dense.all_x - cross @ q @ dense.x
    np.testing.assert_allclose(fit.g2, blocks(d @ c @ d.T, n, k), atol=1e-10)
    # g3 and the bias of Sigma, from derivatives of the reported parametrisation by central differences.
    sigma = numeric_structure(fit, k)
    np.testing.assert_allclose(sigma(fit.parameters), fit.sigma, atol=1e-12)
    count, h = len(fit.parameters), 1e-4
    unit = h * np.eye(count)
    at = fit.parameters
    slope = [(sigma(at + e) - sigma(at - e)) / (2 * h) for e in unit]
    bend = [
        [(sigma(at + e + f) - sigma(at + e - f) - sigma(at - e + f) + sigma(at - e - f)) / (4 * h * h) for f in unit]
        for e in unit
    ]
    info = np.array([[0.5 * np.trace(q @ dense.sub(a) @ q @ dense.sub(b)) for b in slope] for a in slope])
    f = np.linalg.inv(info)
    np.testing.assert_allclose(fit.parameter_covariance, f, rtol=1e-5, atol=1e-8)
    turn = [dense.blow(a)[:, dense.seen] @ q - cross @ q @ dense.sub(a) @ q for a in slope]
    g3 = sum(f[a, b] * turn[a] @ s @ turn[b].T for a in range(count) for b in range(count))
    np.testing.assert_allclose(fit.g3, blocks(g3, n, k), rtol=1e-5, atol=1e-7)
    curve = 0.5 * sum(f[a, b] * bend[a][b] for a in range(count) for b in range(count))
    normal = np.array([0.5 * np.trace(q @ dense.sub(a) @ q @ dense.sub(curve)) for a in slope])
    shift = -f @ normal
    if method == "ml":
        gone = q @ dense.x @ c @ dense.x.T @ q
        shift = shift - 0.5 * f @ np.array([np.trace(gone @ dense.sub(a)) for a in slope])
    bias = curve + sum(shift[a] * slope[a] for a in range(count))
    np.testing.assert_allclose(fit.bias, bias, rtol=1e-4, atol=1e-6)
    rest = np.eye(n * k) - cross @ q @ np.eye(n * k)[dense.seen]
    correction = blocks(rest @ dense.blow(fit.bias) @ rest.T, n, k)
    np.testing.assert_allclose(fit.mse, fit.g1 + fit.g2 + 2 * fit.g3 - correction, atol=1e-9)
    assert fit.aic == pytest.approx(-2 * fit.log_likelihood + 2 * (dense.x.shape[1] + count))


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_higher(name, method, seed):
    k = 3
    data = make(25, k, seed=20 + seed)
    dense = Dense(data)
    fit = fit_multivariate_eblup(data, name, method)
    best = dense.log_likelihood(fit.sigma, method == "reml")
    form = structure(name, k)
    rng = np.random.default_rng(seed)
    factor = 0.3 * rng.normal(size=(k, k))
    start = form.starts(factor @ factor.T + 0.1 * np.eye(k))[0]
    start = start + 0.3 * rng.normal(size=len(start))
    found = optimize.minimize(lambda t: -dense.log_likelihood(form.sigma(t), method == "reml"), start, method="BFGS")
    assert -found.fun <= best + 1e-8


@pytest.mark.parametrize("name", STRUCTURES)
def test_derivatives_of_the_structures(name):
    rng = np.random.default_rng(5)
    form = structure(name, 3)
    start = form.starts(np.array([[1.0, 0.3, 0.1], [0.3, 0.8, 0.2], [0.1, 0.2, 1.4]]))[0]
    weight = rng.normal(size=(3, 3))
    weight = weight + weight.T
    h = 1e-5
    moves = h * np.eye(len(start))
    jacobian = np.stack([(form.sigma(start + e) - form.sigma(start - e)) / (2 * h) for e in moves], axis=-1)
    np.testing.assert_allclose(form.jacobian(start), jacobian, atol=1e-9)
    slope = lambda t: np.einsum("kl,klj->j", weight, form.jacobian(t))  # noqa: E731
    curvature = np.stack([(slope(start + e) - slope(start - e)) / (2 * h) for e in moves])
    np.testing.assert_allclose(form.curvature(start, weight), curvature, atol=1e-8)
    scale = np.full(3, 2.0) if name == "ar1" else np.array([2.0, 0.5, 3.0])
    np.testing.assert_allclose(form.sigma(form.rescale(start, scale)), form.sigma(start) * np.outer(scale, scale))
    np.testing.assert_allclose(form.sigma(form.settle(start)), form.sigma(start), atol=1e-14)


@pytest.mark.parametrize("restricted", [True, False])
def test_derivatives_of_the_likelihood(restricted):
    data = make(20, 3, seed=9)
    dense = Dense(data)
    model = MultivariateModel(data.y, data.v, data.x)
    sigma = np.array([[0.5, 0.1, 0.0], [0.1, 0.4, -0.1], [0.0, -0.1, 0.7]])
    gls = model.fit(sigma)
    h = 1e-3
    directions = [np.diag([1.0, 0, 0]), np.array([[0, 1.0, 0], [1.0, 0, 0.5], [0, 0.5, -1.0]])]
    value = lambda s: dense.log_likelihood(s, restricted)  # noqa: E731
    for a in directions:
        want = (value(sigma + h * a) - value(sigma - h * a)) / (2 * h)
        assert np.sum(model.gradient(gls, restricted) * a) == pytest.approx(want, rel=1e-4, abs=1e-4)
        for b in directions:
            corners = [value(sigma + i * h * a + j * h * b) * i * j for i in (1, -1) for j in (1, -1)]
            got = a.ravel() @ model.hessian(gls, restricted) @ b.ravel()
            assert got == pytest.approx(sum(corners) / (4 * h * h), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", ["unstructured", "diagonal"])
@pytest.mark.parametrize("seed", range(3))
def test_one_response_is_the_univariate_fit(name, method, seed):
    data = make(25, 1, seed=seed, sigma=np.array([[[0.6], [0.6], [0.0]][seed]]))
    rows = data.observed[:, 0]
    p = data.x.shape[2]
    v = np.where(rows, data.v[:, 0, 0], np.nan)
    plain = StandardisedData(data.y[:, 0], v, data.x[:, 0], rows, 0.0, 1.0, np.zeros(p), np.ones(p), True)
    want = fit_eblup(plain, method)
    got = fit_multivariate_eblup(data, name, method)
    assert got.sigma[0, 0] == pytest.approx(want.model_variance, rel=1e-9, abs=0.0)
    np.testing.assert_allclose(got.estimate[:, 0], want.estimate, rtol=1e-9)
    np.testing.assert_allclose(got.gamma[:, 0], want.gamma, rtol=1e-9)
    assert got.parameter_covariance[0, 0] == pytest.approx(want.model_variance_error, rel=1e-9)
    assert got.bias[0, 0] == pytest.approx(want.bias, rel=1e-9, abs=1e-14)
    np.testing.assert_allclose(got.mse[rows, 0, 0], want.mse[rows], rtol=1e-9)
    np.testing.assert_allclose(got.mse[~rows, 0, 0], want.mse[~rows], rtol=1e-9)
    assert got.restricted_log_likelihood == pytest.approx(want.restricted_log_likelihood, rel=1e-12)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_diagonal_without_sampling_covariances_is_separate_fits(method):
    data = make(30, 3, seed=4)
    v = data.v * np.eye(3)
    data = MultivariateData(data.areas, data.responses, data.y, v, data.x, data.coefficients)
    got = fit_multivariate_eblup(data, "diagonal", method)
    for j in range(3):
        own = [c for c, (name, _) in enumerate(data.coefficients) if name == f"r{j}"]
        rows, p = data.observed[:, j], len(own)
        own_v = np.where(rows, v[:, j, j], np.nan)
        plain = StandardisedData(
            data.y[:, j], own_v, data.x[:, j][:, own], rows, 0.0, 1.0, np.zeros(p), np.ones(p), True
        )
        want = fit_eblup(plain, method)
        np.testing.assert_allclose(got.estimate[:, j], want.estimate, rtol=1e-9)
        np.testing.assert_allclose(got.mse[rows, j, j], want.mse[rows], rtol=1e-9)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("seed", range(4))
def test_order_and_units_of_responses_do_not_matter(method, seed):
    # Some of these seeds have a singular Sigma, where the order could matter most.
    data = make(18, 3, seed=40 + seed)
    order, scale = np.array([2, 0, 1]), np.array([1e3, 1.0, 1e-4])
    moved = MultivariateData(
        data.areas,
        tuple(data.responses[j] for j in order),
        (data.y * scale)[:, order],
        (data.v * np.outer(scale, scale))[:, order][:, :, order],
        data.x[:, order],
        data.coefficients,
    )
    for name in ("unstructured", "diagonal"):
        one, other = (fit_multivariate_eblup(d, name, method) for d in (data, moved))
        np.testing.assert_allclose(other.estimate, (one.estimate * scale)[:, order], rtol=1e-6)
        size = np.sqrt(np.einsum("ikk->ik", one.mse) * scale**2)[:, order]
        got = np.sqrt(np.einsum("ikk->ik", other.mse))
        np.testing.assert_allclose(got, size, rtol=1e-6)
        assert len(one.boundary) == len(other.boundary)
    rescaled = MultivariateData(
        data.areas, data.responses, data.y * scale, data.v * np.outer(scale, scale), data.x, data.coefficients
    )
    one, other = (fit_multivariate_eblup(d, "har1", method) for d in (data, rescaled))
    np.testing.assert_allclose(other.estimate, one.estimate * scale, rtol=1e-6)


def test_boundaries_are_reached_and_named():
    # No area effects in r1, and those of r0 and r2 are the same: the likelihood must say so, not stop short of it.
    found = {"zero": 0, "rank": 0}
    for seed in range(6):
        sigma = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
        data = make(30, 3, sigma=sigma, seed=60 + seed)
        model = MultivariateModel(data.y, data.v, data.x)
        for method in ("reml", "ml"):
            fit = fit_multivariate_eblup(data, "unstructured", method)
            size = np.linalg.eigvalsh(fit.sigma)
            slope = model.gradient(model.fit(fit.sigma), method == "reml")
            # At a maximum over covariance matrices the slope vanishes within Sigma and does not rise out of it.
            assert np.abs(slope @ fit.sigma).max() < 1e-6
            assert np.linalg.eigvalsh(slope)[-1] < 1e-6
            assert bool(fit.boundary) == bool(size[0] < 1e-10)
            found["rank"] += any("combinations" in words for words in fit.boundary)
            lone = fit_multivariate_eblup(data, "diagonal", method)
            for j in range(3):
                at_zero = lone.sigma[j, j] == 0.0
                assert any(f"r{j}" in words for words in lone.boundary) == at_zero
                found["zero"] += at_zero
            assert np.isfinite(fit.mse).all()
            assert np.isfinite(lone.mse).all()
    assert min(found.values()) > 0


@pytest.mark.parametrize("name", ["ar1", "har1"])
def test_boundaries_of_autoregressions(name):
    none = make(30, 2, sigma=np.zeros((2, 2)), seed=3)
    v = none.v * np.eye(2)
    shrunk = MultivariateData(
        none.areas, none.responses, 0.2 * none.y, v, none.x, none.coefficients
    )  # residuals far below their sampling errors: no room for area effects
    fit = fit_multivariate_eblup(shrunk, name)
    np.testing.assert_array_equal(fit.sigma, 0.0)
    assert np.isnan(fit.parameters[-1])
    assert len(fit.boundary) == 2
    np.testing.assert_allclose(fit.estimate, fit.synthetic)
    assert np.isfinite(fit.mse).all()
    same = make(60, 2, sigma=np.ones((2, 2)), seed=8, missing=0.0)
    fit = fit_multivariate_eblup(same, name)
    if fit.boundary:
        assert fit.parameters[-1] == 1.0
    assert fit.parameters[-1] > 0.9


def test_newton_leaves_saddles_and_says_when_there_is_no_maximum():
    def saddle(t):
        x, y = t
        return -(x**2) - (y**2 - 1.0) ** 2, np.array([-2 * x, -4 * y * (y**2 - 1)]), np.diag([-2.0, 4 - 12 * y**2])

    found = maximise(saddle, np.zeros(2))
    assert np.abs(found.coordinates) == pytest.approx([0.0, 1.0], abs=1e-9)
    with pytest.raises(ModelProblem, match="not maximised"):
        maximise(lambda t: (float(t[0]), np.ones(1), np.zeros((1, 1)) + 1e-3), np.zeros(1))


@pytest.mark.parametrize(("name", "key"), [("diagonal", "ufh"), ("unstructured", "mfh")])
def test_missouri(reference, name, key):
    folder = reference("missouri_mv_spatial")
    table = pd.read_csv(folder / "input.csv")
    areas = pd.read_csv(folder / "output_areas.csv")
    want = json.loads((folder / "output_fit.json").read_text())[key]
    y = table[["estimate_log", "estimate2_log"]].to_numpy()
    sd = table[["var_log", "var2_log"]].to_numpy()
    terms = ["poverty", "black", "india", "asian"]
    x = table[terms].to_numpy()
    data = multivariate_data(
        [str(a) for a in table["area"]], ["one", "two"], y, sd[:, :, None] ** 2 * np.eye(2), [x, x], [terms, terms]
    )
    got = fit_multivariate_eblup(data, name, "reml")
    # Theirs is the place where an optimiser of values stopped, so it may be lower, but not higher.
    assert 0.0 <= got.restricted_log_likelihood - want["restricted_loglik"] + 1e-12 < 1e-9
    assert got.log_likelihood == pytest.approx(want["loglik"], abs=1e-6)
    np.testing.assert_allclose(got.gls.beta, want["beta"], rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(got.gls.covariance)), want["se"], rtol=1e-6)
    sigma = want["natural"].get("Sigma", np.diag(want["natural"].get("sigma2", [0.0])))
    np.testing.assert_allclose(got.sigma, sigma, rtol=1e-6)
    for j in (1, 2):
        np.testing.assert_allclose(got.estimate[:, j - 1], areas[f"{key}_eblup{j}"], rtol=1e-8)
        np.testing.assert_allclose(got.g1[:, j - 1, j - 1], areas[f"{key}_g1_{j}"], rtol=1e-6)


@pytest.mark.parametrize(("name", "method"), [("unstructured", "reml"), ("unstructured", "ml"), ("har1", "reml")])
def test_mean_squared_error_is_nearly_unbiased(name, method):
    """60 areas, two or three responses, a fifth of the cells missing: estimated against true errors."""
    n, repeats = 60, 200
    k = 2 if name == "unstructured" else 3
    lag = np.abs(np.arange(k)[:, None] - np.arange(k)[None, :])
    sd = np.linspace(1.0, 1.3, k)
    sigma = np.outer(sd, sd) * 0.6**lag
    rng = np.random.default_rng(12)
    template = make(n, k, sigma=sigma, seed=77, missing=0.2)
    model = MultivariateModel(template.y, template.v, template.x)
    beta = np.ones(template.x.shape[2])
    root, v_root = np.linalg.cholesky(sigma), np.linalg.cholesky(template.v + model.gaps)
    observed = template.observed
    estimated, excess = [], []
    for _ in range(repeats):
        u = rng.normal(size=(n, k)) @ root.T
        y = template.x @ beta + u + np.einsum("ikl,il->ik", v_root, rng.normal(size=(n, k)))
        y = np.where(observed, y, np.nan)
        data = MultivariateData(template.areas, template.responses, y, template.v, template.x, template.coefficients)
        fit = fit_multivariate_eblup(data, name, method)
        # theta less the best predictor is independent of y with covariance g1: only the rest has to be simulated; of
        # it, the part of beta at the true Sigma has the known mean g2.
        at_truth = MultivariateModel(y, template.v, template.x)
        gls = at_truth.fit(sigma)
        b = sigma @ gls.weights
        residual = np.where(observed, y - template.x @ beta, 0.0)
        best = template.x @ beta + np.einsum("ikl,il->ik", b, residual)
        of_beta = (template.x - b @ at_truth.x) @ (gls.beta - beta)
        estimated.append(np.einsum("ikk->ik", fit.mse).mean(axis=0))
        excess.append(np.mean((fit.estimate - best) ** 2 - of_beta**2, axis=0))
    b = sigma @ gls.weights
    left = template.x - b @ at_truth.x
    known = np.einsum("ikk->ik", (np.eye(k) - b) @ sigma + left @ gls.covariance @ left.transpose(0, 2, 1)).mean(axis=0)
    truth = known + np.mean(excess, axis=0)
    bias = np.mean(estimated, axis=0) - truth
    error = np.std(np.array(estimated) - np.array(excess), axis=0, ddof=1) / math.sqrt(repeats)
    # Unbiased to o(1/n): what is left was 11, 1 and 0.3 % of ML's for 30, 60 and 120 areas, less for REML. 2 % for it,
    # besides three Monte Carlo errors.
    assert np.all(np.abs(bias) < 0.02 * truth + 3.0 * error), (bias / truth, error / truth)


def test_other_responses_help_where_one_is_missing():
    data = make(60, 2, sigma=np.array([[1.0, 0.95], [0.95, 1.0]]), seed=5, missing=0.3)
    fit = fit_multivariate_eblup(data)
    alone = data.observed[:, 1] & ~data.observed[:, 0]
    nothing = ~data.observed.any(axis=1)
    assert fit.mse[alone, 0, 0].max() < fit.mse[nothing, 0, 0].min()
    assert np.isnan(fit.gamma[alone, 0]).all()


def test_a_variance_that_means_no_information():
    data = make(30, 2, seed=6, missing=0.0)
    y, v = data.y.copy(), data.v.copy()
    v[4, 0] = v[4, :, 0] = 0.0
    v[4, 0, 0] = 1e14
    large = MultivariateData(data.areas, data.responses, y, v, data.x, data.coefficients)
    gone = y.copy()
    gone[4, 0] = np.nan
    missing = MultivariateData(data.areas, data.responses, gone, v, data.x, data.coefficients)
    one, other = fit_multivariate_eblup(large), fit_multivariate_eblup(missing)
    np.testing.assert_allclose(one.sigma, other.sigma, rtol=1e-8)
    np.testing.assert_allclose(one.estimate, other.estimate, rtol=1e-8)


def test_impossible_input_is_refused():
    rng = np.random.default_rng(2)
    n, k = 12, 2
    ids, names = [f"a{i}" for i in range(n)], ["p", "q"]
    y, v, x = rng.normal(size=(n, k)), covariances(rng, n, k), rng.normal(size=(n, 1))

    def build(ids=ids, names=names, y=y, v=v, x=x, terms=("x",)):
        return multivariate_data(ids, names, y, v, [x, x], [terms, terms])

    with pytest.raises(TableProblem, match="repeat: 'a0'"):
        build(ids=["a0", *ids[:-1]])
    with pytest.raises(TableProblem, match="Shapes differ"):
        build(v=v[:, :1])
    infinite = y.copy()
    infinite[5, 1] = np.inf
    with pytest.raises(TableProblem, match="infinite: 'a5'"):
        build(y=infinite)
    holes = x.copy()
    holes[7] = np.nan
    with pytest.raises(TableProblem, match="'a7'"):
        build(x=holes)
    for change, words in ((0.0, "no positive"), (-1.0, "no positive"), (np.nan, "no positive")):
        bad = v.copy()
        bad[3, 1, 1] = change
        with pytest.raises(VarianceProblem, match=f"{words} sampling variance: 'a3'"):
            build(v=bad)
    bad = v.copy()
    bad[6, 0, 1] += 0.1
    with pytest.raises(VarianceProblem, match="not symmetric: 'a6'"):
        build(v=bad)
    bad = v.copy()
    bad[6, 0, 1] = bad[6, 1, 0] = np.sqrt(v[6, 0, 0] * v[6, 1, 1])
    with pytest.raises(VarianceProblem, match="positive definite: 'a6'"):
        build(v=bad)
    few = y.copy()
    few[3:, 1] = np.nan
    with pytest.raises(ModelProblem, match="3 areas have a direct estimate of 'q'"):
        build(y=few)
    with pytest.raises(ModelProblem, match="collinear"):
        build(x=np.column_stack([x, 2.0 * x + 1.0]), terms=("x", "z"))
    with pytest.raises(ModelProblem, match="structure"):
        fit_multivariate_eblup(build(), "toeplitz")
    with pytest.raises(ModelProblem, match="method"):
        fit_multivariate_eblup(build(), method="fh")
