"""Graphs that several test rooms share."""

import numpy as np
from scipy.spatial import Delaunay
from smallarea.areas.graph import AreaGraph


def planar_graph(n: int, seed: int = 0, islands: int = 0, parts: int = 1) -> AreaGraph:
    """Neighbours in a Delaunay triangulation of random points, in several connected parts, and islands at the end."""
    rng = np.random.default_rng(seed)
    edges, start = [], 0
    for size in np.diff(np.linspace(0, n, parts + 1).astype(int)):
        triangles = Delaunay(rng.uniform(size=(size, 2))).simplices
        pairs = np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])
        edges.append(pairs + start)
        start += size
    # The order of the areas says nothing about where they lie.
    order = rng.permutation(n + islands)
    ids = [f"a{i}" for i in range(n + islands)]
    return AreaGraph.from_edges(ids, order[np.vstack(edges)])
