"""The model and its priors in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from smallarea.report.formatting import level_percent, listed, percent, significant
from smallarea.report.scale_words import transformation_in_words

METHODS = {
    "bayes": "exact Bayesian inference: the posterior of the hyperparameters is sampled with area effects and "
    "coefficients integrated out, which are then drawn exactly",
    "hmc": "Hamiltonian Monte Carlo (the no-U-turn sampler of NumPyro)",
    "trees": "Markov chain Monte Carlo: trees are proposed with their leaf values and the area effects integrated out, "
    "hyperparameters with the area effects integrated out, which are then drawn exactly",
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
SAMPLING = {
    "normal": "In the sampling model, each direct estimate is the area's true value plus a sampling error whose "
    "variance is known.",
    "binomial": "In the sampling model, each count is binomial: so many trials, each with the area's probability. The "
    "direct estimate of tables and figures is the count divided by the trials, its standard error the binomial one.",
    "poisson": "In the sampling model, each count is Poisson, its mean the area's rate times its exposure. The direct "
    "estimate of tables and figures is the count divided by the exposure, its standard error the Poisson one.",
    "beta": "In the sampling model, each direct estimate is a share with a beta distribution around the area's true "
    "share, as precise as its known sampling variance says.",
}
LINEAR = {"normal": "the true value", "poisson": "the logarithm of the true rate"}
FORMS = {
    "density": "The spatial effect was sampled with its sparse precision matrix.",
    "filter": "The spatial effect was sampled as white noise through a graph filter, which has the exact covariance "
    "up to the stated error.",
    "prior": "The spatial effect was sampled as white noise through a learned spatial prior.",
}
EFFECTS = {
    "iid": "an independent effect",
    "car": "a spatial effect that makes neighbouring areas alike (proper CAR)",
    "leroux": "a spatial effect that mixes likeness of neighbours with independence (Leroux CAR)",
    "bym2": "an effect that is partly spatial and partly independent (BYM2: rho is the share of its variance that is "
    "spatial)",
    "icar": "a spatial effect that makes neighbouring areas alike (intrinsic CAR, summing to zero in each connected "
    "part of the map)",
    "gp": "a spatial effect that fades with distance (a Gaussian process averaged over the polygons)",
    "sar": "a spatial effect that depends on the mean effect of the neighbours (SAR, simultaneously autoregressive)",
}
LINKS = {
    "separable": "The effects of an area are correlated between the responses, so that a direct estimate of one "
    "helps the others",
    "independent": "Each response has area effects of its own, independent of those of the others",
    "chain": "The responses form a chain (GMCAR)",
    "ar1": "The effects of an area are correlated between the responses, by rho from one to the next in their order, "
    "with one variance",
    "har1": "The effects of an area are correlated between the responses, by rho from one to the next in their order, "
    "with a variance for each",
}
STATISTICS = {
    "log_likelihood": "Log-likelihood",
    "restricted_log_likelihood": "Restricted log-likelihood",
    "model_variance": "Model variance",
    "model_variance_se": "Standard error of the model variance",
    "elpd_gain": "Log score of trees less that of the linear model, on areas left out",
    "elpd_gain_se": "Standard error of that difference",
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
    "r_hat_max": "Largest R-hat of a hyperparameter, over chains or quarters of the sample",
    "area_ess_min": "Smallest effective sample size of an area",
    "area_r_hat_max": "Largest R-hat of an area",
    "divergences": "Divergent steps",
    "depth_hits": "Steps cut short at the largest tree depth",
    "leapfrogs": "Gradients a step, on average",
    "chains": "Chains",
    "leaves": "Leaves of a tree, on average",
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


def responses_of(model: Mapping[str, Any]) -> list[str]:
    """Names of the responses."""
    return [str(name) for name in model.get("direct") or ()]


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
    several = len(responses_of(model)) > 1
    effect = str(model.get("random_effect", ""))
    iid = bool(model.get("iid_part")) and effect != "iid"
    likelihood = str(model.get("likelihood", "normal"))
    sentences = [
        SAMPLING.get(likelihood, SAMPLING["normal"]),
        f"In the linking model, {LINEAR.get(likelihood, 'the logit of the true share')} is explained by "
        + _covariates_in_words(model, covariates)
        + ("with coefficients for each response, " if several else "")
        + "plus what the area has of its own"
        + (f": {EFFECTS[effect]}" if effect in EFFECTS else "")
        + (", and an independent effect beside it." if iid else "."),
    ]
    if several:
        sentences += _link_in_words(model)
    sentences.append(
        "The estimate of an area weighs its direct estimate against what the model expects there: the less precise "
        "the direct estimate, the more the model counts."
    )
    return sentences + transformation_in_words(model) + _method_in_words(model)


def _covariates_in_words(model: Mapping[str, Any], covariates: list[str]) -> str:
    if model.get("method") == "trees":
        return f"a sum of {model['trees']} regression trees of {listed(covariates, 12)}, "
    return f"{listed(covariates, 12)}, " if covariates else "a common mean, "


def _link_in_words(model: Mapping[str, Any]) -> list[str]:
    link = str(model.get("link", ""))
    if link not in LINKS:
        return []
    order = [str(name) for name in model.get("order") or ()]
    if link == "chain" and order:
        steps = [f"{a} given {b}" for a, b in pairwise(order)]
        return [
            f"{LINKS[link]}: {', then '.join(steps)}, and {order[-1]} by itself. eta0 is what the effect of the latter "
            "does to the former in the same area, eta1 what it does to it in each neighbouring area."
        ]
    return [f"{LINKS[link]}."]


def _method_in_words(model: Mapping[str, Any]) -> list[str]:
    method = str(model.get("method", ""))
    level = level_percent(model["level"]) + " " if "level" in model else ""
    sentences = [f"Fitted by {METHODS[method]}."] if method in METHODS else []
    if method == "hmc" and model.get("form") in FORMS:
        sentences.append(FORMS[str(model["form"])])
    if is_bayesian(model):
        sentences.append(
            "Estimates are posterior means, standard errors posterior standard deviations, and intervals "
            f"{level}credible intervals; they include the uncertainty about the hyperparameters."
        )
    elif method:
        sentences.append(
            f"Standard errors are square roots of estimated mean squared errors; intervals are {level}intervals "
            "based on the normal distribution."
        )
    return sentences


def sampling_in_words(model: Mapping[str, Any]) -> tuple[str, bool]:
    """Say what the fit took the sampling errors of different responses to be.

    Parameters
    ----------
    model : mapping
        `FitResult.model`.

    Returns
    -------
    text : str
        A few sentences; empty with one response.
    assumed : bool
        Whether it rests on an assumption and not on given covariances.
    """
    if len(responses_of(model)) < 2:
        return "", False
    fields = [str(name) for name in model.get("covariance") or ()]
    if fields:
        return f"The sampling covariances between the responses are given ({listed(fields, 12)}).", False
    assumed = model.get("sampling_correlation")
    if assumed:
        return (
            f"The sampling errors of different responses in the same area are assumed to be correlated by {assumed:g}, "
            "in every area. This number was chosen, not estimated: fit again with other values, 0 among them, and see "
            "what changes.",
            True,
        )
    return (
        "The sampling errors of different responses are taken to be uncorrelated. Where one sample gave the direct "
        "estimates of several they rarely are, and the model then takes what the errors share for likeness of the "
        "areas: give the covariances, or assume a sampling correlation and see what changes.",
        True,
    )


def is_bayesian(model: Mapping[str, Any]) -> bool:
    """Whether the hyperparameters have a posterior."""
    return str(model.get("method", "")) in {"bayes", "hmc", "trees"}


def is_spatial(model: Mapping[str, Any]) -> bool:
    """Whether the model lets neighbours resemble each other."""
    return str(model.get("random_effect", "")) in {"car", "leroux", "bym2", "icar", "sar", "gp"}


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
    "normal": lambda m, s: f"95% of it between {significant(m - 1.96 * s, 2)} and {significant(m + 1.96 * s, 2)}",
    "lkj": lambda eta: (
        "every correlation matrix equally likely"
        if eta == 1.0
        else "correlations near zero are likelier than strong ones"
        if eta > 1.0
        else "strong correlations are likelier than those near zero"
    ),
    "fixed": lambda v: f"fixed at {significant(v)}",
}
