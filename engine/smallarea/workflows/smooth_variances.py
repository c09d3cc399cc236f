"""The task `smooth_variances`: raw sampling variances become those of a generalised variance function."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import AtomicOutputs, add_layer, check_field, id_texts, numeric_column
from smallarea.survey.smoothed import SmoothedVariances, smoothed_columns, smoothing_notes, smoothing_warnings
from smallarea.survey.smoothing import (
    ESTIMATE_TERMS,
    RawVariances,
    SmoothedResponse,
    smooth,
    smooth_covariances,
)
from smallarea.survey.variance_functions import METHODS
from smallarea.survey.variance_regressions import CORRECTIONS
from smallarea.workflows.area_rows import AreaRows, read_area_rows
from smallarea.workflows.call_checks import check_choices, check_outputs
from smallarea.workflows.record import silent

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

LAYER = "smoothed_variances"
# Name of the one group if no field tells groups apart.
EVERYWHERE = "all areas"
_OUTPUTS = ("output", "csv", "report")
_CHOICES = {
    "method": METHODS,
    "estimate_term": ESTIMATE_TERMS,
    "bias_correction": CORRECTIONS,
}


def smooth_variances(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    table: PathLike | pd.DataFrame | None = None,
    table_layer: str | None = None,
    table_id_field: str | None = None,
    direct: str | Sequence[str],
    variance: str | Sequence[str],
    covariance: str | Sequence[str] = (),
    method: Literal["gamma", "log_linear", "n_eff"] = "gamma",
    n: str | Sequence[str] = (),
    df: str | Sequence[str] = (),
    estimate_term: Literal["none", "log", "binomial"] = "none",
    covariates: Sequence[str] = (),
    group_field: str | None = None,
    bias_correction: Literal["ratio", "lognormal", "smearing", "none"] = "ratio",
    combine: bool = False,
    min_df: float = 8.0,
    unmatched: Literal["error", "drop"] = "error",
    output: PathLike | None = None,
    csv: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> SmoothedVariances:
    """Smooth sampling variances by a generalised variance function.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons to join the result to.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    table : path, DataFrame or None
        Table with the direct estimates; None for the attributes of the polygons.
    table_layer, table_id_field : str, optional
        How to read it.
    direct, variance : str or sequence of str
        Fields with direct estimates and raw sampling variances, one for each response.
    covariance : str or sequence of str
        Fields with sampling covariances, in the order (1, 2), (1, 3), ..., (2, 3), ...
    method : {'gamma', 'log_linear', 'n_eff'}
        The generalised variance function; see :mod:`smallarea.survey.variance_regressions`.
    n, df : str or sequence of str
        Fields with sample sizes and degrees of freedom, one for all responses or one for each.
    estimate_term : {'none', 'log', 'binomial'}
        How variances depend on the estimate.
    covariates : sequence of str
        What else they depend on.
    group_field : str, optional
        Field with the areas' groups.
    bias_correction : {'ratio', 'lognormal', 'smearing', 'none'}
        Of ``log_linear``.
    combine : bool
        Let raw variances keep a say; see :mod:`smallarea.survey.pooled_variances`.
    min_df : float
        Warn of raw variances with fewer degrees of freedom.
    unmatched : {'error', 'drop'}
        Table rows without a polygon.
    output, csv, report : path, optional
        GeoPackage, CSV file and HTML report to write; they appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    SmoothedVariances
        The table with smoothed variances, the functions, and what to know about them.

    Raises
    ------
    JobProblem
        If parameters do not fit each other.
    TableProblem, VarianceProblem, GeometryProblem
        If the table or the polygons cannot be used.
    ModelProblem
        If the function cannot be fitted.
    OutputProblem
        If an output cannot be written; none is then.
    """
    call = {name: value for name, value in locals().items() if name not in ("areas", "table", "progress")}
    tell = progress or silent
    fields = _fields(call)
    _check_call(call, fields)
    if output is not None and areas is None:
        raise JobProblem("A map was asked for (output), but there are no polygons (areas). Write a table (csv).")
    tell(0.0, "reading the variances")
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
        task="smooth",
    )
    responses = []
    for k, name in enumerate(fields["direct"]):
        tell(30.0 + 30.0 * k / len(fields["direct"]), f"smoothing the variances of {name}")
        raw = _raw(rows, fields, k, group_field)
        responses.append(smooth(raw, method, estimate_term, bias_correction, combined=combine))
    covariances = [numeric_column(rows.frame, name, rows.ids) for name in fields["covariance"]]
    rescaled, means = smooth_covariances(covariances, responses) if covariances else ([], [])
    notes = smoothing_notes(responses, means)
    if rows.dropped:
        notes += (f"{len(rows.dropped)} rows of the table were left out: {named(i for _, i, _ in rows.dropped)}.",)
    result = SmoothedVariances(
        _table(rows, responses, rescaled),
        tuple(responses),
        rows.areas,
        {name: value for name, value in call.items() if name not in _OUTPUTS},
        smoothing_warnings(responses, min_df),
        notes + (tuple(rows.areas.repairs) if rows.areas is not None else ()),
    )
    _write(result, output, csv, report, tell)
    return result


def _fields(call: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the fields by parameter, those that all responses share repeated."""
    names = ("direct", "variance", "covariance", "n", "df", "covariates")
    found = {name: [call[name]] if isinstance(call[name], str) else list(call[name]) for name in names}
    k = len(found["direct"])
    if k == 0:
        raise JobProblem("No field with direct estimates is named.")
    if len(found["variance"]) != k:
        raise JobProblem(
            f"The numbers of fields do not agree: {k} with direct estimates ({named(found['direct'])}), "
            f"{len(found['variance'])} with sampling variances. Name one variance for each, in the same order."
        )
    for name in ("n", "df"):
        if len(found[name]) == 1:
            found[name] *= k
        elif found[name] and len(found[name]) != k:
            raise JobProblem(f"{name} names {len(found[name])} fields for {k} responses. Name one for all or for each.")
    pairs = k * (k - 1) // 2
    if found["covariance"] and len(found["covariance"]) != pairs:
        raise JobProblem(
            f"{k} responses have {pairs} sampling covariances; got {len(found['covariance'])} fields. Give them in the "
            "order (1, 2), (1, 3), ..., (2, 3), ..., or none."
        )
    twice = sorted({name for name in found["direct"] if found["direct"].count(name) > 1})
    if twice:
        raise JobProblem(f"Field {named(twice)} is named twice among the direct estimates. Name each once.")
    return found


def _check_call(call: Mapping[str, Any], fields: Mapping[str, list[str]]) -> None:
    """Refuse what a job could not say either, and what would do nothing."""
    check_choices(call, _CHOICES)
    check_outputs(call, _OUTPUTS)
    if not call["min_df"] >= 0.0:
        raise JobProblem(f"min_df is a number of zero or more; got {call['min_df']!r}.")
    method = call["method"]
    if method != "log_linear" and call["bias_correction"] != "ratio":
        raise JobProblem(f"bias_correction belongs to log_linear; {method} needs none. Leave it out.")
    if call["combine"] and not fields["df"]:
        raise JobProblem("combine needs the degrees of freedom of the raw variances: name their field (df).")
    if method == "n_eff":
        if not fields["n"]:
            raise JobProblem("n_eff divides by the sample size: name its field (n).")
        if fields["covariates"]:
            raise JobProblem("n_eff has no covariates. Leave them out, or use log_linear or gamma.")
    elif not (fields["n"] or fields["covariates"] or call["estimate_term"] != "none" or call["group_field"]):
        raise JobProblem(
            "There is nothing that the variances could depend on. Name the sample sizes (n), covariates, groups "
            "(group_field), or an estimate_term."
        )


def _raw(rows: AreaRows, fields: Mapping[str, list[str]], k: int, group_field: str | None) -> RawVariances:
    """Return what is known of response k."""
    frame, ids = rows.frame, rows.ids
    covariates = [numeric_column(frame, name, ids) for name in fields["covariates"]]
    direct = numeric_column(frame, fields["direct"][k], ids)
    return RawVariances(
        fields["direct"][k],
        ids,
        direct,
        numeric_column(frame, fields["variance"][k], ids),
        numeric_column(frame, fields["n"][k], ids) if fields["n"] else None,
        numeric_column(frame, fields["df"][k], ids) if fields["df"] else None,
        np.column_stack(covariates) if covariates else np.empty((len(ids), 0)),
        tuple(fields["covariates"]),
        _groups(frame, ids, np.isfinite(direct), group_field),
    )


def _groups(frame: pd.DataFrame, ids: Sequence[str], needed: np.ndarray, group_field: str | None) -> tuple[str, ...]:
    """Return the group of each area; areas without an estimate may have none and count with the first."""
    if group_field is None:
        return (EVERYWHERE,) * len(ids)
    check_field(frame, group_field)
    texts = id_texts(frame[group_field])
    lacking = [area for area, text, need in zip(ids, texts, needed, strict=True) if text is None and need]
    if lacking:
        raise TableProblem(
            f"{len(lacking)} areas with an estimate have no group in the field {group_field!r}: {named(lacking)}. Give "
            "each a group."
        )
    first = next((text for text in texts if text is not None), EVERYWHERE)
    return tuple(first if text is None else text for text in texts)


def _table(rows: AreaRows, responses: Sequence[SmoothedResponse], covariances: Sequence[np.ndarray]) -> pd.DataFrame:
    """Return the input with the new columns; the area's id first, as text."""
    new: dict[str, Any] = {}
    for response in responses:
        new |= smoothed_columns(rows.frame, response)
    for (one, two), values in zip(combinations(responses, 2), covariances, strict=bool(covariances)):
        new[f"covariance_smoothed_{one.raw.name}_{two.raw.name}"] = values
    kept = rows.frame.drop(columns=[name for name in rows.frame.columns if name in new or name == "area"])
    areas = pd.Series(list(rows.ids), name="area", dtype=object)
    return pd.concat([areas, kept.reset_index(drop=True), pd.DataFrame(new)], axis=1)


def _write(
    result: SmoothedVariances, output: PathLike | None, csv: PathLike | None, report: PathLike | None, tell: Progress
) -> None:
    """Write what was asked for, all files or none."""
    with AtomicOutputs() as outputs:
        if output is not None:
            tell(70.0, "writing the map")
            add_layer(result.layer(), outputs.path(output), LAYER)
        if csv is not None:
            tell(80.0, "writing the table")
            result.table.to_csv(outputs.path(csv), index=False)
        if report is not None:
            from smallarea.report.smoothing import write_smoothing_report

            tell(85.0, "writing the report")
            write_smoothing_report(result, str(outputs.path(report)))
        tell(100.0, "done")
