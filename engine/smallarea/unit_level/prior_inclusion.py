"""How often trees would split on each covariate before they have seen an outcome: draws of the prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.specification import TreePrior

Vector = NDArray[np.float64]
Positions = NDArray[np.int64]

# A share of a half has a standard error of about 0.01 from so many trees, of a rule or two each.
TREES = 2000


def prior_inclusion(
    prior: TreePrior, n_cuts: NDArray[np.int32], bins: NDArray[np.int32], sizes: Vector, seed: int, trees: int = TREES
) -> Vector:
    """Share of the rules on each column in draws of the trees' prior.

    Rules are drawn as :class:`smallarea.trees.TreePrior` says. Trees with a leaf of too few observations are drawn
    again, which is what its truncation means. The shares differ from one in p since a column with few cuts, such as one
    of a code, is used up sooner, and splits off fewer observations.

    Parameters
    ----------
    prior : TreePrior
        The prior.
    n_cuts : ndarray of int, shape (p,)
        Cuts of each column.
    bins : ndarray of int, shape (n, p)
        Columns of the clusters by :meth:`smallarea.trees.Cuts.bins`.
    sizes : ndarray, shape (n,)
        Observations of each cluster.
    seed : int
        Same seed, same shares.
    trees : int
        Trees to draw.

    Returns
    -------
    ndarray, shape (p,)
        They sum to one, unless no column can be split on: zeros then.
    """
    rng = np.random.default_rng(seed)
    counts = np.zeros(len(n_cuts), dtype=np.int64)
    accepted = 0
    # The tree without a rule is never refused.
    while accepted < trees:
        rules = _rules(rng, prior, n_cuts, bins, sizes)
        if rules is not None:
            accepted += 1
            np.add.at(counts, rules, 1)
    return counts / max(int(counts.sum()), 1)


def _rules(
    rng: np.random.Generator, prior: TreePrior, n_cuts: NDArray[np.int32], bins: NDArray[np.int32], sizes: Vector
) -> list[int] | None:
    """Columns of the rules of one tree; None if it is not allowed."""
    split = prior.split_probability()
    rules: list[int] = []
    nodes = [(np.arange(len(bins)), np.zeros(len(n_cuts), dtype=np.int64), np.array(n_cuts, dtype=np.int64), 0)]
    while nodes:
        rows, low, high, depth = nodes.pop()
        if sizes[rows].sum() < prior.min_leaf or len(rules) >= prior.max_leaves:
            return None
        choices = np.flatnonzero(high > low)
        if not len(choices) or rng.random() >= split[depth]:
            continue
        column = int(rng.choice(choices))
        cut = int(rng.integers(low[column], high[column]))
        rules.append(column)
        left = bins[rows, column] <= cut
        below, above = high.copy(), low.copy()
        below[column], above[column] = cut, cut + 1
        nodes += [(rows[left], low, below, depth + 1), (rows[~left], above, high, depth + 1)]
    return rules
