"""Periods of a long table: numbers, dates, texts, gaps."""

import datetime

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import JobProblem, TableProblem
from smallarea.workflows.periods import read_periods


def labels(values, listed=(), gaps="error"):
    return read_periods(pd.Series(values), "when", listed, gaps).labels


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([2021, 2019, 2020, 2019], ("2019", "2020", "2021")),
        ([2021.0, 2019.0, 2020.0], ("2019", "2020", "2021")),
        (["10", "9", "11"], ("9", "10", "11")),
        ([2010, 2015, 2020], ("2010", "2015", "2020")),
        ([0.1, 0.3, 0.2], ("0.1", "0.2", "0.3")),
        (["wave 10", "wave 2", "wave 1"], ("wave 1", "wave 2", "wave 10")),
        (["2021-03", "2021-01", "2021-02"], ("2021-01-01", "2021-02-01", "2021-03-01")),
        (["2020-12-31", "2021-03-31", "2021-06-30"], ("2020-12-31", "2021-03-31", "2021-06-30")),
        (["2021-01-15", "2021-01-08"], ("2021-01-08", "2021-01-15")),
        (pd.to_datetime(["2021-01-01", "2020-01-01"]), ("2020-01-01", "2021-01-01")),
        ([2020, 2020], ("2020",)),
        # No such month: these are texts.
        (["2021-13", "2021-14"], ("2021-13", "2021-14")),
    ],
)
def test_kinds(values, wanted):
    assert labels(values) == wanted


def test_rows_know_their_period():
    found = read_periods(pd.Series([2021, 2019, 2020, 2019]), "when", (), "error")
    np.testing.assert_array_equal(found.at, [2, 0, 1, 0])
    assert found.values == (2019, 2020, 2021)
    assert found.added == ()
    assert found.column().dtype == np.int64
    assert read_periods(pd.Series(["2021-01"]), "when", (), "error").values == (datetime.date(2021, 1, 1),)
    assert read_periods(pd.Series(["2021-01"]), "when", (), "error").column().dtype == "datetime64[ms]"


@pytest.mark.parametrize(
    ("values", "gone", "full"),
    [
        ([2018, 2019, 2021], "2020", ("2018", "2019", "2020", "2021")),
        ([0.1, 0.2, 0.4], "0.3", ("0.1", "0.2", "0.3", "0.4")),
        (["2021-01", "2021-02", "2021-04"], "2021-03-01", ("2021-01-01", "2021-02-01", "2021-03-01", "2021-04-01")),
        (
            ["2020-12-31", "2021-03-31", "2021-09-30"],
            "2021-06-30",
            ("2020-12-31", "2021-03-31", "2021-06-30", "2021-09-30"),
        ),
    ],
)
def test_gaps_are_refused_or_filled(values, gone, full):
    with pytest.raises(TableProblem, match=f"leave 1 out.*{gone}"):
        labels(values)
    assert labels(values, gaps="fill") == full
    assert read_periods(pd.Series(values), "when", (), "fill").added == (gone,)
    # Listed, they count as one step apart.
    assert labels(values, listed=values) == tuple(label for label in full if label != gone)


def test_uneven_periods_are_refused_unless_listed():
    for gaps in ("error", "fill"):
        with pytest.raises(TableProblem, match="not equally spaced"):
            labels([2001, 2003, 2006], gaps=gaps)
    assert labels([2001, 2003, 2006], listed=[2001, "2003", 2006.0]) == ("2001", "2003", "2006")


def test_listing_says_order_and_adds_periods():
    found = read_periods(pd.Series(["autumn", "spring"]), "when", ["spring", "summer", "autumn"], "error")
    assert found.labels == ("spring", "summer", "autumn")
    assert found.added == ("summer",)
    np.testing.assert_array_equal(found.at, [2, 0])
    np.testing.assert_array_equal(read_periods(pd.Series([1, 2, 3]), "when", [2, 3], "error").at, [-1, 0, 1])
    with pytest.raises(JobProblem, match=r"twice.*'2020'"):
        labels([2020, 2021], listed=[2020, "2020.0", 2021])
    with pytest.raises(JobProblem, match="'next year' cannot be read"):
        labels([2020, 2021], listed=["2020", "next year"])


def test_a_row_without_a_period_is_named():
    with pytest.raises(TableProblem, match="1 rows: 2"):
        labels([2020, None, 2021])
