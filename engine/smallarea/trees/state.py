"""Arrays that the compiled loops work on, from a specification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.trees.arrays import Bench, Forest, Group, Together
from smallarea.trees.leaves import Gram, Solver, Spectrum
from smallarea.trees.moves import Stream
from smallarea.trees.specification import KINDS, TreePrior
from smallarea.trees.structure import FIELDS, Integers, Rules, Vector, empty_ranges, stumps

# Uniform numbers that one proposal can use: its kind, up to four for the move, the acceptance.
UNIFORMS_OF_PROPOSAL = 6
# And one to move cuts of several trees: the node, the step, the acceptance.
UNIFORMS_TOGETHER = 3
# Most cells that the leaves of partners may form, see :class:`smallarea.trees.kernel.Group`.
MOST_CELLS = 512


def make_rules(prior: TreePrior, n_cuts: Integers) -> Rules:
    """Prior and proposal probabilities as the kernel wants them.

    Parameters
    ----------
    prior : TreePrior
        The prior.
    n_cuts : ndarray of int32, shape (p,)
        Cuts of each covariate.

    Returns
    -------
    Rules
    """
    split = prior.split_probability()
    shares = prior.move_shares
    with np.errstate(divide="ignore"):
        return Rules(
            np.asarray(n_cuts, np.int32), np.log(split), np.log1p(-split), np.cumsum(shares), np.log(shares),
            np.array([prior.attempts, prior.group, prior.together]),
        )  # fmt: skip


def make_forest(prior: TreePrior, residual: Vector, rank: int) -> Forest:
    """Trees of a single leaf of value zero.

    Parameters
    ----------
    prior : TreePrior
        The prior.
    residual : ndarray, shape (n,)
        Cluster means.
    rank : int
        Columns of V.

    Returns
    -------
    Forest
    """
    trees, slots, n = prior.trees, prior.slots, len(residual)
    return Forest(
        stumps(trees, slots),
        np.zeros((trees, slots)),
        np.zeros((trees, n), np.int32),
        np.zeros((trees, slots)),
        np.zeros((trees, slots, rank)),
        np.array(residual, float),
        np.zeros(rank),
    )


def make_bench(prior: TreePrior, bins: Integers, leaf_scale: float, sizes: Vector, rank: int) -> Bench:
    """Room for the proposals.

    Parameters
    ----------
    prior : TreePrior
        The prior.
    bins : ndarray of int32, shape (n, p)
        Covariates by :meth:`Cuts.bins`.
    leaf_scale : float
        tau.
    sizes : ndarray, shape (n,)
        Observations of each cluster.
    rank : int
        Columns of V.

    Returns
    -------
    Bench

    Raises
    ------
    ModelProblem
        If all observations together are fewer than a leaf needs.
    """
    if sizes.sum() < prior.min_leaf:
        raise ModelProblem(
            f"There are {sizes.sum():g} observations, but every leaf needs {prior.min_leaf}. "
            f"Give more data, or ask for smaller leaves."
        )
    slots, others = prior.slots, prior.group * prior.max_leaves
    rows = others + prior.max_leaves
    n, p = bins.shape

    def whole(count: int) -> Integers:
        return np.zeros(count, np.int32)

    return Bench(
        bins=np.ascontiguousarray(bins, np.int32),
        leaf_precision=np.array([leaf_scale**-2.0]),
        min_leaf=np.array([float(prior.min_leaf)]),
        nodes=stumps(1, slots)[0],
        ranges=empty_ranges(slots, p),
        new_ranges=empty_ranges(slots, p),
        gram=Gram(np.zeros((slots, slots)), np.zeros(slots)),
        new_gram=Gram(np.zeros((slots, slots)), np.zeros(slots)),
        solver=Solver(np.zeros((rows, rows)), np.zeros(rows), np.zeros(rows)),
        leaves=whole(slots),
        new_leaves=whole(slots),
        touched=whole(slots),
        stack=whole(slots),
        place=whole(n),
        is_touched=np.zeros(slots, np.bool_),
        sizes=np.zeros(slots),
        linear=np.zeros(rows),
        sums=np.zeros((slots, rank)),
        weighted=np.zeros(rank),
        counts=np.zeros((len(KINDS), 2), np.int64),
        group=Group(
            whole(prior.trees),
            whole(others),
            whole(others),
            np.zeros((prior.trees, slots), np.int32),
            np.zeros((slots, others)),
            np.zeros((slots, others)),
            whole(1),
            whole(n),
            np.zeros((MOST_CELLS, prior.group), np.int32),
            np.zeros((2, MOST_CELLS)),
            np.zeros((slots, MOST_CELLS)),
        ),
        together=Together(
            whole(prior.trees * slots),
            whole(prior.trees),
            np.zeros((prior.trees, slots, FIELDS), np.int32),
            whole(n),
            np.zeros(n),
            np.zeros((prior.trees, n), np.int32),
            np.zeros((prior.trees, slots)),
            np.zeros(rank),
        ),
    )


def make_spectrum(vectors: Vector, weights: Vector, base: float, sizes: Vector) -> Spectrum:
    """Describe the precision Lambda = base N + V diag(weights) V' for the kernel.

    Parameters
    ----------
    vectors : ndarray, shape (n, k)
        V.
    weights : ndarray, shape (k,)
        Weights, of either sign as long as Lambda has no negative eigenvalue.
    base : float
        Of the diagonal part.
    sizes : ndarray, shape (n,)
        Observations of each cluster, the diagonal of N.

    Returns
    -------
    Spectrum
    """
    v = np.ascontiguousarray(vectors, float)
    return Spectrum(v, np.array(weights, float), np.array([base]), np.array(sizes, float), v.sum(axis=0))


def fill_stream(stream: Stream, rng: np.random.Generator) -> None:
    """Draw all numbers of a stream anew."""
    rng.random(out=stream.uniforms)
    rng.standard_normal(out=stream.normals)
    stream.used[:] = 0


def make_stream(uniforms: int, normals: int) -> Stream:
    """Make an empty stream of this length; fill it before use."""
    return Stream(np.zeros(uniforms), np.zeros(normals), np.zeros(2, np.int64))


def tree_numbers(prior: TreePrior) -> tuple[int, int]:
    """Most uniform and normal numbers that a sweep over all trees can use."""
    uniforms = prior.trees * (prior.attempts * UNIFORMS_OF_PROPOSAL + prior.group)
    uniforms += prior.together * UNIFORMS_TOGETHER
    return uniforms, prior.trees * (prior.group + 1) * prior.max_leaves


def leaf_values(forest: Forest) -> NDArray[np.float64]:
    """Value of every tree at every cluster, shape (trees, n)."""
    return np.take_along_axis(forest.values, forest.place.astype(np.int64), axis=1)
