"""The task `latent_indicator`: from survey items to factors of every respondent, with their uncertainty."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import ModelProblem, named
from smallarea.io import AtomicOutputs
from smallarea.io.survey_table import SurveyTable, read_survey
from smallarea.io.table_output import write_table
from smallarea.io.workbook import write_workbook
from smallarea.survey.latent.area_weights import area_weights
from smallarea.survey.latent.bayes import draw_means, sample_posterior
from smallarea.survey.latent.estimates import LatentEstimates, from_likelihood, from_posterior
from smallarea.survey.latent.fit_measures import fit_measures
from smallarea.survey.latent.maximum_likelihood import MaximumLikelihood, maximise
from smallarea.survey.latent.model import LatentModel, build_model
from smallarea.survey.latent.patterns import Answers, likelihood, make_answers
from smallarea.survey.latent.prior_layout import LatentPriors
from smallarea.survey.latent.result import IMPUTATION, LatentIndicatorResult, sheets
from smallarea.survey.latent.scores import (
    AreaVariation,
    area_variation,
    evidence,
    factor_scores,
    plausible_values,
)
from smallarea.workflows.direct_call import listed
from smallarea.workflows.latent_input import (
    check_call,
    check_ordinal,
    item_warnings,
    read_areas_of_rows,
    read_items,
    read_model_text,
    read_weighting,
)
from smallarea.workflows.latent_notes import fit_warnings, reading_notes
from smallarea.workflows.latent_ordinal import fit_ordinal
from smallarea.workflows.record import silent, within

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]
Vector = NDArray[np.float64]
Codes = NDArray[np.int64]

LAYER = "latent_indicator"


def latent_indicator(
    table: PathLike | pd.DataFrame,
    *,
    model: str | None = None,
    model_file: PathLike | None = None,
    table_layer: str | None = None,
    encoding: str | None = None,
    decimal: Literal["point", "comma"] | None = None,
    thousands: Literal["comma", "point", "space", "apostrophe"] | None = None,
    method: Literal["ml", "bayes"] = "ml",
    ordinal: str | Sequence[str] = (),
    area_field: str | None = None,
    weight: str | None = None,
    strata: str | Sequence[str] = (),
    psu: str | Sequence[str] = (),
    fpc: str | Sequence[str] = (),
    nest: bool = False,
    lonely_psu: Literal["fail", "adjust", "average", "certainty"] = "fail",
    imputations: int = 10,
    level: float = 0.95,
    loading_mean: float = 1.0,
    loading_sd: float = 0.5,
    path_sd: float = 1.0,
    lkj: float = 2.0,
    residual_prior: Literal["half_normal", "inverse_gamma"] = "half_normal",
    chains: int = 2,
    warmup: int = 500,
    draws: int = 500,
    seed: int = 1,
    output: PathLike | None = None,
    scores: PathLike | None = None,
    csv: PathLike | None = None,
    excel: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> LatentIndicatorResult:
    """Fit a factor or structural equation model to survey items, and score every respondent.

    Parameters
    ----------
    table : path or DataFrame
        The survey, one row for each respondent.
    model : str, optional
        The model, in the notation of :mod:`smallarea.survey.latent.syntax`.
    model_file : path, optional
        A text file with the model, instead.
    table_layer, encoding, decimal, thousands
        How to read the survey; see :func:`smallarea.io.survey_table.read_survey`.
    method : {'ml', 'bayes'}
        Maximum likelihood with missing answers; or the posterior, by Hamiltonian Monte Carlo.
    ordinal : str or sequence of str
        Items that are categories in order, with ``ml``: a normal variable behind each is drawn
        (:mod:`smallarea.survey.latent.ordinal`).
    area_field : str, optional
        Field with the area ids; factors then vary between areas.
    weight : str, optional
        Field with the sampling weights.
    strata, psu, fpc : str or sequence of str
        Fields of the design, for the standard errors of ``ml``.
    nest : bool
        Names of primary sampling units start anew in every stratum.
    lonely_psu : {'fail', 'adjust', 'average', 'certainty'}
        What strata with a single sampling unit contribute.
    imputations : int
        Number of plausible values.
    level : float
        Coverage of the intervals.
    loading_mean, loading_sd, path_sd, lkj, residual_prior
        Priors of ``bayes``; see :class:`smallarea.survey.latent.prior_layout.LatentPriors`.
    chains, warmup, draws : int
        Chains of ``bayes``, and steps of each.
    seed : int
        Seed of all draws.
    output : path, optional
        Table of plausible values to write, the input of ``direct_estimates`` with ``imputation_field``.
    scores : path, optional
        Table of scores to write, a row for each respondent.
    csv, excel : path, optional
        Parameters as CSV, and a workbook with everything about the model.
    report : path, optional
        Report to write (HTML): loadings, effects, fit, scores and areas. All files appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    LatentIndicatorResult
        Estimates, fit, scores, plausible values, and what to know before using them.

    Raises
    ------
    JobProblem
        If the model cannot be read, or parameters do not fit each other.
    TableProblem
        If the survey cannot be used.
    ModelProblem
        If the model is not identified or cannot be fitted.
    VarianceProblem
        If a stratum has a single sampling unit and `lonely_psu` is ``fail``.
    EngineUnavailable
        If ``bayes`` is asked for and NumPyro is not installed.
    OutputProblem
        If an output cannot be written; none is then.
    """
    call = {name: value for name, value in locals().items() if name not in ("table", "progress")}
    check_call(call)
    tell = progress or silent
    built = build_model(read_model_text(model, model_file))
    check_ordinal(built, listed(ordinal), method)
    tell(0.0, "Reading the survey")
    text = [] if area_field is None else [area_field]
    survey = read_survey(table, table_layer, text_columns=text, encoding=encoding, decimal=decimal, thousands=thousands)
    values = read_items(survey, built)
    areas, without = read_areas_of_rows(survey, area_field)
    weights, design = read_weighting(survey, call)
    answers = make_answers(values, built.observed, weights)
    effective = answers if weights is None else make_answers(values, built.observed, weights, effective=True)
    own = None if areas is None or weights is None else area_weights(weights, areas)
    tell(10.0, "Fitting the model")
    priors = LatentPriors(loading_mean, loading_sd, path_sd, lkj, residual_prior)
    if listed(ordinal):
        found = fit_ordinal(
            built, values, listed(ordinal), areas=areas, weights=weights, own=own, design=design,
            imputations=imputations, level=level, seed=seed, tell=tell,
        )  # fmt: skip
        estimates, measures = found.estimates, found.measures
        scored, variation, drawn = found.scored, found.variation, found.drawn
    else:
        if method == "ml":
            estimates = from_likelihood(maximise(built, answers, design), level)
        else:
            posterior = sample_posterior(
                built, effective, _start(built, answers),
                priors=priors, chains=chains, warmup=warmup, draws=draws, seed=seed, progress=within(tell, 10.0, 60.0),
            )  # fmt: skip
            estimates = from_posterior(posterior, level)
        measures = fit_measures(built, answers, estimates.theta)
        tell(60.0, "Scoring the respondents")
        scored, variation = _scores(estimates, answers, areas, own)
        drawn = _plausible(estimates, effective, areas, own, variation, imputations, seed, within(tell, 65.0, 90.0))
    result = LatentIndicatorResult(
        estimates,
        measures,
        pd.concat(
            [survey.frame, _columns(scored, [f"{a}_{f}" for f in built.latent for a in ("score", "se")])], axis=1
        ),
        _stacked(survey, built, drawn),
        _variation_table(built, variation),
        {name: value for name, value in call.items() if name not in ("output", "scores", "csv", "excel", "report")},
        (*survey.warnings, *item_warnings(values, built, listed(ordinal)), *fit_warnings(estimates, measures, priors)),
        tuple(reading_notes(survey, answers, call, without)),
    )
    _write(result, output, scores, csv, excel, report, tell)
    return result


def _start(model: LatentModel, answers: Answers) -> MaximumLikelihood | None:
    """Return where chains begin: the maximum of the likelihood, if it has one."""
    try:
        return maximise(model, answers)
    except ModelProblem:
        return None


def _scores(
    estimates: LatentEstimates, answers: Answers, areas: Codes | None, weights: Vector | None
) -> tuple[Vector, AreaVariation | None]:
    """Return score and standard error of each factor side by side, and how factors vary between areas."""
    model, theta = estimates.model, estimates.theta
    of = evidence(model, theta, _means(model, theta, answers), answers.values)
    variation = None if areas is None else area_variation(of, areas, weights=weights)
    found = factor_scores(of, areas, variation, weights)
    pairs = np.stack([found.mean, np.sqrt(found.variance)], axis=2)
    return pairs.reshape(len(pairs), -1), variation


def _means(model: LatentModel, theta: Vector, answers: Answers) -> Vector:
    p = len(model.observed)
    return likelihood(answers, model.covariance(theta)[:p, :p]).mean


def _plausible(
    estimates: LatentEstimates,
    answers: Answers,
    areas: Codes | None,
    weights: Vector | None,
    variation: AreaVariation | None,
    imputations: int,
    seed: int,
    tell: Progress,
) -> Vector:
    """Return plausible values, shape (M, n, k); each has parameters and area effects of its own."""
    model = estimates.model
    p = len(model.observed)
    found = []
    for m, child in enumerate(np.random.SeedSequence(seed).spawn(imputations)):
        tell(100.0 * m / imputations, f"Drawing plausible values {m + 1} of {imputations}")
        rng = np.random.default_rng(child)
        theta = estimates.draw(rng)
        of = evidence(model, theta, draw_means(answers, model.covariance(theta)[:p, :p], rng), answers.values)
        own = None if areas is None else area_variation(of, areas, variation, weights)
        found.append(plausible_values(of, rng, areas, own, weights))
    return np.stack(found)


def _columns(values: Vector, names: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=list(names))


def _stacked(survey: SurveyTable, model: LatentModel, drawn: Vector) -> pd.DataFrame:
    """Return the survey M times, one below the other, with the number of the table and the plausible values."""
    m, n, k = drawn.shape
    frame = pd.concat([survey.frame] * m, ignore_index=True)
    frame.insert(0, IMPUTATION, np.repeat(np.arange(1, m + 1), n))
    return pd.concat([frame, _columns(drawn.reshape(m * n, k), model.latent)], axis=1)


def _variation_table(model: LatentModel, variation: AreaVariation | None) -> pd.DataFrame:
    if variation is None:
        return pd.DataFrame(columns=["factor", "between", "within", "share_between"])
    between, within_areas = np.diag(variation.between), np.diag(variation.within)
    share = between / (between + within_areas)
    return pd.DataFrame({"factor": model.latent, "between": between, "within": within_areas, "share_between": share})


def _write(
    result: LatentIndicatorResult,
    output: PathLike | None,
    scores: PathLike | None,
    csv: PathLike | None,
    excel: PathLike | None,
    report: PathLike | None,
    tell: Progress,
) -> None:
    """Write what was asked for, all files or none."""
    tables: Mapping[str, Any] = {
        "plausible values": (output, result.plausible_values),
        "scores": (scores, result.scores),
    }
    with AtomicOutputs() as outputs:
        for what, (path, frame) in tables.items():
            if path is not None:
                tell(92.0, f"Writing the {what}")
                write_table(frame, outputs.path(path), LAYER)
        if csv is not None:
            result.estimates.parameters.to_csv(outputs.path(csv), index=False)
        if excel is not None:
            tell(97.0, "Writing the workbook")
            write_workbook(outputs.path(excel), sheets(result))
        if report is not None:
            from smallarea.report.latent_page import write_latent_report

            tell(98.0, "Writing the report")
            write_latent_report(result, str(outputs.path(report)))
        tell(100.0, f"Done: {named(result.estimates.model.latent)}")
