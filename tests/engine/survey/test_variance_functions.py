"""Generalised variance functions against brute force and simulations with known truth."""

import numpy as np
import pytest
from scipy import optimize, stats
from smallarea.errors import ModelProblem
from smallarea.survey.pooled_variances import combine, outlyingness, prior_degrees_of_freedom
from smallarea.survey.variance_functions import n_eff
from smallarea.survey.variance_regressions import gamma, gamma_deviance, log_linear

TERMS = ("intercept", "log n")


def made(seed, areas=400, df=6.0, slope=-0.9):
    """Raw variances from a known function of n."""
    rng = np.random.default_rng(seed)
    n = np.exp(rng.uniform(np.log(8), np.log(400), size=areas))
    true = np.exp(3.0 + slope * np.log(n))
    design = np.column_stack([np.ones(areas), np.log(n)])
    return n, true, true * rng.chisquare(df, size=areas) / df, design, np.ones(areas, dtype=bool)


def test_least_squares_is_least_squares():
    _, _, v, x, used = made(1)
    found = log_linear(v, x, TERMS, used, "none")
    line = stats.linregress(x[:, 1], np.log(v))
    assert found.coefficients == pytest.approx([line.intercept, line.slope], rel=1e-10)
    assert found.se[1] == pytest.approx(line.stderr, rel=1e-10)
    assert found.se[0] == pytest.approx(line.intercept_stderr, rel=1e-10)
    assert found.r_squared == pytest.approx(line.rvalue**2, rel=1e-10)
    assert np.allclose(found.fitted, np.exp(line.intercept + line.slope * x[:, 1]), rtol=1e-10)


def test_gamma_is_the_minimum_of_the_deviance():
    n, _, v, x, used = made(2, areas=80)
    x = np.column_stack([x, np.sin(n)])
    w = np.random.default_rng(1).uniform(2, 20, size=len(v))
    found = gamma(v, x, (*TERMS, "sin"), used, w)
    start = np.array([np.log(v.mean()), 0.0, 0.0])
    brute = optimize.minimize(lambda b: gamma_deviance(v, np.exp(x @ b), w), start, method="BFGS", tol=1e-12)
    assert found.coefficients == pytest.approx(brute.x, abs=1e-5)
    # The score is zero, and the covariance is that of the expected information.
    assert x.T @ (w * (v / found.fitted - 1.0)) == pytest.approx(np.zeros(3), abs=1e-7)
    phi = (w * (v / found.fitted - 1.0) ** 2).sum() / (len(v) - 3)
    assert found.se == pytest.approx(np.sqrt(phi * np.diag(np.linalg.inv(x.T @ np.diag(w) @ x))), rel=1e-8)


def test_gamma_with_an_intercept_alone_is_the_weighted_mean():
    _, _, v, _, used = made(3, areas=30)
    w = np.linspace(1, 9, 30)
    found = gamma(v, np.ones((30, 1)), ("intercept",), used, w)
    assert np.allclose(found.fitted, (w * v).sum() / w.sum(), rtol=1e-10)
    assert found.r_squared == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("correction", ["ratio", "lognormal", "smearing"])
def test_the_corrections_by_their_formulas(correction):
    _, _, v, x, used = made(4)
    plain, found = log_linear(v, x, TERMS, used, "none"), log_linear(v, x, TERMS, used, correction)
    residual = np.log(v / plain.fitted)
    factor = {
        "ratio": v.sum() / plain.fitted.sum(),
        "lognormal": np.exp((residual**2).sum() / (len(v) - 2) / 2),
        "smearing": np.exp(residual).mean(),
    }[correction]
    assert found.correction == pytest.approx(factor, rel=1e-12)
    assert np.allclose(found.fitted, factor * plain.fitted, rtol=1e-12)
    if correction == "ratio":
        assert found.fitted.sum() == pytest.approx(v.sum(), rel=1e-12)


def test_the_true_function_comes_back_without_bias():
    """Over 300 samples the mean smoothed variance is the true one within four Monte Carlo errors."""
    ratios: dict[str, list[float]] = {"log_linear": [], "none": [], "gamma": [], "n_eff": []}
    slopes = []
    for seed in range(300):
        n, true, v, x, used = made(seed, areas=150, slope=-1.0)
        ratios["log_linear"].append((log_linear(v, x, TERMS, used).fitted / true).mean())
        ratios["none"].append((log_linear(v, x, TERMS, used, "none").fitted / true).mean())
        by_gamma = gamma(v, x, TERMS, used, np.ones(150))
        ratios["gamma"].append((by_gamma.fitted / true).mean())
        slopes.append(by_gamma.coefficients[1])
        ratios["n_eff"].append((n_eff(v, n, np.ones(150), ["all"] * 150, used, n).fitted / true).mean())
    for name, values in ratios.items():
        error = np.std(values) / np.sqrt(300)
        if name == "none":
            # log(chi2_6 / 6) has the mean digamma(3) - log(3) = -0.176.
            assert np.mean(values) == pytest.approx(np.exp(-0.176), abs=0.02)
        else:
            assert np.mean(values) == pytest.approx(1.0, abs=4 * error + 0.004), name
    assert np.mean(slopes) == pytest.approx(-1.0, abs=4 * np.std(slopes) / np.sqrt(300))


def test_degrees_of_freedom_that_grow_with_the_sample_bend_a_plain_regression_and_no_other():
    """Small samples have few degrees of freedom, whose log variances are far too small on average."""
    slopes: dict[str, list[float]] = {"plain": [], "with df": [], "gamma": []}
    levels = []
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        n = np.exp(rng.uniform(np.log(8), np.log(400), size=150))
        df = np.maximum(np.round(n / 8) - 1, 1.0)
        true = 20.0 / n * np.exp(rng.normal(0.0, 0.3, size=150))
        v = true * rng.chisquare(df) / df
        x, used = np.column_stack([np.ones(150), np.log(n)]), np.ones(150, dtype=bool)
        slopes["plain"].append(log_linear(v, x, TERMS, used).coefficients[1])
        with_df = log_linear(v, x, TERMS, used, "lognormal", df)
        slopes["with df"].append(with_df.coefficients[1])
        levels.append((with_df.fitted * n / 20.0).mean() / np.exp(0.5 * 0.3**2))
        slopes["gamma"].append(gamma(v, x, TERMS, used, df).coefficients[1])
    for name in ("with df", "gamma"):
        error = np.std(slopes[name]) / np.sqrt(200)
        assert np.mean(slopes[name]) == pytest.approx(-1.0, abs=4 * error), name
    assert np.mean(slopes["plain"]) > -0.8
    assert np.mean(levels) == pytest.approx(1.0, abs=4 * np.std(levels) / np.sqrt(200) + 0.01)


def test_pooling_weighs_by_what_is_known():
    v, n, w = np.array([2.0, 1.0, 4.0]), np.array([10.0, 20.0, 5.0]), np.array([9.0, 19.0, 2.0])
    found = n_eff(v, n, np.ones(3), ["all"] * 3, np.ones(3, dtype=bool), w)
    one = v * n
    assert found.coefficients[0] == pytest.approx((w @ one) / w.sum(), rel=1e-14)
    assert np.allclose(found.fitted, found.coefficients[0] / n)
    se = np.sqrt(((w * (one - found.coefficients[0])) ** 2).sum() * 3 / 2) / w.sum()
    assert found.se[0] == pytest.approx(se, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("factor", [1e-8, 1e6])
def test_units_do_not_matter(factor):
    n, _, v, x, used = made(5)
    ones = np.ones(len(v))
    for fit in (
        lambda y: log_linear(y, x, TERMS, used),
        lambda y: gamma(y, x, TERMS, used, ones),
        lambda y: n_eff(y, n, ones, ["all"] * len(y), used, n),
    ):
        one, other = fit(v), fit(factor * v)
        assert np.allclose(other.fitted, factor * one.fitted, rtol=1e-9)
        assert other.r_squared == pytest.approx(one.r_squared, rel=1e-9)
        assert other.residual_sd == pytest.approx(one.residual_sd, rel=1e-9)


def test_pooled_design_effects_by_group():
    rng = np.random.default_rng(6)
    p, n = rng.uniform(0.1, 0.9, size=200), rng.integers(20, 200, size=200).astype(float)
    groups = ["town" if k % 2 else "country" for k in range(200)]
    deff = np.where([group == "town" for group in groups], 1.5, 2.5)
    v = deff * p * (1 - p) / n
    found = n_eff(v, n, p * (1 - p), groups, np.ones(200, dtype=bool), n)
    assert dict(zip(found.terms, found.coefficients, strict=True)) == pytest.approx({"country": 2.5, "town": 1.5})
    assert np.allclose(found.fitted, v, rtol=1e-12)
    with pytest.raises(ModelProblem, match="1 groups have no area with a usable variance to pool: 'town'"):
        n_eff(v, n, p * (1 - p), groups, np.array([group == "country" for group in groups]), n)


def test_areas_that_were_not_used_are_predicted():
    _, true, v, x, used = made(7)
    used[:50], v[:25], v[25:50] = False, 0.0, np.nan
    for found in (log_linear(v, x, TERMS, used), gamma(v, x, TERMS, used, np.ones(len(v)))):
        assert np.allclose(found.fitted[:50] / true[:50], 1.0, atol=0.25)


def test_what_cannot_be_fitted_is_refused():
    _, _, v, x, used = made(8, areas=40)
    twice = np.column_stack([x, 2.0 * x[:, 1]])
    with pytest.raises(ModelProblem, match="cannot be told apart"):
        log_linear(v, twice, ("a", "b", "c"), used)
    with pytest.raises(ModelProblem, match="4 areas have a usable variance, too few"):
        gamma(v, x, TERMS, np.arange(40) < 4, np.ones(40))
    with pytest.raises(ModelProblem, match="no bias correction 'half'"):
        log_linear(v, x, TERMS, used, "half")


@pytest.mark.parametrize("d0", [6.0, 15.0])
def test_combined_variances_beat_both(d0):
    rng = np.random.default_rng(9)
    m, d = 4.0, 5.0
    true = m * (d0 - 2.0) / rng.chisquare(d0, size=20_000)
    raw = true * rng.chisquare(d, size=20_000) / d
    fitted, df = np.full(20_000, m), np.full(20_000, d)
    prior = prior_degrees_of_freedom(raw, fitted, df)
    assert prior == pytest.approx(d0, rel=0.1)
    found = combine(raw, fitted, df, prior)
    error = {name: np.mean((value - true) ** 2) for name, value in (("raw", raw), ("fit", fitted), ("both", found))}
    assert error["both"] < 0.9 * min(error["raw"], error["fit"])
    assert found.mean() == pytest.approx(m, rel=0.03)


def test_no_more_spread_than_by_chance_leaves_the_function():
    rng = np.random.default_rng(10)
    raw = rng.chisquare(5.0, size=5000) / 5.0
    raw = np.exp(0.9 * np.log(raw))  # less than chance
    assert prior_degrees_of_freedom(raw, np.ones(5000), np.full(5000, 5.0)) == np.inf
    assert combine(raw, np.ones(5000), np.full(5000, 5.0), np.inf).tolist() == [1.0] * 5000
    some = combine(np.array([2.0, np.nan]), np.array([1.0, 3.0]), np.array([4.0, 4.0]), 6.0)
    assert some.tolist() == [1.5, 3.0]
    assert combine(np.array([2.0]), np.array([1.0]), np.array([4.0]), 1.5).tolist() == [2.0]


@pytest.mark.parametrize("d0", [8.0, np.inf])
def test_residuals_are_standard_normal_whatever_the_degrees_of_freedom(d0):
    rng = np.random.default_rng(12)
    df = rng.choice([1.0, 3.0, 30.0], size=30_000)
    true = np.ones(30_000) if np.isinf(d0) else (d0 - 2.0) / rng.chisquare(d0, size=30_000)
    raw = true * rng.chisquare(df) / df
    found = outlyingness(raw, np.ones(30_000), df, d0)
    for d in (1.0, 3.0, 30.0):
        assert stats.kstest(found[df == d], "norm").pvalue > 0.001
    far = outlyingness(np.array([1e-9, 40.0]), np.ones(2), np.array([20.0, 20.0]), d0)
    assert far[0] < -5.0
    assert far[1] > (3.0 if d0 == 8.0 else 8.0)


def test_a_step_that_goes_too_far_is_taken_back_and_far_extrapolations_are_left_out():
    rng = np.random.default_rng(13)
    v = rng.choice([1e-6, 1.0, 1e6], size=40)
    x = np.column_stack([np.ones(40), rng.normal(size=40)])
    found = gamma(v, x, TERMS, np.ones(40, dtype=bool), np.ones(40))
    assert x.T @ (v / found.fitted - 1.0) == pytest.approx(np.zeros(2), abs=1e-6)
    far = np.vstack([x, [1.0, 1e6]])
    found = gamma(np.append(v, np.nan), far, TERMS, np.arange(41) < 40, np.ones(41))
    assert np.isnan(found.fitted[40])
