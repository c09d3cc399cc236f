from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from smallarea.areas import AreaGraph
from smallarea.results.residual_tests import agreement, morans_i, normality, spatial_lag

EDGES = np.array([[0, 1], [0, 2], [1, 2], [2, 3], [3, 4], [4, 5], [3, 5], [1, 6]])


def graph_of(n, edges):
    return AreaGraph.from_edges(tuple(f"a{i}" for i in range(n)), np.asarray(edges))


def grid_graph(side):
    number = np.arange(side * side).reshape(side, side)
    across = np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()])
    up = np.column_stack([number[:-1].ravel(), number[1:].ravel()])
    return graph_of(side * side, np.vstack([across, up]))


def brute_moran(values, edges):
    z = values - values.mean()
    products = sum(2 * z[i] * z[j] for i, j in edges)
    return len(values) / (2 * len(edges)) * products / (z @ z)


def test_moran_equals_its_definition_and_the_moments_over_all_permutations():
    values = np.array([1.3, -0.2, 0.8, 2.9, -1.1, 0.4, 0.0])
    result = morans_i(values, graph_of(7, EDGES), permutations=0)
    assert result.statistic == pytest.approx(brute_moran(values, EDGES), rel=1e-13)
    every = np.array([brute_moran(np.array(p), EDGES) for p in permutations(values)])
    assert result.expected == pytest.approx(every.mean(), rel=1e-10)
    assert result.sd == pytest.approx(every.std(), rel=1e-10)
    assert result.z == pytest.approx((brute_moran(values, EDGES) - every.mean()) / every.std(), rel=1e-9)
    assert result.p_value == pytest.approx(2 * stats.norm.sf(abs(result.z)), rel=1e-12)
    assert np.isnan(result.permutation_p)


def test_permutation_p_agrees_with_all_permutations():
    values = np.array([2.0, 1.7, 1.9, -0.5, -1.2, -1.0, 1.1])
    every = np.array([brute_moran(np.array(p), EDGES) for p in permutations(values)])
    observed = brute_moran(values, EDGES)
    exact = np.mean(np.abs(every - every.mean()) >= abs(observed - every.mean()) - 1e-12)
    got = morans_i(values, graph_of(7, EDGES), permutations=20_000, seed=11).permutation_p
    assert got == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_only_areas_with_a_residual_and_such_a_neighbour_count():
    # 6 hangs on 1 only, which has no residual; 7 has no neighbour at all.
    values = np.array([1.3, np.nan, 0.8, 2.9, -1.1, 0.4, 5.0, 9.0])
    result = morans_i(values, graph_of(8, EDGES), permutations=99)
    left = [0, 2, 3, 4, 5]
    edges = [(left.index(i), left.index(j)) for i, j in EDGES if i in left and j in left]
    assert (result.n, result.n_left_out, result.n_edges) == (5, 2, len(edges))
    assert result.statistic == pytest.approx(brute_moran(values[left], edges), rel=1e-12)


def test_seed_decides_the_permutations():
    values = np.random.default_rng(0).normal(size=49)
    graph = grid_graph(7)
    first, again, other = (morans_i(values, graph, permutations=1999, seed=s).permutation_p for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_smooth_surface_is_found_and_noise_is_not():
    graph = grid_graph(12)
    x, y = np.meshgrid(np.arange(12.0), np.arange(12.0))
    smooth = morans_i((x + y).ravel(), graph, permutations=199)
    assert smooth.statistic > 0.8
    assert smooth.p_value < 1e-6
    assert smooth.permutation_p == pytest.approx(1 / 200)
    rng = np.random.default_rng(8)
    p = np.array([morans_i(rng.normal(size=144), graph, permutations=0).p_value for _ in range(400)])
    # 400 uniform p-values: this bound is exceeded once in ten thousand seeds.
    assert stats.kstest(p, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([1.0, 2.0, 3.0], [[0, 1], [1, 2]]),
        ([4.0] * 7, EDGES),
        ([1e9 + 0.0] * 7, EDGES),
        ([np.nan] * 7, EDGES),
        ([1.0, 2.0, 3.0, 4.0, 5.0], np.empty((0, 2), dtype=int)),
    ],
)
def test_moran_is_none_where_it_is_not_defined(values, edges):
    assert morans_i(values, graph_of(len(values), edges)) is None


def test_complete_graph_has_nothing_to_test():
    edges = [[i, j] for i in range(5) for j in range(i + 1, 5)]
    result = morans_i([1.0, 5.0, 2.0, -3.0, 0.5], graph_of(5, edges))
    assert result.statistic == pytest.approx(-0.25)
    assert np.isnan(result.p_value)
    assert result.permutation_p == 1.0


def test_spatial_lag_is_the_mean_of_known_neighbours():
    values = np.array([1.0, np.nan, 3.0, 5.0, 7.0, 9.0, 2.0, 4.0])
    lag = spatial_lag(values, graph_of(8, EDGES))
    expected = [3.0, np.nan, (1.0 + 5.0) / 2, (3.0 + 7.0 + 9.0) / 3, (5.0 + 9.0) / 2, (7.0 + 5.0) / 2, np.nan, np.nan]
    assert np.allclose(lag, expected, equal_nan=True)


def test_normality_by_hand_and_by_scipy():
    values = np.array([0.3, -1.2, 2.5, 0.1, np.nan, 0.9, -0.4, 1.1])
    result = normality(values)
    known = values[np.isfinite(values)]
    z = (known - known.mean()) / known.std()
    assert result.skewness == pytest.approx((z**3).mean(), rel=1e-12)
    assert result.excess_kurtosis == pytest.approx((z**4).mean() - 3, rel=1e-12)
    assert (result.w, result.p_value) == tuple(stats.shapiro(known))
    assert (result.n, result.n_tested) == (7, 7)


def test_large_samples_are_tested_on_a_subsample():
    values = np.random.default_rng(2).normal(size=5001)
    first, again, other = (normality(values, seed=s) for s in (1, 1, 2))
    assert (first.n, first.n_tested) == (5001, 5000)
    assert first == again
    assert first.w != other.w
    assert first.skewness == other.skewness


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [3.0] * 10, [np.nan] * 10])
def test_normality_is_none_where_it_is_not_defined(values):
    assert normality(values) is None


def test_agreement_is_weighted_least_squares_and_a_wald_sum():
    rng = np.random.default_rng(4)
    truth, se = rng.normal(10, 3, 30), rng.uniform(0.5, 2, 30)
    rows = pd.DataFrame(
        {"direct": truth + se * rng.normal(size=30), "direct_se": se, "estimate": truth, "se": rng.uniform(0.1, 1, 30)}
    )
    holes = pd.concat(
        [
            rows,
            pd.DataFrame({"direct": [np.nan, 1.0], "direct_se": [1.0, 0.0], "estimate": [1.0, 1.0], "se": [1.0, 1.0]}),
        ]
    )
    result = agreement(holes)
    design = np.column_stack([np.ones(30), rows["estimate"]]) / rows["direct_se"].to_numpy()[:, None]
    target = rows["direct"] / rows["direct_se"]
    beta, rest, *_ = np.linalg.lstsq(design, target, rcond=None)
    spread = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rest[0] / 28)
    assert (result.intercept, result.slope) == pytest.approx(tuple(beta), rel=1e-9)
    assert (result.intercept_se, result.slope_se) == pytest.approx(tuple(spread), rel=1e-9)
    wald = ((rows["direct"] - rows["estimate"]) ** 2 / (rows["direct_se"] ** 2 + rows["se"] ** 2)).sum()
    assert result.wald == pytest.approx(wald)
    assert result.p_value == pytest.approx(stats.chi2.sf(wald, 30))
    assert result.correlation == pytest.approx(rows["direct"].corr(rows["estimate"]))
    assert result.n == 30


@pytest.mark.parametrize("n", [3, 10])
def test_agreement_is_none_where_it_is_not_defined(n):
    rows = pd.DataFrame({"direct": np.arange(n) * 1.0, "direct_se": 1.0, "estimate": 5.0, "se": 1.0})
    assert agreement(rows) is None
