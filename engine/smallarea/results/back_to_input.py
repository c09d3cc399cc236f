"""From the scale of a transformation back to the units of the input: estimates, intervals, draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import Posterior, StackedData
from smallarea.area_level.summaries import mixture_quantile, normal_width
from smallarea.area_level.transformations import BackTransformed, Transformation
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.reliability import coefficient_of_variation
from smallarea.results.tables import FitTables, scaled_to_input, to_input

Vector = NDArray[np.float64]

NO_WAY_BACK = "no estimate: its mean squared error is not positive, and the way back from the transformation needs it"
MEDIAN = "estimate is a posterior median: without direct estimates in this part of the map there is no mean"


@dataclass(frozen=True)
class WayBack:
    """How a transformation is undone.

    Attributes
    ----------
    form : Transformation
        The transformation.
    correction : {'bias_corrected', 'naive'}
        How estimates come back.
    direct, variance : ndarray, shape (N, K)
        Direct estimates and sampling variances of the input, NaN where the direct estimate is not used.
    """

    form: Transformation
    correction: str
    direct: Vector
    variance: Vector


def estimates_to_input(
    tables: FitTables, way: WayBack, found: BackTransformed | None = None
) -> tuple[FitTables, BackTransformed]:
    """Bring estimates, their errors and intervals back to the units of the input.

    Ends of intervals are transformed as they are. What else the tables say (coefficients, hyperparameters, fit
    statistics, diagnostics) stays on the scale of the model.

    Parameters
    ----------
    tables : FitTables
        Tables on the scale of the model.
    way : WayBack
        How to go back.
    found : BackTransformed, optional
        Estimates and mean squared errors that are back already, row for row with the estimates; otherwise they follow
        from those of the tables, with theta ~ N(estimate, se^2).

    Returns
    -------
    tables : FitTables
        The area diagnostics hold what was on the scale of the model: ``model_direct``, ``model_direct_se``,
        ``model_estimate``, ``model_se``.
    found : BackTransformed
        What was reported, and how it was found.
    """
    model = tables.estimates
    if found is None:
        # An error that is not positive is NaN in the table, and so is what would have to be corrected by it.
        estimate, se = (model[name].to_numpy(np.float64) for name in ("estimate", "se"))
        found = way.form.back_transform(estimate, se**2, way.correction)
    direct, variance = (values.T.ravel() for values in (way.direct, way.variance))
    se = np.sqrt(np.where(model["estimate"].isna(), np.nan, found.mse))
    centre = np.where(model["estimate"].isna(), np.nan, found.estimate)
    lost = np.isnan(centre) & model["estimate"].notna().to_numpy()
    lower, upper = (way.form.inverse(model[name].to_numpy(np.float64)) for name in ("lower", "upper"))
    estimates = model.assign(
        direct=direct,
        direct_se=np.sqrt(variance),
        estimate=centre,
        se=se,
        cv=coefficient_of_variation(centre, se),
        lower=lower,
        upper=upper,
        note=with_note(model["note"], lost, NO_WAY_BACK),
    )
    kept = {f"model_{name}": model[name] for name in ("direct", "direct_se", "estimate", "se")}
    return replace(tables, estimates=estimates, area_diagnostics=tables.area_diagnostics.assign(**kept)), found


def posterior_to_input(
    tables: FitTables, way: WayBack, fit: Posterior, stacked: StackedData, far: NDArray[np.bool_], level: float
) -> tuple[FitTables, BackTransformed]:
    """Bring a Bayesian fit back to the units of the input.

    Each component of the mixture that is the posterior of a cell is normal, and so the mean and the variance of what
    results are known in closed form or by quadrature; they are averaged over the components. Draws are transformed one
    by one, **in place**.

    Parameters
    ----------
    tables : FitTables
        Tables on the scale of the model, with draws.
    way : WayBack
        How to go back.
    fit : Posterior
        The fit.
    stacked : StackedData
        Its data.
    far : ndarray of bool, shape (N, K)
        Cells in whose part of the map nothing was observed. The mean of exp(theta) is infinite there; the median is
        reported, and the width of the interval in normal units.
    level : float
        Coverage of the intervals.

    Returns
    -------
    tables : FitTables
        Tables in the units of the input.
    found : BackTransformed
        What was reported, and how it was found.
    """
    means, variances = _components(fit, stacked, far)
    with np.errstate(over="ignore", invalid="ignore"):
        parts = way.form.back_transform(means, variances)
        mean = parts.estimate.mean(axis=0)
        mse = parts.mse.mean(axis=0) + parts.estimate.var(axis=0)
    words = "posterior mean of the back-transformed quantity"
    if way.correction == "naive":
        plain = way.form.inverse(to_input(stacked, fit.mean))
        mean, mse = plain, mse + (mean - plain) ** 2
        words = "posterior mean, transformed back without correction of its bias"
    without_mean = far & (way.form.name == "log")
    if without_mean.any():
        lower, upper = (way.form.inverse(to_input(stacked, values)) for values in (fit.lower, fit.upper))
        median = way.form.inverse(mixture_quantile(means, np.sqrt(variances), 0.5))
        mean = np.where(without_mean, median, mean)
        mse = np.where(without_mean, normal_width(lower, upper, level) ** 2, mse)
    back, found = estimates_to_input(tables, way, BackTransformed(mean.T.ravel(), mse.T.ravel(), words))
    note = with_note(back.estimates["note"], without_mean.T.ravel() & back.estimates["estimate"].notna(), MEDIAN)
    draws = None if tables.posterior is None else _draws_to_input(tables.posterior, way)
    return replace(back, estimates=back.estimates.assign(note=note), posterior=draws), found


def _components(fit: Posterior, stacked: StackedData, far: NDArray[np.bool_]) -> tuple[Vector, Vector]:
    """Means and variances of the mixtures whose quantiles are the intervals, shape (M, N, K)."""
    within = np.einsum("mnkk->mnk", fit.mixture.covariances)
    centre = fit.mixture.means.mean(axis=0)
    spread = np.sqrt(within.mean(axis=0) + fit.mixture.means.var(axis=0))
    stretch = np.where(far, 1.0, fit.sd / spread)
    means = np.stack([to_input(stacked, values) for values in fit.mean + stretch * (fit.mixture.means - centre)])
    return means, scaled_to_input(stacked, stretch * np.sqrt(within)) ** 2


def _draws_to_input(draws: PosteriorDraws, way: WayBack) -> PosteriorDraws:
    theta = draws.theta
    for draw in range(len(theta)):
        theta[draw] = way.form.inverse(theta[draw])
    attributes = {**draws.attributes, "transformation": way.form.name}
    return replace(draws, theta=theta, direct=way.direct, variance=way.variance, attributes=attributes)


def with_note(notes: pd.Series, where: NDArray[np.bool_] | pd.Series, text: str) -> list[str]:
    """Add a text to the notes of some rows."""
    join: Callable[[str], str] = lambda note: f"{note}; {text}" if note else text  # noqa: E731
    return [join(note) if hit else note for note, hit in zip(notes, where, strict=True)]
