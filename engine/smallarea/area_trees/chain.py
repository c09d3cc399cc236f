"""One chain: its state, blocks of sweeps, and how proposals are tuned while it warms up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_trees.effect import EffectGrid
from smallarea.area_trees.effect_kernel import FIXED, EffectState, EffectTable, Record, run_sweeps
from smallarea.area_trees.settings import WALKS, AreaTreesSettings, Scales, jumps_of, sd_names, sd_priors
from smallarea.trees import Cuts, ForestTrace
from smallarea.trees.state import fill_stream, make_bench, make_forest, make_rules, make_stream, tree_numbers

Vector = NDArray[np.float64]

# Sweeps of a compiled call. Draws depend on it, since every block renews the state and tunes the steps.
BLOCK = 25
# Acceptance aimed at: of a one-dimensional random walk (Gelman, Roberts and Gilks 1996), and of jumps in the grid.
TARGETS = (0.44, 0.3, 0.3)


@dataclass(frozen=True)
class Problem:
    """Everything that the chains of a fit share, areas in their canonical order.

    Attributes
    ----------
    specification : AreaLevelSpecification
        Effect and priors.
    settings : AreaTreesSettings
        Trees.
    scales : Scales
        Of the data.
    y : ndarray, shape (n,)
        Direct estimates of sampled areas on the standardised scale, less the centre.
    bins : ndarray of int, shape (N, p)
        Covariates of all areas by the cuts.
    cuts : Cuts
        Cut points.
    grid : EffectGrid
        The area effect's factors.
    table : EffectTable
        The same, as the compiled loops take it.
    """

    specification: AreaLevelSpecification
    settings: AreaTreesSettings
    scales: Scales
    y: Vector
    bins: NDArray[np.int32]
    cuts: Cuts
    grid: EffectGrid
    table: EffectTable


def make_table(specification: AreaLevelSpecification, grid: EffectGrid) -> EffectTable:
    """Put the grid's factors and the priors together for the compiled loops.

    Parameters
    ----------
    specification : AreaLevelSpecification
        The model.
    grid : EffectGrid
        The factors.

    Returns
    -------
    EffectTable
    """
    kinds, arguments = sd_priors(specification)
    with np.errstate(divide="ignore"):
        log_ratios = np.log(grid.ratios)
    # The middle eigenvalue is what most areas see of K; sd goes the other way. Islands of a CAR have eigenvalue zero.
    typical = np.array([np.median(values[values > 0.0]) for values in grid.values])
    shift = np.zeros(len(typical)) if kinds[0] == FIXED else -0.5 * np.log(typical)
    return EffectTable(
        grid.log_weights,
        shift,
        grid.vectors,
        grid.values,
        grid.vectors.sum(axis=1),
        np.array([len(grid.rhos), len(grid.ratios)], np.int64),
        log_ratios,
        kinds,
        arguments,
        np.ones(len(grid.sampled)),
    )


class Chain:
    """A chain that goes on block by block.

    Parameters
    ----------
    problem : Problem
        What to fit.
    seed : numpy.random.SeedSequence
        Its own seed.
    warmup, draws : int
        Sweeps to warm up and sweeps to keep.
    """

    def __init__(self, problem: Problem, seed: np.random.SeedSequence, warmup: int, draws: int) -> None:
        tree = problem.settings.trees
        self._problem = problem
        self._random = np.random.default_rng(seed)
        self.warmup, self.total, self.done = warmup, warmup + draws, 0
        n = len(problem.y)
        self._jumps = jumps_of(n)
        self._forest = make_forest(tree, problem.y, n)
        bins = problem.bins[problem.grid.sampled]
        self._bench = make_bench(tree, bins, problem.scales.leaf(problem.settings), problem.table.ones, n)
        self._rules = make_rules(tree, problem.cuts.counts)
        self._state = _start(problem, self._random)
        self._weights, self._base = np.zeros(n), np.zeros(1)
        uniforms, normals = tree_numbers(tree)
        self._stream = make_stream(BLOCK * (uniforms + WALKS + 4 * self._jumps), BLOCK * (normals + WALKS))
        room = BLOCK * tree.trees
        self._record = Record(
            np.zeros((BLOCK, 2)), np.zeros(room * tree.slots, np.int16), np.zeros(room * tree.slots, np.int16),
            np.zeros(room * tree.max_leaves), np.zeros((BLOCK, tree.trees), np.int64), np.zeros(2, np.int64),
        )  # fmt: skip
        self._hypers: list[Vector] = []
        self._traces: list[ForestTrace] = []

    @property
    def finished(self) -> bool:
        """Whether all sweeps are done."""
        return self.done >= self.total

    def advance(self) -> None:
        """Run one block of sweeps; while warming up, tune the proposals after it."""
        end = self.warmup if self.done < self.warmup else self.total
        count = min(BLOCK, end - self.done)
        fill_stream(self._stream, self._random)
        if self.done <= self.warmup:
            self._bench.counts[:] = 0
        self._state.moves[:] = 0
        run_sweeps(
            count, WALKS, self._jumps, self._problem.y, self._forest, self._bench,
            self._rules, self._problem.table, self._state, self._weights, self._base, self._stream, self._record,
        )  # fmt: skip
        if self.done < self.warmup:
            self._tune()
        else:
            self._hypers.append(self._record.hyper[:count].copy())
            r = self._record
            self._traces.append(ForestTrace.of_block(r.variables, r.cuts, r.values, r.sizes[:count], r.ends))
        self.done += count

    def _tune(self) -> None:
        """Steer acceptance rates."""
        state, counts = self._state, self._problem.table.counts
        gain = 3.0 / np.sqrt(1.0 + self.done / BLOCK)
        rates = state.moves[:, 1] / np.maximum(state.moves[:, 0], 1)
        steps = state.steps * np.exp(gain * (rates - TARGETS))
        state.steps[0] = steps[0]
        state.steps[1:] = np.clip(steps[1:], 1.0, np.maximum(1.0, counts / 2.0))

    def result(self) -> tuple[Vector, ForestTrace, NDArray[np.int64]]:
        """Kept hyperparameters (S, 2), forests, and proposals made and accepted since the warm-up (kinds, 2)."""
        return np.concatenate(self._hypers), ForestTrace.joined(self._traces), self._bench.counts.copy()


def _start(problem: Problem, rng: np.random.Generator) -> EffectState:
    """Begin at a random place of the prior's middle, so that chains start apart."""
    prior = problem.specification.priors[sd_names(problem.specification)[0]]
    p = float(rng.uniform(0.2, 0.8))
    counts = problem.table.counts
    at = np.array([int(rng.uniform(0.2, 0.8) * count) for count in counts.tolist()], np.int64)
    return EffectState(
        np.array([np.log(prior.quantile(p, 1.0 - p))]),
        at,
        np.array([0.4, *np.maximum(1.0, counts / 8.0)]),
        np.zeros((3, 2), np.int64),
        np.zeros(len(problem.y)),
    )
