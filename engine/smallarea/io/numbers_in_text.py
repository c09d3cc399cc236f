"""Numbers that are written as text: which decimal sign, which thousands separator, which of them are codes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem

DecimalSign = Literal["point", "comma"]
ThousandsSeparator = Literal["comma", "point", "space", "apostrophe"]

# What counts as "no number" in text. Ids are not looked up here: "NA" is also the code of a country.
MISSING_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none", "#n/a", "."})
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
COMMA_NUMBER = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?")
_LEADING_ZERO = re.compile(r"[+-]?0\d+")
_DECIMALS = {"point": ".", "comma": ","}
# As a character class: spreadsheets write a space that does not break, and curly apostrophes.
_SEPARATORS = {"comma": ",", "point": ".", "space": " \u00a0\u202f", "apostrophe": "'’"}


@dataclass(frozen=True)
class NumberFormat:
    """How a table writes its numbers; nothing is guessed where it is named.

    Attributes
    ----------
    decimal : {"point", "comma"} or None
        The decimal sign. None: a point, or a comma where the caller allows it.
    thousands : {"comma", "point", "space", "apostrophe"} or None
        What separates thousands. None: nothing does.

    Raises
    ------
    JobProblem
        If a word is unknown, or both signs are the same.
    """

    decimal: DecimalSign | None = None
    thousands: ThousandsSeparator | None = None
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("decimal", self.decimal, get_args(DecimalSign)),
            ("thousands", self.thousands, get_args(ThousandsSeparator)),
        ):
            if value is not None and value not in known:
                raise JobProblem(f"'{name}' is {value!r}. It is one of {', '.join(known)}.")
        if self.thousands is not None and self.thousands == self.sign:
            raise JobProblem(
                f"'decimal' and 'thousands' are both {self.thousands}. Say which sign separates thousands, and name "
                "the other one as decimal."
            )
        object.__setattr__(self, "_pattern", _pattern(_DECIMALS[self.sign], self.thousands))

    @property
    def is_named(self) -> bool:
        """Whether the user has said anything."""
        return self.decimal is not None or self.thousands is not None

    @property
    def sign(self) -> str:
        """The decimal sign as a word: what is named, else what the thousands separator leaves over."""
        if self.decimal is not None:
            return self.decimal
        return "comma" if self.thousands == "point" else "point"

    def fits(self, texts: list[str]) -> bool:
        """Say whether all texts are numbers of this format."""
        return all(self._pattern.fullmatch(text) for text in texts)

    def plain(self, texts: list[str]) -> list[str]:
        """Return the numbers with a decimal point and without thousands separators."""
        if self.thousands is not None:
            drop = str.maketrans("", "", _SEPARATORS[self.thousands])
            texts = [text.translate(drop) for text in texts]
        return [text.replace(",", ".") for text in texts] if self.sign == "comma" else texts


def typed(column: pd.Series, numbers: NumberFormat, *, comma_too: bool = False) -> pd.Series:
    """Make numbers of a text column if all its values are numbers and none is a code with leading zeros.

    Parameters
    ----------
    column : pandas.Series
        Texts or missing values.
    numbers : NumberFormat
        How numbers are written.
    comma_too : bool
        Whether decimal commas are tried where no decimal sign is named.

    Returns
    -------
    pandas.Series
        Numbers with NaN for what is missing; else the texts as they were, without blank ones.
    """
    # Every text once: tables of respondents repeat theirs.
    codes, uniques = pd.factorize(column)
    texts = [str(text).strip() for text in uniques]
    known = np.array([text.lower() not in MISSING_NUMBERS for text in texts], dtype=bool)
    present = [text for text, is_known in zip(texts, known, strict=True) if is_known]
    if present and not any(_LEADING_ZERO.fullmatch(text) for text in present):
        for way in (numbers, _COMMA) if comma_too and not numbers.is_named else (numbers,):
            if way.fits(present):
                return pd.Series(_spread(way.plain(present), known, codes), index=column.index, name=column.name)
    filled = np.array([text != "" for text in texts] + [False], dtype=bool)
    return column.where(pd.Series(filled[codes], index=column.index), None)


def _pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    whole = r"\d+"
    if thousands is not None:
        whole = rf"(\d{{1,3}}([{re.escape(_SEPARATORS[thousands])}]\d{{3}})+|\d+)"
    sign = re.escape(decimal)
    # Pandas makes numbers of ASCII digits only.
    return re.compile(rf"[+-]?({whole}({sign}\d*)?|{sign}\d+)([eE][+-]?\d+)?", re.ASCII)


def _spread(present: list[str], known: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return a number for each row out of those of the distinct texts; whole numbers where nothing is missing."""
    found: np.ndarray[Any, Any] = np.asarray(pd.to_numeric(pd.Series(present, dtype=object)))
    if found.dtype == object:  # whole numbers beyond 64 bits
        found = found.astype(np.float64)
    # The code of a missing value is -1, which takes the last place.
    place = np.full(len(known) + 1, -1)
    place[:-1][known] = np.arange(len(found))
    places = place[codes]
    if (places < 0).any():
        return np.append(found.astype(np.float64), np.nan)[places]
    return found[places]


_COMMA = NumberFormat("comma")
