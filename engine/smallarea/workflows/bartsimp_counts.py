"""Outcomes of cluster models that are counted: which parameters they take, how they are read, what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import numeric_column
from smallarea.io.survey_table import SurveyTable
from smallarea.unit_level import BartsimpPosterior
from smallarea.unit_level.likelihoods import LIKELIHOODS, check_counts

Vector = NDArray[np.float64]

# What belongs to normal outcomes, with its default.
_OF_NORMAL = {"leaf_spread": "observations", "rank": None, "preset": "default"}
# Clusters from which a mesh of the default size is the faster of the two.
MANY_CLUSTERS = 1000
_SCALES = {"binomial": "logit", "negative_binomial": "log"}


def check_likelihood(call: Mapping[str, Any]) -> None:
    """Refuse parameters that the likelihood does not use.

    Parameters
    ----------
    call : mapping
        The parameters of the job by name.

    Raises
    ------
    JobProblem
        Naming them.
    """
    likelihood = call["likelihood"]
    if likelihood not in LIKELIHOODS:
        raise JobProblem(f"There is no likelihood {likelihood!r}. Choose one of {named(LIKELIHOODS)}.")
    if call["exposure_field"] is not None and likelihood != "negative_binomial":
        raise JobProblem("exposure_field belongs to the likelihood negative_binomial. Choose that, or leave it out.")
    if call["trials_field"] is not None and likelihood == "negative_binomial":
        raise JobProblem(
            "trials_field belongs to shares, and negative_binomial is of counts at an exposure. Name exposure_field, "
            "or choose the likelihood binomial."
        )
    if call["displaced"] and likelihood != "normal":
        raise JobProblem(
            f"Places of displaced clusters are learned with the likelihood normal, not with {likelihood}. Leave "
            "displaced out; effects of covariates that vary over short distances are then drawn towards zero."
        )
    wrong = [] if likelihood == "normal" else [name for name, usual in _OF_NORMAL.items() if call[name] != usual]
    if wrong:
        raise JobProblem(f"{named(wrong)} belong to the likelihood normal, not to {likelihood}. Leave them out.")


def counted_rows(survey: SurveyTable, call: Mapping[str, Any]) -> tuple[Vector, Vector, tuple[str, ...]]:
    """Read counts, and trials or exposures, of each row.

    Parameters
    ----------
    survey : SurveyTable
        The rows.
    call : mapping
        The parameters of the job by name.

    Returns
    -------
    counts, sizes : ndarray, shape (N,)
        Both missing where either is.
    said : tuple of str
        How they are taken.

    Raises
    ------
    TableProblem
        If they are no counts; rows are named.
    """
    likelihood = call["likelihood"]
    counts = numeric_column(survey.frame, call["outcome_field"])
    field = call["trials_field"] if likelihood == "binomial" else call["exposure_field"]
    sizes = np.ones(len(counts)) if field is None else numeric_column(survey.frame, field)
    try:
        check_counts(counts, sizes, likelihood)
    except TableProblem as error:
        what = repr(call["outcome_field"]) if field is None else f"{call['outcome_field']!r} and {field!r}"
        raise TableProblem(f"{what}: {error}") from error
    lost = ~np.isfinite(counts + sizes)
    if likelihood == "binomial":
        of = "1 trial a row" if field is None else repr(field)
        said = f"{call['outcome_field']!r} are successes of {of}, with a binomial likelihood; rows of a cluster add up."
    else:
        at = "an exposure of 1" if field is None else repr(field)
        said = f"{call['outcome_field']!r} are counts at {at}, with a negative binomial likelihood; rows add up."
    return np.where(lost, np.nan, counts), np.where(lost, np.nan, sizes), (said,)


def many_notes(posterior: BartsimpPosterior) -> tuple[str, ...]:
    """Say where a mesh would save much time: the exact field of a counted outcome is factored in every sweep."""
    settings, n = posterior.settings, posterior.clusters.n
    if settings.likelihood == "normal" or settings.field != "exact" or n < MANY_CLUSTERS:
        return ()
    return (
        f"The covariance of {n} clusters was factored several times in each sweep, since the outcome is counted. A "
        "field on a mesh (mesh_nodes) takes a time that is linear in the clusters.",
    )


def scale_of(likelihood: str, outcome: str) -> str:
    """Name the scale of trees and field."""
    return f"{_SCALES[likelihood]} of {outcome}" if likelihood in _SCALES else outcome


def surface_notes(posterior: BartsimpPosterior, outcome: str) -> tuple[str, ...]:
    """Say what a surface of a counted outcome shows; nothing of a normal one."""
    likelihood = posterior.settings.likelihood
    if likelihood == "binomial":
        return (
            f"What is mapped are expected shares of {outcome!r}: each draw is averaged over how clusters differ beyond "
            "covariates and field (sigma_e), since areas hold many of them.",
        )
    if likelihood == "negative_binomial":
        return (f"What is mapped are expected rates of {outcome!r} at an exposure of 1.",)
    return ()


def effect_notes(posterior: BartsimpPosterior, outcome: str) -> tuple[str, ...]:
    """Say on which scale effects of a counted outcome are; nothing of a normal one."""
    likelihood = posterior.settings.likelihood
    if likelihood not in _SCALES:
        return ()
    what = "shares" if likelihood == "binomial" else "rates"
    return (f"Effects are on the scale of the model, the {scale_of(likelihood, outcome)}: they are not {what}.",)
