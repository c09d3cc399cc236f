"""Whole sweeps of BARTSIMP with uncertain places of clusters: compiled loops.

After trees and hyperparameters, both with the field integrated out, the field is drawn at the clusters, and given it
candidates of the clusters, with cuts of the trees and alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.arrays import Bench, Forest
from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import Spectrum, add, dot
from smallarea.trees.moves import Stream, normal
from smallarea.trees.structure import Rules
from smallarea.trees.trace import link_tree
from smallarea.unit_level.candidate_kernel import Places, evaluate_candidates, move_clusters, shift_cuts
from smallarea.unit_level.far_kernel import log_correction, project_far
from smallarea.unit_level.hyper_kernel import ERROR, FIELD, FieldTable, Hyper, make_spectrum
from smallarea.unit_level.sweep_kernel import Before, Record, keep_state, renew, sweep_once

Vector = NDArray[np.float64]


@compiled
def draw_field(
    forest: Forest, spectrum: Spectrum, table: FieldTable, hyper: Hyper, places: Places, stream: Stream
) -> None:
    """Draw the field at the clusters given everything else, as in :mod:`smallarea.unit_level.field_draws`.

    Columns of V belong to independent coordinates zeta of ``N^1/2 field``, on a mesh too, where ``zeta = sd d^1/2 eta``
    and columns without data are zero. What a reduced field leaves out has the variance ``rest`` in all directions that
    no column of V reaches; far directions of an exact field have their own.
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
    if table.far_values.shape[1] > 0:
        _draw_far(forest.residual, spectrum.sizes, table, hyper, places, stream)
    elif rest > 0.0:
        share = rest / (rest + error)
        for i in range(n):
            root = np.sqrt(spectrum.sizes[i])
            places.left[i] = share * root * forest.residual[i] + np.sqrt(share * error) * normal(stream)
            add(places.zeta, spectrum.vectors[i], -places.left[i] / root)
    for i in range(n):
        size = spectrum.sizes[i]
        places.field[i] = dot(spectrum.vectors[i], places.zeta) / size + places.left[i] / np.sqrt(size)


@compiled
def _draw_far(residual: Vector, sizes: Vector, table: FieldTable, hyper: Hyper, places: Places, stream: Stream) -> None:
    """Write what the far directions of an exact field contribute to ``N^1/2 field`` into ``left``."""
    g = hyper.at[0]
    error, sd = np.exp(2.0 * hyper.logs[ERROR]), np.exp(2.0 * hyper.logs[FIELD])
    far = places.far
    project_far(residual, table, g, far)
    for c in range(len(far)):
        share = sd * table.far_values[g, c] / (sd * table.far_values[g, c] + error)
        far[c] = share * far[c] + np.sqrt(share * error) * normal(stream)
    for i in range(len(residual)):
        places.left[i] = dot(table.far_vectors[g, i], far) / np.sqrt(sizes[i])


@compiled
def run_displaced_sweeps(
    count: int, walks: int, ranges: int, means: Vector, forest: Forest, bench: Bench,
    rules: Rules, table: FieldTable, hyper: Hyper, weights: Vector, base: Vector, before: Before, stream: Stream,
    record: Record, places: Places, own_stream: Stream,
) -> None:  # fmt: skip
    """Sweep ``count`` times and record every state; as :func:`run_sweeps`, with field and candidates at the end.

    Candidates have random numbers of their own, so that clusters with one candidate each give the draws of clusters
    without uncertainty.
    """
    renew(forest, means, bench, table, hyper, weights, base)
    record.ends[:] = 0
    uncertain, leaves_out = len(places.bins) > len(means), len(before.q) > 0
    correction = log_correction(forest.residual, table, hyper, before.q) if leaves_out else 0.0
    for s in range(count):
        correction = sweep_once(
            correction, walks, ranges, means, forest, bench, rules, table, hyper, weights, base,
            before, stream,
        )  # fmt: skip
        if uncertain:
            spectrum = make_spectrum(table, hyper, weights, base)
            draw_field(forest, spectrum, table, hyper, places, own_stream)
            evaluate_candidates(forest, places)
            shift_cuts(means, forest, bench, rules, spectrum, hyper, places, own_stream)
            move_clusters(means, forest, bench, spectrum, table, hyper, places, own_stream)
            if leaves_out:
                correction = log_correction(forest.residual, table, hyper, before.q)
        keep_state(s, forest, bench, hyper, record)
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
            link_tree(variables, begin, starts[tree + 1] - begin, (begin + tree) // 2, right, leaf, stack)
            for p in range(rows.shape[1]):
                j = 0
                while variables[begin + j] >= 0:
                    left = bins[rows[s, p], variables[begin + j]] <= cuts[begin + j]
                    j = j + 1 if left else right[j]
                out[s, p] += values[leaf[j]]
