"""What the trees do with a covariate: partial dependence, draw by draw.

``PD_j(z) = mean over areas of f(z, x_i without j)`` (Friedman 2001) of each posterior draw f of the trees, so that its
intervals are those of the posterior. The level of f is shared with a spatial effect that is nearly constant; what is
known is how f differs from its own mean over the areas, so each draw is centred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_trees.posterior import AreaTreesPosterior

Vector = NDArray[np.float64]

# Values of a covariate at most, at its quantiles; areas and draws that are averaged over at most, evenly chosen.
POINTS, MOST_AREAS, MOST_DRAWS = 21, 400, 500


@dataclass(frozen=True)
class Curve:
    """Partial dependence of the quantity on a covariate, less its mean over the areas, in the units of the input.

    Attributes
    ----------
    covariate : str
        Its name.
    values : ndarray, shape (K,)
        Increasing values of the covariate.
    draws : ndarray, shape (S, K)
        Mean over areas of the trees with that value, less that of the trees as they are.
    """

    covariate: str
    values: Vector
    draws: Vector


def partial_dependence(fit: AreaTreesPosterior, covariates: Vector, which: int) -> Curve:
    """Work out the partial dependence on one covariate.

    Parameters
    ----------
    fit : AreaTreesPosterior
        The fit.
    covariates : ndarray, shape (n, p)
        Those of the sampled areas, all finite.
    which : int
        Position of the covariate.

    Returns
    -------
    Curve
    """
    rows = np.unique(np.linspace(0, len(covariates) - 1, min(len(covariates), MOST_AREAS)).round().astype(int))
    draws = np.unique(np.linspace(0, fit.forest.draws - 1, min(fit.forest.draws, MOST_DRAWS)).round().astype(np.int64))
    values = np.unique(np.quantile(covariates[:, which], np.linspace(0.0, 1.0, POINTS)))
    put = np.tile(covariates[rows], (len(values), 1))
    put[:, which] = np.repeat(values, len(rows))
    trees = fit.forest.evaluate(fit.cuts.bins(put), draws).reshape(len(draws), len(values), len(rows))
    as_they_are = fit.forest.evaluate(fit.cuts.bins(covariates[rows]), draws).mean(axis=1, keepdims=True)
    return Curve(fit.cuts.names[which], values, fit.scales.scale * (trees.mean(axis=2) - as_they_are))
