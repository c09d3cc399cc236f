"""Draws of the candidate places of clusters, alone and together with cuts of the trees: compiled loops.

Everything here is given the leaf values and the hyperparameters; places one by one with the field integrated out,
places and cuts together given the field at the clusters. With
``S_i = sum_k w_ik N(ybar_i | trees(x_ik) + field_i, error^2 / n_i)`` the likelihood of trees with the places summed out
is then the product of the S_i, but for the rule that leaves stay large enough.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.arrays import Bench, Forest
from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import Spectrum, add
from smallarea.trees.moves import SHIFT, Stream, propose, uniform
from smallarea.trees.structure import LEAF, VARIABLE, Rules, find_leaf, log_prior
from smallarea.unit_level.far_kernel import project_far
from smallarea.unit_level.hyper_kernel import ERROR, FIELD, FieldTable, Hyper

Vector = NDArray[np.float64]


class Places(NamedTuple):
    """Candidates of the clusters and where these are now.

    ``starts`` (n + 1,), ``bins`` (m, p), ``log_weights`` (m,) of the candidates; ``chosen`` (n,), the row of each
    cluster's candidate; ``kept`` (sweeps, n), its number in its cluster after each sweep of a block. ``field`` (n,) at
    the clusters; ``leaf`` (trees, m) and ``sums`` (m,), leaves and sums of the trees at all candidates. Room:
    ``zeta`` (k,), ``far`` (f,), ``left`` (n,), ``logs`` (most candidates,), ``proposed`` (n,), ``new_leaf`` and
    ``new_sums`` (m,).
    """

    starts: NDArray[np.int64]
    bins: NDArray[np.int32]
    log_weights: Vector
    chosen: NDArray[np.int64]
    kept: NDArray[np.int16]
    field: Vector
    leaf: NDArray[np.int32]
    sums: Vector
    zeta: Vector
    far: Vector
    left: Vector
    logs: Vector
    proposed: NDArray[np.int64]
    new_leaf: NDArray[np.int32]
    new_sums: Vector


@compiled
def evaluate_candidates(forest: Forest, places: Places) -> None:
    """Write the leaves and the sums of the trees at all candidates."""
    for m in range(len(places.bins)):
        places.sums[m] = 0.0
        for t in range(len(forest.nodes)):
            leaf = find_leaf(forest.nodes[t], 0, places.bins[m])
            places.leaf[t, m] = leaf
            places.sums[m] += forest.values[t, leaf]


@compiled
def _weigh(i: int, target: float, precision: float, sums: Vector, places: Places) -> float:
    """Write log prior weight plus log likelihood of the candidates of cluster i, up to a constant; return the largest.

    The likelihood of a sum of trees is normal, with mean ``target`` and this precision.
    """
    half = 0.5 * precision
    begin = places.starts[i]
    highest = -np.inf
    for m in range(begin, places.starts[i + 1]):
        gap = target - sums[m]
        value = places.log_weights[m] - half * gap * gap
        places.logs[m - begin] = value
        highest = max(highest, value)
    return highest


@compiled
def _given_field(i: int, hyper: Hyper) -> float:
    """Precision of the mean of cluster i given the field."""
    return hyper.sizes[i] * np.exp(-2.0 * hyper.logs[ERROR])


@compiled
def _draw(count: int, highest: float, places: Places, stream: Stream) -> int:
    """Draw one of the first ``count`` candidates by the log probabilities in ``logs``, which are used up."""
    total = 0.0
    for m in range(count):
        total += np.exp(places.logs[m] - highest)
        places.logs[m] = total
    mark = uniform(stream) * total
    new = 0
    while new < count - 1 and places.logs[new] <= mark:
        new += 1
    return new


@compiled
def weigh_allowed(
    i: int, target: float, precision: float, forest: Forest, bench: Bench, hyper: Hyper, places: Places
) -> float:
    """Weigh the candidates of cluster i as :func:`_weigh` does, with -inf for those that its leaves do not allow.

    A leaf that the cluster leaves must keep enough observations. The present candidate is always possible.
    """
    _weigh(i, target, precision, places.sums, places)
    begin = places.starts[i]
    highest = -np.inf
    for m in range(begin, places.starts[i + 1]):
        for t in range(len(forest.nodes)):
            old = forest.place[t, i]
            if places.leaf[t, m] != old and forest.sizes[t, old] - hyper.sizes[i] < bench.min_leaf[0]:
                places.logs[m - begin] = -np.inf
                break
        highest = max(highest, places.logs[m - begin])
    return highest


@compiled
def see_others(
    i: int, forest: Forest, spectrum: Spectrum, table: FieldTable, g: int, places: Places
) -> tuple[float, float]:
    """Precision of the residual of cluster i given those of all others, and its mean, with the field integrated out.

    Both come from a row of Lambda: -1/2 r' Lambda r as a function of r_i. Of an exact field with far directions that is
    the Lambda of all directions; ``places.far`` and ``places.left`` hold their V'r and weights then.
    """
    row, far = spectrum.vectors[i], len(places.far)
    # Among all directions there is no diagonal part; it stands for the far ones.
    shared = spectrum.base[0] if far > 0 else 0.0
    own = spectrum.base[0] - shared
    precision = own * spectrum.sizes[i]
    pull = precision * forest.residual[i]
    for c in range(len(row)):
        weighted = (spectrum.weights[c] + shared) * row[c]
        precision += weighted * row[c]
        pull += weighted * forest.q[c]
    if far > 0:
        distant = table.far_vectors[g, i]
        for c in range(far):
            weighted = places.left[c] * distant[c]
            precision += weighted * distant[c]
            pull += weighted * places.far[c]
    return precision, forest.residual[i] - pull / precision


@compiled
def move_clusters(
    means: Vector, forest: Forest, bench: Bench, spectrum: Spectrum, table: FieldTable, hyper: Hyper, places: Places,
    stream: Stream,
) -> None:  # fmt: skip
    """Draw every cluster's candidate given trees and the other clusters, and bring the forest up to date.

    The field is integrated out: it could hold a cluster at a place that does not fit, since it makes up for that.
    """
    g, far = hyper.at[0], len(places.far)
    if far > 0:
        error, sd = np.exp(2.0 * hyper.logs[ERROR]), np.exp(2.0 * hyper.logs[FIELD])
        project_far(forest.residual, table, g, places.far)
        for c in range(far):
            places.left[c] = 1.0 / (sd * table.far_values[g, c] + error)
    for i in range(len(means)):
        begin = places.starts[i]
        count = places.starts[i + 1] - begin
        if count == 1:
            continue
        precision, centre = see_others(i, forest, spectrum, table, g, places)
        highest = weigh_allowed(i, means[i] - centre, precision, forest, bench, hyper, places)
        new = begin + _draw(count, highest, places, stream)
        if new != places.chosen[i]:
            residual = means[i] - places.sums[new]
            if far > 0:
                add(places.far, table.far_vectors[g, i], residual - forest.residual[i])
            _settle(i, new, residual, forest, bench, spectrum, places)


@compiled
def _settle(
    i: int, row: int, residual: float, forest: Forest, bench: Bench, spectrum: Spectrum, places: Places
) -> None:
    """Put cluster i at a candidate, and its leaves, sums and residual where they belong."""
    places.chosen[i] = row
    for v in range(bench.bins.shape[1]):
        bench.bins[i, v] = places.bins[row, v]
    add(forest.q, spectrum.vectors[i], residual - forest.residual[i])
    forest.residual[i] = residual
    for t in range(len(forest.nodes)):
        old, leaf = forest.place[t, i], places.leaf[t, row]
        if leaf != old:
            forest.place[t, i] = leaf
            forest.sizes[t, old] -= spectrum.sizes[i]
            forest.sizes[t, leaf] += spectrum.sizes[i]
            add(forest.sums[t, old], spectrum.vectors[i], -1.0)
            add(forest.sums[t, leaf], spectrum.vectors[i], 1.0)


@compiled
def _log_summed(means: Vector, sums: Vector, hyper: Hyper, places: Places) -> float:
    """Log likelihood of the sums of trees with the places summed out, up to a constant."""
    total = 0.0
    for i in range(len(means)):
        highest = _weigh(i, means[i] - places.field[i], _given_field(i, hyper), sums, places)
        own = 0.0
        for m in range(places.starts[i + 1] - places.starts[i]):
            own += np.exp(places.logs[m] - highest)
        total += highest + np.log(own)
    return total


@compiled
def _draw_all(means: Vector, sums: Vector, hyper: Hyper, places: Places, stream: Stream) -> None:
    """Draw all clusters' candidates independently, whatever that makes of the leaves, into ``proposed``."""
    for i in range(len(means)):
        highest = _weigh(i, means[i] - places.field[i], _given_field(i, hyper), sums, places)
        begin = places.starts[i]
        places.proposed[i] = begin + _draw(places.starts[i + 1] - begin, highest, places, stream)


@compiled
def _large_enough(forest: Forest, changed: int, bench: Bench, hyper: Hyper, places: Places) -> bool:
    """Whether all leaves would hold enough observations with clusters as in ``proposed`` and one tree changed."""
    for t in range(len(forest.nodes)):
        bench.sizes[:] = 0.0
        leaf = places.new_leaf if t == changed else places.leaf[t]
        for i in range(len(places.proposed)):
            bench.sizes[leaf[places.proposed[i]]] += hyper.sizes[i]
        for j in range(len(bench.sizes)):
            # The leaves of both versions of a tree are in the same slots.
            if forest.nodes[t, j, VARIABLE] == LEAF and bench.sizes[j] < bench.min_leaf[0]:
                return False
    return True


@compiled
def shift_cuts(
    means: Vector, forest: Forest, bench: Bench, rules: Rules, spectrum: Spectrum, hyper: Hyper, places: Places,
    stream: Stream,
) -> None:  # fmt: skip
    """Propose to shift a cut of each tree together with new places of all clusters, leaf values as they are.

    Places that were drawn given the present cuts hold these where they are. Here a tree is proposed first, then places
    given it from the product of their conditionals; of these only their sums S_i are left in the acceptance ratio, and
    the rule that leaves are large enough.
    """
    current = _log_summed(means, places.sums, hyper, places)
    moved = False
    for t in range(len(forest.nodes)):
        bench.nodes[:] = forest.nodes[t]
        prior = log_prior(forest.nodes[t], rules, bench.ranges)
        target, log_q = propose(SHIFT, bench.nodes, bench.ranges, rules, stream)
        if target < 0:
            continue
        new_prior = log_prior(bench.nodes, rules, bench.new_ranges)
        if new_prior == -np.inf:
            continue
        for m in range(len(places.sums)):
            leaf = find_leaf(bench.nodes, 0, places.bins[m])
            places.new_leaf[m] = leaf
            places.new_sums[m] = places.sums[m] + forest.values[t, leaf] - forest.values[t, places.leaf[t, m]]
        summed = _log_summed(means, places.new_sums, hyper, places)
        if np.log(uniform(stream)) >= new_prior - prior + log_q + summed - current:
            continue
        _draw_all(means, places.new_sums, hyper, places, stream)
        if not _large_enough(forest, t, bench, hyper, places):
            continue
        forest.nodes[t] = bench.nodes
        places.leaf[t] = places.new_leaf
        places.sums[:] = places.new_sums
        places.chosen[:] = places.proposed
        current = summed
        moved = True
    if moved:
        for i in range(len(means)):
            row = places.chosen[i]
            _settle(i, row, means[i] - places.sums[row], forest, bench, spectrum, places)
