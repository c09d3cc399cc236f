"""How well are clusters predicted that a model has not seen? For BARTSIMP and its baselines alike.

What is predicted is the mean of a left-out cluster: draws of the expected outcome plus the error of a mean of n_i
observations, ``N(0, sigma_e^2 / n_i)``, draw by draw; of counts, shares or rates drawn from their likelihood. Scores of
intervals for single observations would hardly differ between models, and intervals without the error would be too
narrow for what is observed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem
from smallarea.results.prediction.rules import covered, crps_draws, interval_score
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.likelihoods import draw_observed
from smallarea.unit_level.posterior import BartsimpPosterior, Prediction

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

SCORES = ("rmse", "bias", "coverage", "width", "interval_score", "crps")


class ClusterPosterior(Protocol):
    """What a fitted model offers: BARTSIMP's posterior and that of the linear baselines do."""

    @property
    def sigma_e(self) -> Vector:
        """Standard deviation of the error, S draws in any shape."""

    def predict(self, points: Vector, covariates: Vector) -> Any:
        """Return an object whose ``total`` has the draws of the expected outcome, shape (S, P)."""


def score_points(truth: Vector, draws: Vector, level: float = 0.95) -> pd.DataFrame:
    """Score draws where the truth is known.

    Parameters
    ----------
    truth : ndarray, shape (P,)
        True values.
    draws : ndarray, shape (S, P)
        Draws.
    level : float
        Coverage that the intervals claim.

    Returns
    -------
    pandas.DataFrame
        One row a point: ``observed``, ``predicted`` (mean), ``lower``, ``upper``, ``error``, ``covered``, ``width``,
        ``interval_score`` (not divided by anything) and ``crps``, in the unit of the outcome.
    """
    lower, upper = np.quantile(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    mean = draws.mean(axis=0)
    columns = {"observed": truth, "predicted": mean, "lower": lower, "upper": upper, "error": mean - truth}
    columns |= {"covered": covered(truth, lower, upper), "width": upper - lower}
    columns |= {"interval_score": interval_score(truth, lower, upper, level), "crps": crps_draws(truth, draws)}
    return pd.DataFrame(columns)


def summarise(points: pd.DataFrame) -> pd.Series:
    """Average scores: ``rmse``, ``bias``, ``coverage``, ``width``, ``interval_score``, ``crps``."""
    error = points["error"].to_numpy(np.float64)
    values = [np.sqrt(np.mean(error**2)), error.mean(), points["covered"].mean(), points["width"].mean()]
    return pd.Series([*values, points["interval_score"].mean(), points["crps"].mean()], index=list(SCORES))


@dataclass(frozen=True)
class CrossValidation:
    """Predictions of left-out clusters by several models.

    Attributes
    ----------
    points : dict of str to pandas.DataFrame
        For each model the columns of :func:`score_points` and ``cluster``, ``fold`` and ``observations``, in the order
        of the clusters.
    """

    points: dict[str, pd.DataFrame]

    def table(self) -> pd.DataFrame:
        """Average scores, one row a model: ``model`` and the columns of :func:`summarise`."""
        rows = [summarise(points).to_frame().T.assign(model=name) for name, points in self.points.items()]
        return pd.concat(rows, ignore_index=True)[["model", *SCORES]]

    def difference(self, one: str, other: str, score: str = "crps") -> tuple[float, float]:
        """Mean difference of a score of two models on the same clusters, and its standard error.

        Parameters
        ----------
        one, other : str
            Models; below zero the first is better.
        score : {'crps', 'interval_score'}
            A score of single clusters.

        Returns
        -------
        mean, error : float
            The error takes folds as independent and clusters within a fold as not: those of a fold share a fit.

        Raises
        ------
        JobProblem
            If a model is not among those compared.
        """
        for name in (one, other):
            if name not in self.points:
                raise JobProblem(f"{name!r} was not cross-validated; there are {', '.join(self.points)}.")
        difference = (self.points[one][score] - self.points[other][score]).to_numpy(np.float64)
        fold = self.points[one]["fold"].to_numpy()
        mean = float(difference.mean())
        sums = np.array([np.sum(difference[fold == f] - mean) for f in np.unique(fold)])
        k = len(sums)
        return mean, float(np.sqrt(np.sum(sums**2) * k / (k - 1)) / len(difference))

    def verdict(self, flexible: str, simple: str) -> str:
        """Say whether a flexible model predicts better than a simple one: by more than two standard errors of CRPS."""
        mean, error = self.difference(flexible, simple)
        numbers = f"mean CRPS differs by {mean:.4g}, standard error {error:.2g}"
        if mean < -2.0 * error:
            return f"{flexible} predicts left-out clusters better than {simple} ({numbers})."
        if mean > 2.0 * error:
            return f"{flexible} predicts left-out clusters worse than {simple} ({numbers}); prefer {simple}."
        return f"{flexible} does not predict left-out clusters better than {simple} ({numbers}): it does not pay here."


def cross_validate(
    models: dict[str, Callable[[Clusters, int], ClusterPosterior]],
    clusters: Clusters,
    folds: NDArray[np.int64],
    *,
    level: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> CrossValidation:
    """Leave out each fold in turn, fit every model to the rest, and score the means of the clusters left out.

    Parameters
    ----------
    models : dict of str to callable
        ``fit(clusters, seed)`` returns a posterior. A field on a mesh should be given a mesh of all clusters, since a
        region that is left out may lie beyond the others.
    clusters : Clusters
        All clusters.
    folds : ndarray of int, shape (n,)
        Fold of each cluster, of :mod:`smallarea.unit_level.folds`.
    level : float
        Coverage that the intervals claim.
    seed : int
        Same seed, same scores.
    progress : callable, optional
        ``progress(percent, text)``; it may raise to cancel.

    Returns
    -------
    CrossValidation
        Predictions and scores.

    Raises
    ------
    JobProblem
        If folds and clusters differ in number, or there is only one fold.
    """
    kinds = np.unique(folds)
    if len(folds) != clusters.n or len(kinds) < 2:
        raise JobProblem(f"Give a fold for each of the {clusters.n} clusters, and at least two folds.")
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in models}
    steps = len(kinds) * len(models)
    for f, fold in enumerate(kinds):
        out, rest = clusters.take(np.flatnonzero(folds == fold)), clusters.take(np.flatnonzero(folds != fold))
        for m, (name, fit) in enumerate(models.items()):
            if progress is not None:
                progress(100.0 * (f * len(models) + m) / steps, f"Fold {f + 1} of {len(kinds)}: {name}")
            fit_seed, noise_seed = np.random.SeedSequence((seed, f)).generate_state(2)
            posterior = fit(rest, int(fit_seed))
            draws = _draws_of_means(posterior, out, np.random.default_rng(noise_seed))
            made = score_points(out.means, draws, level)
            made.insert(0, "cluster", list(out.ids))
            made.insert(1, "fold", int(fold))
            parts[name].append(made.assign(observations=out.sizes))
    order = {cluster: i for i, cluster in enumerate(clusters.ids)}
    joined = {}
    for name, tables in parts.items():
        table = pd.concat(tables, ignore_index=True)
        joined[name] = table.iloc[np.argsort(table["cluster"].map(order).to_numpy())].reset_index(drop=True)
    return CrossValidation(joined)


def _draws_of_means(posterior: ClusterPosterior, out: Clusters, rng: np.random.Generator) -> Vector:
    """Draws of the observed means of left-out clusters, shape (S, P)."""
    made = posterior.predict(out.coordinates, out.covariates)
    if isinstance(made, Prediction) and made.likelihood != "normal":
        return draw_observed(made.linear, made.sigma_e, out.sizes, made.likelihood, rng)
    expected = np.asarray(made.total)
    if out.candidates is not None and isinstance(posterior, BartsimpPosterior):
        # Nothing is known of the place of a cluster that was left out but its prior: each draw puts it somewhere.
        rows = out.candidates.drawn(rng, posterior.draws)
        trees = posterior.trees_where(out.candidates.covariates, rows, np.arange(posterior.draws))
        expected = made.field + trees + posterior.clusters.mean
    error = np.ravel(posterior.sigma_e)[:, None] / np.sqrt(out.sizes)
    return expected + error * rng.standard_normal(expected.shape)
