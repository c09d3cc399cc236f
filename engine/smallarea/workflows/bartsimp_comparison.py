"""Do flexible covariates and a field pay? BARTSIMP and its baselines on clusters that they have not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from smallarea.errors import ModelProblem
from smallarea.gmrf.mesh import build_mesh
from smallarea.report.cluster_model_words import LABELS
from smallarea.unit_level import BartsimpSettings, Clusters, sample_bartsimp
from smallarea.unit_level.cross_validation import ClusterPosterior, cross_validate
from smallarea.unit_level.folds import block_folds, cluster_folds
from smallarea.unit_level.mesh_choice import sizes_for
from smallarea.unit_level.pc_prior import default_prior
from smallarea.unit_level.spde_collapsed import check_design
from smallarea.unit_level.spde_counted import fit_counted_spde
from smallarea.unit_level.spde_linear import SpdeSettings, fit_spde
from smallarea.workflows.bartsimp_counts import MANY_CLUSTERS

# Said where places of clusters are uncertain.
DISPLACED_NOTE = (
    "Left-out clusters are predicted at their candidate places by prior probability; linear models with a field take "
    "all clusters at their most likely place before any outcome is seen."
)

Progress = Callable[[float, str], None]
Fitter = Callable[[Clusters, int], ClusterPosterior]


@dataclass(frozen=True)
class ModelComparison:
    """Scores of left-out clusters.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a model: ``model`` and the average scores.
    clusters : pandas.DataFrame
        One row a model and cluster: what was observed and predicted.
    verdicts : tuple of str
        Whether trees and field pay.
    notes : tuple of str
        Which models had to be left out.
    """

    table: pd.DataFrame
    clusters: pd.DataFrame
    verdicts: tuple[str, ...]
    notes: tuple[str, ...]


def compare_with_baselines(
    clusters: Clusters,
    settings: BartsimpSettings,
    *,
    crs: str,
    folds: int,
    fold_kind: str,
    chains: int,
    warmup: int,
    draws: int,
    seed: int,
    level: float,
    progress: Progress,
) -> ModelComparison:
    """Cross-validate the model, trees alone, and linear models with a field.

    Parameters
    ----------
    clusters : Clusters
        The data.
    settings : BartsimpSettings
        Of the model that was fitted.
    crs : str
        Reference system of the clusters.
    folds : int
        How many.
    fold_kind : {'clusters', 'blocks'}
        What a fold leaves out.
    chains, warmup, draws, seed, level, progress
        As for the fit.

    Returns
    -------
    ModelComparison
    """
    rng = np.random.default_rng(seed)
    if fold_kind == "blocks":
        parts = block_folds(clusters.coordinates, folds, rng)
    else:
        parts = cluster_folds(clusters.n, folds, rng, clusters.strata)

    def trees(chosen: BartsimpSettings) -> Fitter:
        return lambda data, s: sample_bartsimp(data, chosen, chains=chains, warmup=warmup, draws=draws, seed=s)

    models: dict[str, Fitter] = {} if settings.field == "none" else {"bartsimp": trees(settings)}
    models["bart"] = trees(replace(settings, field="none", field_prior=None))
    if settings.likelihood == "normal":
        linear = _linear(clusters, crs)
    else:
        linear = _counted(clusters, settings, chains, warmup, draws)
    notes = _left_out(clusters)
    if notes:
        del linear["spde"]
    if clusters.candidates is not None:
        notes += (DISPLACED_NOTE,)
    found = cross_validate(models | linear, clusters, parts, level=level, seed=seed, progress=progress)
    flexible = next(iter(models))
    verdicts = [found.verdict(flexible, "spde")] if "spde" in linear else []
    if flexible == "bartsimp":
        verdicts.append(found.verdict("bartsimp", "bart"))
    rows = [frame.assign(model=name) for name, frame in found.points.items()]
    return ModelComparison(found.table(), pd.concat(rows, ignore_index=True), tuple(verdicts), notes)


def _linear(clusters: Clusters, crs: str) -> dict[str, Fitter]:
    """Return linear baselines of a normal outcome on a mesh of all clusters."""
    prior = default_prior(clusters.coordinates, clusters.spread)
    sizes = sizes_for(clusters.coordinates, prior)
    mesh = build_mesh(clusters.coordinates, sizes, crs=crs)

    def linear(chosen: SpdeSettings) -> Fitter:
        return lambda data, s: fit_spde(data, chosen, crs=crs, mesh=mesh, seed=s)

    return {"spde": linear(SpdeSettings()), "spde0": linear(SpdeSettings(covariates=False))}


def _counted(clusters: Clusters, settings: BartsimpSettings, chains: int, warmup: int, draws: int) -> dict[str, Fitter]:
    """Return linear baselines of a counted outcome, with the field of the model or else that of all clusters."""
    if settings.field == "none":
        settings = replace(settings, field="exact" if clusters.n < MANY_CLUSTERS else "mesh")
    x = clusters.covariates
    scale = x.std(axis=0)
    # Of all clusters: what all of a fold share would have no standard deviation.
    standard = x.mean(axis=0), np.where(scale > 0.0, scale, 1.0)

    fit = partial(fit_counted_spde, settings=settings, standard=standard, chains=chains, warmup=warmup, draws=draws)

    def linear(covariates: bool) -> Fitter:
        return lambda data, s: fit(data, covariates=covariates, seed=s)

    return {"spde": linear(True), "spde0": linear(False)}


def _left_out(clusters: Clusters) -> tuple[str, ...]:
    """Say why a linear model with covariates cannot be fitted, if so."""
    x = clusters.covariates - clusters.covariates.mean(axis=0)
    try:
        check_design(np.column_stack([np.ones(clusters.n), x]), clusters.names)
    except ModelProblem as error:
        return (f"The {LABELS['spde']} was left out of the cross-validation: {error}",)
    return ()
