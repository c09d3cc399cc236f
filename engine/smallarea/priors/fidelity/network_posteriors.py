"""Posteriors of theta under a network: sampled on small maps, linearised at the mode on large ones."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.decoders import need_jax
from smallarea.priors.fidelity.gaussian_posteriors import Posterior, by_gradients, solve
from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.simulated_data import SimulatedData

Vector = NDArray[np.float64]

WARM_UP = 500
DRAWS = 1_000
CHAINS = 2
NEWTON_STEPS = 30
NEWTON_CHANGE = 1e-3


class Sampler:
    """NUTS for one decoder, compiled once for all data sets and hyperparameters.

    Parameters
    ----------
    learned : LearnedField
        The decoder.
    """

    def __init__(self, learned: LearnedField) -> None:
        jax = need_jax()
        import numpyro
        from numpyro import distributions as dist
        from numpyro.infer import MCMC, NUTS

        jnp = jax.numpy

        def model(y: Any, weight: Any, values: Any) -> None:
            z = numpyro.sample("z", dist.Normal(jnp.zeros(learned.latent_size), 1.0).to_event(1))
            field = numpyro.deterministic("field", learned.on_nodes(z, values))
            numpyro.factor("data", -0.5 * jnp.sum(weight * (y - field) ** 2))

        self._random = jax.random
        self._learned = learned
        self._mcmc = MCMC(
            NUTS(model),
            num_warmup=WARM_UP,
            num_samples=DRAWS,
            num_chains=CHAINS,
            chain_method="vectorized",
            progress_bar=False,
            jit_model_args=True,
        )

    def posterior(self, data: SimulatedData, sets: int, value: Vector, rng: np.random.Generator) -> Posterior:
        """Sample the posterior of each data set."""
        from numpyro.diagnostics import effective_sample_size

        weight = np.zeros(self._learned.n)
        weight[data.sampled] = 1.0 / data.extra
        keep = np.zeros(self._learned.n)
        keep[data.sampled] = data.iid / data.extra
        # Given the field, delta is normal: its mean and variance are added exactly, not drawn.
        own = data.iid * (1.0 - keep)
        given = value if self._learned.conditional else np.empty(0)
        means, sds, sizes = [], [], []
        for k in range(sets):
            self._mcmc.run(self._random.key(int(rng.integers(2**31))), data.y[:, k], weight, given)
            field = np.asarray(self._mcmc.get_samples(group_by_chain=True)["field"])
            conditional = field + keep * (data.y[:, k] - field)
            means.append(conditional.mean(axis=(0, 1)))
            sds.append(np.sqrt(conditional.var(axis=(0, 1), ddof=1) + own))
            sizes.append(float(np.min(effective_sample_size(conditional))))
        error = 1.0 / math.sqrt(max(1.0, min(sizes)))
        return Posterior(np.array(means).T, np.array(sds).T, np.arange(self._learned.n), "sampled by NUTS", error)


def linearised(
    learned: LearnedField, data: SimulatedData, sets: int, at: NDArray[np.int64], value: Vector
) -> Posterior:
    """Gaussian approximation at the posterior mode of the white noise, by Gauss-Newton steps.

    Parameters
    ----------
    learned : LearnedField
        The decoder.
    data : SimulatedData
        Data sets.
    sets : int
        How many of them.
    at : ndarray of int
        Areas whose SDs are wanted.
    value : ndarray, shape (q,)
        Hyperparameters.

    Returns
    -------
    Posterior
        Exact if the decoder is linear; otherwise what its curvature adds is left out.
    """
    means, sds = [], []
    for k in range(sets):
        mode, mean = _mode(learned, data, data.y[:, k], value)
        means.append(mean)
        sds.append(by_gradients(partial(_linear_part, learned, value, mode), data, 1, at)[0].sd[:, 0])
    return Posterior(np.array(means).T, np.array(sds).T, at, "linearised at its mode")


def _linear_part(learned: LearnedField, value: Vector, at: Vector, x: Vector) -> Vector:
    return learned.covariance_times(x, value, at)


def _mode(learned: LearnedField, data: SimulatedData, y: Vector, value: Vector) -> tuple[Vector, Vector]:
    """Find the posterior mode of z and theta there, by Gauss-Newton steps that are halved where they overshoot."""
    sampled = data.sampled
    z = np.zeros(learned.latent_size)

    def loss(at: Vector) -> float:
        misfit = y[sampled] - learned.fields(at[None], value)[0, sampled]
        return 0.5 * float(at @ at + np.sum(misfit**2 / data.extra))

    for _ in range(NEWTON_STEPS):
        field = learned.fields(z[None], value)[0]
        ahead = learned.push(z[None], z, value)[0]
        misfit = (y - field + ahead)[sampled, None]
        dual = solve(partial(_linear_part, learned, value, z), data, misfit)
        step = learned.pull(data.spread(dual).T, z, value)[0] - z
        length = 1.0
        while length > 1e-3 and loss(z + length * step) > loss(z):
            length *= 0.5
        z = z + length * step
        if float(np.linalg.norm(step)) <= NEWTON_CHANGE * (1.0 + float(np.linalg.norm(z))):
            break
    field = learned.fields(z[None], value)[0]
    mean = field.copy()
    mean[sampled] += data.iid / data.extra * (y - field)[sampled]
    return z, mean
