"""State of all trees, and room to work in, as the compiled loops want them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.leaves import Gram, Solver
from smallarea.trees.structure import Integers, Ranges, Vector


class Forest(NamedTuple):
    """State of all trees.

    ``nodes`` (trees, slots, 5); ``values`` (trees, slots) of leaves; ``place`` (trees, n), the leaf of each cluster;
    ``sizes`` (trees, slots), observations of each leaf; ``sums`` (trees, slots, k), rows of V added up by leaf;
    ``residual`` (n,), cluster means less all trees; ``q`` (k,) = V' residual.
    """

    nodes: Integers
    values: Vector
    place: Integers
    sizes: Vector
    sums: Vector
    residual: Vector
    q: Vector


class Group(NamedTuple):
    """Trees whose leaves are integrated out together with those of the tree that is proposed.

    ``order`` (trees,) is for drawing them; ``tree`` and ``leaf`` (others,) list their leaves; ``at`` (trees, slots)
    finds a leaf in that list; ``cross`` and ``new_cross`` (slots, others): C' Lambda C between the tree and them.

    Clusters that share a leaf in every partner are a cell, ``cells`` (1,) in number: ``cell`` (n,) says which,
    ``digits`` (cells, partners) lists its leaves; ``pooled`` (2, cells) and ``joint`` (slots, cells) are room for sums.
    """

    order: Integers
    tree: Integers
    leaf: Integers
    at: Integers
    cross: Vector
    new_cross: Vector
    cells: Integers
    cell: Integers
    digits: Integers
    pooled: Vector
    joint: Vector


class Together(NamedTuple):
    """Room to move cuts of several trees at once, see :mod:`smallarea.trees.together`.

    ``inner`` (trees x slots,) lists inner nodes. ``trees`` (trees,) that hold the cuts, and as they were before:
    ``nodes`` (trees, slots, 5). ``rows`` (n,) lists the clusters between the cuts, ``changes`` (n,) how their residuals
    change, ``places`` (trees, n) their new leaves; ``sizes`` (trees, slots) and ``q`` (k,) are those after the move.
    """

    inner: Integers
    trees: Integers
    nodes: Integers
    rows: Integers
    changes: Vector
    places: Integers
    sizes: Vector
    q: Vector


class Bench(NamedTuple):
    """Room to work in, and the fixed numbers of proposals.

    ``leaf_precision`` is tau^-2; ``counts`` (7, 2): proposals made and accepted by kind.
    """

    bins: Integers
    leaf_precision: Vector
    min_leaf: Vector
    nodes: Integers
    ranges: Ranges
    new_ranges: Ranges
    gram: Gram
    new_gram: Gram
    solver: Solver
    leaves: Integers
    new_leaves: Integers
    touched: Integers
    stack: Integers
    place: Integers
    is_touched: NDArray[np.bool_]
    sizes: Vector
    linear: Vector
    sums: Vector
    weighted: Vector
    counts: NDArray[np.int64]
    group: Group
    together: Together
