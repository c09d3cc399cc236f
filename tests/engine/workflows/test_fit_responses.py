"""The task fit with several responses, links between them, sampling covariances, and every area effect."""

import json
import sqlite3

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from smallarea.errors import JobProblem, ModelProblem, PriorProblem, TableProblem, VarianceProblem
from smallarea.jobs.summary import summarise
from smallarea.results.posterior import PosteriorDraws
from smallarea.workflows import fit

BOTH = {"id_field": "code", "direct": ["y", "z"], "variance": ["v", "w"], "covariates": ["x"]}
ONE = {"id_field": "code", "direct": "y", "variance": "v", "covariates": ["x"]}
QUICK = {"draws": 200, "min_ess": 200}
NUMBERS = ["direct", "direct_se", "estimate", "se", "cv", "lower", "upper", "shrinkage"]
LINKS = ["separable", "independent", "chain"]


def of(result, response: str) -> pd.DataFrame:
    table = result.estimates
    return table[table["response"] == response].set_index("area")


def assert_same(one, other, *, rtol: float = 0.0) -> None:
    for name in NUMBERS:
        np.testing.assert_allclose(one.estimates[name], other.estimates[name], rtol=rtol, err_msg=name)


# --- models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("effect", ["iid", "car", "leroux", "bym2", "icar"])
def test_every_effect_with_every_link(make_pair, effect, link):
    areas = make_pair()
    model = {"random_effect": effect, "link": link}
    if link == "chain" and effect not in ("car", "leroux"):
        with pytest.raises(ModelProblem, match="needs random_effect 'car' or 'leroux'"):
            fit(areas, **BOTH, **model, **QUICK)
        return
    result = fit(areas, **BOTH, **model, **QUICK)
    assert np.isfinite(result.estimates[NUMBERS]).all(axis=None)
    assert result.diagnostics["converged"]
    assert result.estimates["response"].tolist() == ["y"] * 30 + ["z"] * 30
    assert result.model["direct"] == ["y", "z"]
    assert result.model["link"] == link
    names = set(result.hyperparameters["name"])
    assert ("correlation[y,z]" in names) == (link == "separable")
    assert ({"eta0[y,z]", "eta1[y,z]"} <= names) == (link == "chain")
    assert {f"{'sd_delta' if effect == 'iid' else 'sd_phi'}[{name}]" for name in "yz"} <= names
    # Each response in its own units.
    assert of(result, "y")["estimate"].abs().max() < 20.0
    assert of(result, "z")["estimate"].abs().median() > 50.0
    slopes = result.coefficients.set_index(["response", "term"])["estimate"]
    assert slopes["y", "x"] > 0.0 > slopes["z", "x"]


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("effect", ["iid", "car", "leroux", "bym2", "icar", "sar"])
@pytest.mark.parametrize("several", [False, True])
def test_likelihood_methods_for_every_effect(make_pair, effect, method, several):
    areas = make_pair()
    model = {"random_effect": effect, "method": method}
    if effect == "sar" and several:
        with pytest.raises(ModelProblem, match="SAR area effects are fitted by method 'reml' or 'ml', for one resp"):
            fit(areas, **BOTH, **model)
        return
    result = fit(areas, **(BOTH if several else ONE), **model)
    assert np.isfinite(result.estimates[NUMBERS]).all(axis=None)
    assert result.posterior is None
    assert {"log_likelihood", "restricted_log_likelihood", "aic", "bic"} <= set(result.fit_statistics)
    assert {"mse", "g1", "g2", "g3"} <= set(result.area_diagnostics.columns)
    np.testing.assert_allclose(result.estimates["se"] ** 2, result.area_diagnostics["mse"], rtol=1e-10)
    bayes = {} if effect == "sar" else {"method": "bayes"}
    if bayes:
        other = fit(areas, **(BOTH if several else ONE), **{**model, **bayes}, **QUICK)
        away = (other.estimates["estimate"] - result.estimates["estimate"]) / result.estimates["se"]
        assert away.abs().max() < 1.5  # the same map, though one averages over what the other fixes


def test_a_correlation_at_the_end_of_its_range_is_said_and_leaves_errors_finite(make_pair):
    # Near a correlation of 1 the precision matrices are singular, and rounding makes up a likelihood of its own: a
    # search without a wall found a maximum there 16 units above the true one, and no standard error.
    result = fit(make_pair(), **BOTH, random_effect="icar", method="reml")
    row = result.hyperparameters.set_index("name").loc["correlation[y,z]"]
    assert row["estimate"] > 0.999
    assert np.isnan(row["se"])
    assert any("'correlation[y,z]' at the end of its range" in text for text in result.warnings)
    assert result.estimates["se"].gt(0.0).all()
    # The car model with rho near 1 is nearly the same model.
    near = fit(make_pair(), **BOTH, random_effect="car", method="ml")
    other = fit(make_pair(), **BOTH, random_effect="icar", method="ml")
    assert abs(near.fit_statistics["log_likelihood"] - other.fit_statistics["log_likelihood"]) < 5.0


@pytest.mark.parametrize("effect", ["iid", "car"])
def test_one_response_is_the_same_through_every_link(make_pair, effect):
    areas = make_pair()
    results = [fit(areas, **ONE, random_effect=effect, link=link, **QUICK) for link in LINKS]
    for other in results[1:]:
        assert_same(results[0], other)
        assert results[0].hyperparameters["name"].tolist() == other.hyperparameters["name"].tolist()
    as_list = fit(areas, **{**ONE, "direct": ["y"], "variance": ("v",)}, random_effect=effect, **QUICK)
    assert_same(results[0], as_list)


def test_independent_responses_are_two_fits(make_pair):
    areas = make_pair()
    model = {"random_effect": "iid", "seed": 3}
    together = fit(areas, **BOTH, **model, link="independent")
    apart = {
        name: fit(areas, **{**ONE, "direct": name, "variance": variance}, **model)
        for name, variance in (("y", "v"), ("z", "w"))
    }
    for name, alone in apart.items():
        ours, theirs = of(together, name), of(alone, name)
        # Two runs of effective size 1,000: sqrt(2 / 1000) = 0.045 of the part of the SD that lies between
        # hyperparameters, below half of it here; five of these errors.
        away = (ours["estimate"] - theirs["estimate"]) / theirs["se"]
        assert away.abs().max() < 0.11
        np.testing.assert_allclose(ours["se"], theirs["se"], rtol=0.1)
    evidence = sum(alone.fit_statistics["log_marginal_likelihood"] for alone in apart.values())
    error = 5.0 * np.hypot(*(alone.fit_statistics["log_marginal_likelihood_se"] for alone in apart.values()))
    error += 5.0 * together.fit_statistics["log_marginal_likelihood_se"]
    assert together.fit_statistics["log_marginal_likelihood"] == pytest.approx(evidence, abs=error)


def test_independent_responses_are_two_fits_by_reml(make_pair):
    areas = make_pair()
    together = fit(areas, **BOTH, random_effect="iid", link="independent", method="reml")
    for name, variance in (("y", "v"), ("z", "w")):
        alone = fit(areas, **{**ONE, "direct": name, "variance": variance}, random_effect="iid", method="reml")
        ours, theirs = of(together, name), of(alone, name)
        assert ((ours["estimate"] - theirs["estimate"]) / theirs["se"]).abs().max() < 1e-4
        sd = together.hyperparameters.set_index("name").loc[f"sd_delta[{name}]", "estimate"]
        assert sd == pytest.approx(alone.hyperparameters.loc[0, "estimate"], rel=1e-4)


@pytest.mark.parametrize("link", LINKS)
def test_seed(make_pair, link):
    areas = make_pair()
    model = {**BOTH, "link": link, **QUICK}
    one, same, other = (fit(areas, **model, seed=seed, workers=workers) for seed, workers in ((5, 0), (5, 2), (6, 0)))
    pd.testing.assert_frame_equal(one.estimates, same.estimates, check_exact=True)
    np.testing.assert_array_equal(one.posterior.theta, same.posterior.theta)
    assert not np.array_equal(one.posterior.theta, other.posterior.theta)


def test_a_related_response_helps_where_one_is_missing(make_pair):
    areas = make_pair(10, 12)
    areas.loc[::4, "z"] = np.nan
    together = fit(areas, **BOTH, random_effect="iid")
    alone = fit(areas, **{**ONE, "direct": "z", "variance": "w"}, random_effect="iid")
    missing = areas.loc[::4, "code"]
    ours, theirs = of(together, "z").loc[missing], of(alone, "z").loc[missing]
    assert not ours["sampled"].any()
    assert set(ours["note"]) == {"no direct estimate"}
    assert of(together, "y").loc[missing, "sampled"].all()
    assert ours["se"].median() < 0.97 * theirs["se"].median()
    assert together.model["n_sampled"] == 120
    assert summarise("fit", together)["n_areas"] == 120


# --- the order of a chain ------------------------------------------------------------------------------------------


def test_the_order_of_a_chain(make_pair):
    areas = make_pair()
    chains = {order: fit(areas, **BOTH, link="chain", order=list(order), **QUICK) for order in ("yz", "zy")}
    assert chains["zy"].model["order"] == ["z", "y"]
    assert "eta0[z,y]" in set(chains["zy"].hyperparameters["name"])
    assert_same(chains["yz"], fit(areas, **BOTH, link="chain", **QUICK))
    heard = []
    auto = fit(areas, **BOTH, link="chain", order="auto", **QUICK, progress=lambda p, t: heard.append(p))
    assert heard == sorted(heard)
    scores = {order: result.fit_statistics["log_marginal_likelihood"] for order, result in chains.items()}
    best = max(scores, key=scores.get)
    assert auto.model["order"] == list(best)
    assert_same(auto, chains[best])
    assert auto.diagnostics["orders_tried"] == (f"y given z: {scores['yz']:.2f}; z given y: {scores['zy']:.2f}")


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_the_best_order_by_the_likelihood_that_is_maximised(make_pair, method):
    areas = make_pair()
    name = {"reml": "restricted_log_likelihood", "ml": "log_likelihood"}[method]
    model = {**BOTH, "random_effect": "leroux", "link": "chain", "method": method}
    scores = {order: fit(areas, **model, order=list(order)).fit_statistics[name] for order in ("yz", "zy")}
    assert fit(areas, **model, order="auto").model["order"] == list(max(scores, key=scores.get))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"order": "auto"}, JobProblem, "belongs to link 'chain'"),
        ({"order": ["z", "y"]}, ModelProblem, "belongs to link 'chain'"),
        ({"link": "chain", "order": ["z", "q"]}, ModelProblem, "'y', 'z'; got 'z', 'q'"),
        ({"link": "chain", "order": ["z", "z"]}, ModelProblem, "each response once"),
        ({"link": "chain", "order": "z"}, ModelProblem, "each response once"),
        ({"link": "chain", "order": 3}, JobProblem, "order must be a field name or a list"),
        ({"link": "chain", "order": "auto", "priors": {"eta0[y,z]": "Normal(0, 0.1)"}}, PriorProblem, "for all links"),
        ({"link": "coregionalised"}, JobProblem, "There is no link"),
        ({"method": "fh", "random_effect": "iid"}, ModelProblem, "one response with independent area effects"),
        ({"random_effect": "sar"}, ModelProblem, "for one response"),
        ({"priors": {"sd_phi[q]": "HalfNormal(1)"}}, PriorProblem, r"this model has only sd_phi\[y\]"),
    ],
)
def test_models_that_do_not_exist(make_pair, arguments, error, says):
    with pytest.raises(error, match=says):
        fit(make_pair(), **{**BOTH, **QUICK, **arguments})


def test_sar_is_for_likelihood_and_one_response(make_pair):
    areas = make_pair()
    with pytest.raises(ModelProblem, match="method 'reml' or 'ml'"):
        fit(areas, **ONE, random_effect="sar")
    with pytest.raises(ModelProblem, match="without an iid part"):
        fit(areas, **ONE, random_effect="sar", method="reml", iid_part=True)
    result = fit(areas, **ONE, random_effect="sar", method="reml")
    assert result.hyperparameters["name"].tolist() == ["sd_phi", "rho"]


# --- sampling covariances ------------------------------------------------------------------------------------------


def test_covariances_and_an_assumed_correlation_are_one_model(make_pair):
    areas = make_pair()
    areas.loc[4, "z"] = np.nan
    fields = fit(areas, **BOTH, covariance="c", **QUICK)
    assumed = fit(areas, **BOTH, sampling_correlation=0.3, **QUICK)
    without = fit(areas, **BOTH, **QUICK)
    away = (fields.estimates["estimate"] - assumed.estimates["estimate"]) / fields.estimates["se"]
    assert away.abs().max() < 2e-3  # equal but for rounding, which the adaptive sampler may pass on
    assert not np.allclose(fields.estimates["estimate"], without.estimates["estimate"], rtol=1e-3)
    assert fields.model["covariance"] == ["c"]
    assert assumed.model["sampling_correlation"] == 0.3
    # A covariance does not count where one response is missing, whatever stands there.
    areas.loc[4, "c"] = np.nan
    np.testing.assert_array_equal(fit(areas, **BOTH, covariance="c", **QUICK).estimates["estimate"],
                                  fields.estimates["estimate"])  # fmt: skip


def test_covariances_beside_standard_errors_stay_covariances(make_pair):
    areas = make_pair()
    roots = areas.assign(v=np.sqrt(areas["v"]), w=np.sqrt(areas["w"]))
    one = fit(areas, **BOTH, covariance=["c"], random_effect="iid", method="reml")
    other = fit(roots, **BOTH, covariance=["c"], variance_type="standard_error", random_effect="iid", method="reml")
    assert_same(one, other, rtol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "change", "error", "says"),
    [
        ({"covariance": ["c", "d"]}, {"d": 0.0}, JobProblem, r"2 responses have 1 .*: \(y, z\)"),
        ({"covariance": ["v"]}, {}, JobProblem, "used twice"),
        ({"covariance": ["gone"]}, {}, TableProblem, "'gone'"),
        ({"covariance": ["c"], "sampling_correlation": 0.3}, {}, JobProblem, "Leave one of them out"),
        ({"covariance": ["c"]}, {"c": 5000.0}, VarianceProblem, "'c' is not smaller than the product .* 30 areas"),
        ({"covariance": ["c"]}, {"c": np.nan}, VarianceProblem, "no sampling covariance in 30 areas.*'A000'"),
        ({"sampling_correlation": 1.0}, {}, JobProblem, "between -1 and 1"),
        ({"sampling_correlation": float("nan")}, {}, JobProblem, "between -1 and 1"),
        ({"sampling_correlation": "high"}, {}, JobProblem, "must be a number"),
        ({"direct": "y", "variance": "v", "sampling_correlation": 0.3}, {}, JobProblem, "One response has no"),
        ({"direct": "y", "variance": "v", "covariance": "c"}, {}, JobProblem, "One response has no"),
    ],
)
def test_covariances_that_cannot_be(make_pair, arguments, change, error, says):
    with pytest.raises(error, match=says):
        fit(make_pair().assign(**change), **{**BOTH, **QUICK, **arguments})


def test_three_covariances_must_agree(make_pair):
    areas = make_pair()
    areas["u"], areas["q"] = 2.0 * areas["y"] + areas["x"] ** 2, 4.0 * areas["v"]
    fields = {**BOTH, "direct": ["y", "z", "u"], "variance": ["v", "w", "q"], "covariates": []}
    for name, (one, other), correlation in (("c12", "vw", 0.9), ("c13", "vq", 0.9), ("c23", "wq", -0.9)):
        areas[name] = correlation * np.sqrt(areas[one] * areas[other])
    areas.loc[3:, "c23"] *= -1.0
    with pytest.raises(VarianceProblem, match="contradict each other in 3 areas: 'A000', 'A001', 'A002'"):
        fit(areas, **fields, covariance=["c12", "c13", "c23"])
    with pytest.raises(JobProblem, match=r"between -0\.5 and 1"):
        fit(areas, **fields, sampling_correlation=-0.6)
    with pytest.raises(JobProblem, match=r"\(y, z\), \(y, u\), \(z, u\)"):
        fit(areas, **fields, covariance=["c12"])
    areas["c23"] = areas["c23"].abs()
    result = fit(areas, **fields, covariance=["c12", "c13", "c23"], random_effect="iid", **QUICK)
    assert np.isfinite(result.estimates["estimate"]).all()


# --- fields that cannot be used ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "change", "error", "says"),
    [
        ({"direct": ["y", "y"]}, {}, JobProblem, "'y' is used twice"),
        ({"variance": ["v", "v"]}, {}, JobProblem, "'v' is used twice.*a copy of the field"),
        ({"variance": ["v"]}, {}, JobProblem, r"2 with direct estimates \('y', 'z'\), 1 with .* \('v'\)"),
        ({"direct": [], "variance": []}, {}, JobProblem, "No field with direct estimates"),
        ({"direct": [1, 2]}, {}, JobProblem, "direct must be a field name"),
        ({"direct": None}, {}, JobProblem, "direct must be a field name"),
        ({}, {"z": 3.0}, ModelProblem, "Response 'z': All direct estimates are the same"),
        ({}, {"z": [1.0, 2.0] + [np.nan] * 28}, ModelProblem, "Response 'z': 2 areas have a direct estimate"),
        ({}, {"z": np.nan}, ModelProblem, "Response 'z': 0 areas"),
        ({}, {"z": "many"}, TableProblem, "'z'"),
        ({}, {"w": -1.0}, VarianceProblem, "Field 'w' is negative"),
        ({"missing_variance": "error"}, {"w": 0.0}, VarianceProblem, "Response 'z': 30 areas have a direct estimate"),
        ({}, {"x": [np.nan] + [1.0, 2.0, 3.0] * 9 + [1.0, 2.0]}, TableProblem, "^1 areas lack a value of 'x'"),
    ],
)
def test_what_is_wrong_names_the_response(make_pair, arguments, change, error, says):
    with pytest.raises(error, match=says):
        fit(make_pair().assign(**change), **{**BOTH, **QUICK, **arguments})


def test_what_is_set_aside_is_said_for_each_response_and_what_all_share_once(make_pair):
    areas = make_pair()
    areas.loc[2, "w"], areas.loc[5, "x"] = 0.0, np.nan
    result = fit(areas, **BOTH, **QUICK, missing_covariates="drop")
    reasons = {area: reason for _, area, reason in result.dropped.itertuples(index=False)}
    assert reasons == {
        "A002": "z: direct estimate set aside: sampling variance zero",
        "A005": "no estimate: covariate missing",
    }
    assert len(result.dropped) == 2
    assert any("1 direct estimates of z" in text and "A002" in text for text in result.warnings)
    summary = summarise("fit", result)
    assert (summary["n_areas"], summary["n_sampled"], summary["n_estimated"], summary["n_dropped"]) == (30, 29, 29, 2)
    assert set(summary["responses"]) == {"y", "z"}
    assert summary["link"] == "separable"
    json.dumps(summary)


def test_the_reliability_preset_is_held_against_each_response(make_pair):
    areas = make_pair().assign(z=lambda table: table["z"] - 250.0)
    result = fit(areas, **BOTH, random_effect="iid", method="reml")
    (caution,) = [text for text in result.warnings if "change sign" in text]
    assert caution.startswith("z: Estimates change sign (")
    assert "of 30 are negative" in caution
    alone = fit(areas, **{**ONE, "direct": "z", "variance": "w"}, random_effect="iid", method="reml")
    assert any(text.startswith("Estimates change sign") for text in alone.warnings)


def test_parts_of_the_map_without_data_count_for_linked_responses_together(make_pair):
    areas = make_pair()
    far = areas.geometry.translate(-9e5)
    areas.geometry = areas.geometry.where(areas.index >= 6, far)  # the first row of squares is an archipelago
    areas.loc[:5, "z"] = np.nan
    linked = fit(areas, **BOTH, **QUICK)
    assert not any("without any" in text for text in linked.warnings)
    apart = fit(areas, **BOTH, link="independent", **QUICK)
    assert any("without any direct estimate of z" in text for text in apart.warnings)
    areas.loc[:5, "y"] = np.nan
    neither = fit(areas, **BOTH, **QUICK)
    assert sum("without any direct estimate:" in text for text in neither.warnings) == 1


# --- outputs -------------------------------------------------------------------------------------------------------

ODD = [
    ("y", "z"),
    ("inc", "Inc"),
    ("mean income", 'rent [EUR], "net"'),
    ("Größe", "収入"),
    ("x" * 70 + "1", "x" * 70 + "2"),
    ("a/b", "a|b"),
    ("=1+2", "fid"),
    ("x1", "se_x1"),
    ("area", "response"),
    ("o'b;x=1", "<b>&\ud7ff"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("names", ODD, ids=lambda names: names[0][:12])
def test_outputs_whatever_the_responses_are_called(make_pair, tmp_path, names):
    pytest.importorskip("arviz")
    areas = make_pair().rename(columns={"y": names[0], "z": names[1]})
    areas.loc[2, names[1]] = np.nan
    files = {
        "output": tmp_path / "map.gpkg",
        "report": tmp_path / "report.html",
        "csv": tmp_path / "table.csv",
        "excel": tmp_path / "book.xlsx",
        "posterior": tmp_path / "draws.nc",
    }
    result = fit(areas, **{**BOTH, "direct": list(names)}, **QUICK, **files)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in files.values())

    layer = gpd.read_file(files["output"], layer="estimates")
    assert len(layer) == 30
    assert len(layer.columns) == 2 + 2 * 11
    written = [c for c in layer.columns if c.removeprefix("est_").startswith("estimate_")]
    for response, column in zip(names, written, strict=True):
        np.testing.assert_array_equal(layer[column], of(result, response)["estimate"])
    with sqlite3.connect(files["output"]) as database:
        rows = database.execute("select styleName, useAsDefault, description, styleQML from layer_styles").fetchall()
    database.close()
    assert len({name for name, *_ in rows}) == len(rows) == 6
    assert [default for _, default, *_ in rows] == [1, 0, 0, 0, 0, 0]
    assert rows[0][2] == f"{names[0]}: model estimates"
    assert rows[1][2] == f"{names[1]}: model estimates"

    table = pd.read_csv(files["csv"], keep_default_na=False, na_values={name: [""] for name in NUMBERS})
    assert table["response"].tolist() == [name for name in names for _ in range(30)]
    np.testing.assert_allclose(table["estimate"], result.estimates["estimate"], rtol=1e-14)
    book = pd.read_excel(files["excel"], sheet_name="Estimates", keep_default_na=False)
    assert book["response"].tolist() == table["response"].tolist()
    draws = PosteriorDraws.load(files["posterior"])
    assert draws.responses == names
    np.testing.assert_array_equal(draws.theta, result.posterior.theta)
    assert set(draws.hyperparameters) == set(result.hyperparameters["name"])
    for name, values in draws.hyperparameters.items():
        np.testing.assert_array_equal(values, result.posterior.hyperparameters[name])
    assert "<html" in files["report"].read_text(encoding="utf-8")
