"""Do flexible covariates pay? Trees and the linear model with the same area effect, on areas that were left out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData, stack, standardise
from smallarea.area_trees import AreaTreesPosterior, AreaTreesSettings, sample_area_trees
from smallarea.areas import AreaGraph
from smallarea.errors import ModelProblem
from smallarea.results.prediction.folds import random_folds
from smallarea.results.prediction.score_table import score_table
from smallarea.workflows.compare_fit import FitSettings, ModelFit, fit_candidate
from smallarea.workflows.compare_scores import Survey, fold_cells, loo_cells

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

TREES, LINEAR = "trees", "linear"
# Draws of a fold's fit that make up predictions.
DRAWS_OF_A_FOLD = 500


@dataclass(frozen=True)
class Sampling:
    """How trees are sampled: the names are those of the job, ``draws`` of each chain."""

    settings: AreaTreesSettings
    chains: int
    warmup: int
    draws: int
    seed: int
    level: float


@dataclass(frozen=True)
class Comparison:
    """Scores of left-out areas.

    Attributes
    ----------
    table : pandas.DataFrame
        By criterion and model.
    std_residual : ndarray, shape (N,)
        Direct estimates less their predictions from all others by the trees, over the predictions' standard deviations.
    statistics : dict
        ``elpd_gain``, ``elpd_gain_se``: log score of the trees less that of the linear model, and its standard error;
        empty where there is no linear model.
    verdicts : tuple of str
        Whether flexible covariates pay, and what was not compared.
    """

    table: pd.DataFrame
    std_residual: Vector
    statistics: dict[str, float]
    verdicts: tuple[str, ...]


def compare_with_linear(
    data: AreaLevelData,
    response: str,
    fit: AreaTreesPosterior,
    graph: AreaGraph | None,
    sampling: Sampling,
    folds: int,
    tell: Progress,
) -> Comparison:
    """Score trees and the linear model of the same area effect on areas that they have not seen.

    Left out one by one, by importance weights over the draws (exact given trees and hyperparameters); with folds also
    by fitting both models again.

    Parameters
    ----------
    data : AreaLevelData
        The data.
    response : str
        Name of the direct estimates.
    fit : AreaTreesPosterior
        Trees, fitted to all data.
    graph : AreaGraph or None
        Adjacency.
    sampling : Sampling
        How they were fitted.
    folds : int
        Folds of a cross-validation; 0 for none.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.

    Returns
    -------
    Comparison
    """
    survey = Survey(data.areas, (response,), data.direct[:, None], data.variance[:, None], None)
    linear = replace(fit.specification, covariates=data.covariate_names)
    settings = FitSettings(min_ess=1000, level=sampling.level, seed=sampling.seed, solver="auto", workers=0)

    finished: list[str] = []

    def within_this(percent: float, _: str) -> None:
        tell(100.0 * (len(finished) + percent / 100.0) / (1 + 2 * folds), "comparing with the linear model")

    def fit_linear(responses: Sequence[AreaLevelData]) -> ModelFit:
        found = fit_candidate(responses, None, linear, graph, settings, within_this)
        finished.append(LINEAR)
        return found

    def fit_trees(responses: Sequence[AreaLevelData]) -> ModelFit:
        again = sample_area_trees(
            responses[0], fit.specification, graph, sampling.settings, chains=sampling.chains, warmup=sampling.warmup,
            draws=sampling.draws, seed=sampling.seed, progress=within_this,
        )  # fmt: skip
        finished.append(TREES)
        kept = np.linspace(0, len(again.theta) - 1, DRAWS_OF_A_FOLD).round().astype(int)
        return _as_fit(responses[0], again.theta[kept], np.zeros((DRAWS_OF_A_FOLD, len(data.areas))))

    own = _as_fit(data, fit.means, fit.variances)
    cells = [loo_cells(survey, own, "area", sampling.level).assign(criterion="loo", model=TREES)]
    residual = _residuals(data, cells[0])
    try:
        cells.append(
            loo_cells(survey, fit_linear([data]), "area", sampling.level).assign(criterion="loo", model=LINEAR)
        )
    except ModelProblem as error:
        return Comparison(
            score_table(pd.concat(cells, ignore_index=True), [response]),
            residual,
            {},
            (f"Trees were not compared with the linear model, which cannot be fitted: {error}",),
        )
    if folds:
        parts = random_folds(data.variance, folds, np.random.default_rng(sampling.seed))
        for name, fitter in ((TREES, fit_trees), (LINEAR, fit_linear)):
            cells.append(fold_cells(survey, [data], parts, fitter, sampling.level).assign(criterion="cv", model=name))
    table = score_table(pd.concat(cells, ignore_index=True), [response])
    rows = table[table["criterion"] == ("cv" if folds else "loo")].set_index("model")
    elpd, crps = rows["elpd"].astype(float).to_dict(), rows["crps"].astype(float).to_dict()
    gain = elpd[TREES] - elpd[LINEAR]
    # The table gives differences to the best model; the standard error is the same in both directions.
    se = float(rows["difference_se"].max())
    verdicts = [_verdict(gain, se, crps, f"in {folds}-fold cross-validation" if folds else "one by one")]
    bad = float(table.loc[(table["criterion"] == "loo") & (table["model"] == TREES), "pareto_k_bad"].fillna(0.0).sum())
    if not folds and bad:
        verdicts.append(
            f"Leaving out {bad:.0f} of the areas one by one is uncertain for trees (Pareto k above 0.7): ask for "
            "folds, which fit both models again."
        )
    return Comparison(table, residual, {"elpd_gain": gain, "elpd_gain_se": se}, tuple(verdicts))


def _as_fit(data: AreaLevelData, means: Vector, variances: Vector) -> ModelFit:
    """Draws of trees take the place that draws of the hyperparameters have in a linear model."""
    bare = replace(data, covariates=np.empty((len(data.areas), 0)), covariate_names=())
    stacked = stack([standardise(bare, True)], None)
    scaled = stacked.responses[0]
    return ModelFit(
        stacked,
        ((means - scaled.location) / scaled.scale)[:, :, None],
        (variances / scaled.scale**2)[:, :, None, None],
        {},
    )


def _residuals(data: AreaLevelData, cells: pd.DataFrame) -> Vector:
    own = (cells["direct"] - cells["predicted"]) / cells["predicted_sd"]
    by_area = dict(zip(cells["area"], own, strict=True))
    return np.array([float(by_area.get(area, np.nan)) for area in data.areas])


def _verdict(gain: float, error: float, crps: dict[Hashable, float], how: str) -> str:
    numbers = (
        f"Areas left out {how}: log score of trees less that of the linear model {gain:+.1f} (standard error "
        f"{error:.1f}), CRPS {crps[TREES]:.4g} against {crps[LINEAR]:.4g}."
    )
    if gain > 2.0 * error:
        return f"{numbers} Flexible covariates pay here."
    if gain < -2.0 * error:
        return f"{numbers} The linear model predicts better: use the task fit."
    return (
        f"{numbers} Flexible covariates do not pay here: the linear model of the task fit predicts as well or better, "
        "and says what each covariate does."
    )
