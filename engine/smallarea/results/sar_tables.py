"""Tables of the spatial EBLUP (SAR area effects)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import special

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, StandardisedData, stack
from smallarea.area_level.sar import SarEblup
from smallarea.results.tables import FitTables, diagnostics_table, estimates_table, leave_one_out


def sar_tables(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    fit: SarEblup,
    *,
    level: float,
) -> FitTables:
    """Tables of a SAR fit.

    Parameters
    ----------
    data, scaled : AreaLevelData, StandardisedData
        The data in both scales.
    specification : AreaLevelSpecification
        The model.
    fit : SarEblup
        The fit.
    level : float
        Coverage of the normal intervals.

    Returns
    -------
    FitTables
        Tables in the units of the input.
    """
    scale, m, p = scaled.scale, int(scaled.sampled.sum()), scaled.x.shape[1]
    z = float(special.ndtri(0.5 + 0.5 * level))
    estimate = scaled.location + scale * fit.estimate
    # The term for the curvature in rho can outweigh the rest: such an estimate of the error is none, and not zero.
    se = scale * np.sqrt(np.where(fit.mse > 0.0, fit.mse, np.nan))
    columns = (values[:, None] for values in (estimate, se, estimate - z * se, estimate + z * se, fit.gamma))
    estimates = estimates_table([data], specification.responses, *columns)
    given = (fit.g1 + fit.g2)[:, None, None]
    residual, variance = leave_one_out(stack([scaled]), fit.estimate[:, None], given)
    synthetic = scaled.location + scale * fit.synthetic[:, None]
    transform, shift = scaled.coefficients_to_input()
    beta = shift + transform @ fit.gls.beta
    beta_se = np.sqrt(np.diag(transform @ fit.gls.covariance @ transform.T))
    bounds = {"lower": beta - z * beta_se, "upper": beta + z * beta_se}
    change = -m * math.log(scale)
    restricted = fit.restricted_log_likelihood - (m - p) * math.log(scale) - float(np.sum(np.log(scaled.x_scale)))
    # Each criterion is a multiple of parameters minus twice the log likelihood, so only that part changes with the
    # unit.
    criteria = {name: value - 2.0 * change for name, value in fit.information_criteria.items()}
    parts = {name: scale**2 * getattr(fit, name) for name in ("g1", "g2", "g3", "g4")}
    return FitTables(
        estimates,
        diagnostics_table([data], estimates, synthetic, residual / np.sqrt(variance)).assign(
            mse=scale**2 * fit.mse, **parts
        ),
        pd.DataFrame(
            {
                "response": specification.responses[0],
                "term": specification.terms,
                "estimate": beta,
                "se": beta_se,
                **bounds,
            }
        ),
        _hyperparameters(fit, scale, z),
        {
            "model_variance": fit.model_variance * scale**2,
            "log_likelihood": fit.log_likelihood + change,
            "restricted_log_likelihood": restricted,
            **criteria,
        },
        {},
        None,
    )


def _hyperparameters(fit: SarEblup, scale: float, z: float) -> pd.DataFrame:
    sd = scale * math.sqrt(fit.model_variance)
    with np.errstate(invalid="ignore", divide="ignore"):
        sd_se = scale * np.sqrt(fit.model_variance_error) / (2.0 * np.sqrt(fit.model_variance))
        rho_se = np.sqrt(fit.parameter_covariance[1, 1])
    values, errors = np.array([sd, fit.rho]), np.array([sd_se if fit.model_variance > 0.0 else np.nan, rho_se])
    return pd.DataFrame(
        {
            "name": ["sd_phi", "rho"],
            "description": ["SD of the innovations of the SAR effect", "autoregression parameter of the SAR effect"],
            "estimate": values,
            "se": errors,
            "lower": np.maximum(values - z * errors, [0.0, -1.0]),
            "upper": np.minimum(values + z * errors, [np.inf, 1.0]),
            "ess": np.nan,
            "prior": "",
        }
    )
