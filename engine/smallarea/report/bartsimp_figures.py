"""Pictures of a cluster model: where clusters are, what was learned of the field, what was observed and fitted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from smallarea.report.drawing import MUTED, cloud, diagonal, labels, square
from smallarea.report.encoding import Picture, as_svg
from smallarea.report.figures import prior_and_posterior
from smallarea.unit_level.pc_prior import PcPrior

FloatArray = npt.NDArray[np.float64]

_POINTS = 240
# Prior and posterior are drawn up to these shares of the posterior's tails.
_TAIL = 0.995
# Ranges from here on are drawn in thousands.
_LONG = 5000.0


def place_chart(coordinates: FloatArray, values: FloatArray) -> Picture:
    """Clusters in the plane, coloured by their means.

    Parameters
    ----------
    coordinates : ndarray, shape (n, 2)
        Places.
    values : ndarray, shape (n,)
        Means.

    Returns
    -------
    Picture
    """
    figure, axes = square()
    axes.grid(visible=False)
    low, high = np.quantile(values, [0.02, 0.98])
    points = axes.scatter(
        coordinates[:, 0], coordinates[:, 1], c=values, s=14, cmap="viridis", vmin=low, vmax=high, lw=0
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    bar = figure.colorbar(points, ax=axes, orientation="horizontal", fraction=0.04, pad=0.04, extend="both")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=MUTED, length=2)
    return as_svg(figure)


def fitted_chart(observed: FloatArray, fitted: FloatArray) -> Picture:
    """Means of clusters against what the model expects there.

    Parameters
    ----------
    observed, fitted : ndarray, shape (n,)
        Of each cluster.

    Returns
    -------
    Picture
    """
    figure, axes = square()
    diagonal(axes, np.concatenate([observed, fitted]))
    cloud(axes, observed, fitted)
    labels(axes, "Mean of the cluster", "Trees and field (posterior mean)")
    return as_svg(figure)


def range_unit(spatial_range: FloatArray) -> float:
    """Return the unit in which ranges are drawn: thousands where they are long, such as kilometres for metres."""
    return 1000.0 if float(np.median(spatial_range)) >= _LONG else 1.0


def field_charts(prior: PcPrior, spatial_range: FloatArray, sd: FloatArray) -> tuple[Picture, Picture]:
    """Prior and posterior of the field's range and standard deviation.

    Parameters
    ----------
    prior : PcPrior
        Of both.
    spatial_range, sd : ndarray, shape (S,)
        Posterior draws.

    Returns
    -------
    tuple of Picture
    """
    unit = range_unit(spatial_range)
    r = np.linspace(0.0, float(np.quantile(spatial_range, _TAIL)), _POINTS)[1:]
    s = np.linspace(0.0, float(np.quantile(sd, _TAIL)), _POINTS)
    of_range = prior.range_rate / r**2 * np.exp(-prior.range_rate / r)
    of_sd = prior.sd_rate * np.exp(-prior.sd_rate * s)
    # Ranges are draws from a grid of log range, so they are smoothed there.
    smooth = stats.gaussian_kde(np.log(spatial_range))(np.log(r)) / r
    drawn = prior_and_posterior(r / unit, unit * of_range, unit * smooth)
    return drawn, prior_and_posterior(s, of_sd, stats.gaussian_kde(sd)(s))
