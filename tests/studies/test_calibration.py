"""Calibration by simulation: truths drawn from the prior must lie evenly in their posteriors."""

import numpy as np
import pytest
from scipy import stats
from smallarea.area_level import sample_posterior, specify

# Each chi-square test fails by chance once in 10,000; about 15 are made, so a false alarm has a chance of 0.15 %.
FAILURE_RATE = 1e-4


@pytest.mark.parametrize(("effect", "iid"), [("car", True), ("leroux", False)])
def test_simulation_based_calibration(effect, iid, lattice, as_data, collapsed, draw_effect, size):
    """beta has a flat prior and cannot be drawn from it, but any fixed beta will do.

    Posteriors of the hyperparameters depend on contrasts only, and for a shift the flat prior is the invariant one:
    areas' positions in their posteriors are uniform for every beta.
    """
    graph = lattice(5)
    replicates, bins = size(60, 1000), size(6, 20)
    specification = specify(["x"], random_effect=effect, iid_part=iid)
    names = specification.hyperparameters
    positions: dict[str, list[float]] = {}
    for replicate in range(replicates):
        rng = np.random.default_rng([41, replicate])
        x = np.column_stack([np.ones(25), rng.normal(size=25)])
        v = rng.uniform(0.02, 0.4, size=25)
        hyper = {name: specification.priors[name].from_normal(rng.standard_normal()) for name in names}
        theta = x @ [3.0, -1.0] + draw_effect(effect, iid, graph, hyper, rng)
        y = theta + np.sqrt(v) * rng.normal(size=25)
        y[7] = np.nan
        model = collapsed(as_data(y, v, x), effect, iid, graph)
        got = sample_posterior(model, specification, draws=400, min_ess=400, seed=replicate)
        weights = got.weighted.weights
        found = {name: weights @ (got.weighted_values[:, k] < hyper[name]) for k, name in enumerate(names)}
        found["sampled area"] = np.mean(got.theta[:, 12] < theta[12])
        found["area without data"] = np.mean(got.theta[:, 7] < theta[7])
        found["mean of all areas"] = np.mean(got.theta.mean(axis=1) < theta.mean())
        found["contrast"] = np.mean(got.theta[:, 0] - got.theta[:, 24] < theta[0] - theta[24])
        found["slope"] = np.mean(got.beta[:, 1] < -1.0)
        for name, position in found.items():
            positions.setdefault(name, []).append(position)
    for name, values in positions.items():
        counts, _ = np.histogram(values, bins=bins, range=(0.0, 1.0))
        assert stats.chisquare(counts).pvalue > FAILURE_RATE, (name, counts)
        # The mean position finds a bias that bins spread out; the spread finds intervals too wide or too narrow.
        assert stats.kstest(values, "uniform").pvalue > FAILURE_RATE, name


@pytest.mark.parametrize(
    ("effect", "iid", "priors"),
    [
        ("car", True, {}),
        ("leroux", False, {}),
        ("iid", True, {"sd_delta": "PC(1, 0.01)"}),
        ("car", True, {"rho": "Beta(4, 2)", "sd_phi": "HalfStudentT(3, 0.5)", "sd_delta": "Exponential(2)"}),
        ("car", False, {"rho": "Uniform(-1, 1)", "sd_phi": "HalfCauchy(0.5)"}),
    ],
)
def test_without_information_the_posterior_is_the_prior(effect, iid, priors, lattice, as_data, collapsed):
    frozen = {
        "HalfNormal(1)": stats.halfnorm(),
        "Uniform(0, 1)": stats.uniform(),
        "PC(1, 0.01)": stats.expon(scale=-1.0 / np.log(0.01)),
        "Beta(4, 2)": stats.beta(4, 2),
        "HalfStudentT(3, 0.5)": None,
        "Exponential(2)": stats.expon(scale=0.5),
        "Uniform(-1, 1)": stats.uniform(-1.0, 2.0),
        "HalfCauchy(0.5)": stats.halfcauchy(scale=0.5),
    }
    graph = lattice(5)
    rng = np.random.default_rng(51)
    # Sampling SDs of 1e6: a HalfCauchy reaches that far once in three million draws.
    data = as_data(rng.normal(size=25), np.full(25, 1e12), np.ones((25, 1)))
    specification = specify(random_effect=effect, iid_part=iid, priors=priors)
    got = sample_posterior(collapsed(data, effect, iid, graph), specification, draws=2000, min_ess=4000, seed=2)
    weights = got.weighted.weights
    sizes = got.weighted.ess(got.weighted_values)
    for k, name in enumerate(specification.hyperparameters):
        prior = specification.priors[name]
        distribution = frozen[str(prior)]
        cdf = distribution.cdf if distribution is not None else lambda s: 2.0 * stats.t(3).cdf(s / 0.5) - 1.0
        for values, weight, number in (
            (got.weighted_values[:, k], weights, 1.0 / np.sum(weights**2)),
            (got.hyperparameters[:, k], np.full(2000, 1.0 / 2000), min(2000.0, sizes[k])),
        ):
            order = np.argsort(values)
            away = np.max(np.abs(np.cumsum(weight[order]) - cdf(values[order])))
            # Dvoretzky-Kiefer-Wolfowitz at a failure rate of 1e-5 for the effective number of draws.
            assert away < np.sqrt(np.log(2.0 / 1e-5) / (2.0 * number)), (name, away)
    # The field is the prior's, too: nothing was learned about theta but what the prior says of contrasts.
    assert got.weighted.pareto_k < 0.7
