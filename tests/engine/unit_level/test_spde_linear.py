"""The linear baselines against dense algebra, exact kriging, a grid of hyperparameters, and simulated truths."""

from dataclasses import replace

import numpy as np
import pytest
from smallarea.errors import Cancelled, GeometryProblem, ModelProblem
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.gmrf.mesh import MeshSizes, build_mesh
from smallarea.gmrf.spde import Spde
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.spde_collapsed import CollapsedField
from smallarea.unit_level.spde_linear import SpdeSettings, data_based_prior, fit_spde

PRIOR = PcPrior(0.3, 0.1, 1.5, 0.1)
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def make_rows(n: int, seed: int, spatial_range: float = 0.5, sigma_m: float = 0.8, sigma_e: float = 0.7) -> dict:
    """Rows of a survey with one slope and an exact Matérn field."""
    rng = np.random.default_rng(seed)
    place, x = rng.uniform(size=(n, 2)), rng.normal(size=(n, 2))
    root = np.linalg.cholesky(matern_correlation(distances(place), spatial_range) + 1e-10 * np.eye(n))
    f = 2.0 + 0.6 * x[:, 0] + sigma_m * root @ rng.standard_normal(n)
    rows = np.repeat(np.arange(n), rng.integers(2, 6, n))
    return {"y": f[rows] + sigma_e * rng.standard_normal(len(rows)), "rows": rows, "place": place, "x": x, "f": f}


def clusters_of(data: dict) -> Clusters:
    rows = data["rows"]
    return Clusters.from_rows(data["y"], rows, data["place"][rows], data["x"][rows])


def collapsed(data: dict, edge: float = 0.12) -> CollapsedField:
    clusters = clusters_of(data)
    design = np.column_stack([np.ones(clusters.n), clusters.covariates])
    return CollapsedField(clusters, design, Spde(build_mesh(CORNERS, MeshSizes(edge, 0.3, 0.5))), PRIOR, 3.0, 0.2)


def dense_log_likelihood(model: CollapsedField, data: dict, theta: np.ndarray) -> float:
    """Density of all single rows with the coefficients integrated out under a flat prior."""
    sigma_e, spatial_range, sigma_m = np.exp(theta)
    rows, y = data["rows"], data["y"]
    a = model.spde.mesh.projector(data["place"]).toarray()[rows]
    v = a @ np.linalg.inv(model.spde.matrix(spatial_range, sigma_m).toarray()) @ a.T + sigma_e**2 * np.eye(len(y))
    x = np.column_stack([np.ones(len(y)), data["x"][rows]])
    inner = x.T @ np.linalg.solve(v, x)
    left = y - x @ np.linalg.solve(inner, x.T @ np.linalg.solve(v, y))
    return -0.5 * (np.linalg.slogdet(v)[1] + np.linalg.slogdet(inner)[1] + left @ np.linalg.solve(v, left))


def test_the_collapsed_density_is_that_of_the_single_rows():
    data = make_rows(40, 1)
    model = collapsed(data)
    rng = np.random.default_rng(2)
    theta = np.log([[0.7], [0.5], [0.8]]) + 0.5 * rng.standard_normal((3, 37))
    found = model.log_posterior(theta) - model.log_prior(theta)
    truth = np.array([dense_log_likelihood(model, data, column) for column in theta.T])
    np.testing.assert_allclose(found - found[0], truth - truth[0], atol=1e-7)


def test_the_prior_of_the_error_is_a_scaled_inverse_chi_squared():
    from scipy import stats

    model = collapsed(make_rows(40, 1))
    log_sigma = np.log([0.2, 0.5, 1.0])
    theta = np.vstack([log_sigma, np.zeros(3), np.zeros(3)])
    # sigma_e^2 has the density of nu lambda / chi2; the logarithm adds the Jacobian 2 sigma_e^2.
    squared = np.exp(2.0 * log_sigma)
    truth = stats.invgamma.logpdf(squared, 1.5, scale=0.1) + np.log(squared)
    np.testing.assert_allclose(np.diff(model.log_prior(theta)), np.diff(truth), atol=1e-10)


def test_draws_have_the_moments_of_dense_algebra():
    data = make_rows(30, 3)
    model = collapsed(data, 0.2)
    theta = np.log([0.7, 0.5, 0.8])
    count = 6_000
    beta, nodes = model.draw(np.repeat(theta[:, None], count, axis=1), np.random.default_rng(4))
    clusters = model.clusters
    a = model.spde.mesh.projector(clusters.coordinates).toarray()
    both = np.hstack([model.design, a])
    precision = both.T @ np.diag(clusters.sizes / 0.49) @ both
    precision[3:, 3:] += model.spde.matrix(0.5, 0.8).toarray()
    covariance = np.linalg.inv(precision)
    mean = covariance @ both.T @ (clusters.sizes / 0.49 * clusters.means)
    drawn = np.hstack([beta, nodes])
    deviation = np.sqrt(np.diag(covariance))
    # Five standard errors: several hundred means and variances are compared.
    np.testing.assert_array_less(np.abs(drawn.mean(axis=0) - mean), 5.0 * deviation / np.sqrt(count))
    np.testing.assert_allclose(drawn.var(axis=0), deviation**2, rtol=5.0 * np.sqrt(2.0 / count))
    # Coefficients and field go together.
    cross = covariance[0, 3:]
    bound = 5.0 * np.sqrt((covariance[0, 0] * deviation[3:] ** 2 + cross**2) / count)
    np.testing.assert_array_less(np.abs(np.cov(drawn.T)[0, 3:] - cross), bound)


def test_on_a_fine_mesh_it_is_exact_kriging():
    data = make_rows(80, 5)
    model = collapsed(data, 0.04)
    theta, count = np.log([0.7, 0.6, 0.8]), 1_500
    beta, nodes = model.draw(np.repeat(theta[:, None], count, axis=1), np.random.default_rng(6))
    rng = np.random.default_rng(7)
    new, x = rng.uniform(size=(40, 2)), rng.normal(size=(40, 2))
    drawn = beta @ np.column_stack([np.ones(40), x]).T + (model.spde.mesh.projector(new) @ nodes.T).T
    clusters = model.clusters
    v = 0.64 * matern_correlation(distances(clusters.coordinates), 0.6) + np.diag(0.49 / clusters.sizes)
    cross = 0.64 * matern_correlation(distances(clusters.coordinates, new), 0.6)
    # Universal kriging: the coefficients are estimated by generalised least squares.
    d, d_new = model.design, np.column_stack([np.ones(40), x])
    inner = np.linalg.inv(d.T @ np.linalg.solve(v, d))
    estimate = inner @ d.T @ np.linalg.solve(v, clusters.means)
    mean = d_new @ estimate + cross.T @ np.linalg.solve(v, clusters.means - d @ estimate)
    gap = d_new - cross.T @ np.linalg.solve(v, d)
    variance = 0.64 - np.sum(cross * np.linalg.solve(v, cross), axis=0) + np.sum(gap @ inner * gap, axis=1)
    # The mesh errs by 0.01 of the field's standard deviation at 15 edges to a range; then four standard errors.
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.01 + 4.0 * np.sqrt(variance.max() / count))
    np.testing.assert_allclose(drawn.var(axis=0), variance, atol=0.02, rtol=4.0 * np.sqrt(2.0 / count))


def test_hyperparameters_against_a_grid():
    data = make_rows(60, 8)
    clusters = clusters_of(data)
    mesh = build_mesh(CORNERS, MeshSizes(0.14, 0.4, 0.5))
    fit = fit_spde(clusters, SpdeSettings(field_prior=PRIOR, draws=4_000), mesh=mesh, seed=9)
    from scipy import stats

    nu_lambda = clusters.residual_spread() ** 2 * stats.chi2.ppf(0.1, 3)
    design = np.column_stack([np.ones(clusters.n), clusters.covariates])
    model = CollapsedField(clusters, design, Spde(mesh), PRIOR, 3.0, float(nu_lambda))
    axes = [np.linspace(*ends, 15) for ends in (np.log([0.5, 1.0]), np.log([0.06, 8.0]), np.log([0.1, 6.0]))]
    grid = np.array(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    weights = model.log_posterior(grid)
    weights = np.exp(weights - weights.max())
    weights /= weights.sum()
    mean = grid @ weights
    deviation = np.sqrt(((grid - mean[:, None]) ** 2) @ weights)
    found = np.log([fit.sigma_e, fit.range, fit.sigma_m])
    error = deviation / np.sqrt(fit.ess)
    np.testing.assert_array_less(np.abs(found.mean(axis=1) - mean), 4.0 * error + 0.02 * deviation)
    np.testing.assert_allclose(found.std(axis=1), deviation, rtol=4.0 * np.sqrt(0.5 / fit.ess) + 0.03)


def test_intervals_hold_the_truth_as_often_as_they_say():
    inside, errors = [], []
    mesh = build_mesh(CORNERS, MeshSizes(0.11, 0.4, 0.6))
    for seed in range(25):
        data = make_rows(70, 100 + seed)
        held = np.arange(50, 70)
        seen = data["rows"] < 50
        rows = data["rows"][seen]
        clusters = Clusters.from_rows(data["y"][seen], rows, data["place"][rows], data["x"][rows])
        fit = fit_spde(clusters, SpdeSettings(field_prior=PRIOR, draws=300), mesh=mesh, seed=seed)
        draws = fit.draw(data["place"][held], data["x"][held])
        lower, upper = np.quantile(draws, [0.05, 0.95], axis=0)
        truth = data["f"][held]
        inside.append(np.mean((lower <= truth) & (truth <= upper)))
        errors.append((fit.coefficients[:, 1].mean() - 0.6) / fit.coefficients[:, 1].std())
    # Three standard errors over the replicates, and 0.01 for the mesh and for the ends of 300 draws.
    assert np.mean(inside) == pytest.approx(0.9, abs=3.0 * np.std(inside, ddof=1) / 5.0 + 0.01)
    assert abs(np.mean(errors)) < 3.0 / 5.0
    assert np.std(errors) == pytest.approx(1.0, abs=3.0 / np.sqrt(50.0))


# Long ranges only, so that the mesh is coarse and the fits are quick.
QUICK = SpdeSettings(draws=50, field_prior=PcPrior(0.8, 0.05, 2.0, 0.1))


@pytest.fixture(scope="module")
def fit():
    return fit_spde(clusters_of(make_rows(60, 11)), QUICK, seed=3)


def test_windows_of_one_draw_go_together(fit):
    rng = np.random.default_rng(12)
    points, x = rng.uniform(size=(30, 2)), rng.normal(size=(30, 2))
    whole = fit.draw(points, x)
    parts = np.hstack([fit.draw(points[:11], x[:11]), fit.draw(points[11:], x[11:])])
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    prediction = fit.predict(points, x)
    np.testing.assert_array_equal(prediction.linear + prediction.field, whole)


def test_same_seed_same_draws(fit):
    again = fit_spde(clusters_of(make_rows(60, 11)), QUICK, seed=3)
    np.testing.assert_array_equal(again.nodes, fit.nodes)
    other = fit_spde(clusters_of(make_rows(60, 11)), QUICK, seed=4)
    assert not np.array_equal(other.nodes, fit.nodes)


def test_units_do_not_matter(fit):
    data = make_rows(60, 11)
    # Powers of two, so that the same mesh comes out and with it the same use of the random numbers.
    length, unit = 2.0**17, 2.0**7
    scaled = data | {"y": unit * data["y"] - 7.0, "place": length * data["place"], "x": data["x"] * [10.0, 0.1] + 3.0}
    prior = PcPrior(0.8 * length, 0.05, 2.0 * unit, 0.1)
    other = fit_spde(clusters_of(scaled), SpdeSettings(draws=50, field_prior=prior), seed=3)
    np.testing.assert_array_equal(other.mesh.triangles, fit.mesh.triangles)
    np.testing.assert_allclose(other.range, length * fit.range, rtol=1e-3)
    np.testing.assert_allclose(other.sigma_m, unit * fit.sigma_m, rtol=1e-3)
    points = data["place"][:9]
    found = (other.draw(length * points, scaled["x"][:9]) + 7.0) / unit
    np.testing.assert_allclose(found, fit.draw(points, data["x"][:9]), atol=0.01)


def test_intercept_and_field_alone(fit):
    data = make_rows(60, 11)
    alone = fit_spde(clusters_of(data), replace(QUICK, covariates=False), seed=3)
    assert alone.names == ("intercept",)
    assert fit.names == ("intercept", "x1", "x2")
    assert alone.coefficients.shape == (50, 1)
    points = data["place"][:5]
    np.testing.assert_array_equal(alone.draw(points, data["x"][:5]), alone.draw(points, np.empty((5, 0))))
    # What the covariate explains is in the field or the error now.
    assert np.hypot(alone.sigma_m, alone.sigma_e).mean() > np.hypot(fit.sigma_m, fit.sigma_e).mean()
    prior = data_based_prior(clusters_of(data), replace(QUICK, draws=50), seed=3)
    assert prior.range_alpha == prior.sd_alpha == 0.5
    assert (prior.range0, prior.sd0) == (np.median(alone.range), np.median(alone.sigma_m))


def test_a_mesh_that_does_not_serve_is_pointed_out():
    settings = SpdeSettings(draws=50, field_prior=PRIOR)
    served = fit_spde(clusters_of(make_rows(150, 14)), settings, mesh=build_mesh(CORNERS, MeshSizes(0.06, 0.3, 0.9)))
    assert not served.notes
    # A plane has a range beyond everything, and this mesh ends close to the data.
    data = make_rows(60, 11)
    data["y"] = data["y"] + 8.0 * data["place"][data["rows"], 0]
    short = fit_spde(clusters_of(data), QUICK, mesh=build_mesh(CORNERS, MeshSizes(0.1, 0.2, 0.15)), seed=3)
    assert short.error.variance_high > 1.1
    assert "extended by that range" in short.notes[0]
    rough = make_rows(150, 12, spatial_range=0.08, sigma_m=1.5, sigma_e=0.2)
    prior = PcPrior(0.05, 0.5, 2.0, 0.1)
    settings = SpdeSettings(draws=50, field_prior=prior)
    coarse = fit_spde(clusters_of(rough), settings, mesh=build_mesh(CORNERS, MeshSizes(0.15, 0.3, 0.5)), seed=3)
    assert any("three edges" in note for note in coarse.notes)


def test_the_table_names_every_parameter(fit):
    table = fit.table(0.9)
    assert list(table["parameter"]) == ["sigma_e", "range", "sigma_m", "intercept", "x1", "x2"]
    assert (table["lower"] < table["median"]).all()
    assert table["mean"][4] == pytest.approx(fit.coefficients[:, 1].mean())


def test_what_is_refused():
    data = make_rows(20, 13)
    twice = data | {"x": np.column_stack([data["x"][:, 0], 2.0 * data["x"][:, 0] + 1.0])}
    with pytest.raises(ModelProblem, match="'x2' is constant or follows"):
        fit_spde(clusters_of(twice))
    constant = data | {"x": np.column_stack([np.ones(20), data["x"][:, 0]])}
    with pytest.raises(ModelProblem, match="'x1' is constant or follows"):
        fit_spde(clusters_of(constant))
    with pytest.raises(ModelProblem, match="too few"):
        fit_spde(clusters_of(data).take(np.arange(3)))
    with pytest.raises(ModelProblem, match="does not vary"):
        fit_spde(clusters_of(data | {"y": np.ones_like(data["y"])}))
    with pytest.raises(ModelProblem, match="draws"):
        SpdeSettings(draws=1)
    with pytest.raises(GeometryProblem, match="degrees"):
        fit_spde(clusters_of(data), crs="EPSG:4326")
    with pytest.raises(GeometryProblem, match="outside the mesh"):
        fit_spde(clusters_of(data), mesh=build_mesh(0.1 * CORNERS, MeshSizes(0.02, 0.04, 0.05)))

    def stop(percent, text):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fit_spde(clusters_of(data), progress=stop)
