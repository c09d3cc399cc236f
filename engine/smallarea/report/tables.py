"""Tables of the report: rows of finished texts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea.report.formatting import as_number, count, fixed, percent, scale_for, significant
from smallarea.report.words import DIAGNOSTICS, STATISTICS

if TYPE_CHECKING:
    import pandas as pd

    from smallarea.areas import AreaGraph
    from smallarea.report.facts import ResponseFacts
    from smallarea.results.fit_result import FitResult

FULL_TABLE_LIMIT = 250
MAX_GROUPS = 60
IDS_SHOWN = 12
BAR_WIDTH = 170.0
_PROVENANCE: dict[str, tuple[str, dict[str, str]]] = {
    "contiguity": (
        "Neighbours are",
        {"queen": "areas that share a point (queen)", "rook": "areas that share a stretch of boundary (rook)"},
    ),
    "islands": (
        "Areas that touch none",
        {
            "own_component": "stand alone (own component)",
            "nearest": "are linked to the nearest area",
            "error": "stop the run",
        },
    ),
}
_TWO_DECIMALS = {
    "log_likelihood",
    "restricted_log_likelihood",
    "log_marginal_likelihood",
    "aic",
    "bic",
    "kic",
    "dic",
    "waic",
}
_PAIRS = {
    "links_added": "Links added to the nearest area",
    "overlapping": "Neighbours that overlap",
    "across_antimeridian": "Neighbours across the 180th meridian",
}


@dataclass(frozen=True)
class Group:
    """Areas or rows that share a reason.

    Attributes
    ----------
    what, reason : str
        What they are, and why they are listed.
    n : int
        How many.
    ids : tuple of str
        The first of them.
    """

    what: str
    reason: str
    n: int
    ids: tuple[str, ...]

    @property
    def more(self) -> int:
        """How many are not named."""
        return self.n - len(self.ids)


def coefficient_groups(result: FitResult) -> list[tuple[str, list[dict[str, str]]]]:
    """Rows of the coefficient table by response."""
    groups: dict[str, list[dict[str, str]]] = {}
    for _, row in result.coefficients.iterrows():
        scale = scale_for([as_number(row["se"])], [as_number(row["estimate"])])
        groups.setdefault(str(row["response"]), []).append(
            {
                "term": str(row["term"]),
                "estimate": scale(row["estimate"]),
                "se": scale(row["se"]),
                "lower": scale(row["lower"]),
                "upper": scale(row["upper"]),
                "sign_is_clear": "" if as_number(row["lower"]) <= 0.0 <= as_number(row["upper"]) else "yes",
            }
        )
    return list(groups.items())


def statistic_rows(result: FitResult) -> list[tuple[str, str]]:
    """Names and values of fit statistics and diagnostics."""
    rows = [
        (STATISTICS.get(name, _plain(name)), fixed(value, 2) if name in _TWO_DECIMALS else significant(value, 4))
        for name, value in result.fit_statistics.items()
        if math.isfinite(as_number(value))
    ]
    for name, value in result.diagnostics.items():
        number = as_number(value)
        if name in {"moran_i", "moran_p", "shapiro_w", "shapiro_p", "orders_tried"}:
            continue  # shown elsewhere with their meaning
        if isinstance(value, bool | np.bool_):
            shown = "yes" if value else "no"
        elif math.isfinite(number):
            shown = count(number) if number.is_integer() else significant(number)
        elif isinstance(value, str) and value:
            shown = value
        else:
            continue
        rows.append((DIAGNOSTICS.get(name, _plain(name)), shown))
    return rows


def change_rows(facts: ResponseFacts) -> list[dict[str, str]]:
    """Rows of the areas where model and direct estimate differ most."""
    a, scale = facts.arrays, facts.scale
    return [
        {
            "number": str(number),
            "area": str(facts.table["area"].iat[row]),
            "direct": scale(a["direct"][row]),
            "direct_se": scale(a["direct_se"][row]),
            "estimate": scale(a["estimate"][row]),
            "se": scale(a["se"][row]),
            "change": fixed(a["change"][row], 1),
            "shrinkage": fixed(a["shrinkage"][row], 2),
        }
        for number, row in enumerate(facts.largest, start=1)
    ]


def estimate_rows(facts: ResponseFacts, colours: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of the table of all estimates with the places of the marks in their interval graphic.

    Parameters
    ----------
    facts : ResponseFacts
        Numbers of the response.
    colours : dict
        Reliability label to colour.

    Returns
    -------
    list of dict
        Empty if there are more than `FULL_TABLE_LIMIT` areas.
    """
    if len(facts.table) > FULL_TABLE_LIMIT:
        return []
    a, scale = facts.arrays, facts.scale
    ends = np.concatenate([a["lower"], a["upper"], a["estimate"]])
    ends = ends[np.isfinite(ends)]
    low, high = (float(ends.min()), float(ends.max())) if ends.size else (0.0, 1.0)
    width = (high - low) or 1.0

    def place(x: float) -> str:
        # Direct estimates outside the range of the model's intervals sit on the rim.
        inside = min(1.0, max(0.0, (x - low) / width))
        return f"{4.0 + inside * (BAR_WIDTH - 8.0):.1f}"

    rows = []
    for i in range(len(facts.table)):
        flag = str(facts.table["flag"].iat[i])
        has_interval = math.isfinite(a["lower"][i]) and math.isfinite(a["upper"][i])
        cv = a["cv"][i]
        rows.append(
            {
                "area": str(facts.table["area"].iat[i]),
                "direct": scale(a["direct"][i]),
                "direct_se": scale(a["direct_se"][i]),
                "estimate": scale(a["estimate"][i]),
                "se": scale(a["se"][i]),
                "cv": percent(cv) if facts.relative else "",
                "flag": flag,
                "colour": colours.get(flag, "#8c8c8c"),
                "x_lower": place(a["lower"][i]) if has_interval else "",
                "x_upper": place(a["upper"][i]) if has_interval else "",
                "x_estimate": place(a["estimate"][i]) if facts.has_estimate[i] else "",
                "x_direct": place(a["direct"][i]) if facts.has_direct[i] else "",
            }
        )
    return rows


def dropped_groups(dropped: pd.DataFrame) -> list[Group]:
    """Group what was left out by kind and reason."""
    if not len(dropped):
        return []
    groups = [
        Group(str(what), str(reason), len(part), tuple(str(i) for i in part["id"].iloc[:IDS_SHOWN]))
        for (what, reason), part in dropped.groupby(["what", "reason"], sort=False, dropna=False)
    ]
    return groups[:MAX_GROUPS]


def note_groups(facts: ResponseFacts, already: set[str]) -> list[Group]:
    """Areas without a direct estimate or without an estimate, by their note.

    Parameters
    ----------
    facts : ResponseFacts
        Numbers of the response.
    already : set of str
        Reasons that the list of what was left out names, so that they are not listed twice.
    """
    table = facts.table
    wanted = ~facts.has_direct | ~facts.has_estimate
    notes = table["note"].fillna("").astype(str).map(lambda note: _without(note, already))
    named_before = (notes == "") & (table["note"].fillna("").astype(str).str.strip() != "")
    notes = notes.mask((notes == "") & ~facts.has_estimate, "no estimate")
    notes = notes.mask((notes == "") & ~facts.has_direct, "no direct estimate")
    wanted &= ~named_before.to_numpy()
    groups = []
    for note, part in table.loc[wanted].groupby(notes[wanted], sort=False):
        groups.append(Group("area", str(note), len(part), tuple(str(i) for i in part["area"].iloc[:IDS_SHOWN])))
    return groups[:MAX_GROUPS]


def graph_rows(graph: AreaGraph) -> list[tuple[str, str]]:
    """Rows of facts about the adjacency graph."""
    degrees = np.asarray(graph.degrees, dtype=np.float64)
    rows = [
        ("Areas", count(len(graph.ids))),
        ("Pairs of neighbours", count(len(graph.edges))),
        (
            "Neighbours of an area",
            f"{fixed(degrees.mean(), 1)} on average, {count(degrees.min())} to {count(degrees.max())}"
            if degrees.size
            else "",
        ),
        ("Connected components", count(graph.n_components)),
        ("Areas without a neighbour", _with_ids(graph.islands)),
    ]
    given = dict(graph.provenance)
    for key, (title, words) in _PROVENANCE.items():
        if key in given:
            value = given.pop(key)
            rows.append((title, words.get(str(value), str(value))))
    for key, title in _PAIRS.items():
        pairs = given.pop(key, None)
        if pairs:
            rows.append((title, _with_ids(_link(p) for p in pairs)))
    rows += [
        (_plain(str(k)), str(v)) for k, v in given.items() if k not in {"source", "crs"} and v not in (None, [], {})
    ]
    rows.append(("Fingerprint", str(graph.fingerprint)[:16]))
    return [row for row in rows if row[1]]


def _with_ids(ids: Any) -> str:
    names = [str(i) for i in ids]
    if not names:
        return "none"
    shown = ", ".join(names[:IDS_SHOWN])
    rest = f" and {count(len(names) - IDS_SHOWN)} more" if len(names) > IDS_SHOWN else ""
    return f"{count(len(names))}: {shown}{rest}"


def _without(note: str, already: set[str]) -> str:
    """Return what a note says beyond the reasons that are listed already; its parts are set apart by semicolons."""
    return "; ".join(part for part in note.strip().split("; ") if part and part not in already)


def _link(pair: Any) -> str:
    """Write a link as ``a – b``, with its length if that is known."""
    if not isinstance(pair, list | tuple) or len(pair) < 2:
        return str(pair)
    length = as_number(pair[2]) if len(pair) > 2 else math.nan
    return f"{pair[0]} – {pair[1]}" + (f" ({count(length)} m)" if math.isfinite(length) else "")


def _plain(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]
