"""With a normal likelihood the posterior is the one of the exact engine, whatever form the effect has."""

import os

import numpy as np
import pytest
from smallarea.area_level import build_model, sample_posterior, specify
from smallarea.area_level.hmc import filter_field, normal_observations, sample_hmc
from smallarea.errors import GraphProblem, JobProblem, ModelProblem, PriorProblem
from smallarea.priors.families import family

TWO = ("a", "b")

# Compiling and running several responses takes minutes.
MINUTES = pytest.mark.skipif(
    os.environ.get("SMALLAREA_STUDY") != "full", reason="takes minutes; SMALLAREA_STUDY=full runs it"
)


def compare(specification, data, graph, agree, **options) -> None:
    """Hyperparameters, coefficients and areas against the exact engine."""
    exact = sample_posterior(build_model(specification, data, graph), specification, draws=4000, min_ess=3000)
    fit = sample_hmc(normal_observations(data, graph.ids), specification, graph, draws=1600, warmup=300, **options)
    assert fit.diagnostics.r_hat_max < 1.05
    assert fit.names == specification.hyperparameters
    agree(fit.hyperparameters, fit.chains, exact.hyperparameters, fit.names)
    agree(fit.beta, fit.chains, exact.beta, range(fit.beta.shape[1]))
    cells = [(i, k) for i in range(data.shape[0]) for k in range(data.shape[1])]
    agree(fit.theta.reshape(1600, -1), fit.chains, exact.theta.reshape(4000, -1), cells)
    width = (exact.upper - exact.lower) / 4.0
    assert np.max(np.abs(fit.synthetic - exact.synthetic) / exact.sd) < 0.3
    # Without neighbours a Leroux effect has the variance 1 / (1 - rho): chance moves quantiles of tails that heavy.
    linked = np.asarray(graph.degrees) > 0
    assert np.max((np.abs(fit.lower - exact.lower) / width)[linked]) < 0.4


@pytest.mark.parametrize(
    ("effect", "form", "islands"),
    [
        ("car", "density", 0),
        ("leroux", "density", 1),
        ("car", "filter", 1),
        ("bym2", "filter", 1),
    ],
)
def test_one_response(effect, form, islands, planar_graph, stacked, agree) -> None:
    graph = planar_graph(40, islands=islands)
    compare(specify(["x1", "x2"], random_effect=effect), stacked(graph, 1), graph, agree, form=form)


@MINUTES
@pytest.mark.parametrize("effect", ["car", "bym2"])
def test_one_response_as_on_a_large_map(effect, planar_graph, stacked, agree, monkeypatch) -> None:
    """Smooth modes with coordinates of their own, the rest through polynomials."""
    monkeypatch.setattr(filter_field, "EVERY_MODE_UP_TO", 0)
    graph = planar_graph(40, islands=1)
    compare(specify(["x1", "x2"], random_effect=effect), stacked(graph, 1), graph, agree, form="filter")


@MINUTES
def test_two_responses_with_one_covariance_and_correlated_sampling_errors(planar_graph, stacked, agree) -> None:
    graph = planar_graph(40, islands=1)
    data = stacked(graph, 2, coupled=True)
    compare(specify(["x1", "x2"], responses=TWO, link="separable"), data, graph, agree)


@MINUTES
def test_a_chain_of_responses(planar_graph, stacked, agree) -> None:
    graph = planar_graph(40, islands=1)
    specification = specify(["x1", "x2"], responses=TWO, link="chain", order=("b", "a"))
    compare(specification, stacked(graph, 2), graph, agree)


@MINUTES
def test_a_chain_through_the_filter(planar_graph, stacked, agree) -> None:
    graph = planar_graph(40)
    specification = specify(["x1", "x2"], responses=TWO, link="chain")
    compare(specification, stacked(graph, 2), graph, agree, form="filter")


@MINUTES
def test_three_correlated_iid_effects(planar_graph, stacked, agree) -> None:
    graph = planar_graph(40)
    specification = specify(["x1", "x2"], responses=("a", "b", "c"), random_effect="iid", link="separable")
    compare(specification, stacked(graph, 3), graph, agree)


@MINUTES
def test_other_priors(planar_graph, stacked, agree) -> None:
    graph = planar_graph(40)
    priors = {"sd_phi": "HalfStudentT(3, 0.7)", "rho": "Beta(4, 2)", "sd_delta": "PC(1, 0.1)"}
    compare(specify(["x1", "x2"], priors=priors), stacked(graph, 1), graph, agree)


def test_a_learned_prior_bounds_rho_and_says_so(planar_graph, stacked) -> None:
    from smallarea.priors.graph_filter import standard_filter

    graph = planar_graph(30)
    prior = standard_filter(family("car", lower=0.1, upper=0.8), graph)
    data = normal_observations(stacked(graph, 1), graph.ids)
    low, high = (h for h in (prior.family.hyperparameters[0].lower, prior.family.hyperparameters[0].upper))
    fit = sample_hmc(data, specify(["x1", "x2"]), graph, prior=prior, warmup=50, draws=40)
    rho = fit.hyperparameters[:, fit.names.index("rho")]
    assert fit.form == "prior"
    assert low <= rho.min() <= rho.max() <= high
    assert any("truncated" in note for note in fit.notes)
    with pytest.raises(PriorProblem, match="outside"):
        sample_hmc(data, specify(["x1", "x2"], priors={"rho": "Uniform(0.85, 1)"}), graph, prior=prior)


def test_same_seed_same_draws(planar_graph, stacked) -> None:
    graph = planar_graph(30)
    data = normal_observations(stacked(graph, 1), graph.ids)
    specification = specify(["x1", "x2"])
    first, second = (sample_hmc(data, specification, graph, warmup=30, draws=40, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.theta, second.theta)


def test_what_does_not_fit_together_is_refused(planar_graph, stacked) -> None:
    graph = planar_graph(30)
    data = normal_observations(stacked(graph, 1), graph.ids)
    with pytest.raises(ModelProblem, match="filter"):
        sample_hmc(data, specify(["x1", "x2"], random_effect="icar"), graph, form="density")
    with pytest.raises(ModelProblem, match="Bayesian"):
        sample_hmc(data, specify(["x1", "x2"], method="reml"), graph)
    with pytest.raises(ModelProblem, match="responses"):
        sample_hmc(data, specify(["x1", "x2"], responses=TWO), graph)
    with pytest.raises(GraphProblem, match="order"):
        sample_hmc(data, specify(["x1", "x2"]), graph.reorder(graph.ids[::-1]))
    with pytest.raises(GraphProblem, match="graph"):
        sample_hmc(data, specify(["x1", "x2"]))
    with pytest.raises(JobProblem, match="multiple"):
        sample_hmc(data, specify(["x1", "x2"]), graph, draws=41)
    with pytest.raises(JobProblem, match="belong together"):
        sample_hmc(data, specify(["x1", "x2"]), graph, form="prior")


def test_cancelling_from_progress(planar_graph, stacked) -> None:
    class Stop(Exception):
        pass

    def progress(percent: float, text: str) -> None:
        assert 0.0 < percent <= 100.0
        assert "step" in text
        raise Stop

    graph = planar_graph(30)
    data = normal_observations(stacked(graph, 1), graph.ids)
    with pytest.raises(Stop):
        sample_hmc(data, specify(["x1", "x2"]), graph, warmup=30, draws=40, progress=progress)
