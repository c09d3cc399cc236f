"""Parts of the sampler's density against dense algebra, finite differences and other packages; no chain is run."""

import numpy as np
import pytest
from scipy import stats
from smallarea.area_level.hmc import unit_fields
from smallarea.area_level.hmc.coordinates import autoregressive_root, coordinates, correlation_root
from smallarea.area_level.hmc.natural import Natural
from smallarea.area_level.hmc.projection import Directions, Projection
from smallarea.area_level.hmc.whitening import Pull, Whitening
from smallarea.area_level.parameters import Parameter, _from_partial
from smallarea.area_level.priors import parse_prior
from smallarea.convergence import convergence
from smallarea.errors import ModelProblem
from smallarea.gmrf import CarPrecision, LerouxPrecision, products

jax = pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def dense(precision, rho: float) -> np.ndarray:
    n, edges = precision.pattern.n, precision.pattern.edges
    out = np.diag(precision.diagonal(rho))
    out[edges[:, 0], edges[:, 1]] = out[edges[:, 1], edges[:, 0]] = precision.off_diagonal(rho)
    assert out.shape == (n, n)
    return out


def some(precision, rho) -> Natural:
    import jax.numpy as jnp

    k = len(rho)
    zero, rho = jnp.zeros(k), jnp.asarray(rho)
    return Natural(zero, zero + 1.0, rho, 1.0 - rho, zero, jnp.eye(k), False, zero[1:], zero[1:], jnp.zeros(()))


@pytest.fixture(params=["car", "leroux"])
def precision(request, planar_graph):
    graph = planar_graph(25)
    return (CarPrecision if request.param == "car" else LerouxPrecision)(25, graph.edges)


def test_products_with_neighbours_and_their_derivatives_over_chains(planar_graph) -> None:
    graph = planar_graph(20, islands=2)
    w = graph.adjacency.toarray()
    product = products.neighbour_sum(20, graph.edges)
    x, g = np.random.default_rng(1).normal(size=(2, 3, 20, 2))
    np.testing.assert_allclose(jax.jit(jax.vmap(product))(x), w @ x, atol=1e-12)
    slope = jax.vmap(jax.grad(lambda one, h: (product(one) * h).sum()))(x, g)
    np.testing.assert_allclose(slope, w @ g, atol=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
def test_series_and_its_derivatives_on_processors_and_accelerators(compiled, precision, monkeypatch) -> None:
    monkeypatch.setattr(products, "_has_numba", lambda: compiled)
    matrix = Whitening(precision, lambda rho, _: rho)._matrix(precision)
    m = matrix.toarray()
    assert np.max(np.abs(np.linalg.eigvalsh(m))) <= 1.0 + 1e-12
    rng = np.random.default_rng(2)
    x, c, g = rng.normal(size=(3, 25, 2)), rng.normal(size=(3, 6, 2)), rng.normal(size=(3, 25, 2))
    terms = [np.eye(25), m]
    for _ in range(4):
        terms.append(2.0 * m @ terms[-1] - terms[-2])
    series = products.chebyshev_sum(matrix)
    want = np.einsum("bkc,kij,bjc->bic", c, terms, x)
    np.testing.assert_allclose(jax.jit(jax.vmap(series))(x, c), want, atol=1e-11)
    by_x, by_c = jax.vmap(jax.grad(lambda a, b, h: (series(a, b) * h).sum(), argnums=(0, 1)))(x, c, g)
    np.testing.assert_allclose(by_x, np.einsum("bkc,kij,bjc->bic", c, terms, g), atol=1e-11)
    np.testing.assert_allclose(by_c, np.einsum("bic,kij,bjc->bkc", g, terms, x), atol=1e-11)
    np.testing.assert_allclose(products.chebyshev_traces(matrix, 5), [np.trace(term) for term in terms], atol=1e-11)


def test_determinant_from_the_table(precision, monkeypatch) -> None:
    effect = "car" if isinstance(precision, CarPrecision) else "leroux"
    monkeypatch.setattr(unit_fields, "EIGENVALUE_LIMIT", 0)
    arguments = (effect, np.arange(25), precision.pattern.edges, 25, 1)
    field = unit_fields.density_field(*arguments, 0.0, None)
    for rho in (0.0, 0.3, 0.987, 1.0 - 1e-6):
        got = float(field._logdet(np.array([rho]), np.array([1.0 - rho]))[0])
        assert got == pytest.approx(np.linalg.slogdet(dense(precision, rho))[1], abs=1e-6)
    with pytest.raises(ModelProblem, match="negative"):
        unit_fields.density_field(*arguments, -1.0, None)


def test_whitening_has_the_determinant_it_says(precision) -> None:
    """The density of z is that of psi times the derivative; with few data and with many, at rho near 1 and at 0."""
    rng = np.random.default_rng(3)
    logdet = unit_fields._logdet_from_eigenvalues(precision)
    whitening = Whitening(precision, logdet)
    pull = Pull(rng.uniform(0.0, 3.0, (25, 2)) * (rng.uniform(size=(25, 2)) > 0.3), rng.normal(size=(25, 2)))
    gain = np.array([[0.8, 0.0], [0.3, 2.0]])
    for rho in (0.0, 0.6, 0.999):
        z = rng.normal(size=(25, 2))
        rhos = np.full(2, rho)
        _, log_derivative, _ = whitening(z, rhos, gain, pull)
        jacobian = jax.jacrev(lambda u, r=rhos: whitening(u, r, gain, pull)[0])(z).reshape(50, 50)
        assert float(log_derivative) == pytest.approx(np.linalg.slogdet(np.asarray(jacobian))[1], abs=1e-5)


def test_even_information_makes_the_unknowns_white(planar_graph) -> None:
    """Where every area has as much information as neighbours, z is the posterior's own white noise."""
    graph = planar_graph(25)
    precision = CarPrecision(25, graph.edges)
    whitening = Whitening(precision, unit_fields._logdet_from_eigenvalues(precision))
    whitening._largest = 1.0
    weight, rho, sd = 0.7, 0.6, 1.3
    pull = Pull(weight * precision.degrees[:, None], np.random.default_rng(4).normal(size=(25, 1)))
    zero = np.zeros((25, 1))
    centre = np.asarray(whitening(zero, np.array([rho]), np.array([[sd]]), pull)[0])[:, 0]
    root = jax.jacrev(lambda u: whitening(u, np.array([rho]), np.array([[sd]]), pull)[0])(zero).reshape(25, 25)
    information = sd**2 * weight * np.diag(precision.degrees)
    covariance = np.linalg.inv(dense(precision, rho) + information)
    np.testing.assert_allclose(root @ np.asarray(root).T, covariance, atol=1e-6)
    np.testing.assert_allclose(centre, covariance @ information @ pull.residual[:, 0] / sd, atol=1e-6)


def test_directions_get_coordinates_of_their_own(precision) -> None:
    """The density is that of the turned fields, times the derivative of the turn; their part along X is as wide as
    the prior makes it, given the rest."""
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(25), rng.normal(size=25)])
    weights = rng.uniform(0.5, 2.0, 25)
    gain = np.linalg.solve((x.T * weights) @ x, x.T * weights)
    projection = Projection(precision, Directions(x[None], weights[None]))
    gaps = []
    for rho in (0.1, 0.7, 0.99):
        given, flat = some(precision, [rho]), np.array([0.2 + rho])
        sigma = np.linalg.inv(dense(precision, rho))
        normal = stats.multivariate_normal(np.zeros(25), sigma)
        psi = rng.normal(size=(25, 1))
        turned, got = projection.turned(psi, normal.logpdf(psi[:, 0]), given, flat)
        derivative = jax.jacrev(lambda p, g=given, f=flat: projection.turned(p, 0.0, g, f)[0])(psi).reshape(25, 25)
        # Only the part along X is changed.
        left = np.eye(25) - x @ gain
        np.testing.assert_allclose(left @ turned, left @ psi, atol=1e-9)
        want = normal.logpdf(np.asarray(turned)[:, 0]) + np.linalg.slogdet(np.asarray(derivative))[1]
        gaps.append(float(got) - want)
        # What is white noise before has the prior's conditional covariance after.
        own = np.asarray(gain @ derivative @ x)
        base = precision.degrees if isinstance(precision, CarPrecision) else np.ones(25)
        noise = np.linalg.inv(flat[0] * (x.T * base) @ x)
        conditional = np.linalg.inv(x.T @ dense(precision, rho) @ x)
        np.testing.assert_allclose(own @ noise @ own.T, conditional, rtol=1e-7, atol=1e-9)
    # Up to a constant that no hyperparameter enters.
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-8)


def test_dependent_directions_are_left_alone() -> None:
    """On the areas with neighbours a column of X may be constant."""
    x = np.column_stack([np.ones(6), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]])[None]
    directions = Directions(x, np.ones((1, 6)))
    assert directions.on(np.arange(6)) is not None
    assert directions.on(np.arange(4)) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("sd_phi", "HalfNormal(0.7)"),
        ("sd_phi", "HalfStudentT(3, 2)"),
        ("sd_phi", "HalfCauchy(1.5)"),
        ("sd_phi", "Exponential(2)"),
        ("sd_phi", "PC(1, 0.1)"),
        ("sd_phi", "Uniform(0, 3)"),
        ("rho", "Uniform(-1, 1)"),
        ("rho", "Beta(2, 0.5)"),
        ("eta0", "Normal(1, 0.5)"),
        ("correlation", "LKJ(3)"),
    ],
)
def test_priors_have_the_density_of_the_exact_engine(kind, text) -> None:
    """The engine maps normal numbers by quantiles: its density is theirs over the map's slope."""
    prior = parse_prior(kind, text)
    coordinate = coordinates((Parameter(kind, kind, (0, 1)),), {kind: prior}, 2)[0]
    gaps = []
    for u in (-1.2, -0.3, 0.4, 1.7):
        value = prior.from_normal(u)
        slope = (prior.from_normal(u + 1e-5) - prior.from_normal(u - 1e-5)) / 2e-5
        x = _coordinate(coordinate, value)
        got, complement, log_density = coordinate.at(np.float64(x))
        assert float(got) == pytest.approx(value, rel=1e-6)
        assert float(complement) == pytest.approx(1.0 - value, abs=1e-6)
        step = (float(coordinate.at(np.float64(x + 1e-5))[0]) - float(coordinate.at(np.float64(x - 1e-5))[0])) / 2e-5
        gaps.append(float(log_density) - (stats.norm.logpdf(u) - np.log(slope) + np.log(step)))
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-4)


def _coordinate(coordinate, value: float) -> float:
    low, high = -40.0, 40.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float(coordinate.at(np.float64(middle))[0]) < value else (low, middle)
    return low


def test_roots_of_correlation_matrices() -> None:
    partial = np.array([0.4, -0.6, 0.2, 0.9, -0.1, 0.5])
    root = np.asarray(correlation_root(partial, 4))
    np.testing.assert_allclose((root @ root.T)[np.triu_indices(4, 1)], _from_partial(partial[None], 4)[0], atol=1e-12)
    time = np.asarray(autoregressive_root(np.float64(0.7), 4))
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    np.testing.assert_allclose(time @ time.T, 0.7**apart, atol=1e-12)


def test_diagnostics_of_autoregressive_chains() -> None:
    """N (1 - r) / (1 + r) draws of a chain with autocorrelations r^t are worth so many independent ones."""
    rng, r = np.random.default_rng(6), np.array([0.0, 0.7, -0.4, 0.7])
    draws = rng.normal(size=(4, 5000, 4)) * np.sqrt(1.0 - r**2)
    for t in range(1, 5000):
        draws[:, t] += r * draws[:, t - 1]
    r_hat, ess = convergence(draws)
    np.testing.assert_allclose(ess, 20000 * (1.0 - r) / (1.0 + r), rtol=0.12)
    assert np.all(np.abs(r_hat - 1.0) < 0.005)
    draws[0] += 0.5
    r_hat, ess = convergence(draws)
    assert np.all(r_hat > 1.02)
    assert np.all(ess < 300)
    # Ranks are what counts, and a constant says nothing.
    np.testing.assert_array_equal(convergence(np.exp(draws))[1], ess)
    assert np.isnan(convergence(np.ones((2, 20, 1)))[0][0])


def test_diagnostics_are_those_of_arviz() -> None:
    arviz = pytest.importorskip("arviz")
    rng, r = np.random.default_rng(7), np.array([0.0, 0.6, -0.4, 0.97])
    draws = rng.normal(size=(4, 500, 4))
    for t in range(1, 500):
        draws[:, t] += r * draws[:, t - 1]
    r_hat, ess = convergence(draws)
    np.testing.assert_allclose(ess, [float(arviz.ess(draws[:, :, k])) for k in range(4)], rtol=1e-9)
    ours = [float(arviz.rhat(draws[:, :, k], method="z_scale")) for k in range(4)]
    np.testing.assert_allclose(r_hat, ours, rtol=1e-9)
