"""The model, its priors and its references in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from smallarea.report.formatting import level_percent, listed, percent, significant

METHODS = {
    "bayes": "exact Bayesian inference: the posterior of the hyperparameters is sampled with area effects and "
    "coefficients integrated out, which are then drawn exactly",
    "reml": "restricted maximum likelihood (REML) with empirical best linear unbiased prediction",
    "ml": "maximum likelihood (ML) with empirical best linear unbiased prediction",
    "fh": "the Fay-Herriot method of moments with empirical best linear unbiased prediction",
    "robust": "robust restricted maximum likelihood and robust prediction (Sinha and Rao), in which areas that do not "
    "follow the model have bounded influence; mean squared errors by parametric bootstrap",
    "ybarra_lohr": "modified least squares for covariates that are themselves estimates (Ybarra and Lohr), which "
    "trusts the direct estimate more where the covariates are less certain; mean squared errors by jackknife",
    "amrl": "adjusted residual maximum likelihood (Li and Lahiri) with empirical best linear unbiased prediction",
    "ampl": "adjusted profile maximum likelihood (Li and Lahiri) with empirical best linear unbiased prediction",
    "amrl_yl": "adjusted residual maximum likelihood (Yoshimori and Lahiri) with empirical best linear unbiased "
    "prediction",
    "ampl_yl": "adjusted profile maximum likelihood (Yoshimori and Lahiri) with empirical best linear unbiased "
    "prediction",
}
EFFECTS = {
    "iid": "an independent effect for each area",
    "car": "a spatial effect that makes neighbouring areas alike (proper CAR)",
    "leroux": "a spatial effect that mixes likeness of neighbours with independence (Leroux CAR)",
}
STATISTICS = {
    "log_likelihood": "Log-likelihood",
    "restricted_log_likelihood": "Restricted log-likelihood",
    "model_variance": "Model variance",
    "model_variance_se": "Standard error of the model variance",
    "log_marginal_likelihood_se": "Monte Carlo error of the log marginal likelihood",
    "kic": "KIC",
    "log_marginal_likelihood": "Log marginal likelihood",
    "aic": "AIC",
    "bic": "BIC",
    "dic": "DIC",
    "waic": "WAIC",
    "r2": "R²",
}
DIAGNOSTICS = {
    "ess_min": "Smallest effective sample size of a hyperparameter",
    "pareto_k": "Pareto k of the importance weights",
    "evaluations": "Evaluations of the marginal likelihood",
    "iterations": "Iterations",
    "converged": "Converged",
    "draws": "Posterior draws of the areas",
    "moran_i": "Moran's I of the standardised residuals",
    "moran_p": "p-value of Moran's I",
    "shapiro_w": "Shapiro-Wilk W of the standardised residuals",
    "shapiro_p": "p-value of Shapiro-Wilk",
}

_REFERENCES = {
    "fay-herriot": "Fay, R. E. and Herriot, R. A. (1979). Estimates of income for small places: an application of "
    "James-Stein procedures to census data. Journal of the American Statistical Association 74, 269–277.",
    "rao-molina": "Rao, J. N. K. and Molina, I. (2015). Small Area Estimation, 2nd edition. Wiley.",
    "besag": "Besag, J. (1974). Spatial interaction and the statistical analysis of lattice systems. Journal of the "
    "Royal Statistical Society B 36, 192–236.",
    "leroux": "Leroux, B. G., Lei, X. and Breslow, N. (2000). Estimation of disease rates in small areas: a new "
    "mixed model for spatial dependence. In Statistical Models in Epidemiology, the Environment, and Clinical "
    "Trials, 179–191. Springer.",
    "prasad-rao": "Prasad, N. G. N. and Rao, J. N. K. (1990). The estimation of the mean squared error of "
    "small-area estimators. Journal of the American Statistical Association 85, 163–171.",
    "datta-lahiri": "Datta, G. S. and Lahiri, P. (2000). A unified measure of uncertainty of estimated best linear "
    "unbiased predictors in small area estimation problems. Statistica Sinica 10, 613–627.",
    "datta-rao-smith": "Datta, G. S., Rao, J. N. K. and Smith, D. D. (2005). On measuring the variability of small "
    "area estimators under a basic area level model. Biometrika 92, 183–196.",
    "li-lahiri": "Li, H. and Lahiri, P. (2010). An adjusted maximum likelihood method for solving small area "
    "estimation problems. Journal of Multivariate Analysis 101, 882–892.",
    "yoshimori-lahiri": "Yoshimori, M. and Lahiri, P. (2014). A new adjusted maximum likelihood method for the "
    "Fay-Herriot small area model. Journal of Multivariate Analysis 124, 281–294.",
    "brown": "Brown, G., Chambers, R., Heady, P. and Heasman, D. (2001). Evaluation of small area estimation "
    "methods: an application to unemployment estimates from the UK LFS. Proceedings of Statistics Canada Symposium "
    "2001.",
    "cliff-ord": "Cliff, A. D. and Ord, J. K. (1981). Spatial Processes: Models and Applications. Pion.",
    "shapiro-wilk": "Shapiro, S. S. and Wilk, M. B. (1965). An analysis of variance test for normality (complete "
    "samples). Biometrika 52, 591–611.",
}
_BY_METHOD = {
    "reml": ("prasad-rao", "datta-lahiri"),
    "ml": ("datta-lahiri",),
    "fh": ("datta-rao-smith",),
    "amrl": ("li-lahiri",),
    "ampl": ("li-lahiri",),
    "amrl_yl": ("yoshimori-lahiri",),
    "ampl_yl": ("yoshimori-lahiri",),
}


def model_in_words(model: Mapping[str, Any]) -> list[str]:
    """Say in a few sentences what was fitted.

    Parameters
    ----------
    model : mapping
        `FitResult.model`.

    Returns
    -------
    list of str
        Sentences; what the mapping does not say is left out.
    """
    covariates = [str(c) for c in model.get("covariates") or ()]
    effect, method = str(model.get("random_effect", "")), str(model.get("method", ""))
    iid = bool(model.get("iid_part")) and effect != "iid"
    level = level_percent(model["level"]) if "level" in model else ""
    sentences = [
        "Each direct estimate is the area's true value plus a sampling error whose variance is known (the sampling "
        "model).",
        "The true value is explained by "
        + (f"{listed(covariates, 12)}, " if covariates else "a common mean, ")
        + "plus what the area has of its own"
        + (f": {EFFECTS[effect]}" if effect in EFFECTS else "")
        + (", and an independent effect beside it" if iid else "")
        + " (the linking model).",
        "The estimate of an area weighs its direct estimate against what the model expects there: the less precise "
        "the direct estimate, the more the model counts.",
    ]
    if method in METHODS:
        sentences.append(f"Fitted by {METHODS[method]}.")
    if method == "bayes":
        sentences.append(
            f"Estimates are posterior means, standard errors posterior standard deviations, and intervals {level} "
            "credible "
            "intervals; they include the uncertainty about the hyperparameters.".replace("  ", " ")
        )
    elif method:
        sentences.append(
            f"Standard errors are square roots of estimated mean squared errors; intervals are {level} intervals "
            "based on the "
            "normal distribution.".replace("  ", " ")
        )
    return sentences


def is_spatial(model: Mapping[str, Any]) -> bool:
    """Whether the model lets neighbours resemble each other."""
    return str(model.get("random_effect", "")) in {"car", "leroux"}


def prior_in_words(prior: str) -> str:
    """Say what a prior such as ``HalfNormal(1)`` believes; empty if it is not one of ours.

    Parameters
    ----------
    prior : str
        As `smallarea.area_level.priors` prints it.

    Returns
    -------
    str
        A short phrase.
    """
    match = re.fullmatch(r"\s*([A-Za-z]+)\s*\(([^()]*)\)\s*", prior)
    if match is None or match[1].lower() not in _PRIORS:
        return ""
    try:
        return _PRIORS[match[1].lower()](*(float(a) for a in match[2].split(",") if a.strip()))
    except (TypeError, ValueError, ZeroDivisionError):
        return ""


def _exponential(rate: float) -> str:
    return f"half of it below {significant(0.6931 / rate, 2)}, mean {significant(1 / rate, 2)}"


_PRIORS: dict[str, Callable[..., str]] = {
    "halfnormal": lambda s: f"95% of it below {significant(1.96 * s, 2)}",
    "halfstudentt": lambda df, s: (
        f"a half-t with {significant(df, 2)} degrees of freedom and scale {significant(s, 2)}"
    ),
    "halfcauchy": lambda s: f"half of it below {significant(s, 2)}, with a long tail",
    "exponential": _exponential,
    "pc": lambda upper, tail: f"{percent(tail)} of it above {significant(upper, 2)}",
    "uniform": lambda a, b: f"every value from {a:g} to {b:g} equally likely",
    "beta": lambda a, b: f"mean {significant(a / (a + b), 2)}",
    "fixed": lambda v: f"fixed at {significant(v)}",
}


def references(model: Mapping[str, Any], *, moran: bool, shapiro: bool, brown: bool) -> list[str]:
    """List the literature that this report rests on.

    Parameters
    ----------
    model : mapping
        `FitResult.model`.
    moran, shapiro, brown : bool
        Whether the tests were made.

    Returns
    -------
    list of str
        In alphabetical order.
    """
    keys = {"fay-herriot", "rao-molina", *_BY_METHOD.get(str(model.get("method")), ())}
    effect = str(model.get("random_effect", ""))
    keys |= {"car": {"besag"}, "leroux": {"leroux"}}.get(effect, set())
    keys |= {k for k, used in (("cliff-ord", moran), ("shapiro-wilk", shapiro), ("brown", brown)) if used}
    return sorted(_REFERENCES[k] for k in keys)
