"""The fidelity certificate: how far a learned prior is from the one it stands for, over its range, on one geography."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.errors import PriorProblem
from smallarea.priors.decoders import Decoder, bind, need_jax
from smallarea.priors.exact import ExactPrior, exact_prior
from smallarea.priors.fidelity.certificate_record import AreaFidelity, Certificate
from smallarea.priors.fidelity.gate import GATE
from smallarea.priors.fidelity.grid_point import make_point
from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.measures import DENSE_LIMIT, SAMPLED_ROWS, CovarianceErrors, measure
from smallarea.priors.fidelity.pairs import Pairs, make_pairs
from smallarea.priors.fidelity.posterior_check import PosteriorChecker
from smallarea.priors.fidelity.reference_field import Reference, ReferenceAt, ReferenceMixture
from smallarea.priors.fidelity.two_samples import PERMUTATIONS, contrast_test, mean_discrepancy
from smallarea.priors.prior import SpatialPrior

if TYPE_CHECKING:
    from smallarea.areas import Areas

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

DRAWS = 4_096
RHO_GRID = (0.0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.999)
RANGE_POINTS = 5
# Fields of each of the two samples that are tested against each other, and numbers in one at most.
TESTED_DRAWS = 500
TESTED_NUMBERS = 8_000_000
# Above so many nodes, or for a network, the posterior check is made at three values of the grid and not at all.
CHECKED_EVERYWHERE = 600
PLACES_OF_CHECK = (0.7, 0.95, 1.0)


def certify(
    prior: SpatialPrior,
    graph: AreaGraph,
    areas: Areas | None = None,
    *,
    seed: int = 1,
    draws: int = DRAWS,
    grid: Sequence[float] | None = None,
    posterior_check: bool = True,
    progress: Progress | None = None,
) -> Certificate:
    """Measure how far a learned prior is from the exact one on a geography.

    Parameters
    ----------
    prior : SpatialPrior
        The prior; all measures are taken from its own draws.
    graph : AreaGraph
        The geography.
    areas : Areas, optional
        The polygons, which a Gaussian process needs.
    seed : int
        The same seed gives the same certificate.
    draws : int
        Prior draws at each value, for networks that are not linear and for the two-sample tests.
    grid : sequence of float, optional
        Values of the hyperparameter; by default 0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99 and 0.999 as far as the prior was
        trained for them, with the ends of its range. Not for a prior that integrates it out.
    posterior_check : bool
        Whether simulated data are fitted under both priors; without it the gate is not passed.
    progress : callable, optional
        Called with percent and text.

    Returns
    -------
    Certificate
        The measures, and whether they clear the gate.

    Raises
    ------
    PriorProblem
        If the prior does not fit the geography, or the grid leaves the range of its training.
    EngineUnavailable
        If JAX is not installed, or NumPyro, which the posterior check of a network needs.
    """
    if draws < 1:
        raise PriorProblem(f"A certificate takes at least one draw; got {draws}.")
    jax = need_jax()
    with jax.enable_x64(True):
        decoder = bind(prior, graph, "float64")
        exact = exact_prior(prior.family, graph, areas)
        return certify_decoder(
            decoder,
            exact,
            graph,
            architecture=prior.architecture,
            seed=seed,
            draws=draws,
            grid=grid,
            posterior_check=posterior_check,
            progress=progress,
        )


def certify_decoder(
    decoder: Decoder,
    exact: ExactPrior,
    graph: AreaGraph,
    *,
    architecture: str,
    seed: int = 1,
    draws: int = DRAWS,
    grid: Sequence[float] | None = None,
    posterior_check: bool = True,
    progress: Progress | None = None,
) -> Certificate:
    """Certify any decoder; JAX must be in x64 mode. See :func:`certify`."""
    references = references_of(exact, bool(decoder.hyperparameters), grid)
    learned = LearnedField(decoder, exact.nodes)
    rng = np.random.default_rng(seed)
    pairs = make_pairs(graph, rng, exact.n if exact.n <= DENSE_LIMIT else SAMPLED_ROWS)
    checker = PosteriorChecker(learned)
    checked = _places_of_check(references, learned, rng) if posterior_check else set()
    worst = _WorstOfAreas(pairs)
    points = []
    for k, reference in enumerate(references):
        value = float(reference.value[0]) if len(reference.value) else None
        if progress is not None:
            name = f" at {exact.family.hyperparameters[0].name} = {value:g}" if value is not None else ""
            progress(100.0 * k / len(references), f"Measuring the prior{name}")
        errors = measure(learned, reference, pairs, draws, rng)
        tests = _tests(learned, reference, errors, pairs, draws, len(references), rng)
        typical = float(np.mean(errors.exact.variance))
        check = checker.check(reference, typical, rng) if k in checked else None
        points.append(make_point(value, errors, pairs, tests, check))
        worst.add(errors)
    return Certificate(
        points=tuple(points),
        parameter=exact.family.hyperparameters[0].name if points[0].value is not None else "",
        family=exact.family,
        architecture=architecture,
        fingerprint=graph.fingerprint,
        nodes=exact.n,
        seed=seed,
        draws=draws,
        areas=worst.on(graph, exact.nodes),
    )


def references_of(exact: ExactPrior, conditional: bool, grid: Sequence[float] | None) -> list[Reference]:
    """Make the exact priors that a decoder is held against, one for each value of the grid.

    Raises
    ------
    PriorProblem
        If a grid is given where there is nothing to vary, or leaves the range of the training.
    """
    parameters = exact.family.hyperparameters
    if not (conditional and parameters):
        if grid is not None:
            raise PriorProblem("This prior does not take a hyperparameter, so there is no grid. Leave it out.")
        return [ReferenceMixture(exact) if parameters else ReferenceAt(exact, np.empty(0))]
    one = parameters[0]
    if grid is None:
        inside = RHO_GRID if one.name == "rho" else tuple(np.linspace(one.lower, one.upper, RANGE_POINTS).tolist())
        chosen = sorted({one.lower, one.upper, *(v for v in inside if one.lower <= v <= one.upper)})
    else:
        chosen = sorted({float(v) for v in grid})
        outside = [v for v in chosen if not one.lower <= v <= one.upper]
        if outside or not chosen:
            raise PriorProblem(
                f"The prior was trained for {one.name} from {one.lower:g} to {one.upper:g}; the grid must lie there"
                + (f", and {outside[0]:g} does not." if outside else " and is empty.")
            )
    return [ReferenceAt(exact, np.array([value])) for value in chosen]


def _places_of_check(references: Sequence[Reference], learned: LearnedField, rng: np.random.Generator) -> set[int]:
    """Where on the grid the posterior check is made: everywhere if it is cheap."""
    cheap = references[0].n <= CHECKED_EVERYWHERE and learned.is_linear(references[0].value, rng)
    if cheap or len(references) <= len(PLACES_OF_CHECK):
        return set(range(len(references)))
    values = np.array([float(reference.value[0]) for reference in references])
    scaled = (values - values[0]) / (values[-1] - values[0])
    return {int(np.argmin(np.abs(scaled - place))) for place in PLACES_OF_CHECK}


def _tests(
    learned: LearnedField,
    reference: Reference,
    errors: CovarianceErrors,
    pairs: Pairs,
    draws: int,
    values: int,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Two-sample tests: p-value of all areas jointly, p-value and distance of neighbours' differences."""
    size = max(2, min(TESTED_DRAWS, draws, TESTED_NUMBERS // reference.n))
    scale = np.sqrt(errors.exact.variance)
    made = learned.fields(rng.standard_normal((size, learned.latent_size)), reference.value) / scale
    true = reference.draws(size, rng) / scale
    # The smallest p-value that permutations can give has to be well below the bar, which falls with the grid's length.
    joint = mean_discrepancy(true, made, rng, max(PERMUTATIONS, math.ceil(2 * values / GATE.p)))
    distance, p = contrast_test(true, made, pairs.edges, rng)
    return joint.p, p, distance


class _WorstOfAreas:
    """Keeps the worst value of each node over the grid."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._ratio = np.ones(len(pairs.degrees))
        self._error = np.zeros(len(pairs.degrees))

    def add(self, errors: CovarianceErrors) -> None:
        ratio = errors.variance_ratio
        worse = np.abs(ratio - 1.0) > np.abs(self._ratio - 1.0)
        self._ratio[worse] = ratio[worse]
        edges, n = self._pairs.edges, len(ratio)
        off = errors.learned.correlations(self._pairs)[0] - errors.exact.correlations(self._pairs)[0]
        mean = sum(np.bincount(edges[:, side], weights=off, minlength=n) for side in (0, 1)) / self._pairs.degrees
        worse = np.abs(mean) > np.abs(self._error)
        self._error[worse] = mean[worse]

    def on(self, graph: AreaGraph, nodes: NDArray[np.int64]) -> AreaFidelity:
        ratio, error = (np.full(len(graph.ids), np.nan) for _ in range(2))
        ratio[nodes], error[nodes] = self._ratio, self._error
        return AreaFidelity(graph.ids, ratio, error)
