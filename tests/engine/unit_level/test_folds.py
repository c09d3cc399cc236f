"""Folds of clusters: even, stratified, and whole regions."""

import numpy as np
import pytest
from smallarea.errors import JobProblem
from smallarea.unit_level.folds import block_folds, cluster_folds


@pytest.mark.parametrize(("n", "folds"), [(10, 2), (37, 5), (100, 10)])
def test_folds_are_even_over_all_and_in_each_stratum(n, folds):
    rng = np.random.default_rng(1)
    strata = rng.choice(["urban", "rural", "camp"], size=n, p=[0.3, 0.6, 0.1]).tolist()
    found = cluster_folds(n, folds, rng, strata)
    for name in ("urban", "rural", "camp"):
        counts = np.bincount(found[np.array(strata) == name], minlength=folds)
        assert np.ptp(counts) <= 1
    assert np.ptp(np.bincount(found, minlength=folds)) <= 1


def test_folds_follow_the_seed_and_not_the_strata_alone():
    strata = ["a"] * 20 + ["b"] * 20
    one, same, other = (cluster_folds(40, 4, np.random.default_rng(seed), strata) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert not np.array_equal(one[:4], np.arange(4))


def test_blocks_are_regions():
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    truth = rng.integers(4, size=80)
    found = block_folds(centres[truth] + rng.normal(size=(80, 2)), 4, rng)
    for group in range(4):
        assert len(np.unique(found[truth == group])) == 1
    assert len(np.unique(found)) == 4


def test_many_blocks_make_even_folds():
    rng = np.random.default_rng(4)
    points = rng.uniform(size=(200, 2))
    found = block_folds(points, 4, rng, blocks=24)
    assert np.ptp(np.bincount(found)) <= 15
    # Neighbours mostly share a fold: far more often than one time in four.
    distance = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) + 9.0 * np.eye(200)
    assert np.mean(found == found[distance.argmin(axis=1)]) > 0.6


def test_what_is_refused():
    rng = np.random.default_rng(5)
    for folds in (1, 11):
        with pytest.raises(JobProblem, match="10 clusters cannot"):
            cluster_folds(10, folds, rng)
        with pytest.raises(JobProblem, match="10 clusters cannot"):
            block_folds(rng.uniform(size=(10, 2)), folds, rng)
    for blocks in (2, 11):
        with pytest.raises(JobProblem, match="from 3 to 10 blocks"):
            block_folds(rng.uniform(size=(10, 2)), 3, rng, blocks)
