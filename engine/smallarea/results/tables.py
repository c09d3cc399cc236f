"""The tables that people read, in the units of the input: what the different kinds of fits share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, StackedData, StandardisedData
from smallarea.area_level.parameters import Parameter
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.reliability import coefficient_of_variation

Vector = NDArray[np.float64]

_DESCRIPTIONS: Mapping[str, str] = {
    "sd_phi": "SD of the spatial effect (scale of its precision matrix)",
    "rho": "spatial dependence (0: none, near 1: neighbours alike)",
    "range": "range of the spatial effect, in units of the map's diameter",
    "rho_time": "correlation of the effect from one period to the next",
    "sd_delta": "SD of the independent area effect",
    "correlation": "correlation between the area effects of two responses",
    "eta0": "effect of the next response of the chain in the same area",
    "eta1": "effect of the next response of the chain in each neighbouring area",
}
_BYM2: Mapping[str, str] = {
    "sd_phi": "SD of the area effect, spatial and independent part together",
    "rho": "share of the area effect's variance that is spatial",
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


def description(specification: AreaLevelSpecification, parameter: Parameter) -> str:
    """Say what a hyperparameter is."""
    if specification.random_effect == "bym2" and parameter.kind in _BYM2:
        return _BYM2[parameter.kind]
    return _DESCRIPTIONS[parameter.kind]


def units(specification: AreaLevelSpecification, stacked: StackedData) -> Vector:
    """Factors from the standardised scale to that of the input, one for each hyperparameter."""
    scales = [response.scale for response in stacked.responses]
    factors = []
    for parameter in specification.layout:
        if parameter.is_sd:
            # One that belongs to all responses is there only if they have one scale: periods of one quantity.
            factors.append(scales[parameter.responses[0] if parameter.responses else 0])
        elif parameter.kind.startswith("eta"):
            upper, lower = parameter.responses
            factors.append(scales[upper] / scales[lower])
        else:
            factors.append(1.0)
    return np.array(factors)


def coefficient_blocks(
    specification: AreaLevelSpecification, stacked: StackedData
) -> list[tuple[str, StandardisedData, slice]]:
    """List the responses with coefficients of their own and where these are; common ones belong to the first."""
    blocks = list(zip(specification.responses, stacked.responses, stacked.terms, strict=True))
    return blocks[:1] if stacked.common else blocks


def to_input(stacked: StackedData, values: Vector) -> Vector:
    """Standardised values of shape (N, K) in the units of the input."""
    scaled = [
        response.location + response.scale * column
        for response, column in zip(stacked.responses, values.T, strict=True)
    ]
    return np.column_stack(scaled)


def scaled_to_input(stacked: StackedData, values: Vector) -> Vector:
    """Standardised standard deviations of shape (N, K) in the units of the input."""
    return values * np.array([response.scale for response in stacked.responses])


def estimates_table(
    data: Sequence[AreaLevelData],
    responses: Sequence[str],
    estimate: Vector,
    se: Vector,
    lower: Vector,
    upper: Vector,
    shrinkage: Vector,
) -> pd.DataFrame:
    """Return the estimates table without its flags; areas that cannot be estimated are NaN.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses.
    responses : sequence of str, length K
        Their names.
    estimate, se, lower, upper, shrinkage : ndarray, shape (N, K)
        In the units of the input.

    Returns
    -------
    pandas.DataFrame
        One row for each area and response, the areas of the first response first.
    """
    parts = []
    for k, (response, name) in enumerate(zip(data, responses, strict=True)):
        gone = ~response.estimable
        columns = (np.where(gone, np.nan, column[:, k]) for column in (estimate, se, lower, upper))
        centre, spread, low, high = columns
        parts.append(
            pd.DataFrame(
                {
                    "area": response.areas,
                    "response": name,
                    "direct": response.direct,
                    "direct_se": np.sqrt(response.variance),
                    "estimate": centre,
                    "se": spread,
                    "cv": coefficient_of_variation(centre, spread),
                    "lower": low,
                    "upper": high,
                    "shrinkage": shrinkage[:, k],
                    "sampled": response.sampled,
                    "flag": "",
                    "note": list(response.notes),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def diagnostics_table(
    data: Sequence[AreaLevelData], estimates: pd.DataFrame, synthetic: Vector, std_residual: Vector
) -> pd.DataFrame:
    """Effects and residuals, row for row with the estimates.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses.
    estimates : pandas.DataFrame
        The estimates table.
    synthetic : ndarray, shape (N, K)
        x'beta in the units of the input.
    std_residual : ndarray, shape (N, K)
        Residuals of leaving the cell out, see :func:`leave_one_out`.
    """
    blank = np.concatenate(
        [np.where(response.estimable, column, np.nan) for response, column in zip(data, synthetic.T, strict=True)]
    )
    residual = std_residual.T.ravel()
    return pd.DataFrame(
        {
            "area": estimates["area"],
            "response": estimates["response"],
            "synthetic": blank,
            "random_effect": estimates["estimate"].to_numpy() - blank,
            "std_residual": np.where(np.isfinite(residual), residual, np.nan),
        }
    )


def leave_one_out(stacked: StackedData, mean: Vector, covariance: Vector) -> tuple[Vector, Vector]:
    """Residual of each cell against its prediction from all other cells, by algebra and not by refitting.

    With S the covariance of all direct estimates given the hyperparameters, beta integrated out, the residual of
    leaving cell c out is ``[S^{-1} r]_c / [S^{-1}]_cc`` with variance ``1 / [S^{-1}]_cc`` (Dubrule 1983), and on the
    block of an area ``S^{-1} = V^{-1} - V^{-1} C V^{-1}``, ``S^{-1} r = V^{-1} (y - E[theta])``, where C is the area's
    posterior covariance. One response: ``(y - E[theta]) v / (v - c)`` with variance ``v^2 / (v - c)``.

    Parameters
    ----------
    stacked : StackedData
        The data.
    mean : ndarray, shape (..., N, K)
        E[theta | y] on the standardised scale.
    covariance : ndarray, shape (..., N, K, K)
        Cov(theta_i | y).

    Returns
    -------
    residual, variance : ndarray, shape (..., N, K)
        On the standardised scale, NaN in cells that are not observed or that nothing else says anything about.
    """
    precision = stacked.precision
    score = np.einsum("nkl,...nl->...nk", precision, stacked.y - mean)
    own = np.einsum("nkk->nk", precision) - np.einsum("nkl,...nlm,nmk->...nk", precision, covariance, precision)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(stacked.observed & (own > 0.0), 1.0 / own, np.nan)
    return score * variance, variance
