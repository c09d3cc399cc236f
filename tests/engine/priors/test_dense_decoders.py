"""Decoding in JAX against torch and against NumPy in double precision, on graphs in any order."""

import jax
import numpy as np
import pytest
import torch
from graphs import planar_graph
from smallarea.areas.graph import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.priors import SpatialPrior, bind, exact_prior, family
from smallarea.priors.networks.aggregate import elu
from smallarea.priors.networks.coordinate import coordinate
from smallarea.priors.networks.modules import DecoderNetwork, VaeNetwork, chebyshev, decode
from smallarea.priors.networks.network_settings import BetaVaeSettings, DecoderSettings

GRAPH = planar_graph(30, seed=4, islands=2, parts=2)
DENSE = ["beta-vae", "decoder"]
FAMILIES = ["car", "leroux", "bym2", "icar"]


@pytest.fixture(autouse=True)
def _double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def untrained(architecture, name="car", graph=GRAPH):
    """A prior as training starts with it: roots of the decoder, random weights of the autoencoder."""
    exact = exact_prior(family(name), graph)
    if architecture == "decoder":
        settings = DecoderSettings(terms=8)
        network = DecoderNetwork(exact, settings)
    else:
        settings = BetaVaeSettings(latent=9, width=13)
        network = VaeNetwork(exact, settings)
    made = network.initial(np.random.default_rng(0)) | network.fixed()
    if architecture == "beta-vae":
        made = {key: made[key] for key in settings.shapes(exact.n)}
    weights = {key: value.astype(np.float32) for key, value in made.items()}
    return SpatialPrior(architecture, exact.family, graph.ids, graph.edges, settings.to_json(), weights)


def in_numpy(prior, z, value):
    """The field on the areas with neighbours, in float64."""
    w = {key: array.astype(float) for key, array in prior.weights.items()}
    if prior.architecture == "beta-vae":
        return elu(z @ w["hidden_weight"] + w["hidden_bias"]) @ w["output_weight"] + w["output_bias"]
    basis = chebyshev(np, np.asarray(coordinate(prior.family, value, np)), len(w["mixing"]))
    g = np.exp(basis @ w["scale"]) * (basis @ w["mixing"])
    return sum(g[r] * (z @ w["matrices"][r]) for r in range(len(g)))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("architecture", DENSE)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_decoding_agrees_with_numpy(architecture, name, dtype, tolerance):
    prior = untrained(architecture, name)
    decoder = bind(prior, GRAPH, dtype)
    rng = np.random.default_rng(1)
    z = rng.standard_normal(decoder.latent_size)
    value = np.array([0.73] if prior.conditional else [])
    got = np.asarray(jax.jit(decoder.decode)(z.astype(dtype), value.astype(dtype)))
    assert got.dtype == dtype
    inside = np.flatnonzero(GRAPH.degrees > 0)
    own = decoder.latent_size - (2 if name in ("leroux", "bym2") else 0)
    np.testing.assert_allclose(got[inside], in_numpy(prior, z[:own], value), atol=tolerance)


def test_decoding_agrees_with_torch():
    prior = untrained("beta-vae")
    z = np.random.default_rng(2).standard_normal((4, 9)).astype(np.float32)
    tensors = {key: torch.from_numpy(value) for key, value in prior.weights.items()}
    field = bind(prior, GRAPH, "float32")
    got = jax.vmap(lambda e: field.decode(e, np.empty(0, dtype=np.float32)))(z)
    np.testing.assert_allclose(
        np.asarray(got)[:, GRAPH.degrees > 0], decode(tensors, torch.from_numpy(z)).numpy(), atol=1e-5
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_the_decoder_has_the_exact_covariance_on_all_areas(name):
    prior = untrained("decoder", name)
    decoder = bind(prior, GRAPH)
    exact = exact_prior(prior.family, GRAPH)
    value = np.array([0.9] if prior.conditional else [])
    root = np.asarray(jax.vmap(lambda e: decoder.decode(e, value))(np.eye(decoder.latent_size)))
    covariance = root.T @ root
    inside = np.ix_(exact.nodes, exact.nodes)
    error = np.linalg.norm(covariance[inside] - exact.covariance(value)) / np.linalg.norm(exact.covariance(value))
    assert error < 2e-3
    alone = np.flatnonzero(GRAPH.degrees == 0)
    expected = {"car": 0.0, "icar": 0.0, "leroux": 10.0, "bym2": 1.0}[name]
    np.testing.assert_allclose(covariance[np.ix_(alone, alone)], expected * np.eye(len(alone)), atol=1e-9)


@pytest.mark.parametrize("architecture", DENSE)
def test_the_order_of_the_areas_does_not_matter(architecture):
    prior = untrained(architecture)
    order = np.random.default_rng(3).permutation(len(GRAPH.ids))
    other = GRAPH.reorder([GRAPH.ids[i] for i in order])
    here, there = bind(prior, GRAPH), bind(prior, other)
    z = np.random.default_rng(4).standard_normal(here.latent_size)
    value = np.array([0.5])
    np.testing.assert_allclose(there.decode(z, value), np.asarray(here.decode(z, value))[order], atol=1e-12)


def test_derivatives_in_noise_and_hyperparameter():
    decoder = bind(untrained("decoder"), GRAPH)
    rng = np.random.default_rng(5)
    z, weights = rng.standard_normal(decoder.latent_size), rng.standard_normal(decoder.n)

    def height(value):
        return weights @ decoder.decode(z, value)

    slope = jax.grad(height)(np.array([0.6]))[0]
    step = 1e-6
    numeric = (height(np.array([0.6 + step])) - height(np.array([0.6 - step]))) / (2.0 * step)
    assert float(slope) == pytest.approx(float(numeric), rel=1e-6)


def test_another_geography_is_refused():
    fewer = AreaGraph.from_edges(GRAPH.ids, GRAPH.edges[1:])
    with pytest.raises(PriorProblem, match="other neighbours"):
        bind(untrained("decoder"), fewer)


@pytest.mark.parametrize("architecture", DENSE)
def test_weights_that_do_not_fit_are_named(architecture):
    prior = untrained(architecture)
    name = next(iter(prior.weights))

    def changed(weights=None, settings=None):
        return SpatialPrior(
            architecture,
            prior.family,
            prior.ids,
            prior.edges,
            settings or prior.settings,
            prior.weights if weights is None else weights,
        )

    cases = [
        ({k: v for k, v in prior.weights.items() if k != name}, f"{name} is missing"),
        ({**prior.weights, "extra": np.zeros(3, dtype=np.float32)}, "extra is unknown"),
        ({**prior.weights, name: prior.weights[name][..., :-1]}, f"{name} has shape"),
        ({**prior.weights, name: np.full_like(prior.weights[name], np.nan)}, "not finite"),
        ({**prior.weights, name: np.float32(1.0)}, f"{name} has shape"),
    ]
    for weights, message in cases:
        with pytest.raises(PriorProblem, match=message):
            bind(changed(weights), GRAPH)
    with pytest.raises(PriorProblem, match="Unknown settings"):
        bind(changed(settings={"depth": 3}), GRAPH)
