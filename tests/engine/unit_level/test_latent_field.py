"""Fields with variances that change: against dense algebra."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from smallarea.errors import ModelProblem
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.gmrf.spde import Spde
from smallarea.unit_level import latent_field
from smallarea.unit_level.latent_field import make_latent_field
from smallarea.unit_level.likelihoods import count_clusters
from smallarea.unit_level.pc_prior import PcPrior

PRIOR = PcPrior(0.3, 0.05, 1.0, 0.05)


@pytest.fixture(scope="module")
def clusters():
    random = np.random.default_rng(1)
    n = 30
    trials = random.integers(1, 20, n)
    return count_clusters(
        trials, "binomial", random.binomial(trials, 0.3), np.arange(n), random.random((n, 2)), np.zeros((n, 1))
    )


def covariance(field, clusters, g, sd, variances):
    """C by its definition."""
    linear = field.coefficient_sd**2 * field.design @ field.design.T if field.coefficients else 0.0
    if field.mesh is not None:
        a = field.projector.toarray()
        correlation = a @ np.linalg.inv(Spde(field.mesh).matrix(float(field.ranges[g]), 1.0).toarray()) @ a.T
    else:
        correlation = matern_correlation(distances(clusters.coordinates), field.ranges[g]) * field.has_field
    return sd**2 * correlation + linear + np.diag(variances)


@pytest.mark.parametrize(("kind", "columns"), [("exact", 0), ("mesh", 0), ("none", 0), ("exact", 2), ("mesh", 2)])
def test_precision_density_and_draws_are_those_of_dense_algebra(clusters, kind, columns):
    field = make_latent_field(clusters, PRIOR, kind, nodes=60, points=3)
    random = np.random.default_rng(2)
    if columns:
        design = np.column_stack([np.ones(clusters.n), random.standard_normal(clusters.n)])
        field = replace(field, design=design, coefficient_sd=0.7)
    variances, residual = random.uniform(0.2, 3.0, clusters.n), random.standard_normal(clusters.n)
    g, sd = len(field.ranges) - 1, 1.3
    wanted = covariance(field, clusters, g, sd, variances)
    factor = field.factor(g, sd, variances)
    s = factor.spectrum()
    precision = s.base[0] * np.diag(s.sizes) + (s.vectors * s.weights) @ s.vectors.T
    np.testing.assert_allclose(precision @ wanted, np.eye(clusters.n), atol=1e-8)
    np.testing.assert_allclose(s.total, s.vectors.sum(axis=0), atol=1e-12)
    assert s.vectors.flags.c_contiguous
    exact = stats.multivariate_normal(np.zeros(clusters.n), wanted).logpdf(residual)
    assert factor.log_density(residual) == pytest.approx(exact + 0.5 * clusters.n * np.log(2.0 * np.pi), abs=1e-6)
    values = np.array([factor.draw(residual, random) for _ in range(4000)])
    drawn = np.array([field.at_clusters(one) for one in values])
    of_field = wanted - np.diag(variances)
    mean = of_field @ np.linalg.solve(wanted, residual)
    spread = of_field - of_field @ np.linalg.solve(wanted, of_field)
    error = np.sqrt(np.maximum(np.diag(spread), 0.0) / len(drawn)) + 1e-4
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < 4.5 * error)
    np.testing.assert_allclose(np.cov(drawn.T), spread, atol=0.12 * max(spread.max(), 1e-9))
    if columns:
        gain = 0.49 * np.linalg.solve(wanted, field.design).T
        beta, left = values[:, -columns:], 0.49 * np.eye(columns) - gain @ field.design * 0.49
        error = np.sqrt(np.diag(left) / len(beta))
        assert np.all(np.abs(beta.mean(axis=0) - gain @ residual) < 4.5 * error)
        np.testing.assert_allclose(np.cov(beta.T), left, atol=0.12 * left.max())
        of_field, linear = field.parts(values[0])
        np.testing.assert_allclose(linear, field.design @ beta[0])
        np.testing.assert_allclose(of_field + linear, drawn[0])


def test_too_many_clusters_are_sent_to_a_mesh(clusters, monkeypatch):
    monkeypatch.setattr(latent_field, "LARGEST_BYTES", 1000)
    with pytest.raises(ModelProblem, match="mesh_nodes"):
        make_latent_field(clusters, PRIOR, "exact", nodes=60, points=3)


def test_a_matrix_that_is_not_positive_definite_is_named():
    with pytest.raises(ModelProblem, match="not positive definite"):
        latent_field.cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))
