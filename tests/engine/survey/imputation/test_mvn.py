"""The multivariate normal model: two samplers of one posterior, intervals that cover, areas that stay different."""

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import JobProblem, ModelProblem
from smallarea.survey.imputation.encoded import encode_table
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.mvn import MultivariateNormal
from smallarea.survey.imputation.variables import describe_variables

NAMES = list("abcd")
CORRELATION = np.array([[1, 0.6, 0.3, -0.4], [0.6, 1, 0.2, -0.3], [0.3, 0.2, 1, 0.1], [-0.4, -0.3, 0.1, 1]])


def table(seed, n=300, share=0.2):
    rng = np.random.default_rng(seed)
    values = rng.multivariate_normal([10, 0, -3, 1], CORRELATION * np.outer([2, 1, 5, 1], [2, 1, 5, 1]), n)
    whole = values.copy()
    values[rng.random(values.shape) < share] = np.nan
    return pd.DataFrame(values, columns=NAMES), pd.DataFrame(whole, columns=NAMES)


def test_gibbs_and_nuts_have_the_same_posterior():
    pytest.importorskip("numpyro")
    frame, _ = table(1, n=60)
    encoded = encode_table(frame, describe_variables(frame, ["a", "b", "d"]))
    gibbs = MultivariateNormal(draws=3000, warmup=100).fit(encoded, seed=1)
    nuts = MultivariateNormal(draws=800, warmup=200, posterior="nuts").fit(encoded, seed=1)
    assert nuts.record["divergences"] == 0
    lower = np.tril_indices(3)

    def features(fitted):
        covariances = np.stack([draw.covariance[lower] for draw in fitted.draws])
        return np.hstack([covariances, [draw.mean for draw in fitted.draws], fitted.correlation_draws()[:, 1:, 0] ** 2])

    def moments(draws):
        batches = draws.reshape(50, -1, draws.shape[1]).mean(axis=1)
        return draws.mean(axis=0), batches.std(axis=0, ddof=1) / np.sqrt(50)

    (one, error_one), (two, error_two) = moments(features(gibbs)), moments(features(nuts))
    z = (one - two) / np.hypot(error_one, error_two)
    assert np.abs(z).max() < 4.0, z


def test_intervals_of_masked_cells_cover():
    frame, whole = table(2, n=1000)
    imputed = impute_table(frame, describe_variables(frame, NAMES), imputations=199, seed=3)
    truth = whole.to_numpy()[imputed.cells]
    low, high = np.sort(imputed.draws, axis=0)[[4, 194]]  # between them lies a 200th draw with probability 0.95
    coverage = np.mean((low <= truth) & (truth <= high))
    assert len(truth) > 700
    assert 0.93 < coverage < 0.97


def test_intervals_of_correlations_cover():
    covered = []
    for seed in range(30):
        frame, _ = table(100 + seed, n=200)
        encoded = encode_table(frame, describe_variables(frame, NAMES))
        draws = MultivariateNormal(draws=300, warmup=30).fit(encoded, seed=seed).correlation_draws()
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        covered.append(((low <= CORRELATION) & (high >= CORRELATION))[np.tril_indices(4, -1)])
    share = np.mean(covered)
    # 180 intervals, correlated within a table: the error is that of 40 tables at worst.
    assert abs(share - 0.95) < 3 * np.std(np.mean(covered, axis=1), ddof=1) / np.sqrt(30)


def area_table(seed, areas=40, size=25, share=0.5):
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(areas), size)
    effect = rng.normal(0, 0.7, areas)
    x = rng.normal(size=len(code))
    y = effect[code] + 0.3 * x + rng.normal(size=len(code))
    frame = pd.DataFrame({"y": y, "x": x, "area": [f"area {c}" for c in code]})
    frame.loc[rng.random(len(code)) < share, "y"] = np.nan
    return frame


def between_variance(imputed):
    found = []
    for m in range(imputed.imputations):
        groups = imputed.completed(m).groupby("area")["y"]
        size = groups.size().iloc[0]
        found.append(groups.mean().var() - groups.var().mean() / size)
    return np.mean(found)


def test_areas_stay_different_only_if_the_model_knows_them():
    without, with_areas = [], []
    for seed in range(8):
        frame = area_table(seed)
        variables = describe_variables(frame, ["y", "x"])
        without.append(between_variance(impute_table(frame, variables, imputations=5, seed=seed)))
        with_areas.append(between_variance(impute_table(frame, variables, imputations=5, area="area", seed=seed)))
    # Half of the answers are missing: without areas a quarter of the variance 0.49 between them is left.
    assert np.mean(without) < 0.5 * 0.49
    error = np.std(with_areas, ddof=1) / np.sqrt(8)
    assert abs(np.mean(with_areas) - 0.49) < 3 * error


def test_covariates_tell_of_missing_answers():
    rng = np.random.default_rng(5)
    x = rng.normal(size=600)
    y = 2 * x + rng.normal(0, 0.5, 600)
    frame = pd.DataFrame({"y": np.where(x > 0.5, np.nan, y), "z": rng.normal(size=600), "x": x})
    imputed = impute_table(frame, describe_variables(frame, ["y", "z"]), covariates=["x"], imputations=20, seed=1)
    rows = imputed.cells[0]
    np.testing.assert_allclose(imputed.draws.mean(), y[rows].mean(), atol=0.25)
    assert np.corrcoef(imputed.draws.mean(axis=0), x[rows])[0, 1] > 0.95


def test_same_seed_same_imputations():
    frame, _ = table(7, n=60)
    variables = describe_variables(frame, NAMES)
    one, two, other = (impute_table(frame, variables, imputations=3, seed=seed).draws for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_observed_answers_and_index_stay():
    frame, _ = table(8, n=60)
    frame.index = np.arange(60) * 3
    imputed = impute_table(frame, describe_variables(frame, NAMES), imputations=2)
    done = imputed.completed(1)
    assert not done[NAMES].isna().any().any()
    known = frame.notna().to_numpy()
    np.testing.assert_array_equal(done.to_numpy()[known], frame.to_numpy()[known])
    np.testing.assert_array_equal(imputed.was_missing().to_numpy(), ~known)


def test_too_few_rows_and_unknown_settings_are_refused():
    frame, _ = table(9, n=8, share=0.1)
    with pytest.raises(ModelProblem, match="too few"):
        impute_table(frame, describe_variables(frame, NAMES))
    frame, _ = table(9, n=40)
    frame["e"] = np.random.default_rng(1).normal(size=40)
    frame["sum"] = 2 * frame["e"] + 1
    with pytest.raises(ModelProblem, match="'e', 'sum' one follows exactly"):
        impute_table(frame, describe_variables(frame, [*NAMES, "e", "sum"]))
    variables = describe_variables(frame, NAMES)
    with pytest.raises(JobProblem, match="no setting 'drawz'"):
        impute_table(frame, variables, settings={"drawz": 3})
    with pytest.raises(JobProblem, match="No imputation method"):
        impute_table(frame, variables, method="magic")
    with pytest.raises(JobProblem, match="at least 1"):
        impute_table(frame, variables, imputations=0)
