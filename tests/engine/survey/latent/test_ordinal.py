"""Ordinal items: loadings of the variables behind them by simulation, Rubin's rules, plausible values of areas."""

import numpy as np
import pandas as pd
import pytest
import smallarea
from scipy.stats import norm, t
from smallarea.errors import JobProblem, TableProblem
from smallarea.survey.latent.estimates import from_likelihood
from smallarea.survey.latent.maximum_likelihood import maximise
from smallarea.survey.latent.model import build_model
from smallarea.survey.latent.ordinal import pool, underlying_tables
from smallarea.survey.latent.patterns import make_answers

LOADINGS = np.array([0.8, 0.7, 0.6, 0.8, 0.5])
NAMES = list("abcde")
MODEL = "f =~ a + b + c + d + e"


def items(n, cuts, seed, shift=None):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal(n) if shift is None else shift + np.sqrt(0.8) * rng.standard_normal(n)
    behind = factor[:, None] * LOADINGS + rng.standard_normal((n, 5)) * np.sqrt(1.0 - LOADINGS**2)
    answers = np.digitize(behind, cuts).astype(float)
    answers[rng.random(answers.shape) < 0.1] = np.nan
    return pd.DataFrame(answers, columns=NAMES), factor


def standardised(result):
    table = result.estimates.parameters
    loadings = table[table["operator"] == "=~"]
    return loadings["standardised"].to_numpy(), loadings["se_standardised"].to_numpy()


@pytest.mark.parametrize("cuts", [[0.5], [-0.8, 0.3, 1.2]], ids=["yes or no", "four steps"])
def test_loadings_are_not_attenuated(cuts):
    survey, _ = items(4000, cuts, 3)
    found, errors = standardised(smallarea.latent_indicator(survey, model=MODEL, ordinal=NAMES))
    numbers, _ = standardised(smallarea.latent_indicator(survey, model=MODEL))
    assert (np.abs(found - LOADINGS) < 3.5 * errors).all()
    assert (errors < 0.04).all()
    assert abs(np.mean(found / LOADINGS) - 1.0) < 0.03
    assert np.mean(numbers / LOADINGS) < (0.85 if len(cuts) == 1 else 0.95)
    assert (numbers < found).all()


def test_intervals_cover():
    inside = []
    for seed in range(16):
        survey, _ = items(600, [-0.3, 0.8], 100 + seed)
        found, errors = standardised(smallarea.latent_indicator(survey, model=MODEL, ordinal=NAMES))
        inside.append(np.abs(found - LOADINGS) < 1.96 * errors)
    assert np.mean(inside) >= 0.87  # 80 intervals, five and five related


def test_mixed_items_keep_their_units_and_empty_rows():
    survey, _ = items(500, [0.2], 5)
    rng = np.random.default_rng(1)
    survey["a"] = 1000.0 + 50.0 * rng.standard_normal(500) + 40.0 * survey["b"].fillna(0.5)
    survey.loc[3] = np.nan
    values = survey.to_numpy()
    options = {"areas": None, "weights": None, "imputations": 3, "seed": 2}
    tables = underlying_tables(values, NAMES, NAMES[1:], **options)
    for table in tables:
        known = ~np.isnan(values[:, 0])
        np.testing.assert_allclose(table[known, 0], values[known, 0], rtol=1e-12)
        for k in range(1, 5):  # a variable behind a no lies below one behind a yes
            assert table[values[:, k] == 0, k].max() < table[values[:, k] == 1, k].min()
        assert np.isnan(table[3]).all()
        assert not np.isnan(np.delete(table, 3, axis=0)).any()
    again = underlying_tables(values, NAMES, NAMES[1:], **options)
    np.testing.assert_array_equal(np.array(tables), np.array(again))


def test_rubins_rules_by_hand():
    model = build_model("f =~ a + b + c")
    rng = np.random.default_rng(8)
    factor = rng.standard_normal(300)
    fits = [
        maximise(model, make_answers(factor[:, None] + rng.standard_normal((300, 3)), model.observed)) for _ in range(3)
    ]
    whole = pool(fits)
    theta = np.array([one.theta for one in fits])
    np.testing.assert_allclose(whole.theta, theta.mean(axis=0))
    expected = np.mean([one.covariance for one in fits], axis=0) + 4.0 / 3.0 * np.cov(theta.T)
    np.testing.assert_allclose(whole.covariance, expected, rtol=1e-10)
    # Three tables leave few degrees of freedom: t intervals, not normal ones.
    within = np.sqrt(np.diag(np.mean([one.covariance for one in fits], axis=0)))
    total = np.sqrt(np.diag(expected))
    df = 2.0 / (1.0 - (within / total) ** 2) ** 2
    table = from_likelihood(whole, 0.95).parameters
    loading = table[(table["operator"] == "=~") & (table["right"] == "b")].iloc[0]
    k = model.names.index("f =~ b")
    assert loading["upper"] - loading["estimate"] == pytest.approx(t.ppf(0.975, df[k]) * total[k], rel=1e-9)
    assert loading["p_value"] == pytest.approx(2.0 * t.sf(whole.theta[k] / total[k], df[k]), rel=1e-9)
    one = from_likelihood(fits[0], 0.95).parameters.iloc[1]
    assert one["upper"] - one["estimate"] == pytest.approx(norm.ppf(0.975) * one["se"], rel=1e-9)


def test_areas_and_scores_of_ordinal_items():
    rng = np.random.default_rng(6)
    truth = rng.normal(0.0, np.sqrt(0.2), 40)
    areas = np.repeat(np.arange(40), 40)
    survey, factor = items(1600, [0.0, 1.0], 7, truth[areas])
    survey["district"] = areas.astype(str)
    survey["w"] = rng.uniform(1.0, 2.0, 1600)
    found = smallarea.latent_indicator(survey, model=MODEL, ordinal=NAMES, area_field="district", weight="w")
    scores = found.scores["score_f"] * 0.8  # in units of the item whose loading is 1
    assert np.corrcoef(scores, factor)[0, 1] > 0.75
    drawn = found.plausible_values.groupby(["imputation", "district"], sort=False)["f"].mean().to_numpy()
    means, wanted = drawn.reshape(10, 40).mean(axis=0), np.bincount(areas, factor) / 40
    slope = np.polyfit(wanted - wanted.mean(), means - means.mean(), 1)[0] / 0.8
    assert 0.75 < slope < 1.25  # not pulled together
    assert np.isnan(found.fit.p_value)
    assert found.fit.srmr < 0.05
    assert any("normal variable behind them" in note for note in found.notes)
    assert not found.warnings


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"ordinal": ["z"]}, JobProblem, "'z' are named as ordinal"),
        ({"ordinal": NAMES, "method": "bayes"}, JobProblem, "go with the method ml"),
    ],
)
def test_what_is_refused(change, error, said):
    with pytest.raises(error, match=said):
        smallarea.latent_indicator(items(100, [0.0], 1)[0], model=MODEL, **change)


def test_numbers_are_no_categories():
    survey, _ = items(200, [0.0], 1)
    survey["a"] = np.arange(200.0)
    with pytest.raises(TableProblem, match="'a' has 200 different answers"):
        smallarea.latent_indicator(survey, model=MODEL, ordinal=NAMES)
