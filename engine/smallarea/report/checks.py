"""What a careful reader would check of each response, with the answer and what to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from smallarea.report.formatting import (
    count,
    fixed,
    p_equals,
    percent,
    plural,
    significant,
)
from smallarea.report.words import is_spatial

if TYPE_CHECKING:
    from smallarea.report.facts import ResponseFacts
    from smallarea.results.fit_result import FitResult
    from smallarea.results.residual_tests import MoranTest

FINE, NOTE, LOOK = "fine", "note", "look"


@dataclass(frozen=True)
class Check:
    """One line of the table of checks.

    Attributes
    ----------
    name : str
        What was checked.
    result : str
        The numbers.
    verdict : {'fine', 'note', 'look'}
        Nothing to do; worth knowing; needs a look.
    meaning : str
        What it means here.
    """

    name: str
    result: str
    verdict: str
    meaning: str


def run_checks(result: FitResult, facts: ResponseFacts) -> list[Check]:
    """Check one response.

    Parameters
    ----------
    result : FitResult
        The fit.
    facts : ResponseFacts
        Numbers of the response.

    Returns
    -------
    list of Check
        Those that apply.
    """
    checks = [
        _degrees(result, facts),
        _gain(facts),
        _agreement(facts),
        _normality(facts),
        _outliers(facts),
        _moran(result, facts),
        _pattern(result, facts),
    ]
    return [check for check in checks if check is not None]


def _degrees(result: FitResult, facts: ResponseFacts) -> Check | None:
    if result.model.get("method") == "trees":  # which have no coefficients; their prior keeps them from fitting noise
        return None
    n, p = int(facts.has_direct.sum()), max(1, int((result.coefficients["response"] == facts.name).sum()))
    shown = f"{plural(n, 'direct estimate')}, {plural(p, 'coefficient')}"
    if n >= 5 * p:
        return Check("Enough areas", shown, FINE, "There are enough areas for so many coefficients.")
    return Check(
        "Enough areas",
        shown,
        LOOK,
        "Fewer than five areas for each coefficient: the regression may fit noise. Use fewer covariates.",
    )


def _gain(facts: ResponseFacts) -> Check | None:
    both = facts.both
    if not both.any():
        return None
    # Posterior standard deviations from a few thousand draws have an error of a percent or two.
    worse = int(np.count_nonzero(facts.arrays["se"][both] > 1.03 * facts.arrays["direct_se"][both]))
    total = int(both.sum())
    shown = f"larger than the direct one in {count(worse) if worse else 'none'} of {plural(total, 'area')}"
    if worse == 0:
        return Check("Standard errors of the model", shown, FINE, "The model loses precision nowhere.")
    few = worse <= 0.1 * total
    return Check(
        "Standard errors of the model",
        shown,
        NOTE if few else LOOK,
        "There the direct estimate is already precise, and the model adds its own uncertainty."
        if few
        else "The model costs more precision than it brings in many areas. Look at its covariates and variances.",
    )


def _agreement(facts: ResponseFacts) -> Check | None:
    test = facts.agreement
    if test is None:
        return None
    bounds = (test.slope - 1.96 * test.slope_se, test.slope + 1.96 * test.slope_se)
    shown = (
        f"slope {fixed(test.slope, 2)} ({fixed(bounds[0], 2)} to {fixed(bounds[1], 2)}), W = "
        f"{significant(test.wald, 3)} on {count(test.n)} degrees of freedom, {p_equals(test.p_value)}"
    )
    name = "Agreement with the direct estimates (Brown et al.)"
    if test.p_value < 0.05:
        return Check(
            name,
            shown,
            LOOK,
            "Model and direct estimates differ by more than their errors explain. Check the sampling variances.",
        )
    if not bounds[0] <= 1.0 <= bounds[1]:
        return Check(
            name,
            shown,
            NOTE,
            "Direct estimates spread more than model estimates, which is what shrinkage does; a slope far above 1 "
            "would mean that the model pulls too hard."
            if test.slope > 1.0
            else "Model estimates spread more than the direct ones: unusual. Check covariates and units.",
        )
    return Check(name, shown, FINE, "No sign that the model estimates are biased.")


def _normality(facts: ResponseFacts) -> Check | None:
    test = facts.normality
    if test is None:
        return None
    part = f" (random {count(test.n_tested)} of {count(test.n)})" if test.n_tested < test.n else ""
    shown = (
        f"Shapiro-Wilk W = {fixed(test.w, 3)}{part}, {p_equals(test.p_value)}; skewness {fixed(test.skewness, 2)}, "
        f"excess kurtosis {fixed(test.excess_kurtosis, 2)}"
    )
    name = "Normality of the standardised residuals"
    if test.p_value >= 0.01:
        return Check(name, shown, FINE, "No sign against normal area effects and sampling errors.")
    if abs(test.skewness) < 0.5 and abs(test.excess_kurtosis) < 1.0:
        return Check(
            name,
            shown,
            NOTE,
            "Significant, because there are many areas, but the shape is close to normal. Estimates are hardly "
            "touched.",
        )
    advice = (
        "a transformation of the response (log, logit) may help."
        if abs(test.skewness) >= 0.5
        else "tails this heavy come from a few areas that the model does not expect."
    )
    return Check(
        name,
        shown,
        LOOK,
        f"Intervals may be too narrow in the tails. Look at the outlying areas and at the covariates; {advice}",
    )


def _outliers(facts: ResponseFacts) -> Check | None:
    residual = facts.residual[np.isfinite(facts.residual)]
    if residual.size < 4:
        return None
    far = int(np.count_nonzero(np.abs(residual) > 3.0))
    expected = 0.0027 * residual.size
    shown = f"{plural(far, 'area')} beyond 3 ({significant(expected, 2)} expected)"
    if far <= max(1.0, 3.0 * expected):
        return Check("Outlying areas", shown, FINE, "About as many as chance would give.")
    return Check(
        "Outlying areas",
        shown,
        LOOK,
        "Check their direct estimates and variances: a variance that is too small gives a wrong number too much "
        "weight.",
    )


def _moran(result: FitResult, facts: ResponseFacts) -> Check | None:
    test = facts.moran
    if test is None or not math.isfinite(test.p_value):
        return None
    name, shown = "Spatial pattern of the residuals (Moran's I)", _moran_text(test)
    alike = test.p_value < 0.05 and test.statistic > test.expected
    if is_spatial(result.model):
        if alike:
            return Check(
                name,
                shown,
                LOOK,
                "Neighbours err alike although the model borrows from neighbours: a covariate with a spatial "
                "pattern may be missing, or the graph may lack neighbours.",
            )
        return Check(
            name,
            shown,
            FINE,
            "No pattern is left. A value somewhat below zero is normal here, as each area is predicted from its "
            "neighbours.",
        )
    if alike:
        return Check(
            name,
            shown,
            LOOK,
            "Neighbours are alike, and the model ignores it. A spatial random effect (car, leroux or bym2) "
            "would gain precision.",
        )
    return Check(name, shown, FINE, "No sign that neighbours are alike beyond the covariates.")


def _pattern(result: FitResult, facts: ResponseFacts) -> Check | None:
    test = facts.pattern
    if test is None or not is_spatial(result.model) or not math.isfinite(test.p_value):
        return None
    name, shown = "Use of a spatial effect (Moran's I beyond the covariates)", _moran_text(test)
    if test.p_value < 0.05 and test.statistic > test.expected:
        return Check(
            name, shown, FINE, "Neighbours are alike beyond the covariates; the spatial effect makes use of it."
        )
    return Check(
        name,
        shown,
        NOTE,
        "Beyond the covariates neighbours are hardly alike: an independent effect would serve nearly as well.",
    )


def _moran_text(test: MoranTest) -> str:
    permuted = f", by permutation {p_equals(test.permutation_p)}" if math.isfinite(test.permutation_p) else ""
    return f"I = {fixed(test.statistic, 3)} ({fixed(test.expected, 3)} expected), {p_equals(test.p_value)}{permuted}"


def summary_of(checks: list[Check], of: str = "the model") -> str:
    """Say in one sentence how the checks of something came out."""
    look = [c.name for c in checks if c.verdict == LOOK]
    if not checks:
        return ""
    if not look:
        return f"All {count(len(checks))} checks of {of} are fine or need no action."
    share = f"{count(len(look))} of {count(len(checks))} checks of {of}"
    return f"{share} {'needs' if len(look) == 1 else 'need'} a look: {'; '.join(look)}."


def share_text(part: int, whole: int) -> str:
    """Write ``12 (34%)``; only the count if there is no whole."""
    return f"{count(part)} ({percent(part / whole)})" if whole else count(part)
