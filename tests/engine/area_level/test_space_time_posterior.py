"""The Bayesian space-time model against dense algebra from its definition."""

import itertools

import numpy as np
import pytest
from dense_model import truth_of_effects, unit_covariance
from smallarea.area_level import (
    StandardisedData,
    build_model,
    sample_posterior,
    specify,
    specify_space_time,
    stack,
    stack_periods,
)
from smallarea.area_level.likelihood import fit_likelihood
from smallarea.errors import GraphProblem, ModelProblem, PriorProblem

EFFECTS = [("car", True), ("car", False), ("leroux", False), ("bym2", True), ("icar", True)]
HYPERS = (
    {"sd_phi": 0.7, "rho": 0.9, "rho_time": 0.6, "sd_delta": 0.3},
    {"sd_phi": 2.5, "rho": 0.05, "rho_time": -0.8, "sd_delta": 0.01},
    {"sd_phi": 0.3, "rho": 0.995, "rho_time": 0.99, "sd_delta": 1.4},
)


def cells(n, periods, gone=(), seed=5):
    """Standardised cells, a fifth of them not observed; no data for the areas in ``gone`` and in the second period."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n * periods), rng.normal(size=(n * periods, 2))])
    v = rng.uniform(0.02, 0.6, size=n * periods)
    y = x @ [0.1, 0.5, -0.4] + rng.normal(size=n * periods) * np.sqrt(0.3 + v)
    sampled = rng.uniform(size=(n, periods)) > 0.2
    sampled[list(gone)] = False
    if periods > 3:
        sampled[:, 1] = False
    y[~sampled.ravel()] = v[~sampled.ravel()] = np.nan
    return StandardisedData(y, v, x, sampled.ravel(), 0.0, 1.0, np.zeros(3), np.ones(3), True)


def dense_effects(effect, iid, graph, periods, hyper):
    """Cov(phi + delta), areas outside and periods inside."""
    apart = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    own = unit_covariance(effect, graph.adjacency.toarray(), hyper["rho"])
    out = hyper["sd_phi"] ** 2 * np.kron(own, hyper["rho_time"] ** apart)
    return out + (hyper["sd_delta"] ** 2 * np.eye(len(out)) if iid else 0.0)


def set_up(effect, iid, n, periods, planar_graph, solver="auto"):
    graph = planar_graph(n, 2 if iid or effect in ("leroux", "bym2") else 0)
    model = specify_space_time(["x"], periods=[str(t) for t in range(periods)], random_effect=effect, iid_part=iid)
    data = stack_periods(cells(n, periods, gone=(0, 3)), periods)
    return model, data, graph, build_model(model, data, graph, solver)


@pytest.mark.parametrize("solver", ["compiled", "qdldl", "splu", "dense"])
@pytest.mark.parametrize(("effect", "iid"), EFFECTS)
def test_likelihood_and_moments_are_those_of_the_dense_model(effect, iid, solver, planar_graph, arrays):
    for n, periods in ((30, 2), (24, 5)):
        model, data, graph, collapsed = set_up(effect, iid, n, periods, planar_graph, solver)
        given = collapsed.condition(arrays(model, HYPERS))
        moments = collapsed.moments(given)
        total, known = moments.covariances
        for lane, hyper in enumerate(HYPERS):
            want = truth_of_effects(data, dense_effects(effect, iid, graph, periods, hyper))
            assert given.log_likelihood[lane] == pytest.approx(want.log_likelihood, rel=0, abs=1e-8)
            np.testing.assert_allclose(given.beta[:, lane], want.beta, rtol=0, atol=1e-8)
            np.testing.assert_allclose(given.beta_covariance[..., lane], want.covariance[:3, :3], rtol=1e-9, atol=1e-8)
            np.testing.assert_allclose(moments.theta[..., lane].ravel(), want.theta, rtol=0, atol=1e-8)
            np.testing.assert_allclose(moments.synthetic[..., lane].ravel(), want.synthetic, rtol=0, atol=1e-8)
            np.testing.assert_allclose(known[..., lane], want.area_blocks(periods, known=True), rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(total[..., lane], want.area_blocks(periods), rtol=1e-8, atol=1e-8)


def test_next_to_both_limits_digits_are_lost_and_no_more(planar_graph, arrays):
    # Near rho = 1 and rho_time = 1 the level of the whole map is all but free. What the collapsed form subtracts there
    # loses seven digits of sixteen without an independent part (dense algebra in extended precision sides with the
    # definition, whatever the solver); the posterior has a Monte Carlo error of two or three digits.
    hyper = {"sd_phi": 0.3, "rho": 0.9995, "rho_time": 0.9999, "sd_delta": 0.0}
    model, data, graph, collapsed = set_up("leroux", False, 24, 5, planar_graph)
    given = collapsed.condition(arrays(model, [hyper]))
    want = truth_of_effects(data, dense_effects("leroux", False, graph, 5, hyper))
    assert given.log_likelihood[0] == pytest.approx(want.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(given.beta_covariance[..., 0], want.covariance[:3, :3], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(collapsed.moments(given).theta[..., 0].ravel(), want.theta, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("effect", "iid"), EFFECTS)
def test_draws_have_the_exact_joint_distribution(effect, iid, planar_graph, arrays):
    model, data, graph, collapsed = set_up(effect, iid, 9, 4, planar_graph)
    count = 4000
    given = collapsed.condition(arrays(model, HYPERS[:2]))
    beta, theta = collapsed.moments(given).draw(count, np.random.default_rng(8))
    for lane, hyper in enumerate(HYPERS[:2]):
        want = truth_of_effects(data, dense_effects(effect, iid, graph, 4, hyper))
        draws = np.vstack([beta[..., lane], theta[..., lane].reshape(-1, count)])
        mean, variance = np.concatenate([want.beta, want.theta]), np.diag(want.covariance)
        # As for the other models: errors of means and of covariances of Gaussian draws, 800 numbers in each of 10
        # places, all within 5.5 errors.
        assert np.max(np.abs(draws.mean(axis=1) - mean) / np.sqrt(variance / count)) < 5.5
        away = draws - mean[:, None]
        error = np.sqrt((np.outer(variance, variance) + want.covariance**2) / count)
        assert np.max(np.abs(away @ away.T / count - want.covariance) / error) < 5.5


@pytest.mark.parametrize(("effect", "iid"), EFFECTS)
def test_one_period_is_the_spatial_model(effect, iid, planar_graph, scaled_data):
    graph = planar_graph(40, 2 if iid or effect in ("leroux", "bym2") else 0)
    data = scaled_data(40)
    plain = specify(["x"], random_effect=effect, iid_part=iid)
    model = specify_space_time(["x"], periods=["2020"], random_effect=effect, iid_part=iid)
    assert model.hyperparameters == plain.hyperparameters
    want = sample_posterior(build_model(plain, stack([data]), graph), plain, draws=200, min_ess=200)
    got = sample_posterior(build_model(model, stack_periods(data, 1), graph), model, draws=200, min_ess=200)
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got.theta, want.theta, rtol=1e-12, atol=1e-12)


def test_without_correlation_in_time_periods_are_independent_but_for_the_coefficients(planar_graph, arrays):
    model, data, graph, collapsed = set_up("car", True, 30, 3, planar_graph)
    hyper = {**HYPERS[0], "rho_time": 0.0}
    alone = specify(["x"], responses=model.responses, link="independent")
    own = {f"{k}[{t}]": hyper[k] for k, t in itertools.product(("sd_phi", "rho", "sd_delta"), model.responses)}
    # The other model has coefficients of its own in each period: compare what each says once they are known.
    known = build_model(alone, stack(data.responses), graph)
    ours = collapsed.moments(collapsed.condition(arrays(model, [hyper])))
    theirs = known.moments(known.condition(arrays(alone, [own])))
    np.testing.assert_allclose(ours.covariances[1], theirs.covariances[1], rtol=1e-10, atol=1e-12)
    # With periods that do not know of each other, information on the coefficients adds up.
    split = known.condition(arrays(alone, [own]))
    information = sum(np.linalg.inv(split.beta_covariance[at, at, 0]) for at in known.data.terms)
    np.testing.assert_allclose(
        np.linalg.inv(collapsed.condition(arrays(model, [hyper])).beta_covariance[..., 0]), information, rtol=1e-9
    )


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_maximum_likelihood_is_a_maximum(method, planar_graph, arrays):
    rng = np.random.default_rng(2)
    graph = planar_graph(60)
    n, periods = 60, 6
    hyper = {"sd_phi": 1.0, "rho": 0.8, "rho_time": 0.7, "sd_delta": 0.3}
    data = cells(n, periods)
    effects = np.linalg.cholesky(dense_effects("car", True, graph, periods, hyper)) @ rng.normal(size=n * periods)
    seen = rng.uniform(size=n * periods) > 0.1
    v = rng.uniform(0.02, 0.2, size=n * periods)
    y = data.x @ [0.1, 0.5, -0.4] + effects + np.sqrt(v) * rng.normal(size=n * periods)
    y[~seen] = v[~seen] = np.nan
    stacked = stack_periods(
        StandardisedData(y, v, data.x, seen, 0.0, 1.0, data.x_location, data.x_scale, True), periods
    )
    model = specify_space_time(["x", "z"], periods=[str(t) for t in range(periods)], method=method)
    fit = fit_likelihood(build_model(model, stacked, graph), model)
    found = dict(zip(model.hyperparameters, fit.values, strict=True))
    height = fit.restricted_log_likelihood if method == "reml" else fit.log_likelihood
    for name in found:
        for step in (-0.02, 0.02):
            moved = {**found, name: found[name] + step}
            given = build_model(model, stacked, graph).condition(arrays(model, [moved]))
            assert (given.log_likelihood if method == "reml" else given.log_profile)[0] < height + 1e-9
    # 300 cells: the truth lies within four standard errors in each of four numbers.
    assert all(abs(found[name] - hyper[name]) < 4.0 * se for name, se in zip(found, fit.values_se, strict=True)), found


def test_posterior_recovers_what_made_the_data(planar_graph):
    rng = np.random.default_rng(12)
    graph, n, periods = planar_graph(50), 50, 6
    hyper = {"sd_phi": 1.0, "rho": 0.9, "rho_time": 0.8, "sd_delta": 0.2}
    x = np.column_stack([np.ones(n * periods), rng.normal(size=n * periods)])
    theta = x @ [0.2, 0.6]
    theta = theta + np.linalg.cholesky(dense_effects("car", True, graph, periods, hyper)) @ rng.normal(size=n * periods)
    v = rng.uniform(0.1, 0.6, size=n * periods)
    y = theta + np.sqrt(v) * rng.normal(size=n * periods)
    gone = rng.uniform(size=(n, periods)) < 0.15
    gone[:3] = True
    y[gone.ravel()] = np.nan
    data = StandardisedData(
        y, np.where(gone.ravel(), np.nan, v), x, ~gone.ravel(), 0.0, 1.0, np.zeros(2), np.ones(2), True
    )
    model = specify_space_time(["x"], periods=[str(t) for t in range(periods)])
    fit = sample_posterior(build_model(model, stack_periods(data, periods), graph), model, draws=1000, min_ess=600)
    for at, name in enumerate(model.hyperparameters):
        low, high = np.quantile(fit.hyperparameters[:, at], [0.001, 0.999])
        assert low < hyper[name] < high, name
    truth = theta.reshape(n, periods)
    error, naive = (fit.mean - truth)[~gone], (y.reshape(n, periods) - truth)[~gone]
    assert np.mean(error**2) < 0.6 * np.mean(naive**2)
    inside = (fit.lower < truth) & (truth < fit.upper)
    # 300 dependent intervals of 95 percent: between 88 and 100 percent hold the truth.
    assert 0.88 < inside.mean() <= 1.0
    # Time helps: without its links the same cells are predicted worse.
    apart = specify_space_time(["x"], periods=model.responses, priors={"rho_time": "Fixed(0)"})
    alone = sample_posterior(build_model(apart, stack_periods(data, periods), graph), apart, draws=500, min_ess=400)
    assert np.mean((fit.mean - truth) ** 2) < np.mean((alone.mean - truth) ** 2)


def test_hyperparameters_outside_their_range_are_not_numbers(planar_graph, arrays):
    model, _, _, collapsed = set_up("car", True, 24, 5, planar_graph)
    bad = [{**HYPERS[0], "rho_time": value} for value in (1.0, -1.2)]
    got = collapsed.log_likelihood(arrays(model, [HYPERS[0], *bad]))
    assert np.isfinite(got[0])
    assert np.isnan(got[1:]).all()


def test_what_cannot_be_specified_is_refused(planar_graph):
    periods = ["2019", "2020"]
    for wrong in ({"random_effect": "iid"}, {"random_effect": "sar"}, {"method": "fh"}, {"periods": ["1", "1"]}):
        with pytest.raises(ModelProblem):
            specify_space_time(**{"periods": periods, **wrong})
    with pytest.raises(PriorProblem, match="between -1 and 1"):
        specify_space_time(periods=periods, priors={"rho_time": "HalfNormal(1)"})
    with pytest.raises(PriorProblem, match="LKJ"):
        specify_space_time(periods=periods, priors={"rho_time": "LKJ(2)"})
    with pytest.raises(PriorProblem, match="has only"):
        specify_space_time(periods=["2019"], priors={"rho_time": "Uniform(-1, 1)"})
    assert str(specify_space_time(periods=periods, priors={"rho_time": "Uniform(-1, 1)"}).priors["rho_time"]) == (
        "Uniform(-1, 1)"
    )
    # A negative correlation in time goes with every spatial effect.
    specify_space_time(periods=periods, random_effect="leroux", priors={"rho_time": "Uniform(-1, 1)"})
    model = specify_space_time(periods=periods, iid_part=False)
    with pytest.raises(GraphProblem, match="without neighbours"):
        build_model(model, stack_periods(cells(20, 2), 2), planar_graph(20, 2))


def test_the_model_can_be_read():
    text = str(specify_space_time(["x"], periods=["2019", "2020", "2021"]))
    assert "theta_it = intercept + x + phi_it + delta_it" in text
    assert "t = 2019 to 2021, 3 periods" in text
    assert "rho_time ~ Uniform(0, 1)" in text
