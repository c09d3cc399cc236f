"""Estimates and their variances by hand, by loops and by simulation; what must not change when nothing has changed."""

import numpy as np
import pytest
from scipy import stats
from smallarea.survey.design import survey_design
from smallarea.survey.direct import area_estimates, wide_columns
from smallarea.survey.estimators import Variable
from smallarea.survey.replication import replicate_weights

ALL = ("all",)
Y = np.array([2.0, 4.0, 9.0, 3.0])
W = np.array([1.0, 2.0, 1.0, 4.0])
X = np.array([1.0, 1.0, 3.0, 2.0])


def one(variable, weights, **more):
    design = survey_design(weights, **more.pop("design", {}))
    return area_estimates([variable], np.zeros(len(weights), dtype=np.int64), ALL, design, **more).table.iloc[0]


def test_each_statistic_by_hand():
    assert one(Variable("y", "mean", Y), W)["direct"] == pytest.approx(31.0 / 8.0)
    assert one(Variable("y", "total", Y), W)["direct"] == pytest.approx(31.0)
    assert one(Variable("y", "ratio", Y, X), W)["direct"] == pytest.approx(31.0 / 14.0)
    known = one(Variable("y", "mean", Y), W, population=np.array([10.0]))
    assert known["direct"] == pytest.approx(3.1)
    # Values 2 (weight 1), 3 (4), 4 (2), 9 (1): running shares 1/8, 5/8, 7/8, 1.
    for p, wanted in ((0.1, 2.0), (0.125, 2.0), (0.5, 3.0), (0.625, 3.0), (0.63, 4.0), (0.99, 9.0)):
        assert one(Variable("y", "quantile", Y, probability=p), W)["direct"] == wanted


def test_variances_by_hand():
    def of(z):
        return 4.0 / 3.0 * ((z - z.mean()) ** 2).sum()

    assert one(Variable("y", "mean", Y), W)["variance"] == pytest.approx(of(W * (Y - 31.0 / 8.0) / 8.0))
    assert one(Variable("y", "total", Y), W)["variance"] == pytest.approx(of(W * Y))
    assert one(Variable("y", "ratio", Y, X), W)["variance"] == pytest.approx(of(W * (Y - 31.0 / 14.0 * X) / 14.0))
    known = one(Variable("y", "mean", Y), W, population=np.array([10.0]))
    assert known["variance"] == pytest.approx(of(W * Y / 10.0))
    poisson = one(Variable("y", "total", Y), W, variance_method="poisson")
    assert poisson["variance"] == pytest.approx((W * (W - 1.0) * Y**2).sum())


def test_a_simple_random_sample_has_a_design_effect_of_one():
    rng = np.random.default_rng(1)
    y, x, n = rng.gamma(3.0, 2.0, 50), rng.uniform(1.0, 2.0, 50), 50
    weights, fpc = np.full(n, 8.0), {"fpc": [np.full(n, 400.0)]}
    for statistic in ("mean", "total", "ratio", "quantile"):
        found = one(Variable("y", statistic, y, x if statistic == "ratio" else None), weights, design=fpc)
        assert found["deff"] == pytest.approx(1.0, rel=1e-10)
        assert found["n_eff"] == pytest.approx(n, rel=1e-10)
    without = one(Variable("y", "mean", y), np.ones(n), deff_reference="with_replacement")
    assert without["deff"] == pytest.approx(1.0, rel=1e-10)


def woodruff(y, w, p, tail=0.975):
    """One area of a simple design, by a loop: the quantile and the width of its interval over 2 t."""
    order = sorted(range(len(y)), key=lambda i: y[i])

    def quantile(share):
        running = 0.0
        for i in order:
            running += w[i]
            if running >= share * sum(w) - 1e-9:
                return y[i]
        return y[order[-1]]

    q, n = quantile(p), len(y)
    below = [float(value <= q) for value in y]
    at = sum(a * b for a, b in zip(w, below, strict=True)) / sum(w)
    z = [a * (b - at) / sum(w) for a, b in zip(w, below, strict=True)]
    s = (n / (n - 1.0) * sum((one - sum(z) / n) ** 2 for one in z)) ** 0.5
    t = stats.t.ppf(tail, n - 1)
    low, high = quantile(max(p - t * s, 0.0)), quantile(min(p + t * s, 1.0))
    return q, (high - low) / (2.0 * t) / s, (low, high)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.8])
def test_quantiles_have_woodruffs_standard_error(p):
    rng = np.random.default_rng(7)
    y, w = rng.lognormal(0.0, 0.7, 80), rng.uniform(1.0, 5.0, 80)
    found = one(Variable("y", "quantile", y, probability=p), w)
    q, per_share, _ = woodruff(y, w, p)
    _, _, limits = woodruff(y, w, p, tail=0.95)
    z = w * ((y <= q) - p) / w.sum()
    s = np.sqrt(80.0 / 79.0 * ((z - z.mean()) ** 2).sum())
    assert found["direct"] == q
    assert found["se"] == pytest.approx(per_share * s, rel=1e-9)
    narrow = one(Variable("y", "quantile", y, probability=p), w, level=0.9)
    assert (narrow["lower"], narrow["upper"]) == limits


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_standard_errors_of_quantiles_are_right_in_simulations(p):
    rng = np.random.default_rng(11)
    runs, n = 3000, 120
    y = rng.gamma(2.0, 1.0, size=(runs, n))
    domain = np.repeat(np.arange(runs), n)
    # Every run is an area and a stratum of its own.
    design = survey_design(np.ones(runs * n), strata=[domain])
    names = tuple(map(str, range(runs)))
    table = area_estimates([Variable("y", "quantile", y.ravel(), probability=p)], domain, names, design).table
    truth = stats.gamma.ppf(p, 2.0)
    spread = table["direct"].std(ddof=1)
    # The standard deviation over 3000 runs is known to 1 / sqrt(6000), 1.3 per cent; 3 of them, and 5 per cent for the
    # width of an interval at n = 120, which is no density yet: by 500 it is 1 or 2.
    assert np.sqrt((table["se"] ** 2).mean()) == pytest.approx(spread, rel=0.09)
    inside = np.mean((table["lower"] <= truth) & (truth <= table["upper"]))
    assert inside == pytest.approx(0.95, abs=3.0 * np.sqrt(0.95 * 0.05 / runs))


def test_quantiles_among_many_equal_values_have_no_standard_error_rather_than_a_wrong_one():
    y = np.array([1.0, 2.0] + [5.0] * 60 + [7.0, 9.0])
    found = one(Variable("y", "quantile", y), np.ones(64))
    assert (found["direct"], found["flag"]) == (5.0, "no variance")
    assert np.isnan(found["variance"])
    same = one(Variable("y", "quantile", np.full(9, 5.0)), np.ones(9))
    assert same["flag"] == "zero variance"


def sample(seed=3, n=300, areas=6):
    rng = np.random.default_rng(seed)
    psu = rng.integers(0, 30, n)
    data = {
        "domain": (psu + rng.integers(0, 2, n)) % areas,
        "weights": rng.uniform(2.0, 9.0, n),
        "strata": [(psu % 3).astype(str)],
        "psu": [psu.astype(str)],
        "y": rng.gamma(3.0, 10.0, n),
        "x": rng.uniform(1.0, 2.0, n),
    }
    data["share"] = (data["y"] > 25.0).astype(float)
    return data


def estimated(data, *, scale=1.0, names="abcdef", **more):
    design = survey_design(data["weights"], strata=data["strata"], psu=data["psu"])
    variables = [
        Variable("mean", "mean", scale * data["y"]),
        Variable("share", "proportion", data["share"]),
        Variable("total", "total", scale * data["y"]),
        Variable("ratio", "ratio", scale * data["y"], data["x"]),
        Variable("median", "quantile", scale * data["y"]),
    ]
    return area_estimates(variables, data["domain"], tuple(names), design, **more)


def close(one, other):
    for column in one.table.columns:
        if column in ("area", "response", "flag"):
            assert one.table[column].tolist() == other.table[column].tolist()
        else:
            np.testing.assert_allclose(one.table[column], other.table[column], rtol=1e-9, err_msg=column)
    np.testing.assert_allclose(one.covariances, other.covariances, rtol=1e-8, atol=1e-12)


def test_the_order_of_rows_does_not_matter():
    data = sample()
    order = np.random.default_rng(1).permutation(300)
    shuffled = {k: [v[0][order]] if isinstance(v, list) else v[order] for k, v in data.items()}
    close(estimated(data), estimated(shuffled))


def test_another_unit_of_measurement_changes_the_unit_only():
    data = sample()
    one, other = estimated(data).table, estimated(data, scale=1000.0).table
    factor = np.where(one["response"] == "share", 1.0, 1000.0)
    for column in ("direct", "se", "lower", "upper"):
        np.testing.assert_allclose(other[column], factor * one[column], rtol=1e-9)
    np.testing.assert_allclose(other["variance"], factor**2 * one["variance"], rtol=1e-9)
    for column in ("cv", "deff", "n_eff", "n", "df"):
        np.testing.assert_allclose(other[column], one[column], rtol=1e-9)


def test_weights_count_relatively_except_in_totals():
    data = sample()
    one = estimated(data, deff_reference="with_replacement").table
    doubled = {**data, "weights": 2.0 * data["weights"]}
    other = estimated(doubled, deff_reference="with_replacement").table
    factor = np.where(one["response"] == "total", 2.0, 1.0)
    for column in ("direct", "se"):
        np.testing.assert_allclose(other[column], factor * one[column], rtol=1e-9)
    np.testing.assert_allclose(other["deff"], one["deff"], rtol=1e-9)


def test_an_area_without_respondents_changes_nothing_else():
    data = sample()
    one, other = estimated(data).wide(), estimated(data, names="abcdefg").wide()
    assert other.head(6).equals(one.astype(other.dtypes.to_dict()))
    last = other.iloc[6]
    assert (last["n_mean"], last["flag_mean"]) == (0, "no respondents")
    assert last[["mean", "variance_mean", "lower_mean", "upper_mean", "covariance_mean_total"]].isna().all()


def test_rows_with_a_weight_of_zero_do_not_count_in_an_area():
    data = sample()
    data["weights"][:20] = 0.0
    spoiled = {**data, "y": np.where(np.arange(300) < 20, 1e9, data["y"])}
    close(estimated(data), estimated({**spoiled, "share": data["share"]}))


def test_equal_values_have_exactly_no_variance_whatever_the_weights():
    rng = np.random.default_rng(2)
    weights = rng.uniform(0.1, 7.3, 50)
    for statistic in ("mean", "proportion"):
        found = one(Variable("y", statistic, np.full(50, 0.1 if statistic == "mean" else 1.0)), weights)
        assert found["flag"] == "zero variance"
        assert np.isnan(found["variance"])
        assert found["direct"] == (0.1 if statistic == "mean" else 1.0)
    assert 0.9 < found["lower"] < found["upper"] == 1.0


def test_negative_replicate_weights_count():
    columns = np.array([[1.0, -1.0], [2.0, 2.0], [1.0, 3.0], [4.0, 4.0]])
    design = {"replicates": replicate_weights(columns, "sdr", base=W)}
    found = one(Variable("y", "mean", Y), W, design=design)
    replicates = (columns * Y[:, None]).sum(axis=0) / columns.sum(axis=0)
    assert found["variance"] == pytest.approx(4.0 / 2.0 * ((replicates - 31.0 / 8.0) ** 2).sum())


def test_replicates_need_no_policy_on_lonely_units():
    columns = np.array([[0.5, 2.0], [0.5, 2.0], [2.0, 1.0], [1.0, 2.0]])
    design = {"strata": [["a", "b", "b", "b"]], "replicates": replicate_weights(columns, "brr", base=np.ones(4))}
    found = one(Variable("y", "quantile", Y), np.ones(4), design=design)
    replicates = np.array([one(Variable("y", "quantile", Y), c)["direct"] for c in columns.T])
    assert found["variance"] == pytest.approx(((replicates - replicates.mean()) ** 2).sum() / 2.0)


def test_a_replicate_without_weights_in_an_area_leaves_no_variance():
    columns = np.array([[0.0, 2.0], [0.0, 2.0], [2.0, 1.0], [1.0, 2.0]])
    design = survey_design(np.ones(4), replicates=replicate_weights(columns, "brr", base=np.ones(4)))
    found = area_estimates([Variable("y", "mean", Y)], np.array([0, 0, 1, 1]), ("a", "b"), design).table
    assert found["flag"].tolist() == ["no variance", "few degrees of freedom"]
    assert found["variance"].notna().tolist() == [False, True]


def test_the_columns_of_the_wide_table_are_those_that_are_announced():
    result = estimated(sample())
    assert result.wide().columns.tolist() == wide_columns(result.responses)
