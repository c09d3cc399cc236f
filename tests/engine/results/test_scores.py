"""Scores against definitions and closed forms."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from smallarea.errors import JobProblem
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.scores import overlap, score


def make_draws(theta, responses=("y",)):
    theta = theta.reshape(len(theta), -1, len(responses))
    n, k = theta.shape[1:]
    empty = np.full((n, k), np.nan)
    return PosteriorDraws(tuple(map(str, range(n))), responses, ("x",), theta, theta[:, :1], {}, empty, empty)


def test_by_definition(theta, block_size):
    truth = np.linspace(2.5, 7.0, 12)
    truth[5] = np.nan
    got = score(make_draws(theta), pd.Series(truth, index=map(str, range(12))), 0.8)
    assert got["area"].tolist() == [str(i) for i in range(12) if i not in (3, 5, 7)]
    for row in got.itertuples():
        draws, y = theta[:, int(row.area)], truth[int(row.area)]
        pairs = np.abs(draws[:, None] - draws).mean()
        assert row.crps == pytest.approx(np.abs(draws - y).mean() - pairs / 2)
        low, high = np.quantile(draws, [0.1, 0.9])
        assert row.covered == (low <= y <= high)
        outside = max(low - y, 0) + max(y - high, 0)
        assert row.interval_score == pytest.approx(high - low + 10.0 * outside)
        assert row.pit == pytest.approx((draws < y).mean())
        assert row.error == pytest.approx(draws.mean() - y)


def test_crps_of_a_normal_distribution():
    # Gneiting and Raftery (2007): s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)).
    z = 0.7
    exact = 2.0 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    # Quantiles at the middle of 40,000 equal parts instead of random draws: no Monte Carlo error.
    draws = 3.0 + 2.0 * stats.norm.ppf((np.arange(40_000) + 0.5) / 40_000)
    got = score(make_draws(draws[:, None]), pd.Series([3.0 + 2.0 * z], index=["0"]))
    assert got["crps"][0] == pytest.approx(exact, rel=1e-4)


def test_a_calibrated_posterior():
    rng = np.random.default_rng(6)
    centre = rng.normal(size=2000)
    draws = centre + rng.normal(size=(500, 2000))
    got = score(make_draws(draws), pd.Series(centre + rng.normal(size=2000), index=map(str, range(2000))), 0.9)
    assert got["covered"].mean() == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / 2000))
    assert stats.kstest(got["pit"], "uniform").pvalue > 1e-3


def test_several_responses(theta):
    both = np.stack([theta, 2 * theta], axis=2)
    truth = pd.DataFrame({"y": [4.0], "z": [8.0]}, index=["0"])
    got = score(make_draws(both, ("y", "z")), truth).set_index("response")
    assert got.loc["z", "crps"] == pytest.approx(2 * got.loc["y", "crps"])
    with pytest.raises(JobProblem, match="no column 'z'"):
        score(make_draws(both, ("y", "z")), truth[["y"]])


def test_truth_of_other_areas(theta):
    with pytest.raises(JobProblem, match="No area has both"):
        score(make_draws(theta), pd.Series([1.0], index=["99"]))


def estimates(direct, direct_se, estimate, se):
    return pd.DataFrame(
        {"area": [f"a{i}" for i in range(len(direct))], "direct": direct, "direct_se": direct_se,
         "estimate": estimate, "se": se}
    )  # fmt: skip


def test_overlap_of_shortened_intervals():
    rng = np.random.default_rng(3)
    s1, s2 = rng.uniform(0.5, 2.0, 300), rng.uniform(0.2, 1.0, 300)
    x, y = rng.normal(size=300) * 2, rng.normal(size=300)
    found = overlap(estimates(x, s1, y, s2), 0.9)
    shorter = stats.norm.ppf(0.95) * np.sqrt(1 + (s1 / s2) ** 2) / (1 + s1 / s2)
    apart = (x + shorter * s1 < y - shorter * s2) | (y + shorter * s2 < x - shorter * s1)
    assert found.areas == tuple(f"a{i}" for i in np.flatnonzero(apart))
    assert (found.n, found.apart) == (300, int(apart.sum()))
    assert found.expected == pytest.approx(30.0)
    assert found.p_value == pytest.approx(stats.binomtest(found.apart, 300, 0.1, alternative="greater").pvalue)


def test_independent_unbiased_estimates_overlap_as_often_as_they_should():
    rng = np.random.default_rng(4)
    truth, s1, s2 = rng.normal(size=4000), rng.uniform(0.5, 2.0, 4000), rng.uniform(0.2, 1.0, 4000)
    found = overlap(estimates(truth + s1 * rng.normal(size=4000), s1, truth + s2 * rng.normal(size=4000), s2))
    assert found.apart / 4000 == pytest.approx(0.05, abs=5 * np.sqrt(0.05 * 0.95 / 4000))


def test_overlap_leaves_out_what_is_missing():
    nan = np.nan
    table = estimates([1.0, nan, 2.0, 3.0], [0.1, nan, 0.1, 0.0], [9.0, 1.0, nan, 3.0], [0.1, 0.1, nan, 0.0])
    found = overlap(table)
    assert (found.n, found.apart, found.areas) == (1, 1, ("a0",))
    assert overlap(table.iloc[1:2]) is None
