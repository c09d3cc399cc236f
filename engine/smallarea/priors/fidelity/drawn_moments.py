"""Errors of the second moments of a decoder that is not linear, from draws and without the bias of draws.

The squared error of an empirical covariance of B draws has a floor of about n/B even for a perfect prior. The product
of the errors of two independent batches has none: its expectation is the squared error of the prior itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.measures import (
    DENSE_LIMIT,
    CovarianceErrors,
    Moments,
    Times,
    exact_moments,
    moments_of,
    root_estimate,
    unit_columns,
)
from smallarea.priors.fidelity.pairs import Pairs
from smallarea.priors.fidelity.reference_field import Reference, ReferenceAt

Vector = NDArray[np.float64]

BATCHES = 8
# Columns of a large covariance that are formed at once.
COLUMNS = 256
# Numbers in the draws that are held at once: 128 MB.
MOST_NUMBERS = 16_000_000
# Exact fields of the same white noise help where they are this close, as the share of their mean square.
CLOSE = 0.5


@dataclass(frozen=True)
class Drawn:
    """Prior draws of a decoder.

    Attributes
    ----------
    learned : ndarray, shape (B, n)
        Fields.
    paired : ndarray, shape (B, n), or None
        Exact fields of the same white noise, where the decoder follows them; their known moments take most of the
        noise out of every estimate, and cannot bias one.
    """

    learned: Vector
    paired: Vector | None


def draw(learned: LearnedField, reference: Reference, draws: int, rng: np.random.Generator) -> Drawn:
    """Draw from the learned prior, with the exact fields of the same noise if those are close."""
    size = max(2 * BATCHES, min(draws, MOST_NUMBERS // reference.n))
    z = rng.standard_normal((size, learned.latent_size))
    fields = learned.fields(z, reference.value)
    if isinstance(reference, ReferenceAt) and reference.exact.latent_size <= learned.latent_size:
        twins = reference.roots(np.ascontiguousarray(z[:, : reference.exact.latent_size]))
        if np.mean((fields - twins) ** 2) < CLOSE * np.mean(twins**2):
            return Drawn(fields, twins)
    return Drawn(fields, None)


def measure_by_draws(
    learned: LearnedField, reference: Reference, pairs: Pairs, draws: int, rng: np.random.Generator
) -> CovarianceErrors:
    """Compare second moments by prior draws.

    Parameters
    ----------
    learned : LearnedField
        The decoder.
    reference : Reference
        The exact prior.
    pairs : Pairs
        Where to look.
    draws : int
        How many draws; fewer where they would not fit in memory.
    rng : numpy.random.Generator
        Draws the white noise.
    """
    drawn = draw(learned, reference, draws, rng)
    n = reference.n
    if n <= DENSE_LIMIT:
        covariance = reference.covariance()
        exact = moments_of(covariance, pairs)
        times: Times = covariance.__matmul__
    else:
        exact, _ = exact_moments(reference, pairs)
        times = reference.times
    scale = np.sqrt(exact.variance)
    norm, correlation_norm = _norms(times, scale)
    square, square_se = cross_error(drawn, times, norm)
    residual, residual_se = cross_error(
        _standardised(drawn, scale), lambda x: times(x / scale[:, None]) / scale[:, None], correlation_norm
    )
    moments, ratio_se = _moments(drawn, exact, pairs)
    return CovarianceErrors(
        method="draws",
        frobenius=root_estimate(square, square_se, norm),
        srmr=root_estimate(residual, residual_se, float(n) * float(n + 1)),
        exact=exact,
        learned=moments,
        ratio_se=ratio_se,
        offset=_offset(drawn.learned, exact.variance),
    )


def cross_error(drawn: Drawn, times: Times, norm: float) -> tuple[float, float]:
    """Unbiased estimate of ||M - C||^2, M the second moments of the learned fields.

    Parameters
    ----------
    drawn : Drawn
        Fields, which are cut into batches.
    times : callable
        Product with C.
    norm : float
        ||C||^2.

    Returns
    -------
    tuple of float
        The estimate, which may be negative, and its jackknife standard error over batches.
    """
    parts = np.array_split(drawn.learned, BATCHES)
    twins = np.array_split(drawn.paired, BATCHES) if drawn.paired is not None else None
    against = [] if twins else [float(np.mean(np.einsum("ij,ji->i", part, times(part.T)))) for part in parts]
    products = np.full((BATCHES, BATCHES), np.nan)
    for g in range(BATCHES):
        for h in range(g):
            found = _mean_square(parts[g], parts[h])
            if twins:
                found += _mean_square(twins[g], twins[h])
                found -= _mean_square(parts[g], twins[h]) + _mean_square(twins[g], parts[h])
            else:
                found += norm - against[g] - against[h]
            products[g, h] = products[h, g] = found
    without = [np.nanmean(np.delete(np.delete(products, g, axis=0), g, axis=1)) for g in range(BATCHES)]
    spread = (BATCHES - 1.0) / BATCHES * float(np.sum((without - np.mean(without)) ** 2))
    return float(np.nanmean(products)), math.sqrt(spread)


def _mean_square(x: Vector, y: Vector) -> float:
    """<mean xx', mean yy'> as the mean of squared inner products."""
    return float(np.mean((x @ y.T) ** 2))


def _standardised(drawn: Drawn, scale: Vector) -> Drawn:
    """Bring each batch to unit variances by itself, so that batches stay independent."""
    twins = drawn.paired
    out = []
    for at in np.array_split(np.arange(len(drawn.learned)), BATCHES):
        part = drawn.learned[at]
        own = np.mean(part**2, axis=0)
        if twins is not None:
            steady = scale**2 + own - np.mean(twins[at] ** 2, axis=0)
            own = np.where(steady > 0.0, steady, own)
        out.append(part / np.sqrt(np.maximum(own, np.finfo(float).tiny)))
    return Drawn(np.concatenate(out), None if twins is None else twins / scale)


def _norms(times: Times, scale: Vector) -> tuple[float, float]:
    """Squared norms of the covariance and of the correlations, column by column.

    An estimate would not do: the error of the norm is one of the squared error itself, which is a small part of it.
    """
    n = len(scale)
    norm = correlation_norm = 0.0
    for start in range(0, n, COLUMNS):
        at = np.arange(start, min(start + COLUMNS, n))
        columns = times(unit_columns(n, at))
        norm += float(np.sum(columns**2))
        correlation_norm += float(np.sum((columns / scale[:, None] / scale[at]) ** 2))
    return norm, correlation_norm


def _moments(drawn: Drawn, exact: Moments, pairs: Pairs) -> tuple[Moments, float]:
    """Second moments at the pairs, and the typical standard error of a variance ratio."""
    x, twins = drawn.learned, drawn.paired
    squares = x**2 if twins is None else x**2 - twins**2
    ratio_se = float(np.median(squares.std(axis=0, ddof=1) / exact.variance)) / math.sqrt(len(x))
    everywhere = np.column_stack([np.arange(x.shape[1])] * 2)
    found = []
    for at, known in ((everywhere, exact.variance), (pairs.edges, exact.edges), (pairs.second, exact.second)):
        mean = _mean_products(x, at)
        found.append(mean if twins is None else known + mean - _mean_products(twins, at))
    variance = np.where(found[0] > 0.0, found[0], np.mean(x**2, axis=0))
    return Moments(variance, found[1], found[2]), ratio_se


def _mean_products(x: Vector, at: NDArray[np.int64]) -> Vector:
    """Mean of x_i x_j over draws at pairs (i, j); by blocks, since there are many pairs."""
    out = np.empty(len(at))
    block = max(1, MOST_NUMBERS // (8 * len(x)))
    for start in range(0, len(at), block):
        part = at[start : start + block]
        out[start : start + block] = np.einsum("bi,bi->i", x[:, part[:, 0]], x[:, part[:, 1]]) / len(x)
    return out


def _offset(x: Vector, variance: Vector) -> float:
    """Root mean square of the prior mean in typical SDs; two halves, so that noise does not count as an offset."""
    first, other = (half.mean(axis=0) for half in np.array_split(x, 2))
    return math.sqrt(max(0.0, float(first @ other) / float(np.sum(variance))))
