"""The report of a comparison of models: which predicts best, by how much, and whether that means anything."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from smallarea.report.comparison_figures import difference_chart, pit_charts
from smallarea.report.encoding import Picture
from smallarea.report.formatting import as_number, count, fixed, listed, percent, plural, setting, significant
from smallarea.report.page import page_template, time_words, write_page
from smallarea.results.prediction.score_table import ALL

if TYPE_CHECKING:
    from smallarea.results.compare_result import CompareResult

TITLES = {
    "loo": "Leaving out one at a time",
    "waic": "WAIC",
    "cv_area": "Cross-validation by area",
    "cv_block": "Cross-validation by spatial block",
    "thinning": "Thinned survey",
}
_MEANINGS = {
    "loo": "Each {unit} is predicted from all others, given what they say of the model's parameters; by algebra, "
    "without fitting again. Its neighbours stay, so that a model that interpolates looks good.",
    "waic": "An approximation to leaving out one {unit} at a time, from the posterior of the area quantities.",
    "cv_area": "Areas were dealt into {folds} folds at random; each fold is predicted by a model fitted to the others.",
    "cv_block": "Neighbouring areas were put together in {folds} blocks; each block is predicted by a model fitted to "
    "the others. This asks how good predictions are where there is no survey at all.",
    "thinning": "The survey was split {repeats} times into independent parts with {share} and {rest} of its "
    "information; models fitted to the first are scored on the second, in the areas that they have seen. This asks how "
    "good estimates are in sampled areas.",
}
_INFORMATION = (
    ("log_marginal_likelihood", "Log marginal likelihood", 2),
    ("log_bayes_factor", "Log Bayes factor to the best", 2),
    ("log_likelihood", "Log likelihood", 2),
    ("aic", "AIC", 1),
    ("bic", "BIC", 1),
    ("kic", "KIC", 1),
    ("caic", "Conditional AIC", 1),
    ("effective_df", "Effective degrees of freedom", 1),
)


def write_comparison_report(result: CompareResult, path: str, *, written: datetime | None = None) -> None:
    """Write the report of a comparison.

    Parameters
    ----------
    result : CompareResult
        The comparison.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_comparison(result, written=written or datetime.now().astimezone()), path)


def render_comparison(result: CompareResult, *, written: datetime | None = None) -> str:
    """Return the report of a comparison as a self-contained HTML page.

    Parameters
    ----------
    result : CompareResult
        The comparison.
    written : datetime, optional
        The time to print in it; none if not given, so that the same comparison gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    criteria = [_criterion(result, str(name)) for name in result.overall["criterion"].unique()]
    direct = result.settings.get("direct", "")
    context: dict[str, Any] = {
        "title": setting(direct),
        "source": str(result.areas.source) if result.areas is not None else "",
        "written": time_words(written),
        "version": str(result.versions.get("smallarea", "")),
        "lead": _lead(result),
        "warnings": list(result.warnings),
        "chart": difference_chart(result.overall) if len(result.models) > 1 else None,
        "criteria": criteria,
        "information": _information(result.information),
        "models": [
            {"name": str(row.model), "formula": str(row.formula), "method": str(row.method)}
            for row in result.models.itertuples()
        ],
        "call": [(str(k), setting(v)) for k, v in result.settings.items() if v is not None and v != [] and v != {}],
    }
    return page_template("comparison").render(context)


def _lead(result: CompareResult) -> list[str]:
    """Say the whole report in a few sentences."""
    found = [f"{plural(len(result.models), 'model')} were compared on the same direct estimates."]
    if len(result.models) == 1:
        found = ["One model was scored; a comparison takes two."]
    for criterion, best in result.best.items():
        if len(result.models) < 2:
            break
        near = result.indistinct.get(criterion, ())
        tail = (
            f"but {listed(near)} cannot be told from it"
            if near
            else "and the difference to all others is larger than its error"
        )
        found.append(f"{TITLES[criterion]}: {best} predicts best, {tail}.")
    return found


def _criterion(result: CompareResult, criterion: str) -> dict[str, Any]:
    of = result.scores[result.scores["criterion"] == criterion]
    settings = result.settings
    share = as_number(settings.get("thinning_share"))
    text = _MEANINGS[criterion].format(
        unit=settings.get("unit", "area"),
        folds=settings.get("folds", ""),
        repeats=settings.get("repeats", ""),
        share=f"{100.0 * share:.4g}%",
        rest=f"{100.0 * (1.0 - share):.4g}%",
    )
    responses = [name for name in of["response"].unique() if name != ALL]
    several = of["response"].eq(ALL).any()
    main = of[of["response"].eq(ALL)] if several else of
    order = [(ALL, "All responses together")] if several else []
    order += [(name, str(name)) for name in responses]
    tables = [{"title": title if several else "", "rows": _rows(of[of["response"] == name])} for name, title in order]
    best = str(main.iloc[0]["model"])
    return {
        "title": TITLES[criterion],
        "anchor": criterion,
        "text": text,
        "tables": tables,
        "predicts": of["crps"].notna().any(),
        "effective": of["effective"].notna().any(),
        "n": int(main.iloc[0]["n"]),
        "pit": _pit(result, criterion, best),
        "best": best,
    }


def _rows(of: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "model": str(row.model),
            "elpd": fixed(row.elpd, 1),
            "difference": fixed(row.difference, 1),
            "difference_se": fixed(row.difference_se, 1),
            "crps": significant(row.crps),
            "interval_score": significant(row.interval_score),
            "coverage": percent(row.coverage),
            "width": significant(row.width),
            "rmse": significant(row.rmse),
            "effective": fixed(row.effective, 1),
            "k": fixed(row.pareto_k_max, 2),
            "bad": count(row.pareto_k_bad) if as_number(row.pareto_k_bad) > 0 else "",
        }
        for row in of.itertuples()
    ]


def _pit(result: CompareResult, criterion: str, best: str) -> Picture | None:
    cells = result.cells
    chosen = cells[(cells["criterion"] == criterion) & (cells["model"] == best) & (cells["response"] != ALL)]
    if criterion == "thinning":
        return None  # averages over splits are no PIT values
    return pit_charts(
        {str(name): of["pit"].to_numpy(dtype=float) for name, of in chosen.groupby("response", sort=False)}
    )


def _information(table: pd.DataFrame) -> dict[str, Any]:
    shown = [entry for entry in _INFORMATION if entry[0] in table and table[entry[0]].notna().any()]
    return {
        "labels": [label for _, label, _ in shown],
        "rows": [
            {"model": str(row["model"]), "values": [fixed(row[name], digits) for name, _, digits in shown]}
            for row in table.to_dict("records")
        ],
    }
