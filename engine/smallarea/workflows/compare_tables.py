"""What a comparison says beside its scores: the models, their information criteria, warnings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from smallarea.area_level import AreaLevelData
from smallarea.errors import named
from smallarea.results.prediction.score_table import ALL
from smallarea.workflows.compare_fit import ModelFit
from smallarea.workflows.compare_models import Candidate

INFORMATION_COLUMNS = (
    "log_marginal_likelihood",
    "log_marginal_likelihood_se",
    "log_bayes_factor",
    "log_likelihood",
    "restricted_log_likelihood",
    "aic",
    "bic",
    "kic",
    "caic",
    "effective_df",
)
# Above this the penalty of WAIC is a poor approximation (Vehtari, Gelman and Gabry 2017).
WAIC_LIMIT = 0.4


def information_table(candidates: Sequence[Candidate], fits: Sequence[ModelFit]) -> pd.DataFrame:
    """Likelihoods and information criteria, one row a model.

    Parameters
    ----------
    candidates, fits : sequences
        The models and their fits to all data.

    Returns
    -------
    pandas.DataFrame
        ``model`` and ``INFORMATION_COLUMNS``, NaN where a method has none.
    """
    rows = [dict(fit.statistics) for fit in fits]
    frame = pd.DataFrame(rows, dtype=float).reindex(columns=list(INFORMATION_COLUMNS))
    frame["log_bayes_factor"] = frame["log_marginal_likelihood"] - frame["log_marginal_likelihood"].max()
    frame.insert(0, "model", [candidate.name for candidate in candidates])
    return frame


def model_table(candidates: Sequence[Candidate], fits: Sequence[ModelFit], seconds: Sequence[float]) -> pd.DataFrame:
    """Say what was compared, one row a model; see :class:`CompareResult` for the columns."""
    rows = []
    for candidate, fit, took in zip(candidates, fits, seconds, strict=True):
        told = candidate.specification
        rows.append(
            {
                "model": candidate.name,
                "random_effect": told.random_effect,
                "link": told.link if len(told.responses) > 1 else "",
                "order": ", ".join(told.order),
                "iid_part": told.iid_part,
                "covariates": ", ".join(told.covariates),
                "method": told.method,
                "formula": str(told),
                "seconds": took,
                "converged": fit.diagnostics.get("converged", True),
                "ess_min": fit.diagnostics.get("ess_min", np.nan),
                "pareto_k": fit.diagnostics.get("pareto_k", np.nan),
            }
        )
    return pd.DataFrame(rows)


def compare_warnings(
    candidates: Sequence[Candidate],
    data: Sequence[AreaLevelData],
    scores: pd.DataFrame,
    information: pd.DataFrame,
    models: pd.DataFrame,
    cells: pd.DataFrame,
    unit: str,
) -> tuple[str, ...]:
    """Say what a user should know before choosing a model: few sentences, each worth reading.

    Parameters
    ----------
    candidates : sequence of Candidate
        The models.
    data : sequence of AreaLevelData, length K
        The responses.
    scores, information, models, cells : pandas.DataFrame
        The tables of the result.
    unit : {'area', 'cell'}
        What was left out at a time.

    Returns
    -------
    tuple of str
        May be empty.
    """
    found = []
    incomplete = [area for area, ok in zip(data[0].areas, data[0].estimable.tolist(), strict=True) if not ok]
    if incomplete:
        found.append(
            f"{len(incomplete)} areas lack a covariate of some model and are left out of all: {named(incomplete)}."
        )
    found += [
        f"The sampler of model {name!r} did not reach its effective sample size; its scores are unsure."
        for name in models.loc[~models["converged"].astype(bool), "model"]
    ]
    found += [
        f"The sampler of model {name!r} has heavy-tailed weights (Pareto k {k:.2f}, above 0.7)."
        for name, k in models.loc[models["pareto_k"] > 0.7, ["model", "pareto_k"]].itertuples(index=False)
    ]
    bad = cells[cells["pareto_k"] > 0.7]
    for name, of in bad.groupby("model", sort=False):
        places = list(dict.fromkeys(of["area"]))
        what = "1 area is" if len(places) == 1 else f"{len(places)} areas are"
        found.append(
            f"Leave-one-out of model {name!r} is unreliable where {what} left out (Pareto k above 0.7): "
            f"{named(places)}. Trust cv_area instead."
        )
    found += _waic_warning(cells, unit)
    found += _common_warning(scores, cells)
    marginal = information.get("log_marginal_likelihood", pd.Series(dtype=float)).notna()
    bayes = [candidate.specification for candidate in candidates if candidate.specification.method == "bayes"]
    if marginal.sum() > 1 and len({(told.covariates, told.intercept) for told in bayes}) > 1:
        found.append(
            "Log marginal likelihoods can be compared only between models with the same covariates: the flat prior of "
            "the coefficients has no scale. Predictive scores can be compared throughout."
        )
    return tuple(found)


def _waic_warning(cells: pd.DataFrame, unit: str) -> list[str]:
    of = cells[(cells["criterion"] == "waic") & (cells["effective"] > WAIC_LIMIT)]
    if not len(of):
        return []
    worst = of.groupby("model", sort=False).size()
    counts = ", ".join(f"{model} {count}" for model, count in worst.items())
    return [
        f"WAIC is a poor approximation where one {unit} counts for more than {WAIC_LIMIT} parameters ({counts}), as it "
        "does in small area models that trust their direct estimates. Prefer loo."
    ]


def _common_warning(scores: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    found = []
    for criterion, of in cells[cells["response"] != ALL].groupby("criterion", sort=False):
        if criterion == "waic":
            continue
        lost = of[of["log_score"].isna()]
        if len(lost):
            places = list(dict.fromkeys(lost["area"]))
            found.append(
                f"{len(places)} areas are left out of {criterion} because some model has no prediction for them "
                f"without their own direct estimate: {named(places)}."
            )
    empty = scores.loc[scores["n"] == 0, "criterion"].unique().tolist()
    if empty:
        found.append(f"No direct estimate could be scored by {named(empty)}.")
    return found


def printable(value: Any) -> Any:
    """Return a parameter as it would stand in a job."""
    if isinstance(value, pd.DataFrame):
        return f"<{type(value).__name__} with {len(value)} rows>"
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(name): printable(item) for name, item in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Sequence):
        return [printable(item) for item in value]
    return f"<{type(value).__name__}>"
