"""Benchmarking: constraints on every draw, and the losses that the methods minimise."""

import numpy as np
import pytest
from scipy import optimize
from smallarea.errors import ModelProblem, TableProblem
from smallarea.results.benchmark import Targets, benchmark

AREAS = [f"a{i}" for i in range(9)]
GROUP = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
WEIGHTS = np.array([1.0, 2.0, 0.5, 0.0, 3.0, 1.0, 1.0, 2.0, 2.0])
METHODS = ["ratio", "difference", "weighted_difference"]


@pytest.fixture
def draws():
    rng = np.random.default_rng(4)
    return np.arange(3.0, 12.0) + rng.normal(size=(500, 9)) * rng.uniform(0.2, 0.8, 9)


def targets(kind, values=(5.0, 7.0, 12.0), errors=(0.0, 0.0, 0.0)):
    return Targets(("north", "mid", "south"), np.array(values), np.array(errors), kind)


def aggregates(theta, kind):
    found = np.stack([theta[:, g == GROUP] @ WEIGHTS[g == GROUP] for g in range(3)], axis=1)
    return found / np.bincount(GROUP, weights=WEIGHTS) if kind == "mean" else found


def adjusted(theta, method, given, weights=WEIGHTS):
    return benchmark(theta, AREAS, GROUP, weights, given, method, np.random.default_rng(1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["mean", "total"])
def test_every_draw_meets_the_targets(draws, method, kind, block_size):
    before = draws.copy()
    found = adjusted(draws, method, targets(kind))
    np.testing.assert_allclose(aggregates(found.theta, kind), np.tile([5.0, 7.0, 12.0], (500, 1)), rtol=1e-12)
    np.testing.assert_array_equal(draws, before)
    np.testing.assert_allclose(found.before, aggregates(draws, kind).mean(axis=0))
    np.testing.assert_allclose(found.before_se, aggregates(draws, kind).std(axis=0, ddof=1))
    np.testing.assert_allclose(found.after, [5.0, 7.0, 12.0])
    np.testing.assert_allclose(found.after_se, 0.0, atol=1e-12)
    assert found.n_areas.tolist() == [4, 3, 2]
    gap = np.array([5.0, 7.0, 12.0])
    one = gap / aggregates(draws, kind) if method == "ratio" else gap - aggregates(draws, kind)
    np.testing.assert_allclose(found.adjustment, one.mean(axis=0))
    np.testing.assert_allclose(found.adjustment_se, one.std(axis=0, ddof=1))


def test_ratio_is_one_factor_a_group(draws):
    found = adjusted(draws, "ratio", targets("mean")).theta / draws
    for g in range(3):
        np.testing.assert_allclose(found[:, g == GROUP], np.tile(found[:, [np.argmax(g == GROUP)]], (g == GROUP).sum()))


def test_difference_is_one_shift_a_group(draws):
    found = adjusted(draws, "difference", targets("total")).theta - draws
    for g in range(3):
        np.testing.assert_allclose(
            found[:, g == GROUP], np.tile(found[:, [np.argmax(g == GROUP)]], (g == GROUP).sum()), atol=1e-12
        )


def test_weighted_difference_solves_its_least_squares_problem(draws):
    # min sum (e - theta)^2 / V subject to w'e = t, by the equations of the Lagrangian.
    found = adjusted(draws, "weighted_difference", targets("total")).theta
    precision = 1.0 / draws.var(axis=0, ddof=1)
    for g, target in enumerate((5.0, 7.0, 12.0)):
        of = g == GROUP
        n = int(of.sum())
        system = np.zeros((n + 1, n + 1))
        system[:n, :n] = 2.0 * np.diag(precision[of])
        system[:n, n] = system[n, :n] = WEIGHTS[of]
        for s in (0, 77):
            right = np.append(2.0 * precision[of] * draws[s, of], target)
            np.testing.assert_allclose(found[s, of], np.linalg.solve(system, right)[:n], rtol=1e-9)


def test_ratio_minimises_its_kullback_leibler_loss(draws):
    found = adjusted(draws, "ratio", targets("total")).theta
    of, target = GROUP == 1, 7.0
    start, w = draws[5, of], WEIGHTS[GROUP == 1]
    loss = lambda e: float(np.sum(w * (e * np.log(e / start) - e + start)))  # noqa: E731
    constraint = {"type": "eq", "fun": lambda e: float(w @ e - target)}
    best = optimize.minimize(loss, start, constraints=[constraint], bounds=[(1e-6, None)] * 3, tol=1e-12)
    np.testing.assert_allclose(found[5, of], best.x, rtol=1e-4)


def test_precise_areas_hardly_move(draws):
    draws[:, 0] = 3.0 + 1e-4 * np.random.default_rng(2).normal(size=500)
    moved = np.abs(adjusted(draws, "weighted_difference", targets("mean")).theta - draws).mean(axis=0)
    assert moved[0] < 1e-4 * moved[1]
    assert moved[3] == 0.0  # no weight in the aggregate, no part in its gap
    everywhere = np.abs(adjusted(draws, "difference", targets("mean")).theta - draws).mean(axis=0)
    assert everywhere[0] == pytest.approx(everywhere[1])


@pytest.mark.parametrize("method", METHODS)
def test_uncertain_targets_widen_the_result(draws, method):
    given = targets("mean", errors=(0.5, 0.0, 0.0))
    found = adjusted(draws, method, given)
    got = aggregates(found.theta, "mean")
    # 500 draws: the mean has the error 0.5 / sqrt(500), the SD 0.5 / sqrt(1000).
    assert got[:, 0].mean() == pytest.approx(5.0, abs=5 * 0.5 / np.sqrt(500))
    assert got[:, 0].std(ddof=1) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(1000))
    assert found.after_se[0] == pytest.approx(got[:, 0].std(ddof=1))
    np.testing.assert_allclose(got[:, 1], 7.0)
    again = adjusted(draws, method, given)
    np.testing.assert_array_equal(found.theta, again.theta)
    # Drawn independently of the model.
    assert abs(np.corrcoef(got[:, 0], aggregates(draws, "mean")[:, 0])[0, 1]) < 5 / np.sqrt(500)


def test_a_mean_is_a_total_with_other_weights(draws):
    share = WEIGHTS / np.bincount(GROUP, weights=WEIGHTS)[GROUP]
    one = adjusted(draws, "weighted_difference", targets("mean")).theta
    other = adjusted(draws, "weighted_difference", targets("total"), share).theta
    np.testing.assert_allclose(one, other)


def test_areas_without_an_estimate_must_not_count(draws):
    draws[:, [1, 3]] = np.nan
    with pytest.raises(ModelProblem, match="1 areas have no estimate but count for the totals: 'a1'"):
        adjusted(draws, "ratio", targets("mean"))
    weights = np.where(np.arange(9) == 1, 0.0, WEIGHTS)
    for method in METHODS:
        found = adjusted(draws, method, targets("mean"), weights).theta
        assert np.isnan(found[:, [1, 3]]).all()
        assert np.isfinite(np.delete(found, [1, 3], axis=1)).all()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({0: -1.0}, TableProblem, "1 areas have a missing or negative weight: 'a0'"),
        ({8: np.nan, 7: np.inf}, TableProblem, "2 areas have a missing or negative weight: 'a7', 'a8'"),
        ({7: 0.0, 8: 0.0}, TableProblem, "no area with a positive weight in the groups 'south'"),
    ],
)
def test_weights_that_cannot_be(draws, change, error, said):
    weights = WEIGHTS.copy()
    weights[list(change)] = list(change.values())
    with pytest.raises(error, match=said):
        adjusted(draws, "ratio", targets("mean"), weights)


def test_a_ratio_of_what_is_not_positive(draws):
    with pytest.raises(ModelProblem, match="groups 'mid'"):
        adjusted(draws - np.where(GROUP == 1, 20.0, 0.0), "ratio", targets("mean"))
    with pytest.raises(ModelProblem, match="groups 'south'"):
        adjusted(draws, "ratio", targets("mean", values=(1.0, 1.0, -1.0)))
    adjusted(draws, "difference", targets("mean", values=(1.0, 1.0, -1.0)))


def test_constant_draws_cannot_give_way(draws):
    draws[:, GROUP == 2] = 4.0
    with pytest.raises(ModelProblem, match="groups 'south' are constant"):
        adjusted(draws, "weighted_difference", targets("mean"))


TWO = np.stack([GROUP, 3 + np.arange(9) % 2])


def both(theta, errors=0.0):
    """Targets of both margins that a set of quantities meets."""
    totals = np.concatenate([np.bincount(g - g.min(), weights=WEIGHTS * theta) for g in TWO])
    margins = ("region",) * 3 + ("urban",) * 2
    return Targets(tuple("nmsur"), totals, np.full(5, errors), "total", margins)


@pytest.mark.parametrize("method", ["raking", "difference", "weighted_difference"])
def test_every_draw_meets_the_targets_of_two_margins(draws, method, block_size):
    given = both(draws[3] * np.linspace(0.9, 1.1, 9))
    found = benchmark(draws, AREAS, TWO, WEIGHTS, given, method, np.random.default_rng(1))
    for g, target in enumerate(given.values):
        here = TWO[0 if g < 3 else 1] == g
        np.testing.assert_allclose(found.theta[:, here] @ WEIGHTS[here], target, rtol=1e-10)
    assert found.n_areas.tolist() == [4, 3, 2, 5, 4]


def test_raking_by_one_margin_is_the_ratio(draws):
    one, other = (adjusted(draws, method, targets("mean")) for method in ("ratio", "raking"))
    np.testing.assert_array_equal(one.theta, other.theta)


def test_two_margins_with_errors_agree_in_every_draw(draws):
    given = both(draws.mean(axis=0), 0.5)
    found = benchmark(draws, AREAS, TWO, WEIGHTS, given, "raking", np.random.default_rng(1)).theta
    sums = np.stack([found[:, g == GROUP] @ WEIGHTS[g == GROUP] for g in range(3)])
    # Var(t) = 1/4 each; given that both margins agree 1/4 (1 - 1/5). The error of an SD of 500 draws is 3 percent.
    np.testing.assert_allclose(sums.std(axis=1, ddof=1), 0.5 * np.sqrt(0.8), rtol=0.15)


@pytest.mark.parametrize(("method", "group"), [(m, GROUP) for m in METHODS] + [("raking", TWO), ("difference", TWO)])
def test_intervals_of_benchmarked_draws_cover(method, group):
    """Posteriors N(y, V) under flat priors, exact targets: 400 data sets, the error of the average is 0.005."""
    rng = np.random.default_rng(9)
    theta, sd = np.arange(4.0, 13.0), np.linspace(0.2, 0.6, 9)
    given = both(theta) if group is TWO else targets("total", np.bincount(GROUP, weights=WEIGHTS * theta))
    inside = np.zeros(9)
    for _ in range(400):
        draws = theta + sd * rng.normal(size=9) + sd * rng.normal(size=(400, 9))
        found = benchmark(draws, AREAS, group, WEIGHTS, given, method, rng).theta
        lower, upper = np.quantile(found, [0.025, 0.975], axis=0)
        inside += (lower <= theta) & (theta <= upper)
    assert inside.mean() / 400 == pytest.approx(0.95, abs=0.02)
