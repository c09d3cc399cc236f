"""Posteriors against Gaussian algebra by another route, and against each other."""

import jax
import numpy as np
import pytest
from known_decoders import decoder, lattice, precision
from smallarea.errors import ModelProblem
from smallarea.priors import exact_prior, family
from smallarea.priors.fidelity import posterior_check as module
from smallarea.priors.fidelity.gaussian_posteriors import by_gradients, dense_posterior, exact_posterior, solve
from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.network_posteriors import Sampler, linearised
from smallarea.priors.fidelity.posterior_check import PosteriorChecker
from smallarea.priors.fidelity.reference_field import ReferenceAt, ReferenceMixture
from smallarea.priors.fidelity.simulated_data import simulate

CAR = family("car", upper=0.99)
RHO = np.array([0.9])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def by_precision(graph, data, rho=0.9):
    """Means and variances of theta from the joint precision of field and iid part: no covariance is formed."""
    n = len(graph.ids)
    weight = np.zeros(n)
    weight[data.sampled] = 1.0 / data.noise[data.sampled]
    both = np.block(
        [
            [precision(graph, rho) + np.diag(weight), np.diag(weight)],
            [np.diag(weight), np.eye(n) / data.iid + np.diag(weight)],
        ]
    )
    inverse = np.linalg.inv(both)
    total = np.hstack([np.eye(n), np.eye(n)])
    right = np.vstack([weight[:, None] * data.y] * 2)
    return total @ inverse @ right, np.diag(total @ inverse @ total.T)


def test_dense_posteriors_are_those_of_the_joint_precision():
    graph = lattice(5, 6)
    reference = ReferenceAt(exact_prior(CAR, graph), RHO)
    data = simulate(reference, 0.4, 3, np.random.default_rng(1))
    mean, variance, _ = dense_posterior(reference.covariance(), data)
    expected, expected_variance = by_precision(graph, data)
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-10)
    assert len(data.sampled) == 27


def test_conjugate_gradients_agree_with_dense_algebra_from_any_start():
    graph = lattice(8, 9)
    reference = ReferenceAt(exact_prior(CAR, graph), RHO)
    data = simulate(reference, 0.4, 2, np.random.default_rng(2))
    at = np.array([3, 17, 60])
    mean, variance, _ = dense_posterior(reference.covariance(), data)
    sd = np.sqrt(variance)[:, None]
    for start in (None, np.random.default_rng(3).standard_normal((len(data.sampled), 5))):
        found, _ = by_gradients(reference.times, data, 2, at, start)
        assert np.max(np.abs(found.mean - mean) / sd) < 1e-3
        np.testing.assert_allclose(found.sd[:, 0], sd[at, 0], rtol=1e-4)


def test_a_matrix_that_is_not_positive_definite_is_refused_and_not_used():
    graph = lattice(4, 4)
    reference = ReferenceAt(exact_prior(CAR, graph), RHO)
    data = simulate(reference, 0.4, 1, np.random.default_rng(4))
    with pytest.raises(ModelProblem, match="not positive definite"):
        dense_posterior(-5.0 * np.eye(16), data)
    with pytest.raises(ModelProblem, match="not a number"):
        solve(lambda x: np.nan * x, data, data.y[data.sampled])


def test_the_mixture_weighs_hyperparameters_by_what_the_data_say():
    graph = lattice(6, 6)
    exact = exact_prior(CAR, graph)
    data = simulate(ReferenceMixture(exact), 0.5, 1, np.random.default_rng(5))
    found = exact_posterior(ReferenceMixture(exact), data)
    rho = CAR.hyperparameters[0].at((np.arange(400) + 0.5) / 400)
    parts = [dense_posterior(exact.covariance(np.array([r])), data) for r in rho]
    logs = np.array([part[2][0] for part in parts])
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    means = np.array([part[0][:, 0] for part in parts])
    mean = weights @ means
    variance = weights @ (np.array([part[1] for part in parts]) + (means - mean) ** 2)
    np.testing.assert_allclose(found.mean[:, 0], mean, rtol=0, atol=2e-4)
    np.testing.assert_allclose(found.sd[:, 0], np.sqrt(variance), rtol=1e-3)


def test_the_exact_root_makes_no_difference_and_a_wrong_one_does():
    graph = lattice(5, 6)
    exact = exact_prior(CAR, graph)
    reference = ReferenceAt(exact, RHO)
    found = {
        kind: PosteriorChecker(LearnedField(decoder(graph, CAR, kind), exact.nodes)).check(
            reference, 0.4, np.random.default_rng(6)
        )
        for kind in ("exact", "white", "transposed")
    }
    assert found["exact"].mean_max < 1e-10
    assert found["exact"].sd_low == pytest.approx(1.0, abs=1e-10)
    assert found["white"].mean_max > 0.2
    assert found["transposed"].mean_max > 0.2


def test_the_sampler_agrees_with_algebra_where_the_decoder_is_linear():
    graph = lattice(3, 4)
    reference = ReferenceAt(exact_prior(CAR, graph), RHO)
    data = simulate(reference, 0.4, 1, np.random.default_rng(7))
    learned = LearnedField(decoder(graph, CAR), np.arange(12))
    found = Sampler(learned).posterior(data, 1, RHO, np.random.default_rng(8))
    expected, variance = by_precision(graph, data)
    sd = np.sqrt(variance)
    assert np.max(np.abs(found.mean - expected)[:, 0] / sd) < 4 * found.error
    # The SD of a sample of normal draws has the relative error 1 / sqrt(2 ESS).
    assert np.max(np.abs(found.sd[:, 0] / sd - 1.0)) < 4 * found.error / np.sqrt(2)


def test_linearising_is_exact_for_a_linear_decoder_and_close_for_one_that_bends_little():
    graph = lattice(5, 6)
    reference = ReferenceAt(exact_prior(CAR, graph), RHO)
    data = simulate(reference, 0.4, 2, np.random.default_rng(9))
    expected, variance = by_precision(graph, data)
    sd = np.sqrt(variance)
    at = np.array([0, 7, 29])
    straight = linearised(LearnedField(decoder(graph, CAR), np.arange(30)), data, 2, at, RHO)
    assert np.max(np.abs(straight.mean - expected) / sd[:, None]) < 2e-3
    np.testing.assert_allclose(straight.sd[:, 0], sd[at], rtol=1e-3)
    bent = linearised(LearnedField(decoder(graph, CAR, "bent"), np.arange(30)), data, 2, at, RHO)
    # A field that is 2 % wider pulls the mean up by at most that share of it.
    assert np.max(np.abs(bent.mean - expected)) < 0.02 * np.max(np.abs(data.y))


@pytest.mark.parametrize("kind", ["exact", "smooth", "bent"])
def test_large_maps_are_judged_like_small_ones(kind, monkeypatch):
    graph = lattice(7, 8)
    exact = exact_prior(CAR, graph)
    checker = PosteriorChecker(LearnedField(decoder(graph, CAR, kind), exact.nodes))
    monkeypatch.setattr(module, "DENSE_LIMIT", 10)
    large = checker.check(ReferenceAt(exact, RHO), 0.4, np.random.default_rng(10))
    if kind == "smooth":
        assert large.mean_max > 0.5
        assert large.sd_low < 0.9
    else:
        assert large.mean_max < 0.1
        assert large.sd_low == pytest.approx(1.0, abs=0.03)
    assert large.method == ("linearised at its mode" if kind == "bent" else "exact")
