"""Errors of second moments against dense algebra, and estimates without the floor that draws have."""

import jax
import numpy as np
import pytest
from known_decoders import decoder, lattice, precision
from smallarea.priors import exact_prior, family
from smallarea.priors.fidelity.drawn_moments import Drawn, cross_error, measure_by_draws
from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.measures import Moments, correlation, measure, measure_densely
from smallarea.priors.fidelity.pairs import make_pairs
from smallarea.priors.fidelity.projections import measure_by_projections, project
from smallarea.priors.fidelity.reference_field import ReferenceAt, ReferenceMixture, quadrature

CAR = family("car", upper=0.99)
RHO = np.array([0.9])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def prepared(graph, kind="exact", rows=10_000):
    exact = exact_prior(CAR, graph)
    learned = LearnedField(decoder(graph, CAR, kind), exact.nodes)
    return learned, ReferenceAt(exact, RHO), make_pairs(graph, np.random.default_rng(1), rows)


def test_a_linear_decoder_is_known_from_one_that_bends_and_one_that_is_shifted():
    graph = lattice(4, 5)
    rng = np.random.default_rng(2)
    found = {kind: prepared(graph, kind)[0].is_linear(RHO, rng) for kind in ("exact", "transposed", "bent", "shifted")}
    assert found == {"exact": True, "transposed": True, "bent": False, "shifted": False}


def test_blocks_of_any_size_give_the_same_as_one_by_one():
    learned, _, _ = prepared(lattice(4, 5))
    z = np.random.default_rng(3).standard_normal((300, learned.latent_size))
    together = learned.fields(z, RHO)
    alone = np.array([learned.fields(one[None], RHO)[0] for one in z[[0, 255, 256, 299]]])
    np.testing.assert_allclose(together[[0, 255, 256, 299]], alone, rtol=0, atol=1e-13)


def test_pull_is_the_transpose_of_the_fields():
    learned, _, _ = prepared(lattice(4, 5), "wrong side")
    rng = np.random.default_rng(4)
    z, x = rng.standard_normal((1, learned.latent_size)), rng.standard_normal((1, learned.n))
    left = float(learned.fields(z, RHO)[0] @ x[0])
    right = float(z[0] @ learned.pull(x, np.zeros(learned.latent_size), RHO)[0])
    assert left == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("island", [False, True])
def test_errors_of_a_linear_decoder_are_those_of_dense_algebra(island):
    graph = lattice(5, 6, island)
    learned, reference, pairs = prepared(graph, "wrong side")
    found = measure(learned, reference, pairs, 100, np.random.default_rng(5))
    q = precision(graph, 0.9)
    lower = np.linalg.cholesky(q)
    exact, wrong = np.linalg.inv(q), np.linalg.inv(lower.T @ lower)
    assert found.method == "exact"
    assert found.frobenius.value == pytest.approx(np.linalg.norm(wrong - exact) / np.linalg.norm(exact), rel=1e-9)
    np.testing.assert_allclose(found.variance_ratio, np.diag(wrong) / np.diag(exact), rtol=1e-9)
    first, second = pairs.edges[3]
    expected = wrong[first, second] / np.sqrt(wrong[first, first] * wrong[second, second])
    assert found.learned.correlations(pairs)[0][3] == pytest.approx(expected, rel=1e-9)


def test_srmr_divides_by_the_entries_on_and_below_the_diagonal():
    # Residual correlations of 0.1 everywhere off the diagonal of 12 variables: sqrt(66 * 0.01 / 78).
    exact = np.eye(12)
    learned = np.eye(12) + 0.1 * (1.0 - np.eye(12))
    graph = lattice(3, 4)
    found = measure_densely(learned, exact, make_pairs(graph, np.random.default_rng(0), 100))
    assert found.srmr.value == pytest.approx(np.sqrt(66 * 0.01 / 78), rel=1e-12)


def test_second_neighbours_share_a_neighbour_and_are_none():
    graph = lattice(4, 5)
    pairs = make_pairs(graph, np.random.default_rng(0), 100)
    adjacency = graph.adjacency.toarray()
    expected = np.argwhere(np.triu((adjacency @ adjacency > 0) & (adjacency == 0), 1))
    np.testing.assert_array_equal(pairs.second[np.lexsort(pairs.second.T[::-1])], expected)


def test_projections_agree_with_dense_algebra_within_their_error():
    graph = lattice(15, 16)
    learned, reference, pairs = prepared(graph, "smooth", rows=60)
    found = measure_by_projections(learned, reference, pairs, np.random.default_rng(6))
    truth = measure_densely(learned.covariance(RHO), reference.covariance(), pairs)
    assert found.frobenius.value == pytest.approx(truth.frobenius.value, abs=4 * found.frobenius.se + 1e-12)
    assert found.srmr.value == pytest.approx(truth.srmr.value, abs=4 * found.srmr.se)
    off = np.abs(found.variance_ratio - truth.variance_ratio)
    assert np.quantile(off, 0.9) < 3 * found.ratio_se
    assert np.mean(found.variance_ratio) == pytest.approx(np.mean(truth.variance_ratio), abs=found.ratio_se)
    np.testing.assert_allclose(found.learned.second, truth.learned.second, rtol=1e-9)
    np.testing.assert_allclose(found.exact.edges, truth.exact.edges, rtol=1e-9)


def test_a_sketch_has_the_norm_of_a_matrix_that_one_direction_dominates():
    rng = np.random.default_rng(7)
    base = rng.standard_normal((200, 200))
    matrix = base @ base.T / 200 + 400 * np.ones((200, 200)) / 200
    square, se = project(lambda x: matrix @ x, 200, 48, rng).squared_norm
    truth = np.sum(matrix**2)
    assert se / truth < 1e-3
    assert square == pytest.approx(truth, abs=4 * se)


def test_the_cross_product_of_batches_has_no_floor():
    # Exact draws: the plain squared error of their covariance has the expectation (tr(C)^2 + |C|^2) / B.
    graph = lattice(5, 6)
    exact = exact_prior(CAR, graph)
    reference = ReferenceAt(exact, RHO)
    covariance = reference.covariance()
    norm = float(np.sum(covariance**2))
    rng = np.random.default_rng(11)
    found = []
    for _ in range(60):
        fields = reference.draws(160, rng)
        found.append(cross_error(Drawn(fields, None), covariance.__matmul__, norm))
    values, errors = np.array(found).T
    floor = (np.trace(covariance) ** 2 + norm) / 160
    standard = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean()) < 3 * standard
    assert standard < floor / 20
    # The jackknife knows how much a single estimate scatters.
    assert 0.6 < np.sqrt(np.mean(errors**2)) / values.std(ddof=1) < 1.6


def test_draws_find_the_error_of_a_wrong_covariance_with_and_without_twins():
    graph = lattice(5, 6)
    learned, reference, pairs = prepared(graph, "smooth")
    truth = measure_densely(learned.covariance(RHO), reference.covariance(), pairs)
    found = measure_by_draws(learned, reference, pairs, 4096, np.random.default_rng(12))
    assert found.frobenius.value == pytest.approx(truth.frobenius.value, abs=4 * found.frobenius.se)
    assert found.srmr.value == pytest.approx(truth.srmr.value, abs=4 * found.srmr.se)
    rng = np.random.default_rng(13)
    covariance = reference.covariance()
    twins = reference.draws(4096, rng)
    near = Drawn(twins + 0.05 * np.roll(twins, 1, axis=1), twins)
    mixing = np.eye(30) + 0.05 * np.eye(30)[np.roll(np.arange(30), 1)]
    wrong = np.sum((mixing @ covariance @ mixing.T - covariance) ** 2)
    paired, paired_se = cross_error(near, covariance.__matmul__, float(np.sum(covariance**2)))
    assert paired == pytest.approx(wrong, abs=4 * paired_se)
    assert paired_se < cross_error(Drawn(near.learned, None), covariance.__matmul__, float(np.sum(covariance**2)))[1]


def test_draws_on_a_large_map_agree_with_those_on_a_small_one(monkeypatch):
    from smallarea.priors.fidelity import drawn_moments

    graph = lattice(7, 8)
    learned, reference, pairs = prepared(graph, "bent", rows=20)
    whole = make_pairs(graph, np.random.default_rng(1), 100)
    small = measure_by_draws(learned, reference, whole, 4096, np.random.default_rng(15))
    monkeypatch.setattr(drawn_moments, "DENSE_LIMIT", 10)
    large = measure_by_draws(learned, reference, pairs, 4096, np.random.default_rng(15))
    np.testing.assert_allclose(large.variance_ratio, small.variance_ratio, rtol=1e-9)
    np.testing.assert_allclose(large.exact.edges, small.exact.edges, rtol=1e-9)
    assert large.frobenius.value == pytest.approx(small.frobenius.value, rel=1e-6)
    assert large.srmr.value == pytest.approx(small.srmr.value, rel=1e-6)


def test_a_prior_that_is_not_centred_shows_its_offset():
    learned, reference, pairs = prepared(lattice(5, 6), "shifted")
    found = measure(learned, reference, pairs, 4096, np.random.default_rng(14))
    exact = np.diag(reference.covariance())
    degrees = pairs.degrees
    assert found.method == "draws"
    assert found.offset == pytest.approx(np.sqrt(np.sum(0.09 / degrees) / np.sum(exact)), rel=0.15)


@pytest.mark.parametrize("distribution", ["uniform", "closeness"])
def test_the_mixture_is_the_mean_over_the_training_distribution(distribution):
    of = family("car", lower=0.1, upper=0.999, distribution=distribution)
    graph = lattice(4, 4)
    mixture = ReferenceMixture(exact_prior(of, graph))
    # Means of (D - rho W)^-1 by the trapezium rule on quantiles: another route, far more points.
    probability = (np.arange(20_000) + 0.5) / 20_000
    values, vectors = np.linalg.eigh(
        np.eye(16) - precision(graph, 1.0) / np.sqrt(np.outer(graph.degrees, graph.degrees))
    )
    rho = of.hyperparameters[0].at(probability)
    means = np.mean(1.0 / (1.0 - rho[:, None] * values[None, :]), axis=0)
    expected = (vectors * means) @ vectors.T / np.sqrt(np.outer(graph.degrees, graph.degrees))
    np.testing.assert_allclose(mixture.covariance(), expected, rtol=2e-4)
    weights = [weight for weight, _ in quadrature(of.hyperparameters[0], 8)]
    assert sum(weights) == pytest.approx(1.0)
    entries = mixture.entries()
    np.testing.assert_allclose(entries[:16], np.diag(mixture.covariance()), rtol=1e-10)
    x = np.random.default_rng(1).standard_normal((16, 3))
    np.testing.assert_allclose(mixture.times(x), mixture.covariance() @ x, rtol=1e-9)


def test_an_area_without_variance_has_no_correlation():
    covariance = np.diag([1.0, 0.0, 2.0])
    assert np.all(np.isfinite(correlation(covariance)))
    graph = lattice(1, 3)
    pairs = make_pairs(graph, np.random.default_rng(0), 10)
    first, _ = Moments(np.diag(covariance).copy(), np.zeros(2), np.zeros(len(pairs.second))).correlations(pairs)
    np.testing.assert_array_equal(first, 0.0)
