"""Area ids as text, and how two sets of them fit together."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from smallarea.errors import TableProblem, named

# Above this a float no longer tells neighbouring whole numbers apart, so the id is already lost.
_LARGEST_EXACT_FLOAT = 2.0**53
# Letters with a stroke or a tail, which Unicode does not take for a letter with an accent.
_PLAIN_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def id_texts(values: Iterable[object]) -> list[str | None]:
    """Turn id values into text; None where there is no id.

    Parameters
    ----------
    values : iterable
        Whole numbers, floats, texts, missing values.

    Returns
    -------
    list of (str or None)
        Whole numbers without a decimal point, text as written (blanks at the ends are kept), everything else
        by ``str``. Missing values and texts without a visible character are None.
    """
    return [_id_text(value) for value in values]


def as_area_ids(values: Iterable[object], what: str = "id field") -> tuple[str, ...]:
    """Turn id values into text and refuse missing ones.

    Parameters
    ----------
    values : iterable
        Whole numbers, floats, texts.
    what : str
        What the values are, for the message.

    Returns
    -------
    tuple of str
        ``1`` and ``1.0`` become ``"1"``, text stays as it is. Repeated ids are not looked for, see
        `repeated`.

    Raises
    ------
    TableProblem
        If a value is missing or blank; the message names the rows, counted from 1.
    """
    texts = id_texts(values)
    empty = [row for row, text in enumerate(texts, start=1) if text is None]
    if empty:
        raise TableProblem(
            f"The {what} has no value in row {named(empty)} ({len(empty)} of {len(texts)} rows). "
            "Fill it in, or remove the rows."
        )
    return tuple(text for text in texts if text is not None)


def repeated(ids: Iterable[str | None]) -> tuple[str, ...]:
    """Return the ids that occur more than once, in the order of their first occurrence."""
    return tuple(text for text, times in Counter(i for i in ids if i is not None).items() if times > 1)


@dataclass(frozen=True)
class IdMatch:
    """How the ids of a table fit the ids of a map.

    Attributes
    ----------
    matched : tuple of str
        Ids on both sides, in the order of the map.
    table_only, map_only : tuple of str
        Ids on one side only, each once, in their own order.
    near_misses : tuple of (str, str)
        Pairs (table id, map id) out of those two which are the same but for case, accents, blanks,
        punctuation, leading zeros or a trailing ``.0``.
    table_repeated, map_repeated : tuple of str
        Ids that occur more than once.
    table_missing : int
        Rows of the table without an id.
    """

    matched: tuple[str, ...]
    table_only: tuple[str, ...]
    map_only: tuple[str, ...]
    near_misses: tuple[tuple[str, str], ...]
    table_repeated: tuple[str, ...]
    map_repeated: tuple[str, ...]
    table_missing: int

    @property
    def is_complete(self) -> bool:
        """True if every row of the table has its area, once. Areas without a row do not matter."""
        return not (self.table_only or self.table_repeated or self.map_repeated or self.table_missing)

    def summary(self) -> str:
        """Say in a few lines what fits and what does not."""
        lines = [f"{len(self.matched)} ids are both in the table and on the map."]
        for ids, text in (
            (self.table_only, "in the table but not on the map"),
            (self.map_only, "on the map but not in the table"),
            (self.table_repeated, "more than once in the table"),
            (self.map_repeated, "more than once on the map"),
        ):
            if ids:
                lines.append(f"{len(ids)} {text}: {named(ids)}.")
        if self.table_missing:
            lines.append(f"{self.table_missing} rows of the table have no id.")
        if self.near_misses:
            pairs = "; ".join(f"{ours!r} is {theirs!r} on the map" for ours, theirs in self.near_misses[:5])
            more = len(self.near_misses) - 5
            lines.append(
                f"{len(self.near_misses)} differ only in case, accents, blanks, punctuation or zeros: {pairs}"
                + (f" and {more} more." if more > 0 else ".")
            )
        return "\n".join(lines)


def match_ids(table_ids: Sequence[str | None], area_ids: Sequence[str]) -> IdMatch:
    """Compare the ids of a table with those of a map.

    Parameters
    ----------
    table_ids : sequence of (str or None)
        Ids of the table's rows as text, None where missing.
    area_ids : sequence of str
        Ids of the areas.

    Returns
    -------
    IdMatch
        What fits and what does not; nothing is raised.
    """
    in_table = dict.fromkeys(i for i in table_ids if i is not None)
    on_map = dict.fromkeys(area_ids)
    table_only = tuple(i for i in in_table if i not in on_map)
    map_only = tuple(i for i in on_map if i not in in_table)
    alike: dict[str, list[str]] = {}
    for area in map_only:
        alike.setdefault(normal_id(area), []).append(area)
    return IdMatch(
        matched=tuple(i for i in on_map if i in in_table),
        table_only=table_only,
        map_only=map_only,
        near_misses=tuple((ours, theirs) for ours in table_only for theirs in alike.get(normal_id(ours), ())),
        table_repeated=repeated(table_ids),
        map_repeated=repeated(area_ids),
        table_missing=sum(i is None for i in table_ids),
    )


def _id_text(value: object) -> str | None:
    # Text first: it is the usual case, and "1.0" as text stays as written.
    if isinstance(value, str):
        return value if value.strip() else None
    if value is None or isinstance(value, bool):
        return None if value is None else str(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return _float_text(float(value))
    text = str(value)
    return None if text in {"<NA>", "NaT", "nan"} else text


def _float_text(number: float) -> str | None:
    if math.isnan(number):
        return None
    if number.is_integer():
        if abs(number) > _LARGEST_EXACT_FLOAT:
            raise TableProblem(
                f"The id {number!r} was stored as a floating point number and has lost its last digits. "
                "Store ids as text."
            )
        return str(int(number))
    return str(number)


def normal_id(text: str) -> str:
    """Return what is left of an id when case, accents, blanks, punctuation, leading zeros and ``.0`` do not count.

    Empty for ids without a letter or a digit.
    """
    return re.sub(r"^0+(?=.)", "", spelling(text))


def spelling(text: str) -> str:
    """Return what is left of an id when case, accents, blanks, punctuation and ``.0`` do not count.

    Another point or comma between digits stays: 1.5 is not 15.
    """
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_PLAIN_LETTERS)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = re.sub(r"(?<![0-9])[.,]|[.,](?![0-9])|[^\w.,]|_", "", plain)
    return re.sub(r"^([0-9]+)[.,]0+$", r"\1", plain)
