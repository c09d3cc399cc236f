"""The result of an export: tables, and the ways to lay them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from smallarea.errors import JobProblem
from smallarea.results import product_layout as layout
from smallarea.results.layers import joined_layer
from smallarea.results.posterior import PosteriorDraws

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas


@dataclass(frozen=True)
class ExportResult:
    """What `export` made of the draws.

    Attributes
    ----------
    estimates : pandas.DataFrame
        Columns ``area``, ``response``, ``direct``, ``estimate``, ``se``, ``lower``, ``upper``; with benchmarks
        ``model_estimate`` and ``model_se`` (before them); with ``constrained`` also ``constrained``, ``triple_goal``.
    exceedance : pandas.DataFrame
        Columns ``area``, ``response``, ``direction``, ``threshold``, ``probability``.
    ranks : pandas.DataFrame
        Columns as :func:`smallarea.results.products.ranks_table`; no rows if not asked for.
    differences : pandas.DataFrame
        Columns as :func:`smallarea.results.products.differences_table`.
    benchmark : pandas.DataFrame
        One row a response and group: target, aggregate before and after, adjustment; no rows without targets.
    factors : pandas.DataFrame
        Columns ``response``, ``factor``: the stretch of constrained Bayes; no rows if not asked for.
    draws : PosteriorDraws
        The draws that all this is made of, benchmarked if targets were given.
    areas : Areas or None
        The polygons.
    settings : mapping
        What was asked for and what is known of the draws, printable.
    warnings, notes : tuple of str
        What to know before using the numbers, and what was done to the polygons.
    """

    estimates: pd.DataFrame
    exceedance: pd.DataFrame
    ranks: pd.DataFrame
    differences: pd.DataFrame
    benchmark: pd.DataFrame
    factors: pd.DataFrame
    draws: PosteriorDraws
    areas: Areas | None
    settings: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def wide(self) -> pd.DataFrame:
        """Return one row an area and response, with all that belongs to it."""
        return layout.wide_table(self.estimates, self.exceedance, self.ranks, self.differences)

    def long(self) -> pd.DataFrame:
        """Return one row a number: ``area``, ``response``, ``measure``, ``argument``, ``value``."""
        return layout.long_table(self.estimates, self.exceedance, self.ranks, self.differences)

    def layer(self) -> gpd.GeoDataFrame:
        """Return the wide table joined to the polygons; with several responses columns end in ``_<response>``.

        Raises
        ------
        JobProblem
            If there are no polygons.
        """
        if self.areas is None:
            raise JobProblem("There are no polygons to join the results to. Name a polygon layer (areas).")
        joined = joined_layer(self.wide(), self.areas)
        return layout.drop_foreign_thresholds(joined, self.exceedance, self.draws.responses)

    @property
    def summary(self) -> dict[str, Any]:
        """How many areas, how many lie beyond each threshold with a probability of 0.9, and how much was adjusted."""
        found: dict[str, Any] = {
            "n_areas": len(self.draws.areas),
            "n_estimated": int(self.estimates.groupby("area")["estimate"].count().gt(0).sum()),
            "responses": list(self.draws.responses),
            "draws": len(self.draws),
        }
        if len(self.exceedance):
            keys = ["response", "direction", "threshold"]
            likely = self.exceedance.assign(likely=self.exceedance["probability"] >= 0.9)
            counts = likely.groupby(keys, sort=False)["likely"].sum().reset_index()
            found["areas_beyond"] = {
                f"{response} {direction} {threshold:.12g}": int(count)
                for response, direction, threshold, count in counts.itertuples(index=False, name=None)
            }
        if len(self.benchmark):
            found["least_adjustment"] = float(self.benchmark["adjustment"].min())
            found["most_adjustment"] = float(self.benchmark["adjustment"].max())
        if len(self.factors):
            found["constrained_factor"] = dict(self.factors.itertuples(index=False, name=None))
        return found
