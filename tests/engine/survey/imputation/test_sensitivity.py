"""Delta adjustment: imputed answers move, observed ones do not, bounds hold."""

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import JobProblem
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.rules import Rules, parse_skip
from smallarea.survey.imputation.sensitivity import delta_table, shift_imputed
from smallarea.survey.imputation.variables import describe_variables


@pytest.fixture(scope="module")
def imputed():
    rng = np.random.default_rng(2)
    n = 900
    trait = rng.normal(size=n)
    smokes = (trait + rng.normal(size=n) > 0.5).astype(int)
    frame = pd.DataFrame(
        {
            "weight": rng.uniform(0.5, 2.0, size=n),
            "x": 20.0 + 4.0 * (0.7 * trait + 0.7 * rng.normal(size=n)),
            "share": 1.0 / (1.0 + np.exp(-trait - rng.normal(size=n))),
            "health": 1 + np.digitize(trait + rng.normal(size=n), [-1.0, 0.0, 1.0]),
            "town": np.array(["a", "b", "c"])[rng.integers(3, size=n)],
            "smokes": smokes,
            "cigarettes": np.where(smokes == 1, 10.0 + 3.0 * rng.normal(size=n), np.nan),
        }
    )
    for name in ("x", "share", "health", "town", "smokes"):
        frame[name] = frame[name].mask(rng.uniform(size=n) < 0.2)
    names = ["x", "share", "health", "town", "smokes", "cigarettes"]
    variables = describe_variables(frame, names, ranges={"share": (0.0, 1.0)})
    rules = Rules(skips=(parse_skip("cigarettes asked if smokes = 1"),))
    frame["cigarettes"] = frame["cigarettes"].mask(frame["smokes"] != 1)
    return impute_table(frame, variables, imputations=4, weight="weight", rules=rules, seed=1)


def test_continuous_answers_move_by_their_standard_deviation(imputed):
    moved = shift_imputed(imputed, {"x": 0.5})
    mine = imputed.cells[1] == 0
    sd = imputed.original["x"].std(ddof=0)
    assert moved.draws[:, mine] - imputed.draws[:, mine] == pytest.approx(np.full((4, mine.sum()), 0.5 * sd))
    assert np.array_equal(moved.draws[:, ~mine], imputed.draws[:, ~mine], equal_nan=True)
    assert moved.record["deltas"] == {"x": 0.5}
    seen = imputed.original["x"].notna()
    assert moved.completed(0).loc[seen, "x"].equals(imputed.completed(0).loc[seen, "x"])


def test_bounded_answers_stay_within_their_bounds(imputed):
    mine = imputed.cells[1] == 1
    for delta in (-3.0, 3.0):
        draws = shift_imputed(imputed, {"share": delta}).draws[:, mine]
        assert np.all((draws >= 0.0) & (draws <= 1.0))
        assert np.all(np.sign(draws - imputed.draws[:, mine]) * np.sign(delta) >= 0)


def test_categories_move_as_the_normal_variable_behind_them(imputed):
    mine = imputed.cells[1] == 2
    up = shift_imputed(imputed, {"health": 0.5}).draws[:, mine]
    assert np.all(up >= imputed.draws[:, mine])
    assert 0.2 < np.mean(up > imputed.draws[:, mine]) < 0.7
    assert np.all(shift_imputed(imputed, {"health": 9.0}).draws[:, mine] == 3.0)
    assert np.array_equal(up, shift_imputed(imputed, {"health": 0.5}).draws[:, mine])


def test_no_delta_changes_nothing(imputed):
    moved = shift_imputed(imputed, {"x": 0.0, "health": 0.0, "share": 0.0})
    assert np.array_equal(moved.draws, imputed.draws, equal_nan=True)


def test_the_table_has_means_with_weights(imputed):
    table = delta_table(imputed, deltas=(-0.5, 0.0, 0.5)).set_index(["variable", "delta"])
    weight = imputed.original["weight"]
    for name in ("x", "health"):
        wanted = np.mean([np.average(imputed.completed(m)[name], weights=weight) for m in range(4)])
        assert table.loc[(name, 0.0), "mean"] == pytest.approx(wanted, rel=1e-12)
        seen = imputed.original[name].notna()
        observed = np.average(imputed.original.loc[seen, name].astype(float), weights=weight[seen])
        assert table.loc[(name, 0.0), "observed"] == pytest.approx(observed, rel=1e-12)
        means = table.loc[name, "mean"].to_numpy()
        assert np.all(np.diff(means) > 0.0)
    # A linear variable moves by delta times its standard deviation times the weighted share of imputed answers.
    share = np.average(imputed.original["x"].isna(), weights=weight)
    wanted = 0.5 * share * imputed.original["x"].std(ddof=0)
    assert table.loc[("x", 0.5), "mean"] - table.loc[("x", 0.0), "mean"] == pytest.approx(wanted, rel=1e-9)
    assert "town" not in table.index
    assert "smokes" not in table.index


@pytest.mark.parametrize(
    ("deltas", "words"),
    [
        ({"y": 1.0}, "'y'"),
        ({"town": 1.0}, "without an order"),
        ({"smokes": 1.0}, "another question"),
        ({"x": np.inf}, "finite"),
    ],
)
def test_impossible_shifts_are_refused(imputed, deltas, words):
    with pytest.raises(JobProblem, match=words):
        shift_imputed(imputed, deltas)
