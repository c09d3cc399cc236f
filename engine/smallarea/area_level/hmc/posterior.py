"""Posterior of an area-level model by Hamiltonian Monte Carlo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.build import effect_nodes
from smallarea.area_level.drawn import DOUBLE_PRECISION_UP_TO, Progress
from smallarea.area_level.hmc.coordinates import Coordinate, coordinates
from smallarea.area_level.hmc.diagnostics import Diagnostics, convergence
from smallarea.area_level.hmc.model import HmcModel, steer
from smallarea.area_level.hmc.observations import Observations
from smallarea.area_level.hmc.projection import Directions
from smallarea.area_level.hmc.sampler import TREE_DEPTH, Chains, need_numpyro, run_chains
from smallarea.area_level.hmc.start import first_guess, starts
from smallarea.area_level.hmc.unit_fields import DecodedField, UnitField, density_field
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_level.summaries import tails
from smallarea.errors import GraphProblem, JobProblem, ModelProblem, PriorProblem
from smallarea.priors.decoders import Decoder, bind, need_jax
from smallarea.priors.families import family

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph
    from smallarea.priors.prior import SpatialPrior

Vector = NDArray[np.float64]

FORMS: Mapping[str, str] = {
    "auto": "density for CAR and Leroux effects, filter for BYM2 and intrinsic ones, the prior if one is given",
    "density": "sparse density of the effect, whose values are the unknowns",
    "filter": "white noise through a filter on the graph that gives the exact prior",
    "prior": "white noise through a learned spatial prior",
}
FEWEST_DRAWS = 8
# Where the filter's range of rho ends; beyond it no data tell one rho from another.
NEAREST_RHO = 1.0 - 1e-6


@dataclass(frozen=True, eq=False)
class HmcPosterior:
    """Posterior of one model for N areas and K responses, from C chains of S / C draws each.

    Draws stand one chain after the other: ``theta.reshape(C, S // C, N, K)`` takes them apart. With a normal likelihood
    ``mean``, ``sd``, ``lower``, ``upper`` and ``synthetic`` are on the standardised scale and ``theta`` in the units of
    the input, as in :class:`smallarea.area_level.Posterior`; otherwise both are probabilities (binomial), rates per
    unit of exposure (poisson) or proportions (beta).

    Attributes
    ----------
    mean, sd : ndarray, shape (N, K)
        Posterior mean and SD of theta.
    lower, upper : ndarray, shape (N, K)
        Equal-tailed interval of theta.
    synthetic : ndarray, shape (N, K)
        Posterior mean of the inverse link of x'beta.
    linear_mean, linear_sd : ndarray, shape (N, K)
        Posterior mean and SD of the linear predictor.
    theta : ndarray, shape (S, N, K)
        Draws.
    beta : ndarray, shape (S, P)
        Draws of the coefficients of all responses, for standardised covariates.
    hyperparameters : ndarray, shape (S, q)
        Draws of the hyperparameters.
    names : tuple of str, length q
        Their names. Without rho where a learned prior has it integrated out.
    chains : int
        C.
    form : {'density', 'filter', 'prior', 'iid'}
        How the spatial effect was handled.
    diagnostics : Diagnostics
        Convergence.
    notes : tuple of str
        What a reader of the estimates has to know.
    seconds : mapping
        Stage to seconds.
    """

    mean: Vector
    sd: Vector
    lower: Vector
    upper: Vector
    synthetic: Vector
    linear_mean: Vector
    linear_sd: Vector
    theta: Vector
    beta: Vector
    hyperparameters: Vector
    names: tuple[str, ...]
    chains: int
    form: str
    diagnostics: Diagnostics
    notes: tuple[str, ...]
    seconds: Mapping[str, float]


def sample_hmc(
    observations: Observations,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None = None,
    *,
    form: str = "auto",
    prior: SpatialPrior | None = None,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 1,
    progress: Progress | None = None,
) -> HmcPosterior:
    """Sample the posterior with the no-U-turn sampler.

    Parameters
    ----------
    observations : Observations
        The data, in the order of the graph's areas.
    specification : AreaLevelSpecification
        The model; its method must be 'hmc' or 'bayes'. Priors of standard deviations are on the scale of the linear
        predictor.
    graph : AreaGraph, optional
        Neighbours; not needed for independent area effects.
    form : {'auto', 'density', 'filter', 'prior'}
        How the spatial effect is handled, a key of ``FORMS``.
    prior : SpatialPrior, optional
        The learned prior of form 'prior'.
    chains : int
        Chains, all moved at once.
    warmup : int
        Steps of each chain that tune the sampler and are thrown away.
    draws : int
        Draws to keep in all, a multiple of the chains.
    level : float
        Coverage of the intervals.
    seed : int
        Seed; the same seed gives the same draws on the same machine.
    progress : callable, optional
        ``progress(percent, text)``; may raise to cancel.

    Returns
    -------
    HmcPosterior
        The posterior.

    Raises
    ------
    ModelProblem, GraphProblem, PriorProblem, JobProblem
        If the parts do not fit together.
    EngineUnavailable
        If JAX or NumPyro is not installed.
    """
    _check(observations, specification, graph, chains, warmup, draws)
    jax = need_jax()
    need_numpyro()
    with jax.enable_x64(True):
        setting = _Setting(observations, specification, graph, form, prior)
        start = starts(setting.model, setting.guess, chains, np.random.default_rng([seed, 3]))
        kept = run_chains(setting.model, start, warmup=warmup, draws=draws // chains, seed=seed, progress=progress)
    return _summarised(setting, kept, level)


def _check(
    observations: Observations,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    chains: int,
    warmup: int,
    draws: int,
) -> None:
    if not specification.bayesian:
        raise ModelProblem(
            f"Hamiltonian Monte Carlo needs a Bayesian model; the specification has method {specification.method!r}."
        )
    k = observations.shape[1]
    if len(specification.responses) != k:
        raise ModelProblem(f"The model has {len(specification.responses)} responses, but the observations have {k}.")
    if graph is not None and graph.ids != observations.areas:
        raise GraphProblem("The graph's areas are not those of the observations in their order. Reorder the graph.")
    if chains < 1 or warmup < 1 or draws < FEWEST_DRAWS * chains or draws % chains:
        raise JobProblem(
            f"Draws must be a multiple of the chains, {FEWEST_DRAWS} or more for each, and a warm-up is needed; got "
            f"{draws} draws, {chains} chains and a warm-up of {warmup}."
        )


class _Setting:
    """A model with the form of its spatial effect chosen, and what there is to say about it."""

    def __init__(
        self,
        observations: Observations,
        specification: AreaLevelSpecification,
        graph: AreaGraph | None,
        form: str,
        prior: SpatialPrior | None,
    ) -> None:
        self.observations = observations
        self.notes: list[str] = []
        self.form = chosen_form(specification, form, prior)
        layout = specification.layout
        decoder = self._decoder(specification, graph, prior)
        if decoder is not None and not decoder.hyperparameters:
            layout = tuple(parameter for parameter in layout if parameter.kind != "rho")
        k = len(specification.responses)
        trained = None
        if self.form == "filter":
            trained = (0.0, 1.0)  # the filter's table covers all of it
        elif decoder is not None and decoder.hyperparameters:
            trained = (decoder.hyperparameters[0].lower, decoder.hyperparameters[0].upper)
        self.listed = coordinates(layout, specification.priors, k, trained)
        self._say_what_is_cut(specification)
        order = tuple(specification.responses.index(name) for name in specification.order)
        degree = float(np.mean(graph.degrees)) if graph is not None else 1.0
        intrinsic = specification.random_effect == "bym2"
        self.guess = first_guess(
            observations,
            1.0 if intrinsic else degree,
            spatial=specification.spatial,
            iid_part=specification.iid_part,
        )
        self.steering = steer(observations, self.guess.weights)
        self.model = HmcModel(
            observations,
            self.listed,
            order,
            self._field(specification, graph, decoder),
            graph,
            iid_part=specification.iid_part,
            steering=self.steering,
        )

    def _decoder(
        self, specification: AreaLevelSpecification, graph: AreaGraph | None, prior: SpatialPrior | None
    ) -> Decoder | None:
        if self.form not in ("filter", "prior"):
            return None
        if graph is None:
            raise GraphProblem(f"A {specification.random_effect!r} random effect needs a graph of neighbours.")
        effect_nodes(specification, graph)
        if prior is None:
            from smallarea.priors.graph_filter import standard_filter

            effect = specification.random_effect
            whole = family(effect) if effect == "icar" else family(effect, lower=0.0, upper=NEAREST_RHO)
            prior = standard_filter(whole, graph)
        elif prior.family.name != specification.random_effect:
            raise PriorProblem(
                f"The spatial prior imitates {prior.family.name!r} effects, but the model has "
                f"{specification.random_effect!r} ones. Choose random_effect {prior.family.name!r}, or another prior."
            )
        if not prior.conditional and specification.random_effect != "icar":
            self.notes.append(
                "The spatial prior has rho integrated out over the distribution that it was trained with; the prior of "
                "rho in the model is not used and rho is not estimated."
            )
        return bind(prior, graph)

    def _say_what_is_cut(self, specification: AreaLevelSpecification) -> None:
        for coordinate in self.listed:
            low, high = specification.priors[coordinate.parameter.name].support
            cut = max(coordinate.lower - low, min(high, NEAREST_RHO) - coordinate.upper)
            if coordinate.parameter.kind == "rho" and cut > 0.0:
                self.notes.append(
                    f"The prior of {coordinate.parameter.name} is truncated to {coordinate.lower:g} to "
                    f"{coordinate.upper:g}, the range that the spatial prior knows."
                )

    def _field(
        self, specification: AreaLevelSpecification, graph: AreaGraph | None, decoder: Decoder | None
    ) -> UnitField | None:
        k = len(specification.responses)
        if decoder is not None:
            return DecodedField(decoder, k)
        if self.form == "iid":
            return None
        if graph is None:
            raise GraphProblem(f"A {specification.random_effect!r} random effect needs a graph of neighbours.")
        nodes, edges = effect_nodes(specification, graph)
        lowest = min(c.lower for c in self.listed if c.parameter.kind == "rho")
        directions = self._directions(specification)
        return density_field(specification.random_effect, nodes, edges, len(graph.ids), k, lowest, directions)

    def _directions(self, specification: AreaLevelSpecification) -> Directions | None:
        """Designs that can take over from the effect: its mixing of responses must keep their span."""
        terms, x = self.observations.terms, self.observations.design
        if specification.link in ("chain", "time"):
            return None
        designs = [x[:, k, at] for k, at in enumerate(terms)]
        alike = all(np.array_equal(designs[0], other) for other in designs[1:])
        if not alike and (specification.link == "separable" or len({d.shape[1] for d in designs}) > 1):
            return None
        gains = [self.steering.gain[at, :, k] for k, at in enumerate(terms)]
        return Directions(np.stack(designs), np.stack(gains))


def chosen_form(specification: AreaLevelSpecification, form: str, prior: SpatialPrior | None) -> str:
    """Return the form that a model is fitted in: 'density', 'filter', 'prior', or 'iid' without a spatial effect.

    Raises
    ------
    JobProblem
        If the form is unknown, or a prior is given to another form or missing.
    ModelProblem
        If the effect has no density with a sparse form here.
    """
    if form not in FORMS:
        raise JobProblem(f"Unknown form {form!r}; there are {', '.join(FORMS)}.")
    if (form == "prior") != (prior is not None) and not (form == "auto" and prior is not None):
        raise JobProblem("Form 'prior' and a learned spatial prior belong together: give both or neither.")
    if not specification.spatial:
        if form not in ("auto",):
            raise JobProblem(f"A model with independent area effects has no spatial effect for form {form!r}.")
        return "iid"
    has_density = specification.random_effect in ("car", "leroux")
    if form == "auto":
        return "prior" if prior is not None else "density" if has_density else "filter"
    if form == "density" and not has_density:
        raise ModelProblem(
            f"A {specification.random_effect!r} effect has no sparse density of full rank. Choose form 'filter'."
        )
    return form


def _summarised(setting: _Setting, kept: Chains, level: float) -> HmcPosterior:
    observations = setting.observations
    chains, each = kept.leapfrogs.shape
    cells = observations.shape
    linear = kept.linear.reshape(chains * each, *cells)
    theta = observations.inverse_link(linear)
    lower, upper = np.quantile(theta, tails(level), axis=0)
    kind = np.float64 if theta.size <= DOUBLE_PRECISION_UP_TO else np.float32
    return HmcPosterior(
        mean=theta.mean(axis=0),
        sd=theta.std(axis=0, ddof=1),
        lower=lower,
        upper=upper,
        synthetic=kept.synthetic,
        linear_mean=linear.mean(axis=0),
        linear_sd=linear.std(axis=0, ddof=1),
        theta=(observations.location + observations.scale * theta).astype(kind, copy=False),
        beta=kept.beta.reshape(chains * each, -1),
        hyperparameters=kept.values.reshape(chains * each, -1),
        names=tuple(coordinate.parameter.name for coordinate in setting.listed),
        chains=chains,
        form=setting.form,
        diagnostics=_diagnostics(setting.listed, kept),
        notes=tuple(setting.notes),
        seconds=kept.seconds,
    )


def _diagnostics(listed: tuple[Coordinate, ...], kept: Chains) -> Diagnostics:
    r_hat, ess = convergence(kept.values)
    chains, each = kept.leapfrogs.shape
    theta_r_hat, theta_ess = convergence(kept.linear.reshape(chains, each, -1))
    free = [(at, c.parameter.name) for at, c in enumerate(listed) if not c.fixed]
    return Diagnostics(
        {name: float(r_hat[at]) for at, name in free},
        {name: float(ess[at]) for at, name in free},
        float(np.max(theta_r_hat)),
        float(np.min(theta_ess)),
        int(kept.diverging.sum()),
        int(np.sum(kept.leapfrogs >= 2**TREE_DEPTH - 1)),
        float(kept.leapfrogs.mean()),
    )
