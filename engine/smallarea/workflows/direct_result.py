"""The result of direct estimation, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem, named
from smallarea.io.workbook import Sheet
from smallarea.survey.design import SurveyDesign
from smallarea.survey.direct import DirectEstimates
from smallarea.survey.direct_table import (
    FEW_DF,
    NO_ESTIMATE,
    NO_VARIANCE,
    NOBODY,
    NOT_ALWAYS,
    ONE_PSU,
    ONE_RESPONDENT,
    ZERO_VARIANCE,
)
from smallarea.survey.prepared import layer_of

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas
    from smallarea.io.survey_table import SurveyTable
    from smallarea.workflows.direct_input import Fields

# Flags whose variances are empty, and what a warning says of them.
_EMPTY = {
    ONE_RESPONDENT: "have a single respondent",
    ONE_PSU: "have a single primary sampling unit",
    ZERO_VARIANCE: "have a variance of zero (respondents who are all alike, or everybody was asked)",
    NO_ESTIMATE: "have a ratio whose denominator is zero",
    NO_VARIANCE: "have an estimate whose variance cannot be computed",
    NOT_ALWAYS: "have an estimate in some completed tables only",
}

_FILES = ("output", "csv", "excel", "report")

# Weights that add up to less than so many times the respondents hardly stand for a population.
_RELATIVE = 1.5


@dataclass(frozen=True)
class DirectEstimatesResult:
    """Direct estimates as the input of a fit.

    Attributes
    ----------
    estimates : DirectEstimates
        One row an area and response, and the covariance matrices.
    table : pandas.DataFrame
        One row an area: ``area``, and for each response NAME: ``NAME``, ``variance_NAME``, ``se_NAME``, ``cv_NAME``,
        ``lower_NAME``, ``upper_NAME``, ``n_NAME``, ``n_psu_NAME``, ``population_NAME``, ``n_eff_NAME``, ``deff_NAME``,
        ``df_NAME``, ``flag_NAME``; of an imputed survey ``variance_within_NAME`` and ``fmi_NAME``; then
        ``covariance_NAME1_NAME2``.
    columns_read : pandas.DataFrame
        What was read: type, missing values, smallest and largest of each column.
    design : dict
        The design in numbers.
    areas : Areas or None
        The polygons.
    settings : dict
        What was asked for.
    warnings, notes : tuple of str
        What to know before using the estimates, and what was done.
    """

    estimates: DirectEstimates
    table: pd.DataFrame
    columns_read: pd.DataFrame
    design: Mapping[str, Any]
    areas: Areas | None
    settings: Mapping[str, Any]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def layer(self) -> gpd.GeoDataFrame:
        """Return the polygons with their attributes and the estimates.

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
        """The design, how many areas have respondents and usable variances, median CV and design effect."""
        rows = self.estimates.table
        by_response = {}
        for name in self.estimates.responses:
            one = rows[rows["response"] == name]
            by_response[name] = {
                "n_usable": int(one["variance"].notna().sum()),
                "median_cv": _median(one["cv"]),
                "median_deff": _median(one["deff"]),
                **({"median_fmi": _median(one["fmi"])} if "fmi" in one else {}),
                "flags": {str(flag): int(count) for flag, count in one["flag"].value_counts().items() if flag},
            }
        first = rows[rows["response"] == self.estimates.responses[0]]
        return {
            **self.design,
            "n_areas": len(self.estimates.areas),
            "n_sampled": int((rows.groupby("area", sort=False)["n"].max() > 0).sum()),
            "n_usable": int(rows.groupby("area", sort=False)["variance"].count().eq(len(by_response)).sum()),
            "median_n": _median(first["n"]),
            "responses": by_response,
        }


def make_result(
    estimates: DirectEstimates,
    survey: SurveyTable,
    design: SurveyDesign,
    areas: Areas | None,
    fields: Fields,
    outside: Sequence[str],
    left_out: int,
    gaps: Mapping[str, int],
    call: Mapping[str, Any],
    imputations: int | None = None,
) -> DirectEstimatesResult:
    """Put together what the task returns.

    Parameters
    ----------
    estimates : DirectEstimates
        The numbers.
    survey : SurveyTable
        What they are of.
    design : SurveyDesign
        How it was drawn.
    areas : Areas or None
        The polygons.
    fields : Fields
        What was used.
    outside : sequence of str
        Areas of the survey that are not on the map.
    left_out : int
        Rows that did not say their place in the design.
    gaps : mapping
        Respondents whose missing value counts as zero, by response.
    call : mapping
        What was asked for.
    imputations : int, optional
        Number of completed tables of an imputed survey; `survey` is the first of them.

    Returns
    -------
    DirectEstimatesResult
        With warnings and notes.
    """
    settings = {
        name: _printable(value) for name, value in call.items() if name not in ("output", "csv", "excel", "report")
    }
    return DirectEstimatesResult(
        estimates,
        estimates.wide(),
        survey.summary,
        {**_in_numbers(design), **({} if imputations is None else {"n_imputations": imputations})},
        areas,
        settings,
        (*survey.warnings, *_of_weights(design, call), *_of_gaps(gaps), *_warnings(estimates)),
        (
            *_notes(survey, design, areas, fields, outside, left_out, estimates),
            *([] if imputations is None else _of_imputations(estimates, imputations)),
        ),
    )


def _printable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _in_numbers(design: SurveyDesign) -> dict[str, Any]:
    first = design.stages[0]
    found: dict[str, Any] = {
        "n_respondents": int((design.weights > 0.0).sum()),
        "sum_of_weights": float(design.weights.sum()),
        "n_strata": len(first.size),
        "n_psu": len(first.stratum),
        "df": int(design.df if design.replicates is None else design.replicates.df),
        "n_lonely_psu": int(first.lonely.sum()),
    }
    if design.replicates is not None:
        found["n_replicates"] = int(design.replicates.weights.shape[1])
    return found


def _of_weights(design: SurveyDesign, call: Mapping[str, Any]) -> list[str]:
    """Warn of weights that do not mean what a method takes them for."""
    found = []
    used = design.weights[design.weights > 0.0]
    if call["deff_reference"] == "without_replacement" and used.sum() < _RELATIVE * len(used):
        found.append(
            f"The weights of {len(used)} respondents add up to {used.sum():.6g}. If they are relative weights, the "
            "design effects and effective sample sizes are wrong or empty: they compare with a simple random sample "
            "out of so many people. Set deff_reference to with_replacement."
        )
    below = int((used < 1.0).sum())
    if call["variance_method"] == "poisson" and below:
        found.append(
            f"{below} respondents have a weight below 1, so 1 / weight is no probability of being in the sample, and "
            "they add nothing to the variances. The method poisson needs weights that add up to the population."
        )
    return found


def _of_imputations(estimates: DirectEstimates, imputations: int) -> list[str]:
    """Say how completed tables were combined, and whether there are enough of them.

    A rule of thumb is one table for each per cent of missing information (White, Royston and Wood 2011, Statistics in
    Medicine 30, 377-399): then another run changes an estimate by less than a tenth of its standard error.
    """
    found = [f"Estimates of {imputations} completed tables are combined by Rubin's rules."]
    fractions = estimates.table["fmi"].dropna()
    # The fraction itself has a term for the number of tables that does not vanish without anything missing.
    if len(fractions) and 100.0 * fractions.median() > imputations:
        found.append(
            f"In the median area {fractions.median():.0%} of the information is missing. With fewer completed tables "
            "than per cent, other seeds give noticeably other intervals: impute more often before you publish."
        )
    return found


def _of_gaps(gaps: Mapping[str, int]) -> list[str]:
    """Warn where respondents without a value count as zero."""
    if not gaps:
        return []
    among = ", ".join(f"{name!r} ({count})" for name, count in gaps.items())
    return [
        f"Respondents without a value count as zero in totals and Horvitz-Thompson estimates: {among}. Impute the "
        "values, or estimate a mean without known populations."
    ]


def _warnings(estimates: DirectEstimates) -> list[str]:
    """Say which areas lack a variance and which rest on little, once for all responses."""
    found = []
    rows = estimates.table
    for flag, words in _EMPTY.items():
        areas = list(dict.fromkeys(rows.loc[rows["flag"] == flag, "area"]))
        if areas:
            found.append(
                f"{len(areas)} areas {words}: {named(areas)}. Their variances are left empty, so that no model takes "
                "them for certain; 'smallarea survey smooth' can give them one."
            )
    few = list(dict.fromkeys(rows.loc[rows["flag"] == FEW_DF, "area"]))
    if few:
        found.append(
            f"{len(few)} areas have variances that rest on few sampling units: {named(few)}. They vary too much to be "
            "taken as known; smooth them ('smallarea survey smooth') before a fit."
        )
    return found


def _notes(
    survey: SurveyTable,
    design: SurveyDesign,
    areas: Areas | None,
    fields: Fields,
    outside: Sequence[str],
    left_out: int,
    estimates: DirectEstimates,
) -> list[str]:
    found = list(survey.notes)
    if areas is not None:
        found += list(areas.repairs)
        new = {str(name).casefold() for name in estimates.wide().columns[1:]}
        lost = [str(name) for name in areas.frame.columns if str(name).casefold() in new]
        if lost:
            found.append(f"In the layer, estimates take the place of the polygons' fields {named(lost)}.")
    if fields.weight is None:
        found.append("No weights were named: every respondent counts the same.")
    if left_out:
        found.append(f"{left_out} rows of the survey did not say their place in the design and were left out.")
    zero = int((design.weights == 0.0).sum())
    if zero:
        found.append(f"{zero} respondents have a weight of zero and do not count.")
    rows = estimates.table
    empty = list(dict.fromkeys(rows.loc[rows["flag"] == NOBODY, "area"]))
    if empty:
        found.append(f"{len(empty)} areas have no respondents for some indicator: {named(empty)}.")
    if outside:
        found.append(
            f"{len(outside)} areas of the survey are not on the map: {named(outside)}. Their respondents count for the "
            "design and for no area."
        )
    lonely = int(design.stages[0].lonely.sum())
    if lonely and design.replicates is None:
        found.append(f"{lonely} strata have a single sampling unit; lonely_psu is {design.lonely_psu!r}.")
    return found


def sheets(result: DirectEstimatesResult) -> list[Sheet]:
    """Return the workbook: estimates, covariances, what was read, settings.

    Parameters
    ----------
    result : DirectEstimatesResult
        What to write.

    Returns
    -------
    list of Sheet
        In the order of reading.
    """
    found = [Sheet("Direct estimates", result.estimates.table)]
    names = result.estimates.responses
    if len(names) > 1:
        first, second = np.triu_indices(len(names))
        columns = {
            f"{names[a]} x {names[b]}": result.estimates.covariances[:, a, b]
            for a, b in zip(first, second, strict=True)
        }
        found.append(Sheet("Covariances", pd.DataFrame({"area": result.estimates.areas, **columns})))
    found.append(Sheet("Columns read", result.columns_read))
    said = [("warning", text) for text in result.warnings] + [("note", text) for text in result.notes]
    settings = [(name, str(value)) for name, value in {**result.design, **result.settings}.items() if value is not None]
    found.append(Sheet("Settings", pd.DataFrame([*settings, *said], columns=["name", "value"])))
    return found


def _median(values: pd.Series) -> float | None:
    return float(values.median()) if values.notna().any() else None
