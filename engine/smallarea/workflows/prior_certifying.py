"""The certificate of a prior in a workflow: computing it, its report, its layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smallarea.errors import JobProblem, PriorProblem
from smallarea.io import add_layer
from smallarea.survey.prepared import layer_of
from smallarea.workflows.prior_result import PriorResult
from smallarea.workflows.record import Progress

if TYPE_CHECKING:
    import geopandas as gpd

LAYER = "prior_certificate"
FEWEST_DRAWS = 200


def check_drawing(draws: int, seed: int) -> None:
    """Check what a job's schema checks of a job.

    Raises
    ------
    JobProblem
        If there are too few draws, or the seed is no whole number of zero or more.
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < FEWEST_DRAWS:
        raise JobProblem(f"draws must be a whole number of at least {FEWEST_DRAWS}; got {draws!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise JobProblem(f"seed must be a whole number of zero or more; got {seed!r}.")


def certified(result: PriorResult, draws: int, seed: int, tell: Progress) -> PriorResult:
    """Compute the certificate on the geography of a result.

    Parameters
    ----------
    result : PriorResult
        A prior and a geography.
    draws, seed : int
        See :func:`smallarea.priors.fidelity.certificate.certify`.
    tell : callable
        Progress of this part, 0 to 100.

    Returns
    -------
    PriorResult
        With the certificate, also in the prior itself; one that transfers is then a prior of this geography.
    """
    from smallarea.priors.fidelity.certificate import certify

    found = certify(result.prior, result.graph, result.areas, seed=seed, draws=draws, progress=tell)
    prior = replace(result.prior, certificate=found.to_json())
    if prior.transfers:
        # The outputs of a network are in the order of its own areas; only a prior that transfers has no such order.
        prior = replace(prior, ids=result.graph.ids, edges=result.graph.edges)
    return replace(result, prior=prior, certificate=found)


def write_report(path: Path, result: PriorResult) -> None:
    """Write the report of a certificate.

    Parameters
    ----------
    path : pathlib.Path
        HTML file that is being prepared.
    result : PriorResult
        A prior and its certificate.

    Raises
    ------
    PriorProblem
        If there is no certificate.
    """
    from smallarea.report.prior_page import write_prior_report

    if result.certificate is None:
        raise PriorProblem("The prior has no certificate to report. Compute one first ('smallarea prior verify').")
    write_prior_report(str(path), result.prior, result.certificate, result.areas, graph=result.graph)


def write_map(path: Path, result: PriorResult) -> None:
    """Write the polygons with the fidelity of a certified prior in each, and the styles.

    Parameters
    ----------
    path : pathlib.Path
        GeoPackage that is being prepared.
    result : PriorResult
        With polygons and certificate.
    """
    from smallarea.io.style_fidelity import fidelity_styles
    from smallarea.io.styles import store_styles

    layer = fidelity_layer(result)
    add_layer(layer, path, LAYER)
    store_styles(path, LAYER, fidelity_styles(layer))


def fidelity_layer(result: PriorResult) -> gpd.GeoDataFrame:
    """Join the areas' part of a certificate to the polygons.

    Parameters
    ----------
    result : PriorResult
        A prior and its certificate.

    Returns
    -------
    geopandas.GeoDataFrame
        The polygons and their attributes with ``variance_ratio`` (learned over exact variance where it is furthest from
        1), ``neighbour_error`` (learned minus exact mean correlation with the neighbours where it is furthest from 0),
        ``n_neighbours``.

    Raises
    ------
    JobProblem
        If there are no polygons or no certificate.
    """
    if result.areas is None or result.certificate is None:
        raise JobProblem("A map of the certificate needs polygons (areas) and a certificate.")
    table = result.certificate.areas_table()
    return layer_of(table.assign(n_neighbours=result.graph.degrees), result.areas)
