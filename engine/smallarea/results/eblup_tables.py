"""Tables of the frequentist fit with independent area effects."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, Eblup, StandardisedData, stack
from smallarea.results.tables import FitTables, description, diagnostics_table, estimates_table, leave_one_out

Vector = NDArray[np.float64]


def eblup_tables(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    fit: Eblup,
    *,
    level: float,
) -> FitTables:
    """Tables of a frequentist fit.

    Parameters
    ----------
    data, scaled : AreaLevelData, StandardisedData
        The data in both scales.
    specification : AreaLevelSpecification
        The model.
    fit : Eblup
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
    # The bias terms of fh, amrl and ampl can outweigh the rest: such an estimate of the error is none, and not zero.
    se = scale * np.sqrt(np.where(fit.mse > 0.0, fit.mse, np.nan))
    columns = (values[:, None] for values in (estimate, se, estimate - z * se, estimate + z * se, fit.gamma))
    estimates = estimates_table([data], specification.responses, *columns)
    # What the hyperparameters leave uncertain: g1 + g2 (NaN where not sampled, and not needed there).
    given = (fit.g1 + fit.g2)[:, None, None]
    residual, variance = leave_one_out(stack([scaled]), fit.estimate[:, None], given)
    synthetic = scaled.location + scale * fit.synthetic
    transform, shift = scaled.coefficients_to_input()
    beta = shift + transform @ fit.gls.beta
    beta_se = np.sqrt(np.diag(transform @ fit.gls.covariance @ transform.T))
    coefficients = pd.DataFrame(
        {
            "response": specification.responses[0],
            "term": specification.terms,
            "estimate": beta,
            "se": beta_se,
            "lower": beta - z * beta_se,
            "upper": beta + z * beta_se,
        }
    )
    sd = scale * np.sqrt(fit.model_variance)
    sd_se = scale * np.sqrt(fit.model_variance_error / fit.model_variance) / 2.0 if fit.model_variance > 0 else np.nan
    hyperparameters = pd.DataFrame(
        {
            "name": ["sd_delta"],
            "description": [description(specification, specification.layout[0])],
            "estimate": [sd],
            "se": [sd_se],
            "lower": [max(sd - z * sd_se, 0.0) if np.isfinite(sd_se) else np.nan],
            "upper": [sd + z * sd_se],
            "ess": [np.nan],
            "prior": [""],
        }
    )
    log_likelihood = fit.log_likelihood - m * math.log(scale)
    restricted = fit.restricted_log_likelihood - (m - p) * math.log(scale) - float(np.sum(np.log(scaled.x_scale)))
    statistics = {
        "model_variance": fit.model_variance * scale**2,
        "model_variance_se": float(np.sqrt(fit.model_variance_error)) * scale**2,
        "log_likelihood": log_likelihood,
        "restricted_log_likelihood": restricted,
        "aic": -2.0 * log_likelihood + 2.0 * (p + 1),
        "bic": -2.0 * log_likelihood + math.log(m) * (p + 1),
        "kic": -2.0 * log_likelihood + 3.0 * (p + 1),
    }
    parts = {name: scale**2 * getattr(fit, name) for name in ("g1", "g2", "g3")}
    return FitTables(
        estimates,
        diagnostics_table([data], estimates, synthetic[:, None], residual / np.sqrt(variance)).assign(
            mse=scale**2 * fit.mse, **parts
        ),
        coefficients,
        hyperparameters,
        statistics,
        {},
        None,
    )
