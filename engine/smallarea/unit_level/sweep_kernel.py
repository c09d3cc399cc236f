"""Whole sweeps of BARTSIMP in one compiled call: trees, hyperparameters, and what is kept of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.compiling import compiled
from smallarea.trees.kernel import Bench, Forest, place_all, sum_all
from smallarea.trees.moves import Stream
from smallarea.trees.structure import Rules, find_leaf
from smallarea.trees.sweep import sweep_trees
from smallarea.trees.trace import encode
from smallarea.unit_level.hyper_kernel import FieldTable, Hyper, bring, make_spectrum, update_hyper

Vector = NDArray[np.float64]


class Record(NamedTuple):
    """What a block of sweeps leaves behind, see :class:`smallarea.trees.ForestTrace`.

    ``hyper`` (sweeps, 3): log sd of error and field, position of the range; ``sizes`` (sweeps, trees); ``ends`` (2,).
    """

    hyper: Vector
    variables: NDArray[np.int16]
    cuts: NDArray[np.int16]
    values: Vector
    sizes: NDArray[np.int64]
    ends: NDArray[np.int64]


@compiled
def renew(
    forest: Forest, means: Vector, bench: Bench, table: FieldTable, hyper: Hyper, weights: Vector, base: Vector
) -> None:
    """Compute everything that follows from nodes, leaf values and hyperparameters anew, free of rounding's history."""
    for i in range(len(means)):
        forest.residual[i] = means[i]
        for t in range(len(forest.nodes)):
            forest.residual[i] -= forest.values[t, find_leaf(forest.nodes[t], 0, bench.bins[i])]
    bring(table, hyper.at[0])
    place_all(forest, bench, make_spectrum(table, hyper, weights, base))


@compiled
def run_sweeps(
    count: int, attempts: int, partners: int, walks: int, ranges: int, means: Vector, forest: Forest, bench: Bench,
    rules: Rules, table: FieldTable, hyper: Hyper, weights: Vector, base: Vector, stream: Stream, record: Record,
) -> None:  # fmt: skip
    """Sweep ``count`` times and record every state; begins by renewing the state."""
    renew(forest, means, bench, table, hyper, weights, base)
    record.ends[:] = 0
    for s in range(count):
        spectrum = make_spectrum(table, hyper, weights, base)
        sweep_trees(forest, attempts, partners, bench, rules, spectrum, stream)
        before = hyper.at[0]
        update_hyper(forest.residual, forest.q, walks, ranges, table, hyper, stream)
        record.hyper[s, 0] = hyper.logs[0]
        record.hyper[s, 1] = hyper.logs[1]
        record.hyper[s, 2] = hyper.at[0]
        encode(
            forest.nodes, forest.values, record.variables, record.cuts, record.values, record.sizes[s], record.ends,
            bench.stack,
        )  # fmt: skip
        if hyper.at[0] != before and s + 1 < count:
            bring(table, hyper.at[0])
            sum_all(forest, bench, make_spectrum(table, hyper, weights, base))
