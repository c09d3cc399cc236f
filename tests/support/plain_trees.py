"""Trees as nested tuples, written for clarity: the prior, proposals and evidence that the compiled ones must match.

A leaf is None, a split is (covariate, cut, left, right). ``counts`` are the numbers of cuts of the covariates.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from smallarea.trees.moves import SHIFT_SHARE
from smallarea.trees.specification import TreePrior
from smallarea.trees.structure import CUT, FREE, LEAF, LEFT, PARENT, RIGHT, VARIABLE, stumps

Tree = tuple | None


def full_ranges(counts):
    return tuple((0, int(k)) for k in counts)


def child_ranges(ranges, v, cut):
    left, right = list(ranges), list(ranges)
    left[v] = (ranges[v][0], cut)
    right[v] = (cut + 1, ranges[v][1])
    return tuple(left), tuple(right)


def width(span):
    return max(0, span[1] - span[0])


def density(tree, ranges, prior, depth=0):
    """Prior density without the truncation by leaf sizes; 0 if a cut is not among those left."""
    choices = sum(width(span) > 0 for span in ranges)
    split = prior.base * (1 + depth) ** -prior.power
    if tree is None:
        return 1.0 - split if choices else 1.0
    v, cut, left, right = tree
    if not ranges[v][0] <= cut < ranges[v][1]:
        return 0.0
    below = child_ranges(ranges, v, cut)
    return (
        split / choices / width(ranges[v])
        * density(left, below[0], prior, depth + 1)
        * density(right, below[1], prior, depth + 1)
    )  # fmt: skip


def leaves(tree, bins, rows=None):
    """Rows of each leaf, left to right."""
    rows = np.arange(len(bins)) if rows is None else rows
    if tree is None:
        return [rows]
    v, cut, left, right = tree
    goes = bins[rows, v] <= cut
    return leaves(left, bins, rows[goes]) + leaves(right, bins, rows[~goes])


def all_trees(ranges):
    """Every tree that the ranges allow (keep them tiny)."""

    @cache
    def grown(spans):
        trees = [None]
        for v, span in enumerate(spans):
            for cut in range(*span):
                left, right = child_ranges(spans, v, cut)
                trees += [(v, cut, a, b) for a in grown(left) for b in grown(right)]
        return trees

    return grown(tuple(ranges))


def log_evidence(tree, bins, residual, precision, leaf_scale):
    """log N(r; 0, Lambda^-1 + tau^2 C C') by brute force."""
    n = len(residual)
    c = np.zeros((n, 0))
    for rows in leaves(tree, bins):
        c = np.column_stack([c, np.isin(np.arange(n), rows)])
    covariance = np.linalg.inv(precision) + leaf_scale**2 * c @ c.T
    return -0.5 * (np.linalg.slogdet(2 * math.pi * covariance)[1] + residual @ np.linalg.solve(covariance, residual))


def nodes_of(tree):
    """Paths of all nodes (tuples of 0 left, 1 right)."""
    if tree is None:
        return [()]
    return [(), *[(0, *p) for p in nodes_of(tree[2])], *[(1, *p) for p in nodes_of(tree[3])]]


def at(tree, path):
    for side in path:
        tree = tree[2 + side]
    return tree


def put(tree, path, new):
    if not path:
        return new
    v, cut, left, right = tree
    if path[0] == 0:
        return (v, cut, put(left, path[1:], new), right)
    return (v, cut, left, put(right, path[1:], new))


def ranges_at(tree, path, ranges):
    for side in path:
        ranges = child_ranges(ranges, tree[0], tree[1])[side]
        tree = tree[2 + side]
    return ranges


def rules_in(tree):
    return [] if tree is None else [tree[:2], *rules_in(tree[2]), *rules_in(tree[3])]


def fitting(tree, path, ranges):
    """Rules that fit above and below a node."""
    node = at(tree, path)
    spans = []
    for v, (low, high) in enumerate(ranges_at(tree, path, ranges)):
        low = max([low, *[c + 1 for u, c in rules_in(node[2]) if u == v]])
        high = min([high, *[c for u, c in rules_in(node[3]) if u == v]])
        spans.append((low, high))
    return spans


def is_twig(tree, path):
    node = at(tree, path)
    return node is not None and node[2] is None and node[3] is None


def proposals(kind, tree, counts):
    """Every proposal of a kind with its probability (of that kind's share); what is missing stays put."""
    ranges = full_ranges(counts)
    found: dict = {}

    def offer(new, probability):
        found[new] = found.get(new, 0.0) + probability

    inner = [p for p in nodes_of(tree) if at(tree, p) is not None]
    if kind == "grow":
        targets = [p for p in nodes_of(tree) if at(tree, p) is None]
        targets = [p for p in targets if any(width(s) for s in ranges_at(tree, p, ranges))]
        for path in targets:
            spans = ranges_at(tree, path, ranges)
            choices = sum(width(s) > 0 for s in spans)
            for v, span in enumerate(spans):
                for cut in range(*span):
                    offer(put(tree, path, (v, cut, None, None)), 1 / len(targets) / choices / width(span))
    elif kind == "prune":
        twigs = [p for p in inner if is_twig(tree, p)]
        for path in twigs:
            offer(put(tree, path, None), 1 / len(twigs))
    elif kind == "change":
        for path in inner:
            spans = fitting(tree, path, ranges)
            choices = sum(width(s) > 0 for s in spans)
            for v, span in enumerate(spans):
                for cut in range(*span):
                    new = put(tree, path, (v, cut, *at(tree, path)[2:]))
                    offer(new, 1 / len(inner) / choices / width(span))
    elif kind == "shift":
        for path in inner:
            v, cut, *below = at(tree, path)
            reach = max(1, int(counts[v]) // SHIFT_SHARE)
            low, high = fitting(tree, path, ranges)[v]
            for new in range(max(low, cut - reach), min(high, cut + reach + 1)):
                if new != cut:
                    m = abs(new - cut)
                    size = math.log((m + 1) / m) / math.log(reach + 1)
                    offer(put(tree, path, (v, new, *below)), size / 2 / len(inner))
    elif kind == "mirror":
        paths = [p for p in inner if not is_twig(tree, p)]
        for path in paths:
            v, cut, left, right = at(tree, path)
            offer(put(tree, path, (v, cut, right, left)), 1 / len(paths))
    else:
        pairs = [p for p in inner if p]
        for path in pairs:
            parent, child = at(tree, path[:-1]), at(tree, path)
            other = parent[2 + (1 - path[-1])]
            below = [None, None]
            below[path[-1]] = (*parent[:2], *child[2:])
            twin = other is not None and other[:2] == child[:2]
            below[1 - path[-1]] = (*parent[:2], *other[2:]) if twin else other
            offer(put(tree, path[:-1], (*child[:2], *below)), 1 / len(pairs))
    return found


def draw_prior(random, counts, prior: TreePrior, ranges=None, depth=0):
    """One tree from the prior without truncation."""
    ranges = full_ranges(counts) if ranges is None else ranges
    open_ = [v for v, span in enumerate(ranges) if width(span)]
    if not open_ or random.random() >= prior.base * (1 + depth) ** -prior.power:
        return None
    v = open_[random.integers(len(open_))]
    cut = int(random.integers(*ranges[v]))
    left, right = child_ranges(ranges, v, cut)
    return (
        v, cut,
        draw_prior(random, counts, prior, left, depth + 1), draw_prior(random, counts, prior, right, depth + 1),
    )  # fmt: skip


def to_nodes(tree, slots):
    """The array of a tree; slots are taken in the order of a walk."""
    nodes = stumps(1, slots)[0]
    used = 1

    def write(j, tree):
        nonlocal used
        if tree is None:
            nodes[j, VARIABLE] = LEAF
            return
        left, right = used, used + 1
        used += 2
        nodes[j, [VARIABLE, CUT, LEFT, RIGHT]] = [tree[0], tree[1], left, right]
        nodes[[left, right], PARENT] = j
        write(left, tree[2])
        write(right, tree[3])

    write(0, tree)
    return nodes


def from_nodes(nodes, j=0):
    """The tree of an array."""
    v = int(nodes[j, VARIABLE])
    if v == FREE:
        raise ValueError("a free slot hangs on a tree")
    if v == LEAF:
        return None
    return (v, int(nodes[j, CUT]), from_nodes(nodes, nodes[j, LEFT]), from_nodes(nodes, nodes[j, RIGHT]))
