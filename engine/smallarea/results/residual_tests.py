"""Tests of standardised residuals: spatial pattern, normality, agreement with the direct estimates.

They describe; none of them decides. The residuals come from a model with estimated parameters, which none of the
reference distributions here takes into account: read p-values as a scale, not as exact error rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

if TYPE_CHECKING:
    import pandas as pd

    from smallarea.areas import AreaGraph

SHAPIRO_LIMIT = 5000
"""Above this many values SciPy's p-value is no longer calibrated: a random subsample of this size is tested."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MoranTest:
    """Moran's I with binary weights.

    Attributes
    ----------
    statistic, expected, sd : float
        I, its expectation -1/(n - 1) and its SD under randomisation.
    z, p_value : float
        Standardised I and its two-sided normal p-value.
    permutation_p : float
        Two-sided p-value from permutations; NaN if none were made.
    n : int
        Areas with a residual and at least one neighbour with a residual.
    n_left_out : int
        Areas with a residual but no such neighbour.
    n_edges : int
        Pairs of neighbours.
    permutations : int
        How many were made.
    """

    statistic: float
    expected: float
    sd: float
    z: float
    p_value: float
    permutation_p: float
    n: int
    n_left_out: int
    n_edges: int
    permutations: int


@dataclass(frozen=True)
class NormalityTest:
    """Shape of the residuals and the Shapiro-Wilk test.

    Attributes
    ----------
    w, p_value : float
        Shapiro-Wilk statistic and p-value.
    skewness, excess_kurtosis : float
        Moment estimates; both 0 for a normal distribution.
    n, n_tested : int
        Residuals, and how many of them the Shapiro-Wilk test saw.
    """

    w: float
    p_value: float
    skewness: float
    excess_kurtosis: float
    n: int
    n_tested: int


@dataclass(frozen=True)
class AgreementTest:
    """Do the model estimates agree with the direct ones? (Brown, Chambers, Heady and Heasman, 2001).

    Attributes
    ----------
    intercept, slope : float
        Of the weighted regression of direct on model estimates; 0 and 1 if the model estimates are unbiased.
    intercept_se, slope_se : float
        Their standard errors.
    wald, p_value : float
        Sum of squared differences over the sum of both variances, and its p-value from chi-squared with ``n`` degrees
        of freedom. The two estimates of an area are positively correlated, so the test is conservative: a small
        p-value is alarming, a large one proves little.
    correlation : float
        Between direct and model estimates.
    n : int
        Areas with both.
    """

    intercept: float
    slope: float
    intercept_se: float
    slope_se: float
    wald: float
    p_value: float
    correlation: float
    n: int


def morans_i(residuals: npt.ArrayLike, graph: AreaGraph, *, permutations: int = 999, seed: int = 1) -> MoranTest | None:
    """Moran's I of residuals on the part of the graph where there are any.

    Weights are 1 for neighbours and 0 otherwise. Areas without a residual are left out with their edges; areas that
    have then no neighbour are left out too, as they say nothing about likeness of neighbours.

    Parameters
    ----------
    residuals : array-like
        In the order of the graph's ids, NaN where there is none.
    graph : AreaGraph
        Neighbours.
    permutations : int
        How many random permutations for the permutation p-value; 0 for none.
    seed : int
        Of the permutations.

    Returns
    -------
    MoranTest or None
        None if it is not defined: fewer than four areas with neighbours, or residuals that are all equal.

    Notes
    -----
    The variance is the one under randomisation (Cliff and Ord, 1981), which uses the kurtosis of the residuals.
    """
    values, edges, left_out = _restrict(np.asarray(residuals, dtype=np.float64), graph)
    n, n_edges = values.size, edges.shape[0]
    if n < 4:
        return None
    deviations = values - values.mean()
    sum_of_squares = float(deviations @ deviations)
    if sum_of_squares <= 1e-24 * max(1.0, float(np.abs(values).max()) ** 2) * n:
        return None
    weights = _adjacency(edges, n)
    scale = n / (2.0 * n_edges * sum_of_squares)
    observed = scale * float(deviations @ (weights @ deviations))

    expected = -1.0 / (n - 1)
    degrees = np.asarray(weights.sum(axis=1)).ravel()
    # For symmetric 0/1 weights: S0 = 2E, S1 = 2 S0, S2 = 4 sum of squared degrees.
    s0 = 2.0 * n_edges
    s1 = 2.0 * s0
    s2 = 4.0 * float(degrees @ degrees)
    kurtosis = n * float((deviations**4).sum()) / sum_of_squares**2
    a = n * ((n * n - 3 * n + 3) * s1 - n * s2 + 3 * s0 * s0)
    b = kurtosis * ((n * n - n) * s1 - 2 * n * s2 + 6 * s0 * s0)
    variance = (a - b) / ((n - 1) * (n - 2) * (n - 3) * s0 * s0) - expected**2
    # A complete graph has the same I for every arrangement: no variance, and nothing to test.
    sd = float(np.sqrt(variance)) if variance > 1e-12 * expected**2 else 0.0
    z = (observed - expected) / sd if sd > 0.0 else float("nan")
    return MoranTest(
        statistic=observed,
        expected=expected,
        sd=sd,
        z=z,
        p_value=float(2.0 * stats.norm.sf(abs(z))) if sd > 0.0 else float("nan"),
        permutation_p=_permutation_p(deviations, weights, scale, observed - expected, expected, permutations, seed),
        n=n,
        n_left_out=left_out,
        n_edges=n_edges,
        permutations=permutations,
    )


def spatial_lag(residuals: npt.ArrayLike, graph: AreaGraph) -> FloatArray:
    """Mean residual of each area's neighbours, over the neighbours that have one.

    Parameters
    ----------
    residuals : array-like
        In the order of the graph's ids, NaN where there is none.
    graph : AreaGraph
        Neighbours.

    Returns
    -------
    numpy.ndarray
        NaN for areas without a residual or without a neighbour that has one.
    """
    values = np.asarray(residuals, dtype=np.float64)
    present = np.isfinite(values)
    weights = _adjacency(np.asarray(graph.edges, dtype=np.int64).reshape(-1, 2), values.size)
    count = weights @ present.astype(np.float64)
    total = weights @ np.where(present, values, 0.0)
    lag = np.full(values.size, np.nan)
    np.divide(total, count, out=lag, where=present & (count > 0.0))
    return lag


def normality(residuals: npt.ArrayLike, *, seed: int = 1) -> NormalityTest | None:
    """Shapiro-Wilk test, skewness and kurtosis of residuals.

    With more than 5,000 residuals the Shapiro-Wilk test sees a random subsample of 5,000, drawn with ``seed``;
    skewness and kurtosis always use all of them.

    Parameters
    ----------
    residuals : array-like
        NaN is left out.
    seed : int
        Of the subsample.

    Returns
    -------
    NormalityTest or None
        None with fewer than three residuals, or if they are all equal.
    """
    values = np.asarray(residuals, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size < 3 or np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return None
    tested = values
    if values.size > SHAPIRO_LIMIT:
        tested = np.random.default_rng(seed).choice(values, SHAPIRO_LIMIT, replace=False)
    shapiro = stats.shapiro(tested)
    return NormalityTest(
        w=float(shapiro.statistic),
        p_value=float(shapiro.pvalue),
        skewness=float(stats.skew(values)),
        excess_kurtosis=float(stats.kurtosis(values)),
        n=int(values.size),
        n_tested=int(tested.size),
    )


def agreement(estimates: pd.DataFrame) -> AgreementTest | None:
    """Compare model estimates with direct estimates where there are both.

    Parameters
    ----------
    estimates : pandas.DataFrame
        Estimates table of one response.

    Returns
    -------
    AgreementTest or None
        None with fewer than four areas, or if the model estimates are all equal.
    """
    columns = [estimates[c].to_numpy(np.float64, na_value=np.nan) for c in ("direct", "direct_se", "estimate", "se")]
    usable = np.all(np.isfinite(columns), axis=0) & (columns[1] > 0.0)
    direct, direct_se, estimate, se = (c[usable] for c in columns)
    n = direct.size
    if n < 4 or np.ptp(estimate) <= 1e-12 * max(1.0, float(np.abs(estimate).max())):
        return None
    weight = 1.0 / direct_se**2
    centre = float(weight @ estimate / weight.sum())
    spread = float(weight @ (estimate - centre) ** 2)
    slope = float(weight @ ((estimate - centre) * direct)) / spread
    intercept = float(weight @ direct / weight.sum()) - slope * centre
    rest = direct - intercept - slope * estimate
    noise = float(weight @ rest**2) / (n - 2)
    wald = float(((direct - estimate) ** 2 / (direct_se**2 + se**2)).sum())
    constant = np.ptp(direct) == 0.0
    return AgreementTest(
        intercept=intercept,
        slope=slope,
        intercept_se=float(np.sqrt(noise * (1.0 / weight.sum() + centre**2 / spread))),
        slope_se=float(np.sqrt(noise / spread)),
        wald=wald,
        p_value=float(stats.chi2.sf(wald, n)),
        correlation=float("nan") if constant else float(np.corrcoef(direct, estimate)[0, 1]),
        n=n,
    )


def _restrict(values: FloatArray, graph: AreaGraph) -> tuple[FloatArray, npt.NDArray[np.int64], int]:
    edges = np.asarray(graph.edges, dtype=np.int64).reshape(-1, 2)
    present = np.isfinite(values)
    edges = edges[present[edges].all(axis=1)]
    linked = np.zeros(values.size, dtype=bool)
    linked[edges.ravel()] = True
    position = np.cumsum(linked) - 1
    return values[linked], position[edges], int(np.count_nonzero(present & ~linked))


def _adjacency(edges: npt.NDArray[np.int64], n: int) -> sparse.csr_array:
    heads = np.concatenate([edges[:, 0], edges[:, 1]])
    tails = np.concatenate([edges[:, 1], edges[:, 0]])
    return sparse.csr_array((np.ones(heads.size), (heads, tails)), shape=(n, n))


def _permutation_p(
    deviations: FloatArray,
    weights: sparse.csr_array,
    scale: float,
    distance: float,
    expected: float,
    permutations: int,
    seed: int,
) -> float:
    if permutations < 1:
        return float("nan")
    rng = np.random.default_rng(seed)
    beyond = 0
    # In blocks, so that memory does not grow with the number of permutations.
    block = max(1, min(permutations, 2_000_000 // deviations.size))
    done = 0
    while done < permutations:
        size = min(block, permutations - done)
        shuffled = rng.permuted(np.tile(deviations, (size, 1)), axis=1).T
        drawn = scale * np.einsum("ij,ij->j", shuffled, weights @ shuffled)
        # The tolerance counts arrangements that equal the observed one in exact arithmetic.
        beyond += int(np.count_nonzero(np.abs(drawn - expected) >= abs(distance) - 1e-12))
        done += size
    return (1 + beyond) / (1 + permutations)
