"""What an aggregation reads: polygons of several levels, what they are called, and direct estimates of the first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from smallarea.areas import Areas, read_areas
from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import check_field, numeric_column


def listed(value: Any) -> list[Any]:
    """Return one path, text or layer as a list of it."""
    return [value] if isinstance(value, str | os.PathLike) or hasattr(value, "geometry") else list(value)


def level_names(sources: Sequence[Any], call: Mapping[str, Any]) -> list[str]:
    """Call the levels by the names that are given, their layers, their files, or their place.

    Raises
    ------
    JobProblem
        If there are not as many entries as layers, or names repeat or cannot be those of files.
    """
    more = len(sources) - 1
    for name in ("more_layers", "more_id_fields"):
        if call[name] and len(call[name]) != more:
            raise JobProblem(f"'{name}' has {len(call[name])} entries for {more} more layers (more_areas).")
    if call["names"] and len(call["names"]) != len(sources):
        raise JobProblem(f"'names' has {len(call['names'])} entries for {len(sources)} layers of areas.")
    layers = [call["layer"], *(call["more_layers"] or [None] * more)]
    found = call["names"] or [
        layer or (Path(source).stem if isinstance(source, str | os.PathLike) else f"areas_{number}")
        for number, (source, layer) in enumerate(zip(sources, layers, strict=True), start=1)
    ]
    twice = sorted({name for name in found if [one.casefold() for one in found].count(name.casefold()) > 1})
    if twice:
        raise JobProblem(f"Several layers are called {named(twice)}. Give each a name of its own (names).")
    unfit = [name for name in found if not name.strip() or any(sign in name for sign in "/\\:")]
    if unfit:
        raise JobProblem(f"{named(unfit)} cannot be names of layers and files. Choose others (names).")
    return found


def read_levels(sources: Sequence[Any], called: Sequence[str], call: Mapping[str, Any]) -> dict[str, Areas]:
    """Read the polygons of all levels.

    Raises
    ------
    GeometryProblem
        If polygons cannot be used.
    """
    more = len(sources) - 1
    layers = [call["layer"], *(call["more_layers"] or [None] * more)]
    fields = [call["id_field"], *(call["more_id_fields"] or [None] * more)]
    return {
        name: read_areas(source, layer=layer, id_field=id_field, crs=call["crs"], repair=call["repair"])
        for name, source, layer, id_field in zip(called, sources, layers, fields, strict=True)
    }


def direct_columns(areas: Areas, direct_field: str | None, direct_se_field: str | None) -> dict[str, pd.Series]:
    """Read direct estimates and their standard errors from fields of the polygons.

    Parameters
    ----------
    areas : Areas
        The first level.
    direct_field, direct_se_field : str or None
        The fields.

    Returns
    -------
    dict of str to pandas.Series
        ``direct`` and ``direct_se`` as far as they are named, in the order of the areas; NaN where there is none.

    Raises
    ------
    TableProblem
        If there is no such field, it holds no numbers, or a standard error is negative.
    """
    named_fields = {"direct": direct_field, "direct_se": direct_se_field}
    found = {}
    for column, name in named_fields.items():
        if name is None:
            continue
        check_field(areas.frame, name, "the polygon layer")
        found[column] = pd.Series(numeric_column(areas.frame, name))
    if "direct_se" in found and bool((found["direct_se"] < 0.0).any()):
        below = [areas.ids[i] for i in (found["direct_se"] < 0.0).to_numpy().nonzero()[0]]
        raise TableProblem(f"Standard errors in {direct_se_field!r} are negative for {named(below)}. Correct them.")
    return found
