"""Measures of joint structure against numbers worked by hand, pandas and dense algebra."""

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import ModelProblem, TableProblem
from smallarea.survey.imputation.fit_quality import as_correlation, correlation_residuals, pairwise_correlation, srmr
from smallarea.survey.imputation.missing_patterns import missing_by_area, pattern_table
from smallarea.survey.imputation.reconstruction import reconstruct


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def correlation(**pairs):
    found = np.eye(3)
    for place, value in pairs.items():
        j, k = int(place[1]), int(place[2])
        found[j, k] = found[k, j] = value
    return found


def test_srmr_by_hand():
    model = correlation(r01=0.5, r02=0.2, r12=-0.1)
    reference = correlation(r01=0.4, r02=0.4, r12=-0.2)
    # Residuals 0.1, -0.2, 0.1: squares 0.01 + 0.04 + 0.01 over 3 * 4 / 2 entries.
    assert srmr(model, reference) == pytest.approx(np.sqrt(0.06 / 6), abs=1e-15)


def test_the_formula_of_the_study_is_half_of_it(rng):
    a, b = (as_correlation(np.cov(rng.normal(size=(40, 12)).T)) for _ in range(2))
    squares = np.sum((a - b)[np.tril_indices(12)] ** 2)
    # (12 * 13) / 2 written as a division by "/ (12 * (12 + 1)) / 2" of the sum's double: 312 instead of 78.
    assert srmr(a, b) == pytest.approx(2.0 * np.sqrt(squares / 312), rel=1e-14)


def test_srmr_does_not_depend_on_units(rng):
    a, b = (np.cov(rng.normal(size=(50, 4)).T) for _ in range(2))
    scale = np.array([1.0, 10.0, 0.01, 5.0])
    assert srmr(a * np.outer(scale, scale), b) == pytest.approx(srmr(a, b), rel=1e-12)
    assert srmr(a, a) == 0.0


def test_noise_of_a_sample_is_as_large_as_the_docstring_says(rng):
    p, n = 12, 200
    found = [srmr(np.corrcoef(rng.normal(size=(n, p)).T), np.eye(p)) ** 2 for _ in range(400)]
    assert np.mean(found) == pytest.approx((p - 1) / (p + 1) / n, rel=0.03)


def test_residuals_and_refusals():
    assert correlation_residuals(correlation(r01=0.5), correlation(r01=0.2))[0, 1] == pytest.approx(0.3)
    with pytest.raises(TableProblem, match="compared"):
        srmr(np.eye(2), np.eye(3))
    with pytest.raises(TableProblem, match="1 of 2 columns do not vary"):
        srmr(np.diag([1.0, 0.0]), np.eye(2))


def test_pairwise_correlation_is_that_of_pandas(rng):
    x = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 100.0
    x[rng.uniform(size=x.shape) < 0.3] = np.nan
    assert pairwise_correlation(x) == pytest.approx(pd.DataFrame(x).corr().to_numpy(), abs=1e-12)


def test_pairwise_correlation_with_weights_is_that_of_repeated_rows(rng):
    x = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 3))
    x[rng.uniform(size=x.shape) < 0.2] = np.nan
    times = rng.integers(1, 5, size=30)
    repeated = pairwise_correlation(np.repeat(x, times, axis=0))
    assert pairwise_correlation(x, times.astype(float)) == pytest.approx(repeated, abs=1e-12)


def test_pairs_that_never_meet_have_no_correlation():
    x = np.array([[1.0, np.nan], [2.0, np.nan], [4.0, np.nan], [np.nan, 1.0], [np.nan, 3.0], [np.nan, 2.0]])
    found = pairwise_correlation(x)
    assert np.isnan(found[0, 1])
    assert found[0, 0] == found[1, 1] == 1.0


def test_patterns_are_counted():
    missing = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=bool)
    table = pattern_table(missing, ["a", "b", "c"], most=2)
    assert table["rows"].tolist() == [3, 2]
    assert table["share"].tolist() == [0.5, 2 / 6]
    assert table[["a", "b", "c"]].to_numpy().tolist() == [[False] * 3, [True, False, False]]
    assert table.attrs["patterns"] == 3


def test_patterns_of_more_columns_than_a_byte_has_bits(rng):
    missing = rng.uniform(size=(500, 11)) < 0.1
    table = pattern_table(missing, [f"v{k}" for k in range(11)], most=10_000)
    distinct, count = np.unique(missing, axis=0, return_counts=True)
    assert len(table) == len(distinct) == table.attrs["patterns"]
    assert sorted(table["rows"]) == sorted(count)
    assert np.all(np.diff(table["rows"]) <= 0)


def test_missing_answers_by_area():
    missing = np.array([[1, 0], [0, 0], [1, 1], [0, 1], [1, 1]], dtype=bool)
    table = missing_by_area(missing, ["a", "b"], ["2", "1", "2", None, "2"])
    assert table["area"].tolist() == ["1", "2"]
    assert table["rows"].tolist() == [1, 3]
    assert table["a"].tolist() == [0.0, 1.0]
    assert table["b"].tolist() == [0.0, 2 / 3]
    assert table["any"].tolist() == [0.0, 1.0]


def test_reconstruction_of_a_complete_table_is_the_truncated_decomposition(rng):
    x = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + 3.0
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    u, s, v = np.linalg.svd(z, full_matrices=False)
    for rank in (1, 3, 5):
        found = reconstruct(x, rank)
        wanted = (u[:, :rank] * s[:rank]) @ v[:rank] * x.std(axis=0) + x.mean(axis=0)
        assert found.reconstruction == pytest.approx(wanted, abs=1e-10)
        assert found.explained == pytest.approx(np.sum(s[:rank] ** 2) / np.sum(s**2), abs=1e-12)
        assert np.array_equal(found.values, x)


def test_missing_cells_of_a_table_of_low_rank_are_recovered(rng):
    x = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 8))
    holes = x.copy()
    holes[rng.uniform(size=x.shape) < 0.1] = np.nan
    found = reconstruct(holes, 2)
    missing = np.isnan(holes)
    # Standardising by the observed cells shifts the columns a little, so that the rank is two plus a constant.
    assert np.sqrt(np.mean((found.values - x)[missing] ** 2)) < 0.05 * x.std()
    assert np.array_equal(found.values[~missing], x[~missing])
    assert found.rounds > 1


def test_of_full_rank_missing_cells_stay_at_the_mean(rng):
    x = rng.normal(size=(30, 3))
    x[4, 1] = np.nan
    assert reconstruct(x, 3).values[4, 1] == pytest.approx(np.nanmean(x[:, 1]), abs=1e-12)


def test_impossible_reconstructions_are_refused(rng):
    x = rng.normal(size=(10, 3))
    with pytest.raises(ModelProblem, match="ranks 1 to 3"):
        reconstruct(x, 4)
    with pytest.raises(ModelProblem, match="without a value"):
        reconstruct(np.column_stack([x, np.full(10, np.nan)]), 2)
    with pytest.raises(ModelProblem, match="constant"):
        reconstruct(np.column_stack([x, np.ones(10)]), 2)
