"""Importance sampling of densities whose moments are known."""

import numpy as np
import pytest
from smallarea.errors import ModelProblem
from smallarea.unit_level.importance import WeightedPoints, importance_sample

START = np.array([[0.3, 2.0], [0.1, -1.0], [-0.2, 1.0]])


def moments(found: WeightedPoints) -> tuple[np.ndarray, np.ndarray]:
    mean = found.points @ found.weights
    away = found.points - mean[:, None]
    return mean, (away * found.weights) @ away.T


def test_a_normal_density():
    truth = np.array([[1.0, 0.7, 0.0], [0.7, 0.8, -0.1], [0.0, -0.1, 0.05]])
    centre = np.array([1.0, -2.0, 0.5])

    def log_density(x):
        away = x - centre[:, None]
        return 7.0 - 0.5 * np.sum(away * np.linalg.solve(truth, away), axis=0)

    found = importance_sample(log_density, START, 4_000, 2_000.0, np.random.default_rng(1))
    mean, covariance = moments(found)
    np.testing.assert_allclose(found.mode, centre, atol=1e-3)
    # Four standard errors at the effective sample size.
    deviation = np.sqrt(np.diag(truth))
    np.testing.assert_array_less(np.abs(mean - centre), 4.0 * deviation / np.sqrt(found.ess))
    np.testing.assert_allclose(np.diag(covariance), np.diag(truth), rtol=4.0 * np.sqrt(2.0 / found.ess))
    assert found.ess > 2_000.0


def test_exponential_tails():
    # Logarithms of gamma variables with shapes 1 (a long left tail) and 8.
    shapes = np.array([1.0, 8.0, 3.0])

    def log_density(x):
        return np.sum(shapes[:, None] * x - np.exp(x), axis=0)

    found = importance_sample(log_density, START, 4_000, 2_000.0, np.random.default_rng(2))
    mean = np.exp(found.points) @ found.weights
    np.testing.assert_array_less(np.abs(mean - shapes), 4.0 * np.sqrt(shapes / found.ess))
    drawn = np.exp(found.resample(5_000, np.random.default_rng(3)))
    np.testing.assert_array_less(np.abs(drawn.mean(axis=1) - shapes), 5.0 * np.sqrt(shapes / found.ess))


def test_a_density_with_holes():
    def log_density(x):
        return np.where(x[0] > 0.0, -0.5 * np.sum((x - 0.4) ** 2, axis=0), -np.inf)

    found = importance_sample(log_density, START, 2_000, 1_000.0, np.random.default_rng(4))
    assert (found.points[0][found.weights > 0.0] > 0.0).all()


def test_same_seed_same_points():
    def log_density(x):
        return -0.5 * np.sum(x**2, axis=0)

    one, other = (importance_sample(log_density, START, 200, 50.0, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_a_density_that_is_nowhere_is_refused():
    with pytest.raises(ModelProblem, match="no finite value"):
        importance_sample(lambda x: np.full(x.shape[1], -np.inf), START, 100, 50.0, np.random.default_rng(6))
