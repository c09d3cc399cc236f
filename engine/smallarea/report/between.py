"""How the responses of a model hang together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallarea.report.facts import ResponseFacts
from smallarea.report.figures import between_responses
from smallarea.report.formatting import as_number, fixed, significant
from smallarea.report.parameters import split_name
from smallarea.report.words import responses_of, sampling_in_words

if TYPE_CHECKING:
    from smallarea.results.fit_result import FitResult

MOST_PAIRS = 6
_CRITERIA = {
    "bayes": "log marginal likelihood",
    "reml": "restricted log-likelihood",
    "ml": "log-likelihood",
}
BLOCK = 2_000_000  # numbers worked on at once

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; the ends are NaN if there is none."""

    estimate: float
    lower: float = float("nan")
    upper: float = float("nan")

    def __str__(self) -> str:
        text = fixed(self.estimate, 2)
        return f"{text} ({fixed(self.lower, 2)} to {fixed(self.upper, 2)})" if np.isfinite(self.lower) else text


def between(result: FitResult, every: Sequence[ResponseFacts]) -> dict[str, Any]:
    """Everything about the responses together that the report prints.

    Parameters
    ----------
    result : FitResult
        The fit.
    every : sequence of ResponseFacts
        Numbers of each response.

    Returns
    -------
    dict
        Empty with one response. ``pairs`` (list of dict with the names, correlations as texts and the scatter),
        ``columns`` (which correlations there are), ``sampling``, ``assumed``, ``orders``, ``more`` (pairs that are not
        shown).
    """
    if len(every) < 2:
        return {}
    couples = list(combinations(range(len(every)), 2))
    pairs = [_pair(result, every[a], every[b], (a, b)) for a, b in couples[:MOST_PAIRS]]
    text, assumed = sampling_in_words(result.model)
    return {
        "pairs": pairs,
        "columns": {key: any(pair[key] for pair in pairs) for key in ("direct", "model", "true", "effects")},
        "sampling": text,
        "assumed": assumed,
        "orders": order_rows(result),
        "score": _CRITERIA.get(str(result.model.get("method")), "score"),
        "more": len(couples) - len(pairs),
    }


def _pair(result: FitResult, one: ResponseFacts, two: ResponseFacts, at: tuple[int, int]) -> dict[str, Any]:
    arrays = (one.arrays, two.arrays)
    correlations = {
        "direct": _correlation(*(a["direct"] for a in arrays)),
        "model": _correlation(*(a["estimate"] for a in arrays)),
        "true": _correlation_of_draws(result, at),
        "effects": _correlation_parameter(result, one.name, two.name),
    }
    return {
        "first": one.name,
        "second": two.name,
        "scatter": between_responses(
            (arrays[0]["direct"], arrays[1]["direct"]), (arrays[0]["estimate"], arrays[1]["estimate"])
        ),
        **{key: str(value) if value is not None else "" for key, value in correlations.items()},
    }


def _correlation(x: FloatArray, y: FloatArray) -> Interval | None:
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 4 or np.ptp(x[both]) == 0.0 or np.ptp(y[both]) == 0.0:
        return None
    return Interval(float(np.corrcoef(x[both], y[both])[0, 1]))


def _correlation_of_draws(result: FitResult, at: tuple[int, int]) -> Interval | None:
    """Posterior of the correlation over the areas between the true values of two responses."""
    if result.posterior is None:
        return None
    theta = result.posterior.theta
    known = np.flatnonzero(np.isfinite(theta[0]).all(axis=1))
    if known.size < 4:
        return None
    found = []
    size = max(1, BLOCK // known.size)
    for start in range(0, len(theta), size):
        x, y = (np.asarray(theta[start : start + size, known, k], dtype=np.float64) for k in at)
        x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
        norm = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
        found.append((x * y).sum(axis=1) / norm)
    draws = np.concatenate(found)
    tail = 0.5 * (1.0 - float(result.model.get("level", 0.95)))
    return Interval(float(draws.mean()), *(float(q) for q in np.quantile(draws, [tail, 1.0 - tail])))


def _correlation_parameter(result: FitResult, first: str, second: str) -> Interval | None:
    responses = responses_of(result.model)
    for _, row in result.hyperparameters.iterrows():
        name = split_name(str(row["name"]), responses)
        if name.kind == "correlation" and set(name.of) == {first, second}:
            return Interval(*(as_number(row[column]) for column in ("estimate", "lower", "upper")))
    return None


def order_rows(result: FitResult) -> list[dict[str, str]]:
    """Orders of a chain that were tried, the best first; empty if there was nothing to choose."""
    tried = str(result.diagnostics.get("orders_tried", ""))
    scores = {order: float(score) for order, score in re.findall(r"(.+?): (-?[0-9.]+|-inf)(?:; |$)", tried)}
    if not scores:
        return []
    best = max(scores.values())
    rows = sorted(scores.items(), key=lambda item: -item[1])
    return [
        {"order": order, "score": fixed(score, 2), "behind": "" if score == best else fixed(score - best, 2)}
        for order, score in rows
    ]


def gain_rows(every: Sequence[ResponseFacts]) -> list[dict[str, str]]:
    """Median errors of each response: direct, by plain shrinkage where that was computed, and by the model."""
    rows = []
    for facts in every:
        both = facts.both
        if not both.any():
            continue
        plain = both & np.isfinite(facts.arrays["plain_se"])
        row = {"name": facts.name, "n": str(int(both.sum())), "se_plain": "", "cv_plain": "", "against": ""}
        row |= {"se_direct": significant(facts.median("direct_se", both)), "se": significant(facts.median("se", both))}
        row |= {key: _share(facts, key, both) for key in ("cv_direct", "cv")}
        if plain.any():
            ratio = np.median(facts.arrays["se"][plain] / facts.arrays["plain_se"][plain]) - 1.0
            row |= {
                "se_plain": significant(facts.median("plain_se", plain)),
                "cv_plain": _share(facts, "cv_plain", plain),
                "against": f"{'−' if ratio < 0 else '+'}{fixed(abs(100.0 * ratio), 1)}%",
            }
        rows.append(row)
    return rows


def _share(facts: ResponseFacts, column: str, where: npt.NDArray[np.bool_]) -> str:
    return f"{significant(100.0 * facts.median(column, where), 3)}%" if facts.relative else ""
