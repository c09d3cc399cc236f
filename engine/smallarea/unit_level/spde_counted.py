"""Linear baselines of counted outcomes: intercept, covariates and a Matérn field, or intercept and field alone.

    eta_i = centre + x_i' beta + u(s_i) + e_i,      beta ~ N(0, coefficient_sd^2)

with the likelihood, the field, the differences between clusters and the priors of the model with trees, by the same
chains: the coefficients are normal variables beside the field. Covariates have mean 0 and standard deviation 1 over the
clusters, so that one standard deviation serves all slopes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.convergence import convergence
from smallarea.errors import ModelProblem, PriorProblem
from smallarea.trees import TreePrior
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.latent_chain import LatentChain
from smallarea.unit_level.posterior import BartsimpPosterior, Prediction
from smallarea.unit_level.sampler import FACTOR_SHARE, gather, prepare, run_chains
from smallarea.unit_level.settings import BartsimpSettings
from smallarea.unit_level.spde_collapsed import check_design

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

# One standard deviation of a covariate hardly multiplies odds or rates by more than exp(5), nor does the level lie that
# far from the pooled one; that of rstanarm's slopes.
COEFFICIENT_SD = 2.5


@dataclass(frozen=True)
class CountedSpdePosterior:
    """Posterior draws of a linear model with a field; those of chain c are number ``c * S + s``.

    Attributes
    ----------
    field : BartsimpPosterior
        Clusters, settings, field and hyperparameters, without trees.
    names : tuple of str
        Names of the coefficients.
    coefficients : ndarray, shape (C * S, q)
        Intercept and slopes in the units of the input, on the scale of logits or logs.
    r_hat, ess : dict of str to float
        Of the hyperparameters and coefficients.
    """

    field: BartsimpPosterior
    names: tuple[str, ...]
    coefficients: Vector
    r_hat: dict[str, float]
    ess: dict[str, float]

    @property
    def sigma_e(self) -> Vector:
        """How clusters differ, shape (C, S); see :mod:`smallarea.unit_level.likelihoods`."""
        return self.field.sigma_e

    @property
    def draws(self) -> int:
        """Draws of all chains."""
        return self.field.draws

    def predict(self, points: Vector, covariates: Vector, *, draws: int | None = None, seed: int = 0) -> Prediction:
        """Draws at points.

        Parameters
        ----------
        points : ndarray, shape (P, 2)
            Coordinates, in the system and unit of the clusters.
        covariates : ndarray, shape (P, p)
            Covariates in the order of the clusters'; not read without covariates.
        draws : int, optional
            Use at most so many draws, evenly chosen.
        seed : int
            Of the field's conditional draws.

        Returns
        -------
        Prediction
            Whose ``trees`` are the linear part.
        """
        # Without trees the covariates are not read.
        unread = np.zeros((len(points), len(self.field.clusters.names)))
        found = self.field.predict(points, unread, draws=draws, seed=seed)
        beta = self.coefficients[self.field.thinned(draws)]
        linear = np.repeat(beta[:, :1], len(points), axis=1)
        if len(self.names) > 1:
            linear = linear + beta[:, 1:] @ np.asarray(covariates, float).T
        return replace(found, trees=linear)

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Summarise hyperparameters and coefficients.

        Parameters
        ----------
        level : float
            Coverage of the intervals.

        Returns
        -------
        pandas.DataFrame
            One row each: ``parameter``, ``mean``, ``sd``, ``median``, ``lower``, ``upper``, ``r_hat``, ``ess``.
        """
        tails = [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
        rows = []
        for name, values in _columns(self.field, self.names, self.coefficients).items():
            lower, median, upper = np.quantile(values, tails)
            rows.append([name, values.mean(), values.std(ddof=1), median, lower, upper, self.r_hat[name]])
        table = pd.DataFrame(rows, columns=["parameter", "mean", "sd", "median", "lower", "upper", "r_hat"])
        return table.assign(ess=list(self.ess.values()))


def fit_counted_spde(
    clusters: Clusters,
    settings: BartsimpSettings,
    *,
    covariates: bool = True,
    coefficient_sd: float = COEFFICIENT_SD,
    standard: tuple[Vector, Vector] | None = None,
    chains: int = 4,
    warmup: int = 2000,
    draws: int = 2000,
    seed: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
) -> CountedSpdePosterior:
    """Fit a linear model with a field to counted outcomes.

    Parameters
    ----------
    clusters : Clusters
        By :func:`smallarea.unit_level.likelihoods.count_clusters`.
    settings : BartsimpSettings
        Likelihood, field and priors, as of the model with trees; what it says of trees is not used.
    covariates : bool
        With linear effects of the covariates (SPDE), or without (SPDE0).
    coefficient_sd : float
        Prior standard deviation of slopes, for one standard deviation of a covariate, and of the intercept about the
        logit or log of what was pooled.
    standard : tuple of ndarray, optional
        Mean and standard deviation (p,) of each covariate; by default those of the clusters, which must then not be
        collinear.
    chains, warmup, draws, seed, workers, progress
        As of :func:`smallarea.unit_level.sample_bartsimp`.

    Returns
    -------
    CountedSpdePosterior

    Raises
    ------
    ModelProblem
        If outcomes are not counted, there is no field, covariates are collinear, or the chains are too short.
    PriorProblem
        If ``coefficient_sd`` is not positive.
    """
    if settings.likelihood == "normal" or settings.field == "none":
        raise ModelProblem("This linear model is of counted outcomes and has a field. Use fit_spde for normal ones.")
    if chains < 1 or draws < 4 or warmup < 0:
        raise ModelProblem(f"Ask for a chain and four draws or more, not {chains} chains of {draws} after {warmup}.")
    if not coefficient_sd > 0.0:
        raise PriorProblem(f"coefficient_sd must be positive, not {coefficient_sd}.")
    say = progress or _silent
    x = clusters.covariates if covariates else clusters.covariates[:, :0]
    names = ("intercept", *(clusters.names if covariates else ()))
    centre, scale = (np.asarray(part, float)[: x.shape[1]] for part in standard or _standard(clusters, x))
    design = np.column_stack([np.ones(clusters.n), (x - centre) / scale])
    alone = replace(settings, trees=TreePrior(trees=0, min_leaf=1))
    problem = prepare(clusters, alone, lambda percent, text: say(FACTOR_SHARE * percent / 100.0, text))
    if problem.latent is None:
        raise ModelProblem("There is no field for counted outcomes.")
    latent = replace(problem.latent, design=design, coefficient_sd=coefficient_sd)
    problem = replace(problem, latent=latent)
    running, rest = run_chains(problem, chains, warmup, draws, seed, workers=workers, progress=say)
    of_field = gather(problem, running, rest)
    beta = np.concatenate([chain.coefficients() for chain in running if isinstance(chain, LatentChain)])
    slopes = beta[:, 1:] / scale
    coefficients = np.column_stack([of_field.centre + beta[:, 0] - slopes @ centre, slopes])
    columns = _columns(of_field, names, coefficients)
    stack = np.stack([values.reshape(chains, draws) for values in columns.values()], axis=2)
    r_hat, ess = (dict(zip(columns, found.tolist(), strict=True)) for found in convergence(stack))
    say(100.0, "sampled")
    return CountedSpdePosterior(of_field, names, coefficients, r_hat, ess)


def _silent(percent: float, text: str) -> None:
    """Say nothing."""


def _standard(clusters: Clusters, x: Vector) -> tuple[Vector, Vector]:
    """Means and standard deviations of covariates (n, p) that are not collinear."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    whole = np.where(scale > 0.0, scale, 1.0)
    # A constant covariate stays zero and is refused by name.
    check_design(np.column_stack([np.ones(clusters.n), (x - centre) / whole]), clusters.names)
    return centre, whole


def _columns(of_field: BartsimpPosterior, names: tuple[str, ...], coefficients: Vector) -> dict[str, Vector]:
    """Draws of hyperparameters and coefficients by name, shape (C * S,)."""
    found = {"sigma_e": of_field.sigma_e, "range": of_field.range, "sigma_m": of_field.sigma_m}
    return {name: values.ravel() for name, values in found.items()} | dict(zip(names, coefficients.T, strict=True))
