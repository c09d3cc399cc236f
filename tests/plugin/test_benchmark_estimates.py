"""Estimates that meet targets, and calibrated weights, inside QGIS."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")
SIDE = 5
WEIGHTS = [10 + i for i in range(SIDE**2)]
REGION = [f"0{i // SIDE % 2 + 1}" for i in range(SIDE**2)]
TOWN = ["yes" if i % 3 else "no" for i in range(SIDE**2)]


@pytest.fixture(scope="module")
def grid(make_grid):
    """Squares with groups and a population; v stands for the variance of the estimate y."""
    extra = "&field=region:string&field=town:string&field=people:integer"
    return make_grid(SIDE, extra, values=lambda i: [REGION[i], TOWN[i], WEIGHTS[i]])


@pytest.fixture
def make_table(qgis_app):
    from qgis.core import QgsFeature, QgsVectorLayer

    def make(fields, rows):
        layer = QgsVectorLayer("None?" + "&".join(f"field={field}" for field in fields), "rows", "memory")
        features = []
        for row in rows:
            feature = QgsFeature(layer.fields())
            feature.setAttributes(list(row))
            features.append(feature)
        assert layer.dataProvider().addFeatures(features)[0]
        return layer

    return make


@pytest.fixture
def run(grid, feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {
            "AREAS": grid, "ID_FIELD": "code", "ESTIMATES": grid, "ESTIMATE": ["y"], "ERROR": ["v"],
            "ERROR_TYPE": "variance", "TABLE": grid, "GROUP_FIELDS": ["region"], "WEIGHT_FIELD": "people",
            "OUTPUT": str(tmp_path / "out.gpkg"),
        }  # fmt: skip
        return processing.run("smallarea:benchmarkestimates", {**values, **parameters}, feedback=feedback)

    return run


@pytest.fixture
def regions(make_table):
    return make_table(["group:string", "target:double"], [("02", 12.5), ("01", 11.5)])


def rows_of(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM benchmarked")]


def mean(rows, names, group, field="benchmarked"):
    of = [(row[field], w) for row, name, w in zip(rows, names, WEIGHTS, strict=True) if name == group]
    return sum(value * w for value, w in of) / sum(w for _, w in of)


def test_a_layer_meets_its_targets(run, regions, tmp_path):
    from qgis.core import QgsVectorLayer

    found = run(TARGETS=regions, EXCEL=str(tmp_path / "b.xlsx"), CSV=str(tmp_path / "b.csv"))
    rows = rows_of(found["OUTPUT"])
    assert mean(rows, REGION, "01") == pytest.approx(11.5, rel=1e-9)
    assert mean(rows, REGION, "02") == pytest.approx(12.5, rel=1e-9)
    assert {"code", "y", "v", "x", "people", "benchmarked_se", "benchmarked_lower", "adjustment"} <= set(rows[0])
    assert found["N_AREAS"] == SIDE**2
    assert found["N_GROUPS"] == 2
    assert found["LEAST_ADJUSTMENT"] <= found["MOST_ADJUSTMENT"]
    assert found["LARGEST_GAP_IN_SE"] > 0
    assert Path(found["EXCEL"]).stat().st_size > 5000
    layer = QgsVectorLayer(found["OUTPUT"], "out", "ogr")
    assert "benchmarked" in layer.renderer().classAttribute()


def test_raking_by_two_fields(run, grid, make_table):
    values = [feature["y"] * (1.0 + 0.002 * i) for i, feature in enumerate(grid.getFeatures())]
    rows = []
    for margin, names in (("region", REGION), ("town", TOWN)):
        for group in sorted(set(names)):
            total = sum(v * w for v, w, n in zip(values, WEIGHTS, names, strict=True) if n == group)
            rows.append((margin, group, total))
    targets = make_table(["margin:string", "group:string", "target:double"], rows)
    found = run(TARGETS=targets, GROUP_FIELDS=["region", "town"], METHOD="raking", KIND="total")
    out = rows_of(found["OUTPUT"])
    for margin, group, total in rows:
        names = REGION if margin == "region" else TOWN
        got = sum(r["benchmarked"] * w for r, w, n in zip(out, WEIGHTS, names, strict=True) if n == group)
        assert got == pytest.approx(total, rel=1e-9)


def test_groups_of_the_estimates_and_of_another_table(run, regions, grid, make_table):
    one = rows_of(run(TARGETS=regions, TABLE=None)["OUTPUT"])
    ids = [feature["code"] for feature in grid.getFeatures()]
    other = make_table(
        ["id:string", "g:string", "w:double"], list(zip(ids, REGION, map(float, WEIGHTS), strict=True))[::-1]
    )
    two = rows_of(
        run(TARGETS=regions, TABLE=other, TABLE_ID_FIELD="id", GROUP_FIELDS=["g"], WEIGHT_FIELD="w")["OUTPUT"]
    )
    assert [row["benchmarked"] for row in one] == pytest.approx([row["benchmarked"] for row in two], rel=1e-12)


def test_what_a_fit_writes_and_its_draws(run, regions, grid, tmp_path):
    import processing

    fitted = processing.run(
        "smallarea:fitfayherriot",
        {
            "AREAS": grid, "TABLE": grid, "ID_FIELD": "code", "DIRECT": "y", "VARIANCE": "v", "RANDOM_EFFECT": "iid",
            "DRAWS": 500, "OUTPUT": str(tmp_path / "fit.gpkg"), "POSTERIOR": str(tmp_path / "d.nc"),
        },
    )  # fmt: skip
    own = {"ESTIMATE": None, "ERROR": None, "ERROR_TYPE": "standard_error", "TARGETS": regions}
    layer = rows_of(run(**own, ESTIMATES=f"{fitted['OUTPUT']}|layername=estimates")["OUTPUT"])
    assert mean(layer, REGION, "01") == pytest.approx(11.5, rel=1e-9)
    assert "shrinkage" in layer[0]
    draws = run(
        **own, ESTIMATES=None, POSTERIOR=fitted["POSTERIOR"], BENCHMARKED_POSTERIOR=str(tmp_path / "b.nc")
    )  # fmt: skip
    assert mean(rows_of(draws["OUTPUT"]), REGION, "02") == pytest.approx(12.5, rel=1e-9)
    assert Path(draws["BENCHMARKED_POSTERIOR"]).stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ESTIMATES": None, "ESTIMATE": None, "ERROR": None}, "either 'Estimates' or"),
        ({"POSTERIOR": "x.nc"}, "either 'Estimates' or"),
        ({"ESTIMATES": None, "POSTERIOR": "/no/draws.nc"}, "no file '/no/draws.nc'"),
        ({"ESTIMATE": ["rate"]}, "no field 'rate'"),
        ({"ERROR": ["code"]}, "holds no numbers"),
        ({"GROUP_FIELDS": ["nothing"]}, "no field 'nothing'"),
        ({"WEIGHT_FIELD": "code"}, "holds no numbers"),
        ({"TARGETS": "the grid"}, "no field 'target'"),
        ({"LEVEL": 1.0}, "between 0 and 1"),
        ({"OUTPUT": "out.shp"}, "gpkg"),
    ],
)
def test_checks_before_the_run(grid, regions, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:benchmarkestimates")
    values = {
        "AREAS": grid, "ID_FIELD": "code", "ESTIMATES": grid, "ESTIMATE": ["y"], "TARGETS": regions, "TABLE": grid,
        "GROUP_FIELDS": ["region"], "OUTPUT": "TEMPORARY_OUTPUT",
    }  # fmt: skip
    change = {name: grid if value == "the grid" else value for name, value in change.items()}
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


def test_what_the_engine_refuses_fails_the_run(run, make_table):
    from qgis.core import QgsProcessingException

    targets = make_table(["group:string", "target:double"], [("01", 11.0)])
    with pytest.raises(QgsProcessingException, match="no target of 'y' for 1 groups: '02'"):
        run(TARGETS=targets)


@pytest.fixture
def survey(make_table):
    rows = [("01" if i % 3 else "02", "f" if i % 2 else "m", 1000.0 + 13 * i, 2.0 + i % 5) for i in range(60)]
    return make_table(["region:string", "sex:string", "income:double", "pw:double"], rows)


def test_weights_that_meet_totals(survey, make_table, feedback, tmp_path):
    import processing

    totals = make_table(
        ["region:string", "sex:string", "total:double"],
        [("01", None, 150.0), ("02", None, 90.0), (None, "f", 130.0), (None, "m", 110.0)],
    )
    values = {"TABLE": survey, "WEIGHT": "pw", "TOTALS": totals}
    found = processing.run(
        "smallarea:calibratesurveyweights",
        {**values, "CSV": str(tmp_path / "w.csv"), "EXCEL": str(tmp_path / "w.xlsx")},
        feedback=feedback,
    )
    assert found["N_RESPONDENTS"] == 60
    assert found["SUM_AFTER"] == pytest.approx(240.0)
    lines = Path(found["CSV"]).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "region,sex,income,pw,weight_design,weight,g_factor"
    assert lines[1].startswith("02,m,1000.0,2.0,2.0,")
    north = sum(float(line.split(",")[5]) for line in lines[1:] if line.startswith("01,"))
    assert north == pytest.approx(150.0)
    with_income = make_table(
        ["region:string", "total:double", "income:double"],
        [("01", 150.0, None), ("02", 90.0, None), (None, None, 3.4e5)],
    )
    greg = {"TABLE": survey, "WEIGHT": "pw", "TOTALS": with_income, "METHOD": "greg", "AUXILIARIES": ["income"]}
    found = processing.run("smallarea:calibratesurveyweights", {**greg, "CSV": str(tmp_path / "g.csv")})
    rows = [line.split(",") for line in Path(found["CSV"]).read_text(encoding="utf-8").splitlines()[1:]]
    assert sum(float(row[2]) * float(row[5]) for row in rows) == pytest.approx(3.4e5)


def test_checks_of_a_calibration(survey, make_table):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:calibratesurveyweights")
    totals = make_table(["region:string", "total:double"], [("01", 1.0), ("02", 2.0)])
    values = {"TABLE": survey, "WEIGHT": "pw", "TOTALS": totals, "CSV": "TEMPORARY_OUTPUT"}
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    for change, said in (
        ({"WEIGHT": "sex"}, "holds no numbers"),
        ({"TOTAL_FIELD": "people"}, "no field 'people'"),
        ({"AUXILIARIES": ["age"]}, "no field 'age'"),
        ({"CSV": None}, "Nothing would be written"),
    ):
        ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
        assert not ok
        assert said in message
