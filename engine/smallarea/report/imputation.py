"""The report of an imputation: what was missing, where, and how imputed answers compare with observed ones."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from smallarea._version import __version__
from smallarea.report.drawing import BLUE, RED, labels, square
from smallarea.report.encoding import Picture, as_svg
from smallarea.report.formatting import MISSING, count, percent, plural, setting, significant
from smallarea.report.page import write_page

if TYPE_CHECKING:
    from jinja2 import Template

    from smallarea.survey.imputation.variables import Variable
    from smallarea.workflows.impute_result import ImputationResult

_MOST = 100
_BINS = 24
_MEASURES = ("mean", "standard deviation", "lower quartile", "median", "upper quartile")

FloatArray = npt.NDArray[np.float64]


def write_imputation(result: ImputationResult, path: str, *, written: datetime | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    result : ImputationResult
        What was imputed.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_imputation(result, written=written or datetime.now().astimezone()), path)


def render_imputation(result: ImputationResult, *, written: datetime | None = None) -> str:
    """Return the report as a self-contained HTML page.

    Parameters
    ----------
    result : ImputationResult
        What was imputed.
    written : datetime, optional
        The time to print in it; none if not given, so that the same result gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    areas = missing_by_area(result)
    return _template().render(
        title=result.survey.source,
        written=written.strftime("%d %B %Y, %H:%M").lstrip("0") if written is not None else "",
        version=__version__,
        warnings=list(result.warnings),
        notes=list(result.notes),
        lead=_lead(result),
        variables=[_row(row) for row in result.missing.itertuples()],
        compared=[
            _compared(result, variable) for variable in result.imputed.variables if _is_imputed(result, variable)
        ],
        areas=[
            {
                "area": str(row.area),
                "n": count(row.respondents),
                "imputed": count(row.imputed),
                "share": percent(row.share),
            }
            for row in areas[:_MOST].itertuples()
        ],
        n_areas=len(areas),
        most=_MOST,
        fit=[(str(name), setting(value)) for name, value in result.imputed.record["fit"].items() if _plain(value)],
        call=[(name, setting(value)) for name, value in result.settings.items() if value not in (None, "", [], (), {})],
    )


def missing_by_area(result: ImputationResult) -> pd.DataFrame:
    """Return how much was imputed in each area, the most first.

    Parameters
    ----------
    result : ImputationResult
        What was imputed.

    Returns
    -------
    pandas.DataFrame
        ``area``, ``respondents``, ``imputed`` (answers), ``share`` of the answers that were asked for; empty without
        areas.
    """
    if result.area_field is None:
        return pd.DataFrame(columns=["area", "respondents", "imputed", "share"])
    was = result.imputed.was_missing().sum(axis=1).to_numpy()
    names = [variable.name for variable in result.imputed.variables]
    asked = was + result.imputed.original[names].notna().sum(axis=1).to_numpy()
    texts = ["(no area)" if text is None else text for text in result.survey.texts(result.area_field)]
    rows = pd.DataFrame({"area": texts, "respondents": 1, "imputed": was, "asked": asked})
    found = rows.groupby("area", sort=True).sum().reset_index()
    found["share"] = found["imputed"] / np.maximum(found["asked"], 1)
    return found.drop(columns="asked").sort_values("share", ascending=False, kind="stable").reset_index(drop=True)


def _lead(result: ImputationResult) -> list[str]:
    summary = result.summary
    return [
        f"{percent(summary['share_imputed'])} of the answers of {plural(summary['n_respondents'], 'respondent')} were "
        f"missing: {count(summary['n_imputed'])} answers, each imputed {plural(summary['n_imputations'], 'time')} by "
        f"the method {summary['method']}.",
        "That imputed answers differ from observed ones is no fault in itself: who does not answer may differ in "
        "everything else that is known. It is a reason to look.",
    ]


def _row(row: Any) -> dict[str, str]:
    asked = row.answers + row.imputed
    return {
        "name": str(row.variable),
        "kind": row.kind,
        "answers": count(row.answers),
        "imputed": count(row.imputed),
        "share": percent(row.imputed / asked) if asked else MISSING,
        "not_asked": count(row.not_asked) if row.not_asked else "",
    }


def _is_imputed(result: ImputationResult, variable: Variable) -> bool:
    return bool(result.imputed.was_missing()[variable.name].any())


def _values(result: ImputationResult, variable: Variable) -> tuple[FloatArray, FloatArray]:
    """Return observed and imputed answers as numbers, or as places of categories."""
    place = result.imputed.variables.index(variable)
    column = result.imputed.encoded.numbers[:, place]
    drawn = result.imputed.draws[:, result.imputed.cells[1] == place].ravel()
    return column[np.isfinite(column)], drawn[np.isfinite(drawn)]


def _compared(result: ImputationResult, variable: Variable) -> dict[str, Any]:
    observed, imputed = _values(result, variable)
    if variable.categorical:
        size = len(variable.categories)
        shares = [np.bincount(part.astype(int), minlength=size) / max(len(part), 1) for part in (observed, imputed)]
        rows = [
            {"what": str(category), "observed": percent(a), "imputed": percent(b)}
            for category, a, b in zip(variable.categories, *shares, strict=True)
        ]
        return {"name": variable.name, "rows": rows, "picture": None}
    rows = [
        {"what": name, "observed": significant(a, 4), "imputed": significant(b, 4)}
        for name, a, b in zip(_MEASURES, _measured(observed), _measured(imputed), strict=True)
    ]
    return {"name": variable.name, "rows": rows, "picture": _overlay(observed, imputed) if len(imputed) else None}


def _measured(values: FloatArray) -> list[float]:
    """Return the numbers that `_MEASURES` names."""
    if not len(values):
        return [np.nan] * len(_MEASURES)
    return [float(values.mean()), float(values.std()), *np.quantile(values, [0.25, 0.5, 0.75]).tolist()]


def _overlay(observed: FloatArray, imputed: FloatArray) -> Picture:
    """Draw the distributions of observed and of imputed answers over each other, without the outermost per cent."""
    low, high = np.quantile(np.concatenate([observed, imputed]), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    figure, axes = square()
    for values, colour in ((observed, BLUE), (imputed, RED)):
        share = np.histogram(values, edges)[0] / len(values)
        axes.stairs(share, edges, color=colour, lw=1.6)
    axes.set_ylim(bottom=0.0)
    labels(axes, "Answer", "Share")
    return as_svg(figure)


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and value != ""


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("smallarea.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("imputation.html")
