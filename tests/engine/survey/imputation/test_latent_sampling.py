"""Conditional draws against what is known exactly: a decoder that is linear makes everything normal."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm
from smallarea.survey.imputation.latent_sampling import draw_missing
from smallarea.survey.imputation.network_table import NetworkTable

torch = pytest.importorskip("torch")

D, P, ROWS = 3, 5, 20_000


@dataclass(frozen=True)
class Linear:
    """x = mu + W'z + noise, with an encoder that is far from the posterior: a shrunken mean, another spread."""

    loadings: np.ndarray
    centre: np.ndarray
    noise: np.ndarray
    needs_complete_rows: bool
    latent: int = D

    def decode(self, z):
        mean = z @ torch.tensor(self.loadings).float() + torch.tensor(self.centre).float()
        return mean, torch.tensor(self.noise).float().log().expand(len(z), -1)

    def encode(self, x, observed):
        weight = torch.tensor(self.loadings / self.noise).float()
        precision = torch.eye(D) + weight @ torch.tensor(self.loadings).float().T
        centred = x - torch.tensor(self.centre).float()
        if not self.needs_complete_rows:
            centred = centred * observed
        mean = 0.6 * torch.linalg.solve(precision, weight @ centred.T).T
        return mean, torch.full_like(mean, -0.5)


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(D, P)), rng.normal(size=P), np.array([0.3, 0.5, 0.2, 0.4, 0.6])
    return lambda complete: Linear(*parts, complete)


def conditional(linear, row, missing):
    covariance = linear.loadings.T @ linear.loadings + np.diag(linear.noise)
    seen = ~missing
    gain = covariance[np.ix_(missing, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    mean = linear.centre[missing] + gain @ (row - linear.centre)[seen]
    return mean, covariance[np.ix_(missing, missing)] - gain @ covariance[np.ix_(seen, missing)]


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("places", [[0, 3], [1], [0, 1, 2, 3]])
def test_draws_have_the_exact_conditional_distribution(model, complete, places):
    linear = model(complete)
    row = np.random.default_rng(3).normal(size=P)
    missing = np.isin(np.arange(P), places)
    table = NetworkTable.of_numbers(np.tile(np.where(missing, np.nan, row), (ROWS, 1)))
    found = draw_missing(linear, table, sweeps=60, rng=np.random.default_rng(1))
    mean, covariance = conditional(linear, row, missing)
    drawn = found.values[:, missing]
    sd = np.sqrt(np.diag(covariance))
    # Rows are independent chains: errors of a mean, and of a covariance, at 4.5 standard errors.
    assert np.max(np.abs(drawn.mean(axis=0) - mean) / sd) < 4.5 / np.sqrt(ROWS)
    assert np.max(np.abs(np.cov(drawn.T, ddof=0) - covariance) / np.outer(sd, sd)) < 4.5 * np.sqrt(2.0 / ROWS)
    assert 0.05 < found.acceptance < 0.95
    assert np.array_equal(found.values[:, ~missing], np.tile(row[~missing], (ROWS, 1)))


def test_a_cell_known_up_to_an_interval_is_integrated_over_it(model):
    linear = model(True)
    lower, upper = 0.4, np.inf
    values = np.tile([np.nan, 0.7, np.nan, np.nan, np.nan], (ROWS, 1))
    low, high = np.full((2, *values.shape), np.nan)
    low[:, 1], high[:, 1] = lower, upper
    table = NetworkTable(values, np.zeros(values.shape, dtype=bool), low, high)
    found = draw_missing(linear, table, sweeps=60, rng=np.random.default_rng(2)).values
    covariance = linear.loadings.T @ linear.loadings + np.diag(linear.noise)
    sd = np.sqrt(covariance[1, 1])
    # The mean of a normal variable above a limit, and the regression of the others on it.
    cut = (lower - linear.centre[1]) / sd
    excess = sd * norm.pdf(cut) / norm.sf(cut)
    for k in (0, 2, 3, 4):
        wanted = linear.centre[k] + covariance[k, 1] / covariance[1, 1] * excess
        assert abs(found[:, k].mean() - wanted) < 4.5 * np.sqrt(covariance[k, k] / ROWS)
    assert np.all(found[:, 1] == 0.7)


@pytest.mark.parametrize("complete", [True, False])
def test_structural_cells_are_neither_drawn_nor_used(model, complete):
    linear = model(complete)
    row = np.array([np.nan, 0.5, np.nan, -0.3, 1.1])
    values = np.tile(row, (ROWS, 1))
    structural = np.zeros(values.shape, dtype=bool)
    structural[:, 2] = True
    blank = np.full(values.shape, np.nan)
    found = draw_missing(
        linear, NetworkTable(values, structural, blank, blank), sweeps=60, rng=np.random.default_rng(4)
    ).values
    mean, covariance = conditional(linear, np.nan_to_num(row), np.isnan(row))
    assert np.isnan(found[:, 2]).all()
    assert abs(found[:, 0].mean() - mean[0]) < 4.5 * np.sqrt(covariance[0, 0] / ROWS)
    assert abs(found[:, 0].var() / covariance[0, 0] - 1.0) < 4.5 * np.sqrt(2.0 / ROWS)


def test_the_same_seed_draws_the_same(model):
    values = np.where(np.eye(P) > 0, np.nan, 0.3)
    one, two, other = (
        draw_missing(model(True), NetworkTable.of_numbers(values), sweeps=5, rng=np.random.default_rng(seed)).values
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_complete_table_stays_as_it_is(model):
    values = np.ones((4, P))
    found = draw_missing(model(True), NetworkTable.of_numbers(values), sweeps=5, rng=np.random.default_rng(1))
    assert np.array_equal(found.values, values)
    assert np.isnan(found.acceptance)


@dataclass(frozen=True)
class Parabola:
    """x_1 = z, x_2 = z^2, x_3 = z / 5, each with noise; the encoder believes the cell of x_1, drawn or not."""

    needs_complete_rows: bool = True
    latent: int = 1
    variance: float = 0.04

    def decode(self, z):
        mean = torch.column_stack([z, z**2, 0.2 * z])
        return mean, torch.tensor([0.01, self.variance, 0.25]).log().expand(len(z), -1)

    def encode(self, x, observed):
        return x[:, :1], torch.full((len(x), 1), -4.0)


def test_chains_cross_between_modes():
    """x_2 says that z is near 1.5 or -1.5, and x_3 says how likely each is; both by quadrature."""
    rows, row = 6_000, np.array([0.0, 2.25, 0.3])
    values = np.tile(row, (rows, 1))
    values[:, 0] = np.nan
    drawn = draw_missing(Parabola(), NetworkTable.of_numbers(values), sweeps=50, rng=np.random.default_rng(1)).values
    z = np.linspace(-4.0, 4.0, 80_001)
    density = norm.pdf(z) * norm.pdf(row[1], z**2, 0.2) * norm.pdf(row[2], 0.2 * z, 0.5)
    density /= density.sum()
    positive, mean = density[z > 0].sum(), (density * z).sum()
    sd = np.sqrt((density * z**2).sum() - mean**2 + 0.01)
    assert 0.66 < positive < 0.68  # both modes count, one twice as much as the other
    # Chains are finite, and a candidate in twenty is of use here: one per cent is left. Without candidates every
    # chain stays where it began, half of them on either side.
    assert abs((drawn[:, 0] > 0).mean() - positive) < 0.03
    assert abs(drawn[:, 0].mean() - mean) < 0.09
    assert drawn[:, 0].std() == pytest.approx(sd, rel=0.04)
