"""Periods of one quantity: a spatial field that is autoregressive in time, decoded or by its density."""

import os

import numpy as np
import pytest
from smallarea.area_level import build_model, sample_posterior
from smallarea.area_level.hmc import normal_observations, poisson_observations, sample_hmc
from smallarea.area_level.space_time_specification import specify_space_time
from smallarea.area_level.stacked import stack_periods


@pytest.mark.skipif(os.environ.get("SMALLAREA_STUDY") != "full", reason="takes minutes; SMALLAREA_STUDY=full runs it")
@pytest.mark.parametrize("form", ["density", "filter"])
def test_normal_periods_against_the_exact_engine(form, planar_graph, scaled_data, agree) -> None:
    graph, periods = planar_graph(16), 3
    data = stack_periods(scaled_data(16 * periods), periods)
    specification = specify_space_time(["x1", "x2"], periods=("1", "2", "3"))
    exact = sample_posterior(build_model(specification, data, graph), specification, draws=4000, min_ess=3000)
    fit = sample_hmc(normal_observations(data, graph.ids), specification, graph, form=form, draws=1600, warmup=300)
    assert fit.names == specification.hyperparameters
    assert fit.diagnostics.r_hat_max < 1.05
    agree(fit.hyperparameters, fit.chains, exact.hyperparameters, fit.names)
    agree(fit.beta, fit.chains, exact.beta, range(3))
    agree(fit.theta.reshape(1600, -1), fit.chains, exact.theta.reshape(4000, -1), range(16 * periods))


def test_counts_of_several_periods_share_their_coefficients(planar_graph) -> None:
    graph = planar_graph(16)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(16, 3, 1))
    counts = rng.poisson(20.0 * np.exp(0.5 * x[:, :, 0])).astype(float)
    counts[3, 1] = np.nan
    data = poisson_observations(graph.ids, counts, np.full((16, 3), 20.0), x, ["x"], common=True)
    specification = specify_space_time(["x"], periods=("1", "2", "3"))
    fit = sample_hmc(data, specification, graph, warmup=200, draws=400)
    assert fit.theta.shape == (400, 16, 3)
    transform, _ = data.coefficients_to_input()
    slope = (fit.beta @ transform.T)[:, 1]
    assert abs(slope.mean() - 0.5) < 4.0 * slope.std()
