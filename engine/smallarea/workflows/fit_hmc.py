"""From checked data to the tables of a fit by Hamiltonian Monte Carlo."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea._version import __version__
from smallarea.area_level import AreaLevelData, AreaLevelSpecification, StackedData, stack, standardise
from smallarea.area_level.hmc import (
    Diagnostics,
    HmcPosterior,
    Observations,
    beta_observations,
    normal_observations,
    sample_hmc,
)
from smallarea.errors import ModelProblem
from smallarea.results.hmc_tables import hmc_tables
from smallarea.results.posterior_tables import largest_r_hat
from smallarea.workflows.fit_call import speaking_of
from smallarea.workflows.fit_model import Fitted

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph
    from smallarea.priors import SpatialPrior

Progress = Callable[[float, str], None]

# Fewer effective draws than this leave visible Monte Carlo error in intervals (Vehtari et al. 2021).
ENOUGH = 400
# Values of rho between these quantiles of its posterior have to be within what the prior is certified for.
PLAUSIBLE = (0.025, 0.975)


@dataclass(frozen=True)
class HmcSettings:
    """How to sample: the names are those of the job."""

    form: str
    spatial_prior: str | os.PathLike[str] | SpatialPrior | None
    chains: int
    warmup: int
    draws: int
    level: float
    seed: int


def fit_direct_by_hmc(
    data: Sequence[AreaLevelData],
    correlation: NDArray[np.float64] | None,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: HmcSettings,
    tell: Progress,
) -> Fitted:
    """Fit a model of direct estimates with known sampling variances, normal or beta.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses.
    correlation : ndarray, shape (N, K, K), or None
        Sampling correlations between them.
    specification, graph, settings, tell
        As in `fit_hmc`.

    Returns
    -------
    Fitted
        Tables in the units of the input.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend.
    """
    if specification.likelihood == "normal":
        scaled = []
        for response, name in zip(data, specification.responses, strict=True):
            with speaking_of(name, len(data) > 1):
                scaled.append(standardise(response, specification.intercept))
        stacked = stack(scaled, correlation)
        return fit_hmc(data, stacked, normal_observations(stacked, data[0].areas), specification, graph, settings, tell)
    if correlation is not None:
        raise ModelProblem(
            "The likelihood 'beta' knows no sampling covariances between responses. Leave 'covariance' and "
            "'sampling_correlation' out, or use the likelihood 'normal'."
        )
    complete = data[0].estimable
    table = data[0].covariates
    # Areas without an estimate keep their place in the field; any finite covariate serves there.
    filled = np.where(complete[:, None], table, table[complete].mean(axis=0) if complete.any() else 0.0)
    observations = beta_observations(
        data[0].areas,
        np.column_stack([response.direct for response in data]),
        np.column_stack([response.variance for response in data]),
        filled,
        data[0].covariate_names,
        intercept=specification.intercept,
    )
    return fit_hmc(data, None, observations, specification, graph, settings, tell)


def fit_hmc(
    data: Sequence[AreaLevelData],
    stacked: StackedData | None,
    observations: Observations,
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    settings: HmcSettings,
    tell: Progress,
) -> Fitted:
    """Fit.

    Parameters
    ----------
    data : sequence of AreaLevelData, length K
        The responses, for the tables.
    stacked : StackedData or None
        The same on the standardised scale, with the normal likelihood.
    observations : Observations
        What is fitted.
    specification : AreaLevelSpecification
        The model.
    graph : AreaGraph or None
        The adjacency graph.
    settings : HmcSettings
        How to sample.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.

    Returns
    -------
    Fitted
        Tables in the units of the input.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend.
    """
    prior = _loaded(settings.spatial_prior, graph)
    # Each chain gives as many draws as the others; what was asked for is the least.
    draws = -(-settings.draws // settings.chains) * settings.chains
    fit = sample_hmc(
        observations,
        specification,
        graph if specification.spatial else None,
        form=settings.form,
        prior=prior,
        chains=settings.chains,
        warmup=settings.warmup,
        draws=draws,
        level=settings.level,
        seed=settings.seed,
        progress=tell,
    )
    attributes = {"model": str(specification), "seed": settings.seed, "smallarea": __version__, "form": fit.form}
    tables = hmc_tables(data, stacked, observations, specification, fit, level=settings.level, attributes=attributes)
    return Fitted(
        tables,
        _without_unused(specification, fit),
        {f"model: {stage}": took for stage, took in fit.seconds.items()},
        (*_prior_warnings(prior, fit, graph), *_sampling_warnings(fit.diagnostics), *fit.notes),
        record={"form": fit.form, "chains": fit.chains, "warmup": settings.warmup, **_prior_record(prior)},
    )


def _loaded(given: str | os.PathLike[str] | SpatialPrior | None, graph: AreaGraph | None) -> SpatialPrior | None:
    if given is None:
        return None
    from smallarea.priors.files.library import resolve

    return resolve(given, graph)


def _without_unused(specification: AreaLevelSpecification, fit: HmcPosterior) -> AreaLevelSpecification:
    """Leave out priors of hyperparameters that a learned prior has integrated out."""
    kept = {name: prior for name, prior in specification.priors.items() if name in fit.names}
    return replace(specification, priors=kept)


def _prior_record(prior: SpatialPrior | None) -> dict[str, Any]:
    if prior is None:
        return {}
    certificate = prior.certificate or {}
    return {
        "architecture": prior.architecture,
        "prior_trained_for": prior.fingerprint,
        "prior_certified": bool(certificate),
        "prior_passed": certificate.get("passed"),
    }


def _prior_warnings(prior: SpatialPrior | None, fit: HmcPosterior, graph: AreaGraph | None) -> tuple[str, ...]:
    """Say where the learned prior was not proved to be what it stands for: over these values, on this map."""
    if prior is None or graph is None:
        return ()
    from smallarea.priors.fidelity.gate import gate_warning

    columns = [at for at, name in enumerate(fit.names) if name.partition("[")[0] in ("rho", "range")]
    values = np.quantile(fit.hyperparameters[:, columns], PLAUSIBLE).tolist() if columns else None
    warning = gate_warning(prior.certificate, values, graph.fingerprint)
    return (warning,) if warning else ()


def _sampling_warnings(found: Diagnostics) -> tuple[str, ...]:
    """Say where the chains did not do what was hoped for."""
    warnings = []
    if found.divergences:
        warnings.append(
            f"{found.divergences} steps of the sampler diverged, which points to a biased sample. Use another form "
            "(density or filter), a longer warm-up, or narrower priors of the standard deviations."
        )
    ess = found.ess_min
    if found.r_hat_max > largest_r_hat(ess):
        warnings.append(
            f"The chains disagree (R-hat {found.r_hat_max:.3f}): do not use the intervals. Run longer (draws, warmup), "
            "or use another form."
        )
    elif ess < ENOUGH:
        warnings.append(
            f"The smallest effective sample size is {ess:.0f}, below {ENOUGH}: intervals carry visible Monte Carlo "
            "error. Ask for more draws."
        )
    return tuple(warnings)
