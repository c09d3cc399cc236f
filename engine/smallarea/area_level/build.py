"""From a specification, data and a graph to the model that is evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.chain import ChainField
from smallarea.area_level.collapsed import CollapsedModel
from smallarea.area_level.fields import Field, SeparableField
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_level.stacked import StackedData
from smallarea.errors import GraphProblem
from smallarea.gmrf import CarPrecision, IcarPrecision, LerouxPrecision, Precision

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph

# Effects that are proper on an area without neighbours; the others leave such areas out (there phi = 0).
_KEEPS_ISLANDS = ("leroux", "bym2")
# A part of the map whose standardised sampling variances all lie above this counts as one without data where matrices
# are kept away from singular ones; the variances themselves are used as they are.
UNINFORMATIVE = 1e6


def build_model(
    specification: AreaLevelSpecification, data: StackedData, graph: AreaGraph | None, solver: str = "auto"
) -> CollapsedModel:
    """Set up the collapsed model of a specification.

    Parameters
    ----------
    specification : AreaLevelSpecification
        The model.
    data : StackedData
        The data, in the order of the graph's areas.
    graph : AreaGraph or None
        The adjacency graph; None for independent area effects.
    solver : str
        Backend, see :func:`smallarea.gmrf.batch_factoriser`.

    Returns
    -------
    CollapsedModel
        The model.

    Raises
    ------
    GraphProblem
        If a spatial effect has no graph, the graph has no edge, or islands would be left without any random effect.
    """
    correlated_iid = not specification.spatial and specification.link == "separable"
    field = None
    if specification.spatial:
        if graph is None:
            raise GraphProblem(
                f"A {specification.random_effect!r} random effect needs to know which areas are neighbours. Give a "
                f"graph."
            )
        field = _field(specification, data, graph)
    return CollapsedModel(data, field, correlated_iid=correlated_iid, solver=solver)


def effect_nodes(
    specification: AreaLevelSpecification, graph: AreaGraph
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Areas that the spatial effect lives on, and the neighbours among them.

    Parameters
    ----------
    specification : AreaLevelSpecification
        A model with a spatial effect.
    graph : AreaGraph
        The adjacency graph.

    Returns
    -------
    nodes, edges : ndarray of int, shapes (M,), (E, 2)
        Positions of the areas; pairs of positions among the nodes.

    Raises
    ------
    GraphProblem
        If the graph has no edge, or islands would be left without any random effect.
    """
    effect = specification.random_effect
    if len(graph.edges) == 0:
        raise GraphProblem(
            "The adjacency graph has no edge: no two areas are neighbours. Check the polygons (smallarea areas check), "
            "link islands to their nearest area (islands 'nearest'), or choose random_effect 'iid'."
        )
    linked = np.asarray(graph.degrees) > 0
    if effect not in _KEEPS_ISLANDS and not specification.iid_part and not linked.all():
        raise GraphProblem(
            f"Areas without neighbours ({', '.join(graph.islands[:5])}) would have no random effect in a {effect!r} "
            f"model "
            "without an iid part. Keep the iid part, link islands to their nearest area (islands 'nearest'), or "
            "choose 'leroux'."
        )
    nodes = np.arange(len(graph.ids)) if effect in _KEEPS_ISLANDS else np.flatnonzero(linked)
    index = np.full(len(graph.ids), -1)
    index[nodes] = np.arange(len(nodes))
    return nodes, index[np.asarray(graph.edges, dtype=np.int64)]


def _field(specification: AreaLevelSpecification, data: StackedData, graph: AreaGraph) -> Field:
    effect = specification.random_effect
    nodes, edges = effect_nodes(specification, graph)
    n, k = data.shape
    if specification.link == "chain":
        order = [specification.responses.index(name) for name in specification.order]
        proper = CarPrecision(len(nodes), edges) if effect == "car" else LerouxPrecision(len(nodes), edges)
        return ChainField(proper, nodes, n, order, coupled=data.coupled)
    ordered = specification.link == "time" and k > 1
    shared = ordered or specification.link == "separable"
    mixed = effect == "bym2"
    precision: Precision
    if effect == "car":
        precision = CarPrecision(len(nodes), edges)
    elif effect == "leroux":
        precision = LerouxPrecision(len(nodes), edges)
    else:
        precision = IcarPrecision(len(nodes), edges, scaled=mixed)
    return SeparableField(
        precision,
        nodes,
        n,
        k,
        shared=shared,
        coupled=data.coupled or (mixed and shared and k > 1),
        informed=data.observed & (np.einsum("nkk->nk", data.covariance) < UNINFORMATIVE),
        mixed=mixed,
        ordered=ordered,
    )
