"""Counted outcomes by simulation: calibration of the sampler, and shares of rare outcomes beside empirical logits."""

import numpy as np
import plain_trees as plain
import pytest
from scipy import special, stats
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import Cuts, TreePrior
from smallarea.unit_level import BartsimpSettings, Clusters, latent_calibration, sample_bartsimp
from smallarea.unit_level.latent_chain import LatentChain
from smallarea.unit_level.latent_field import make_latent_field
from smallarea.unit_level.likelihoods import count_clusters
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.settings import Scales
from smallarea.unit_level.spde_counted import fit_counted_spde
from smallarea.workflows.bartsimp_comparison import compare_with_baselines

CENTRE = {"binomial": -1.0, "negative_binomial": 0.5}


@pytest.mark.parametrize("likelihood", ["binomial", "negative_binomial"])
def test_the_sampler_is_calibrated(size, likelihood, monkeypatch):
    """Simulation-based calibration (Talts et al. 2018): ranks of what was drawn from the prior are uniform."""
    # Likelihoods that differ from those of the data wherever shares are not near one half.
    monkeypatch.setattr(latent_calibration, "FIRST", 0.2)
    monkeypatch.setattr(latent_calibration, "MOST", 0.35)
    random = np.random.default_rng(17)
    n, replicates, kept, thin = 14, size(32, 800), 15, size(8, 25)
    # Long enough for sweeps that are accepted or not.
    warmup = 200
    prior = PcPrior(0.5, 0.5, 1.0, 0.2)
    settings = BartsimpSettings(
        likelihood=likelihood, trees=TreePrior(trees=2, min_leaf=1), field_prior=prior, range_points=6,
        range_bounds=(0.1, 5.0), cuts=6,
    )  # fmt: skip
    scales = Scales(leaf=0.6, error_start=0.2, nu_lambda=0.0, field_prior=prior)
    place, x = random.random((n, 2)), random.random((n, 2)).round(1)
    # In the order that clusters take, so that the replicates' numbers belong to their places.
    place = place[np.lexsort((place[:, 1], place[:, 0]))]
    sizes = random.integers(2, 9, n).astype(float)
    cuts = Cuts.from_values(x, count=6)
    bins = cuts.bins(x)
    field = None
    ranks = []
    for replicate in range(replicates):
        tree_sum = np.zeros(n)
        for _ in range(2):
            rows = None
            while rows is None or min(len(r) for r in rows) < 1:
                rows = plain.leaves(plain.draw_prior(random, cuts.counts, settings.trees), bins)
            for r in rows:
                tree_sum[r] += 0.6 * random.standard_normal()
        own, sd = random.standard_exponential() / settings.own_rate, random.standard_exponential() / prior.sd_rate
        ranges = field.ranges if field is not None else np.geomspace(0.1, 5.0, 6)
        log_mass = -np.log(ranges) - prior.range_rate / ranges
        at = random.choice(6, p=np.exp(log_mass) / np.exp(log_mass).sum())
        root = np.linalg.cholesky(matern_correlation(distances(place), ranges[at]) + 1e-9 * np.eye(n))
        eta = CENTRE[likelihood] + tree_sum + sd * root @ random.standard_normal(n)
        if likelihood == "binomial":
            y = random.binomial(sizes.astype(int), special.expit(eta + own * random.standard_normal(n)))
        else:
            own = max(own, 1e-3)
            y = random.poisson(sizes * np.exp(eta) * random.gamma(own**-2.0, own**2.0, n))
        clusters = count_clusters(sizes, likelihood, y, np.arange(n), place, x)
        if field is None:
            field = make_latent_field(clusters, prior, "exact", nodes=0, points=6, bounds=(0.1, 5.0))
        chain = LatentChain(
            clusters, settings, scales, cuts, field, np.random.SeedSequence(replicate), warmup, kept * thin
        )
        # The prior is about outcomes as they are, not about their distances from the pooled share or rate.
        chain._centre = CENTRE[likelihood]
        while not chain.finished:
            chain.advance()
        hyper, forest, _ = chain.result()
        which = np.arange(thin - 1, kept * thin, thin)
        surface = forest.evaluate(bins[:2], which) + chain.fields()[which][:, :2]
        drawn = np.column_stack([hyper[which], surface])
        true = np.array([np.log(own), np.log(sd), at, *(eta[:2] - CENTRE[likelihood])])
        below, ties = (drawn < true).sum(axis=0), (drawn == true).sum(axis=0)
        ranks.append(below + np.floor(random.random(5) * (ties + 1)))
    for column in np.array(ranks).T:
        counts = np.bincount((column // 4).astype(int), minlength=4)
        assert stats.chisquare(counts).pvalue > 1e-3, counts


def test_shares_of_a_rare_outcome_are_not_drawn_to_one_half(size):
    """Empirical logits overrate what is rare; the binomial likelihood does not, and its intervals cover."""
    errors = []
    for replicate in range(size(1, 10)):
        random = np.random.default_rng(replicate)
        n = 90
        place, x = random.random((n, 2)), random.random((n, 2))
        field = 0.5 * np.linalg.cholesky(matern_correlation(distances(place), 0.5) + 1e-9 * np.eye(n))
        eta = -4.0 + (x[:, 0] > 0.5) + field @ random.standard_normal(n)
        share, trials = special.expit(eta), random.integers(15, 30, n)
        y = random.binomial(trials, share)
        sampled = {"chains": 2, "warmup": 150, "draws": 200, "seed": replicate}
        binomial = BartsimpSettings(likelihood="binomial", trees=TreePrior(trees=10, min_leaf=1))
        drawn = sample_bartsimp(count_clusters(trials, "binomial", y, np.arange(n), place, x), binomial, **sampled)
        found = drawn.predict(place, x).total
        # What was observed: one survey's level may be a fifth from the truth.
        pooled = y.sum() / trials.sum()
        logits = np.log((y + 0.5) / (trials - y + 0.5))
        normal = BartsimpSettings(trees=TreePrior(trees=10, min_leaf=1))
        of_logits = sample_bartsimp(Clusters.from_rows(logits, np.arange(n), place, x), normal, **sampled)
        errors.append([
            found.mean() / pooled,
            special.expit(of_logits.predict(place, x).total).mean() / pooled,
            np.mean((np.quantile(found, 0.025, axis=0) < share) & (share < np.quantile(found, 0.975, axis=0))),
        ])  # fmt: skip
    level, level_of_logits, coverage = np.mean(errors, axis=0)
    assert 0.9 < level < 1.1
    assert level_of_logits > 1.2
    assert coverage > 0.85


def test_intervals_of_slopes_cover_them(size):
    """Linear models with a field: 80 % intervals of slopes that are drawn anew each time."""
    replicates, inside = size(12, 150), 0
    for replicate in range(replicates):
        random = np.random.default_rng(900 + replicate)
        n = 40
        place, x = random.random((n, 2)), random.standard_normal((n, 2))
        slopes = 0.7 * random.standard_normal(2)
        field = 0.6 * np.linalg.cholesky(matern_correlation(distances(place), 0.5) + 1e-9 * np.eye(n))
        eta = -1.0 + x @ slopes + field @ random.standard_normal(n) + 0.3 * random.standard_normal(n)
        trials = random.integers(10, 30, n)
        clusters = count_clusters(
            trials, "binomial", random.binomial(trials, special.expit(eta)), np.arange(n), place, x
        )
        settings = BartsimpSettings(likelihood="binomial", trees=TreePrior(min_leaf=1), range_points=12)
        drawn = fit_counted_spde(clusters, settings, chains=2, warmup=125, draws=150, seed=replicate)
        lower, upper = np.quantile(drawn.coefficients[:, 1:], [0.1, 0.9], axis=0)
        inside += int(np.sum((lower < slopes) & (slopes < upper)))
    assert stats.binomtest(inside, 2 * replicates, 0.8).pvalue > 1e-3


def test_where_effects_are_linear_the_folds_say_that_trees_do_not_pay(size):
    """Left-out clusters of a binomial outcome with two linear effects: the verdict, and scores of all four models."""
    random = np.random.default_rng(77)
    n = 100
    place, x = random.random((n, 2)) * 1e5, random.standard_normal((n, 3))
    field = 0.5 * np.linalg.cholesky(matern_correlation(distances(place), 4e4) + 1e-9 * np.eye(n))
    eta = -0.5 + 1.5 * x[:, 0] - x[:, 1] + field @ random.standard_normal(n)
    trials = random.integers(15, 40, n)
    clusters = count_clusters(trials, "binomial", random.binomial(trials, special.expit(eta)), np.arange(n), place, x)
    found = compare_with_baselines(
        clusters, BartsimpSettings(likelihood="binomial", trees=TreePrior(min_leaf=1), range_points=12),
        crs="EPSG:32736", folds=size(3, 10), fold_kind="clusters", chains=2, warmup=100, draws=size(100, 1000), seed=1,
        level=0.95, progress=lambda percent, text: None,
    )  # fmt: skip
    crps = found.table.set_index("model")["crps"]
    assert crps["spde"] < crps["bartsimp"] < crps["spde0"]
    assert found.table["coverage"].min() > 0.85
    assert found.verdicts[0].startswith("bartsimp predicts left-out clusters worse than spde")
