"""What an empty answer says of the question before it: against the probabilities, and by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from smallarea.survey.imputation.encoded import encode_table
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.openings import complete_table, open_blocks
from smallarea.survey.imputation.rules import Rules, parse_skip
from smallarea.survey.imputation.variables import describe_variables

NESTED = Rules(skips=(parse_skip("pregnant asked if sex = 2"), parse_skip("month asked if pregnant = 1")))
SEX, PREGNANT = 0.6, 0.7


def nested(n, answers_month):
    """Truth and table: sex is lost for half of the rows, pregnancy for a third, the month for `1 - answers_month`."""
    rng = np.random.default_rng(7)
    sex = 1.0 + (rng.random(n) < SEX)
    pregnant = np.where(sex == 2, (rng.random(n) < PREGNANT).astype(float), np.nan)
    month = np.where(pregnant == 1, rng.integers(1, 10, n).astype(float), np.nan)
    truth = pd.DataFrame({"sex": sex, "pregnant": pregnant, "month": month})
    table = truth.copy()
    for name, share in (("sex", 0.5), ("pregnant", 1 / 3), ("month", 1.0 - answers_month)):
        table.loc[rng.random(n) < share, name] = np.nan
    return truth, table


def model_of(encoded, rng):
    """A sampler that knows the shares of the answers and nothing else."""
    cuts = [encoded.columns[place].margin.cuts[0] for place in (0, 1)]

    def draw(rows):
        n = len(encoded.values) if rows is None else len(rows)
        values = rng.standard_normal((n, 3))
        values[:, 0] += cuts[0] - norm.ppf(1.0 - SEX)
        values[:, 1] += cuts[1] - norm.ppf(1.0 - PREGNANT)
        return values

    return draw


@pytest.mark.parametrize("answers_month", [0.0, 0.3, 0.8])
def test_emptiness_counts_as_much_as_it_says(answers_month):
    """Without other answers the imputed shares are those of the truth, row pattern by row pattern."""
    truth, table = nested(40_000, answers_month)
    if answers_month == 0.0:
        table["month"] = np.where(table["sex"].notna() & (table["pregnant"] == 1), truth["month"], np.nan)
    variables = describe_variables(table, list(table))
    encoded = encode_table(table, variables, rules=NESTED)
    rng = np.random.default_rng(1)
    done = pd.DataFrame(complete_table(encoded, model_of(encoded, rng), rng), columns=list(table))
    lost = table["sex"].isna()
    for pattern in (
        lost,
        lost & table["pregnant"].isna() & table["month"].isna(),
        table["sex"].eq(2) & table["pregnant"].isna() & table["month"].isna(),
        lost & table["pregnant"].isna() & table["month"].notna(),
    ):
        n = max(int(pattern.sum()), 1)
        for column, value in (("sex", 1), ("pregnant", 1)):  # places of the categories 2 and 1
            imputed = float((done.loc[pattern, column] == value).mean() if pattern.any() else 0.0)
            wanted = float((truth.loc[pattern, column] == value + (column == "sex")).mean() if pattern.any() else 0.0)
            # Two samples of n, and the share of those who answer, estimated from as many.
            assert abs(imputed - wanted) < 5.0 * np.sqrt(0.25 * 3.0 / n), (column, imputed, wanted)


def test_an_empty_block_says_nothing_where_nobody_filled_it():
    _, table = nested(500, 0.8)
    table.loc[table["sex"].isna(), ["pregnant", "month"]] = np.nan
    table.loc[table["pregnant"].isna(), "month"] = np.nan
    encoded = encode_table(table, describe_variables(table, list(table)), rules=NESTED)
    assert not len(open_blocks(encoded).rows)


def test_questions_with_the_same_conditions_are_one_block():
    rng = np.random.default_rng(2)
    works = (rng.random(300) < 0.5).astype(float)
    table = pd.DataFrame({"works": works, **{k: np.where(works == 1, rng.normal(size=300), np.nan) for k in "abc"}})
    table.loc[::3, "works"] = np.nan
    table.loc[::6, ["a", "b"]] = np.nan
    rules = Rules(skips=tuple(parse_skip(f"{k} asked if works = 1") for k in "abc"))
    encoded = encode_table(table, describe_variables(table, list(table)), rules=rules)
    blocks = open_blocks(encoded)
    assert len(blocks.first) == 1
    np.testing.assert_array_equal(blocks.answered[:, 0], table.loc[::3, ["a", "b", "c"]].notna().any(axis=1))


def test_blocks_are_found_behind_a_nominal_variable():
    """Its columns are more than one, so that places of variables and columns differ."""
    rng = np.random.default_rng(3)
    works = (rng.random(400) < 0.5).astype(float)
    table = pd.DataFrame(
        {"party": rng.choice(["a", "b", "c", "d"], 400), "works": works, "hours": np.where(works == 1, 38.0, np.nan)}
    )
    table["hours"] += rng.normal(size=400)
    table.loc[::3, "works"] = np.nan
    encoded = encode_table(
        table, describe_variables(table, list(table)), rules=Rules(skips=(parse_skip("hours asked if works = 1"),))
    )
    np.testing.assert_array_equal(open_blocks(encoded).rows, np.arange(0, 400, 3))


@pytest.mark.parametrize("method", ["mvn", "chained", "hotdeck"])
def test_a_code_for_not_asked_decides_the_question_before(method):
    """Whoever was not asked for hours by the code does not work, though that answer is missing."""
    rng = np.random.default_rng(8)
    n = 600
    x = rng.normal(size=n)
    works = (x + rng.normal(size=n) > -0.8).astype(float)
    table = pd.DataFrame({"x": x, "works": works, "hours": np.where(works == 1, 38.0 + rng.normal(size=n), -8.0)})
    lost = rng.random(n) < 0.4
    table.loc[lost, "works"] = np.nan
    table.loc[rng.random(n) < 0.2, "hours"] = np.nan
    rules = Rules(not_asked={"hours": (-8.0,)}, skips=(parse_skip("hours asked if works = 1"),))
    variables = describe_variables(table, list(table), structural=rules.codes)
    imputed = impute_table(table, variables, method=method, imputations=3, rules=rules)
    coded, answered = lost & (table["hours"] == -8.0), lost & (table["hours"] > 0.0)
    assert coded.sum() > 20
    for m in range(3):
        done = imputed.completed(m)
        assert (done.loc[coded, "works"] == 0.0).all()
        assert (done.loc[answered, "works"] == 1.0).all()
        np.testing.assert_array_equal(done["hours"].notna(), done["works"] == 1.0)


def test_a_code_that_stands_where_the_conditions_hold_says_nothing():
    """A module that only half of the sample was given: its code leaves open who works."""
    rng = np.random.default_rng(9)
    n = 600
    works = (rng.random(n) < 0.7).astype(float)
    hours = np.where((works == 1) & (rng.random(n) < 0.5), 38.0 + rng.normal(size=n), -8.0)
    table = pd.DataFrame({"works": works, "hours": hours})
    table.loc[rng.random(n) < 0.3, "works"] = np.nan
    rules = Rules(not_asked={"hours": (-8.0,)}, skips=(parse_skip("hours asked if works = 1"),))
    variables = describe_variables(table, list(table), structural=rules.codes)
    blocks = open_blocks(encode_table(table, variables, rules=rules))
    assert not blocks.shut.any()


@pytest.mark.parametrize("method", ["mvn", "chained", "hotdeck"])
@pytest.mark.parametrize("ends", [False, True], ids=["each question by itself", "an empty answer ends the block"])
def test_both_empty_with_every_method(method, ends):
    """70 % say yes and half of them leave the next question empty: 54 % of those with both empty meant yes."""
    rng = np.random.default_rng(5)
    n = 4_000
    x = rng.normal(size=n)
    z = x + rng.normal(size=n)
    gate = (z > np.quantile(z, 0.3)).astype(float)
    later = np.where(gate == 1, 2.0 + 0.5 * x + rng.normal(size=n), np.nan)
    lost, silent = rng.random(n) < 0.4, rng.random(n) < 0.5
    table = pd.DataFrame({"gate": np.where(lost, np.nan, gate), "later": np.where(silent, np.nan, later), "x": x})
    if ends:
        table.loc[lost, "later"] = np.nan
    imputed = impute_table(
        table, describe_variables(table, list(table)), method=method, imputations=4,
        rules=Rules(skips=(parse_skip("later asked if gate = 1"),)),
    )  # fmt: skip
    both = table["gate"].isna() & table["later"].isna()
    tables = [imputed.completed(m) for m in range(4)]
    # 1,000 to 1,600 rows: their own error and that of four draws together are at most 0.018.
    assert abs(np.mean([t.loc[both, "gate"].mean() for t in tables]) - gate[both].mean()) < 0.045
    assert abs(np.mean([t["gate"].mean() for t in tables]) - gate.mean()) < 0.02
    assert abs(np.mean([t["later"].mean() for t in tables]) - np.nanmean(later)) < 0.08
    for t in tables:
        np.testing.assert_array_equal(t["later"].notna(), t["gate"] == 1)
    again = impute_table(
        table, describe_variables(table, list(table)), method=method, imputations=4,
        rules=Rules(skips=(parse_skip("later asked if gate = 1"),)),
    )  # fmt: skip
    np.testing.assert_array_equal(again.draws, imputed.draws)
