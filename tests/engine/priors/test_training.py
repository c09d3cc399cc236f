"""Training: fresh draws, the best weights by copy, and a stopped run that ends where an uninterrupted one does."""

import json

import numpy as np
import pytest
import torch
from graphs import planar_graph
from smallarea.errors import Cancelled, EngineUnavailable, ModelProblem, OutputProblem, PriorProblem
from smallarea.priors import SpatialPrior, exact_prior, family
from smallarea.priors.networks.aggregate import decoded_moments, frobenius, imitated
from smallarea.priors.networks.modules import VaeNetwork
from smallarea.priors.networks.network_settings import BetaVaeSettings, DecoderSettings
from smallarea.priors.networks.stream import DrawStream
from smallarea.priors.networks.training import chosen_device, train_network

GRAPH = planar_graph(20, seed=3, islands=1)
EXACT = exact_prior(family("car"), GRAPH)
# Three chunks of 64 batches.
VAE = BetaVaeSettings(steps=1400, batch=32, rate=5e-3)
DECODER = DecoderSettings(start="random", terms=3, degree=4, steps=1400, batch=32, rate=1e-2, last_rate=1e-4)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class StopAfter:
    """A user who cancels at the first report beyond so many percent."""

    def __init__(self, percent):
        self.percent = percent
        self.texts = []

    def __call__(self, percent, text):
        self.texts.append(text)
        if percent > self.percent:
            raise Cancelled("enough")


@pytest.mark.parametrize("settings", [VAE, DECODER], ids=["beta-vae", "decoder"])
def test_a_stopped_training_ends_where_an_uninterrupted_one_does(settings, tmp_path):
    whole = train_network(EXACT, settings.architecture, settings, seed=1)
    path = tmp_path / "training.npz"
    stop = StopAfter(30.0)
    with pytest.raises(Cancelled):
        train_network(EXACT, settings.architecture, settings, seed=1, progress=stop, checkpoint=path)
    assert path.exists()
    assert "loss" in stop.texts[-1]
    resumed = train_network(EXACT, settings.architecture, settings, seed=1, checkpoint=path)
    assert same(whole.weights, resumed.weights)
    assert whole.record["losses"] == resumed.record["losses"]
    assert not path.exists()
    other = train_network(EXACT, settings.architecture, settings, seed=2)
    assert not same(whole.weights, other.weights)


@pytest.mark.parametrize("settings", [VAE, DECODER], ids=["beta-vae", "decoder"])
def test_training_learns_and_says_how(settings):
    trained = train_network(EXACT, settings.architecture, settings, seed=1)
    record = trained.record
    assert record["best_loss"] < 0.99 * record["start_loss"]
    if settings is VAE:
        # Least loss of a linear network (Tipping and Bishop 1999): noise beta / 2 in each direction that is kept.
        noise = 0.5 / EXACT.n
        variances = np.linalg.eigvalsh(imitated(EXACT).covariance())
        assert record["best_loss"] < 1.05 * np.sum(noise * (1.0 + np.log(variances / noise)))
    assert record["draws"] == 1400 * 32
    assert record["losses"][0][0] == 0
    assert json.loads(json.dumps(record)) == record
    assert all(weight.dtype == np.float32 for weight in trained.weights.values())
    prior = SpatialPrior(
        settings.architecture, EXACT.family, GRAPH.ids, GRAPH.edges, settings.to_json(), trained.weights, record
    )
    assert prior.fingerprint == GRAPH.fingerprint


def test_the_cure_makes_second_moments_exact():
    trained = train_network(EXACT, "beta-vae", VAE, seed=1)
    mean, covariance = decoded_moments(trained.weights)
    assert np.abs(mean).max() < 1e-5
    assert frobenius(covariance, imitated(EXACT).covariance()) < 1e-4
    errors = trained.record["covariance_errors"]
    assert errors["none"] > errors["aggregate"] > errors["close"]


def test_the_best_weights_are_a_copy():
    # A learning rate that throws the weights away after the first chunks: the start from roots stays the best.
    settings = DecoderSettings(steps=1536, batch=32, rate=0.5, last_rate=0.4, patience=2)
    trained = train_network(EXACT, "decoder", settings, seed=1)
    start = train_network(EXACT, "decoder", DecoderSettings(steps=1, batch=32, rate=1e-12, last_rate=1e-12), seed=1)
    assert trained.record["best_step"] == 0
    assert trained.record["stopped_early"]
    assert trained.record["losses"][-1][2] > 100.0 * trained.record["best_loss"]
    np.testing.assert_allclose(trained.weights["matrices"], start.weights["matrices"], atol=1e-9)


def test_draws_are_fresh_and_a_function_of_seed_and_step():
    stream = DrawStream(VaeNetwork(EXACT, VAE), 5, "cpu")
    (first,) = stream.draws("training", 0, 2)
    assert torch.equal(first, stream.draws("training", 0, 2)[0])
    assert not torch.equal(first, stream.draws("training", 2, 2)[0])
    assert not torch.equal(first, stream.draws("validation", 0, 2)[0])
    assert first.shape == (64, 20)
    assert len(torch.unique(first[:, 0])) == 64


def test_several_makers_of_draws_make_the_same(monkeypatch):
    stream = DrawStream(VaeNetwork(EXACT, VAE), 5, "cpu")
    alone = [part[0] for part in stream.chunks(0)]
    monkeypatch.setattr(DrawStream, "makers", 4)
    together = [part[0] for part in stream.chunks(0)]
    assert len(alone) == 3
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    rest = [part[0] for part in stream.chunks(512)]
    assert all(torch.equal(a, b) for a, b in zip(alone[1:], rest, strict=True))


def test_draws_have_the_covariance_of_the_mixture():
    stream = DrawStream(VaeNetwork(EXACT, BetaVaeSettings()), 6, "cpu")
    x = torch.cat([stream.draws("training", k, 64)[0] for k in range(10)]).double().numpy()
    wanted = imitated(EXACT).covariance()
    variances = np.diag(wanted)
    # Standard errors of covariances from the fourth moments, which the mixture makes larger than those of a Gaussian.
    spread = np.sqrt(((x.T**2 @ x**2) / len(x) - wanted**2) / len(x))
    assert np.abs((x.T @ x / len(x) - wanted) / spread).max() < 5.0
    assert np.abs(x.mean(axis=0) / np.sqrt(variances / len(x))).max() < 4.5


def test_a_loss_that_explodes_is_reported():
    with pytest.raises(ModelProblem, match="smaller rate"):
        train_network(EXACT, "beta-vae", BetaVaeSettings(steps=600, batch=32, rate=1e3), seed=1)


def test_checkpoints_of_others_are_refused(tmp_path):
    path = tmp_path / "training.npz"
    with pytest.raises(Cancelled):
        train_network(EXACT, "beta-vae", VAE, seed=1, progress=StopAfter(30.0), checkpoint=path)
    before = path.read_bytes()
    elsewhere = exact_prior(family("car"), planar_graph(20, seed=9))
    for exact, seed in ((EXACT, 2), (elsewhere, 1)):
        with pytest.raises(OutputProblem, match="belongs to a training with other settings"):
            train_network(exact, "beta-vae", VAE, seed=seed, checkpoint=path)
    assert path.read_bytes() == before
    for damaged in (before[: len(before) // 2], b"not an archive", b""):
        path.write_bytes(damaged)
        with pytest.raises(OutputProblem, match="not a checkpoint of a training"):
            train_network(EXACT, "beta-vae", VAE, seed=1, checkpoint=path)


def test_what_does_not_fit_is_refused():
    with pytest.raises(PriorProblem, match="settings of 'decoder'"):
        train_network(EXACT, "beta-vae", DECODER, seed=1)
    with pytest.raises(PriorProblem, match="Unknown device"):
        chosen_device("tpu")
    if not torch.cuda.is_available():
        assert chosen_device("auto") == "cpu"
        with pytest.raises(EngineUnavailable, match="no GPU"):
            chosen_device("cuda")


@pytest.mark.parametrize("name", ["leroux", "bym2", "icar"])
def test_other_families(name):
    exact = exact_prior(family(name), GRAPH)
    settings = DecoderSettings(steps=64, batch=32)
    trained = train_network(exact, "decoder", settings, seed=1)
    conditional = name != "icar"
    expected = settings.shapes(exact.n, exact.latent_size, conditional)
    assert {key: value.shape for key, value in trained.weights.items()} == expected
    vae = train_network(exact, "beta-vae", BetaVaeSettings(steps=64, batch=32, latent=5), seed=1)
    assert set(vae.weights) == set(BetaVaeSettings().shapes(exact.n))
