"""The posterior check: the same data under the exact prior and under the learned one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.fidelity.gaussian_posteriors import Posterior, by_gradients, dense_posterior, exact_posterior
from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.measures import DENSE_LIMIT
from smallarea.priors.fidelity.network_posteriors import Sampler, linearised
from smallarea.priors.fidelity.reference_field import Reference, ReferenceAt
from smallarea.priors.fidelity.simulated_data import SimulatedData, simulate

Vector = NDArray[np.float64]

DATA_SETS = 2
# Where the hyperparameter is integrated out, each data set has its own, and differences vary more between them.
MIXED_SETS = 4
# Up to so many nodes a decoder that is not linear is sampled by NUTS.
SAMPLED_LIMIT = 400
# On large maps: areas whose SDs are compared, and data sets from whose errors the scale of all areas is taken.
AREAS_COMPARED = 32
SETS_FOR_SCALE = 48


@dataclass(frozen=True)
class PosteriorCheck:
    """Differences between the two posteriors of theta, over all areas and data sets.

    Attributes
    ----------
    mean_max, mean_95 : float
        Largest absolute difference of means in exact posterior SDs, and its 95th percentile.
    sd_low, sd_high : float
        Smallest and largest ratio of learned to exact SD.
    method : str
        How the posterior under the learned prior was computed.
    error : float
        Monte Carlo standard error of a learned mean in posterior SDs; part of the differences.
    """

    mean_max: float
    mean_95: float
    sd_low: float
    sd_high: float
    method: str
    error: float


class PosteriorChecker:
    """Makes posterior checks for one decoder.

    Parameters
    ----------
    learned : LearnedField
        The decoder.
    """

    def __init__(self, learned: LearnedField) -> None:
        self._learned = learned
        self._sampler: Sampler | None = None

    def check(self, reference: Reference, typical: float, rng: np.random.Generator) -> PosteriorCheck:
        """Compare posteriors at one set of hyperparameters.

        Parameters
        ----------
        reference : Reference
            The exact prior.
        typical : float
            Typical variance of its field.
        rng : numpy.random.Generator
            Simulates data, and drives the sampler.

        Returns
        -------
        PosteriorCheck
            The differences.
        """
        linear = self._learned.is_linear(reference.value, rng)
        if reference.n <= DENSE_LIMIT:
            sets = DATA_SETS if isinstance(reference, ReferenceAt) else MIXED_SETS
            data = simulate(reference, typical, sets, rng)
            exact = exact_posterior(reference, data)
            learned = self._on_small_map(reference, data, linear, rng)
            return compare(exact, learned, exact.sd)
        return self._on_large_map(reference, typical, linear, rng)

    def _on_small_map(
        self, reference: Reference, data: SimulatedData, linear: bool, rng: np.random.Generator
    ) -> Posterior:
        every = np.arange(reference.n)
        value = reference.value
        if linear:
            mean, variance, _ = dense_posterior(self._learned.covariance(value), data)
            sd = np.repeat(np.sqrt(variance)[:, None], mean.shape[1], axis=1)
            return Posterior(mean, sd, every, "exact")
        if reference.n <= SAMPLED_LIMIT:
            self._sampler = self._sampler or Sampler(self._learned)
            return self._sampler.posterior(data, data.y.shape[1], value, rng)
        at = np.sort(rng.choice(reference.n, AREAS_COMPARED, replace=False))
        return linearised(self._learned, data, data.y.shape[1], at, value)

    def _on_large_map(
        self, reference: Reference, typical: float, linear: bool, rng: np.random.Generator
    ) -> PosteriorCheck:
        data = simulate(reference, typical, SETS_FOR_SCALE, rng)
        at = np.sort(rng.choice(reference.n, AREAS_COMPARED, replace=False))
        exact, solved = by_gradients(reference.times, data, SETS_FOR_SCALE, at)
        # Over data sets the truth scatters about its posterior mean with the posterior variance, which the model
        # shares between data sets: the scale of every area at the price of a few solves.
        scale = np.sqrt(np.mean((data.theta - exact.mean) ** 2, axis=1, keepdims=True))
        exact = Posterior(exact.mean[:, :DATA_SETS], exact.sd[:, :DATA_SETS], at, exact.method)
        value = reference.value
        if linear:
            start = np.hstack([solved[:, :DATA_SETS], solved[:, SETS_FOR_SCALE:]])
            learned, _ = by_gradients(lambda x: self._learned.covariance_times(x, value), data, DATA_SETS, at, start)
        else:
            learned = linearised(self._learned, data, DATA_SETS, at, value)
        note = "" if isinstance(reference, ReferenceAt) else ", against the second moments of the mixture"
        learned = Posterior(learned.mean, learned.sd, at, learned.method + note)
        return compare(exact, learned, scale)


def compare(exact: Posterior, learned: Posterior, scale: Vector) -> PosteriorCheck:
    """Summarise the differences of two posteriors.

    Parameters
    ----------
    exact, learned : Posterior
        SDs of the exact one are known wherever those of the learned one are.
    scale : ndarray, shape (n, S) or (n, 1)
        Posterior SDs to divide differences of means by.
    """
    off = np.abs(learned.mean - exact.mean) / scale
    ratio = learned.sd / exact.sd[np.searchsorted(exact.at, learned.at)]
    return PosteriorCheck(
        mean_max=float(off.max()),
        mean_95=float(np.quantile(off, 0.95)),
        sd_low=float(ratio.min()),
        sd_high=float(ratio.max()),
        method=learned.method,
        error=learned.error,
    )
