"""Cuts that many trees share, moved in all of them at once: compiled loops.

Leaves are kept small by tau, so that a large step of the surface is made by several trees that cut a covariate at the
same place. None of them can leave that place alone; all of them can together. With every leaf value as it is the
surface then keeps its form, only the step is elsewhere, and only clusters between the two places need a look.
"""

from __future__ import annotations

import numpy as np

from smallarea.trees.arrays import Bench, Forest
from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import Spectrum, add
from smallarea.trees.moves import TOGETHER, Stream, draw_step, uniform, whole
from smallarea.trees.structure import CUT, VARIABLE, Integers, Rules, find_leaf, log_prior


@compiled
def move_together(forest: Forest, bench: Bench, rules: Rules, spectrum: Spectrum, stream: Stream) -> None:
    """Exchange two cuts of a covariate wherever they stand in any tree, given all leaf values.

    A node is drawn from all inner nodes and a step from its cut, so that the pair of cuts {c, c'} is as likely after
    the exchange, which is its own inverse, as before it.
    """
    bench.counts[TOGETHER, 0] += 1
    room = bench.together
    inner = _list_inner(forest, room.inner)
    if inner == 0:
        return
    t, j = divmod(room.inner[whole(stream, inner)], forest.nodes.shape[1])
    v, cut = forest.nodes[t, j, VARIABLE], forest.nodes[t, j, CUT]
    other = cut + draw_step(stream, rules.n_cuts[v])
    u = uniform(stream)
    if other < 0 or other >= rules.n_cuts[v]:
        return
    ratio, trees = _exchange(forest, inner, v, cut, other, bench, rules)
    rows = 0
    if ratio > -np.inf:
        rows, large = _replace(forest, trees, v, min(cut, other), max(cut, other), bench, spectrum)
        ratio = ratio + _log_likelihood_ratio(forest, rows, bench, spectrum) if large else -np.inf
    if np.log(u) < ratio:
        bench.counts[TOGETHER, 1] += 1
        _accept(forest, trees, rows, bench, spectrum)
        return
    for m in range(trees):
        forest.nodes[room.trees[m]] = room.nodes[m]


@compiled
def _list_inner(forest: Forest, inner: Integers) -> int:
    """Write all inner nodes of all trees as tree x slots + node, in this order, and count them."""
    trees, slots = forest.nodes.shape[:2]
    count = 0
    for t in range(trees):
        for j in range(slots):
            if forest.nodes[t, j, VARIABLE] >= 0:
                inner[count] = t * slots + j
                count += 1
    return count


@compiled
def _exchange(
    forest: Forest, inner: int, v: int, cut: int, other: int, bench: Bench, rules: Rules
) -> tuple[float, int]:
    """Exchange the cuts, keep the trees as they were, and return the log ratio of their priors, and their number."""
    room = bench.together
    slots = forest.nodes.shape[1]
    ratio = 0.0
    trees = 0
    for i in range(inner):
        t, j = divmod(room.inner[i], slots)
        here = forest.nodes[t, j, CUT]
        if forest.nodes[t, j, VARIABLE] != v or (here != cut and here != other):
            continue
        if trees == 0 or room.trees[trees - 1] != t:
            if trees > 0:
                ratio += log_prior(forest.nodes[room.trees[trees - 1]], rules, bench.new_ranges)
                if ratio == -np.inf:
                    return ratio, trees
            room.trees[trees] = t
            room.nodes[trees] = forest.nodes[t]
            trees += 1
            ratio -= log_prior(forest.nodes[t], rules, bench.new_ranges)
        forest.nodes[t, j, CUT] = cut + other - here
    return ratio + log_prior(forest.nodes[room.trees[trees - 1]], rules, bench.new_ranges), trees


@compiled
def _replace(
    forest: Forest, trees: int, v: int, low: int, high: int, bench: Bench, spectrum: Spectrum
) -> tuple[int, bool]:
    """Find new leaves for the clusters between the cuts; return how many they are, and if all leaves are large enough.

    How much their residuals change is written beside them.
    """
    room = bench.together
    for m in range(trees):
        room.sizes[m] = forest.sizes[room.trees[m]]
    rows = 0
    for i in range(len(bench.bins)):
        if not low < bench.bins[i, v] <= high:
            continue
        change = 0.0
        for m in range(trees):
            t = room.trees[m]
            before, after = forest.place[t, i], find_leaf(forest.nodes[t], 0, bench.bins[i])
            room.places[m, rows] = after
            if after != before:
                change += forest.values[t, before] - forest.values[t, after]
                room.sizes[m, before] -= spectrum.sizes[i]
                room.sizes[m, after] += spectrum.sizes[i]
        room.rows[rows] = i
        room.changes[rows] = change
        rows += 1
    for m in range(trees):
        for r in range(rows):
            before = forest.place[room.trees[m], room.rows[r]]
            if room.places[m, r] != before and room.sizes[m, before] < bench.min_leaf[0]:
                return rows, False
    return rows, True


@compiled
def _log_likelihood_ratio(forest: Forest, rows: int, bench: Bench, spectrum: Spectrum) -> float:
    """Log density of the changed residuals less that of those that are; writes V' of the changed ones."""
    room = bench.together
    room.q[:] = forest.q
    total = 0.0
    for r in range(rows):
        i, change = room.rows[r], room.changes[r]
        if change != 0.0:
            total += spectrum.base[0] * spectrum.sizes[i] * change * (2.0 * forest.residual[i] + change)
            add(room.q, spectrum.vectors[i], change)
    for k in range(len(room.q)):
        total += spectrum.weights[k] * (room.q[k] - forest.q[k]) * (room.q[k] + forest.q[k])
    return -0.5 * total


@compiled
def _accept(forest: Forest, trees: int, rows: int, bench: Bench, spectrum: Spectrum) -> None:
    """Take the clusters' new leaves over; the nodes are changed already."""
    room = bench.together
    forest.q[:] = room.q
    for r in range(rows):
        forest.residual[room.rows[r]] += room.changes[r]
    for m in range(trees):
        t = room.trees[m]
        forest.sizes[t] = room.sizes[m]
        for r in range(rows):
            i, after = room.rows[r], room.places[m, r]
            before = forest.place[t, i]
            if after != before:
                forest.place[t, i] = after
                add(forest.sums[t, after], spectrum.vectors[i], 1.0)
                add(forest.sums[t, before], spectrum.vectors[i], -1.0)
