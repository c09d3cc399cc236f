"""The result of a fit with regression trees: that of any fit, and what trees use and whether they pay."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from smallarea.results.fit_result import FitResult


@dataclass(frozen=True)
class TreesResult(FitResult):
    """Estimates of a Fay-Herriot model with trees; as :class:`smallarea.results.fit_result.FitResult`, and more.

    Attributes
    ----------
    inclusion : pandas.DataFrame
        One row a covariate, the most used first: ``covariate``, ``share`` of all rules (mean over draws), ``lower``,
        ``upper``, ``used`` (share of the draws with a rule).
    comparison : pandas.DataFrame
        Scores of predicting direct estimates that were left out, by ``criterion`` (``loo``, ``cv``) and ``model``
        (``trees``, ``linear``), see :func:`smallarea.results.prediction.score_table.score_table`.
    verdicts : tuple of str
        Whether flexible covariates pay.
    """

    inclusion: pd.DataFrame = field(default_factory=pd.DataFrame)
    comparison: pd.DataFrame = field(default_factory=pd.DataFrame)
    verdicts: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the map on request, and whether flexible covariates pay."""
        return (*super().notes, *self.verdicts)

    def more_sheets(self) -> dict[str, pd.DataFrame]:
        """Return tables that only this kind of fit has, by the name of their sheet."""
        return {"Covariates in trees": self.inclusion, "Comparison": self.comparison}
