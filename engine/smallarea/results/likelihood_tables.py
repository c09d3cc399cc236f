"""Tables of a fit by maximum likelihood with a spatial effect or several responses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, StackedData
from smallarea.area_level.likelihood import LikelihoodFit
from smallarea.area_level.mixed import information_criteria
from smallarea.area_level.summaries import shrinkage_weights
from smallarea.results.tables import (
    FitTables,
    coefficient_blocks,
    description,
    diagnostics_table,
    estimates_table,
    leave_one_out,
    scaled_to_input,
    to_input,
    units,
)

Vector = NDArray[np.float64]


def likelihood_tables(
    data: Sequence[AreaLevelData],
    stacked: StackedData,
    specification: AreaLevelSpecification,
    fit: LikelihoodFit,
    *,
    level: float,
) -> FitTables:
    """Tables of a fit by REML or ML.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses in the units of the input.
    stacked : StackedData
        The same on the standardised scale.
    specification : AreaLevelSpecification
        The model.
    fit : LikelihoodFit
        The fit.
    level : float
        Coverage of the normal intervals.

    Returns
    -------
    FitTables
        Tables in the units of the input.
    """
    z = float(special.ndtri(0.5 + 0.5 * level))
    estimate = to_input(stacked, fit.estimate)
    se = scaled_to_input(stacked, np.sqrt(fit.mse))
    estimates = estimates_table(
        data,
        specification.responses,
        estimate,
        se,
        estimate - z * se,
        estimate + z * se,
        shrinkage_weights(stacked, fit.known_beta),
    )
    residual, variance = leave_one_out(stacked, fit.estimate, fit.covariance)
    diagnostics = diagnostics_table(data, estimates, to_input(stacked, fit.synthetic), residual / np.sqrt(variance))
    g1 = np.einsum("nkk->nk", fit.known_beta)
    parts = {"g1": g1, "g2": np.einsum("nkk->nk", fit.covariance) - g1, "g3": fit.g3}
    square = scaled_to_input(stacked, np.ones(stacked.shape)) ** 2
    diagnostics = diagnostics.assign(
        mse=(square * fit.mse).T.ravel(), **{name: (square * part).T.ravel() for name, part in parts.items()}
    )
    return FitTables(
        estimates,
        diagnostics,
        _coefficients(stacked, specification, fit, z),
        _hyperparameters(stacked, specification, fit, z),
        _statistics(stacked, specification, fit),
        {},
        None,
    )


def _coefficients(
    stacked: StackedData, specification: AreaLevelSpecification, fit: LikelihoodFit, z: float
) -> pd.DataFrame:
    parts = []
    for name, response, at in coefficient_blocks(specification, stacked):
        transform, shift = response.coefficients_to_input()
        beta = shift + transform @ fit.beta[at]
        se = np.sqrt(np.diag(transform @ fit.beta_covariance[at, at] @ transform.T))
        columns = {"estimate": beta, "se": se, "lower": beta - z * se, "upper": beta + z * se}
        parts.append(pd.DataFrame({"response": name, "term": specification.terms, **columns}))
    return pd.concat(parts, ignore_index=True)


def _hyperparameters(
    stacked: StackedData, specification: AreaLevelSpecification, fit: LikelihoodFit, z: float
) -> pd.DataFrame:
    factors = units(specification, stacked)
    values, se = fit.values * factors, fit.values_se * np.abs(factors)
    least = np.array([0.0 if parameter.is_sd else -np.inf for parameter in specification.layout])
    bounded = np.array([parameter.is_bounded for parameter in specification.layout])
    least, most = np.where(bounded, -1.0, least), np.where(bounded, 1.0, np.inf)
    return pd.DataFrame(
        {
            "name": specification.hyperparameters,
            "description": [description(specification, parameter) for parameter in specification.layout],
            "estimate": values,
            "se": se,
            "lower": np.maximum(values - z * se, least),
            "upper": np.minimum(values + z * se, most),
            "ess": np.nan,
            "prior": "",
        }
    )


def _statistics(stacked: StackedData, specification: AreaLevelSpecification, fit: LikelihoodFit) -> dict[str, float]:
    observed, parameters, change, restricted_change = 0, len(specification.layout), 0.0, 0.0
    for response in stacked.responses:
        observed += int(response.sampled.sum())
        change -= int(response.sampled.sum()) * math.log(response.scale)
    for _, response, _ in coefficient_blocks(specification, stacked):
        parameters += response.x.shape[1]
        restricted_change += response.x.shape[1] * math.log(response.scale) - float(np.sum(np.log(response.x_scale)))
    log_likelihood = fit.log_likelihood + change
    return {
        "log_likelihood": log_likelihood,
        "restricted_log_likelihood": fit.restricted_log_likelihood + change + restricted_change,
        **information_criteria(log_likelihood, parameters, observed),
    }
