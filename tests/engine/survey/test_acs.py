"""Annotations of the American Community Survey, as its programming interface, tables and text files write them."""

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import TableProblem
from smallarea.survey import acs


def read(*values):
    frame = pd.DataFrame({"x": list(values)})
    return acs.read_annotated(frame, "x", [f"A{k}" for k in range(len(values))])


@pytest.mark.parametrize(
    ("code", "symbol", "mark"),
    [
        (-666666666, "-", acs.NO_SAMPLE),
        (-999999999, "N", acs.SUPPRESSED),
        (-888888888, "(X)", acs.NOT_APPLICABLE),
        (-222222222, "**", acs.NO_ERROR),
        (-333333333, "***", acs.OPEN_ENDED),
        (-555555555, "*****", acs.CONTROLLED),
    ],
)
def test_code_and_symbol_mean_the_same(code, symbol, mark):
    for values in ([code, 5], [symbol, "5"], [f"{code}", "5"], [f" {symbol} ", "5"]):
        found = read(*values)
        assert np.isnan(found.numbers[0])
        assert found.marks.tolist() == [mark, ""]
        assert found.numbers[1] == 5.0
    assert symbol in acs.MEANINGS[mark]
    assert str(code) in acs.MEANINGS[mark]


@pytest.mark.parametrize(
    ("text", "number", "mark"),
    [
        ("250,000+", 250000.0, acs.TOP_CODED),
        ("2,500-", 2500.0, acs.BOTTOM_CODED),
        ("115+", 115.0, acs.TOP_CODED),
        ("82,125", 82125.0, ""),
        ("±9,822", 9822.0, ""),
        ("+/-3.4", 3.4, ""),
        ("14.6%", 14.6, ""),
        (".5", 0.5, ""),
        ("-12", -12.0, ""),
        ("1e3", 1000.0, ""),
        ("null", np.nan, ""),
        ("", np.nan, ""),
        (None, np.nan, ""),
    ],
)
def test_numbers_as_they_are_printed(text, number, mark):
    found = read(text, "x1"[1:])
    assert np.array_equal(found.numbers, [number, 1.0], equal_nan=True)
    assert found.marks[0] == mark


@pytest.mark.parametrize("text", ["*", "c", "1,5", "12,34", "1.2.3", "high", "--", "nan5", "inf", "****", "9" * 400])
def test_what_is_neither_is_an_error_that_names_the_area(text):
    with pytest.raises(TableProblem, match="neither numbers nor annotations") as caught:
        read("3", text)
    assert "A1" in str(caught.value)
    assert text[:20] in str(caught.value)


def test_a_jam_value_is_an_open_end_only_without_an_error():
    estimate = acs.Annotated(np.array([250001.0, 250001.0, 2499.0, 3.0]), np.full(4, "", dtype=object))
    found = acs.mark_open_ends(estimate, np.array([np.nan, 900.0, np.nan, np.nan]))
    assert found.marks.tolist() == [acs.TOP_CODED, "", acs.BOTTOM_CODED, ""]
