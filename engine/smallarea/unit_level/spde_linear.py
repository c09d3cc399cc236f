"""The linear baselines: intercept, covariates and a Matérn field (SPDE), or intercept and field alone (SPDE0).

The same clusters, priors of the field and of the error, and the same calls as for BARTSIMP's posterior, so that the two
are compared on equal terms. The mathematics is in :mod:`smallarea.unit_level.spde_collapsed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy import stats

from smallarea.errors import ModelProblem
from smallarea.gmrf.mesh import Mesh, build_mesh
from smallarea.gmrf.spde import MeshError, Spde
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.importance import importance_sample
from smallarea.unit_level.mesh_choice import error_at_clusters, mesh_notes, sizes_for
from smallarea.unit_level.pc_prior import PcPrior, default_prior, prior_from_fit
from smallarea.unit_level.spde_collapsed import CollapsedField, check_design

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Points of a round of importance sampling, and the effective sample size that is enough.
POINTS, ENOUGH = 600, 250.0


@dataclass(frozen=True)
class SpdeSettings:
    """Model and sampling.

    Attributes
    ----------
    covariates : bool
        With linear effects of the covariates (SPDE), or without (SPDE0).
    field_prior : PcPrior, optional
        Prior of range and sigma_m; by default from the size of the region and the spread of the outcome.
    error_df, error_quantile : float
        ``sigma_e^2 ~ nu lambda / chi2(error_df)``, scaled so that sigma_e lies below the residual spread of least
        squares with probability ``error_quantile``.
    draws : int
        Posterior draws.

    Raises
    ------
    ModelProblem
        If a number makes no sense.
    """

    covariates: bool = True
    field_prior: PcPrior | None = None
    error_df: float = 3.0
    error_quantile: float = 0.9
    draws: int = 500

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (self.error_df > 0.0 and 0.0 < self.error_quantile < 1.0 and self.draws >= 2):
            raise ModelProblem(
                "error_df must be positive, error_quantile between 0 and 1 and draws at least 2, not "
                f"{self.error_df}, {self.error_quantile} and {self.draws}."
            )


@dataclass(frozen=True)
class LinearPrediction:
    """Draws at points, in the unit of the outcome.

    Attributes
    ----------
    linear : ndarray, shape (S, P)
        Intercept and effects of the covariates.
    field : ndarray, shape (S, P)
        The field, drawn jointly for all points.
    """

    linear: Vector
    field: Vector

    @property
    def total(self) -> Vector:
        """Expected outcome at each point, shape (S, P)."""
        return self.linear + self.field


@dataclass(frozen=True)
class SpdePosterior:
    """Posterior draws of a linear model with a field.

    Attributes
    ----------
    clusters : Clusters
        The data.
    settings : SpdeSettings
        The model.
    field_prior : PcPrior
        Prior of the field as it was used.
    mesh : Mesh
        Where the field lives.
    sigma_e, range, sigma_m : ndarray, shape (S,)
        Standard deviation of the error, range and standard deviation of the field.
    coefficients : ndarray, shape (S, q)
        Intercept and slopes in the units of the input.
    nodes : ndarray, shape (S, V)
        The field at the nodes.
    ess : float
        Effective sample size of the hyperparameters.
    error : MeshError
        Error of the mesh at the posterior median of the range.
    notes : tuple of str
        What the reader should know.
    """

    clusters: Clusters
    settings: SpdeSettings
    field_prior: PcPrior
    mesh: Mesh
    sigma_e: Vector
    range: Vector
    sigma_m: Vector
    coefficients: Vector
    nodes: Vector
    ess: float
    error: MeshError
    notes: tuple[str, ...]

    @property
    def draws(self) -> int:
        """Number of draws."""
        return len(self.sigma_e)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return ("intercept", *(self.clusters.names if self.settings.covariates else ()))

    def predict(self, points: Vector, covariates: Vector) -> LinearPrediction:
        """Draws at points.

        Parameters
        ----------
        points : ndarray, shape (P, 2)
            Coordinates, in the system and unit of the clusters, inside the mesh.
        covariates : ndarray, shape (P, p)
            Covariates in the order of the clusters'; not read by SPDE0.

        Returns
        -------
        LinearPrediction
            Each draw is one function of place: calls for several windows go together.
        """
        linear = np.repeat(self.coefficients[:, :1], len(points), axis=1)
        if self.settings.covariates:
            linear = linear + self.coefficients[:, 1:] @ np.asarray(covariates, float).T
        return LinearPrediction(linear, np.asarray((self.mesh.projector(points) @ self.nodes.T).T))

    def draw(self, points: Vector, covariates: Vector) -> Vector:
        """Draws of the expected outcome, shape (S, P); see :meth:`predict`."""
        return self.predict(points, covariates).total

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Summarise hyperparameters and coefficients.

        Parameters
        ----------
        level : float
            Coverage of the intervals.

        Returns
        -------
        pandas.DataFrame
            One row each: ``parameter``, ``mean``, ``sd``, ``median``, ``lower``, ``upper``.
        """
        columns = {"sigma_e": self.sigma_e, "range": self.range, "sigma_m": self.sigma_m}
        columns |= dict(zip(self.names, self.coefficients.T, strict=True))
        tails = [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
        rows = []
        for name, values in columns.items():
            lower, median, upper = np.quantile(values, tails)
            rows.append([name, values.mean(), values.std(ddof=1), median, lower, upper])
        return pd.DataFrame(rows, columns=["parameter", "mean", "sd", "median", "lower", "upper"])


def fit_spde(
    clusters: Clusters,
    settings: SpdeSettings | None = None,
    *,
    crs: object = None,
    region: shapely.Geometry | None = None,
    mesh: Mesh | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> SpdePosterior:
    """Fit a linear model with a field.

    Parameters
    ----------
    clusters : Clusters
        The data.
    settings : SpdeSettings, optional
        The model; with covariates by default.
    crs : object, optional
        Reference system of the clusters; degrees are refused.
    region : shapely geometry, optional
        Where predictions will be made, if that is more than the clusters' convex hull.
    mesh : Mesh, optional
        Where the field lives; by default made for the clusters, the region and the prior.
    seed : int
        Same seed, same draws.
    progress : callable, optional
        ``progress(percent, text)``; it may raise to cancel.

    Returns
    -------
    SpdePosterior
        Draws.

    Raises
    ------
    ModelProblem
        If covariates are collinear, clusters too few, or the posterior cannot be sampled.
    GeometryProblem
        If coordinates are not planar, or clusters lie outside a given mesh.
    """
    chosen = settings or SpdeSettings()
    say = progress or _silent
    if not clusters.spread > 0.0:
        raise ModelProblem("The outcome does not vary, so there is nothing to fit.")
    prior = chosen.field_prior or default_prior(clusters.coordinates, clusters.spread)
    notes: tuple[str, ...] = ()
    if mesh is None:
        say(0.0, "Making the mesh")
        sizes = sizes_for(clusters.coordinates, prior, region)
        mesh, notes = build_mesh(clusters.coordinates, sizes, crs=crs, region=region), sizes.notes
    model, centre, scale = _model(clusters, chosen, prior, Spde(mesh))
    rng = np.random.default_rng(seed)
    say(5.0, "Sampling the hyperparameters")
    found = importance_sample(model.log_posterior, _starts(clusters, prior), POINTS, ENOUGH, rng)
    say(60.0, "Drawing coefficients and field")
    theta = found.resample(chosen.draws, rng)
    beta, nodes = model.draw(theta, rng)
    slopes = beta[:, 1:] / scale
    coefficients = np.column_stack([beta[:, 0] - slopes @ centre, slopes])
    sigma_e, spatial_range, sigma_m = np.exp(theta)
    error = error_at_clusters(model.spde, clusters, float(np.median(spatial_range)))
    notes = (*notes, *mesh_notes(mesh, spatial_range, error))
    if found.ess < 0.5 * ENOUGH:
        notes = (*notes, f"The effective sample size of the hyperparameters is only {found.ess:.0f}.")
    return SpdePosterior(
        clusters, chosen, prior, mesh, sigma_e, spatial_range, sigma_m, coefficients, nodes, found.ess, error, notes
    )


def data_based_prior(
    clusters: Clusters,
    settings: SpdeSettings | None = None,
    *,
    crs: object = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> PcPrior:
    """Prior medians of range and sigma_m from a fit of intercept and field, as the paper chooses them.

    Parameters
    ----------
    clusters : Clusters
        The data.
    settings : SpdeSettings, optional
        Of that fit, whose own prior of the field is by default the one that needs no fit; covariates are left out.
    crs, seed, progress
        As in :func:`fit_spde`.

    Returns
    -------
    PcPrior
        See :func:`smallarea.unit_level.pc_prior.prior_from_fit`.
    """
    alone = replace(settings or SpdeSettings(), covariates=False)
    fit = fit_spde(clusters, alone, crs=crs, seed=seed, progress=progress)
    return prior_from_fit(fit.range, fit.sigma_m)


def _silent(percent: float, text: str) -> None:
    """Say nothing."""


def _model(
    clusters: Clusters, settings: SpdeSettings, prior: PcPrior, spde: Spde
) -> tuple[CollapsedField, Vector, Vector]:
    """Model with standardised covariates, their means and standard deviations."""
    x = clusters.covariates if settings.covariates else clusters.covariates[:, :0]
    centre, scale = x.mean(axis=0), x.std(axis=0)
    # A constant covariate stays zero and is refused by name below.
    scale = np.where(scale > 0.0, scale, 1.0)
    design = np.column_stack([np.ones(clusters.n), (x - centre) / scale])
    check_design(design, clusters.names)
    quantile = float(stats.chi2.ppf(1.0 - settings.error_quantile, settings.error_df))
    nu_lambda = clusters.residual_spread() ** 2 * quantile
    return CollapsedField(clusters, design, spde, prior, settings.error_df, nu_lambda), centre, scale


def _starts(clusters: Clusters, prior: PcPrior) -> Vector:
    """Places from which the mode may be sought: little or much of the spread in the field, short to long ranges."""
    spread = float(np.log(clusters.residual_spread()))
    shares = [(-0.05, -1.5), (-0.2, -0.7), (-0.7, -0.3)]
    ranges = [float(np.log(prior.range_quantile(q))) for q in (0.05, 0.25, 0.5, 0.75)]
    return np.array([(spread + error, r, spread + field) for error, field in shares for r in ranges]).T
