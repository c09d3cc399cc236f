"""The permutation test: the right size, power, and the arithmetic of its statistic."""

import numpy as np
import pytest
from smallarea.priors.fidelity.two_samples import BANDWIDTHS, contrast_test, mean_discrepancy


def test_the_statistic_is_the_unbiased_squared_discrepancy():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 3)) + 0.5
    found = mean_discrepancy(x, y, rng, permutations=19).squared
    both = np.concatenate([x, y])
    distance = ((both[:, None] - both[None]) ** 2).sum(axis=2)
    median = np.median(distance[np.triu_indices(12, 1)])
    for width, value in zip(BANDWIDTHS, found, strict=True):
        kernel = np.exp(-distance / (2 * width**2 * median))
        within = (kernel[:6, :6].sum() - 6 + kernel[6:, 6:].sum() - 6) / 30
        assert value == pytest.approx(within - 2 * kernel[:6, 6:].mean(), abs=1e-12)


def test_p_values_of_equal_distributions_are_uniform():
    rng = np.random.default_rng(2)
    p = [
        mean_discrepancy(rng.standard_normal((30, 4)), rng.standard_normal((30, 4)), rng, permutations=99).p
        for _ in range(200)
    ]
    # Binomial standard errors of 200 tests.
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=3 * np.sqrt(0.09 / 200))
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=3 * np.sqrt(0.25 / 200))


@pytest.mark.parametrize("change", ["scale", "dependence"])
def test_a_different_distribution_is_found(change):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((300, 10)), rng.standard_normal((300, 10))
    y = 1.4 * y if change == "scale" else np.sqrt(0.5) * y + np.sqrt(0.5) * rng.standard_normal((300, 1))
    assert mean_discrepancy(x, y, rng, permutations=199).p == pytest.approx(1 / 200)


def test_constant_fields_are_no_evidence():
    zeros = np.zeros((10, 3))
    assert mean_discrepancy(zeros, zeros, np.random.default_rng(4), permutations=19).p == 1.0


def test_contrasts_see_a_heavy_tail_that_has_the_right_variance():
    rng = np.random.default_rng(5)
    edges = np.column_stack([np.arange(9), np.arange(1, 10)])
    x = rng.standard_normal((2000, 10))
    _, same = contrast_test(x, rng.standard_normal((2000, 10)), edges, rng)
    _, other = contrast_test(x, rng.standard_t(3, size=(2000, 10)) / np.sqrt(3), edges, rng)
    assert same > 0.01
    assert other < 1e-4
