"""The criteria of a comparison: what is fitted to what, and what the predictions are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData
from smallarea.results.prediction.leave_one_out import loo_predictions, waic_scores
from smallarea.results.prediction.predictions import Predictions, mixture_predictions
from smallarea.results.prediction.psis import PointwiseScores
from smallarea.results.prediction.score_table import ALL
from smallarea.results.prediction.thinning import thin
from smallarea.workflows.compare_fit import ModelFit

Vector = NDArray[np.float64]
Fitter = Callable[[Sequence[AreaLevelData]], ModelFit]

CELL_COLUMNS = (
    "criterion",
    "model",
    "area",
    "response",
    "direct",
    "predicted",
    "predicted_sd",
    "lower",
    "upper",
    "absolute_error",
    "squared_error",
    "log_score",
    "crps",
    "interval_score",
    "covered",
    "width",
    "dawid_sebastiani",
    "pit",
    "squared_error_of_truth",
    "effective",
    "pareto_k",
    "fold",
)
_KEYS = CELL_COLUMNS[:4]


@dataclass(frozen=True)
class Survey:
    """The direct estimates that predictions are held against, the same for every model.

    Attributes
    ----------
    areas, responses : tuple of str, lengths N and K
        Their names.
    direct, variance : ndarray, shape (N, K)
        Direct estimates and sampling variances, NaN where none.
    correlation : ndarray, shape (N, K, K), or None
        Sampling correlations between responses.
    """

    areas: tuple[str, ...]
    responses: tuple[str, ...]
    direct: Vector
    variance: Vector
    correlation: Vector | None

    def covariance(self) -> Vector:
        """Return the sampling covariances, zero where there is no direct estimate, shape (N, K, K)."""
        sd = np.sqrt(np.where(np.isfinite(self.direct), self.variance, 0.0))
        k = len(self.responses)
        matrix = np.zeros((len(self.areas), k, k)) if self.correlation is None else self.correlation.copy()
        matrix[:, np.arange(k), np.arange(k)] = 1.0
        return matrix * sd[:, :, None] * sd[:, None, :]

    @property
    def coupled(self) -> bool:
        """Whether sampling errors are correlated between responses."""
        k = len(self.responses)
        return self.correlation is not None and bool(np.any(self.covariance() * (1.0 - np.eye(k)) != 0.0))


def loo_cells(survey: Survey, fit: ModelFit, unit: str, level: float) -> pd.DataFrame:
    """Score the predictions of each direct estimate from all others.

    Parameters
    ----------
    survey : Survey
        The direct estimates.
    fit : ModelFit
        Of all data.
    unit : {'cell', 'area'}
        What is left out at a time.
    level : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row a cell, and with unit ``area`` and several responses one row an area with the joint score.
    """
    predictions = loo_predictions(fit.stacked, fit.means, fit.covariances, unit)
    # A cell's sampling error is in its prediction if those of the area's other responses are correlated with it.
    apart = unit == "area" or not survey.coupled
    return _cells(survey, predictions, survey.direct, survey.variance if apart else survey.variance * np.nan, level)


def waic_cells(survey: Survey, fit: ModelFit, unit: str) -> pd.DataFrame:
    """WAIC, cell by cell or area by area.

    Parameters
    ----------
    survey, fit, unit
        As for :func:`loo_cells`.

    Returns
    -------
    pandas.DataFrame
        One row a cell or area; the columns of predictions are empty.
    """
    found = waic_scores(fit.stacked, fit.means, fit.covariances, unit)
    if unit == "area" and len(survey.responses) > 1:
        return _area_rows(survey, found)
    n, k = survey.direct.shape
    frame = _grid(survey, {"log_score": found.log_score.reshape(n, k), "effective": found.effective.reshape(n, k)})
    return frame[frame["direct"].notna()].reset_index(drop=True)


def fold_cells(
    survey: Survey, data: Sequence[AreaLevelData], folds: NDArray[np.int64], fit: Fitter, level: float
) -> pd.DataFrame:
    """Cross-validate: leave out the areas of each fold in turn, fit again, predict their direct estimates.

    The predictive variance is that of the area's quantity given the other folds plus the sampling variance, since what
    it is held against is a direct estimate.

    Parameters
    ----------
    survey : Survey
        The direct estimates.
    data : sequence of AreaLevelData, length K
        The data of the model.
    folds : ndarray, shape (N,)
        Fold of each area, -1 for areas that are in none.
    fit : callable
        Fits the model to data.
    level : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row a cell, with its fold; with several responses one more row an area.
    """
    noise = survey.covariance()
    means = covariances = None
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        found = fit([_without(response, held) for response in data])
        centre, spread = _in_input_units(found)
        if means is None or covariances is None:
            means = np.full((len(centre), *survey.direct.shape), np.nan)
            covariances = np.zeros((*means.shape, survey.direct.shape[1]))
        means[:, held] = centre[:, held]
        covariances[:, held] = spread[:, held] + noise[held]
    if means is None or covariances is None:
        raise ValueError("no folds")
    value = np.where((folds >= 0)[:, None], survey.direct, np.nan)
    cells = _cells(survey, mixture_predictions(means, covariances, value), value, survey.variance, level)
    number = dict(zip(survey.areas, folds.tolist(), strict=True))
    return cells.assign(fold=cells["area"].map(number).astype(float))


def thinning_cells(
    survey: Survey,
    data: Sequence[AreaLevelData],
    fit: Fitter,
    *,
    share: float,
    repeats: int,
    seed: int,
    level: float,
) -> pd.DataFrame:
    """Fit to one half of a thinned survey and score on the other; scores are averages over the repeats.

    Parameters
    ----------
    survey, data, fit, level
        As for :func:`fold_cells`.
    share : float
        Share of the information that the model is fitted to.
    repeats : int
        How often the survey is split anew.
    seed : int
        The same splits for every model.

    Returns
    -------
    pandas.DataFrame
        One row a cell; with several responses one more row an area. ``direct`` is the mean of the held-out parts.
    """
    frames = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, 12, repeat])
        first, second = thin(survey.direct, survey.variance, survey.correlation, share, rng)
        part = [
            replace(response, direct=first[:, k], variance=survey.variance[:, k] / share)
            for k, response in enumerate(data)
        ]
        means, spread = _in_input_units(fit(part))
        rest = replace(survey, direct=second, variance=survey.variance / (1.0 - share))
        predictions = mixture_predictions(means, spread + rest.covariance(), second)
        frames.append(_cells(rest, predictions, second, rest.variance, level))
    keys = ["area", "response"]
    numbers = [name for name in frames[0].columns if name not in _KEYS]
    whole = np.mean([frame[numbers].to_numpy(dtype=float) for frame in frames], axis=0)
    averaged = pd.DataFrame(whole, columns=numbers)
    return pd.concat([frames[0][keys], averaged], axis=1)


def _without(data: AreaLevelData, held: NDArray[np.bool_]) -> AreaLevelData:
    return replace(data, direct=np.where(held, np.nan, data.direct), variance=np.where(held, np.nan, data.variance))


def _in_input_units(fit: ModelFit) -> tuple[Vector, Vector]:
    scale = np.array([response.scale for response in fit.stacked.responses])
    location = np.array([response.location for response in fit.stacked.responses])
    return location + scale * fit.means, fit.covariances * scale[:, None] * scale[None, :]


def _cells(survey: Survey, predictions: Predictions, value: Vector, variance: Vector, level: float) -> pd.DataFrame:
    scores = predictions.scores(value, variance, level)
    scores = {name: np.where(np.isfinite(value), values, np.nan) for name, values in scores.items()}
    frame = _grid(replace(survey, direct=value), scores)
    frame = frame[frame["direct"].notna()]
    if len(survey.responses) > 1 and np.isfinite(predictions.joint).any():
        k = np.where(predictions.known, predictions.pareto_k, -np.inf).max(axis=1)
        joint = PointwiseScores(
            predictions.joint, predictions.joint_effective, np.where(k == -np.inf, np.nan, k), np.empty((0, 0))
        )
        frame = pd.concat([frame, _area_rows(survey, joint)])
    return frame.reset_index(drop=True)


def _grid(survey: Survey, scores: dict[str, Vector]) -> pd.DataFrame:
    """One row a cell, the areas of the first response first."""
    n, k = survey.direct.shape
    frame = pd.DataFrame(
        {
            "area": np.tile(np.array(survey.areas, dtype=object), k),
            "response": np.repeat(np.array(survey.responses, dtype=object), n),
            "direct": survey.direct.T.ravel(),
            **{name: values.T.ravel() for name, values in scores.items()},
        }
    )
    return frame.reindex(columns=[name for name in CELL_COLUMNS if name not in _KEYS[:2]])


def _area_rows(survey: Survey, scores: PointwiseScores) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "area": np.array(survey.areas, dtype=object),
            "response": ALL,
            "log_score": scores.log_score,
            "effective": scores.effective,
            "pareto_k": scores.pareto_k,
        }
    )
    frame = frame[frame["log_score"].notna()]
    return frame.reindex(columns=[name for name in CELL_COLUMNS if name not in _KEYS[:2]])
