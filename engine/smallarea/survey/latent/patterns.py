"""Answers by pattern of missingness, and the normal likelihood of their means and covariances.

Rows that answered the same items o share Sigma_oo, so a pattern with n rows, mean m and covariance S (divisor n)
contributes

    -n/2 [ |o| log 2 pi + log |Sigma_oo| + tr(Sigma_oo^{-1} S) + (m - mu_o)' Sigma_oo^{-1} (m - mu_o) ]

(full information maximum likelihood; Arbuckle 1996). Missing answers are never filled in. With weights the sums are
weighted, and the weights add up to the number of rows.

References
----------
Arbuckle, J. L. (1996). Full information estimation in the presence of incomplete data. In: Marcoulides and Schumacker
(eds), Advanced Structural Equation Modeling. Erlbaum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import TableProblem, named

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Pattern:
    """Rows that answered the same items.

    Attributes
    ----------
    observed : ndarray of int, shape (|o|,)
        Items that were answered.
    rows : ndarray of int
        The rows.
    n : float
        Their number, or sum of weights.
    mean, covariance : ndarray, shapes (|o|,), (|o|, |o|)
        Of the answers, divisor n.
    """

    observed: NDArray[np.int64]
    rows: NDArray[np.int64]
    n: float
    mean: Vector
    covariance: Vector


@dataclass(frozen=True)
class Answers:
    """The items of all respondents.

    Attributes
    ----------
    names : tuple of str, length p
        Items.
    values : ndarray, shape (n, p)
        Answers, NaN where missing.
    weights : ndarray, shape (n,)
        Adding up to the number of rows with an answer, or to the effective number.
    patterns : tuple of Pattern
        Rows without any answer are in none.
    """

    names: tuple[str, ...]
    values: Vector
    weights: Vector
    patterns: tuple[Pattern, ...]

    @property
    def n(self) -> int:
        """Rows with an answer and a weight above zero."""
        return sum(int((self.weights[p.rows] > 0.0).sum()) for p in self.patterns)

    @property
    def complete(self) -> bool:
        """Whether every row of a pattern answered every item."""
        return all(len(pattern.observed) == len(self.names) for pattern in self.patterns)


def make_answers(
    values: Vector, names: Sequence[str], weights: Vector | None = None, *, effective: bool = False
) -> Answers:
    """Sort rows into patterns.

    Parameters
    ----------
    values : ndarray, shape (n, p)
        Answers, NaN where missing.
    names : sequence of str, length p
        Items.
    weights : ndarray, shape (n,), optional
        Sampling weights; scaled to add up to the number of rows with an answer.
    effective : bool
        Whether they add up to the effective number of rows, ``(sum w)^2 / sum w^2`` (Kish 1965), instead: a posterior
        is then about as wide as the weights make it.

    Returns
    -------
    Answers
        Ready for a likelihood.

    Raises
    ------
    TableProblem
        If an item has no answers, or all its answers are the same, or two items were never answered together.
    """
    values = np.asarray(values, dtype=np.float64)
    asked = np.isfinite(values)
    given = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    counts = asked.any(axis=1) & (given > 0.0)
    _check_items(values, asked & counts[:, None], names)
    scaled = np.where(counts, given, 0.0)
    scaled *= scaled.sum() / (scaled**2).sum() if effective else counts.sum() / scaled.sum()
    patterns = tuple(
        _pattern(values, scaled, observed, rows)
        for observed, rows in group_rows(asked & counts[:, None])
        if len(observed)
    )
    return Answers(tuple(names), values, scaled, patterns)


def group_rows(asked: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Sort rows by what they answered.

    Parameters
    ----------
    asked : ndarray of bool, shape (n, p)
        Whether a row has an answer.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        Items answered, and the rows that answered just these.
    """
    # Whole bytes sort much faster than rows of flags.
    packed = np.packbits(asked, axis=1)
    keys, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    order = np.argsort(which, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(which, minlength=len(keys)))[:-1])
    return [(np.flatnonzero(asked[at]), rows) for at, rows in zip(first.tolist(), parts, strict=True)]


def _pattern(values: Vector, weights: Vector, observed: NDArray[np.int64], rows: NDArray[np.int64]) -> Pattern:
    x, w = values[np.ix_(rows, observed)], weights[rows]
    n = float(w.sum())
    mean = w @ x / n
    deviation = x - mean
    return Pattern(observed, rows, n, mean, (w[:, None] * deviation).T @ deviation / n)


def _check_items(values: Vector, used: NDArray[np.bool_], names: Sequence[str]) -> None:
    empty = [name for name, column in zip(names, used.T, strict=True) if not column.any()]
    if empty:
        raise TableProblem(f"Nobody answered {named(empty)}. Leave these items out of the model.")
    constant = [
        name for name, x, u in zip(names, values.T, used.T, strict=True) if np.ptp(x[u]) <= 1e-12 * np.abs(x[u]).max()
    ]
    if constant:
        raise TableProblem(f"All answers to {named(constant)} are the same. Leave these items out of the model.")
    together = used.T.astype(np.float64) @ used.astype(np.float64)
    i, j = np.nonzero(np.triu(together < 2, k=1))
    if len(i):
        pairs = [f"{names[a]} and {names[b]}" for a, b in zip(i.tolist(), j.tolist(), strict=True)]
        raise TableProblem(
            f"{len(pairs)} pairs of items were not answered together by two respondents: {named(pairs)}. Their "
            "covariance cannot be estimated; leave one of each pair out."
        )


@dataclass(frozen=True)
class Likelihood:
    """The likelihood at one covariance matrix, with the means at their best.

    Attributes
    ----------
    value : float
        Log-likelihood.
    mean : ndarray, shape (p,)
        Means that maximise it.
    by_covariance : ndarray, shape (p, p)
        G with d value = tr(G dSigma) for symmetric dSigma.
    mean_information : ndarray, shape (p, p)
        Information about the means.
    """

    value: float
    mean: Vector
    by_covariance: Vector
    mean_information: Vector


def likelihood(answers: Answers, sigma: Vector) -> Likelihood:
    """Evaluate the likelihood, means profiled out.

    Parameters
    ----------
    answers : Answers
        The data.
    sigma : ndarray, shape (p, p)
        Covariance matrix.

    Returns
    -------
    Likelihood
        Value and derivatives.

    Raises
    ------
    numpy.linalg.LinAlgError
        If `sigma` is not positive definite.
    """
    p = len(sigma)
    np.linalg.cholesky(sigma)
    inverses = [_inverse(sigma[np.ix_(one.observed, one.observed)]) for one in answers.patterns]
    information, weighted = np.zeros((p, p)), np.zeros(p)
    for one, (inverse, _) in zip(answers.patterns, inverses, strict=True):
        information[np.ix_(one.observed, one.observed)] += one.n * inverse
        weighted[one.observed] += one.n * (inverse @ one.mean)
    mean: Vector = np.asarray(np.linalg.solve(information, weighted), dtype=np.float64)
    value, gradient = 0.0, np.zeros((p, p))
    for one, (inverse, logdet) in zip(answers.patterns, inverses, strict=True):
        away = one.mean - mean[one.observed]
        moment = one.covariance + np.outer(away, away)
        product = inverse @ moment
        value -= 0.5 * one.n * (len(one.observed) * np.log(2.0 * np.pi) + logdet + np.trace(product))
        gradient[np.ix_(one.observed, one.observed)] -= 0.5 * one.n * (inverse - product @ inverse)
    return Likelihood(float(value), mean, gradient, information)


def expected_information(answers: Answers, sigma: Vector, derivatives: Vector) -> Vector:
    """Return the expected information about the parameters behind `sigma`, shape (q, q).

    Parameters
    ----------
    answers : Answers
        Only its patterns count.
    sigma : ndarray, shape (p, p)
        Covariance matrix.
    derivatives : ndarray, shape (q, p, p)
        Its derivatives.

    Returns
    -------
    ndarray, shape (q, q)
        sum_o n_o / 2 tr(Sigma_oo^{-1} dSigma_k Sigma_oo^{-1} dSigma_l).
    """
    q = len(derivatives)
    found = np.zeros((q, q))
    for one in answers.patterns:
        root = np.linalg.inv(np.linalg.cholesky(sigma[np.ix_(one.observed, one.observed)]))
        part = derivatives[:, one.observed[:, None], one.observed[None, :]]
        white = (root @ part @ root.T).reshape(q, -1)
        found += 0.5 * one.n * (white @ white.T)
    return found


def _inverse(matrix: Vector) -> tuple[Vector, float]:
    root = np.linalg.cholesky(matrix)
    inverse_root = np.linalg.inv(root)
    return inverse_root.T @ inverse_root, 2.0 * float(np.log(np.diag(root)).sum())
