"""The result of a benchmarking: estimates before and after, and what was adjusted in each group."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem
from smallarea.io import AtomicOutputs, add_layer
from smallarea.results.layers import joined_layer
from smallarea.results.posterior import PosteriorDraws

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas
    from smallarea.io.styles import Style

PathLike = str | os.PathLike[str]

LAYER = "benchmarked"
_WARNINGS = "Warnings"


@dataclass(frozen=True)
class BenchmarkResult:
    """Benchmarked estimates.

    Attributes
    ----------
    table : pandas.DataFrame
        The estimates with all their columns, and ``benchmarked``, ``benchmarked_se``, ``benchmarked_cv``,
        ``benchmarked_lower``, ``benchmarked_upper``, ``adjustment`` of each area (its factor, or what was added). Where
        responses stand side by side these end in ``_<response>``.
    benchmark : pandas.DataFrame
        One row a response and group: target, aggregate before and after with their standard errors, adjustment, and the
        gap in standard errors.
    areas : Areas or None
        The polygons.
    area_ids : tuple of str
        The area of each row of the table.
    responses : tuple of str
        Names of the responses; several are below each other if the table has a column ``response``.
    draws : PosteriorDraws or None
        The benchmarked draws, if there were draws.
    settings : mapping
        What was asked for, printable.
    warnings, notes : tuple of str
        What to know before using the numbers.
    """

    table: pd.DataFrame
    benchmark: pd.DataFrame
    areas: Areas | None
    area_ids: tuple[str, ...]
    responses: tuple[str, ...]
    draws: PosteriorDraws | None
    settings: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def layer(self) -> gpd.GeoDataFrame:
        """Return the table joined to the polygons; responses below each other come to stand side by side.

        Raises
        ------
        JobProblem
            If there are no polygons.
        """
        if self.areas is None:
            raise JobProblem("There are no polygons to join the estimates to. Name a polygon layer (areas).")
        is_long = "response" in self.table.columns
        id_field = self.areas.id_field
        # The polygons bring the ids themselves.
        others = [n for n in self.table.columns if n not in ("area", "response", "fid") and n != id_field]
        response = self.table["response"] if is_long else ""
        long = self.table[others].assign(area=list(self.area_ids), response=response)
        found = joined_layer(long, self.areas)
        return found if is_long else found.drop(columns="response")

    @property
    def summary(self) -> dict[str, Any]:
        """Areas, groups, and how far the estimates were from the targets."""
        gaps = self.benchmark["gap_in_se"].abs()
        return {
            "n_areas": len(dict.fromkeys(self.area_ids)),
            "n_groups": len(self.benchmark),
            "responses": list(self.responses),
            "least_adjustment": float(self.benchmark["adjustment"].min()),
            "most_adjustment": float(self.benchmark["adjustment"].max()),
            **({"largest_gap_in_se": float(gaps.max())} if gaps.notna().any() else {}),
            **({"draws": len(self.draws)} if self.draws is not None else {}),
        }


def write_benchmark(
    result: BenchmarkResult,
    output: PathLike | None,
    csv: PathLike | None,
    excel: PathLike | None,
    posterior: PathLike | None,
    tell: Callable[[float, str], None],
) -> None:
    """Write what was asked for, all files or none.

    Parameters
    ----------
    result : BenchmarkResult
        What came out.
    output, csv, excel, posterior : path or None
        Where to write; None leaves it out.
    tell : callable
        ``tell(percent, text)``; it may raise to cancel, and then nothing has been written.

    Raises
    ------
    OutputProblem
        If a file cannot be written.
    """
    from smallarea.io.styles import store_styles
    from smallarea.io.workbook import Sheet, write_workbook
    from smallarea.results.excel import settings_frame

    with AtomicOutputs() as outputs:
        if output is not None:
            tell(70.0, "writing the map")
            path, frame = outputs.path(output), result.layer()
            renamed = add_layer(frame, path, LAYER)
            store_styles(path, LAYER, _styles(frame.rename(columns=renamed), result.responses))
        if csv is not None:
            tell(80.0, "writing the table")
            result.table.to_csv(outputs.path(csv), index=False)
        if excel is not None:
            tell(85.0, "writing the workbook")
            sheets = [
                Sheet("Estimates", result.table),
                Sheet("Benchmark", result.benchmark),
                Sheet(_WARNINGS, pd.DataFrame({"warning": list(result.warnings)})),
                Sheet("Settings", settings_frame(result.settings)),
            ]
            write_workbook(outputs.path(excel), [sheet for sheet in sheets if len(sheet.frame)])
        if posterior is not None and result.draws is not None:
            tell(90.0, "writing the posterior draws")
            result.draws.save(outputs.path(posterior))
        tell(100.0, "done")


def _styles(layer: gpd.GeoDataFrame, responses: Sequence[str]) -> list[Style]:
    """Return maps of the benchmarked estimates, their errors and their adjustments; the first one is the default."""
    from smallarea.io.style_classes import same_sign
    from smallarea.io.style_qml import told_apart
    from smallarea.io.styles import estimate_style, uncertainty_style

    found: list[Style] = []
    for response in responses:
        suffix = f"_{response}" if len(responses) > 1 else ""
        values = np.asarray(layer[f"benchmarked{suffix}"], dtype=float)
        styles = [estimate_style(values, field=f"benchmarked{suffix}", title=response)]
        kind: Literal["cv", "se"] = "cv" if same_sign(values) else "se"
        spread = f"benchmarked_{kind}{suffix}"
        if layer[spread].notna().any():
            styles.append(uncertainty_style(layer[spread], field=spread, title=response, kind=kind))
        moved = estimate_style(layer[f"adjustment{suffix}"], field=f"adjustment{suffix}", title=response)
        styles.append(replace(moved, name="Adjustment", description=f"{response}: adjustment to the targets"))
        found += [style.renamed(suffix) for style in styles] if suffix else styles
    return told_apart(found)
