"""What model is fitted: one declarative, printable object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smallarea.area_level.priors import DEFAULT_PRIORS, Prior, parse_prior
from smallarea.errors import ModelProblem, PriorProblem

METHOD_NAMES: Mapping[str, str] = {
    "bayes": "exact Bayesian inference",
    "reml": "restricted maximum likelihood (REML)",
    "ml": "maximum likelihood (ML)",
    "fh": "Fay-Herriot method of moments",
    "amrl": "adjusted residual maximum likelihood (Li-Lahiri)",
    "ampl": "adjusted profile maximum likelihood (Li-Lahiri)",
    "amrl_yl": "adjusted residual maximum likelihood (Yoshimori-Lahiri)",
    "ampl_yl": "adjusted profile maximum likelihood (Yoshimori-Lahiri)",
}
EFFECT_NAMES: Mapping[str, str] = {
    "iid": "independent area effects",
    "car": "proper CAR area effects",
    "leroux": "Leroux area effects",
}


@dataclass(frozen=True)
class AreaLevelSpecification:
    """A univariate Fay-Herriot model with known sampling variances.

    ``direct_i ~ N(theta_i, variance_i)`` and ``theta_i = x_i' beta + phi_i + delta_i``.

    Attributes
    ----------
    random_effect : {'iid', 'car', 'leroux'}
        The spatial part phi: none (iid), proper CAR with precision (D - rho W) / sd_phi^2, or Leroux with precision
        (rho (D - W) + (1 - rho) I) / sd_phi^2.
    iid_part : bool
        Whether the independent effect delta ~ N(0, sd_delta^2) is there; always for iid.
    intercept : bool
        Whether there is an intercept.
    covariates : tuple of str
        Names of the covariates.
    method : str
        A key of ``METHOD_NAMES``.
    priors : mapping
        Prior of each hyperparameter of the model, on the standardised scale; empty for a frequentist method.
    """

    random_effect: str
    iid_part: bool
    intercept: bool
    covariates: tuple[str, ...]
    method: str
    priors: Mapping[str, Prior]

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the hyperparameters, in the order that is used everywhere."""
        spatial = () if self.random_effect == "iid" else ("sd_phi", "rho")
        return spatial + (("sd_delta",) if self.iid_part else ())

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the regression coefficients."""
        return (("intercept",) if self.intercept else ()) + self.covariates

    def __str__(self) -> str:
        effects = {"iid": "", "car": " + phi_i", "leroux": " + phi_i"}[self.random_effect]
        right = " + ".join(self.terms) + effects + (" + delta_i" if self.iid_part else "")
        lines = ["direct_i ~ N(theta_i, variance_i)", f"theta_i = {right}"]
        if self.random_effect == "car":
            lines.append("phi ~ N(0, sd_phi^2 (D - rho W)^-1)")
        if self.random_effect == "leroux":
            lines.append("phi ~ N(0, sd_phi^2 (rho (D - W) + (1 - rho) I)^-1)")
        if self.iid_part:
            lines.append("delta_i ~ N(0, sd_delta^2)")
        lines += [f"{name} ~ {prior}" for name, prior in self.priors.items()]
        return "\n".join(lines)


def specify(
    covariates: Sequence[str] = (),
    *,
    random_effect: str = "car",
    iid_part: bool | None = None,
    intercept: bool = True,
    method: str = "bayes",
    priors: Mapping[str, str | Prior] | None = None,
) -> AreaLevelSpecification:
    """Describe a model, with defaults filled in and contradictions refused.

    Parameters
    ----------
    covariates : sequence of str
        Names of the covariates.
    random_effect : {'car', 'leroux', 'iid'}
        The area random effect.
    iid_part : bool, optional
        Whether an independent effect stands beside the spatial one; by default with car, not with leroux.
    intercept : bool
        Whether to include an intercept.
    method : str
        ``bayes``, or for iid effects ``reml``, ``ml``, ``fh``, ``amrl``, ``ampl``, ``amrl_yl``, ``ampl_yl``.
    priors : mapping, optional
        Priors that replace the defaults (HalfNormal(1) for standard deviations, Uniform(0, 1) for rho; standardised
        scale).

    Returns
    -------
    AreaLevelSpecification
        The model.

    Raises
    ------
    ModelProblem
        If the parts contradict each other.
    PriorProblem
        If a prior does not fit the model.
    """
    if random_effect not in EFFECT_NAMES:
        raise ModelProblem(f"Unknown random effect {random_effect!r}; there are {', '.join(EFFECT_NAMES)}.")
    if method not in METHOD_NAMES:
        raise ModelProblem(f"Unknown method {method!r}; there are {', '.join(METHOD_NAMES)}.")
    if method != "bayes" and random_effect != "iid":
        raise ModelProblem(
            f"Method {method!r} fits independent area effects only. Choose random_effect 'iid', or method 'bayes' for "
            f"{random_effect!r}."
        )
    if random_effect == "iid" and iid_part is False:
        raise ModelProblem("A model with random_effect 'iid' is its iid part; leave iid_part out or set it to true.")
    if not intercept and not covariates:
        raise ModelProblem("The model has neither an intercept nor a covariate. Add one of them.")
    repeated = sorted({name for name in covariates if list(covariates).count(name) > 1})
    if repeated:
        raise ModelProblem(f"Covariates are named twice: {', '.join(repeated)}. Name each once.")
    with_iid = iid_part if iid_part is not None else random_effect != "leroux"
    bare = AreaLevelSpecification(random_effect, with_iid, intercept, tuple(covariates), method, {})
    if not isinstance(priors, Mapping | None):
        raise PriorProblem("Priors must be a dictionary, for example {'sd_phi': 'HalfNormal(1)'}.")
    given = dict(priors or {})
    if method != "bayes":
        if given:
            raise PriorProblem(f"Priors were given ({', '.join(given)}), but method {method!r} has none.")
        return bare
    read = {name: parse_prior(name, prior) for name, prior in given.items()}
    surplus = [name for name in read if name not in bare.hyperparameters]
    if surplus:
        raise PriorProblem(
            f"Priors were given for {', '.join(surplus)}, but this model has only {', '.join(bare.hyperparameters)}."
        )
    chosen = {name: read.get(name, DEFAULT_PRIORS[name]) for name in bare.hyperparameters}
    if random_effect == "leroux" and chosen["rho"].support[0] < 0.0:
        raise PriorProblem(f"A Leroux model needs rho between 0 and 1, got the prior {chosen['rho']}.")
    return AreaLevelSpecification(random_effect, with_iid, intercept, tuple(covariates), method, chosen)
