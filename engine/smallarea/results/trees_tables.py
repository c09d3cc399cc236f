"""Tables of a fit with regression trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData
from smallarea.area_level.summaries import tails
from smallarea.area_trees import AreaTreesPosterior
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.tables import FitTables, description, diagnostics_table, estimates_table

Vector = NDArray[np.float64]


def trees_tables(
    data: AreaLevelData,
    response: str,
    fit: AreaTreesPosterior,
    *,
    level: float,
    std_residual: Vector,
    attributes: Mapping[str, Any],
) -> FitTables:
    """Tables of a fit with regression trees, in the units of the input.

    Parameters
    ----------
    data : AreaLevelData
        The data.
    response : str
        Name of the direct estimates.
    fit : AreaTreesPosterior
        The fit.
    level : float
        Coverage of the intervals.
    std_residual : ndarray, shape (N,)
        Residuals of leaving the area out over their standard deviations, NaN where not sampled.
    attributes : mapping
        What to store beside the draws.

    Returns
    -------
    FitTables
        Trees have no coefficients, so that table is empty.
    """
    lower, upper = np.quantile(fit.theta, tails(level), axis=0)
    columns = (fit.theta.mean(axis=0), fit.theta.std(axis=0, ddof=1), lower, upper, fit.shrinkage)
    estimates = estimates_table([data], [response], *(column[:, None] for column in columns))
    theta = np.where(data.estimable, fit.theta, np.nan)
    draws = PosteriorDraws(
        data.areas,
        (response,),
        (),
        theta[:, :, None],
        np.empty((len(theta), 0, 1)),
        {name: values.ravel() for name, values in fit.hyperparameters.items()},
        data.direct[:, None],
        data.variance[:, None],
        attributes,
        fit.chains,
    )
    return FitTables(
        estimates,
        diagnostics_table([data], estimates, fit.trees.mean(axis=0)[:, None], std_residual[:, None]),
        pd.DataFrame(columns=["response", "term", "estimate", "se", "lower", "upper"]),
        _hyperparameters(fit, level),
        {},
        _diagnostics(fit),
        draws,
    )


def inclusion_table(fit: AreaTreesPosterior, level: float) -> pd.DataFrame:
    """How often trees split on each covariate, the most used first.

    Parameters
    ----------
    fit : AreaTreesPosterior
        The fit.
    level : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        ``covariate``, ``share`` of all rules, ``lower``, ``upper``, ``used`` (share of the draws with a rule).
    """
    names = fit.cuts.names
    counts = fit.forest.rule_counts(len(names))
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    lower, upper = np.quantile(shares, tails(level), axis=0)
    table = pd.DataFrame(
        {
            "covariate": names,
            "share": shares.mean(axis=0),
            "lower": lower,
            "upper": upper,
            "used": (counts > 0).mean(axis=0),
        }
    )
    return table.sort_values("share", ascending=False, kind="stable").reset_index(drop=True)


def _hyperparameters(fit: AreaTreesPosterior, level: float) -> pd.DataFrame:
    rows = []
    for parameter in fit.specification.layout:
        values = fit.hyperparameters[parameter.name].ravel()
        low, high = np.quantile(values, tails(level))
        rows.append(
            {
                "name": parameter.name,
                "description": description(fit.specification, parameter),
                "estimate": float(values.mean()),
                "se": float(values.std(ddof=1)),
                "lower": float(low),
                "upper": float(high),
                "ess": fit.diagnostics.ess.get(parameter.name, np.nan),
                "prior": str(fit.specification.priors[parameter.name]),
            }
        )
    return pd.DataFrame(rows)


def _diagnostics(fit: AreaTreesPosterior) -> dict[str, Any]:
    looked = fit.diagnostics
    found: dict[str, Any] = {}
    if looked.ess:
        found["ess_min"] = min(looked.ess.values())
        found["r_hat_max"] = max(looked.r_hat.values())
    return {
        **found,
        "area_ess_min": float(np.nanmin(looked.area_ess)),
        "area_r_hat_max": float(np.nanmax(looked.area_r_hat)),
        "leaves": float(fit.forest.leaf_counts().mean()),
        "chains": fit.chains,
        "draws": len(fit.theta),
    }
