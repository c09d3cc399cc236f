"""Hyperparameters of one point of a chain as the JAX functions take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smallarea.area_level.hmc.coordinates import DEPENDENCE, Coordinate, autoregressive_root, correlation_root

if TYPE_CHECKING:
    from jax import Array


@dataclass(frozen=True)
class Natural:
    """One set of hyperparameters for K responses, as JAX arrays.

    Attributes
    ----------
    values : array, shape (q,)
        All of them, in the order of the layout; correlations as such and not as partial ones.
    sd_phi, rho, rho_complement, sd_delta : array, shape (K,)
        By response; ``rho_complement`` is 1 - rho.
    root : array, shape (K, K)
        Cholesky factor of the correlation between responses.
    correlated : bool
        Whether it is another one than the identity.
    eta0, eta1 : array, shape (K - 1,)
        Links of a chain, by position.
    log_prior : array, shape ()
        Log density of the coordinates.
    """

    values: Array
    sd_phi: Array
    rho: Array
    rho_complement: Array
    sd_delta: Array
    root: Array
    correlated: bool
    eta0: Array
    eta1: Array
    log_prior: Array


def natural(listed: tuple[Coordinate, ...], order: tuple[int, ...], responses: int, x: Any) -> Natural:
    """Arrange the hyperparameters at given coordinates.

    Parameters
    ----------
    listed : tuple of Coordinate
        The hyperparameters.
    order : tuple of int
        Responses of a chain, the most conditional one first; empty without a chain.
    responses : int
        K.
    x : array, shape (number of free ones,)
        Coordinates.

    Returns
    -------
    Natural
        The arrays.
    """
    import jax.numpy as jnp

    parts = {kind: [jnp.zeros(())] * responses for kind in ("sd_phi", "rho", "rho_complement", "sd_delta")}
    links = {kind: [jnp.zeros(())] * max(responses - 1, 0) for kind in ("eta0", "eta1")}
    values, partial, between = [], [], []
    log_prior = jnp.zeros(())
    root = jnp.eye(responses)
    column = 0
    for place, coordinate in enumerate(listed):
        parameter = coordinate.parameter
        value, complement, density = coordinate.at(jnp.zeros(()) if coordinate.fixed else x[column])
        column += not coordinate.fixed
        log_prior = log_prior + density
        values.append(value)
        # A decoder takes the range of a Gaussian process where others take rho.
        kind = "rho" if parameter.kind in DEPENDENCE else parameter.kind
        if kind in parts:
            for response in parameter.responses or range(responses):
                parts[kind][response] = value
                if kind == "rho":
                    parts["rho_complement"][response] = complement
        elif parameter.kind == "correlation":
            partial.append(value)
            between.append((place, *parameter.responses))
        elif parameter.kind == "rho_time":
            root = autoregressive_root(value, responses)
        else:
            links[parameter.kind][order.index(parameter.responses[0])] = value
    if partial:
        root = correlation_root(jnp.stack(partial), responses)
        whole = root @ root.T
        for place, i, j in between:
            values[place] = whole[i, j]
    stacked = {name: jnp.stack(column) for name, column in parts.items()}
    eta = {name: jnp.stack(column) if column else jnp.zeros(0) for name, column in links.items()}
    correlated = bool(partial) or any(c.parameter.kind == "rho_time" for c in listed)
    return Natural(
        jnp.stack(values) if values else jnp.zeros(0),
        **stacked,
        root=root,
        correlated=correlated,
        **eta,
        log_prior=log_prior,
    )
