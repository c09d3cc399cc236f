"""Trees as arrays, their prior density, and what a rule may be: compiled loops.

A tree is an array of nodes with five whole numbers each; node 0 is the root. A node that is not used has variable
``FREE``. Cuts of a covariate that a node may still use are a range ``low <= cut < high``, left by its ancestors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.compiling import compiled

Vector = NDArray[np.float64]
Integers = NDArray[np.int32]

VARIABLE, CUT, LEFT, RIGHT, PARENT = 0, 1, 2, 3, 4
FIELDS = 5
LEAF, FREE = -1, -2
# Places in the plan of a sweep.
ATTEMPTS, PARTNERS, TOGETHER_MOVES = 0, 1, 2


class Rules(NamedTuple):
    """What the prior of trees needs in compiled loops.

    ``n_cuts`` (p,), ``log_split`` and ``log_stop`` (depths,): log probabilities to split or not; ``log_moves`` (6,).
    ``plan`` (3,): proposals of a tree, its partners, and moves of several trees together in a sweep.
    """

    n_cuts: Integers
    log_split: Vector
    log_stop: Vector
    move_ends: Vector
    log_moves: Vector
    plan: NDArray[np.int64]


class Ranges(NamedTuple):
    """What the ancestors of each node leave: ``low``, ``high`` (slots, p), ``depth``, ``choices`` (slots,).

    ``choices`` counts the covariates with a cut left; ``stack`` (slots,) is for the walk.
    """

    low: Integers
    high: Integers
    depth: Integers
    choices: Integers
    stack: Integers


def empty_ranges(slots: int, p: int) -> Ranges:
    """Room for the ranges of one tree."""
    low, high = np.zeros((slots, p), np.int32), np.zeros((slots, p), np.int32)
    return Ranges(low, high, *(np.zeros(slots, np.int32) for _ in range(3)))


def stumps(trees: int, slots: int) -> Integers:
    """Trees of one leaf each, shape (trees, slots, 5)."""
    nodes = np.full((trees, slots, FIELDS), FREE, np.int32)
    nodes[:, 0] = [LEAF, 0, -1, -1, -1]
    return nodes


@compiled
def log_prior(nodes: Integers, rules: Rules, ranges: Ranges) -> float:
    """Log density of a tree before truncation by the leaves' sizes; -inf if a cut is not among those left.

    ``ranges`` is written for every node that is used (not beyond the first impossible rule).
    """
    p = len(rules.n_cuts)
    for v in range(p):
        ranges.low[0, v] = 0
        ranges.high[0, v] = rules.n_cuts[v]
    ranges.depth[0] = 0
    ranges.stack[0] = 0
    top = 1
    total = 0.0
    while top > 0:
        top -= 1
        j = ranges.stack[top]
        count = 0
        for v in range(p):
            if ranges.low[j, v] < ranges.high[j, v]:
                count += 1
        ranges.choices[j] = count
        depth = ranges.depth[j]
        v = nodes[j, VARIABLE]
        if v < 0:
            if count > 0:
                total += rules.log_stop[depth]
            continue
        cut = nodes[j, CUT]
        if cut < ranges.low[j, v] or cut >= ranges.high[j, v]:
            return -np.inf
        total += rules.log_split[depth] - np.log(count * float(ranges.high[j, v] - ranges.low[j, v]))
        for side in (LEFT, RIGHT):
            child = nodes[j, side]
            for u in range(p):
                ranges.low[child, u] = ranges.low[j, u]
                ranges.high[child, u] = ranges.high[j, u]
            ranges.depth[child] = depth + 1
            ranges.stack[top] = child
            top += 1
        ranges.high[nodes[j, LEFT], v] = cut
        ranges.low[nodes[j, RIGHT], v] = cut + 1
    return total


@compiled
def find_leaf(nodes: Integers, start: int, bins: Integers) -> int:
    """Leaf under ``start`` for an observation with these bins (p,)."""
    j = start
    while nodes[j, VARIABLE] >= 0:
        # LEFT and RIGHT are neighbours: an index instead of a branch that would be guessed wrong half of the time.
        j = nodes[j, LEFT + (bins[nodes[j, VARIABLE]] > nodes[j, CUT])]
    return j


@compiled
def list_leaves(nodes: Integers, start: int, leaves: Integers, stack: Integers) -> int:
    """Write the leaves under ``start``, left to right, and count them."""
    stack[0] = start
    top = 1
    count = 0
    while top > 0:
        top -= 1
        j = stack[top]
        if nodes[j, VARIABLE] < 0:
            leaves[count] = j
            count += 1
        else:
            stack[top] = nodes[j, RIGHT]
            stack[top + 1] = nodes[j, LEFT]
            top += 2
    return count


@compiled
def fitting_range(nodes: Integers, j: int, v: int, ranges: Ranges, stack: Integers) -> tuple[int, int]:
    """Cuts of covariate v at node j that fit its ancestors and the rules below it, as low <= cut < high.

    They do not depend on the node's own rule, which makes moves within them easy to reverse.
    """
    low = ranges.low[j, v]
    high = ranges.high[j, v]
    for side in (LEFT, RIGHT):
        stack[0] = nodes[j, side]
        top = 1
        while top > 0:
            top -= 1
            i = stack[top]
            if nodes[i, VARIABLE] < 0:
                continue
            if nodes[i, VARIABLE] == v:
                if side == LEFT:
                    low = max(low, nodes[i, CUT] + 1)
                else:
                    high = min(high, nodes[i, CUT])
            stack[top] = nodes[i, LEFT]
            stack[top + 1] = nodes[i, RIGHT]
            top += 2
    return low, high
