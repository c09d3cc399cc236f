"""What BARTSIMP is told before it sees data, and the numbers that follow once it does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from scipy import stats

from smallarea.errors import ModelProblem, PriorProblem, named
from smallarea.trees import TreePrior
from smallarea.trees.cuts import CutRule
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.likelihoods import LIKELIHOODS, Likelihood
from smallarea.unit_level.pc_prior import PcPrior, default_prior, paper_prior

FieldRoute = Literal["exact", "reduced", "mesh", "none"]

# Proposals of a range in a sweep: as many as cost about as much as the trees.
MOST_RANGE_MOVES, DIRECTIONS_A_MOVE = 8, 2600
PAPER_CUTS = 100
# On the scale of logits and logs: the sum of trees lies within so much of the centre at leaf_k prior standard
# deviations (odds, or rates, 20 times as large or small; Chipman's 3 for probits), and a field's standard deviation
# exceeds so much with probability 0.05 (malaria in Tanzania has some 1.8).
LINK_REACH, LINK_SD = 3.0, 2.0
OWN_ALPHA = 0.05


@dataclass(frozen=True)
class BartsimpSettings:
    """Model and sampler.

    Attributes
    ----------
    trees : TreePrior
        Prior of the trees and how they are proposed; ``TreePrior(trees=0)`` leaves kriging.
    field : {"exact", "reduced", "mesh", "none"}
        ``exact``: a Matérn field with dense correlations of the clusters. ``reduced``: the same with ``rank``
        eigenvectors, the other eigenvalues replaced by their mean. ``mesh``: the field on a mesh of ``mesh_nodes``
        (SPDE), for thousands of clusters. ``none``: plain BART.
    field_prior : PcPrior, optional
        Prior of range and standard deviation; by default from the size of the region and the spread of the outcome.
    rank : int
        Eigenvectors of the reduced field.
    mesh_nodes : int
        Most nodes of the mesh.
    range_points : int
        Ranges of the grid.
    range_bounds : tuple of float, optional
        Its ends, in the unit of the coordinates.
    cuts : int
        Most cuts of a covariate. The paper's 100 even ones seldom have one where a large step of the surface is, and
        clusters between the step and the nearest cut are then far off.
    cut_rule : {"even", "quantile"}
        Where they are.
    leaf_k : float
        The sum of trees lies within the spread of the outcome at ``leaf_k`` prior standard deviations.
    leaf_spread : {"observations", "clusters"}
        That spread: the range of single outcomes (the paper), or of cluster means, which is much narrower where
        clusters hold many observations, and keeps intervals from being too wide.
    error_df, error_quantile : float
        The error variance has a scaled inverse chi-squared prior with ``error_df`` degrees of freedom, scaled so that
        its root lies below the residual spread of least squares with probability ``error_quantile``.
    walks : int
        Updates of both standard deviations in a sweep; each costs O(n). Of normal outcomes only.
    range_moves : int, optional
        Proposals of another range in a sweep; each costs O(n) for each direction that it looks at, so the default is
        eight for up to 325 directions and fewer for more. Where outcomes are counted each costs a
        factorisation, as do walks, and this is the number of rounds of walks and ranges; two by default.
    likelihood : {"normal", "binomial", "negative_binomial"}
        Of the outcome, see :mod:`smallarea.unit_level.likelihoods`. Trees and field of counts are on the scale of
        logits or logs. Their prior is on that scale too: ``leaf_spread``, ``error_df`` and ``error_quantile`` are of
        normal outcomes only, and leaves hold one cluster or more (``TreePrior(min_leaf=1)``).
    own_sd0 : float
        ``P(sigma_e > own_sd0) = 0.05`` of outcomes that are counted, with an exponential density (penalised
        complexity: the base model has clusters that do not differ beyond trees and field).
    """

    trees: TreePrior = field(default_factory=TreePrior)
    field: FieldRoute = "exact"
    field_prior: PcPrior | None = None
    rank: int = 300
    mesh_nodes: int = 1000
    range_points: int = 40
    range_bounds: tuple[float, float] | None = None
    cuts: int = 1000
    cut_rule: CutRule = "even"
    leaf_k: float = 2.0
    leaf_spread: Literal["observations", "clusters"] = "observations"
    error_df: float = 3.0
    error_quantile: float = 0.9
    walks: int = 4
    range_moves: int | None = None
    likelihood: Likelihood = "normal"
    own_sd0: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not (self.leaf_k > 0.0 and self.error_df > 0.0 and 0.0 < self.error_quantile < 1.0):
            raise PriorProblem(
                "leaf_k and error_df must be positive and error_quantile between 0 and 1, not "
                f"{self.leaf_k}, {self.error_df} and {self.error_quantile}."
            )
        if self.walks < 1 or (self.range_moves or 1) < 1 or self.rank < 1:
            raise ModelProblem("walks, range_moves and rank must be at least 1.")
        if self.likelihood not in LIKELIHOODS:
            raise ModelProblem(f"There is no likelihood {self.likelihood!r}. Choose one of {named(LIKELIHOODS)}.")
        if self.likelihood != "normal":
            self._check_counted()

    def _check_counted(self) -> None:
        if self.field == "reduced" or self.leaf_spread != "observations" or self.trees.min_leaf != 1:
            raise ModelProblem(
                f"With the likelihood {self.likelihood!r} the field is exact, on a mesh, or none, leaf_spread is left "
                "out, and leaves hold at least one cluster: TreePrior(min_leaf=1)."
            )
        if not self.own_sd0 > 0.0:
            raise PriorProblem(f"own_sd0 must be positive, not {self.own_sd0}.")

    @property
    def own_rate(self) -> float:
        """Rate of the exponential prior of sigma_e where outcomes are counted."""
        return -math.log(OWN_ALPHA) / self.own_sd0

    def range_moves_of(self, directions: int) -> int:
        """Proposals of another range in a sweep that looks at so many directions of the field."""
        return self.range_moves or max(1, min(MOST_RANGE_MOVES, DIRECTIONS_A_MOVE // max(1, directions)))


def paper_settings(
    range0: float | None = None, sd0: float | None = None, *, field: FieldRoute = "exact"
) -> BartsimpSettings:
    """Return the settings of the paper: 20 trees, 100 even cuts, leaves of five observations, medians of the field.

    Parameters
    ----------
    range0, sd0 : float, optional
        Prior medians of range and standard deviation of the field; those of the paper's simulations on the unit square
        (2.4 and 0.5) by default.
    field : {"exact", "reduced", "none"}
        See :class:`BartsimpSettings`.

    Returns
    -------
    BartsimpSettings
    """
    standard = paper_prior()
    prior = paper_prior(standard.range0 if range0 is None else range0, standard.sd0 if sd0 is None else sd0)
    return BartsimpSettings(field=field, field_prior=prior, cuts=PAPER_CUTS)


@dataclass(frozen=True)
class Scales:
    """Numbers of the priors that come from data.

    Attributes
    ----------
    leaf : float
        tau, the prior standard deviation of a leaf.
    error_start : float
        Residual spread of least squares.
    nu_lambda : float
        nu lambda of the error variance ~ nu lambda / chi2(nu). 0 where outcomes are counted, and error_start is then
        the median of the prior of sigma_e.
    field_prior : PcPrior
        Prior of the field.
    """

    leaf: float
    error_start: float
    nu_lambda: float
    field_prior: PcPrior


def scales(clusters: Clusters, settings: BartsimpSettings) -> Scales:
    """Prior scales for these data (Chipman, George and McCulloch 2010, section 2.2).

    Parameters
    ----------
    clusters : Clusters
        The data.
    settings : BartsimpSettings
        The settings.

    Returns
    -------
    Scales

    Raises
    ------
    ModelProblem
        If the outcome does not vary.
    """
    if settings.likelihood != "normal":
        return _link_scales(clusters, settings)
    wide = settings.leaf_spread == "observations"
    spread = clusters.largest - clusters.smallest if wide else float(clusters.means.max() - clusters.means.min())
    if not spread > 0.0:
        raise ModelProblem("The outcome does not vary, so there is nothing to fit.")
    error = clusters.residual_spread()
    nu = settings.error_df
    prior = settings.field_prior
    if prior is None:
        prior = default_prior(clusters.coordinates, clusters.spread) if settings.field != "none" else paper_prior()
    return Scales(
        leaf=spread / (2.0 * settings.leaf_k * math.sqrt(max(settings.trees.trees, 1))),
        error_start=error,
        nu_lambda=error**2 * float(stats.chi2.ppf(1.0 - settings.error_quantile, nu)),
        field_prior=prior,
    )


def _link_scales(clusters: Clusters, settings: BartsimpSettings) -> Scales:
    """Scales of counted outcomes, which owe nothing to the data but the size of the region."""
    prior = settings.field_prior
    if prior is None:
        prior = default_prior(clusters.coordinates, LINK_SD) if settings.field != "none" else paper_prior()
    return Scales(
        leaf=LINK_REACH / (settings.leaf_k * math.sqrt(max(settings.trees.trees, 1))),
        error_start=math.log(2.0) / settings.own_rate,
        nu_lambda=0.0,
        field_prior=prior,
    )
