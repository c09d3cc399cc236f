"""One chain: its state, blocks of sweeps, and how proposals are tuned while it warms up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.trees import Cuts, ForestTrace
from smallarea.trees.state import fill_stream, make_bench, make_forest, make_rules, make_stream, tree_numbers
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.field_exact import RangeGrid
from smallarea.unit_level.hyper_kernel import ERROR, FIELD, FieldTable, Hyper
from smallarea.unit_level.latent_field import LatentField
from smallarea.unit_level.settings import BartsimpSettings, Scales
from smallarea.unit_level.sweep_kernel import Before, Record, run_sweeps
from smallarea.unit_level.tuning import BLOCK, tune_steps

Vector = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]

_SAVED_HYPER = ("logs", "at", "steps")


@dataclass(frozen=True)
class Problem:
    """Everything that the chains of a fit share.

    Attributes
    ----------
    clusters : Clusters
        The data.
    settings : BartsimpSettings
        Model and sampler.
    scales : Scales
        Prior scales.
    cuts : Cuts
        Cut points.
    grid : RangeGrid
        The field's factors; those of no field where outcomes are counted.
    latent : LatentField, optional
        The field where outcomes are counted.
    """

    clusters: Clusters
    settings: BartsimpSettings
    scales: Scales
    cuts: Cuts
    grid: RangeGrid
    latent: LatentField | None = None


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
        settings, clusters, grid = problem.settings, problem.clusters, problem.grid
        self._random = np.random.default_rng(seed)
        self._settings = settings
        self._range_moves = settings.range_moves_of(grid.rank)
        self.warmup, self.total, self.done = warmup, warmup + draws, 0
        tree = settings.trees
        self._means = clusters.means - clusters.mean
        self._forest = make_forest(tree, self._means, grid.rank)
        bins = problem.cuts.bins(clusters.covariates)
        self._bench = make_bench(tree, bins, problem.scales.leaf, clusters.sizes, grid.rank)
        self._rules = make_rules(tree, problem.cuts.counts)
        self._table = field_table(grid)
        self._hyper = _start(problem, self._random)
        self._weights, self._base = np.zeros(grid.rank), np.zeros(1)
        self._before = Before(
            self._forest.nodes.copy(), self._forest.values.copy(), np.zeros(2), np.zeros(1, np.int64),
            np.zeros(self._table.far_values.shape[1]), np.zeros(2, np.int64),
        )  # fmt: skip
        uniforms, normals = tree_numbers(tree)
        # Two more are the direction of a sweep and whether it is accepted.
        turns = settings.walks * 2 + self._range_moves * 2 + 2
        self._stream = make_stream(BLOCK * (uniforms + turns), BLOCK * (normals + turns))
        room = BLOCK * tree.trees
        self._record = Record(
            np.zeros((BLOCK, 3)), np.zeros(room * tree.slots, np.int16), np.zeros(room * tree.slots, np.int16),
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
            self._before.counts[:] = 0
        self._hyper.counts[:] = 0
        self._sweep(count)
        self._hypers.append(self._record.hyper[:count].copy())
        if self.done < self.warmup:
            self._tune()
        else:
            r = self._record
            self._traces.append(ForestTrace.of_block(r.variables, r.cuts, r.values, r.sizes[:count], r.ends))
        self.done += count

    def _sweep(self, count: int) -> None:
        """Run some sweeps, which leave their record."""
        settings = self._settings
        run_sweeps(
            count, settings.walks, self._range_moves,
            self._means, self._forest, self._bench, self._rules, self._table, self._hyper, self._weights, self._base,
            self._before, self._stream, self._record,
        )  # fmt: skip

    def _tune(self) -> None:
        """Steer acceptance rates, and let the field's standard deviation follow its range as it did so far."""
        tune_steps(self._hyper.steps, self._hyper.counts, self._hypers, self._table.log_ranges)

    def result(self) -> tuple[Vector, ForestTrace, NDArray[np.int64]]:
        """Kept hyperparameters (S, 3), forests, and proposals made and accepted since the warm-up (kinds + 1, 2).

        The last kind is whole sweeps, of which none is a proposal without far directions.
        """
        hyper = np.concatenate(self._hypers)[self.warmup :]
        return hyper, ForestTrace.joined(self._traces), np.vstack([self._bench.counts, self._before.counts])

    def arrays(self) -> Arrays:
        """Everything that the chain needs to go on, and what it has kept."""
        out: Arrays = {f"hyper_{name}": getattr(self._hyper, name).copy() for name in _SAVED_HYPER}
        out |= {"nodes": self._forest.nodes.copy(), "values": self._forest.values.copy()}
        out |= {"counts": self._bench.counts.copy(), "sweep_counts": self._before.counts.copy()}
        out["done"] = np.array(self.done)
        out["random"] = np.array(json.dumps(self._random.bit_generator.state))
        out["hypers"] = np.concatenate(self._hypers) if self._hypers else np.zeros((0, 3))
        if self._traces:
            self._traces = [ForestTrace.joined(self._traces)]
            out |= self._traces[0].arrays()
        return out

    def restore(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Go back to where :meth:`arrays` was taken."""
        for name in _SAVED_HYPER:
            getattr(self._hyper, name)[:] = arrays[f"hyper_{name}"]
        self._forest.nodes[:] = arrays["nodes"]
        self._forest.values[:] = arrays["values"]
        self._bench.counts[:] = arrays["counts"]
        self._before.counts[:] = arrays["sweep_counts"]
        self.done = int(arrays["done"])
        self._random.bit_generator.state = json.loads(str(arrays["random"]))
        kept = np.asarray(arrays["hypers"], float)
        # In the same pieces as before, since tuning looks back over pieces.
        edges = [*range(0, self.warmup, BLOCK), *range(self.warmup, self.total, BLOCK)]
        self._hypers = [part for part in np.split(kept, [e for e in edges if 0 < e < len(kept)]) if len(part)]
        self._traces = [ForestTrace.from_arrays(arrays)] if "forest_starts" in arrays else []


def field_table(grid: RangeGrid) -> FieldTable:
    """Arrange a grid of ranges for the compiled loops, with room of its own for one chain."""
    known = (np.log(grid.ranges), grid.log_weights, grid.vectors, grid.values, grid.rest, grid.totals)
    none, no_far = np.zeros((0, 0)), np.zeros((0, 0, 0), np.float32)
    if grid.on_mesh is None:
        no_mesh = (np.zeros((0, 0), np.int32), none, none, none, np.zeros(0))
        far = (no_far, none) if grid.far is None else (grid.far.vectors, grid.far.values)
        return FieldTable(*known, *no_mesh, *far)
    m = grid.on_mesh
    now = np.zeros((len(m.nodes), grid.rank))
    return FieldTable(*known, m.nodes, m.shares, m.scales, now, np.zeros(m.mesh.n), no_far, none)


def _start(problem: Problem, rng: np.random.Generator) -> Hyper:
    """Begin at a random place of the prior's middle, so that chains start apart."""
    clusters, settings, grid = problem.clusters, problem.settings, problem.grid
    prior = problem.scales.field_prior
    error = problem.scales.error_start * np.exp(0.2 * rng.standard_normal())
    sd = prior.sd_quantile(rng.uniform(0.2, 0.8))
    wanted = prior.range_quantile(rng.uniform(0.2, 0.8))
    logs = np.zeros(2)
    logs[ERROR], logs[FIELD] = np.log(error), np.log(sd)
    fixed = [
        clusters.observations, float(clusters.n), float(clusters.within.sum()), problem.scales.nu_lambda,
        settings.error_df,
    ]  # fmt: skip
    return Hyper(
        logs,
        np.array([np.argmin(np.abs(np.log(grid.ranges / wanted)))]),
        np.array([0.1, 0.4, len(grid.ranges) / 8.0, 0.5]),
        np.zeros((3, 2), np.int64),
        np.array(fixed),
        np.array([prior.sd_rate]),
        clusters.sizes,
        np.zeros(grid.rank),
    )
