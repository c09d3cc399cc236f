"""Solving for calibrated weights: post-stratification and GREG by svy, raking here.

svy agrees with R's survey on post-stratified and regression weights. Its raking stops by another rule than R's and has
no way to ask for that one, so the loop of Deming and Stephan (1940) is written here.

References
----------
Deming, W. E. and Stephan, F. F. (1940). On a least squares adjustment of a sampled frequency table when the expected
marginal totals are known. Annals of Mathematical Statistics 11, 427-444.
Deville, J.-C. and Särndal, C.-E. (1992). Calibration estimators in survey sampling. JASA 87, 376-382.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from smallarea.errors import EngineUnavailable, ModelProblem, TableProblem, named
from smallarea.survey.calibration import Margin

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]

# Totals are met, and margins agree, to this relative difference.
TOLERANCE = 1e-9
_SWEEPS = 10_000
# Where the sweeps aim: so that after them every margin is met well within the tolerance.
_AIM = 1e-12


def poststratified(weights: Vector, codes: Codes, totals: Vector) -> Vector:
    """Scale the weights of each category to its total, ``w_i = d_i T_g / sum_g d``.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Base weights; every category has a positive sum.
    codes : ndarray of int, shape (n,)
        Category of each respondent.
    totals : ndarray, shape (G,)
        Known numbers.

    Returns
    -------
    ndarray, shape (n,)
        Calibrated weights.

    Raises
    ------
    EngineUnavailable
        If svy is not installed.
    """
    sample = _sample(weights, {"cell": codes})
    targets = {place: float(total) for place, total in enumerate(totals)}
    done = sample.weighting.poststratify(targets, cells="cell", wgt_name="calibrated")
    return np.array(done.data["calibrated"].to_numpy(), dtype=np.float64)


def regression(weights: Vector, matrix: Vector, totals: Vector, names: Sequence[str]) -> Vector:
    """Return the weights nearest to the base weights in ``sum (w_i - d_i)^2 / d_i`` that meet the totals (GREG).

    In closed form ``w_i = d_i (1 + x_i' (X'DX)^-1 (T - X'd))`` (Deville and Särndal 1992, example 1).

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Base weights d.
    matrix : ndarray, shape (n, p)
        Calibration variables x; columns may be linearly dependent.
    totals : ndarray, shape (p,)
        Known totals T.
    names : sequence of str, length p
        Of the totals, for messages.

    Returns
    -------
    ndarray, shape (n,)
        Calibrated weights; some may be negative.

    Raises
    ------
    EngineUnavailable
        If svy is not installed.
    TableProblem
        If totals contradict each other.
    """
    # Units of the columns differ by orders of magnitude (people, incomes), and the solution does not depend on them.
    size = np.sqrt(np.einsum("ij,ij,i->j", matrix, matrix, weights))
    empty = np.flatnonzero(size == 0.0).tolist()
    if empty:
        raise TableProblem(
            f"All respondents who count for the totals {named([names[j] for j in empty])} have a value of zero or a "
            "weight of zero. Leave these totals out."
        )
    scaled = matrix / size
    keep = _independent(scaled * np.sqrt(weights)[:, None])
    sample = _sample(weights, {})
    found = np.asarray(
        sample.weighting.calibrate_matrix(
            aux_vars=scaled[:, keep], controls=totals[keep] / size[keep], weights_only=True, on_nonconvergence="warn"
        ),
        dtype=np.float64,
    )
    missed = np.abs(scaled.T @ found - totals / size) > TOLERANCE * (np.abs(scaled).T @ np.abs(found))
    if missed.any():
        unmet = [names[j] for j in np.flatnonzero(missed).tolist()]
        raise TableProblem(
            f"The totals contradict each other: with the others met, {named(unmet)} cannot be. "
            "Totals of different categories must add up to the same population; correct them, or leave "
            "some out."
        )
    return found


def raked(
    weights: Vector, codes: Sequence[Codes], margins: Sequence[Margin], cell_change: float | None
) -> tuple[Vector, int]:
    """Scale the weights to one margin after the other until all are met (iterative proportional fitting).

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Base weights; every category has a positive sum.
    codes : sequence of ndarray of int, shape (n,)
        Category of each respondent, for each margin.
    margins : sequence of Margin
        Counts of people.
    cell_change : float or None
        Stop after a sweep in which no cell of the crossed margins changed by so many people or more, as R's ``rake``
        does (there 1); None goes on until every margin is met.

    Returns
    -------
    ndarray, shape (n,)
        Calibrated weights.
    int
        Sweeps over all margins.

    Raises
    ------
    TableProblem
        If the margins do not add up to the same population.
    ModelProblem
        If the margins cannot be met together.
    """
    check_margins_agree(margins)
    cells, cell_codes, factor = _cells(weights, codes)
    start = cells.copy()
    for sweep in range(1, _SWEEPS + 1):
        before = cells
        for margin, place in zip(margins, cell_codes, strict=True):
            sums = np.bincount(place, weights=cells, minlength=len(margin.totals))
            cells = cells * (margin.totals / sums)[place]
        if cell_change is not None:
            done = float(np.abs(cells - before).max()) < cell_change
        else:
            done = all(
                _gap(cells, place, margin).max() < _AIM for margin, place in zip(margins, cell_codes, strict=True)
            )
        if done:
            return weights * _ratio(cells, start)[factor], sweep
        if not np.isfinite(cells).all():
            break
    gaps = [_gap(cells, place, margin) for margin, place in zip(margins, cell_codes, strict=True)]
    if max(gap.max() for gap in gaps) < TOLERANCE:
        return weights * _ratio(cells, start)[factor], _SWEEPS
    worst = [
        f"{label} of {margin.name}"
        for margin, gap in zip(margins, gaps, strict=True)
        for label in np.array(margin.labels, dtype=object)[~(gap < TOLERANCE)]
    ]
    raise ModelProblem(
        f"Raking does not come to an end: {named(worst)} cannot be met together with the other totals, because "
        "combinations of categories have no respondent. Merge categories, or leave a margin out."
    )


def check_margins_agree(margins: Sequence[Margin]) -> None:
    """Raise if margins add up to different populations.

    Raises
    ------
    TableProblem
        Naming the margins and their sums.
    """
    sums = [float(margin.totals.sum()) for margin in margins]
    if max(sums) - min(sums) > TOLERANCE * max(sums):
        said = ", ".join(f"{margin.name!r} {total:.12g}" for margin, total in zip(margins, sums, strict=True))
        raise TableProblem(
            f"The margins add up to different populations: {said}. Weights cannot meet both; scale the totals to one "
            "population first."
        )


def _cells(weights: Vector, codes: Sequence[Codes]) -> tuple[Vector, list[Codes], Codes]:
    """Add the weights up by combination of categories: sums, categories of each cell, and cell of each respondent."""
    found, cell = np.unique(np.stack(codes), axis=1, return_inverse=True)
    cell = cell.ravel()
    sums = np.bincount(cell, weights=weights, minlength=found.shape[1]).astype(np.float64)
    return sums, list(found.astype(np.int64)), cell.astype(np.int64)


def _gap(cells: Vector, place: Codes, margin: Margin) -> Vector:
    return np.abs(np.bincount(place, weights=cells, minlength=len(margin.totals)) / margin.totals - 1.0)


def _ratio(cells: Vector, start: Vector) -> Vector:
    """Factor of each cell; a cell whose respondents all have a weight of zero stays at zero."""
    return np.divide(cells, start, out=np.ones_like(cells), where=start > 0.0)


def _independent(matrix: Vector) -> NDArray[np.intp]:
    """Choose columns that span the matrix, by QR with pivoting of its crossproduct's square root."""
    triangle = np.linalg.qr(matrix, mode="r")
    upper, order = linalg.qr(triangle, mode="r", pivoting=True)
    diagonal = np.abs(np.diag(upper))
    rank = int((diagonal > 1e-10 * diagonal[0]).sum())
    return np.sort(order[:rank])


def _sample(weights: Vector, columns: dict[str, Any]) -> Any:
    """Return weights as a sample of svy."""
    try:
        import polars
        import svy
    except ImportError as error:
        raise EngineUnavailable(
            "Post-stratification and GREG weights need the package svy. Install it with: "
            "pip install 'smallarea[survey]'. Raking works without it."
        ) from error
    return svy.Sample(polars.DataFrame({"base": weights, **columns}), svy.Design(wgt="base"))
