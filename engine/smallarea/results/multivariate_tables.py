"""Tables of the multivariate EBLUP with independent area effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, StackedData
from smallarea.area_level.mixed import information_criteria
from smallarea.area_level.multivariate_eblup import MultivariateEblup
from smallarea.results.tables import FitTables, description, diagnostics_table, estimates_table, leave_one_out

Vector = NDArray[np.float64]


def multivariate_tables(
    data: Sequence[AreaLevelData],
    stacked: StackedData,
    specification: AreaLevelSpecification,
    fit: MultivariateEblup,
    *,
    level: float,
) -> FitTables:
    """Tables of a multivariate fit.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses in the units of the input.
    stacked : StackedData
        The same on the standardised scale.
    specification : AreaLevelSpecification
        The model.
    fit : MultivariateEblup
        A fit to direct estimates less the standardised data's locations, in the units of the input, on standardised
        covariates.
    level : float
        Coverage of the normal intervals.

    Returns
    -------
    FitTables
        Tables in the units of the input.
    """
    z = float(special.ndtri(0.5 + 0.5 * level))
    location, scale = (np.array([getattr(one, name) for one in stacked.responses]) for name in ("location", "scale"))
    mse = np.einsum("nkk->nk", fit.mse)
    estimate = location + fit.estimate
    # At the boundary the terms that allow for the estimation of Sigma may outweigh the rest: then there is no error.
    se = np.sqrt(np.where(mse > 0.0, mse, np.nan))
    estimates = estimates_table(
        data, specification.responses, estimate, se, estimate - z * se, estimate + z * se, fit.gamma
    )
    residual, variance = leave_one_out(
        stacked, fit.estimate / scale, (fit.g1 + fit.g2) / np.multiply.outer(scale, scale)
    )
    parts = {name: np.einsum("nkk->nk", getattr(fit, name)).T.ravel() for name in ("mse", "g1", "g2", "g3")}
    diagnostics = diagnostics_table(data, estimates, location + fit.synthetic, residual / np.sqrt(variance))
    return FitTables(
        estimates,
        diagnostics.assign(**parts),
        _coefficients(stacked, specification, fit, z),
        _hyperparameters(specification, fit, z),
        _statistics(stacked, specification, fit),
        {},
        None,
    )


def _coefficients(
    stacked: StackedData, specification: AreaLevelSpecification, fit: MultivariateEblup, z: float
) -> pd.DataFrame:
    parts = []
    for name, response, at in zip(specification.responses, stacked.responses, stacked.terms, strict=True):
        transform, shift = response.coefficients_to_input()
        # The fit is in units of the input already; only covariates were standardised.
        transform = transform / response.scale
        beta = shift + transform @ fit.gls.beta[at]
        se = np.sqrt(np.diag(transform @ fit.gls.covariance[at, at] @ transform.T))
        columns = {"estimate": beta, "se": se, "lower": beta - z * se, "upper": beta + z * se}
        parts.append(pd.DataFrame({"response": name, "term": specification.terms, **columns}))
    return pd.concat(parts, ignore_index=True)


def _hyperparameters(specification: AreaLevelSpecification, fit: MultivariateEblup, z: float) -> pd.DataFrame:
    if fit.structure in ("ar1", "har1"):
        values, variance = fit.parameters, np.diag(fit.parameter_covariance)
    else:
        values, variance = _standard_deviations(specification, fit)
    se = np.sqrt(np.where((variance > 0.0) & np.isfinite(variance), variance, np.nan))
    is_sd = np.array([parameter.is_sd for parameter in specification.layout])
    words = [
        "correlation between the area effects of two responses that follow each other"
        if parameter.kind == "rho"
        else description(specification, parameter)
        for parameter in specification.layout
    ]
    return pd.DataFrame(
        {
            "name": specification.hyperparameters,
            "description": words,
            "estimate": values,
            "se": se,
            "lower": np.maximum(values - z * se, np.where(is_sd, 0.0, -1.0)),
            "upper": np.minimum(values + z * se, np.where(is_sd, np.inf, 1.0)),
            "ess": np.nan,
            "prior": "",
        }
    )


def _standard_deviations(specification: AreaLevelSpecification, fit: MultivariateEblup) -> tuple[Vector, Vector]:
    """Return SDs and correlations of Sigma with their variances by the delta method; not finite at the boundary."""
    k = len(fit.sigma)
    cells = [(i, i) for i in range(k)]
    if fit.structure == "unstructured":
        cells = [(i, j) for i in range(k) for j in range(i + 1)]
    place = {cell: at for at, cell in enumerate(cells)}
    values = np.empty(len(specification.layout))
    slope = np.zeros((len(values), len(cells)))
    sd = np.sqrt(np.diag(fit.sigma))
    with np.errstate(divide="ignore", invalid="ignore"):
        for at, parameter in enumerate(specification.layout):
            if parameter.is_sd:
                i = parameter.responses[0]
                values[at], slope[at, place[i, i]] = sd[i], 0.5 / sd[i]
                continue
            i, j = parameter.responses
            values[at] = fit.sigma[i, j] / (sd[i] * sd[j])
            slope[at, place[j, i]] = 1.0 / (sd[i] * sd[j])
            for own in (i, j):
                slope[at, place[own, own]] = -0.5 * values[at] / sd[own] ** 2
        variance = np.einsum("ap,pq,aq->a", slope, fit.parameter_covariance, slope)
    return values, variance


def _statistics(
    stacked: StackedData, specification: AreaLevelSpecification, fit: MultivariateEblup
) -> dict[str, float]:
    change = sum(float(np.sum(np.log(response.x_scale))) for response in stacked.responses)
    parameters = len(fit.gls.beta) + len(specification.layout)
    areas = int(stacked.observed.any(axis=1).sum())
    return {
        "log_likelihood": fit.log_likelihood,
        "restricted_log_likelihood": fit.restricted_log_likelihood - change,
        **information_criteria(fit.log_likelihood, parameters, areas),
    }
