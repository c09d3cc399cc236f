"""From draws to files: what is written is what was computed, and what does not fit is said."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pytest
import smallarea
from smallarea.areas import AreaGraph
from smallarea.errors import (
    Cancelled,
    EngineUnavailable,
    GraphProblem,
    JobProblem,
    ModelProblem,
    OutputProblem,
    TableProblem,
)
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.ranks import rank_areas
from smallarea.workflows.export_output import LAYER


@pytest.fixture
def polygons(make_map):
    frame = make_map(3, 4)
    frame["region"] = ["north"] * 4 + ["mid"] * 4 + ["south"] * 4
    frame["people"] = np.arange(1.0, 13.0)
    return frame


def make_draws(ids, responses=("rate",), draws=1200, seed=3):
    rng = np.random.default_rng(seed)
    n, k = len(ids), len(responses)
    centre = np.linspace(4.0, 9.0, n)[:, None] * np.arange(1, k + 1)
    theta = centre + rng.normal(size=(draws, n, k)) * rng.uniform(0.3, 0.9, size=(n, k))
    direct = centre + 0.1
    return PosteriorDraws(
        tuple(ids), tuple(responses), ("intercept",), theta, theta[:, :1, :], {"rho": rng.uniform(size=draws)},
        direct, np.ones((n, k)), {"model": "rate ~ 1", "seed": 5},
    )  # fmt: skip


@pytest.fixture
def draws(polygons):
    return make_draws(polygons["code"])


@pytest.fixture
def two(polygons):
    return make_draws(polygons["code"], ("rate", "income"))


def styles_of(path):
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT styleName, useAsDefault FROM layer_styles ORDER BY id").fetchall()
    return [name for name, _ in rows], [bool(default) for _, default in rows]


def test_everything_at_once(draws, polygons, tmp_path):
    paths = {"output": tmp_path / "m.gpkg", "csv": tmp_path / "t.csv", "excel": tmp_path / "w.xlsx"}
    found = smallarea.export(
        draws, areas=polygons, id_field="code", thresholds=[5.0, "rate=7.5"], compare="mean", reference="A002",
        pairs=[("A000", "A011"), "A003=A004"], constrained=True, weight_field="people", **paths,
    )  # fmt: skip
    layer = gpd.read_file(paths["output"], layer=LAYER)
    theta = draws.theta[:, :, 0]
    assert layer["code"].tolist() == list(draws.areas)
    np.testing.assert_allclose(layer["p_above_5"], (theta > 5.0).mean(axis=0))
    np.testing.assert_allclose(layer["p_above_7.5"], (theta > 7.5).mean(axis=0))
    np.testing.assert_allclose(layer["estimate"], theta.mean(axis=0))
    ranks = rank_areas(theta, 0.95)
    np.testing.assert_array_equal(layer["rank"], ranks.rank)
    np.testing.assert_array_equal(layer["rank_joint_upper"], ranks.joint_upper)
    people = polygons["people"].to_numpy()
    np.testing.assert_allclose(layer["diff_mean"], (theta - (theta @ people / people.sum())[:, None]).mean(axis=0))
    assert np.isnan(layer["diff_reference"][2])
    np.testing.assert_allclose(layer["diff_reference"][5], (theta[:, 5] - theta[:, 2]).mean())
    assert layer["constrained"].std() > layer["estimate"].std()
    assert len(layer.columns) == len({c.lower() for c in layer.columns})
    assert layer.crs == polygons.crs
    assert styles_of(paths["output"]) == (
        ["Probability above 5", "Probability above 7.5", "Rank", "Probability top", "Estimate"],
        [True, False, False, False, False],
    )
    pairs = found.differences[found.differences["comparison"] == "pair"]
    assert pairs["against"].tolist() == ["A011", "A004"]
    np.testing.assert_allclose(
        pairs["difference"], [(theta[:, 0] - theta[:, 11]).mean(), (theta[:, 3] - theta[:, 4]).mean()]
    )


def test_the_long_table_has_every_number(draws, polygons, tmp_path):
    path = tmp_path / "long.csv"
    found = smallarea.export(draws, thresholds=[5], pairs=["A000=A011"], reference="A001", csv=path)
    table = pd.read_csv(path, dtype={"argument": str}, keep_default_na=False)
    assert table.columns.tolist() == ["area", "response", "measure", "argument", "value"]
    assert not table.duplicated(["area", "response", "measure", "argument"]).any()
    at = table.set_index(["area", "measure", "argument"])["value"].astype(float, errors="ignore")
    theta = draws.theta[:, :, 0]
    assert float(at["A003", "p_above", "5"]) == pytest.approx((theta[:, 3] > 5).mean())
    assert float(at["A000", "difference", "A011"]) == pytest.approx((theta[:, 0] - theta[:, 11]).mean())
    assert float(at["A004", "difference", "A001"]) == pytest.approx((theta[:, 4] - theta[:, 1]).mean())
    assert float(at["A004", "rank_upper", ""]) == found.ranks.set_index("area").loc["A004", "rank_upper"]
    assert at["A001", "difference", "A001"] == ""


def test_the_workbook(draws, polygons, tmp_path):
    path = tmp_path / "w.xlsx"
    targets = pd.DataFrame({"target": [6.0]})
    smallarea.export(
        draws, areas=polygons, id_field="code", thresholds=[5], compare="mean", benchmark=targets, excel=path
    )
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == [
        "Estimates", "Exceedance", "Ranks", "Differences", "Benchmark", "Model and settings",
    ]  # fmt: skip
    sheet = book["Exceedance"]
    header = [cell.value for cell in sheet[1]]
    assert header == ["area", "response", "p_above_5"]
    assert sheet.freeze_panes == "A2"
    assert book["Estimates"].freeze_panes == "B2"
    assert sheet["C2"].number_format == "0.000"
    assert [row[0].value for row in sheet.iter_rows(min_row=2)] == list(draws.areas)
    assert book["Ranks"]["C2"].number_format == "0"
    settings = {row[0].value: row[1].value for row in book["Model and settings"].iter_rows(min_row=2)}
    assert settings["draws: model"] == "rate ~ 1"
    assert settings["benchmark_method"] == "ratio"
    assert settings["thresholds"] == "5"


def test_without_ranks_and_thresholds_there_are_estimates(draws, polygons, tmp_path):
    path = tmp_path / "m.gpkg"
    found = smallarea.export(
        draws, areas=polygons, id_field="code", ranks=False, output=path, excel=tmp_path / "w.xlsx"
    )
    assert not len(found.ranks)
    assert styles_of(path)[0] == ["Estimate"]
    assert openpyxl.load_workbook(tmp_path / "w.xlsx").sheetnames == ["Estimates", "Model and settings"]


def test_low_is_the_other_end(draws, polygons):
    found = smallarea.export(draws, thresholds=[5], direction="low")
    np.testing.assert_allclose(found.exceedance["probability"], (draws.theta[:, :, 0] < 5).mean(axis=0))
    assert "p_below_5" in found.wide()
    assert found.ranks["rank"].tolist() == list(range(1, 13))


def test_several_responses_side_by_side(two, polygons, tmp_path):
    path = tmp_path / "m.gpkg"
    found = smallarea.export(
        two, areas=polygons, id_field="code", thresholds=[6, "income=10"], compare="mean", output=path
    )
    layer = gpd.read_file(path, layer=LAYER)
    np.testing.assert_allclose(layer["p_above_6_income"], (two.theta[:, :, 1] > 6).mean(axis=0))
    np.testing.assert_allclose(layer["p_above_10_income"], (two.theta[:, :, 1] > 10).mean(axis=0))
    assert "p_above_10_rate" not in layer
    np.testing.assert_array_equal(layer["rank_income"], rank_areas(two.theta[:, :, 1], 0.95).rank)
    names = styles_of(path)[0]
    assert names[0] == "Probability above 6 rate"
    assert len(set(names)) == len(names)
    assert found.summary["areas_beyond"] == {
        key: int(((two.theta[:, :, k] > value).mean(axis=0) >= 0.9).sum())
        for key, k, value in (("rate above 6", 0, 6), ("income above 6", 1, 6), ("income above 10", 1, 10))
    }


def test_long_response_names_give_styles_names_of_their_own(polygons, tmp_path):
    names = ("share_of_households_below_the_poverty_line_men", "share_of_households_below_the_poverty_line_women")
    path = tmp_path / "m.gpkg"
    smallarea.export(make_draws(polygons["code"], names), areas=polygons, id_field="code", thresholds=[6], output=path)
    found = styles_of(path)[0]
    assert len(set(found)) == len(found) == 8
    assert all(len(name) <= 30 for name in found)


def test_areas_without_estimates_stay_empty(draws, polygons, tmp_path):
    theta = draws.theta.copy()
    theta[:, 4] = np.nan
    found = smallarea.export(
        replace(draws, theta=theta), areas=polygons, id_field="code", thresholds=[5], compare="neighbours",
        constrained=True, output=tmp_path / "m.gpkg", csv=tmp_path / "t.csv", excel=tmp_path / "w.xlsx",
    )  # fmt: skip
    with pytest.raises(JobProblem, match="'A004' has no estimate"):
        smallarea.export(replace(draws, theta=theta), reference="A004")
    row = found.wide().iloc[4]
    numbers = [c for c in found.wide().columns if c not in ("area", "response", "direct")]
    assert row[numbers].isna().all()
    assert found.summary["n_estimated"] == 11
    layer = gpd.read_file(tmp_path / "m.gpkg", layer=LAYER)
    assert layer.loc[4, numbers].isna().all()
    assert openpyxl.load_workbook(tmp_path / "w.xlsx")["Exceedance"]["C6"].value is None


def test_file_and_object_give_the_same(draws, polygons, tmp_path):
    pytest.importorskip("arviz")
    draws.save(tmp_path / "d.nc")
    polygons.to_file(tmp_path / "p.gpkg")
    one = smallarea.export(draws, areas=polygons, id_field="code", thresholds=[5], compare="neighbours")
    two = smallarea.export(
        tmp_path / "d.nc", areas=tmp_path / "p.gpkg", id_field="code", thresholds=["5"], compare="neighbours"
    )
    pd.testing.assert_frame_equal(one.wide(), two.wide())


def test_a_fit_brings_its_polygons_and_its_graph(polygons):
    fitted = smallarea.fit(polygons, id_field="code", direct="y", variance="v", covariates=["x1"], draws=400)
    targets = pd.DataFrame({"group": ["north", "mid", "south"], "target": [5.0, 6.0, 7.0]})
    found = smallarea.export(fitted, thresholds=[5], compare="neighbours", group_field="region", benchmark=targets)
    assert found.layer()["code"].tolist() == polygons["code"].tolist()
    np.testing.assert_array_equal(found.exceedance["probability"], (found.draws.theta[:, :, 0] > 5).mean(axis=0))
    assert any("400 draws" in text for text in found.warnings)
    classic = smallarea.fit(polygons, id_field="code", direct="y", variance="v", method="reml", random_effect="iid")
    with pytest.raises(JobProblem, match="'reml' gives no posterior draws"):
        smallarea.export(classic)


def test_neighbours_in_another_order(draws, polygons, tmp_path):
    ids = list(draws.areas)[::-1]
    graph = AreaGraph.from_edges(ids, np.array([[0, 1], [10, 11]]))
    graph.save(tmp_path / "g.json")
    found = smallarea.export(draws, compare="neighbours", graph=tmp_path / "g.json").differences.set_index("area")
    theta = draws.theta[:, :, 0]
    assert found.loc["A011", "difference"] == pytest.approx((theta[:, 11] - theta[:, 10]).mean())
    assert found.loc["A000", "difference"] == pytest.approx((theta[:, 0] - theta[:, 1]).mean())
    assert np.isnan(found.loc["A005", "difference"])


def benchmark_by_region(draws, polygons, targets, **others):
    return smallarea.export(
        draws, areas=polygons, id_field="code", benchmark=targets, group_field="region", weight_field="people", **others
    )


@pytest.mark.parametrize("method", ["ratio", "difference", "weighted_difference"])
def test_benchmarks_by_group(draws, polygons, method):
    # In another order than the areas' groups.
    targets = pd.DataFrame({"group": ["south", "north", "mid"], "target": [9.0, 5.0, 7.0]})
    found = benchmark_by_region(draws, polygons, targets, benchmark_method=method, thresholds=[6])
    people = polygons["people"].to_numpy()
    wanted = {"north": 5.0, "mid": 7.0, "south": 9.0}
    table = found.benchmark.set_index("group")
    for region, target in wanted.items():
        of = (polygons["region"] == region).to_numpy()
        mean = found.draws.theta[:, of, 0] @ people[of] / people[of].sum()
        np.testing.assert_allclose(mean, target)
        assert table.loc[region, "target"] == target
        assert table.loc[region, "n_areas"] == 4
        before = draws.theta[:, of, 0] @ people[of] / people[of].sum()
        assert table.loc[region, "before"] == pytest.approx(before.mean())
    np.testing.assert_allclose(found.estimates["model_estimate"], draws.theta[:, :, 0].mean(axis=0))
    np.testing.assert_allclose(found.estimates["estimate"], found.draws.theta[:, :, 0].mean(axis=0))
    np.testing.assert_allclose(found.exceedance["probability"], (found.draws.theta[:, :, 0] > 6).mean(axis=0))


def test_benchmarks_from_files_with_zeros_in_front(draws, tmp_path):
    pd.DataFrame({"id": draws.areas, "g": ["01"] * 6 + ["02"] * 6, "n": 2}).to_csv(tmp_path / "areas.csv", index=False)
    (tmp_path / "targets.csv").write_text("group,target,target_se\n02,48,0\n01,30,0.5\n")
    found = smallarea.export(
        draws, table=tmp_path / "areas.csv", table_id_field="id", group_field="g", weight_field="n",
        benchmark=tmp_path / "targets.csv", benchmark_kind="total", benchmark_method="difference",
    )  # fmt: skip
    totals = [2 * found.draws.theta[:, part, 0].sum(axis=1) for part in (slice(0, 6), slice(6, 12))]
    np.testing.assert_allclose(totals[1], 48.0)
    assert totals[0].mean() == pytest.approx(30.0, abs=5 * 0.5 / np.sqrt(1200))
    assert totals[0].std() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(2400))
    again = smallarea.export(
        draws, table=tmp_path / "areas.csv", table_id_field="id", group_field="g", weight_field="n",
        benchmark=tmp_path / "targets.csv", benchmark_kind="total", benchmark_method="difference", seed=2,
    )  # fmt: skip
    assert not np.array_equal(found.draws.theta[:, 0], again.draws.theta[:, 0])
    np.testing.assert_array_equal(found.draws.theta[:, 6:], again.draws.theta[:, 6:])


def test_benchmarks_of_one_of_two_responses(two, polygons):
    targets = pd.DataFrame({"response": ["income"], "target": [12.0]})
    found = smallarea.export(two, benchmark=targets)
    np.testing.assert_array_equal(found.draws.theta[:, :, 0], two.theta[:, :, 0])
    np.testing.assert_allclose(found.draws.theta[:, :, 1].mean(axis=1), 12.0)
    assert found.benchmark["response"].tolist() == ["income"]
    assert any("count alike" in text for text in found.warnings)


def test_targets_in_other_units_are_noticed(draws, polygons):
    found = smallarea.export(draws, benchmark=pd.DataFrame({"target": [650.0]}))
    assert any("all areas (100)" in text and "units" in text for text in found.warnings)


def test_draws_with_long_tails_are_noticed(draws):
    theta = draws.theta.copy()
    theta[:, 6, 0] += 1e3 * np.random.default_rng(1).standard_cauchy(len(theta))
    found = smallarea.export(replace(draws, theta=theta), ranks=False)
    assert any("1 areas have very long tails" in text and "'A006'" in text for text in found.warnings)
    assert smallarea.export(draws, ranks=False, level=0.5).warnings == ()


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"group": ["north", "mid"], "target": [1, 2]}, "no target of 'rate' for 1 groups: 'south'"),
        ({"group": ["north", "mid", "south", "west"], "target": [1, 2, 3, 4]}, "1 groups without any area: 'west'"),
        ({"group": ["north", "mid", "south", "mid"], "target": [1, 2, 3, 4]}, "several targets for 'mid of rate'"),
        ({"group": ["north", "mid", "south"], "target": [1, None, 3]}, "1 targets are missing: 'mid of rate'"),
        ({"group": ["north", "mid", None], "target": [1, 2, 3]}, "no group in 1 rows"),
        ({"group": ["north", "mid", "south"], "target": [1, 2, 3], "target_se": [1, -1, 1]}, "negative: 'mid of rate'"),
        ({"zone": ["north", "mid", "south"], "target": [1, 2, 3]}, "no field 'group'"),
        ({"group": ["north", "mid", "south"], "goal": [1, 2, 3]}, "no field 'target'"),
        ({"group": [], "target": []}, "no rows"),
    ],
)
def test_targets_that_do_not_fit(draws, polygons, targets, said):
    with pytest.raises(TableProblem, match=said):
        benchmark_by_region(draws, polygons, pd.DataFrame(targets))


def test_targets_of_another_response(two):
    with pytest.raises(TableProblem, match="targets for 'wage', but there are estimates of 'rate', 'income'"):
        smallarea.export(two, benchmark=pd.DataFrame({"response": ["wage"], "target": [1.0]}))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ({"thresholds": ["3,5"]}, JobProblem, "neither a number"),
        ({"thresholds": ["wage=3"]}, JobProblem, "of no response .* 'rate'"),
        ({"thresholds": ["rate="]}, JobProblem, "neither a number"),
        ({"thresholds": [float("nan")]}, JobProblem, "neither a number"),
        ({"thresholds": [True]}, JobProblem, "neither a number"),
        ({"thresholds": 5.0}, JobProblem, "must be a list"),
        ({"pairs": ["A000"]}, JobProblem, "not of the form FIRST=SECOND"),
        ({"pairs": ["A000=B1"]}, JobProblem, "no area 'B1'"),
        ({"pairs": [("A000",)]}, JobProblem, "does not name two areas"),
        ({"reference": "B1"}, JobProblem, "no area 'B1'"),
        ({"compare": "neighbours"}, JobProblem, "polygons .* or a saved graph"),
        ({"compare": "neighbors"}, JobProblem, "no compare 'neighbors'"),
        ({"direction": "up"}, JobProblem, "no direction 'up'"),
        ({"level": 95}, JobProblem, "between 0 and 1"),
        ({"top_share": 0.0}, JobProblem, "between 0 and 1"),
        ({"ranks": "yes"}, JobProblem, "True or False"),
        ({"seed": -1}, JobProblem, "seed"),
        ({"group_field": "region"}, JobProblem, "read from a table or from the polygons"),
        ({"output": "m.gpkg"}, JobProblem, "no polygons"),
        ({"output": "m.shp"}, OutputProblem, "must end in .gpkg"),
        ({"excel": "m.xls"}, OutputProblem, "must end in .xlsx"),
    ],
)
def test_calls_that_cannot_be_answered(draws, call, error, said):
    with pytest.raises(error, match=said):
        smallarea.export(draws, **call)


def test_a_pair_of_ids_with_equals_signs():
    found = smallarea.export(make_draws(["a=b", "c", "a"]), pairs=["a=b=c"], ranks=False)
    assert found.differences[["area", "against"]].iloc[0].tolist() == ["a=b", "c"]
    with pytest.raises(JobProblem, match="does not name two areas"):
        smallarea.export(make_draws(["a=b", "c", "a", "b=c"]), pairs=["a=b=c"], ranks=False)


def test_polygons_that_do_not_fit(draws, polygons):
    with pytest.raises(TableProblem, match="2 areas of the draws are not among the polygons: 'A000', 'A001'"):
        smallarea.export(draws, areas=polygons.iloc[2:], id_field="code")
    fewer = replace(draws, areas=draws.areas[:10], theta=draws.theta[:, :10], direct=draws.direct[:10])
    found = smallarea.export(fewer, areas=polygons, id_field="code")
    assert any("2 polygons have no draws and stay empty: 'A010', 'A011'" in text for text in found.warnings)
    assert found.layer()["estimate"].isna().tolist() == [False] * 10 + [True] * 2


def test_graphs_that_do_not_fit(draws):
    graph = AreaGraph.from_edges(list(draws.areas)[1:], np.array([[0, 1]]))
    with pytest.raises(GraphProblem, match="1 areas of the draws are not in the adjacency graph: 'A000'"):
        smallarea.export(draws, compare="neighbours", graph=graph)


def test_tables_that_do_not_fit(draws):
    table = pd.DataFrame({"id": draws.areas, "n": 1.0})
    common = {"compare": "mean", "weight_field": "n"}
    with pytest.raises(JobProblem, match="set table_id_field"):
        smallarea.export(draws, table=table, **common)
    with pytest.raises(TableProblem, match="1 areas of the estimates have no row in the table: 'A003'"):
        smallarea.export(draws, table=table.drop(index=3), table_id_field="id", **common)
    twice = pd.concat([table, table.iloc[[2]]])
    with pytest.raises(TableProblem, match="repeated in the table: 'A002'"):
        smallarea.export(draws, table=twice, table_id_field="id", **common)
    with pytest.raises(TableProblem, match="1 areas have a missing or negative weight in the field 'n': 'A005'"):
        smallarea.export(draws, table=table.assign(n=[1.0] * 5 + [None] + [1.0] * 6), table_id_field="id", **common)
    with pytest.raises(TableProblem, match="no group in the field 'g': 'A000'"):
        smallarea.export(draws, table=table.assign(g=[None] + ["a"] * 11), table_id_field="id", group_field="g")


@pytest.mark.parametrize("problem", [Cancelled("stop"), ModelProblem("no")])
def test_nothing_is_left_of_an_export_that_stops(draws, polygons, tmp_path, problem):
    (tmp_path / "t.csv").write_text("old")

    def progress(percent, text):
        if percent > 90.0:
            raise problem

    with pytest.raises(type(problem)):
        smallarea.export(draws, areas=polygons, id_field="code", output=tmp_path / "m.gpkg", csv=tmp_path / "t.csv",
                         excel=tmp_path / "w.xlsx", progress=progress)  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    assert (tmp_path / "t.csv").read_text() == "old"


def test_progress_rises_to_the_end(draws, polygons):
    told = []
    smallarea.export(draws, thresholds=[5], constrained=True, compare="mean", benchmark=pd.DataFrame({"target": [6.0]}),
                     progress=lambda percent, text: told.append(percent))  # fmt: skip
    assert told == sorted(told)
    assert told[-1] == 100.0


def test_excel_needs_openpyxl(draws, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(EngineUnavailable, match="openpyxl"):
        smallarea.export(draws, excel=tmp_path / "w.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_fit_of_two_responses_all_the_way(polygons, tmp_path):
    pytest.importorskip("arviz")
    polygons["income/1000"] = 10 + 2 * polygons["y"]
    polygons["v2"] = 4 * polygons["v"]
    fitted = smallarea.fit(
        polygons, id_field="code", direct=["y", "income/1000"], variance=["v", "v2"], random_effect="iid", draws=300,
        min_ess=200, posterior=tmp_path / "d.nc", excel=tmp_path / "f.xlsx",
    )  # fmt: skip
    found = smallarea.export(
        tmp_path / "d.nc", areas=polygons, id_field="code", thresholds=["income/1000=22"], output=tmp_path / "m.gpkg"
    )
    layer = gpd.read_file(tmp_path / "m.gpkg", layer=LAYER)
    np.testing.assert_allclose(layer["p_above_22_income/1000"], (fitted.posterior.theta[:, :, 1] > 22).mean(axis=0))
    assert "p_above_22_y" not in layer
    assert set(found.draws.hyperparameters) == set(fitted.posterior.hyperparameters)
    assert len(pd.read_excel(tmp_path / "f.xlsx", sheet_name="Estimates")) == 24
