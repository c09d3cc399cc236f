"""Decoding with the dense architectures: pure JAX functions of noise and hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.errors import PriorProblem, named
from smallarea.priors.exact import field_nodes
from smallarea.priors.families import Family
from smallarea.priors.networks.coordinate import coordinate
from smallarea.priors.networks.modules import chebyshev
from smallarea.priors.networks.network_settings import BetaVaeSettings, network_settings
from smallarea.priors.prior import SpatialPrior

if TYPE_CHECKING:
    from jax import Array

# Last axis of these weights runs over the field's nodes.
_BY_NODE = ("output_weight", "output_bias", "matrices")


def decode_vae(weights: Mapping[str, Any], z: Any) -> Array:
    """Field of a variational autoencoder.

    Parameters
    ----------
    weights : mapping of str to array
        As `BetaVaeSettings.shapes` lists them.
    z : array, shape (J,)
        White noise.

    Returns
    -------
    array, shape (n,)
        The field.
    """
    import jax

    hidden = jax.nn.elu(z @ weights["hidden_weight"] + weights["hidden_bias"])
    return hidden @ weights["output_weight"] + weights["output_bias"]


def decode_dense(weights: Mapping[str, Any], family: Family, z: Any, values: Any) -> Array:
    """Field of a supervised decoder.

    Parameters
    ----------
    weights : mapping of str to array
        As `DecoderSettings.shapes` lists them.
    family : Family
        The family with its range, which fixes the coordinate of the polynomials.
    z : array, shape (latent,)
        White noise.
    values : array, shape (q,)
        Hyperparameters.

    Returns
    -------
    array, shape (n,)
        The field.
    """
    import jax.numpy as jnp

    values = jnp.asarray(values, dtype=z.dtype)
    t = coordinate(family, values, jnp).astype(z.dtype)
    basis = chebyshev(jnp, t, len(weights["mixing"]))
    mixed = jnp.exp(basis @ weights["scale"]) * (basis @ weights["mixing"])
    return jnp.outer(mixed, z).ravel() @ weights["matrices"].reshape(-1, weights["matrices"].shape[2])


def bound_network(prior: SpatialPrior, graph: AreaGraph, dtype: str) -> tuple[int, Callable[[Any, Any], Array]]:
    """Bring a dense prior onto a graph of the same geography.

    Parameters
    ----------
    prior : SpatialPrior
        Of architecture ``beta-vae`` or ``decoder``.
    graph : AreaGraph
        The geography, its areas in any order.
    dtype : {'float64', 'float32'}
        Precision of the arithmetic.

    Returns
    -------
    latent_size : int
        Length of the noise.
    field : callable
        ``field(z, values)``, the field on the areas with neighbours in the order of the graph.

    Raises
    ------
    PriorProblem
        If the weights do not fit the settings and the geography.
    """
    from smallarea.priors.decoders import as_arrays

    places = _places(prior, graph)
    latent = _checked_latent_size(prior, len(places))
    ours = {name: value[..., places] if name in _BY_NODE else value for name, value in prior.weights.items()}
    weights = as_arrays(ours, dtype)
    if prior.architecture == "beta-vae":
        return latent, lambda z, values: decode_vae(weights, z)  # noqa: ARG005
    return latent, lambda z, values: decode_dense(weights, prior.family, z, values)


def _places(prior: SpatialPrior, graph: AreaGraph) -> NDArray[np.int64]:
    """Where the nodes of the graph are among those of the prior."""
    theirs = {prior.ids[i]: place for place, i in enumerate(field_nodes(prior.graph)[0].tolist())}
    return np.array([theirs[graph.ids[i]] for i in field_nodes(graph)[0].tolist()], dtype=np.int64)


def _checked_latent_size(prior: SpatialPrior, n: int) -> int:
    settings = network_settings(prior.architecture, prior.settings)
    if isinstance(settings, BetaVaeSettings):
        latent = settings.sizes(n)[0]
        shapes = settings.shapes(n)
    else:
        latent = 2 * n if prior.family.name == "bym2" else n
        shapes = settings.shapes(n, latent, prior.conditional)
    check_weights(prior.weights, shapes)
    return latent


def check_weights(weights: Mapping[str, NDArray[np.float32]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights that are not those of a network.

    Parameters
    ----------
    weights : mapping of str to ndarray
        What there is.
    shapes : mapping of str to tuple of int
        What there must be.

    Raises
    ------
    PriorProblem
        With the weights that are missing, unknown, of another shape or not finite.
    """
    wrong = [f"{name} is missing" for name in shapes if name not in weights]
    wrong += [f"{name} is unknown" for name in weights if name not in shapes]
    for name, shape in shapes.items():
        if name not in weights:
            continue
        if weights[name].shape != shape:
            wrong.append(f"{name} has shape {weights[name].shape} instead of {shape}")
        elif not np.isfinite(weights[name]).all():
            wrong.append(f"{name} has values that are not finite")
    if wrong:
        raise PriorProblem(
            f"The weights of this prior do not fit its settings and its geography: {named(wrong)}. Train it again."
        )
