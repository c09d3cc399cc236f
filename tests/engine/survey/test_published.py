"""Published errors to variances, and transformed scales against simulation and closed forms."""

from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import smallarea
from scipy import stats
from smallarea.errors import JobProblem, TableProblem, VarianceProblem
from smallarea.survey.published_errors import moe_factor, variance_of, variance_of_limits
from smallarea.survey.scales import (
    effective_sample_size,
    freeman_tukey,
    freeman_tukey_variance,
    transform,
)

IDS = ["a", "b", "c"]


def test_the_factor_is_the_offices_or_the_exact_one():
    assert moe_factor(0.90) == 1.645
    assert moe_factor(0.95) == 1.96
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        assert moe_factor(level, "exact") == pytest.approx(NormalDist().inv_cdf(0.5 + 0.5 * level), rel=1e-12)
    with pytest.raises(JobProblem, match="'nearly'"):
        moe_factor(0.9, "nearly")


@pytest.mark.parametrize(
    ("error_type", "error"),
    [("variance", 4.0), ("standard_error", 2.0), ("margin_of_error", 3.29), ("cv", 0.2), ("cv_percent", 20.0)],
)
def test_every_measure_of_error_says_the_same(error_type, error):
    estimate, given = np.array([10.0, -10.0, np.nan]), np.array([error, error, np.nan])
    found = variance_of(given, estimate, error_type, 1.645, "e", IDS)
    assert np.allclose(found, [4.0, 4.0, np.nan], rtol=1e-14, equal_nan=True)


def test_a_negative_error_is_refused_with_its_area_and_value():
    with pytest.raises(VarianceProblem, match=r"negative in 1 areas: 'b' \(values -3.0\)"):
        variance_of(np.array([1.0, -3.0, 1.0]), np.ones(3), "standard_error", 1.0, "e", IDS)


def test_limits_and_what_does_not_fit_between_them():
    centre, half = np.array([5.0, -2.0, np.nan]), 1.96 * np.array([2.0, 0.5, 1.0])
    found = variance_of_limits(centre - half, centre + half, centre, 1.96, ("lo", "hi"), IDS)
    assert np.allclose(found, [4.0, 0.25, np.nan], rtol=1e-14, equal_nan=True)
    with pytest.raises(VarianceProblem, match=r"2 estimates lie outside .*'lo' and 'hi': 'a', 'b'"):
        variance_of_limits(centre + half, centre - half, centre, 1.96, ("lo", "hi"), IDS)


def test_log_and_logit_are_the_delta_method_and_nearly_the_truth():
    rng = np.random.default_rng(11)
    y, v = np.array([40.0]), np.array([4.0])
    done = transform("log", y, v, None, "y", ["a"])
    sample = np.log(rng.normal(40.0, 2.0, size=200_000))
    assert done.estimate[0] == np.log(40.0)
    assert done.variance[0] == 4.0 / 1600.0
    assert done.variance[0] == pytest.approx(sample.var(), rel=0.02)
    p, n = 0.3, 400
    done = transform("logit", np.array([p]), np.array([p * (1 - p) / n]), None, "p", ["a"])
    drawn = rng.binomial(n, p, size=200_000) / n
    assert done.variance[0] == pytest.approx(1.0 / (n * p * (1 - p)), rel=1e-12)
    assert done.variance[0] == pytest.approx(np.log(drawn / (1 - drawn)).var(), rel=0.02)


def test_the_arcsine_takes_given_sizes_before_those_of_the_variance():
    p, v = np.array([0.2, 0.2, 0.0, 0.0]), np.array([0.16 / 50.0, 0.16 / 50.0, 0.001, 0.001])
    done = transform("arcsin", p, v, np.array([80.0, np.nan, 25.0, np.nan]), "p", list("abcd"))
    assert np.allclose(done.variance, [1 / 320, 1 / 200, 0.01, np.nan], rtol=1e-12, equal_nan=True)
    assert np.allclose(done.estimate, [np.arcsin(np.sqrt(0.2))] * 2 + [0.0, np.nan], equal_nan=True)
    assert done.impossible.tolist() == [False, False, False, True]
    drawn = np.arcsin(np.sqrt(np.random.default_rng(3).binomial(80, 0.2, size=200_000) / 80))
    assert done.variance[0] == pytest.approx(drawn.var(), rel=0.05)
    assert np.allclose(effective_sample_size(p, v), [50.0, 50.0, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize(("name", "values"), [("log", [-1.0]), ("logit", [12.0]), ("arcsin", [1.5])])
def test_what_has_no_place_on_the_scale_is_refused(name, values):
    with pytest.raises(TableProblem, match="1 estimates of 'y' cannot be transformed") as caught:
        transform(name, np.array(values), np.ones(1), None, "y", ["a"])
    assert ("scale=100" in str(caught.value)) == (name != "log")


@pytest.mark.parametrize("mean", [4.0, 6.0, 20.0, 80.0])
def test_freeman_tukey_makes_the_variance_of_poisson_counts_constant(mean):
    total = np.array([5000.0])
    counts = np.arange(300.0)
    chance = stats.poisson.pmf(counts, mean)
    y = freeman_tukey(counts, total, 1000.0)
    v, impossible = freeman_tukey_variance(np.array([0.0]), None, total, 1000.0)
    assert v[0] == 1000.0 / 5000.0
    assert not impossible.any()
    exact = chance @ y**2 - (chance @ y) ** 2
    # Freeman and Tukey (1950): within 6 percent for means above one; the mean of the sum is near sqrt(4 mean + 1).
    assert v[0] == pytest.approx(exact, rel=0.06)
    assert chance @ y == pytest.approx(np.sqrt(1000.0 / 5000.0 * (4.0 * mean + 1.0)), rel=0.01)


def test_a_count_with_an_error_of_its_own_follows_the_delta_method():
    count, total, v = np.array([400.0, 0.0]), np.array([9000.0, 9000.0]), np.array([900.0, 5.0])
    found, impossible = freeman_tukey_variance(count, v, total, 1000.0)
    step = 1e-4
    near = freeman_tukey(count[0] + np.array([-step, step]), total, 1000.0)
    slope = (near[1] - near[0]) / (2 * step)
    assert found[0] == pytest.approx(slope**2 * 900.0, rel=1e-6)
    assert impossible.tolist() == [False, True]
    assert np.isnan(found[1])
    # With the variance of a Poisson count it is the same as without one, but for the one in sqrt(count + 1).
    poisson, _ = freeman_tukey_variance(count, count, total, 1000.0)
    assert poisson[0] == pytest.approx(1000.0 / 9000.0, rel=2e-3)


def test_numbers_are_the_same_in_every_unit():
    frame = pd.DataFrame({"p": [12.0, 30.0], "e": [3.0, 4.0]})
    frame["id"] = ["a", "b"]
    one = smallarea.prepare_published(table=frame, table_id_field="id", estimate="p", error="e", scale=100.0).table
    tens = frame.assign(p=frame["p"] / 100, e=frame["e"] / 100)
    two = smallarea.prepare_published(table=tens, table_id_field="id", estimate="p", error="e").table
    for name in ("p", "variance_p", "se_p", "cv_p"):
        assert np.allclose(one[name], two[name], rtol=1e-12), name
