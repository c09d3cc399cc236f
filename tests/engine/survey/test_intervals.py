"""Confidence intervals against SciPy's for simple random samples, and what happens at the ends."""

import numpy as np
import pytest
from scipy import stats
from smallarea.survey.intervals import intervals

LEVEL = 0.9


def of(p, se, interval, *, df=np.inf, n=40.0, proportion=True):
    columns = (np.array([value], dtype=float) for value in (p, se, df, n))
    lower, upper = intervals(*columns, LEVEL, interval, proportion)
    return lower[0], upper[0]


def simple(yes, n):
    p = yes / n
    return p, np.sqrt(p * (1.0 - p) / n)


@pytest.mark.parametrize(("yes", "n"), [(3, 40), (20, 40), (39, 40), (1, 7)])
def test_wilson_of_a_simple_random_sample(yes, n):
    known = stats.binomtest(yes, n).proportion_ci(LEVEL, "wilson")
    assert of(*simple(yes, n), "wilson", n=n) == pytest.approx((known.low, known.high), rel=1e-12)


@pytest.mark.parametrize(("yes", "n"), [(3, 40), (20, 40), (39, 40), (1, 7)])
def test_korn_graubard_of_a_simple_random_sample_is_clopper_and_pearson(yes, n):
    known = stats.binomtest(yes, n).proportion_ci(LEVEL, "exact")
    # With the degrees of freedom of the sample itself, the two t quantiles cancel.
    assert of(*simple(yes, n), "korn_graubard", df=n - 1, n=n) == pytest.approx((known.low, known.high), rel=1e-10)


@pytest.mark.parametrize("yes", [0, 12])
@pytest.mark.parametrize("interval", ["auto", "logit", "wilson", "korn_graubard"])
@pytest.mark.parametrize("se", [0.0, np.nan])
def test_nobody_and_everybody(yes, interval, se):
    known = stats.binomtest(yes, 12).proportion_ci(LEVEL, "exact")
    assert of(yes / 12, se, interval, n=12.0) == pytest.approx((known.low, known.high), rel=1e-10)


def test_logit_by_hand():
    t = stats.t.ppf(0.95, 9)
    middle, reach = np.log(0.2 / 0.8), t * 0.05 / (0.2 * 0.8)
    wanted = [1.0 / (1.0 + np.exp(-(middle + sign * reach))) for sign in (-1.0, 1.0)]
    assert of(0.2, 0.05, "logit", df=9) == pytest.approx(wanted, rel=1e-12)
    assert of(0.2, 0.05, "auto", df=9) == of(0.2, 0.05, "logit", df=9)


@pytest.mark.parametrize("interval", ["auto", "logit", "wilson", "korn_graubard", "wald"])
def test_what_is_no_proportion_gets_wald(interval):
    t = stats.t.ppf(0.95, 9)
    assert of(0.2, 0.05, interval, df=9, proportion=False) == pytest.approx((0.2 - 0.05 * t, 0.2 + 0.05 * t))


@pytest.mark.parametrize("interval", ["auto", "logit", "wilson", "korn_graubard"])
def test_a_horvitz_thompson_estimate_above_one_gets_wald(interval):
    t = stats.t.ppf(0.95, 9)
    assert of(1.04, 0.05, interval, df=9) == pytest.approx((1.04 - 0.05 * t, 1.04 + 0.05 * t))


@pytest.mark.parametrize("interval", ["auto", "wilson", "korn_graubard", "wald"])
def test_without_a_standard_error_or_degrees_of_freedom_there_is_none(interval):
    assert np.isnan(of(0.2, np.nan, interval)).all()
    assert np.isnan(of(0.2, 0.05, interval, df=0.0)).all()
    assert np.isnan(of(np.nan, np.nan, interval)).all()


@pytest.mark.parametrize("interval", ["logit", "wilson", "korn_graubard"])
def test_intervals_hold_the_estimate_and_stay_between_zero_and_one(interval):
    rng = np.random.default_rng(1)
    p = rng.uniform(0.01, 0.99, 200)
    n = rng.integers(5, 200, 200).astype(float)
    se = np.sqrt(p * (1.0 - p) / n * rng.uniform(0.5, 4.0, 200))
    lower, upper = intervals(p, se, n - 1.0, n, LEVEL, interval, True)
    assert np.all((lower >= 0.0) & (lower < p) & (p < upper) & (upper <= 1.0))
