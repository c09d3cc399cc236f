"""A field on a mesh: against dense algebra, against the exact field, saved and continued."""

from dataclasses import replace

import numpy as np
import pytest
from smallarea.errors import GeometryProblem, ModelProblem
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.gmrf.spde import Spde
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings, Clusters, field_mesh, paper_settings, sample_bartsimp
from smallarea.unit_level import field_draws as draws_of
from smallarea.unit_level.chain import Chain
from smallarea.unit_level.field_mesh import make_mesh_grid, mesh_of
from smallarea.unit_level.hyper_kernel import bring, gather, log_density, make_spectrum, project
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.posterior_file import load_posterior, save_posterior
from smallarea.unit_level.sampler import prepare

PRIOR = PcPrior(1.0, 0.5, 0.7, 0.5)
SD, ERROR = 0.8, 0.6


def survey(n: int, seed: int = 3, covariates: int = 1) -> Clusters:
    random = np.random.default_rng(seed)
    points = random.random((n, 2))
    root = np.linalg.cholesky(matern_correlation(distances(points), 0.6) + 1e-9 * np.eye(n))
    field = 0.7 * root @ random.normal(size=n)
    cluster = np.repeat(np.arange(n), random.integers(1, 6, n))
    x = random.random((n, covariates))
    y = field[cluster] + 0.5 * random.standard_normal(len(cluster))
    return Clusters.from_rows(y, cluster, points[cluster], x[cluster])


@pytest.fixture(scope="module", params=[12, 150], ids=["fewer clusters than nodes", "more"])
def chain(request):
    settings = BartsimpSettings(
        trees=TreePrior(trees=2),
        field="mesh",
        mesh_nodes=90,
        field_prior=PRIOR,
        range_points=5,
        range_bounds=(0.3, 3.0),
    )
    return Chain(prepare(survey(request.param), settings), np.random.SeedSequence(1), 10, 10)


def dense(chain: Chain, g: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariance of the nodes at standard deviation 1, projector, and covariance of the cluster means."""
    clusters = chain_clusters(chain)
    mesh = MESHES[id(chain)]
    nodes = np.linalg.inv(Spde(mesh).matrix(float(np.exp(chain._table.log_ranges[g])), 1.0).toarray())
    a = mesh.projector(clusters.coordinates).toarray()
    return nodes, a, SD**2 * a @ nodes @ a.T + ERROR**2 * np.diag(1.0 / clusters.sizes)


MESHES: dict = {}


def chain_clusters(chain: Chain) -> Clusters:
    n = len(chain._means)
    clusters = survey(n)
    MESHES.setdefault(id(chain), mesh_of(clusters.coordinates, PRIOR, 90))
    return clusters


def at(chain: Chain, g: int) -> None:
    chain._hyper.logs[:] = np.log([ERROR, SD])
    chain._hyper.at[0] = g
    bring(chain._table, g)


@pytest.mark.parametrize("g", [0, 4])
def test_the_precision_of_cluster_means_is_that_of_dense_algebra(chain, g) -> None:
    at(chain, g)
    found = make_spectrum(chain._table, chain._hyper, chain._weights, chain._base)
    precision = found.base[0] * np.diag(found.sizes) + found.vectors @ np.diag(found.weights) @ found.vectors.T
    np.testing.assert_allclose(precision @ dense(chain, g)[2], np.eye(len(found.sizes)), atol=1e-8)
    np.testing.assert_allclose(found.total, found.vectors.sum(axis=0), atol=1e-9)


def test_densities_of_the_hyperparameters_differ_as_they_should(chain) -> None:
    clusters = chain_clusters(chain)
    residual = np.random.default_rng(4).normal(size=clusters.n)
    squares = float(clusters.sizes @ residual**2)
    got, want = [], []
    for g, logs in ((1, (-0.3, 0.2)), (3, (-0.7, -1.0))):
        q = np.zeros(len(chain._weights))
        bring(chain._table, g)
        gather(chain._table, residual)
        project(chain._table, g, residual, q)
        np.testing.assert_allclose(q, chain._table.now.T @ residual, atol=1e-9)
        got.append(log_density(*logs, g, chain._table, chain._hyper, q, squares))
        nodes, a, _ = dense(chain, g)
        error, sd = np.exp(2.0 * np.array(logs))
        covariance = sd * a @ nodes @ a.T + error * np.diag(1.0 / clusters.sizes)
        nu_lambda, nu = chain._hyper.fixed[3:]
        rest = clusters.observations - clusters.n + nu
        prior = -rest * logs[0] - (clusters.within.sum() + nu_lambda) / (2.0 * error)
        prior += logs[1] - chain._hyper.sd_rate[0] * np.exp(logs[1]) + chain._table.log_weights[g]
        fit = -0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * residual @ np.linalg.solve(covariance, residual)
        want.append(prior + fit)
    assert got[0] - got[1] == pytest.approx(want[0] - want[1], abs=1e-7)


class Given:
    """Normal numbers that are chosen instead of drawn."""

    def __init__(self, normals: np.ndarray) -> None:
        self.normals = normals

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        assert self.normals.shape == shape
        return self.normals


def test_nodes_are_drawn_given_the_residuals(chain) -> None:
    """Mean and covariance of the nodes by dense conditioning; nodes that no cluster touches keep their prior."""
    clusters = chain_clusters(chain)
    settings = replace(chain._settings, trees=TreePrior(trees=0))
    problem = prepare(clusters, settings)
    drawn = sample_bartsimp(clusters, settings, chains=1, warmup=0, draws=MESHES[id(chain)].n + 1, seed=1)
    fixed = replace(
        drawn,
        sigma_e=np.full_like(drawn.sigma_e, ERROR),
        sigma_m=np.full_like(drawn.sigma_m, SD),
        range_at=np.full_like(drawn.range_at, 2),
    )
    m = problem.grid.rank
    made = draws_of.draw_fields(fixed, problem.grid, Given(np.vstack([np.zeros(m), np.eye(m)])))
    nodes, a, covariance = dense(chain, 2)
    gain = SD**2 * nodes @ a.T @ np.linalg.inv(covariance)
    np.testing.assert_allclose(made[0], gain @ (clusters.means - clusters.mean), atol=1e-8)
    root = made[1:] - made[0]
    np.testing.assert_allclose(root.T @ root, SD**2 * (nodes - gain @ a @ nodes), atol=1e-7)


def test_it_agrees_with_the_exact_field() -> None:
    """The same model but for the mesh: surfaces within a tenth of a posterior SD, hyperparameters within 0.2."""
    clusters = survey(80)
    random = np.random.default_rng(6)
    points, x = random.random((60, 2)), random.random((60, 1))
    exact = replace(paper_settings(1.0, 0.7), trees=TreePrior(trees=5), range_points=25)
    fits = [
        sample_bartsimp(clusters, s, chains=4, warmup=500, draws=2500, seed=2)
        for s in (exact, replace(exact, field="mesh", mesh_nodes=700))
    ]
    surfaces = [fit.predict(points, x, draws=4000).total for fit in fits]
    gap = (surfaces[1].mean(axis=0) - surfaces[0].mean(axis=0)) / surfaces[0].std(axis=0)
    assert np.sqrt(np.mean(gap**2)) < 0.1
    assert np.mean(surfaces[1].std(axis=0) / surfaces[0].std(axis=0)) == pytest.approx(1.0, abs=0.05)
    for name in ("sigma_e", "sigma_m"):
        first, second = (getattr(fit, name) for fit in fits)
        assert abs(second.mean() - first.mean()) < 0.2 * first.std(), name
    logs = [np.log(fit.range) for fit in fits]
    assert abs(logs[1].mean() - logs[0].mean()) < 0.2 * logs[0].std()


def test_saved_and_continued(tmp_path) -> None:
    clusters = survey(40)
    settings = BartsimpSettings(trees=TreePrior(trees=3), field="mesh", mesh_nodes=80, range_points=8)
    run = {"chains": 2, "warmup": 40, "draws": 60, "seed": 5}
    whole = sample_bartsimp(clusters, settings, **run)

    def stop(percent: float, _: str) -> None:
        if percent > 40.0:
            raise KeyboardInterrupt

    path = tmp_path / "chains.npz"
    with pytest.raises(KeyboardInterrupt):
        sample_bartsimp(clusters, settings, **run, checkpoint=path, progress=stop)
    resumed = sample_bartsimp(clusters, settings, **run, checkpoint=path)
    np.testing.assert_array_equal(resumed.field, whole.field)
    save_posterior(whole, tmp_path / "posterior.npz")
    again = load_posterior(tmp_path / "posterior.npz")
    points, x = np.random.default_rng(1).random((2, 30, 2))
    first, second = (fit.predict(points, x[:, :1], seed=3).total for fit in (whole, again))
    np.testing.assert_array_equal(first, second)
    # Draws are functions of place: windows go together.
    np.testing.assert_array_equal(again.predict(points[:7], x[:7, :1]).total, first[:, :7])
    with pytest.raises(GeometryProblem, match="outside the mesh"):
        whole.predict(np.array([[50.0, 0.0]]), x[:1, :1])


def test_nodes_are_as_few_as_asked_for(monkeypatch) -> None:
    coordinates = survey(200).coordinates
    short = PcPrior(0.05, 0.5, 0.7, 0.5)
    assert 150 < mesh_of(coordinates, short, 300).n <= 1.05 * 300
    # A long range needs fewer than there may be.
    assert mesh_of(coordinates, PcPrior(3.0, 0.5, 0.7, 0.5), 20_000).n < 3_000
    with pytest.raises(ModelProblem, match="50 nodes or more"):
        mesh_of(coordinates, PRIOR, 10)
    monkeypatch.setattr(field_mesh, "LARGEST_BYTES", 10**6)
    with pytest.raises(ModelProblem, match=r"GiB.*fewer nodes"):
        make_mesh_grid(coordinates, np.ones(200), PRIOR, nodes=300, points=5)
