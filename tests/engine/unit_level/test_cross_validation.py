"""Scores of left-out clusters: against formulas, against a known truth, and for the real baselines."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats
from smallarea.errors import Cancelled, JobProblem
from smallarea.gmrf.mesh import MeshSizes, build_mesh
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.cross_validation import cross_validate, score_points, summarise
from smallarea.unit_level.folds import cluster_folds
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.spde_linear import SpdeSettings, fit_spde

SLOPE, SIGMA_E = 1.5, 0.8


@dataclass(frozen=True)
class Prediction:
    total: np.ndarray


@dataclass(frozen=True)
class Known:
    """A posterior that knows the slope, off by a shift, with a given uncertainty of the expected outcome."""

    shift: float
    spread: float
    seed: int
    draws: int = 2_000

    @property
    def sigma_e(self):
        return np.full((4, self.draws // 4), SIGMA_E)

    def predict(self, points, covariates):
        noise = np.random.default_rng(self.seed).standard_normal((self.draws, 1))
        return Prediction(SLOPE * covariates[:, 0] + self.shift + self.spread * noise)


@pytest.fixture(scope="module")
def clusters():
    rng = np.random.default_rng(1)
    n = 120
    place, x, sizes = rng.uniform(size=(n, 2)), rng.normal(size=(n, 1)), rng.integers(1, 9, n)
    rows = np.repeat(np.arange(n), sizes)
    y = SLOPE * x[rows, 0] + SIGMA_E * rng.standard_normal(len(rows))
    return Clusters.from_rows(y, rows, place[rows], x[rows], strata=np.where(rows % 3, "rural", "urban"))


def test_scores_of_normal_draws_against_formulas():
    rng = np.random.default_rng(2)
    truth = np.array([0.0, 1.0, 3.0])
    found = score_points(truth, 2.0 * rng.standard_normal((200_000, 3)) + 1.0, 0.9)
    z = (truth - 1.0) / 2.0
    crps = 2.0 * (z * (2.0 * stats.norm.cdf(z) - 1.0) + 2.0 * stats.norm.pdf(z) - 1.0 / np.sqrt(np.pi))
    # Four standard errors: a draw's distance has a standard deviation of at most 2.
    np.testing.assert_allclose(found["crps"], crps, atol=4.0 * 2.0 / np.sqrt(200_000))
    np.testing.assert_allclose(found["width"], 4.0 * stats.norm.ppf(0.95), atol=0.05)
    np.testing.assert_array_equal(found["covered"], 1.0)
    np.testing.assert_allclose(found["error"], [1.0, 0.0, -2.0], atol=0.02)
    far = score_points(np.array([11.0]), np.zeros((10, 1)), 0.9)
    # An interval of no width misses by 11: 2 / 0.1 * 11.
    assert far["interval_score"][0] == pytest.approx(220.0)
    assert summarise(found)["rmse"] == pytest.approx(np.sqrt(np.mean(found["error"] ** 2)))


def test_the_error_of_a_mean_belongs_to_the_interval(clusters):
    folds = cluster_folds(clusters.n, 5, np.random.default_rng(3), clusters.strata)
    found = cross_validate({"known": lambda part, seed: Known(0.0, 0.0, seed)}, clusters, folds, level=0.9)
    points = found.points["known"]
    width = 2.0 * stats.norm.ppf(0.95) * SIGMA_E / np.sqrt(clusters.sizes)
    # The quantiles of 2,000 draws err by about 5 % in width.
    np.testing.assert_allclose(points["width"], width, rtol=0.2)
    assert np.mean(points["width"] / width) == pytest.approx(1.0, abs=0.02)
    assert points["covered"].mean() == pytest.approx(0.9, abs=3.0 * np.sqrt(0.09 / clusters.n))
    assert list(points["cluster"]) == list(clusters.ids)
    np.testing.assert_array_equal(points["fold"], folds)
    np.testing.assert_allclose(points["observed"], clusters.means)


def test_models_see_the_same_folds_and_the_better_one_is_found(clusters):
    seen = {"good": [], "wide": []}

    def model(name, spread):
        def fit(part, seed):
            seen[name].append((part.ids, seed))
            return Known(0.0, spread, seed)

        return fit

    folds = cluster_folds(clusters.n, 4, np.random.default_rng(4))
    found = cross_validate({"good": model("good", 0.0), "wide": model("wide", 3.0)}, clusters, folds)
    assert seen["good"] == seen["wide"]
    assert all(len(ids) == 90 for ids, _ in seen["good"])
    table = found.table().set_index("model")
    assert table.loc["good", "crps"] < table.loc["wide", "crps"]
    mean, error = found.difference("good", "wide")
    assert mean == pytest.approx(table.loc["good", "crps"] - table.loc["wide", "crps"])
    assert mean < -2.0 * error
    assert "better than wide" in found.verdict("good", "wide")
    assert "prefer good" in found.verdict("wide", "good")
    assert found.difference("wide", "good")[1] == pytest.approx(error)


def test_two_models_alike_do_not_pay(clusters):
    folds = cluster_folds(clusters.n, 4, np.random.default_rng(5))
    models = {
        "trees": lambda part, seed: Known(0.02, 0.1, seed + 1),
        "line": lambda part, seed: Known(-0.02, 0.1, seed),
    }
    assert "does not pay" in cross_validate(models, clusters, folds).verdict("trees", "line")


def test_same_seed_same_scores_and_cancelling(clusters):
    folds = cluster_folds(clusters.n, 3, np.random.default_rng(6))
    models = {"known": lambda part, seed: Known(0.0, 0.2, seed)}
    one, same = (cross_validate(models, clusters, folds, seed=8).table() for _ in range(2))
    assert one.equals(same)
    assert not one.equals(cross_validate(models, clusters, folds, seed=9).table())

    def stop(percent, text):
        if percent > 50.0:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        cross_validate(models, clusters, folds, progress=stop)


def test_the_linear_baselines_side_by_side(clusters):
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    mesh = build_mesh(corners, MeshSizes(0.15, 0.4, 0.5))
    prior = PcPrior(0.5, 0.1, 1.0, 0.1)

    def model(covariates):
        settings = SpdeSettings(covariates=covariates, field_prior=prior, draws=200)
        return lambda part, seed: fit_spde(part, settings, mesh=mesh, seed=seed)

    folds = cluster_folds(clusters.n, 3, np.random.default_rng(7), clusters.strata)
    found = cross_validate({"SPDE": model(True), "SPDE0": model(False)}, clusters, folds)
    table = found.table().set_index("model")
    # The covariate explains most; without it the error is that of its slope.
    assert table.loc["SPDE", "rmse"] < 0.5 * table.loc["SPDE0", "rmse"]
    # Three standard errors of a share of 120. Without the covariate no part of the model is rough enough, and the
    # intervals are too narrow.
    assert table.loc["SPDE", "coverage"] == pytest.approx(0.95, abs=3.0 * np.sqrt(0.95 * 0.05 / 120))
    assert table.loc["SPDE0", "coverage"] < 0.8
    assert "better than SPDE0" in found.verdict("SPDE", "SPDE0")


def test_what_is_refused(clusters):
    models = {"known": lambda part, seed: Known(0.0, 0.2, seed)}
    for folds in (np.zeros(clusters.n, dtype=int), np.arange(5)):
        with pytest.raises(JobProblem, match="at least two folds"):
            cross_validate(models, clusters, folds)
    found = cross_validate(models, clusters, np.arange(clusters.n) % 2)
    with pytest.raises(JobProblem, match="'other' was not"):
        found.difference("known", "other")
