"""The exact posterior: against quadrature over the hyperparameters, and the same whoever does the work."""

import math

import numpy as np
import pytest
from dense_model import effect_covariance, sampling, truth
from scipy import special, stats
from smallarea.area_level import (
    CollapsedModel,
    area_level_data,
    build_model,
    drawn,
    posterior,
    sample_posterior,
    specify,
    stack,
    standardise,
)
from smallarea.area_level.importance import WeightedSample
from smallarea.area_level.posterior import _chosen
from smallarea.areas import AreaGraph
from smallarea.errors import ModelProblem

TWO = ("a", "b")


@pytest.fixture
def set_up(planar_graph, stacked):
    """Specification and collapsed model on a planar map."""

    def make(
        n: int, k: int = 1, *, missing: str = "scattered", coupled: bool = False, solver: str = "auto", **arguments
    ):
        graph = planar_graph(n, arguments.pop("islands", 0))
        specification = specify(["x"], responses=TWO[:k], **arguments)
        data = stacked(graph, k, missing, coupled)
        return specification, build_model(specification, data, graph, solver), graph

    return make


def mixture_of_truths(
    specification, model, graph, hypers: list[dict], log_weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Posterior over a grid of hyperparameters, every point by dense algebra; weights hold prior and grid."""
    found = [truth(specification, model.data, graph, hyper) for hyper in hypers]
    log = np.array([each.log_likelihood for each in found]) + log_weights
    evidence = special.logsumexp(log)
    weight = np.exp(log - evidence)
    p = model.data.design.shape[2]
    means = np.array([each.theta for each in found])
    variances = np.array([np.diag(each.covariance)[p:] for each in found])
    mean = weight @ means
    sd = np.sqrt(weight @ (variances + (means - mean) ** 2))
    limits, limit_errors = [], []
    for tail in (0.025, 0.975):
        low, high = mean - 12 * sd, mean + 12 * sd
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = weight @ special.ndtr((middle - means) / np.sqrt(variances)) < tail
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        limits.append(low)
        # What an end is wrong by if it comes from n components, times sqrt(n): the spread of their probabilities by the
        # density, and, since centre and spread are set anew, those of their first and second moments.
        components = stats.norm(means, np.sqrt(variances))
        shape = np.sqrt(weight @ (components.cdf(low) - tail) ** 2) / (weight @ components.pdf(low))
        centre = np.sqrt(weight @ (means - mean) ** 2)
        second = variances + (means - mean) ** 2
        scale = np.abs(low - mean) * np.sqrt(weight @ (second - sd**2) ** 2) / (2.0 * sd**2)
        limit_errors.append(np.sqrt(shape**2 + centre**2 + scale**2))
    seen, noise = sampling(model.data)
    shrinkage = np.zeros(len(seen))
    for hyper, own in zip(hypers, weight, strict=True):
        effects = effect_covariance(specification, graph, hyper)[np.ix_(seen, seen)]
        shrinkage += own * np.diag(effects @ np.linalg.inv(effects + noise))
    beta = np.array([each.beta for each in found])
    beta_variance = np.array([np.diag(each.covariance)[:p] for each in found])
    return {
        "evidence": evidence,
        "weight": weight,
        "mean": mean,
        "sd": sd,
        "lower": limits[0],
        "upper": limits[1],
        "lower_error": limit_errors[0],
        "upper_error": limit_errors[1],
        "shrinkage": shrinkage,
        "between": np.sqrt(weight @ (means - mean) ** 2),
        "beta": weight @ beta,
        "beta_sd": np.sqrt(weight @ (beta_variance + (beta - weight @ beta) ** 2)),
        "synthetic": weight @ np.array([each.synthetic for each in found]),
        "observed": seen,
        "far": model.without_data.ravel(),
    }


def assert_posterior(got, want: dict, draws: int) -> None:
    """Everything but the hyperparameters, with the errors of ``draws`` points that were resampled from as many."""
    weighted = got.weighted
    assert weighted.converged
    assert abs(weighted.log_evidence - want["evidence"]) < 5.0 * weighted.log_evidence_error + 1e-6
    # Given the hyperparameters everything is exact, so that means of areas move by their part between hyperparameters
    # only; weights and resampling both count, hence 2 / draws.
    error = want["between"] * math.sqrt(2.0 / draws)
    assert np.all(np.abs(got.mean.ravel() - want["mean"]) < 5.0 * error + 1e-6)
    far = want["far"]
    np.testing.assert_allclose(got.sd.ravel()[~far], want["sd"][~far], rtol=0.02)
    # Where a part of the map holds no data the SD stands for the width of the interval, whose ends are looked at below.
    width = (got.upper - got.lower).ravel() / (2.0 * stats.norm.ppf(0.975))
    np.testing.assert_allclose(got.sd.ravel()[far], width[far], rtol=1e-12)
    for end in ("lower", "upper"):
        error = want[f"{end}_error"] * math.sqrt(1.0 / len(got.mixture.means) + 2.0 / draws)
        assert np.all(np.abs(getattr(got, end).ravel() - want[end]) < 5.0 * error + 1e-6), end
    shrinkage = got.shrinkage.ravel()
    np.testing.assert_allclose(shrinkage[want["observed"]], want["shrinkage"], atol=0.015)
    assert np.isnan(np.delete(shrinkage, want["observed"])).all()
    # The draws belong to the same posterior.
    error = want["sd"] * math.sqrt(2.0 / draws)
    theta = got.theta.reshape(draws, -1)
    assert np.all(np.abs(theta.mean(axis=0) - want["mean"]) < 5.0 * error)
    np.testing.assert_allclose(theta.std(axis=0), want["sd"], rtol=5.0 / math.sqrt(draws))
    error = want["beta_sd"] * math.sqrt(2.0 / draws)
    assert np.all(np.abs(got.beta.mean(axis=0) - want["beta"]) < 5.0 * error)
    np.testing.assert_allclose(got.beta.std(axis=0), want["beta_sd"], rtol=5.0 / math.sqrt(draws))


def test_iid_against_quadrature(set_up):
    specification, model, graph = set_up(40, random_effect="iid")
    grid = (np.arange(800) + 0.5) / 800.0 * 4.0
    prior = stats.halfnorm.logpdf(grid) + math.log(grid[1] - grid[0])
    want = mixture_of_truths(specification, model, graph, [{"sd_delta": s} for s in grid], prior)
    got = sample_posterior(model, specification, draws=4000, min_ess=4000, seed=2)
    ess = got.weighted.ess(got.weighted_values)[0]
    assert ess >= 3900
    mean = want["weight"] @ grid
    sd = math.sqrt(want["weight"] @ (grid - mean) ** 2)
    assert abs(got.weighted.weights @ got.weighted_values[:, 0] - mean) < 5.0 * sd / math.sqrt(ess)
    assert_posterior(got, want, 4000)
    v = model.data.responses[0].v
    shrink = want["weight"] @ np.array([s**2 / (s**2 + v) for s in grid])
    sampled = model.data.observed[:, 0]
    np.testing.assert_allclose(got.shrinkage[sampled, 0], shrink[sampled], atol=0.01)


GRIDS = {
    "separable": (
        {"random_effect": "car"},
        {"sd_phi[a]": 0.9, "sd_phi[b]": 1.4, "sd_delta[a]": 0.3, "sd_delta[b]": 0.2},
        (("rho", stats.uniform()), ("correlation[a,b]", stats.beta(2, 2, -1, 2))),
        True,
    ),
    "chain": (
        {"random_effect": "leroux", "link": "chain", "order": ("b", "a")},
        {"sd_phi[a]": 0.9, "sd_phi[b]": 1.4, "rho[a]": 0.8, "rho[b]": 0.5, "eta1[b,a]": 0.1},
        (("eta0[b,a]", stats.norm()), ("rho[b]", stats.uniform())),
        False,
    ),
    "bym2": (
        {"random_effect": "bym2"},
        {"sd_phi[a]": 0.9, "sd_phi[b]": 1.4},
        (("rho", stats.uniform()), ("correlation[a,b]", stats.beta(2, 2, -1, 2))),
        True,
    ),
    "unstructured": (
        {"random_effect": "iid"},
        {"sd_delta[b]": 0.7},
        (("sd_delta[a]", stats.halfnorm()), ("correlation[a,b]", stats.beta(2, 2, -1, 2))),
        False,
    ),
}


@pytest.mark.parametrize("case", GRIDS)
def test_two_responses_against_a_grid(case, set_up):
    """Two hyperparameters free, the others fixed: integrated on a grid of equal probabilities, all by dense algebra."""
    arguments, fixed, free, coupled = GRIDS[case]
    known = {name: value for name, value in fixed.items() if name not in dict(free)}
    priors = {name: f"Fixed({value})" for name, value in known.items()}
    specification, model, graph = set_up(18, 2, islands=1, coupled=coupled, priors=priors, **arguments)
    nodes, weights = np.polynomial.legendre.leggauss(36)
    # Quadrature in the probability of each: its prior is uniform there.
    quantiles = [distribution.ppf(0.5 * (nodes + 1.0)) for _, distribution in free]
    names = [name for name, _ in free]
    hypers = [{**known, names[0]: one, names[1]: other} for one in quantiles[0] for other in quantiles[1]]
    prior = np.log(np.outer(0.5 * weights, 0.5 * weights)).ravel()
    want = mixture_of_truths(specification, model, graph, hypers, prior)
    draws = 3000
    got = sample_posterior(model, specification, draws=draws, min_ess=3000, seed=2)
    assert got.weighted.x.shape[1] == 2
    sizes = got.weighted.ess(got.weighted_values)
    for name in names:
        at = specification.hyperparameters.index(name)
        values = np.array([hyper[name] for hyper in hypers])
        mean = want["weight"] @ values
        sd = math.sqrt(want["weight"] @ (values - mean) ** 2)
        found = got.weighted.weights @ got.weighted_values[:, at]
        assert abs(found - mean) < 5.0 * sd / math.sqrt(sizes[at]), name
        spread = math.sqrt(got.weighted.weights @ (got.weighted_values[:, at] - found) ** 2)
        assert spread == pytest.approx(sd, rel=5.0 / math.sqrt(sizes[at])), name
        assert abs(got.hyperparameters[:, at].mean() - mean) < 5.0 * sd * math.sqrt(2.0 / draws), name
    for name, value in known.items():
        assert np.all(got.weighted_values[:, specification.hyperparameters.index(name)] == value)
    assert_posterior(got, want, draws)


SPATIAL = [
    (1, {"random_effect": "car"}),
    (1, {"random_effect": "leroux"}),
    (1, {"random_effect": "bym2"}),
    (2, {"random_effect": "car"}),
    (2, {"random_effect": "car", "link": "chain"}),
    (2, {"random_effect": "bym2"}),
    (2, {"random_effect": "iid"}),
]


@pytest.mark.parametrize(("k", "arguments"), SPATIAL, ids=lambda value: str(value))
def test_moments_and_draws_agree(k, arguments, set_up):
    specification, model, _ = set_up(50, k, **arguments)
    got = sample_posterior(model, specification, draws=4000, min_ess=2000, seed=4)
    assert got.weighted.converged
    # 100 cells at once: 5 errors of draws that may repeat hyperparameters.
    assert np.all(np.abs(got.theta.mean(axis=0) - got.mean) < 5.0 * got.sd / math.sqrt(4000))
    np.testing.assert_allclose(got.theta.std(axis=0), got.sd, rtol=5.0 * math.sqrt(1.0 / 4000))
    inside = np.mean((got.theta > got.lower) & (got.theta < got.upper), axis=0)
    assert np.all(np.abs(inside - 0.95) < 5.0 * math.sqrt(0.0475 / 4000) + 0.01)  # 0.01: the mixture has 400 parts
    assert np.all(np.abs(got.beta - got.beta_mean).mean(axis=0) > 0.0)
    scaled = (got.beta - got.beta_mean) / np.sqrt(np.einsum("sii->si", got.beta_covariance))
    assert np.all(np.abs(scaled.mean(axis=0)) < 5.0 / math.sqrt(4000))
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, rtol=5.0 / math.sqrt(2.0 * 4000))
    # A draw's beta, its hyperparameters and its theta hang together: theta's distance from x beta grows with the SDs.
    data = model.data
    for response in range(k):
        at = data.terms[response]
        spread = np.std(got.theta[:, :, response] - got.beta[:, at] @ data.responses[response].x.T, axis=1)
        own = [i for i, p in enumerate(specification.layout) if p.is_sd and p.responses == (response,)]
        assert np.corrcoef(spread, np.sum(got.hyperparameters[:, own] ** 2, axis=1))[0, 1] > 0.05


def assert_identical(one, other) -> None:
    for name in ("mean", "sd", "lower", "upper", "synthetic", "theta", "beta", "hyperparameters", "weighted_values"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert other.weighted.log_evidence == one.weighted.log_evidence


@pytest.mark.parametrize("solver", ["compiled", "qdldl", "splu", "dense"])
def test_same_for_any_number_of_workers(solver, set_up):
    # The fallback backend is slow, and one response shows as much.
    for k, arguments in ((1, {}),) if solver == "splu" else ((1, {}), (2, {"link": "chain"})):
        results = []
        for workers in (1, 2, 3):
            specification, model, _ = set_up(40, k, solver=solver, random_effect="car", **arguments)
            options = {"draws": 60, "min_ess": 60, "seed": 5, "workers": workers}
            results.append(sample_posterior(model, specification, **options))
        for other in results[1:]:
            assert_identical(results[0], other)


@pytest.mark.parametrize("arguments", [{"random_effect": "iid"}, {"random_effect": "bym2", "coupled": True}])
def test_seed(arguments, set_up):
    specification, model, _ = set_up(40, 2, **arguments)
    options = {"draws": 200, "min_ess": 200}
    one, same, other = (sample_posterior(model, specification, seed=seed, **options) for seed in (1, 1, 2))
    assert_identical(one, same)
    assert not np.array_equal(one.theta, other.theta)


FIXED = [
    (1, {"random_effect": "car"}, {"sd_phi": 0.8, "rho": 0.9, "sd_delta": 0.4}),
    (
        2,
        {"random_effect": "car", "coupled": True},
        {
            **{"sd_phi[a]": 0.8, "sd_phi[b]": 0.5, "rho": 0.9, "sd_delta[a]": 0.4, "sd_delta[b]": 0.3},
            "correlation[a,b]": -0.6,
        },
    ),
    (2, {"random_effect": "icar"}, {"sd_phi": 0.8, "sd_delta": 0.4, "correlation": 0.3}),
    (2, {"random_effect": "bym2", "islands": 2}, {"sd_phi": 0.8, "rho": 0.4, "correlation": 0.3}),
    (
        2,
        {"random_effect": "leroux", "link": "chain"},
        {"sd_phi": 0.8, "rho[a]": 0.9, "rho[b]": 0.0, "eta0": 0.5, "eta1": -0.2},
    ),
]


@pytest.mark.parametrize(("k", "arguments", "values"), FIXED, ids=[f"{k} {a['random_effect']}" for k, a, _ in FIXED])
def test_fixed_hyperparameters_are_plain_algebra(k, arguments, values, set_up):
    priors = {name: f"Fixed({value})" for name, value in values.items()}
    specification, model, graph = set_up(30, k, missing="component", priors=priors, **arguments)
    hyper = {p.name: values.get(p.name, values.get(p.kind)) for p in specification.layout}
    got = sample_posterior(model, specification, draws=2000, seed=1)
    want = truth(specification, model.data, graph, hyper)
    p = len(want.beta)
    sd = np.sqrt(np.diag(want.covariance)[p:])
    np.testing.assert_allclose(got.mean.ravel(), want.theta, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got.sd.ravel(), sd, rtol=1e-6)  # cells without data: from the interval, to 1e-9 of it
    np.testing.assert_allclose(got.upper.ravel(), want.theta + stats.norm.ppf(0.975) * sd, atol=1e-6)
    np.testing.assert_allclose(got.lower.ravel(), want.theta - stats.norm.ppf(0.975) * sd, atol=1e-6)
    np.testing.assert_allclose(got.synthetic.ravel(), want.synthetic, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got.beta_mean, np.broadcast_to(want.beta, (2000, p)), rtol=0, atol=1e-9)
    assert len(np.unique(got.theta[:, 0, 0])) == 2000
    assert np.all(np.abs(got.theta.reshape(2000, -1).mean(axis=0) - want.theta) < 5.0 * sd / math.sqrt(2000))
    # What is known is known exactly: the marginal likelihood is the likelihood.
    assert got.weighted.log_evidence == pytest.approx(want.log_likelihood, abs=1e-8)
    assert got.weighted.log_evidence_error == 0.0


def test_one_fixed_among_free_ones(set_up):
    specification, model, _ = set_up(50, random_effect="car", priors={"rho": "Fixed(0.7)"})
    got = sample_posterior(model, specification, draws=200, min_ess=300, seed=1)
    assert got.weighted.x.shape[1] == 2
    assert got.weighted_values.shape[1] == 3
    assert np.all(got.weighted_values[:, 1] == 0.7)
    assert np.all(got.hyperparameters[:, 1] == 0.7)


def test_draws_come_in_the_units_of_the_input(planar_graph):
    graph = planar_graph(30)
    rng = np.random.default_rng(1)
    variance = rng.uniform(1.0, 4.0, size=30)
    scaled = [
        standardise(area_level_data(graph.ids, location + scale * rng.normal(size=30), variance), True)
        for location, scale in ((1000.0, 50.0), (-3.0, 0.1))
    ]
    assert scaled[0].scale != scaled[1].scale
    specification = specify(responses=TWO)
    model = build_model(specification, stack(scaled), graph)
    got = sample_posterior(model, specification, draws=2000, min_ess=500, seed=1)
    locations, scales = np.array([[s.location, s.scale] for s in scaled]).T
    error = got.sd * scales / math.sqrt(2000)
    assert np.all(np.abs(got.theta.mean(axis=0) - (locations + scales * got.mean)) < 5.0 * error)


def test_large_sets_of_draws_are_kept_in_single_precision(set_up, monkeypatch):
    specification, model, _ = set_up(30, 2, random_effect="iid")
    options = {"draws": 50, "min_ess": 100, "seed": 3}
    double = sample_posterior(model, specification, **options)
    assert double.theta.dtype == np.float64
    monkeypatch.setattr(drawn, "DOUBLE_PRECISION_UP_TO", 50 * 30 * 2)
    assert sample_posterior(model, specification, **options).theta.dtype == np.float64
    monkeypatch.setattr(drawn, "DOUBLE_PRECISION_UP_TO", 50 * 30 * 2 - 1)
    single = sample_posterior(model, specification, **options)
    assert single.theta.dtype == np.float32
    np.testing.assert_allclose(single.theta, double.theta, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(single.mean, double.mean)
    np.testing.assert_array_equal(single.beta, double.beta)


def test_more_draws_than_lanes_and_fewer(set_up, monkeypatch):
    # How many sets are worked on at once is a matter of speed; draws keep their own distribution.
    specification, model, _ = set_up(30, 2, random_effect="car")
    one = sample_posterior(model, specification, draws=1, min_ess=100, seed=3)
    assert one.theta.shape == (1, 30, 2)
    monkeypatch.setattr(posterior, "MOST_GROUPS", 1)
    few = sample_posterior(model, specification, draws=500, min_ess=200, seed=3)
    monkeypatch.setattr(posterior, "MOST_GROUPS", 64)
    many = sample_posterior(model, specification, draws=500, min_ess=200, seed=3)
    # The same sets of hyperparameters and conditional means, to rounding.
    np.testing.assert_allclose(few.hyperparameters, many.hyperparameters, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(few.mean, many.mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(few.sd, many.sd, rtol=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_may_cancel_at_every_stage(workers, set_up):
    class StopError(Exception):
        pass

    specification, model, _ = set_up(40, 2, random_effect="iid")
    heard = []
    options = {"draws": 300, "min_ess": 300, "workers": workers}
    sample_posterior(model, specification, progress=lambda p, t: heard.append((p, t)), **options)
    percents = [p for p, _ in heard]
    assert percents == sorted(percents)
    assert percents[0] >= 0.0
    assert percents[-1] <= 100.0
    stages = {text.partition(":")[0] for _, text in heard}
    assert stages == {"hyperparameters", "areas"}
    for stop_at in {1, len(heard) // 2, len(heard) - 1, len(heard)}:
        count = 0

        def progress(percent: float, text: str, stop_at: int = stop_at) -> None:
            nonlocal count
            count += 1
            if count == stop_at:
                raise StopError

        with pytest.raises(StopError):
            sample_posterior(model, specification, progress=progress, **options)


def test_impossible_likelihood(set_up, monkeypatch):
    monkeypatch.setattr(CollapsedModel, "log_likelihood", lambda self, hyper: np.full(hyper.size, np.nan))
    specification, model, _ = set_up(30, random_effect="iid")
    with pytest.raises(ModelProblem, match="not finite at any starting point"):
        sample_posterior(model, specification)


def test_parts_of_the_map_without_data_have_steady_intervals():
    # Nothing is sampled in the second component. Its variance is infinite under rho ~ Uniform(0, 1), so an SD over
    # draws would jump from seed to seed; the interval and the width that stands for the SD must not.
    rng = np.random.default_rng(5)
    edges = np.array([(i, i + 1) for i in range(29)] + [(30, 31)])
    graph = AreaGraph.from_edges([f"a{i:02d}" for i in range(32)], edges)
    y = np.r_[np.cumsum(rng.normal(size=30)), np.nan, np.nan]
    data = area_level_data(graph.ids, y, np.where(np.isnan(y), np.nan, 0.1))
    specification = specify(random_effect="car")
    model = build_model(specification, stack([standardise(data, True)]), graph)
    np.testing.assert_array_equal(model.without_data[:, 0], np.arange(32) >= 30)
    fits = [sample_posterior(model, specification, draws=500, min_ess=600, seed=seed) for seed in range(1, 7)]
    sds = np.array([fit.sd[:, 0] for fit in fits])
    assert np.all(sds[:, 30:] > 2.0 * sds[:, :30].max())
    # Quantiles of 64 or more mixture components: a few percent from seed to seed.
    assert np.all(sds[:, 30:].std(axis=0) / sds[:, 30:].mean(axis=0) < 0.15)


def test_without_data_is_told_for_each_response(planar_graph, stacked):
    graph = planar_graph(30, islands=2)
    model = build_model(specify(responses=TWO, random_effect="leroux"), stacked(graph, 2, "component"), graph)
    labels = np.asarray(graph.component_labels)
    for k in (0, 1):
        seen = {int(label) for label in labels[model.data.observed[:, k]]}
        np.testing.assert_array_equal(model.without_data[:, k], [int(label) not in seen for label in labels])
    assert model.without_data[:, 1].sum() > model.without_data[:, 0].sum()


def test_a_nearly_singular_weighted_design_is_not_a_number():
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
    specification = specify(["a", "b"], random_effect="iid")
    model = build_model(specification, stack([standardise(data, True)]), None)
    with pytest.raises(ModelProblem, match="not finite at any starting point"):
        sample_posterior(model, specification)


def test_large_maps_share_sets_of_hyperparameters_between_draws():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1500, 2))
    sample = WeightedSample(x, np.full(1500, -np.log(1500.0)), 0.0, 0.0, 0.0, 1500, True)
    small = _chosen(sample, 2000, 1000, (100, 2), np.random.default_rng(1))
    large = _chosen(sample, 2000, 1000, (20_000, 1), np.random.default_rng(1))
    assert len(small) == len(large) == 2000
    assert len(np.unique(small)) == 1500
    # Each of the 1000 sets that the sample is worth stands twice, in no order, and they represent the sample.
    assert np.unique(large, return_counts=True)[1].tolist() == [2] * 1000
    assert abs(np.corrcoef(large[:-1], large[1:])[0, 1]) < 0.1
    assert np.abs(x[large].mean(axis=0)).max() < 4.0 / np.sqrt(1000.0)
    assert len(_chosen(sample, 500, 1000, (20_000, 1), np.random.default_rng(1))) == 500
