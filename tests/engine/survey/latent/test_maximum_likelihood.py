"""Maximum likelihood against lavaan's published numbers, semopy, brute force, and the definition of the information."""

import numpy as np
import pytest
from known_latent_models import (
    COUNTRIES,
    COUNTRIES_MODEL,
    COUNTRIES_NAMES,
    JOBS_MODEL,
    JOBS_NAMES,
    PUPILS,
    PUPILS_MODEL,
    jobs_covariance,
    symmetric,
    with_moments,
)
from scipy import optimize
from smallarea.errors import ModelProblem, TableProblem
from smallarea.survey.design import survey_design
from smallarea.survey.latent.fit_measures import fit_measures
from smallarea.survey.latent.maximum_likelihood import casewise_scores, maximise, observed_information
from smallarea.survey.latent.model import build_model
from smallarea.survey.latent.patterns import likelihood, make_answers
from smallarea.survey.latent.saturated import saturated


def fitted(text, names, values, **others):
    model = build_model(text)
    order = [names.index(name) for name in model.observed]
    answers = make_answers(values[:, order], model.observed)
    found = maximise(model, answers, **others)
    errors = np.sqrt(np.diag(found.covariance))
    numbers = {name: (v, se) for name, v, se in zip(model.names, found.theta, errors, strict=True)}
    return found, numbers, answers


def test_the_pupils_of_lavaan():
    """The numbers of the tutorial of lavaan (Rosseel 2012, section 4), to its three decimals."""
    names = tuple(f"x{i}" for i in range(1, 10))
    found, numbers, answers = fitted(PUPILS_MODEL, names, with_moments(symmetric(PUPILS), 301))
    published = {
        "visual =~ x2": (0.554, 0.100), "visual =~ x3": (0.729, 0.109), "textual =~ x5": (1.113, 0.065),
        "textual =~ x6": (0.926, 0.055), "speed =~ x8": (1.180, 0.165), "speed =~ x9": (1.082, 0.151),
        "visual ~~ textual": (0.408, 0.074), "visual ~~ speed": (0.262, 0.056), "textual ~~ speed": (0.173, 0.049),
        "x1 ~~ x1": (0.549, 0.114), "x4 ~~ x4": (0.371, 0.048), "visual ~~ visual": (0.809, 0.145),
    }  # fmt: skip
    for name, (value, error) in published.items():
        assert numbers[name] == pytest.approx((value, error), abs=6e-4), name
    fit = fit_measures(found.model, answers, found.theta)
    assert fit.df == 24
    assert fit.chi2 == pytest.approx(85.306, abs=1e-3)
    assert fit.log_likelihood == pytest.approx(-3737.745, abs=1e-3)
    measures = (fit.cfi, fit.tli, fit.rmsea, fit.rmsea_lower, fit.rmsea_upper, fit.srmr)
    assert measures == pytest.approx((0.931, 0.896, 0.092, 0.071, 0.114, 0.065), abs=6e-4)


def test_the_countries_of_bollen():
    """Bollen's (1989) model of democracy, numbers of lavaan's tutorial."""
    found, numbers, answers = fitted(COUNTRIES_MODEL, COUNTRIES_NAMES, with_moments(symmetric(COUNTRIES), 75))
    published = {
        "ind60 =~ x2": (2.180, 0.139), "ind60 =~ x3": (1.819, 0.152), "dem60 =~ y2": (1.257, 0.182),
        "a": (1.483, 0.399), "dem65 ~ ind60": (0.572, 0.221), "b": (0.837, 0.098), "y2 ~~ y6": (2.153, 0.734),
        "dem65 ~~ dem65": (0.172, 0.215),
    }  # fmt: skip
    for name, (value, error) in published.items():
        assert numbers[name] == pytest.approx((value, error), abs=6e-4), name
    fit = fit_measures(found.model, answers, found.theta)
    assert (fit.chi2, fit.df) == pytest.approx((38.125, 35), abs=1e-3)
    assert (fit.cfi, fit.rmsea, fit.srmr) == pytest.approx((0.995, 0.035, 0.044), abs=6e-4)


def test_semopy_agrees_on_complete_answers():
    semopy = pytest.importorskip("semopy")
    import warnings

    import pandas as pd

    values = np.random.default_rng(3).multivariate_normal(np.zeros(12), jobs_covariance(), size=500)
    _, numbers, _ = fitted(JOBS_MODEL, JOBS_NAMES, values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = semopy.Model(JOBS_MODEL)
        other.fit(pd.DataFrame(values, columns=list(JOBS_NAMES)))
        table = other.inspect()
    for _, row in table.iterrows():
        # semopy writes a loading as a regression of the item on the factor.
        names = (f"{row['lval']} {row['op']} {row['rval']}", f"{row['rval']} =~ {row['lval']}")
        names += (f"{row['rval']} ~~ {row['lval']}",)
        known = [numbers[name] for name in names if name in numbers]
        if known and row["Std. Err"] != "-":
            assert known[0][0] == pytest.approx(row["Estimate"], abs=0.02 * float(row["Std. Err"])), names


def gappy(n=120, seed=5):
    rng = np.random.default_rng(seed)
    values = with_moments(symmetric(PUPILS)[:6, :6], n, seed)
    values[rng.random(values.shape) < 0.15] = np.nan
    return values


SIX = "f =~ x1 + x2 + x3\ng =~ x4 + x5 + x6"
SIX_NAMES = tuple(f"x{i}" for i in range(1, 7))


def brute_force(values, mean, sigma):
    total = 0.0
    for row in values:
        o = np.flatnonzero(np.isfinite(row))
        if len(o):
            part, away = sigma[np.ix_(o, o)], row[o] - mean[o]
            total -= 0.5 * (
                len(o) * np.log(2 * np.pi) + np.linalg.slogdet(part)[1] + away @ np.linalg.solve(part, away)
            )
    return total


def test_missing_answers_by_brute_force():
    values = gappy(80)[:, :4]
    found, _, _ = fitted("f =~ x1 + x2 + x3 + x4", SIX_NAMES[:4], values)
    model, q = found.model, len(found.theta)

    def minus(unknowns):
        sigma = model.covariance(unknowns[:q])[:4, :4]
        if np.linalg.eigvalsh(sigma)[0] <= 0.0:
            return 1e6
        return -brute_force(values, unknowns[q:], sigma)

    start = np.concatenate([found.theta, found.mean])
    assert -minus(start) == pytest.approx(found.log_likelihood, rel=1e-10)
    away = start + 0.1 * np.random.default_rng(2).standard_normal(len(start)) * 0.3
    best = optimize.minimize(minus, away, method="BFGS", options={"gtol": 1e-3})
    assert -best.fun <= found.log_likelihood + 1e-6
    np.testing.assert_allclose(best.x, start, atol=2e-3)


def test_the_observed_information_is_minus_the_second_derivative():
    values = gappy()
    found, _, answers = fitted(SIX, SIX_NAMES, values)
    model, theta = found.model, found.theta
    information = observed_information(model, answers, theta)

    def second(k, j, h, at):
        total = 0.0
        for a in (1, -1):
            for b in (1, -1):
                moved = at.copy()
                moved[k] += a * h
                moved[j] += b * h
                total += a * b * likelihood(answers, model.covariance(moved)[:6, :6]).value
        return total / (4.0 * h * h)

    for k, j in ((0, 0), (1, 4), (3, 9), (11, 12)):
        scale = np.sqrt(information[k, k] * information[j, j])
        assert information[k, j] == pytest.approx(-second(k, j, 1e-3, theta), abs=1e-3 * scale)


def test_scores_of_respondents_add_up_and_units_do_not_matter():
    values = gappy()
    found, numbers, answers = fitted(SIX, SIX_NAMES, values)
    sigma = found.model.covariance(found.theta)[:6, :6]
    scores = casewise_scores(answers, sigma, found.model.derivatives(found.theta), likelihood(answers, sigma))
    np.testing.assert_allclose(scores.sum(axis=0), 0.0, atol=1e-3 * np.abs(scores).sum(axis=0).max())
    units = np.array([1e3, 1e-2, 5.0, 1.0, 1e4, 0.1])
    _, scaled, _ = fitted(SIX, SIX_NAMES, 7.0 * units + values * units)
    assert scaled["f =~ x2"] == pytest.approx(np.array(numbers["f =~ x2"]) * units[1] / units[0], rel=1e-5)


def test_errors_of_a_design():
    """Every respondent three times over, as one cluster: the design's errors are those of one copy's sandwich."""
    values = gappy(300)
    one = survey_design(np.ones(300))
    three = survey_design(np.ones(900), psu=[np.repeat(np.arange(300), 3)])
    _, single, _ = fitted(SIX, SIX_NAMES, values, design=one)
    _, clustered, _ = fitted(SIX, SIX_NAMES, np.repeat(values, 3, axis=0), design=three)
    _, plain, _ = fitted(SIX, SIX_NAMES, values)
    for name, known in single.items():
        assert clustered[name] == pytest.approx(known, rel=1e-5, abs=1e-7)
    # The answers are normal, so the sandwich estimates what the information does.
    assert np.median([single[name][1] / plain[name][1] for name in plain]) == pytest.approx(1.0, abs=0.1)


def test_weights_count_respondents():
    values = gappy(200)
    counts = np.random.default_rng(1).integers(1, 4, 200)
    model = build_model(SIX)
    weighted = maximise(model, make_answers(values, SIX_NAMES, counts.astype(float)))
    repeated = maximise(model, make_answers(np.repeat(values, counts, axis=0), SIX_NAMES))
    np.testing.assert_allclose(weighted.theta, repeated.theta, rtol=1e-5, atol=1e-6)


def test_the_saturated_model_has_the_highest_likelihood():
    answers = make_answers(gappy(), SIX_NAMES)
    mean, covariance = saturated(answers)
    at = likelihood(answers, covariance)
    np.testing.assert_allclose(at.mean, mean, atol=1e-6)
    np.testing.assert_allclose(at.by_covariance, 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda x: x[:, 0].fill(np.nan), TableProblem, "Nobody answered 'x1'"),
        (lambda x: x[:, 1].fill(3.0), TableProblem, "All answers to 'x2' are the same"),
        (lambda x: (x[:100, 0].fill(np.nan), x[100:, 3].fill(np.nan)), TableProblem, "x1 and x4"),
        (lambda x: np.copyto(x[:, 2], x[:, 0] + x[:, 1]), ModelProblem, "combinations of others"),
    ],
)
def test_items_that_cannot_be_used(change, error, said):
    values = with_moments(symmetric(PUPILS)[:6, :6], 200)
    change(values)
    with pytest.raises(error, match=said):
        fitted(SIX, SIX_NAMES, values)


def test_a_model_that_is_not_identified():
    values = with_moments(symmetric(PUPILS)[:6, :6], 200)
    # Two factors with three items each, and both disturbances of a circle of effects.
    with pytest.raises(ModelProblem, match="not identified"):
        fitted(SIX + "\nf ~ g\ng ~ f", SIX_NAMES, values)
