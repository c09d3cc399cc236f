"""Gibbs sampler of the multivariate normal model: missing cells, latent scores, means, areas, covariances in turn.

``y_i = m_a(i) + Gamma' x_i + e_i``, ``e_i ~ N(0, Sigma)``, ``m_a ~ N(mu, Psi)``, ``mu ~ N(0, I)``; without areas every
m_a is mu. The missing cells of a row are drawn together from their exact conditional distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ndtr, ndtri

from smallarea.survey.imputation.encoded import EncodedTable
from smallarea.survey.imputation.normal_priors import draw_area_covariance, draw_covariance
from smallarea.survey.imputation.pattern_groups import PatternGroups, draw_missing, group_patterns

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """One draw of everything but the cells.

    Attributes
    ----------
    mean : ndarray, shape (p,)
        mu.
    slopes : ndarray, shape (q, p)
        Gamma, of the covariates.
    covariance : ndarray, shape (p, p)
        Sigma, within areas.
    area_means : ndarray, shape (A, p)
        m; one row, mu, without areas.
    area_covariance : ndarray, shape (p, p)
        Psi; zeros without areas.
    area_rates : ndarray, shape (p,)
        Of the prior of Psi.
    """

    mean: Vector
    slopes: Vector
    covariance: Vector
    area_means: Vector
    area_covariance: Vector
    area_rates: Vector


@dataclass(frozen=True)
class NormalModel:
    """The model of one table.

    Attributes
    ----------
    encoded : EncodedTable
        The table.
    groups : PatternGroups
        Its gaps.
    shape : float
        Of the LKJ prior.
    scale : float
        Of the half-normal priors.
    """

    encoded: EncodedTable
    groups: PatternGroups
    shape: float
    scale: float

    def rows(self, which: NDArray[np.int64]) -> NormalModel:
        """Return the model of some of the rows."""
        return normal_model(self.encoded.rows(which), shape=self.shape, scale=self.scale)

    @property
    def has_areas(self) -> bool:
        """Whether there are area effects: at least two areas."""
        return len(self.encoded.context.areas) > 1

    @cached_property
    def _categories(self) -> list[tuple[int, NDArray[np.int64], Vector, Vector]]:
        """Latent columns with the rows that answered and the ends of their intervals."""
        low, high = self.encoded.intervals()
        found = []
        for place, column in enumerate(self.encoded.latent):
            rows = np.flatnonzero(~np.isnan(self.encoded.values[:, column]))
            found.append((int(column), rows, low[rows, place], high[rows, place]))
        return found

    @cached_property
    def _covariate_inverse(self) -> tuple[Vector, Vector]:
        """Inverse of X'X, shape (q, q), and a root of it."""
        x = self.encoded.context.covariates
        inverse = np.asarray(np.linalg.inv(x.T @ x), dtype=float)
        return inverse, np.asarray(np.linalg.cholesky(inverse), dtype=float)

    @cached_property
    def _membership(self) -> csr_array:
        """Areas by rows, ones where a row lies in an area."""
        area = self.encoded.context.area
        n = len(area)
        count = max(len(self.encoded.context.areas), 1)
        return csr_array((np.ones(n), (area, np.arange(n))), shape=(count, n))

    @cached_property
    def _sizes(self) -> Vector:
        return np.asarray(self._membership.sum(axis=1)).ravel()

    def centre(self, parameters: Parameters) -> Vector:
        """Means of the rows given everything, shape (n, p)."""
        means = parameters.area_means
        rows = means[self.encoded.context.area] if self.has_areas else np.broadcast_to(means[0], self.encoded.shape)
        return rows + self.encoded.context.covariates @ parameters.slopes if len(parameters.slopes) else rows

    def fill(self, table: Vector, parameters: Parameters, rng: np.random.Generator, sweeps: int = 1) -> Vector:
        """Draw the gaps, and the scores behind categories, given the parameters.

        Parameters
        ----------
        table : ndarray, shape (n, p)
            Observed cells and, where columns are latent, their last scores.
        parameters : Parameters
            A draw.
        rng : numpy.random.Generator
            Source of randomness.
        sweeps : int
            How often gaps and scores take turns. Without latent columns one draw is exact.

        Returns
        -------
        ndarray, shape (n, p)
            A new table.
        """
        centre = self.centre(parameters)
        deviations = np.ascontiguousarray(table - centre)
        precision = np.asarray(np.linalg.inv(parameters.covariance), dtype=float)
        for _ in range(sweeps if len(self.encoded.latent) else 1):
            self._draw_scores(deviations, centre, precision, rng)
            draw_missing(self.groups, deviations, precision, rng.standard_normal(self.groups.n_cells))
        return deviations + centre

    def expectation(self, parameters: Parameters) -> Callable[[Vector, int], Vector]:
        """Return a function of a complete table (n, p) and a column: its mean given all other columns, shape (n,)."""
        centre = self.centre(parameters)
        precision = np.asarray(np.linalg.inv(parameters.covariance), dtype=float)

        def expect(table: Vector, column: int) -> Vector:
            pull: Vector = (table - centre) @ precision[:, column] / precision[column, column]
            return table[:, column] - pull

        return expect

    def _draw_scores(self, deviations: Vector, centre: Vector, precision: Vector, rng: np.random.Generator) -> None:
        """Draw the scores of observed categories, column by column, each given all other columns."""
        for column, rows, low, high in self._categories:
            own = precision[column, column]
            # A product over all rows is cheaper than a copy of most of them.
            mean = deviations[rows, column] - (deviations @ precision[:, column])[rows] / own
            spread = 1.0 / np.sqrt(own)
            offset = centre[rows, column] + mean
            ends = (low - offset) / spread, (high - offset) / spread
            deviations[rows, column] = mean + spread * truncated_normal(*ends, rng.random(len(rows)))

    def draw_parameters(
        self, table: Vector, parameters: Parameters, rng: np.random.Generator
    ) -> tuple[Parameters, float]:
        """Draw the parameters given a complete table; also return the share of accepted proposals."""
        x = self.encoded.context.covariates
        if self.has_areas:
            parameters = self._draw_areas(table - x @ parameters.slopes, parameters, rng)
            rest = table - parameters.area_means[self.encoded.context.area]
        else:
            parameters = self._draw_mean(table, parameters, rng)
            rest = table - parameters.mean
        if x.shape[1]:
            parameters = self._draw_slopes(rest, parameters, rng)
            rest = rest - x @ parameters.slopes
        covariance, accepted = draw_covariance(
            rest.T @ rest, len(rest), parameters.covariance, rng, shape=self.shape, scale=self.scale
        )
        return replace(parameters, covariance=covariance), accepted

    def _draw_mean(self, table: Vector, parameters: Parameters, rng: np.random.Generator) -> Parameters:
        """Covariates are centred, so that their slopes tell nothing of the mean."""
        n, p = table.shape
        precision = np.linalg.inv(parameters.covariance)
        mean = _normal(n * precision + np.eye(p), n * precision @ table.mean(axis=0), rng)
        return replace(parameters, mean=mean, area_means=mean[None])

    def _draw_slopes(self, rest: Vector, parameters: Parameters, rng: np.random.Generator) -> Parameters:
        inverse, root = self._covariate_inverse
        centre = inverse @ (self.encoded.context.covariates.T @ rest)
        noise = rng.standard_normal(centre.shape)
        return replace(parameters, slopes=centre + root @ noise @ np.linalg.cholesky(parameters.covariance).T)

    def _draw_areas(self, rest: Vector, parameters: Parameters, rng: np.random.Generator) -> Parameters:
        """Draw area means, their mean and their covariance matrix.

        With Sigma = L L' and ``L^-1 Psi L'^-1 = V diag(d) V'`` the coordinates ``V' L^-1 y`` are independent within and
        between areas, so that all areas are drawn at once.
        """
        sums = self._membership @ rest
        lower = np.linalg.cholesky(parameters.covariance)
        solved = np.linalg.solve(lower, parameters.area_covariance)
        ratios, vectors = np.linalg.eigh(_symmetric(np.linalg.solve(lower, solved.T)))
        turn = np.linalg.solve(lower, np.eye(len(lower))).T @ vectors
        back = lower @ vectors
        prior = 1.0 / np.maximum(ratios, np.finfo(float).tiny)
        precision = self._sizes[:, None] + prior
        centre = (sums @ turn + (parameters.mean @ turn) * prior) / precision
        drawn = centre + rng.standard_normal(centre.shape) / np.sqrt(precision)
        area_means = drawn @ back.T
        between = np.linalg.inv(parameters.area_covariance)
        count = len(area_means)
        mean = _normal(count * between + np.eye(len(between)), between @ area_means.sum(axis=0), rng)
        covariance, rates = draw_area_covariance(area_means - mean, parameters.area_rates, rng)
        return replace(parameters, mean=mean, area_means=area_means, area_covariance=covariance, area_rates=rates)

    def rescale(self, table: Vector, parameters: Parameters) -> tuple[Vector, Parameters]:
        """Give the scores behind yes/no answers the variance 1 within areas, about their thresholds.

        The answers say nothing of that variance, and it would wander. Scores and parameters are stretched together,
        which leaves the likelihood alone (parameter expansion, Liu and Wu 1999).
        """
        free = self.encoded.free_scale
        if not len(free):
            return table, parameters
        cuts = np.zeros(table.shape[1])
        stretch = np.ones(table.shape[1])
        cuts[free] = [self.encoded.columns[place].margin.cuts[0] for place in free]
        stretch[free] = 1.0 / np.sqrt(np.diag(parameters.covariance)[free])
        both = np.outer(stretch, stretch)
        return cuts + (table - cuts) * stretch, Parameters(
            cuts + (parameters.mean - cuts) * stretch,
            parameters.slopes * stretch,
            parameters.covariance * both,
            cuts + (parameters.area_means - cuts) * stretch,
            parameters.area_covariance * both,
            parameters.area_rates / stretch**2,
        )


def normal_model(encoded: EncodedTable, *, shape: float, scale: float) -> NormalModel:
    """Make the model of a table: every cell without a value is a gap, also those that are not imputed."""
    return NormalModel(encoded, group_patterns(np.isnan(encoded.values)), shape, scale)


def truncated_normal(low: Vector, high: Vector, uniforms: Vector) -> Vector:
    """Return standard normal numbers between two ends, by the inverse of the distribution function.

    Intervals above zero are mirrored, because the distribution function keeps its digits only in the lower tail.

    Parameters
    ----------
    low, high : ndarray, shape (n,)
        Ends, may be infinite.
    uniforms : ndarray, shape (n,)
        Numbers between 0 and 1.

    Returns
    -------
    ndarray, shape (n,)
    """
    mirrored = low > 0.0
    left, right = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    start = ndtr(left)
    drawn = np.clip(ndtri(start + uniforms * (ndtr(right) - start)), left, right)
    return np.where(mirrored, -drawn, drawn)


def _normal(precision: Vector, weighted: Vector, rng: np.random.Generator) -> Vector:
    """Draw from the normal distribution with a precision matrix and precision times mean."""
    lower = np.linalg.cholesky(precision)
    half = np.linalg.solve(lower, weighted) + rng.standard_normal(len(weighted))
    return np.linalg.solve(lower.T, half)


def _symmetric(matrix: Vector) -> Vector:
    return 0.5 * (matrix + matrix.T)
