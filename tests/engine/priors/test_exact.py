"""Exact roots, draws and covariances against dense algebra."""

import numpy as np
import pytest
from graphs import planar_graph
from smallarea.areas.graph import AreaGraph
from smallarea.errors import GraphProblem, PriorProblem
from smallarea.priors import exact_prior, family

GRAPH = planar_graph(40, seed=1, islands=2, parts=2)
FAMILIES = ["car", "leroux", "bym2", "icar"]


def dense_covariance(name, graph, rho):
    """Covariance of the areas with neighbours, by inverting dense matrices."""
    keep = np.flatnonzero(graph.degrees > 0)
    w = graph.adjacency.toarray()[np.ix_(keep, keep)]
    laplacian = np.diag(w.sum(axis=1)) - w
    n = len(w)
    if name == "car":
        return np.linalg.inv(np.diag(w.sum(axis=1)) - rho * w)
    if name == "leroux":
        return np.linalg.inv(rho * laplacian + (1.0 - rho) * np.eye(n))
    intrinsic = np.linalg.pinv(laplacian, rcond=1e-10)
    if name == "icar":
        return intrinsic
    labels = graph.component_labels[keep]
    scale = np.ones(n)
    for label in np.unique(labels):
        part = labels == label
        scale[part] = np.exp(np.mean(np.log(np.diag(intrinsic)[part])))
    return rho * intrinsic / scale[:, None] + (1.0 - rho) * np.eye(n)


def value_of(name, rho):
    return np.empty(0) if name == "icar" else np.array([rho])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("rho", [0.0, 0.7, 0.99])
def test_covariance_three_ways(name, rho):
    exact = exact_prior(family(name), GRAPH)
    truth, value = dense_covariance(name, GRAPH, rho), value_of(name, rho)
    np.testing.assert_allclose(exact.covariance(value), truth, atol=1e-9)
    noise = np.eye(exact.latent_size)
    root = exact.root(np.tile(value, (len(noise), 1)), noise)
    np.testing.assert_allclose(root.T @ root, truth, atol=1e-9)
    low, high = exact.pattern.edges.T
    np.testing.assert_allclose(exact.entries(value), np.concatenate([np.diag(truth), truth[low, high]]), atol=1e-9)


@pytest.mark.parametrize("name", ["car", "leroux", "bym2"])
def test_a_root_for_each_value(name):
    exact = exact_prior(family(name), GRAPH)
    rng = np.random.default_rng(2)
    values, z = exact.family.draw(rng, 11), rng.standard_normal((11, exact.latent_size))
    one_by_one = np.vstack([exact.root(v[None], e[None]) for v, e in zip(values, z, strict=True)])
    np.testing.assert_allclose(exact.root(values, z), one_by_one, atol=1e-12)


def test_draws_have_the_covariance():
    exact = exact_prior(family("car"), GRAPH)
    draws = exact.draws(np.full((40_000, 1), 0.9), np.random.default_rng(3))
    truth = dense_covariance("car", GRAPH, 0.9)
    # Var of an empirical covariance of normals: (c_ii c_jj + c_ij^2) / draws; the largest of 1,600 stays below 4.5 SE.
    error = (draws.T @ draws / len(draws) - truth) / np.sqrt(
        (np.outer(np.diag(truth), np.diag(truth)) + truth**2) / len(draws)
    )
    assert np.abs(error).max() < 4.5
    assert error.std() == pytest.approx(1.0, abs=0.15)


def test_neighbours_are_as_alike_as_the_formula_says():
    """The released code of the paper solved with L where it needs L': this is what tells them apart."""
    exact = exact_prior(family("car"), GRAPH)
    precision = np.linalg.inv(dense_covariance("car", GRAPH, 0.9))
    wrong = np.linalg.inv(np.linalg.cholesky(precision))
    assert np.linalg.norm(wrong @ wrong.T - np.linalg.inv(precision)) > 0.1 * np.linalg.norm(np.linalg.inv(precision))
    np.testing.assert_allclose(exact.covariance(np.array([0.9])), np.linalg.inv(precision), atol=1e-9)


def test_training_distributions():
    rng = np.random.default_rng(4)
    near = family("car", upper=0.999, distribution="closeness").draw(rng, 20_000)[:, 0]
    # A third of the range of -log(1 - rho) lies in each of [0, .9], [.9, .99] and [.99, .999].
    shares = np.histogram(near, [0.0, 0.9, 0.99, 0.999])[0] / len(near)
    np.testing.assert_allclose(shares, 1.0 / 3.0, atol=4.0 * np.sqrt(2.0 / 9.0 / len(near)))
    even = family("car").draw(rng, 20_000)[:, 0]
    assert even.min() >= 0.0
    assert even.max() <= 0.99
    assert even.mean() == pytest.approx(0.495, abs=4 * 0.99 / np.sqrt(12 * 20_000))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: family("carr"), "Unknown spatial prior 'carr'"),
        (lambda: family("car", upper=1.0), r"lies in \[0, 1\)"),
        (lambda: family("car", lower=0.5, upper=0.4), "lower < upper"),
        (lambda: family("icar", upper=0.5), "no hyperparameter"),
        (lambda: family("car", distribution="normal"), "Unknown distribution"),
        (lambda: exact_prior(family("gp"), GRAPH), "polygon layer"),
    ],
)
def test_what_is_refused(call, match):
    with pytest.raises(PriorProblem, match=match):
        call()


def test_a_graph_of_islands_has_no_field():
    with pytest.raises(GraphProblem, match="No two areas"):
        exact_prior(family("car"), AreaGraph.from_edges(["a", "b"], []))


def test_families_survive_json():
    for name in (*FAMILIES, "gp"):
        one = family(name)
        assert type(one).from_json(one.to_json()) == one
