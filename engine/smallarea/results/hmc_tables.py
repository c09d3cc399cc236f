"""Tables of a fit by Hamiltonian Monte Carlo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, StackedData
from smallarea.area_level.hmc import HmcPosterior, Observations
from smallarea.area_level.summaries import tails
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.tables import (
    FitTables,
    description,
    diagnostics_table,
    estimates_table,
    units,
)

Vector = NDArray[np.float64]


def hmc_tables(
    data: Sequence[AreaLevelData],
    stacked: StackedData | None,
    observations: Observations,
    specification: AreaLevelSpecification,
    fit: HmcPosterior,
    *,
    level: float,
    attributes: Mapping[str, Any],
) -> FitTables:
    """Tables of a fit by Hamiltonian Monte Carlo.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses in the units of the input; of counts, shares or rates with the errors that counting gives them.
    stacked : StackedData or None
        The same on the standardised scale; None unless the likelihood is normal.
    observations : Observations
        What was fitted.
    specification : AreaLevelSpecification
        The model.
    fit : HmcPosterior
        The fit.
    level : float
        Coverage of the intervals of coefficients and hyperparameters.
    attributes : mapping
        What to store beside the draws.

    Returns
    -------
    FitTables
        Tables in the units of the input. Shrinkage factors and standardised residuals are NaN: both need the
        conditional variances of the areas given the hyperparameters, which draws do not give.
    """
    location, scale = observations.location, observations.scale
    unknown = np.full(fit.mean.shape, np.nan)
    estimates = estimates_table(
        data,
        specification.responses,
        location + scale * fit.mean,
        scale * fit.sd,
        location + scale * fit.lower,
        location + scale * fit.upper,
        unknown,
    )
    factors = units(specification, stacked) if stacked is not None else np.ones(len(specification.layout))
    by_name = dict(zip(specification.hyperparameters, factors.tolist(), strict=True))
    own = np.array([by_name[name] for name in fit.names])
    return FitTables(
        estimates,
        diagnostics_table(data, estimates, location + scale * fit.synthetic, unknown),
        _coefficients(specification, observations, fit, level),
        _hyperparameters(specification, fit, own, level),
        {},
        _diagnostics(fit),
        _draws(data, observations, specification, fit, own, attributes),
    )


def _coefficients(
    specification: AreaLevelSpecification, observations: Observations, fit: HmcPosterior, level: float
) -> pd.DataFrame:
    transform, shift = observations.coefficients_to_input()
    beta = shift + fit.beta @ transform.T
    lower, upper = np.quantile(beta, tails(level), axis=0)
    parts = []
    blocks = list(zip(specification.responses, observations.terms, strict=True))
    # Periods of one quantity share their coefficients.
    common = len(blocks) > 1 and len({at.start for at in observations.terms}) == 1
    for name, at in blocks[:1] if common else blocks:
        columns = {"estimate": beta.mean(axis=0)[at], "se": beta.std(axis=0, ddof=1)[at]}
        parts.append(
            pd.DataFrame(
                {"response": name, "term": specification.terms, **columns, "lower": lower[at], "upper": upper[at]}
            )
        )
    return pd.concat(parts, ignore_index=True)


def _hyperparameters(
    specification: AreaLevelSpecification, fit: HmcPosterior, factors: Vector, level: float
) -> pd.DataFrame:
    layout = {parameter.name: parameter for parameter in specification.layout}
    rows = []
    for at, name in enumerate(fit.names):
        values = fit.hyperparameters[:, at] * factors[at]
        low, high = np.quantile(values, tails(level))
        rows.append(
            {
                "name": name,
                "description": description(specification, layout[name]),
                "estimate": float(values.mean()),
                "se": float(values.std(ddof=1)),
                "lower": float(low),
                "upper": float(high),
                "ess": fit.diagnostics.ess.get(name, np.nan),
                "prior": str(specification.priors[name]),
            }
        )
    columns = ["name", "description", "estimate", "se", "lower", "upper", "ess", "prior"]
    return pd.DataFrame(rows, columns=columns)


def _diagnostics(fit: HmcPosterior) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if fit.diagnostics.ess:
        found["ess_min"] = min(fit.diagnostics.ess.values())
        found["r_hat_max"] = max(fit.diagnostics.r_hat.values())
    return {
        **found,
        "area_ess_min": fit.diagnostics.theta_ess_min,
        "area_r_hat_max": fit.diagnostics.theta_r_hat_max,
        "divergences": fit.diagnostics.divergences,
        "depth_hits": fit.diagnostics.depth_hits,
        "leapfrogs": fit.diagnostics.leapfrogs,
        "chains": fit.chains,
        "draws": len(fit.theta),
    }


def _draws(
    data: Sequence[AreaLevelData],
    observations: Observations,
    specification: AreaLevelSpecification,
    fit: HmcPosterior,
    factors: Vector,
    attributes: Mapping[str, Any],
) -> PosteriorDraws:
    transform, shift = observations.coefficients_to_input()
    beta = shift + fit.beta @ transform.T
    gone = np.column_stack([~response.estimable for response in data])
    theta = fit.theta
    if gone.any():
        theta = theta.copy()
        theta[:, gone] = np.nan
    return PosteriorDraws(
        data[0].areas,
        specification.responses,
        specification.terms,
        theta,
        np.stack([beta[:, at] for at in observations.terms], axis=2),
        {name: fit.hyperparameters[:, at] * factors[at] for at, name in enumerate(fit.names)},
        np.column_stack([response.direct for response in data]),
        np.column_stack([response.variance for response in data]),
        attributes,
        fit.chains,
    )
