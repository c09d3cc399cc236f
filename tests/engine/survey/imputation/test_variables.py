"""Kinds of columns, and every column that is refused."""

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import JobProblem, TableProblem
from smallarea.survey.imputation.variables import describe_variables, notes_on

N = 40


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "height": rng.normal(170, 10, N),
            "income": np.exp(rng.normal(8, 1.5, N)),
            "share": rng.random(N),
            "health": rng.integers(1, 6, N),
            "smokes": rng.integers(0, 2, N).astype(float),
            "works": rng.random(N) < 0.5,
            "region": rng.choice(["north", "south", "west"], N),
            "size": pd.Categorical(
                rng.choice(["small", "large", "medium"], N), ["small", "medium", "large"], ordered=True
            ),
        }
    )


def test_kinds_are_detected(frame):
    names = list(frame.columns)
    found = describe_variables(frame, names, ranges={"share": (0, 1)})
    kinds = ["continuous", "skewed", "bounded", "ordinal", "binary", "binary", "nominal", "ordinal"]
    assert [variable.kind for variable in found] == kinds
    assert found[3].categories == (1, 2, 3, 4, 5)
    assert found[7].categories == ("small", "medium", "large")
    assert (found[2].lower, found[2].upper) == (0, 1)
    assert [variable.numeric for variable in found] == [True] * 6 + [False, False]


def test_what_is_declared_wins(frame):
    kinds = {"health": "continuous", "smokes": "nominal", "income": "continuous", "region": "nominal"}
    found = describe_variables(frame, list(kinds), kinds=kinds)
    assert {variable.name: variable.kind for variable in found} == kinds


def test_a_handful_of_large_numbers_is_no_scale():
    few = [1200.0, 1850.0, 2000.0, 2400.0, 2500.0, 3100.0, 3900.0, 5200.0]
    columns = {
        "income": [*few, *[np.nan] * 32], "scale": [1.0, 2.0, 3.0, 4.0, 5.0, 2.0, *[np.nan] * 34],
        "codes": [100.0, 200.0, 300.0, 400.0] * 10,
    }  # fmt: skip
    kinds = [variable.kind for variable in describe_variables(pd.DataFrame(columns), list(columns))]
    assert kinds == ["continuous", "ordinal", "ordinal"]


def test_codes_that_are_no_answers_do_not_count(frame):
    frame.loc[:3, "health"] = 99
    (with_code,) = describe_variables(frame, ["health"])
    (without,) = describe_variables(frame, ["health"], structural={"health": [99]})
    assert 99 in with_code.categories
    assert without.categories == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([np.nan] * N, {}, "All 40 answers of 'x' are missing"),
        ([3.0] * N, {}, "constant"),
        ([1.0, 2.0, 3.0, *[np.nan] * (N - 3)], {}, "only 3 answers"),
        (["12", "7", "n/a", *["5"] * (N - 3)], {}, "Text among the numbers of 'x': 'n/a' in rows 3"),
        ([str(k) for k in range(N)], {}, "numbers written as text"),
        (["a", *range(N - 1)], {"kinds": {"x": "continuous"}}, "declared continuous but holds text: 'a'"),
        (["a", *range(N - 1)], {"kinds": {"x": "nominal"}}, "mixes text and numbers"),
        ([np.inf, *range(N - 1)], {"kinds": {"x": "continuous"}}, "Infinite numbers in 'x', rows 1"),
        ([np.inf, *[0.0, 1.0] * 20], {}, "Infinite numbers in 'x', rows 1"),
        ([*range(N)], {"kinds": {"x": "binary"}}, "declared binary but has 40 different"),
        (["poor", "fair", *["good"] * (N - 2)], {"kinds": {"x": "ordinal"}}, "x='ordinal: fair < good < poor', put"),
        (list(pd.date_range("2020-01-01", periods=N)), {}, "'x' holds dates"),
        ([*range(N)], {"ranges": {"x": (3, 50)}}, "3 answers of 'x' lie outside its range 3 to 50: .* in rows 1, 2, 3"),
    ],
)
def test_columns_that_are_refused(values, options, message):
    frame = pd.DataFrame({"x": pd.Series(values)})
    with pytest.raises(TableProblem, match=message):
        describe_variables(frame, ["x"], **options)


def test_too_many_categories(frame):
    frame = pd.DataFrame({"x": [f"person {k}" for k in range(60)]})
    with pytest.raises(TableProblem, match="60 categories"):
        describe_variables(frame, ["x"])


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        ([], {}, JobProblem, "No variable"),
        (["height", "height"], {}, JobProblem, "named twice: 'height'"),
        (["weight"], {}, TableProblem, "Not in the table: 'weight'"),
        (["height"], {"kinds": {"height": "odd"}}, JobProblem, "Unknown kinds .*height=odd"),
        (["height"], {"kinds": {"income": "skewed"}}, JobProblem, "'income', which are not among"),
        (["share"], {"ranges": {"share": (1, 0)}}, JobProblem, "is empty"),
        (["region"], {"ranges": {"region": (1, 2)}}, JobProblem, "holds text"),
    ],
)
def test_wrong_requests(frame, names, options, error, message):
    with pytest.raises(error, match=message):
        describe_variables(frame, names, **options)


def test_notes_name_rare_categories_and_empty_columns():
    frame = pd.DataFrame({"x": [np.nan] * 995 + [1.5, 2.5, 3.5, 4.5, 5.0], "y": ["a"] * 500 + ["b"] * 499 + ["c"]})
    notes = notes_on(frame, describe_variables(frame, ["x", "y"]))
    assert len(notes) == 2
    assert "99.5% of 'x'" in notes[0]
    assert "Seen once in 'y': 'c'" in notes[1]
