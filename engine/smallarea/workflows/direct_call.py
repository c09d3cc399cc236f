"""What direct estimates are asked for: which fields, and whether the parameters fit each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smallarea.errors import JobProblem, named
from smallarea.io import check_suffix
from smallarea.survey.indicators import parse_indicators
from smallarea.workflows.direct_input import Fields

_CHOICES = {
    "missing_design": ("error", "drop"),
    "lonely_psu": ("fail", "adjust", "average", "certainty"),
    "replicate_method": ("brr", "fay", "jk1", "jkn", "bootstrap", "sdr"),
    "calibration_method": ("poststratify", "rake", "greg"),
    "variance_method": ("auto", "linearisation", "replicates", "poisson"),
    "interval": ("auto", "wald", "logit", "wilson", "korn_graubard"),
    "deff_reference": ("without_replacement", "with_replacement"),
    "unmatched": ("error", "keep"),
}
_FORMATS = {
    "output": ((".gpkg",), "a GeoPackage"),
    "csv": ((".csv", ".txt"), "comma-separated text"),
    "excel": ((".xlsx",), "an Excel workbook"),
    "report": ((".html", ".htm"), "a report"),
}
# Parameters that say nothing without another one.
_BELONG_TO = {
    "areas": ("layer", "id_field", "crs", "repair"),
    "replicate_weights": ("replicate_scale", "replicate_rscales", "replicate_mse", "fay_rho"),
    "totals": ("totals_layer", "auxiliaries"),
    "psu": ("nest",),
    "imputation_field": ("report",),
}


def listed(value: str | Sequence[str]) -> list[str]:
    """Return one name, or several, as a list."""
    return [value] if isinstance(value, str) else list(value)


def read_fields(call: Mapping[str, Any]) -> Fields:
    """Return which fields of the survey are used.

    Parameters
    ----------
    call : mapping
        The parameters of the job by name.

    Returns
    -------
    Fields
        With the indicators understood.

    Raises
    ------
    JobProblem
        If an indicator cannot be understood.
    """

    def several(name: str) -> tuple[str, ...]:
        return tuple(listed(call[name]))

    return Fields(
        area_field=call["area_field"],
        indicators=parse_indicators(listed(call["indicators"])),
        group_field=call["group_field"],
        weight=call["weight"],
        strata=several("strata"),
        psu=several("psu"),
        fpc=several("fpc"),
        replicate_weights=several("replicate_weights"),
        design_weight=call["design_weight"],
        population_field=call["population_field"],
        imputation_field=call["imputation_field"],
    )


def check_call(call: Mapping[str, Any], fields: Fields, has_areas: bool, has_totals: bool) -> None:
    """Refuse what a job could not say either, and parameters that contradict each other.

    Parameters
    ----------
    call : mapping
        The parameters of the job by name.
    fields : Fields
        What is used of the survey.
    has_areas, has_totals : bool
        Whether there are polygons, and totals of a calibration.

    Raises
    ------
    JobProblem
        Naming the parameters.
    OutputProblem
        If a file to write has another format.
    """
    for name, choices in _CHOICES.items():
        if call[name] not in choices:
            raise JobProblem(f"There is no {name} {call[name]!r}. Choose one of {named(choices, 10)}.")
    for name, (suffixes, what) in _FORMATS.items():
        if call[name] is not None:
            check_suffix(call[name], suffixes, what)
    if not 0.0 < call["level"] < 1.0:
        raise JobProblem(f"level is a number between 0 and 1; got {call['level']!r}.")
    if not call["min_df"] >= 0:
        raise JobProblem(f"min_df is a number of zero or more; got {call['min_df']!r}.")
    if call["replicate_scale"] is not None and not call["replicate_scale"] > 0.0:
        raise JobProblem(f"replicate_scale is a positive number; got {call['replicate_scale']!r}.")
    given = {
        "areas": has_areas,
        "totals": has_totals,
        "replicate_weights": bool(fields.replicate_weights),
        "psu": bool(fields.psu),
        "imputation_field": fields.imputation_field is not None,
    }
    for owner, names in _BELONG_TO.items():
        idle = [name for name in names if not given[owner] and call[name] not in (None, False, 0.0, (), [])]
        if idle:
            raise JobProblem(f"{', '.join(idle)} says nothing without {owner}. Name that too, or leave it out.")
    _check_variances(call, fields, has_totals)
    if call["output"] is not None and not has_areas:
        raise JobProblem("A map was asked for (output), but there are no polygons (areas). Write a table (csv).")
    if fields.population_field is not None and fields.group_field is not None:
        raise JobProblem(
            "population_field holds the sizes of areas, not of groups within them, so the means of groups would be far "
            "too small. Leave out population_field or group_field."
        )


def _check_variances(call: Mapping[str, Any], fields: Fields, has_totals: bool) -> None:
    if call["variance_method"] == "replicates" and not fields.replicate_weights:
        raise JobProblem("variance_method 'replicates' needs the fields with the replicate weights.")
    if has_totals != (fields.design_weight is not None):
        raise JobProblem(
            "Variances of calibrated estimates need both the weights before calibration (design_weight) and the totals "
            "(totals). Name both or neither."
        )
    if has_totals and fields.weight is None:
        raise JobProblem(
            "Variances of calibrated estimates need both weights: the calibrated ones (weight) and those before "
            "(design_weight)."
        )
    if has_totals and fields.replicate_weights:
        raise JobProblem(
            "Replicate weights hold the calibration if they were calibrated themselves. Leave out totals and "
            "design_weight."
        )
    if has_totals and call["variance_method"] == "poisson":
        raise JobProblem("variance_method 'poisson' knows no calibration. Leave out totals, or use linearisation.")
