"""How areas add up to targets, and what moves estimates so that they do: the arithmetic of benchmarking.

A margin is a partition of the areas into groups, each with a target. Areas that are in the same group of every margin
make a cell, and every method moves the areas of a cell in the same way. So all that has to be solved is small: with
``c`` the weighted sums of the cells and ``B`` (groups by cells, zeros and ones) the aggregates are ``B c``.

- Factors ``f`` of the cells with ``B (f c) = t`` and ``log f`` a sum of one number for each group: iterative
  proportional fitting (Deming and Stephan 1940).
- Shifts ``s = B' l`` of the cells with ``B (c + q s) = t``, so that ``(B diag(q) B') l = t - B c``.

With several margins targets must not contradict each other: every vector l with ``l' B = 0`` on the cells that count
must have ``l' t = 0``. Targets with standard errors are brought to that by conditioning on it.

References
----------
Deming, W. E. and Stephan, F. F. (1940). On a least squares adjustment of a sampled frequency table when the expected
marginal totals are known. Annals of Mathematical Statistics 11, 427-444.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from smallarea.errors import ModelProblem, named

Vector = NDArray[np.float64]

# Targets count as exact to this share of the largest one: they come from files.
EXACT = 1e-8
# Contradictions beyond so many standard errors are no chance.
_LIMIT = 5.0
_SWEEPS = 5000
_AIM = 1e-12
_MET = 1e-8
# Eigenvalues of a scaled matrix below this belong to dependent targets.
_NULL = 1e-10


@dataclass(frozen=True)
class Cells:
    """Areas by their groups.

    Attributes
    ----------
    cell : ndarray of int, shape (N,)
        Cell of each area.
    members : csr_array, shape (G, C)
        Which cells are in which groups.
    group : ndarray of int, shape (M, C)
        Groups of each cell, one of each margin.
    weight : ndarray, shape (C,)
        Sum of the areas' weights.
    """

    cell: NDArray[np.int64]
    members: sparse.csr_array
    group: NDArray[np.int64]
    weight: Vector

    def sums(self, values: Vector) -> Vector:
        """Add values of the areas up by cell."""
        return np.bincount(self.cell, weights=values, minlength=len(self.weight)).astype(np.float64)

    def matrix(self, q: Vector) -> Vector:
        """Return ``B diag(q) B'``, shape (G, G)."""
        return np.asarray(((self.members * q[None, :]) @ self.members.T).todense(), dtype=np.float64)


def cells_of(group: NDArray[np.int64], weights: Vector, n_groups: int) -> Cells:
    """Sort areas into cells.

    Parameters
    ----------
    group : ndarray of int, shape (M, N)
        Group of each area in each margin, as a position among all groups.
    weights : ndarray, shape (N,)
        Of the areas in their groups' sums.
    n_groups : int
        Groups of all margins together.

    Returns
    -------
    Cells
        In the order of their groups.
    """
    found, cell = np.unique(group, axis=1, return_inverse=True)
    cell = cell.ravel()
    count = found.shape[1]
    places = (found.ravel(), np.tile(np.arange(count), len(found)))
    members = sparse.csr_array((np.ones(found.size), places), shape=(n_groups, count))
    weight = np.bincount(cell, weights=weights, minlength=count).astype(np.float64)
    return Cells(cell.astype(np.int64), members, found.astype(np.int64), weight)


def inverse(matrix: Vector) -> Vector:
    """Return the generalised inverse of ``B diag(q) B'``, where dependent targets leave it singular.

    Parameters
    ----------
    matrix : ndarray, shape (G, G)
        Symmetric, positive semidefinite, with a positive diagonal.

    Returns
    -------
    ndarray, shape (G, G)
        Inverse on its range, in the units of the diagonal.
    """
    size = np.sqrt(np.diag(matrix))
    values, vectors = np.linalg.eigh(matrix / np.outer(size, size))
    kept = vectors[:, values > _NULL * values[-1]] / size[:, None]
    return (kept / values[values > _NULL * values[-1]]) @ kept.T


def contradictions(cells: Cells) -> Vector:
    """Return the combinations of targets that must be zero, shape (G, R); none with one margin."""
    matrix = cells.matrix(cells.weight)
    size = np.sqrt(np.diag(matrix))
    if len(cells.group) == 1:
        return np.empty((len(size), 0))
    values, vectors = np.linalg.eigh(matrix / np.outer(size, size))
    return vectors[:, values <= _NULL * values[-1]] / size[:, None]


def reconciled(
    cells: Cells, totals: Vector, errors: Vector, names: Sequence[str], margins: Sequence[str]
) -> tuple[Vector, Vector]:
    """Bring targets of several margins together, as far as their standard errors allow.

    With ``L' t = 0`` what must hold and S the covariance of the targets, ``t - S L (L' S L)^-1 L' t``: the expectation
    of the truth given targets and condition.

    Parameters
    ----------
    cells : Cells
        The areas.
    totals, errors : ndarray, shape (G,)
        Targets as weighted sums, and their standard errors.
    names, margins : sequence of str, length G
        Names of the groups and of their margins, for messages.

    Returns
    -------
    ndarray, shape (G,)
        Targets that do not contradict each other.
    ndarray, shape (G, G)
        The matrix that takes targets there; the covariance of the result is the matrix times S.

    Raises
    ------
    ModelProblem
        If they contradict each other by more than their errors.
    """
    needed = contradictions(cells)
    if not needed.shape[1]:
        return totals, np.eye(len(totals))
    variances = errors**2 + (EXACT * np.abs(totals).max()) ** 2
    spread = variances[:, None] * needed
    gap = needed.T @ totals
    solved = np.linalg.solve(needed.T @ spread, np.column_stack([gap, needed.T]))
    if float(gap @ solved[:, 0]) > _LIMIT**2:
        raise ModelProblem(_contradiction(totals, errors, np.abs(spread @ solved[:, 0]), names, margins))
    return totals - spread @ solved[:, 0], np.eye(len(totals)) - spread @ solved[:, 1:]


def factors(cells: Cells, sums: Vector, wanted: Vector, names: Sequence[str]) -> Vector:
    """Return the factor of each cell: raking.

    Parameters
    ----------
    cells : Cells
        The areas.
    sums : ndarray, shape (C, S)
        Weighted sums of the cells, for S draws; positive where the cell has a weight.
    wanted : ndarray, shape (G, S)
        Targets as sums, positive.
    names : sequence of str, length G
        Names of the groups, for messages.

    Returns
    -------
    ndarray, shape (C, S)
        For each draw; with one margin ``t / A`` of the cell's group.

    Raises
    ------
    ModelProblem
        If the targets cannot be met together.
    """
    if len(cells.group) == 1:
        return (wanted / (cells.members @ sums))[cells.group[0]]
    found = np.ones_like(sums)
    rows = [np.unique(group) for group in cells.group]
    active = np.arange(sums.shape[1])
    for _ in range(_SWEEPS):
        part = found[:, active]
        for row, group in zip(rows, cells.group, strict=True):
            factor = np.ones((wanted.shape[0], len(active)))
            factor[row] = wanted[np.ix_(row, active)] / (cells.members[row] @ (sums[:, active] * part))
            part = part * factor[group]
        found[:, active] = part
        gap = np.abs(cells.members @ (sums[:, active] * part) / wanted[:, active] - 1.0).max(axis=0)
        active = active[~(gap < _AIM)]
        if not len(active) or not np.isfinite(part).all():
            break
    check_met(cells, sums * found, wanted, names)
    return found


def shifts(cells: Cells, sums: Vector, q: Vector, wanted: Vector, names: Sequence[str]) -> Vector:
    """Return the shift of each cell, before it is multiplied by each area's share in giving way.

    Parameters
    ----------
    cells : Cells
        The areas.
    sums : ndarray, shape (C, S)
        Weighted sums of the cells, for S draws.
    q : ndarray, shape (C,)
        By how much a cell's sum moves with a shift of one.
    wanted : ndarray, shape (G, S)
        Targets as sums.
    names : sequence of str, length G
        Names of the groups, for messages.

    Returns
    -------
    ndarray, shape (C, S)
        For each draw.

    Raises
    ------
    ModelProblem
        If the targets cannot be met together.
    """
    found = cells.members.T @ (inverse(cells.matrix(q)) @ (wanted - cells.members @ sums))
    check_met(cells, sums + q[:, None] * found, wanted, names, np.abs(sums))
    return found


def check_met(cells: Cells, sums: Vector, wanted: Vector, names: Sequence[str], size: Vector | None = None) -> None:
    """Raise if aggregates miss their targets.

    Raises
    ------
    ModelProblem
        Naming the groups.
    """
    scale = np.abs(wanted) + cells.members @ (np.abs(sums) if size is None else size)
    missed = np.flatnonzero((~(np.abs(cells.members @ sums - wanted) <= _MET * scale)).any(axis=1)).tolist()
    if missed:
        raise ModelProblem(
            f"The targets of {named([names[g] for g in missed])} cannot be met together with the others: too few areas "
            "belong to the one and not to the other. Leave a margin out, or merge groups."
        )


def _contradiction(totals: Vector, errors: Vector, moved: Vector, names: Sequence[str], margins: Sequence[str]) -> str:
    kinds = list(dict.fromkeys(margins))
    sums = {kind: float(sum(t for t, m in zip(totals, margins, strict=True) if m == kind)) for kind in kinds}
    if max(sums.values()) - min(sums.values()) > 10.0 * EXACT * np.abs(totals).max():
        what = "Weighted and added up, those of " + ", of ".join(f"{k!r} are {t:.10g}" for k, t in sums.items())
    else:
        worst = np.argsort(-moved)[:5].tolist()
        what = f"Those of {named([names[g] for g in worst])} do not fit together"
    how = "Scale the targets of one margin to those of the other"
    if not errors.any():
        how += ", or, if they are rounded, give each the standard error of rounding (target_se)"
    return f"The targets contradict each other, so no estimates can meet them all. {what}. {how}."
