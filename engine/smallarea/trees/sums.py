"""Sums of V over leaves, and the residual that they belong to: compiled loops."""

from __future__ import annotations

from smallarea.trees.arrays import Bench, Forest
from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import Spectrum, add
from smallarea.trees.moves import GROW, PRUNE
from smallarea.trees.structure import LEFT, RIGHT, Integers, Vector, find_leaf, list_leaves


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
def sum_new_leaves(
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
