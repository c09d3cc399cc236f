"""Fitting one model of a comparison: conditional moments of every area, whatever the method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level import (
    AreaLevelData,
    AreaLevelSpecification,
    StackedData,
    build_model,
    fit_eblup,
    sample_posterior,
    stack,
    standardise,
)
from smallarea.area_level.likelihood import fit_likelihood
from smallarea.area_level.parameters import as_arrays
from smallarea.area_level.sar import fit_sar_eblup
from smallarea.errors import GraphProblem
from smallarea.results.eblup_tables import eblup_tables
from smallarea.results.likelihood_tables import likelihood_tables
from smallarea.results.prediction.information import conditional_aic
from smallarea.results.sar_tables import sar_tables

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class FitSettings:
    """How to fit: the names are those of the job."""

    min_ess: int
    level: float
    seed: int
    solver: str
    workers: int


@dataclass(frozen=True)
class ModelFit:
    """What the scores need of a fit.

    Attributes
    ----------
    stacked : StackedData
        The data, standardised.
    means : ndarray, shape (M, N, K)
        E[theta | y, hyperparameters] on the standardised scale: at equally weighted draws of the hyperparameters
        (bayes), or at their estimates (M = 1).
    covariances : ndarray, shape (M, N, K, K)
        Cov(theta_i | y, hyperparameters), the coefficients being estimated.
    statistics : mapping
        Likelihoods and information criteria, in the units of the input.
    diagnostics : mapping
        ``converged``, ``ess_min``, ``pareto_k``, ``evaluations`` of the sampler; empty for a likelihood method.
    """

    stacked: StackedData
    means: Vector
    covariances: Vector
    statistics: Mapping[str, float]
    diagnostics: Mapping[str, Any] = field(default_factory=dict)


def fit_candidate(
    data: Sequence[AreaLevelData],
    correlation: Vector | None,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: FitSettings,
    tell: Progress,
) -> ModelFit:
    """Fit a model.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses, with the covariates of the model.
    correlation : ndarray, shape (N, K, K), or None
        Sampling correlations between responses.
    specification : AreaLevelSpecification
        The model.
    graph : AreaGraph or None
        The adjacency graph.
    settings : FitSettings
        How to fit.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.

    Returns
    -------
    ModelFit
        Conditional moments and statistics.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend.
    """
    stacked = stack([standardise(response, specification.intercept) for response in data], correlation)
    if specification.random_effect == "sar":
        return _fit_sar(data[0], stacked, specification, graph, settings)
    if specification.method == "bayes":
        return _fit_bayes(stacked, specification, graph, settings, tell)
    if specification.method in ("reml", "ml"):
        return _fit_likelihood(data, stacked, specification, graph, settings, tell)
    return _fit_moments(data[0], stacked, specification, settings)


def _fit_bayes(
    stacked: StackedData,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: FitSettings,
    tell: Progress,
) -> ModelFit:
    # The scores take exact conditional moments and no draws of the areas, so that one draw is enough.
    posterior = sample_posterior(
        build_model(specification, stacked, graph, settings.solver),
        specification,
        draws=1,
        min_ess=settings.min_ess,
        level=settings.level,
        seed=settings.seed,
        workers=settings.workers,
        progress=tell,
    )
    weighted = posterior.weighted
    statistics = {
        "log_marginal_likelihood": weighted.log_evidence,
        "log_marginal_likelihood_se": weighted.log_evidence_error,
    }
    diagnostics: dict[str, Any] = {"converged": weighted.converged, "evaluations": weighted.evaluations}
    free = [not prior.fixed for prior in specification.priors.values()]
    if any(free):
        diagnostics["ess_min"] = float(np.min(weighted.ess(posterior.weighted_values)[free]))
        diagnostics["pareto_k"] = weighted.pareto_k
    return ModelFit(stacked, posterior.mixture.means, posterior.mixture.covariances, statistics, diagnostics)


def _fit_likelihood(
    data: Sequence[AreaLevelData],
    stacked: StackedData,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: FitSettings,
    tell: Progress,
) -> ModelFit:
    fit = fit_likelihood(build_model(specification, stacked, graph, settings.solver), specification, tell)
    tables = likelihood_tables(data, stacked, specification, fit, level=settings.level)
    conditional = conditional_aic(
        stacked.precision, stacked.y - fit.estimate, fit.covariance, fit.sensitivity, stacked.observed
    )
    # The conditional log likelihood has the unit of the marginal one.
    change = -sum(int(response.sampled.sum()) * np.log(response.scale) for response in stacked.responses)
    conditional["caic"] -= 2.0 * change
    conditional["conditional_log_likelihood"] += change
    return ModelFit(stacked, fit.estimate[None], fit.covariance[None], {**tables.fit_statistics, **conditional})


def _fit_moments(
    data: AreaLevelData, stacked: StackedData, specification: AreaLevelSpecification, settings: FitSettings
) -> ModelFit:
    """Moment and adjusted likelihood estimators of one variance."""
    scaled = stacked.responses[0]
    fit = fit_eblup(scaled, specification.method)
    tables = eblup_tables(data, scaled, specification, fit, level=settings.level)
    model = build_model(specification, stacked, None, settings.solver)
    sd = np.full((1, 1), np.sqrt(fit.model_variance))
    moments = model.moments(model.condition(as_arrays(specification.layout, (), 1, sd)))
    return ModelFit(
        stacked,
        np.moveaxis(moments.theta, -1, 0),
        np.moveaxis(moments.covariances[0], -1, 0),
        tables.fit_statistics,
    )


def _fit_sar(
    data: AreaLevelData,
    stacked: StackedData,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: FitSettings,
) -> ModelFit:
    if graph is None:
        raise GraphProblem("A SAR model needs to know which areas are neighbours. Give the polygons or a saved graph.")
    scaled = stacked.responses[0]
    fit = fit_sar_eblup(scaled, graph, specification.method)
    tables = sar_tables(data, scaled, specification, fit, level=settings.level)
    return ModelFit(
        stacked,
        fit.estimate[None, :, None],
        (fit.g1 + fit.g2)[None, :, None, None],
        tables.fit_statistics,
    )
