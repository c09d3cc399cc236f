"""The page of an imputation: what is missing, whether completed tables hang together, what depends on assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from smallarea._version import __version__
from smallarea.report import maps
from smallarea.report.classes import classes_by_breaks
from smallarea.report.encoding import Picture
from smallarea.report.formatting import MISSING, count, fixed, level_percent, percent, plural, setting, significant
from smallarea.report.imputation_figures import (
    category_chart,
    heat_chart,
    overlay_chart,
    pattern_chart,
    rank_chart,
    truth_chart,
)
from smallarea.report.page import page_template, time_words, write_page
from smallarea.survey.imputation.joint_structure import JointStructure, joint_structure
from smallarea.survey.imputation.missing_patterns import missing_by_area, pattern_table
from smallarea.survey.imputation.sensitivity import delta_table

if TYPE_CHECKING:
    from smallarea.areas import Areas
    from smallarea.survey.imputation.impute import Imputed
    from smallarea.survey.imputation.overimputation import Overimputation

_METHODS = {
    "mvn": "a multivariate normal model of all answers",
    "vae": "an autoencoder that learned from complete rows",
    "vae-masked": "an autoencoder that learned from all rows and knows which answers are missing",
    "vae-mean": "an autoencoder that learned from rows filled with means",
    "chained": "chained equations with predictive mean matching",
    "hotdeck": "answers of similar respondents",
}
_MOST_OVERLAYS = 9
# Residual correlations beyond this get the strongest colour.
_STRONG = 0.2


def write_imputation_report(
    path: str,
    imputed: Imputed,
    *,
    areas: Areas | None = None,
    overimputation: Overimputation | None = None,
    settings: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    notes: Sequence[str] | None = None,
    title: str = "Missing answers",
    written: datetime | None = None,
) -> None:
    """Write the report of an imputation.

    Parameters
    ----------
    path : str
        HTML file to write; it appears whole or not at all.
    imputed : Imputed
        The imputations.
    areas : Areas, optional
        Polygons whose ids are the areas of the survey, for a map of missing answers.
    overimputation : Overimputation, optional
        Scores of hidden answers.
    settings : mapping, optional
        What was asked for; the record of the imputation if not given.
    warnings, notes : sequence of str
        What to know before the imputations are used, and what was done; by default the notes of the imputation.
    title : str
        Heading.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    page = render_imputation(
        imputed,
        areas=areas,
        overimputation=overimputation,
        settings=settings,
        warnings=warnings,
        notes=notes,
        title=title,
        written=written or datetime.now().astimezone(),
    )
    write_page(page, path)


def render_imputation(
    imputed: Imputed,
    *,
    areas: Areas | None = None,
    overimputation: Overimputation | None = None,
    settings: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    notes: Sequence[str] | None = None,
    title: str = "Missing answers",
    written: datetime | None = None,
) -> str:
    """Return the report of an imputation as a self-contained HTML page.

    Parameters are those of :func:`write_imputation_report`; without ``written`` the same imputation gives the same
    page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    joint = joint_structure(imputed)
    patterns = pattern_table(imputed.encoded.lost, [one.name for one in imputed.variables])
    shown = dict(settings if settings is not None else imputed.record)
    return page_template("imputation_diagnostics").render(
        title=title,
        source=str(areas.source) if areas is not None else "",
        written=time_words(written),
        version=__version__,
        lead=_lead(imputed),
        tiles=_tiles(imputed, joint),
        warnings=list(warnings),
        notes=list(imputed.notes if notes is None else notes),
        variables=_variables(imputed),
        patterns=pattern_chart(patterns) if imputed.encoded.lost.any() else None,
        n_patterns=patterns.attrs["patterns"],
        shown_patterns=len(patterns),
        map=_map(imputed, areas),
        joint=_joint(joint),
        overlays=_overlays(imputed),
        hidden=_hidden(overimputation),
        deltas=_deltas(imputed),
        call=[(name, setting(value)) for name, value in shown.items() if name != "fit" and value not in (None, {}, ())],
    )


def _lead(imputed: Imputed) -> str:
    method = str(imputed.record["method"])
    return (
        f"{plural(len(imputed.original), 'respondent')}, {plural(len(imputed.variables), 'variable')}: "
        f"{plural(len(imputed.cells[0]), 'missing answer')} drawn {plural(imputed.imputations, 'time')} by "
        f"{_METHODS[method]} ({method}). What differs between the completed tables is what nobody knows; estimates "
        "must be made from each and combined."
    )


def _tiles(imputed: Imputed, joint: JointStructure | None) -> list[tuple[str, str]]:
    lost, structural = imputed.encoded.lost, _skipped(imputed)
    found = [
        (percent(lost.sum() / max((~structural).sum(), 1)), "of the answers were missing"),
        (percent(1.0 - lost.any(axis=1).mean()), "of the respondents answered everything"),
        (count(imputed.imputations), "completed tables"),
    ]
    if joint is not None:
        found.append((fixed(joint.completed_srmr, 3), "SRMR: completed tables against observed answers"))
    return found


def _skipped(imputed: Imputed) -> npt.NDArray[np.bool_]:
    """Cells without an answer because the question was not put, shape (n, V)."""
    return np.isnan(imputed.encoded.numbers) & ~imputed.encoded.lost


def _variables(imputed: Imputed) -> list[dict[str, str]]:
    rows = []
    every = _skipped(imputed)
    for k, one in enumerate(imputed.variables):
        lost, skipped = imputed.encoded.lost[:, k], every[:, k]
        asked = len(lost) - int(skipped.sum())
        rows.append(
            {
                "number": str(k + 1),
                "name": one.name,
                "kind": one.kind,
                "answers": count(asked - int(lost.sum())),
                "missing": count(int(lost.sum())),
                "share": percent(lost.sum() / asked) if asked else MISSING,
                "skipped": count(int(skipped.sum())),
            }
        )
    return rows


def _map(imputed: Imputed, areas: Areas | None) -> tuple[Picture, Any] | None:
    context = imputed.encoded.context
    if areas is None or not context.areas:
        return None
    shapes = maps.prepare_shapes(areas)
    if shapes is None:
        return None
    names = [one.name for one in imputed.variables]
    table = missing_by_area(imputed.encoded.lost, names, [context.areas[k] for k in context.area])
    share = table.set_index("area")["any"].reindex(list(areas.ids)).to_numpy(dtype=float)
    classes = classes_by_breaks(share, "uncertainty", as_percent=True)
    legend = [replace(one, label="no respondent") if one.hatched else one for one in classes.legend]
    return maps.draw_map(shapes, classes), legend


def _joint(joint: JointStructure | None) -> dict[str, Any] | None:
    if joint is None:
        return None
    comparable = int((~joint.latent).sum()) > 1
    return {
        "names": list(enumerate(joint.names, start=1)),
        "observed": heat_chart(joint.observed, 1.0),
        "completed": heat_chart(joint.completed_residuals, _STRONG),
        "model": heat_chart(joint.model_residuals, _STRONG) if comparable else None,
        "completed_srmr": fixed(joint.completed_srmr, 3),
        "model_srmr": fixed(joint.model_srmr, 3) if comparable else "",
        "largest": _largest(joint),
        "baseline": [
            {"rank": str(rank), "explained": percent(explained), "srmr": fixed(value, 3)}
            for rank, explained, value in joint.baseline
        ],
    }


def _largest(joint: JointStructure, most: int = 5) -> list[dict[str, str]]:
    """Pairs whose correlation changed most."""
    j, k = np.tril_indices(len(joint.names), -1)
    size = np.abs(joint.completed_residuals[j, k])
    order = [place for place in np.argsort(-size, kind="stable") if np.isfinite(size[place])][:most]
    return [
        {
            "pair": f"{joint.names[k[place]]} and {joint.names[j[place]]}",
            "observed": fixed(joint.observed[j[place], k[place]], 2),
            "completed": fixed(joint.completed[j[place], k[place]], 2),
        }
        for place in order
    ]


def _overlays(imputed: Imputed) -> list[dict[str, Any]]:
    """Pictures of the variables with most imputed answers."""
    places = imputed.cells[1]
    frequent = np.argsort(-np.bincount(places, minlength=len(imputed.variables)), kind="stable")
    found = []
    for k in sorted(k for k in frequent[:_MOST_OVERLAYS] if np.any(places == k)):
        variable = imputed.variables[k]
        numbers = imputed.encoded.numbers[:, k]
        observed = numbers[~np.isnan(numbers)]
        drawn = imputed.draws[:, places == k].ravel()
        drawn = drawn[~np.isnan(drawn)]
        if not drawn.size:
            continue
        if variable.categorical:
            n = len(variable.categories)
            shares = [np.bincount(x.astype(int), minlength=n) / len(x) for x in (observed, drawn)]
            picture = category_chart(*shares)
            named = ", ".join(f"{place}: {text}" for place, text in enumerate(variable.categories, start=1))
        else:
            picture, named = overlay_chart(observed, drawn), ""
        found.append({"name": variable.name, "picture": picture, "categories": named})
    return found


def _hidden(found: Overimputation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    rows = []
    for row in found.scores.to_dict("records"):
        value = {name: row.get(name, np.nan) for name in ("rmse", "coverage", "crps", "brier", "skill")}
        rows.append(
            {
                "name": row["variable"],
                "cells": count(row["cells"]),
                "rmse": significant(value["rmse"]),
                "coverage": percent(value["coverage"]),
                "crps": significant(value["crps"]),
                "brier": significant(value["brier"]),
                "skill": fixed(value["skill"], 2),
            }
        )
    return {
        "rows": rows,
        "level": level_percent(found.level),
        "truth": truth_chart(found),
        "ranks": rank_chart(found),
        "cells": count(sum(len(one.truth) for one in found.hidden)),
    }


def _deltas(imputed: Imputed) -> dict[str, Any] | None:
    table = delta_table(imputed)
    if not len(table):
        return None
    wide = pd.pivot_table(table, values="mean", index="variable", columns="delta", sort=False)
    observed = table.drop_duplicates("variable").set_index("variable")["observed"]
    return {
        "shifted": bool(imputed.record.get("deltas")),
        "deltas": [fixed(delta, 2) if delta else "0" for delta in wide.columns],
        "rows": [
            {"name": name, "observed": significant(observed[name], 4), "means": [significant(x, 4) for x in means]}
            for name, means in zip(wide.index, wide.to_numpy(), strict=True)
        ],
    }
