"""Working scales and the way back."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from smallarea.errors import JobProblem, TableProblem
from smallarea.survey.imputation.context import area_effects, make_context
from smallarea.survey.imputation.encoded import encode_table
from smallarea.survey.imputation.margins import linear_margin, quantile_margin, threshold_margin
from smallarea.survey.imputation.variables import Variable, describe_variables


@pytest.mark.parametrize("lower", [None, 0.0])
def test_margins_lead_there_and_back(lower):
    rng = np.random.default_rng(1)
    values = np.concatenate([np.zeros(30), rng.exponential(1, 170)])  # an atom at zero
    for margin in (linear_margin(values), quantile_margin(values, lower, None)):
        np.testing.assert_allclose(margin.decode(margin.encode(values)), values, atol=1e-12)
        assert np.isnan(margin.encode(np.array([np.nan]))).all()


def test_quantile_margin_draws_the_distribution_it_was_fitted_to():
    rng = np.random.default_rng(2)
    values = np.concatenate([np.zeros(300), rng.exponential(1, 700)])
    margin = quantile_margin(values, None, 10.0)
    drawn = margin.decode(norm.ppf((np.arange(100_000) + 0.5) / 100_000))
    assert abs(np.mean(drawn == 0.0) - 0.3) < 0.002
    assert drawn.min() == 0.0
    assert drawn.max() == 10.0
    levels = [0.4, 0.6, 0.8, 0.95]
    np.testing.assert_allclose(np.quantile(drawn, levels), np.quantile(values, levels), rtol=0.01)


def test_whole_numbers_stay_whole():
    values = np.arange(100.0)
    for margin in (linear_margin(values), quantile_margin(values, 0, 120)):
        drawn = margin.decode(np.linspace(-3, 3, 50))
        np.testing.assert_array_equal(drawn, np.round(drawn))


def test_thresholds_cut_at_the_shares():
    margin = threshold_margin([10, 30, 60])
    np.testing.assert_allclose(margin.cuts, norm.ppf([0.1, 0.4]))
    draws = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    codes = margin.decode(draws)
    np.testing.assert_allclose(np.bincount(codes.astype(int)) / 1e5, [0.1, 0.3, 0.6], atol=1e-4)
    means = [draws[codes == code].mean() for code in range(3)]
    np.testing.assert_allclose(margin.scores, means, atol=1e-3)
    low, high = margin.interval(np.array([margin.scores[1], np.nan]))
    np.testing.assert_allclose(low, [margin.cuts[0], -np.inf])
    np.testing.assert_allclose(high, [margin.cuts[1], np.inf])


def test_a_category_that_nobody_chose_is_never_drawn():
    margin = threshold_margin([10, 0, 10])
    assert set(margin.decode(np.linspace(-4, 4, 1001))) == {0.0, 2.0}


def test_nominal_chain_leads_there_and_back():
    rng = np.random.default_rng(3)
    region = pd.Series(rng.choice(["a", "b", "c", "d"], 200, p=[0.2, 0.5, 0.05, 0.25]))
    lost = rng.random(200) < 0.3
    frame = pd.DataFrame({"region": region.mask(lost)})
    encoded = encode_table(frame, describe_variables(frame, ["region"]))
    assert [column.name for column in encoded.columns] == ["region: b", "region: d", "region: a"]
    np.testing.assert_array_equal(encoded.missing, np.repeat(lost[:, None], 3, axis=1))
    # After the first yes there is no question.
    assert encoded.structural[region.to_numpy() == "b"][:, 1:].sum() == 2 * ((region == "b") & ~lost).sum()
    encoded.lost[:] = True  # decode every row from its working values
    values = np.where(np.isnan(encoded.values), 0.0, encoded.values)
    codes = encoded.to_numbers(values)[~lost, 0].astype(int)
    categories = np.array(encoded.variables[0].categories)
    np.testing.assert_array_equal(categories[codes], region[~lost])


def test_unknown_categories_are_refused():
    frame = pd.DataFrame({"x": ["a", "b", "c"] * 5})
    with pytest.raises(TableProblem, match="none of its categories: 'c' in rows 3, 6"):
        encode_table(frame, [Variable("x", "binary", categories=("a", "b"))])


def test_context_is_standardised_and_independent():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": rng.normal(5, 2, 50), "group": ["a", "b"] * 25, "w": rng.choice([1.0, 3.0], 50)})
    frame["twice"] = 2 * frame["x"] + 1
    context = make_context(frame, covariates=["x", "twice", "group"], weight="w", strata="group")
    assert context.names == ("x", "group: b", "log w")
    assert "'twice'" in context.notes[0]
    np.testing.assert_allclose(context.covariates.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(context.covariates.std(axis=0), 1)
    assert np.linalg.matrix_rank(context.covariates) == 3


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({"w": [1.0, np.nan, 1.0]}, {"weight": "w"}, TableProblem, "1 rows have no 'w': rows 2"),
        (
            {"w": [1.0, 0.0, -1.0]},
            {"weight": "w"},
            TableProblem,
            "2 weights in 'w' are not positive numbers: rows 2, 3",
        ),
        ({"a": ["x", None, "y"]}, {"area": "a"}, TableProblem, "no 'a': rows 2"),
        ({}, {"area": "nowhere"}, TableProblem, "No column 'nowhere'"),
        ({"c": [1.0, np.inf, 2.0]}, {"covariates": ["c"]}, TableProblem, "Infinite"),
    ],
)
def test_context_with_gaps_is_refused(change, options, error, message):
    with pytest.raises(error, match=message):
        make_context(pd.DataFrame({"y": [1, 2, 3], **change}), **options)


def test_too_many_levels():
    frame = pd.DataFrame({"c": [f"level {k}" for k in range(40)]})
    with pytest.raises(JobProblem, match="40 levels"):
        make_context(frame, covariates=["c"])
    assert "too many for a column each" in make_context(frame, strata="c").notes[0]


def test_area_effects_predict_missing_and_observed_answers_alike():
    """The regression on the effect has slope 1 where answers are seen and where they are not."""
    rng = np.random.default_rng(5)
    area = np.repeat(np.arange(300), 12)
    y = rng.normal(0, 0.6, 300)[area] + rng.normal(size=len(area))
    lost = rng.random(len(y)) < 0.5
    frame = pd.DataFrame({"area": area})
    effect = area_effects(np.where(lost, np.nan, y)[:, None], make_context(frame, area="area"))[:, 0]
    for rows in (lost, ~lost):
        slope = np.cov(effect[rows], y[rows])[0, 1] / effect[rows].var()
        error = np.sqrt((y[rows] - effect[rows]).var() / (effect[rows].var() * 300 * 3))
        assert abs(slope - 1) < 4 * error
    assert area_effects(y[:, None], make_context(frame)).shape == (len(y), 0)
