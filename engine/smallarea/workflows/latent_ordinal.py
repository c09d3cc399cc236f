"""A latent indicator of ordinal items: the same steps for each table of the variables behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.design import SurveyDesign
from smallarea.survey.latent.bayes import draw_means
from smallarea.survey.latent.estimates import LatentEstimates, from_likelihood
from smallarea.survey.latent.fit_measures import FitMeasures, fit_measures
from smallarea.survey.latent.maximum_likelihood import MaximumLikelihood, maximise
from smallarea.survey.latent.model import LatentModel
from smallarea.survey.latent.ordinal import pool, pool_measures, underlying_tables
from smallarea.survey.latent.patterns import Answers, likelihood, make_answers
from smallarea.survey.latent.scores import AreaVariation, area_variation, evidence, factor_scores, plausible_values
from smallarea.workflows.record import within

Progress = Callable[[float, str], None]
Vector = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class OrdinalFit:
    """What `latent_indicator` needs.

    Attributes
    ----------
    estimates : LatentEstimates
        By Rubin's rules.
    measures : FitMeasures
        Means over the tables.
    scored : ndarray, shape (n, 2 k)
        Score and standard error of each factor, side by side.
    variation : AreaVariation or None
        Mean over the tables.
    drawn : ndarray, shape (M, n, k)
        Plausible values, one set a table.
    """

    estimates: LatentEstimates
    measures: FitMeasures
    scored: Vector
    variation: AreaVariation | None
    drawn: Vector


def fit_ordinal(
    model: LatentModel,
    values: Vector,
    ordinal: Sequence[str],
    *,
    areas: Codes | None,
    weights: Vector | None,
    own: Vector | None,
    design: SurveyDesign | None,
    imputations: int,
    level: float,
    seed: int,
    tell: Progress,
) -> OrdinalFit:
    """Fit a model to the variables behind ordinal items, and score every respondent.

    Parameters
    ----------
    model : LatentModel
        The model.
    values : ndarray, shape (n, p)
        Answers.
    ordinal : sequence of str
        Items that are categories.
    areas : ndarray of int, shape (n,), optional
        Area of each respondent.
    weights, own : ndarray, shape (n,), optional
        Sampling weights, and the same for the model of areas (`area_weights`).
    design : SurveyDesign, optional
        For standard errors.
    imputations : int
        Tables, and sets of plausible values.
    level : float
        Coverage of the intervals.
    seed : int
        Of all randomness.
    tell : callable
        ``progress(percent, text)``.

    Returns
    -------
    OrdinalFit
        Estimates, fit, scores, plausible values.
    """
    tables = underlying_tables(
        values, model.observed, ordinal,
        areas=areas, weights=weights, imputations=imputations, seed=seed, progress=within(tell, 10.0, 50.0),
    )  # fmt: skip
    fits, measures, scores, variations, drawn = [], [], [], [], []
    for m, (table, child) in enumerate(zip(tables, np.random.SeedSequence(seed).spawn(imputations), strict=True)):
        tell(50.0 + 40.0 * m / imputations, f"Fitting the model to table {m + 1} of {imputations}")
        answers = make_answers(table, model.observed, weights)
        found = maximise(model, answers, design)
        of = evidence(model, found.theta, _means(found, answers), table)
        variation = None if areas is None else area_variation(of, areas, weights=own)
        fits.append(found)
        measures.append(fit_measures(model, answers, found.theta))
        scores.append(factor_scores(of, areas, variation, own))
        if variation is not None:
            variations.append(variation)
        drawn.append(_draw(found, table, answers, areas, own, variation, level, np.random.default_rng(child)))
    mean = np.stack([one.mean for one in scores])
    variance = np.mean([one.variance for one in scores], axis=0) + (1.0 + 1.0 / imputations) * mean.var(axis=0, ddof=1)
    pairs = np.stack([mean.mean(axis=0), np.sqrt(variance)], axis=2)
    return OrdinalFit(
        from_likelihood(pool(fits), level),
        pool_measures(measures),
        pairs.reshape(len(pairs), -1),
        _mean_variation(variations),
        np.stack(drawn),
    )


def _draw(
    found: MaximumLikelihood,
    table: Vector,
    answers: Answers,
    areas: Codes | None,
    own: Vector | None,
    variation: AreaVariation | None,
    level: float,
    rng: np.random.Generator,
) -> Vector:
    """Draw parameters of this table's fit, and the factors given them."""
    model = found.model
    p = len(model.observed)
    theta = from_likelihood(found, level).draw(rng)
    of = evidence(model, theta, draw_means(answers, model.covariance(theta)[:p, :p], rng), table)
    varying = None if areas is None else area_variation(of, areas, variation, own)
    return plausible_values(of, rng, areas, varying, own)


def _means(found: MaximumLikelihood, answers: Answers) -> Vector:
    p = len(found.model.observed)
    return likelihood(answers, found.model.covariance(found.theta)[:p, :p]).mean


def _mean_variation(found: Sequence[AreaVariation]) -> AreaVariation | None:
    if not found:
        return None
    return AreaVariation(
        np.mean([one.between for one in found], axis=0), np.mean([one.within for one in found], axis=0)
    )
