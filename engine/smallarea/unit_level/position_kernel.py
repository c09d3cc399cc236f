"""Whole sweeps of BARTSIMP with uncertain places of clusters: compiled loops.

After trees and hyperparameters, both with the field integrated out, the field is drawn at the clusters, and then every
cluster's candidate given trees and field, one cluster after another.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.compiling import compiled
from smallarea.trees.kernel import Bench, Forest
from smallarea.trees.leaves import Spectrum, add, dot
from smallarea.trees.moves import Stream, normal, uniform
from smallarea.trees.structure import Rules, find_leaf
from smallarea.trees.sweep import sweep_trees
from smallarea.trees.trace import encode
from smallarea.unit_level.hyper_kernel import ERROR, FIELD, FieldTable, Hyper, make_spectrum, update_hyper
from smallarea.unit_level.sweep_kernel import Record, renew

Vector = NDArray[np.float64]


class Places(NamedTuple):
    """Candidates of the clusters and where these are now.

    ``starts`` (n + 1,), ``bins`` (m, p), ``log_weights`` (m,) of the candidates; ``chosen`` (n,), the row of each
    cluster's candidate; ``kept`` (sweeps, n), its number in its cluster after each sweep of a block. ``field`` (n,) at
    the clusters; ``zeta`` (k,), ``left`` (n,), ``logs`` and ``totals`` (most candidates,) are room.
    """

    starts: NDArray[np.int64]
    bins: NDArray[np.int32]
    log_weights: Vector
    chosen: NDArray[np.int64]
    kept: NDArray[np.int16]
    field: Vector
    zeta: Vector
    left: Vector
    logs: Vector
    totals: Vector


@compiled
def draw_field(
    forest: Forest, spectrum: Spectrum, table: FieldTable, hyper: Hyper, places: Places, stream: Stream
) -> None:
    """Draw the field at the clusters given everything else, as in :mod:`smallarea.unit_level.field_draws`.

    Columns of V belong to independent coordinates zeta of ``N^1/2 field``, on a mesh too, where ``zeta = sd d^1/2 eta``
    and columns without data are zero. What a reduced field leaves out has the variance ``rest`` in all directions that
    no column of V reaches.
    """
    g = hyper.at[0]
    error, sd = np.exp(2.0 * hyper.logs[ERROR]), np.exp(2.0 * hyper.logs[FIELD])
    n, k = spectrum.vectors.shape
    places.field[:] = 0.0
    if k == 0:
        return
    for c in range(k):
        share = sd * table.values[g, c] / (sd * table.values[g, c] + error)
        places.zeta[c] = share * forest.q[c] + np.sqrt(share * error) * normal(stream)
    places.left[:] = 0.0
    rest = sd * table.rest[g]
    if rest > 0.0:
        share = rest / (rest + error)
        for i in range(n):
            root = np.sqrt(spectrum.sizes[i])
            places.left[i] = share * root * forest.residual[i] + np.sqrt(share * error) * normal(stream)
            add(places.zeta, spectrum.vectors[i], -places.left[i] / root)
    for i in range(n):
        size = spectrum.sizes[i]
        places.field[i] = dot(spectrum.vectors[i], places.zeta) / size + places.left[i] / np.sqrt(size)


@compiled
def weigh_candidates(i: int, target: float, forest: Forest, bench: Bench, hyper: Hyper, places: Places) -> None:
    """Write log probabilities of the candidates of cluster i, up to a constant, and the sums of trees there.

    ``target`` is the cluster's mean less the field. A candidate that would leave a leaf with too few observations has
    probability zero; the present one never does.
    """
    half = 0.5 * hyper.sizes[i] * np.exp(-2.0 * hyper.logs[ERROR])
    begin = places.starts[i]
    for m in range(begin, places.starts[i + 1]):
        total = 0.0
        allowed = True
        for t in range(len(forest.nodes)):
            leaf = find_leaf(forest.nodes[t], 0, places.bins[m])
            old = forest.place[t, i]
            if leaf != old and forest.sizes[t, old] - hyper.sizes[i] < bench.min_leaf[0]:
                allowed = False
                break
            total += forest.values[t, leaf]
        places.totals[m - begin] = total
        gap = target - total
        places.logs[m - begin] = places.log_weights[m] - half * gap * gap if allowed else -np.inf


@compiled
def move_clusters(
    means: Vector, forest: Forest, bench: Bench, spectrum: Spectrum, hyper: Hyper, places: Places, stream: Stream
) -> None:
    """Draw every cluster's candidate given trees, field and the other clusters, and bring the forest up to date."""
    for i in range(len(means)):
        begin = places.starts[i]
        count = places.starts[i + 1] - begin
        if count == 1:
            continue
        weigh_candidates(i, means[i] - places.field[i], forest, bench, hyper, places)
        highest = np.max(places.logs[:count])
        total = 0.0
        for m in range(count):
            total += np.exp(places.logs[m] - highest)
            places.logs[m] = total
        mark = uniform(stream) * total
        new = 0
        while new < count - 1 and places.logs[new] <= mark:
            new += 1
        now = places.chosen[i] - begin
        if new != now:
            _move(i, begin + new, places.totals[now] - places.totals[new], forest, bench, spectrum, places)


@compiled
def _move(i: int, row: int, change: float, forest: Forest, bench: Bench, spectrum: Spectrum, places: Places) -> None:
    """Put cluster i at a candidate; ``change`` is what its residual gains."""
    places.chosen[i] = row
    for v in range(bench.bins.shape[1]):
        bench.bins[i, v] = places.bins[row, v]
    forest.residual[i] += change
    add(forest.q, spectrum.vectors[i], change)
    for t in range(len(forest.nodes)):
        old, leaf = forest.place[t, i], find_leaf(forest.nodes[t], 0, places.bins[row])
        if leaf != old:
            forest.place[t, i] = leaf
            forest.sizes[t, old] -= spectrum.sizes[i]
            forest.sizes[t, leaf] += spectrum.sizes[i]
            add(forest.sums[t, old], spectrum.vectors[i], -1.0)
            add(forest.sums[t, leaf], spectrum.vectors[i], 1.0)


@compiled
def run_displaced_sweeps(
    count: int, attempts: int, partners: int, walks: int, ranges: int, means: Vector, forest: Forest, bench: Bench,
    rules: Rules, table: FieldTable, hyper: Hyper, weights: Vector, base: Vector, stream: Stream, record: Record,
    places: Places, own_stream: Stream,
) -> None:  # fmt: skip
    """Sweep ``count`` times and record every state; as :func:`run_sweeps`, with field and candidates at the end.

    Candidates have random numbers of their own, so that clusters with one candidate each give the draws of clusters
    without uncertainty.
    """
    renew(forest, means, bench, table, hyper, weights, base)
    record.ends[:] = 0
    for s in range(count):
        spectrum = make_spectrum(table, hyper, weights, base)
        sweep_trees(forest, attempts, partners, bench, rules, spectrum, stream)
        before = hyper.at[0]
        update_hyper(forest.residual, forest.q, walks, ranges, table, hyper, stream)
        if hyper.at[0] != before:
            renew(forest, means, bench, table, hyper, weights, base)
        spectrum = make_spectrum(table, hyper, weights, base)
        draw_field(forest, spectrum, table, hyper, places, own_stream)
        move_clusters(means, forest, bench, spectrum, hyper, places, own_stream)
        record.hyper[s, 0] = hyper.logs[0]
        record.hyper[s, 1] = hyper.logs[1]
        record.hyper[s, 2] = hyper.at[0]
        encode(
            forest.nodes, forest.values, record.variables, record.cuts, record.values, record.sizes[s], record.ends,
            bench.stack,
        )  # fmt: skip
        for i in range(len(means)):
            places.kept[s, i] = places.chosen[i] - places.starts[i]


@compiled
def evaluate_rows(
    variables: NDArray[np.int16], cuts: NDArray[np.int16], starts: NDArray[np.int64], values: Vector, trees: int,
    bins: NDArray[np.int32], draws: NDArray[np.int64], rows: NDArray[np.int64], out: Vector,
    right: NDArray[np.int64], leaf: NDArray[np.int64], stack: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add up the trees of each draw at rows of its own, shape (S, P); arrays as in :class:`ForestTrace`.

    ``right``, ``leaf`` and ``stack`` (longest tree,) are room: a node's right child, a leaf's value.
    """
    for s in range(len(draws)):
        for t in range(trees):
            tree = draws[s] * trees + t
            begin = starts[tree]
            next_leaf = (begin + tree) // 2
            top = 0
            for i in range(starts[tree + 1] - begin):
                if variables[begin + i] >= 0:
                    stack[top] = i
                    top += 1
                else:
                    leaf[i] = next_leaf
                    next_leaf += 1
                    # In preorder the node after a leaf is the right child of the last rule that has none yet.
                    if top > 0:
                        top -= 1
                        right[stack[top]] = i + 1
            for p in range(rows.shape[1]):
                j = 0
                while variables[begin + j] >= 0:
                    left = bins[rows[s, p], variables[begin + j]] <= cuts[begin + j]
                    j = j + 1 if left else right[j]
                out[s, p] += values[leaf[j]]
