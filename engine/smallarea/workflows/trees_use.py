"""What trees of areas use of the covariates, and what they make of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from smallarea.area_level import AreaLevelData
from smallarea.area_trees import AreaTreesPosterior
from smallarea.area_trees.effects import partial_dependence
from smallarea.results.trees_tables import curve_table, inclusion_table
from smallarea.unit_level.prior_inclusion import prior_inclusion

# Covariates with curves at most: those that trees use most.
MOST_CURVES = 12


def use_of_covariates(
    data: AreaLevelData, fit: AreaTreesPosterior, level: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of how often trees split on each covariate, and of partial dependence.

    Parameters
    ----------
    data : AreaLevelData
        The data.
    fit : AreaTreesPosterior
        The fit.
    level : float
        Coverage of the intervals.
    seed : int
        Of the draws from the trees' prior.

    Returns
    -------
    inclusion, curves : pandas.DataFrame
        See :class:`smallarea.results.trees_result.TreesResult`.
    """
    seen = data.covariates[data.sampled]
    prior = prior_inclusion(fit.settings.trees, fit.cuts.counts, fit.cuts.bins(seen), np.ones(len(seen)), seed)
    inclusion = inclusion_table(fit, prior, level)
    at = {name: position for position, name in enumerate(fit.cuts.names)}
    most = [at[name] for name in inclusion["covariate"].head(MOST_CURVES)]
    return inclusion, curve_table([partial_dependence(fit, seen, which) for which in most], level)
