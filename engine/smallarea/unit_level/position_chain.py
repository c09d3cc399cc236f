"""A chain in which clusters move among their candidate places."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.trees.state import UNIFORMS_OF_PROPOSAL, fill_stream, make_stream
from smallarea.unit_level.candidate_kernel import Places
from smallarea.unit_level.chain import BLOCK, Arrays, Chain, Problem
from smallarea.unit_level.position_kernel import run_displaced_sweeps

# Blocks of the warm-up, at most and as a share of it, in which clusters stay where they start.
STILL, STILL_SHARE = 8, 4


class PositionChain(Chain):
    """A chain as :class:`Chain`, with a candidate of each cluster as a further parameter.

    Places and effects adapt to each other, so that an effect of the wrong sign with all clusters at places that suit it
    is a state that a chain does not leave. At the likeliest places effects are too small but have the right sign, and
    clusters stay there until the trees have found it.

    Parameters
    ----------
    problem : Problem
        What to fit; its clusters have candidates.
    seed : numpy.random.SeedSequence
        Its own seed.
    warmup, draws : int
        Sweeps to warm up and sweeps to keep.

    Raises
    ------
    ModelProblem
        If the clusters have no candidates.
    """

    def __init__(self, problem: Problem, seed: np.random.SeedSequence, warmup: int, draws: int) -> None:
        super().__init__(problem, seed, warmup, draws)
        found, n, rank = problem.clusters.candidates, problem.clusters.n, problem.grid.rank
        if found is None:
            raise ModelProblem("These clusters have no candidate places. Sample them without.")
        # Its own source of random numbers, so that certain places give the draws of a plain chain.
        self._own_random = np.random.default_rng(seed.spawn(1)[0])
        most, m, trees = int(found.counts.max()), len(found.weights), self._settings.trees.trees
        far = self._table.far_values.shape[1]
        self._places = Places(
            found.starts, np.ascontiguousarray(problem.cuts.bins(found.covariates)), np.log(found.weights),
            found.likeliest(), np.zeros((BLOCK, n), np.int16), np.zeros(n),
            np.zeros((trees, m), np.int32), np.zeros(m), np.zeros(rank), np.zeros(far), np.zeros(n), np.zeros(most),
            np.zeros(n, np.int64), np.zeros(m, np.int32), np.zeros(m),
        )  # fmt: skip
        self._bench.bins[:] = self._places.bins[self._places.chosen]
        shifts = trees * (UNIFORMS_OF_PROPOSAL + n)
        self._own_stream = make_stream(BLOCK * (n + shifts), BLOCK * (n + rank))
        self._kept: list[NDArray[np.int16]] = []
        self._still = BLOCK * min(STILL, warmup // (STILL_SHARE * BLOCK))

    def _sweep(self, count: int) -> None:
        if self.done < self._still:
            super()._sweep(count)
            return
        fill_stream(self._own_stream, self._own_random)
        settings = self._settings
        run_displaced_sweeps(
            count, settings.walks, self._range_moves,
            self._means, self._forest, self._bench, self._rules, self._table, self._hyper, self._weights, self._base,
            self._before, self._stream, self._record, self._places, self._own_stream,
        )  # fmt: skip
        if self.done >= self.warmup:
            self._kept.append(self._places.kept[:count].copy())

    def positions(self) -> NDArray[np.int16]:
        """Kept candidates, counted from 0 in each cluster, shape (S, n)."""
        return np.concatenate(self._kept)

    def arrays(self) -> Arrays:
        """Everything that the chain needs to go on, and what it has kept."""
        if self._kept:
            self._kept = [np.concatenate(self._kept)]
        out = super().arrays() | {"chosen": self._places.chosen.copy()}
        out["own_random"] = np.array(json.dumps(self._own_random.bit_generator.state))
        return out | ({"positions": self._kept[0]} if self._kept else {})

    def restore(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Go back to where :meth:`arrays` was taken."""
        super().restore(arrays)
        self._places.chosen[:] = arrays["chosen"]
        self._bench.bins[:] = self._places.bins[self._places.chosen]
        self._own_random.bit_generator.state = json.loads(str(arrays["own_random"]))
        self._kept = [np.asarray(arrays["positions"], np.int16)] if "positions" in arrays else []
