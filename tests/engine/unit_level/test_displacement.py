"""Displacements and candidates: their distribution by integration, thinning, and what is refused."""

import numpy as np
import pytest
from scipy import integrate, stats
from smallarea.errors import JobProblem, TableProblem
from smallarea.unit_level.candidates import Candidates
from smallarea.unit_level.displacement import Displacement, thin

RURAL = Displacement(5000.0, 0.01, 10_000.0)


def test_distances_are_a_mixture_of_two_uniform_ones():
    u = np.linspace(0.0005, 0.9995, 1000)
    drawn = RURAL.distances(u)
    below = 0.99 * np.minimum(drawn / 5000.0, 1.0) + 0.01 * drawn / 10_000.0
    np.testing.assert_allclose(below, u, atol=1e-12)
    assert RURAL.distances(np.array([1.0]))[0] == pytest.approx(10_000.0)
    assert stats.kstest(Displacement(2000.0).distances(u) / 2000.0, "uniform").statistic < 1e-3


def test_a_spiral_has_the_density_of_the_displacement():
    moved = RURAL.spiral(20_000, np.random.default_rng(1))
    distance, angle = np.hypot(*moved.T), np.arctan2(*moved.T[::-1])
    assert (
        stats.kstest(distance, lambda r: 0.99 * np.clip(r / 5000, 0, 1) + 0.01 * np.clip(r / 1e4, 0, 1)).pvalue > 0.99
    )
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.99
    # The mass of a square beside the centre is the integral of 1 / (2 pi reach r).
    town = Displacement(2000.0).spiral(50_000, np.random.default_rng(2))
    square = np.mean((np.abs(town[:, 0] - 500.0) < 250.0) & (np.abs(town[:, 1]) < 250.0))
    exact = integrate.dblquad(lambda y, x: 1 / (2 * np.pi * 2000.0 * np.hypot(x, y)), 250, 750, -250, 250)[0]
    assert square == pytest.approx(exact, rel=0.02)


def test_impossible_displacements_are_refused():
    for reach, share, far in ((0.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (5.0, 1.5, 9.0), (5.0, 0.1, 4.0), (np.inf, 0.0, 0.0)):
        with pytest.raises(JobProblem):
            Displacement(reach, share, far)


def test_thinning_keeps_every_weight_on_average():
    random = np.random.default_rng(3)
    weights = np.array([0.3, 0.2, 0.15, 0.1, 0.08, 0.05, 0.05, 0.04, 0.02, 0.01])
    made = np.array([thin(weights, 4, random) for _ in range(20_000)])
    np.testing.assert_array_equal((made > 0.0).sum(axis=1), 4)
    np.testing.assert_allclose(made.sum(axis=1), 1.0)
    error = made.std(axis=0) / np.sqrt(len(made))
    assert np.all(np.abs(made.mean(axis=0) - weights) < 4.0 * error + 1e-12)
    # Weights above the threshold stay: here 0.3, and the others share three places.
    np.testing.assert_allclose(made[:, 0], 0.3)
    np.testing.assert_allclose(made[:, 1:][made[:, 1:] > 0.0], 0.7 / 3.0)
    np.testing.assert_array_equal(thin(weights, 10, random), weights)
    one = thin(weights, 1, random)
    assert one.max() == 1.0
    assert np.count_nonzero(one) == 1


def some_candidates():
    starts = np.array([0, 2, 3, 6])
    weights = np.array([0.25, 0.75, 1.0, 0.5, 0.3, 0.2])
    return Candidates(starts, np.arange(12.0).reshape(6, 2), np.arange(6.0)[:, None], weights)


def test_candidates_are_taken_and_drawn_by_weight():
    found = some_candidates()
    other = found.take(np.array([2, 0]))
    np.testing.assert_array_equal(other.covariates[:, 0], [3.0, 4.0, 5.0, 0.0, 1.0])
    np.testing.assert_array_equal(other.starts, [0, 3, 5])
    rows = found.drawn(np.random.default_rng(1), 40_000)
    shares = np.bincount(rows.ravel(), minlength=6) / 40_000
    np.testing.assert_allclose(shares, found.weights, atol=4 * 0.5 / np.sqrt(40_000))
    np.testing.assert_allclose(found.shares((rows - found.starts[:-1]).astype(np.int16)), shares)
    np.testing.assert_allclose(found.effective(found.weights), [1.6, 1.0, 1 / 0.38])
    with pytest.raises(TableProblem, match="sum 1"):
        Candidates(found.starts, found.coordinates, found.covariates, found.weights * 0.9)
    with pytest.raises(TableProblem, match="needs a candidate"):
        Candidates(np.array([0, 2, 2, 6]), found.coordinates, found.covariates, found.weights)
