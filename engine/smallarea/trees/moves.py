"""Proposals of a tree: compiled loops that change a copy and say how likely the way back is.

Every move returns the node below which observations may change leaves (-1 if the move is impossible here) and
``log q(old | new) - log q(new | old)``. Kinds are chosen with fixed probabilities; an impossible one stays put, so the
probabilities cancel but for grow against prune.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.compiling import compiled
from smallarea.trees.structure import (
    CUT,
    FREE,
    LEAF,
    LEFT,
    PARENT,
    RIGHT,
    VARIABLE,
    Integers,
    Ranges,
    Rules,
    Vector,
    fitting_range,
)

GROW, PRUNE, CHANGE, SHIFT, SWAP, MIRROR = 0, 1, 2, 3, 4, 5
# Not a move of one tree, see :mod:`smallarea.trees.together`; counted after the others.
TOGETHER = 6
# Shifts go at most this share of a covariate's cuts to either side.
SHIFT_SHARE = 10


class Stream(NamedTuple):
    """Random numbers drawn beforehand by a NumPy generator; ``used`` (2,) counts uniform and normal ones."""

    uniforms: Vector
    normals: Vector
    used: NDArray[np.int64]


@compiled
def uniform(stream: Stream) -> float:
    """Next uniform number."""
    stream.used[0] += 1
    return stream.uniforms[stream.used[0] - 1]


@compiled
def normal(stream: Stream) -> float:
    """Next standard normal number."""
    stream.used[1] += 1
    return stream.normals[stream.used[1] - 1]


@compiled
def whole(stream: Stream, count: int) -> int:
    """Next whole number, uniform on 0 <= i < count."""
    return min(int(uniform(stream) * count), count - 1)


@compiled
def _may_grow(nodes: Integers, ranges: Ranges, rules: Rules, j: int) -> bool:
    deepest = len(rules.log_split) - 1
    return nodes[j, VARIABLE] == LEAF and ranges.choices[j] > 0 and ranges.depth[j] < deepest


@compiled
def _is_twig(nodes: Integers, j: int) -> bool:
    """Whether both children are leaves."""
    if nodes[j, VARIABLE] < 0:
        return False
    return nodes[nodes[j, LEFT], VARIABLE] == LEAF and nodes[nodes[j, RIGHT], VARIABLE] == LEAF


@compiled
def grow(nodes: Integers, ranges: Ranges, rules: Rules, stream: Stream) -> tuple[int, float]:
    """Split a leaf by a rule from the prior."""
    slots = len(nodes)
    growable, twigs, free = 0, 0, 0
    left, right = -1, -1
    for j in range(slots):
        if _may_grow(nodes, ranges, rules, j):
            growable += 1
        if _is_twig(nodes, j):
            twigs += 1
        if nodes[j, VARIABLE] == FREE and free < 2:
            if free == 0:
                left = j
            else:
                right = j
            free += 1
    if growable == 0 or free < 2:
        return -1, 0.0
    chosen = whole(stream, growable)
    target = -1
    for j in range(slots):
        if _may_grow(nodes, ranges, rules, j):
            if chosen == 0:
                target = j
                break
            chosen -= 1
    chosen = whole(stream, ranges.choices[target])
    variable = -1
    for v in range(len(rules.n_cuts)):
        if ranges.low[target, v] < ranges.high[target, v]:
            if chosen == 0:
                variable = v
                break
            chosen -= 1
    width = ranges.high[target, variable] - ranges.low[target, variable]
    parent = nodes[target, PARENT]
    if parent >= 0 and _is_twig(nodes, parent):
        twigs -= 1
    nodes[target, VARIABLE] = variable
    nodes[target, CUT] = ranges.low[target, variable] + whole(stream, width)
    nodes[target, LEFT] = left
    nodes[target, RIGHT] = right
    for child in (left, right):
        nodes[child, VARIABLE] = LEAF
        nodes[child, PARENT] = target
    back = rules.log_moves[PRUNE] - np.log(twigs + 1.0)
    there = rules.log_moves[GROW] - np.log(float(growable) * ranges.choices[target] * width)
    return target, back - there


@compiled
def prune(nodes: Integers, ranges: Ranges, rules: Rules, stream: Stream) -> tuple[int, float]:
    """Take both leaves of a node away."""
    slots = len(nodes)
    growable, twigs = 0, 0
    for j in range(slots):
        if _may_grow(nodes, ranges, rules, j):
            growable += 1
        if _is_twig(nodes, j):
            twigs += 1
    if twigs == 0:
        return -1, 0.0
    chosen = whole(stream, twigs)
    target = -1
    for j in range(slots):
        if _is_twig(nodes, j):
            if chosen == 0:
                target = j
                break
            chosen -= 1
    v = nodes[target, VARIABLE]
    width = ranges.high[target, v] - ranges.low[target, v]
    growable += 1
    for side in (LEFT, RIGHT):
        child = nodes[target, side]
        if _may_grow(nodes, ranges, rules, child):
            growable -= 1
        nodes[child, VARIABLE] = FREE
    nodes[target, VARIABLE] = LEAF
    back = rules.log_moves[GROW] - np.log(float(growable) * ranges.choices[target] * width)
    there = rules.log_moves[PRUNE] - np.log(float(twigs))
    return target, back - there


@compiled
def _pick_internal(nodes: Integers, stream: Stream) -> int:
    count = 0
    for j in range(len(nodes)):
        if nodes[j, VARIABLE] >= 0:
            count += 1
    if count == 0:
        return -1
    chosen = whole(stream, count)
    for j in range(len(nodes)):
        if nodes[j, VARIABLE] >= 0:
            if chosen == 0:
                return j
            chosen -= 1
    return -1


@compiled
def change(nodes: Integers, ranges: Ranges, rules: Rules, stream: Stream) -> tuple[int, float]:
    """Give a node, anywhere in the tree, another rule that fits those above and below it."""
    target = _pick_internal(nodes, stream)
    if target < 0:
        return -1, 0.0
    choices = 0
    for v in range(len(rules.n_cuts)):
        low, high = fitting_range(nodes, target, v, ranges, ranges.stack)
        if low < high:
            choices += 1
    chosen = whole(stream, choices)
    for v in range(len(rules.n_cuts)):
        low, high = fitting_range(nodes, target, v, ranges, ranges.stack)
        if low >= high:
            continue
        if chosen == 0:
            old_low, old_high = fitting_range(nodes, target, nodes[target, VARIABLE], ranges, ranges.stack)
            nodes[target, VARIABLE] = v
            nodes[target, CUT] = low + whole(stream, high - low)
            return target, np.log(float(high - low) / (old_high - old_low))
        chosen -= 1
    return -1, 0.0


@compiled
def draw_step(stream: Stream, n_cuts: int) -> int:
    """Draw how far a cut moves, to either side alike."""
    reach = max(1, n_cuts // SHIFT_SHARE)
    # Log-uniform: a step of one is the likeliest, one of a tenth of all cuts still common.
    u = 2.0 * uniform(stream) - 1.0
    step = min(reach, int(np.exp(abs(u) * np.log(reach + 1.0))))
    return step if u > 0.0 else -step


@compiled
def shift(nodes: Integers, ranges: Ranges, rules: Rules, stream: Stream) -> tuple[int, float]:
    """Move the cut of a node a little."""
    target = _pick_internal(nodes, stream)
    if target < 0:
        return -1, 0.0
    v = nodes[target, VARIABLE]
    cut = nodes[target, CUT] + draw_step(stream, rules.n_cuts[v])
    low, high = fitting_range(nodes, target, v, ranges, ranges.stack)
    if cut < low or cut >= high:
        return -1, 0.0
    nodes[target, CUT] = cut
    return target, 0.0


@compiled
def swap(nodes: Integers, stream: Stream) -> tuple[int, float]:
    """Exchange the rules of a node and a child (both children, if theirs are the same)."""
    pairs = 0
    for j in range(1, len(nodes)):
        if nodes[j, VARIABLE] >= 0:
            pairs += 1
    if pairs == 0:
        return -1, 0.0
    chosen = whole(stream, pairs)
    child = -1
    for j in range(1, len(nodes)):
        if nodes[j, VARIABLE] >= 0:
            if chosen == 0:
                child = j
                break
            chosen -= 1
    parent = nodes[child, PARENT]
    other = nodes[parent, LEFT] + nodes[parent, RIGHT] - child
    twin = nodes[other, VARIABLE] == nodes[child, VARIABLE] and nodes[other, CUT] == nodes[child, CUT]
    for field in (VARIABLE, CUT):
        kept = nodes[parent, field]
        nodes[parent, field] = nodes[child, field]
        nodes[child, field] = kept
        if twin:
            nodes[other, field] = kept
    return parent, 0.0


@compiled
def mirror(nodes: Integers, stream: Stream) -> tuple[int, float]:
    """Exchange what is left and right of a node that has a rule below it.

    A rule that holds on one side of a cut only may stand on the wrong side, with other trees making up for it.
    """
    count = 0
    for j in range(len(nodes)):
        if nodes[j, VARIABLE] >= 0 and not _is_twig(nodes, j):
            count += 1
    if count == 0:
        return -1, 0.0
    chosen = whole(stream, count)
    target = -1
    for j in range(len(nodes)):
        if nodes[j, VARIABLE] >= 0 and not _is_twig(nodes, j):
            if chosen == 0:
                target = j
                break
            chosen -= 1
    left = nodes[target, LEFT]
    nodes[target, LEFT] = nodes[target, RIGHT]
    nodes[target, RIGHT] = left
    return target, 0.0


@compiled
def propose(kind: int, nodes: Integers, ranges: Ranges, rules: Rules, stream: Stream) -> tuple[int, float]:
    """Change ``nodes`` by a move of this kind; ``ranges`` are those of the tree as it was."""
    if kind == GROW:
        return grow(nodes, ranges, rules, stream)
    if kind == PRUNE:
        return prune(nodes, ranges, rules, stream)
    if kind == CHANGE:
        return change(nodes, ranges, rules, stream)
    if kind == SHIFT:
        return shift(nodes, ranges, rules, stream)
    if kind == SWAP:
        return swap(nodes, stream)
    return mirror(nodes, stream)
