"""Benchmarking of estimates without draws: derivatives by brute force, coverage by simulation."""

import numpy as np
import pytest
from smallarea.errors import ModelProblem, VarianceProblem
from smallarea.results.benchmark import Targets
from smallarea.results.benchmark_points import benchmark_points

N = 24
AREAS = [f"a{i}" for i in range(N)]
REGION = np.arange(N) // 8
URBAN = 3 + np.arange(N) % 2
ONE = REGION[None, :]
TWO = np.stack([REGION, URBAN])
METHODS = ["ratio", "raking", "difference", "weighted_difference"]


@pytest.fixture
def data():
    rng = np.random.default_rng(11)
    weights = rng.uniform(1.0, 5.0, N)
    weights[[3, 20]] = 0.0
    return rng.uniform(4.0, 12.0, N), rng.uniform(0.05, 0.8, N), weights


def sums(values, weights, group):
    return np.concatenate([np.bincount(g - g.min(), weights=weights * values) for g in group])


def names(group):
    return tuple("nmsru"[g] for g in range(group.max() + 1)), (*["region"] * 3, *["urban"] * (group.max() - 2))


def targets(values, group, kind="total", errors=None):
    groups, margins = names(group)
    return Targets(groups, np.asarray(values), np.zeros(len(groups)) if errors is None else errors, kind, margins)


def run(data, group, given, method):
    y, v, w = data
    return benchmark_points(y, v, AREAS, group, w, given, method)


CASES = [(m, ONE) for m in METHODS] + [(m, TWO) for m in METHODS[1:]]


@pytest.mark.parametrize("kind", ["total", "mean"])
@pytest.mark.parametrize(("method", "group"), CASES)
def test_targets_are_met(data, method, group, kind):
    y, v, w = data
    truth = y * np.exp(0.2 * np.sin(np.arange(N)))
    unit = sums(np.ones(N), w, group) if kind == "mean" else 1.0
    wanted = sums(truth, w, group) / unit
    found = run(data, group, targets(wanted, group, kind), method)
    np.testing.assert_allclose(sums(found.estimate, w, group) / unit, wanted, rtol=1e-10)
    np.testing.assert_allclose(found.after, wanted, rtol=1e-10)
    np.testing.assert_allclose(found.before, sums(y, w, group) / unit)
    np.testing.assert_allclose(found.before_se, np.sqrt(sums(v * w, w, group)) / unit)
    gap = wanted / found.before if method in ("ratio", "raking") else wanted - found.before
    np.testing.assert_allclose(found.adjustment, gap, atol=1e-9)


@pytest.mark.parametrize(("method", "group"), CASES)
def test_mean_squared_errors_are_those_of_the_derivatives(data, method, group):
    """The derivatives by differences: of every estimate, and of targets that stay consistent."""
    y, v, w = data
    truth = y * np.exp(0.1 * np.sin(np.arange(N)))
    wanted = sums(truth, w, group)
    errors = np.full(len(wanted), 2.0)
    given = targets(wanted, group, errors=errors)
    found = run(data, group, given, method)
    h, fixed = 1e-5, run(data, group, targets(wanted, group), method)
    jacobian = np.empty((N, N))
    for j in range(N):
        step = np.eye(N)[j] * h
        up, down = (
            benchmark_points(y + s, v, AREAS, group, w, targets(wanted, group), method).estimate for s in (step, -step)
        )
        jacobian[:, j] = (up - down) / (2 * h)
    np.testing.assert_allclose(fixed.se**2, jacobian**2 @ v, rtol=1e-6, atol=1e-9)
    # Targets with errors: by drawing them and solving anew. 1500 draws: 5 errors of a variance are 18 percent.
    rng = np.random.default_rng(3)
    draws = wanted + errors * rng.standard_normal((1500, len(wanted)))
    if group is TWO:
        # Given that both margins add up to the same: the difference of the two sums is taken off both.
        sign = np.array([1.0, 1, 1, -1, -1])
        draws -= np.outer(draws @ sign, sign * errors**2) / (sign**2 @ errors**2)
    moved = [benchmark_points(y, v, AREAS, group, w, targets(t, group), method).estimate for t in draws]
    extra = np.var(moved, axis=0)
    np.testing.assert_allclose(found.se**2 - fixed.se**2, extra, rtol=0.18, atol=1e-9)


def test_one_factor_is_the_textbook_formula(data):
    """Ratio: J = (t/A)(1(i=j) - y_i w_j / A), written out."""
    y, v, w = data
    group = np.zeros((1, N), dtype=int)
    wanted, aggregate = 1.1 * (w @ y), w @ y
    found = benchmark_points(
        y, v, AREAS, group, w, Targets(("all",), np.array([wanted]), np.array([9.0]), "total"), "ratio"
    )
    jacobian = wanted / aggregate * (np.eye(N) - np.outer(y, w) / aggregate)
    np.testing.assert_allclose(found.se**2, jacobian**2 @ v + (y / aggregate) ** 2 * 81.0, rtol=1e-12)
    np.testing.assert_allclose(found.estimate, 1.1 * y, rtol=1e-12)


@pytest.mark.parametrize("method", ["difference", "weighted_difference"])
def test_differences_by_several_margins_solve_their_least_squares_problem(data, method):
    y, v, w = data
    w = np.where(w == 0.0, 1.0, w)
    wanted = sums(y + np.cos(np.arange(N)), w, TWO)
    found = benchmark_points(y, v, AREAS, TWO, w, targets(wanted, TWO), method)
    # Four of the five constraints are independent; solve the equations of the Lagrangian with these.
    constraint = np.array([w * (TWO[0] == g) for g in range(3)] + [w * (TWO[1] == 3)])
    loss = np.diag(w if method == "difference" else 1.0 / v)
    system = np.block([[loss, constraint.T], [constraint, np.zeros((4, 4))]])
    best = np.linalg.solve(system, np.concatenate([loss @ y, wanted[:4]]))[:N]
    np.testing.assert_allclose(found.estimate, best, rtol=1e-10)


def test_raking_is_the_loop(data):
    y, _, w = data
    wanted = sums(y * np.exp(0.3 * np.cos(np.arange(N))), w, TWO)
    found = run(data, TWO, targets(wanted, TWO), "raking").estimate
    e = y.copy()
    for _ in range(300):
        for g in range(5):
            here = TWO[0 if g < 3 else 1] == g
            e[here] *= wanted[g] / (w[here] @ e[here])
    np.testing.assert_allclose(found, e, rtol=1e-10)


def test_targets_with_errors_are_brought_together(data):
    """Regions say 3 less than urban and rural; the more exact margin gives way less."""
    y, _, w = data
    wanted = sums(y, w, TWO)
    wanted[3:] += 1.5
    errors = np.array([1.0, 1.0, 1.0, 3.0, 3.0])
    found = run(data, TWO, targets(wanted, TWO, errors=errors), "raking")
    assert found.after[:3].sum() == pytest.approx(found.after[3:].sum(), rel=1e-9)
    np.testing.assert_allclose(found.after - wanted, 3.0 * np.array([1, 1, 1, -9, -9]) / (3 + 18), rtol=1e-6)
    # Variance of one of the first targets given the condition: 1 - 1 / 21.
    np.testing.assert_allclose(found.after_se[:3], np.sqrt(1.0 - 1.0 / 21.0), rtol=1e-6)


def test_margins_that_contradict_each_other_are_named(data):
    wanted = sums(data[0], data[2], TWO)
    wanted[4] += 2.0
    for method in METHODS[1:]:
        with pytest.raises(ModelProblem, match=r"contradict each other.*those of 'region' are .*, of 'urban' are "):
            run(data, TWO, targets(wanted, TWO), method)
    with pytest.raises(ModelProblem, match="contradict"):
        run(data, TWO, targets(wanted, TWO, errors=np.full(5, 0.01)), "raking")
    with pytest.raises(ModelProblem, match=r"'ratio' meets one set of groups, and there are 2.*'raking'"):
        run(data, TWO, targets(wanted, TWO), "ratio")


def test_nested_margins_contradict_each_other_within_a_region(data):
    y, v, w = data
    finer = np.stack([REGION, 3 + np.arange(N) // 4])
    wanted = sums(y, w, finer)
    given = Targets(tuple("nmsabcdef"), wanted, np.zeros(9), "total", ("region",) * 3 + ("part",) * 6)
    found = benchmark_points(y, v, AREAS, finer, w, given, "raking")
    np.testing.assert_allclose(found.estimate, y, rtol=1e-10)
    wanted = wanted + np.array([0, 0, 0, 1.0, 0, -1.0, 0, 0, 0])
    given = Targets(given.groups, wanted, np.zeros(9), "total", given.margins)
    with pytest.raises(ModelProblem, match=r"Those of .*'n \(region\)'.* do not fit together"):
        benchmark_points(y, v, AREAS, finer, w, given, "difference")


def test_margins_that_meet_nowhere_cannot_be_raked():
    # Only two areas, one in both the north and the city: the city cannot have more than the north.
    group = np.array([[0, 1], [2, 3]])
    given = Targets(("n", "s", "u", "r"), np.array([5.0, 5.0, 6.0, 4.0]), np.zeros(4), "total", ("a", "a", "b", "b"))
    with pytest.raises(ModelProblem, match="contradict"):
        benchmark_points(np.array([5.0, 5.0]), None, ["x", "y"], group, np.ones(2), given, "raking")


def test_raking_that_needs_what_there_is_not():
    # n has only city areas, so its 8 must fit into the city's 6: consistent sums, and yet impossible.
    group = np.array([[0, 1, 1], [2, 2, 3]])
    given = Targets(("n", "s", "u", "r"), np.array([8.0, 2.0, 6.0, 4.0]), np.zeros(4), "total", ("a", "a", "b", "b"))
    y = np.array([5.0, 1.0, 4.0])
    with pytest.raises(ModelProblem, match="cannot be met together"):
        benchmark_points(y, None, ["x", "y", "z"], group, np.ones(3), given, "raking")
    # A difference can: the area between goes below zero.
    found = benchmark_points(y, None, ["x", "y", "z"], group, np.ones(3), given, "difference")
    np.testing.assert_allclose(found.estimate, [8.0, -2.0, 4.0])
    assert np.isnan(found.se).all()


def test_areas_without_an_estimate_or_a_variance(data):
    y, v, w = data
    y[3] = np.nan
    found = run((y, v, w), ONE, targets(sums(np.nan_to_num(y), w, ONE) * 1.1, ONE), "ratio")
    assert np.isnan(found.estimate[3])
    assert np.isnan(found.se[3])
    assert np.isfinite(np.delete(found.se, 3)).all()
    y[5] = np.nan
    with pytest.raises(ModelProblem, match="1 areas have no estimate but count for the totals: 'a5'"):
        run((y, v, w), ONE, targets([1.0, 1, 1], ONE), "ratio")
    y[5], v[[6, 7]] = 5.0, [-1.0, np.nan]
    with pytest.raises(
        VarianceProblem, match="2 areas have an estimate but no standard error of zero or more: 'a6', 'a7'"
    ):
        run((y, v, w), ONE, targets([1.0, 1, 1], ONE), "ratio")
    with pytest.raises(VarianceProblem, match="'weighted_difference' moves areas in proportion"):
        benchmark_points(y, None, AREAS, ONE, w, targets([1.0, 1, 1], ONE), "weighted_difference")
    with pytest.raises(ModelProblem, match="above zero in every draw; it is not so in the groups 'n'"):
        run((y, np.ones(N), w), ONE, targets([-1.0, 1, 1], ONE), "raking")


def coverage_of(theta, v, w, group, method, target_error, common, repeats, seed):
    """Share of 95 percent intervals around the truth; errors are independent but for a common part."""
    rng = np.random.default_rng(seed)
    truth = sums(theta, w, group)
    size = theta / theta.mean() if method in ("ratio", "raking") else np.ones(N)
    inside = np.zeros(N)
    for _ in range(repeats):
        y = theta + np.sqrt(v) * rng.standard_normal(N) + common * size * rng.standard_normal()
        t = truth + target_error * rng.standard_normal(len(truth))
        given = targets(t, group, errors=np.full(len(t), target_error))
        found = benchmark_points(y, v + common**2 * size**2, AREAS, group, w, given, method)
        inside += np.abs(found.estimate - theta) <= 1.959964 * found.se
    return inside / repeats


@pytest.mark.parametrize("target_error", [0.0, 1.5])
@pytest.mark.parametrize(("method", "group"), CASES)
def test_intervals_cover(data, method, group, target_error):
    """The Monte Carlo error of one area is 0.007; the factors' standard errors are of first order."""
    theta, v, w = data
    coverage = coverage_of(theta, v, w, group, method, target_error, 0.0, 1000, 5)
    assert coverage.mean() == pytest.approx(0.95, abs=0.006)
    assert np.abs(coverage - 0.95).max() < 0.03


@pytest.mark.parametrize("method", METHODS)
def test_a_common_error_makes_intervals_wider_than_needed(data, method):
    theta, v, w = data
    coverage = coverage_of(theta, v, w, ONE, method, 0.0, 0.5, 400, 6)
    assert coverage.mean() > 0.955
    assert coverage.min() > 0.93
