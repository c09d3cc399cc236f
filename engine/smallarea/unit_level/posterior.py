"""Draws from BARTSIMP's posterior: hyperparameters, forests, the field at clusters; predictions at new points."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.convergence import convergence
from smallarea.errors import ModelProblem
from smallarea.gmrf.mesh import Mesh
from smallarea.trees import Cuts, ForestTrace
from smallarea.trees.specification import KINDS as TREE_KINDS
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.likelihoods import Likelihood, expected, link
from smallarea.unit_level.position_kernel import evaluate_rows
from smallarea.unit_level.settings import BartsimpSettings, Scales

Vector = NDArray[np.float64]
Positions = NDArray[np.int64]

# Clusters at which the convergence of trees plus field is looked at.
TEST_CLUSTERS = 200
# What is proposed and accepted or not.
KINDS = (*TREE_KINDS, "sweep")


@dataclass(frozen=True)
class Diagnostics:
    """How the chains went.

    Attributes
    ----------
    r_hat, ess : dict of str to float
        Of ``sigma_e``, ``range`` and ``sigma_m`` (the latter two with a field only). NaN if one did not move.
    f_r_hat, f_ess : ndarray, shape (t,)
        Of trees plus field at up to 200 clusters.
    acceptance : dict of str to float
        Share of proposals accepted by kind of move, after the warm-up; of whole sweeps where these are proposals.
    range_resolved : bool
        Whether the posterior standard deviation of log range is at least half the distance of the grid, so that the
        grid does not show.
    at_bounds : float
        Share of draws with the range at an end of the grid.
    rank_error : dict of str to float
        How far a reduced field is from the exact one, see :func:`smallarea.unit_level.rank_error.rank_error`; empty for
        other fields.
    """

    r_hat: dict[str, float]
    ess: dict[str, float]
    f_r_hat: Vector
    f_ess: Vector
    acceptance: dict[str, float]
    range_resolved: bool
    at_bounds: float
    rank_error: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def empty(cls) -> Diagnostics:
        """Nothing looked at yet."""
        return cls({}, {}, np.empty(0), np.empty(0), {}, True, 0.0)

    @classmethod
    def of(cls, posterior: BartsimpPosterior, counts: NDArray[np.int64]) -> Diagnostics:
        """Look at a posterior.

        Parameters
        ----------
        posterior : BartsimpPosterior
            The draws.
        counts : ndarray of int, shape (kinds, 2)
            Proposals made and accepted, of trees and of whole sweeps.

        Returns
        -------
        Diagnostics
        """
        named = {"sigma_e": posterior.sigma_e}
        has_field = len(posterior.ranges) > 1
        if has_field:
            named |= {"range": posterior.range, "sigma_m": posterior.sigma_m}
        r_hat, ess = convergence(np.stack(list(named.values()), axis=2))
        n = posterior.clusters.n
        which = np.unique(np.linspace(0, n - 1, min(n, TEST_CLUSTERS)).round().astype(int))
        surface = posterior.trees_at(posterior.clusters.covariates[which]) + posterior.field_at_clusters(which)
        f_r_hat, f_ess = convergence(surface.reshape(*posterior.sigma_e.shape, len(which)))
        step = np.log(posterior.ranges[1] / posterior.ranges[0]) if has_field else 0.0
        ends = (posterior.range_at == 0) | (posterior.range_at == len(posterior.ranges) - 1)
        return cls(
            dict(zip(named, r_hat.tolist(), strict=True)),
            dict(zip(named, ess.tolist(), strict=True)),
            f_r_hat,
            f_ess,
            {kind: float(a / max(m, 1)) for kind, (m, a) in zip(KINDS, counts, strict=True) if m or kind in TREE_KINDS},
            bool(np.std(np.log(posterior.range)) >= 0.5 * step),
            float(ends.mean()) if has_field else 0.0,
        )


@dataclass(frozen=True)
class Prediction:
    """Draws at points, in the unit of the outcome.

    Attributes
    ----------
    trees : ndarray, shape (S, P)
        Sum of trees plus the mean of the outcome; of its logit or log where outcomes are counted.
    field : ndarray, shape (S, P)
        Field on the same scale, drawn jointly for all points.
    sigma_e : ndarray, shape (S,)
        How clusters differ beyond that.
    likelihood : {"normal", "binomial", "negative_binomial"}
        Of the outcome.
    """

    trees: Vector
    field: Vector
    sigma_e: Vector
    likelihood: Likelihood = "normal"

    @property
    def linear(self) -> Vector:
        """Trees plus field, shape (S, P)."""
        return self.trees + self.field

    @property
    def total(self) -> Vector:
        """The expected outcome, share or rate at each point, shape (S, P)."""
        return expected(self.linear, self.sigma_e, self.likelihood)


@dataclass(frozen=True)
class BartsimpPosterior:
    """Posterior draws; those of chain c are number ``c * S + s``.

    Attributes
    ----------
    clusters : Clusters
        The data.
    settings : BartsimpSettings
        Model and sampler.
    scales : Scales
        Prior scales.
    cuts : Cuts
        Cut points.
    ranges : ndarray, shape (G,)
        The grid of ranges; of length 1 without a field.
    forest : ForestTrace
        Trees of all C * S draws.
    sigma_e, sigma_m : ndarray, shape (C, S)
        Standard deviations of error and field; for sigma_e of counted outcomes see
        :mod:`smallarea.unit_level.likelihoods`.
    range_at : ndarray of int, shape (C, S)
        Position of the range in the grid.
    field : ndarray, shape (C * S, n) or (C * S, m)
        Field at the clusters, or at the nodes of the mesh if there is one; shape (C * S, 0) without a field.
    diagnostics : Diagnostics
        How the chains went.
    mesh : Mesh, optional
        Where the field lives; None if it is known at the clusters.
    positions : ndarray of int16, shape (C * S, n), or None
        Candidate of each cluster in each draw, counted from 0 in its cluster; None if places are exact.
    """

    clusters: Clusters
    settings: BartsimpSettings
    scales: Scales
    cuts: Cuts
    ranges: Vector
    forest: ForestTrace
    sigma_e: Vector
    sigma_m: Vector
    range_at: Positions
    field: Vector
    diagnostics: Diagnostics
    mesh: Mesh | None = None
    positions: NDArray[np.int16] | None = None

    @property
    def draws(self) -> int:
        """Draws of all chains."""
        return int(self.sigma_e.size)

    @property
    def centre(self) -> float:
        """Mean of the outcome, or its logit or log where outcomes are counted: what trees and field are added to."""
        return link(self.clusters.mean, self.settings.likelihood)

    def expected(self, linear: Vector, draws: Positions) -> Vector:
        """Return expected outcomes of linear predictors (S, P) in draws (S,), see :func:`likelihoods.expected`."""
        return expected(linear, self.sigma_e.ravel()[draws], self.settings.likelihood)

    @property
    def range(self) -> Vector:
        """Range of the field, shape (C, S)."""
        return self.ranges[self.range_at]

    def trees_at(self, covariates: Vector, draws: Positions | None = None) -> Vector:
        """Sum of the trees, without the outcome's mean.

        Parameters
        ----------
        covariates : ndarray, shape (P, p)
            Covariates of the points.
        draws : ndarray of int, optional
            Which draws; all by default.

        Returns
        -------
        ndarray, shape (S, P)
        """
        which = np.arange(self.draws) if draws is None else np.asarray(draws, np.int64)
        bins = self.cuts.bins(covariates)
        if not self.settings.trees.trees:
            return np.zeros((len(which), len(bins)))
        return self.forest.evaluate(bins, which)

    def trees_at_clusters(self, which: Positions | None = None, draws: Positions | None = None) -> Vector:
        """Sum of the trees where each draw has the clusters, without the outcome's mean.

        Parameters
        ----------
        which : ndarray of int, optional
            Which clusters; all by default.
        draws : ndarray of int, optional
            Which draws; all by default.

        Returns
        -------
        ndarray, shape (S, clusters)
        """
        clusters = np.arange(self.clusters.n) if which is None else which
        found = self.clusters.candidates
        if found is None or self.positions is None:
            return self.trees_at(self.clusters.covariates[clusters], draws)
        some = np.arange(self.draws) if draws is None else np.asarray(draws, np.int64)
        rows = self.positions[np.ix_(some, clusters)].astype(np.int64) + found.starts[clusters]
        return self.trees_where(found.covariates, rows, some)

    def trees_where(self, covariates: Vector, rows: Positions, draws: Positions) -> Vector:
        """Sum of the trees at points that differ from draw to draw, without the outcome's mean.

        Parameters
        ----------
        covariates : ndarray, shape (m, p)
            Covariates of points.
        rows : ndarray of int, shape (S, P)
            Which of them each draw is evaluated at.
        draws : ndarray of int, shape (S,)
            Which draws.

        Returns
        -------
        ndarray, shape (S, P)
        """
        out = np.zeros(rows.shape)
        f = self.forest
        if f.trees:
            room = [np.zeros(int(np.diff(f.starts).max()), np.int64) for _ in range(3)]
            bins = self.cuts.bins(covariates)
            evaluate_rows(f.variables, f.cuts, f.starts, f.values, f.trees, bins, draws, rows, out, *room)
        return out

    def field_at_clusters(self, which: Positions) -> Vector:
        """Field at some clusters, shape (C * S, clusters)."""
        if len(self.ranges) == 1:
            return np.zeros((self.draws, len(which)))
        if self.mesh is None:
            return self.field[:, which]
        return np.asarray((self.mesh.projector(self.clusters.coordinates[which]) @ self.field.T).T)

    def thinned(self, count: int | None) -> Positions:
        """Pick at most ``count`` draws, evenly over all chains.

        Parameters
        ----------
        count : int or None
            None for all.

        Returns
        -------
        ndarray of int
        """
        if count is None or count >= self.draws:
            return np.arange(self.draws)
        if count < 1:
            raise ModelProblem(f"Ask for at least one draw, not {count}.")
        return np.unique(np.linspace(0, self.draws - 1, count).round().astype(np.int64))

    def predict(self, points: Vector, covariates: Vector, *, draws: int | None = None, seed: int = 0) -> Prediction:
        """Draw trees and field at points.

        The field is drawn from its joint conditional distribution at all points given its draw at the clusters, not
        replaced by a mean (its uncertainty belongs to the prediction).

        Parameters
        ----------
        points : ndarray, shape (P, 2)
            Coordinates, in the system and unit of the clusters.
        covariates : ndarray, shape (P, p)
            Covariates in the order of the clusters'.
        draws : int, optional
            Use at most so many draws, evenly chosen.
        seed : int
            Of the field's conditional draws; same seed, same prediction.

        Returns
        -------
        Prediction
        """
        from smallarea.unit_level.surface import field_draws_of

        which = self.thinned(draws)
        trees = self.trees_at(covariates, which) + self.centre
        field = field_draws_of(self, points, which, seed)
        drawn = np.zeros(trees.shape) if field is None else field.at(points)
        return Prediction(trees, drawn, self.sigma_e.ravel()[which], self.settings.likelihood)
