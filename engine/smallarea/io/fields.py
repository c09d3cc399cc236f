"""Looking up fields by name; a name that is not there is answered with those that are close."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import pandas as pd

from smallarea.errors import TableProblem, named


def check_field(frame: pd.DataFrame, name: str, where: str = "the table") -> None:
    """Raise if there is no such field.

    Raises
    ------
    TableProblem
        With the closest names and the list of all fields.
    """
    check_names([str(column) for column in frame.columns], [name], where)


def check_names(fields: Sequence[str], names: Iterable[str], where: str) -> None:
    """Raise if one of the names is not among the fields.

    Raises
    ------
    TableProblem
        With the closest names and the list of all fields.
    """
    known = set(fields)
    for name in names:
        if name in known:
            continue
        lower = {field.lower(): field for field in fields}
        close = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
        hint = f" Did you mean {' or '.join(repr(field) for field in close)}?" if close else ""
        raise TableProblem(f"There is no field {name!r} in {where}.{hint} It has the fields {named(fields, 40)}.")
