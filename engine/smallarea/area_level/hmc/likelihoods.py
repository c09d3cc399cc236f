"""Log likelihoods of single cells given their linear predictor, as JAX functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea.area_level.hmc.observations import Observations

if TYPE_CHECKING:
    from jax import Array


def cell_log_density(data: Observations, linear: Any) -> Array:
    """Log likelihood of each cell up to a constant; of missing cells some finite number.

    Parameters
    ----------
    data : Observations
        Binomial, Poisson or beta.
    linear : array, shape (N, K)
        Linear predictor: logit of the probability, or log of the rate.

    Returns
    -------
    array, shape (N, K)
        Log densities.
    """
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import gammaln

    y = np.where(data.observed, data.y, 0.5)
    if data.likelihood == "binomial":
        return jnp.asarray(y * linear - data.size * jax.nn.softplus(linear))
    if data.likelihood == "poisson":
        return jnp.asarray(y * linear - data.size * jnp.exp(linear))
    yes, no = data.size * jax.nn.sigmoid(linear), data.size * jax.nn.sigmoid(-linear)
    return jnp.asarray(yes * np.log(y) + no * np.log1p(-y) - gammaln(yes) - gammaln(no))
