"""Benchmarking from files to files: any estimates, draws, several margins, several responses, what is refused."""

import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pytest
import smallarea
from scipy import stats
from smallarea.errors import (
    Cancelled,
    JobProblem,
    ModelProblem,
    OutputProblem,
    TableProblem,
    VarianceProblem,
)
from smallarea.results.posterior import PosteriorDraws

GROUPS = {"region": ["north"] * 4 + ["mid"] * 4 + ["south"] * 4, "urban": ["u", "r"] * 6}
PEOPLE = np.arange(1.0, 13.0)


@pytest.fixture
def polygons(make_map):
    return make_map(3, 4).assign(**GROUPS, people=PEOPLE)


@pytest.fixture
def table(polygons):
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "area": polygons["code"], "estimate": rng.uniform(4.0, 9.0, 12), "se": rng.uniform(0.2, 0.6, 12),
            "flag": "A", **GROUPS, "people": PEOPLE,
        }
    )  # fmt: skip


@pytest.fixture
def draws(table):
    rng = np.random.default_rng(3)
    theta = table["estimate"].to_numpy() + rng.normal(size=(600, 12)) * table["se"].to_numpy()
    theta = theta[:, :, None]
    blank = np.ones((12, 1))
    return PosteriorDraws(tuple(table["area"]), ("rate",), ("b",), theta, theta[:, :1], {}, blank, blank, {})


REGIONS = pd.DataFrame({"group": ["south", "north", "mid"], "target": [7.0, 6.0, 5.5]})


def aggregates(values, field, weights=PEOPLE, kind="mean"):
    frame = pd.DataFrame({"g": GROUPS[field], "v": np.asarray(values) * weights, "w": weights}).groupby("g").sum()
    return frame["v"] / frame["w"] if kind == "mean" else frame["v"]


def both(values, weights=PEOPLE):
    """Targets of both margins that some estimates meet."""
    rows = [
        (field, group, value)
        for field in ("urban", "region")
        for group, value in aggregates(values, field, weights, "total").items()
    ]
    return pd.DataFrame(rows, columns=["margin", "group", "target"])


def run(targets, **given):
    return smallarea.benchmark(targets, **{"group_fields": ["region"], "weight_field": "people", **given})


@pytest.mark.parametrize("method", ["ratio", "difference", "weighted_difference", "raking"])
def test_estimates_by_group(table, method):
    found = run(REGIONS, estimates=table, method=method, level=0.9)
    pd.testing.assert_frame_equal(found.table[table.columns.tolist()], table)
    for group, target in zip(REGIONS["group"], REGIONS["target"], strict=True):
        assert aggregates(found.table["benchmarked"], "region")[group] == pytest.approx(target, rel=1e-12)
    z = stats.norm.ppf(0.95)
    np.testing.assert_allclose(
        found.table["benchmarked_upper"], found.table["benchmarked"] + z * found.table["benchmarked_se"]
    )
    np.testing.assert_allclose(
        found.table["benchmarked_lower"], found.table["benchmarked"] - z * found.table["benchmarked_se"]
    )
    np.testing.assert_allclose(
        found.table["benchmarked_cv"], found.table["benchmarked_se"] / found.table["benchmarked"]
    )
    ratio, shift = found.table["benchmarked"] / table["estimate"], found.table["benchmarked"] - table["estimate"]
    np.testing.assert_allclose(found.table["adjustment"], ratio if method in ("ratio", "raking") else shift)
    rows = found.benchmark.set_index("group")
    before = aggregates(table["estimate"], "region")
    np.testing.assert_allclose(rows["before"], before[rows.index])
    w = PEOPLE / pd.Series(PEOPLE).groupby(GROUPS["region"]).transform("sum").to_numpy()
    spread = np.sqrt(((w * table["se"]) ** 2).groupby(GROUPS["region"]).sum())
    np.testing.assert_allclose(rows["before_se"], spread[rows.index])
    np.testing.assert_allclose(rows["gap_in_se"], (rows["target"] - rows["before"]) / rows["before_se"])
    assert rows["margin"].unique().tolist() == ["region"]
    assert found.summary["n_groups"] == 3


def test_two_margins(table):
    targets = both(table["estimate"] * np.linspace(0.9, 1.1, 12))
    found = run(targets, estimates=table, group_fields=["region", "urban"], kind="total", method="raking")
    for field in ("region", "urban"):
        wanted = targets[targets["margin"] == field].set_index("group")["target"]
        got = aggregates(found.table["benchmarked"], field, kind="total")
        np.testing.assert_allclose(got, wanted[got.index], rtol=1e-11)
    # The other layout: a column for each field, of which a row fills in one.
    wide = pd.DataFrame(
        {
            "region": targets["group"].where(targets["margin"] == "region"),
            "urban": targets["group"].where(targets["margin"] == "urban"),
            "target": targets["target"],
        }
    )
    other = run(wide, estimates=table, group_fields=["region", "urban"], kind="total", method="raking")
    np.testing.assert_allclose(other.table["benchmarked"], found.table["benchmarked"], rtol=1e-12)


@pytest.mark.parametrize("method", ["raking", "difference", "weighted_difference"])
def test_two_margins_in_every_draw(draws, polygons, method):
    targets = both(draws.theta[5, :, 0])
    found = run(
        targets, posterior=draws, areas=polygons, id_field="code", group_fields=["region", "urban"], kind="total",
        method=method,
    )  # fmt: skip
    theta = found.draws.theta[:, :, 0]
    for field in ("region", "urban"):
        wanted = targets[targets["margin"] == field].set_index("group")["target"]
        for group, target in wanted.items():
            here = np.array(GROUPS[field]) == group
            np.testing.assert_allclose(theta[:, here] @ PEOPLE[here], target, rtol=1e-10)
    if method == "raking":
        # Draw 7 by the plain loop.
        e = draws.theta[7, :, 0].copy()
        for _ in range(200):
            for margin, group, target in targets.itertuples(index=False):
                here = np.array(GROUPS[margin]) == group
                e[here] *= target / (PEOPLE[here] @ e[here])
        np.testing.assert_allclose(theta[7], e, rtol=1e-10)
    np.testing.assert_allclose(found.table["benchmarked"], theta.mean(axis=0))
    np.testing.assert_allclose(found.table["benchmarked_se"], theta.std(axis=0, ddof=1))
    np.testing.assert_allclose(found.table["benchmarked_lower"], np.quantile(theta, 0.025, axis=0))
    np.testing.assert_allclose(found.table["estimate"], draws.theta[:, :, 0].mean(axis=0))


def test_draws_and_uncertain_targets_of_two_margins(draws, polygons):
    """Every draw meets both margins although their targets are drawn: they are drawn given that they agree."""
    targets = both(draws.theta[:, :, 0].mean(axis=0)).assign(target_se=[4.0, 4.0, 1.0, 1.0, 1.0])
    given = {
        "posterior": draws,
        "areas": polygons,
        "id_field": "code",
        "group_fields": ["region", "urban"],
        "kind": "total",
    }
    found = run(targets, **given, method="raking")
    theta = found.draws.theta[:, :, 0] * PEOPLE
    sums = {g: theta[:, np.array(GROUPS["region"]) == g].sum(axis=1) for g in ("north", "mid", "south")}
    # Var(t | both margins agree) = 1 - 1 / 35; the standard deviation of 600 draws has an error of 3 percent.
    for values in sums.values():
        assert values.std(ddof=1) == pytest.approx(np.sqrt(1.0 - 1.0 / 35.0), rel=0.15)
    again = run(targets, **given, method="raking", seed=2)
    assert not np.array_equal(found.draws.theta, again.draws.theta)


def test_the_same_as_export(draws, polygons):
    """Both tasks share one implementation."""
    one = run(REGIONS, posterior=draws, areas=polygons, id_field="code")
    other = smallarea.export(
        draws, areas=polygons, id_field="code", benchmark=REGIONS, group_field="region", weight_field="people"
    )
    np.testing.assert_array_equal(one.draws.theta, other.draws.theta)
    pd.testing.assert_frame_equal(one.benchmark, other.benchmark)


def test_what_a_fit_writes_by_reml(polygons, tmp_path):
    """The layer and the table that `fit` writes are inputs without renaming, and the map comes back with styles."""
    smallarea.fit(
        polygons, id_field="code", direct="y", variance="v", method="reml", random_effect="iid",
        output=tmp_path / "fit.gpkg", csv=tmp_path / "fit.csv",
    )  # fmt: skip
    extra = pd.DataFrame({"id": polygons["code"], "region": GROUPS["region"], "people": PEOPLE})
    given = {"table": extra, "table_id_field": "id"}
    out = tmp_path / "out.gpkg"
    one = run(REGIONS, estimates=tmp_path / "fit.gpkg", id_field="code", output=out, excel=tmp_path / "o.xlsx", **given)
    two = run(REGIONS, estimates=tmp_path / "fit.csv", csv=tmp_path / "out.csv", **given)
    np.testing.assert_allclose(one.table["benchmarked"], two.table["benchmarked"], rtol=1e-9)
    layer = gpd.read_file(out, layer="benchmarked")
    assert layer.crs == polygons.crs
    assert layer["code"].tolist() == polygons["code"].tolist()
    assert {"direct", "estimate", "se", "flag", "benchmarked", "benchmarked_se", "adjustment"} <= set(layer.columns)
    np.testing.assert_allclose(aggregates(layer["benchmarked"], "region")["north"], 6.0)
    with closing(sqlite3.connect(out)) as connection:
        styles = connection.execute("SELECT styleName, useAsDefault FROM layer_styles ORDER BY id").fetchall()
    assert [(name, bool(default)) for name, default in styles] == [
        ("Estimate", True), ("Uncertainty (CV)", False), ("Adjustment", False)
    ]  # fmt: skip
    written = pd.read_csv(tmp_path / "out.csv")
    assert written.columns.tolist() == two.table.columns.tolist()
    assert openpyxl.load_workbook(tmp_path / "o.xlsx").sheetnames[:2] == ["Estimates", "Benchmark"]
    fitted = smallarea.fit(polygons, id_field="code", direct="y", variance="v", method="reml", random_effect="iid")
    three = run(REGIONS, estimates=fitted, output=tmp_path / "again.gpkg", **given)
    np.testing.assert_allclose(three.table["benchmarked"], two.table["benchmarked"], rtol=1e-9)


def test_several_responses_below_each_other_and_side_by_side(make_pair, tmp_path):
    frame = make_pair(3, 4).assign(**GROUPS, people=PEOPLE)
    smallarea.fit(
        frame, id_field="code", direct=["y", "z"], variance=["v", "w"], method="reml", random_effect="iid",
        output=tmp_path / "fit.gpkg", csv=tmp_path / "fit.csv",
    )  # fmt: skip
    targets = pd.DataFrame({"response": "z", "group": ["north", "mid", "south"], "target": [300.0, 310.0, 320.0]})
    given = {"areas": frame, "id_field": "code"}
    long = run(targets, estimates=tmp_path / "fit.csv", output=tmp_path / "long.gpkg", **given)
    wide = run(targets, estimates=tmp_path / "fit.gpkg", output=tmp_path / "wide.gpkg", **given)
    assert long.responses == wide.responses == ("y", "z")
    z = long.table[long.table["response"] == "z"]
    np.testing.assert_allclose(wide.table["benchmarked_z"], z["benchmarked"], rtol=1e-9)
    np.testing.assert_allclose(aggregates(z["benchmarked"].to_numpy(), "region")["mid"], 310.0)
    # No targets for y: it stays as it is.
    y = long.table[long.table["response"] == "y"]
    np.testing.assert_array_equal(y["benchmarked"], y["estimate"])
    assert (y["adjustment"] == 1.0).all()
    one, other = (gpd.read_file(tmp_path / name, layer="benchmarked") for name in ("long.gpkg", "wide.gpkg"))
    np.testing.assert_allclose(one["benchmarked_z"], other["benchmarked_z"], rtol=1e-9)
    np.testing.assert_allclose(one["estimate_y"], other["estimate_y"], rtol=1e-9)


def test_responses_with_different_margins(table):
    """One response has targets of regions, the other of urban and rural areas."""
    wide = table.rename(columns={"estimate": "estimate_a", "se": "se_a"}).assign(estimate_b=table["estimate"] * 2)
    targets = pd.DataFrame(
        {
            "response": ["a"] * 3 + ["b"] * 2, "margin": ["region"] * 3 + ["urban"] * 2,
            "group": ["north", "mid", "south", "u", "r"], "target": [6.0, 6.5, 7.0, 12.0, 13.0],
        }
    )  # fmt: skip
    found = run(targets, estimates=wide, group_fields=["region", "urban"], method="difference")
    assert aggregates(found.table["benchmarked_a"], "region")["mid"] == pytest.approx(6.5)
    assert aggregates(found.table["benchmarked_b"], "urban")["u"] == pytest.approx(12.0)
    assert found.table["benchmarked_b"].notna().all()
    assert found.table["benchmarked_se_b"].isna().all()
    assert found.table["benchmarked_se_a"].notna().all()


def test_any_table_with_its_own_names(table, tmp_path):
    table.rename(columns={"area": "id", "estimate": "rate"}).assign(mse=table["se"] ** 2).drop(columns="se").to_csv(
        tmp_path / "t.csv", index=False
    )
    one = run(
        REGIONS, estimates=tmp_path / "t.csv", estimates_id_field="id", estimate=["rate"], error=["mse"],
        error_type="variance", method="weighted_difference",
    )  # fmt: skip
    other = run(REGIONS, estimates=table, method="weighted_difference")
    np.testing.assert_allclose(one.table["benchmarked_se"], other.table["benchmarked_se"], rtol=1e-10)
    none = run(REGIONS, estimates=table.drop(columns="se"))
    assert none.table["benchmarked_se"].isna().all()
    assert none.benchmark["gap_in_se"].isna().all()
    with pytest.raises(VarianceProblem, match="'weighted_difference' moves areas in proportion"):
        run(REGIONS, estimates=table.drop(columns="se"), method="weighted_difference")


def test_a_total_of_everything_and_groups_with_zeros_in_front(table, tmp_path):
    found = smallarea.benchmark(pd.DataFrame({"target": [80.0]}), estimates=table, kind="total")
    assert found.table["benchmarked"].sum() == pytest.approx(80.0)
    assert any("count alike" in text for text in found.warnings)
    table["region"] = ["01"] * 6 + ["02"] * 6
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "targets.csv").write_text("region,target\n02,6.5\n01,6\n")
    found = run(tmp_path / "targets.csv", estimates=tmp_path / "t.csv")
    assert found.benchmark["group"].tolist() == ["01", "02"]
    assert found.table["region"].tolist()[0] == "01"


def test_draws_go_on_to_export(draws, polygons, tmp_path):
    pytest.importorskip("arviz")
    draws.save(tmp_path / "d.nc")
    run(REGIONS, posterior=tmp_path / "d.nc", areas=polygons, id_field="code", benchmarked_posterior=tmp_path / "b.nc")
    found = smallarea.export(tmp_path / "b.nc", thresholds=[6])
    assert aggregates(found.estimates["estimate"], "region")["south"] == pytest.approx(7.0)


def test_warnings(table):
    far = run(REGIONS.assign(target=[17.0, 6.0, 5.5]), estimates=table, method="difference")
    assert any("1 groups are more than 4 standard errors away" in text and "south (+" in text for text in far.warnings)
    odd = run(REGIONS.assign(target=[700.0, 600.0, 550.0]), estimates=table)
    assert len(odd.warnings) == 1
    assert "3 groups are multiplied" in odd.warnings[0]
    assert run(REGIONS.assign(target_se=5.0), estimates=table).warnings == ()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"estimates": None}, JobProblem, "Give either a table of estimates"),
        ({"method": "raked"}, JobProblem, "no method 'raked'"),
        ({"kind": "sum"}, JobProblem, "no kind 'sum'"),
        ({"group_fields": "region"}, JobProblem, r"must be a list; write \['region'\]"),
        ({"level": 1.0}, JobProblem, "between 0 and 1"),
        ({"seed": -1}, JobProblem, "seed"),
        ({"benchmarked_posterior": "x.nc"}, JobProblem, "there are no draws"),
        ({"output": "x.shp"}, OutputProblem, "must end in"),
        ({"output": "x.gpkg"}, JobProblem, "there are no polygons"),
        ({"estimate": ["estimate"], "error": ["se", "se"]}, JobProblem, "1 fields of estimates and 2 of errors"),
        ({"estimate": ["rate"]}, TableProblem, "no field 'rate' in the table of estimates"),
        ({"estimates_id_field": "code"}, TableProblem, "no field 'code'"),
        ({"group_fields": ["regions"]}, JobProblem, "read from a table or from the polygons"),
        ({"group_fields": ["region", "urban"]}, TableProblem, "no field 'margin'"),
    ],
)
def test_calls_that_cannot_be_answered(table, change, error, said):
    with pytest.raises(error, match=said):
        run(REGIONS, **{"estimates": table, **change})


def test_both_inputs_or_draws_with_fields(table, draws):
    with pytest.raises(JobProblem, match="and one of them"):
        run(REGIONS, estimates=table, posterior=draws)
    with pytest.raises(JobProblem, match="Draws have no fields"):
        run(REGIONS, posterior=draws, estimate=["estimate"])


def test_tables_that_do_not_fit(table, polygons):
    with pytest.raises(TableProblem, match="several rows for 1 areas: 'A000'"):
        run(REGIONS, estimates=pd.concat([table, table.iloc[:1]]))
    with pytest.raises(VarianceProblem, match="1 values of the field 'se' are negative: 'A002'"):
        run(REGIONS, estimates=table.assign(se=np.where(np.arange(12) == 2, -1.0, 1.0)))
    with pytest.raises(TableProblem, match="several fields named 'se'"):
        run(REGIONS, estimates=pd.concat([table, table[["se"]]], axis=1))
    with pytest.raises(TableProblem, match="fields of the names that the result needs: 'adjustment'"):
        run(REGIONS, estimates=table.assign(adjustment=1.0))
    with pytest.raises(TableProblem, match="areas of the estimates are not among the polygons"):
        run(REGIONS, estimates=table, areas=polygons.iloc[1:], id_field="code")
    with pytest.raises(ModelProblem, match="1 areas have no estimate but count for the totals: 'A001'"):
        run(REGIONS, estimates=table.assign(estimate=table["estimate"].where(np.arange(12) != 1)))
    with pytest.raises(TableProblem, match="1 areas have no group in the field 'region': 'A011'"):
        run(REGIONS, estimates=table.assign(region=[*GROUPS["region"][:11], None]))


def test_margins_that_contradict_each_other(table):
    targets = both(table["estimate"])
    targets.loc[0, "target"] += 3.0
    given = {"estimates": table, "group_fields": ["region", "urban"], "kind": "total"}
    with pytest.raises(ModelProblem, match=r"contradict each other.*of 'region' are .*, of 'urban' are "):
        run(targets, method="raking", **given)
    with pytest.raises(ModelProblem, match="'ratio' meets one set of groups"):
        run(both(table["estimate"]), method="ratio", **given)
    with pytest.raises(TableProblem, match="margins 'town', but the group fields are 'region', 'urban'"):
        run(targets.replace({"margin": {"urban": "town"}}), method="raking", **given)
    with pytest.raises(TableProblem, match="no target of 'estimate' for 1 groups: 'u'"):
        run(targets[targets["group"] != "u"], method="raking", **given)
    with pytest.raises(TableProblem, match="do not fill in exactly one of the columns 'region', 'urban': rows 1"):
        run(pd.DataFrame({"region": ["north"], "urban": ["u"], "target": [1.0]}), method="raking", **given)


def test_nothing_is_left_of_a_run_that_stops(table, tmp_path):
    def stop(percent, text):
        if "workbook" in text:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        run(REGIONS, estimates=table, csv=tmp_path / "a.csv", excel=tmp_path / "a.xlsx", progress=stop)
    assert not list(tmp_path.iterdir())
