"""Candidate places of displaced clusters: cells of the covariates' grid, by displacement, people and polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from smallarea.errors import GeometryProblem, RasterProblem, named
from smallarea.io.planar import project
from smallarea.io.raster_grid import Grid
from smallarea.io.raster_points import sample_points
from smallarea.io.rasters import RasterStack
from smallarea.unit_level.displacement import Displacement, thin

Vector = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Found = tuple[Index, Vector, Vector, Vector]
Missing = Literal["error", "drop", "nearest"]

# Points that stand for the displacement of a cluster, before they are gathered by the cells that they fall into.
POINTS = 500
# Points that say how likely a displacement from a candidate stays in the cluster's polygon.
STAYING_POINTS = 100


@dataclass(frozen=True)
class Published:
    """Displaced clusters as they were published.

    Attributes
    ----------
    ids : sequence of str
        Names of the n clusters.
    places : ndarray, shape (n, 2)
        Published places.
    crs : str
        Their plane.
    moves : sequence of Displacement
        How each was moved, in the plane's unit.
    """

    ids: Sequence[str]
    places: Vector
    crs: str
    moves: Sequence[Displacement]


@dataclass(frozen=True)
class FoundPlaces:
    """Candidates of clusters; those of cluster i are ``starts[i]`` to ``starts[i + 1]``, none if it is left out.

    Attributes
    ----------
    starts : ndarray of int64, shape (n + 1,)
        Where the candidates of each cluster begin.
    places : ndarray, shape (m, 2)
        In the plane of the clusters: the mean of the displacements that lead into a cell.
    values : ndarray, shape (m, bands)
        Covariates of the cells.
    weights : ndarray, shape (m,)
        Prior probabilities.
    notes : tuple of str
        What was cut off, and which clusters were left out.
    """

    starts: Index
    places: Vector
    values: Vector
    weights: Vector
    notes: tuple[str, ...]


def find_places(
    published: Published,
    stack: RasterStack,
    people: RasterStack,
    polygons: tuple[NDArray[np.object_], object] | None,
    *,
    candidates: int,
    missing: Missing,
    seed: int,
) -> FoundPlaces:
    """Find where displaced clusters may be.

    Parameters
    ----------
    published : Published
        The clusters.
    stack, people : RasterStack
        Open covariates, and people on the same grid (without a band if they do not count).
    polygons : tuple of shapes and reference system, or None
        Clusters stay in their polygons.
    candidates : int
        Most candidates of a cluster; where more cells are in reach, :func:`smallarea.unit_level.displacement.thin`
        picks some.
    missing : {'error', 'drop', 'nearest'}
        What happens to a cluster without a candidate: refuse, leave it out, or take the nearest cell with data.
    seed : int
        Same seed, same candidates, whatever the other clusters are.

    Returns
    -------
    FoundPlaces

    Raises
    ------
    RasterProblem
        If clusters have no candidate and ``missing`` is ``error``.
    GeometryProblem
        If clusters lie outside all polygons and ``missing`` is ``error``, or points cannot be projected.
    """
    n = len(published.ids)
    # Each cluster has random numbers of its own, which do not depend on who else is there.
    sources = [np.random.default_rng([seed, *place.view(np.uint32).tolist()]) for place in published.places.copy()]
    moved = np.stack([m.spiral(POINTS, source) for m, source in zip(published.moves, sources, strict=True)])
    points = published.places[:, None, :] + moved
    homes = None if polygons is None else _Polygons.of(published, *polygons, missing)
    inside = np.ones((n, POINTS), bool) if homes is None else homes.hold(points, published.crs, np.arange(n))
    cluster, places, row, column, weights = _gather(points, inside, stack.grid, published.crs)
    values, crowd = _read(stack, row, column), _read(people, row, column)
    gone: Mask = np.asarray(np.isnan(values).any(axis=1))
    usable = ~gone
    if crowd.shape[1]:
        weights = weights * np.nan_to_num(crowd[:, 0])
        usable &= weights > 0.0
    edges = np.searchsorted(cluster, np.arange(n + 1))
    kept = np.zeros(len(weights))
    for i, source in enumerate(sources):
        own = slice(edges[i], edges[i + 1])
        mass = np.where(usable[own], weights[own], 0.0)
        if mass.sum() > 0.0:
            kept[own] = thin(mass / mass.sum(), candidates, source)
    chosen = kept > 0.0
    found = (cluster[chosen], places[chosen], values[chosen], kept[chosen])
    if homes is not None:
        found = (*found[:3], _shared(found[3] / _staying(published, homes, found[0], found[1]), found[0]))
    lacking = np.setdiff1d(np.arange(n), found[0])
    notes = _lost(inside, gone, weights, crowd.shape[1] > 0)
    if len(lacking):
        found, more = _without(published, stack, lacking, found, missing)
        notes += more
    starts = np.searchsorted(found[0], np.arange(n + 1)).astype(np.int64)
    return FoundPlaces(starts, found[1], found[2], found[3], tuple(notes))


def _gather(points: Vector, inside: Mask, grid: Grid, crs: str) -> tuple[Index, Vector, Index, Index, Vector]:
    """Gather points by cluster and cell: cluster, mean place, row, column and share of each pair, nearest first."""
    count = inside.shape[1]
    flat = points.reshape(-1, 2)
    rows, columns = grid.place(flat, crs)
    usable = np.flatnonzero((rows >= 0) & inside.ravel())
    key = (usable // count) * grid.cells + rows[usable] * grid.width + columns[usable]
    _, first, pair, sizes = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(pair.ravel(), flat[usable, axis]) / sizes for axis in (0, 1)], axis=1)
    # Points are in the order of clusters and distances, and so are the first ones of the pairs.
    order = np.argsort(first)
    at = usable[first[order]]
    return at // count, means[order], rows[at], columns[at], sizes[order] / count


def _read(stack: RasterStack, rows: Index, columns: Index) -> Vector:
    """Values of cells, each of which is read once."""
    cells, back = np.unique(np.column_stack([rows, columns]), axis=0, return_inverse=True)
    return stack.read_cells(cells[:, 0], cells[:, 1])[back.ravel()]


@dataclass(frozen=True)
class _Polygons:
    """Polygons of clusters: cluster ``cluster[j]`` is in polygon ``polygon[j]``; it may be in several or in none."""

    shapes: NDArray[np.object_]
    crs: object
    cluster: Index
    polygon: Index

    @classmethod
    def of(cls, published: Published, shapes: NDArray[np.object_], crs: object, missing: Missing) -> _Polygons:
        """Find the polygons that published places lie in; others are refused, or get the nearest one if asked."""
        n = len(published.ids)
        homes = shapely.points(project(published.places, published.crs, crs))
        tree = shapely.STRtree(shapes)
        cluster, polygon = tree.query(homes, predicate="intersects")
        outside = np.setdiff1d(np.arange(n), cluster)
        if len(outside) and missing == "error":
            raise GeometryProblem(
                f"{len(outside)} of {n} clusters lie outside all polygons that displaced clusters stay in: "
                f"{named([published.ids[i] for i in outside])}. Give polygons that cover them, leave them out (missing "
                "'drop'), or take the nearest polygon (missing 'nearest')."
            )
        if len(outside) and missing == "nearest":
            cluster = np.concatenate([cluster, outside])
            polygon = np.concatenate([polygon, tree.nearest(homes[outside])])
        return cls(shapes, crs, cluster, polygon)

    def hold(self, points: Vector, crs: str, cluster: Index) -> Mask:
        """Say which points, shape (k, m, 2), lie in a polygon of their cluster, shape (k,)."""
        k, count = points.shape[:2]
        moved = project(points.reshape(-1, 2), crs, self.crs).reshape(k, count, 2)
        found = np.zeros((k, count), dtype=bool)
        for one in np.unique(self.polygon):
            own = np.flatnonzero(np.isin(cluster, self.cluster[self.polygon == one]))
            shapely.prepare(self.shapes[one])
            found[own] |= shapely.intersects_xy(self.shapes[one], moved[own, :, 0], moved[own, :, 1])
        return found


def _staying(published: Published, polygons: _Polygons, cluster: Index, places: Vector) -> Vector:
    """Probability that a displacement from each candidate stays in its cluster's polygons, shape (candidates,).

    A displacement that leaves is drawn anew, so those that stay are the more likely, the fewer of them there are.
    """
    steps = [move.spiral(STAYING_POINTS, np.random.default_rng(0)) for move in published.moves]
    points = places[:, None, :] + np.stack(steps)[cluster]
    return np.asarray(np.maximum(polygons.hold(points, published.crs, cluster).sum(axis=1), 1) / STAYING_POINTS)


def _shared(weights: Vector, cluster: Index) -> Vector:
    """Divide weights by their sums in each cluster."""
    return np.asarray(weights / np.bincount(cluster, weights)[cluster])


def _lost(inside: Mask, gone: Mask, weights: Vector, with_people: bool) -> list[str]:
    """Say how much of the displacements was cut off."""
    notes = []
    if not inside.all():
        notes.append(f"{1.0 - inside.mean():.1%} of the displacements lead out of the clusters' polygons and were cut.")
    if gone.any() and not with_people:
        notes.append(f"{weights[gone].sum() / len(inside):.1%} of the displacements lead to cells without covariates.")
    return notes


def _without(
    published: Published,
    stack: RasterStack,
    lacking: Index,
    found: Found,
    missing: Missing,
) -> tuple[Found, list[str]]:
    """Deal with clusters without a candidate as asked."""
    names = named([published.ids[i] for i in lacking])
    what = f"{len(lacking)} of {len(published.ids)} clusters"
    if missing == "error":
        raise RasterProblem(
            f"{what} have no candidate place with all covariates (and people, if they count): {names}. Leave them out "
            "(missing 'drop'), take the nearest cell with data (missing 'nearest'), or mend the rasters."
        )
    if missing == "drop" or not len(found[0]):
        return found, [f"{what} have no candidate place with all covariates and were left out."]
    near = sample_points(stack, published.places, published.crs, missing="nearest")
    filled = lacking[near.kept[lacking]]
    more = (filled, published.places[filled], near.values[filled], np.ones(len(filled)))
    joined = [np.concatenate(pair) for pair in zip(found, more, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    note = f"{what} have no candidate place with all covariates: {len(filled)} took the nearest cell with data"
    left = len(lacking) - len(filled)
    ordered = (joined[0][order], joined[1][order], joined[2][order], joined[3][order])
    return ordered, [note + (f", {left} could not and left the fit." if left else ".")]
