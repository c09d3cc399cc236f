"""Networks and their training: the loss by hand, what the encoder may see, best weights, seeds."""

import numpy as np
import pytest
from smallarea.errors import JobProblem, ModelProblem
from smallarea.survey.imputation.network_moments import generated_moments
from smallarea.survey.imputation.network_settings import NetworkSettings
from smallarea.survey.imputation.network_table import NetworkTable
from smallarea.survey.imputation.network_training import train_network
from smallarea.survey.imputation.networks import LOG_VARIANCE_LIMIT, MaskAwareNetwork, NumericNetwork
from smallarea.survey.imputation.vae_fit import fit_networks

torch = pytest.importorskip("torch")

SMALL = NetworkSettings(hidden=16, epochs=40, patience=4)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def table():
    """300 rows of four correlated columns."""
    rng = np.random.default_rng(1)
    covariance = 0.5 + 0.5 * np.eye(4)
    return rng.multivariate_normal(np.zeros(4), covariance, size=300)


def start(network, seed=1):
    generator = torch.Generator()
    generator.manual_seed(seed)
    return network.initial(generator)


def plain(weights):
    return {name: value.detach().double().numpy() for name, value in weights.items()}


@pytest.mark.parametrize("kind", [NumericNetwork, MaskAwareNetwork])
def test_the_loss_is_the_negative_evidence_bound_written_out(kind):
    network = kind(4, NetworkSettings(hidden=5, latent=3))
    weights = start(network)
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    seen = rng.uniform(size=(6, 4)) < 0.7
    found = network.loss(
        weights, torch.tensor(x).float(), torch.tensor(seen).float(), torch.tensor(noise).float()
    ).item()

    w = plain(weights)
    masked = kind is MaskAwareNetwork

    def bend(a):
        return a / (1.0 + np.exp(-a)) if masked else np.maximum(a, 0.0)

    given = np.where(seen, x, w["fill"]) if masked else x
    hidden = bend(given @ w["encoder_hidden_weight"] + w["encoder_hidden_bias"])
    if masked:
        pattern = bend(seen @ w["mask_hidden_weight"] + w["mask_hidden_bias"])
        hidden = hidden + pattern @ w["mask_out_weight"] + w["mask_out_bias"]
    out = hidden @ w["encoder_out_weight"] + w["encoder_out_bias"]
    mean, log_variance = out[:, :3], out[:, 3:]
    z = mean + np.exp(0.5 * log_variance) * noise
    hidden = bend(z @ w["decoder_hidden_weight"] + w["decoder_hidden_bias"])
    out = hidden @ w["decoder_out_weight"] + w["decoder_out_bias"]
    centre, spread = out[:, :4], np.clip(out[:, 4:], -LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
    cells = 0.5 * ((x - centre) ** 2 / np.exp(spread) + spread + np.log(2.0 * np.pi))
    divergence = 0.5 * np.sum(mean**2 + np.exp(log_variance) - log_variance - 1.0, axis=1)
    wanted = np.mean(np.sum(np.where(seen, cells, 0.0), axis=1) + divergence)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_the_mask_aware_encoder_does_not_look_at_missing_cells():
    network = MaskAwareNetwork(4, SMALL)
    weights = start(network)
    seen = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    one, other = torch.tensor([[0.3, 5.0, -1.0, 7.0]]), torch.tensor([[0.3, -2.0, -1.0, 0.0]])
    assert torch.equal(network.encode(weights, one, seen)[0], network.encode(weights, other, seen)[0])
    assert not torch.equal(network.encode(weights, one, seen)[0], network.encode(weights, one, 1.0 - seen)[0])


def test_dropout_keeps_expectations_and_needs_a_source_of_randomness():
    network = MaskAwareNetwork(4, NetworkSettings(hidden=8, dropout=0.2))
    weights = start(network)
    x, seen = torch.ones((40_000, 4)), torch.ones((40_000, 4))
    generator = torch.Generator()
    generator.manual_seed(1)
    exact = network.encode(weights, x[:1], seen[:1])[0][0]
    noisy = network.encode(weights, x, seen, generator)[0]
    error = noisy.std(dim=0) / np.sqrt(len(x))
    assert torch.all((noisy.mean(dim=0) - exact).abs() < 4.5 * error)


def test_training_returns_the_best_weights_not_the_last(table):
    seen = np.ones(table.shape, dtype=bool)
    # A rate at which the loss soon climbs again: the best epoch is not the last.
    settings = NetworkSettings(hidden=16, epochs=60, patience=8, rate=0.03)
    losses = []
    heard = lambda _, text: losses.append(float(text.split()[-1]))  # noqa: E731
    trained = train_network(NumericNetwork(4, settings), table, seen, seed=1, progress=heard)
    assert trained.record["best_epoch"] < trained.record["epochs"]
    shorter = train_network(
        NumericNetwork(4, NetworkSettings(hidden=16, epochs=trained.record["best_epoch"], patience=60, rate=0.03)),
        table,
        seen,
        seed=1,
    )
    for name, value in trained.weights.items():
        assert torch.equal(value, shorter.weights[name])
    assert trained.record["best_loss"] == pytest.approx(min(losses), rel=1e-4)


def test_the_same_seed_gives_the_same_network(table):
    one, two, other = (
        fit_networks("vae-masked", NetworkTable.of_numbers(table), SMALL, seed=seed).correlation() for seed in (1, 1, 2)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_generated_moments_are_those_of_generated_tables(table):
    fitted = fit_networks("vae", NetworkTable.of_numbers(table), SMALL, seed=1)
    network = fitted.trained[0]
    generator = torch.Generator()
    generator.manual_seed(9)
    z = torch.randn((200_000, network.latent), generator=generator)
    mean, log_variance = network.decode(z)
    x = (mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=generator)).double().numpy()
    centre, covariance = generated_moments(network, seed=1)
    scale = np.sqrt(np.diag(covariance))
    assert np.max(np.abs(x.mean(axis=0) - centre) / scale) < 5.0 * np.sqrt(2.0 / len(x))
    assert np.max(np.abs(np.cov(x.T) - covariance) / np.outer(scale, scale)) < 5.0 * np.sqrt(2.0 * 2.0 / len(x))


def test_complete_rows_are_needed_by_vae_alone(table):
    rng = np.random.default_rng(3)
    holes = np.where(rng.uniform(size=table.shape) < 0.5, np.nan, table)
    with pytest.raises(ModelProblem, match="vae-masked"):
        fit_networks("vae", NetworkTable.of_numbers(holes), SMALL, seed=1)
    assert fit_networks("vae-masked", NetworkTable.of_numbers(holes), SMALL, seed=1).draw(rng).shape == table.shape


def test_several_networks_learn_from_bootstrap_samples(table):
    settings = NetworkSettings(hidden=16, epochs=10, networks=3)
    fitted = fit_networks("vae", NetworkTable.of_numbers(table), settings, seed=1)
    losses = {one.record["best_loss"] for one in fitted.trained}
    assert len(losses) == 3
    assert len(fitted.record["networks"]) == 3


def test_batches_grow_with_the_table():
    settings = NetworkSettings()
    assert [settings.batch_for(n) for n in (100, 10_000, 80_000)] == [32, 32, 512]
    assert NetworkSettings(batch=100).batch_for(80_000) == 100


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"hidden": 0}, "hidden"),
        ({"sweeps": 2.5}, "sweeps"),
        ({"latent": -1}, "latent"),
        ({"rate": "fast"}, "rate"),
        ({"rate": 0.0}, "rate"),
        ({"dropout": 1.0}, "dropout"),
        ({"held_out": 0.0}, "held_out"),
    ],
)
def test_impossible_settings_are_refused_by_name(given, word):
    with pytest.raises(JobProblem, match=word):
        NetworkSettings(**given)
