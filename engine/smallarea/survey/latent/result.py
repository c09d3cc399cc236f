"""The result of a latent indicator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from smallarea.io.workbook import Sheet
from smallarea.survey.latent.estimates import LatentEstimates
from smallarea.survey.latent.fit_measures import FitMeasures

IMPUTATION = "imputation"


@dataclass(frozen=True)
class LatentIndicatorResult:
    """Factors of a survey, respondent by respondent.

    Attributes
    ----------
    estimates : LatentEstimates
        Parameters and effects with their errors.
    fit : FitMeasures
        How well the model reproduces the items' covariances.
    scores : pandas.DataFrame
        The survey with, for each factor F, ``score_F`` (mean given the answers) and ``se_F``.
    plausible_values : pandas.DataFrame
        M tables one below the other: ``imputation`` (1 to M), the survey's columns, and a column for each factor with
        a plausible value.
    areas : pandas.DataFrame
        One row a factor: variance ``between`` and ``within`` areas and the share between; empty without areas.
    settings : dict
        What was asked for.
    warnings, notes : tuple of str
        What to know before using the scores, and what was done.
    """

    estimates: LatentEstimates
    fit: FitMeasures
    scores: pd.DataFrame
    plausible_values: pd.DataFrame
    areas: pd.DataFrame
    settings: Mapping[str, Any]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """Numbers of the model and its fit."""
        measures = self.fit.numbers
        shown = ("chi2", "df", "p_value", "cfi", "tli", "rmsea", "srmr", "aic", "bic")
        return {
            "n_respondents": len(self.scores),
            "n_items": len(self.estimates.model.observed),
            "n_factors": len(self.estimates.model.latent),
            "n_parameters": len(self.estimates.model.names),
            **{name: _finite(measures[name]) for name in shown},
        }


def sheets(result: LatentIndicatorResult) -> list[Sheet]:
    """Return the workbook: parameters, effects, fit, residuals of correlations, areas, settings.

    Parameters
    ----------
    result : LatentIndicatorResult
        What to write.

    Returns
    -------
    list of Sheet
        In the order of reading.
    """
    names = result.estimates.model.observed
    residuals = pd.DataFrame(result.fit.residuals, columns=list(names))
    residuals.insert(0, "item", list(names))
    found = [
        Sheet("Parameters", result.estimates.parameters),
        Sheet("Effects", result.estimates.effects),
        Sheet("Fit", pd.DataFrame(list(result.fit.numbers.items()), columns=["measure", "value"])),
        Sheet("Residual correlations", residuals),
        Sheet("Areas", result.areas),
        Sheet("Settings", _settings(result)),
    ]
    return [sheet for sheet in found if len(sheet.frame)]


def _settings(result: LatentIndicatorResult) -> pd.DataFrame:
    asked = [(name, str(value)) for name, value in result.settings.items() if value not in (None, [], ())]
    return pd.DataFrame(
        [*asked, *_said("warning", result.warnings), *_said("note", result.notes)], columns=["name", "value"]
    )


def _said(what: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(what, text) for text in texts]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
