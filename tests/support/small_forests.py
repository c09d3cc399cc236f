"""Posteriors whose trees are written down by hand or drawn at random, to be looked at by brute force."""

import numpy as np
from plain_trees import draw_prior
from smallarea.trees import Cuts, ForestTrace, TreePrior
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.posterior import BartsimpPosterior, Diagnostics
from smallarea.unit_level.settings import BartsimpSettings, Scales


def trace(draws):
    """Turn draws, lists of trees, into a trace. A leaf is a number, a split is (variable, cut, left, right)."""
    variables, cuts, values, starts = [], [], [], [0]

    def write(node):
        if isinstance(node, tuple):
            variables.append(node[0])
            cuts.append(node[1])
            write(node[2])
            write(node[3])
        else:
            variables.append(-1)
            cuts.append(0)
            values.append(node)

    for draw in draws:
        for tree in draw:
            write(tree)
            starts.append(len(variables))
    return ForestTrace(
        len(draws[0]), np.array(variables, np.int16), np.array(cuts, np.int16), np.array(starts, np.int64),
        np.array(values, float),
    )  # fmt: skip


def posterior_of(draws, covariates, sizes=None, names=None, cuts=100):
    """A posterior without a field whose trees are given; clusters have means of zero but for a level of 3."""
    n = len(covariates)
    sizes = np.ones(n, dtype=int) if sizes is None else sizes
    rows = np.repeat(np.arange(n), sizes)
    x = np.asarray(covariates, float)
    names = names or [f"x{j + 1}" for j in range(x.shape[1])]
    place = np.column_stack([np.arange(n), np.zeros(n)]).astype(float)
    clusters = Clusters.from_rows(np.full(len(rows), 3.0), rows, place[rows], x[rows], names=names)
    forest, s = trace(draws), len(draws)
    empty = np.zeros((1, s))
    return BartsimpPosterior(
        clusters=clusters,
        settings=BartsimpSettings(field="none", trees=TreePrior(trees=forest.trees)),
        scales=Scales(1.0, 1.0, 1.0, PcPrior(1.0, 0.5, 1.0, 0.5)),
        cuts=Cuts.from_values(clusters.covariates, names=names, count=cuts),
        ranges=np.ones(1),
        forest=forest,
        sigma_e=empty + 1.0,
        sigma_m=empty,
        range_at=empty.astype(np.int64),
        field=np.zeros((s, n)),
        diagnostics=Diagnostics({"sigma_e": 1.0}, {"sigma_e": 1e3}, np.ones(2), np.full(2, 1e3), {}, True, 0.0),
    )


def random_draws(random, counts, draws, trees):
    """Trees of a wide prior with normal leaves."""
    prior = TreePrior(trees=trees, base=0.95, power=0.7)

    def filled(tree):
        return float(random.normal()) if tree is None else (tree[0], tree[1], filled(tree[2]), filled(tree[3]))

    return [[filled(draw_prior(random, counts, prior)) for _ in range(trees)] for _ in range(draws)]
