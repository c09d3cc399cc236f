"""The field on a mesh by importance sampling against the dense field by Markov chains: two routes to one posterior."""

import numpy as np
import pytest
from smallarea.convergence import convergence
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.gmrf.mesh import MeshSizes, build_mesh
from smallarea.gmrf.spde import Spde
from smallarea.trees import TreePrior
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.importance import importance_sample
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.sampler import sample_bartsimp
from smallarea.unit_level.settings import BartsimpSettings, scales
from smallarea.unit_level.spde_collapsed import CollapsedField

PRIOR = PcPrior(0.3, 0.1, 1.5, 0.1)


@pytest.fixture(scope="module")
def clusters() -> Clusters:
    rng = np.random.default_rng(5)
    place = rng.uniform(size=(90, 2))
    root = np.linalg.cholesky(0.8 * matern_correlation(distances(place), 0.5) + 1e-10 * np.eye(90))
    rows = np.repeat(np.arange(90), rng.integers(3, 8, 90))
    y = (root @ rng.standard_normal(90))[rows] + 0.7 * rng.standard_normal(len(rows))
    return Clusters.from_rows(y, rows, place[rows], np.empty((len(rows), 0)))


def test_both_routes_have_the_same_posterior(clusters):
    settings = BartsimpSettings(trees=TreePrior(trees=0), field_prior=PRIOR, range_bounds=(0.1, 6.0))
    exact = sample_bartsimp(clusters, settings, chains=2, warmup=500, draws=2_500, seed=1, workers=1)
    new = np.random.default_rng(6).uniform(size=(25, 2))
    by_chain = exact.predict(new, np.empty((25, 0)), seed=2).total

    # Without trees BARTSIMP takes the mean of all observations as known; so does an empty linear part.
    centred = Clusters(**{**clusters.__dict__, "means": clusters.means - clusters.mean})
    mesh = build_mesh(clusters.coordinates, MeshSizes(0.04, 0.3, 1.5))
    nu_lambda = scales(clusters, settings).nu_lambda
    model = CollapsedField(centred, np.empty((90, 0)), Spde(mesh), PRIOR, settings.error_df, nu_lambda)
    rng = np.random.default_rng(3)
    start = np.log([[0.7], [0.5], [0.9]])
    found = importance_sample(model.log_posterior, start, 800, 300.0, rng)
    theta = found.resample(800, rng)
    _, nodes = model.draw(theta, rng)
    by_mesh = clusters.mean + (mesh.projector(new) @ nodes.T).T

    chains = np.log(np.stack([exact.sigma_e, exact.range, exact.sigma_m], axis=2))
    ess = convergence(chains)[1]
    mean, deviation = chains.reshape(-1, 3).mean(axis=0), chains.reshape(-1, 3).std(axis=0)
    error = deviation * np.sqrt(1.0 / ess + 1.0 / found.ess)
    # Four standard errors, and a tenth of a standard deviation for the mesh (0.02 of the variance at the median range).
    assert np.all(np.abs(theta.mean(axis=1) - mean) < 4.0 * error + 0.1 * deviation)
    np.testing.assert_allclose(theta.std(axis=1), deviation, rtol=0.1 + 4.0 * np.sqrt(0.5 / found.ess))

    spread = by_chain.std(axis=0)
    bound = 4.0 * spread * np.sqrt(1.0 / found.ess + 1.0 / ess.min())
    assert np.all(np.abs(by_mesh.mean(axis=0) - by_chain.mean(axis=0)) < bound + 0.02)
    np.testing.assert_allclose(by_mesh.std(axis=0), spread, rtol=4.0 * np.sqrt(0.5 / found.ess) + 0.05)
