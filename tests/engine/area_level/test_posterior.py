"""The exact posterior: against quadrature over the hyperparameters, and the same whoever does the work."""

import math

import numpy as np
import pytest
from scipy import special, stats
from smallarea.area_level import CollapsedModel, area_level_data, spatial_field, specify, standardise
from smallarea.area_level.posterior import sample_posterior
from smallarea.area_level.summaries import mixture_quantile, weighted_quantile
from smallarea.areas import AreaGraph
from smallarea.errors import ModelProblem


def quadrature_iid(model: CollapsedModel) -> dict[str, np.ndarray]:
    """Posterior of the iid model under HalfNormal(1), on a fine grid of sd_delta."""
    grid = (np.arange(2000) + 0.5) / 2000.0 * 5.0
    given = [model.condition({"sd_delta": s}) for s in grid]
    log = np.array([g.log_likelihood for g in given]) + stats.halfnorm.logpdf(grid)
    evidence = special.logsumexp(log) + math.log(grid[1] - grid[0])
    weight = np.exp(log - special.logsumexp(log))
    means = np.array([model.mean(g)[0] for g in given])
    variances = np.array([model.variance(g)[0] for g in given])
    mean = weight @ means
    sd = np.sqrt(weight @ (variances + (means - mean) ** 2))
    tails = []
    for tail in (0.025, 0.975):
        low, high = mean - 12 * sd, mean + 12 * sd
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = weight @ special.ndtr((middle - means) / np.sqrt(variances)) < tail
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        tails.append(low)
    shrink = weight @ np.array([s**2 / (s**2 + model.data.v) for s in grid])
    mean_sd = weight @ grid
    return {
        "evidence": evidence,
        "mean": mean,
        "sd": sd,
        "lower": tails[0],
        "upper": tails[1],
        "shrinkage": shrink,
        "sd_delta": mean_sd,
        "sd_sd_delta": math.sqrt(weight @ (grid - mean_sd) ** 2),
        "between": np.sqrt(weight @ (means - mean) ** 2),
    }


def test_iid_against_quadrature(scaled_data):
    model = CollapsedModel(scaled_data(40), None, True)
    want = quadrature_iid(model)
    specification = specify(["a", "b"], random_effect="iid")
    got = sample_posterior(model, specification, draws=4000, min_ess=4000, seed=2)
    weighted = got.weighted
    assert abs(weighted.log_evidence - want["evidence"]) < 5.0 * weighted.log_evidence_error
    ess = weighted.ess(got.weighted_values)[0]
    assert ess >= 3900
    mean = weighted.weights @ got.weighted_values[:, 0]
    assert abs(mean - want["sd_delta"]) < 5.0 * want["sd_sd_delta"] / math.sqrt(ess)
    # Given the hyperparameters everything is exact, so that means of areas move by their part between hyperparameters
    # only; weights and resampling both count, hence 2 / 4000.
    error = want["between"] * math.sqrt(2.0 / 4000)
    assert np.all(np.abs(got.mean - want["mean"]) < 5.0 * error + 1e-9)
    np.testing.assert_allclose(got.sd, want["sd"], rtol=0.01)
    np.testing.assert_allclose(got.lower, want["lower"], rtol=0, atol=0.02 * want["sd"].max())
    np.testing.assert_allclose(got.upper, want["upper"], rtol=0, atol=0.02 * want["sd"].max())
    sampled = model.data.sampled
    np.testing.assert_allclose(got.shrinkage[sampled], want["shrinkage"][sampled], atol=0.01)
    assert np.isnan(got.shrinkage[~sampled]).all()
    # The draws belong to the same posterior.
    error = want["sd"] * math.sqrt(2.0 / 4000)
    assert np.all(np.abs(got.theta.mean(axis=0) - want["mean"]) < 5.0 * error)
    np.testing.assert_allclose(got.theta.std(axis=0), want["sd"], rtol=5.0 / math.sqrt(4000))


@pytest.mark.parametrize(("effect", "iid"), [("car", True), ("leroux", False)])
def test_spatial_moments_and_draws_agree(effect, iid, planar_graph, scaled_data):
    graph = planar_graph(60)
    model = CollapsedModel(scaled_data(60), spatial_field(effect, iid, graph), iid)
    specification = specify(["a", "b"], random_effect=effect, iid_part=iid)
    got = sample_posterior(model, specification, draws=4000, min_ess=2000, seed=4)
    assert got.weighted.converged
    # 60 areas at once: 5 errors of draws that may repeat hyperparameters.
    assert np.all(np.abs(got.theta.mean(axis=0) - got.mean) < 5.0 * got.sd / math.sqrt(4000))
    np.testing.assert_allclose(got.theta.std(axis=0), got.sd, rtol=5.0 * math.sqrt(1.0 / 4000))
    inside = np.mean((got.theta > got.lower) & (got.theta < got.upper), axis=0)
    assert np.all(np.abs(inside - 0.95) < 5.0 * math.sqrt(0.0475 / 4000) + 0.01)  # 0.01: the mixture has 400 parts
    # A draw's beta, its hyperparameters and its theta hang together: theta's distance from x beta grows with the SDs.
    spread = np.std(got.theta - got.beta @ model.data.x.T, axis=1)
    assert np.corrcoef(spread, got.hyperparameters[:, 0])[0, 1] > 0.05


@pytest.mark.parametrize("solver", ["qdldl", "splu", "dense"])
def test_same_for_any_number_of_workers(solver, planar_graph, scaled_data):
    graph = planar_graph(90)
    specification = specify(["a", "b"], random_effect="car")
    results = []
    for workers in (1, 2, 3):
        model = CollapsedModel(scaled_data(90), spatial_field("car", True, graph), True, solver)
        results.append(sample_posterior(model, specification, draws=100, min_ess=150, seed=5, workers=workers))
    for other in results[1:]:
        for name in ("mean", "sd", "lower", "upper", "theta", "beta", "hyperparameters", "weighted_values"):
            np.testing.assert_array_equal(getattr(results[0], name), getattr(other, name))
        assert other.weighted.log_evidence == results[0].weighted.log_evidence


def test_seed(scaled_data):
    model = CollapsedModel(scaled_data(40), None, True)
    specification = specify(["a", "b"], random_effect="iid")
    one, same, other = (sample_posterior(model, specification, draws=200, min_ess=200, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.theta, same.theta)
    np.testing.assert_array_equal(one.mean, same.mean)
    assert not np.array_equal(one.theta, other.theta)


def test_fixed_hyperparameters_are_plain_algebra(planar_graph, scaled_data):
    graph = planar_graph(50)
    model = CollapsedModel(scaled_data(50), spatial_field("car", True, graph), True)
    fixed = {"sd_phi": "Fixed(0.8)", "rho": "Fixed(0.9)", "sd_delta": "Fixed(0.4)"}
    got = sample_posterior(model, specify(["a", "b"], priors=fixed), draws=500, seed=1)
    given = model.condition({"sd_phi": 0.8, "rho": 0.9, "sd_delta": 0.4})
    mean, _ = model.mean(given)
    sd = np.sqrt(model.variance(given)[0])
    np.testing.assert_allclose(got.mean, mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.sd, sd, rtol=1e-10)
    np.testing.assert_allclose(got.upper, mean + stats.norm.ppf(0.975) * sd, atol=1e-7)
    assert len(np.unique(got.theta[:, 0])) == 500
    # What is known is known exactly: the marginal likelihood is the likelihood.
    assert got.weighted.log_evidence == pytest.approx(given.log_likelihood, abs=1e-10)
    assert got.weighted.log_evidence_error == 0.0


def test_one_fixed_among_free_ones(planar_graph, scaled_data):
    graph = planar_graph(50)
    model = CollapsedModel(scaled_data(50), spatial_field("car", True, graph), True)
    got = sample_posterior(model, specify(["a", "b"], priors={"rho": "Fixed(0.7)"}), draws=200, min_ess=300, seed=1)
    assert got.weighted.x.shape[1] == 2
    assert got.weighted_values.shape[1] == 3
    assert np.all(got.weighted_values[:, 1] == 0.7)
    assert np.all(got.hyperparameters[:, 1] == 0.7)


def test_progress_may_cancel_at_every_stage(scaled_data):
    class StopError(Exception):
        pass

    model = CollapsedModel(scaled_data(40), None, True)
    specification = specify(["a", "b"], random_effect="iid")
    heard = []
    sample_posterior(model, specification, draws=300, min_ess=300, progress=lambda p, t: heard.append((p, t)))
    percents = [p for p, _ in heard]
    assert percents == sorted(percents)
    assert percents[0] >= 0.0
    assert percents[-1] <= 100.0
    for stop_at in (1, len(heard) // 2, len(heard)):
        count = 0

        def progress(percent: float, text: str, stop_at: int = stop_at) -> None:
            nonlocal count
            count += 1
            if count == stop_at:
                raise StopError

        with pytest.raises(StopError):
            sample_posterior(model, specification, draws=300, min_ess=300, progress=progress)


def test_impossible_likelihood(scaled_data, monkeypatch):
    def fail(self, hyper):
        raise ModelProblem("not positive definite")

    monkeypatch.setattr(CollapsedModel, "log_likelihood", fail)
    model = CollapsedModel(scaled_data(30), None, True)
    with pytest.raises(ModelProblem, match="not finite at any starting point"):
        sample_posterior(model, specify(["a", "b"], random_effect="iid"))


def test_mixture_quantile():
    rng = np.random.default_rng(1)
    means, sds = rng.normal(size=(50, 4)), rng.uniform(0.1, 2.0, size=(50, 4))
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


def test_parts_of_the_map_without_data_have_steady_intervals():
    # Nothing is sampled in the second component. Its variance is infinite under rho ~ Uniform(0, 1), so an SD over
    # draws would jump from seed to seed; the interval and the width that stands for the SD must not.
    rng = np.random.default_rng(5)
    edges = np.array([(i, i + 1) for i in range(29)] + [(30, 31)])
    graph = AreaGraph.from_edges([f"a{i:02d}" for i in range(32)], edges)
    y = np.r_[np.cumsum(rng.normal(size=30)), np.nan, np.nan]
    data = area_level_data(graph.ids, y, np.where(np.isnan(y), np.nan, 0.1))
    specification = specify(random_effect="car")
    model = CollapsedModel(standardise(data, True), spatial_field("car", True, graph), True)
    np.testing.assert_array_equal(model.without_data, np.arange(32) >= 30)
    fits = [sample_posterior(model, specification, draws=500, min_ess=600, seed=seed) for seed in range(1, 7)]
    sds = np.array([fit.sd for fit in fits])
    assert np.all(sds[:, 30:] > 2.0 * sds[:, :30].max())
    # Quantiles of 64 or more mixture components: a few percent from seed to seed.
    assert np.all(sds[:, 30:].std(axis=0) / sds[:, 30:].mean(axis=0) < 0.15)


def test_a_nearly_singular_weighted_design_is_refused():
    # Only an area with a variance of 1e30 tells the two covariates apart: what is left is rounding, not a coefficient.
    rng = np.random.default_rng(6)
    first = rng.normal(size=20)
    second = first.copy()
    second[0] += 3.0
    variance = np.full(20, 0.1)
    variance[0] = 1e30
    data = area_level_data(
        [str(i) for i in range(20)], rng.normal(size=20), variance, np.column_stack([first, second]), ("a", "b")
    )
    model = CollapsedModel(standardise(data, True), None, True)
    with pytest.raises(ModelProblem, match="collinear"):
        model.log_likelihood({"sd_delta": 0.5})
