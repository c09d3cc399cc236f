"""One sweep over the trees: each is proposed with its leaves and those of some partners integrated out: compiled loops.

Large steps of the surface are shared by several trees, whose cuts then hold each other in place. Integrating the leaves
of partners out lets these follow the proposal. Partners are drawn anew each time, without looking at the state.
"""

from __future__ import annotations

import numpy as np

from smallarea.trees.arrays import Bench, Forest
from smallarea.trees.compiling import compiled
from smallarea.trees.kernel import accept, add_diagonal, log_ratio
from smallarea.trees.leaves import Spectrum, dot, draw_leaves, evidence, fill_gram, weigh
from smallarea.trees.moves import Stream, normal, uniform, whole
from smallarea.trees.structure import ATTEMPTS, PARTNERS, TOGETHER_MOVES, Rules, list_leaves, log_prior
from smallarea.trees.sums import shift_residual
from smallarea.trees.together import move_together


@compiled
def start_tree(
    forest: Forest, t: int, asked: int, bench: Bench, rules: Rules, spectrum: Spectrum
) -> tuple[int, int, int, float]:
    """Take a tree and its partners (the first of ``group.order``) out of the residual and write A, h and the factor.

    Partners whose leaves would make too many cells are passed over. That looks at trees that stay as they are, so that
    the update is as valid as with a fixed number. Returned: the partners, the tree's leaves, the partners' leaves, and
    the log of prior density times evidence of the tree.
    """
    group, precision = bench.group, bench.leaf_precision[0]
    others, partners, cells = 0, 0, 1
    for m in range(asked):
        u = group.order[m]
        count = list_leaves(forest.nodes[u], 0, bench.leaves, bench.stack)
        if cells * count > len(group.digits):
            continue
        group.order[partners] = u
        partners += 1
        cells *= count
        shift_residual(forest, u, bench.leaves, count, 1.0)
        for i in range(count):
            group.tree[others] = u
            group.leaf[others] = bench.leaves[i]
            group.at[u, bench.leaves[i]] = others
            others += 1
    count = list_leaves(forest.nodes[t], 0, bench.leaves, bench.stack)
    shift_residual(forest, t, bench.leaves, count, 1.0)
    group.cells[0] = cells
    factor_partners(forest, partners, others, bench, spectrum)
    fill_gram(bench.gram, bench.leaves, count, forest.sums[t], forest.sizes[t], spectrum, forest.q, bench.weighted)
    for i in range(count):
        a = bench.leaves[i]
        weigh(forest.sums[t, a], spectrum.weights, bench.weighted)
        for m in range(others):
            group.cross[a, m] = dot(bench.weighted, forest.sums[group.tree[m], group.leaf[m]])
    if spectrum.base[0] != 0.0:
        for j in range(len(bench.is_touched)):
            bench.is_touched[j] = True
        add_diagonal(
            forest.place[t], bench.leaves, count, bench.is_touched, partners, forest.residual, bench.gram, group.cross,
            bench, spectrum,
        )  # fmt: skip
    current = log_prior(forest.nodes[t], rules, bench.ranges)
    current += evidence(bench.gram, group.cross, bench.leaves, count, others, precision, bench.solver)
    return partners, count, others, current


@compiled
def factor_partners(forest: Forest, partners: int, others: int, bench: Bench, spectrum: Spectrum) -> None:
    """Write the rows of the factor of A + tau^-2 I, and of the solution, that belong to the partners' leaves."""
    group, solver = bench.group, bench.solver
    factor = solver.factor
    for i in range(others):
        row = forest.sums[group.tree[i], group.leaf[i]]
        weigh(row, spectrum.weights, bench.weighted)
        for j in range(i + 1):
            factor[i, j] = dot(bench.weighted, forest.sums[group.tree[j], group.leaf[j]])
        factor[i, i] += bench.leaf_precision[0]
        solver.forward[i] = dot(bench.weighted, forest.q)
    if spectrum.base[0] != 0.0:
        find_cells(forest, partners, others, bench)
        for c in range(group.cells[0]):
            group.pooled[0, c] = 0.0
            group.pooled[1, c] = 0.0
        for i in range(len(forest.residual)):
            share = spectrum.base[0] * spectrum.sizes[i]
            group.pooled[0, group.cell[i]] += share
            group.pooled[1, group.cell[i]] += share * forest.residual[i]
        for c in range(group.cells[0]):
            for m in range(partners):
                a = group.digits[c, m]
                solver.forward[a] += group.pooled[1, c]
                # Leaves are listed partner by partner, so those of earlier partners have smaller numbers.
                for k in range(m + 1):
                    factor[a, group.digits[c, k]] += group.pooled[0, c]
    for i in range(others):
        for j in range(i + 1):
            value = factor[i, j]
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(value) if i == j else value / factor[j, j]
        value = solver.forward[i]
        for k in range(i):
            value -= factor[i, k] * solver.forward[k]
        solver.forward[i] = value / factor[i, i]


@compiled
def find_cells(forest: Forest, partners: int, others: int, bench: Bench) -> None:
    """Write how many cells there are, which cluster is in which, and the leaves of each."""
    group = bench.group
    for i in range(len(group.cell)):
        group.cell[i] = 0
    cells, end = 1, others
    for m in range(partners - 1, -1, -1):
        u = group.order[m]
        # The first of this partner's leaves: others are listed in the order of the partners.
        first = end
        while first > 0 and group.tree[first - 1] == u:
            first -= 1
        for i in range(len(group.cell)):
            group.cell[i] += cells * (group.at[u, forest.place[u, i]] - first)
        for c in range(group.cells[0]):
            group.digits[c, m] = first + c // cells % (end - first)
        cells *= end - first
        end = first


@compiled
def choose_partners(t: int, trees: int, partners: int, bench: Bench, stream: Stream) -> None:
    """Draw partners of tree t without replacement into the first places of ``group.order``."""
    order = bench.group.order
    for u in range(trees):
        order[u] = u
    order[t], order[trees - 1] = order[trees - 1], order[t]
    for m in range(partners):
        k = m + whole(stream, trees - 1 - m)
        kept = order[m]
        order[m] = order[k]
        order[k] = kept


@compiled
def sweep_tree(forest: Forest, t: int, bench: Bench, rules: Rules, spectrum: Spectrum, stream: Stream) -> None:
    """Update one tree given all others but the leaves of its partners, then the leaves of all of them jointly."""
    asked = rules.plan[PARTNERS]
    choose_partners(t, len(forest.nodes), asked, bench, stream)
    group = bench.group
    partners, count, others, current = start_tree(forest, t, asked, bench, rules, spectrum)
    for _ in range(rules.plan[ATTEMPTS]):
        u = uniform(stream)
        kind = 0
        while kind < len(rules.move_ends) - 1 and u >= rules.move_ends[kind]:
            kind += 1
        bench.counts[kind, 0] += 1
        ratio, new_count, changed, proposed = log_ratio(
            forest, t, kind, partners, others, current, bench, rules, spectrum, stream
        )
        if np.log(uniform(stream)) < ratio:
            bench.counts[kind, 1] += 1
            accept(forest, t, new_count, changed, others, bench)
            count = new_count
            current = proposed
            log_prior(forest.nodes[t], rules, bench.ranges)
    evidence(bench.gram, group.cross, bench.leaves, count, others, bench.leaf_precision[0], bench.solver)
    for i in range(others + count):
        bench.linear[i] = normal(stream)
    draw_leaves(bench.solver, others + count, bench.linear)
    for i in range(others):
        forest.values[group.tree[i], group.leaf[i]] = bench.solver.backward[i]
    for i in range(count):
        forest.values[t, bench.leaves[i]] = bench.solver.backward[others + i]
    shift_residual(forest, t, bench.leaves, count, -1.0)
    for m in range(partners):
        u = group.order[m]
        count = list_leaves(forest.nodes[u], 0, bench.leaves, bench.stack)
        shift_residual(forest, u, bench.leaves, count, -1.0)


@compiled
def sweep_trees(forest: Forest, back: bool, bench: Bench, rules: Rules, spectrum: Spectrum, stream: Stream) -> None:
    """Update all trees, one after another, then cuts of several at once; ``back``: in the opposite order."""
    trees = len(forest.nodes)
    if back:
        for _ in range(rules.plan[TOGETHER_MOVES]):
            move_together(forest, bench, rules, spectrum, stream)
    for i in range(trees):
        sweep_tree(forest, trees - 1 - i if back else i, bench, rules, spectrum, stream)
    if not back:
        for _ in range(rules.plan[TOGETHER_MOVES]):
            move_together(forest, bench, rules, spectrum, stream)
