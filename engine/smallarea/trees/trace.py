"""Many draws of a sum of trees, held compactly: saved, loaded and evaluated at new points."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.cores import available_cores
from smallarea.errors import OutputProblem
from smallarea.trees.compiling import compiled
from smallarea.trees.structure import CUT, LEFT, RIGHT, VARIABLE, Integers, Vector

Short = NDArray[np.int16]
Positions = NDArray[np.int64]

# Values from which on several threads are worth their start.
WORTH_THREADS = 20_000


@dataclass(frozen=True)
class ForestTrace:
    """Draws of forests: nodes in preorder, tree after tree, draw after draw.

    Attributes
    ----------
    trees : int
        Trees of each draw.
    variables : ndarray of int16, shape (nodes,)
        Covariate of each node's rule, -1 for a leaf.
    cuts : ndarray of int16, shape (nodes,)
        Cut of each node's rule.
    starts : ndarray of int64, shape (draws * trees + 1,)
        Where each tree begins. Tree j has its leaf values from position ``(starts[j] + j) / 2`` on.
    values : ndarray, shape (leaves,)
        Leaf values in the order of the leaves.
    """

    trees: int
    variables: Short
    cuts: Short
    starts: Positions
    values: Vector

    @property
    def draws(self) -> int:
        """Number of draws."""
        return (len(self.starts) - 1) // self.trees if self.trees else 0

    def evaluate(self, bins: Integers, draws: NDArray[np.int64]) -> Vector:
        """Sum of the trees at points.

        Parameters
        ----------
        bins : ndarray of int32, shape (P, p)
            Covariates by :meth:`Cuts.bins`.
        draws : ndarray of int64, shape (S,)
            Which draws.

        Returns
        -------
        ndarray, shape (S, P)
        """
        out = np.zeros((len(draws), len(bins)))
        if not self.trees:
            return out
        longest = int(np.diff(self.starts).max(initial=1))

        def fill(part: slice) -> None:
            _evaluate(
                self.variables, self.cuts, self.starts, self.values, self.trees, bins, draws[part], out[part],
                np.zeros(longest, np.int64), np.zeros(longest, np.int64), np.zeros(longest, np.int64),
            )  # fmt: skip

        cores = available_cores() if out.size >= WORTH_THREADS else 1
        each = max(1, -(-len(draws) // cores))
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(fill, [slice(begin, begin + each) for begin in range(0, len(draws), each)]))
        return out

    def leaf_counts(self) -> NDArray[np.int64]:
        """Leaves of each tree of each draw, shape (draws, trees)."""
        return ((np.diff(self.starts) + 1) // 2).reshape(self.draws, self.trees)

    def rule_counts(self, p: int) -> NDArray[np.int64]:
        """How often each draw splits on each covariate, shape (draws, p)."""
        draw = np.repeat(np.arange(self.draws * self.trees) // max(self.trees, 1), np.diff(self.starts))
        split = self.variables >= 0
        flat = np.bincount(draw[split] * p + self.variables[split], minlength=self.draws * p)
        return flat.reshape(self.draws, p)

    @classmethod
    def of_block(cls, variables: Short, cuts: Short, values: Vector, sizes: Positions, ends: Positions) -> ForestTrace:
        """Copy what :func:`encode` wrote during some sweeps.

        Parameters
        ----------
        variables, cuts, values : ndarray
            Room that it wrote to.
        sizes : ndarray of int64, shape (sweeps, trees)
            Nodes of each tree.
        ends : ndarray of int64, shape (2,)
            How far it came with nodes and leaves.

        Returns
        -------
        ForestTrace
        """
        nodes, leaves = int(ends[0]), int(ends[1])
        starts = np.concatenate([[0], np.cumsum(sizes.ravel())]).astype(np.int64)
        return cls(sizes.shape[1], variables[:nodes].copy(), cuts[:nodes].copy(), starts, values[:leaves].copy())

    @classmethod
    def joined(cls, parts: list[ForestTrace]) -> ForestTrace:
        """Draws of several traces one after another."""
        shifts = np.cumsum([0, *(len(part.variables) for part in parts[:-1])])
        starts = [part.starts[:-1] + shift for part, shift in zip(parts, shifts, strict=True)]
        ends = np.array([sum(len(part.variables) for part in parts)])
        return cls(
            parts[0].trees,
            np.concatenate([part.variables for part in parts]),
            np.concatenate([part.cuts for part in parts]),
            np.concatenate([*starts, ends]).astype(np.int64),
            np.concatenate([part.values for part in parts]),
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything as arrays, to be written beside others in one file."""
        return {
            "forest_trees": np.array(self.trees),
            "forest_variables": self.variables,
            "forest_cuts": self.cuts,
            "forest_starts": self.starts,
            "forest_values": self.values,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> ForestTrace:
        """Undo :meth:`arrays`, and check that the arrays describe trees.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            May hold others too.

        Returns
        -------
        ForestTrace

        Raises
        ------
        OutputProblem
            If arrays are missing or do not fit together.
        """
        try:
            trees = int(arrays["forest_trees"])
            variables = np.asarray(arrays["forest_variables"], np.int16)
            cuts = np.asarray(arrays["forest_cuts"], np.int16)
            starts = np.asarray(arrays["forest_starts"], np.int64)
            values = np.asarray(arrays["forest_values"], np.float64)
        except KeyError as error:
            raise OutputProblem(f"The file holds no trees ({error} is missing). Name a saved posterior.") from error
        whole = len(variables) == len(cuts) == starts[-1] and starts[0] == 0 and not np.any(np.diff(starts) % 2 != 1)
        if not whole or 2 * len(values) != starts[-1] + len(starts) - 1 or np.sum(variables < 0) != len(values):
            raise OutputProblem("The trees of this file do not fit together: it is damaged. Save the posterior anew.")
        return cls(trees, variables, cuts, starts, values)


@compiled
def encode(
    nodes: Integers, values: Vector, variables: Short, cuts: Short, leaves: Vector, sizes: Positions, ends: Positions,
    stack: Integers,
) -> None:  # fmt: skip
    """Write all trees of a state in preorder behind position ``ends[0]`` (``ends[1]`` for leaves).

    ``sizes`` (trees,) gets the number of nodes of each tree; ``ends`` moves on.
    """
    for t in range(len(nodes)):
        begin = ends[0]
        stack[0] = 0
        top = 1
        while top > 0:
            top -= 1
            j = stack[top]
            at = ends[0]
            ends[0] += 1
            if nodes[t, j, VARIABLE] < 0:
                variables[at] = -1
                cuts[at] = 0
                leaves[ends[1]] = values[t, j]
                ends[1] += 1
            else:
                variables[at] = nodes[t, j, VARIABLE]
                cuts[at] = nodes[t, j, CUT]
                stack[top] = nodes[t, j, RIGHT]
                stack[top + 1] = nodes[t, j, LEFT]
                top += 2
        sizes[t] = ends[0] - begin


@compiled
def link_tree(
    variables: Short, begin: int, count: int, first_leaf: int, right: Positions, leaf: Positions, stack: Positions
) -> None:
    """Find each rule's right child and each leaf's value in a tree that is written in preorder."""
    top = 0
    next_leaf = first_leaf
    for j in range(count):
        if variables[begin + j] >= 0:
            stack[top] = j
            top += 1
        else:
            leaf[j] = next_leaf
            next_leaf += 1
            # The node after a leaf is the right child of the last rule that has none yet.
            if top > 0:
                top -= 1
                right[stack[top]] = j + 1


@compiled
def _evaluate(
    variables: Short, cuts: Short, starts: Positions, values: Vector, trees: int, bins: Integers, draws: Positions,
    out: Vector, right: Positions, leaf: Positions, stack: Positions,
) -> None:  # fmt: skip
    """Add up the trees; ``right`` finds a node's right child, ``leaf`` a leaf's value."""
    for s in range(len(draws)):
        for t in range(trees):
            tree = draws[s] * trees + t
            begin = starts[tree]
            link_tree(variables, begin, starts[tree + 1] - begin, (begin + tree) // 2, right, leaf, stack)
            for i in range(len(bins)):
                j = 0
                while variables[begin + j] >= 0:
                    j = j + 1 if bins[i, variables[begin + j]] <= cuts[begin + j] else right[j]
                out[s, i] += values[leaf[j]]
