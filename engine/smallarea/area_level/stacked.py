"""One or several responses on the standardised scale, side by side, as the collapsed model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.data import StandardisedData
from smallarea.errors import VarianceProblem, named

Vector = NDArray[np.float64]

# Sampling correlations this close to 1 make the covariance of an area singular in floating point numbers.
LARGEST_CORRELATION = 1.0 - 1e-10


@dataclass(frozen=True)
class StackedData:
    """K responses on N areas.

    Attributes
    ----------
    responses : tuple of StandardisedData, length K
        Each response on its own standardised scale.
    covariance : ndarray, shape (N, K, K)
        Sampling covariance matrices on the standardised scale; 0 in rows and columns that are not observed.
    coupled : bool
        Whether any covariance between responses is not zero.
    common : bool
        Whether all responses have the same coefficients, for designs with the same columns.
    """

    responses: tuple[StandardisedData, ...]
    covariance: Vector
    coupled: bool
    common: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """N, K."""
        return self.covariance.shape[0], self.covariance.shape[1]

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        """Cells that enter the likelihood, shape (N, K)."""
        return np.column_stack([data.sampled for data in self.responses])

    @cached_property
    def y(self) -> Vector:
        """Standardised direct estimates, 0 where not observed, shape (N, K)."""
        return np.column_stack([np.where(data.sampled, data.y, 0.0) for data in self.responses])

    @cached_property
    def terms(self) -> tuple[slice, ...]:
        """Where each response's coefficients lie among all of them."""
        if self.common:
            return (slice(0, self.responses[0].x.shape[1]),) * len(self.responses)
        ends = np.cumsum([0] + [data.x.shape[1] for data in self.responses]).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @cached_property
    def design(self) -> Vector:
        """Design of all coefficients, shape (N, K, p): a response's row is zero but for its own coefficients."""
        out = np.zeros((*self.shape, self.terms[-1].stop))
        for k, (data, at) in enumerate(zip(self.responses, self.terms, strict=True)):
            out[:, k, at] = data.x
        return out

    @cached_property
    def precision(self) -> Vector:
        """Inverses of the sampling covariances on the observed cells, zero elsewhere, shape (N, K, K)."""
        missing = np.einsum("nk,kl->nkl", ~self.observed, np.eye(self.shape[1]))
        both = self.observed[:, :, None] & self.observed[:, None, :]
        return np.where(both, np.linalg.inv(self.covariance + missing), 0.0)

    @cached_property
    def covariance_root(self) -> Vector:
        """Cholesky factors of the sampling covariances, zero where not observed, shape (N, K, K)."""
        if not self.coupled:
            return np.sqrt(self.covariance)
        missing = ~self.observed
        full = self.covariance.copy()
        diagonal = np.arange(self.shape[1])
        full[:, diagonal, diagonal] += missing
        both = self.observed[:, :, None] * self.observed[:, None, :]
        return np.asarray(np.linalg.cholesky(full) * both, dtype=float)


def stack(responses: Sequence[StandardisedData], correlation: Vector | None = None) -> StackedData:
    """Put responses side by side.

    Parameters
    ----------
    responses : sequence of StandardisedData, length K
        The responses, all on the same areas.
    correlation : ndarray, shape (N, K, K), optional
        Sampling correlations between responses; none if not given. What stands in cells that are not observed does not
        count. A correlation has no unit, so it is the same on both scales.

    Returns
    -------
    StackedData
        The data.

    Raises
    ------
    VarianceProblem
        If the sampling covariance matrix of an area is not positive definite.
    """
    observed = np.column_stack([data.sampled for data in responses])
    sd = np.sqrt(np.column_stack([np.where(data.sampled, data.v, 0.0) for data in responses]))
    n, k = observed.shape
    if correlation is None:
        matrices = np.zeros((n, k, k))
        diagonal = np.arange(k)
        matrices[:, diagonal, diagonal] = sd**2
        return StackedData(tuple(responses), matrices, False)
    both = observed[:, :, None] & observed[:, None, :]
    clean = np.where(both, correlation, 0.0)
    clean[:, np.arange(k), np.arange(k)] = 1.0
    smallest = np.linalg.eigvalsh(clean)[:, 0]
    bad = np.flatnonzero(~(smallest > 1.0 - LARGEST_CORRELATION))
    if len(bad):
        raise VarianceProblem(
            f"The sampling covariances of {len(bad)} areas do not form a positive definite matrix with the variances: "
            f"rows {named((bad + 1).tolist())}. A covariance must be smaller than the product of the two standard "
            "errors."
        )
    off = clean * (1.0 - np.eye(k))
    return StackedData(tuple(responses), clean * sd[:, :, None] * sd[:, None, :], bool(np.any(off != 0.0)))


def stack_periods(cells: StandardisedData, periods: int) -> StackedData:
    """Take one response at several periods, standardised as one, apart into a response for each period.

    Parameters
    ----------
    cells : StandardisedData
        All cells, the periods of the first area first, N T of them.
    periods : int
        T.

    Returns
    -------
    StackedData
        T responses on N areas with common coefficients and uncorrelated sampling errors.
    """
    each = [slice(period, None, periods) for period in range(periods)]
    responses = [replace(cells, y=cells.y[at], v=cells.v[at], x=cells.x[at], sampled=cells.sampled[at]) for at in each]
    return replace(stack(responses), common=True)
