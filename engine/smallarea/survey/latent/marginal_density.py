"""The likelihood of a latent model for JAX: factors and means integrated out, missing answers by pattern.

It is a function of the implied covariance matrix only, whose derivative is known in closed form (`bayes` has the
formula of the value).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.latent.model import LatentModel
from smallarea.survey.latent.patterns import Answers

if TYPE_CHECKING:
    from jax import Array

Vector = NDArray[np.float64]


def log_density(model: LatentModel, answers: Answers) -> Callable[[Any], Array]:
    """Return the log-likelihood of the parameters as a function for JAX.

    Parameters
    ----------
    model : LatentModel
        The model.
    answers : Answers
        Its items.

    Returns
    -------
    callable
        From the free parameters, shape (q,), to a number; NaN where the covariance matrix is not positive definite.
        JAX must be in x64 mode.
    """
    import jax
    import jax.numpy as jnp

    p, size = len(model.observed), len(model.variables)
    of_sigma = jax.custom_vjp(lambda sigma: _of_sigma(sigma, *padded)[0])
    padded = _padded(answers)
    # Differentiating through the factors of every pattern costs many times the closed form.
    of_sigma.defvjp(lambda sigma: _of_sigma(sigma, *padded), lambda kept, g: (g * kept,))

    # Every entry of A and S is one of the free parameters, the fixed values, or zero.
    fixed = [one.fixed for one in model.parameters if one.index < 0]
    effects_at, covariances_at = _places(model)

    def density(theta: Any) -> Array:
        entries = jnp.concatenate([theta, np.array([*fixed, 0.0])])
        onto = jnp.linalg.inv(jnp.eye(size) - entries[effects_at])[:p]
        return of_sigma(onto @ entries[covariances_at] @ onto.T)

    return density


def _places(model: LatentModel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the entries of A and S lie in: free parameters, fixed values, zero."""
    size, q = len(model.variables), len(model.names)
    n_fixed = sum(one.index < 0 for one in model.parameters)
    effects, covariances = (np.full((size, size), q + n_fixed) for _ in range(2))
    number = q
    for one in model.parameters:
        at = one.index if one.index >= 0 else number
        number += one.index < 0
        if one.in_effects:
            effects[one.row, one.column] = at
        else:
            covariances[one.row, one.column] = covariances[one.column, one.row] = at
    return effects, covariances


def _of_sigma(sigma: Any, asked: Vector, n: Vector, centred: Vector, moments: Vector) -> tuple[Array, Array]:
    """Return the log-likelihood of a covariance matrix, means integrated out, and its derivative.

    With K_o the inverse of Sigma_oo and v = P^{-1} h, the derivative is

        -1/2 sum_o n_o [ K_o - K_o (S_o + (m_o - v) (m_o - v)' + P^{-1}) K_o ].
    """
    import jax.numpy as jnp
    from jax.scipy.linalg import solve_triangular

    p = sigma.shape[0]
    both = asked[:, :, None] * asked[:, None, :]
    roots = jnp.linalg.cholesky(both * sigma + np.eye(p) * (1.0 - asked)[:, None, :])
    halves = solve_triangular(roots, jnp.broadcast_to(jnp.eye(p), roots.shape), lower=True)
    inverses = jnp.swapaxes(halves, 1, 2) @ halves * both
    logdet = 2.0 * jnp.log(jnp.einsum("gii->gi", roots)).sum(axis=1)
    turned = jnp.einsum("gij,gj->gi", inverses, centred)
    information = jnp.tensordot(n, inverses, axes=1)
    inverse_information = jnp.linalg.inv(information)
    weighted = n @ turned
    mean = inverse_information @ weighted
    product = inverses @ moments
    fit = n @ (logdet + jnp.einsum("gii->g", product)) - weighted @ mean
    value = -0.5 * (fit + jnp.linalg.slogdet(information)[1])
    cross = centred[:, :, None] * mean
    middle = moments - cross - jnp.swapaxes(cross, 1, 2) + jnp.outer(mean, mean) + inverse_information
    slope = inverses - inverses @ middle @ inverses
    return value, -0.5 * jnp.tensordot(n, slope, axes=1)


def _padded(answers: Answers) -> tuple[Vector, Vector, Vector, Vector]:
    """Return patterns filled with zeros: asked, n, means and second moments about the overall means."""
    p, g = len(answers.names), len(answers.patterns)
    used = answers.weights > 0.0
    overall = np.nanmean(np.where(used[:, None], answers.values, np.nan), axis=0)
    asked, n, centred, moments = np.zeros((g, p)), np.zeros(g), np.zeros((g, p)), np.zeros((g, p, p))
    for i, one in enumerate(answers.patterns):
        o = one.observed
        asked[i, o], n[i] = 1.0, one.n
        away = one.mean - overall[o]
        centred[i, o] = away
        moments[i][np.ix_(o, o)] = one.covariance + np.outer(away, away)
    return asked, n, centred, moments
