"""Categories as cuts of normal variables: correlations, shares and area differences are found again."""

import numpy as np
import pandas as pd
from smallarea.survey.imputation.encoded import encode_table
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.mvn import MultivariateNormal
from smallarea.survey.imputation.variables import describe_variables

CORRELATION = np.array([[1, 0.6, 0.4], [0.6, 1, 0.5], [0.4, 0.5, 1]])
LOWER = np.tril_indices(3, -1)


def mixed(seed, n=400, share=0.15):
    """A number, an ordinal answer in four steps and a yes/no answer, normal underneath."""
    rng = np.random.default_rng(seed)
    z = rng.multivariate_normal(np.zeros(3), CORRELATION, n)
    frame = pd.DataFrame({"x": z[:, 0], "step": np.digitize(z[:, 1], [-0.8, 0.2, 1.0]), "yes": z[:, 2] > 0.5}).astype(
        float
    )
    return frame.mask(rng.random(frame.shape) < share)


def test_latent_correlations_are_covered():
    covered, means = [], []
    for seed in range(24):
        frame = mixed(seed)
        encoded = encode_table(frame, describe_variables(frame, ["x", "step", "yes"]))
        draws = MultivariateNormal(draws=400, warmup=100).fit(encoded, seed=seed).correlation_draws()
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        covered.append(((low <= CORRELATION) & (high >= CORRELATION))[LOWER])
        means.append(draws.mean(axis=0)[LOWER])
    error = np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
    assert np.all(np.abs(np.mean(means, axis=0) - CORRELATION[LOWER]) < 4 * error + 0.01)
    assert 0.88 < np.mean(covered) <= 1.0  # 72 intervals: standard error 0.026


def test_yes_no_and_nominal_answers_missing_at_random():
    """Answers are missing where x is large, and depend on x: those who answered are not like the others."""
    rng = np.random.default_rng(3)
    n = 3000
    x = rng.normal(size=n)
    yes = (0.9 * x + rng.normal(size=n) > 0).astype(float)
    utilities = np.column_stack([0.8 * x, -0.8 * x, np.zeros(n)]) + rng.gumbel(size=(n, 3))
    region = np.array(["north", "south", "west"])[utilities.argmax(axis=1)]
    lost = rng.random(n) < 1 / (1 + np.exp(-1.5 * x))
    frame = pd.DataFrame({"x": x, "yes": np.where(lost, np.nan, yes), "region": pd.Series(region).mask(lost)})
    variables = describe_variables(frame, ["x", "yes", "region"])
    imputed = impute_table(frame, variables, imputations=10, seed=1)
    tables = [imputed.completed(m) for m in range(10)]
    error = 3 * np.sqrt(0.25 / n * 2.5)
    assert frame["yes"].mean() < yes.mean() - 0.1
    assert abs(np.mean([t["yes"].mean() for t in tables]) - yes.mean()) < error
    for name in ("north", "south", "west"):
        truth = np.mean(region == name)
        assert abs(np.mean([(t["region"] == name).mean() for t in tables]) - truth) < error
        # The dependence on x is kept, too.
        gap = np.mean([(t["region"] == name)[lost & (x > 1)].mean() for t in tables])
        assert abs(gap - np.mean(region[lost & (x > 1)] == name)) < 0.05


def test_areas_of_yes_no_answers_stay_different():
    found, truth = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        area = np.repeat(np.arange(30), 40)
        latent = rng.normal(0, 0.6, 30)[area] + rng.normal(size=len(area))
        whole = (latent > 0.3).astype(float)
        frame = pd.DataFrame({"yes": np.where(rng.random(len(area)) < 0.4, np.nan, whole), "area": area})
        frame["other"] = rng.normal(size=len(area))
        variables = describe_variables(frame, ["yes", "other"])
        imputed = impute_table(frame, variables, area="area", imputations=8, seed=seed)
        shares = [imputed.completed(m).groupby("area")["yes"].mean().var() for m in range(8)]
        found.append(np.mean(shares))
        truth.append(pd.Series(whole).groupby(area).mean().var())
    difference = np.array(found) - truth
    assert abs(difference.mean()) < 3 * difference.std(ddof=1) / np.sqrt(6) + 0.002


def test_skewed_and_bounded_answers_keep_to_what_is_possible():
    rng = np.random.default_rng(5)
    z = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 500)
    frame = pd.DataFrame({"income": np.exp(1.2 * z[:, 0] + 8), "share": 1 / (1 + np.exp(-z[:, 1]))})
    frame.loc[rng.random(500) < 0.2, "income"] = 0.0
    whole = frame.copy()
    frame = frame.mask(rng.random(frame.shape) < 0.3)
    variables = describe_variables(frame, ["income", "share"], ranges={"share": (0, 1)})
    assert [variable.kind for variable in variables] == ["skewed", "bounded"]
    imputed = impute_table(frame, variables, imputations=300, seed=2)
    income, share = (imputed.draws[:, imputed.cells[1] == place] for place in (0, 1))
    assert income.min() == 0.0
    assert income.max() <= frame["income"].max()
    assert share.min() >= 0.0
    assert share.max() <= 1.0
    assert abs(np.mean(income == 0.0) - 0.2) < 0.06
    low, high = np.quantile(share, [0.025, 0.975], axis=0)
    truth = whole["share"].to_numpy()[imputed.cells[0][imputed.cells[1] == 1]]
    assert 0.9 < np.mean((low <= truth) & (truth <= high)) < 0.99
