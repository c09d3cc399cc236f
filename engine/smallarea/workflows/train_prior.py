"""The task `train_prior`: a spatial prior for a geography, with its certificate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from smallarea.areas import AreaGraph
from smallarea.errors import JobProblem, named
from smallarea.io import AtomicOutputs, check_suffix
from smallarea.priors import SpatialPrior, exact_prior
from smallarea.priors import family as make_family
from smallarea.priors.files.library import PriorLibrary
from smallarea.priors.files.prior_file import SUFFIX, write_prior
from smallarea.priors.prior import ARCHITECTURES
from smallarea.workflows.prior_certifying import certified, check_drawing, write_report
from smallarea.workflows.prior_geography import read_geography
from smallarea.workflows.prior_result import PriorResult
from smallarea.workflows.record import Progress, silent, within

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.priors import ExactPrior, Family

PathLike = str | os.PathLike[str]

# Parameter of the task to the architectures that it belongs to.
_OWN: Mapping[str, tuple[str, ...]] = {
    "degree": ("graph-filter",),
    "cut": ("graph-filter",),
    "terms": ("decoder",),
    "latent": ("beta-vae",),
    "width": ("beta-vae",),
    "beta": ("beta-vae",),
    "cure": ("beta-vae",),
    "steps": ("decoder", "beta-vae"),
    "checkpoint": ("decoder", "beta-vae"),
}
_SETTINGS = tuple(name for name in _OWN if name != "checkpoint")
# Upper end of rho's range for an architecture that costs nothing there: real tracts put rho near 0.998.
FILTER_UPPER = 0.9999


def train_prior(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    graph: PathLike | AreaGraph | None = None,
    contiguity: Literal["queen", "rook"] = "queen",
    islands: Literal["own_component", "nearest", "error"] = "own_component",
    architecture: Literal["graph-filter", "decoder", "beta-vae"] = "graph-filter",
    family: Literal["car", "leroux", "bym2", "icar", "gp"] = "car",
    lower: float | None = None,
    upper: float | None = None,
    distribution: Literal["uniform", "closeness"] | None = None,
    degree: int | None = None,
    cut: float | None = None,
    terms: int | None = None,
    latent: int | None = None,
    width: int | None = None,
    beta: float | None = None,
    cure: Literal["close", "aggregate", "none"] | None = None,
    steps: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    checkpoint: PathLike | None = None,
    certify: bool = True,
    draws: int = 4096,
    seed: int = 1,
    output: PathLike | None = None,
    report: PathLike | None = None,
    keep: bool = False,
    library: PathLike | None = None,
    progress: Progress | None = None,
) -> PriorResult:
    """Train a spatial prior for a geography and certify it.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    graph : path, AreaGraph or None
        Adjacency graph; built from the polygons if not given.
    contiguity, islands
        How to build it; see :func:`smallarea.areas.build_adjacency`.
    architecture : {'graph-filter', 'decoder', 'beta-vae'}
        What is trained; see :mod:`smallarea.priors.prior`.
    family : {'car', 'leroux', 'bym2', 'icar', 'gp'}
        The prior to imitate; see :mod:`smallarea.priors.families`.
    lower, upper : float, optional
        Range of its hyperparameter; of rho by default 0 to 0.99, for a graph-filter to 0.9999.
    distribution : {'uniform', 'closeness'}, optional
        How training draws the hyperparameter.
    degree, cut : optional
        Of a graph-filter; see :class:`smallarea.priors.graph_filter.FilterSettings`.
    terms : int, optional
        Of a decoder; see :class:`smallarea.priors.networks.network_settings.DecoderSettings`.
    latent, width, beta, cure : optional
        Of a beta-vae; see :class:`smallarea.priors.networks.network_settings.BetaVaeSettings`.
    steps : int, optional
        Steps of training at most; not of a graph-filter.
    device : {'auto', 'cpu', 'cuda'}
        Where networks are trained.
    checkpoint : path, optional
        File with the state of the training of a network; an interrupted training goes on from it.
    certify : bool
        Compute the fidelity certificate; see :mod:`smallarea.priors.fidelity.certificate`.
    draws : int
        Draws of the prior that the certificate uses.
    seed : int
        Seed of training and certificate.
    output : path, optional
        Prior file to write.
    report : path, optional
        HTML report of the certificate to write.
    keep : bool
        Keep the prior in the library.
    library : path, optional
        Folder of the library; that of this user by default.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    PriorResult
        The prior and its certificate.

    Raises
    ------
    JobProblem
        If parameters do not fit each other.
    GeometryProblem, TableProblem, GraphProblem
        If polygons or graph cannot be used.
    PriorProblem
        If settings mean nothing for the family or the architecture.
    EngineUnavailable
        If a package is not installed, or there is no GPU where one is asked for.
    OutputProblem
        If an output cannot be written; none is then.
    """
    call = {name: value for name, value in locals().items() if name not in ("areas", "graph", "progress")}
    tell = progress or silent
    _check_call(call)
    own = {name: call[name] for name in _SETTINGS if call[name] is not None}
    imitated = _family(family, architecture, lower, upper, distribution)
    kept = PriorLibrary.at(library)
    if keep:
        kept.make_folder()  # better said now than after an hour of training
    with AtomicOutputs() as outputs:
        file = outputs.path(output) if output is not None else None
        page = outputs.path(report) if report is not None else None
        polygons, adjacency = read_geography(
            areas, layer, id_field, crs, repair, graph, contiguity, islands, within(tell, 0.0, 10.0)
        )
        if adjacency is None:
            raise JobProblem("A prior is trained for a geography: name a polygon layer (areas) or a saved graph.")
        if architecture == "graph-filter":
            prior = _filter(imitated, adjacency, own)
        else:
            exact = exact_prior(imitated, adjacency, polygons)
            prior = _network(exact, architecture, adjacency, own, call, within(tell, 10.0, 60.0))
        result = PriorResult(prior, adjacency, polygons, None)
        if certify:
            result = certified(result, draws, seed, within(tell, 60.0, 92.0))
        tell(93.0, "writing")
        if file is not None:
            write_prior(file, result.prior)
        if page is not None:
            write_report(page, result)
        if keep:
            write_prior(outputs.path(kept.path_of(result.prior)), result.prior)
    tell(100.0, "done")
    return result


def _family(name: str, architecture: str, lower: float | None, upper: float | None, distribution: str | None) -> Family:
    """Return the family to imitate; a filter covers every rho below 1 alike, so its usual range does too."""
    if upper is None and architecture == "graph-filter" and name in ("car", "leroux", "bym2"):
        upper = FILTER_UPPER
    return make_family(name, lower=lower, upper=upper, distribution=distribution)


def _filter(imitated: Family, graph: AreaGraph, own: Mapping[str, Any]) -> SpatialPrior:
    from smallarea.priors.graph_filter import standard_filter

    prior = standard_filter(imitated, graph, own.get("degree"), own.get("cut"))
    exact_prior(imitated, graph)  # a graph without neighbours has no spatial prior; better said before it is saved
    return prior


def _network(
    exact: ExactPrior,
    architecture: str,
    graph: AreaGraph,
    own: Mapping[str, Any],
    call: Mapping[str, Any],
    tell: Progress,
) -> SpatialPrior:
    from smallarea.priors.networks.network_settings import network_settings
    from smallarea.priors.networks.training import train_network

    settings = network_settings(architecture, own)
    trained = train_network(
        exact,
        architecture,
        settings,
        seed=call["seed"],
        device=call["device"],
        progress=tell,
        checkpoint=call["checkpoint"],
    )
    return SpatialPrior(
        architecture, exact.family, graph.ids, graph.edges, settings.to_json(), trained.weights, trained.record
    )


def _check_call(call: Mapping[str, Any]) -> None:
    """Refuse what would do nothing, and what only a job is checked for."""
    architecture = call["architecture"]
    if architecture not in ARCHITECTURES:
        raise JobProblem(f"There is no architecture {architecture!r}. Choose one of {named(ARCHITECTURES)}.")
    strange = [name for name, homes in _OWN.items() if call[name] is not None and architecture not in homes]
    if architecture == "graph-filter" and call["device"] != "auto":
        strange.append("device")
    if strange:
        raise JobProblem(f"A {architecture} has no {named(strange)}. Leave it out, or choose another architecture.")
    if call["report"] is not None and not call["certify"]:
        raise JobProblem("The report shows the certificate, so 'certify' cannot be switched off with it.")
    if call["library"] is not None and not call["keep"]:
        raise JobProblem("'library' names the folder to keep the prior in, so set 'keep' too.")
    check_drawing(call["draws"], call["seed"])
    if call["output"] is not None:
        check_suffix(call["output"], (SUFFIX,), "a spatial prior")
    if call["report"] is not None:
        check_suffix(call["report"], (".html", ".htm"), "an HTML page")
