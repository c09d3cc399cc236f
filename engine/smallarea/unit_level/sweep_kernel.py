"""Whole sweeps of BARTSIMP in one compiled call: trees, hyperparameters, and what is kept of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.arrays import Bench, Forest
from smallarea.trees.compiling import compiled
from smallarea.trees.moves import Stream, uniform
from smallarea.trees.structure import Integers, Rules, find_leaf
from smallarea.trees.sums import place_all, sum_all
from smallarea.trees.sweep import sweep_trees
from smallarea.trees.trace import encode
from smallarea.unit_level.far_kernel import log_correction
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


class Before(NamedTuple):
    """The state before a sweep that may be refused, and room; see :mod:`smallarea.unit_level.far_kernel`.

    ``nodes``, ``values`` as in :class:`Forest`; ``logs`` (2,), ``at`` (1,) as in :class:`Hyper`; ``q`` (f,) is room;
    ``counts`` (2,): sweeps made and accepted. f is 0 if no direction is left out.
    """

    nodes: Integers
    values: Vector
    logs: Vector
    at: NDArray[np.int64]
    q: Vector
    counts: NDArray[np.int64]


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
def sweep_once(
    correction: float, walks: int, ranges: int, means: Vector, forest: Forest,
    bench: Bench, rules: Rules, table: FieldTable, hyper: Hyper, weights: Vector, base: Vector, before: Before,
    stream: Stream,
) -> float:  # fmt: skip
    """Update trees and hyperparameters once, and return the log of p / p~ after it; ``correction`` is that before."""
    leaves_out = len(before.q) > 0
    back = False
    if leaves_out:
        before.nodes[:] = forest.nodes
        before.values[:] = forest.values
        before.logs[:] = hyper.logs
        before.at[:] = hyper.at
        back = uniform(stream) < 0.5
    if not back:
        spectrum = make_spectrum(table, hyper, weights, base)
        sweep_trees(forest, False, bench, rules, spectrum, stream)
    g = hyper.at[0]
    update_hyper(forest.residual, forest.q, walks, ranges, back, table, hyper, stream)
    if hyper.at[0] != g:
        bring(table, hyper.at[0])
        sum_all(forest, bench, make_spectrum(table, hyper, weights, base))
    if back:
        spectrum = make_spectrum(table, hyper, weights, base)
        sweep_trees(forest, True, bench, rules, spectrum, stream)
    if not leaves_out:
        return correction
    proposed = log_correction(forest.residual, table, hyper, before.q)
    before.counts[0] += 1
    if np.log(uniform(stream)) < proposed - correction:
        before.counts[1] += 1
        return proposed
    forest.nodes[:] = before.nodes
    forest.values[:] = before.values
    hyper.logs[:] = before.logs
    hyper.at[:] = before.at
    renew(forest, means, bench, table, hyper, weights, base)
    return correction


@compiled
def keep_state(s: int, forest: Forest, bench: Bench, hyper: Hyper, record: Record) -> None:
    """Record the state after sweep s of a block."""
    record.hyper[s, 0] = hyper.logs[0]
    record.hyper[s, 1] = hyper.logs[1]
    record.hyper[s, 2] = hyper.at[0]
    encode(
        forest.nodes, forest.values, record.variables, record.cuts, record.values, record.sizes[s], record.ends,
        bench.stack,
    )  # fmt: skip


@compiled
def run_sweeps(
    count: int, walks: int, ranges: int, means: Vector, forest: Forest, bench: Bench,
    rules: Rules, table: FieldTable, hyper: Hyper, weights: Vector, base: Vector, before: Before, stream: Stream,
    record: Record,
) -> None:  # fmt: skip
    """Sweep ``count`` times and record every state; begins by renewing the state."""
    renew(forest, means, bench, table, hyper, weights, base)
    record.ends[:] = 0
    correction = log_correction(forest.residual, table, hyper, before.q) if len(before.q) > 0 else 0.0
    for s in range(count):
        correction = sweep_once(
            correction, walks, ranges, means, forest, bench, rules, table, hyper, weights,
            base, before, stream,
        )  # fmt: skip
        keep_state(s, forest, bench, hyper, record)
