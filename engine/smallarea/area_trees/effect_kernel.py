"""Whole sweeps: trees with leaves and area effect integrated out, and the effect's hyperparameters: compiled loops.

With r the direct estimates less the trees, q = V' r and s the eigenvalues of a point of the grid (see ``effect``),

    log p = -1/2 sum_k [log(1 + sd^2 s_k) + q_k^2 / (1 + sd^2 s_k)] + prior
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.arrays import Bench, Forest
from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import Spectrum, add
from smallarea.trees.moves import Stream, normal, uniform, whole
from smallarea.trees.structure import Rules, find_leaf
from smallarea.trees.sums import place_all
from smallarea.trees.sweep import sweep_trees
from smallarea.trees.trace import encode

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]

HALF_NORMAL, HALF_T, EXPONENTIAL, UNIFORM, FIXED = 0, 1, 2, 3, 4
RHO, RATIO = 0, 1


class EffectTable(NamedTuple):
    """Arrays of an :class:`EffectGrid`, and what does not change.

    ``log_weights`` (G,), ``shift`` (G,): how log sd follows a jump; ``vectors`` (G, n, n), ``values`` (G, n),
    ``totals`` (G, n): column sums of V; ``counts`` (2,): points of rho and of the ratio; ``log_ratios`` (B,);
    ``kinds`` (2,), ``arguments`` (2, 2): priors of the effect's and of the independent part's sd; ``ones`` (n,): a leaf
    is as large as it has areas.
    """

    log_weights: Vector
    shift: Vector
    vectors: Vector
    values: Vector
    totals: Vector
    counts: Integers
    log_ratios: Vector
    kinds: Integers
    arguments: Vector
    ones: Vector


class EffectState(NamedTuple):
    """State of the hyperparameters and how they are proposed.

    ``log_sd`` (1,), ``at`` (2,): positions of rho and ratio; ``steps`` (3,): random walk, reaches in the grid;
    ``moves`` (3, 2): proposals made and accepted; ``q`` (n,) is room.
    """

    log_sd: Vector
    at: Integers
    steps: Vector
    moves: Integers
    q: Vector


class Record(NamedTuple):
    """What a block of sweeps leaves behind, see :class:`smallarea.trees.ForestTrace`.

    ``hyper`` (sweeps, 2): log sd, point of the grid; ``sizes`` (sweeps, trees); ``ends`` (2,).
    """

    hyper: Vector
    variables: NDArray[np.int16]
    cuts: NDArray[np.int16]
    values: Vector
    sizes: Integers
    ends: Integers


@compiled
def log_sd_prior(kind: int, first: float, second: float, sd: float) -> float:
    """Log prior density of a standard deviation, up to a constant."""
    if kind == HALF_NORMAL:
        return -0.5 * (sd / first) ** 2
    if kind == HALF_T:
        return -0.5 * (first + 1.0) * np.log1p((sd / second) ** 2 / first)
    if kind == EXPONENTIAL:
        return -first * sd
    if kind == UNIFORM and (sd < first or sd > second):
        return -np.inf
    return 0.0


@compiled
def log_density(log_sd: float, g: int, table: EffectTable, q: Vector) -> float:
    """Log posterior of log sd, log ratio and rho's coordinate given the residuals."""
    variance = np.exp(2.0 * log_sd)
    total, product = 0.0, 1.0
    for k in range(len(q)):
        scale = 1.0 + variance * table.values[g, k]
        total += q[k] * q[k] / scale
        product *= scale
        # Few factors at a time: they may be as large as the most precise direct estimate is beside its variance.
        if k % 4 == 3:
            total += np.log(product)
            product = 1.0
    total += np.log(product)
    prior = table.log_weights[g]
    if table.kinds[0] != FIXED:
        prior += log_sd_prior(table.kinds[0], table.arguments[0, 0], table.arguments[0, 1], np.exp(log_sd)) + log_sd
    if table.counts[RATIO] > 1:
        second = log_sd + table.log_ratios[g % table.counts[RATIO]]
        prior += log_sd_prior(table.kinds[1], table.arguments[1, 0], table.arguments[1, 1], np.exp(second)) + second
    return prior - 0.5 * total


@compiled
def position(table: EffectTable, state: EffectState) -> int:
    """Point of the grid where the state is."""
    return state.at[RHO] * table.counts[RATIO] + state.at[RATIO]


@compiled
def spectrum_of(table: EffectTable, state: EffectState, weights: Vector, base: Vector) -> Spectrum:
    """Describe Lambda at the present hyperparameters; ``weights`` (n,) is written, ``base`` is zero."""
    g = position(table, state)
    variance = np.exp(2.0 * state.log_sd[0])
    for k in range(len(weights)):
        weights[k] = 1.0 / (1.0 + variance * table.values[g, k])
    return Spectrum(table.vectors[g], weights, base, table.ones, table.totals[g])


@compiled
def _walk(current: float, q: Vector, table: EffectTable, state: EffectState, stream: Stream) -> float:
    """Random walk of log sd; returns the log density after it."""
    proposed_sd = state.log_sd[0] + state.steps[0] * normal(stream)
    proposed = log_density(proposed_sd, position(table, state), table, q)
    state.moves[0, 0] += 1
    if np.log(uniform(stream)) < proposed - current:
        state.moves[0, 1] += 1
        state.log_sd[0] = proposed_sd
        return proposed
    return current


@compiled
def _jump(
    axis: int, current: float, q: Vector, residual: Vector, table: EffectTable, state: EffectState, stream: Stream
) -> float:
    """Propose another rho or ratio; log sd follows by a shift that only depends on both points, so its Jacobian is 1.

    ``q`` is kept up to date.
    """
    reach = max(1, int(state.steps[1 + axis]))
    step = whole(stream, 2 * reach) - reach
    u = np.log(uniform(stream))
    place = state.at[axis] + (step if step < 0 else step + 1)
    state.moves[1 + axis, 0] += 1
    if place < 0 or place >= table.counts[axis]:
        return current
    old = position(table, state)
    before = state.at[axis]
    state.at[axis] = place
    new = position(table, state)
    log_sd = state.log_sd[0] + table.shift[new] - table.shift[old]
    for k in range(len(q)):
        state.q[k] = 0.0
    for i in range(len(residual)):
        add(state.q, table.vectors[new, i], residual[i])
    proposed = log_density(log_sd, new, table, state.q)
    if u >= proposed - current:
        state.at[axis] = before
        return current
    state.moves[1 + axis, 1] += 1
    state.log_sd[0] = log_sd
    for k in range(len(q)):
        q[k] = state.q[k]
    return proposed


@compiled
def update_effect(
    residual: Vector, q: Vector, walks: int, jumps: int, table: EffectTable, state: EffectState, stream: Stream
) -> None:
    """Update sd, rho and ratio several times; ``q`` = V' residual follows the grid."""
    current = log_density(state.log_sd[0], position(table, state), table, q)
    for turn in range(max(walks, jumps)):
        if turn < walks and table.kinds[0] != FIXED:
            current = _walk(current, q, table, state, stream)
        if turn < jumps:
            for axis in range(2):
                if table.counts[axis] > 1:
                    current = _jump(axis, current, q, residual, table, state, stream)


@compiled
def renew(
    forest: Forest, y: Vector, bench: Bench, table: EffectTable, state: EffectState, weights: Vector, base: Vector
) -> None:
    """Compute everything that follows from nodes, leaf values and hyperparameters anew, free of rounding's history."""
    for i in range(len(y)):
        forest.residual[i] = y[i]
        for t in range(len(forest.nodes)):
            forest.residual[i] -= forest.values[t, find_leaf(forest.nodes[t], 0, bench.bins[i])]
    place_all(forest, bench, spectrum_of(table, state, weights, base))


@compiled
def run_sweeps(
    count: int, walks: int, jumps: int, y: Vector, forest: Forest, bench: Bench,
    rules: Rules, table: EffectTable, state: EffectState, weights: Vector, base: Vector, stream: Stream, record: Record,
) -> None:  # fmt: skip
    """Sweep ``count`` times and record every state; begins by renewing the state."""
    renew(forest, y, bench, table, state, weights, base)
    record.ends[:] = 0
    for s in range(count):
        spectrum = spectrum_of(table, state, weights, base)
        sweep_trees(forest, False, bench, rules, spectrum, stream)
        before = position(table, state)
        update_effect(forest.residual, forest.q, walks, jumps, table, state, stream)
        record.hyper[s, 0] = state.log_sd[0]
        record.hyper[s, 1] = position(table, state)
        encode(
            forest.nodes, forest.values, record.variables, record.cuts, record.values, record.sizes[s], record.ends,
            bench.stack,
        )  # fmt: skip
        if position(table, state) != before and s + 1 < count:
            renew(forest, y, bench, table, state, weights, base)
