"""What a fit learned about the places of displaced clusters."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd

from smallarea.gmrf.matern import matern_correlation
from smallarea.report.formatting import significant
from smallarea.unit_level import BartsimpPosterior


def positions_table(posterior: BartsimpPosterior) -> pd.DataFrame:
    """List the candidate places of all clusters.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.

    Returns
    -------
    pandas.DataFrame
        One row a candidate: ``cluster``, ``x``, ``y``, ``distance`` from the published place (in the unit of the
        plane), ``prior`` and ``posterior`` probability. Empty if places are exact.
    """
    clusters = posterior.clusters
    found = clusters.candidates
    if found is None or posterior.positions is None:
        return pd.DataFrame(columns=["cluster", "x", "y", "distance", "prior", "posterior"])
    gap = found.coordinates - clusters.coordinates[found.cluster]
    return pd.DataFrame({
        "cluster": np.array(clusters.ids, dtype=object)[found.cluster],
        "x": found.coordinates[:, 0], "y": found.coordinates[:, 1], "distance": np.hypot(*gap.T),
        "prior": found.weights, "posterior": found.shares(posterior.positions),
    })  # fmt: skip


def points_of(table: pd.DataFrame, crs: str) -> gpd.GeoSeries:
    """Return the places of :func:`positions_table` as points."""
    return gpd.GeoSeries(gpd.points_from_xy(table["x"], table["y"]), crs=crs)


def position_notes(posterior: BartsimpPosterior) -> tuple[str, ...]:
    """Say how uncertain places are, what the outcome told of them, and what the field takes them for.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.

    Returns
    -------
    tuple of str
        Empty if places are exact.
    """
    found = posterior.clusters.candidates
    if found is None or posterior.positions is None:
        return ()
    after = found.shares(posterior.positions)
    before, now = (np.median(found.effective(weights)) for weights in (found.weights, after))
    sure = [int((np.maximum.reduceat(w, found.starts[:-1]) > 0.5).sum()) for w in (found.weights, after)]
    said = [
        f"Places of {int((found.counts > 1).sum())} of {found.n} clusters are uncertain: {np.median(found.counts):g} "
        f"candidate places at the median cluster, {found.counts.max()} at most. Their effective number at the median "
        f"cluster is {before:.1f} before and {now:.1f} after the outcomes were seen; {sure[1]} clusters have a place "
        f"with a probability above one half ({sure[0]} before)."
    ]
    if posterior.settings.field != "none":
        gap = found.coordinates - posterior.clusters.coordinates[found.cluster]
        middle = float(np.median(posterior.range))
        shared = matern_correlation(np.hypot(*gap.T), middle) @ after / found.n
        said.append(
            "The field is taken at the published places, only covariates at the candidates. At the median range, "
            f"{significant(middle, 4)}, the field at the candidate places has a mean correlation of {shared:.3f} with "
            "that at the published ones."
        )
    return tuple(said)
