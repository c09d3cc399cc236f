"""Whether chains have converged: R-hat and effective sample sizes of many quantities at once.

Rank-normalised split R-hat and bulk effective sample size (Vehtari, Gelman, Simpson, Carpenter and Buerkner 2021), with
Geyer's initial monotone sequence for the autocorrelations.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special, stats

from smallarea.cores import available_cores

Vector = NDArray[np.float64]

# Quantities whose autocorrelations are computed at once.
NUMBERS_AT_ONCE = 4_000_000


def convergence(draws: Vector) -> tuple[Vector, Vector]:
    """R-hat and bulk effective sample size of each quantity.

    Parameters
    ----------
    draws : ndarray, shape (C, S, m)
        C chains of S draws, S at least 4.

    Returns
    -------
    r_hat, ess : ndarray, shape (m,)
        NaN where a quantity does not vary.
    """
    c, s, m = draws.shape
    if m == 0:
        return np.empty(0), np.empty(0)
    cores = available_cores()
    at_once = max(1, min(NUMBERS_AT_ONCE // (c * s), -(-m // cores)))
    # Sorting and Fourier transforms, which take most of the time, run without Python's lock.
    with ThreadPoolExecutor(cores) as pool:
        parts = list(pool.map(lambda i: _convergence(draws[:, :, i : i + at_once]), range(0, m, at_once)))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _convergence(draws: Vector) -> tuple[Vector, Vector]:
    half = draws.shape[1] // 2
    split = np.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]])
    z = _rank_normalised(split)
    chains, length, _ = z.shape
    within = z.var(axis=1, ddof=1).mean(axis=0)
    between = length * z.mean(axis=1).var(axis=0, ddof=1)
    total = (length - 1) / length * within + between / length
    with np.errstate(invalid="ignore", divide="ignore"):
        r_hat = np.sqrt(total / within)
        covariance = _autocovariance(z).mean(axis=0)
        # Vehtari et al. (2021), equation 10.
        rho = 1.0 - (within - covariance) / total
    rho[0] = 1.0
    # Autocorrelations of the last lags rest on three products or fewer and are left out, as in Stan and ArviZ.
    last = max(0, 2 * ((length - 3) // 2))
    pairs = rho[0:last:2] + rho[1 : last + 1 : 2]
    positive = np.cumprod(pairs > 0.0, axis=0)
    monotone = np.minimum.accumulate(np.where(positive, pairs, 0.0), axis=0)
    # The even one of the first pair left out is positive or noise; Vehtari et al. count it once.
    after = 2 * positive.sum(axis=0).astype(int)
    rest = np.maximum(np.take_along_axis(rho, after[None], axis=0)[0], 0.0)
    time = np.maximum(-1.0 + 2.0 * monotone.sum(axis=0) + rest, 1.0 / np.log10(chains * length))
    varies = np.ptp(split, axis=(0, 1)) > 0.0
    return np.where(varies, r_hat, np.nan), np.where(varies, chains * length / time, np.nan)


def _rank_normalised(draws: Vector) -> Vector:
    flat = draws.reshape(-1, draws.shape[2])
    ranks = stats.rankdata(flat, axis=0)
    return special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).reshape(draws.shape)


def _autocovariance(z: Vector) -> Vector:
    """Of each chain, with the length as divisor, shape (C, S, m)."""
    length = z.shape[1]
    size = fft.next_fast_len(2 * length, real=True)
    spectrum = fft.rfft(z - z.mean(axis=1, keepdims=True), n=size, axis=1)
    return np.asarray(fft.irfft(np.abs(spectrum) ** 2, n=size, axis=1)[:, :length]) / length
