"""Proposals for one tree with leaves (and field) integrated out: compiled loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.arrays import Bench, Forest
from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import Gram, Spectrum, dot, evidence, weigh
from smallarea.trees.moves import Stream, propose
from smallarea.trees.structure import FREE, VARIABLE, Integers, Rules, Vector, find_leaf, list_leaves, log_prior
from smallarea.trees.sums import sum_new_leaves


@compiled
def _reassign(forest: Forest, t: int, target: int, bench: Bench, spectrum: Spectrum) -> tuple[bool, int]:
    """Find the new leaves below ``target`` and their sizes; say whether all are large enough, and count them."""
    old = list_leaves(forest.nodes[t], target, bench.touched, bench.stack)
    for j in range(len(bench.is_touched)):
        bench.is_touched[j] = False
    for i in range(old):
        bench.is_touched[bench.touched[i]] = True
    new = list_leaves(bench.nodes, target, bench.touched, bench.stack)
    for i in range(new):
        bench.sizes[bench.touched[i]] = 0.0
    for i in range(len(bench.place)):
        before = forest.place[t, i]
        if bench.is_touched[before]:
            after = find_leaf(bench.nodes, target, bench.bins[i])
            bench.place[i] = after
            bench.sizes[after] += spectrum.sizes[i]
        else:
            bench.place[i] = before
    for i in range(new):
        if bench.sizes[bench.touched[i]] < bench.min_leaf[0]:
            return False, new
    return True, new


@compiled
def _fill_new_gram(
    forest: Forest, t: int, count: int, changed: int, partners: int, others: int, bench: Bench, spectrum: Spectrum
) -> None:
    """Write A and h of the proposed tree; entries between leaves that it leaves alone are taken over."""
    new, old = bench.new_gram, bench.gram
    cross = bench.group.new_cross
    for j in range(len(bench.is_touched)):
        bench.is_touched[j] = False
    for i in range(changed):
        bench.is_touched[bench.touched[i]] = True
    for i in range(count):
        a = bench.new_leaves[i]
        if bench.is_touched[a]:
            continue
        new.linear[a] = old.linear[a]
        for m in range(others):
            cross[a, m] = bench.group.cross[a, m]
        for m in range(count):
            b = bench.new_leaves[m]
            if not bench.is_touched[b]:
                new.matrix[a, b] = old.matrix[a, b]
    for i in range(changed):
        a = bench.touched[i]
        weigh(bench.sums[a], spectrum.weights, bench.weighted)
        new.linear[a] = dot(bench.weighted, forest.q)
        for m in range(count):
            b = bench.new_leaves[m]
            value = dot(bench.weighted, bench.sums[b] if bench.is_touched[b] else forest.sums[t, b])
            new.matrix[a, b] = value
            new.matrix[b, a] = value
        new.matrix[a, a] += spectrum.base[0] * bench.sizes[a]
        for m in range(others):
            cross[a, m] = dot(bench.weighted, forest.sums[bench.group.tree[m], bench.group.leaf[m]])
    if spectrum.base[0] != 0.0:
        add_diagonal(
            bench.place, bench.touched, changed, bench.is_touched, partners, forest.residual, new, cross, bench,
            spectrum,
        )  # fmt: skip


@compiled
def add_diagonal(
    place: Integers, leaves: Integers, count: int, wanted: NDArray[np.bool_], partners: int, residual: Vector,
    gram: Gram, cross: Vector, bench: Bench, spectrum: Spectrum,
) -> None:  # fmt: skip
    """Add what the diagonal part of Lambda contributes to h and ``cross`` of the first ``count`` of ``leaves``.

    ``wanted`` (slots,) says the same of them as ``leaves`` does.
    """
    group = bench.group
    cells = group.cells[0]
    for i in range(count):
        for c in range(cells):
            group.joint[leaves[i], c] = 0.0
    for i in range(len(place)):
        a = place[i]
        if wanted[a]:
            share = spectrum.base[0] * spectrum.sizes[i]
            gram.linear[a] += share * residual[i]
            group.joint[a, group.cell[i]] += share
    for i in range(count):
        a = leaves[i]
        for c in range(cells):
            share = group.joint[a, c]
            if share != 0.0:
                for m in range(partners):
                    cross[a, group.digits[c, m]] += share


@compiled
def accept(forest: Forest, t: int, count: int, changed: int, others: int, bench: Bench) -> None:
    """Take the proposed tree over."""
    for j in range(len(bench.nodes)):
        for field in range(bench.nodes.shape[1]):
            forest.nodes[t, j, field] = bench.nodes[j, field]
    for i in range(len(bench.place)):
        forest.place[t, i] = bench.place[i]
    for i in range(changed):
        a = bench.touched[i]
        forest.sizes[t, a] = bench.sizes[a]
        for c in range(bench.sums.shape[1]):
            forest.sums[t, a, c] = bench.sums[a, c]
    for i in range(count):
        a = bench.new_leaves[i]
        bench.leaves[i] = a
        bench.gram.linear[a] = bench.new_gram.linear[a]
        for m in range(others):
            bench.group.cross[a, m] = bench.group.new_cross[a, m]
        for m in range(count):
            b = bench.new_leaves[m]
            bench.gram.matrix[a, b] = bench.new_gram.matrix[a, b]


@compiled
def log_ratio(
    forest: Forest, t: int, kind: int, partners: int, others: int, current: float, bench: Bench, rules: Rules,
    spectrum: Spectrum, stream: Stream,
) -> tuple[float, int, int, float]:  # fmt: skip
    """Propose a tree into ``bench`` and return its log acceptance ratio (-inf if it cannot be).

    ``current`` is the log of prior density times evidence of tree t as it is; ``others`` leaves of ``partners`` trees
    are integrated out with it. Also returned: leaves, leaves changed, and the same log for the proposal.
    """
    # Slots fill from the front, so what a move can touch lies before the second slot after the last that is used.
    used = 0
    for j in range(len(bench.nodes)):
        for field in range(bench.nodes.shape[1]):
            bench.nodes[j, field] = forest.nodes[t, j, field]
        if bench.nodes[j, VARIABLE] != FREE:
            used = j + 1
    nodes = bench.nodes[: min(used + 2, len(bench.nodes))]
    target, log_q = propose(kind, nodes, bench.ranges, rules, stream)
    if target < 0:
        return -np.inf, 0, 0, 0.0
    prior = log_prior(bench.nodes, rules, bench.new_ranges)
    if prior == -np.inf:
        return -np.inf, 0, 0, 0.0
    large, changed = _reassign(forest, t, target, bench, spectrum)
    if not large:
        return -np.inf, 0, 0, 0.0
    sum_new_leaves(forest, t, kind, target, changed, bench, spectrum)
    count = list_leaves(bench.nodes, 0, bench.new_leaves, bench.stack)
    _fill_new_gram(forest, t, count, changed, partners, others, bench, spectrum)
    proposed = prior + evidence(
        bench.new_gram, bench.group.new_cross, bench.new_leaves, count, others, bench.leaf_precision[0], bench.solver
    )
    return log_q + proposed - current, count, changed, proposed
