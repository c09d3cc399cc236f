"""Summaries by model: sums, paired differences, rows over all responses."""

import numpy as np
import pandas as pd
import pytest
from smallarea.results.prediction.score_table import score_table, sum_with_error

NUMBERS = (
    "log_score", "crps", "interval_score", "covered", "width", "dawid_sebastiani", "squared_error", "absolute_error",
    "squared_error_of_truth", "effective", "pareto_k",
)  # fmt: skip


def cells(model, scores, response="y", criterion="loo"):
    frame = pd.DataFrame({name: np.ones(len(scores)) for name in NUMBERS})
    frame["log_score"] = scores
    area = [f"a{i}" for i in range(len(scores))]
    return frame.assign(criterion=criterion, model=model, response=response, area=area)


def test_differences_are_paired():
    rng = np.random.default_rng(1)
    base = 5.0 * rng.normal(size=60)
    one, two = base, base - 0.3 + 0.1 * rng.normal(size=60)
    got = score_table(pd.concat([cells("two", two), cells("one", one)]), ["y"]).set_index("model")
    assert list(got.index) == ["one", "two"]
    assert got.loc["one", ["difference", "difference_se"]].tolist() == [0.0, 0.0]
    assert got.loc["two", "difference"] == pytest.approx((two - one).sum())
    assert got.loc["two", "difference_se"] == pytest.approx(np.sqrt(60 * np.var(two - one, ddof=1)))
    assert got.loc["two", "elpd_se"] > 10 * got.loc["two", "difference_se"]


def test_only_cells_that_all_models_predict_count():
    one, two = np.array([1.0, 2.0, 3.0]), np.array([1.5, np.nan, 2.0])
    got = score_table(pd.concat([cells("one", one), cells("two", two)]), ["y"]).set_index("model")
    assert got["n"].tolist() == [2, 2]
    assert got.loc["one", "elpd"] == pytest.approx(4.0)


def test_several_responses_without_and_with_joint_scores():
    parts = [cells("one", np.array([1.0, 2.0]), r) for r in ("y", "z")]
    apart = score_table(pd.concat(parts), ["y", "z"]).set_index("response")
    assert apart.loc["all", ["n", "elpd"]].tolist() == [4, 6.0]
    assert np.isnan(apart.loc["all", "rmse"])
    joint = cells("one", np.array([2.5, 2.5]), "all").assign(covered=np.nan)
    together = score_table(pd.concat([*parts, joint]), ["y", "z"]).set_index("response")
    assert together.loc["all", ["n", "elpd", "coverage"]].tolist() == [2, 5.0, 1.0]


def test_nothing_to_sum():
    assert all(np.isnan(sum_with_error(np.array([np.nan]))))
    assert sum_with_error(np.array([2.0]))[0] == 2.0
    assert not len(score_table(cells("one", np.array([])), ["y"]))
