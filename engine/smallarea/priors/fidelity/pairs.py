"""Pairs of areas at which covariances are looked at: neighbours and neighbours of neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from smallarea.areas.graph import AreaGraph
from smallarea.priors.exact import field_nodes

Integers = NDArray[np.int64]

MOST_PAIRS = 50_000


@dataclass(frozen=True)
class Pairs:
    """Pairs of the field's nodes.

    Attributes
    ----------
    degrees : ndarray of int, shape (n,)
        Number of neighbours of each node.
    edges : ndarray of int, shape (E, 2)
        Neighbours.
    second : ndarray of int, shape (P, 2)
        Nodes with a common neighbour that are not neighbours: all, or those of some nodes drawn at random.
    sampled : ndarray of int
        Nodes whose whole rows of the covariance are looked at; all of them unless the map is large.
    """

    degrees: Integers
    edges: Integers
    second: Integers
    sampled: Integers


def make_pairs(graph: AreaGraph, rng: np.random.Generator, most_rows: int) -> Pairs:
    """Choose the pairs of a geography.

    Parameters
    ----------
    graph : AreaGraph
        The geography.
    rng : numpy.random.Generator
        Draws the nodes where there are more than ``most_rows``.
    most_rows : int
        How many rows of the covariance may be looked at.
    """
    nodes, edges = field_nodes(graph)
    n = len(nodes)
    sampled = np.arange(n) if n <= most_rows else np.sort(rng.choice(n, most_rows, replace=False))
    ends = (np.concatenate([edges[:, 0], edges[:, 1]]), np.concatenate([edges[:, 1], edges[:, 0]]))
    adjacency = sp.csr_array((np.ones(2 * len(edges)), ends), shape=(n, n))
    reached = sp.csr_array(adjacency[sampled] @ adjacency)
    rows, columns = reached.nonzero()
    first, other = sampled[rows], columns.astype(np.int64)
    keep = (first != other) & (np.asarray(adjacency[first, other]).ravel() == 0)
    if n <= most_rows:
        keep &= first < other
    second = np.column_stack([first[keep], other[keep]])
    if len(second) > MOST_PAIRS:
        second = second[np.sort(rng.choice(len(second), MOST_PAIRS, replace=False))]
    return Pairs(np.bincount(edges.ravel(), minlength=n), edges, second, sampled)
