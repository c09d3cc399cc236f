"""Posterior of a small model for counts by importance sampling, written from the model and without the code under test.

Hyperparameters come from their priors (scrambled Sobol points). At each of them the linear predictor eta has the
density p(eta | hyper) of effects with covariance S and coefficients with a flat prior; draws from a multivariate t
distribution around the mode are weighted to p(y, eta | hyper). Nothing is approximated but by Monte Carlo.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Reference:
    """Means and second moments with standard errors from independent replicates, each of shape (m,)."""

    mean: np.ndarray
    mean_error: np.ndarray
    sd: np.ndarray
    sd_error: np.ndarray


def exact_posterior(
    log_likelihood: Callable[[np.ndarray], np.ndarray],
    slopes: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    covariance: Callable[[np.ndarray], np.ndarray],
    prior: Callable[[np.ndarray], np.ndarray],
    dimension: int,
    x: np.ndarray,
    *,
    points: int = 1024,
    draws: int = 24,
    replicates: int = 8,
    seed: int = 1,
) -> Reference:
    """Moments of (hyperparameters, eta).

    Parameters
    ----------
    log_likelihood : callable
        Of eta of shape (..., n), summed over areas.
    slopes : callable
        First derivative and minus the second one by area, at eta of shape (M, n).
    covariance : callable
        Hyperparameters (M, q) to S, shape (M, n, n).
    prior : callable
        Uniform numbers (M, q) to hyperparameters.
    dimension : int
        q.
    x : ndarray, shape (n, p)
        Design.
    """
    found = [
        _replicate(log_likelihood, slopes, covariance, prior, dimension, x, points, draws, [seed, number])
        for number in range(replicates)
    ]
    mean, sd = (np.array([one[part] for one in found]) for part in (0, 1))
    root = np.sqrt(replicates)
    return Reference(mean.mean(0), mean.std(0, ddof=1) / root, sd.mean(0), sd.std(0, ddof=1) / root)


def _replicate(log_likelihood, slopes, covariance, prior, dimension, x, points, draws, seed):
    rng = np.random.default_rng(seed)
    hyper = prior(stats.qmc.Sobol(dimension, seed=rng).random(points))
    s = covariance(hyper)
    inverse = np.linalg.inv(s)
    information = x.T @ inverse @ x
    without = inverse - inverse @ x @ np.linalg.solve(information, np.swapaxes(inverse @ x, 1, 2))
    half = -0.5 * (np.linalg.slogdet(s)[1] + np.linalg.slogdet(information)[1])
    eta = np.zeros((points, len(x)))
    for _ in range(60):
        gradient, curvature = slopes(eta)
        step = np.linalg.solve(
            without + curvature[:, :, None] * np.eye(len(x)),
            (gradient - np.einsum("mij,mj->mi", without, eta))[:, :, None],
        )[:, :, 0]
        eta = eta + np.clip(step, -1.0, 1.0)
    root = np.linalg.cholesky(without + slopes(eta)[1][:, :, None] * np.eye(len(x)))
    df = 6.0
    white = rng.standard_normal((points, len(x), draws)) / np.sqrt(rng.chisquare(df, (points, 1, draws)) / df)
    drawn = eta[:, None] + np.swapaxes(np.linalg.solve(np.swapaxes(root, 1, 2), white), 1, 2)
    log_q = -0.5 * (df + len(x)) * np.log1p(np.sum(white**2, axis=1) / df)
    log_q += np.sum(np.log(np.diagonal(root, axis1=1, axis2=2)), axis=1)[:, None]
    log_p = log_likelihood(drawn) + half[:, None] - 0.5 * np.einsum("mdi,mij,mdj->md", drawn, without, drawn)
    weights = np.exp(log_p - log_q - np.max(log_p - log_q))
    weights /= weights.sum()
    values = np.concatenate([np.repeat(hyper[:, None], draws, axis=1), drawn], axis=2)
    mean = np.einsum("md,mdv->v", weights, values)
    return mean, np.sqrt(np.einsum("md,mdv->v", weights, (values - mean) ** 2))
