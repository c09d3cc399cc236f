"""Does a completed table hang together as the observed answers do? Correlations of three kinds, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.imputation.fit_quality import pairwise_correlation, srmr_of_residuals
from smallarea.survey.imputation.impute import Imputed
from smallarea.survey.imputation.reconstruction import reconstruct

Matrix = NDArray[np.float64]

TABLES = 5
BASELINE_ROWS, BASELINE_RANKS = 5_000, 6


@dataclass(frozen=True)
class JointStructure:
    """Correlations of all variables but nominal ones, on their working scales.

    Attributes
    ----------
    names : tuple of str, length p
        Variables.
    latent : ndarray of bool, shape (p,)
        Categories: the model's correlations are those of the normal variables behind them and cannot be compared with
        correlations of scores.
    observed : ndarray, shape (p, p)
        Of each pair over the rows that answered both; NaN where too few did.
    completed : ndarray, shape (p, p)
        Of completed tables, mean over some of them.
    model : ndarray, shape (p, p)
        Of the fitted model.
    baseline : tuple of (int, float, float)
        Rank, explained share and SRMR of the low-rank picture of the same columns.
    """

    names: tuple[str, ...]
    latent: NDArray[np.bool_]
    observed: Matrix
    completed: Matrix
    model: Matrix
    baseline: tuple[tuple[int, float, float], ...]

    @property
    def completed_residuals(self) -> Matrix:
        """Correlations of completed tables minus those of observed answers."""
        return np.asarray(self.completed - self.observed)

    @property
    def model_residuals(self) -> Matrix:
        """Correlations of the model minus those of observed answers; NaN for pairs with categories."""
        either = self.latent[:, None] | self.latent
        return np.asarray(np.where(either, np.nan, self.model - self.observed))

    @property
    def completed_srmr(self) -> float:
        """SRMR of completed tables against observed answers."""
        return srmr_of_residuals(self.completed_residuals)

    @property
    def model_srmr(self) -> float:
        """SRMR of the model against observed answers, numbers only; NaN with fewer than two of them."""
        return srmr_of_residuals(self.model_residuals) if int((~self.latent).sum()) > 1 else float("nan")


def joint_structure(imputed: Imputed, *, tables: int = TABLES) -> JointStructure | None:
    """Compare correlations of observed answers, completed tables and the model.

    Parameters
    ----------
    imputed : Imputed
        Imputations.
    tables : int
        Completed tables to look at.

    Returns
    -------
    JointStructure or None
        None with fewer than two variables that have an order.
    """
    encoded = imputed.encoded
    kept = [k for k, column in enumerate(encoded.columns) if column.category is None]
    if len(kept) < 2:
        return None
    observed = pairwise_correlation(encoded.values[:, kept])
    completed = [pairwise_correlation(_working(imputed, m, kept)) for m in range(min(tables, imputed.imputations))]
    return JointStructure(
        tuple(encoded.columns[k].name for k in kept),
        np.isin(kept, encoded.latent),
        observed,
        np.mean(completed, axis=0),
        imputed.fitted.correlation()[np.ix_(kept, kept)],
        _baseline(encoded.values[:, kept], observed),
    )


def _working(imputed: Imputed, m: int, kept: list[int]) -> Matrix:
    """One completed table on its working scale, shape (n, p)."""
    numbers = imputed.encoded.numbers.copy()
    numbers[imputed.cells] = imputed.draws[m]
    columns = [imputed.encoded.columns[k] for k in kept]
    return np.column_stack([one.margin.encode(numbers[:, one.variable]) for one in columns])


def _baseline(values: Matrix, observed: Matrix) -> tuple[tuple[int, float, float], ...]:
    """Low-rank reconstructions of the first rows."""
    part = values[~np.isnan(values).all(axis=1)][:BASELINE_ROWS]
    spread = np.nanstd(part, axis=0)
    if not np.all(spread > 0.0) or len(part) <= values.shape[1]:
        return ()
    found = []
    for rank in range(1, min(BASELINE_RANKS, values.shape[1]) + 1):
        picture = reconstruct(part, rank)
        # Over the observed cells: what a reconstruction makes of gaps is no part of the picture.
        residuals = pairwise_correlation(np.where(np.isnan(part), np.nan, picture.reconstruction)) - observed
        found.append((rank, picture.explained, srmr_of_residuals(residuals)))
    return tuple(found)
