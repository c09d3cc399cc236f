"""Learned priors as pure JAX functions on the areas of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.errors import EngineUnavailable, PriorProblem, named
from smallarea.priors.exact import field_nodes
from smallarea.priors.families import Hyperparameter
from smallarea.priors.prior import SpatialPrior

if TYPE_CHECKING:
    from jax import Array

INSTALL = 'pip install "smallarea[hmc]"'


@dataclass(frozen=True)
class Decoder:
    """White noise to a field of unit scale on all N areas of a graph.

    Attributes
    ----------
    n : int
        Number of areas N of the graph.
    latent_size : int
        Length of the white noise.
    hyperparameters : tuple of Hyperparameter, length q
        What the field is conditional on; empty where they are integrated out or there are none.
    decode : callable
        ``decode(z, values)`` for z of shape (latent_size,) and values of shape (q,) returns the field, shape (N,), in
        the order of the areas. Pure JAX: may be differentiated, compiled and mapped over z and values. An area
        without neighbours is 0 under CAR, intrinsic CAR and Gaussian processes, has variance 1 / (1 - rho) under
        Leroux, and 1 under BYM2 (where rho is integrated out, 1 under both).
    """

    n: int
    latent_size: int
    hyperparameters: tuple[Hyperparameter, ...]
    decode: Callable[[Any, Any], Array]


def need_jax() -> Any:
    """Import JAX.

    Returns
    -------
    module
        ``jax``.

    Raises
    ------
    EngineUnavailable
        If it is not installed.
    """
    try:
        import jax
    except ImportError as error:
        raise EngineUnavailable(
            f"Learned priors are decoded by JAX, which is not installed. Install it: {INSTALL}"
        ) from error
    return jax


def check_geography(prior: SpatialPrior, graph: AreaGraph) -> None:
    """Refuse a geography that a prior was not trained for, unless its architecture transfers.

    Parameters
    ----------
    prior : SpatialPrior
        The prior.
    graph : AreaGraph
        Where it is to be used; the order of the areas does not matter.

    Raises
    ------
    PriorProblem
        With the areas, or the neighbours, that differ.
    """
    if prior.transfers or prior.fingerprint == graph.fingerprint:
        return
    ours, theirs = set(prior.ids), set(graph.ids)
    groups = [
        (sorted(ours - theirs), "only in the prior"),
        (sorted(theirs - ours), "only on the map"),
    ]
    parts = [f"{len(areas)} areas {where}: {named(areas)}" for areas, where in groups if areas]
    if not parts:
        changed = _changed_neighbours(prior, graph)
        parts = [f"{len(changed)} areas have other neighbours: {named(changed)}"]
    raise PriorProblem(
        f"This {prior.architecture} prior was trained for another geography ({'; '.join(parts)}). Train one for this "
        "map, or use a graph-filter, which serves any geography."
    )


def _changed_neighbours(prior: SpatialPrior, graph: AreaGraph) -> list[str]:
    pairs = [{tuple(sorted((g.ids[i], g.ids[j]))) for i, j in g.edges.tolist()} for g in (prior.graph, graph)]
    return sorted({area for pair in pairs[0] ^ pairs[1] for area in pair})


def bind(prior: SpatialPrior, graph: AreaGraph, dtype: str = "float64") -> Decoder:
    """Turn a prior into a function on the areas of a graph.

    Parameters
    ----------
    prior : SpatialPrior
        The prior.
    graph : AreaGraph
        The geography.
    dtype : {'float64', 'float32'}
        Precision of the arithmetic; float64 needs JAX's x64 mode, which the caller sets.

    Returns
    -------
    Decoder
        The function and its sizes.

    Raises
    ------
    PriorProblem
        If the geography is another one and the architecture does not transfer, or the weights do not fit.
    EngineUnavailable
        If JAX is not installed.
    """
    need_jax()
    if dtype not in ("float64", "float32"):
        raise PriorProblem(f"A decoder works in 'float64' or 'float32'; got {dtype!r}.")
    check_geography(prior, graph)
    hyperparameters = prior.family.hyperparameters if prior.conditional else ()
    if prior.architecture == "graph-filter":
        from smallarea.priors.filter_root import bound_filter

        size, field = bound_filter(prior, graph, dtype)
    else:
        from smallarea.priors.networks.dense_decoders import bound_network

        size, field = bound_network(prior, graph, dtype)
    return _on_all_areas(prior, graph, hyperparameters, size, field, dtype)


def _on_all_areas(
    prior: SpatialPrior,
    graph: AreaGraph,
    hyperparameters: tuple[Hyperparameter, ...],
    size: int,
    field: Callable[[Any, Any], Array],
    dtype: str,
) -> Decoder:
    """Put the field's nodes where they belong among all areas, and give the others what their family says."""
    import jax.numpy as jnp

    nodes, _ = field_nodes(graph)
    n = len(graph.ids)
    alone = np.flatnonzero(graph.degrees == 0)
    if not len(alone):
        return Decoder(n, size, hyperparameters, field)
    own_scale = prior.family.name in ("leroux", "bym2")
    extra = len(alone) if own_scale else 0

    def decode(z: Any, values: Any) -> Array:
        out = jnp.zeros(n, dtype=dtype).at[nodes].set(field(z[:size], values))
        if not own_scale:
            return out
        scale = 1.0 / jnp.sqrt(1.0 - values[0]) if prior.family.name == "leroux" and hyperparameters else 1.0
        return out.at[alone].set(scale * z[size:])

    return Decoder(n, size + extra, hyperparameters, decode)


def as_arrays(weights: Mapping[str, NDArray[np.float32]], dtype: str) -> dict[str, Any]:
    """Bring weights to JAX in the precision of the decoder."""
    import jax.numpy as jnp

    return {name: jnp.asarray(value, dtype=dtype) for name, value in weights.items()}
