"""Counted outcomes as a user meets them: clusters from rows, seeds, stopping and going on, files, predictions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special
from smallarea.convergence import convergence
from smallarea.errors import Cancelled, ModelProblem, PriorProblem, TableProblem
from smallarea.trees import TreePrior
from smallarea.trees.structure import list_leaves
from smallarea.unit_level import BartsimpSettings, sample_bartsimp
from smallarea.unit_level.latent_chain import LatentChain
from smallarea.unit_level.likelihoods import count_clusters, counts_of, draw_observed
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.posterior_file import load_posterior, save_posterior
from smallarea.unit_level.sampler import prepare
from smallarea.unit_level.surface import SurfaceDraws

PRIOR = PcPrior(0.2, 0.05, 1.0, 0.05)
TREES = TreePrior(trees=5, min_leaf=1)
BINOMIAL = BartsimpSettings(likelihood="binomial", trees=TREES, range_points=10, field_prior=PRIOR)
COUNTS = replace(BINOMIAL, likelihood="negative_binomial")


def survey(likelihood, seed=1, n=40):
    random = np.random.default_rng(seed)
    place, x = random.random((n, 2)).round(3), random.random((n, 2)).round(3)
    eta = np.where(x[:, 0] > 0.5, 0.0, -2.0) + np.sin(3 * place[:, 0])
    if likelihood == "binomial":
        sizes = random.integers(5, 30, n)
        counts = random.binomial(sizes, special.expit(eta))
    else:
        sizes = random.uniform(0.5, 3.0, n)
        counts = random.poisson(sizes * np.exp(eta) * random.gamma(4.0, 0.25, n))
    return sizes, likelihood, counts, [f"c{i:02d}" for i in range(n)], place, x


def quick(clusters, settings, **more):
    return sample_bartsimp(clusters, settings, **{"chains": 2, "warmup": 40, "draws": 50, "seed": 4, **more})


@pytest.fixture(scope="module", params=[BINOMIAL, COUNTS], ids=lambda s: s.likelihood)
def fitted(request):
    clusters = count_clusters(*survey(request.param.likelihood))
    return clusters, request.param, quick(clusters, request.param)


def test_rows_of_a_cluster_are_added_up():
    place, x = np.array([[0.0, 0.0]] * 3 + [[1.0, 2.0]]), np.array([[1.0]] * 3 + [[2.0]])
    clusters = count_clusters([1, 1, 1, 4], "binomial", [1, 0, 1, 3], ["b", "b", "b", "a"], place, x)
    assert clusters.ids == ("b", "a")
    np.testing.assert_array_equal(clusters.sizes, [3.0, 4.0])
    np.testing.assert_array_equal(counts_of(clusters), [2.0, 3.0])
    # Sums of squares of the single trials about the shares.
    np.testing.assert_allclose(clusters.within, [2 * (1 / 3) ** 2 + (2 / 3) ** 2, 3 * (1 / 4) ** 2 + (3 / 4) ** 2])


@pytest.mark.parametrize(
    ("counts", "sizes", "likelihood", "error", "message"),
    [
        ([1.5, 2], [3, 3], "binomial", TableProblem, "whole numbers of 0 or more; .* rows 1 "),
        ([1, -2], [3, 3], "negative_binomial", TableProblem, "rows 2 "),
        ([1, 4], [3, 3], "binomial", TableProblem, "cannot be more than trials"),
        ([1, 0], [3, 0], "binomial", TableProblem, "Trials must be"),
        ([1, 0], [3, 0], "negative_binomial", TableProblem, "Exposures must be above 0"),
        ([0, 0], [3, 3], "binomial", ModelProblem, "Nothing was counted"),
        ([3, 3], [3, 3], "binomial", ModelProblem, "All trials"),
    ],
)
def test_counts_that_cannot_be_are_refused(counts, sizes, likelihood, error, message):
    with pytest.raises(error, match=message):
        count_clusters(sizes, likelihood, counts, ["a", "b"], np.zeros((2, 2)), np.zeros((2, 1)))


@pytest.mark.parametrize(
    "more", [{"field": "reduced"}, {"leaf_spread": "clusters"}, {"trees": TreePrior()}, {"likelihood": "poisson"}]
)
def test_settings_of_normal_outcomes_are_refused(more):
    with pytest.raises(ModelProblem):
        replace(BINOMIAL, **more)


def test_a_prior_without_scale_is_refused():
    with pytest.raises(PriorProblem, match="own_sd0"):
        replace(BINOMIAL, own_sd0=0.0)


def test_same_seed_same_draws_whatever_the_order_and_the_threads(fitted):
    _, settings, first = fitted
    sizes, likelihood, counts, ids, place, x = survey(settings.likelihood)
    order = np.random.default_rng(9).permutation(len(ids))
    again = count_clusters(sizes[order], likelihood, counts[order], [ids[i] for i in order], place[order], x[order])
    second = quick(again, settings, workers=1)
    np.testing.assert_array_equal(first.sigma_m, second.sigma_m)
    np.testing.assert_array_equal(first.forest.values, second.forest.values)
    np.testing.assert_array_equal(first.field, second.field)
    assert not np.array_equal(first.sigma_m, quick(again, settings, seed=5).sigma_m)


def test_a_stopped_run_goes_on_to_the_same_draws(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("smallarea.unit_level.sampler.SAVE", 0.05)
    clusters, settings, _ = fitted
    whole = quick(clusters, settings, draws=200)
    for share in (20.0, 60.0):
        file = tmp_path / f"{share}.npz"

        def stop(percent, text, at=share):
            if percent > at:
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            quick(clusters, settings, draws=200, checkpoint=file, progress=stop)
        resumed = quick(clusters, settings, draws=200, checkpoint=file)
        np.testing.assert_array_equal(whole.sigma_e, resumed.sigma_e)
        np.testing.assert_array_equal(whole.field, resumed.field)
        np.testing.assert_array_equal(whole.forest.values, resumed.forest.values)


def test_a_run_that_is_calibrated_goes_on_too(tmp_path):
    clusters = count_clusters(*survey("negative_binomial", n=20))
    long = {"warmup": 150, "draws": 40, "workers": 1}

    def stop(percent, text):
        if percent > 70.0:
            raise Cancelled("enough")

    whole = quick(clusters, COUNTS, **long)
    with pytest.raises(Cancelled):
        quick(clusters, COUNTS, checkpoint=tmp_path / "c.npz", progress=stop, **long)
    resumed = quick(clusters, COUNTS, checkpoint=tmp_path / "c.npz", **long)
    np.testing.assert_array_equal(whole.field, resumed.field)
    assert whole.diagnostics.acceptance == resumed.diagnostics.acceptance
    assert 0.0 < whole.diagnostics.acceptance["sweep"] < 1.0


@pytest.mark.parametrize("likelihood", ["binomial", "negative_binomial"])
def test_very_many_and_very_few_trials_stand_side_by_side(likelihood):
    """The level of what says most is found, and nothing overflows where next to nothing is said."""
    _, _, _, ids, place, x = survey(likelihood, n=16)
    sizes = np.where(np.arange(16) < 8, 1.0, 1e6)
    if likelihood == "negative_binomial":
        sizes[:8] = 1e-6
    counts = np.where(np.arange(16) < 8, 0.0, 200.0)
    settings = BINOMIAL if likelihood == "binomial" else COUNTS
    clusters = count_clusters(sizes, likelihood, counts, ids, place, x)
    drawn = quick(clusters, settings, warmup=250, draws=100)
    eta = drawn.trees_at(clusters.covariates) + drawn.field_at_clusters(np.arange(16)) + drawn.centre
    assert np.all(np.isfinite(eta))
    known = clusters.sizes > 1.0
    # 200 cases tell the level to 0.07; the clusters' own variables may take some of it.
    assert np.abs(eta[:, known].mean(axis=0) - np.log(2e-4)).max() < 0.3
    assert drawn.diagnostics.acceptance["sweep"] > 0.25


def test_a_saved_posterior_predicts_the_same(fitted, tmp_path):
    _, _, drawn = fitted
    save_posterior(drawn, tmp_path / "posterior.npz")
    again = load_posterior(tmp_path / "posterior.npz")
    random = np.random.default_rng(6)
    points, x = random.random((9, 2)), random.random((9, 2))
    np.testing.assert_array_equal(drawn.predict(points, x).total, again.predict(points, x).total)
    assert again.settings == drawn.settings


def test_predictions_and_surfaces_are_shares_or_rates(fitted):
    clusters, settings, drawn = fitted
    found = drawn.predict(clusters.coordinates, clusters.covariates)
    assert found.total.min() > 0.0
    if settings.likelihood == "binomial":
        assert found.total.max() < 1.0
    else:
        np.testing.assert_allclose(found.total, np.exp(found.trees + found.field))
    np.testing.assert_allclose(found.field, drawn.field, atol=1e-3)  # the field at the clusters is what was drawn
    assert np.corrcoef(found.total.mean(axis=0), clusters.means)[0, 1] > 0.6
    surface = SurfaceDraws(drawn, (0.0, 0.0, 1.0, 1.0)).draw(clusters.coordinates, clusters.covariates)
    assert np.corrcoef(surface.mean(axis=0), found.total.mean(axis=0))[0, 1] > 0.99


def test_observed_shares_and_rates_have_the_moments_of_their_likelihood():
    random, s = np.random.default_rng(3), np.full(40_000, 0.5)
    share = draw_observed(np.full((40_000, 1), -1.0), s, np.array([12.0]), "binomial", random)
    eta = -1.0 + 0.5 * np.random.default_rng(4).standard_normal(400_000)
    p = special.expit(eta)
    assert share.mean() == pytest.approx(p.mean(), abs=0.004)
    assert share.var() == pytest.approx(p.var() + np.mean(p * (1.0 - p)) / 12.0, rel=0.05)
    rate = draw_observed(np.full((40_000, 1), 0.7), s, np.array([3.0]), "negative_binomial", random)
    mean = np.exp(0.7)
    assert rate.mean() == pytest.approx(mean, rel=0.02)
    assert rate.var() == pytest.approx(mean / 3.0 + 0.25 * mean**2, rel=0.05)


def test_without_a_field_and_with_one_on_a_mesh(fitted):
    clusters, settings, _ = fitted
    plain = quick(clusters, replace(settings, field="none", field_prior=None))
    assert plain.field.shape == (100, 0)
    assert np.all(plain.sigma_m == 0.0)
    mesh = quick(clusters, replace(settings, field="mesh", mesh_nodes=80))
    assert mesh.field.shape == (100, mesh.mesh.n)
    for other in (plain, mesh):
        total = other.predict(clusters.coordinates, clusters.covariates).total
        assert np.corrcoef(total.mean(axis=0), clusters.means)[0, 1] > 0.6


@pytest.mark.parametrize("field", ["none", "mesh"])
def test_no_leaf_is_empty(field):
    """Where the kernel knows leaves by sums of precisions, which change in every sweep."""
    _, likelihood, counts, ids, place, x = survey("negative_binomial", n=14)
    sizes = 10.0 ** np.random.default_rng(2).uniform(-4.0, 4.0, 14)
    clusters = count_clusters(sizes, likelihood, np.rint(counts * np.maximum(sizes, 1.0)), ids, place, x.round(1))
    prior = TreePrior(trees=10, min_leaf=1, base=0.99, power=0.5)
    settings = replace(COUNTS, field=field, trees=prior, mesh_nodes=60)
    problem = prepare(clusters, settings)
    chain = LatentChain(
        clusters, settings, problem.scales, problem.cuts, problem.latent, np.random.SeedSequence(1), 150, 100
    )
    while not chain.finished:
        chain.advance()
        for tree, place in zip(chain._forest.nodes, chain._forest.place, strict=True):
            leaves, stack = np.zeros(99, np.int32), np.zeros(99, np.int32)
            count = list_leaves(tree, 0, leaves, stack)
            assert set(leaves[:count]) == set(place)


def test_a_fine_mesh_gives_what_the_exact_field_gives():
    clusters = count_clusters(*survey("binomial", n=25))
    settings = replace(BINOMIAL, trees=TreePrior(trees=0, min_leaf=1), field_prior=PcPrior(0.5, 0.05, 1.0, 0.05))
    settings = replace(settings, range_bounds=(0.6, 3.0), range_points=6)
    long = {"chains": 2, "warmup": 100, "draws": 400}
    fits = [quick(clusters, s, **long) for s in (settings, replace(settings, field="mesh", mesh_nodes=140))]
    for name in ("sigma_m", "sigma_e"):
        values = [getattr(fit, name) for fit in fits]
        ess = [convergence(v[..., None])[1][0] for v in values]
        error = np.sqrt(sum(v.var() / e for v, e in zip(values, ess, strict=True)))
        assert abs(values[0].mean() - values[1].mean()) < 4.0 * error + 0.02  # the mesh's own error
    linear = [fit.field_at_clusters(np.arange(clusters.n)) for fit in fits]
    assert np.abs(linear[0].mean(axis=0) - linear[1].mean(axis=0)).max() < 0.25
