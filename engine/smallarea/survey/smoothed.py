"""The result of smoothing sampling variances, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem, named
from smallarea.survey.prepared import layer_of
from smallarea.survey.smoothing import SmoothedResponse

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas

SMOOTHED = "smoothed"
NOT_SMOOTHED = "not_smoothed"
# A residual of so many standard deviations is an outlier.
OUTLYING = 3.0


@dataclass(frozen=True)
class SmoothedVariances:
    """What `smooth_variances` made of raw sampling variances.

    Attributes
    ----------
    table : pandas.DataFrame
        One row an area: ``area``, the columns of the input, and for each response NAME ``variance_smoothed_NAME``,
        ``se_smoothed_NAME``, with the estimate term ``binomial`` ``n_eff_smoothed_NAME``, and ``flag_NAME``; for each
        pair ``covariance_smoothed_A_B`` if covariances were given.
    responses : tuple of SmoothedResponse
        The functions and what they were fitted to.
    areas : Areas or None
        The polygons.
    settings : mapping
        What was asked for, printable.
    warnings, notes : tuple of str
        What to know before using the numbers, and what was done.
    """

    table: pd.DataFrame
    responses: tuple[SmoothedResponse, ...]
    areas: Areas | None
    settings: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def layer(self) -> gpd.GeoDataFrame:
        """Return the polygons with their attributes and the columns of the table, which replace those alike.

        Raises
        ------
        JobProblem
            If there are no polygons.
        """
        if self.areas is None:
            raise JobProblem("There are no polygons to join the variances to. Name a polygon layer (areas).")
        return layer_of(self.table, self.areas)

    @property
    def coefficients(self) -> pd.DataFrame:
        """Columns ``response``, ``term``, ``estimate``, ``se``."""
        rows = [
            (one.raw.name, term, float(estimate), float(se))
            for one in self.responses
            for term, estimate, se in zip(one.function.terms, one.function.coefficients, one.function.se, strict=True)
        ]
        return pd.DataFrame(rows, columns=["response", "term", "estimate", "se"])

    @property
    def summary(self) -> dict[str, Any]:
        """How many variances went in, were smoothed, were replaced, and how well the function fits."""
        found = {"n_areas": len(self.table), **_described(self.responses[0])}
        if len(self.responses) > 1:
            found["responses"] = {one.raw.name: _described(one) for one in self.responses}
        return found


def outliers(response: SmoothedResponse) -> list[int]:
    """Return the rows whose raw variance is furthest from the function, the furthest first.

    Parameters
    ----------
    response : SmoothedResponse
        The response.

    Returns
    -------
    list of int
        Rows with a residual beyond `OUTLYING` standard deviations.
    """
    residual = np.abs(response.residuals)
    order = np.argsort(-residual, kind="stable")
    return [int(row) for row in order if residual[row] > OUTLYING]


def smoothed_columns(frame: pd.DataFrame, response: SmoothedResponse) -> dict[str, Any]:
    """Return the columns that are added for one response.

    Parameters
    ----------
    frame : pandas.DataFrame
        The input, whose flags stay.
    response : SmoothedResponse
        The response.

    Returns
    -------
    dict
        Column name to values.
    """
    name = response.raw.name
    columns: dict[str, Any] = {
        f"variance_smoothed_{name}": response.variance,
        f"se_smoothed_{name}": np.sqrt(response.variance),
    }
    if response.n_eff is not None:
        columns[f"n_eff_smoothed_{name}"] = response.n_eff
    flag = f"flag_{name}"
    given = frame[flag] if flag in frame.columns else pd.Series([""] * len(frame))
    before = ["" if pd.isna(text) else str(text) for text in given]
    new = np.where(response.replaced, SMOOTHED, np.where(response.lacking, NOT_SMOOTHED, ""))
    columns[flag] = ["; ".join(filter(None, pair)) for pair in zip(before, new.tolist(), strict=True)]
    return columns


def smoothing_warnings(responses: Sequence[SmoothedResponse], min_df: float) -> tuple[str, ...]:
    """Say what a user should know before using smoothed variances.

    Parameters
    ----------
    responses : sequence of SmoothedResponse
        As smoothed.
    min_df : float
        Fewer degrees of freedom than this are worth a word.

    Returns
    -------
    tuple of str
        At most one for each matter, whatever the number of responses.
    """
    found = []
    few = {}
    for one in responses:
        if one.raw.df is not None:
            rows = np.flatnonzero(one.raw.usable & (one.raw.df < min_df)).tolist()
            few[one.raw.name] = [one.raw.ids[i] for i in rows]
    said = _by_response(few)
    if said:
        found.append(
            f"Raw variances rest on fewer than {min_df:g} degrees of freedom (or PSUs): {said}. Use the smoothed ones, "
            "and look at the report before you do."
        )
    said = _by_response({one.raw.name: _ids(one, one.replaced) for one in responses})
    if said:
        found.append(
            f"There was no usable raw variance (missing, zero, or from one observation), so that the smoothed one is "
            f"the function's alone: {said}. flag_NAME says so."
        )
    said = _by_response({one.raw.name: _ids(one, one.lacking) for one in responses})
    if said:
        found.append(
            f"Areas with an estimate have no smoothed variance, as what it depends on is missing: {said}. Fill in "
            "sample sizes and covariates, or a fit will take these areas for unsampled."
        )
    return tuple(found)


def smoothing_notes(responses: Sequence[SmoothedResponse], means: Sequence[float]) -> tuple[str, ...]:
    """Say what was done.

    Parameters
    ----------
    responses : sequence of SmoothedResponse
        As smoothed.
    means : sequence of float
        Mean sampling correlation of each pair; empty without covariances.

    Returns
    -------
    tuple of str
        Sentences.
    """
    found = []
    for one in responses:
        function = one.function
        share = f"explains {100.0 * function.r_squared:.0f}% of the variation"
        text = f"{one.raw.name!r}: {function.method} {share} over {int(function.used.sum())} areas"
        if function.method == "log_linear":
            text += f"; exp of the fit is multiplied by {function.correction:.4g}"
        if one.prior_df is not None:
            text += f"; the function counts as {one.prior_df:.3g} degrees of freedom"
        found.append(text + ".")
    for mean, (one, two) in zip(means, combinations(responses, 2), strict=bool(means)):
        stand_in = (one.replaced | two.replaced) & np.isfinite(one.variance) & np.isfinite(two.variance)
        if stand_in.any():
            found.append(
                f"The sampling correlation of {one.raw.name!r} and {two.raw.name!r} is not known in "
                f"{int(stand_in.sum())} areas; the mean of the others, {mean:.3g}, stands in."
            )
    return tuple(found)


def _described(response: SmoothedResponse) -> dict[str, Any]:
    """Return the numbers of one response for the summary."""
    function = response.function
    found: dict[str, Any] = {
        "n_used": int(function.used.sum()),
        "n_smoothed": int(np.isfinite(response.variance).sum()),
        "n_replaced": int(response.replaced.sum()),
        "r_squared": function.r_squared,
        "correction": function.correction,
        "residual_sd": function.residual_sd,
        "n_outliers": len(outliers(response)),
    }
    if response.prior_df is not None:
        found["prior_df"] = response.prior_df if np.isfinite(response.prior_df) else "infinite"
    return found


def _ids(response: SmoothedResponse, rows: np.ndarray) -> list[str]:
    return [response.raw.ids[i] for i in np.flatnonzero(rows).tolist()]


def _by_response(areas: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{len(ids)} areas of {name!r} ({named(ids, 3)})" for name, ids in areas.items() if ids)
