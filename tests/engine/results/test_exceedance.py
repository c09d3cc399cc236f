"""Exceedance probabilities and summaries of draws."""

import numpy as np
import pytest
from scipy import stats
from smallarea.results.draws import blocks, estimated, summarise
from smallarea.results.exceedance import exceedance


def test_shares_of_draws(theta, block_size):
    got = exceedance(theta, [4.0, 5.5])
    for area in range(12):
        for k, threshold in enumerate((4.0, 5.5)):
            expected = np.nan if area in (3, 7) else sum(d > threshold for d in theta[:, area]) / 600
            np.testing.assert_equal(got[area, k], expected)
    low = exceedance(theta, [4.0, 5.5], "low")
    there = estimated(theta)
    np.testing.assert_allclose((got + low)[there], 1.0)
    assert np.isnan(low[~there]).all()


def test_the_threshold_itself_is_not_beyond():
    draws = np.array([[1.0], [2.0], [2.0], [3.0]])
    assert exceedance(draws, [2.0])[0, 0] == 0.25
    assert exceedance(draws, [2.0], "low")[0, 0] == 0.25


def test_normal_probabilities():
    draws = np.random.default_rng(1).normal(3.0, 2.0, size=(20_000, 3))
    got, want = exceedance(draws, [1.0, 4.0])[0], stats.norm.sf([1.0, 4.0], 3.0, 2.0)
    assert np.all(np.abs(got - want) < 5.0 * np.sqrt(want * (1 - want) / 20_000))


def test_blocks_cover_all_areas_in_order(theta, block_size):
    parts = list(blocks(theta))
    assert len(parts) == (1 if block_size > 2000 else 6)
    np.testing.assert_array_equal(np.concatenate([block for _, block in parts]), theta.T)
    assert [part.start for part, _ in parts] == [k * 12 // len(parts) for k in range(len(parts))]
    assert all(block.base is None and block.flags.c_contiguous for _, block in parts)


def test_an_area_with_one_missing_draw_has_no_estimate(theta, block_size):
    theta[17, 0] = np.nan
    assert np.flatnonzero(~estimated(theta)).tolist() == [0, 3, 7]


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_summaries(theta, block_size, level):
    found = summarise(theta, level)
    there = estimated(theta)
    np.testing.assert_allclose(found.mean, theta.mean(axis=0))
    np.testing.assert_allclose(found.sd[there], theta[:, there].std(axis=0, ddof=1))
    np.testing.assert_allclose(found.lower[there], np.quantile(theta[:, there], (1 - level) / 2, axis=0))
    np.testing.assert_allclose(found.upper[there], np.quantile(theta[:, there], (1 + level) / 2, axis=0))
    assert np.isnan([found.sd[~there], found.lower[~there], found.upper[~there]]).all()
