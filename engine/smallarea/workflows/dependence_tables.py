"""What partial dependence gives: curves with intervals, how much each covariate matters, which act together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from smallarea.io.workbook import Sheet
from smallarea.unit_level import BartsimpPosterior
from smallarea.unit_level.dependence import TreeEffects
from smallarea.unit_level.prior_inclusion import prior_inclusion
from smallarea.unit_level.tree_covariates import Covariate
from smallarea.workflows.bartsimp_result import covariate_table
from smallarea.workflows.dependence_rows import Rows

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Effects, as they are called in the table of curves.
DEPENDENCE, ACCUMULATED = "partial_dependence", "accumulated"
# From this rank correlation on, partial dependence averages over much that never occurs.
TOGETHER = 0.7
MOST_JOINT = 3
_DECILES = np.arange(1, 10) / 10.0


@dataclass(frozen=True)
class JointEffect:
    """Joint partial dependence on a pair of covariates that are numbers.

    Attributes
    ----------
    covariate, other : str
        The pair.
    values, other_values : ndarray, shapes (K,) and (L,)
        Their values.
    estimate : ndarray, shape (K, L)
        Mean of the draws.
    places : ndarray, shape (n, 2)
        Where the rows are: elsewhere nothing is known.
    """

    covariate: str
    other: str
    values: Vector
    other_values: Vector
    estimate: Vector
    places: Vector


@dataclass(frozen=True)
class PartialDependenceResult:
    """What `partial_dependence` found.

    Attributes
    ----------
    outcome : str
        The outcome of the fit.
    scale : str
        What effects are measured in.
    curves : pandas.DataFrame
        One row a covariate, effect and value: ``covariate``, ``effect`` (``partial_dependence`` or ``accumulated``),
        ``value`` (a number or a code), ``estimate`` (mean of the draws), ``lower``, ``upper``, ``share`` (of the weight
        of the rows between the value before and this one, or with this code).
    covariates : pandas.DataFrame
        One row a covariate, the strongest first: ``covariate``, ``spread`` (standard deviation over the rows of its
        partial dependence; median of the draws) with ``spread_lower`` and ``spread_upper``, ``rules`` (share of the
        trees' rules) with ``rules_lower`` and ``rules_upper``, ``prior`` (that share before the data), ``used`` (share
        of the draws with a rule).
    interactions : pandas.DataFrame
        One row a pair, the strongest first: ``covariate``, ``other``, ``strength`` (standard deviation over the rows of
        what is no sum of two functions; median of the draws) and ``h`` (Friedman and Popescu's H), each with ``_lower``
        and ``_upper``, ``h_of_mean`` (H of the mean of the draws), ``together`` (share of the draws in which they
        interact at all).
    joint : tuple of JointEffect
        Of the strongest pairs of numbers, three at most.
    codes : dict of str to tuple of float
        Codes of the categorical covariates, the most frequent first.
    deciles : dict of str to tuple of float
        Of the other covariates, at the rows.
    warnings, notes : tuple of str
        What to know before the curves are used, and what was done.
    settings : dict
        The call.
    versions : dict
        Of the engine and the libraries.
    """

    outcome: str
    scale: str
    curves: pd.DataFrame
    covariates: pd.DataFrame
    interactions: pd.DataFrame
    joint: tuple[JointEffect, ...]
    codes: Mapping[str, tuple[float, ...]]
    deciles: Mapping[str, tuple[float, ...]]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """How many covariates, pairs and draws, and which covariate and pair are the strongest."""
        found = {
            "outcome": self.outcome,
            "n_covariates": len(self.covariates),
            "n_pairs": len(self.interactions),
            "strongest": str(self.covariates["covariate"].iloc[0]),
            "strongest_spread": float(self.covariates["spread"].iloc[0]),
        }
        if len(self.interactions):
            first = self.interactions.iloc[0]
            found["strongest_pair"] = f"{first['covariate']} and {first['other']}"
            found["strongest_h"] = float(first["h"])
        return found

    def sheets(self) -> list[Sheet]:
        """Return everything as sheets of a workbook."""
        found = [Sheet("Curves", self.curves), Sheet("Covariates", self.covariates)]
        if len(self.interactions):
            found.append(Sheet("Interactions", self.interactions))
        said = [("warning", text) for text in self.warnings] + [("note", text) for text in self.notes]
        found.append(Sheet("Read this", pd.DataFrame(said, columns=["kind", "text"])))
        rows = [(name, str(value)) for name, value in {**self.settings, **self.versions}.items() if value is not None]
        return [*found, Sheet("Settings", pd.DataFrame(rows, columns=["setting", "value"]))]


def curve_table(
    effects: TreeEffects, covariates: Sequence[Covariate], points: int, level: float, tell: Progress
) -> pd.DataFrame:
    """Partial dependence and accumulated local effects on the grid of each covariate.

    Parameters
    ----------
    effects : TreeEffects
        The draws.
    covariates : sequence of Covariate
        Which.
    points : int
        Intervals of a grid.
    level : float
        Coverage of the intervals.
    tell : callable
        Progress.

    Returns
    -------
    pandas.DataFrame
        See :class:`PartialDependenceResult`.
    """
    tables = []
    for done, one in enumerate(covariates):
        tell(100.0 * done / len(covariates), f"effect of {one.name}")
        values = effects.grid(one, points)
        for name, drawn in (
            (DEPENDENCE, effects.partial_dependence(one, values)),
            (ACCUMULATED, effects.accumulated(one, values)),
        ):
            lower, upper = _interval(drawn, level)
            columns = {"covariate": one.name, "effect": name, "value": values, "estimate": drawn.mean(axis=0)}
            columns |= {"lower": lower, "upper": upper, "share": effects.shares(one, values)}
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def importance_table(
    effects: TreeEffects,
    posterior: BartsimpPosterior,
    every: Sequence[Covariate],
    covariates: Sequence[Covariate],
    level: float,
    seed: int,
) -> pd.DataFrame:
    """How much each covariate matters, by its effect and by how often trees split on it.

    Parameters
    ----------
    effects : TreeEffects
        The draws.
    posterior : BartsimpPosterior
        Of the same.
    every, covariates : sequence of Covariate
        All that trees can split on, and those of the table.
    level : float
        Coverage of the intervals.
    seed : int
        Of draws of the prior.

    Returns
    -------
    pandas.DataFrame
        See :class:`PartialDependenceResult`.
    """
    rules = covariate_table(posterior, level, {one.name: one.columns for one in every}).set_index("covariate")
    clusters = posterior.clusters
    # Leaves hold so many observations of normal outcomes, and so many clusters of counted ones.
    sizes = clusters.sizes if posterior.settings.likelihood == "normal" else np.ones(clusters.n)
    prior = prior_inclusion(
        posterior.settings.trees, posterior.cuts.counts, posterior.cuts.bins(clusters.covariates), sizes, seed
    )
    rows = []
    for one in covariates:
        spread = effects.spread(one)
        lower, upper = _interval(spread, level)
        own = rules.loc[one.name]
        rows.append({
            "covariate": one.name, "spread": float(np.median(spread)), "spread_lower": lower, "spread_upper": upper,
            "rules": own["share"], "rules_lower": own["lower"], "rules_upper": own["upper"],
            "prior": float(prior[list(one.columns)].sum()), "used": own["used"],
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values("spread", ascending=False, kind="stable", ignore_index=True)


def interaction_table(
    effects: TreeEffects, covariates: Sequence[Covariate], level: float, tell: Progress
) -> pd.DataFrame:
    """Find how far each pair of covariates is from acting as a sum.

    Parameters
    ----------
    effects : TreeEffects
        The draws.
    covariates : sequence of Covariate
        Whose pairs.
    level : float
        Coverage of the intervals.
    tell : callable
        Progress.

    Returns
    -------
    pandas.DataFrame
        See :class:`PartialDependenceResult`; without rows for a single covariate.
    """
    columns = [
        "covariate",
        "other",
        *(f"{name}{end}" for name in ("strength", "h") for end in ("", "_lower", "_upper")),
    ]
    pairs = list(combinations(covariates, 2))
    rows = []
    for done, (one, other) in enumerate(pairs):
        tell(100.0 * done / len(pairs), f"interaction of {one.name} and {other.name}")
        found = effects.interaction(one, other)
        numbers = []
        for drawn in (found.strength, found.h):
            numbers += [float(np.median(drawn)), *_interval(drawn, level)]
        rows.append([one.name, other.name, *numbers, found.h_of_mean, found.together])
    table = pd.DataFrame(rows, columns=[*columns, "h_of_mean", "together"])
    return table.sort_values(["strength", "strength_upper"], ascending=False, kind="stable", ignore_index=True)


def joint_effects(
    effects: TreeEffects, rows: Rows, covariates: Sequence[Covariate], pairs: pd.DataFrame, points: int
) -> tuple[JointEffect, ...]:
    """Joint partial dependence of the pairs that interact most, if they are numbers and interact in most draws.

    Parameters
    ----------
    effects : TreeEffects
        The draws.
    rows : Rows
        What they are averaged over.
    covariates : sequence of Covariate
        Among which the pairs are.
    pairs : pandas.DataFrame
        By :func:`interaction_table`.
    points : int
        Intervals of a grid.

    Returns
    -------
    tuple of JointEffect
        Three at most.
    """
    known = {one.name: one for one in covariates if not one.codes}
    shown = pairs[pairs["covariate"].isin(known) & pairs["other"].isin(known) & (pairs["together"] > 0.5)]
    found = []
    for name, other in shown[["covariate", "other"]].head(MOST_JOINT).itertuples(index=False):
        pair = known[name], known[other]
        values = effects.grid(pair[0], points), effects.grid(pair[1], points)
        estimate = effects.joint(*pair, values).mean(axis=0)
        places = np.column_stack([one.values(rows.covariates) for one in pair])
        found.append(JointEffect(name, other, *values, estimate, places))
    return tuple(found)


def deciles(effects: TreeEffects, covariates: Sequence[Covariate]) -> dict[str, tuple[float, ...]]:
    """Deciles of the covariates that are numbers."""
    return {one.name: tuple(effects.quantiles(one, _DECILES).tolist()) for one in covariates if not one.codes}


def notes_on_rows(rows: Rows, covariates: Sequence[Covariate]) -> tuple[str, ...]:
    """Say what was averaged over, and which covariates go together."""
    numbers = [one for one in covariates if not one.codes]
    said = [rows.note]
    if len(numbers) > 1:
        ranks = np.column_stack([stats.rankdata(one.values(rows.covariates)) for one in numbers])
        correlation = np.corrcoef(ranks, rowvar=False)
        pairs = [(i, j) for i, j in combinations(range(len(numbers)), 2) if abs(correlation[i, j]) >= TOGETHER]
        pairs.sort(key=lambda pair: -abs(correlation[pair]))
        if pairs:
            told = "; ".join(f"{numbers[i].name} and {numbers[j].name} ({correlation[i, j]:.2f})" for i, j in pairs[:5])
            more = f"; and {len(pairs) - 5} more pairs" if len(pairs) > 5 else ""
            said.append(
                f"These go together (rank correlation): {told}{more}. Their partial dependence averages over "
                "combinations that hardly occur; accumulated local effects do not."
            )
    return tuple(said)


def _interval(drawn: Vector, level: float) -> Any:
    return np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
