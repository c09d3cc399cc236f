"""Ranks against counting, normal theory, and fresh draws."""

import numpy as np
import pytest
from scipy import stats
from smallarea.results.draws import estimated
from smallarea.results.ranks import joint_rank_sets, rank_areas


def counted(theta, direction):
    """Rank every draw by counting who is better: the definition, quadratic in the areas."""
    there = theta[:, estimated(theta)] * (1 if direction == "high" else -1)
    better = there[:, None, :] > there[:, :, None]
    equal = there[:, None, :] == there[:, :, None]
    return 1 + better.sum(axis=2) + (equal.sum(axis=2) - 1) / 2


@pytest.mark.parametrize("direction", ["high", "low"])
def test_ranks_by_counting(theta, block_size, direction):
    there = estimated(theta)
    by_hand = counted(theta, direction)
    found = rank_areas(theta, 0.8, 0.25, direction)
    np.testing.assert_allclose(found.mean[there], by_hand.mean(axis=0))
    assert found.n_top == 3  # a quarter of ten areas, rounded up
    np.testing.assert_allclose(found.top[there], (by_hand <= 3).mean(axis=0))
    for name, probability in (("lower", 0.1), ("median", 0.5), ("upper", 0.9)):
        expected = np.sort(by_hand, axis=0)[int(np.ceil(600 * probability - 1e-9)) - 1]
        np.testing.assert_array_equal(getattr(found, name)[there], expected)
    np.testing.assert_array_equal(found.rank[there], stats.rankdata(by_hand.mean(axis=0), method="min"))
    for name in ("rank", "mean", "median", "lower", "upper", "top", "joint_lower", "joint_upper"):
        assert np.isnan(getattr(found, name)[~there]).all()


def test_sums_that_ranks_must_have(theta):
    found = rank_areas(theta, 0.9, 0.3)
    assert np.nansum(found.mean) == pytest.approx(10 * 11 / 2)
    assert np.nansum(found.top) == pytest.approx(found.n_top)


def test_the_other_direction_is_the_mirror_image(theta):
    high, low = rank_areas(theta, 0.9), rank_areas(theta, 0.9, direction="low")
    np.testing.assert_allclose(high.mean, 11.0 - low.mean)
    np.testing.assert_array_equal(high.joint_lower, 11.0 - low.joint_upper)


def test_two_normal_areas():
    # P(the first is larger) = Phi(d / sqrt(s1^2 + s2^2)), so its expected rank is two minus that.
    rng = np.random.default_rng(3)
    draws = rng.normal([1.0, 0.4], [0.5, 0.8], size=(40_000, 2))
    p = stats.norm.cdf(0.6 / np.hypot(0.5, 0.8))
    found = rank_areas(draws, 0.95, 0.5)
    assert found.top[0] == pytest.approx(p, abs=5.0 * np.sqrt(p * (1 - p) / 40_000))
    assert found.mean[0] == pytest.approx(2.0 - found.top[0])


def test_ties_share_a_rank():
    draws = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 2.0]])
    np.testing.assert_allclose(rank_areas(draws, 0.9).mean, [2.0, 2.0, 2.0])
    assert rank_areas(draws, 0.9).rank.tolist() == [1.0, 1.0, 1.0]


def test_rank_intervals_leave_out_no_more_than_they_may(theta):
    by_hand = counted(theta, "high")
    found = rank_areas(theta, 0.9)
    there = estimated(theta)
    assert np.all((by_hand < found.lower[there]).mean(axis=0) <= 0.05)
    assert np.all((by_hand > found.upper[there]).mean(axis=0) <= 0.05)


def test_joint_sets_by_comparing_all_pairs_of_intervals(theta, block_size):
    there = estimated(theta)
    draws = theta[:, there]
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    furthest = np.sort(np.abs((draws - mean) / sd).max(axis=1))
    half = furthest[int(np.ceil(600 * 0.8 - 1e-9)) - 1] * sd
    low, high = mean - half, mean + half
    above = [sum(low[j] > high[i] for j in range(10)) for i in range(10)]
    below = [sum(high[j] < low[i] for j in range(10)) for i in range(10)]
    first, last = joint_rank_sets(theta, 0.8)
    assert first[there].tolist() == [1 + n for n in above]
    assert last[there].tolist() == [10 - n for n in below]


def test_joint_sets_hold_all_at_once():
    rng = np.random.default_rng(8)
    centre = np.arange(15) * 0.7
    make = lambda n: centre + rng.normal(size=(n, 15)) * 0.6 + 0.4 * rng.normal(size=(n, 1))  # noqa: E731
    first, last = joint_rank_sets(make(4000), 0.9)
    fresh = counted(make(4000), "high")
    inside = np.all((fresh >= first) & (fresh <= last), axis=1).mean()
    # The band holds 90 % of the draws; two samples of 4000 differ by less than 5 errors of a share.
    assert inside > 0.9 - 5.0 * np.sqrt(2 * 0.9 * 0.1 / 4000)
    # Separate areas are told apart: the sets are not the whole range.
    assert last[0] - first[0] < 10


def test_nothing_to_rank():
    found = rank_areas(np.full((10, 3), np.nan), 0.9)
    assert found.n_top == 0
    assert np.isnan(found.mean).all()
    assert np.isnan(found.joint_lower).all()


def test_a_constant_area_does_not_disturb():
    draws = np.random.default_rng(2).normal(size=(200, 3))
    draws[:, 1] = 10.0
    found = rank_areas(draws, 0.9)
    assert (found.lower[1], found.upper[1], found.joint_lower[1], found.joint_upper[1]) == (1, 1, 1, 1)
