"""The page of a latent indicator: what measures it, whether the model fits, what the scores are worth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from smallarea._version import __version__
from smallarea.report.formatting import MISSING, count, fixed, level_percent, percent, plural, setting, significant
from smallarea.report.imputation_figures import heat_chart
from smallarea.report.latent_figures import area_chart, loading_chart, score_chart
from smallarea.report.page import page_template, time_words, write_page
from smallarea.survey.imputation.rubin import combine
from smallarea.survey.latent.result import IMPUTATION, LatentIndicatorResult

# Residual correlations beyond this get the strongest colour.
_STRONG = 0.2
_LARGEST = 6
_FEWEST_OF_AN_AREA = 2
_MEASURES = (
    ("chi2", "Chi-squared", 2), ("df", "Degrees of freedom", 0), ("p_value", "p value", 3), ("cfi", "CFI", 3),
    ("tli", "TLI", 3), ("rmsea", "RMSEA", 3), ("rmsea_lower", "RMSEA, lower end (90 %)", 3),
    ("rmsea_upper", "RMSEA, upper end (90 %)", 3), ("srmr", "SRMR", 3), ("aic", "AIC", 1), ("bic", "BIC", 1),
)  # fmt: skip


def write_latent_report(result: LatentIndicatorResult, path: str, *, written: datetime | None = None) -> None:
    """Write the report of a latent indicator.

    Parameters
    ----------
    result : LatentIndicatorResult
        What was found.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_latent(result, written=written or datetime.now().astimezone()), path)


def render_latent(result: LatentIndicatorResult, *, written: datetime | None = None) -> str:
    """Return the report of a latent indicator as a self-contained HTML page.

    Parameters
    ----------
    result : LatentIndicatorResult
        What was found.
    written : datetime, optional
        The time to print in it; without it the same result gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    model, numbers = result.estimates.model, result.fit.numbers
    loadings = _arrows(result, ("=~",))
    table = result.estimates.parameters
    measured = table[table["operator"] == "=~"]
    return page_template("latent").render(
        title=", ".join(model.latent),
        source="",
        written=time_words(written),
        version=__version__,
        lead=_lead(result),
        tiles=[
            (fixed(numbers["srmr"], 3), "SRMR; good below 0.08"),
            (fixed(numbers["cfi"], 3), "CFI; good above 0.90, better 0.95"),
            (fixed(numbers["rmsea"], 3), "RMSEA; good below 0.06"),
            *[(fixed(_reliability(result, name), 2), f"reliability of the scores of {name}") for name in model.latent],
        ],
        warnings=list(result.warnings),
        notes=list(result.notes),
        level=level_percent(result.settings["level"]),
        bayes="r_hat" in table.columns,
        loadings=loadings,
        loading_picture=loading_chart(
            measured["standardised"].to_numpy(dtype=float), measured["se_standardised"].to_numpy(dtype=float)
        ),
        others=_arrows(result, ("~", "~~")),
        effects=_effects(result),
        fit=[(text, fixed(numbers[name], places)) for name, text, places in _MEASURES],
        items=list(enumerate(model.observed, start=1)),
        residuals=heat_chart(result.fit.residuals, _STRONG),
        largest=_largest(result),
        factors=[_factor(result, name) for name in model.latent],
        call=[(name, setting(value)) for name, value in result.settings.items() if value not in (None, "", [], ())],
    )


def _lead(result: LatentIndicatorResult) -> str:
    model = result.estimates.model
    drawn = len(result.plausible_values) // max(len(result.scores), 1)
    return (
        f"{plural(len(result.scores), 'respondent')}, {plural(len(model.observed), 'item')}, "
        f"{plural(len(model.latent), 'factor')}. A factor is what its items have in common; every respondent has a "
        f"score with its standard error, and {drawn} plausible values, from which means of areas are made."
    )


def _arrows(result: LatentIndicatorResult, operators: tuple[str, ...]) -> list[dict[str, str]]:
    table = result.estimates.parameters
    rows = []
    for number, row in enumerate(table[table["operator"].isin(operators)].to_dict("records"), start=1):
        rows.append(
            {
                "number": str(number),
                "left": str(row["left"]),
                "operator": {"=~": "measured by", "~": "has the cause", "~~": "varies with"}[row["operator"]],
                "right": str(row["right"]),
                "label": str(row["label"]),
                **_interval(row),
                "standardised": fixed(row["standardised"], 2),
                "quality": fixed(row["r_hat"], 3) if "r_hat" in row else "",
            }
        )
    return rows


def _interval(row: Mapping[Any, Any]) -> dict[str, str]:
    known = np.isfinite(row["se"])
    return {
        "estimate": significant(row["estimate"]),
        "se": significant(row["se"]) if known else "fixed",
        "interval": f"{significant(row['lower'])} to {significant(row['upper'])}" if known else MISSING,
    }


def _effects(result: LatentIndicatorResult) -> list[dict[str, str]]:
    return [
        {"cause": str(row["cause"]), "outcome": str(row["outcome"]), "kind": str(row["kind"]), **_interval(row)}
        for row in result.estimates.effects.to_dict("records")
    ]


def _largest(result: LatentIndicatorResult) -> list[dict[str, str]]:
    """Pairs of items that the model explains worst."""
    names, residuals = result.estimates.model.observed, result.fit.residuals
    j, k = np.tril_indices(len(names), -1)
    order = np.argsort(-np.abs(residuals[j, k]), kind="stable")[:_LARGEST]
    return [
        {"pair": f"{names[k[place]]} and {names[j[place]]}", "residual": fixed(residuals[j[place], k[place]], 3)}
        for place in order
    ]


def _scores(result: LatentIndicatorResult, factor: str) -> tuple[np.ndarray, np.ndarray]:
    return (
        result.scores[f"score_{factor}"].to_numpy(dtype=float),
        result.scores[f"se_{factor}"].to_numpy(dtype=float),
    )


def _reliability(result: LatentIndicatorResult, factor: str) -> float:
    """Share of the factor's variance that is in the scores."""
    scores, errors = _scores(result, factor)
    return float(scores.var() / (scores.var() + np.mean(errors**2)))


def _factor(result: LatentIndicatorResult, factor: str) -> dict[str, Any]:
    scores, errors = _scores(result, factor)
    share: dict[str, float] = dict(zip(result.areas["factor"], result.areas["share_between"], strict=True))
    areas = _area_means(result, factor)
    return {
        "name": factor,
        "spread": significant(scores.std()),
        "error": significant(float(np.sqrt(np.mean(errors**2)))),
        "range": f"{significant(errors.min())} to {significant(errors.max())}",
        "reliability": fixed(_reliability(result, factor), 2),
        "between": percent(share[factor]) if factor in share else MISSING,
        "picture": score_chart(scores, errors),
        "areas": area_chart(areas["mean"].to_numpy(), areas["se"].to_numpy()) if areas is not None else None,
        "count": count(len(areas)) if areas is not None else "",
        "missing": percent(areas["missing"].median()) if areas is not None else "",
    }


def _area_means(result: LatentIndicatorResult, factor: str) -> pd.DataFrame | None:
    """Means of areas from the plausible values by Rubin's rules; the variance within is that of a random sample."""
    field, weight = result.settings.get("area_field"), result.settings.get("weight")
    if field is None:
        return None
    table = result.plausible_values
    own = table[[IMPUTATION, field, factor]].copy()
    own["w"] = table[weight].to_numpy(dtype=float) if weight is not None else 1.0
    rows = []
    for _, part in own.dropna(subset=[field]).groupby(field, sort=False):
        n = int((part["w"] > 0.0).sum()) // part[IMPUTATION].nunique()
        if n < _FEWEST_OF_AN_AREA:
            continue
        means, variances = zip(*(_mean(one) for _, one in part.groupby(IMPUTATION)), strict=True)
        found = combine(np.array(means), np.array(variances))
        rows.append((float(found.estimate), float(np.sqrt(found.variance)), float(found.fraction_missing)))
    return pd.DataFrame(rows, columns=["mean", "se", "missing"]) if rows else None


def _mean(part: pd.DataFrame) -> tuple[float, float]:
    w, y = part["w"].to_numpy(), part.iloc[:, 2].to_numpy(dtype=float)
    mean = float(np.average(y, weights=w))
    n = int((w > 0.0).sum())
    return mean, float(n / (n - 1) * np.sum((w * (y - mean)) ** 2) / w.sum() ** 2)
