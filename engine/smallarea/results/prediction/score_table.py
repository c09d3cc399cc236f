"""Scores of models side by side: sums, means, and paired differences with their standard errors.

Models are compared on the cells that all of them predict. The difference of two models is a sum of differences cell by
cell, and its standard error ``sqrt(n Var(difference))`` that of such a sum (Vehtari, Gelman and Gabry 2017, equation
24): much smaller than the standard errors of the two sums, because easy and hard cells are so for both. It takes the
cells as independent; with few cells, or differences below about 4, it is too small (Sivula, Magnusson and Vehtari
2020).

References
----------
Sivula, T., Magnusson, M. and Vehtari, A. (2020). Uncertainty in Bayesian leave-one-out cross-validation based model
comparison. arXiv:2008.10296.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.results.prediction.psis import UNRELIABLE_K

Vector = NDArray[np.float64]

ALL = "all"
SCORE_COLUMNS = (
    "criterion",
    "model",
    "response",
    "n",
    "elpd",
    "elpd_se",
    "difference",
    "difference_se",
    "crps",
    "interval_score",
    "coverage",
    "width",
    "rmse",
    "mae",
    "mse_truth",
    "dawid_sebastiani",
    "effective",
    "pareto_k_max",
    "pareto_k_bad",
)
_MEANS = ("crps", "interval_score", "width", "dawid_sebastiani")


def sum_with_error(values: Vector) -> tuple[float, float]:
    """Sum over what is not NaN, and the standard error of a sum of as many independent terms."""
    used = values[np.isfinite(values)]
    if not used.size:
        return math.nan, math.nan
    return float(used.sum()), math.sqrt(used.size * float(used.var(ddof=1))) if used.size > 1 else math.nan


def score_table(cells: pd.DataFrame, responses: Sequence[str]) -> pd.DataFrame:
    """Summarise scores by criterion, model and response.

    Parameters
    ----------
    cells : pandas.DataFrame
        One row a criterion, model, area and response (rows with the response ``all`` hold joint log scores of areas),
        with ``log_score`` and the scores of :class:`Predictions`.
    responses : sequence of str
        The responses.

    Returns
    -------
    pandas.DataFrame
        Columns ``SCORE_COLUMNS``; with several responses the rows ``all`` hold the joint log score where areas were
        predicted as a whole, otherwise the sum over the cells, and no scores that depend on a unit. Within a criterion
        the best model comes first: that with the largest ``elpd`` over all responses.
    """
    parts = []
    for criterion, of in cells.groupby("criterion", sort=False):
        for response in [*responses, *([ALL] if len(responses) > 1 else [])]:
            chosen = of[of["response"] == response]
            if not len(chosen) and response == ALL:
                chosen = of
            if not len(chosen):
                continue
            details = of[of["response"] != ALL]
            parts.append(_rows(str(criterion), response, chosen, details if response == ALL else None))
    if not parts:
        return pd.DataFrame(columns=list(SCORE_COLUMNS))
    table = pd.concat(parts, ignore_index=True)
    return _ordered(table, ALL if len(responses) > 1 else responses[0])


def _rows(criterion: str, response: str, cells: pd.DataFrame, details: pd.DataFrame | None) -> pd.DataFrame:
    """One row a model; differences are to the best of them. `details` are the cells of a row over all responses."""
    keys = ["area", "response"]
    wide = cells.pivot(index=keys, columns="model", values="log_score")
    wide = wide[list(dict.fromkeys(cells["model"]))].dropna()
    sums = {str(model): sum_with_error(wide[model].to_numpy()) for model in wide.columns}
    best = max(sums, key=lambda model: sums[model][0] if math.isfinite(sums[model][0]) else -math.inf)
    rows = []
    for model, (elpd, error) in sums.items():
        difference, difference_error = sum_with_error((wide[model] - wide[best]).to_numpy())
        row = {
            "criterion": criterion,
            "model": model,
            "response": response,
            "n": len(wide),
            "elpd": elpd,
            "elpd_se": error,
            "difference": difference,
            "difference_se": 0.0 if model == best else difference_error,
        }
        own = cells[cells["model"] == model].set_index(keys).loc[wide.index]
        if details is None:
            row |= _means(own)
        else:
            row["coverage"] = _mean(details.loc[details["model"] == model, "covered"])
        rows.append({**row, **_reliability(own)})
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _means(own: pd.DataFrame) -> dict[str, float]:
    return {
        **{name: _mean(own[name]) for name in _MEANS},
        "coverage": _mean(own["covered"]),
        "rmse": math.sqrt(_mean(own["squared_error"])),
        "mae": _mean(own["absolute_error"]),
        "mse_truth": _mean(own["squared_error_of_truth"]),
    }


def _reliability(own: pd.DataFrame) -> dict[str, float]:
    k = own["pareto_k"].to_numpy(dtype=float)
    effective = own["effective"].to_numpy(dtype=float)
    known = k[~np.isnan(k)]
    return {
        "effective": float(np.nansum(effective)) if np.isfinite(effective).any() else math.nan,
        "pareto_k_max": float(known.max()) if known.size else math.nan,
        "pareto_k_bad": float(np.sum(known > UNRELIABLE_K)) if known.size else math.nan,
    }


def _mean(column: pd.Series) -> float:
    values = column.to_numpy(dtype=float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan


def _ordered(table: pd.DataFrame, main: str) -> pd.DataFrame:
    """Sort the models of each criterion by the score that counts, and keep the responses in their order."""
    parts = []
    for _, of in table.groupby("criterion", sort=False):
        lead = of[of["response"] == main].sort_values("elpd", ascending=False, kind="stable")
        place = {model: at for at, model in enumerate(lead["model"])}
        parts.append(of.iloc[np.argsort(of["model"].map(place).to_numpy(), kind="stable")])
    return pd.concat(parts, ignore_index=True)
