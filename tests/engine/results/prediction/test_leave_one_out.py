"""Leaving out by algebra against leaving out: dense algebra on the data without the block."""

import numpy as np
import pytest
from dense_model import effect_covariance, restricted_log_likelihood, truth
from scipy import stats
from smallarea.results.prediction.conditional import area_blocks, cell_blocks, exact_waic, leave_out
from smallarea.results.prediction.leave_one_out import loo_predictions, waic_scores

CASES = [(1, 0.0), (2, 0.0), (2, 0.4)]


@pytest.mark.parametrize(("responses", "correlation"), CASES)
@pytest.mark.parametrize("unit", ["cell", "area"])
def test_left_out_blocks_against_refits(make_case, responses, correlation, unit):
    case = make_case(responses, correlation)
    means, covariances = case.moments([case.hyper])
    data = case.data
    make = cell_blocks if unit == "cell" else area_blocks
    blocks = make(data.precision, data.y - means, covariances, data.observed)
    got = leave_out(blocks, data.precision, data.y, data.observed)
    effects = effect_covariance(case.model, case.graph, case.hyper)
    whole = restricted_log_likelihood(data, effects)
    units = [(i, [k]) for i in range(14) for k in range(responses)] if unit == "cell" else [
        (i, list(range(responses))) for i in range(14)
    ]  # fmt: skip
    checked = 0
    for at, (area, gone) in enumerate(units):
        seen = [k for k in gone if data.observed[area, k]]
        if not seen:
            assert np.isnan(got.log_density[0, at])
            continue
        rest = case.without(area, gone)
        assert got.log_density[0, at] == pytest.approx(whole - restricted_log_likelihood(rest, effects), abs=1e-8)
        refit = truth(case.model, rest, case.graph, case.hyper)
        for k in seen:
            cell = area * responses + k
            mean, variance = refit.theta[cell], refit.covariance[len(refit.beta) + cell, len(refit.beta) + cell]
            noise = data.covariance[area]
            others = [j for j in range(responses) if j != k and data.observed[area, j] and j not in gone]
            if others and correlation:
                # The other response's sampling error, as far as the rest knows it, says something of this one's.
                j = others[0]
                other = area * responses + j
                gain = noise[k, j] / noise[j, j]
                cross = refit.covariance[len(refit.beta) + cell, len(refit.beta) + other]
                own = refit.covariance[len(refit.beta) + other, len(refit.beta) + other]
                mean = mean + gain * (data.y[area, j] - refit.theta[other])
                variance = variance - 2.0 * gain * cross + gain**2 * own + noise[k, k] - gain * noise[k, j]
            else:
                variance = variance + noise[k, k]
            assert got.mean[0, area, k] == pytest.approx(mean, abs=1e-8)
            assert got.variance[0, area, k] == pytest.approx(variance, rel=1e-8)
            checked += 1
    assert checked == data.observed.sum()


def test_averaging_over_hyperparameters(make_case):
    # Two equally probable sets: p(y_b | y_-b) follows from the two joint densities of the data with and without b.
    case = make_case(2, 0.4)
    other = {**case.hyper, "sd_phi[a]": 0.5, "rho": 0.3, "sd_delta[b]": 0.9}
    hypers = [case.hyper, other]
    means, covariances = case.moments(hypers)
    got = loo_predictions(case.data, means, covariances, "area")
    scale = np.log([response.scale for response in case.data.responses])
    for area in (1, 5, 13):
        densities = []
        for hyper in hypers:
            effects = effect_covariance(case.model, case.graph, hyper)
            rest = restricted_log_likelihood(case.without(area, [0, 1]), effects)
            densities.append(restricted_log_likelihood(case.data, effects) - rest)
        # The posterior weights of the two sets are equal, so those without the area are as 1 / p(y_b | y_-b, set).
        want = -np.log(np.mean(np.exp(-np.array(densities)))) - case.data.observed[area] @ scale
        assert got.joint[area] == pytest.approx(want, abs=1e-8)


def test_units_of_the_input(make_case):
    case = make_case(1, 0.0)
    means, covariances = case.moments([case.hyper])
    got = loo_predictions(case.data, means, covariances, "area")
    direct = 4.0 + 2.0 * case.data.y
    want = stats.norm(got.mean, got.sd).logpdf(direct)
    seen = case.data.observed
    assert got.log_score[seen] == pytest.approx(want[seen])
    assert np.isnan(got.log_score[~seen]).all()
    assert got.joint.shape == (14,)


@pytest.mark.parametrize(("responses", "correlation"), CASES)
@pytest.mark.parametrize("unit", ["cell", "area"])
def test_waic_against_draws(make_case, responses, correlation, unit):
    case = make_case(responses, correlation)
    other = {**case.hyper, **{name: 0.7 for name in case.hyper if name.startswith("sd")}}
    means, covariances = case.moments([case.hyper, other])
    got = waic_scores(case.data, means, covariances, unit)
    rng = np.random.default_rng(5)
    data, draws = case.data, 40_000
    log = []
    for mean, covariance in zip(means, covariances, strict=True):
        root = np.linalg.cholesky(covariance)
        theta = mean + np.einsum("nkl,snl->snk", root, rng.normal(size=(draws, *mean.shape)))
        log.append(_log_density(data, theta, unit))
    log = np.concatenate(log)
    scale = np.array([response.scale for response in data.responses])
    change = (data.observed * np.log(scale)).ravel() if unit == "cell" else data.observed @ np.log(scale)
    density = np.log(np.mean(np.exp(log), axis=0)) - change
    effective = log.var(axis=0)
    seen = data.observed.ravel() if unit == "cell" else data.observed.any(axis=1)
    # Monte Carlo error of a variance: its fourth moment over the root of the draws.
    error = ((log - log.mean(axis=0)) ** 2).std(axis=0) / np.sqrt(len(log))
    assert np.all(np.abs(got.effective - effective)[seen] < 5.0 * error[seen])
    spread = np.exp(log).std(axis=0) / np.exp(log).mean(axis=0) / np.sqrt(len(log))
    assert np.all(np.abs(got.log_score + got.effective - density)[seen] < 5.0 * spread[seen])
    assert np.isnan(got.log_score[~seen]).all()


def _log_density(data, theta, unit):
    """log p(y_b | theta, the area's other responses) from the joint normal density of the sampling errors."""
    n, k = data.shape
    out = np.zeros((len(theta), n, k) if unit == "cell" else (len(theta), n))
    for i in range(n):
        seen = np.flatnonzero(data.observed[i])
        if not len(seen):
            continue
        error, noise = data.y[i] - theta[:, i], data.covariance[i]

        def density(cells, error=error, noise=noise):
            if not len(cells):
                return 0.0
            return stats.multivariate_normal(np.zeros(len(cells)), noise[np.ix_(cells, cells)]).logpdf(error[:, cells])

        if unit == "area":
            out[:, i] = density(seen)
            continue
        for j in seen:
            out[:, i, j] = density(seen) - density(seen[seen != j])
    return out.reshape(len(theta), -1)


def test_what_nothing_else_predicts_is_missing(make_case):
    # Without a spread of its own beside the sampling error, I - G is singular: nothing else knows the cell.
    case = make_case(1, 0.0)
    means, covariances = case.moments([case.hyper])
    covariances[0, 5] = case.data.covariance[5]
    blocks = area_blocks(case.data.precision, case.data.y - means, covariances, case.data.observed)
    got = leave_out(blocks, case.data.precision, case.data.y, case.data.observed)
    assert np.isnan(got.log_density[0, 5])
    assert np.isnan(got.mean[0, 5, 0])
    assert np.isfinite(exact_waic(blocks).log_score[5])
