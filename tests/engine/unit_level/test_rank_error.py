"""What is said of a reduced field's error, against dense densities and against the exact fit."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import TreePrior
from smallarea.unit_level import Clusters, paper_settings, sample_bartsimp
from smallarea.unit_level.posterior_file import load_posterior, save_posterior
from smallarea.unit_level.rank_error import log_density_differences
from smallarea.unit_level.sampler import prepare
from smallarea.workflows.bartsimp_result import field_notes

EXACT = replace(paper_settings(0.5, 1.0), trees=TreePrior(trees=3), range_points=15)


def reduced(rank):
    return replace(EXACT, field="reduced", rank=rank)


def survey(n=60):
    rng = np.random.default_rng(5)
    place, x = rng.random((n, 2)), rng.random((n, 2))
    root = np.linalg.cholesky(matern_correlation(distances(place), 0.5) + 1e-9 * np.eye(n))
    level = 0.8 * root @ rng.standard_normal(n) + np.where(x[:, 0] > 0.5, 0.5, -0.5)
    cluster = np.repeat(np.arange(n), rng.integers(3, 7, n))
    y = level[cluster] + 0.5 * rng.standard_normal(len(cluster))
    return Clusters.from_rows(y, cluster, place[cluster], x[cluster])


def test_differences_are_those_of_two_normal_densities():
    clusters, rank = survey(), 12
    fit = sample_bartsimp(clusters, reduced(rank), chains=2, warmup=50, draws=20, seed=1)
    grid = prepare(clusters, reduced(rank)).grid
    which = np.array([0, 7, 39])
    found = log_density_differences(fit, grid, which)
    root = np.sqrt(clusters.sizes)
    for i, draw in enumerate(which):
        r = clusters.means - clusters.mean - fit.trees_at(clusters.covariates, which)[i]
        sd, error, rho = (v.ravel()[draw] for v in (fit.sigma_m, fit.sigma_e, fit.range))
        correlation = matern_correlation(distances(clusters.coordinates), float(rho))
        d, u = np.linalg.eigh(correlation * np.outer(root, root))
        d[:-rank] = d[:-rank].mean()
        flat = (u * d) @ u.T / np.outer(root, root)
        logs = [
            stats.multivariate_normal(cov=sd**2 * c + np.diag(error**2 / clusters.sizes)).logpdf(r)
            for c in (correlation, flat)
        ]
        assert found[i] == pytest.approx(logs[0] - logs[1], abs=1e-7)


def test_what_is_said_grows_with_what_is_left_out(tmp_path):
    clusters = survey()
    call = {"chains": 2, "warmup": 200, "draws": 300, "seed": 3}
    fits = {rank: sample_bartsimp(clusters, reduced(rank), **call) for rank in (10, 40, 60)}
    coarse, fine, whole = (fits[rank].diagnostics.rank_error for rank in (10, 40, 60))
    assert coarse["draws"] == 400.0
    assert coarse["log_density"] > 3.0 * fine["log_density"] > 0.0
    assert coarse["effective"] < fine["effective"] < 1.0
    assert whole["log_density"] < 1e-9
    assert whole["effective"] == pytest.approx(1.0)
    said, warned = field_notes(fits[10])
    assert "10 of 60 directions" in said
    assert f"{coarse['effective']:.0%} of the draws" in said
    assert "larger rank" in warned
    assert len(field_notes(fits[40])) == 1
    assert "exact" in field_notes(fits[60])[0]
    save_posterior(fits[10], tmp_path / "few.npz", {})
    assert load_posterior(tmp_path / "few.npz").diagnostics.rank_error == coarse
    assert sample_bartsimp(clusters, EXACT, **call).diagnostics.rank_error == {}
