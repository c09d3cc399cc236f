"""The collapsed model: coefficients and random effects integrated out, given the hyperparameters.

With ``y = x beta + phi + delta + e`` on the standardised scale, ``S = V + Q^{-1}`` on the sampled areas and ``P = Q +
V^{-1}``::

    a' S^{-1} b = a' V^{-1} b - (V^{-1} a)' P^{-1} (V^{-1} b)
    log|S|      = log|V| - log|Q| + log|P|

where ``V = diag(v_i + sd_delta^2)`` and ``V^{-1} = 0`` where an area is not sampled. beta has a flat prior, so the
restricted likelihood is the marginal one. The same factor of P gives exact draws of beta, phi and delta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from smallarea.area_level.data import StandardisedData
from smallarea.errors import GraphProblem, ModelProblem
from smallarea.gmrf import CarPrecision, Factor, Factoriser, LerouxPrecision, Precision, factoriser

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph

Vector = NDArray[np.float64]
Hyperparameters = Mapping[str, float]

COLLINEARITY = 1e-13


@dataclass(frozen=True)
class SpatialField:
    """The spatial effect phi: its precision and the areas on which it lives (all but islands for a CAR).

    Attributes
    ----------
    precision : Precision
        Unit-scale precision on the field's nodes.
    nodes : ndarray of int, shape (M,)
        Area index of each node.
    """

    precision: Precision
    nodes: NDArray[np.int64]


def spatial_field(random_effect: str, iid_part: bool, graph: AreaGraph) -> SpatialField:
    """Set up phi on a graph.

    Parameters
    ----------
    random_effect : {'car', 'leroux'}
        Which precision.
    iid_part : bool
        Whether there is an independent effect as well.
    graph : AreaGraph
        The adjacency graph.

    Returns
    -------
    SpatialField
        A CAR leaves islands out (there phi = 0); a Leroux effect keeps every area.

    Raises
    ------
    GraphProblem
        If the graph has no edge at all, or islands would be left without any random effect.
    """
    if len(graph.edges) == 0:
        raise GraphProblem(
            "The adjacency graph has no edge: no two areas are neighbours. Check the polygons (smallarea areas check), "
            "link islands to their nearest area (islands 'nearest'), or choose random_effect 'iid'."
        )
    edges = np.asarray(graph.edges, dtype=np.int64)
    if random_effect == "leroux":
        return SpatialField(LerouxPrecision(len(graph.ids), edges), np.arange(len(graph.ids)))
    linked = np.asarray(graph.degrees) > 0
    if not iid_part and not linked.all():
        raise GraphProblem(
            f"Areas without neighbours ({', '.join(graph.islands[:5])}) would have no random effect in a CAR "
            "without an iid part. Keep the iid part, link islands to their nearest area (islands 'nearest'), or "
            "choose 'leroux'."
        )
    index = np.cumsum(linked) - 1
    return SpatialField(CarPrecision(int(linked.sum()), index[edges]), np.flatnonzero(linked))


@dataclass(frozen=True)
class Conditional:
    """Everything that is Gaussian once the hyperparameters are given.

    Attributes
    ----------
    log_likelihood : float
        Log density of y with beta integrated over its flat prior.
    beta : ndarray, shape (p,)
        Conditional mean of the coefficients.
    beta_factor : ndarray, shape (p, p)
        Lower Cholesky factor of their precision.
    phi : ndarray, shape (N,)
        Conditional mean of the spatial effect.
    phi_slope : ndarray, shape (N, p)
        ``E[phi | beta] = phi + phi_slope (beta_hat - beta)``.
    factor : Factor or None
        Factor of P on the field's nodes; None without a field. Valid until the model is conditioned again.
    """

    hyperparameters: Hyperparameters
    log_likelihood: float
    beta: Vector
    beta_factor: Vector
    phi: Vector
    phi_slope: Vector
    factor: Factor | None


class CollapsedModel:
    """The collapsed model of one data set, for one thread.

    Parameters
    ----------
    data : StandardisedData
        The data.
    field : SpatialField or None
        The spatial effect, None for the iid model.
    iid_part : bool
        Whether delta is in the model.
    solver : str
        Backend, see :func:`smallarea.gmrf.factoriser`.
    """

    def __init__(
        self, data: StandardisedData, field: SpatialField | None, iid_part: bool, solver: str = "auto"
    ) -> None:
        self.data = data
        self.field = field
        self.iid_part = iid_part
        self._solver_name = solver
        self._factoriser: Factoriser | None = factoriser(field.precision.pattern, solver) if field else None
        y = np.where(data.sampled, data.y, 0.0)
        self._columns = np.column_stack([data.x, y])
        self._v = np.where(data.sampled, data.v, 1.0)

    @cached_property
    def without_data(self) -> NDArray[np.bool_]:
        """Areas of the field in whose part of the map nothing was sampled, shape (N,)."""
        far = np.zeros(len(self.data.y), dtype=bool)
        if self.field is not None:
            labels = self.field.precision.component_labels
            sampled = np.bincount(labels, weights=self.data.sampled[self.field.nodes])
            far[self.field.nodes] = sampled[labels] == 0
        return far

    def clone(self) -> CollapsedModel:
        """Return the same model with work space of its own, for another thread."""
        return CollapsedModel(self.data, self.field, self.iid_part, self._solver_name)

    def _iid_variance(self, hyper: Hyperparameters) -> float:
        return hyper["sd_delta"] ** 2 if self.iid_part else 0.0

    def log_likelihood(self, hyper: Hyperparameters) -> float:
        """Log density of y given the hyperparameters, beta integrated over its flat prior.

        Parameters
        ----------
        hyper : mapping
            ``sd_phi``, ``rho``, ``sd_delta``, as far as the model has them.

        Returns
        -------
        float
            The log density, on the standardised scale.
        """
        return self.condition(hyper).log_likelihood

    def condition(self, hyper: Hyperparameters) -> Conditional:
        """Compute the Gaussian conditional given the hyperparameters.

        Parameters
        ----------
        hyper : mapping
            ``sd_phi``, ``rho``, ``sd_delta``, as far as the model has them.

        Returns
        -------
        Conditional
            Its moments. The factor in it is valid until the next call.

        Raises
        ------
        ModelProblem
            If a matrix is not positive definite.
        """
        data = self.data
        weight = np.where(data.sampled, 1.0 / (self._v + self._iid_variance(hyper)), 0.0)
        weighted = weight[:, None] * self._columns
        logdet = -float(np.sum(np.log(weight[data.sampled])))
        solved = np.zeros_like(self._columns)
        factor = None
        if self.field is not None and self._factoriser is not None:
            precision, nodes = self.field.precision, self.field.nodes
            scale = hyper["sd_phi"] ** -2
            rho = hyper["rho"]
            factor = self._factoriser.factor(
                scale * precision.diagonal(rho) + weight[nodes], scale * precision.off_diagonal(rho)
            )
            solved[nodes] = factor.solve(weighted[nodes])
            logdet += factor.logdet - precision.logdet(rho) - len(nodes) * math.log(scale)
        # S^{-1} b = V^{-1} (b - P^{-1} V^{-1} b): subtracting first keeps digits when variances are tiny.
        inverse_times = weight[:, None] * (self._columns - solved)
        p = data.x.shape[1]
        beta, lower = _generalised_least_squares(self._columns.T @ inverse_times, p)
        residual = self._columns[:, p] - data.x @ beta
        quadratic = float(residual @ (inverse_times[:, p] - inverse_times[:, :p] @ beta))
        log_likelihood = -0.5 * (
            (int(data.sampled.sum()) - p) * math.log(2.0 * math.pi)
            + logdet
            + 2.0 * float(np.sum(np.log(np.diag(lower))))
            + quadratic
        )
        slope = solved[:, :p]
        return Conditional(hyper, log_likelihood, beta, lower, solved[:, p] - slope @ beta, slope, factor)

    def _shrink(self, hyper: Hyperparameters) -> tuple[Vector, Vector]:
        """Weight of y in E[delta | rest] and the conditional variance of delta, shapes (N,)."""
        iid = self._iid_variance(hyper)
        weight = np.where(self.data.sampled, iid / (iid + self._v), 0.0)
        return weight, np.where(self.data.sampled, weight * self._v, iid)

    def mean(self, given: Conditional) -> tuple[Vector, Vector]:
        """Conditional mean of theta and of its regression part.

        Parameters
        ----------
        given : Conditional
            The conditional.

        Returns
        -------
        theta, synthetic : ndarray, shape (N,)
            Means of theta and of x'beta.
        """
        shrink, _ = self._shrink(given.hyperparameters)
        synthetic = self.data.x @ given.beta
        smooth = synthetic + given.phi
        y = np.where(self.data.sampled, self.data.y, smooth)
        return smooth + shrink * (y - smooth), synthetic

    def variance(self, given: Conditional) -> tuple[Vector, Vector]:
        """Conditional variance of theta, with and without the uncertainty of beta.

        Parameters
        ----------
        given : Conditional
            The conditional, straight from :meth:`condition`.

        Returns
        -------
        total, known_beta : ndarray, shape (N,)
            Var(theta | y, hyperparameters) and Var(theta | y, beta, hyperparameters).
        """
        shrink, rest = self._shrink(given.hyperparameters)
        field = np.zeros(len(self.data.y))
        if given.factor is not None and self.field is not None:
            field[self.field.nodes] = given.factor.diag_inverse()
        reach = scipy.linalg.solve_triangular(given.beta_factor, (self.data.x - given.phi_slope).T, lower=True)
        known = rest + (1.0 - shrink) ** 2 * field
        return known + (1.0 - shrink) ** 2 * np.sum(reach**2, axis=0), known

    def draw(self, given: Conditional, rng: np.random.Generator) -> tuple[Vector, Vector, Vector]:
        """Draw beta, phi and theta exactly from their joint conditional.

        Parameters
        ----------
        given : Conditional
            The conditional, straight from :meth:`condition`.
        rng : numpy.random.Generator
            Source of randomness; always the same number of normals is taken.

        Returns
        -------
        beta : ndarray, shape (p,)
            Coefficients.
        phi : ndarray, shape (N,)
            Spatial effect; zero where there is none.
        theta : ndarray, shape (N,)
            Area quantities.
        """
        data = self.data
        step = scipy.linalg.solve_triangular(
            given.beta_factor, rng.standard_normal(len(given.beta)), lower=True, trans="T"
        )
        beta = given.beta + step
        phi = given.phi - given.phi_slope @ step
        if given.factor is not None and self.field is not None:
            phi[self.field.nodes] += given.factor.half_solve(rng.standard_normal(len(self.field.nodes)))
        smooth = data.x @ beta + phi
        shrink, rest = self._shrink(given.hyperparameters)
        y = np.where(data.sampled, data.y, smooth)
        theta = smooth + shrink * (y - smooth) + np.sqrt(rest) * rng.standard_normal(len(smooth))
        return beta, phi, theta


def _generalised_least_squares(gram: Vector, p: int) -> tuple[Vector, Vector]:
    """Coefficients and the Cholesky factor of their precision from the Gram matrix of [x, y] under S^{-1}."""
    lower, failed = scipy.linalg.lapack.dpotrf(gram[:p, :p], lower=1, clean=1)
    # A pivot that is rounding of what was there means that earlier columns explain this one.
    if failed or np.any(np.diag(lower) ** 2 <= COLLINEARITY * np.diag(gram)[:p]):
        raise ModelProblem("The covariates are collinear once weighted by the sampling variances. Leave some out.")
    return scipy.linalg.cho_solve((lower, True), gram[:p, p]), lower
