"""Partial dependence of sums of trees: compiled loops.

Let J be the covariates that are looked at. A leaf's box asks something of the covariates in J and something of the
others; the partial dependence of a tree at z is the sum, over the leaves whose box lets z through in J, of their value
times the share of rows that their box lets through in the other covariates. So a tree is walked once by each row, both
ways at rules on J, and once by each z, both ways at all other rules: no row is ever combined with a z.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.compiling import compiled
from smallarea.trees.trace import link_tree

Vector = NDArray[np.float64]
Short = NDArray[np.int16]
Positions = NDArray[np.int64]
Integers = NDArray[np.int32]
Mask = NDArray[np.bool_]


@compiled
def add_dependence(
    variables: Short, cuts: Short, starts: Positions, values: Vector, trees: int, draws: Positions,
    bins: Integers, weights: Vector, at: Integers, asked: Mask, groups: Positions, needed: int, out: Vector,
) -> None:  # fmt: skip
    """Add the partial dependence of the trees of some draws to ``out`` (S, M).

    The trees are those of a :class:`smallarea.trees.ForestTrace`, ``draws`` (S,) says which. ``bins`` (n, p) are the
    rows that are averaged over, ``weights`` (n,) theirs, ``at`` (M, p) the places, of which only the columns ``asked``
    (p,) count. With ``needed`` above 0 only trees count that split on columns of each of the ``groups`` (p,) 1 to
    ``needed``.
    """
    longest = 1
    for tree in range(len(starts) - 1):
        longest = max(longest, starts[tree + 1] - starts[tree])
    right, leaf, stack = np.zeros(longest, np.int64), np.zeros(longest, np.int64), np.zeros(longest, np.int64)
    worth = np.zeros(longest)
    for s in range(len(draws)):
        for t in range(trees):
            tree = draws[s] * trees + t
            begin, count = starts[tree], starts[tree + 1] - starts[tree]
            if not _has_groups(variables, begin, count, groups, needed):
                continue
            link_tree(variables, begin, count, (begin + tree) // 2, right, leaf, stack)
            worth[:count] = 0.0
            for i in range(len(bins)):
                _let_through(variables, cuts, begin, right, stack, bins[i], asked, weights[i], worth)
            total, is_flat = 0.0, True
            for j in range(count):
                if variables[begin + j] < 0:
                    worth[j] *= values[leaf[j]]
                    total += worth[j]
                elif asked[variables[begin + j]]:
                    is_flat = False
            for m in range(len(at)):
                out[s, m] += total if is_flat else _gather(variables, cuts, begin, right, stack, at[m], asked, worth)


@compiled
def _has_groups(variables: Short, begin: int, count: int, groups: Positions, needed: int) -> bool:
    """Whether a tree splits on each of the groups 1 to ``needed``."""
    for group in range(1, needed + 1):
        found = False
        for j in range(count):
            v = variables[begin + j]
            if v >= 0 and groups[v] == group:
                found = True
                break
        if not found:
            return False
    return True


@compiled
def _let_through(
    variables: Short, cuts: Short, begin: int, right: Positions, stack: Positions, bins: Integers, asked: Mask,
    weight: float, worth: Vector,
) -> None:  # fmt: skip
    """Add a row's weight to all leaves that it reaches if rules on what is asked let it go both ways."""
    stack[0] = 0
    top = 1
    while top > 0:
        top -= 1
        j = stack[top]
        v = variables[begin + j]
        while v >= 0:
            if asked[v]:
                stack[top] = right[j]
                top += 1
                j += 1
            elif bins[v] <= cuts[begin + j]:
                j += 1
            else:
                j = right[j]
            v = variables[begin + j]
        worth[j] += weight


@compiled
def _gather(
    variables: Short, cuts: Short, begin: int, right: Positions, stack: Positions, bins: Integers, asked: Mask,
    worth: Vector,
) -> float:  # fmt: skip
    """Sum what leaves are worth that a place reaches if all rules but those on what is asked let it go both ways."""
    total = 0.0
    stack[0] = 0
    top = 1
    while top > 0:
        top -= 1
        j = stack[top]
        v = variables[begin + j]
        while v >= 0:
            if not asked[v]:
                stack[top] = right[j]
                top += 1
                j += 1
            elif bins[v] <= cuts[begin + j]:
                j += 1
            else:
                j = right[j]
            v = variables[begin + j]
        total += worth[j]
    return total
