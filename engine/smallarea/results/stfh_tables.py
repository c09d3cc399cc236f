"""Tables of the space-time EBLUP (Marhuenda, Molina and Morales 2013)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level import AreaLevelData, SpaceTimeEblup, StandardisedData
from smallarea.results.tables import FitTables, diagnostics_table, estimates_table

Vector = NDArray[np.float64]

_DESCRIPTIONS = {
    "sd_area": "SD of the innovations of the spatial effect (the same in all periods)",
    "rho_area": "autoregression of the spatial effect over the neighbours",
    "sd_time": "SD of the innovations of the effect of area and period",
    "rho_time": "autoregression of the effect of area and period in time",
}


def stfh_tables(
    data: Sequence[AreaLevelData],
    cells: StandardisedData,
    fit: SpaceTimeEblup,
    mse: Vector,
    *,
    periods: Sequence[str],
    terms: Sequence[str],
    level: float,
) -> FitTables:
    """Tables of a fit.

    Parameters
    ----------
    data : sequence of AreaLevelData, length T
        The periods in the units of the input.
    cells : StandardisedData
        All cells on the standardised scale.
    fit : SpaceTimeEblup
        The fit, on the standardised scale.
    mse : ndarray, shape (N, T)
        Mean squared errors on the standardised scale.
    periods : sequence of str, length T
        Names of the periods.
    terms : sequence of str, length p
        Names of the coefficients.
    level : float
        Coverage of the normal intervals.

    Returns
    -------
    FitTables
        Tables in the units of the input. The shrinkage factors and the residuals of leaving a cell out are not known.
    """
    scale, p = cells.scale, cells.x.shape[1]
    z = float(special.ndtri(0.5 + 0.5 * level))
    estimate = cells.location + scale * fit.estimate
    se = scale * np.sqrt(mse)
    unknown = np.full(estimate.shape, np.nan)
    estimates = estimates_table(data, tuple(periods), estimate, se, estimate - z * se, estimate + z * se, unknown)
    synthetic = cells.location + scale * fit.synthetic
    diagnostics = diagnostics_table(data, estimates, synthetic, unknown).assign(
        area_effect=np.tile(scale * fit.area_effect, len(periods)),
        time_effect=(scale * fit.time_effect).T.ravel(),
        mse=(scale**2 * mse).T.ravel(),
    )
    transform, shift = cells.coefficients_to_input()
    beta = shift + transform @ fit.gls.beta
    beta_se = np.sqrt(np.diag(transform @ fit.gls.covariance @ transform.T))
    bounds = {"lower": beta - z * beta_se, "upper": beta + z * beta_se}
    coefficients = {"response": "", "term": list(terms), "estimate": beta, "se": beta_se, **bounds}
    m = int(fit.observed.sum())
    change = -m * math.log(scale)
    restricted = fit.restricted_log_likelihood - (m - p) * math.log(scale) - float(np.sum(np.log(cells.x_scale)))
    return FitTables(
        estimates,
        diagnostics,
        pd.DataFrame(coefficients),
        _hyperparameters(fit, scale, z),
        {
            "log_likelihood": fit.log_likelihood + change,
            "restricted_log_likelihood": restricted,
            # A criterion is a multiple of parameters minus twice the log likelihood; only that changes with the unit.
            **{name: value - 2.0 * change for name, value in fit.information_criteria.items()},
        },
        {},
        None,
    )


def _hyperparameters(fit: SpaceTimeEblup, scale: float, z: float) -> pd.DataFrame:
    """Give standard deviations errors by the delta method: se(sd) = se(variance) / (2 sd)."""
    found, errors = fit.parameters, np.sqrt(np.diag(fit.parameter_covariance))
    sds = np.sqrt([found.area_variance, found.time_variance])
    with np.errstate(divide="ignore", invalid="ignore"):
        sd_errors = np.where(sds > 0.0, errors[[0, 2]] / (2.0 * sds), np.nan)
    values = np.array([scale * sds[0], found.rho_area, scale * sds[1], found.rho_time])
    se = np.array([scale * sd_errors[0], errors[1], scale * sd_errors[1], errors[3]])
    least, most = np.array([0.0, -1.0, 0.0, -1.0]), np.array([np.inf, 1.0, np.inf, 1.0])
    return pd.DataFrame(
        {
            "name": list(_DESCRIPTIONS),
            "description": list(_DESCRIPTIONS.values()),
            "estimate": values,
            "se": se,
            "lower": np.maximum(values - z * se, least),
            "upper": np.minimum(values + z * se, most),
            "ess": np.nan,
            "prior": "",
        }
    )
