"""What a fit has to say beside its numbers: warnings, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea.area_level import AreaLevelData, AreaLevelSpecification
from smallarea.errors import named
from smallarea.results.tables import FitTables
from smallarea.workflows.fit_input import FitInput

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph


def fit_warnings(
    data: Sequence[AreaLevelData],
    responses: Sequence[str],
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    tables: FitTables,
    min_ess: int,
) -> tuple[str, ...]:
    """Say what a user should know before trusting the estimates: few sentences, each worth reading.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The data.
    responses : sequence of str, length K
        Names of the responses.
    specification : AreaLevelSpecification
        The model.
    graph : AreaGraph or None
        The adjacency graph.
    tables : FitTables
        The fit's tables.
    min_ess : int
        Effective sample size that was asked for.

    Returns
    -------
    tuple of str
        May be empty.
    """
    found = []
    several = len(responses) > 1
    for response, name in zip(data, responses, strict=True):
        aside = [area for area, note in zip(response.areas, response.notes, strict=True) if "set aside" in note]
        if aside:
            what = f"direct estimates of {name}" if several else "direct estimates"
            found.append(
                f"{len(aside)} {what} have no positive sampling variance and were set aside: {named(aside)}. "
                "Their areas are treated as not sampled."
            )
    gone = [area for area, ok in zip(data[0].areas, data[0].estimable.tolist(), strict=True) if not ok]
    if gone:
        found.append(f"{len(gone)} areas lack a covariate value and have no estimate: {named(gone)}.")
    if graph is not None and specification.random_effect in ("car", "icar") and graph.islands:
        found.append(
            f"{len(graph.islands)} areas have no neighbour and borrow strength from the covariates only: "
            f"{named(graph.islands)}."
        )
    effect = specification.random_effect
    for response, name in zip(data, responses, strict=True):
        if graph is None or not specification.spatial:
            break
        alone = _areas_far_from_data(response, graph, effect in ("car", "icar"))
        if alone:
            what = f"direct estimate of {name}" if several else "direct estimate"
            found.append(
                f"{len(alone)} areas lie in parts of the map without any {what}: {named(alone)}. Their neighbours "
                "cannot help, so their predictions are as uncertain as the spatial prior."
            )
    found += sampler_warnings(tables.diagnostics, min_ess)
    if tables.fit_statistics.get("model_variance") == 0.0:
        found.append(
            "The model variance is estimated as zero, so every estimate is its regression prediction. The adjusted "
            "methods (amrl, amrl_yl) and bayes cannot collapse like this."
        )
    estimates = tables.estimates
    unknown = estimates.loc[estimates["estimate"].notna() & estimates["se"].isna(), "area"].tolist()
    if unknown:
        found.append(
            f"The estimated mean squared error of {len(unknown)} areas is not positive, so they have no standard "
            f"error: {named(unknown)}. The bias correction of method {specification.method!r} is unstable where the "
            "model variance is small; use reml, amrl_yl or bayes."
        )
    return tuple(found)


def sampler_warnings(diagnostics: Mapping[str, Any], min_ess: int) -> list[str]:
    """Say where the sampler did not do what was asked for.

    Parameters
    ----------
    diagnostics : mapping
        Of the fit; empty for a frequentist one.
    min_ess : int
        Effective sample size that was asked for.

    Returns
    -------
    list of str
        May be empty.
    """
    found = []
    if not diagnostics.get("converged", True):
        found.append(
            f"The sampler reached an effective sample size of {diagnostics['ess_min']:.0f}, not the {min_ess} asked "
            "for. Treat the intervals with care; a tighter prior or fewer hyperparameters may help."
        )
    if diagnostics.get("pareto_k", 0.0) > 0.7:
        found.append(
            f"The importance weights have a heavy tail (Pareto k {diagnostics['pareto_k']:.2f}, above 0.7): run again "
            "with another seed and compare."
        )
    return found


def _areas_far_from_data(data: AreaLevelData, graph: AreaGraph, car: bool) -> list[str]:
    """List the areas of components in which nothing was sampled; under a CAR, islands have no spatial effect."""
    labels = graph.component_labels
    sizes, sampled = np.bincount(labels), np.bincount(labels, weights=data.sampled)
    empty = (sizes > (1 if car else 0)) & (sampled == 0)
    return [area for area, label in zip(data.areas, labels.tolist(), strict=True) if empty[label]]


def dropped_rows(found: FitInput, data: Sequence[AreaLevelData], responses: Sequence[str]) -> pd.DataFrame:
    """List everything that was left out or set aside, with the reason: columns ``what``, ``id``, ``reason``."""
    rows = list(found.dropped)
    several = len(responses) > 1
    for response, name in zip(data, responses, strict=True):
        for area, note in zip(response.areas, response.notes, strict=True):
            parts = [part for part in note.split("; ") if part and part != "no direct estimate"]
            rows += [("area", area, f"{name}: {part}" if several else part) for part in parts]
    return pd.DataFrame(rows, columns=["what", "id", "reason"])
