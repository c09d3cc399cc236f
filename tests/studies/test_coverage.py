"""Coverage of 95 % intervals where the truth is known."""

import numpy as np
import pytest
from smallarea.area_level import area_level_data, fit_eblup, sample_posterior, specify, standardise
from smallarea.results.tables import eblup_tables, posterior_tables


@pytest.mark.parametrize(("effect", "method"), [("iid", "reml"), ("iid", "bayes"), ("car", "bayes")])
def test_intervals_cover(effect, method, lattice, collapsed, draw_effect, size):
    graph = lattice(6)
    n, replicates = 36, size(50, 1000)
    specification = specify(["x"], random_effect=effect, method=method)
    hyper = {"sd_phi": 1.2, "rho": 0.95, "sd_delta": 0.6}
    inside, unsampled, beats = [], [], []
    for replicate in range(replicates):
        rng = np.random.default_rng([61, replicate])
        x = rng.normal(size=(n, 1))
        v = rng.uniform(0.1, 0.6, size=n)
        theta = 10.0 + 2.0 * x[:, 0] + draw_effect(effect, True, graph, hyper, rng)
        y = theta + np.sqrt(v) * rng.normal(size=n)
        gone = rng.choice(n, size=4, replace=False)
        direct = y.copy()
        direct[gone] = np.nan
        data = area_level_data(graph.ids, direct, v, x, ["x"])
        scaled = standardise(data, True)
        if method == "reml":
            fit = fit_eblup(scaled, "reml")
            tables = eblup_tables(data, scaled, specification, fit, response="y", level=0.95)
        else:
            model = collapsed(scaled, effect, True, graph)
            fit = sample_posterior(model, specification, draws=300, min_ess=300, seed=replicate)
            tables = posterior_tables(data, scaled, specification, fit, response="y", level=0.95, attributes={})
        estimates = tables.estimates
        hit = ((estimates["lower"] < theta) & (theta < estimates["upper"])).to_numpy()
        sampled = data.sampled
        inside.append(hit[sampled].mean())
        unsampled.append(hit[~sampled].mean())
        error = (estimates["estimate"].to_numpy() - theta)[sampled]
        beats.append(np.mean((y - theta)[sampled] ** 2) - np.mean(error**2))
    for values in (inside, unsampled):
        # Four Monte Carlo errors, replicates being independent; 2 points for what is not exact: a normal interval with
        # an estimated variance component (REML), a prior that is not the truth (Bayes).
        slack = 4.0 * np.std(values, ddof=1) / np.sqrt(replicates) + 0.02
        assert abs(np.mean(values) - 0.95) < slack, (np.mean(values), slack)
    # And the point of it all: the estimates are better than the direct ones, by far more than the simulation's error.
    assert np.mean(beats) > 4.0 * np.std(beats, ddof=1) / np.sqrt(replicates)
