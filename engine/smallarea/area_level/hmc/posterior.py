"""Posterior of an area-level model by Hamiltonian Monte Carlo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.drawn import DOUBLE_PRECISION_UP_TO, Progress
from smallarea.area_level.hmc.coordinates import Coordinate
from smallarea.area_level.hmc.diagnostics import Diagnostics
from smallarea.area_level.hmc.observations import Observations
from smallarea.area_level.hmc.rough import rough_posterior
from smallarea.area_level.hmc.sampler import TREE_DEPTH, Chains, need_numpyro, run_chains
from smallarea.area_level.hmc.setting import Setting
from smallarea.area_level.hmc.start import starts
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_level.summaries import tails
from smallarea.convergence import convergence
from smallarea.errors import GraphProblem, JobProblem, ModelProblem
from smallarea.priors.decoders import need_jax

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph
    from smallarea.priors.prior import SpatialPrior

Vector = NDArray[np.float64]

FEWEST_DRAWS = 8


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
    warmup: int = 300,
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
        setting = Setting(observations, specification, graph, form, prior)
        rough = rough_posterior(observations, specification, graph, setting.listed)
        start = starts(setting.model, setting.guess, rough, chains, np.random.default_rng([seed, 3]))
        kept = run_chains(
            setting.model,
            start,
            covariance=None if rough is None else rough.covariance,
            warmup=warmup,
            draws=draws // chains,
            seed=seed,
            progress=progress,
        )
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


def _summarised(setting: Setting, kept: Chains, level: float) -> HmcPosterior:
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
