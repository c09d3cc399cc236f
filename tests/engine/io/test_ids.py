"""Ids as text, and how two sets of them fit."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import TableProblem
from smallarea.io import as_area_ids, id_texts, match_ids, repeated


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.Series([1, 2, 10]), ["1", "2", "10"]),
        (pd.Series([1.0, 2.5, -3.0]), ["1", "2.5", "-3"]),
        (pd.Series(["001", " a", "1.0", "x "]), ["001", " a", "1.0", "x "]),
        (pd.Series([1, None], dtype="Int64"), ["1", None]),
        (pd.Series([1.0, np.nan]), ["1", None]),
        (pd.Series(["a", None, "", "  "], dtype=object), ["a", None, None, None]),
        (pd.Series(["a", None], dtype="string"), ["a", None]),
        ([np.int32(7), np.float32(8.0), Decimal("9.50"), True, pd.NA, pd.NaT], ["7", "8", "9.50", "True", None, None]),
        ([], []),
    ],
)
def test_id_texts(values: object, texts: list[str | None]) -> None:
    assert id_texts(values) == texts


def test_missing_ids_are_named_by_row() -> None:
    assert as_area_ids([3, 4]) == ("3", "4")
    with pytest.raises(TableProblem, match=r"The code has no value in row 2, 4 \(2 of 4 rows\)"):
        as_area_ids(["a", None, "b", ""], "code")


def test_a_float_that_has_lost_digits_is_refused() -> None:
    with pytest.raises(TableProblem, match="lost its last digits"):
        id_texts([360470001001002001.0])
    assert id_texts([360470001001002001]) == ["360470001001002001"]


def test_repeated() -> None:
    assert repeated(["b", "a", "b", None, None, "c", "a"]) == ("b", "a")


def test_match() -> None:
    match = match_ids(["b", "a", "x", "a", None], ["a", "b", "c"])
    assert match.matched == ("a", "b")
    assert match.table_only == ("x",)
    assert match.map_only == ("c",)
    assert match.table_repeated == ("a",)
    assert match.map_repeated == ()
    assert match.table_missing == 1
    assert not match.is_complete
    assert match_ids(["a"], ["a", "b"]).is_complete


@pytest.mark.parametrize(
    ("table", "area"),
    [
        ("1001", "01001"),
        ("01001.0", "1001"),
        ("Córdoba", "cordoba"),
        ("CÓRDOBA ", "Cordoba"),
        ("New York", "new  york"),
        ("Straße", "STRASSE"),
    ],
)
def test_near_misses(table: str, area: str) -> None:
    match = match_ids([table, "same"], [area, "same"])
    assert match.near_misses == ((table, area),)
    assert match.matched == ("same",)


@pytest.mark.parametrize(("table", "area"), [("10", "100"), ("a", "b"), ("1.5", "15"), ("0", "")])
def test_no_near_misses(table: str, area: str) -> None:
    assert match_ids([table], [area]).near_misses == ()


def test_an_exact_match_is_no_near_miss() -> None:
    match = match_ids(["1"], ["1", "01"])
    assert match.near_misses == ()
    assert match.map_only == ("01",)


def test_summary_says_everything() -> None:
    text = match_ids(["1", "7", "7", "z", None], ["01", "7", "8", "8"]).summary()
    assert "1 ids are both" in text
    assert "2 in the table but not on the map: '1', 'z'" in text
    assert "2 on the map but not in the table: '01', '8'" in text
    assert "1 more than once in the table: '7'" in text
    assert "1 more than once on the map: '8'" in text
    assert "1 rows of the table have no id" in text
    assert "'1' is '01' on the map" in text
