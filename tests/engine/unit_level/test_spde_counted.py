"""Linear models with a field for counted outcomes; their posterior is checked in test_counted_posterior."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special
from smallarea.errors import ModelProblem, PriorProblem
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings
from smallarea.unit_level.likelihoods import count_clusters
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.spde_counted import fit_counted_spde

SETTINGS = BartsimpSettings(
    likelihood="binomial", trees=TreePrior(min_leaf=1), field_prior=PcPrior(0.2, 0.05, 1.0, 0.05), range_points=8
)


def survey(n=40, shift=0.0, unit=1.0):
    random = np.random.default_rng(3)
    place, x, trials = random.random((n, 2)), random.standard_normal((n, 2)), random.integers(5, 25, n)
    y = random.binomial(trials, special.expit(-1.0 + 0.8 * x[:, 0]))
    return count_clusters(trials, "binomial", y, np.arange(n), place, shift + unit * x, names=["one", "two"])


def quick(clusters, settings=SETTINGS, **more):
    return fit_counted_spde(clusters, settings, **{"chains": 2, "warmup": 50, "draws": 60, "seed": 4, **more})


def test_without_field_and_differences_it_is_logistic_regression():
    """Against quadrature of the posterior of three coefficients."""
    clusters = survey()
    tiny = replace(SETTINGS, field_prior=PcPrior(0.2, 0.05, 1e-3, 0.05), own_sd0=1e-3)
    drawn = quick(clusters, tiny, warmup=100, draws=700, coefficient_sd=2.0)
    x = clusters.covariates
    design = np.column_stack([np.ones(clusters.n), (x - x.mean(axis=0)) / x.std(axis=0)])
    y, trials, centre = clusters.sizes * clusters.means, clusters.sizes, drawn.field.centre
    beta = np.zeros(3)
    for _ in range(20):
        share = special.expit(centre + design @ beta)
        information = design.T @ (design * (trials * share * (1 - share))[:, None]) + np.eye(3) / 4.0
        beta = beta + np.linalg.solve(information, design.T @ (y - trials * share) - beta / 4.0)
    root = np.linalg.cholesky(np.linalg.inv(information))
    nodes = np.linspace(-5.0, 5.0, 41)
    grid = beta + np.array(np.meshgrid(nodes, nodes, nodes)).reshape(3, -1).T @ root.T
    eta = centre + grid @ design.T
    log_p = (y * eta - trials * np.logaddexp(0.0, eta)).sum(axis=1) - (grid**2).sum(axis=1) / 8.0
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ grid
    sd = np.sqrt(p @ (grid - mean) ** 2)
    slopes = drawn.coefficients[:, 1:] * x.std(axis=0)
    found = np.column_stack([drawn.coefficients[:, 0] + drawn.coefficients[:, 1:] @ x.mean(axis=0) - centre, slopes])
    ess = min(drawn.ess[name] for name in drawn.names)
    assert ess > 200.0
    assert np.all(np.abs(found.mean(axis=0) - mean) < 4.0 * sd / np.sqrt(ess))
    np.testing.assert_allclose(found.std(axis=0), sd, rtol=4.0 / np.sqrt(2.0 * ess))


def test_units_of_covariates_do_not_matter():
    plain, scaled = quick(survey()), quick(survey(shift=7.0, unit=100.0))
    np.testing.assert_allclose(scaled.coefficients[:, 1:], plain.coefficients[:, 1:] / 100.0, rtol=1e-6, atol=1e-9)
    points = np.random.default_rng(1).random((5, 2))
    x = np.random.default_rng(2).standard_normal((5, 2))
    one, other = plain.predict(points, x, draws=20), scaled.predict(points, 7.0 + 100.0 * x, draws=20)
    np.testing.assert_allclose(one.total, other.total, rtol=1e-6)
    assert one.total.shape == (20, 5)


def test_predictions_are_linear_part_plus_field():
    clusters = survey()
    drawn = quick(clusters)
    found = drawn.predict(clusters.coordinates, clusters.covariates)
    np.testing.assert_allclose(
        found.trees, drawn.coefficients @ np.column_stack([np.ones(clusters.n), clusters.covariates]).T
    )
    np.testing.assert_allclose(found.field, drawn.field.field, atol=1e-3)
    table = drawn.table()
    assert table["parameter"].tolist() == ["sigma_e", "range", "sigma_m", "intercept", "one", "two"]
    assert table.loc[4, "lower"] < 0.8 < table.loc[4, "upper"]


def test_without_covariates_only_intercept_and_field_are_left():
    clusters = survey()
    drawn = quick(clusters, covariates=False)
    assert drawn.names == ("intercept",)
    found = drawn.predict(clusters.coordinates, np.full((clusters.n, 2), np.nan))
    np.testing.assert_array_equal(found.trees, np.repeat(drawn.coefficients, clusters.n, axis=1))


def test_on_a_mesh_it_gives_what_the_exact_field_gives():
    clusters = survey()
    smooth = replace(SETTINGS, range_bounds=(1.0, 3.0), range_points=4)
    long = {"warmup": 75, "draws": 250}
    fits = [quick(clusters, s, **long) for s in (smooth, replace(smooth, field="mesh", mesh_nodes=80))]
    for name in ("one", "two"):
        j = fits[0].names.index(name)
        values = [fit.coefficients[:, j] for fit in fits]
        error = np.sqrt(sum(v.var() / fit.ess[name] for v, fit in zip(values, fits, strict=True)))
        assert abs(values[0].mean() - values[1].mean()) < 4.0 * error + 0.02  # the mesh's own error
    assert fits[1].coefficients.shape == (500, 3)


@pytest.mark.parametrize(
    ("settings", "more", "error", "message"),
    [
        (BartsimpSettings(), {}, ModelProblem, "Use fit_spde"),
        (replace(SETTINGS, field="none", field_prior=None), {}, ModelProblem, "has a field"),
        (SETTINGS, {"coefficient_sd": 0.0}, PriorProblem, "coefficient_sd must be positive"),
        (SETTINGS, {"draws": 3}, ModelProblem, "four draws or more"),
    ],
)
def test_what_cannot_be_is_refused(settings, more, error, message):
    with pytest.raises(error, match=message):
        quick(survey(), settings, **more)


def test_collinear_covariates_are_named():
    clusters = survey()
    twice = replace(clusters, covariates=clusters.covariates[:, [0, 0]])
    with pytest.raises(ModelProblem, match="'two' is constant or follows"):
        quick(twice)
