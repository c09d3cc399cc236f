"""Draws from the posterior of a Fay-Herriot model with trees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_trees.settings import AreaTreesSettings, Scales
from smallarea.convergence import convergence
from smallarea.trees import Cuts, ForestTrace

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Diagnostics:
    """How the chains went.

    Attributes
    ----------
    r_hat, ess : dict of str to float
        Of the hyperparameters that are not fixed.
    area_r_hat, area_ess : ndarray, shape (N,)
        Of the areas' quantities.
    acceptance : dict of str to float
        Share of proposals of trees accepted by kind of move, after the warm-up.
    at_end : float
        Share of draws at an end of the grid of the ratio, or at the lower end of that of rho.
    """

    r_hat: Mapping[str, float]
    ess: Mapping[str, float]
    area_r_hat: Vector
    area_ess: Vector
    acceptance: Mapping[str, float]
    at_end: float

    @property
    def r_hat_max(self) -> float:
        """Largest R-hat of a hyperparameter or an area."""
        return float(np.nanmax([*self.r_hat.values(), float(np.nanmax(self.area_r_hat))]))

    @property
    def ess_min(self) -> float:
        """Smallest effective sample size of a hyperparameter or an area."""
        return float(np.nanmin([*self.ess.values(), float(np.nanmin(self.area_ess))]))


@dataclass(frozen=True)
class AreaTreesPosterior:
    """Posterior draws in the units of the input; those of chain c are number ``c * S + s``.

    Attributes
    ----------
    areas : tuple of str, length N
        Area ids.
    specification : AreaLevelSpecification
        Effect and priors.
    settings : AreaTreesSettings
        Trees.
    scales : Scales
        Numbers of the priors that came from data.
    cuts : Cuts
        Cut points.
    forest : ForestTrace
        Draws of the trees, on the standardised scale.
    hyperparameters : mapping
        Name to draws of shape (C, S), standard deviations in the units of the input.
    theta : ndarray, shape (C * S, N)
        The quantity of each area.
    trees : ndarray, shape (C * S, N)
        Its part from trees, with the mean.
    shrinkage : ndarray, shape (N,)
        Weight of the area's own direct estimate, NaN where not sampled.
    means, variances : ndarray, shape (M, N)
        Moments of theta given trees and hyperparameters at evenly chosen draws; NaN where not sampled.
    diagnostics : Diagnostics
        How the chains went.
    """

    areas: tuple[str, ...]
    specification: AreaLevelSpecification
    settings: AreaTreesSettings
    scales: Scales
    cuts: Cuts
    forest: ForestTrace
    hyperparameters: Mapping[str, Vector]
    theta: Vector
    trees: Vector
    shrinkage: Vector
    means: Vector
    variances: Vector
    diagnostics: Diagnostics

    @property
    def chains(self) -> int:
        """Number of chains."""
        return len(next(iter(self.hyperparameters.values())))


def diagnose(
    hyperparameters: Mapping[str, Vector], theta: Vector, acceptance: Mapping[str, float], at_end: float
) -> Diagnostics:
    """Look at the draws.

    Parameters
    ----------
    hyperparameters : mapping
        Name to draws of shape (C, S).
    theta : ndarray, shape (C * S, N)
        The areas' quantities.
    acceptance, at_end
        As in :class:`Diagnostics`.

    Returns
    -------
    Diagnostics
    """
    shape = next(iter(hyperparameters.values())).shape
    r_hat, ess = convergence(np.stack(list(hyperparameters.values()), axis=2))
    free = {name: at for at, name in enumerate(hyperparameters) if np.isfinite(r_hat[at])}
    area_r_hat, area_ess = convergence(theta.reshape(*shape, -1))
    return Diagnostics(
        {name: float(r_hat[at]) for name, at in free.items()},
        {name: float(ess[at]) for name, at in free.items()},
        area_r_hat,
        area_ess,
        acceptance,
        at_end,
    )
