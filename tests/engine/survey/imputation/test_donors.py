"""Hot deck and chained equations: donors, bias, intervals, refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from smallarea.errors import JobProblem, ModelProblem
from smallarea.survey.imputation.hotdeck import _donors
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.rubin import combine
from smallarea.survey.imputation.variables import describe_variables

METHODS = ["hotdeck", "chained"]


def survey(seed, n=500):
    rng = np.random.default_rng(seed)
    area = rng.integers(0, 5, n)
    x = rng.normal(area, 1)
    y = x + rng.normal(size=n)
    step = np.digitize(y + rng.normal(size=n), [0, 2, 4]).astype(float)
    region = pd.Series(rng.choice(["north", "south", "west"], n))
    frame = pd.DataFrame({"y": y, "step": step, "region": region, "x": x, "area": area, "w": rng.uniform(1, 3, n)})
    whole = frame.copy()
    frame.loc[rng.random(n) < np.where(area > 2, 0.6, 0.1), "y"] = np.nan
    frame.loc[rng.random(n) < 0.2, "step"] = np.nan
    frame.loc[rng.random(n) < 0.2, "region"] = None
    return frame, whole


@pytest.mark.parametrize("method", METHODS)
def test_answers_of_others_are_given(method):
    if method == "chained":
        pytest.importorskip("statsmodels")
    frame, whole = survey(1)
    variables = describe_variables(frame, ["y", "step", "region"])
    one, two = (
        impute_table(frame, variables, method=method, area="area", covariates=["x"], weight="w", imputations=3, seed=3)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.draws, two.draws)
    for m in range(3):
        done = one.completed(m)
        assert not done.isna().any().any()
        for name in ("step", "region"):
            assert set(done[name]) == set(frame[name].dropna())
        np.testing.assert_allclose(np.isin(np.round(done["y"], 8), np.round(frame["y"].dropna(), 8)), True)
    truth = whole["y"].mean()
    assert abs(frame["y"].mean() - truth) > 0.3  # those who answered are not like the others
    assert abs(np.mean([one.completed(m)["y"].mean() for m in range(3)]) - truth) < 0.2
    assert one.draws.std(axis=0).mean() > 0


def test_donors_come_from_the_cell_and_follow_their_weights():
    rng = np.random.default_rng(2)
    cells = np.repeat([0, 1, 2], [2, 3, 1])
    donors = np.array([10, 11, 12, 13, 14, 15])
    weights = np.array([1.0, 3.0, 1.0, 1.0, 2.0, 5.0])
    asking = np.repeat([2, 0, 1], 2)
    drawn = np.array([_donors(asking, cells, donors, weights, rng) for _ in range(8000)])
    assert set(drawn[:, :2].ravel()) == {15}
    assert set(drawn[:, 2:4].ravel()) == {10, 11}
    assert abs(np.mean(drawn[:, 2] == 11) - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 8000)
    assert abs(np.mean(drawn[:, 4] == 14) - 0.5) < 4 * 0.5 / np.sqrt(8000)
    # Two rows of a cell share a bootstrap sample of its donors: they agree more often than by chance.
    assert np.mean(drawn[:, 4] == drawn[:, 5]) > (2 * 0.25**2 + 0.5**2) + 4 * 0.5 / np.sqrt(8000)


def test_answers_missing_together_come_from_one_donor():
    rng = np.random.default_rng(3)
    a = rng.normal(size=200)
    frame = pd.DataFrame({"a": a, "b": -a})
    frame.loc[:50, ["a", "b"]] = np.nan
    frame.loc[51:60, "a"] = np.nan
    imputed = impute_table(frame, describe_variables(frame, ["a", "b"]), method="hotdeck", imputations=2)
    done = imputed.completed(0)
    np.testing.assert_allclose(done.loc[:50, "a"], -done.loc[:50, "b"])
    assert imputed.record["fit"]["served"] == {"all": 61}


def test_cells_without_donors_fall_back():
    frame, _ = survey(4)
    frame.loc[frame["area"] == 1, "y"] = np.nan
    imputed = impute_table(frame, describe_variables(frame, ["y"]), method="hotdeck", area="area", imputations=2)
    served = imputed.record["fit"]["served"]
    assert served["all"] == int((frame["area"] == 1).sum())
    assert served["area"] == int(frame["y"].isna().sum()) - served["all"]


def test_intervals_of_a_mean_cover_with_the_bayesian_bootstrap():
    """Rubin's interval for a mean, a third of the answers missing completely at random: coverage and no bias."""
    covered = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=90)
        y[:30] = np.nan
        frame = pd.DataFrame({"y": y})
        imputed = impute_table(frame, describe_variables(frame, ["y"]), method="hotdeck", imputations=20, seed=seed)
        tables = [imputed.completed(m)["y"] for m in range(20)]
        means = np.array([table.mean() for table in tables])
        total = np.mean([table.var() / 90 for table in tables]) + 1.05 * means.var(ddof=1)
        covered.append(abs(means.mean()) < 1.99 * np.sqrt(total))
    assert np.mean(covered) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 150)


def test_rows_without_any_answer():
    pytest.importorskip("statsmodels")
    rng = np.random.default_rng(6)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    frame.loc[:3] = np.nan
    frame.loc[10, "a"] = np.nan
    imputed = impute_table(frame, describe_variables(frame, ["a", "b"]), method="chained", imputations=2)
    assert not imputed.completed(0).isna().any().any()


def test_refusals():
    pytest.importorskip("statsmodels")
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(60, 6)), columns=list("abcdef"))
    frame.loc[5:, "a"] = np.nan
    variables = describe_variables(frame, list("abcdef"))
    with pytest.raises(ModelProblem, match="only 5 answers"):
        impute_table(frame, variables, method="chained")
    with pytest.raises(JobProblem, match="at least 1"):
        impute_table(frame, variables, method="chained", settings={"cycles": 0})
    with pytest.raises(JobProblem, match="fewest_donors"):
        impute_table(frame, variables, method="hotdeck", settings={"fewest_donors": 0})


def test_small_cells_keep_halves_of_a_covariate():
    """Areas of 24: quarters of x leave too few donors, the area alone would take the answers of the wrong ones."""
    rng = np.random.default_rng(11)
    area = np.repeat(np.arange(20), 24)
    x = rng.normal(size=480)
    frame = pd.DataFrame({"y": x + 0.5 * rng.normal(size=480), "x": x, "area": area, "w": rng.uniform(1, 3, 480)})
    frame.loc[rng.random(480) < 1.0 / (1.0 + np.exp(1.0 - 1.5 * x)), "y"] = np.nan
    imputed = impute_table(
        frame, describe_variables(frame, ["y"]), method="hotdeck", area="area", covariates=["x"], weight="w",
        imputations=4,
    )  # fmt: skip
    served = imputed.record["fit"]["served"]
    assert served["area x halves of covariates"] > 0.5 * frame["y"].isna().sum()
    means = [imputed.completed(m)["y"].mean() for m in range(4)]
    half = x > np.median(x)
    by_halves = np.mean([frame["y"][half].mean(), frame["y"][~half].mean()])  # what such cells can do at best
    assert by_halves > frame["y"].mean() + 0.1  # the truth is 0
    assert np.mean(means) > 0.5 * (by_halves + frame["y"].mean())  # some halves have too few donors


@pytest.mark.parametrize("shape", ["sum", "product"])
def test_skewed_answers_by_chained_equations(shape):
    """Means without the bias of straight lines on normal scores (-3.5 % in sums), and intervals that cover."""
    pytest.importorskip("statsmodels")
    bias, inside = [], []
    for k in range(20):
        rng = np.random.default_rng([17, k])
        parts = rng.gamma(0.7, 10.0, (500, 4))
        x = rng.normal(size=500)
        reason = np.log(parts.sum(axis=1)) if shape == "sum" else x
        y = (
            parts.sum(axis=1) + rng.gamma(0.5, 8.0, 500)
            if shape == "sum"
            else np.exp(3.0 + 0.5 * (x + rng.normal(size=500)))
        )
        columns = {f"p{j}": parts[:, j] for j in range(4)} if shape == "sum" else {"x": x}
        lost = rng.random(500) < 1.0 / (1.0 + np.exp(0.95 - (reason - reason.mean()) / reason.std()))
        frame = pd.DataFrame({**columns, "y": np.where(lost, np.nan, y)})
        variables = describe_variables(frame, list(frame), kinds={"y": "skewed"})
        imputed = impute_table(frame, variables, method="chained", imputations=5, seed=k)
        tables = [imputed.completed(m)["y"] for m in range(5)]
        found = combine(
            np.array([t.mean() for t in tables]), np.array([t.var() / 500 for t in tables]), df_complete=499
        )
        truth = 32.0 if shape == "sum" else np.exp(3.25)
        bias.append(found.estimate / y.mean() - 1.0)
        inside.append(abs(found.estimate - truth) <= student.ppf(0.975, found.df) * np.sqrt(found.variance))
    assert abs(np.mean(bias)) < 0.015 + 3.0 * np.std(bias) / np.sqrt(20)
    assert np.mean(inside) >= 0.75  # 20 intervals; 92 percent are expected
