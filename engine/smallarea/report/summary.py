"""The few sentences and numbers that a report begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from smallarea.report.checks import Check, share_text, summary_of
from smallarea.report.formatting import count, fixed, listed, percent, plural, significant
from smallarea.report.words import is_spatial, responses_of

if TYPE_CHECKING:
    from smallarea.report.facts import ResponseFacts
    from smallarea.results.fit_result import FitResult


# What there is of an area before the model.
_SEEN = {
    "normal": "The survey has a direct estimate with its sampling variance",
    "beta": "The survey has a direct estimate with its sampling variance",
    "binomial": "There is a count with its trials",
    "poisson": "There is a count",
}


def summary(result: FitResult, facts: ResponseFacts, checks: list[Check], of: str) -> list[str]:
    """Say what the report says of one response in a few sentences; ``of`` is what the checks were of."""
    n, estimated = len(facts.table), int(facts.has_estimate.sum())
    both, sampled = facts.both, int(facts.has_direct.sum())
    predicted = int((~facts.has_direct & facts.has_estimate).sum())
    text = [
        "The model gives an estimate for "
        + (f"all {plural(n, 'area')}" if estimated == n else f"{count(estimated)} of {plural(n, 'area')}")
        + f". {_SEEN.get(str(result.model.get('likelihood', 'normal')), _SEEN['normal'])} for "
        + ("all of them." if sampled == n else f"{count(sampled)}.")
    ]
    if predicted:
        helpers = ["covariates", *(["neighbours"] if is_spatial(result.model) else [])]
        if len(responses_of(result.model)) > 1 and result.model.get("link") != "independent":
            helpers.append("the other responses")
        basis = listed(helpers)
        one = predicted == 1
        text.append(
            f"The other {'one' if one else count(predicted)} {'is' if one else 'are'} predicted from {basis} alone."
            if predicted == n - sampled
            else f"{plural(predicted, 'area')} {'is' if one else 'are'} predicted from {basis} alone."
        )
    if both.any():
        before, after = facts.median("direct_se", both), facts.median("se", both)
        ratio = np.median((a := facts.arrays)["direct_se"][both] ** 2 / np.maximum(a["se"][both], 1e-300) ** 2)
        move = facts.se_change
        text.append(
            f"Where there is a direct estimate, the median standard error goes from {significant(before)} to "
            f"{significant(after)}; in the typical area it is {percent(abs(move))} "
            f"{'smaller' if move < 0 else 'larger'} than that of the direct estimate"
            + (f", as if the survey there were {fixed(ratio, 1)} times as large." if 1.05 < ratio < 1e4 else ".")
        )
        if facts.relative:
            text.append(
                f"The median coefficient of variation goes from {percent(facts.median('cv_direct', both))} to "
                f"{percent(facts.median('cv', both))}."
            )
    best = facts.reliability[0] if facts.reliability and facts.preset is not None else None
    if best is not None and sampled:
        text.append(
            f"By the rule “{facts.preset.title if facts.preset else ''}”, {share_text(best.direct, sampled)} of the "
            f"direct estimates and {share_text(best.model, sampled)} of the model estimates in the same areas are "
            f"“{best.label}”."
        )
    if checks:
        text.append(summary_of(checks, of))
    return text


def tiles(facts: ResponseFacts) -> list[dict[str, str]]:
    """Return a few numbers to be seen first."""
    both = facts.both
    found = [
        {"value": count(facts.has_estimate.sum()), "label": f"areas with an estimate, of {count(len(facts.table))}"},
        {"value": count(facts.has_direct.sum()), "label": "of them with a direct estimate"},
    ]
    if both.any():
        move = facts.se_change
        found.append(
            {
                "value": f"{'−' if move < 0 else '+'}{percent(abs(move))}",
                "label": "standard error, model against direct (median)",
            }
        )
    if facts.reliability and facts.preset is not None and facts.has_direct.any():
        best, n = facts.reliability[0], int(facts.has_direct.sum())
        found.append(
            {
                "value": f"{percent(best.direct / n)} → {percent(best.model / n)}",
                "label": f"“{best.label}”, direct → model",
            }
        )
    return found
