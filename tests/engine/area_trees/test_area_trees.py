"""What the model does with data: curves and lines, missing areas, islands, precise areas, order, scales, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from smallarea.area_level import area_level_data, specify
from smallarea.area_trees import AreaTreesSettings, effect, sample_area_trees
from smallarea.area_trees.settings import true_spread
from smallarea.areas import AreaGraph
from smallarea.errors import Cancelled, GraphProblem, ModelProblem, PriorProblem
from smallarea.trees import TreePrior


def lattice(side, islands=0):
    number = np.arange(side * side).reshape(side, side)
    across = np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()])
    up = np.column_stack([number[:-1].ravel(), number[1:].ravel()])
    return AreaGraph.from_edges([f"a{i:03d}" for i in range(side * side + islands)], np.vstack([across, up]))


def survey(graph, seed=1, noise=0.2, truth=lambda x: 2.0 * (x[:, 0] > 0.5)):
    random = np.random.default_rng(seed)
    n = len(graph.ids)
    x = random.random((n, 2))
    theta = truth(x) + 0.3 * random.standard_normal(n)
    variance = noise * random.uniform(0.5, 1.5, n)
    direct = theta + np.sqrt(variance) * random.standard_normal(n)
    return area_level_data(graph.ids, direct, variance, x, ["one", "two"]), theta


def quick(data, model, graph, **more):
    settings = {"chains": 2, "warmup": 300, "draws": 500, "seed": 4, "workers": 1} | more
    return sample_area_trees(data, model, graph, **settings)


def test_the_same_seed_gives_the_same_draws_in_any_order_of_the_areas_and_with_any_number_of_threads():
    graph = lattice(5)
    data, _ = survey(graph)
    model = specify(random_effect="car")
    first = quick(data, model, graph, draws=60, workers=1)
    again = quick(data, model, graph, draws=60, workers=3)
    np.testing.assert_array_equal(first.theta, again.theta)
    turned = np.random.default_rng(0).permutation(25)
    other = area_level_data(
        [data.areas[i] for i in turned], data.direct[turned], data.variance[turned], data.covariates[turned],
        data.covariate_names,
    )  # fmt: skip
    moved = quick(other, model, graph.reorder(other.areas), draws=60)
    np.testing.assert_array_equal(moved.theta, first.theta[:, turned])
    np.testing.assert_array_equal(moved.shrinkage, first.shrinkage[turned])
    different = quick(data, model, graph, draws=60, seed=5)
    assert np.abs(different.theta - first.theta).max() > 0.0


def test_other_units_and_monotone_covariates_change_nothing_but_the_unit():
    graph = lattice(5)
    data, _ = survey(graph)
    model = specify(random_effect="leroux")
    first = quick(data, model, graph, draws=60)
    # A power of two keeps every rounding, so the chains stay together.
    scaled = replace(
        data, direct=1024.0 * data.direct, variance=1024.0**2 * data.variance, covariates=np.exp(3.0 * data.covariates)
    )
    np.testing.assert_allclose(quick(scaled, model, graph, draws=60).theta, 1024.0 * first.theta, rtol=1e-9)


def test_precise_areas_keep_their_direct_estimates():
    graph = lattice(5)
    data, _ = survey(graph)
    precise = replace(data, variance=np.where(np.arange(25) % 2 == 0, 1e-10, data.variance))
    drawn = quick(precise, specify(random_effect="car"), graph)
    np.testing.assert_allclose(drawn.theta[:, ::2], np.broadcast_to(data.direct[::2], (1000, 13)), atol=1e-4)
    np.testing.assert_allclose(drawn.shrinkage[::2], 1.0, atol=1e-6)
    assert (drawn.theta[:, 1::2].std(axis=0) > 0.05).all()


@pytest.mark.parametrize(("kind", "part"), [("car", True), ("car", False), ("leroux", False), ("iid", None)])
def test_areas_without_a_direct_estimate_and_islands(kind, part):
    graph = lattice(5, islands=2)
    data, _ = survey(graph)
    gone = [3, 11, 26]  # the last one is an island
    direct, variance = data.direct.copy(), data.variance.copy()
    direct[gone] = variance[gone] = np.nan
    data = area_level_data(data.areas, direct, variance, data.covariates, data.covariate_names)
    drawn = quick(data, specify(random_effect=kind, iid_part=part), graph if kind != "iid" else None)
    assert np.isfinite(drawn.theta).all()
    assert np.isnan(drawn.shrinkage[gone]).all()
    assert np.isfinite(np.delete(drawn.shrinkage, gone)).all()
    effects = drawn.theta - drawn.trees
    if (kind, part) == ("car", False):
        np.testing.assert_allclose(effects[:, 25:], 0.0, atol=1e-9)
        return
    # An island's effect is independent of everything: its variance is that of its own part.
    h = {name: values.ravel() for name, values in drawn.hyperparameters.items()}
    own = h["sd_phi"] ** 2 / (1.0 - h["rho"]) if kind == "leroux" else h["sd_delta"] ** 2
    standard = effects[:, 26] / np.sqrt(own)
    assert abs(standard.mean()) < 4.0 / np.sqrt(len(standard))
    assert standard.std() == pytest.approx(1.0, abs=4.0 / np.sqrt(2.0 * len(standard)))


def test_trees_find_a_step_that_a_line_cannot_follow_and_intervals_cover():
    graph = lattice(12)
    covered, errors = [], []
    for seed in (1, 2, 3):
        data, theta = survey(graph, seed, noise=0.5, truth=lambda x: 2.0 * ((x[:, 0] > 0.5) != (x[:, 1] > 0.5)))
        drawn = quick(data, specify(random_effect="iid"), None)
        lower, upper = np.quantile(drawn.theta, [0.025, 0.975], axis=0)
        covered.append((lower <= theta) & (theta <= upper))
        errors.append(np.sqrt(np.mean((drawn.theta.mean(axis=0) - theta) ** 2)))
    assert 0.9 <= np.mean(covered) <= 0.99
    # Half of the areas are at 0 and half at 2: a model without trees cannot be better than the shrunk estimates.
    shrunk = np.sqrt(0.5 * 1.09 / (0.5 + 1.09))
    assert np.mean(errors) < 0.75 * shrunk


def test_the_spread_of_true_values_is_not_that_of_noise():
    random = np.random.default_rng(3)
    theta = random.standard_normal(2000)
    for noise in (0.01, 4.0):
        v = noise * random.uniform(0.2, 3.0, 2000)
        y = theta + np.sqrt(v) * random.standard_normal(2000)
        mean, spread = true_spread(y, v)
        assert mean == pytest.approx(0.0, abs=0.25)
        # Of 2,000 standard normal values the range is 6.9 on average; the noisy direct estimates reach twice as far.
        assert spread == pytest.approx(6.9, abs=1.3)
    exact = true_spread(theta, np.full(2000, 1e-12))
    assert exact[1] == pytest.approx(np.ptp(theta), rel=1e-6)


def test_leaf_k_holds_the_trees():
    graph = lattice(6)
    data, _ = survey(graph)
    spread = [
        quick(data, specify(random_effect="iid"), None, settings=AreaTreesSettings(leaf_k=k)).trees.mean(axis=0).std()
        for k in (1.0, 8.0)
    ]
    assert spread[1] < 0.8 * spread[0]


def test_leaves_hold_areas_whatever_their_variances():
    graph = lattice(5)
    data, _ = survey(graph, noise=1e-6)
    settings = AreaTreesSettings(TreePrior(trees=3, min_leaf=6))
    drawn = quick(data, specify(random_effect="iid"), None, settings=settings)
    bins = drawn.cuts.bins(data.covariates)
    # With one rule at most: the smaller side of every stump with a single split.
    for tree in range(0, len(drawn.forest.starts) - 1, 50):
        begin, end = drawn.forest.starts[tree : tree + 2]
        if end - begin == 3:
            left = (bins[:, drawn.forest.variables[begin]] <= drawn.forest.cuts[begin]).sum()
            assert 6 <= left <= 19


def test_progress_reaches_the_end_and_may_stop():
    graph = lattice(4)
    data, _ = survey(graph)
    seen = []
    quick(
        data, specify(random_effect="car"), graph, draws=20, progress=lambda percent, text: seen.append((percent, text))
    )
    percents = [percent for percent, _ in seen]
    assert percents == sorted(percents)
    assert percents[-1] == 100.0
    assert {"factoring the area effect", "sampling"} <= {text for _, text in seen}

    def stop(percent, text):
        if text == "sampling":
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        quick(data, specify(random_effect="iid"), None, draws=100_000, progress=stop)


def test_what_is_refused(monkeypatch):
    graph = lattice(5)
    data, _ = survey(graph)
    few = area_level_data(data.areas[:6], data.direct[:6], data.variance[:6], data.covariates[:6], data.covariate_names)
    with pytest.raises(ModelProblem, match=r"6 areas .* at least 10 are needed"):
        quick(few, specify(random_effect="iid"), None)
    with pytest.raises(GraphProblem, match="which areas are neighbours"):
        quick(data, specify(random_effect="car"), None)
    alone = AreaGraph.from_edges(graph.ids, [])
    with pytest.raises(GraphProblem, match="No sampled area has a neighbour"):
        quick(data, specify(random_effect="car", iid_part=False), alone)
    with pytest.raises(PriorProblem, match="is not one that a model with trees takes"):
        quick(data, specify(random_effect="car", priors={"sd_phi": "Fixed(1)"}), graph)
    with pytest.raises(PriorProblem, match="leaf_k must be positive"):
        AreaTreesSettings(leaf_k=0.0)
    monkeypatch.setattr(effect, "LARGEST_BYTES", 300_000)
    with pytest.raises(ModelProblem, match="Use random_effect 'leroux'"):
        quick(data, specify(random_effect="car"), graph)
    monkeypatch.setattr(effect, "MOST_AREAS", 24)
    with pytest.raises(ModelProblem, match="25 areas have a direct estimate"):
        quick(data, specify(random_effect="iid"), None)
    monkeypatch.setattr(effect, "MOST_AREAS", 25)
    monkeypatch.setattr(effect, "LARGEST_BYTES", 30_000)
    with pytest.raises(ModelProblem, match="the linear model of the task fit"):
        quick(data, specify(random_effect="leroux"), graph)


def test_fixed_hyperparameters_stay_where_they_are():
    graph = lattice(5)
    data, _ = survey(graph)
    model = specify(random_effect="car", iid_part=False, priors={"sd_phi": "Fixed(0.5)", "rho": "Fixed(0.7)"})
    drawn = quick(data, model, graph, draws=50)
    np.testing.assert_allclose(drawn.hyperparameters["sd_phi"], 0.5 * drawn.scales.scale)
    np.testing.assert_allclose(drawn.hyperparameters["rho"], 0.7)
    assert drawn.diagnostics.ess == {}
