"""What model is fitted: one declarative, printable object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from smallarea.area_level.formula import FIELDS, LIKELIHOOD_NAMES, TRANSFORMATION_NAMES, formula
from smallarea.area_level.parameters import Parameter, chosen_priors, hyperparameter_layout
from smallarea.area_level.priors import Prior
from smallarea.errors import ModelProblem, PriorProblem, named

METHOD_NAMES: Mapping[str, str] = {
    "bayes": "exact Bayesian inference",
    "hmc": "Hamiltonian Monte Carlo (NUTS)",
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
    "gp": "area effects from a Gaussian process over the polygons",
}
LINK_NAMES: Mapping[str, str] = {
    "independent": "responses independent of each other",
    "separable": "one covariance between responses (separable)",
    "chain": "a chain of conditional responses (GMCAR)",
    "ar1": "autoregressive correlation in the order of the responses, one variance",
    "har1": "autoregressive correlation in the order of the responses, a variance for each",
}


@dataclass(frozen=True)
class AreaLevelSpecification:
    """A Fay-Herriot model with known sampling variances for one or several responses.

    ``direct_ik ~ N(theta_ik, variance_ik)`` and ``theta_ik = x_i' beta_k + phi_ik + delta_ik``.

    Attributes
    ----------
    responses : tuple of str, length K
        Names of the responses.
    random_effect : {'iid', 'car', 'leroux', 'bym2', 'icar', 'sar', 'gp'}
        The spatial part phi: none (iid), proper CAR with precision (D - rho W) / sd_phi^2, Leroux with precision
        (rho (D - W) + (1 - rho) I) / sd_phi^2, BYM2 (Riebler et al. 2016; scaled by component, rho the share of the
        variance that is spatial), intrinsic CAR, or simultaneously autoregressive (one response, maximum likelihood
        only), or a Gaussian process averaged over polygons (method 'hmc', by a learned prior only).
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
    likelihood : {'normal', 'binomial', 'poisson', 'beta'}
        What is observed given theta. All but the normal are linear in logit theta or log theta, and there
        hyperparameters and coefficients belong.
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
    likelihood: str = "normal"

    def with_priors(self, priors: Mapping[str, str | Prior] | None) -> Self:
        """Return the same model with priors: those given, and defaults for the other hyperparameters.

        Parameters
        ----------
        priors : mapping, optional
            By name or kind of hyperparameter; only a Bayesian method has any.

        Returns
        -------
        AreaLevelSpecification
            Of the same class.

        Raises
        ------
        PriorProblem
            If a prior does not fit the model.
        """
        if not isinstance(priors, Mapping | None):
            raise PriorProblem("Priors must be a dictionary, for example {'sd_phi': 'HalfNormal(1)'}.")
        given = dict(priors or {})
        if self.bayesian:
            return replace(self, priors=chosen_priors(self, given))
        if given:
            raise PriorProblem(f"Priors were given ({', '.join(given)}), but method {self.method!r} has none.")
        return replace(self, priors={})

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
    def bayesian(self) -> bool:
        """Whether the hyperparameters have priors and a posterior."""
        return self.method in ("bayes", "hmc")

    @property
    def spatial(self) -> bool:
        """Whether there is an effect that depends on neighbours."""
        return self.random_effect != "iid"

    @property
    def covariance_shape(self) -> str:
        """Formula of the covariance of a spatial effect of unit scale."""
        return FIELDS[self.random_effect]

    def __str__(self) -> str:
        return formula(self)


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
    likelihood: str = "normal",
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
        ``bayes``, ``hmc``, ``reml``, ``ml``; for one response with iid effects also ``fh``, ``amrl``, ``ampl``,
        ``amrl_yl``, ``ampl_yl``, ``robust`` and ``ybarra_lohr``.
    priors : mapping, optional
        Priors that replace the defaults (HalfNormal(1) for standard deviations, Uniform(0, 1) for rho, LKJ(2) for
        correlations, Normal(0, 1) for eta0 and eta1; standardised scale). ``sd_phi`` is for all responses,
        ``sd_phi[income]`` for one.
    transformation : {'none', 'log', 'logit', 'arcsin'}
        What the model is of, for every response.
    likelihood : {'normal', 'binomial', 'poisson', 'beta'}
        What is observed, for every response; all but the normal need the method ``hmc``.

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
        (likelihood, LIKELIHOOD_NAMES, "likelihood"),
    ):
        if value not in known:
            raise ModelProblem(f"Unknown {what} {value!r}; there are {', '.join(known)}.")
    _check_parts(names, random_effect, link, iid_part, method, covariates)
    _check_likelihood(likelihood, method, transformation)
    if not intercept and not covariates:
        raise ModelProblem("The model has neither an intercept nor a covariate. Add one of them.")
    repeated = sorted({name for name in covariates if list(covariates).count(name) > 1})
    if repeated:
        raise ModelProblem(f"Covariates are named twice: {', '.join(repeated)}. Name each once.")
    chain = _chain_order(names, link, tuple(order))
    with_iid = iid_part if iid_part is not None else random_effect in ("iid", "car", "icar", "gp")
    single = "independent" if len(names) == 1 else link
    bare = AreaLevelSpecification(
        names,
        random_effect,
        single,
        chain,
        with_iid,
        intercept,
        tuple(covariates),
        method,
        {},
        transformation,
        likelihood,
    )
    return bare.with_priors(priors)


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
    if method not in ("bayes", "hmc", "reml", "ml") and (random_effect != "iid" or len(responses) > 1):
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
    if random_effect == "gp" and method != "hmc":
        raise ModelProblem(
            f"A Gaussian process over polygons is known through a learned prior only, which method 'hmc' takes; got "
            f"{method!r}. Choose it, or the random_effect 'bym2'."
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


def _check_likelihood(likelihood: str, method: str, transformation: str) -> None:
    if likelihood != "normal" and method != "hmc":
        raise ModelProblem(
            f"The likelihood {likelihood!r} is fitted by method 'hmc' only; got {method!r}. Choose it, or the "
            "likelihood 'normal'."
        )
    if method == "hmc" and transformation != "none":
        raise ModelProblem(
            f"Method 'hmc' models the direct estimates as they are; got the transformation {transformation!r}. Use "
            "method 'bayes', or for proportions the likelihood 'beta'."
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
