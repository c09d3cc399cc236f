"""Running moments, quantiles of mixtures and weighted samples, and what intervals are made of."""

import numpy as np
import pytest
from dense_model import effect_covariance, sampling
from scipy import special, stats
from smallarea.area_level import build_model, specify
from smallarea.area_level.summaries import (
    Mixture,
    RunningMoments,
    area_summaries,
    mixture_quantile,
    normal_width,
    tails,
    weighted_quantile,
)


def test_running_moments_are_those_of_all_values():
    rng = np.random.default_rng(1)
    # A large common part: sums of squares would lose it.
    values = 1e8 + rng.normal(size=(5, 3, 60))
    counts = rng.integers(1, 6, size=60)
    moments = RunningMoments()
    at = 0
    for size in (1, 7, 20, 32):
        moments.add(values[..., at : at + size], counts[at : at + size])
        at += size
    everything = np.repeat(values, counts, axis=-1)
    np.testing.assert_allclose(moments.mean, everything.mean(axis=-1), rtol=1e-15)
    np.testing.assert_allclose(moments.variance, everything.var(axis=-1), rtol=1e-6)


def test_running_moments_of_one_value():
    moments = RunningMoments()
    moments.add(np.full((2, 1), 3.0), np.array([7]))
    np.testing.assert_array_equal(moments.mean, [3.0, 3.0])
    np.testing.assert_array_equal(moments.variance, [0.0, 0.0])


def test_mixture_quantile():
    rng = np.random.default_rng(1)
    means, sds = rng.normal(size=(50, 4, 2)), rng.uniform(0.1, 2.0, size=(50, 4, 2))
    for probability in (0.001, 0.3, 0.975):
        got = mixture_quantile(means, sds, probability)
        reached = special.ndtr((got - means) / sds).mean(axis=0)
        np.testing.assert_allclose(reached, probability, atol=1e-9)
    one = mixture_quantile(np.array([[1.0]]), np.array([[2.0]]), 0.9)
    np.testing.assert_allclose(one, 1.0 + 2.0 * stats.norm.ppf(0.9), atol=1e-9)


def test_weighted_quantile():
    rng = np.random.default_rng(2)
    values = rng.normal(size=2001)
    equal = np.full(2001, 1.0 / 2001)
    want = np.quantile(values, [0.1, 0.5, 0.9], method="hazen")
    np.testing.assert_allclose(weighted_quantile(values, equal, [0.1, 0.5, 0.9]), want, atol=1e-12)
    # A weight of two is the point twice.
    weights = rng.integers(1, 4, size=500).astype(float)
    repeated = np.repeat(values[:500], weights.astype(int))
    got = weighted_quantile(values[:500], weights / weights.sum(), [0.2, 0.7])
    np.testing.assert_allclose(got, np.quantile(repeated, [0.2, 0.7], method="hazen"), atol=0.02)


def test_tails_and_width():
    assert tails(0.9) == pytest.approx((0.05, 0.95))
    assert normal_width(np.array([-1.959964]), np.array([1.959964]), 0.95)[0] == pytest.approx(1.0, rel=1e-6)


def test_summaries_of_a_mixture_of_two(planar_graph, stacked):
    """Two sets of hyperparameters, each counted once: everything can be written down."""
    graph = planar_graph(20)
    model = build_model(specify(responses=("a", "b")), stacked(graph, 2, "scattered", coupled=True), graph)
    rng = np.random.default_rng(3)
    means = rng.normal(size=(2, 20, 2))
    root = rng.normal(size=(2, 20, 2, 3))
    covariances = root @ root.swapaxes(-1, -2)
    known = 0.3 * covariances.mean(axis=0)
    running = RunningMoments()
    running.add(np.moveaxis(means, 0, -1), np.array([1, 1]))
    got = area_summaries(model, running, Mixture(means, covariances, known), 0.9)
    variances = np.einsum("mnkk->mnk", covariances)
    np.testing.assert_allclose(got["mean"], means.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(got["sd"] ** 2, variances.mean(axis=0) + (means[0] - means[1]) ** 2 / 4.0, rtol=1e-12)
    for name, tail in (("lower", 0.05), ("upper", 0.95)):
        reached = stats.norm(means, np.sqrt(variances)).cdf(got[name]).mean(axis=0)
        np.testing.assert_allclose(reached, tail, atol=1e-8)
    observed = model.data.observed
    want = np.einsum("nkl,nlk->nk", known, model.data.precision)
    np.testing.assert_allclose(got["shrinkage"][observed], want[observed])
    assert np.isnan(got["shrinkage"][~observed]).all()


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("case", [("car", "separable"), ("car", "chain"), ("bym2", "separable"), ("iid", "separable")])
def test_shrinkage_is_the_weight_of_the_own_direct_estimate(case, coupled, planar_graph, stacked, arrays):
    """With beta held, E[theta] follows one's own direct estimate by the weight on the diagonal of C (C + V)^{-1}."""
    effect, link = case
    graph = planar_graph(24, islands=1)
    data = stacked(graph, 2, "scattered", coupled=coupled)
    model = specify(responses=("a", "b"), random_effect=effect, link=link, iid_part=True)
    rng = np.random.default_rng(5)
    hyper = {name: 0.3 + 0.5 * rng.uniform() for name in model.hyperparameters}
    collapsed = build_model(model, data, graph)
    moments = collapsed.moments(collapsed.condition(arrays(model, [hyper])))
    total, known = moments.covariances
    running = RunningMoments()
    running.add(moments.theta, np.array([1]))
    mixture = Mixture(moments.theta[None, ..., 0], total[None, ..., 0], known[..., 0])
    got = area_summaries(collapsed, running, mixture, 0.95)["shrinkage"].ravel()
    seen, noise = sampling(data)
    effects = effect_covariance(model, graph, hyper)[np.ix_(seen, seen)]
    np.testing.assert_allclose(got[seen], np.diag(effects @ np.linalg.inv(effects + noise)), rtol=1e-9)
    assert np.isnan(np.delete(got, seen)).all()
