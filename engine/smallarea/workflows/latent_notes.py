"""What is to be said of a latent indicator before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from smallarea.errors import named
from smallarea.io.survey_table import SurveyTable
from smallarea.survey.latent.bayes import LatentPosterior
from smallarea.survey.latent.estimates import LatentEstimates
from smallarea.survey.latent.fit_measures import FitMeasures
from smallarea.survey.latent.patterns import Answers
from smallarea.survey.latent.prior_layout import LatentPriors

# Hu and Bentler (1999) for SRMR and CFI; Vehtari et al. (2021) for chains.
_WORST_SRMR = 0.08
_LEAST_CFI = 0.90
_WORST_R_HAT = 1.01
_LEAST_ESS = 400.0


def fit_warnings(estimates: LatentEstimates, measures: FitMeasures, priors: LatentPriors) -> list[str]:
    """Warn of a bad fit, of chains that have not converged, and of priors that contradict the answers.

    Parameters
    ----------
    estimates : LatentEstimates
        What was found.
    measures : FitMeasures
        How well it fits.
    priors : LatentPriors
        Priors, for draws.

    Returns
    -------
    list of str
        Often none.
    """
    found = []
    if measures.srmr > _WORST_SRMR or measures.cfi < _LEAST_CFI:
        found.append(
            f"The model fits badly (SRMR {measures.srmr:.3f}, CFI {measures.cfi:.3f}; good: below {_WORST_SRMR}, above "
            f"{_LEAST_CFI}). Its factors are not what the items have in common; the residual correlations in the "
            "workbook show where."
        )
    if isinstance(estimates.source, LatentPosterior):
        found += _of_chains(estimates.source)
        found += _of_signs(estimates, priors)
    return found


def _of_chains(posterior: LatentPosterior) -> list[str]:
    r_hat, ess = float(np.nanmax(posterior.r_hat)), float(np.nanmin(posterior.ess))
    if r_hat <= _WORST_R_HAT and ess >= _LEAST_ESS and not posterior.divergences:
        return []
    return [
        f"The chains are too short (R-hat up to {r_hat:.3f}, effective draws down to {ess:.0f}, "
        f"{posterior.divergences} divergences). Set more warmup and draws, or simplify the model."
    ]


def _of_signs(estimates: LatentEstimates, priors: LatentPriors) -> list[str]:
    table = estimates.parameters
    against = table[(table["operator"] == "=~") & (table["estimate"] * priors.loading_mean < 0.0) & table["se"].notna()]
    if not len(against):
        return []
    return [
        f"The loadings of {named(against['right'])} have the sign that their prior thinks unlikely. Turn the scale of "
        "these items round, or set loading_mean to 0 and loading_sd to 1."
    ]


def reading_notes(survey: SurveyTable, answers: Answers, call: Mapping[str, Any], without: int) -> list[str]:
    """Say what was read and what was done with missing answers.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    answers : Answers
        Their answers.
    call : mapping
        The parameters of the job by name.
    without : int
        Respondents without an area.

    Returns
    -------
    list of str
        What to know.
    """
    found = list(survey.notes)
    missing = ~np.isfinite(answers.values)
    if missing.any():
        found.append(
            f"{int(missing.sum())} answers of {missing.size} are missing, in {len(answers.patterns)} patterns. They "
            "count as missing at random given the other items."
        )
    empty = int(missing.all(axis=1).sum())
    if empty:
        found.append(f"{empty} respondents answered no item. Their scores are those of their area, or of everybody.")
    if without:
        found.append(f"{without} respondents have no area; they are treated as one area more.")
    if call["method"] == "bayes" and call["weight"] is not None:
        found.append(
            "The weights count in the likelihood, and add up to the effective number of respondents; of strata and "
            "sampling units the intervals of parameters know nothing."
        )
    if call["ordinal"]:
        found.append(
            f"Ordinal items have a normal variable behind them, drawn {call['imputations']} times; measures of fit are "
            "means over the draws, and there is no p value."
        )
    if call["area_field"] is None:
        found.append(
            "No areas were named: scores are pulled towards the mean of all respondents, and so are the means of areas."
        )
    return found
