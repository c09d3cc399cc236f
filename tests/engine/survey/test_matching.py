"""Codes joined to areas: what is joined, what is only suggested, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from smallarea.errors import JobProblem, TableProblem
from smallarea.survey.matching import match_codes

AREAS = ["Córdoba", "New York", "St. Louis", "01001", "7", "Wien", "empty"]


def statuses(matching) -> dict[str, str]:
    of_table = matching.codes[matching.codes["status"] != "map only"]
    return dict(zip(of_table["code"], of_table["status"], strict=True))


def test_a_clean_match() -> None:
    matching = match_codes(["Wien", "7", "Wien"], AREAS).check()
    assert matching.is_clean
    assert matching.place.tolist() == [5, 4, 5]
    assert matching.area_of_rows().tolist() == ["Wien", "7", "Wien"]
    assert matching.of("matched")[["code", "area", "rows"]].to_numpy().tolist() == [["Wien", "Wien", 2], ["7", "7", 1]]
    # Areas without rows are only reported.
    assert matching.map_only == ("Córdoba", "New York", "St. Louis", "01001", "empty")
    assert matching.summary["n_areas_with_rows"] == 2
    assert not matching.warnings


@pytest.mark.parametrize(
    ("code", "area"),
    [
        ("cordoba", "Córdoba"),
        (" CÓRDOBA", "Córdoba"),
        ("New  York", "New York"),
        ("new-york", "New York"),
        ("St Louis", "St. Louis"),
        ("1001", "01001"),
        ("1001.0", "01001"),
        ("007", "7"),
        ("7.0", "7"),
        ("wien", "Wien"),
    ],
)
def test_near_misses_are_joined_only_if_accepted(code: str, area: str) -> None:
    codes = ["empty", code, code]
    refused = match_codes(codes, AREAS)
    assert refused.place.tolist() == [6, -1, -1]
    assert refused.of("near miss")["suggestion"].tolist() == [area]
    with pytest.raises(TableProblem, match=r"Written differently .*\(1 code, 2 rows\).*Set near_misses to accept"):
        refused.check()
    accepted = match_codes(codes, AREAS, near_misses="accept").check()
    assert accepted.area_of_rows().tolist() == ["empty", area, area]
    assert not accepted.is_clean
    assert f"{code!r} to {area!r}" in accepted.warnings[0]


@pytest.mark.parametrize("code", ["70", "1.5", "Graz", "?", "--", "01001a"])
def test_what_is_only_in_the_table(code: str) -> None:
    matching = match_codes(["Wien", code, code, code], [*AREAS, "15"], near_misses="accept")
    assert statuses(matching)[code] == "table only"
    with pytest.raises(TableProblem, match=r"Not on the map: .* \(1 code, 3 rows\)"):
        matching.check()
    dropped = match_codes(["Wien", code, code, code], [*AREAS, "15"], unmatched="keep").check()
    assert dropped.n_joined == 1
    assert "Kept without an area: 3 rows of 4" in dropped.warnings[0]


def test_several_spellings_of_one_area() -> None:
    matching = match_codes(["Wien", "wien", "WIEN "], ["Wien", "Graz"], near_misses="accept").check()
    assert matching.area_of_rows().tolist() == ["Wien"] * 3


@pytest.mark.parametrize(
    ("codes", "areas", "ambiguous"),
    [
        (["001"], ["01", "1"], {"001"}),  # two areas
        (["wien"], ["Wien", "WIEN"], {"wien"}),
        (["1", "01"], ["001"], {"1", "01"}),  # zeros may tell the codes apart
        (["1", "01"], ["01"], {"1"}),
    ],
)
def test_ambiguous_codes_are_never_joined(codes: list, areas: list, ambiguous: set) -> None:
    matching = match_codes([*codes, "x"], [*areas, "x"], near_misses="accept")
    assert {code for code, status in statuses(matching).items() if status == "ambiguous"} == ambiguous
    with pytest.raises(TableProblem, match="Too near to others"):
        matching.check()
    dropped = match_codes([*codes, "x"], [*areas, "x"], near_misses="accept", unmatched="keep").check()
    assert dropped.n_joined == 1 + len(codes) - len(ambiguous)


def test_rows_without_a_code() -> None:
    matching = match_codes(["Wien", None, None], AREAS)
    assert matching.of("no code")["rows"].tolist() == [2]
    with pytest.raises(TableProblem, match="Without a code: 2 rows"):
        matching.check()
    assert match_codes(["Wien", None], AREAS, unmatched="keep").check().place.tolist() == [5, -1]


def test_a_crosswalk_overrides_everything() -> None:
    crosswalk = {"Vienna": "Wien", "7": "Córdoba", "wien": "7", "refused": None, "unused": "Wien"}
    codes = ["Vienna", "7", "wien", "refused", "empty"]
    matching = match_codes(codes, AREAS, crosswalk=crosswalk).check()
    assert matching.is_clean
    assert matching.area_of_rows().tolist() == ["Wien", "Córdoba", "7", None, "empty"]
    assert statuses(matching)["refused"] == "no area by the crosswalk"
    with pytest.raises(TableProblem, match=r"1 entries .* not on the map: 'Vienna to Graz'"):
        match_codes(codes, AREAS, crosswalk={"Vienna": "Graz"})


def test_nothing_fits() -> None:
    for unmatched in ("error", "keep"):
        with pytest.raises(TableProblem, match=r"No row of the table has an area\. The table has 'a', 'b', the map"):
            match_codes(["a", "b"], AREAS, unmatched=unmatched).check()
    with pytest.raises(TableProblem, match="The table has no values"):
        match_codes([None], AREAS).check()


@pytest.mark.parametrize("policy", [{"unmatched": "ignore"}, {"near_misses": "drop"}])
def test_unknown_policies(policy: dict) -> None:
    with pytest.raises(JobProblem, match="It is one of"):
        match_codes(["Wien"], AREAS, **policy)


def test_every_row_is_somewhere() -> None:
    """On random codes: rows add up, joined rows are right, and the brute-force rule agrees."""
    rng = np.random.default_rng(8)
    letters = ["a", "A", "á", "0", "1", " ", ".", "-"]
    for _ in range(200):
        areas = list(dict.fromkeys("".join(rng.choice(letters, 2)) for _ in range(5)))
        codes = [None if rng.random() < 0.1 else "".join(rng.choice(letters, 2)) for _ in range(12)]
        matching = match_codes(codes, areas, unmatched="keep", near_misses="accept")
        assert matching.codes["rows"].sum() == len(codes)
        for code, area in zip(codes, matching.area_of_rows(), strict=True):
            if code in areas:
                assert area == code
            elif area is not None:
                assert matching.codes.set_index("code").loc[code, "status"] == "near miss accepted"


def test_a_million_rows_are_quick() -> None:
    import time

    areas = [f"A{i:05d}" for i in range(5000)]
    codes = [areas[i] for i in np.random.default_rng(1).integers(0, 5000, 1_000_000)]
    start = time.perf_counter()
    assert match_codes(codes, areas).check().n_joined == 1_000_000
    assert time.perf_counter() - start < 15.0
