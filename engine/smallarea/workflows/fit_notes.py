"""What a fit has to say beside its numbers: warnings, and what was left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea.area_level import AreaLevelData, AreaLevelSpecification
from smallarea.errors import named
from smallarea.results.posterior_tables import largest_r_hat
from smallarea.results.reliability import ReliabilityPreset, scale_cautions
from smallarea.results.tables import FitTables

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
    if graph is not None and specification.random_effect in ("car", "icar", "gp") and graph.islands:
        found.append(
            f"{len(graph.islands)} areas have no neighbour and borrow strength from the covariates only: "
            f"{named(graph.islands)}."
        )
    if graph is not None and specification.spatial:
        found += _warnings_far_from_data(data, responses, specification, graph)
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
            f"error: {named(unknown)}. {_instead(specification)}"
        )
    return tuple(found)


def _instead(specification: AreaLevelSpecification) -> str:
    """Say what to do where a mean squared error is not positive."""
    if specification.random_effect == "sar":
        return "Set mse to 'bootstrap'."
    if len(specification.responses) > 1:
        return "The covariance matrix of the area effects is near its boundary; method 'bayes' averages over it."
    others = "bayes" if specification.method in ("reml", "ml") else "reml, amrl_yl or bayes"
    return (
        f"The bias correction of method {specification.method!r} is unstable where the model variance is small; use "
        f"{others}."
    )


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
    found: list[str] = []
    if "chains" in diagnostics:  # Hamiltonian Monte Carlo says itself how its chains went
        return found
    if not diagnostics.get("converged", True):
        found.append(
            f"The sampler reached an effective sample size of {diagnostics['ess_min']:.0f}, not the {min_ess} asked "
            "for. Treat the intervals with care; a tighter prior or fewer hyperparameters may help."
        )
    if diagnostics.get("r_hat_max", 1.0) > largest_r_hat(diagnostics.get("ess_min", math.inf)):
        found.append(
            f"Quarters of the sample disagree (R-hat {diagnostics['r_hat_max']:.3f}): run again with another seed and "
            "a larger min_ess, and compare."
        )
    if diagnostics.get("pareto_k", 0.0) > 0.7:
        found.append(
            f"The importance weights have a heavy tail (Pareto k {diagnostics['pareto_k']:.2f}, above 0.7): run again "
            "with another seed and compare."
        )
    return found


def _warnings_far_from_data(
    data: Sequence[AreaLevelData],
    responses: Sequence[str],
    specification: AreaLevelSpecification,
    graph: AreaGraph,
) -> list[str]:
    """Name the areas of components in which nothing was sampled; under a CAR, islands have no spatial effect."""
    sampled = {name: response.sampled for name, response in zip(responses, data, strict=True)}
    what = {name: f"direct estimate of {name}" for name in responses}
    if len(responses) == 1 or specification.link != "independent":
        # Linked responses help each other: only where there is none of them there is nothing.
        sampled = {"": np.any(list(sampled.values()), axis=0)}
        what = {"": "direct estimate"}
    labels = graph.component_labels
    least = 1 if specification.random_effect in ("car", "icar") else 0
    found = []
    for name, there in sampled.items():
        empty = (np.bincount(labels) > least) & (np.bincount(labels, weights=there) == 0)
        alone = [area for area, label in zip(data[0].areas, labels.tolist(), strict=True) if empty[label]]
        if alone:
            found.append(
                f"{len(alone)} areas lie in parts of the map without any {what[name]}: {named(alone)}. Their "
                "neighbours cannot help, so their predictions are as uncertain as the spatial prior."
            )
    return found


def preset_cautions(estimates: pd.DataFrame, preset: ReliabilityPreset) -> tuple[str, ...]:
    """Say where the reliability preset does not suit the estimates of a response.

    Parameters
    ----------
    estimates : pandas.DataFrame
        The estimates table.
    preset : ReliabilityPreset
        The rule.

    Returns
    -------
    tuple of str
        May be empty.
    """
    responses = estimates.groupby("response", sort=False)
    return tuple(
        f"{name}: {text}" if responses.ngroups > 1 else text
        for name, table in responses
        for text in scale_cautions(table, preset)
    )


def dropped_rows(
    dropped: Sequence[tuple[str, str, str]],
    data: Sequence[AreaLevelData],
    responses: Sequence[str],
    ordinary: str = "no direct estimate",
) -> pd.DataFrame:
    """List everything that was left out or set aside, with the reason.

    Parameters
    ----------
    dropped : sequence of (what, id, reason)
        Table rows that were left out.
    data : sequence of AreaLevelData, length K
        The data, with a note for each area.
    responses : sequence of str, length K
        Their names.
    ordinary : str
        A note that is nothing to mend: that an area was not sampled.

    Returns
    -------
    pandas.DataFrame
        Columns ``what``, ``id``, ``reason``.
    """
    rows = list(dropped)
    for at, area in enumerate(data[0].areas):
        by_response = {
            name: [part for part in response.notes[at].split("; ") if part and part != ordinary]
            for name, response in zip(responses, data, strict=True)
        }
        for part in dict.fromkeys(part for parts in by_response.values() for part in parts):
            concerned = [name for name, parts in by_response.items() if part in parts]
            # What holds for all responses, as a missing covariate does, is said once.
            reason = part if len(concerned) == len(responses) else f"{', '.join(concerned)}: {part}"
            rows.append(("area", area, reason))
    return pd.DataFrame(rows, columns=["what", "id", "reason"])
