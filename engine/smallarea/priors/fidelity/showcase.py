"""What is worth looking at in a learned prior beside the exact one: a row of the covariance, pairs, a draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.priors.decoders import bind, need_jax
from smallarea.priors.exact import exact_prior, field_nodes
from smallarea.priors.fidelity.certificate import references_of
from smallarea.priors.fidelity.certificate_record import Certificate
from smallarea.priors.fidelity.drawn_moments import MOST_NUMBERS
from smallarea.priors.fidelity.gate import failures_at
from smallarea.priors.fidelity.grid_point import GridPoint
from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.reference_field import Reference, ReferenceAt
from smallarea.priors.prior import SpatialPrior

if TYPE_CHECKING:
    from smallarea.areas import Areas

Vector = NDArray[np.float64]

# Areas whose covariances with all others are shown as points, and how many points at most.
ROWS = 16
MOST_POINTS = 4_000


@dataclass(frozen=True)
class Showcase:
    """Pictures' worth of numbers at one value of the hyperparameter.

    Attributes
    ----------
    point : GridPoint
        Where: see `point_to_show`.
    centre : int
        Position of the area whose covariances are mapped.
    exact_row, learned_row : ndarray, shape (N,)
        Its covariances with all areas, as multiples of its exact variance; NaN for areas without neighbours.
    exact_points, learned_points : ndarray, shape (M,)
        Covariances of some areas with others, as multiples of the typical exact variance.
    exact_draw, learned_draw : ndarray, shape (N,)
        A field of each prior.
    """

    point: GridPoint
    centre: int
    exact_row: Vector
    learned_row: Vector
    exact_points: Vector
    learned_points: Vector
    exact_draw: Vector
    learned_draw: Vector


def make_showcase(
    prior: SpatialPrior, certificate: Certificate, graph: AreaGraph, areas: Areas | None = None
) -> Showcase:
    """Compute what the pictures of a certificate show.

    Parameters
    ----------
    prior : SpatialPrior
        The prior.
    certificate : Certificate
        Its certificate, whose seed is used.
    graph : AreaGraph
        The geography.
    areas : Areas, optional
        The polygons, which a Gaussian process needs.

    Returns
    -------
    Showcase
        The numbers.
    """
    point = point_to_show(certificate)
    jax = need_jax()
    with jax.enable_x64(True):
        decoder = bind(prior, graph, "float64")
        exact = exact_prior(prior.family, graph, areas)
        grid = None if point.value is None else [point.value]
        (reference,) = references_of(exact, bool(decoder.hyperparameters), grid)
        learned = LearnedField(decoder, exact.nodes)
        return _showcase(learned, reference, point, graph, certificate)


def point_to_show(certificate: Certificate) -> GridPoint:
    """Choose the value with the largest error if a bar is missed; else one near the end, where dependence can be seen.

    Parameters
    ----------
    certificate : Certificate
        The certificate.
    """
    points = certificate.points
    if any(failures_at(point, "", len(points)) for point in points):
        return max(points, key=lambda one: one.frobenius)
    return points[max(0, len(points) - 2)]


def _showcase(
    learned: LearnedField, reference: Reference, point: GridPoint, graph: AreaGraph, certificate: Certificate
) -> Showcase:
    rng = np.random.default_rng(certificate.seed)
    n = reference.n
    centre = _middle(graph)
    at = np.unique(np.append(rng.choice(n, min(ROWS, n), replace=False), centre))
    unit = np.zeros((n, len(at)))
    unit[at, np.arange(len(at))] = 1.0
    exact = reference.times(unit)
    found = _learned_columns(learned, reference, unit, at, certificate.draws, rng)
    variances = exact[at, np.arange(len(at))]
    own = int(np.flatnonzero(at == centre)[0])
    pair = exact.ravel() / variances.mean(), found.ravel() / variances.mean()
    chosen = np.sort(rng.choice(len(pair[0]), min(MOST_POINTS, len(pair[0])), replace=False))
    z = rng.standard_normal((1, learned.latent_size))
    follows = isinstance(reference, ReferenceAt) and reference.exact.latent_size == learned.latent_size
    true = reference.roots(z)[0] if follows and isinstance(reference, ReferenceAt) else reference.draws(1, rng)[0]
    nodes, _ = field_nodes(graph)

    def everywhere(x: Vector) -> Vector:
        out = np.full(len(graph.ids), np.nan)
        out[nodes] = x
        return out

    return Showcase(
        point=point,
        centre=int(nodes[centre]),
        exact_row=everywhere(exact[:, own] / variances[own]),
        learned_row=everywhere(found[:, own] / variances[own]),
        exact_points=pair[0][chosen],
        learned_points=pair[1][chosen],
        exact_draw=everywhere(true),
        learned_draw=everywhere(learned.fields(z, reference.value)[0]),
    )


def _learned_columns(
    learned: LearnedField,
    reference: Reference,
    unit: Vector,
    at: NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
) -> Vector:
    """Columns of the learned second moments: exact if linear, else averages over draws."""
    if learned.is_linear(reference.value, rng):
        return learned.covariance_times(unit, reference.value)
    size = min(draws, MOST_NUMBERS // reference.n)
    fields = learned.fields(rng.standard_normal((size, learned.latent_size)), reference.value)
    return fields.T @ fields[:, at] / size


def _middle(graph: AreaGraph) -> int:
    """Node of the largest component half way between its two ends."""
    from scipy.sparse import csgraph

    nodes, _ = field_nodes(graph)
    adjacency = graph.adjacency[nodes][:, nodes]
    labels = csgraph.connected_components(adjacency, directed=False)[1]
    inside = np.flatnonzero(labels == np.argmax(np.bincount(labels)))
    # The node that is furthest from any node is an end, and the one furthest from that is the opposite end.
    start = int(inside[0])
    start = int(csgraph.breadth_first_order(adjacency, start, directed=False)[0][-1])
    order, before = csgraph.breadth_first_order(adjacency, start, directed=False)
    path = [int(order[-1])]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    return path[len(path) // 2]
