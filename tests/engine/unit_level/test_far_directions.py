"""Sweeps with few directions of the field, set right by all of them, leave the posterior what it is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from smallarea.convergence import convergence
from smallarea.errors import Cancelled
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import TreePrior
from smallarea.unit_level import Clusters, paper_settings, sample_bartsimp, sampler
from smallarea.unit_level.chain import Chain
from smallarea.unit_level.far_directions import near_directions
from smallarea.unit_level.far_kernel import log_correction
from smallarea.unit_level.field_exact import make_range_grid

SETTINGS = replace(paper_settings(0.5, 1.0), trees=TreePrior(trees=4), range_points=12)
NEAR = 8


def survey(n=40, spread=0.7, error=0.5, smooth=0.5):
    rng = np.random.default_rng(3)
    place, x = rng.random((n, 2)), rng.random((n, 2))
    root = np.linalg.cholesky(matern_correlation(distances(place), smooth) + 1e-9 * np.eye(n))
    level = spread * root @ rng.standard_normal(n) + np.where(x[:, 0] > 0.5, 0.5, -0.5)
    cluster = np.repeat(np.arange(n), rng.integers(2, 6, n))
    y = level[cluster] + error * rng.standard_normal(len(cluster))
    return Clusters.from_rows(y, cluster, place[cluster], x[cluster])


@pytest.fixture
def leaves_out(monkeypatch):
    """Few near directions even on a small survey."""
    monkeypatch.setattr(sampler, "FROM_CLUSTERS", 10)
    monkeypatch.setattr(sampler, "near_directions", lambda clusters, factors: NEAR)


def test_correction_is_the_difference_of_two_normal_densities(leaves_out):
    clusters = survey()
    problem = sampler.prepare(clusters, SETTINGS)
    assert problem.grid.rank == NEAR
    chain = Chain(problem, np.random.SeedSequence(1), 10, 10)
    residual = np.random.default_rng(2).standard_normal(clusters.n)
    for g, error, sd in ((2, 0.4, 1.1), (9, 0.8, 0.3)):
        chain._hyper.logs[:] = np.log([error, sd])
        chain._hyper.at[0] = g
        found = log_correction(residual, chain._table, chain._hyper, chain._before.q)
        correlation = matern_correlation(distances(clusters.coordinates), float(problem.grid.ranges[g]))
        covariance = sd**2 * correlation + np.diag(error**2 / clusters.sizes)
        exact = residual @ np.linalg.solve(covariance, residual)
        root = np.sqrt(clusters.sizes)
        d, u = np.linalg.eigh(root[:, None] * correlation * root)
        d[: clusters.n - NEAR] = d[: clusters.n - NEAR].mean()
        q = u.T @ (root * residual)
        assert found == pytest.approx(-0.5 * (exact - np.sum(q**2 / (sd**2 * d + error**2))), rel=1e-5, abs=1e-5)


def test_posterior_is_that_of_all_directions(leaves_out, monkeypatch):
    clusters = survey()
    call = {"chains": 4, "warmup": 600, "draws": 4000}
    few = sample_bartsimp(clusters, SETTINGS, seed=1, **call)
    # So few directions that a good part of the sweeps is refused: without the correction the posterior is another.
    assert 0.15 < few.diagnostics.acceptance["sweep"] < 0.9
    monkeypatch.setattr(sampler, "FROM_CLUSTERS", 1000)
    all_near = sample_bartsimp(clusters, SETTINGS, seed=2, **call)
    assert "sweep" not in all_near.diagnostics.acceptance

    def looked_at(fit):
        which = np.arange(0, clusters.n, 5)
        f = fit.trees_at(clusters.covariates[which]) + fit.field_at_clusters(which)
        logs = np.log(np.stack([fit.sigma_e, fit.sigma_m, fit.range], axis=2))
        return np.concatenate([logs, f.reshape(*fit.sigma_e.shape, -1)], axis=2)

    one, other = looked_at(few), looked_at(all_near)
    # Means, and mean squares about the other's means, by their Monte Carlo errors; 22 tests at a rate of 1e-4 together.
    centre = other.mean(axis=(0, 1))
    limit = stats.norm.isf(1e-4 / 44)
    for power in (1, 2):
        a, b = (one - centre) ** power, (other - centre) ** power
        error = np.sqrt(sum(v.var(axis=(0, 1)) / convergence(v)[1] for v in (a, b)))
        assert np.all(np.abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) < limit * error)


def test_goes_on_from_a_checkpoint_to_the_same_draws(leaves_out, tmp_path):
    clusters = survey()
    call = {"chains": 2, "warmup": 50, "draws": 75, "seed": 4}
    whole = sample_bartsimp(clusters, SETTINGS, **call)

    def stop(percent, text):
        if percent > 50.0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        sample_bartsimp(clusters, SETTINGS, **call, workers=1, progress=stop, checkpoint=tmp_path / "chains.npz")
    again = sample_bartsimp(clusters, SETTINGS, **call, workers=2, checkpoint=tmp_path / "chains.npz")
    np.testing.assert_array_equal(again.range, whole.range)
    np.testing.assert_array_equal(again.field, whole.field)
    assert again.diagnostics.acceptance == whole.diagnostics.acceptance


def test_smooth_fields_need_few_directions_and_rough_ones_all():
    prior = paper_settings(0.5, 1.0).field_prior

    def chosen(clusters):
        grid = {}

        def look(factors):
            grid["near"] = near_directions(clusters, factors)
            return grid["near"]

        made = make_range_grid(clusters.coordinates, clusters.sizes, prior, points=12, choose_near=look)
        assert made.rank == grid["near"]
        vectors, values = made.whole(5)
        root = np.sqrt(clusters.sizes)
        between = matern_correlation(distances(clusters.coordinates), float(made.ranges[5]))
        np.testing.assert_allclose((vectors * values) @ vectors.T, between * np.outer(root, root) ** 2, atol=1e-4)
        return grid["near"]

    smooth = chosen(survey(200, smooth=1.0))
    assert smooth < 100
    assert chosen(survey(200, smooth=1.0, error=2.0)) <= smooth
    assert chosen(survey(200, smooth=0.1, error=0.02)) == 200
