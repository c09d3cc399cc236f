"""The result of a space-time fit: tables and layers with a period in each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from smallarea.errors import GeometryProblem
from smallarea.results.fit_result import FitResult
from smallarea.results.tables import FitTables

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True)
class SpaceTimeResult(FitResult):
    """Estimates of one quantity for every area and period, with all that is needed to judge them.

    As :class:`smallarea.results.fit_result.FitResult`, but ``estimates`` and ``area_diagnostics`` have one row for each
    area and period, all areas of the first period first, with the period in a column ``time`` after ``area``.
    ``response`` is the field with the direct estimates. In ``posterior``, if there are draws, the periods stand where
    other fits have responses.

    Attributes
    ----------
    periods : tuple of str
        The periods as text, in their order.
    """

    periods: tuple[str, ...] = ()

    @property
    def summary(self) -> dict[str, Any]:
        """A few numbers and texts."""
        table = self.estimates
        diagnostics = {
            name: self.diagnostics[name] for name in ("ess_min", "r_hat_max", "pareto_k") if name in self.diagnostics
        }
        return {
            **{name: self.model.get(name) for name in ("model", "method", "formula")},
            "n_areas": int(self.model["n_areas"]),
            "n_periods": len(self.periods),
            "n_cells": len(table),
            "n_sampled": int(table["sampled"].sum()),
            "n_estimated": int(table["estimate"].notna().sum()),
            "n_dropped": len(self.dropped),
            "median_cv": float(table["cv"].median()) if table["cv"].notna().any() else None,
            "flags": {str(label): int(count) for label, count in table["flag"].value_counts().items()},
            **diagnostics,
            **{name: float(value) for name, value in self.fit_statistics.items()},
            "seconds": round(float(sum(self.timings.values())), 2),
        }

    def layer(self) -> gpd.GeoDataFrame:
        """Return the estimates joined to their polygons: one feature for each area and period.

        Returns
        -------
        geopandas.GeoDataFrame
            The id field in its original type and name, ``time``, the other columns of the estimates table. A column
            whose name is that of the id field gets the prefix ``est_``.

        Raises
        ------
        GeometryProblem
            If the fit had no polygons.
        """
        import geopandas as gpd

        from smallarea.results.layers import joined_layer

        if self.areas is None:
            raise GeometryProblem(
                "The fit had no polygons, so there is no layer to write. Give it a polygon layer, or write the table "
                "instead."
            )
        parts = [
            joined_layer(part, self.areas) for _, part in self.estimates.groupby("time", sort=False, observed=True)
        ]
        return gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=self.areas.crs)

    def for_report(self) -> FitResult:
        """Return the fit as the report takes it: with a response for each period."""
        count = len(self.estimates) // len(self.periods)
        called = [f"{self.model['direct'][0]} in {period}" for period in self.periods]
        names = [name for name in called for _ in range(count)]
        model = {**self.model, "direct": called}
        return replace(
            self,
            estimates=self.estimates.drop(columns="time").assign(response=names),
            area_diagnostics=self.area_diagnostics.drop(columns="time").assign(response=names),
            model=model,
        )


def in_time(tables: FitTables, time: pd.Series, response: str) -> FitTables:
    """Turn tables of periods that stood for responses into tables with a column ``time``.

    Parameters
    ----------
    tables : FitTables
        All areas of the first period first.
    time : pandas.Series, length T
        The periods.
    response : str
        Field with the direct estimates.

    Returns
    -------
    FitTables
        With the columns ``area``, ``time``, ``response`` and the others in their order.
    """
    count = len(tables.estimates) // len(time)
    column = time.repeat(count).reset_index(drop=True)

    def with_time(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.assign(response=response)
        frame.insert(1, "time", column)
        return frame

    return replace(
        tables,
        estimates=with_time(tables.estimates),
        area_diagnostics=with_time(tables.area_diagnostics),
        coefficients=tables.coefficients.assign(response=response),
    )


def dropped_cells(left_out: Sequence[tuple[str, str, str]], names: Sequence[str], notes: Sequence[str]) -> pd.DataFrame:
    """List rows that were left out and cells that were set aside: columns ``what``, ``id``, ``reason``.

    Parameters
    ----------
    left_out : sequence of (what, id, reason)
        Rows of the table.
    names, notes : sequence of str
        Each cell, and why it is set aside; a plain lack of a direct estimate is not listed.
    """
    rows = list(left_out)
    for name, note in zip(names, notes, strict=True):
        rows += [("cell", name, part) for part in note.split("; ") if part and part != "no direct estimate"]
    return pd.DataFrame(rows, columns=["what", "id", "reason"])
