"""The HTML report: one file that a person reads, prints and files."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea.report import classes, figures, maps, tables
from smallarea.report.between import between, gain_rows
from smallarea.report.checks import Check, run_checks, share_text, summary_of
from smallarea.report.facts import ResponseFacts, gather, no_estimate_label
from smallarea.report.formatting import (
    as_number,
    count,
    level_percent,
    percent,
    seconds,
    setting,
)
from smallarea.report.learning import LITTLE_LEARNED, Learning, learn
from smallarea.report.model_checks import model_checks
from smallarea.report.page import page_template, time_words, write_page
from smallarea.report.parameters import hyperparameter_groups
from smallarea.report.references import references
from smallarea.report.summary import summary, tiles
from smallarea.report.tree_tables import tree_tables
from smallarea.report.words import is_bayesian, is_spatial, model_in_words, responses_of

if TYPE_CHECKING:
    from smallarea.results.fit_result import FitResult

RANKED_LIMIT = 400
DOT_LIMIT = 120
MOST_LEARNED = 6


def write_report(result: FitResult, path: str, *, written: datetime | None = None) -> None:
    """Write the report of a fit.

    Parameters
    ----------
    result : FitResult
        The fit.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_report(result, written=written or datetime.now().astimezone()), path)


def render_report(result: FitResult, *, written: datetime | None = None) -> str:
    """Return the report of a fit as a self-contained HTML page.

    Parameters
    ----------
    result : FitResult
        The fit.
    written : datetime, optional
        The time to print in it; none if not given, so that the same fit gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    every = gather(result)
    shapes = maps.prepare_shapes(result.areas, result.graph) if result.areas is not None else None
    learned = learn(result)
    whole = model_checks(result, learned)
    several = len(every) > 1
    blocks = [
        _block(result, facts, shapes, number, [] if several else whole) for number, facts in enumerate(every, start=1)
    ]
    context: dict[str, Any] = {
        "title": _title(result, every),
        "blocks": blocks,
        "several": several,
        "model_checks": whole if several else [],
        "model_summary": summary_of(whole, "the model as a whole") if several else "",
        "between": between(result, every),
        "gains": gain_rows(every),
        "learned": _learned_pictures(learned),
        "steps": _chain_steps(result),
        "result": result,
        "model_words": model_in_words(result.model),
        "coefficients": tables.coefficient_groups(result),
        "hyperparameters": hyperparameter_groups(result),
        "trees": tree_tables(result),
        "statistics": tables.statistic_rows(result),
        "bayes": is_bayesian(result.model),
        "spatial": is_spatial(result.model),
        "level": level_percent(result.model["level"]) if "level" in result.model else "",
        "reliability": result.reliability,
        "dropped": tables.dropped_groups(result.dropped),
        "graph": tables.graph_rows(result.graph) if result.graph is not None else [],
        "layer": [*_layer_rows(result), *_missing_rows(result)],
        "repairs": list(result.areas.repairs) if result.areas is not None else [],
        "call": [(str(k), setting(v)) for k, v in result.call.items() if v is not None and v != [] and v != {}],
        "versions": [(str(k), str(v)) for k, v in result.versions.items()],
        "timings": _timings(result),
        "references": references(
            result.model,
            moran=any(f.moran is not None for f in every),
            shapiro=any(f.normality is not None for f in every),
            brown=any(f.agreement is not None for f in every),
            overlap=bool(learned),
        ),
        "version": str(result.versions.get("smallarea", "")),
        "written": time_words(written),
        "source": str(result.areas.source) if result.areas is not None else "",
    }
    return page_template("report").render(context)


def _block(
    result: FitResult, facts: ResponseFacts, shapes: maps.MapShapes | None, number: int, whole: list[Check]
) -> dict[str, Any]:
    """Everything about one response that the template prints; ``whole`` are checks of the model that belong here."""
    checks = [*whole, *run_checks(result, facts)]
    several = len(responses_of(result.model)) > 1
    a = facts.arrays
    colours = {str(c.get("label")): _colour(c.get("colour")) for c in result.reliability.get("classes", ())}
    already = set(result.dropped["reason"].astype(str)) if len(result.dropped) else set()
    n = len(facts.table)
    return {
        "name": facts.name,
        "anchor": f"r{number}",
        "facts": facts,
        "summary": summary(result, facts, checks, facts.name if several else "the model"),
        "tiles": tiles(facts),
        "checks": checks,
        "maps": _maps(result, facts, shapes, colours) if shapes is not None and len(shapes.paths) == n else {},
        "reliability": _reliability(facts),
        "predicted": int((~facts.has_direct & facts.has_estimate).sum()),
        "scatter": figures.direct_and_model(a["direct"], a["estimate"], facts.largest[:5]),
        "errors": figures.errors_before_after(a["direct_se"], a["se"]),
        "shrinkage": figures.shrinkage_and_variance(a["direct_se"], a["shrinkage"]),
        "ranked": figures.ranked_intervals(a["estimate"], a["lower"], a["upper"], a["direct"])
        if n <= RANKED_LIMIT
        else None,
        "changes": tables.change_rows(facts),
        "qq": figures.normal_quantiles(facts.residual),
        "moran": figures.moran_scatter(facts.residual, facts.lag) if facts.lag is not None else None,
        "log_scale": bool(re.search(r"(^|[^a-z])(log|ln|logit)([^a-z]|$)", facts.name.lower())),
        "notes": tables.note_groups(facts, already),
        "estimates": tables.estimate_rows(facts, colours),
        "n": n,
    }


def _maps(result: FitResult, facts: ResponseFacts, shapes: maps.MapShapes, colours: dict[str, str]) -> dict[str, Any]:
    a = facts.arrays
    unsampled = ~facts.has_direct & facts.has_estimate
    marked = unsampled if 0 < int(unsampled.sum()) <= DOT_LIMIT else None
    estimate = classes.classes_by_breaks(a["estimate"], "estimate", facts.scale)
    if facts.relative:
        error = classes.classes_by_breaks(a["cv"], "uncertainty", as_percent=True)
    else:
        error = classes.classes_by_breaks(a["se"], "uncertainty", facts.scale)
    found: dict[str, Any] = {
        "estimate": (maps.draw_map(shapes, estimate, marked), estimate.legend),
        "error": (maps.draw_map(shapes, error, marked), error.legend),
        "marked": marked is not None,
        "rings": bool(np.any(shapes.alone & (shapes.sizes < maps.RING_SIZE))),
    }
    known = [
        {"label": str(c.get("label")), "colour": colours[str(c.get("label"))]}
        for c in result.reliability.get("classes", ())
    ]
    if known and any(facts.table["flag"].isin([c["label"] for c in known])):
        by_class = classes.classes_of_labels(facts.table["flag"], known, no_estimate_label(facts))
        if np.unique(by_class.index).size > 1:  # a map of one colour says nothing
            found["reliability"] = (maps.draw_map(shapes, by_class), by_class.legend)
    if np.isfinite(facts.residual).any():
        residual = classes.classes_of_residuals(facts.residual)
        found["residual"] = (maps.draw_map(shapes, residual), residual.legend)
    return found


def _learned_pictures(learned: list[Learning]) -> list[dict[str, Any]]:
    """Figures of the hyperparameters that the data say little about."""
    return [
        {
            "kind": one.name.kind,
            "responses": one.name.responses,
            "overlap": percent(one.overlap),
            "picture": figures.prior_and_posterior(one.x, one.prior, one.posterior),
        }
        for one in learned
        if one.overlap > LITTLE_LEARNED
    ][:MOST_LEARNED]


def _chain_steps(result: FitResult) -> list[tuple[int, int]]:
    """Numbers of the responses of each step of a chain, the conditional one first."""
    names = responses_of(result.model)
    order = [names.index(str(name)) + 1 for name in result.model.get("order") or ()]
    return list(pairwise(order))


def _title(result: FitResult, every: list[ResponseFacts]) -> str:
    names = [f.name for f in every if f.name] or responses_of(result.model)
    return ", ".join(n for n in names if n)


def _reliability(facts: ResponseFacts) -> dict[str, Any]:
    rows = facts.reliability
    if not rows:
        return {}
    sampled, predicted = int(facts.has_direct.sum()), len(facts.table) - int(facts.has_direct.sum())
    bars = []
    columns = [("Direct estimates", "direct", sampled if facts.preset is not None else 0)]
    columns += [("Model, same areas", "model", sampled), ("Model, no direct estimate", "predicted", predicted)]
    for text, column, whole in columns:
        if not whole:
            continue
        left, pieces = 0.0, []
        for row in rows:
            share = 100.0 * getattr(row, column) / whole
            if share > 0.0:
                pieces.append(
                    {"x": f"{left:.2f}", "width": f"{share:.2f}", "colour": _colour(row.colour), "label": row.label}
                )
            left += share
        bars.append({"text": text, "pieces": pieces, "n": count(whole)})
    return {
        "rows": [
            {
                "label": r.label,
                "meaning": r.meaning,
                "colour": _colour(r.colour),
                "direct": share_text(r.direct, sampled) if facts.preset is not None else "",
                "model": share_text(r.model, sampled),
                "predicted": share_text(r.predicted, predicted),
            }
            for r in rows
        ],
        "bars": bars,
        "has_direct": facts.preset is not None and sampled > 0,
        "has_predicted": predicted > 0,
    }


def _layer_rows(result: FitResult) -> list[tuple[str, str]]:
    areas = result.areas
    if areas is None:
        return []
    crs = areas.crs
    rows = [
        ("Polygons", str(areas.source)),
        ("Area ids from", str(areas.id_field) if areas.id_field is not None else "row numbers"),
        ("Coordinate reference system", str(getattr(crs, "name", crs)) if crs is not None else "none given"),
    ]
    return [row for row in rows if row[1]]


def _missing_rows(result: FitResult) -> list[tuple[str, str]]:
    """Return what missing answers cost direct estimates of an imputed survey, from their fields fmi_NAME."""
    named = result.call.get("direct") or ()
    frame = result.areas.frame if result.areas is not None else None
    rows = []
    for name in [named] if isinstance(named, str) else named:
        if frame is None or f"fmi_{name}" not in frame.columns:
            continue
        values = [v for v in map(as_number, frame[f"fmi_{name}"]) if v == v]
        if values:
            middle, most = sorted(values)[len(values) // 2], max(values)
            text = f"{percent(middle)} in the area in the middle, {percent(most)} at most; it is in the variances"
            rows.append((f"Fraction of missing information, {name}", text))
    return rows


def _timings(result: FitResult) -> list[dict[str, str]]:
    values = {str(k): as_number(v) for k, v in result.timings.items()}
    total = sum(v for v in values.values() if v == v)
    if not total > 0.0:
        return []
    rows = [{"stage": k, "time": seconds(v), "width": f"{100.0 * v / total:.2f}"} for k, v in values.items() if v == v]
    return [*rows, {"stage": "total", "time": seconds(total), "width": ""}]


def _colour(value: Any) -> str:
    """Return a colour that is safe inside an attribute, grey if it is not one."""
    text = str(value)
    return text if re.fullmatch(r"#[0-9a-fA-F]{6}", text) else "#8c8c8c"
