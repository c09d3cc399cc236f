"""Penalised-complexity prior of the range and the standard deviation of a Matérn field in the plane.

    p(range, sd) = l1 l2 range^-2 exp(-l1 / range - l2 sd),   l1 = -log(range_alpha) range0,   l2 = -log(sd_alpha) / sd0

so that ``P(range < range0) = range_alpha`` and ``P(sd > sd0) = sd_alpha``: one over the range and the standard
deviation are independent exponentials, and the base model is a field without variance and of infinite range.

References
----------
Fuglstad, G.-A., Simpson, D., Lindgren, F. and Rue, H. (2019). Constructing priors that penalize the complexity of
Gaussian random fields. JASA 114, 445-452 (theorem 2.6 with d = 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from smallarea.errors import PriorProblem

Vector = NDArray[np.float64]

# Values of the simulations of the paper that introduced BARTSIMP, on the unit square.
PAPER_RANGE, PAPER_SD, PAPER_ALPHA = 2.4, 0.5, 0.5
# The default: a range below a tenth of the region, or a field that varies more than the outcome itself, is unlikely.
DEFAULT_SHARE, DEFAULT_ALPHA = 0.1, 0.05


@dataclass(frozen=True)
class PcPrior:
    """Prior of (range, sd) by two statements of probability.

    Attributes
    ----------
    range0, range_alpha : float
        ``P(range < range0) = range_alpha``; range0 in the unit of the coordinates.
    sd0, sd_alpha : float
        ``P(sd > sd0) = sd_alpha``; sd0 in the unit of the outcome.

    Raises
    ------
    PriorProblem
        If range0 or sd0 is not positive, or a probability is not between 0 and 1.
    """

    range0: float
    range_alpha: float
    sd0: float
    sd_alpha: float

    def __post_init__(self) -> None:
        """Check the four numbers."""
        for name in ("range0", "sd0"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise PriorProblem(f"{name} of the field's prior must be a positive number, not {value}.")
        for name in ("range_alpha", "sd_alpha"):
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise PriorProblem(f"{name} of the field's prior is a probability between 0 and 1, not {value}.")

    @property
    def range_rate(self) -> float:
        """l1: one over the range is exponential with this rate."""
        return -math.log(self.range_alpha) * self.range0

    @property
    def sd_rate(self) -> float:
        """l2: the standard deviation is exponential with this rate."""
        return -math.log(self.sd_alpha) / self.sd0

    def log_density(self, spatial_range: float | Vector, sd: float | Vector) -> Vector:
        """Log density of (range, sd), both above 0; shapes broadcast."""
        rho, sigma = np.asarray(spatial_range, dtype=np.float64), np.asarray(sd, dtype=np.float64)
        constant = math.log(self.range_rate) + math.log(self.sd_rate)
        return constant - 2.0 * np.log(rho) - self.range_rate / rho - self.sd_rate * sigma

    def log_density_of_logs(self, log_range: float | Vector, log_sd: float | Vector) -> Vector:
        """Log density of (log range, log sd): that of (range, sd) times range times sd."""
        x, s = np.asarray(log_range, dtype=np.float64), np.asarray(log_sd, dtype=np.float64)
        return self.log_density(np.exp(x), np.exp(s)) + x + s

    def sample(self, rng: np.random.Generator, size: int) -> tuple[Vector, Vector]:
        """Draw ranges and standard deviations, each of shape (size,)."""
        return self.range_rate / rng.standard_exponential(size), rng.standard_exponential(size) / self.sd_rate

    def range_quantile(self, probability: float) -> float:
        """Range below which the prior holds this probability: ``P(range < r) = exp(-l1 / r)``."""
        return -self.range_rate / math.log(probability)

    def sd_quantile(self, probability: float) -> float:
        """Return the standard deviation below which the prior holds this probability."""
        return -math.log1p(-probability) / self.sd_rate


def paper_prior(range0: float = PAPER_RANGE, sd0: float = PAPER_SD) -> PcPrior:
    """Medians of range and standard deviation as in the paper: 2.4 and 0.5 in its simulations on the unit square.

    Parameters
    ----------
    range0, sd0 : float
        Medians; the paper takes them from a fit of intercept and field, see :func:`prior_from_fit`.

    Returns
    -------
    PcPrior
        With both probabilities 0.5.
    """
    return PcPrior(range0, PAPER_ALPHA, sd0, PAPER_ALPHA)


def prior_from_fit(spatial_range: Vector, sd: Vector) -> PcPrior:
    """Take the medians of the prior from posterior draws of a model of intercept and field alone.

    Parameters
    ----------
    spatial_range, sd : ndarray, shape (S,)
        Posterior draws of that model (SPDE0).

    Returns
    -------
    PcPrior
        Data-based: the same data are then used twice. Its median of the standard deviation includes what covariates
        would explain.
    """
    return paper_prior(float(np.median(spatial_range)), float(np.median(sd)))


def default_prior(points: Vector, scale: float) -> PcPrior:
    """Prior that needs no fit: only the size of the region and the unit of the outcome.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Where the clusters are, in a plane.
    scale : float
        A spread that the field hardly exceeds, in the unit of the outcome: its standard deviation over individuals, or
        what is known of it beforehand.

    Returns
    -------
    PcPrior
        ``P(range < a tenth of the region's diameter) = 0.05`` and ``P(sd > scale) = 0.05``.

    Raises
    ------
    PriorProblem
        If all points are in one place or the scale is not positive.
    """
    circle = shapely.minimum_bounding_radius(shapely.MultiPoint(points))
    if circle <= 0.0:
        raise PriorProblem("All points are in one place, so there is no size from which a prior of the range follows.")
    return PcPrior(2.0 * float(circle) * DEFAULT_SHARE, DEFAULT_ALPHA, scale, DEFAULT_ALPHA)
