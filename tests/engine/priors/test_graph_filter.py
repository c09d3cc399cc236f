"""The graph filter against exact covariances, on graphs that its weights have never seen."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from graphs import planar_graph
from smallarea.areas.graph import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.priors import SpatialPrior, bind, exact_prior, family
from smallarea.priors.graph_filter import FilterSettings, standard_filter, train_filter

GRAPH = planar_graph(150, seed=1, islands=2, parts=2)
CLOSE = 1.0 - 1e-4


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def family_of(name):
    return family(name) if name == "icar" else family(name, upper=CLOSE)


def value_of(name, rho):
    return jnp.empty(0) if name == "icar" else jnp.array([rho])


def covariance(decoder, value):
    rows = jax.jit(jax.vmap(lambda z: decoder.decode(z, value)))(jnp.eye(decoder.latent_size))
    return np.asarray(rows.T @ rows)


@pytest.mark.parametrize("name", ["car", "leroux", "bym2", "icar"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.99, 0.999])
def test_covariance_within_the_bar(name, rho):
    exact = exact_prior(family_of(name), GRAPH)
    decoder = bind(standard_filter(exact.family, GRAPH), GRAPH)
    truth = exact.covariance(np.asarray(value_of(name, rho)))
    found = covariance(decoder, value_of(name, rho))
    inside = found[np.ix_(exact.nodes, exact.nodes)]
    assert np.linalg.norm(inside - truth) < 0.005 * np.linalg.norm(truth)
    alone = np.flatnonzero(GRAPH.degrees == 0)
    own = {"car": 0.0, "icar": 0.0, "leroux": 1.0 / (1.0 - rho), "bym2": 1.0}[name]
    np.testing.assert_allclose(np.diag(found)[alone], own)
    np.testing.assert_allclose(found[np.ix_(exact.nodes, alone)], 0.0)


@pytest.mark.parametrize("name", ["car", "leroux"])
def test_no_direction_is_wrong_by_more_than_the_record_says(name):
    """The recorded error bounds the covariance in every direction, on every graph, for every rho."""
    prior = standard_filter(family_of(name), GRAPH)
    for seed, rho in ((2, 0.9), (3, 0.998), (4, CLOSE)):
        graph = planar_graph(120, seed=seed)
        root = np.linalg.cholesky(exact_prior(prior.family, graph).covariance(np.array([rho])))
        whitened = np.linalg.solve(root, np.linalg.solve(root, covariance(bind(prior, graph), jnp.array([rho]))).T)
        errors = np.abs(np.linalg.eigvalsh(0.5 * (whitened + whitened.T)) - 1.0)
        assert errors.max() <= 1.1 * prior.training["largest_error"] + 1e-6


def test_the_error_falls_with_the_degree_as_theory_says():
    a = 1.0 + 2.0 * 0.05 / 1.95
    rate = a + np.sqrt(a * a - 1.0)
    errors = {degree: train_filter(FilterSettings(degree, 0.95))[1]["largest_error"] for degree in (8, 16, 24)}
    for low, high in itertools.pairwise(errors):
        # The root of the pole at 1 / r adds the half power.
        theory = rate ** (low - high) * (low / high) ** 0.5
        assert errors[high] / errors[low] == pytest.approx(theory, rel=0.1)


def test_derivatives_against_differences():
    decoder = bind(standard_filter(family("car", upper=CLOSE), GRAPH), GRAPH)
    rng = np.random.default_rng(5)
    z, weight = rng.standard_normal(decoder.latent_size), rng.standard_normal(decoder.n)

    @jax.jit
    def target(z, rho):
        return jnp.sum(weight * jnp.tanh(decoder.decode(z, jnp.stack([rho]))))

    for rho in (0.3, 0.99):
        along, by_rho = jax.jit(jax.grad(target, (0, 1)))(jnp.asarray(z), jnp.asarray(rho))
        step = rng.standard_normal(len(z))
        differences = (target(z + 1e-5 * step, rho) - target(z - 1e-5 * step, rho)) / 2e-5
        assert float(along @ step) == pytest.approx(float(differences), rel=1e-6)
        differences = (target(z, rho + 1e-6) - target(z, rho - 1e-6)) / 2e-6
        assert float(by_rho) == pytest.approx(float(differences), rel=1e-5)


def test_one_prior_serves_another_order_and_another_map():
    prior = standard_filter(family("car"), planar_graph(30, seed=9))
    value = jnp.array([0.9])
    order = np.random.default_rng(6).permutation(len(GRAPH.ids))
    shuffled = GRAPH.reorder([GRAPH.ids[i] for i in order])
    first, second = (covariance(bind(prior, graph), value) for graph in (GRAPH, shuffled))
    np.testing.assert_allclose(second, first[np.ix_(order, order)], atol=1e-10)


def test_single_precision_is_close():
    prior = standard_filter(family("car"), GRAPH)
    double = bind(prior, GRAPH)
    z = np.random.default_rng(7).standard_normal(double.latent_size)
    wide = double.decode(jnp.asarray(z), jnp.array([0.9]))
    with jax.enable_x64(False):
        narrow = bind(prior, GRAPH, "float32").decode(jnp.asarray(z), jnp.array([0.9]))
        assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(narrow), np.asarray(wide), atol=2e-5)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: FilterSettings.of(family("gp")), "cannot imitate the family 'gp'"),
        (lambda: FilterSettings(0, 0.9), "whole number from 1 to 512"),
        (lambda: FilterSettings(8, 1.0), "between 0 and 1"),
        (lambda: bind(standard_filter(family("car"), GRAPH), GRAPH, "float16"), "'float64' or 'float32'"),
    ],
)
def test_what_is_refused(call, match):
    with pytest.raises(PriorProblem, match=match):
        call()


def test_weights_that_do_not_fit_the_settings():
    prior = standard_filter(family("car"), GRAPH)
    for weights in ({}, {"coefficients": prior.weights["coefficients"][:-1]}, {**prior.weights, "more": np.zeros(1)}):
        broken = SpatialPrior("graph-filter", prior.family, prior.ids, prior.edges, prior.settings, weights)
        with pytest.raises(PriorProblem, match="one table of coefficients"):
            bind(broken, GRAPH)


def test_other_geographies_are_refused_by_name():
    settings, weights = {"latent": 1}, {"w": np.zeros(1, dtype=np.float32)}
    dense = SpatialPrior("decoder", family("car"), GRAPH.ids, GRAPH.edges, settings, weights)
    other = AreaGraph.from_edges(["a0", "x"], [(0, 1)])
    with pytest.raises(PriorProblem, match=r"151 areas only in the prior: 'a1'.*1 areas only on the map: 'x'"):
        bind(dense, other)
    fewer = AreaGraph.from_edges(GRAPH.ids, GRAPH.edges[1:])
    changed = [GRAPH.ids[i] for i in GRAPH.edges[0]]
    with pytest.raises(PriorProblem, match=f"2 areas have other neighbours: '{sorted(changed)[0]}'"):
        bind(dense, fewer)
