"""A model as formulas, as it is printed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smallarea.area_level.specification import AreaLevelSpecification

TRANSFORMATION_NAMES: Mapping[str, str] = {
    "none": "direct{}",
    "log": "log(direct{})",
    "logit": "log(direct{0} / (1 - direct{0}))",
    "arcsin": "arcsin(sqrt(direct{}))",
}
# What is observed, given the area's quantity theta; and the scale on which theta is linear.
LIKELIHOOD_NAMES: Mapping[str, tuple[str, str]] = {
    "normal": ("direct{0} ~ N(theta{0}, variance{0})", "theta{0}"),
    "binomial": ("count{0} ~ Binomial(trials{0}, theta{0})", "logit theta{0}"),
    "poisson": ("count{0} ~ Poisson(exposure{0} theta{0})", "log theta{0}"),
    "beta": (
        "direct{0} ~ Beta(theta{0} m{0}, (1 - theta{0}) m{0}), m{0} = direct{0} (1 - direct{0}) / variance{0} - 1",
        "logit theta{0}",
    ),
}
FIELDS: Mapping[str, str] = {
    "car": "(D - rho W)^-1",
    "leroux": "(rho (D - W) + (1 - rho) I)^-1",
    "icar": "(D - W)^-, summing to zero in each component",
    "bym2": "(rho (scaled (D - W)^-) + (1 - rho) I)",
    "gp": "C(range), averages over polygons of a process with Matern covariance",
    "sar": "((I - rho B)'(I - rho B))^-1, B the rows of W divided by their sums",
}
# Covariance matrices between the independent effects of several responses.
_SIGMA: Mapping[str, str] = {
    "separable": "delta_i ~ N(0, Sigma), Sigma from sd_delta_k and correlation",
    "ar1": "delta_i ~ N(0, Sigma), Sigma_kl = sd_delta^2 rho^|k - l|",
    "har1": "delta_i ~ N(0, Sigma), Sigma_kl = sd_delta_k sd_delta_l rho^|k - l|",
}


def formula(specification: AreaLevelSpecification) -> str:
    """Write a model as formulas, a line each.

    Parameters
    ----------
    specification : AreaLevelSpecification
        The model.

    Returns
    -------
    str
        What is observed, the linear predictor, its effects and the priors.
    """
    several = len(specification.responses) > 1
    at, of = ("ik", "_k") if several else ("i", "")
    right = " + ".join(specification.terms)
    right += (f" + phi_{at}" if specification.spatial else "") + (f" + delta_{at}" if specification.iid_part else "")
    observed, linear = (text.format(f"_{at}") for text in LIKELIHOOD_NAMES[specification.likelihood])
    lines = [observed, f"{linear} = {right}"]
    if specification.transformation != "none":
        transformed = TRANSFORMATION_NAMES[specification.transformation].format(f"_{at}")
        lines[:1] = [f"y_{at} = {transformed}", f"y_{at} ~ N(theta_{at}, sampling variance of y_{at})"]
    if specification.method == "ybarra_lohr":
        lines.append("covariates_i ~ N(true covariates_i, covariate_variance_i), the true ones being those above")
    if several:
        lines.append(f"k = {', '.join(specification.responses)}; coefficients for each response")
    lines += _effect_lines(specification, several)
    if specification.iid_part and not (several and not specification.spatial and specification.link in _SIGMA):
        lines.append(f"delta_{at} ~ N(0, sd_delta{of}^2)")
    lines += [f"{name} ~ {prior}" for name, prior in specification.priors.items()]
    return "\n".join(lines)


def _effect_lines(specification: AreaLevelSpecification, several: bool) -> list[str]:
    if not specification.spatial:
        return [_SIGMA[specification.link]] if several and specification.link in _SIGMA else []
    shape = FIELDS[specification.random_effect]
    if not several:
        return [f"phi ~ N(0, sd_phi^2 {shape})"]
    if specification.link == "separable":
        return [f"phi ~ N(0, Sigma x {shape}), Sigma from sd_phi_k and correlation"]
    if specification.link == "independent":
        return [f"phi_k ~ N(0, sd_phi_k^2 {shape.replace('rho', 'rho_k')})"]
    own = {a: f"sd_phi[{a}]^2 {shape.replace('rho', f'rho[{a}]')}" for a in specification.order}
    steps = [
        f"phi[{a}] | phi[{b}] ~ N((eta0[{a},{b}] I + eta1[{a},{b}] W) phi[{b}], {own[a]})"
        for a, b in pairwise(specification.order)
    ]
    return [*steps, f"phi[{specification.order[-1]}] ~ N(0, {own[specification.order[-1]]})"]
