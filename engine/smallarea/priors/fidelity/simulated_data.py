"""Data for the posterior check, simulated from the exact prior on the geography itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.fidelity.reference_field import Reference

Vector = NDArray[np.float64]

# Relative to the field's typical variance: an iid part, and sampling variances from a tenth to several times as much.
IID_SHARE = 0.1
NOISE_MEDIAN = 0.5
NOISE_SPREAD = 0.7
MISSING_SHARE = 0.1


@dataclass(frozen=True)
class SimulatedData:
    """Direct estimates of several data sets on one geography.

    Attributes
    ----------
    theta : ndarray, shape (n, S)
        The truth.
    y : ndarray, shape (n, S)
        Direct estimates; rows of missing areas are not used.
    sampled : ndarray of int
        Areas with direct estimates.
    noise : ndarray, shape (n,)
        Sampling variances.
    iid : float
        Variance of the iid part of theta.
    """

    theta: Vector
    y: Vector
    sampled: NDArray[np.int64]
    noise: Vector
    iid: float

    @property
    def extra(self) -> Vector:
        """Variance of a direct estimate given the field, at the sampled areas."""
        return self.noise[self.sampled] + self.iid

    def spread(self, x: Vector) -> Vector:
        """Put values of the sampled areas (m, k) among all areas (n, k), 0 elsewhere."""
        out = np.zeros((len(self.noise), x.shape[1]))
        out[self.sampled] = x
        return out


def simulate(reference: Reference, typical: float, sets: int, rng: np.random.Generator) -> SimulatedData:
    """Simulate theta = field + iid and direct estimates with known variances, some areas missing.

    Parameters
    ----------
    reference : Reference
        The exact prior; a mixture draws its hyperparameter anew for each data set.
    typical : float
        Typical variance of the field: the scale of the rest.
    sets : int
        How many data sets share sampling variances and missing areas.
    rng : numpy.random.Generator
        Draws everything.
    """
    n = reference.n
    noise = typical * NOISE_MEDIAN * np.exp(NOISE_SPREAD * rng.standard_normal(n))
    iid = IID_SHARE * typical
    sampled = np.sort(rng.choice(n, max(1, n - round(MISSING_SHARE * n)), replace=False))
    theta = reference.draws(sets, rng).T + np.sqrt(iid) * rng.standard_normal((n, sets))
    y = theta + np.sqrt(noise)[:, None] * rng.standard_normal((n, sets))
    return SimulatedData(theta, y, sampled, noise, iid)
