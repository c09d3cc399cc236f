"""Posterior of the multivariate normal model by NumPyro, with the missing cells integrated out pattern by pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import EngineUnavailable, ModelProblem

Vector = NDArray[np.float64]

# One p x p factor for each pattern and step of the sampler: above so many numbers that is slow and large.
_MOST = 5_000_000


def pattern_statistics(values: Vector) -> tuple[NDArray[np.bool_], Vector, Vector, Vector]:
    """Sum up the rows of each pattern of observed cells.

    Parameters
    ----------
    values : ndarray, shape (n, p)
        NaN where missing. Rows without any value do not count.

    Returns
    -------
    tuple of ndarray
        Observed cells of the patterns, shape (K, p); rows (K,); sums (K, p) and cross-products (K, p, p) of their
        values, zeros where missing.
    """
    observed = ~np.isnan(values)
    kept = observed.any(axis=1)
    patterns, place = np.unique(observed[kept], axis=0, return_inverse=True)
    filled = np.where(observed, values, 0.0)[kept]
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place, minlength=len(patterns)))
    parts = np.split(filled[order], ends[:-1])
    return (
        patterns,
        np.array([float(len(part)) for part in parts]),
        np.stack([part.sum(axis=0) for part in parts]),
        np.stack([part.T @ part for part in parts]),
    )


def sample_normal(values: Vector, *, draws: int, warmup: int, shape: float, seed: int) -> tuple[Vector, Vector, int]:
    """Draw means and covariance matrices by the no-U-turn sampler.

    Priors: means N(0, 1), standard deviations half-normal(1), correlations LKJ.

    Parameters
    ----------
    values : ndarray, shape (n, p)
        Standardised columns, NaN where missing.
    draws, warmup : int
        Draws kept, and before them.
    shape : float
        Of the LKJ prior.
    seed : int
        Of the sampler.

    Returns
    -------
    tuple
        Means, shape (draws, p); covariance matrices, shape (draws, p, p); number of divergent transitions.

    Raises
    ------
    EngineUnavailable
        If NumPyro is not installed.
    ModelProblem
        If there are too many patterns of missing cells.
    """
    try:
        import jax
        import numpyro
    except ImportError as problem:
        raise EngineUnavailable(
            'posterior="nuts" needs NumPyro: pip install "smallarea[hmc]". Or use posterior="gibbs".'
        ) from problem
    statistics = pattern_statistics(values)
    size = len(statistics[0]) * values.shape[1] ** 2
    if size > _MOST:
        raise ModelProblem(
            f"{len(statistics[0])} patterns of missing cells in {values.shape[1]} columns are too many for "
            'posterior="nuts". Use posterior="gibbs", which has the same posterior.'
        )
    with jax.enable_x64(True):
        kernel = numpyro.infer.NUTS(_model(statistics, shape))
        sampler = numpyro.infer.MCMC(kernel, num_warmup=warmup, num_samples=draws, progress_bar=False)
        sampler.run(jax.random.PRNGKey(seed), extra_fields=("diverging",))
        found = {name: np.asarray(value) for name, value in sampler.get_samples().items()}
        diverging = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
    roots = found["spread"][:, :, None] * found["correlation_root"]
    return found["mean"], roots @ roots.transpose(0, 2, 1), diverging


def _model(statistics: tuple[NDArray[np.bool_], Vector, Vector, Vector], shape: float) -> Any:
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from jax.scipy.linalg import solve_triangular

    observed, rows, sums, cross = (jnp.asarray(part) for part in statistics)
    p = observed.shape[1]
    mask = observed[:, :, None] & observed[:, None, :]

    def model() -> None:
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0).expand([p]).to_event(1))
        spread = numpyro.sample("spread", dist.HalfNormal(1.0).expand([p]).to_event(1))
        root = numpyro.sample("correlation_root", dist.LKJCholesky(p, shape))
        scaled = spread[:, None] * root
        # Ones on the diagonal for missing cells: they change neither the determinant nor the quadratic form.
        blocks = jnp.where(mask, scaled @ scaled.T, jnp.eye(p))
        own = jnp.where(observed, mean, 0.0)
        centred = (
            cross
            - sums[:, :, None] * own[:, None, :]
            - own[:, :, None] * sums[:, None, :]
            + rows[:, None, None] * own[:, :, None] * own[:, None, :]
        )
        factors = jnp.linalg.cholesky(blocks)
        halves = solve_triangular(factors, jnp.broadcast_to(jnp.eye(p), blocks.shape), lower=True)
        log_determinant = 2.0 * jnp.log(jnp.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        numpyro.factor("answers", -0.5 * (rows @ log_determinant + ((halves @ centred) * halves).sum()))

    return model
