"""From a fit on the standardised scale to the tables that people read, in the units of the input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, Eblup, Posterior, StandardisedData
from smallarea.area_level.summaries import mixture_quantile, normal_width, tails, weighted_quantile
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.reliability import coefficient_of_variation

Vector = NDArray[np.float64]

DESCRIPTIONS: Mapping[str, str] = {
    "sd_phi": "SD of the spatial effect (scale of its precision matrix)",
    "rho": "spatial dependence (0: none, near 1: neighbours alike)",
    "sd_delta": "SD of the independent area effect",
}


@dataclass(frozen=True)
class FitTables:
    """The tables of one fit; see :class:`smallarea.results.FitResult` for their columns."""

    estimates: pd.DataFrame
    area_diagnostics: pd.DataFrame
    coefficients: pd.DataFrame
    hyperparameters: pd.DataFrame
    fit_statistics: Mapping[str, float]
    diagnostics: Mapping[str, Any]
    posterior: PosteriorDraws | None


def eblup_tables(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    fit: Eblup,
    *,
    response: str,
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
    response : str
        Name of the direct estimate's field.
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
    estimates = _estimates(data, response, estimate, se, estimate - z * se, estimate + z * se, fit.gamma)
    conditional = scale**2 * (fit.g1 + fit.g2)
    synthetic = scaled.location + scale * fit.synthetic
    transform, shift = scaled.coefficients_to_input()
    beta = shift + transform @ fit.gls.beta
    beta_se = np.sqrt(np.diag(transform @ fit.gls.covariance @ transform.T))
    coefficients = pd.DataFrame(
        {"term": specification.terms, "estimate": beta, "se": beta_se, "lower": beta - z * beta_se}
    ).assign(upper=beta + z * beta_se)
    sd = scale * np.sqrt(fit.model_variance)
    sd_se = scale * np.sqrt(fit.model_variance_error / fit.model_variance) / 2.0 if fit.model_variance > 0 else np.nan
    hyperparameters = pd.DataFrame(
        {
            "name": ["sd_delta"],
            "description": [DESCRIPTIONS["sd_delta"]],
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
        _area_diagnostics(data, estimates, synthetic, conditional).assign(mse=scale**2 * fit.mse, **parts),
        coefficients,
        hyperparameters,
        statistics,
        {},
        None,
    )


def posterior_tables(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    fit: Posterior,
    *,
    response: str,
    level: float,
    attributes: Mapping[str, Any],
) -> FitTables:
    """Tables of a Bayesian fit.

    Parameters
    ----------
    data, scaled : AreaLevelData, StandardisedData
        The data in both scales.
    specification : AreaLevelSpecification
        The model.
    fit : Posterior
        The fit.
    response : str
        Name of the direct estimate's field.
    level : float
        Coverage of the intervals of coefficients and hyperparameters.
    attributes : mapping
        What to store beside the draws.

    Returns
    -------
    FitTables
        Tables in the units of the input.
    """
    scale = scaled.scale
    to_input = lambda values: scaled.location + scale * values  # noqa: E731 - a formula
    estimates = _estimates(
        data, response, to_input(fit.mean), scale * fit.sd, to_input(fit.lower), to_input(fit.upper), fit.shrinkage
    )
    transform, shift = scaled.coefficients_to_input()
    beta = shift + fit.beta @ transform.T
    units = np.array([1.0 if name == "rho" else scale for name in specification.hyperparameters])
    theta = to_input(fit.theta)
    theta[:, ~data.estimable] = np.nan
    draws = PosteriorDraws(
        data.areas,
        (response,),
        specification.terms,
        theta[:, :, None],
        beta[:, :, None],
        {name: fit.hyperparameters[:, k] * units[k] for k, name in enumerate(specification.hyperparameters)},
        data.direct[:, None],
        data.variance[:, None],
        attributes,
    )
    weighted = fit.weighted
    reached = weighted.ess(fit.weighted_values)
    diagnostics: dict[str, Any] = {
        "converged": weighted.converged,
        "evaluations": weighted.evaluations,
        "draws": len(fit.theta),
    }
    free = [not specification.priors[name].fixed for name in specification.hyperparameters]
    if any(free):
        diagnostics = {"ess_min": float(np.min(reached[free])), "pareto_k": weighted.pareto_k} | diagnostics
    statistics = {
        "log_marginal_likelihood": weighted.log_evidence,
        "log_marginal_likelihood_se": weighted.log_evidence_error,
    }
    return FitTables(
        estimates,
        _area_diagnostics(data, estimates, to_input(fit.synthetic), scale**2 * fit.conditional_variance),
        _coefficients(specification, fit, transform, shift, level),
        _hyperparameters(specification, fit, reached, units, level),
        {name: value for name, value in statistics.items() if np.isfinite(value)},
        diagnostics,
        draws,
    )


def _coefficients(
    specification: AreaLevelSpecification, fit: Posterior, transform: Vector, shift: Vector, level: float
) -> pd.DataFrame:
    """Coefficients from their conditional normal distributions.

    The standard error is the width of the interval in normal units: with a spatial effect the intercept has no finite
    posterior variance, since Var(intercept | rho) grows like 1 / (1 - rho).
    """
    means = shift + fit.beta_mean @ transform.T
    sds = np.sqrt(np.einsum("ij,sjk,ik->si", transform, fit.beta_covariance, transform))
    lower, upper = (mixture_quantile(means, sds, tail) for tail in tails(level))
    return pd.DataFrame(
        {
            "term": specification.terms,
            "estimate": means.mean(axis=0),
            "se": normal_width(lower, upper, level),
            "lower": lower,
            "upper": upper,
        }
    )


def _hyperparameters(
    specification: AreaLevelSpecification, fit: Posterior, reached: Vector, units: Vector, level: float
) -> pd.DataFrame:
    values, weights = fit.weighted_values * units, fit.weighted.weights
    mean = weights @ values
    rows = []
    for k, name in enumerate(specification.hyperparameters):
        known = specification.priors[name].fixed
        low, high = weighted_quantile(values[:, k], weights, tails(level))
        rows.append(
            {
                "name": name,
                "description": DESCRIPTIONS[name],
                "estimate": mean[k],
                "se": float(np.sqrt(weights @ (values[:, k] - mean[k]) ** 2)),
                "lower": low,
                "upper": high,
                "ess": np.nan if known else reached[k],
                "prior": str(specification.priors[name]),
            }
        )
    return pd.DataFrame(rows)


def _estimates(
    data: AreaLevelData, response: str, estimate: Vector, se: Vector, lower: Vector, upper: Vector, shrinkage: Vector
) -> pd.DataFrame:
    """Return the estimates table without its flags; areas that cannot be estimated are NaN."""
    gone = ~data.estimable
    blank = lambda values: np.where(gone, np.nan, values)  # noqa: E731 - a formula
    return pd.DataFrame(
        {
            "area": data.areas,
            "response": response,
            "direct": data.direct,
            "direct_se": np.sqrt(data.variance),
            "estimate": blank(estimate),
            "se": blank(se),
            "cv": coefficient_of_variation(blank(estimate), blank(se)),
            "lower": blank(lower),
            "upper": blank(upper),
            "shrinkage": shrinkage,
            "sampled": data.sampled,
            "flag": "",
            "note": list(data.notes),
        }
    )


def _area_diagnostics(
    data: AreaLevelData, estimates: pd.DataFrame, synthetic: Vector, conditional_variance: Vector
) -> pd.DataFrame:
    """Effects and residuals.

    The standardised residual is that of leaving the area out: (direct - estimate) / sqrt(v - c), with c the variance
    of the area's quantity given the hyperparameters. For independent effects it equals (direct - synthetic) /
    sqrt(A + v - leverage).
    """
    left = np.maximum(data.variance - conditional_variance, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = (data.direct - estimates["estimate"].to_numpy()) / np.sqrt(left)
    blank = np.where(data.estimable, synthetic, np.nan)
    return pd.DataFrame(
        {
            "area": data.areas,
            "synthetic": blank,
            "random_effect": estimates["estimate"].to_numpy() - blank,
            "std_residual": np.where(np.isfinite(residual), residual, np.nan),
        }
    )
