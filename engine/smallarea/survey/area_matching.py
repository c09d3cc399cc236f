"""How the rows of a table fit the areas of a map: what every kind of matching returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem, TableProblem, named

Unmatched = Literal["error", "keep"]

COLUMNS = ("code", "status", "area", "suggestion", "distance_m", "rows")
MAP_ONLY = "map only"


@dataclass(frozen=True)
class AreaMatching:
    """How the rows of a table fit the areas of a map.

    Attributes
    ----------
    codes : pandas.DataFrame
        One row a code of the table (of points: an area with points, or a place without one), and one for each area
        without rows: ``code``, ``status``, ``area`` (where its rows go, else empty), ``suggestion`` (areas that may be
        meant), ``distance_m`` (of points, in metres to the suggestion), ``rows``.
    place : numpy.ndarray
        Integer array of shape (n rows,): position of the row's area in `areas`, -1 where it has none.
    areas : tuple of str
        Ids of the areas.
    is_clean : bool
        Whether every row has an area without anything to accept.
    refusal : str
        Why nothing may be estimated with this; empty if it is clean, or what is not was accepted.
    warnings : tuple of str
        What was accepted although it is not clean.
    """

    codes: pd.DataFrame
    place: np.ndarray
    areas: tuple[str, ...]
    is_clean: bool
    refusal: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return len(self.place)

    @property
    def n_joined(self) -> int:
        """Rows that have an area."""
        return int((self.place >= 0).sum())

    @property
    def map_only(self) -> tuple[str, ...]:
        """Areas without rows."""
        return tuple(self.of(MAP_ONLY)["area"])

    @property
    def summary(self) -> dict[str, int | bool | dict[str, int]]:
        """Numbers for a result event: rows, areas, and how many codes have each status."""
        of_table = self.codes[self.codes["status"] != MAP_ONLY]
        return {
            "n_rows": self.n_rows,
            "n_joined": self.n_joined,
            "n_not_joined": self.n_rows - self.n_joined,
            "n_areas": len(self.areas),
            "n_areas_with_rows": len(self.areas) - len(self.map_only),
            "is_clean": self.is_clean,
            "codes": {str(status): int(number) for status, number in of_table["status"].value_counts().items()},
        }

    def of(self, *status: str) -> pd.DataFrame:
        """Return the rows of `codes` with some statuses."""
        return self.codes[self.codes["status"].isin(status)]

    def area_of_rows(self) -> np.ndarray:
        """Return the id of each row's area, None where it has none; object array of shape (n rows,)."""
        return np.array([*self.areas, None], dtype=object)[self.place]

    def check(self) -> AreaMatching:
        """Return this matching if it is clean or accepted.

        Raises
        ------
        TableProblem
            With the codes that do not fit and what to do.
        """
        if self.refusal:
            raise TableProblem(self.refusal)
        return self


def row_of(
    code: str, status: str, *, area: str = "", suggestion: str = "", distance: float = np.nan, rows: int = 0
) -> dict[str, object]:
    """Return a row of `AreaMatching.codes`."""
    values = (code, status, area, suggestion, distance, rows)
    return dict(zip(COLUMNS, values, strict=True))


def with_areas_left(found: list[dict[str, object]], used: set[str], areas: tuple[str, ...]) -> pd.DataFrame:
    """Return `AreaMatching.codes`: what was found, and the areas without rows."""
    left = [row_of("", MAP_ONLY, area=area) for area in areas if area not in used]
    return pd.DataFrame([*found, *left], columns=list(COLUMNS))


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse an unknown policy.

    Raises
    ------
    JobProblem
        Naming it.
    """
    if value not in known:
        raise JobProblem(f"'{name}' is {value!r}. It is one of {', '.join(known)}.")


def rows_in(frame: pd.DataFrame) -> str:
    """Say how many rows of the table these are."""
    total = int(frame["rows"].sum())
    return f"{total:,} row{'' if total == 1 else 's'}"


def size_of(frame: pd.DataFrame, what: str = "code") -> str:
    """Say how many codes or places these are, and how many rows."""
    return f"{len(frame):,} {what}{'' if len(frame) == 1 else 's'}, {rows_in(frame)}"


def pairs(frame: pd.DataFrame, limit: int = 5) -> str:
    """List the first codes with the area that they mean or may mean."""
    targets = frame["area"].where(frame["area"] != "", frame["suggestion"])
    found = [f"{code!r} to {area!r}" for code, area in zip(frame["code"][:limit], targets[:limit], strict=True)]
    more = len(frame) - limit
    return ", ".join(found) + (f" and {more} more" if more > 0 else "")


def codes_in(frame: pd.DataFrame) -> str:
    """List the first codes."""
    return named([str(code) for code in frame["code"]])
