"""Hyperparameters for Hamiltonian Monte Carlo: smooth coordinates without bounds, and the priors' densities there.

A positive parameter is ``exp(x)``, one between a and b is ``a + (b - a) / (1 + exp(-x))``; the logarithm of the
derivative goes with the prior's density. What is left to the upper end of rho's range is kept beside rho, because
``1 - rho`` loses all its digits where rho is close to 1 and log determinants need its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy import special

from smallarea.area_level.parameters import Parameter
from smallarea.area_level.priors import (
    LKJ,
    PC,
    Beta,
    Exponential,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Normal,
    Prior,
    Uniform,
)
from smallarea.errors import PriorProblem

if TYPE_CHECKING:
    from jax import Array

# What a decoder may be conditional on.
DEPENDENCE = ("rho", "range")
# Log density of a prior at (value, complement), up to a constant; the complement is 1 - value.
LogDensity = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Coordinate:
    """One hyperparameter as a function of a number without bounds.

    Attributes
    ----------
    parameter : Parameter
        Which it is.
    prior : Prior
        Its prior; of a correlation among three responses or more, that of the partial correlation.
    lower, upper : float
        Range, perhaps narrower than the prior's support: the prior is then truncated to it.
    """

    parameter: Parameter
    prior: Prior
    lower: float
    upper: float

    @property
    def fixed(self) -> bool:
        """Whether it is known and takes no coordinate."""
        return self.prior.fixed

    def at(self, x: Any) -> tuple[Array, Array, Array]:
        """Value, 1 - value, and log density of the coordinate (prior and derivative), each of x's shape."""
        import jax
        import jax.numpy as jnp

        if self.fixed:
            value = jnp.full_like(x, self.lower)
            return value, 1.0 - value, jnp.zeros_like(x)
        if math.isinf(self.upper):
            value = jnp.exp(x) if self.lower == 0.0 else x
            derivative = x if self.lower == 0.0 else jnp.zeros_like(x)
            complement = 1.0 - value
        else:
            width = self.upper - self.lower
            value = self.lower + width * jax.nn.sigmoid(x)
            complement = (1.0 - self.upper) + width * jax.nn.sigmoid(-x)
            derivative = jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)
        return value, complement, log_density(self.prior)(value, complement) + derivative

    def start(self, wanted: float) -> float:
        """Return the coordinate of a value, or of the nearest one well inside the range."""
        if self.fixed:
            return 0.0
        if math.isinf(self.upper):
            return math.log(max(wanted, 1e-6)) if self.lower == 0.0 else wanted
        share = (wanted - self.lower) / (self.upper - self.lower)
        return float(special.logit(min(max(share, 0.02), 0.98)))


def coordinates(
    layout: tuple[Parameter, ...],
    priors: Mapping[str, Prior],
    responses: int,
    rho_range: tuple[float, float] | None = None,
) -> tuple[Coordinate, ...]:
    """Coordinates of all hyperparameters.

    Parameters
    ----------
    layout : tuple of Parameter
        The hyperparameters.
    priors : mapping
        Their priors.
    responses : int
        K.
    rho_range : tuple of float, optional
        Where rho, or the range of a Gaussian process, must lie because a learned prior knows nothing else.

    Returns
    -------
    tuple of Coordinate
        In the order of the layout.

    Raises
    ------
    PriorProblem
        If the prior of rho leaves nothing of that range.
    """
    out = []
    for parameter in layout:
        prior = priors[parameter.name]
        if isinstance(prior, LKJ):
            prior = prior.partial(parameter.responses[0], responses)
        low, high = prior.support
        if parameter.kind in DEPENDENCE and rho_range is not None:
            low, high = _inside(parameter.name, prior, rho_range)
        out.append(Coordinate(parameter, prior, low, high))
    return tuple(out)


def _inside(name: str, prior: Prior, trained: tuple[float, float]) -> tuple[float, float]:
    low, high = max(prior.support[0], trained[0]), min(prior.support[1], trained[1])
    if low > high or (low == high and not prior.fixed):
        raise PriorProblem(
            f"The prior {prior} of {name} lies outside of {trained[0]:g} to {trained[1]:g}, which is all that the "
            "spatial prior was trained for. Train it for another range of rho, or change the prior."
        )
    return low, high


def log_density(prior: Prior) -> LogDensity:
    """Log density of a prior up to a constant, as a JAX function of the value and of 1 - value.

    Parameters
    ----------
    prior : Prior
        Any continuous prior.

    Returns
    -------
    callable
        ``f(value, complement)``.

    Raises
    ------
    PriorProblem
        If the prior has no density here.
    """
    import jax.numpy as jnp

    if isinstance(prior, HalfNormal):
        return lambda value, _: -0.5 * (value / prior.scale) ** 2
    if isinstance(prior, HalfStudentT):
        return lambda value, _: -0.5 * (prior.df + 1.0) * jnp.log1p((value / prior.scale) ** 2 / prior.df)
    if isinstance(prior, HalfCauchy):
        return lambda value, _: -jnp.log1p((value / prior.scale) ** 2)
    if isinstance(prior, Exponential):
        return lambda value, _: -prior.rate * value
    if isinstance(prior, PC):
        return lambda value, _: math.log(prior.tail) / prior.upper * value
    if isinstance(prior, Uniform):
        return lambda value, _: jnp.zeros_like(value)
    if isinstance(prior, Beta):
        return lambda value, complement: (prior.a - 1.0) * jnp.log(value) + (prior.b - 1.0) * jnp.log(complement)
    if isinstance(prior, Normal):
        return lambda value, _: -0.5 * ((value - prior.mean) / prior.sd) ** 2
    if isinstance(prior, LKJ):
        return lambda value, complement: (prior.eta - 1.0) * (jnp.log(complement) + jnp.log1p(value))
    raise PriorProblem(f"The prior {prior} has no density for Hamiltonian Monte Carlo; choose another one.")


def correlation_root(partial: Any, responses: int) -> Array:
    """Cholesky factor of a correlation matrix from canonical partial correlations.

    Parameters
    ----------
    partial : array, shape (K (K - 1) / 2,)
        Upper triangle by rows (Lewandowski, Kurowicka and Joe 2009).
    responses : int
        K.

    Returns
    -------
    array, shape (K, K)
        Lower triangular, its rows of length one.
    """
    import jax.numpy as jnp

    place = {pair: at for at, pair in enumerate((i, j) for i in range(responses) for j in range(i + 1, responses))}
    rows = []
    for j in range(responses):
        left = jnp.ones(())
        row = []
        for i in range(j):
            z = partial[place[i, j]]
            row.append(z * jnp.sqrt(left))
            left = left * (1.0 - z) * (1.0 + z)
        rows.append(jnp.stack([*row, jnp.sqrt(left), *[jnp.zeros(())] * (responses - j - 1)]))
    return jnp.stack(rows)


def autoregressive_root(correlation: Any, periods: int) -> Array:
    """Cholesky factor of ``r^|k - l|``: ``phi_1 = e_1``, ``phi_t = r phi_{t-1} + sqrt(1 - r^2) e_t``, shape (T, T)."""
    import jax.numpy as jnp

    innovation = jnp.sqrt((1.0 - correlation) * (1.0 + correlation))
    apart = [[max(t - s, 0) for s in range(periods)] for t in range(periods)]
    # Powers by products: the derivative of r^0 by logarithms is not a number at r = 0.
    powers = [jnp.ones(())]
    for _ in range(periods - 1):
        powers.append(powers[-1] * correlation)
    scale = jnp.concatenate([jnp.ones(1), jnp.full(periods - 1, 1.0) * innovation])
    root = jnp.stack([jnp.stack([powers[a] for a in row]) for row in apart])
    return jnp.tril(root) * scale
