"""Tables of the fits of one response that are not maximum likelihood: robust, and with errors in the covariates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, StandardisedData
from smallarea.area_level.measurement_error import MeasurementErrorEblup
from smallarea.area_level.robust_eblup import RobustEblup
from smallarea.results.tables import FitTables, description, diagnostics_table, estimates_table

Vector = NDArray[np.float64]


def robust_tables(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    fit: RobustEblup,
    *,
    level: float,
) -> FitTables:
    """Tables of a robust fit.

    Parameters
    ----------
    data, scaled : AreaLevelData, StandardisedData
        The data in both scales.
    specification : AreaLevelSpecification
        The model.
    fit : RobustEblup
        The fit, with mean squared errors.
    level : float
        Coverage of the normal intervals.

    Returns
    -------
    FitTables
        Tables in the units of the input. The standardised residual is (direct - x'beta) / sqrt(A + v): influence is
        bounded, so that leaving the area out would change little.
    """
    tables = _tables(data, scaled, specification, fit, fit.covariance, fit.model_variance + scaled.v, level)
    error = float(np.sqrt(fit.model_variance_error)) * scaled.scale**2
    diagnostics = tables.area_diagnostics.assign(outlying=fit.outlying)
    statistics = {**tables.fit_statistics, "model_variance_se": error}
    sd = float(tables.hyperparameters["estimate"].iloc[0])
    return FitTables(
        tables.estimates,
        diagnostics,
        tables.coefficients,
        _hyperparameters(specification, sd, error / (2.0 * sd) if sd > 0.0 else np.nan, level),
        statistics,
        {"tuning": fit.tuning, "outlying": int(fit.outlying.sum())},
        None,
    )


def measurement_error_tables(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    fit: MeasurementErrorEblup,
    *,
    level: float,
) -> FitTables:
    """Tables of a fit with errors in the covariates.

    Parameters
    ----------
    data, scaled : AreaLevelData, StandardisedData
        The data in both scales.
    specification : AreaLevelSpecification
        The model.
    fit : MeasurementErrorEblup
        The fit.
    level : float
        Coverage of the normal intervals.

    Returns
    -------
    FitTables
        Tables in the units of the input. The standardised residual is (direct - x'beta) / sqrt(A + c + v), c being what
        the errors of the covariates add.
    """
    spread = fit.model_variance + fit.covariate_error + scaled.v
    tables = _tables(data, scaled, specification, fit, fit.covariance, spread, level)
    square = scaled.scale**2
    diagnostics = tables.area_diagnostics.assign(
        g1=square * fit.g1, covariate_error=square * fit.covariate_error, uncorrected=fit.uncorrected
    )
    return FitTables(
        tables.estimates,
        diagnostics,
        tables.coefficients,
        tables.hyperparameters,
        tables.fit_statistics,
        {"uncorrected": int(fit.uncorrected.sum())},
        None,
    )


def _tables(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    fit: RobustEblup | MeasurementErrorEblup,
    covariance: Vector,
    spread: Vector,
    level: float,
) -> FitTables:
    """Make what both have in common; ``spread`` is the variance of a residual, ``covariance`` of the coefficients."""
    scale, z = scaled.scale, _normal(level)
    estimate, synthetic = (scaled.location + scale * values for values in (fit.estimate, fit.synthetic))
    se = scale * np.sqrt(fit.mse)
    columns = (values[:, None] for values in (estimate, se, estimate - z * se, estimate + z * se, fit.gamma))
    estimates = estimates_table([data], specification.responses, *columns)
    residual = (scaled.y - fit.synthetic) / np.sqrt(spread)
    transform, shift = scaled.coefficients_to_input()
    beta = shift + transform @ fit.beta
    beta_se = np.sqrt(np.diag(transform @ covariance @ transform.T))
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
    diagnostics = diagnostics_table([data], estimates, synthetic[:, None], residual[:, None])
    return FitTables(
        estimates,
        diagnostics.assign(mse=scale**2 * fit.mse),
        coefficients,
        _hyperparameters(specification, scale * float(np.sqrt(fit.model_variance)), np.nan, level),
        {"model_variance": fit.model_variance * scale**2},
        {},
        None,
    )


def _hyperparameters(specification: AreaLevelSpecification, sd: float, se: float, level: float) -> pd.DataFrame:
    z = _normal(level)
    return pd.DataFrame(
        {
            "name": ["sd_delta"],
            "description": [description(specification, specification.layout[0])],
            "estimate": [sd],
            "se": [se],
            "lower": [max(sd - z * se, 0.0) if np.isfinite(se) else np.nan],
            "upper": [sd + z * se],
            "ess": [np.nan],
            "prior": [""],
        }
    )


def _normal(level: float) -> float:
    return float(special.ndtri(0.5 + 0.5 * level))
