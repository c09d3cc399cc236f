"""Tables of a Bayesian fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, Posterior, StackedData
from smallarea.area_level.summaries import mixture_quantile, normal_width, tails, weighted_quantile
from smallarea.results.posterior import PosteriorDraws
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


def posterior_tables(
    data: Sequence[AreaLevelData],
    stacked: StackedData,
    specification: AreaLevelSpecification,
    fit: Posterior,
    *,
    level: float,
    attributes: Mapping[str, Any],
) -> FitTables:
    """Tables of a Bayesian fit.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses in the units of the input.
    stacked : StackedData
        The same on the standardised scale.
    specification : AreaLevelSpecification
        The model.
    fit : Posterior
        The fit.
    level : float
        Coverage of the intervals of coefficients and hyperparameters.
    attributes : mapping
        What to store beside the draws.

    Returns
    -------
    FitTables
        Tables in the units of the input.
    """
    estimates = estimates_table(
        data,
        specification.responses,
        to_input(stacked, fit.mean),
        scaled_to_input(stacked, fit.sd),
        to_input(stacked, fit.lower),
        to_input(stacked, fit.upper),
        fit.shrinkage,
    )
    residual, variance = leave_one_out(stacked, fit.mean, fit.mixture.covariances.mean(axis=0))
    weighted = fit.weighted
    reached = weighted.ess(fit.weighted_values)
    factors = units(specification, stacked)
    diagnostics: dict[str, Any] = {
        "converged": weighted.converged,
        "evaluations": weighted.evaluations,
        "draws": len(fit.theta),
    }
    free = [not prior.fixed for prior in specification.priors.values()]
    if any(free):
        diagnostics = {
            "ess_min": float(np.min(reached[free])),
            "r_hat_max": float(np.max(weighted.r_hat(fit.weighted_values)[free])),
            "pareto_k": weighted.pareto_k,
        } | diagnostics
    statistics = {
        "log_marginal_likelihood": weighted.log_evidence,
        "log_marginal_likelihood_se": weighted.log_evidence_error,
    }
    return FitTables(
        estimates,
        diagnostics_table(data, estimates, to_input(stacked, fit.synthetic), residual / np.sqrt(variance)),
        _coefficients(specification, stacked, fit, level),
        _hyperparameters(specification, fit, reached, factors, level),
        {name: value for name, value in statistics.items() if np.isfinite(value)},
        diagnostics,
        _draws(data, stacked, specification, fit, factors, attributes),
    )


def largest_r_hat(ess: float) -> float:
    """Return the R-hat above which quarters of a sample disagree, as more than chance explains.

    Parameters
    ----------
    ess : float
        Effective sample size.

    Returns
    -------
    float
        1.01 (Vehtari et al. 2021) and twice what chance adds on average.
    """
    return 1.01 + 4.0 / max(ess, 1.0)


def _draws(
    data: Sequence[AreaLevelData],
    stacked: StackedData,
    specification: AreaLevelSpecification,
    fit: Posterior,
    factors: Vector,
    attributes: Mapping[str, Any],
) -> PosteriorDraws:
    beta = []
    for response, at in zip(stacked.responses, stacked.terms, strict=True):
        transform, shift = response.coefficients_to_input()
        beta.append(shift + fit.beta[:, at] @ transform.T)
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
        np.stack(beta, axis=2),
        {name: fit.hyperparameters[:, at] * factors[at] for at, name in enumerate(specification.hyperparameters)},
        np.column_stack([response.direct for response in data]),
        np.column_stack([response.variance for response in data]),
        attributes,
    )


def _coefficients(
    specification: AreaLevelSpecification, stacked: StackedData, fit: Posterior, level: float
) -> pd.DataFrame:
    """Coefficients from their conditional normal distributions.

    The standard error is the width of the interval in normal units: with a spatial effect the intercept has no finite
    posterior variance, since Var(intercept | rho) grows like 1 / (1 - rho).
    """
    parts = []
    for name, response, at in coefficient_blocks(specification, stacked):
        transform, shift = response.coefficients_to_input()
        means = shift + fit.beta_mean[:, at] @ transform.T
        sds = np.sqrt(np.einsum("ij,sjk,ik->si", transform, fit.beta_covariance[:, at, at], transform))
        lower, upper = (mixture_quantile(means, sds, tail) for tail in tails(level))
        parts.append(
            pd.DataFrame(
                {
                    "response": name,
                    "term": specification.terms,
                    "estimate": means.mean(axis=0),
                    "se": normal_width(lower, upper, level),
                    "lower": lower,
                    "upper": upper,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _hyperparameters(
    specification: AreaLevelSpecification, fit: Posterior, reached: Vector, factors: Vector, level: float
) -> pd.DataFrame:
    values, weights = fit.weighted_values * factors, fit.weighted.weights
    mean = weights @ values
    rows = []
    for at, parameter in enumerate(specification.layout):
        prior = specification.priors[parameter.name]
        low, high = weighted_quantile(values[:, at], weights, tails(level))
        rows.append(
            {
                "name": parameter.name,
                "description": description(specification, parameter),
                "estimate": mean[at],
                "se": float(np.sqrt(weights @ (values[:, at] - mean[at]) ** 2)),
                "lower": low,
                "upper": high,
                "ess": np.nan if prior.fixed else reached[at],
                "prior": str(prior),
            }
        )
    return pd.DataFrame(rows)
