"""Frequentist fits that have a form of their own: EBLUP, robust, errors in covariates, SAR, several responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level import (
    AreaLevelData,
    AreaLevelSpecification,
    StandardisedData,
    bootstrap_sar,
    fit_eblup,
    stack,
)
from smallarea.area_level.measurement_error import fit_measurement_error, standardised_errors
from smallarea.area_level.multivariate_data import multivariate_data
from smallarea.area_level.multivariate_eblup import fit_multivariate_eblup
from smallarea.area_level.robust_eblup import bootstrap_mse, fit_robust
from smallarea.area_level.sar import fit_sar_eblup, graph_weights
from smallarea.area_level.slud_maiti import slud_maiti
from smallarea.area_level.transformations import BackTransformed
from smallarea.errors import GraphProblem, ModelProblem, named
from smallarea.results.eblup_tables import eblup_tables
from smallarea.results.multivariate_tables import multivariate_tables
from smallarea.results.robust_tables import measurement_error_tables, robust_tables
from smallarea.results.sar_tables import sar_tables
from smallarea.results.tables import FitTables

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph
    from smallarea.results.back_to_input import WayBack
    from smallarea.workflows.fit_model import Settings

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

_STRUCTURES = {"separable": "unstructured", "independent": "diagonal", "ar1": "ar1", "har1": "har1"}


@dataclass(frozen=True)
class FrequentistFit:
    """Tables on the scale of the model, what to warn of, and estimates that found their own way back."""

    tables: FitTables
    warnings: tuple[str, ...] = ()
    back: BackTransformed | None = None


def fit_one_response(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    settings: Settings,
    covariate_variance: Vector | None,
    way: WayBack | None,
    tell: Progress,
) -> FrequentistFit:
    """Fit one response with independent area effects.

    Parameters
    ----------
    data, scaled : AreaLevelData, StandardisedData
        The response in both scales.
    specification : AreaLevelSpecification
        The model.
    settings : Settings
        How to fit.
    covariate_variance : ndarray, shape (N, p), or None
        Sampling variances of the covariates, for method ``ybarra_lohr``.
    way : WayBack or None
        How a transformation is undone.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.

    Returns
    -------
    FrequentistFit
        The fit.
    """
    if specification.method == "robust":
        return _fit_robust(data, scaled, specification, settings, tell)
    if specification.method == "ybarra_lohr" and covariate_variance is not None:
        return _fit_measurement_error(data, scaled, specification, settings, covariate_variance, tell)
    fit = fit_eblup(scaled, specification.method)
    tables = eblup_tables(data, scaled, specification, fit, level=settings.level)
    logarithms = way is not None and way.form.name == "log" and way.correction == "bias_corrected"
    if logarithms and specification.method in ("reml", "ml"):
        return FrequentistFit(tables, (), slud_maiti(fit, scaled))
    return FrequentistFit(tables)


def _fit_robust(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    settings: Settings,
    tell: Progress,
) -> FrequentistFit:
    fit = bootstrap_mse(scaled, fit_robust(scaled, settings.tuning), settings.replicates, settings.seed, tell)
    tables = robust_tables(data, scaled, specification, fit, level=settings.level)
    outlying = [data.areas[i] for i in np.flatnonzero(fit.outlying).tolist()]
    if not outlying:
        return FrequentistFit(tables)
    warning = (
        f"{len(outlying)} areas are outlying (Huber's bound of {settings.tuning:g} was reached) and their influence is "
        f"bounded: {named(outlying)}. Look at their data. If such an area is right and really different, its own "
        "estimate is worse than its standard error says."
    )
    return FrequentistFit(tables, (warning,))


def _fit_measurement_error(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    settings: Settings,
    covariate_variance: Vector,
    tell: Progress,
) -> FrequentistFit:
    covariance = covariate_variance[:, :, None] * np.eye(covariate_variance.shape[1])
    fit = fit_measurement_error(scaled, standardised_errors(covariance, scaled), progress=tell)
    tables = measurement_error_tables(data, scaled, specification, fit, level=settings.level)
    plain = [data.areas[i] for i in np.flatnonzero(fit.uncorrected & data.estimable).tolist()]
    if not plain:
        return FrequentistFit(tables)
    warning = (
        f"The jackknife correction of the leading term of the mean squared error was left out in {len(plain)} areas, "
        f"where nothing positive would have remained: {named(plain)}. The model variance is close to zero; these "
        "standard errors are rough."
    )
    return FrequentistFit(tables, (warning,))


def fit_spatial(
    data: AreaLevelData,
    scaled: StandardisedData,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: Settings,
    way: WayBack | None,
    tell: Progress,
) -> FrequentistFit:
    """Fit SAR area effects, with analytic or bootstrap mean squared errors.

    Parameters
    ----------
    data, scaled : AreaLevelData, StandardisedData
        The response in both scales.
    specification : AreaLevelSpecification
        The model.
    graph : AreaGraph or None
        The adjacency graph.
    settings : Settings
        How to fit.
    way : WayBack or None
        How a transformation is undone.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.

    Returns
    -------
    FrequentistFit
        The fit.

    Raises
    ------
    GraphProblem
        If there is no graph.
    ModelProblem
        If the way back needs mean squared errors that are not to be trusted.
    """
    if graph is None:
        raise GraphProblem("A SAR model needs to know which areas are neighbours. Give the polygons or a saved graph.")
    fit = fit_sar_eblup(scaled, graph, specification.method)
    if way is not None and way.correction == "bias_corrected" and settings.mse != "bootstrap" and fit.error_notes:
        raise ModelProblem(
            f"{' '.join(fit.error_notes)} The way back from {way.form.name!r} takes its correction from these errors: "
            "set mse to 'bootstrap', or back_transformation to 'naive'."
        )
    if settings.mse != "bootstrap":
        return FrequentistFit(sar_tables(data, scaled, specification, fit, level=settings.level), fit.notes)
    weights = graph_weights(graph)
    found = bootstrap_sar(
        scaled.y,
        scaled.v,
        scaled.x,
        weights,
        fit,
        specification.method,
        replicates=settings.replicates,
        seed=settings.seed,
        progress=tell,
    )
    tables = sar_tables(data, scaled, specification, replace(fit, mse=found.mse), level=settings.level)
    corrected = scaled.scale**2 * found.bias_corrected
    diagnostics = tables.area_diagnostics.assign(mse_bias_corrected=corrected)
    notes = tuple(note for note in fit.notes if note not in fit.error_notes)
    return FrequentistFit(replace(tables, area_diagnostics=diagnostics), notes)


def fit_several(
    data: Sequence[AreaLevelData],
    scaled: Sequence[StandardisedData],
    correlation: Vector | None,
    specification: AreaLevelSpecification,
    settings: Settings,
) -> FrequentistFit:
    """Fit several responses with independent area effects.

    Covariates are standardised and direct estimates centred, for the sake of rounding; units stay those of the input,
    on which one variance for all responses depends.

    Parameters
    ----------
    data, scaled : sequences of AreaLevelData and StandardisedData, length K
        The responses in both scales.
    correlation : ndarray, shape (N, K, K), or None
        Sampling correlations between them.
    specification : AreaLevelSpecification
        The model.
    settings : Settings
        How to fit.

    Returns
    -------
    FrequentistFit
        The fit.
    """
    first = int(specification.intercept)
    sd = np.sqrt(np.column_stack([response.variance for response in data]))
    between = np.zeros((len(sd), len(data), len(data))) if correlation is None else correlation.copy()
    between[:, np.arange(len(data)), np.arange(len(data))] = 1.0
    found = multivariate_data(
        data[0].areas,
        specification.responses,
        np.column_stack([one.scale * one.y for one in scaled]),
        between * sd[:, :, None] * sd[:, None, :],
        [one.x[:, first:] for one in scaled],
        [specification.covariates] * len(data),
        intercept=specification.intercept,
    )
    fit = fit_multivariate_eblup(found, _STRUCTURES[specification.link], specification.method)
    tables = multivariate_tables(data, stack(scaled, correlation), specification, fit, level=settings.level)
    if not fit.boundary:
        return FrequentistFit(tables)
    warning = (
        f"The covariance matrix of the area effects is at its boundary: {'; '.join(fit.boundary)}. Mean squared errors "
        "do not know how uncertain that is. Method 'bayes' averages over it."
    )
    return FrequentistFit(tables, (warning,))
