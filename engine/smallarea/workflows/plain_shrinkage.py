"""Plain shrinkage, the yardstick of every other model: each response by itself, with independent area effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, fit_eblup, standardise


def with_plain_shrinkage(
    diagnostics: pd.DataFrame, data: Sequence[AreaLevelData], specification: AreaLevelSpecification
) -> pd.DataFrame:
    """Add what the ordinary Fay-Herriot model (REML) would have given.

    Parameters
    ----------
    diagnostics : pandas.DataFrame
        The area diagnostics, the areas of the first response first.
    data : sequence of AreaLevelData, length K
        The responses.
    specification : AreaLevelSpecification
        The model that was fitted.

    Returns
    -------
    pandas.DataFrame
        With columns ``plain_estimate`` and ``plain_se`` in the units of the input, NaN for a response whose model
        variance is estimated as zero: its standard errors would be too good to be true. Unchanged if the model is the
        plain one itself, or of transformed estimates.
    """
    if (len(data) == 1 and not specification.spatial) or specification.transformation != "none":
        return diagnostics
    estimates, errors = [], []
    for response in data:
        scaled = standardise(response, specification.intercept)
        fit = fit_eblup(scaled, "reml")
        known = response.estimable & (fit.model_variance > 0.0)
        estimates.append(np.where(known, scaled.location + scaled.scale * fit.estimate, np.nan))
        errors.append(np.where(known & (fit.mse > 0.0), scaled.scale * np.sqrt(np.maximum(fit.mse, 0.0)), np.nan))
    return diagnostics.assign(plain_estimate=np.concatenate(estimates), plain_se=np.concatenate(errors))
