"""Draws from the posterior of BARTSIMP, several chains side by side."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from smallarea.cores import available_cores
from smallarea.errors import ModelProblem
from smallarea.trees import Cuts
from smallarea.unit_level.chain import Arrays, Chain, Problem
from smallarea.unit_level.checkpoint import Checkpoint
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.far_directions import FROM_CLUSTERS, near_directions
from smallarea.unit_level.field_draws import draw_fields
from smallarea.unit_level.field_exact import make_range_grid, no_field
from smallarea.unit_level.field_mesh import make_mesh_grid
from smallarea.unit_level.latent_chain import LatentChain
from smallarea.unit_level.latent_field import make_latent_field
from smallarea.unit_level.position_chain import PositionChain
from smallarea.unit_level.posterior import BartsimpPosterior, Diagnostics
from smallarea.unit_level.rank_error import rank_error
from smallarea.unit_level.settings import BartsimpSettings, scales

Progress = Callable[[float, str], None]
AnyChain = Chain | LatentChain

# Seconds between looks at the chains, and between checkpoints.
LOOK, SAVE = 0.05, 20.0
# Share of the progress that factoring the field takes.
FACTOR_SHARE = 15.0


def sample_bartsimp(
    clusters: Clusters,
    settings: BartsimpSettings | None = None,
    *,
    chains: int = 4,
    warmup: int = 2000,
    draws: int = 2000,
    seed: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> BartsimpPosterior:
    """Draw from the posterior of regression trees plus a Matérn field.

    Trees are proposed with their leaves and the field integrated out, standard deviations and range with the field
    integrated out. Every draw is kept. Of outcomes that are counted (``settings.likelihood``) the clusters are those of
    :func:`smallarea.unit_level.likelihoods.count_clusters`.

    Parameters
    ----------
    clusters : Clusters
        The data. If they have candidate places, these are parameters too.
    settings : BartsimpSettings, optional
        Model and sampler; :func:`paper_settings` gives those of the paper.
    chains : int
        Chains.
    warmup, draws : int
        Sweeps of each chain that tune the proposals and are thrown away, and sweeps that are kept.
    seed : int
        Same seed, same draws, however many workers.
    workers : int
        Threads; 0 for all cores.
    progress : callable, optional
        Called as ``progress(percent, text)``; it may raise to stop.
    checkpoint : path, optional
        File in which the chains are saved on the way. If it is there, the run goes on from it, to the same draws.

    Returns
    -------
    BartsimpPosterior

    Raises
    ------
    ModelProblem
        If there are too few draws or chains, or the data cannot be fitted.
    OutputProblem
        If the checkpoint belongs to something else.
    """
    chosen = settings or BartsimpSettings()
    if chains < 1 or draws < 4 or warmup < 0:
        raise ModelProblem(f"Ask for a chain and four draws or more, not {chains} chains of {draws} after {warmup}.")

    if clusters.candidates is not None and chosen.likelihood != "normal":
        raise ModelProblem("Places of displaced clusters need normal outcomes. Leave the candidates out.")

    def report(percent: float, text: str) -> None:
        if progress is not None:
            progress(percent, text)

    problem = prepare(clusters, chosen, lambda percent, text: report(FACTOR_SHARE * percent / 100.0, text))
    running, rest = run_chains(
        problem, chains, warmup, draws, seed, workers=workers, progress=report, checkpoint=checkpoint
    )
    posterior = gather(problem, running, rest)
    report(100.0, "sampled")
    return posterior


def run_chains(
    problem: Problem, chains: int, warmup: int, draws: int, seed: int, *, workers: int, progress: Progress,
    checkpoint: str | os.PathLike[str] | None = None,
) -> tuple[list[AnyChain], np.random.SeedSequence]:  # fmt: skip
    """Run all chains of a problem to their ends.

    Parameters
    ----------
    problem : Problem
        By :func:`prepare`.
    chains, warmup, draws, seed, workers, progress, checkpoint
        As of :func:`sample_bartsimp`.

    Returns
    -------
    list of chains, SeedSequence
        The chains, and a seed that none of them used.
    """
    seeds = np.random.SeedSequence(seed).spawn(chains + 1)
    running = [_chain(problem, s, warmup, draws) for s in seeds[:chains]]
    store = None if checkpoint is None else Checkpoint(checkpoint, _fingerprint(problem, seed, chains, warmup, draws))
    saved = store.load() if store is not None else None
    for chain, arrays in zip(running, saved or [], strict=False):
        chain.restore(arrays)

    def told(percent: float) -> None:
        progress(FACTOR_SHARE + (99.0 - FACTOR_SHARE) * percent / 100.0, "sampling")

    _run(running, workers, told, store)
    return running, seeds[chains]


def prepare(clusters: Clusters, settings: BartsimpSettings, progress: Progress | None = None) -> Problem:
    """Choose cuts and scales and factor the field.

    Parameters
    ----------
    clusters : Clusters
        The data.
    settings : BartsimpSettings
        Model and sampler.
    progress : callable, optional
        Called as ``progress(percent, text)``.

    Returns
    -------
    Problem
    """
    found = scales(clusters, settings)
    cuts = Cuts.from_values(clusters.all_covariates, names=clusters.names, rule=settings.cut_rule, count=settings.cuts)
    latent = None
    if settings.likelihood != "normal":
        grid = no_field(clusters.sizes)
        latent = make_latent_field(
            clusters, found.field_prior, settings.field, nodes=settings.mesh_nodes, points=settings.range_points,
            bounds=settings.range_bounds, progress=progress,
        )  # fmt: skip
    elif settings.field == "none":
        grid = no_field(clusters.sizes)
    elif settings.field == "mesh":
        grid = make_mesh_grid(
            clusters.coordinates, clusters.sizes, found.field_prior, nodes=settings.mesh_nodes,
            points=settings.range_points, bounds=settings.range_bounds, progress=progress,
        )  # fmt: skip
    else:
        exact = settings.field == "exact"
        grid = make_range_grid(
            clusters.coordinates, clusters.sizes, found.field_prior, points=settings.range_points,
            bounds=settings.range_bounds, rank=None if exact else settings.rank,
            choose_near=partial(near_directions, clusters) if exact and clusters.n >= FROM_CLUSTERS else None,
            progress=progress,
        )  # fmt: skip
    return Problem(clusters, settings, found, cuts, grid, latent)


def _chain(problem: Problem, seed: np.random.SeedSequence, warmup: int, draws: int) -> AnyChain:
    if problem.latent is None:
        kind = Chain if problem.clusters.candidates is None else PositionChain
        return kind(problem, seed, warmup, draws)
    p = problem
    return LatentChain(p.clusters, p.settings, p.scales, p.cuts, problem.latent, seed, warmup, draws)


def _run(chains: Sequence[AnyChain], workers: int, told: Callable[[float], None], store: Checkpoint | None) -> None:
    """Let all chains go on to their ends; stop them if ``told`` raises, with their state saved."""
    stop = threading.Event()
    snapshots: list[Arrays] = [chain.arrays() for chain in chains] if store is not None else []
    lock = threading.Lock()
    wanted = [False] * len(chains)

    def work(i: int) -> None:
        while not (chains[i].finished or stop.is_set()):
            chains[i].advance()
            if wanted[i]:
                arrays = chains[i].arrays()
                with lock:
                    snapshots[i] = arrays
                wanted[i] = False

    total = sum(chain.total for chain in chains)
    looks = 0
    with (
        threadpoolctl.threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(workers or available_cores()) as threads,
    ):
        waiting: set[Future[None]] = {threads.submit(work, i) for i in range(len(chains))}
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=LOOK)
                for future in finished:
                    future.result()
                told(100.0 * sum(chain.done for chain in chains) / total)
                looks += 1
                if store is not None and looks % max(1, round(SAVE / LOOK)) == 0:
                    with lock:
                        store.save(snapshots)
                    wanted[:] = [True] * len(chains)
        finally:
            stop.set()
            wait(waiting)
            if store is not None:
                store.save([chain.arrays() for chain in chains])


def gather(problem: Problem, chains: Sequence[AnyChain], seed: np.random.SeedSequence) -> BartsimpPosterior:
    """Put the draws of all chains together; the seed is for fields that are drawn afterwards."""
    results = [chain.result() for chain in chains]
    hyper = np.stack([result[0] for result in results])
    forest = type(results[0][1]).joined([result[1] for result in results])
    counts = np.sum([result[2] for result in results], axis=0)
    at = hyper[:, :, 2].astype(np.int64)
    ranges, mesh = problem.grid.ranges, problem.grid.on_mesh.mesh if problem.grid.on_mesh is not None else None
    if problem.latent is not None:
        ranges, mesh = problem.latent.ranges, problem.latent.mesh
    has_field = len(ranges) > 1
    posterior = BartsimpPosterior(
        clusters=problem.clusters,
        settings=problem.settings,
        scales=problem.scales,
        cuts=problem.cuts,
        ranges=ranges,
        forest=forest,
        sigma_e=np.exp(hyper[:, :, 0]),
        sigma_m=np.exp(hyper[:, :, 1]) if has_field else np.zeros(at.shape),
        range_at=at,
        field=np.zeros((at.size, 0)),
        mesh=mesh,
        diagnostics=Diagnostics.empty(),
        positions=_positions(chains),
    )
    counted = [chain.fields() for chain in chains if isinstance(chain, LatentChain)]
    if counted:
        posterior = replace(posterior, field=np.concatenate(counted))
    elif has_field:
        posterior = replace(posterior, field=draw_fields(posterior, problem.grid, np.random.default_rng(seed)))
    found = Diagnostics.of(posterior, counts)
    if problem.settings.field == "reduced":
        found = replace(found, rank_error=rank_error(posterior, problem.grid))
    return replace(posterior, diagnostics=found)


def _positions(chains: Sequence[AnyChain]) -> NDArray[np.int16] | None:
    """Candidates of all draws, if places are uncertain."""
    moving = [chain for chain in chains if isinstance(chain, PositionChain)]
    return np.concatenate([chain.positions() for chain in moving]) if moving else None


def _fingerprint(problem: Problem, seed: int, chains: int, warmup: int, draws: int) -> str:
    """Hash of everything that the draws depend on."""
    c = problem.clusters
    digest = hashlib.sha256(f"{problem.settings}|{c.names}|{seed}|{chains}|{warmup}|{draws}".encode())
    for array in (c.coordinates, c.covariates, c.sizes, c.means, c.within, np.array([c.smallest, c.largest])):
        digest.update(np.ascontiguousarray(array).tobytes())
    if c.candidates is not None:
        for array in (c.candidates.starts, c.candidates.covariates, c.candidates.weights):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
