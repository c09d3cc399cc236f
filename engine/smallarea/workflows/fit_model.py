"""From checked data and a specification to the tables of a fit, by the method that the specification names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea._version import __version__
from smallarea.area_level import (
    AreaLevelData,
    AreaLevelSpecification,
    StackedData,
    build_model,
    sample_posterior,
    specify,
    stack,
    standardise,
)
from smallarea.area_level.checkpoint import Checkpoint, fingerprint
from smallarea.area_level.likelihood import fit_likelihood
from smallarea.errors import JobProblem, named
from smallarea.results.back_to_input import NO_WAY_BACK, WayBack, estimates_to_input, posterior_to_input
from smallarea.results.likelihood_tables import likelihood_tables
from smallarea.results.posterior_tables import posterior_tables
from smallarea.results.tables import FitTables
from smallarea.workflows.fit_call import speaking_of
from smallarea.workflows.fit_frequentist import FrequentistFit, fit_one_response, fit_several, fit_spatial

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph

Progress = Callable[[float, str], None]

# All orders of a chain are tried up to this many responses (24 fits).
MOST_RESPONSES_TO_ORDER = 4
_CRITERIA = {"bayes": "log_marginal_likelihood", "reml": "restricted_log_likelihood", "ml": "log_likelihood"}


@dataclass(frozen=True)
class Settings:
    """How to fit: the names are those of the job."""

    draws: int
    min_ess: int
    level: float
    seed: int
    solver: str
    workers: int
    any_order: bool = False
    mse: str = "auto"
    replicates: int = 200
    tuning: float = 1.345
    checkpoint: str | None = None


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Attributes
    ----------
    tables : FitTables
        In the units of the input.
    specification : AreaLevelSpecification
        What was fitted in the end.
    seconds : dict
        Stage to seconds.
    warnings : tuple of str
        What to warn of.
    back_transformation : str
        How transformed estimates came back.
    record : dict
        What the record of the model says beside the specification.
    """

    tables: FitTables
    specification: AreaLevelSpecification
    seconds: dict[str, float]
    warnings: tuple[str, ...] = ()
    back_transformation: str = ""
    record: dict[str, Any] = field(default_factory=dict)


def fit_model(
    data: Sequence[AreaLevelData],
    correlation: NDArray[np.float64] | None,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: Settings,
    tell: Progress,
    *,
    covariate_variance: NDArray[np.float64] | None = None,
    way: WayBack | None = None,
) -> Fitted:
    """Fit.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses, on the scale of the model.
    correlation : ndarray, shape (N, K, K), or None
        Sampling correlations between them.
    specification : AreaLevelSpecification
        The model.
    graph : AreaGraph or None
        The adjacency graph, None for independent area effects.
    settings : Settings
        How to fit.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.
    covariate_variance : ndarray, shape (N, p), optional
        Sampling variances of the covariates.
    way : WayBack, optional
        How a transformation is undone.

    Returns
    -------
    Fitted
        Tables in the units of the input.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend.
    """
    start = time.perf_counter()
    scaled = []
    for response, name in zip(data, specification.responses, strict=True):
        with speaking_of(name, len(data) > 1):
            scaled.append(standardise(response, specification.intercept))
    tell(0.0, "fitting the model")
    if specification.random_effect == "sar":
        found = fit_spatial(data[0], scaled[0], specification, graph, settings, way, tell)
        return _finished(found, specification, way, start)
    if settings.any_order:
        return _fit_orders(data, stack(scaled, correlation), specification, graph, settings, tell, way)
    if specification.method == "bayes" or specification.spatial:
        return fit_stacked(data, stack(scaled, correlation), specification, graph, settings, tell, way)
    if len(data) == 1:
        found = fit_one_response(data[0], scaled[0], specification, settings, covariate_variance, way, tell)
    else:
        found = fit_several(data, scaled, correlation, specification, settings)
    return _finished(found, specification, way, start)


def _finished(
    found: FrequentistFit, specification: AreaLevelSpecification, way: WayBack | None, start: float
) -> Fitted:
    """Bring a frequentist fit back to the units of the input."""
    tables, warnings, words = found.tables, found.warnings, ""
    if way is not None:
        tables, back = estimates_to_input(tables, way, found.back)
        words = back.correction
        lost = tables.estimates.loc[tables.estimates["note"].str.contains(NO_WAY_BACK, regex=False), "area"].tolist()
        if lost:
            warnings += (
                f"The estimated mean squared error of {len(lost)} areas is not positive, and the way back from "
                f"{way.form.name!r} needs it, so they have no estimate: {named(lost)}. Use method 'reml', 'amrl_yl' or "
                "'bayes'.",
            )
    return Fitted(tables, specification, {"model": time.perf_counter() - start}, warnings, back_transformation=words)


def fit_stacked(
    data: Sequence[AreaLevelData],
    stacked: StackedData,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: Settings,
    tell: Progress,
    way: WayBack | None = None,
) -> Fitted:
    """Fit a model of stacked responses, by its exact posterior or by maximum likelihood.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses.
    stacked : StackedData
        The same on the standardised scale.
    specification : AreaLevelSpecification
        The model.
    graph : AreaGraph or None
        The adjacency graph.
    settings : Settings
        How to fit.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.
    way : WayBack, optional
        How estimates come back from a transformed scale.

    Returns
    -------
    Fitted
        Tables in the units of the input.
    """
    start = time.perf_counter()
    model = build_model(specification, stacked, graph, settings.solver)
    if specification.method != "bayes":
        fit = fit_likelihood(model, specification, tell)
        tables = likelihood_tables(data, stacked, specification, fit, level=settings.level)
        found = FrequentistFit(tables, _boundary_warnings(fit.at_zero, fit.at_end))
        return _finished(found, specification, way, start)
    posterior = sample_posterior(
        model,
        specification,
        draws=settings.draws,
        min_ess=settings.min_ess,
        level=settings.level,
        seed=settings.seed,
        workers=settings.workers,
        progress=tell,
        checkpoint=_checkpoint(settings, specification, stacked, graph),
    )
    attributes = {"model": str(specification), "seed": settings.seed, "smallarea": __version__}
    tables = posterior_tables(data, stacked, specification, posterior, level=settings.level, attributes=attributes)
    words = ""
    if way is not None:
        tables, back = posterior_to_input(tables, way, posterior, stacked, model.without_data, settings.level)
        words = back.correction
    seconds = {f"model: {stage}": took for stage, took in posterior.seconds.items()}
    return Fitted(tables, specification, seconds, back_transformation=words)


def _checkpoint(
    settings: Settings, specification: AreaLevelSpecification, stacked: StackedData, graph: AreaGraph | None
) -> Checkpoint | None:
    if settings.checkpoint is None:
        return None
    edges = graph.edges if graph is not None and specification.spatial else None
    return Checkpoint(settings.checkpoint, fingerprint(specification, stacked, edges, settings.seed))


def _boundary_warnings(at_zero: Sequence[str], at_end: Sequence[str]) -> tuple[str, ...]:
    """Say where a maximum of the likelihood lies on a boundary, which its standard errors know nothing of."""
    where = [
        (at_zero, "at zero: that effect vanishes"),
        (at_end, "at the end of its range: the data tell too little to place it"),
    ]
    return tuple(
        f"The likelihood puts {named(names)} {what}. Standard errors do not count how uncertain this is; method "
        "'bayes' averages over it."
        for names, what in where
        if names
    )


def _fit_orders(
    data: Sequence[AreaLevelData],
    stacked: StackedData,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: Settings,
    tell: Progress,
    way: WayBack | None,
) -> Fitted:
    """Fit a chain in every order and keep the one with the highest likelihood, of the kind that the method maximises.

    All orders have as many hyperparameters and the same coefficients, so nothing else has to be weighed.
    """
    if specification.link != "chain" or len(data) < 2:
        raise JobProblem("The order 'auto' belongs to link 'chain' with two responses or more.")
    if len(data) > MOST_RESPONSES_TO_ORDER:
        raise JobProblem(
            f"All orders are tried for up to {MOST_RESPONSES_TO_ORDER} responses; there are {len(data)}. Name the "
            "order."
        )
    orders = list(permutations(specification.responses))
    criterion = _CRITERIA[specification.method]
    scores: dict[tuple[str, ...], float] = {}
    seconds: dict[str, float] = {}
    best: Fitted | None = None  # the only one that is kept: each holds its draws
    for number, order in enumerate(orders):
        part = lambda percent, text, n=number: tell((n + percent / 100.0) / len(orders) * 100.0, text)  # noqa: E731
        fitted = fit_stacked(data, stacked, _reordered(specification, order), graph, settings, part, way)
        scores[order] = fitted.tables.fit_statistics.get(criterion, -np.inf)
        seconds[f"order {' given '.join(order)}"] = sum(fitted.seconds.values())
        if best is None or scores[order] > scores[best.specification.order]:
            best = fitted
    if best is None:
        raise JobProblem("There is no order to try.")
    tried = "; ".join(f"{' given '.join(order)}: {score:.2f}" for order, score in scores.items())
    diagnostics = {**best.tables.diagnostics, "orders_tried": tried}
    return replace(best, tables=replace(best.tables, diagnostics=diagnostics), seconds=seconds)


def _reordered(specification: AreaLevelSpecification, order: tuple[str, ...]) -> AreaLevelSpecification:
    """Return the specification whose chain runs in another order, with the priors of the links renamed."""
    kinds = {}
    for name, prior in specification.priors.items():
        kinds[name.partition("[")[0] if name.startswith("eta") else name] = prior
    return specify(
        specification.covariates,
        responses=specification.responses,
        random_effect=specification.random_effect,
        link="chain",
        order=order,
        iid_part=specification.iid_part,
        intercept=specification.intercept,
        method=specification.method,
        priors=kinds or None,
        transformation=specification.transformation,
    )
