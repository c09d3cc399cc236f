"""Which areas are left out together: random folds, and blocks of neighbouring areas.

Left out one by one, an area is predicted from neighbours that were surveyed; in spatial data this flatters models that
interpolate. Blocks ask for the prediction of a region without a survey (Roberts et al. 2017).

References
----------
Roberts, D. R. et al. (2017). Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
structure. Ecography 40, 913-929.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from smallarea.errors import JobProblem

Vector = NDArray[np.float64]
Folds = NDArray[np.int64]

_ROUNDS = 100


def random_folds(variance: Vector, folds: int, rng: np.random.Generator) -> Folds:
    """Deal the sampled areas into folds that are alike in precision.

    Areas are sorted by sampling variance and each run of ``folds`` areas is dealt out at random, one to each fold, so
    that no fold happens to hold the imprecise areas.

    Parameters
    ----------
    variance : ndarray, shape (N,)
        A sampling variance of each area, NaN where not sampled.
    folds : int
        How many.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (N,)
        Fold of each area, -1 where not sampled.

    Raises
    ------
    JobProblem
        If there are fewer sampled areas than folds.
    """
    sampled = np.flatnonzero(np.isfinite(variance))
    _check(len(sampled), folds)
    order = sampled[np.lexsort((rng.random(len(sampled)), variance[sampled]))]
    out = np.full(len(variance), -1, dtype=np.int64)
    for start in range(0, len(order), folds):
        group = order[start : start + folds]
        out[group] = rng.permutation(folds)[: len(group)]
    return out


def centroid_blocks(points: Vector, sampled: NDArray[np.bool_], blocks: int, rng: np.random.Generator) -> Folds:
    """Group the sampled areas around centres by k-means.

    An island belongs to the block of the areas that it lies next to.

    Parameters
    ----------
    points : ndarray, shape (N, d)
        Where the areas are, in units in which distances mean something (a plane, or three dimensions for a globe).
    sampled : ndarray of bool, shape (N,)
        Which areas have a direct estimate.
    blocks : int
        How many.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (N,)
        Block of each area, -1 where not sampled.

    Raises
    ------
    JobProblem
        If there are fewer sampled areas than blocks.
    """
    rows = np.flatnonzero(sampled)
    _check(len(rows), blocks)
    x = points[rows]
    centres = _spread_out(x, blocks, rng)
    label = np.full(len(x), -1)
    for _ in range(_ROUNDS):
        distance = np.sum((x[:, None] - centres[None]) ** 2, axis=2)
        new = distance.argmin(axis=1)
        for empty in np.setdiff1d(np.arange(blocks), new):
            # The farthest area of the others starts the block that nobody chose.
            counts = np.bincount(new, minlength=blocks)
            far = np.where(counts[new] > 1, distance[np.arange(len(x)), new], -1.0).argmax()
            new[far] = empty
        if np.array_equal(new, label):
            break
        label = new
        centres = np.stack([x[label == block].mean(axis=0) for block in range(blocks)])
    out = np.full(len(points), -1, dtype=np.int64)
    out[rows] = label
    return out


def _spread_out(x: Vector, count: int, rng: np.random.Generator) -> Vector:
    """First centres of k-means++ (Arthur and Vassilvitskii 2007): each with a probability that grows with distance."""
    chosen = [int(rng.integers(len(x)))]
    nearest = np.full(len(x), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.sum((x - x[chosen[-1]]) ** 2, axis=1))
        total = nearest.sum()
        free = np.setdiff1d(np.arange(len(x)), chosen)
        weights = nearest / total if total > 0.0 else np.isin(np.arange(len(x)), free) / len(free)
        chosen.append(int(rng.choice(len(x), p=weights)))
    return x[chosen]


def graph_blocks(
    adjacency: sparse.csr_array, sampled: NDArray[np.bool_], blocks: int, rng: np.random.Generator
) -> Folds:
    """Grow blocks of neighbours along the graph, for maps without polygons.

    Each component of the graph gets blocks in proportion to its sampled areas; components too small for one of their
    own (islands among them) are added whole to the smallest blocks. Within a component blocks start far apart and take
    turns, the smallest first, in taking one of their neighbours.

    Parameters
    ----------
    adjacency : csr_array, shape (N, N)
        Symmetric, 0 and 1.
    sampled : ndarray of bool, shape (N,)
        Which areas have a direct estimate.
    blocks : int
        How many.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (N,)
        Block of each area, -1 where not sampled.

    Raises
    ------
    JobProblem
        If there are fewer sampled areas than blocks.
    """
    _check(int(sampled.sum()), blocks)
    count, component = csgraph.connected_components(adjacency, directed=False)
    sizes = np.bincount(component, weights=sampled, minlength=count).astype(np.float64)
    each = np.minimum(_shares(sizes, blocks), sizes).astype(np.int64)
    label = np.full(len(sampled), -1, dtype=np.int64)
    first = 0
    for part in np.flatnonzero(each).tolist():
        _grow(adjacency, np.flatnonzero(component == part), sampled, first, int(each[part]), label, rng)
        first += int(each[part])
    for part in np.flatnonzero((each == 0) & (sizes > 0)).tolist():
        filled = np.bincount(label[sampled & (label >= 0)], minlength=max(first, 1))
        label[component == part] = filled.argmin()
    return np.where(sampled, label, -1)


def _shares(sizes: Vector, blocks: int) -> Vector:
    """Blocks of each component: the highest averages of d'Hondt, so that their sum is right."""
    each = np.zeros(len(sizes))
    for _ in range(blocks):
        each[np.argmax(np.where(each < sizes, sizes / (each + 1.0), -1.0))] += 1.0
    return each


def _grow(
    adjacency: sparse.csr_array,
    nodes: NDArray[np.int64],
    sampled: NDArray[np.bool_],
    first: int,
    count: int,
    label: Folds,
    rng: np.random.Generator,
) -> None:
    """Divide one component into blocks, numbered from `first`."""
    inside = nodes[sampled[nodes]]
    seeds = [int(rng.choice(inside))]
    while len(seeds) < count:
        steps = csgraph.dijkstra(adjacency, directed=False, indices=seeds, unweighted=True, min_only=True)
        away = np.where(np.isin(inside, seeds), -1.0, steps[inside])
        seeds.append(int(inside[away.argmax()]))
    fronts = [[seed] for seed in seeds]
    label[seeds] = first + np.arange(count)
    filled = np.ones(count)
    while any(fronts):
        block = min((b for b in range(count) if fronts[b]), key=lambda b: filled[b])
        node = fronts[block][0]
        around = adjacency.indices[adjacency.indptr[node] : adjacency.indptr[node + 1]]
        free = around[label[around] < 0]
        if not len(free):
            fronts[block].pop(0)
            continue
        label[free[0]] = first + block
        fronts[block].append(int(free[0]))
        filled[block] += sampled[free[0]]


def _check(sampled: int, folds: int) -> None:
    if not 2 <= folds <= sampled:
        raise JobProblem(
            f"Cross-validation in {folds} folds needs at least {max(folds, 2)} areas with a direct estimate and two "
            f"folds; there are {sampled} such areas. Choose another number of folds."
        )
