"""The page of a learned prior: what it stands for, whether it can be trusted, and pictures of both."""

from __future__ import annotations

import math
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea.errors import PriorProblem
from smallarea.priors.families import DISTRIBUTIONS, FAMILY_NAMES
from smallarea.priors.fidelity.certificate_record import Certificate
from smallarea.priors.fidelity.gate import GATE, failures_at, remedy
from smallarea.priors.fidelity.grid_point import GridPoint
from smallarea.priors.fidelity.showcase import Showcase, make_showcase
from smallarea.priors.prior import ARCHITECTURES, SpatialPrior
from smallarea.report import maps
from smallarea.report.encoding import Picture
from smallarea.report.formatting import MISSING, count, fixed, p_value, percent, plural, seconds, setting, significant
from smallarea.report.page import page_template, time_words, write_page
from smallarea.report.prior_figures import (
    ERROR_BREAKS,
    RATIO_BREAKS,
    classes_at,
    common_classes,
    covariance_chart,
    degree_chart,
    error_chart,
    loss_chart,
)

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph, Areas

_HOW = {
    "exact": "The decoder is linear in its white noise, so its covariance was computed, not estimated.",
    "projections": "The decoder is linear in its white noise. On a map of this size its covariance was compared with "
    "the exact one on random directions; standard errors are given.",
    "draws": "The decoder is not linear in its white noise, so its covariance was estimated from draws, without the "
    "bias that draws alone would have; standard errors are given.",
}
_RATIO_TEXTS = ("below 0.8", "0.8 to 0.95", "0.95 to 1.05", "1.05 to 1.25", "1.25 and more")
_ERROR_TEXTS = ("below −0.1", "−0.1 to −0.02", "−0.02 to 0.02", "0.02 to 0.1", "0.1 and more")


def write_prior_report(
    path: str | os.PathLike[str],
    prior: SpatialPrior,
    certificate: Certificate | None = None,
    areas: Areas | None = None,
    *,
    graph: AreaGraph | None = None,
    written: datetime | None = None,
) -> None:
    """Write the page of a learned prior.

    Parameters
    ----------
    path : path
        HTML file to write; it appears whole or not at all.
    prior : SpatialPrior
        The prior.
    certificate : Certificate, optional
        Its certificate; the one that is stored in it if not given.
    areas : Areas, optional
        Polygons of the certificate's geography, for maps.
    graph : AreaGraph, optional
        That geography, if it is not the one that the prior was trained for.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    PriorProblem
        If there is no certificate, or it is of another geography than the graph.
    """
    if certificate is None:
        if prior.certificate is None:
            raise PriorProblem("This prior has no fidelity certificate to report. Certify it first.")
        certificate = Certificate.from_json(prior.certificate)
    when = written or datetime.now().astimezone()
    write_page(render_prior(prior, certificate, areas, graph=graph, written=when), os.fspath(path))


def render_prior(
    prior: SpatialPrior,
    certificate: Certificate,
    areas: Areas | None = None,
    *,
    graph: AreaGraph | None = None,
    written: datetime | None = None,
) -> str:
    """Return the page of a learned prior as self-contained HTML.

    Parameters
    ----------
    prior, certificate, areas, graph
        See :func:`write_prior_report`.
    written : datetime, optional
        The time to print in it; none if not given, so that the same certificate gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.

    Raises
    ------
    PriorProblem
        If the certificate is of another geography than the graph, or the polygons are of other areas.
    """
    graph = _geography(prior, certificate, areas, graph)
    show = make_showcase(prior, certificate, graph, areas)
    shapes = maps.prepare_shapes(areas, graph) if areas is not None else None
    where = certificate.place_of(show.point)
    points = certificate.points
    return page_template("prior").render(
        title=_title(prior),
        source=str(areas.source) if areas is not None else "",
        written=time_words(written),
        version=certificate.version,
        passed=certificate.passed,
        failures=list(certificate.failures),
        remedy=remedy(prior.architecture),
        lead=_lead(prior, certificate),
        tiles=_tiles(points),
        facts=_facts(prior, certificate, graph),
        how=_HOW[points[0].method],
        posterior_how=_posterior_words(points),
        parameter=certificate.parameter,
        rows=[_row(point, len(points)) for point in points],
        where=where,
        worst=show.point is max(points, key=lambda one: one.frobenius) and len(points) > 1,
        centre=graph.ids[show.centre],
        follows=bool(np.nanmax(np.abs(show.exact_draw - show.learned_draw)) < np.nanstd(show.exact_draw)),
        scatter=covariance_chart(show.exact_points, show.learned_points),
        degrees=degree_chart(certificate, show.point.value),
        errors=error_chart(certificate),
        loss=loss_chart(_losses(prior)),
        covariance_maps=_row_maps(shapes, show),
        draw_maps=_draw_maps(shapes, show),
        fidelity_maps=_fidelity_maps(shapes, certificate, graph.ids),
        training=_training(prior),
        settings=[(name, setting(value)) for name, value in prior.settings.items()],
        gate=GATE,
    )


def _title(prior: SpatialPrior) -> str:
    name = FAMILY_NAMES[prior.family.name].split(",")[0]
    return f"{name[0].upper()}{name[1:]} by {prior.architecture}"


def _geography(
    prior: SpatialPrior, certificate: Certificate, areas: Areas | None, graph: AreaGraph | None
) -> AreaGraph:
    """Return the certificate's geography in the order of the polygons.

    Raises
    ------
    PriorProblem
        If it is another one.
    """
    found = prior.graph if graph is None else graph
    if found.fingerprint != certificate.fingerprint:
        raise PriorProblem("The certificate is of another geography than the graph. Certify the prior on this one.")
    return found if areas is None else found.reorder(areas.ids)


def _lead(prior: SpatialPrior, certificate: Certificate) -> list[str]:
    points = certificate.points
    worst = max(points, key=lambda one: one.frobenius)
    at = f", at {certificate.place_of(worst)}" if certificate.place_of(worst) else ""
    said = [
        f"This prior stands for: {FAMILY_NAMES[prior.family.name]}. Its covariance is off by "
        f"{percent(worst.frobenius)} of the exact one's size where it is worst{at}."
    ]
    checks = [point.posterior for point in points if point.posterior is not None]
    if checks:
        mean = max(check.mean_max for check in checks)
        said.append(
            f"Fitted to the same data, no area's posterior mean differs by more than {significant(mean, 2)} posterior "
            "standard deviations from that under the exact prior."
        )
    return said


def _tiles(points: tuple[GridPoint, ...]) -> list[tuple[str, str]]:
    """Headline numbers, each the worst over the grid, with what they are."""
    found = [
        (
            percent(max(point.frobenius for point in points)),
            "largest error of the covariance (relative Frobenius norm)",
        ),
        (percent(max(point.neighbour_error for point in points)), "largest error of the neighbours' mean correlation"),
    ]
    checks = [point.posterior for point in points if point.posterior is not None]
    if checks:
        ratio = max((r for c in checks for r in (c.sd_low, c.sd_high)), key=lambda r: abs(r - 1.0))
        found += [
            (significant(max(check.mean_max for check in checks), 2), "posterior SDs: largest difference of means"),
            (f"× {fixed(ratio, 3)}", "posterior SD furthest from the exact one"),
        ]
    return found


def _facts(prior: SpatialPrior, certificate: Certificate, graph: AreaGraph) -> list[tuple[str, str]]:
    rows = [
        ("Stands for", FAMILY_NAMES[prior.family.name]),
        ("Architecture", f"{prior.architecture}: {ARCHITECTURES[prior.architecture]}"),
    ]
    for one in prior.family.hyperparameters:
        text = f"{one.lower:g} to {one.upper:g}, {DISTRIBUTIONS[one.distribution]} in training"
        rows.append((one.name, text if prior.conditional else f"{text}; integrated out"))
    return [
        *rows,
        (
            "Certified on",
            f"{plural(len(graph.ids), 'area')}, {plural(len(graph.edges), 'pair')} of neighbours, "
            f"{plural(len(graph.islands), 'area')} without neighbours",
        ),
        ("Fingerprint of the geography", certificate.fingerprint[:16]),
        ("Trained on", "this geography" if prior.fingerprint == certificate.fingerprint else "another geography"),
        ("Numbers in the weights", count(sum(value.size for value in prior.weights.values()))),
        ("Prior draws, seed", f"{count(certificate.draws)}, {certificate.seed}"),
    ]


def _posterior_words(points: tuple[GridPoint, ...]) -> str:
    checks = [point.posterior for point in points if point.posterior is not None]
    if not checks:
        return ""
    text = f"The posterior under the learned prior is {checks[0].method}."
    error = max(check.error for check in checks)
    if error > 0.0:
        text += (
            f" Its means have a Monte Carlo error of up to {significant(error, 2)} posterior SDs, which is part of the "
            "differences."
        )
    return text


def _row(point: GridPoint, values: int) -> dict[str, Any]:
    check = point.posterior
    return {
        "value": f"{point.value:g}" if point.value is not None else MISSING,
        "frobenius": _error(point.frobenius),
        "frobenius_se": _error(point.frobenius_se) if point.frobenius_se > 0.0 else "",
        "srmr": _error(point.srmr),
        "variance": f"{fixed(point.variance_mean, 3)}",
        "spread": f"{fixed(point.variance_low, 3)} to {fixed(point.variance_high, 3)}",
        "neighbour": f"{fixed(point.neighbour_learned, 3)} ({fixed(point.neighbour_exact, 3)})",
        "second": f"{fixed(point.second_learned, 3)} ({fixed(point.second_exact, 3)})"
        if math.isfinite(point.second_exact)
        else MISSING,
        "offset": fixed(point.offset, 3),
        "mmd": p_value(point.mmd_p),
        "contrasts": p_value(point.contrast_p),
        "mean_max": _error(check.mean_max) if check else MISSING,
        "mean_95": _error(check.mean_95) if check else MISSING,
        "sd": f"{fixed(check.sd_low, 3)} to {fixed(check.sd_high, 3)}" if check else MISSING,
        "failed": bool(failures_at(point, "", values)),
    }


def _error(x: float) -> str:
    return "below 0.00001" if x < 1e-5 else fixed(x, 5 if x < 0.001 else 4 if x < 0.01 else 3)


def _row_maps(shapes: maps.MapShapes | None, show: Showcase) -> list[tuple[Picture, Any]]:
    if shapes is None:
        return []
    marked = np.zeros(len(show.exact_row), dtype=bool)
    marked[show.centre] = True
    # Differences that no fit would notice get no colours of their own.
    exact, learned = common_classes(np.round(show.exact_row, 2), np.round(show.learned_row, 2))
    return [(maps.draw_map(shapes, one, marked), one.legend) for one in (exact, learned)]


def _draw_maps(shapes: maps.MapShapes | None, show: Showcase) -> list[tuple[Picture, Any]]:
    if shapes is None:
        return []
    exact, learned = common_classes(show.exact_draw, show.learned_draw)
    return [(maps.draw_map(shapes, one), one.legend) for one in (exact, learned)]


def _fidelity_maps(
    shapes: maps.MapShapes | None, certificate: Certificate, ids: tuple[str, ...]
) -> list[tuple[Picture, Any]]:
    if shapes is None or certificate.areas is None:
        return []
    # The certificate may have been computed with the areas in another order.
    table = certificate.areas_table().set_index("area").loc[list(ids)]
    ratio = classes_at(table["variance_ratio"].to_numpy(), RATIO_BREAKS, _RATIO_TEXTS)
    error = classes_at(table["neighbour_error"].to_numpy(), ERROR_BREAKS, _ERROR_TEXTS)
    return [(maps.draw_map(shapes, one), one.legend) for one in (ratio, error)]


def _losses(prior: SpatialPrior) -> list[list[float | None]]:
    """Return the course of the training: step, training loss or None, validation loss.

    Raises
    ------
    PriorProblem
        If the record, which came from a file, holds something else there.
    """
    losses, time = prior.training.get("losses") or [], prior.training.get("seconds", 0.0)
    rows = losses if isinstance(losses, list) else [losses]
    plain = all(
        isinstance(row, list | tuple) and len(row) == 3 and all(x is None or type(x) in (int, float) for x in row)
        for row in rows
    )
    if not plain or type(time) not in (int, float):
        raise PriorProblem("The record of the training of a spatial prior is malformed. Train the prior again.")
    return rows


def _training(prior: SpatialPrior) -> list[tuple[str, str]]:
    """Return the plain entries of the training record; curves are drawn and not listed."""
    rows = []
    for name, value in prior.training.items():
        if name == "seconds":
            rows.append(("Time", seconds(value)))
        elif name == "versions" and isinstance(value, dict):
            rows += [(str(package), str(version)) for package, version in value.items()]
        elif not isinstance(value, list | dict):
            text = significant(value, 4) if isinstance(value, float) else setting(value)
            rows.append((name.replace("_", " ").capitalize(), text))
    return rows
