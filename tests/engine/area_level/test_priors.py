"""Priors: quantiles against SciPy in both tails, reading, every refusal."""

import math

import numpy as np
import pytest
from scipy import stats
from smallarea.area_level import (
    LKJ,
    PC,
    Beta,
    Exponential,
    Fixed,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Normal,
    Uniform,
    parse_prior,
)
from smallarea.area_level.priors import DEFAULT_PRIORS
from smallarea.errors import PriorProblem

PRIORS = [
    (HalfNormal(1.7), stats.chi(1, scale=1.7)),  # halfnorm.ppf loses digits near zero
    (HalfCauchy(0.4), stats.halfcauchy(scale=0.4)),
    (Exponential(3.0), stats.expon(scale=1.0 / 3.0)),
    (PC(0.8, 0.01), stats.expon(scale=0.8 / -math.log(0.01))),
    (Uniform(-0.5, 0.9), stats.uniform(-0.5, 1.4)),
    (Beta(2.0, 3.5), stats.beta(2.0, 3.5)),
    (Beta(0.7, 0.5), stats.beta(0.7, 0.5)),
    (Normal(0.3, 2.0), stats.norm(0.3, 2.0)),
]


@pytest.mark.parametrize(("prior", "truth"), PRIORS, ids=[str(prior) for prior, _ in PRIORS])
def test_quantiles_in_both_tails(prior, truth):
    x = np.linspace(-7.0, 7.0, 57)
    got = np.array([prior.from_normal(value) for value in x])
    want = np.where(x < 0.0, truth.ppf(stats.norm.cdf(x)), truth.isf(stats.norm.sf(x)))
    np.testing.assert_allclose(got, want, rtol=1e-9)
    assert np.all(np.diff(got) >= 0.0)
    low, high = prior.support
    assert low <= got[0]
    assert got[-1] <= high


def test_half_student_t_quantiles():
    # |t|: P(|t| < q) = 2 F(q) - 1. The lower tail goes through 1/2 + p/2 and so has the absolute accuracy 1e-16 / p.
    prior = HalfStudentT(3.0, 2.0)
    x = np.linspace(-4.0, 7.0, 45)
    t = stats.t(3.0)
    want = 2.0 * np.where(x < 0.0, t.ppf(0.5 + 0.5 * stats.norm.cdf(x)), t.isf(0.5 * stats.norm.sf(x)))
    got = np.array([prior.from_normal(value) for value in x])
    np.testing.assert_allclose(got, want, rtol=1e-8)
    # A t with many degrees of freedom is a normal.
    assert HalfStudentT(1e7, 1.0).from_normal(1.3) == pytest.approx(HalfNormal(1.0).from_normal(1.3), rel=1e-6)
    assert HalfStudentT(1.0, 1.0).from_normal(0.7) == pytest.approx(HalfCauchy(1.0).from_normal(0.7), rel=1e-9)


def test_pc_prior_has_its_tail():
    prior = PC(0.8, 0.01)
    assert prior.quantile(0.99, 0.01) == pytest.approx(0.8, rel=1e-12)


def test_rho_keeps_its_distance_from_one():
    # 1 - rho down to 1e-12 must still be told from 1: rounding there would cut the prior off.
    prior = Uniform(0.0, 1.0)
    for x in (3.0, 5.0, 6.5):
        assert 1.0 - prior.from_normal(x) == pytest.approx(stats.norm.sf(x), rel=1e-4)
    assert 1.0 - Beta(1.0, 1.0).from_normal(6.0) == pytest.approx(stats.norm.sf(6.0), rel=1e-4)


@pytest.mark.parametrize("prior", [*(prior for prior, _ in PRIORS), HalfStudentT(3.0, 2.0), LKJ(2.0)], ids=str)
def test_coordinates_as_far_out_as_proposals_go(prior):
    # Beyond 38 the tail probability of a normal is zero in floating point numbers: an end of the range, not an error.
    low, high = prior.support
    for x in (30.0, 37.0, 38.4, 39.0, 60.0, 1e6):
        below, above = prior.from_normal(-x), prior.from_normal(x)
        assert low <= below <= above <= high
    assert prior.from_normal(-1e6) == pytest.approx(low, abs=1e-300)
    assert prior.from_normal(1e6) == pytest.approx(high)


def test_fixed():
    prior = Fixed(0.3)
    assert prior.fixed
    assert prior.from_normal(-3.0) == 0.3
    assert prior.support == (0.3, 0.3)
    assert not any(other.fixed for other, _ in PRIORS)


@pytest.mark.parametrize(
    ("text", "prior"),
    [
        ("HalfNormal(2)", HalfNormal(2.0)),
        (" halfnormal ( 0.5 ) ", HalfNormal(0.5)),
        ("HALFCAUCHY(1e-1)", HalfCauchy(0.1)),
        ("HalfStudentT(4, 2)", HalfStudentT(4.0, 2.0)),
        ("HalfStudentT()", HalfStudentT(3.0, 1.0)),
        ("Exponential(2.5)", Exponential(2.5)),
        ("PC(1, 0.05)", PC(1.0, 0.05)),
        ("Uniform(0, 3)", Uniform(0.0, 3.0)),
        ("Beta(2, 2)", Beta(2.0, 2.0)),
        ("Fixed(0.4)", Fixed(0.4)),
        ("Normal(1, 2)", Normal(1.0, 2.0)),
        ("normal()", Normal(0.0, 1.0)),
        ("LKJ(3)", LKJ(3.0)),
    ],
)
def test_reading_and_writing(text, prior):
    name = {Normal: "eta0", LKJ: "correlation[a,b]"}.get(type(prior), "sd_phi[a]")
    read = parse_prior(name, text)
    assert read == prior
    assert parse_prior(name, str(read)) == prior
    assert parse_prior(name, prior) is prior


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("tau", "HalfNormal(1)", "Unknown hyperparameter 'tau'.*sd_phi, rho, range, rho_time, sd_delta"),
        ("sd_phi", "Gamma(1, 1)", "Cannot read the prior 'Gamma\\(1, 1\\)' of sd_phi.*HalfCauchy"),
        ("sd_phi", "HalfNormal", "Cannot read the prior"),
        ("sd_phi", "HalfNormal(1) + 2", "Cannot read the prior"),
        ("sd_phi", "", "Cannot read the prior"),
        ("sd_phi", "HalfNormal(a)", "needs numbers for: scale"),
        ("sd_phi", "HalfNormal(1, 2)", "needs numbers for: scale"),
        ("sd_phi", "Fixed()", "needs numbers for: value"),
        ("sd_phi", "HalfStudentT(1, 2, 3)", "needs numbers for: df, scale"),
        ("sd_phi", "HalfNormal(inf)", "not a finite number"),
        ("sd_phi", "HalfNormal(nan)", "not a finite number"),
        ("sd_phi", "HalfNormal(0)", "must be positive"),
        ("sd_phi", "Exponential(-1)", "must be positive"),
        ("sd_phi", "PC(1, 1)", "tail probability between 0 and 1"),
        ("sd_phi", "PC(-1, 0.5)", "needs upper > 0"),
        ("sd_phi", "PC(1, 0)", "tail probability between 0 and 1"),
        ("sd_phi", "Uniform(2, 1)", "lower < upper"),
        ("sd_phi", "Uniform(1, 1)", "lower < upper"),
        ("sd_phi", "Uniform(-1, 1)", "standard deviation, must be positive"),
        ("sd_delta", "Fixed(0)", "standard deviation, must be positive"),
        ("sd_delta", "Fixed(-1)", "standard deviation, must be positive"),
        ("rho", "HalfNormal(1)", "between -1 and 1"),
        ("rho", "Uniform(0, 1.1)", "between -1 and 1"),
        ("rho", "Uniform(-1.1, 0)", "between -1 and 1"),
        ("rho", "Fixed(1)", "between -1 and 1"),
        ("rho", "Fixed(-1)", "between -1 and 1"),
        ("rho[a]", "Normal(0, 1)", "between -1 and 1"),
        ("sd_phi[a]", "Normal(0, 1)", "standard deviation, must be positive"),
        ("correlation", "Normal(0, 1)", "between -1 and 1"),
        ("correlation[a,b]", "Fixed(-1)", "between -1 and 1"),
        ("correlation", "LKJ(0)", "must be positive"),
        ("correlation", "LKJ(-2)", "must be positive"),
        ("eta0", "Normal(0, 0)", "positive sd"),
        ("eta1", "Normal(0, -1)", "positive sd"),
        ("eta", "Normal(0, 1)", "Unknown hyperparameter 'eta'.*eta0, eta1"),
        ("sd_phi", 3.0, "must be a text"),
    ],
)
def test_refusals(name, text, says):
    with pytest.raises(PriorProblem, match=says):
        parse_prior(name, text)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0, 7.0])
def test_lkj_of_two_responses_is_a_beta(eta):
    # Density proportional to (1 - r^2)^(eta - 1); for eta = 2 it is (3/4)(1 - r^2).
    x = np.linspace(-6.0, 6.0, 49)
    got = np.array([LKJ(eta).from_normal(value) for value in x])
    below, above = stats.norm.cdf(x), stats.norm.sf(x)
    shape = stats.beta(eta, eta)
    # What is left to -1 and to 1 keeps its digits, as far as a number so close to 1 can.
    np.testing.assert_allclose(1.0 + got[x < 0.0], 2.0 * shape.ppf(below[x < 0.0]), rtol=1e-9, atol=4e-16)
    np.testing.assert_allclose(1.0 - got[x >= 0.0], 2.0 * shape.ppf(above[x >= 0.0]), rtol=1e-9, atol=4e-16)
    if eta == 2.0:
        cdf = 0.75 * (got - got**3 / 3.0) + 0.5
        np.testing.assert_allclose(cdf[10:-10], below[10:-10], rtol=1e-9)
    assert LKJ(eta).from_normal(0.0) == pytest.approx(0.0, abs=1e-12)


def test_allowed_for_rho():
    for text in ("Uniform(-1, 1)", "Uniform(0, 1)", "Beta(9, 1)", "Fixed(0.99)", "Fixed(-0.5)", "Fixed(0)"):
        parse_prior("rho", text)


def test_defaults_are_those_of_the_specification():
    assert {name: str(prior) for name, prior in DEFAULT_PRIORS.items()} == {
        "sd_phi": "HalfNormal(1)",
        "rho": "Uniform(0, 1)",
        "range": "Uniform(0, 1)",
        "rho_time": "Uniform(0, 1)",
        "sd_delta": "HalfNormal(1)",
        "correlation": "LKJ(2)",
        "eta0": "Normal(0, 1)",
        "eta1": "Normal(0, 1)",
    }
