"""The data of a model: what is refused, what is set aside and why, and the way to the standardised scale and back."""

import numpy as np
import pytest
from smallarea.area_level import area_level_data, standardise
from smallarea.errors import ModelProblem, TableProblem, VarianceProblem

IDS = tuple(f"area {i}" for i in range(8))
Y = np.array([1.0, 2.5, 3.0, 4.5, 5.0, 6.5, 7.0, 9.0])
V = np.full(8, 0.5)


def replaced(values: np.ndarray, **changes: float) -> np.ndarray:
    """Copy with ``_2=nan`` at position 2."""
    out = values.copy()
    for place, value in changes.items():
        out[int(place[1:])] = value
    return out


def test_complete_data():
    data = area_level_data(IDS, Y, V)
    assert data.sampled.all()
    assert data.estimable.all()
    assert set(data.notes) == {""}
    assert data.covariates.shape == (8, 0)


def test_what_is_set_aside_has_a_note():
    y = replaced(Y, _0=np.nan)
    v = replaced(V, _1=np.nan, _2=0.0)
    x = replaced(np.arange(8.0), _3=np.nan, _0=np.nan)[:, None]
    data = area_level_data(IDS, y, v, x, ["x"], missing_covariates="drop")
    assert data.sampled.tolist() == [False, False, False, False, True, True, True, True]
    assert data.estimable.tolist() == [False, True, True, False, True, True, True, True]
    assert data.notes[:5] == (
        "no direct estimate; no estimate: covariate missing",
        "direct estimate set aside: sampling variance missing",
        "direct estimate set aside: sampling variance zero",
        "no estimate: covariate missing",
        "",
    )
    # Where there is no direct estimate there is no variance either, and the other way round.
    np.testing.assert_array_equal(np.isnan(data.direct), np.isnan(data.variance))
    # The caller's arrays are as they were.
    assert v[2] == 0.0
    assert y[1] == 2.5


def test_missing_variance_as_an_error():
    v = replaced(V, _1=np.nan, _6=0.0)
    with pytest.raises(VarianceProblem) as caught:
        area_level_data(IDS, Y, v, missing_variance="error")
    assert "'area 1', 'area 6'" in str(caught.value)
    assert "2 areas" in str(caught.value)
    # A variance without a direct estimate is nobody's problem.
    area_level_data(IDS, replaced(Y, _1=np.nan, _6=np.nan), v, missing_variance="error")


def test_negative_variance():
    with pytest.raises(VarianceProblem) as caught:
        area_level_data(IDS, Y, replaced(V, _4=-555555555.0))
    assert "'area 4'" in str(caught.value)
    assert "-555555555" in str(caught.value)


def test_missing_covariates_as_an_error():
    x = np.column_stack([np.arange(8.0), replaced(np.arange(8.0) ** 2, _5=np.nan)])
    with pytest.raises(TableProblem) as caught:
        area_level_data(IDS, Y, V, x, ["fine", "holey"])
    assert "'holey'" in str(caught.value)
    assert "fine" not in str(caught.value)
    assert "'area 5'" in str(caught.value)


@pytest.mark.parametrize("column", ["direct", "variance", "x"])
def test_infinite_numbers(column):
    values = {"direct": Y, "variance": V, "x": np.arange(8.0)}
    values[column] = replaced(values[column], _7=np.inf)
    with pytest.raises(TableProblem) as caught:
        area_level_data(IDS, values["direct"], values["variance"], values["x"][:, None], ["x"])
    assert column in str(caught.value)
    assert "'area 7'" in str(caught.value)


def test_repeated_ids():
    with pytest.raises(TableProblem, match="'b'"):
        area_level_data(["a", "b", "c", "b", "b"], Y[:5], V[:5])


def test_columns_of_other_lengths():
    for arguments in ((IDS, Y[:7], V), (IDS, Y, V[:7]), (IDS, Y, V, np.ones((8, 2)), ["x"])):
        with pytest.raises(TableProblem, match="differ in length"):
            area_level_data(*arguments)


def test_too_few_areas():
    # Three coefficients and a variance need five areas.
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, 2))
    y = replaced(Y, _0=np.nan, _1=np.nan, _2=np.nan, _3=np.nan)
    with pytest.raises(ModelProblem, match=r"4 areas .* 3 coefficients .* at least 5"):
        standardise(area_level_data(IDS, y, V, x, ["a", "b"]), intercept=True)
    y[0] = 1.0
    standardise(area_level_data(IDS, y, V, x, ["a", "b"]), intercept=True)
    with pytest.raises(ModelProblem, match="0 areas"):
        standardise(area_level_data(IDS, np.full(8, np.nan), V), intercept=True)


@pytest.mark.parametrize("value", [0.0, 3.3, 1e12])
def test_all_direct_estimates_the_same(value):
    with pytest.raises(ModelProblem, match="same"):
        standardise(area_level_data(IDS, np.full(8, value), V), intercept=True)


@pytest.mark.parametrize("unit", [1e-15, 1e15])
def test_units_do_not_matter(unit):
    scaled = standardise(area_level_data(IDS, unit * Y, unit**2 * V), intercept=True)
    plain = standardise(area_level_data(IDS, Y, V), intercept=True)
    np.testing.assert_allclose(scaled.y, plain.y, rtol=1e-12)
    np.testing.assert_allclose(scaled.v, plain.v, rtol=1e-12)


def test_constant_covariate():
    x = np.column_stack([np.arange(8.0), np.full(8, 0.1)])
    data = area_level_data(IDS, Y, V, x, ["slope", "flat"])
    with pytest.raises(ModelProblem) as caught:
        standardise(data, intercept=True)
    assert "'flat'" in str(caught.value)
    assert "slope" not in str(caught.value)
    # Without an intercept it is one.
    assert standardise(data, intercept=False).x.shape == (8, 2)


def test_constant_where_sampled():
    x = np.zeros((8, 1))
    x[0] = 1.0
    with pytest.raises(ModelProblem, match="collinear on the sampled areas"):
        standardise(area_level_data(IDS, replaced(Y, _0=np.nan), V, x, ["x"]), intercept=True)


def test_collinear_covariates():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 8))
    x = np.column_stack([a, b, 2.0 * a - 3.0 * b + 5.0])
    with pytest.raises(ModelProblem) as caught:
        standardise(area_level_data(IDS, Y, V, x, ["a", "b", "both"]), intercept=True)
    assert sum(f"'{name}'" in str(caught.value) for name in ("a", "b", "both")) == 1
    # Nearly collinear is the user's business.
    x[:, 2] += 1e-4 * rng.normal(size=8)
    standardise(area_level_data(IDS, Y, V, x, ["a", "b", "both"]), intercept=True)


@pytest.mark.parametrize("intercept", [True, False])
def test_round_trip(intercept):
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(5.0, 0.1, size=8), rng.normal(-1e4, 2e3, size=8)])
    y = replaced(1e3 + 20.0 * Y, _2=np.nan)
    data = area_level_data(IDS, y, 400.0 * V, x, ["a", "b"])
    scaled = standardise(data, intercept)
    # The data as the model sees them are the data.
    np.testing.assert_allclose(scaled.location + scaled.scale * scaled.y, data.direct, rtol=1e-14)
    np.testing.assert_allclose(scaled.scale**2 * scaled.v, data.variance, rtol=1e-14)
    # x_input beta_input = location + scale * x beta, for any beta.
    transform, shift = scaled.coefficients_to_input()
    x_input = np.hstack([np.ones((8, 1)), x]) if intercept else x
    for _ in range(5):
        beta = rng.normal(size=x_input.shape[1])
        want = scaled.location + scaled.scale * (scaled.x @ beta)
        np.testing.assert_allclose(x_input @ (shift + transform @ beta), want, rtol=1e-11)


def test_standardised_scale_is_that_of_the_specification():
    rng = np.random.default_rng(4)
    x = rng.normal(3.0, 2.0, size=(8, 2))
    y = replaced(Y, _1=np.nan)
    scaled = standardise(area_level_data(IDS, y, V, x, ["a", "b"]), intercept=True)
    seen = scaled.y[scaled.sampled]
    assert seen.mean() == pytest.approx(0.0, abs=1e-14)
    assert seen.std(ddof=1) == pytest.approx(1.0)
    # Covariates over all areas, sampled or not.
    np.testing.assert_allclose(scaled.x[:, 1:].mean(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(scaled.x[:, 1:].std(axis=0, ddof=1), 1.0)
    assert np.all(scaled.x[:, 0] == 1.0)
    np.testing.assert_allclose(scaled.v[scaled.sampled], 0.5 / np.nanvar(y, ddof=1))


def test_without_an_intercept_nothing_is_centred():
    x = np.arange(1.0, 9.0)[:, None]
    scaled = standardise(area_level_data(IDS, Y, V, x, ["x"]), intercept=False)
    assert scaled.location == 0.0
    np.testing.assert_allclose(scaled.x[:, 0] * scaled.x_scale[0], x[:, 0])
    np.testing.assert_allclose(scaled.y * scaled.scale, Y)


def test_dropped_areas_do_not_enter():
    x = np.column_stack([np.arange(8.0)])
    x[7] = np.nan
    full = area_level_data(IDS, Y, V, x, ["x"], missing_covariates="drop")
    short = area_level_data(IDS[:7], Y[:7], V[:7], x[:7], ["x"])
    one, other = standardise(full, True), standardise(short, True)
    assert np.all(one.x[7] == 0.0)
    assert not one.sampled[7]
    np.testing.assert_array_equal(one.x[:7], other.x)
    np.testing.assert_array_equal(one.y[:7], other.y)
    assert one.location == other.location


@pytest.mark.parametrize("extreme", [1e300, 1e160, 1e-300])
def test_variances_out_of_all_proportion_are_named(extreme):
    rng = np.random.default_rng(1)
    variance = np.full(20, 0.1)
    variance[7] = extreme
    data = area_level_data([f"a{i}" for i in range(20)], rng.normal(size=20), variance)
    with pytest.raises(VarianceProblem, match="'a7'"):
        standardise(data, True)


def test_a_unit_out_of_range_is_refused():
    rng = np.random.default_rng(1)
    data = area_level_data([f"a{i}" for i in range(20)], 1e200 * rng.normal(size=20), np.full(20, 1e300))
    with pytest.raises(ModelProblem, match="Change their unit"):
        standardise(data, True)
