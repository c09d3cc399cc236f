"""The dense networks against brute force: coordinates, starts, losses, and the cure of the prior hole."""

import itertools

import numpy as np
import pytest
import torch
from graphs import planar_graph
from smallarea.errors import PriorProblem
from smallarea.priors import exact_prior, family
from smallarea.priors.networks.aggregate import (
    aggregate_posterior,
    cured,
    decoded_moments,
    elu,
    frobenius,
    imitated,
    nearest_map,
)
from smallarea.priors.networks.coordinate import coordinate, values_at
from smallarea.priors.networks.modules import DecoderNetwork, VaeNetwork, chebyshev
from smallarea.priors.networks.network_settings import BetaVaeSettings, DecoderSettings, network_settings
from smallarea.priors.networks.stream import stratified

GRAPH = planar_graph(30, seed=4, islands=2, parts=2)
GRAPH_FAMILIES = ["car", "leroux", "bym2", "icar"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def decoded_root(weights, prior, value):
    """Transposed root of the supervised decoder in float64, from its definition."""
    t = coordinate(prior.family, value, np)
    basis = chebyshev(np, np.asarray(t), len(weights["mixing"]))
    g = np.exp(basis @ weights["scale"]) * (basis @ weights["mixing"])
    return np.einsum("r,rmn->mn", g, weights["matrices"])


@pytest.mark.parametrize("name", ["car", "leroux", "bym2", "gp"])
def test_coordinate_and_back(name):
    which = family(name)
    t = np.linspace(-1.0, 1.0, 9)
    values = values_at(which, t)
    one = which.hyperparameters[0]
    np.testing.assert_allclose(values[[0, -1], 0], [one.lower, one.upper], atol=1e-12)
    assert (np.diff(values[:, 0]) > 0).all()
    np.testing.assert_allclose(coordinate(which, values, np), t, atol=1e-7)


def test_chebyshev_polynomials():
    angle = np.linspace(0.1, 3.0, 7)
    expected = np.cos(np.arange(6) * angle[:, None])
    np.testing.assert_allclose(chebyshev(np, np.cos(angle), 6), expected, atol=1e-12)
    assert chebyshev(np, np.zeros(3), 1).shape == (3, 1)


@pytest.mark.parametrize("name", GRAPH_FAMILIES)
def test_start_from_roots_has_the_exact_covariance(name):
    exact = exact_prior(family(name), GRAPH)
    network = DecoderNetwork(exact, DecoderSettings(terms=8))
    weights = network.initial(np.random.default_rng(0)) | network.fixed()
    for rho in (0.0, 0.37, 0.8, 0.99):
        value = np.empty(0) if name == "icar" else np.array([rho])
        root = decoded_root(weights, exact, value)
        assert frobenius(root.T @ root, exact.covariance(value)) < 2e-3


def test_more_matrices_approximate_better():
    exact = exact_prior(family("car", upper=0.999), GRAPH)
    errors = []
    for terms in (1, 2, 4, 8):
        network = DecoderNetwork(exact, DecoderSettings(terms=terms))
        weights = network.initial(np.random.default_rng(0)) | network.fixed()
        roots = [(decoded_root(weights, exact, np.array([rho])), np.array([rho])) for rho in (0.1, 0.5, 0.9, 0.99)]
        errors.append(max(frobenius(root.T @ root, exact.covariance(rho)) for root, rho in roots))
    assert errors[0] > 0.05
    assert all(later < 0.5 * earlier for earlier, later in itertools.pairwise(errors))


def test_loss_of_the_decoder():
    exact = exact_prior(family("car"), GRAPH)
    network = DecoderNetwork(exact, DecoderSettings(terms=3, degree=12, start="random"))
    rng = np.random.default_rng(1)
    weights = network.initial(rng) | network.fixed()
    values = np.full((5, 1), 0.6)
    z, x, t = network.batch(values, rng)
    scale = np.exp(chebyshev(np, t[:1], 13)[0] @ weights["scale"])
    # The scale is what the mean variance is the square of.
    assert scale**2 == pytest.approx(np.diag(exact.covariance(values[0])).mean(), rel=1e-3)
    expected = np.mean(((z @ decoded_root(weights, exact, values[0]) - x) / scale) ** 2)
    tensors = {name: torch.tensor(value) for name, value in weights.items()}
    loss = network.loss(tensors, tuple(torch.tensor(a) for a in (z, x, t)), torch.Generator())
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_loss_of_the_autoencoder():
    exact = exact_prior(family("car"), GRAPH)
    network = VaeNetwork(exact, BetaVaeSettings(latent=7, width=11))
    w = network.initial(np.random.default_rng(2))
    assert {name: value.shape for name, value in w.items() if name in network.settings.shapes(30)} == (
        network.settings.shapes(30)
    )
    (x,) = network.batch(np.full((6, 1), 0.5), np.random.default_rng(3))
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in w.items()}
    data = (torch.tensor(x, dtype=torch.float32),)
    loss = float(network.loss(tensors, data, torch.Generator().manual_seed(5)))
    noise = torch.randn((6, 7), generator=torch.Generator().manual_seed(5)).numpy()
    hidden = elu(x @ w["encoder_weight"] + w["encoder_bias"])
    mean, spread = (hidden @ w[f"{part}_weight"] + w[f"{part}_bias"] for part in ("mean", "spread"))
    z = mean + np.exp(spread / 2.0) * noise
    back = elu(z @ w["hidden_weight"] + w["hidden_bias"]) @ w["output_weight"] + w["output_bias"]
    divergence = 0.5 * (mean**2 + np.exp(spread) - spread - 1.0).sum(axis=1)
    expected = np.mean(((x - back) ** 2).sum(axis=1) + divergence / 7.0)
    assert loss == pytest.approx(expected, rel=1e-5)


def vae_weights(rng, latent=5, width=9, n=6):
    return {
        "hidden_weight": rng.standard_normal((latent, width)),
        "hidden_bias": rng.standard_normal(width),
        "output_weight": rng.standard_normal((width, n)),
        "output_bias": rng.standard_normal(n),
    }


def test_moments_of_the_decoder_without_simulation():
    rng = np.random.default_rng(6)
    w = vae_weights(rng)
    mean, covariance = decoded_moments(w)
    z = rng.standard_normal((400_000, 5))
    x = elu(z @ w["hidden_weight"] + w["hidden_bias"]) @ w["output_weight"] + w["output_bias"]
    error = np.sqrt(np.diag(covariance) / len(z))
    assert np.abs(x.mean(axis=0) - mean).max() < (4.5 * error).max()
    simulated = np.cov(x.T)
    # Standard error of a covariance, from the fourth moments of the draws themselves.
    centred = x - x.mean(axis=0)
    spread = np.sqrt(((centred.T**2 @ centred**2) / len(z) - simulated**2) / len(z))
    assert np.abs((simulated - covariance) / spread).max() < 4.5


def test_moments_agree_with_quadrature_for_one_latent_variable():
    # Two units of one latent variable are fully correlated, where the series converges most slowly.
    w = {
        "hidden_weight": np.array([[1.3, -0.7]]),
        "hidden_bias": np.array([0.2, -0.4]),
        "output_weight": np.eye(2),
        "output_bias": np.zeros(2),
    }
    u = np.linspace(-10.0, 10.0, 200_001)
    p = np.exp(-u * u / 2.0) / np.sqrt(2.0 * np.pi) * (u[1] - u[0])
    h = elu(u[:, None] * w["hidden_weight"] + w["hidden_bias"])
    mean, covariance = decoded_moments(w)
    np.testing.assert_allclose(mean, p @ h, atol=1e-9)
    np.testing.assert_allclose(covariance, (h * p[:, None]).T @ h - np.outer(p @ h, p @ h), atol=1e-5)


def test_nearest_map():
    rng = np.random.default_rng(7)
    a, b = (m @ m.T for m in rng.standard_normal((2, 6, 12)))
    across = nearest_map(a, b)
    np.testing.assert_allclose(across, across.T, atol=1e-8)
    np.testing.assert_allclose(across @ a @ across, b, atol=1e-8)
    assert np.linalg.eigvalsh(across).min() > 0
    # Any other map with this covariance moves the field further.
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    other = np.linalg.cholesky(b) @ turn @ np.linalg.inv(np.linalg.cholesky(a))
    np.testing.assert_allclose(other @ a @ other.T, b, atol=1e-8)
    moved = [np.trace((m - np.eye(6)) @ a @ (m - np.eye(6)).T) for m in (across, other)]
    assert moved[0] < moved[1]


def test_nearest_map_without_variance_in_some_directions():
    basis = np.linalg.qr(np.random.default_rng(8).standard_normal((6, 3)))[0]
    across = nearest_map(4.0 * basis @ basis.T, np.eye(6))
    np.testing.assert_allclose(across, np.eye(6) - 0.5 * basis @ basis.T, atol=1e-8)


@pytest.mark.parametrize("name", GRAPH_FAMILIES)
def test_mixture_covariance_is_the_mean_over_the_training_distribution(name):
    exact = exact_prior(family(name), GRAPH)
    values = exact.family.hyperparameters
    grid = (np.arange(2000) + 0.5) / 2000
    points = np.column_stack([values[0].at(grid)]) if values else np.empty((1, 0))
    brute = np.mean([exact.covariance(v) for v in points], axis=0)
    assert frobenius(imitated(exact).covariance(), brute) < 1e-4


def test_aggregate_posterior_of_a_linear_encoder():
    exact = exact_prior(family("car"), GRAPH)
    # Far above zero ELU is the identity, so the encoder is linear and its aggregate posterior known.
    w = {
        "encoder_weight": 0.1 * np.eye(30),
        "encoder_bias": np.full(30, 10.0),
        "mean_weight": 10.0 * np.eye(30),
        "mean_bias": np.full(30, -99.0),
        "spread_weight": np.zeros((30, 30)),
        "spread_bias": np.full(30, -1.0),
    }
    mean, covariance = aggregate_posterior(exact, w, np.random.default_rng(9))
    expected = imitated(exact).covariance() + np.exp(-1.0) * np.eye(30)
    assert np.abs(mean - 1.0).max() < 5.0 * np.sqrt(np.diag(expected).max() / 50_000)
    assert frobenius(covariance, expected) < 0.03


@pytest.mark.parametrize("cure", ["none", "aggregate", "close"])
def test_cures_change_the_weights_and_nothing_else(cure):
    exact = exact_prior(family("car"), GRAPH)
    settings = BetaVaeSettings(cure=cure)
    weights = VaeNetwork(exact, settings).initial(np.random.default_rng(10))
    kept, record = cured(exact, settings, weights, np.random.default_rng(11))
    assert {name: value.shape for name, value in kept.items()} == settings.shapes(30)
    assert list(record["covariance_errors"])[-1] == cure
    mean, covariance = decoded_moments(kept)
    if cure == "close":
        np.testing.assert_allclose(mean, 0.0, atol=1e-10)
        assert frobenius(covariance, imitated(exact).covariance()) < 1e-6
    if cure == "none":
        np.testing.assert_array_equal(kept["hidden_weight"], weights["hidden_weight"])


def test_strata_are_all_hit():
    values = stratified(family("car"), np.random.default_rng(12), 20)[:, 0]
    assert sorted(np.floor(values / 0.99 * 20).astype(int)) == list(range(20))


@pytest.mark.parametrize("settings", [BetaVaeSettings(latent=4, beta=0.5), DecoderSettings(terms=3)])
def test_settings_survive_json(settings):
    assert network_settings(settings.architecture, settings.to_json()) == settings


@pytest.mark.parametrize(
    ("architecture", "content", "message"),
    [
        ("beta-vae", {"cure": "prayer"}, "Unknown cure"),
        ("beta-vae", {"latent": 0}, "latent is a whole number"),
        ("beta-vae", {"latent": True}, "latent is a whole number"),
        ("beta-vae", {"beta": float("nan")}, "beta is a positive number"),
        ("beta-vae", {"terms": 3}, "Unknown settings terms"),
        ("decoder", {"terms": 9, "degree": 3}, "at most 4 matrices"),
        ("decoder", {"start": "here"}, "Unknown start"),
        ("decoder", {"rate": 1e-9}, "last_rate is at most rate"),
        ("graph-filter", {}, "no dense architecture"),
    ],
)
def test_settings_that_mean_nothing(architecture, content, message):
    with pytest.raises(PriorProblem, match=message):
        network_settings(architecture, content)
