"""The report of a cluster model: what went in, what was learned, whether chains agree, and whether trees pay."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea._version import __version__
from smallarea.report.bartsimp_figures import field_charts, fitted_chart, place_chart, range_unit
from smallarea.report.cluster_model_words import LABELS
from smallarea.report.formatting import count, fixed, level_percent, percent, plural, setting, significant
from smallarea.report.page import page_template, time_words, write_page

if TYPE_CHECKING:
    from smallarea.workflows.bartsimp_result import FitBartsimpResult

_MEANINGS = {
    "sigma_e": "standard deviation of single observations about the surface",
    "range": "distance at which the field's correlation has fallen to about 0.14, in the unit of the plane",
    "sigma_m": "standard deviation of the field",
}
_SIGMA_E = {
    "binomial": "standard deviation, on the scale of logits, by which clusters differ beyond trees and field",
    "negative_binomial": "coefficient of variation by which rates of clusters differ beyond trees and field; the size "
    "of the counts is one over its square",
}
_MOST_COVARIATES = 30


def write_bartsimp_report(result: FitBartsimpResult, path: str, *, written: datetime | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    result : FitBartsimpResult
        The fit.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_bartsimp(result, written=written or datetime.now().astimezone()), path)


def render_bartsimp(result: FitBartsimpResult, *, written: datetime | None = None) -> str:
    """Return the report as a self-contained HTML page.

    Parameters
    ----------
    result : FitBartsimpResult
        The fit.
    written : datetime, optional
        The time to print in it; none if not given, so that the same result gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    posterior, clusters = result.posterior, result.clusters()
    has_field = posterior.settings.field != "none"
    prior = posterior.scales.field_prior
    charts = field_charts(prior, posterior.range.ravel(), posterior.sigma_m.ravel()) if has_field else None
    shown = {name: value for name, value in result.settings.items() if value not in (None, [], "")}
    return page_template("bartsimp").render(
        title=result.settings["outcome_field"],
        source="",
        kicker=LABELS[result.settings["model"]],
        written=time_words(written),
        version=__version__,
        lead=_lead(result),
        tiles=_tiles(result),
        warnings=list(result.warnings),
        notes=[*result.data.notes, *result.field_notes],
        places=place_chart(clusters[["x", "y"]].to_numpy(), clusters["mean"].to_numpy()),
        fitted=fitted_chart(clusters["mean"].to_numpy(), clusters["fitted"].to_numpy()),
        hyperparameters=_hyperparameters(result),
        level=level_percent(result.settings["level"]),
        field=charts,
        thousands=has_field and range_unit(posterior.range) > 1.0,
        covariates=_covariates(result),
        n_covariates=len(result.covariates),
        most=_MOST_COVARIATES,
        diagnostics=_diagnostics(result),
        comparison=_comparison(result),
        call=[(name, setting(value)) for name, value in shown.items()],
    )


def _lead(result: FitBartsimpResult) -> str:
    summary, clusters = result.summary, result.posterior.clusters
    sizes = clusters.sizes
    of_field = " plus a Matérn field (smoothness 1)" if result.posterior.settings.field != "none" else ""
    each = "one each" if sizes.max() == 1.0 else f"{sizes.min():.0f} to {sizes.max():.0f} each"
    likelihood = result.data.likelihood
    if likelihood == "negative_binomial":
        each = f"counts at exposures of {significant(sizes.min())} to {significant(sizes.max())}"
    elif likelihood == "binomial":
        each = f"binomial trials, {each}"
    return (
        f"A sum of {plural(result.settings['trees'], 'regression tree')}{of_field}, fitted to "
        f"{plural(summary['n_clusters'], 'cluster')} with {plural(summary['n_observations'], 'observation')} ({each}) "
        f"and {plural(summary['n_covariates'], 'covariate')}. It says what is expected at a place with given "
        "covariates; estimates of areas come from predicting a surface and averaging its draws."
    )


def _tiles(result: FitBartsimpResult) -> list[tuple[str, str]]:
    summary = result.summary
    found = [(count(summary["n_clusters"]), "clusters")]
    if "range" in summary:
        found.append((significant(summary["range"]), "median range of the field"))
    return [
        *found,
        (fixed(summary["r_hat_max"], 2), "largest R-hat (1.05 or less is good)"),
        (count(round(summary["ess_min"])), "fewest effective draws"),
    ]


def _hyperparameters(result: FitBartsimpResult) -> list[dict[str, str]]:
    likelihood = result.data.likelihood
    meanings = _MEANINGS | ({"sigma_e": _SIGMA_E[likelihood]} if likelihood in _SIGMA_E else {})
    return [
        {
            "name": row["parameter"],
            "meaning": meanings[row["parameter"]],
            "median": significant(row["median"]),
            "interval": f"{significant(row['lower'])} to {significant(row['upper'])}",
            "prior": row["prior"],
            "r_hat": fixed(row["r_hat"], 3),
            "ess": count(round(row["ess"])) if np.isfinite(row["ess"]) else "–",
        }
        for row in result.hyperparameters.to_dict("records")
    ]


def _covariates(result: FitBartsimpResult) -> list[dict[str, str]]:
    return [
        {
            "name": row["covariate"],
            "share": percent(row["share"]),
            "interval": f"{percent(row['lower'])} to {percent(row['upper'])}",
            "used": percent(row["used"]),
        }
        for row in result.covariates.head(_MOST_COVARIATES).to_dict("records")
    ]


def _diagnostics(result: FitBartsimpResult) -> dict[str, Any]:
    d = result.posterior.diagnostics
    leaves = result.posterior.forest.leaf_counts()
    return {
        "f_r_hat": fixed(float(np.nanmax(d.f_r_hat)), 3),
        "f_median": count(round(float(np.nanmedian(d.f_ess)))),
        "f_low": count(round(float(np.nanquantile(d.f_ess, 0.05)))),
        "f_points": count(len(d.f_ess)),
        "leaves": fixed(float(leaves.mean()), 1),
        "acceptance": [(kind, percent(share)) for kind, share in d.acceptance.items()],
    }


def _comparison(result: FitBartsimpResult) -> dict[str, Any] | None:
    if result.comparison is None:
        return None
    rows = [
        {"name": LABELS[row["model"]], "coverage": percent(row["coverage"])}
        | {name: significant(row[name]) for name in ("rmse", "width", "interval_score", "crps")}
        for row in result.comparison.table.to_dict("records")
    ]
    return {"rows": rows, "verdicts": result.comparison.verdicts, "notes": result.comparison.notes}
