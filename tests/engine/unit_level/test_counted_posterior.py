"""Posteriors of counted outcomes against integrals over everything that is unknown."""

from itertools import product

import numpy as np
import pytest
from scipy import integrate, special, stats
from smallarea.convergence import convergence
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings, sample_bartsimp
from smallarea.unit_level.latent_calibration import Calibration
from smallarea.unit_level.likelihoods import count_clusters, counts_of, expected
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.spde_counted import fit_counted_spde

PRIOR = PcPrior(0.5, 0.5, 1.0, 0.05)
BOUNDS = (0.4, 2.0)
PLACES = np.array([[0.0, 0.0], [0.0, 0.5], [0.9, 0.1]])
# Nodes of Gauss and Hermite for one, two and three unknowns, and of each standard deviation.
NODES, LEVELS = (300, 80, 40), 14


def three_clusters(likelihood, counts, sizes, covariate=(0.0, 1.0, 1.0)):
    return count_clusters(sizes, likelihood, counts, list("abc"), PLACES, np.array(covariate)[:, None])


def log_likelihood(eta, sigma, clusters, likelihood):
    y, n = counts_of(clusters), clusters.sizes
    if likelihood == "binomial":
        return np.sum(y * eta - n * np.logaddexp(0.0, eta), axis=-1)
    size = sigma**-2.0
    return stats.nbinom.logpmf(y, size, size / (size + n * np.exp(eta))).sum(axis=-1)


def lattice(dimension, count):
    nodes, weights = special.roots_hermitenorm(count)
    weights = np.array(list(product(weights / weights.sum(), repeat=dimension)))
    kept = weights.prod(axis=1) > 1e-14
    return np.array(list(product(nodes, repeat=dimension)))[kept], np.log(weights[kept]).sum(axis=1)


def brute_force(clusters, settings, leaf, density=log_likelihood, linear=None):
    """Posterior means by quadrature: of both sigmas, the second range, a split, and the linear predictor.

    With a ``linear`` part, its columns times their prior standard deviation (3, q), also of the coefficients over it.
    """
    likelihood, share = settings.likelihood, clusters.mean
    centre = np.log(share / (1.0 - share)) if likelihood == "binomial" else np.log(share)
    rules = [lattice(k + 1, count) for k, count in enumerate(NODES)]
    logs = np.linspace(np.log(1e-3), np.log(4.0), LEVELS)
    has_field, has_trees = settings.field != "none", settings.trees.trees > 0
    x = clusters.covariates[:, 0]
    designs = [np.zeros((3, 3))]
    log_designs = [0.0]
    if has_trees:
        designs = [leaf**2 * np.ones((3, 3)), leaf**2 * (x[:, None] == x)]
        log_designs = [np.log1p(-settings.trees.base), np.log(settings.trees.base)]
    if linear is not None:
        designs = [linear @ linear.T]
    ranges = BOUNDS if has_field else (1.0,)
    found = []
    for g, spatial_range in enumerate(ranges):
        correlation = matern_correlation(distances(clusters.coordinates), spatial_range)
        for log_m in logs if has_field else logs[:1]:
            prior = 0.0
            if has_field:
                prior = log_m - PRIOR.sd_rate * np.exp(log_m) - np.log(spatial_range) - PRIOR.range_rate / spatial_range
            for log_e in logs:
                own = np.exp(2.0 * log_e) * np.eye(3) if likelihood == "binomial" else 0.0
                of_field = np.exp(2.0 * log_m) * correlation if has_field else np.zeros((3, 3))
                for t, design in enumerate(designs):
                    whole = of_field + own + design
                    values, vectors = np.linalg.eigh(whole)
                    kept = values > 1e-12 * values[-1]
                    z, log_w = rules[kept.sum() - 1]
                    root = vectors[:, kept] * np.sqrt(values[kept])
                    eta = z @ root.T
                    level = log_w + density(centre + eta, np.exp(log_e), clusters, likelihood)
                    top = level.max()
                    w = np.exp(level - top)
                    seen = np.linalg.pinv(whole, rcond=1e-12) @ (w @ eta) / w.sum()
                    log_p = top + np.log(w.sum()) + prior + log_designs[t]
                    log_p += log_e - settings.own_rate * np.exp(log_e)
                    surface = (of_field + design) @ seen
                    scores = [] if linear is None else linear.T @ seen
                    found.append([log_p, np.exp(log_e), np.exp(log_m), g, t, *surface, *scores])
    found = np.array(found)
    p = np.exp(found[:, 0] - found[:, 0].max())
    return p @ found[:, 1:] / p.sum()


def by_chains(clusters, settings, draws):
    posterior = sample_bartsimp(clusters, settings, chains=4, warmup=200, draws=draws, seed=11, workers=1)
    shape = posterior.sigma_e.shape
    which = np.arange(clusters.n)
    surface = posterior.trees_at(clusters.covariates) + posterior.field_at_clusters(which)
    split = np.zeros(shape)
    if settings.trees.trees:
        split = (posterior.forest.leaf_counts()[:, 0] == 2).reshape(shape).astype(float)
    columns = [posterior.sigma_e, posterior.sigma_m, posterior.range_at, split]
    stack = np.stack([*columns, *[surface[:, i].reshape(shape) for i in which]], axis=2)
    return stack, posterior


def agree(clusters, settings, draws, which, density=log_likelihood):
    stack, posterior = by_chains(clusters, settings, draws)
    wanted = brute_force(clusters, settings, posterior.scales.leaf, density)
    _, ess = convergence(stack)
    for k in which:
        values = stack[:, :, k]
        assert ess[k] > 200.0
        assert abs(values.mean() - wanted[k]) < 4.0 * values.std() / np.sqrt(ess[k]) + 2e-3, k
    return posterior


def settings_of(likelihood, **more):
    return BartsimpSettings(
        likelihood=likelihood, field_prior=PRIOR, range_points=2, range_bounds=BOUNDS,
        **{"trees": TreePrior(trees=0, min_leaf=1), **more},
    )  # fmt: skip


def test_binomial_field_without_trees():
    clusters = three_clusters("binomial", [1, 5, 2], [6, 7, 2])
    agree(clusters, settings_of("binomial"), 900, (0, 1, 2, 4, 5, 6))


def test_negative_binomial_field_without_trees():
    clusters = three_clusters("negative_binomial", [0, 3, 5], [1.5, 2.0, 1.2])
    agree(clusters, settings_of("negative_binomial"), 900, (0, 1, 2, 4, 5, 6))


def test_counts_without_overdispersion_are_poisson_counts():
    def poisson(eta, sigma, clusters, likelihood):
        return stats.poisson.logpmf(counts_of(clusters), clusters.sizes * np.exp(eta)).sum(axis=-1)

    clusters = three_clusters("negative_binomial", [0, 3, 5], [1.5, 2.0, 1.2])
    agree(clusters, settings_of("negative_binomial", own_sd0=0.02), 900, (1, 2, 4, 5, 6), poisson)


@pytest.mark.parametrize(("likelihood", "sizes"), [("binomial", [8, 9, 7]), ("negative_binomial", [1.0, 2.0, 1.5])])
def test_one_tree_with_one_cut(likelihood, sizes):
    clusters = three_clusters(likelihood, [1, 7, 4], sizes)
    settings = settings_of(likelihood, trees=TreePrior(trees=1, min_leaf=1, base=0.6), field="none")
    agree(clusters, settings, 900, (0, 3, 4, 5, 6))


def test_one_tree_and_a_field():
    clusters = three_clusters("binomial", [1, 7, 4], [8, 9, 7])
    settings = settings_of("binomial", trees=TreePrior(trees=1, min_leaf=1, base=0.6))
    agree(clusters, settings, 900, (0, 1, 2, 3, 4, 5, 6))


@pytest.mark.parametrize(
    ("likelihood", "counts", "sizes"),
    [("binomial", [1, 5, 2], [6, 7, 2]), ("negative_binomial", [0, 3, 5], [1.5, 2.0, 1.2])],
)
def test_a_linear_model_with_a_field(likelihood, counts, sizes):
    clusters, settings = three_clusters(likelihood, counts, sizes, (0.3, 1.1, 0.8)), settings_of(likelihood)
    x = clusters.covariates[:, 0]
    drawn = fit_counted_spde(
        clusters, settings, coefficient_sd=1.5, standard=(np.zeros(1), np.ones(1)), chains=4, warmup=200, draws=900,
        seed=7, workers=1,
    )  # fmt: skip
    design = np.column_stack([np.ones(3), x])
    wanted = brute_force(clusters, settings, 0.0, linear=1.5 * design)
    eta = drawn.predict(clusters.coordinates, clusters.covariates).linear - drawn.field.centre
    beta = drawn.coefficients - [drawn.field.centre, 0.0]
    columns = [drawn.sigma_e, drawn.field.sigma_m, drawn.field.range_at, *eta.T, *(beta / 1.5).T]
    stack = np.stack([np.reshape(c, drawn.sigma_e.shape) for c in columns], axis=2)
    _, ess = convergence(stack)
    assert ess.min() > 200.0
    error = stack.std(axis=(0, 1)) / np.sqrt(ess)
    assert np.all(np.abs(stack.mean(axis=(0, 1)) - np.delete(wanted, 3)) < 4.0 * error + 2e-3)


@pytest.mark.parametrize(("likelihood", "sizes"), [("binomial", [80, 9, 7]), ("negative_binomial", [10.0, 2.0, 1.5])])
def test_a_bad_calibration_changes_speed_and_not_the_posterior(likelihood, sizes, monkeypatch):
    def tune(self, blocks):
        self.at[:], self.least[:] = [-3.0, 1.0, -0.5], 0.3

    monkeypatch.setattr(Calibration, "tune", tune)
    clusters = three_clusters(likelihood, [1, 7, 4], sizes)
    settings = settings_of(likelihood, trees=TreePrior(trees=1, min_leaf=1, base=0.6))
    assert 0.2 < agree(clusters, settings, 900, (0, 1, 2, 3, 4, 5, 6)).diagnostics.acceptance["sweep"] < 0.9


def test_expected_shares_average_over_the_clusters_own_variable():
    sigma = np.array([0.05, 0.59, 0.89, 1.09, 1.49, 2.0])
    linear = np.array([[-4.0, 0.3, -1.5]]) + np.linspace(-1.0, 1.0, 6)[:, None]
    found = expected(linear, sigma, "binomial")
    for (s, p), value in np.ndenumerate(found):
        wanted = integrate.quad(
            lambda v, m=linear[s, p], sd=sigma[s]: special.expit(m + sd * v) * stats.norm.pdf(v),
            -12.0,
            12.0,
            epsabs=1e-10,
        )[0]
        assert value == pytest.approx(wanted, abs=5e-6)
