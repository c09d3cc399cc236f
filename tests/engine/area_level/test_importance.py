"""The importance sampler on targets whose integrals are known, or found by quadrature."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats
from smallarea.area_level.importance import WeightedSample, importance_of_nothing, sample
from smallarea.area_level.mode import GRADIENT_TOLERANCE, find_mode
from smallarea.area_level.pareto import pareto_k
from smallarea.errors import ModelProblem


def gaussian(x: np.ndarray) -> np.ndarray:
    mean, covariance = np.array([0.7, -0.4, 0.2]), np.array([[0.5, 0.3, 0.0], [0.3, 0.4, -0.1], [0.0, -0.1, 0.2]])
    return 3.0 + stats.multivariate_normal(mean, covariance).logpdf(x)


def banana(x: np.ndarray) -> np.ndarray:
    """N(0, I) prior and a curved valley of likelihood."""
    prior = -0.5 * np.sum(x**2, axis=1) - math.log(2 * math.pi)
    return prior - 0.5 * ((x[:, 1] + 0.8 - 0.7 * x[:, 0] ** 2) / 0.15) ** 2


def ridge(x: np.ndarray) -> np.ndarray:
    """Two standard deviations of which only the sum of squares is known: an L-shaped ridge."""
    prior = -0.5 * np.sum(x**2, axis=1) - math.log(2 * math.pi)
    return prior - 0.5 * ((np.logaddexp(2.0 * x[:, 0], 2.0 * x[:, 1]) - 0.5) / 0.2) ** 2


def cliff(x: np.ndarray) -> np.ndarray:
    """A prior cut off at zero, as where a matrix is not positive definite."""
    value = -0.5 * np.sum(x**2, axis=1) - math.log(2 * math.pi)
    return np.where(x[:, 0] < 0.3, value, -np.inf)


def quadrature(target, limit: float = 8.0, points: int = 1601) -> tuple[float, np.ndarray, np.ndarray]:
    """Log evidence, means and SDs of a target in the plane, by the trapezoidal rule."""
    axis = np.linspace(-limit, limit, points)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    log = np.concatenate([target(part) for part in np.array_split(grid, 20)])
    total = special.logsumexp(log)
    weight = np.exp(log - total)
    mean = weight @ grid
    return total + 2.0 * math.log(axis[1] - axis[0]), mean, np.sqrt(weight @ (grid - mean) ** 2)


def test_gaussian_evidence_and_moments():
    found = sample(gaussian, 3, min_ess=4000, rng=np.random.default_rng(1))
    assert found.converged
    # 5 standard errors: one chance in a million each.
    assert abs(found.log_evidence - 3.0) < 5.0 * found.log_evidence_error
    assert found.log_evidence_error < 0.02
    ess = found.ess(found.x)
    assert np.all(ess >= 4000)
    mean = found.weights @ found.x
    covariance = np.array([[0.5, 0.3, 0.0], [0.3, 0.4, -0.1], [0.0, -0.1, 0.2]])
    assert np.all(np.abs(mean - [0.7, -0.4, 0.2]) < 5.0 * np.sqrt(np.diag(covariance) / ess))
    away = found.x - mean
    got = (found.weights[:, None] * away).T @ away
    variance = np.diag(covariance)
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / ess.min())
    assert np.all(np.abs(got - covariance) < 5.0 * error)
    assert found.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("target", [banana, ridge])
def test_awkward_shapes_against_quadrature(target):
    evidence, mean, sd = quadrature(target)
    found = sample(target, 2, min_ess=3000, rng=np.random.default_rng(2))
    assert found.converged
    assert found.pareto_k < 0.7
    assert abs(found.log_evidence - evidence) < 5.0 * found.log_evidence_error
    ess = found.ess(found.x)
    got = found.weights @ found.x
    assert np.all(np.abs(got - mean) < 5.0 * sd / np.sqrt(ess))
    spread = np.sqrt(found.weights @ (found.x - got) ** 2)
    # Var of a variance: (kurtosis - 1) s^4 / n; tails of these targets are lighter than kurtosis 5.
    assert np.all(np.abs(spread / sd - 1.0) < 5.0 * 0.5 * np.sqrt(4.0 / ess))


def test_a_cliff():
    # The integral of N(0, 1) up to 0.3, without a smooth mode to find.
    found = sample(cliff, 2, min_ess=2000, rng=np.random.default_rng(3))
    assert found.converged
    assert abs(found.log_evidence - stats.norm.logcdf(0.3)) < 5.0 * found.log_evidence_error
    assert np.all(found.x[found.weights > 0.0, 0] < 0.3)


def test_two_modes():
    def target(x: np.ndarray) -> np.ndarray:
        both = [stats.norm.logpdf(x[:, 0], centre, 0.25) for centre in (-1.5, 1.5)]
        return np.logaddexp(both[0] + math.log(0.3), both[1] + math.log(0.7)) + stats.norm.logpdf(x[:, 1], 0.0, 1.0)

    found = sample(target, 2, min_ess=2000, rng=np.random.default_rng(4))
    assert abs(found.log_evidence) < 5.0 * found.log_evidence_error
    share = found.weights @ (found.x[:, 0] > 0.0)
    ess = found.ess((found.x[:, :1] > 0.0).astype(float))[0]
    assert abs(share - 0.7) < 5.0 * math.sqrt(0.21 / ess)


@pytest.mark.parametrize("target", [banana, ridge])
def test_errors_are_honest(target):
    """The errors over repeated runs must be those that the effective sample size and the evidence's error promise."""
    evidence, mean, sd = quadrature(target)
    repeats = 40
    z = []
    for seed in range(repeats):
        found = sample(target, 2, min_ess=1000, rng=np.random.default_rng([9, seed]))
        means = (found.weights @ found.x - mean) * np.sqrt(found.ess(found.x)) / sd
        z.append([*means, (found.log_evidence - evidence) / found.log_evidence_error])
    square = np.mean(np.square(z), axis=0)
    # 40 E[z^2] is chi-square with 40 degrees of freedom if the promise is exact; 1e-4 on each side, six numbers in all.
    # The adaptation leaves a bias of up to 0.4 errors (measured over 200 seeds), which adds 0.4^2 = 0.16 to E[z^2]. The
    # effective size is capped by that of the weights, so errors may be somewhat smaller than promised.
    low, high = stats.chi2(repeats).ppf([1e-4, 1.0 - 1e-4]) / repeats
    assert np.all(square < high + 0.16)
    assert np.all(square > 0.6 * low)


def test_seed_decides():
    one = sample(banana, 2, min_ess=300, rng=np.random.default_rng([1, 0]))
    same = sample(banana, 2, min_ess=300, rng=np.random.default_rng([1, 0]))
    other = sample(banana, 2, min_ess=300, rng=np.random.default_rng([2, 0]))
    np.testing.assert_array_equal(one.x, same.x)
    np.testing.assert_array_equal(one.log_weights, same.log_weights)
    assert not np.array_equal(one.x[:50], other.x[:50])


def test_resampling_keeps_the_weights():
    found = sample(ridge, 2, min_ess=500, rng=np.random.default_rng(5))
    chosen = found.resample(20_000, np.random.default_rng(6))
    counts = np.bincount(chosen, minlength=len(found.weights))
    # Systematic resampling: each point is taken floor(n w) or ceil(n w) times.
    assert np.all(np.abs(counts - 20_000 * found.weights) < 1.0 + 1e-6)
    # In random order: halves of the draws have the same mean (without the permutation they would be far apart).
    first, second = found.x[chosen[:10_000]], found.x[chosen[10_000:]]
    error = first.std(axis=0) * math.sqrt(2.0 / 10_000)
    assert np.all(np.abs(first.mean(axis=0) - second.mean(axis=0)) < 5.0 * error)


def test_quantities_that_leave_the_range_of_numbers():
    # A half-Cauchy SD at x = 26 is 1e148: its square overflows, and beyond x = 38 it is infinite, where no weight is.
    found = sample(gaussian, 3, min_ess=500, rng=np.random.default_rng(1))
    values = found.x.copy()
    plain = found.ess(values)
    far = replace(
        found,
        x=np.vstack([found.x, [26.0, 0.0, 0.0], [40.0, 0.0, 0.0]]),
        log_weights=np.r_[found.log_weights, -338.0, -np.inf],
    )
    ess = far.ess(np.vstack([values, [1e148, 1e160, 0.1], [np.inf, np.nan, -np.inf]]))
    assert np.all(np.isfinite(ess))
    assert ess[2] == pytest.approx(plain[2], rel=1e-9)
    assert np.all(found.weights > 0.0)


def test_gives_up_and_says_so():
    calls = []

    def hopeless(x: np.ndarray) -> np.ndarray:
        """So rough that no mixture can follow it; the effective size is 1e-4 of the draws."""
        calls.append(len(x))
        return -0.5 * np.sum(x**2, axis=1) + 30.0 * np.sum(np.sin(1e5 * x), axis=1)

    found = sample(hopeless, 4, min_ess=500, rng=np.random.default_rng(7))
    assert not found.converged
    assert found.evaluations == sum(calls)
    assert found.evaluations < 30 * 500 + 4000
    assert found.ess(found.x).min() < 500


def test_target_that_is_nowhere_finite():
    with pytest.raises(ModelProblem, match="not finite"):
        sample(lambda x: np.full(len(x), -np.inf), 2, min_ess=100, rng=np.random.default_rng(1))


def test_progress_is_told_and_may_stop():
    seen = []
    sample(gaussian, 3, min_ess=500, rng=np.random.default_rng(1), progress=lambda p, t: seen.append((p, t)))
    assert seen[-1][0] == 100.0
    assert all(0.0 <= p <= 100.0 for p, _ in seen)

    class StopError(Exception):
        pass

    def stop(percent: float, text: str) -> None:
        raise StopError

    with pytest.raises(StopError):
        sample(gaussian, 3, min_ess=500, rng=np.random.default_rng(1), progress=stop)


def test_find_mode_of_a_gaussian():
    mode, covariance, spent = find_mode(gaussian, 3)
    want = np.array([[0.5, 0.3, 0.0], [0.3, 0.4, -0.1], [0.0, -0.1, 0.2]])
    # The search stops when a further step would gain GRADIENT_TOLERANCE / 2 by its own estimate of the curvature, which
    # is good to a factor of a few; in SDs of the target that is next to nothing.
    away = mode - [0.7, -0.4, 0.2]
    assert away @ np.linalg.solve(want, away) < 10.0 * GRADIENT_TOLERANCE
    np.testing.assert_allclose(covariance, want, atol=1e-5)
    assert spent > 7


def far(x: np.ndarray) -> np.ndarray:
    """A likelihood that pulls 5 prior SDs away, steeply from one side: rho close to 1."""
    return -0.5 * np.sum(x**2, axis=1) - np.exp(4.0 - x[:, 0]) - 0.5 * ((x[:, 1] - x[:, 0]) / 0.05) ** 2


def walled(x: np.ndarray) -> np.ndarray:
    """The highest place right beside a region where the target is zero."""
    value = -0.5 * np.sum(x**2, axis=1) + 3.0 * x[:, 0]
    return np.where(x[:, 0] + x[:, 1] < 1.0, value, -np.inf)


def not_a_number(x: np.ndarray) -> np.ndarray:
    """NaN where a matrix could not be factored; all else is as usual."""
    value = -0.5 * np.sum((x - 1.0) ** 2, axis=1)
    return np.where(x[:, 0] > 1.3, np.nan, value)


@pytest.mark.parametrize("target", [ridge, far, not_a_number])
def test_find_mode_reaches_the_top(target):
    mode, covariance, _ = find_mode(target, 2)
    axis = np.linspace(-7.0, 7.0, 2801)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    top = np.nanmax(target(grid))
    assert target(mode[None])[0] > top - 10.0 * GRADIENT_TOLERANCE
    assert np.all(np.linalg.eigvalsh(covariance) > 0.0)


def test_find_mode_beside_a_wall():
    # There is no gradient to follow along the wall; a finite place from which the sampler can work is enough.
    mode, covariance, _ = find_mode(walled, 2)
    assert np.isfinite(walled(mode[None])[0])
    assert np.all(np.linalg.eigvalsh(covariance) > 0.0)
    found = sample(walled, 2, min_ess=1000, rng=np.random.default_rng(3))
    # x_0 + x_1 ~ N(3, 2) under the tilted prior, whose mass is exp(9 / 2) 2 pi.
    want = 4.5 + math.log(2.0 * math.pi) + stats.norm.logcdf((1.0 - 3.0) / math.sqrt(2.0))
    assert abs(found.log_evidence - want) < 5.0 * found.log_evidence_error


def test_nothing_to_sample():
    found = importance_of_nothing(-3.5)
    assert (found.log_evidence, found.log_evidence_error, found.converged) == (-3.5, 0.0, True)
    assert found.weights.tolist() == [1.0]
    assert found.resample(5, np.random.default_rng(0)).tolist() == [0] * 5


def gpd_weights(k: float, n: int, seed: int) -> np.ndarray:
    return np.log(stats.genpareto(k).rvs(size=n, random_state=np.random.default_rng(seed)) + 1.0)


@pytest.mark.parametrize("k", [-0.5, 0.1, 0.5, 0.9, 1.5])
def test_pareto_k_equals_arviz(k):
    arviz = pytest.importorskip("arviz")
    # 0.2 n and 3 sqrt(n) are whole numbers here, so that both take the same tail.
    for n, seed in ((100, 1), (2500, 2), (10_000, 3)):
        log_weights = gpd_weights(k, n, seed)
        _, theirs = arviz.psislw(log_weights - log_weights.max())
        assert pareto_k(log_weights) == pytest.approx(float(theirs), rel=1e-8, abs=1e-8)
        assert pareto_k(log_weights + 700.0) == pytest.approx(float(theirs), rel=1e-8, abs=1e-8)


def test_pareto_k_finds_the_tail_index():
    # The posterior mean over a tail of 600 has an error of about (1 + k) / sqrt(600) = 0.06 and leans to 0.5 by 2 %.
    for k in (0.2, 0.5, 0.8):
        estimate = np.mean([pareto_k(gpd_weights(k, 40_000, seed)) for seed in range(10)])
        assert estimate == pytest.approx(k, abs=0.1)


def test_pareto_k_at_its_edges():
    assert math.isnan(pareto_k(np.zeros(10)))
    assert pareto_k(np.zeros(1000)) == -math.inf
    with_dead = np.concatenate([gpd_weights(0.3, 1000, 4), np.full(500, -np.inf)])
    assert math.isfinite(pareto_k(with_dead))


def weighted(x: np.ndarray, log_weights: np.ndarray) -> WeightedSample:
    log_weights = log_weights - special.logsumexp(log_weights)
    return WeightedSample(x, log_weights, 0.0, 0.0, 0.0, len(x), True)


def test_r_hat_is_near_one_for_independent_draws():
    rng = np.random.default_rng(5)
    found = np.array([weighted(x := rng.normal(size=(1000, 1)), np.zeros(1000)).r_hat(x)[0] for _ in range(400)])
    # (R-hat^2 - 1) is the variance of four means over that of draws: chi2_3 / 3 / 250.
    assert np.mean(found**2 - 1.0) == pytest.approx(1 / 250, abs=4.0 / 250 * math.sqrt(2 / 3 / 400))
    assert found.max() < 1.014


def test_r_hat_sees_what_only_one_quarter_has_found():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1000, 2))
    x[10, 0] = 6.0
    log_weights = np.zeros(1000)
    log_weights[10] = math.log(60.0)
    found = weighted(x, log_weights).r_hat(x)
    assert found[0] > 1.05
    assert found[1] < 1.05
    assert np.isnan(weighted(np.ones((8, 1)), np.zeros(8)).r_hat(np.ones((8, 1)))).all()
    only_one = np.where(np.arange(1000) < 250, 0.0, -np.inf)
    assert np.isnan(weighted(x, only_one).r_hat(x)).all()
