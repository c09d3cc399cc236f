"""Checks of the model as a whole: its sampler, its hyperparameters, its assumptions between responses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from smallarea.report.checks import FINE, LOOK, NOTE, Check
from smallarea.report.formatting import as_number, count, fixed, listed, percent
from smallarea.report.learning import LITTLE_LEARNED, Learning
from smallarea.report.parameters import split_name
from smallarea.report.words import is_bayesian, responses_of, sampling_in_words
from smallarea.results.posterior_tables import largest_r_hat

if TYPE_CHECKING:
    from smallarea.results.fit_result import FitResult

# A standard deviation this small beside its standard error is zero for all that the data know.
PRACTICALLY_ZERO = 0.1
NEAREST_TO_ONE = 0.999


def model_checks(result: FitResult, learned: Sequence[Learning]) -> list[Check]:
    """Check what all responses share.

    Parameters
    ----------
    result : FitResult
        The fit.
    learned : sequence of Learning
        Priors and posteriors of rho and the correlations.

    Returns
    -------
    list of Check
        Those that apply.
    """
    checks = [
        _sampler(result),
        _importance(result),
        _divergences(result),
        _model_variance(result),
        _boundary(result),
        _overlap(learned),
        _sampling_errors(result),
    ]
    return [check for check in checks if check is not None]


def _sampler(result: FitResult) -> Check | None:
    ess = as_number(result.diagnostics.get("ess_min"))
    if not math.isfinite(ess) and "ess" in result.hyperparameters:
        values = result.hyperparameters["ess"].to_numpy(np.float64, na_value=np.nan)
        ess = float(np.nanmin(values)) if np.isfinite(values).any() else math.nan
    if not math.isfinite(ess):
        return None
    shown = f"smallest effective sample size {count(ess)}"
    r_hat = as_number(result.diagnostics.get("r_hat_max"))
    if math.isfinite(r_hat):
        shown += f", largest R-hat {r_hat:.3f}"
    chains = "chains" in result.diagnostics
    if r_hat > largest_r_hat(ess):
        return Check(
            "Sampling of the hyperparameters",
            shown,
            LOOK,
            "The chains disagree: do not use the intervals. Run longer (warmup, draws)."
            if result.model.get("method") == "trees"
            else "The chains disagree: do not use the intervals. Run longer, or use another form of the spatial effect."
            if chains
            else "Quarters of the sample disagree more than chance explains. Run again with another seed and a larger "
            "min_ess, and compare.",
        )
    if ess >= 400:
        return Check("Sampling of the hyperparameters", shown, FINE, "Monte Carlo error is negligible.")
    return Check(
        "Sampling of the hyperparameters",
        shown,
        LOOK,
        f"Below 400, standard errors and interval limits carry visible Monte Carlo error. Ask for "
        f"{'more draws' if chains else 'a larger min_ess'}, or use narrower priors.",
    )


def _importance(result: FitResult) -> Check | None:
    k = as_number(result.diagnostics.get("pareto_k"))
    if not math.isfinite(k):
        return None
    verdict, text = (
        (FINE, "The importance weights are well behaved.")
        if k < 0.7
        else (
            LOOK,
            "Above 0.7 the importance weights are unreliable: do not use the intervals. Change priors or model.",
        )
    )
    return Check("Importance weights", f"Pareto k {fixed(k, 2)}", verdict, text)


def _divergences(result: FitResult) -> Check | None:
    if "divergences" not in result.diagnostics:
        return None
    found = int(result.diagnostics["divergences"])
    shown = f"{count(found)} of {count(as_number(result.diagnostics.get('draws')))} steps"
    if not found:
        return Check("Divergent steps of the sampler", shown, FINE, "The integrator followed the posterior everywhere.")
    return Check(
        "Divergent steps of the sampler",
        shown,
        LOOK,
        "The sampler could not follow the posterior there, and the sample may miss that part of it. Use another form "
        "of the spatial effect, a longer warm-up, or narrower priors of the standard deviations.",
    )


def _vanished(result: FitResult) -> dict[str, list[str]]:
    """Tell standard deviations that are zero for all that the data know from those that are not."""
    found: dict[str, list[str]] = {"zero": [], "above": []}
    for _, row in result.hyperparameters.iterrows():
        name, estimate, se = str(row["name"]), as_number(row["estimate"]), as_number(row["se"])
        if name.startswith("sd_"):
            zero = estimate == 0.0 or estimate < PRACTICALLY_ZERO * se
            found["zero" if zero else "above"].append(name)
    return found


def _model_variance(result: FitResult) -> Check | None:
    """Whether a response is left without any effect of its areas."""
    if is_bayesian(result.model) or not len(result.hyperparameters):
        return None
    responses, found = responses_of(result.model), _vanished(result)
    gone, alive = ([split_name(name, responses).of for name in found[key]] for key in ("zero", "above"))
    collapsed = list(dict.fromkeys(of for of in gone if of not in alive))
    if not collapsed:
        return Check("Model variance", "above zero", FINE, "The areas differ by more than sampling error.")
    names = [name for name in found["zero"] if split_name(name, responses).of in collapsed]
    return Check(
        "Model variance",
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} zero",
        LOOK,
        "Every estimate equals the regression prediction and the direct estimates have no weight, which is rarely "
        "credible. Use the Bayesian method, or with independent effects an adjusted likelihood (amrl, ampl).",
    )


def _boundary(result: FitResult) -> Check | None:
    """Whether the likelihood is highest at the end of the range of a hyperparameter."""
    if is_bayesian(result.model) or len(result.hyperparameters) < 2:
        return None
    at_end = [f"{name} is zero" for name in _vanished(result)["zero"]]
    for _, row in result.hyperparameters.iterrows():
        name, estimate = str(row["name"]), as_number(row["estimate"])
        if name.startswith(("rho", "correlation")) and abs(estimate) > NEAREST_TO_ONE:
            at_end.append(f"{name} is {fixed(estimate, 3)}")
    title = "Hyperparameters inside their range"
    if not at_end:
        return Check(title, "none at an end", FINE, "Their standard errors can be used as a scale.")
    return Check(
        title,
        "; ".join(at_end),
        NOTE,
        "The likelihood is highest at the end of the range. One value is used as if it were known, and the standard "
        "errors of the estimates do not know how uncertain it is. The Bayesian method averages over it.",
    )


def _overlap(learned: Sequence[Learning]) -> Check | None:
    if not learned:
        return None
    title = "What the data say about dependence"
    shown = "overlap of prior and posterior: " + listed(
        (
            f"{one.name.kind}{f' of {one.name.responses}' if one.name.of else ''} {percent(one.overlap)}"
            for one in learned
        ),
        12,
    )
    bad = [one for one in learned if one.overlap > LITTLE_LEARNED]
    if not bad:
        return Check(title, shown, FINE, "The data, and not the priors, decide on rho and correlations.")
    kinds = listed(dict.fromkeys({"rho": "rho", "correlation": "the correlation"}[one.name.kind] for one in bad))
    return Check(
        title,
        shown,
        NOTE,
        f"The data say little about {kinds}: the posterior is much like the prior (figure below). Estimates "
        "average over all plausible values and do not hinge on one; a statement about the parameter itself would be "
        "one about the prior.",
    )


def _sampling_errors(result: FitResult) -> Check | None:
    text, assumed = sampling_in_words(result.model)
    if not text:
        return None
    value = as_number(result.model.get("sampling_correlation"))
    title = "Sampling errors of different responses"
    if not assumed:
        return Check(title, "covariances given", FINE, "Nothing had to be assumed about what the errors share.")
    return Check(
        title,
        f"correlation {fixed(value if math.isfinite(value) else 0.0, 2)} assumed",
        NOTE,
        "Not estimated, and the correlation between the responses depends on it: compare fits with other values.",
    )
