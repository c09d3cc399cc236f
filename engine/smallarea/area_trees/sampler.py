"""Draws from a Fay-Herriot model whose covariates enter through regression trees, several chains side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from smallarea.area_level.data import AreaLevelData
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_trees.areas import draw_areas
from smallarea.area_trees.chain import Chain, Problem, make_table
from smallarea.area_trees.effect import EffectGrid, make_effect_grid
from smallarea.area_trees.posterior import AreaTreesPosterior, diagnose
from smallarea.area_trees.settings import AreaTreesSettings, Scales, scales_of
from smallarea.areas import AreaGraph
from smallarea.cores import available_cores
from smallarea.errors import GraphProblem, ModelProblem
from smallarea.trees import Cuts, ForestTrace
from smallarea.trees.specification import KINDS

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Seconds between looks at the chains; shares of the progress.
LOOK, FACTORED, SAMPLED = 0.05, 15.0, 95.0


def sample_area_trees(
    data: AreaLevelData,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None = None,
    settings: AreaTreesSettings | None = None,
    *,
    scales: Scales | None = None,
    chains: int = 4,
    warmup: int = 2000,
    draws: int = 2000,
    seed: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
) -> AreaTreesPosterior:
    """Draw from the posterior of ``direct_i ~ N(m + sum of trees(x_i) + u_i, variance_i)``.

    Trees are proposed with their leaves and the area effect integrated out, hyperparameters with the area effect
    integrated out. Every draw is kept.

    Parameters
    ----------
    data : AreaLevelData
        Direct estimates, sampling variances and covariates.
    specification : AreaLevelSpecification
        Random effect (``iid``, ``car`` or ``leroux``), iid part, and priors of the hyperparameters.
    graph : AreaGraph, optional
        Adjacency of the areas, in their order; not needed for ``iid``.
    settings : AreaTreesSettings, optional
        Trees.
    scales : Scales, optional
        Numbers of the priors; from the data if not given, which is as empirical Bayes as BART's always are.
    chains : int
        Chains.
    warmup, draws : int
        Sweeps of each chain that tune the proposals and are thrown away, and sweeps that are kept.
    seed : int
        Same seed, same draws, however many workers and in whatever order the areas come.
    workers : int
        Threads; 0 for all cores.
    progress : callable, optional
        Called as ``progress(percent, text)``; it may raise to stop.

    Returns
    -------
    AreaTreesPosterior

    Raises
    ------
    ModelProblem
        If there are too few draws or areas, or too many areas.
    GraphProblem
        If the adjacency is missing, or of other areas, or joins no sampled areas.
    PriorProblem
        If the sampler does not know a prior.

    References
    ----------
    Chipman, H. A., George, E. I. and McCulloch, R. E. (2010). BART: Bayesian additive regression trees. Annals of
    Applied Statistics 4, 266-298. Fay, R. E. and Herriot, R. A. (1979). Estimates of income for small places. JASA 74,
    269-277.
    """
    if chains < 1 or draws < 4 or warmup < 0:
        raise ModelProblem(f"Ask for a chain and four draws or more, not {chains} chains of {draws} after {warmup}.")

    def report(percent: float, text: str) -> None:
        if progress is not None:
            progress(percent, text)

    # Sums depend on the order of their terms by rounding, and chains amplify that: areas go by their ids.
    order = np.array(sorted(range(len(data.areas)), key=data.areas.__getitem__), dtype=np.int64)
    problem, variance = _prepare(
        data,
        specification,
        graph,
        settings or AreaTreesSettings(),
        scales,
        order,
        lambda percent, text: report(FACTORED * percent / 100.0, text),
    )
    seeds = np.random.SeedSequence(seed).spawn(chains + 1)
    running = [Chain(problem, s, warmup, draws) for s in seeds[:chains]]
    _run(running, workers, lambda percent: report(FACTORED + (SAMPLED - FACTORED) * percent / 100.0, "sampling"))
    report(SAMPLED, "drawing the areas")
    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        posterior = _gather(problem, variance, running, np.random.default_rng(seeds[chains]), data.areas, order)
    report(100.0, "sampled")
    return posterior


def _prepare(
    data: AreaLevelData,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: AreaTreesSettings,
    given: Scales | None,
    order: NDArray[np.int64],
    progress: Progress,
) -> tuple[Problem, Vector]:
    """Choose scales and cuts and factor the effect; also return the sampling variances, standardised."""
    ordered = AreaLevelData(
        tuple(data.areas[i] for i in order),
        data.direct[order],
        data.variance[order],
        data.covariates[order],
        data.covariate_names,
        tuple(data.notes[i] for i in order),
    )
    if specification.spatial:
        if graph is None:
            raise GraphProblem(
                f"A {specification.random_effect!r} random effect needs to know which areas are neighbours. Give the "
                "polygons (areas) or a saved graph."
            )
        graph = graph.reorder(ordered.areas)
    scales = given or scales_of(ordered, settings)
    cuts, bins = _cut(ordered, settings)
    variance = ordered.variance / scales.scale**2
    grid = make_effect_grid(specification, graph, variance, progress)
    if not grid.values.any():
        raise GraphProblem(
            "No sampled area has a neighbour, so a proper CAR without an iid part is no effect at all. Check the "
            "polygons, or use random_effect 'iid'."
        )
    y = (ordered.direct[grid.sampled] - scales.location) / scales.scale - scales.centre
    table = make_table(specification, grid)
    return Problem(specification, settings, scales, y, bins, cuts, grid, table), variance[grid.sampled]


def _cut(data: AreaLevelData, settings: AreaTreesSettings) -> tuple[Cuts, NDArray[np.int32]]:
    """Choose cut points on sampled areas; areas without a covariate, which get no estimate, go anywhere."""
    x = data.covariates
    cuts = Cuts.from_values(x[data.sampled], names=data.covariate_names, rule="quantile", count=settings.cuts)
    return cuts, cuts.bins(np.where(np.isfinite(x), x, 0.0))


def _run(chains: list[Chain], workers: int, told: Callable[[float], None]) -> None:
    """Let all chains go on to their ends; stop them if ``told`` raises."""
    stop = threading.Event()

    def work(chain: Chain) -> None:
        while not (chain.finished or stop.is_set()):
            chain.advance()

    total = sum(chain.total for chain in chains)
    with ThreadPoolExecutor(workers or available_cores()) as threads:
        waiting: set[Future[None]] = {threads.submit(work, chain) for chain in chains}
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=LOOK)
                for future in finished:
                    future.result()
                told(100.0 * sum(chain.done for chain in chains) / total)
        finally:
            stop.set()


def _gather(
    problem: Problem,
    variance: Vector,
    chains: list[Chain],
    random: np.random.Generator,
    areas: tuple[str, ...],
    order: NDArray[np.int64],
) -> AreaTreesPosterior:
    """Draw the areas and put them back into the order in which they came."""
    results = [chain.result() for chain in chains]
    hyper = np.stack([result[0] for result in results])
    forest = ForestTrace.joined([result[1] for result in results])
    counts = np.sum([result[2] for result in results], axis=0)
    sd, at = np.exp(hyper[:, :, 0]), hyper[:, :, 1].astype(np.int64)
    scales, grid = problem.scales, problem.grid
    trees = forest.evaluate(problem.bins, np.arange(at.size))
    drawn = draw_areas(grid, variance, problem.y, trees, sd.ravel(), at.ravel(), random)
    level = scales.location + scales.scale * scales.centre
    back = np.argsort(order)

    def everywhere(values: Vector) -> Vector:
        out = np.full((*values.shape[:-1], len(areas)), np.nan)
        out[..., grid.sampled] = values
        return out[..., back]

    theta = level + scales.scale * (trees + drawn.effect)[:, back]
    hyperparameters = _hyperparameters(problem.specification, grid, scales, sd, at)
    acceptance = {kind: float(a / max(m, 1)) for kind, (m, a) in zip(KINDS, counts, strict=True)}
    return AreaTreesPosterior(
        areas,
        problem.specification,
        problem.settings,
        scales,
        problem.cuts,
        forest,
        hyperparameters,
        theta,
        level + scales.scale * trees[:, back],
        everywhere(drawn.own_weight),
        level + scales.scale * everywhere(trees[np.ix_(drawn.kept, grid.sampled)] + drawn.means),
        scales.scale**2 * everywhere(drawn.variances),
        diagnose(hyperparameters, theta, acceptance, _at_end(grid, at)),
    )


def _hyperparameters(
    specification: AreaLevelSpecification, grid: EffectGrid, scales: Scales, sd: Vector, at: NDArray[np.int64]
) -> dict[str, Vector]:
    if not specification.spatial:
        return {"sd_delta": scales.scale * sd}
    rho_at, ratio_at = np.divmod(at, len(grid.ratios))
    found = {"sd_phi": scales.scale * sd, "rho": grid.rhos[rho_at]}
    return found | ({"sd_delta": found["sd_phi"] * grid.ratios[ratio_at]} if specification.iid_part else {})


def _at_end(grid: EffectGrid, at: NDArray[np.int64]) -> float:
    """Share of draws where the grid cuts the posterior off."""
    last = len(grid.ratios) - 1
    if last == 0:
        return 0.0
    ratio_at = at % len(grid.ratios)
    return float(np.mean((ratio_at == 0) | (ratio_at == last)))
