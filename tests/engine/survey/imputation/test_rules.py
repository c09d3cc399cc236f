"""Skip patterns, codes that are no answers, contradictions."""

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import JobProblem, TableProblem
from smallarea.survey.imputation.encoded import encode_table
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.rules import Condition, Rules, SkipRule, parse_skip
from smallarea.survey.imputation.variables import describe_variables


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("pregnant asked if sex = 2", SkipRule("pregnant", (Condition("sex", "=", (2,)),))),
        (
            "hours asked if works = 'yes' and age >= 15.5",
            SkipRule("hours", (Condition("works", "=", ("yes",)), Condition("age", ">=", (15.5,)))),
        ),
        ("x asked if y in a, b", SkipRule("x", (Condition("y", "in", ("a", "b")),))),
        ("x asked if y != 3", SkipRule("x", (Condition("y", "!=", (3,)),))),
    ],
)
def test_skip_patterns_are_read(text, rule):
    assert parse_skip(text) == rule
    assert parse_skip(str(rule)) == rule


@pytest.mark.parametrize("text", ["", "x if y = 1", "x asked if y", "asked if y = 1"])
def test_skip_patterns_that_cannot_be_read(text):
    with pytest.raises(JobProblem, match="cannot be read"):
        parse_skip(text)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (Rules(skips=(parse_skip("a asked if b = 1"), parse_skip("b asked if a = 1"))), "in a circle"),
        (Rules(skips=(parse_skip("a asked if a = 1"),)), "in a circle"),
        (Rules(skips=(parse_skip("a asked if b = 1"), parse_skip("a asked if b = 2"))), "nobody can be asked 'a'"),
        (Rules(skips=(parse_skip("a asked if b > 5 and b <= 5"),)), "nobody can be asked"),
        (Rules(skips=(parse_skip("a asked if b in 1, 2 and b > 2"),)), "nobody can be asked"),
        (Rules({"a": [9]}, {"a": [8, 9]}), "both as not asked and as refused"),
        (Rules({"z": [9]}), "about 'z'"),
        (Rules(skips=(parse_skip("a asked if z = 1"),)), "read 'z'"),
    ],
)
def test_rules_that_contradict(rules, message):
    with pytest.raises(JobProblem, match=message):
        rules.check(["a", "b"], ["a", "b", "c"])


def survey(seed=1, n=400):
    """Sex, whether pregnant (women only) and month (pregnant women only)."""
    rng = np.random.default_rng(seed)
    sex = rng.integers(1, 3, n).astype(float)
    age = rng.normal(40, 8, n)
    pregnant = np.where(sex == 2, (rng.random(n) < 0.4).astype(float), np.nan)
    month = np.where(pregnant == 1, rng.integers(1, 10, n).astype(float), np.nan)
    return pd.DataFrame({"sex": sex, "age": age, "pregnant": pregnant, "month": month})


RULES = Rules(
    not_asked={"age": [998]},
    refused={"age": [999]},
    skips=(parse_skip("pregnant asked if sex = 2"), parse_skip("month asked if pregnant = 1")),
)
NAMES = ["sex", "age", "pregnant", "month"]


@pytest.mark.parametrize("method", ["mvn", "hotdeck"])
def test_rules_hold_in_completed_tables(method):
    frame = survey()
    rng = np.random.default_rng(2)
    whole = frame.copy()
    for name in NAMES:
        frame.loc[rng.random(len(frame)) < 0.2, name] = np.nan
    frame.loc[:4, "age"] = 998
    frame.loc[5:9, "age"] = 999
    variables = describe_variables(frame, NAMES, structural=RULES.codes)
    imputed = impute_table(frame, variables, method=method, rules=RULES, imputations=4, seed=1)
    asked = frame[NAMES].notna().to_numpy().copy()
    asked[:10, 1] = False
    for m in range(4):
        done = imputed.completed(m)
        assert done["sex"].isin([1, 2]).all()
        np.testing.assert_array_equal(done["pregnant"].isna(), done["sex"] == 1)
        np.testing.assert_array_equal(done["month"].isna(), done["pregnant"] != 1)
        assert done.loc[:4, "age"].isna().all()  # not asked
        assert done.loc[5:, "age"].notna().all()
        assert done["month"].dropna().isin(range(1, 10)).all()
        np.testing.assert_array_equal(done.to_numpy()[asked], whole[NAMES].to_numpy()[asked])
    assert (imputed.completed(0)["sex"] != imputed.completed(1)["sex"]).any()


def test_answers_against_the_rules_are_refused():
    frame = survey()
    row = int(np.flatnonzero(frame["sex"] == 1)[0])
    frame.loc[row, "pregnant"] = 1.0
    with pytest.raises(
        TableProblem, match=f"1 rows answer 'pregnant' although 'sex = 2' does not hold: rows {row + 1}"
    ):
        encode_table(frame, describe_variables(frame, NAMES), rules=RULES)


def test_conditions_on_other_columns_must_be_complete():
    frame = survey()
    frame["country"] = "A"
    rules = Rules(skips=(parse_skip("age asked if country = A"),))
    variables = describe_variables(frame, ["age", "sex"])
    encoded = encode_table(frame, variables, rules=rules)
    assert not encoded.structural.any()
    frame.loc[3, "country"] = None
    with pytest.raises(TableProblem, match="1 missing answers"):
        encode_table(frame, variables, rules=rules)


def test_text_is_not_compared_by_size():
    frame = survey()
    frame["country"] = "A"
    rules = Rules(skips=(parse_skip("age asked if country > 3"),))
    with pytest.raises(JobProblem, match="compares text by size"):
        encode_table(frame, describe_variables(frame, ["age"]), rules=rules)


def test_answers_open_every_gate_before_them():
    """Month is answered but neither sex nor pregnancy: whoever tells the month is a pregnant woman."""
    frame = survey()
    rows = np.flatnonzero(frame["month"].notna())[:30]
    frame.loc[rows, ["sex", "pregnant"]] = np.nan
    imputed = impute_table(frame, describe_variables(frame, NAMES), rules=RULES, imputations=3, method="hotdeck")
    for m in range(3):
        done = imputed.completed(m).loc[rows]
        assert (done["sex"] == 2).all()
        assert (done["pregnant"] == 1).all()
        assert done["month"].notna().all()


def test_several_answered_questions_narrow_one_gate():
    rng = np.random.default_rng(3)
    a = rng.integers(1, 4, 300).astype(float)
    frame = pd.DataFrame(
        {
            "a": a,
            "x": np.where(a <= 2, rng.normal(size=300), np.nan),
            "y": np.where(a >= 2, rng.normal(size=300), np.nan),
        }
    )
    rules = Rules(skips=(parse_skip("x asked if a in 1, 2"), parse_skip("y asked if a >= 2")))
    rows = np.flatnonzero(a == 2)[:20]
    frame.loc[rows, "a"] = np.nan
    imputed = impute_table(frame, describe_variables(frame, ["a", "x", "y"]), rules=rules, imputations=3)
    assert (imputed.completed(2).loc[rows, "a"] == 2).all()
