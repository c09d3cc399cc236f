"""What the model is told before it sees data, and the numbers that follow once it does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.data import AreaLevelData, standardise
from smallarea.area_level.eblup import fit_eblup
from smallarea.area_level.priors import PC, Exponential, Fixed, HalfCauchy, HalfNormal, HalfStudentT, Prior, Uniform
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_trees.effect_kernel import EXPONENTIAL, FIXED, HALF_NORMAL, HALF_T, UNIFORM
from smallarea.errors import ModelProblem, PriorProblem
from smallarea.trees import TreePrior

Vector = NDArray[np.float64]

# Updates in a sweep: of sd, which cost next to nothing; of the grid, as many as cost about as much as the trees.
WALKS, MOST_JUMPS, AREAS_A_JUMP = 4, 4, 1000


@dataclass(frozen=True)
class AreaTreesSettings:
    """Trees and how they are scaled.

    Attributes
    ----------
    trees : TreePrior
        Prior of the trees and how they are proposed; ``min_leaf`` counts sampled areas.
    cuts : int
        Most cuts of a covariate; they are at quantiles, since covariates of areas are often skewed.
    leaf_k : float
        The sum of trees lies within the spread of the areas' true values at ``leaf_k`` prior standard deviations.
    """

    trees: TreePrior = field(default_factory=TreePrior)
    cuts: int = 100
    leaf_k: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.leaf_k > 0.0:
            raise PriorProblem(f"leaf_k must be positive, not {self.leaf_k}.")


def jumps_of(n: int) -> int:
    """Proposals in the grid in a sweep over n sampled areas."""
    return max(1, min(MOST_JUMPS, AREAS_A_JUMP // n))


@dataclass(frozen=True)
class Scales:
    """Numbers that come from data.

    Attributes
    ----------
    location, scale : float
        ``direct = location + scale * y``, the mean and standard deviation of the direct estimates, as in the linear
        model: priors of standard deviations are on the scale of y.
    centre : float
        What the trees add to, on the scale of y: the precision-weighted mean of an intercept-only Fay-Herriot model.
    spread : float
        Range of the areas' true values on the scale of y, see :func:`true_spread`.
    """

    location: float
    scale: float
    centre: float
    spread: float

    def leaf(self, settings: AreaTreesSettings) -> float:
        """tau, the prior standard deviation of a leaf."""
        return self.spread / (2.0 * settings.leaf_k * math.sqrt(max(settings.trees.trees, 1)))


def scales_of(data: AreaLevelData, settings: AreaTreesSettings) -> Scales:
    """Work out the scales, and refuse data that trees can do nothing with.

    Parameters
    ----------
    data : AreaLevelData
        The data in the units of the input.
    settings : AreaTreesSettings
        The settings.

    Returns
    -------
    Scales

    Raises
    ------
    ModelProblem
        If direct estimates do not vary, or are too few for a tree to split.
    VarianceProblem
        If a sampling variance is out of all proportion.
    """
    n, least = int(data.sampled.sum()), settings.trees.min_leaf
    if n < 2 * least or n < 4:
        raise ModelProblem(
            f"{n} areas have a direct estimate with a positive sampling variance, too few for a tree with {least} "
            f"areas in each leaf: at least {max(2 * least, 4)} are needed. Use the linear model of the task fit."
        )
    bare = replace(data, covariates=np.empty((len(data.areas), 0)), covariate_names=())
    alone = standardise(bare, True)
    rows = data.sampled
    centre, spread = true_spread(alone.y[rows], alone.v[rows])
    return Scales(alone.location, alone.scale, centre, spread)


def true_spread(y: Vector, v: Vector) -> tuple[float, float]:
    """Estimate the mean and the range of the true values behind noisy direct estimates.

    Chipman, George and McCulloch (2010) scale leaves by the range of the outcome, which sampling errors inflate: the
    noisiest area would set the prior. With A the variance of the true values (intercept-only Fay-Herriot model,
    adjusted residual likelihood of Li and Lahiri 2010, which is never zero) the values ``mu + sqrt(A / (A + v_i)) (y_i
    - mu)`` have the variance A whatever v_i is (constrained estimates, Ghosh 1992, area by area). Their range is that
    of y where v = 0.

    Parameters
    ----------
    y, v : ndarray, shape (n,)
        Direct estimates and sampling variances.

    Returns
    -------
    mean, spread : float
    """
    ids = tuple(str(i) for i in range(len(y)))
    bare = AreaLevelData(ids, y, v, np.empty((len(y), 0)), (), ("",) * len(y))
    standard = standardise(bare, True)
    fit = fit_eblup(standard, "amrl")
    mean = standard.location + standard.scale * float(fit.gls.beta[0])
    gamma = fit.model_variance / (fit.model_variance + standard.v)
    return mean, float(np.ptp(np.sqrt(gamma) * (y - mean)))


def sd_priors(specification: AreaLevelSpecification) -> tuple[NDArray[np.int64], Vector]:
    """Priors of the effect's and of the independent part's standard deviation, as the compiled loops take them.

    Parameters
    ----------
    specification : AreaLevelSpecification
        The model.

    Returns
    -------
    kinds : ndarray of int, shape (2,)
    arguments : ndarray, shape (2, 2)

    Raises
    ------
    PriorProblem
        If a prior is of a kind that the sampler does not know.
    """
    names = sd_names(specification)
    found = [_coded(name, specification.priors[name], len(names) > 1) for name in names]
    found += [(FIXED, 0.0, 0.0)] * (2 - len(found))
    return np.array([kind for kind, _, _ in found], np.int64), np.array([arguments for _, *arguments in found], float)


def sd_names(specification: AreaLevelSpecification) -> tuple[str, ...]:
    """Names of the standard deviations: that of the effect, and of an independent part beside it."""
    if not specification.spatial:
        return ("sd_delta",)
    return ("sd_phi", "sd_delta") if specification.iid_part else ("sd_phi",)


def _coded(name: str, prior: Prior, several: bool) -> tuple[int, float, float]:
    match prior:
        case HalfNormal(scale):
            return HALF_NORMAL, scale, 0.0
        case HalfStudentT(df, scale):
            return HALF_T, df, scale
        case HalfCauchy(scale):
            return HALF_T, 1.0, scale
        case Exponential(rate):
            return EXPONENTIAL, rate, 0.0
        case PC(upper, tail):
            return EXPONENTIAL, -math.log(tail) / upper, 0.0
        case Uniform(lower, upper):
            return UNIFORM, lower, upper
        case Fixed() if not several:
            return FIXED, 0.0, 0.0
    raise PriorProblem(
        f"The prior {prior} of {name} is not one that a model with trees takes: choose HalfNormal, HalfStudentT, "
        "HalfCauchy, Exponential, PC or Uniform (or Fixed, where it is the only standard deviation)."
    )
