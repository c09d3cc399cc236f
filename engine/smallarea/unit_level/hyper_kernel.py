"""Standard deviations and range given the trees, with the field integrated out: compiled loops.

With r the cluster means less the trees, q = V' r and d the eigenvalues (see ``field_exact``),

    log p = -(N - n) log e - SSW / (2 e^2) - 1/2 sum_k [log(s d_k + e^2) + q_k^2 / (s d_k + e^2)] + prior

with e the error's and sqrt(s) the field's standard deviation. The within-cluster sum of squares SSW carries most of
what is known about e.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import Spectrum, add
from smallarea.trees.moves import Stream, normal, uniform, whole

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]

ERROR, FIELD = 0, 1


class FieldTable(NamedTuple):
    """Arrays of a :class:`RangeGrid`, and room for what follows from them at the present range.

    Of a field on a mesh row i of V is the sum of the rows ``nodes[i]`` of ``vectors[g]`` with weights ``shares[i]``,
    times ``scales[g]``; ``now`` (n, k) holds it for the present range, and ``gathered`` (m,) the residuals by node.
    Without a mesh these are empty and V is ``vectors[g]``.

    ``far_vectors`` (G, n, f) and ``far_values`` (G, f) are the directions that most of the work leaves out, see
    :mod:`smallarea.unit_level.far_kernel`; empty if it does not.
    """

    log_ranges: Vector
    log_weights: Vector
    vectors: Vector
    values: Vector
    rest: Vector
    totals: Vector
    nodes: NDArray[np.int32]
    shares: Vector
    scales: Vector
    now: Vector
    gathered: Vector
    far_vectors: NDArray[np.float32]
    far_values: Vector


@compiled
def bring(table: FieldTable, g: int) -> None:
    """Write V at a range into ``table.now``, if the field lives on a mesh."""
    for i in range(len(table.nodes)):
        row = table.now[i]
        for c in range(len(row)):
            row[c] = 0.0
        for j in range(table.nodes.shape[1]):
            add(row, table.vectors[g, table.nodes[i, j]], table.shares[i, j])
        for c in range(len(row)):
            row[c] *= table.scales[g, c]


@compiled
def project(table: FieldTable, g: int, residual: Vector, out: Vector) -> None:
    """Write V' residual at a range into ``out``; on a mesh ``table.gathered`` must belong to the residual."""
    for c in range(len(out)):
        out[c] = 0.0
    if len(table.nodes) == 0:
        for i in range(len(residual)):
            add(out, table.vectors[g, i], residual[i])
        return
    for m in range(len(table.gathered)):
        add(out, table.vectors[g, m], table.gathered[m])
    for c in range(len(out)):
        out[c] *= table.scales[g, c]


@compiled
def gather(table: FieldTable, residual: Vector) -> None:
    """Add the residuals up by node."""
    for m in range(len(table.gathered)):
        table.gathered[m] = 0.0
    for i in range(len(table.nodes)):
        for j in range(table.nodes.shape[1]):
            table.gathered[table.nodes[i, j]] += table.shares[i, j] * residual[i]


class Hyper(NamedTuple):
    """State of the hyperparameters and how they are proposed.

    ``logs`` (2,): log standard deviations of error and field; ``at`` (1,): range; ``steps`` (4,): random walk of
    both, reach in the grid, and how much log sd follows log range; ``counts`` (3, 2): proposals made and accepted;
    ``fixed`` (5,): observations, clusters, SSW, and the prior's nu lambda and nu; ``sd_rate`` (1,); ``sizes`` (n,);
    ``q`` (k,) is room.
    """

    logs: Vector
    at: Integers
    steps: Vector
    counts: Integers
    fixed: Vector
    sd_rate: Vector
    sizes: Vector
    q: Vector


@compiled
def log_density(
    log_error: float, log_sd: float, g: int, table: FieldTable, hyper: Hyper, q: Vector, squares: float
) -> float:
    """Log posterior of the hyperparameters given the residuals; ``squares`` is r' N r."""
    observations, clusters, within, nu_lambda, nu = hyper.fixed
    error = np.exp(2.0 * log_error)
    k = len(q)
    total = -(observations - clusters + nu) * log_error - (within + nu_lambda) / (2.0 * error)
    if k == 0:
        return total - clusters * log_error - squares / (2.0 * error)
    ratio = np.exp(2.0 * (log_sd - log_error))
    determinant, quadratic, explained = log_product(table.values[g], ratio), 0.0, 0.0
    for i in range(k):
        square = q[i] * q[i]
        explained += square
        quadratic += square / (1.0 + ratio * table.values[g, i])
    if _has_complement(table, k, int(clusters)):
        scale = 1.0 + ratio * table.rest[g]
        if table.far_values.shape[1] > 0:
            determinant += log_product(table.far_values[g], ratio)
        else:
            determinant += max(clusters - k, 0.0) * np.log(scale)
        quadratic += (squares - explained) / scale
    total += -clusters * log_error - 0.5 * determinant - quadratic / (2.0 * error)
    return total + log_sd - hyper.sd_rate[0] * np.exp(log_sd) + table.log_weights[g]


@compiled
def log_product(values: Vector, ratio: float) -> float:
    """Sum of log(1 + ratio d); a logarithm for every eight, which cannot overflow."""
    total, product = 0.0, 1.0
    for i in range(len(values)):
        product *= 1.0 + ratio * values[i]
        if i % 8 == 7:
            total += np.log(product)
            product = 1.0
    return total + np.log(product)


@compiled
def _has_complement(table: FieldTable, k: int, clusters: int) -> bool:
    """Whether cluster means vary in directions that no column of V reaches; columns on a mesh may be zero."""
    return k < clusters or len(table.nodes) > 0


@compiled
def make_spectrum(table: FieldTable, hyper: Hyper, spectrum_weights: Vector, base: Vector) -> Spectrum:
    """Describe Lambda at the present hyperparameters; ``spectrum_weights`` (k,) and ``base`` (1,) are written.

    On a mesh :func:`bring` must have been called for the present range.
    """
    g = hyper.at[0]
    error, sd = np.exp(2.0 * hyper.logs[ERROR]), np.exp(2.0 * hyper.logs[FIELD])
    k = len(spectrum_weights)
    base[0] = 1.0 / (sd * table.rest[g] + error) if _has_complement(table, k, len(hyper.sizes)) else 0.0
    for i in range(k):
        spectrum_weights[i] = 1.0 / (sd * table.values[g, i] + error) - base[0]
    vectors = table.vectors[g] if len(table.nodes) == 0 else table.now
    return Spectrum(vectors, spectrum_weights, base, hyper.sizes, table.totals[g])


@compiled
def _walk(
    which: int, current: float, q: Vector, squares: float, table: FieldTable, hyper: Hyper, stream: Stream
) -> float:
    """Random walk of one log standard deviation; returns the log density after it."""
    old = hyper.logs[which]
    hyper.logs[which] = old + hyper.steps[which] * normal(stream)
    proposed = log_density(hyper.logs[ERROR], hyper.logs[FIELD], hyper.at[0], table, hyper, q, squares)
    hyper.counts[which, 0] += 1
    if np.log(uniform(stream)) < proposed - current:
        hyper.counts[which, 1] += 1
        return proposed
    hyper.logs[which] = old
    return current


@compiled
def _move_range(
    current: float, q: Vector, residual: Vector, squares: float, table: FieldTable, hyper: Hyper, stream: Stream
) -> float:
    """Propose another range, and a standard deviation that follows it; ``q`` is kept up to date.

    Data hold ``sd / range`` much better than either (Zhang 2004), so the standard deviation moves along that ridge: a
    shift by a fixed multiple of the change in log range, whose Jacobian is one.
    """
    g = hyper.at[0]
    reach = max(1, int(hyper.steps[2]))
    step = whole(stream, 2 * reach) - reach
    new = g + (step if step < 0 else step + 1)
    hyper.counts[2, 0] += 1
    u = np.log(uniform(stream))
    if new < 0 or new >= len(table.log_weights):
        return current
    log_sd = hyper.logs[FIELD] + hyper.steps[3] * (table.log_ranges[new] - table.log_ranges[g])
    project(table, new, residual, hyper.q)
    proposed = log_density(hyper.logs[ERROR], log_sd, new, table, hyper, hyper.q, squares)
    if u >= proposed - current:
        return current
    hyper.counts[2, 1] += 1
    hyper.at[0] = new
    hyper.logs[FIELD] = log_sd
    for i in range(len(q)):
        q[i] = hyper.q[i]
    return proposed


@compiled
def update_hyper(
    residual: Vector, q: Vector, walks: int, ranges: int, back: bool, table: FieldTable, hyper: Hyper, stream: Stream
) -> None:
    """Update error, field and range several times, or in the opposite order; ``q`` = V' residual follows the range."""
    squares = 0.0
    for i in range(len(residual)):
        squares += hyper.sizes[i] * residual[i] * residual[i]
    # Only differences count, so this is the density that q belongs to.
    current = log_density(hyper.logs[ERROR], hyper.logs[FIELD], hyper.at[0], table, hyper, q, squares)
    has_field = len(q) > 0
    gather(table, residual)
    # Three updates a turn: of error, field and range.
    updates = 3 * max(walks, ranges)
    for i in range(updates):
        turn, which = divmod(updates - 1 - i if back else i, 3)
        if which < 2 and turn < walks and (has_field or which == ERROR):
            current = _walk(which, current, q, squares, table, hyper, stream)
        elif which == 2 and turn < ranges and has_field:
            current = _move_range(current, q, residual, squares, table, hyper, stream)
