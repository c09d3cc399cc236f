"""What is fixed about a sum of trees before any data are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import PriorProblem

# Grow, prune, change a rule anywhere, shift a cut, swap the rules of parent and child, exchange both sides of a node.
MOVES = ("grow", "prune", "change", "shift", "swap", "mirror")
# Also counted: exchanges of two cuts in all trees at once.
KINDS = (*MOVES, "together")


@dataclass(frozen=True)
class TreePrior:
    """Prior of the trees (Chipman, George and McCulloch 1998, 2010) and how they are proposed.

    A node at depth d is split with probability ``base (1 + d)^-power`` if any rule is left to it. The covariate is
    uniform among those with a cut left by the node's ancestors, the cut uniform among those left. The prior is
    truncated to trees whose leaves hold at least ``min_leaf`` observations, and to trees of at most ``max_leaves``
    leaves (which the default makes all but certain anyway).

    Attributes
    ----------
    trees : int
        Number of trees.
    base, power : float
        Of the probability to split.
    min_leaf : int
        Fewest observations of a leaf.
    max_leaves : int
        Most leaves of a tree.
    moves : tuple of float
        Probabilities of the moves, in the order of ``MOVES``.
    attempts : int
        Proposals of a tree before its leaves are drawn.
    partners : int
        Other trees, chosen at random, whose leaves are integrated out with those of the tree that is proposed. Trees
        share large steps between them; without partners one of them can hardly move its cut alone.
    together : int
        Proposals a sweep to exchange two cuts of a covariate in all trees at once, for steps shared by more trees than
        that.
    """

    trees: int = 20
    base: float = 0.95
    power: float = 2.0
    min_leaf: int = 5
    max_leaves: int = 32
    moves: tuple[float, ...] = (0.25, 0.25, 0.18, 0.2, 0.06, 0.06)
    attempts: int = 2
    partners: int = 3
    together: int = 6

    def __post_init__(self) -> None:
        if not (0.0 < self.base < 1.0 and self.power >= 0.0):
            raise PriorProblem(
                f"Nodes cannot split with probability {self.base} (1 + depth)^-{self.power}. "
                f"Take a base between 0 and 1 and a power of at least 0."
            )
        if (
            min(self.trees, self.partners, self.together) < 0
            or self.attempts < 1
            or self.min_leaf < 1
            or self.max_leaves < 2
        ):
            raise PriorProblem(
                "Trees need trees, partners and together >= 0, attempts >= 1, min_leaf >= 1 and max_leaves >= 2, not "
                f"{self.trees}, {self.partners}, {self.together}, {self.attempts}, {self.min_leaf} and "
                f"{self.max_leaves}."
            )
        if len(self.moves) != len(MOVES) or min(self.moves) < 0.0 or self.moves[0] <= 0.0 or self.moves[1] <= 0.0:
            raise PriorProblem(
                f"Give a probability for each of {', '.join(MOVES)}, none negative, those to grow and prune positive."
            )

    @property
    def group(self) -> int:
        """Partners that there are."""
        return max(0, min(self.partners, self.trees - 1))

    @property
    def slots(self) -> int:
        """Nodes of the largest tree."""
        return 2 * self.max_leaves - 1

    @property
    def move_shares(self) -> NDArray[np.float64]:
        """Probabilities of the moves, which sum to one."""
        shares = np.asarray(self.moves, float)
        return np.asarray(shares / shares.sum())

    def split_probability(self) -> NDArray[np.float64]:
        """Probability to split by depth, shape (max_leaves,); the last entry is never used by a grown tree."""
        return np.asarray(self.base * (1.0 + np.arange(self.max_leaves)) ** -self.power)
