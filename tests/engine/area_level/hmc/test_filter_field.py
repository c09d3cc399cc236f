"""Coordinates of a graph filter's white noise against its decoder and dense algebra; no chain is run."""

import numpy as np
import pytest
from smallarea.area_level.hmc import filter_field
from smallarea.area_level.hmc.filter_field import FilterField
from smallarea.area_level.hmc.natural import Natural
from smallarea.area_level.hmc.whitening import Pull
from smallarea.priors.decoders import bind
from smallarea.priors.families import family
from smallarea.priors.graph_filter import standard_filter

jax = pytest.importorskip("jax")

N, K, RHO = 24, 2, 0.97


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def at(rho: float, sd: float = 1.3, off: float = 0.4) -> Natural:
    import jax.numpy as jnp

    zero, one = jnp.zeros(K), jnp.ones(K)
    root = jnp.array([[1.0, 0.0], [off, np.sqrt(1.0 - off**2)]])
    return Natural(zero, sd * one, rho * one, (1.0 - rho) * one, zero, root, True, zero[1:], zero[1:], jnp.zeros(()))


FAMILIES = ("car", "leroux", "bym2", "icar")


@pytest.fixture(params=[*((name, modes) for name in FAMILIES for modes in ("all", "smooth")), ("car", "smooth, one a")])
def case(request, planar_graph, monkeypatch):
    """A field with all modes, or with smooth ones and the polynomial; its decoder; data; unknowns."""
    name, modes = request.param
    every = modes == "all"
    if not every:
        monkeypatch.setattr(filter_field, "EVERY_MODE_UP_TO", 0)
    if modes == "smooth, one a":
        monkeypatch.setattr(filter_field, "TRACED_UP_TO", 0)
    graph = planar_graph(N, islands=2)
    rng = np.random.default_rng(5)
    weights = rng.uniform(0.0, 4.0, (N, K)) * (rng.uniform(size=(N, K)) > 0.3)
    designs = [np.column_stack([np.ones(N), rng.normal(size=N)]), np.ones((N, 1))]
    prior = standard_filter(family(name), graph)
    field = FilterField(prior, graph, designs, weights)
    return field, bind(prior, graph), Pull(weights, rng.normal(size=(N, K))), rng.normal(size=field.shape), every


def derivatives(field, pull, u, natural):
    """Derivatives of fields and of white noise in the unknowns, as matrices."""
    psi, white = jax.jit(jax.jacrev(lambda x: field.fields(x, natural, pull)[:2]))(u)
    return np.asarray(psi).reshape(N * K, -1), np.asarray(white).reshape(u.size, -1)


def test_the_determinant_is_the_one_it_says(case) -> None:
    field, _, pull, u, _ = case
    for rho in (0.05, RHO):
        _, white, log_derivative = field.fields(u, at(rho), pull)
        assert float(log_derivative) == pytest.approx(
            np.linalg.slogdet(derivatives(field, pull, u, at(rho))[1])[1], abs=1e-8
        )
        density = field.unit(u, at(rho), pull)[1]
        assert float(density) == pytest.approx(float(log_derivative) - 0.5 * float((white**2).sum()), rel=1e-12)


def test_the_prior_is_that_of_the_decoder(case) -> None:
    """Field for field where both take the same modes, otherwise in their covariance."""
    field, decoder, pull, u, every = case
    values = np.array([RHO] if decoder.hyperparameters else [])
    psi, white, _ = field.fields(u, at(RHO), pull)
    if not every:
        want = np.column_stack([decoder.decode(white[:, k], values) for k in range(K)])
        np.testing.assert_allclose(psi, want, atol=1e-10)
    by_u, white_by_u = derivatives(field, pull, u, at(RHO))
    root = by_u @ np.linalg.inv(white_by_u)
    dense = np.asarray(jax.jacrev(lambda z: decoder.decode(z, values))(np.zeros(decoder.latent_size)))
    np.testing.assert_allclose(root @ root.T, np.kron(dense @ dense.T, np.eye(K)), atol=1e-9)
    # White noise of mean zero: the shift towards the data is none of the field's.
    np.testing.assert_allclose(root @ np.asarray(white).ravel(), np.asarray(psi).ravel(), atol=1e-9)


@pytest.mark.parametrize("every", [True, False])
def test_even_information_makes_the_unknowns_white(planar_graph, monkeypatch, every) -> None:
    """Where areas have as much information as neighbours, the unknowns are the posterior's own white noise."""
    if not every:
        monkeypatch.setattr(filter_field, "EVERY_MODE_UP_TO", 0)
    graph = planar_graph(N)
    degrees = graph.degrees.astype(float)
    weights = 0.7 * np.repeat(degrees[:, None], K, axis=1)
    field = FilterField(standard_filter(family("car"), graph), graph, [np.empty((N, 0))] * K, weights)
    pull = Pull(weights, np.random.default_rng(6).normal(size=(N, K)))
    zero = np.zeros(field.shape)
    centre = np.asarray(field.fields(zero, at(RHO, off=0.0), pull)[0])
    by_u = derivatives(field, pull, zero, at(RHO, off=0.0))[0]
    precision = np.diag(degrees) - RHO * graph.adjacency.toarray()
    covariance = np.linalg.inv(precision + 1.3**2 * np.diag(weights[:, 0]))
    # The filter's covariance is exact to 0.35 %.
    np.testing.assert_allclose(by_u @ by_u.T, np.kron(covariance, np.eye(K)), atol=4e-3 * covariance.max())
    np.testing.assert_allclose(centre, covariance @ (1.3 * weights * pull.residual), atol=4e-3 * np.abs(centre).max())


def test_what_a_covariate_could_stand_for_is_left_to_the_prior(planar_graph) -> None:
    graph = planar_graph(N)
    prior = standard_filter(family("car"), graph)
    weights = np.random.default_rng(7).uniform(0.5, 2.0, (N, K))
    field = FilterField(prior, graph, [np.ones((N, 1)), np.empty((N, 0))], weights)
    # The constant of the map comes first, before those of the components; without an intercept the data tell it.
    constant = np.asarray(field._root.modes)[:, 0] * np.asarray(field._root.scale)
    assert np.ptp(constant) < 1e-10
    np.testing.assert_allclose(field._share[0], [0.0, 1.0], atol=1e-12)
    assert np.all(field._share[1:, 1] == 1.0)
    assert np.all(field._share[1:, 0] > 0.5)
