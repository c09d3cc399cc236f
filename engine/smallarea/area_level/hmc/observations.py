"""What is observed in each area, and how it is distributed around the quantity of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level.stacked import StackedData

Vector = NDArray[np.float64]

LIKELIHOODS: Mapping[str, str] = {
    "normal": "y ~ N(theta, variance), identity link",
    "binomial": "y ~ Binomial(trials, theta), logit link",
    "poisson": "y ~ Poisson(exposure * theta), log link",
    "beta": "y ~ Beta with mean theta and theta (1 - theta) / (1 + precision) as variance, logit link",
}


@dataclass(frozen=True, eq=False)
class Observations:
    """N areas and K responses with their likelihood; make them with `normal_observations` or a function of `checked`.

    Attributes
    ----------
    likelihood : {'normal', 'binomial', 'poisson', 'beta'}
        A key of ``LIKELIHOODS``; one for all responses.
    areas : tuple of str, length N
        Area ids, in the order of the graph.
    y : ndarray, shape (N, K)
        Standardised direct estimates, counts, or proportions; NaN where missing.
    design : ndarray, shape (N, K, P)
        Covariates of all coefficients on the standardised scale: a response's row is zero but for its own.
    terms : tuple of slice, length K
        Where each response's coefficients lie among all P.
    covariance : ndarray, shape (N, K, K)
        Sampling covariances (normal, standardised; beta: variances on the diagonal); zero for counts.
    size : ndarray, shape (N, K)
        Trials (binomial), exposure (poisson), precision ``y (1 - y) / variance - 1`` (beta); 1 for normal. 1 where
        missing.
    location, scale : ndarray, shape (K,)
        ``input = location + scale * y`` (normal); 0 and 1 otherwise.
    x_location, x_scale : tuple of ndarray, length K
        What was subtracted from and divided out of each response's covariates.
    intercept : bool
        Whether the first coefficient of each response is an intercept.
    """

    likelihood: str
    areas: tuple[str, ...]
    y: Vector
    design: Vector
    terms: tuple[slice, ...]
    covariance: Vector
    size: Vector
    location: Vector
    scale: Vector
    x_location: tuple[Vector, ...]
    x_scale: tuple[Vector, ...]
    intercept: bool

    @property
    def shape(self) -> tuple[int, int]:
        """N, K."""
        return self.y.shape[0], self.y.shape[1]

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        """Cells that enter the likelihood, shape (N, K)."""
        return np.isfinite(self.y)

    @cached_property
    def variance(self) -> Vector:
        """Sampling variances, the diagonals of ``covariance``, shape (N, K)."""
        return np.einsum("nkk->nk", self.covariance)

    @property
    def coupled(self) -> bool:
        """Whether sampling errors of different responses are correlated."""
        return bool(np.any(self.covariance * (1.0 - np.eye(self.shape[1])) != 0.0))

    @property
    def link(self) -> str:
        """Function that makes the linear predictor of the quantity of interest: 'identity', 'log' or 'logit'."""
        return {"normal": "identity", "poisson": "log"}.get(self.likelihood, "logit")

    def inverse_link(self, linear: Vector) -> Vector:
        """Quantity of interest at a linear predictor, on the standardised scale for normal data."""
        if self.link == "identity":
            return linear
        return np.exp(linear) if self.link == "log" else np.asarray(special.expit(linear))

    @cached_property
    def working(self) -> tuple[Vector, Vector]:
        """Normal approximation of each cell's likelihood of the linear predictor: its centre and variance, (N, K).

        For normal data it is exact. For counts half a count is added on each side (Haldane and Anscombe), so that
        none and all have a finite one. Missing cells have centre 0 and an infinite variance. It steers the sampler
        and has no influence on the result.
        """
        y = np.where(self.observed, self.y, 0.5)
        if self.likelihood == "normal":
            centre, variance = y, self.variance
        elif self.likelihood == "binomial":
            yes, no = y + 0.5, self.size - y + 0.5
            centre, variance = np.log(yes / no), 1.0 / yes + 1.0 / no
        elif self.likelihood == "poisson":
            centre, variance = np.log((y + 0.5) / self.size), 1.0 / (y + 0.5)
        else:
            centre, variance = special.logit(y), self.variance / (y * (1.0 - y)) ** 2
        return np.where(self.observed, centre, 0.0), np.where(self.observed, variance, np.inf)

    def coefficients_to_input(self) -> tuple[Vector, Vector]:
        """Return T, shape (P, P), and t, shape (P,), with ``beta_input = t + T beta``."""
        p = self.design.shape[2]
        transform, shift = np.zeros((p, p)), np.zeros(p)
        for k, at in enumerate(self.terms):
            own = np.diag(self.scale[k] / self.x_scale[k])
            if self.intercept:
                own[0, 1:] = -self.scale[k] * self.x_location[k][1:] / self.x_scale[k][1:]
                shift[at.start] = self.location[k]
            transform[at, at] = own
        return transform, shift


def normal_observations(data: StackedData, areas: Sequence[str]) -> Observations:
    """Take direct estimates with known sampling covariances, as the exact engine takes them.

    Parameters
    ----------
    data : StackedData
        Standardised data.
    areas : sequence of str, length N
        Area ids.

    Returns
    -------
    Observations
        With the normal likelihood.
    """
    first = data.responses[0]
    return Observations(
        "normal",
        tuple(areas),
        np.where(data.observed, data.y, np.nan),
        data.design,
        data.terms,
        data.covariance,
        np.ones(data.shape),
        np.array([response.location for response in data.responses]),
        np.array([response.scale for response in data.responses]),
        tuple(response.x_location for response in data.responses),
        tuple(response.x_scale for response in data.responses),
        first.intercept,
    )
