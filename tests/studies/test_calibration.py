"""Calibration by simulation: truths drawn from the prior must lie evenly in their posteriors."""

import numpy as np
import pytest
from scipy import stats
from smallarea.area_level import build_model, sample_posterior, specify

# Each chi-square and Kolmogorov-Smirnov test fails by chance once in 100,000; about 200 are made, so a false alarm has
# a chance of 0.2 %.
FAILURE_RATE = 1e-5

TWO = ("a", "b")
# Model, side of the lattice, island, sampling correlation, replicates (quick, full).
FAMILIES = {
    "car": ({"random_effect": "car"}, 5, False, 0.0, (60, 1000)),
    "leroux": ({"random_effect": "leroux"}, 5, True, 0.0, (60, 1000)),
    "bym2": ({"random_effect": "bym2"}, 5, True, 0.0, (60, 1000)),
    "icar": ({"random_effect": "icar"}, 4, True, 0.0, (40, 1000)),
    "unstructured": ({"responses": TWO, "random_effect": "iid"}, 5, False, 0.5, (60, 1000)),
    "separable car": ({"responses": TWO, "random_effect": "car"}, 4, True, 0.4, (50, 600)),
    "chain of car": (
        {"responses": TWO, "random_effect": "car", "link": "chain", "order": ("b", "a")},
        4,
        False,
        0.0,
        (40, 400),
    ),
    "separable bym2": ({"responses": TWO, "random_effect": "bym2"}, 4, True, -0.4, (50, 600)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_simulation_based_calibration(family, lattice, as_data, draw_effect, size):
    """beta has a flat prior and cannot be drawn from it, but any fixed beta will do.

    Posteriors of the hyperparameters depend on contrasts only, and for a shift the flat prior is the invariant one:
    areas' positions in their posteriors are uniform for every beta.
    """
    arguments, side, island, sampling_correlation, replicates = FAMILIES[family]
    graph = lattice(side, island)
    n, bins = len(graph.ids), size(6, 20)
    specification = specify(["x"], **arguments)
    names, k = specification.hyperparameters, len(specification.responses)
    correlation = None
    if sampling_correlation:
        correlation = np.full((n, k, k), sampling_correlation)
        correlation[:, np.arange(k), np.arange(k)] = 1.0
    positions: dict[str, list[float]] = {}
    for replicate in range(size(*replicates)):
        rng = np.random.default_rng([41, replicate])
        x = np.column_stack([np.ones(n), rng.normal(size=n)])
        v = rng.uniform(0.02, 0.4, size=(n, k))
        hyper = {name: specification.priors[name].from_normal(rng.standard_normal()) for name in names}
        slopes = np.array([-1.0, 0.5])[:k]
        theta = 3.0 + x[:, 1:] * slopes + draw_effect(specification, graph, hyper, rng)
        noise = rng.normal(size=(n, k))
        if correlation is not None:
            noise = np.einsum("nkl,nl->nk", np.linalg.cholesky(correlation), noise)
        y = theta + np.sqrt(v) * noise
        y[7, 0] = y[9, -1] = np.nan
        y[2] = np.nan
        model = build_model(specification, as_data(y, v, x, correlation), graph)
        got = sample_posterior(model, specification, draws=300, min_ess=300, seed=replicate)
        weights = got.weighted.weights
        found = {name: weights @ (got.weighted_values[:, i] < hyper[name]) for i, name in enumerate(names)}
        found["one area"] = np.mean(got.theta[:, 12, 0] < theta[12, 0])
        found["area without data"] = np.mean(got.theta[:, 2, -1] < theta[2, -1])
        found["cell without data"] = np.mean(got.theta[:, 7, 0] < theta[7, 0])
        found["last area"] = np.mean(got.theta[:, -1, 0] < theta[-1, 0])
        found["mean of all areas"] = np.mean(got.theta.mean(axis=1)[:, -1] < theta.mean(axis=0)[-1])
        found["contrast"] = np.mean(got.theta[:, 0, 0] - got.theta[:, 15, 0] < theta[0, 0] - theta[15, 0])
        found["slope"] = np.mean(got.beta[:, 1] < slopes[0])
        if k == 2:
            difference = got.theta[:, :, 1] - got.theta[:, :, 0]
            found["between responses"] = np.mean(difference[:, 5] < theta[5, 1] - theta[5, 0])
            found["second slope"] = np.mean(got.beta[:, 3] < slopes[1])
        for name, position in found.items():
            positions.setdefault(name, []).append(position)
    for name, values in positions.items():
        counts, _ = np.histogram(values, bins=bins, range=(0.0, 1.0))
        assert stats.chisquare(counts).pvalue > FAILURE_RATE, (name, counts)
        # The mean position finds a bias that bins spread out; the spread finds intervals too wide or too narrow.
        assert stats.kstest(values, "uniform").pvalue > FAILURE_RATE, name


NOTHING_KNOWN = [
    ({"random_effect": "car"}, {}),
    ({"random_effect": "leroux"}, {}),
    ({"random_effect": "iid"}, {"sd_delta": "PC(1, 0.01)"}),
    ({"random_effect": "car"}, {"rho": "Beta(4, 2)", "sd_phi": "HalfStudentT(3, 0.5)", "sd_delta": "Exponential(2)"}),
    ({"random_effect": "car", "iid_part": False}, {"rho": "Uniform(-1, 1)", "sd_phi": "HalfCauchy(0.5)"}),
    ({"random_effect": "bym2"}, {}),
    ({"random_effect": "icar"}, {}),
    ({"random_effect": "car", "responses": TWO}, {"correlation": "LKJ(3)"}),
    ({"random_effect": "car", "responses": TWO, "link": "chain"}, {"eta1": "Normal(1, 0.5)"}),
    ({"random_effect": "bym2", "responses": TWO}, {}),
]
DISTRIBUTIONS = {
    "HalfNormal(1)": stats.halfnorm(),
    "Uniform(0, 1)": stats.uniform(),
    "PC(1, 0.01)": stats.expon(scale=-1.0 / np.log(0.01)),
    "Beta(4, 2)": stats.beta(4, 2),
    "Exponential(2)": stats.expon(scale=0.5),
    "Uniform(-1, 1)": stats.uniform(-1.0, 2.0),
    "HalfCauchy(0.5)": stats.halfcauchy(scale=0.5),
    "LKJ(2)": stats.beta(2, 2, -1, 2),
    "LKJ(3)": stats.beta(3, 3, -1, 2),
    "Normal(0, 1)": stats.norm(),
    "Normal(1, 0.5)": stats.norm(1.0, 0.5),
}


def cumulative(prior: str, values: np.ndarray) -> np.ndarray:
    if prior == "HalfStudentT(3, 0.5)":
        return 2.0 * stats.t(3).cdf(values / 0.5) - 1.0
    return DISTRIBUTIONS[prior].cdf(values)


@pytest.mark.parametrize(("arguments", "priors"), NOTHING_KNOWN, ids=lambda value: str(value))
def test_without_information_the_posterior_is_the_prior(arguments, priors, lattice, as_data):
    graph = lattice(5)
    rng = np.random.default_rng(51)
    specification = specify(priors=priors, **arguments)
    k = len(specification.responses)
    # Sampling SDs of 1e6: a HalfCauchy reaches that far once in three million draws.
    data = as_data(rng.normal(size=(25, k)), np.full((25, k), 1e12), np.ones((25, 1)))
    model = build_model(specification, data, graph)
    got = sample_posterior(model, specification, draws=2000, min_ess=4000 if k == 1 else 2000, seed=2)
    weights = got.weighted.weights
    sizes = got.weighted.ess(got.weighted_values)
    for at, name in enumerate(specification.hyperparameters):
        prior = str(specification.priors[name])
        for values, weight, number in (
            (got.weighted_values[:, at], weights, 1.0 / np.sum(weights**2)),
            (got.hyperparameters[:, at], np.full(2000, 1.0 / 2000), min(2000.0, sizes[at])),
        ):
            order = np.argsort(values)
            away = np.max(np.abs(np.cumsum(weight[order]) - cumulative(prior, values[order])))
            # Dvoretzky-Kiefer-Wolfowitz at a failure rate of 1e-5 for the effective number of draws.
            assert away < np.sqrt(np.log(2.0 / 1e-5) / (2.0 * number)), (name, away)
    # The field is the prior's, too: nothing was learned about theta but what the prior says of contrasts.
    assert got.weighted.pareto_k < 0.7
    # And a datum that says nothing is worth nothing: all that y contributes is its own density.
    count = data.observed.sum() - k
    expected = -0.5 * (count * np.log(2.0 * np.pi * 1e12) + k * np.log(25.0))
    assert abs(got.weighted.log_evidence - expected) < 5.0 * got.weighted.log_evidence_error + 1e-3
