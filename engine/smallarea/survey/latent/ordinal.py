"""Ordinal and yes/no items: a normal variable behind each, and the model fitted to draws of it.

An answer in categories is a normal variable cut at thresholds; correlations of the variables behind are polychoric
correlations (Olsson 1979). Taken as numbers such items correlate too weakly, and their loadings are too small. Here the
variables behind are drawn given the answers, by the multivariate normal model of imputation with areas and weights in
it (data augmentation; Tanner and Wong 1987; Asparouhov and Muthen 2010); the latent model is fitted to each of M drawn
tables by maximum likelihood; and Rubin's rules put the estimates together. The normal model is saturated, so that every
latent model is a special case of it. Missing answers are drawn along.

References
----------
Asparouhov, T. and Muthen, B. (2010). Bayesian analysis of latent variable models using Mplus. Technical report.
Olsson, U. (1979). Maximum likelihood estimation of the polychoric correlation coefficient. Psychometrika 44, 443-460.
Tanner, M. A. and Wong, W. H. (1987). The calculation of posterior distributions by data augmentation. Journal of the
American Statistical Association 82, 528-540.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import TableProblem
from smallarea.survey.imputation.encoded import EncodedTable, encode_table
from smallarea.survey.imputation.margins import Linear
from smallarea.survey.imputation.method import Progress
from smallarea.survey.imputation.mvn import MultivariateNormal
from smallarea.survey.imputation.variables import Variable
from smallarea.survey.latent.fit_measures import FitMeasures
from smallarea.survey.latent.maximum_likelihood import MaximumLikelihood

Vector = NDArray[np.float64]

_MOST_CATEGORIES = 50
_AREA, _WEIGHT = "area of the respondent", "weight of the respondent"


def underlying_tables(
    values: Vector,
    names: Sequence[str],
    ordinal: Sequence[str],
    *,
    areas: NDArray[np.int64] | None,
    weights: Vector | None,
    imputations: int,
    seed: int,
    progress: Progress | None = None,
) -> list[Vector]:
    """Draw the normal variables behind ordinal items, and missing answers of all.

    Parameters
    ----------
    values : ndarray, shape (n, p)
        Answers, NaN where missing.
    names : sequence of str, length p
        Items.
    ordinal : sequence of str
        Items that are categories in order; the others are numbers.
    areas : ndarray of int, shape (n,), optional
        Area of each respondent; the variables then vary between areas.
    weights : ndarray, shape (n,), optional
        Sampling weights; their logarithm is in the model, if all are above zero.
    imputations : int
        How many tables.
    seed : int
        Of all randomness.
    progress : callable, optional
        ``progress(percent, text)``.

    Returns
    -------
    list of ndarray, shape (n, p)
        Numbers in their units, variables behind categories in standard deviations. Rows without any answer stay
        empty.

    Raises
    ------
    TableProblem
        If an ordinal item has more than 50 categories.
    ModelProblem
        If an item follows exactly from others.
    """
    frame = pd.DataFrame(values, columns=list(names))
    variables = [_variable(name, values[:, k], name in ordinal) for k, name in enumerate(names)]
    if areas is not None:
        frame[_AREA] = areas
    weighted = weights is not None and bool((weights > 0.0).all())
    if weighted:
        frame[_WEIGHT] = weights
    encoded = encode_table(
        frame, variables, area=None if areas is None else _AREA, weight=_WEIGHT if weighted else None
    )
    fitted = MultivariateNormal().fit(encoded, seed=seed, progress=progress)
    empty = np.isnan(values).all(axis=1)
    found = []
    for rng in np.random.default_rng([seed, imputations]).spawn(imputations):
        drawn = _in_units(encoded, fitted.draw(rng))
        drawn[empty] = np.nan
        found.append(drawn)
    return found


def _variable(name: str, answers: Vector, ordinal: bool) -> Variable:
    if not ordinal:
        return Variable(name, "continuous")
    categories = np.unique(answers[np.isfinite(answers)])
    if len(categories) > _MOST_CATEGORIES:
        raise TableProblem(
            f"The ordinal item {name!r} has {len(categories)} different answers, more than {_MOST_CATEGORIES}. Leave "
            "it out of the ordinal ones: it is taken as a number."
        )
    return Variable(name, "binary" if len(categories) == 2 else "ordinal", categories=tuple(categories.tolist()))


def _in_units(encoded: EncodedTable, working: Vector) -> Vector:
    found = working.copy()
    for place, column in enumerate(encoded.columns):
        if isinstance(column.margin, Linear):
            found[:, place] = column.margin.centre + column.margin.spread * working[:, place]
    return found


def pool(found: Sequence[MaximumLikelihood]) -> MaximumLikelihood:
    """Put the fits to M tables together by Rubin's rules.

    Parameters
    ----------
    found : sequence of MaximumLikelihood
        Of the same model.

    Returns
    -------
    MaximumLikelihood
        Mean estimates; the covariance is the mean one, which is kept as `within`, and ``1 + 1/M`` times that between
        tables.
    """
    m = len(found)
    theta = np.stack([one.theta for one in found])
    away = theta - theta.mean(axis=0)
    between = away.T @ away / (m - 1)
    within = np.mean([one.covariance for one in found], axis=0)
    return replace(
        found[0],
        theta=theta.mean(axis=0),
        covariance=within + (1.0 + 1.0 / m) * between,
        mean=np.mean([one.mean for one in found], axis=0),
        log_likelihood=float(np.mean([one.log_likelihood for one in found])),
        steps=sum(one.steps for one in found),
        within=within,
        tables=m,
    )


def pool_measures(found: Sequence[FitMeasures]) -> FitMeasures:
    """Return the mean of the measures of M tables, without a p value: the mean chi-squared is not chi-squared."""
    means = {f.name: np.mean([getattr(one, f.name) for one in found], axis=0) for f in fields(FitMeasures)}
    numbers = {name: float(value) for name, value in means.items() if name not in ("residuals", "df")}
    return FitMeasures(**{**numbers, "p_value": float("nan")}, df=found[0].df, residuals=np.asarray(means["residuals"]))
