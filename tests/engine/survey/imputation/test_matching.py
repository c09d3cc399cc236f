"""Skewed answers: the mean of the completed column against the truth, where gaps depend on the others."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from smallarea.survey.imputation.encoded import encode_table
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.rubin import combine
from smallarea.survey.imputation.variables import describe_variables

N, M = 600, 8


def sums(rng):
    """Three skewed parts and a rest add up to the answer."""
    parts = rng.gamma(0.7, 10.0, (N, 3))
    whole = parts.sum(axis=1) + rng.gamma(0.5, 8.0, N)
    return pd.DataFrame({"a": parts[:, 0], "b": parts[:, 1], "c": parts[:, 2], "y": whole}), np.log(parts.sum(axis=1))


def skewed_errors(rng):
    """A straight relation with errors that are exponential."""
    x = rng.normal(size=N)
    return pd.DataFrame({"x": x, "y": 50.0 + 10.0 * x + rng.exponential(20.0, N)}), x


def products(rng):
    """A straight relation of the logarithm: what normal scores are made for."""
    x = rng.normal(size=N)
    return pd.DataFrame({"x": x, "y": np.exp(3.0 + 0.5 * x + 0.5 * rng.normal(size=N))}), x


@pytest.mark.parametrize(
    ("draw", "truth"),
    [(sums, 3 * 7.0 + 4.0), (skewed_errors, 70.0), (products, np.exp(3.25))],
    ids=["sums", "skewed errors", "products"],
)
def test_means_of_skewed_columns(draw, truth):
    bias, without, inside = [], [], []
    for k in range(60):
        rng = np.random.default_rng([31, k])
        complete, reason = draw(rng)
        reason = (reason - reason.mean()) / reason.std()
        lost = rng.random(N) < 1.0 / (1.0 + np.exp(0.9 - reason))
        frame = complete.assign(y=complete["y"].mask(lost))
        variables = describe_variables(frame, list(frame), kinds={"y": "skewed"})
        imputed = impute_table(frame, variables, imputations=M, seed=k, settings={"draws": 40, "warmup": 30})
        tables = [imputed.completed(m)["y"].to_numpy() for m in range(M)]
        found = combine(
            np.array([y.mean() for y in tables]), np.array([y.var(ddof=1) / N for y in tables]), df_complete=N - 1
        )
        bias.append(found.estimate / complete["y"].mean() - 1.0)
        without.append(frame["y"].mean() / complete["y"].mean() - 1.0)
        inside.append(abs(found.estimate - truth) <= t.ppf(0.975, found.df) * np.sqrt(found.variance))
    error = np.std(bias, ddof=1) / np.sqrt(len(bias))
    assert abs(np.mean(bias)) < 0.004 + 3.0 * error  # without the residuals -0.03 in sums, 0.012 with skewed errors
    assert np.mean(without) < -0.03
    assert np.mean(inside) >= 0.85  # 60 intervals; with all answers 92 percent cover where the tail is heavy


def test_bounds_and_atoms_are_kept():
    rng = np.random.default_rng(4)
    x = rng.normal(size=500)
    share = np.clip(0.3 + 0.3 * x + 0.2 * rng.normal(size=500), 0.0, 1.0)
    frame = pd.DataFrame({"x": x, "share": share}).mask(rng.random((500, 2)) < [0.0, 0.3])
    imputed = impute_table(frame, describe_variables(frame, ["x", "share"], ranges={"share": (0, 1)}), imputations=5)
    drawn = imputed.draws
    assert ((drawn >= 0.0) & (drawn <= 1.0)).all()
    lost = frame["share"].isna().to_numpy()
    # A share of 0 and of 1 is imputed as often as it was true: 150 cells, five draws.
    for end in (0.0, 1.0):
        assert abs((drawn == end).mean() - (share[lost] == end).mean()) < 0.08
    again = impute_table(frame, describe_variables(frame, ["x", "share"], ranges={"share": (0, 1)}), imputations=5)
    np.testing.assert_array_equal(drawn, again.draws)


def test_few_answers_take_the_model_alone():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame(rng.normal(size=(60, 6)), columns=list("abcdef"))
    frame["f"] = np.exp(frame["a"] + frame["f"]).mask(rng.random(60) < 0.4)
    variables = describe_variables(frame, list(frame), kinds={"f": "skewed"})
    imputed = impute_table(frame, variables, imputations=4)
    assert np.isfinite(imputed.draws).all()
    assert imputed.draws.max() <= frame["f"].max()
    assert encode_table(frame, variables).missing[:, 5].sum() == imputed.draws.shape[1]
