"""Coverage of 95 % intervals where the truth is known."""

import numpy as np
import pytest
from smallarea.area_level import area_level_data, build_model, fit_eblup, sample_posterior, specify, stack, standardise
from smallarea.results.eblup_tables import eblup_tables
from smallarea.results.posterior_tables import posterior_tables

TWO = ("a", "b")
CASES = {
    "iid, REML": ({"random_effect": "iid", "method": "reml"}, 6, (50, 1000)),
    "iid": ({"random_effect": "iid"}, 6, (50, 1000)),
    "car": ({"random_effect": "car"}, 6, (50, 1000)),
    "unstructured": ({"random_effect": "iid", "responses": TWO}, 6, (40, 600)),
    "separable car": ({"random_effect": "car", "responses": TWO}, 5, (40, 600)),
    "chain of car": ({"random_effect": "car", "responses": TWO, "link": "chain"}, 5, (40, 400)),
    "separable bym2": ({"random_effect": "bym2", "responses": TWO}, 5, (40, 600)),
}
TRUE = {"sd_phi": 1.2, "rho": 0.95, "sd_delta": 0.6, "correlation": 0.7, "eta0": 0.8, "eta1": 0.1}


@pytest.mark.parametrize("case", CASES)
def test_intervals_cover(case, lattice, draw_effect, size):
    arguments, side, count = CASES[case]
    graph, replicates = lattice(side), size(*count)
    n = len(graph.ids)
    specification = specify(["x"], **arguments)
    k = len(specification.responses)
    hyper = {p.name: TRUE[p.kind] for p in specification.layout}
    inside, unsampled, beats = [], [], []
    for replicate in range(replicates):
        rng = np.random.default_rng([61, replicate])
        x = rng.normal(size=(n, 1))
        v = rng.uniform(0.1, 0.6, size=(n, k))
        # The second response has another unit altogether.
        unit = np.array([1.0, 40.0])[:k]
        theta = unit * (10.0 + 2.0 * x + draw_effect(specification, graph, hyper, rng))
        y = theta + unit * np.sqrt(v) * rng.normal(size=(n, k))
        direct = y.copy()
        for column in direct.T:
            column[rng.choice(n, size=4, replace=False)] = np.nan
        data = [
            area_level_data(graph.ids, own, variance, x, ["x"])
            for own, variance in zip(direct.T, (unit**2 * v).T, strict=True)
        ]
        scaled = [standardise(own, True) for own in data]
        if specification.method == "reml":
            tables = eblup_tables(data[0], scaled[0], specification, fit_eblup(scaled[0], "reml"), level=0.95)
        else:
            stacked = stack(scaled)
            model = build_model(specification, stacked, graph)
            fit = sample_posterior(model, specification, draws=300, min_ess=300, seed=replicate)
            tables = posterior_tables(data, stacked, specification, fit, level=0.95, attributes={})
        wide = tables.estimates.pivot(index="area", columns="response").loc[list(graph.ids)]
        names = list(specification.responses)
        lower, upper, estimate = (wide[column][names].to_numpy() for column in ("lower", "upper", "estimate"))
        hit = (lower < theta) & (theta < upper)
        sampled = np.isfinite(direct)
        inside.append(hit[sampled].mean())
        unsampled.append(hit[~sampled].mean())
        gain = ((y - theta) / unit) ** 2 - ((estimate - theta) / unit) ** 2
        beats.append([np.mean(gain[sampled[:, c], c]) for c in range(k)])
    for values in (inside, unsampled):
        # Four Monte Carlo errors, replicates being independent; 2 points for what is not exact: a normal interval with
        # an estimated variance component (REML), a prior that is not the truth (Bayes).
        slack = 4.0 * np.std(values, ddof=1) / np.sqrt(replicates) + 0.02
        assert abs(np.mean(values) - 0.95) < slack, (np.mean(values), slack)
    # And the point of it all: the estimates are better than the direct ones, by far more than the simulation's error.
    assert np.all(np.mean(beats, axis=0) > 4.0 * np.std(beats, axis=0, ddof=1) / np.sqrt(replicates))


def test_borrowing_between_responses_pays(lattice, draw_effect, size):
    """Of a response with few direct estimates, a joint model knows more than a model of that response alone."""
    graph, replicates = lattice(6), size(30, 500)
    n = len(graph.ids)
    joint = specify(responses=TWO, random_effect="car", link="separable")
    alone = specify(responses=TWO, random_effect="car", link="independent")
    hyper = {p.name: {**TRUE, "correlation": 0.95, "sd_delta": 0.1}[p.kind] for p in joint.layout}
    gains = []
    for replicate in range(replicates):
        rng = np.random.default_rng([62, replicate])
        theta = draw_effect(joint, graph, hyper, rng)
        y = theta + np.sqrt(0.1) * rng.normal(size=(n, 2))
        gone = rng.choice(n, size=18, replace=False)
        y[gone, 1] = np.nan
        scaled = stack([standardise(area_level_data(graph.ids, own, np.full(n, 0.1)), True) for own in y.T])
        errors = []
        for specification in (joint, alone):
            model = build_model(specification, scaled, graph)
            fit = sample_posterior(model, specification, draws=200, min_ess=200, seed=replicate)
            estimate = scaled.responses[1].location + scaled.responses[1].scale * fit.mean[:, 1]
            errors.append(np.mean((estimate - theta[:, 1])[gone] ** 2))
        gains.append(np.log(errors[1] / errors[0]))
    # On the log scale: the error of the joint model is at least a fifth smaller, by more than four Monte Carlo errors.
    assert np.mean(gains) - 4.0 * np.std(gains, ddof=1) / np.sqrt(replicates) > np.log(1.2)
