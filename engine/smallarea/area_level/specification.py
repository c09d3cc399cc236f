"""What model is fitted: one declarative, printable object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from smallarea.area_level.parameters import Parameter, hyperparameter_layout
from smallarea.area_level.priors import DEFAULT_PRIORS, LKJ, Prior, parse_prior
from smallarea.errors import ModelProblem, PriorProblem, named

METHOD_NAMES: Mapping[str, str] = {
    "bayes": "exact Bayesian inference",
    "reml": "restricted maximum likelihood (REML)",
    "ml": "maximum likelihood (ML)",
    "fh": "Fay-Herriot method of moments",
    "amrl": "adjusted residual maximum likelihood (Li-Lahiri)",
    "ampl": "adjusted profile maximum likelihood (Li-Lahiri)",
    "amrl_yl": "adjusted residual maximum likelihood (Yoshimori-Lahiri)",
    "ampl_yl": "adjusted profile maximum likelihood (Yoshimori-Lahiri)",
    "robust": "robust restricted maximum likelihood (Sinha-Rao)",
    "ybarra_lohr": "modified least squares for covariates that are estimates (Ybarra-Lohr)",
}
EFFECT_NAMES: Mapping[str, str] = {
    "iid": "independent area effects",
    "car": "proper CAR area effects",
    "leroux": "Leroux area effects",
    "bym2": "BYM2 area effects",
    "icar": "intrinsic CAR area effects",
    "sar": "SAR area effects",
}
LINK_NAMES: Mapping[str, str] = {
    "independent": "responses independent of each other",
    "separable": "one covariance between responses (separable)",
    "chain": "a chain of conditional responses (GMCAR)",
    "ar1": "autoregressive correlation in the order of the responses, one variance",
    "har1": "autoregressive correlation in the order of the responses, a variance for each",
}
TRANSFORMATION_NAMES: Mapping[str, str] = {
    "none": "direct{}",
    "log": "log(direct{})",
    "logit": "log(direct{0} / (1 - direct{0}))",
    "arcsin": "arcsin(sqrt(direct{}))",
}
_FIELDS: Mapping[str, str] = {
    "car": "(D - rho W)^-1",
    "leroux": "(rho (D - W) + (1 - rho) I)^-1",
    "icar": "(D - W)^-, summing to zero in each component",
    "bym2": "(rho (scaled (D - W)^-) + (1 - rho) I)",
    "sar": "((I - rho B)'(I - rho B))^-1, B the rows of W divided by their sums",
}
# Covariance matrices between the independent effects of several responses.
_SIGMA: Mapping[str, str] = {
    "separable": "delta_i ~ N(0, Sigma), Sigma from sd_delta_k and correlation",
    "ar1": "delta_i ~ N(0, Sigma), Sigma_kl = sd_delta^2 rho^|k - l|",
    "har1": "delta_i ~ N(0, Sigma), Sigma_kl = sd_delta_k sd_delta_l rho^|k - l|",
}


@dataclass(frozen=True)
class AreaLevelSpecification:
    """A Fay-Herriot model with known sampling variances for one or several responses.

    ``direct_ik ~ N(theta_ik, variance_ik)`` and ``theta_ik = x_i' beta_k + phi_ik + delta_ik``.

    Attributes
    ----------
    responses : tuple of str, length K
        Names of the responses.
    random_effect : {'iid', 'car', 'leroux', 'bym2', 'icar', 'sar'}
        The spatial part phi: none (iid), proper CAR with precision (D - rho W) / sd_phi^2, Leroux with precision
        (rho (D - W) + (1 - rho) I) / sd_phi^2, BYM2 (Riebler et al. 2016; scaled by component, rho the share of the
        variance that is spatial), intrinsic CAR, or simultaneously autoregressive (one response, maximum likelihood
        only).
    link : {'independent', 'separable', 'chain', 'ar1', 'har1'}
        How responses hang together: not at all, by one covariance matrix between the effects of an area (with iid: of
        delta; the unstructured multivariate Fay-Herriot model), as a chain of conditional CARs, or (iid, maximum
        likelihood) by a correlation rho^|k - l| with one variance (ar1) or one for each response (har1).
    order : tuple of str, length K
        Responses of a chain from the most conditional one to the marginal one.
    iid_part : bool
        Whether the independent effects delta_k ~ N(0, sd_delta_k^2) are there; always for iid.
    intercept : bool
        Whether there is an intercept.
    covariates : tuple of str
        Names of the covariates.
    method : str
        A key of ``METHOD_NAMES``.
    priors : mapping
        Prior of each hyperparameter of the model, on the standardised scale; empty for a frequentist method.
    transformation : {'none', 'log', 'logit', 'arcsin'}
        What the model is of: the direct estimates, or a function of them.
    """

    responses: tuple[str, ...]
    random_effect: str
    link: str
    order: tuple[str, ...]
    iid_part: bool
    intercept: bool
    covariates: tuple[str, ...]
    method: str
    priors: Mapping[str, Prior]
    transformation: str = "none"

    @property
    def layout(self) -> tuple[Parameter, ...]:
        """The hyperparameters, in the order that is used everywhere."""
        return hyperparameter_layout(self)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the hyperparameters, in the order that is used everywhere."""
        return tuple(parameter.name for parameter in self.layout)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the regression coefficients of each response."""
        return (("intercept",) if self.intercept else ()) + self.covariates

    @property
    def spatial(self) -> bool:
        """Whether there is an effect that depends on neighbours."""
        return self.random_effect != "iid"

    def __str__(self) -> str:
        several = len(self.responses) > 1
        at, of = ("ik", "_k") if several else ("i", "")
        right = " + ".join(self.terms)
        right += (f" + phi_{at}" if self.spatial else "") + (f" + delta_{at}" if self.iid_part else "")
        lines = [f"direct_{at} ~ N(theta_{at}, variance_{at})", f"theta_{at} = {right}"]
        if self.transformation != "none":
            transformed = TRANSFORMATION_NAMES[self.transformation].format(f"_{at}")
            lines[:1] = [f"y_{at} = {transformed}", f"y_{at} ~ N(theta_{at}, sampling variance of y_{at})"]
        if self.method == "ybarra_lohr":
            lines.append("covariates_i ~ N(true covariates_i, covariate_variance_i), the true ones being those above")
        if several:
            lines.append(f"k = {', '.join(self.responses)}; coefficients for each response")
        lines += self._effect_lines(several)
        if self.iid_part and not (several and not self.spatial and self.link in _SIGMA):
            lines.append(f"delta_{at} ~ N(0, sd_delta{of}^2)")
        lines += [f"{name} ~ {prior}" for name, prior in self.priors.items()]
        return "\n".join(lines)

    def _effect_lines(self, several: bool) -> list[str]:
        if not self.spatial:
            return [_SIGMA[self.link]] if several and self.link in _SIGMA else []
        shape = _FIELDS[self.random_effect]
        if not several:
            return [f"phi ~ N(0, sd_phi^2 {shape})"]
        if self.link == "separable":
            return [f"phi ~ N(0, Sigma x {shape}), Sigma from sd_phi_k and correlation"]
        if self.link == "independent":
            return [f"phi_k ~ N(0, sd_phi_k^2 {shape.replace('rho', 'rho_k')})"]
        own = {a: f"sd_phi[{a}]^2 {shape.replace('rho', f'rho[{a}]')}" for a in self.order}
        steps = [
            f"phi[{a}] | phi[{b}] ~ N((eta0[{a},{b}] I + eta1[{a},{b}] W) phi[{b}], {own[a]})"
            for a, b in pairwise(self.order)
        ]
        return [*steps, f"phi[{self.order[-1]}] ~ N(0, {own[self.order[-1]]})"]


def specify(
    covariates: Sequence[str] = (),
    *,
    responses: Sequence[str] = ("direct",),
    random_effect: str = "car",
    link: str = "separable",
    order: Sequence[str] = (),
    iid_part: bool | None = None,
    intercept: bool = True,
    method: str = "bayes",
    priors: Mapping[str, str | Prior] | None = None,
    transformation: str = "none",
) -> AreaLevelSpecification:
    """Describe a model, with defaults filled in and contradictions refused.

    Parameters
    ----------
    covariates : sequence of str
        Names of the covariates.
    responses : sequence of str
        Names of the responses.
    random_effect : {'car', 'leroux', 'bym2', 'icar', 'iid', 'sar'}
        The area random effect.
    link : {'separable', 'independent', 'chain', 'ar1', 'har1'}
        How several responses hang together.
    order : sequence of str
        Order of a chain, the most conditional response first; as in ``responses`` if empty.
    iid_part : bool, optional
        Whether an independent effect stands beside the spatial one; by default with car and icar, not with leroux and
        bym2, which hold one.
    intercept : bool
        Whether to include an intercept.
    method : str
        ``bayes``, ``reml``, ``ml``; for one response with iid effects also ``fh``, ``amrl``, ``ampl``, ``amrl_yl``,
        ``ampl_yl``, ``robust`` and ``ybarra_lohr``.
    priors : mapping, optional
        Priors that replace the defaults (HalfNormal(1) for standard deviations, Uniform(0, 1) for rho, LKJ(2) for
        correlations, Normal(0, 1) for eta0 and eta1; standardised scale). ``sd_phi`` is for all responses,
        ``sd_phi[income]`` for one.
    transformation : {'none', 'log', 'logit', 'arcsin'}
        What the model is of, for every response.

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
    for listed, what in ((responses, "responses"), (covariates, "covariates")):
        if isinstance(listed, str):
            raise ModelProblem(f"The {what} are a list of names; got the text {listed!r}. Write [{listed!r}].")
    names = tuple(responses)
    for value, known, what in (
        (random_effect, EFFECT_NAMES, "random effect"),
        (method, METHOD_NAMES, "method"),
        (link, LINK_NAMES, "link between responses"),
        (transformation, TRANSFORMATION_NAMES, "transformation"),
    ):
        if value not in known:
            raise ModelProblem(f"Unknown {what} {value!r}; there are {', '.join(known)}.")
    _check_parts(names, random_effect, link, iid_part, method, covariates)
    if not intercept and not covariates:
        raise ModelProblem("The model has neither an intercept nor a covariate. Add one of them.")
    repeated = sorted({name for name in covariates if list(covariates).count(name) > 1})
    if repeated:
        raise ModelProblem(f"Covariates are named twice: {', '.join(repeated)}. Name each once.")
    chain = _chain_order(names, link, tuple(order))
    with_iid = iid_part if iid_part is not None else random_effect in ("iid", "car", "icar")
    single = "independent" if len(names) == 1 else link
    bare = AreaLevelSpecification(
        names, random_effect, single, chain, with_iid, intercept, tuple(covariates), method, {}, transformation
    )
    if not isinstance(priors, Mapping | None):
        raise PriorProblem("Priors must be a dictionary, for example {'sd_phi': 'HalfNormal(1)'}.")
    given = dict(priors or {})
    if method != "bayes":
        if given:
            raise PriorProblem(f"Priors were given ({', '.join(given)}), but method {method!r} has none.")
        return bare
    return replace(bare, priors=_priors(bare, given))


def _check_parts(
    responses: tuple[str, ...],
    random_effect: str,
    link: str,
    iid_part: bool | None,
    method: str,
    covariates: Sequence[str],
) -> None:
    if not responses or len(set(responses)) != len(responses):
        raise ModelProblem(f"A model needs responses with different names; got {named(responses)}.")
    if method not in ("bayes", "reml", "ml") and (random_effect != "iid" or len(responses) > 1):
        raise ModelProblem(
            f"Method {method!r} fits one response with independent area effects only. Choose random_effect 'iid' and "
            f"one "
            "response, or method 'bayes' or 'reml'."
        )
    if random_effect == "sar" and (method not in ("reml", "ml") or len(responses) > 1 or iid_part):
        raise ModelProblem(
            "SAR area effects are fitted by method 'reml' or 'ml', for one response and without an iid part. Choose "
            "these, "
            "or another random_effect."
        )
    if random_effect == "iid" and iid_part is False:
        raise ModelProblem("A model with random_effect 'iid' is its iid part; leave iid_part out or set it to true.")
    if method == "ybarra_lohr" and not covariates:
        raise ModelProblem(
            "Method 'ybarra_lohr' is for covariates that are estimates, and there is no covariate. Name some, or "
            "choose method 'reml'."
        )
    if link in ("ar1", "har1") and (len(responses) == 1 or random_effect != "iid" or method not in ("reml", "ml")):
        raise ModelProblem(
            f"Link {link!r} is for several responses with random_effect 'iid' and method 'reml' or 'ml'. Choose "
            "these, or link 'separable'."
        )
    if link == "chain" and len(responses) > 1 and random_effect not in ("car", "leroux"):
        raise ModelProblem(
            f"A chain of responses needs random_effect 'car' or 'leroux'; got {random_effect!r}. Choose one of them, "
            f"or "
            "link 'separable'."
        )


def _chain_order(responses: tuple[str, ...], link: str, order: tuple[str, ...]) -> tuple[str, ...]:
    if link != "chain" or len(responses) == 1:
        if order:
            raise ModelProblem(
                "An order of responses belongs to link 'chain' with two responses or more. Leave it out."
            )
        return ()
    if order and sorted(order) != sorted(responses):
        raise ModelProblem(
            f"The order of a chain must name each response once: {named(responses)}; got {named(order)}."
        )
    return order or responses


def _priors(bare: AreaLevelSpecification, given: Mapping[str, str | Prior]) -> dict[str, Prior]:
    """Prior of each hyperparameter: its own if given, that of its kind, or the default."""
    layout = bare.layout
    known = {parameter.name for parameter in layout} | {parameter.kind for parameter in layout}
    read = {name: parse_prior(name, prior) for name, prior in given.items()}
    surplus = [name for name in read if name not in known]
    if surplus:
        raise PriorProblem(
            f"Priors were given for {', '.join(surplus)}, but this model has only {', '.join(bare.hyperparameters)}."
        )
    chosen = {
        parameter.name: read.get(parameter.name, read.get(parameter.kind, DEFAULT_PRIORS[parameter.kind]))
        for parameter in layout
    }
    for name, prior in chosen.items():
        if name.startswith("rho") and bare.random_effect in ("leroux", "bym2") and prior.support[0] < 0.0:
            raise PriorProblem(f"A {bare.random_effect} model needs rho between 0 and 1, got the prior {prior}.")
        if name.startswith("rho") and bare.random_effect == "bym2" and prior.support == (0.0, 0.0):
            raise PriorProblem(f"With the prior {prior} of {name} a bym2 model has no spatial part. Choose 'iid'.")
        if isinstance(prior, LKJ) and not name.startswith("correlation"):
            raise PriorProblem(f"LKJ is a prior of correlations, not of {name}.")
    correlations = [prior for name, prior in chosen.items() if name.startswith("correlation")]
    if len(correlations) > 1 and not (
        all(isinstance(prior, LKJ) for prior in correlations) and len({str(prior) for prior in correlations}) == 1
    ):
        raise PriorProblem(
            "The correlations of three responses or more form one matrix and share one LKJ prior: give it as "
            "'correlation'."
        )
    return chosen
