"""The transformation of the direct estimates in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WHAT = {
    "log": "the logarithm of the direct estimate",
    "logit": "the log odds of the direct estimate, log(p / (1 - p))",
    "arcsin": "the arcsine of the square root of the direct estimate",
}


def transformation_in_words(model: Mapping[str, Any]) -> list[str]:
    """Say what was transformed, how it was undone, and what stayed on the scale of the model.

    Parameters
    ----------
    model : mapping
        `FitResult.model`.

    Returns
    -------
    list of str
        Sentences; none without a transformation.
    """
    name = str(model.get("transformation") or "none")
    if name not in _WHAT:
        return []
    variance = (
        "1 / (4 n), n its effective sample size" if model.get("n_eff") else "that of the input by the delta method"
    )
    sentences = [f"The model is of {_WHAT[name]}; its sampling variance is {variance}."]
    undone = str(model.get("back_transformation") or "")
    sentences.append(
        "Estimates, standard errors and intervals are in the units of the direct estimates"
        + (f" ({undone})" if undone else "")
        + "; the ends of intervals are transformed back as they are. Coefficients, hyperparameters, shrinkage and "
        "standardised residuals are on the scale of the model."
    )
    return sentences
