"""The task `list_priors`: what is in the library."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from smallarea.areas import AreaGraph
from smallarea.errors import named
from smallarea.io import AtomicOutputs, check_suffix
from smallarea.priors.files.library import LibraryEntry, PriorLibrary
from smallarea.workflows.prior_geography import read_geography
from smallarea.workflows.prior_result import verdict
from smallarea.workflows.record import Progress, silent, within

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
COLUMNS = (
    "name",
    "architecture",
    "family",
    "lower",
    "upper",
    "n_areas",
    "certificate",
    "size_mb",
    "serves",
    "fingerprint",
    "problem",
)


@dataclass(frozen=True)
class PriorList:
    """What `list_priors` found.

    Attributes
    ----------
    folder : pathlib.Path
        Folder of the library.
    table : pandas.DataFrame
        One row a file, with the columns ``COLUMNS``; of a damaged one only its name and ``problem``.
    """

    folder: Path
    table: pd.DataFrame

    @property
    def summary(self) -> dict[str, Any]:
        """The folder, the number of priors, and a line for each."""
        usable = self.table[self.table["problem"] == ""]
        return {
            "library": str(self.folder),
            "n_priors": len(usable),
            "n_damaged": len(self.table) - len(usable),
            "priors": {
                str(row["name"]): {"areas": int(row["n_areas"]), "certificate": row["certificate"]}
                for _, row in usable.iterrows()
            },
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """Which files are damaged."""
        damaged = self.table.loc[self.table["problem"] != "", "problem"]
        return tuple(damaged[:5]) + ((f"{named(damaged[5:], 0)[4:]} files are damaged.",) if len(damaged) > 5 else ())


def list_priors(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    graph: PathLike | AreaGraph | None = None,
    contiguity: Literal["queen", "rook"] = "queen",
    islands: Literal["own_component", "nearest", "error"] = "own_component",
    library: PathLike | None = None,
    csv: PathLike | None = None,
    progress: Progress | None = None,
) -> PriorList:
    """List the priors in the library; with a geography, those that serve it.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons of the geography to serve.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    graph : path, AreaGraph or None
        Its adjacency graph; built from the polygons if not given.
    contiguity, islands
        How to build it; see :func:`smallarea.areas.build_adjacency`.
    library : path, optional
        Folder of the library; that of this user by default.
    csv : path, optional
        CSV file to write the list to.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    PriorList
        The list; damaged files are in it only if no geography is given, since nobody knows whom they serve.

    Raises
    ------
    PriorProblem
        If the folder cannot be read.
    GeometryProblem, TableProblem, GraphProblem
        If polygons or graph cannot be used.
    OutputProblem
        If the list cannot be written.
    """
    tell = progress or silent
    if csv is not None:
        check_suffix(csv, (".csv", ".txt"), "comma-separated text")
    _, adjacency = read_geography(
        areas, layer, id_field, crs, repair, graph, contiguity, islands, within(tell, 0.0, 70.0)
    )
    tell(70.0, "reading the library")
    where = PriorLibrary.at(library)
    entries = where.entries() if adjacency is None else where.find(adjacency)
    rows = [_row(entry, adjacency) for entry in entries]
    result = PriorList(where.folder, pd.DataFrame(rows, columns=list(COLUMNS)))
    if csv is not None:
        with AtomicOutputs() as outputs:
            result.table.to_csv(outputs.path(csv), index=False)
    tell(100.0, "done")
    return result


def _row(entry: LibraryEntry, graph: AreaGraph | None) -> dict[str, Any]:
    header = entry.header
    if header is None:
        return {"name": entry.name, "certificate": "", "problem": entry.problem}
    own = graph is not None and header.fingerprint == graph.fingerprint
    ranges = header.family.hyperparameters
    return {
        "name": entry.name,
        "architecture": header.architecture,
        "family": header.family.name,
        "lower": ranges[0].lower if ranges else None,
        "upper": ranges[0].upper if ranges else None,
        "n_areas": len(header.ids),
        "certificate": verdict(header.certificate)["certificate"],
        "size_mb": round(header.size / 1e6, 3),
        "serves": "this geography" if own else "any geography" if header.transfers else "its own geography",
        "fingerprint": header.fingerprint,
        "problem": "",
    }
