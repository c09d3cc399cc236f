"""The study of autoencoders in small: what its masked network made of a fault, the cure, and attenuation by means."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from smallarea.survey.imputation.fit_quality import srmr
from smallarea.survey.imputation.network_settings import NetworkSettings
from smallarea.survey.imputation.network_table import NetworkTable
from smallarea.survey.imputation.networks import MaskAwareNetwork
from smallarea.survey.imputation.vae_fit import fit_networks

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def study():
    """The benchmark's methods: its data, and the network with the fault, which is not part of the product."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "imputation_methods.py"
    spec = importlib.util.spec_from_file_location("imputation_methods", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["imputation_methods"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["imputation_methods"]


def fitted(study, method, n, share, network=None, **settings):
    _, holes = study.simulate(n, share, 1)
    table = NetworkTable.of_numbers((holes - np.nanmean(holes, axis=0)) / np.nanstd(holes, axis=0))
    chosen = NetworkSettings(**settings)
    found = fit_networks(method, table, chosen, seed=1, network=network(12, chosen) if network else None)
    return found.correlation()


def mean_size(correlation):
    return np.mean(np.abs(correlation[np.tril_indices(12, -1)]))


def test_the_truth_is_the_matrix_of_the_study(study):
    assert np.linalg.eigvalsh(study.TRUTH).min() == pytest.approx(0.227, abs=0.001)
    assert mean_size(study.TRUTH) == pytest.approx(0.224, abs=0.001)


def test_dividing_the_loss_by_the_number_of_answers_collapses_and_the_sum_cures(study):
    settings = {"latent": 12, "dropout": 0.2}
    fault = fitted(study, "vae-masked", 1_000, 0.2, study.LossDividedByObserved, **settings)
    cured = fitted(study, "vae-masked", 1_000, 0.2, MaskAwareNetwork, **settings)
    # A collapsed network generates independent columns: its SRMR is that of the identity matrix.
    nothing = srmr(np.eye(12), study.TRUTH)
    assert nothing == pytest.approx(0.261, abs=0.001)
    assert srmr(fault, study.TRUTH) == pytest.approx(nothing, abs=0.005)
    assert mean_size(fault) < 0.01
    assert srmr(cured, study.TRUTH) < 0.12


def test_after_mean_imputation_the_network_learns_the_filled_table(study):
    """Filled with means, 20 % of the cells, correlations are 0.8 of the true ones; no network can know better."""
    _, holes = study.simulate(1_500, 0.2, 1)
    filled = np.corrcoef(np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes).T)
    assert mean_size(filled) / mean_size(study.TRUTH) == pytest.approx(0.8, abs=0.03)
    learned = fitted(study, "vae-mean", 1_500, 0.2)
    assert mean_size(learned) / mean_size(study.TRUTH) < 0.85
    assert srmr(learned, filled) < srmr(learned, study.TRUTH)


def test_the_bars(study, size):
    """At full size: the networks of the product on the sizes of the study."""
    if not size(0, 1):
        pytest.skip("SMALLAREA_STUDY=full trains networks on 10,000 rows")
    assert srmr(fitted(study, "vae", 10_000, 0.0), study.TRUTH) <= 0.03
    assert srmr(fitted(study, "vae-masked", 5_000, 0.2), study.TRUTH) <= 0.08
