"""The posterior of a latent model, by Hamiltonian Monte Carlo with the factors and the means integrated out.

The likelihood is that of the implied covariance matrix, pattern by pattern (`patterns`), so a chain moves in the q
parameters only, however many respondents there are. The items' means have a flat prior and are integrated out: with
P = sum_o n_o Sigma_oo^{-1} and h = sum_o n_o Sigma_oo^{-1} m_o (both filled with zeros), what is left is

    -1/2 [ sum_o n_o (log |Sigma_oo| + tr(Sigma_oo^{-1} S_o) + m_o' Sigma_oo^{-1} m_o) + log |P| - h' P^{-1} h ].

Priors are set for standardised items, so that units do not matter: loadings N(1, 0.5) and paths N(0, 1); correlations
of factors (or of their disturbances) that are all free LKJ(2), other correlations uniform; standard deviations of
factors half-normal(1); those of items half-normal(1) or, as in the study that the defaults come from, inverse
gamma(3, 4) (Forde 2025; there correlations of items were forced to be positive, here they are not).

References
----------
Forde, N. (2025). Heuristics in Latent Space: VAEs and Bayesian Inference.
Lewandowski, D., Kurowicka, D. and Joe, H. (2009). Generating random correlation matrices based on vines and extended
onion method. Journal of Multivariate Analysis 100, 1989-2001.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.hmc.sampler import need_numpyro
from smallarea.convergence import convergence
from smallarea.survey.latent.maximum_likelihood import MaximumLikelihood
from smallarea.survey.latent.model import LatentModel
from smallarea.survey.latent.patterns import Answers, likelihood
from smallarea.survey.latent.prior_layout import LatentPriors, PriorLayout

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]
ACCEPTANCE = 0.9


@dataclass(frozen=True)
class LatentPosterior:
    """Draws of the parameters.

    Attributes
    ----------
    model : LatentModel
        What was fitted.
    draws : ndarray, shape (C, S, q)
        Of C chains.
    r_hat, ess : ndarray, shape (q,)
        Rank-normalised split R-hat and bulk effective sample size.
    divergences : int
        Steps at which the integrator lost its way.
    """

    model: LatentModel
    draws: Vector
    r_hat: Vector
    ess: Vector
    divergences: int

    @property
    def flat(self) -> Vector:
        """Draws of all chains, shape (C S, q)."""
        return self.draws.reshape(-1, self.draws.shape[-1])

    @property
    def theta(self) -> Vector:
        """Posterior means, shape (q,)."""
        return self.flat.mean(axis=0)


def sample_posterior(
    model: LatentModel,
    answers: Answers,
    start: MaximumLikelihood | None,
    *,
    priors: LatentPriors,
    chains: int,
    warmup: int,
    draws: int,
    seed: int,
    progress: Progress | None = None,
) -> LatentPosterior:
    """Draw from the posterior.

    Parameters
    ----------
    model : LatentModel
        The model.
    answers : Answers
        Its items.
    start : MaximumLikelihood or None
        Where the chains begin.
    priors : LatentPriors
        Priors.
    chains, warmup, draws : int
        Number of chains, and steps of each.
    seed : int
        Seed.
    progress : callable, optional
        ``progress(percent, text)``.

    Returns
    -------
    LatentPosterior
        Draws in the units of the items.

    Raises
    ------
    EngineUnavailable
        If NumPyro is not installed.
    """
    need_numpyro()
    import jax
    from numpyro.infer import MCMC, NUTS, init_to_median, init_to_value

    layout = PriorLayout(model, answers, priors)
    with jax.enable_x64(True):
        sites = None if start is None else layout.sites(start.theta)
        kernel = NUTS(
            layout.numpyro_model(answers),
            init_strategy=init_to_median() if sites is None else init_to_value(values=sites),
            dense_mass=True,
            target_accept_prob=ACCEPTANCE,
        )
        run = MCMC(
            kernel, num_warmup=warmup, num_samples=draws, num_chains=chains, chain_method="vectorized",
            progress_bar=False,
        )  # fmt: skip
        if progress is not None:
            progress(0.0, f"drawing {chains} chains of {warmup} + {draws} steps")
        run.run(jax.random.PRNGKey(seed), extra_fields=("diverging",))
        found = np.asarray(run.get_samples(group_by_chain=True)["theta"])
        diverging = int(np.asarray(run.get_extra_fields()["diverging"]).sum())
    r_hat, ess = convergence(found)
    return LatentPosterior(model, found, r_hat, ess, diverging)


def draw_means(answers: Answers, sigma: Vector, rng: np.random.Generator) -> Vector:
    """Draw the items' means given their covariance.

    Parameters
    ----------
    answers : Answers
        The data.
    sigma : ndarray, shape (p, p)
        Covariance matrix.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (p,)
        From N(P^{-1} h, P^{-1}).
    """
    at = likelihood(answers, sigma)
    root = np.linalg.cholesky(at.mean_information)
    return at.mean + np.linalg.solve(root.T, rng.standard_normal(len(at.mean)))
