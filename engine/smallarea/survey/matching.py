"""Codes of a table joined to the ids of areas.

Nothing is joined that was not asked for: an exact match, an entry of a crosswalk, or a near miss that the user accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from smallarea.errors import TableProblem, named
from smallarea.io.ids import normal_id, spelling
from smallarea.survey.area_matching import (
    MAP_ONLY,
    AreaMatching,
    Unmatched,
    check_choice,
    codes_in,
    pairs,
    row_of,
    rows_in,
    size_of,
    with_areas_left,
)

NearMisses = Literal["error", "accept"]

# What can be said of a code.
MATCHED, CROSSWALK, ACCEPTED = "matched", "crosswalk", "near miss accepted"
NEAR_MISS, AMBIGUOUS, TABLE_ONLY, NO_CODE = "near miss", "ambiguous", "table only", "no code"
LEFT_OUT = "no area by the crosswalk"
_JOINED = (MATCHED, CROSSWALK, ACCEPTED)
_OPEN = (NEAR_MISS, AMBIGUOUS, TABLE_ONLY, NO_CODE)


def match_codes(
    codes: Sequence[str | None],
    area_ids: Sequence[str],
    *,
    unmatched: Unmatched = "error",
    near_misses: NearMisses = "error",
    crosswalk: Mapping[str, str | None] | None = None,
) -> AreaMatching:
    """Join the codes of a table's rows to area ids.

    Parameters
    ----------
    codes : sequence of (str or None)
        The code of each row as text (`SurveyTable.texts`), None where missing.
    area_ids : sequence of str
        Ids of the areas, each once.
    unmatched : {"error", "keep"}
        Rows without an area: `AreaMatching.check` refuses them, or they stay without one and are
        listed.
    near_misses : {"error", "accept"}
        Codes that differ from one area's id only in case, accents, blanks, punctuation, leading zeros or a trailing
        ``.0``: `AreaMatching.check` refuses them, or they are joined and listed.
    crosswalk : mapping, optional
        Code to area id, or to None for rows that stay without an area. It overrides everything else.

    Returns
    -------
    AreaMatching
        What fits and what does not; nothing is raised for codes that do not fit.

    Raises
    ------
    TableProblem
        If an entry of the crosswalk leads to no area.
    JobProblem
        If a policy is unknown.
    """
    check_choice("unmatched", unmatched, ("error", "keep"))
    check_choice("near_misses", near_misses, ("error", "accept"))
    crosswalk = crosswalk or {}
    areas = tuple(area_ids)
    places = {area: place for place, area in enumerate(areas)}
    _check_crosswalk(crosswalk, places)
    row_codes, distinct = pd.factorize(np.array([None if code is None else str(code) for code in codes], dtype=object))
    uniques = [str(code) for code in distinct]
    counts = np.bincount(row_codes[row_codes >= 0], minlength=len(uniques))
    found = [
        _one(code, int(rows), places, crosswalk, near_misses, meant)
        for code, rows, meant in zip(uniques, counts, _suggestions(uniques, areas), strict=True)
    ]
    targets = np.array([places.get(str(row["area"]), -1) for row in found] + [-1])
    missing = int((row_codes < 0).sum())
    if missing:
        found.append(row_of("", NO_CODE, rows=missing))
    frame = with_areas_left(found, {str(row["area"]) for row in found}, areas)
    matching = AreaMatching(
        frame, targets[row_codes], areas, set(frame["status"]) <= {MATCHED, CROSSWALK, LEFT_OUT, MAP_ONLY}
    )
    return AreaMatching(
        frame,
        matching.place,
        areas,
        matching.is_clean,
        refusal=_refusal(matching, unmatched, near_misses),
        warnings=_warnings(matching),
    )


def _check_crosswalk(crosswalk: Mapping[str, str | None], places: Mapping[str, int]) -> None:
    lost = {code: area for code, area in crosswalk.items() if area is not None and area not in places}
    if lost:
        raise TableProblem(
            f"{len(lost)} entries of the crosswalk lead to areas that are not on the map: "
            f"{named([f'{code} to {area}' for code, area in lost.items()])}. Correct them."
        )


def _suggestions(codes: Sequence[str], areas: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the areas that each code may mean; several, or a blank one, say that it must not be joined.

    Zeros may tell the codes of a table apart, as 1 and 01. So codes that differ in more than their spelling, but mean
    the same area, are ambiguous.
    """
    alike: dict[str, list[str]] = {}
    for area in areas:
        alike.setdefault(normal_id(area), []).append(area)
    spellings: dict[str, set[str]] = {}
    for code in codes:
        spellings.setdefault(normal_id(code), set()).add(spelling(code))
    found = []
    for code in codes:
        key = normal_id(code)
        meant = tuple(alike.get(key, ())) if key else ()
        found.append((*meant, "") if len(meant) == 1 and len(spellings[key]) > 1 else meant)
    return found


def _one(
    code: str,
    rows: int,
    places: Mapping[str, int],
    crosswalk: Mapping[str, str | None],
    near_misses: str,
    meant: tuple[str, ...],
) -> dict[str, object]:
    if code in crosswalk:
        area = crosswalk[code]
        return row_of(code, LEFT_OUT, rows=rows) if area is None else row_of(code, CROSSWALK, area=area, rows=rows)
    if code in places:
        return row_of(code, MATCHED, area=code, rows=rows)
    shown = "; ".join(area for area in meant if area)
    if len(meant) == 1:
        if near_misses == "accept":
            return row_of(code, ACCEPTED, area=meant[0], rows=rows)
        return row_of(code, NEAR_MISS, suggestion=shown, rows=rows)
    return row_of(code, AMBIGUOUS if meant else TABLE_ONLY, suggestion=shown, rows=rows)


def _refusal(matching: AreaMatching, unmatched: str, near_misses: str) -> str:
    near = matching.of(NEAR_MISS)
    said = []
    if matching.n_joined == 0:
        codes = [str(code) for code in matching.codes["code"] if code]
        said.append(
            f"No row of the table has an area. The table has {named(codes, 3) or 'no values'}, the map "
            f"{named(matching.areas, 3)}. Is it the right field?"
        )
    if near_misses == "error" and len(near):
        said.append(
            f"Written differently from an area's id, in case, accents, blanks, punctuation or zeros: {pairs(near)} "
            f"({size_of(near)}). Set near_misses to accept to join them, or give a crosswalk."
        )
    if unmatched == "error":
        said.extend(_unmatched(matching))
    return " ".join(said)


def _unmatched(matching: AreaMatching) -> list[str]:
    ambiguous, only, none = (matching.of(status) for status in (AMBIGUOUS, TABLE_ONLY, NO_CODE))
    said = []
    if len(ambiguous):
        said.append(f"Too near to others to tell which area they mean: {pairs(ambiguous)} ({size_of(ambiguous)}).")
    if len(only):
        said.append(f"Not on the map: {codes_in(only)} ({size_of(only)}).")
    if len(none):
        said.append(f"Without a code: {rows_in(none)}.")
    return (
        [*said, "Correct them, give a crosswalk, or set unmatched to keep: these rows then stay without an area."]
        if said
        else []
    )


def _warnings(matching: AreaMatching) -> tuple[str, ...]:
    accepted, lost = matching.of(ACCEPTED), matching.of(*_OPEN)
    said = []
    if len(accepted):
        said.append(f"Joined although written differently: {pairs(accepted)} ({size_of(accepted)}).")
    if len(lost):
        shown = named([str(code) or "(no code)" for code in lost["code"]])
        said.append(f"Kept without an area: {rows_in(lost)} of {matching.n_rows:,}, with {shown}.")
    return tuple(said)
