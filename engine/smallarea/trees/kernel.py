"""State of all trees, and proposals for one of them with leaves (and field) integrated out: compiled loops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import Gram, Solver, Spectrum, add, dot, evidence, weigh
from smallarea.trees.moves import GROW, PRUNE, Stream, propose
from smallarea.trees.structure import (
    FREE,
    LEFT,
    RIGHT,
    VARIABLE,
    Integers,
    Ranges,
    Rules,
    Vector,
    find_leaf,
    list_leaves,
    log_prior,
)


class Forest(NamedTuple):
    """State of all trees.

    ``nodes`` (trees, slots, 5); ``values`` (trees, slots) of leaves; ``place`` (trees, n), the leaf of each cluster;
    ``sizes`` (trees, slots), observations of each leaf; ``sums`` (trees, slots, k), rows of V added up by leaf;
    ``residual`` (n,), cluster means less all trees; ``q`` (k,) = V' residual.
    """

    nodes: Integers
    values: Vector
    place: Integers
    sizes: Vector
    sums: Vector
    residual: Vector
    q: Vector


class Group(NamedTuple):
    """Trees whose leaves are integrated out together with those of the tree that is proposed.

    ``order`` (trees,) is for drawing them; ``tree`` and ``leaf`` (others,) list their leaves; ``at`` (trees, slots)
    finds a leaf in that list; ``cross`` and ``new_cross`` (slots, others): C' Lambda C between the tree and them.

    Clusters that share a leaf in every partner are a cell, ``cells`` (1,) in number: ``cell`` (n,) says which, ``digits`` (cells, partners) lists
    its leaves, and ``pooled`` (2, cells) and ``joint`` (slots, cells) are room for sums by cell.
    """

    order: Integers
    tree: Integers
    leaf: Integers
    at: Integers
    cross: Vector
    new_cross: Vector
    cells: Integers
    cell: Integers
    digits: Integers
    pooled: Vector
    joint: Vector


class Bench(NamedTuple):
    """Room to work in, and the fixed numbers of proposals.

    ``leaf_precision`` is tau^-2; ``counts`` (5, 2): proposals made and accepted by kind.
    """

    bins: Integers
    leaf_precision: Vector
    min_leaf: Vector
    nodes: Integers
    ranges: Ranges
    new_ranges: Ranges
    gram: Gram
    new_gram: Gram
    solver: Solver
    leaves: Integers
    new_leaves: Integers
    touched: Integers
    stack: Integers
    place: Integers
    is_touched: NDArray[np.bool_]
    sizes: Vector
    linear: Vector
    sums: Vector
    weighted: Vector
    counts: NDArray[np.int64]
    group: Group


@compiled
def place_all(forest: Forest, bench: Bench, spectrum: Spectrum) -> None:
    """Compute leaves, sizes, sums, residual's q anew from nodes, values and residual."""
    for t in range(len(forest.nodes)):
        for j in range(forest.sizes.shape[1]):
            forest.sizes[t, j] = 0.0
        for i in range(len(spectrum.sizes)):
            j = find_leaf(forest.nodes[t], 0, bench.bins[i])
            forest.place[t, i] = j
            forest.sizes[t, j] += spectrum.sizes[i]
    sum_all(forest, bench, spectrum)


@compiled
def sum_all(forest: Forest, bench: Bench, spectrum: Spectrum) -> None:
    """Compute sums of V and the residual's q anew; enough when V is another but every cluster is where it was.

    The sums of the largest leaf of each tree are what the other leaves leave of the total.
    """
    n, k = spectrum.vectors.shape
    if k == 0:
        return
    for t in range(len(forest.nodes)):
        count = list_leaves(forest.nodes[t], 0, bench.leaves, bench.stack)
        large = _largest(forest.place[t], bench.leaves, count, bench.sizes)
        for i in range(count):
            for c in range(k):
                forest.sums[t, bench.leaves[i], c] = 0.0
        for i in range(n):
            if forest.place[t, i] != large:
                add(forest.sums[t, forest.place[t, i]], spectrum.vectors[i], 1.0)
        add(forest.sums[t, large], spectrum.total, 1.0)
        for i in range(count):
            if bench.leaves[i] != large:
                add(forest.sums[t, large], forest.sums[t, bench.leaves[i]], -1.0)
    for c in range(k):
        forest.q[c] = 0.0
    for i in range(n):
        add(forest.q, spectrum.vectors[i], forest.residual[i])


@compiled
def _largest(place: Integers, leaves: Integers, count: int, rows: Vector) -> int:
    """Leaf with most clusters among the first ``count`` of ``leaves``; ``rows`` is room and keeps how many each has."""
    for i in range(count):
        rows[leaves[i]] = 0.0
    for i in range(len(place)):
        rows[place[i]] += 1.0
    large = leaves[0]
    for i in range(1, count):
        if rows[leaves[i]] > rows[large]:
            large = leaves[i]
    return large


@compiled
def shift_residual(forest: Forest, t: int, leaves: Integers, count: int, sign: float) -> None:
    """Add the tree to the residual (+1) or subtract it (-1)."""
    for i in range(forest.place.shape[1]):
        forest.residual[i] += sign * forest.values[t, forest.place[t, i]]
    for i in range(count):
        add(forest.q, forest.sums[t, leaves[i]], sign * forest.values[t, leaves[i]])


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
def _sum_new_leaves(
    forest: Forest, t: int, kind: int, target: int, count: int, bench: Bench, spectrum: Spectrum
) -> None:
    """Write the sums of V over the ``count`` touched leaves of the proposed tree."""
    sums = forest.sums[t]
    if kind == PRUNE:
        left, right = forest.nodes[t, target, LEFT], forest.nodes[t, target, RIGHT]
        for c in range(sums.shape[1]):
            bench.sums[target, c] = sums[left, c] + sums[right, c]
        return
    if kind == GROW:
        left, right = bench.nodes[target, LEFT], bench.nodes[target, RIGHT]
        rows = 0
        for i in range(len(bench.place)):
            if bench.place[i] == left:
                rows += 1
            elif bench.place[i] == right:
                rows -= 1
        small, large = (left, right) if rows < 0 else (right, left)
        for c in range(sums.shape[1]):
            bench.sums[small, c] = 0.0
        for i in range(len(bench.place)):
            if bench.place[i] == small:
                add(bench.sums[small], spectrum.vectors[i], 1.0)
        for c in range(sums.shape[1]):
            bench.sums[large, c] = sums[target, c] - bench.sums[small, c]
        return
    _sum_shifted_leaves(forest, t, count, bench, spectrum)


@compiled
def _sum_shifted_leaves(forest: Forest, t: int, count: int, bench: Bench, spectrum: Spectrum) -> None:
    """Write the sums of V over leaves that exchange clusters: of those that move, or anew for all but the largest."""
    sums = forest.sums[t]
    rows = bench.new_gram.linear  # free until the proposal's A and h are written
    large = _largest(bench.place, bench.touched, count, rows)
    anew = 0.0
    for i in range(count):
        if bench.touched[i] != large:
            anew += rows[bench.touched[i]]
    moved = 0
    for i in range(len(bench.place)):
        if bench.place[i] != forest.place[t, i]:
            moved += 1
    if 2.0 * moved <= anew:
        for i in range(count):
            j = bench.touched[i]
            for c in range(sums.shape[1]):
                bench.sums[j, c] = sums[j, c]
        for i in range(len(bench.place)):
            if bench.place[i] != forest.place[t, i]:
                add(bench.sums[bench.place[i]], spectrum.vectors[i], 1.0)
                add(bench.sums[forest.place[t, i]], spectrum.vectors[i], -1.0)
        return
    for i in range(count):
        for c in range(sums.shape[1]):
            bench.sums[bench.touched[i], c] = 0.0
    for i in range(len(bench.place)):
        before, after = forest.place[t, i], bench.place[i]
        # Leaves above or beside the changed node hold the same clusters as before.
        if after != large and bench.is_touched[before]:
            add(bench.sums[after], spectrum.vectors[i], 1.0)
    for i in range(count):
        j = bench.touched[i]
        add(bench.sums[large], sums[j], 1.0)
        if j != large:
            add(bench.sums[large], bench.sums[j], -1.0)


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
            bench.place, bench.touched, changed, bench.is_touched, partners, forest.residual, new, cross, bench, spectrum
        )


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
    _sum_new_leaves(forest, t, kind, target, changed, bench, spectrum)
    count = list_leaves(bench.nodes, 0, bench.new_leaves, bench.stack)
    _fill_new_gram(forest, t, count, changed, partners, others, bench, spectrum)
    proposed = prior + evidence(
        bench.new_gram, bench.group.new_cross, bench.new_leaves, count, others, bench.leaf_precision[0], bench.solver
    )
    return log_q + proposed - current, count, changed, proposed
