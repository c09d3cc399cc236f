"""The result of a comparison of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from smallarea.results.prediction.score_table import ALL

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph, Areas

# Differences of log scores below this are noise, whatever their standard error (Sivula, Magnusson and Vehtari 2020).
SMALL = 4.0
CRITERIA = ("loo", "waic", "cv_area", "cv_block", "thinning", "information")


@dataclass(frozen=True)
class CompareResult:
    """Models side by side.

    Attributes
    ----------
    scores : pandas.DataFrame
        One row a criterion, model and response (``all`` over several), the best model of a criterion first:
        ``criterion``, ``model``, ``response``, ``n`` (cells or areas), ``elpd`` (sum of log predictive densities) with
        ``elpd_se``, ``difference`` to the best model of the row's group with ``difference_se`` (paired), and means over
        the cells: ``crps``, ``interval_score``, ``coverage``, ``width``, ``rmse``, ``mae``, ``mse_truth`` (against the
        true quantity, without bias: the sampling variance is subtracted, so that it may be negative),
        ``dawid_sebastiani``; ``effective`` (number of parameters), ``pareto_k_max``, ``pareto_k_bad`` (how many are
        above 0.7). Units are those of the input.
    information : pandas.DataFrame
        One row a model: ``model``, ``log_marginal_likelihood`` with ``..._se`` and ``log_bayes_factor`` (to the best),
        ``log_likelihood``, ``restricted_log_likelihood``, ``aic``, ``bic``, ``kic``, ``caic``, ``effective_df``; NaN
        where a method has none. Empty if not asked for.
    models : pandas.DataFrame
        One row a model: ``model``, ``random_effect``, ``link``, ``order``, ``iid_part``, ``covariates``, ``method``,
        ``formula``, ``seconds``, ``converged``, ``ess_min``, ``pareto_k``.
    cells : pandas.DataFrame
        One row a criterion, model, area and response: ``direct``, ``predicted``, ``predicted_sd``, ``lower``,
        ``upper``, every score, ``pit``, ``fold``. Rows with the response ``all`` hold joint log scores of areas.
    best : mapping
        Criterion to the model with the largest ``elpd``.
    indistinct : mapping
        Criterion to the models whose difference to the best is below 4 or below two standard errors.
    warnings : tuple of str
        Few and worth reading.
    settings : mapping
        What was asked for, printable.
    areas : Areas or None
        The polygons.
    graph : AreaGraph or None
        The adjacency graph.
    versions : mapping
        Package to version.
    """

    scores: pd.DataFrame
    information: pd.DataFrame
    models: pd.DataFrame
    cells: pd.DataFrame
    best: Mapping[str, str]
    indistinct: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    areas: Areas | None = None
    graph: AreaGraph | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the map on request."""
        from smallarea.areas.changes import change_notes

        return change_notes(self.areas, self.graph)

    @property
    def overall(self) -> pd.DataFrame:
        """The rows of ``scores`` that count: over all responses."""
        several = self.scores["response"].eq(ALL).any()
        return self.scores[self.scores["response"].eq(ALL)] if several else self.scores

    @property
    def summary(self) -> dict[str, Any]:
        """The best model by each criterion, and how far the others are behind."""
        found: dict[str, Any] = {"n_models": len(self.models)}
        for criterion, of in self.overall.groupby("criterion", sort=False):
            found[f"best_{criterion}"] = self.best[str(criterion)]
            found[f"difference_{criterion}"] = {
                str(model): round(float(value), 2) for model, value in zip(of["model"], of["difference"], strict=True)
            }
        if len(self.models):
            found["seconds"] = round(float(self.models["seconds"].sum()), 2)
        return found


def leaders(overall: pd.DataFrame) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Find the best model of each criterion, and those that cannot be told from it.

    Parameters
    ----------
    overall : pandas.DataFrame
        Rows of the scores over all responses.

    Returns
    -------
    best : dict
        Criterion to model.
    indistinct : dict
        Criterion to other models.
    """
    best, near = {}, {}
    for criterion, of in overall.groupby("criterion", sort=False):
        first = str(of.iloc[0]["model"])
        rest = of.iloc[1:]
        close = (rest["difference"].abs() < SMALL) | (rest["difference"].abs() < 2.0 * rest["difference_se"])
        best[str(criterion)] = first
        near[str(criterion)] = tuple(str(model) for model in rest.loc[close, "model"])
    return best, near
