"""The task `verify_prior`: the fidelity certificate of a prior on a geography, and its map."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from smallarea.areas import AreaGraph
from smallarea.errors import JobProblem
from smallarea.io import AtomicOutputs, check_suffix
from smallarea.priors import SpatialPrior
from smallarea.priors.files.library import resolve
from smallarea.priors.files.prior_file import SUFFIX, write_prior
from smallarea.workflows.prior_certifying import certified as certify
from smallarea.workflows.prior_certifying import check_drawing, write_map, write_report
from smallarea.workflows.prior_geography import read_geography
from smallarea.workflows.prior_result import PriorResult
from smallarea.workflows.record import Progress, silent, within

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]


def verify_prior(
    prior: PathLike | SpatialPrior,
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
    draws: int = 4096,
    seed: int = 1,
    output: PathLike | None = None,
    report: PathLike | None = None,
    certified: PathLike | None = None,
    progress: Progress | None = None,
) -> PriorResult:
    """Compute the fidelity certificate of a prior on a geography.

    Parameters
    ----------
    prior : path, str or SpatialPrior
        A prior file, a name in the library, or a prior; see :func:`smallarea.priors.files.library.resolve`.
    areas : path, GeoDataFrame or None
        Polygons.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    graph : path, AreaGraph or None
        Adjacency graph; built from the polygons if not given. Without either, the geography of the prior itself.
    contiguity, islands
        How to build it; see :func:`smallarea.areas.build_adjacency`.
    library : path, optional
        Folder of the library; that of this user by default.
    draws : int
        Draws of the prior.
    seed : int
        Seed.
    output : path, optional
        GeoPackage to write: the polygons with the fidelity in each area, and styles.
    report : path, optional
        HTML report to write.
    certified : path, optional
        Prior file to write: a copy for this geography with the new certificate.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    PriorResult
        The prior and its certificate. A prior that misses the gate is no error; ``warnings`` says so.

    Raises
    ------
    JobProblem
        If a map is asked for without polygons.
    PriorProblem
        If the prior cannot be loaded, or is of another geography and does not transfer.
    GeometryProblem, TableProblem, GraphProblem
        If polygons or graph cannot be used.
    OutputProblem
        If an output cannot be written; none is then.
    """
    tell = progress or silent
    check_drawing(draws, seed)
    if output is not None and areas is None:
        raise JobProblem("A map was asked for (output), but there are no polygons (areas). Write a report.")
    for path, suffixes, what in (
        (output, (".gpkg",), "a GeoPackage"),
        (report, (".html", ".htm"), "an HTML page"),
        (certified, (SUFFIX,), "a spatial prior"),
    ):
        if path is not None:
            check_suffix(path, suffixes, what)
    with AtomicOutputs() as outputs:
        targets = {
            name: outputs.path(path)
            for name, path in (("output", output), ("report", report), ("certified", certified))
            if path is not None
        }
        polygons, adjacency = read_geography(
            areas, layer, id_field, crs, repair, graph, contiguity, islands, within(tell, 0.0, 10.0)
        )
        loaded = resolve(prior, adjacency, library)
        result = PriorResult(loaded, loaded.graph if adjacency is None else adjacency, polygons, None)
        result = certify(result, draws, seed, within(tell, 10.0, 92.0))
        tell(93.0, "writing")
        if "output" in targets:
            write_map(targets["output"], result)
        if "report" in targets:
            write_report(targets["report"], result)
        if "certified" in targets:
            write_prior(targets["certified"], result.prior)
    tell(100.0, "done")
    return result
