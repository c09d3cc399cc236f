"""Calibration of counts by simulation: truths drawn from the prior lie evenly in their posteriors.

Independent responses on one map are replicates of each other, and one run of the sampler serves them all.
"""

import numpy as np
import pytest
from scipy import special, stats
from smallarea.area_level import specify
from smallarea.area_level.hmc import binomial_observations, poisson_observations, sample_hmc

pytest.importorskip("numpyro")

# 24 tests at the most.
FAILURE_RATE = 1e-4
# beta has a flat prior and cannot be drawn from it. Drawn from this range, with draws outside of it left out, its
# posterior is the one under the uniform prior on the range.
LEVELS = (-2.0, 0.5)
AT_ONCE = 10


@pytest.mark.parametrize("likelihood", ["binomial", "poisson"])
@pytest.mark.parametrize("form", ["density", "filter"])
def test_simulation_based_calibration_of_counts(likelihood, form, lattice, draw_effect, size):
    graph = lattice(4)
    responses = tuple(f"r{k}" for k in range(AT_ONCE))
    alone = specify()
    specification = specify(responses=responses, link="independent")
    positions: dict[str, list[float]] = {}
    for run in range(size(1, 20)):
        rng = np.random.default_rng([17, run])
        names = alone.hyperparameters
        truths = [{h: alone.priors[h].from_normal(rng.standard_normal()) for h in names} for _ in responses]
        levels = rng.uniform(*LEVELS, size=AT_ONCE)
        effects = np.column_stack([draw_effect(alone, graph, truth, rng)[:, 0] for truth in truths])
        linear = levels + effects
        weight = np.ceil(rng.uniform(5.0, 60.0, size=linear.shape))
        if likelihood == "binomial":
            counts = rng.binomial(weight.astype(int), special.expit(linear)).astype(float)
            counts[2] = np.nan
            data = binomial_observations(graph.ids, counts, weight)
        else:
            counts = rng.poisson(weight * np.exp(linear)).astype(float)
            counts[2] = np.nan
            data = poisson_observations(graph.ids, counts, weight)
        fit = sample_hmc(data, specification, graph, form=form, draws=1000, warmup=300, seed=run)
        drawn = special.logit(fit.theta) if likelihood == "binomial" else np.log(fit.theta)
        for k, (name, truth) in enumerate(zip(responses, truths, strict=True)):
            level = fit.beta[:, k]
            inside = (level > LEVELS[0]) & (level < LEVELS[1])
            found = {
                kind: fit.hyperparameters[inside, fit.names.index(f"{kind}[{name}]")] < truth[kind] for kind in truth
            }
            found["level"] = level[inside] < levels[k]
            found["one area"] = drawn[inside, 5, k] < linear[5, k]
            found["area without data"] = drawn[inside, 2, k] < linear[2, k]
            found["contrast"] = drawn[inside, 0, k] - drawn[inside, 15, k] < linear[0, k] - linear[15, k]
            for what, below in found.items():
                positions.setdefault(what, []).append((below.sum() + 0.5) / (inside.sum() + 1.0))
    for what, values in positions.items():
        assert len(values) == AT_ONCE * size(1, 20)
        assert stats.kstest(values, "uniform").pvalue > FAILURE_RATE, what
        spread = np.sum(special.ndtri(values) ** 2)
        assert 2.0 * min(stats.chi2.cdf(spread, len(values)), stats.chi2.sf(spread, len(values))) > FAILURE_RATE, what
