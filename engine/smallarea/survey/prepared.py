"""The result of preparing published estimates, and what is to be said about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from smallarea.errors import JobProblem, named
from smallarea.survey import acs
from smallarea.survey.published import CODED, MISSING, NOT_TRANSFORMED, ZERO_ESTIMATE, ZERO_VARIANCE, Indicator, Rules

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas

# Flag to what a warning says of its areas; the rest is in `acs.MEANINGS`. Missing values need no warning.
_WORDS = {
    acs.NO_ERROR: "have an estimate without an error; their variance is empty",
    acs.CONTROLLED: "are controlled to known totals; their variance is empty, not zero",
    ZERO_VARIANCE: "have an error of zero, which no model can use; their variance is empty",
    NOT_TRANSFORMED: "are 0 or 1, which has no value or no variance on the other scale; they are empty there",
}
_CODED_WORDS = {
    "missing": "lie in an open interval (top- or bottom-coded); their estimate is set to missing",
    "keep": "lie in an open interval (top- or bottom-coded); the number is a limit, not an estimate, and is kept",
}
_ZERO_WORDS = {
    "missing": "are zero; they are set to missing, which leaves out the lowest areas",
    "keep": "are zero, with an error that may come from a formula of the office and not from the sample; they are kept",
}
_BACK = {
    "log": ("exp", "Fit {name} with variance_{name} and transformation=log instead"),
    "logit": ("the inverse logit", "Fit {name} with variance_{name} and transformation=logit instead"),
    "arcsin": ("sin^2", "Fit {name} with n_eff_{name} and transformation=arcsin instead"),
    "freeman_tukey": ("squaring", "Keep maps and ranks on this scale, or transform every posterior draw"),
}


@dataclass(frozen=True)
class PreparedEstimates:
    """What `prepare_published` made of published estimates.

    Attributes
    ----------
    table : pandas.DataFrame
        One row an area: ``area``, and for each indicator NAME, ``variance_NAME``, ``se_NAME``, ``cv_NAME``,
        ``n_NAME``, ``n_eff_NAME`` and ``denominator_NAME`` as far as they are known, ``flag_NAME``, and on another
        scale T ``T_NAME``, ``variance_T_NAME``, ``se_T_NAME``. What must not be used is empty.
    flags : pandas.DataFrame
        Columns ``area``, ``indicator``, ``flag``: one row a flag.
    factor : float
        Standard errors in a margin of error.
    areas : Areas or None
        The polygons.
    settings : mapping
        What was asked for, printable.
    warnings, notes : tuple of str
        What to know before using the numbers, and what was done.
    """

    table: pd.DataFrame
    flags: pd.DataFrame
    factor: float
    areas: Areas | None
    settings: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def layer(self) -> gpd.GeoDataFrame:
        """Return the polygons with their attributes and the prepared columns, which replace those of the same name.

        Raises
        ------
        JobProblem
            If there are no polygons.
        """
        if self.areas is None:
            raise JobProblem("There are no polygons to join the estimates to. Name a polygon layer (areas).")
        return layer_of(self.table, self.areas)

    @property
    def summary(self) -> dict[str, Any]:
        """How many areas there are, how many of them can be used, and how often each flag was set."""
        found: dict[str, Any] = {"n_areas": len(self.table)}
        usable = [
            self.table[name].notna() & self.table[f"variance_{name}"].notna()
            for name in self.table.columns
            if f"variance_{name}" in self.table.columns
        ]
        if usable:
            found["n_usable"] = int(pd.concat(usable, axis=1).all(axis=1).sum())
        if str(self.settings.get("error_type")) in ("margin_of_error", "confidence_limits"):
            found["moe_factor"] = self.factor
        counts = Counter(zip(self.flags["indicator"], self.flags["flag"], strict=True))
        found["flags"] = {f"{indicator} {flag}": count for (indicator, flag), count in counts.items()}
        found["n_flagged"] = int(self.flags["area"].nunique())
        return found


def layer_of(table: pd.DataFrame, areas: Areas) -> gpd.GeoDataFrame:
    """Join a table with a row for each polygon, in their order, to the polygons and their attributes.

    Parameters
    ----------
    table : pandas.DataFrame
        With a column ``area``, which is left out where the polygons have an id field of their own.
    areas : Areas
        The polygons.

    Returns
    -------
    geopandas.GeoDataFrame
        Columns of the table replace attributes whose name differs in case only; the id field stays.
    """
    import geopandas as gpd

    geometry = str(areas.frame.geometry.name)
    new = table.drop(columns="area") if areas.id_field is not None else table
    new = new.drop(columns=[name for name in new.columns if name == areas.id_field])
    taken = {str(name).casefold() for name in new.columns}
    kept = [name for name in areas.frame.columns if name == geometry or str(name).casefold() not in taken]
    frame = pd.concat([areas.frame[kept].reset_index(drop=True), new.reset_index(drop=True)], axis=1)
    return gpd.GeoDataFrame(frame, geometry=geometry, crs=areas.crs)


def flag_table(indicators: Sequence[Indicator], ids: Sequence[str]) -> pd.DataFrame:
    """Return one row for each flag of each area."""
    rows = [
        (area, indicator.name, flag)
        for indicator in indicators
        for area, flags in zip(ids, indicator.flags, strict=True)
        for flag in flags
    ]
    return pd.DataFrame(rows, columns=["area", "indicator", "flag"], dtype=object)


def preparation_warnings(indicators: Sequence[Indicator], rules: Rules, ids: Sequence[str]) -> tuple[str, ...]:
    """Say once for each indicator which areas cannot be used as they were published.

    Parameters
    ----------
    indicators : sequence of Indicator
        As prepared.
    rules : Rules
        How they were read.
    ids : sequence of str
        Area ids.

    Returns
    -------
    tuple of str
        May be empty.
    """
    found = []
    for indicator in indicators:
        open_ends = [area for area, flags in zip(ids, indicator.flags, strict=True) if set(flags) & CODED]
        parts = [(open_ends, _CODED_WORDS[rules.coded_estimates])]
        parts.append((indicator.areas_with(ZERO_ESTIMATE, ids), _ZERO_WORDS[rules.zero_estimates]))
        parts += [(indicator.areas_with(flag, ids), words) for flag, words in _WORDS.items()]
        said = [f"{len(areas)} {words}: {named(areas, 3)}" for areas, words in parts if areas]
        if said:
            found.append(f"Of {len(ids)} areas, for {indicator.name!r}: {'; '.join(said)}.")
    return tuple(found)


def preparation_notes(indicators: Sequence[Indicator], rules: Rules, ids: Sequence[str]) -> tuple[str, ...]:
    """Say what was done: the factor, what is missing and why, and what a transformed scale asks of its user.

    Parameters
    ----------
    indicators : sequence of Indicator
        As prepared.
    rules : Rules
        How they were read.
    ids : sequence of str
        Area ids.

    Returns
    -------
    tuple of str
        Sentences.
    """
    found = []
    if rules.error_type in ("margin_of_error", "confidence_limits") and any(one.has_error for one in indicators):
        found.append(f"A margin of error is taken to be {rules.factor:.7g} standard errors.")
    for indicator in indicators:
        for flag in (MISSING, acs.NO_SAMPLE, acs.SUPPRESSED, acs.NOT_APPLICABLE):
            areas = indicator.areas_with(flag, ids)
            if areas:
                why = acs.MEANINGS.get(flag, "no value")
                found.append(f"{indicator.name!r} has no estimate in {len(areas)} areas ({why}): {named(areas, 3)}.")
    if rules.transformation != "none":
        way, instead = _BACK[rules.transformation]
        for indicator in indicators:
            name = f"{rules.transformation}_{indicator.name}"
            found.append(
                f"{name!r} is on the scale of the transformation, and so is every result of a model of it. Going back "
                f"by {way} is biased, because the transformation bends. {instead.format(name=indicator.name)}"
                + ("; its results come back without that bias." if rules.transformation != "freeman_tukey" else ".")
            )
    return tuple(found)
