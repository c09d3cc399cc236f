"""The task `prepare_published`: published estimates and errors become the input of a fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from smallarea.errors import JobProblem, named
from smallarea.io import AtomicOutputs, add_layer, check_suffix
from smallarea.survey.prepared import PreparedEstimates, flag_table, preparation_notes, preparation_warnings
from smallarea.survey.published import Fields, Rules, prepare_indicator
from smallarea.survey.published_errors import ERROR_TYPES, MOE_FACTORS, moe_factor
from smallarea.survey.scales import TRANSFORMATIONS
from smallarea.workflows.area_rows import read_area_rows
from smallarea.workflows.call_checks import check_choices
from smallarea.workflows.record import silent

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

LAYER = "published_estimates"
_CHOICES = {
    "error_type": ERROR_TYPES,
    "moe_factor": MOE_FACTORS,
    "annotations": ("acs", "none"),
    "coded_estimates": ("missing", "keep"),
    "zero_estimates": ("missing", "keep"),
    "transformation": TRANSFORMATIONS,
}
_LISTS = ("error", "upper", "names", "n", "n_eff", "denominator")


def prepare_published(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    table: PathLike | pd.DataFrame | None = None,
    table_layer: str | None = None,
    table_id_field: str | None = None,
    estimate: str | Sequence[str],
    error: str | Sequence[str] = (),
    upper: str | Sequence[str] = (),
    error_type: Literal[
        "variance", "standard_error", "margin_of_error", "cv", "cv_percent", "confidence_limits"
    ] = "margin_of_error",
    moe_level: float = 0.90,
    moe_factor: Literal["rounded", "exact"] = "rounded",
    names: str | Sequence[str] = (),
    annotations: Literal["acs", "none"] = "acs",
    coded_estimates: Literal["missing", "keep"] = "missing",
    zero_estimates: Literal["missing", "keep"] = "keep",
    scale: float = 1.0,
    transformation: Literal["none", "log", "logit", "arcsin", "freeman_tukey"] = "none",
    n: str | Sequence[str] = (),
    n_eff: str | Sequence[str] = (),
    denominator: str | Sequence[str] = (),
    multiplier: float = 1000.0,
    unmatched: Literal["error", "drop"] = "error",
    output: PathLike | None = None,
    csv: PathLike | None = None,
    progress: Progress | None = None,
) -> PreparedEstimates:
    """Turn published estimates and their errors into the input of a fit.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons to join the estimates to.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    table : path, DataFrame or None
        The published table; None for the attributes of the polygons.
    table_layer, table_id_field : str, optional
        How to read it.
    estimate : str or sequence of str
        Fields with the estimates, one for each indicator.
    error, upper : str or sequence of str
        Fields with their errors; with confidence limits the lower and the upper limits.
    error_type : str
        What the error fields hold.
    moe_level, moe_factor
        Level of margins of error and confidence limits, and whether the normal quantile is rounded as offices do.
    names : str or sequence of str
        What to call the indicators.
    annotations : {'acs', 'none'}
        Whether symbols and codes of the American Community Survey are recognised; see :mod:`smallarea.survey.acs`.
    coded_estimates, zero_estimates : {'missing', 'keep'}
        What to do with top- and bottom-coded estimates, and with estimates of zero.
    scale : float
        What stands for 1; 100 for percentages.
    transformation : str
        Another scale to add the estimates on; see :mod:`smallarea.survey.scales`.
    n, n_eff, denominator : str or sequence of str
        Fields with sample sizes, effective sample sizes, those at risk.
    multiplier : float
        Rates are per so many, for the Freeman-Tukey transformation.
    unmatched : {'error', 'drop'}
        Table rows without a polygon.
    output, csv : path, optional
        GeoPackage and CSV file to write; they appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    PreparedEstimates
        The table, flags, and what to know about them.

    Raises
    ------
    JobProblem
        If parameters do not fit each other.
    TableProblem, VarianceProblem, GeometryProblem
        If the table or the polygons cannot be used.
    OutputProblem
        If an output cannot be written; none is then.
    """
    call = {name: value for name, value in locals().items() if name not in ("areas", "table", "progress")}
    tell = progress or silent
    fields = _fields(call)
    rules = _rules(call)
    if output is not None and areas is None:
        raise JobProblem("A map was asked for (output), but there are no polygons (areas). Write a table (csv).")
    tell(0.0, "reading the estimates")
    rows = read_area_rows(
        areas,
        layer=layer,
        id_field=id_field,
        crs=crs,
        repair=repair,
        table=table,
        table_layer=table_layer,
        table_id_field=table_id_field,
        unmatched=unmatched,
        task="prepare",
    )
    tell(40.0, "reading annotations and errors")
    indicators = [prepare_indicator(rows.frame, one, rules, rows.ids) for one in fields]
    columns: dict[str, Any] = {"area": list(rows.ids)}
    for indicator in indicators:
        columns |= indicator.columns
    notes = preparation_notes(indicators, rules, rows.ids)
    if rows.dropped:
        notes += (f"{len(rows.dropped)} rows of the table were left out: {named(i for _, i, _ in rows.dropped)}.",)
    result = PreparedEstimates(
        pd.DataFrame(columns),
        flag_table(indicators, rows.ids),
        rules.factor,
        rows.areas,
        {name: value for name, value in call.items() if name not in ("output", "csv")},
        preparation_warnings(indicators, rules, rows.ids),
        notes + (tuple(rows.areas.repairs) if rows.areas is not None else ()),
    )
    _write(result, output, csv, tell)
    return result


def _rules(call: Mapping[str, Any]) -> Rules:
    """Refuse what a job could not say either, and return how numbers are read."""
    check_choices(call, _CHOICES)
    if not 0.0 < call["moe_level"] < 1.0:
        raise JobProblem(f"moe_level is a number between 0 and 1; got {call['moe_level']!r}.")
    for name in ("scale", "multiplier"):
        if not call[name] > 0.0:
            raise JobProblem(f"{name} is a positive number; got {call[name]!r}.")
    kept = ("error_type", "annotations", "coded_estimates", "zero_estimates", "transformation", "scale", "multiplier")
    return Rules(factor=moe_factor(call["moe_level"], call["moe_factor"]), **{name: call[name] for name in kept})


def _fields(call: Mapping[str, Any]) -> list[Fields]:
    """Return the fields of each indicator after making sure that they fit each other."""
    estimates = _listed(call["estimate"])
    lists = {name: _listed(call[name]) for name in _LISTS}
    if not estimates:
        raise JobProblem("No field with estimates is named.")
    for name, given in lists.items():
        if given and len(given) != len(estimates):
            raise JobProblem(
                f"{name} names {len(given)} fields, but there are {len(estimates)} estimates ({named(estimates)}). "
                "Name one for each, in the same order."
            )
    limits, tukey = call["error_type"] == "confidence_limits", call["transformation"] == "freeman_tukey"
    if limits != bool(lists["upper"]):
        raise JobProblem(
            "Confidence limits need the upper limits too: name their fields (upper)."
            if limits
            else "Upper limits (upper) belong to error_type=confidence_limits; leave them out or set it."
        )
    if not lists["error"] and not tukey:
        raise JobProblem("No field with the errors of the estimates is named (error).")
    if tukey != bool(lists["denominator"]):
        raise JobProblem(
            "freeman_tukey needs the numbers at risk that the counts came from: name their fields (denominator)."
            if tukey
            else "Numbers at risk (denominator) belong to transformation=freeman_tukey; leave them out or set it."
        )
    names = lists["names"] or estimates
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise JobProblem(f"Two indicators are called {named(twice)}. Give each a name of its own (names).")
    found = []
    for k, field in enumerate(estimates):
        of = {name: given[k] if given else None for name, given in lists.items() if name != "names"}
        found.append(Fields(name=names[k], estimate=field, **of))
    _check_columns(found, call["transformation"])
    return found


def _check_columns(fields: Sequence[Fields], transformation: str) -> None:
    """Refuse names of which the output would have two columns that are alike."""
    prefixes = ["", "variance_", "se_", "cv_", "n_", "n_eff_", "denominator_", "flag_"]
    prefixes += [f"{before}{transformation}_" for before in ("", "variance_", "se_")]
    made = [f"{prefix}{one.name}".casefold() for one in fields for prefix in prefixes]
    clash = sorted({one.name for one in fields if made.count(one.name.casefold()) > 1 or one.name.casefold() == "area"})
    if clash:
        raise JobProblem(f"The output would have two columns named {named(clash)}. Choose other names (names).")


def _listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _write(result: PreparedEstimates, output: PathLike | None, csv: PathLike | None, tell: Progress) -> None:
    """Write what was asked for, all files or none."""
    if output is not None:
        check_suffix(output, (".gpkg",), "a GeoPackage")
    if csv is not None:
        check_suffix(csv, (".csv", ".txt"), "comma-separated text")
    with AtomicOutputs() as outputs:
        if output is not None:
            tell(70.0, "writing the map")
            add_layer(result.layer(), outputs.path(output), LAYER)
        if csv is not None:
            tell(90.0, "writing the table")
            result.table.to_csv(outputs.path(csv), index=False)
        tell(100.0, "done")
