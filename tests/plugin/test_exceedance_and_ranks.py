"""What is made of draws, inside QGIS: checks before the run, inputs of every kind, a layer with its maps."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")


@pytest.fixture(scope="module")
def side():
    return 5


@pytest.fixture(scope="module")
def grid(make_grid, side):
    """Squares with a region and a population."""
    extra = "&field=region:string&field=people:integer"
    return make_grid(side, extra, values=lambda i: [f"0{i // side % 2 + 1}", 10 + i])


@pytest.fixture(scope="module")
def draws(grid, provider, engine_python, tmp_path_factory):
    """A file with the draws of a fit."""
    import processing

    folder = tmp_path_factory.mktemp("draws")
    processing.run(
        "smallarea:fitfayherriot",
        {
            "AREAS": grid, "TABLE": grid, "ID_FIELD": "code", "DIRECT": "y", "VARIANCE": "v", "RANDOM_EFFECT": "iid",
            "DRAWS": 1000, "OUTPUT": str(folder / "fit.gpkg"), "POSTERIOR": str(folder / "draws.nc"),
            "EXCEL": str(folder / "fit.xlsx"),
        },
    )  # fmt: skip
    assert (folder / "fit.xlsx").is_file()
    return str(folder / "draws.nc")


@pytest.fixture
def run(grid, draws, feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {"AREAS": grid, "ID_FIELD": "code", "POSTERIOR": draws, "OUTPUT": str(tmp_path / "out.gpkg")}
        return processing.run("smallarea:exceedanceandranks", {**values, **parameters}, feedback=feedback)

    return run


def _table(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM exceedance_and_ranks")]


def _targets(rows, with_errors=False):
    from qgis.core import QgsFeature, QgsVectorLayer

    errors = "&field=target_se:double" if with_errors else ""
    layer = QgsVectorLayer(f"None?field=group:string&field=target:double{errors}", "targets", "memory")
    features = []
    for row in rows:
        feature = QgsFeature(layer.fields())
        feature.setAttributes(list(row))
        features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    return layer


def test_a_map_of_probabilities_and_ranks(run, tmp_path, side):
    found = run(THRESHOLDS="11; 12.5", COMPARE="neighbours", CONSTRAINED=True, PAIRS="a0000=a0024", REFERENCE="a0003",
                EXCEL=str(tmp_path / "book.xlsx"), CSV=str(tmp_path / "long.csv"))  # fmt: skip
    rows = _table(found["OUTPUT"])
    assert [row["code"] for row in rows] == [f"a{i:04d}" for i in range(side**2)]
    assert {"p_above_11", "p_above_12.5", "rank", "rank_lower", "p_top", "diff_neighbours", "diff_reference",
            "constrained", "triple_goal"} <= set(rows[0])  # fmt: skip
    assert all(0 <= row["p_above_12.5"] <= row["p_above_11"] <= 1 for row in rows)
    assert sum(row["rank_mean"] for row in rows) == pytest.approx(side**2 * (side**2 + 1) / 2)
    assert found["N_AREAS"] == found["N_ESTIMATED"] == side**2
    assert Path(found["EXCEL"]).stat().st_size > 5000
    assert "a0000,y,difference,a0024" in Path(found["CSV"]).read_text(encoding="utf-8")


def test_the_layer_opens_as_a_map_of_the_first_threshold(run):
    from qgis.core import QgsVectorLayer

    found = run(THRESHOLDS="11")
    layer = QgsVectorLayer(found["OUTPUT"], "out", "ogr")
    assert layer.isValid()
    renderer = layer.renderer()
    assert renderer.type() == "graduatedSymbol"
    assert "p_above_11" in renderer.classAttribute()
    features = list(layer.getFeatures())
    ranges = renderer.ranges()
    assert len(ranges) == 6
    values = [feature["p_above_11"] for feature in features]
    assert all(any(r.lowerValue() <= value <= r.upperValue() for r in ranges) for value in values)


def test_groups_and_weights_of_the_polygons(run):
    found = run(BENCHMARK=_targets([("01", 11.0), ("02", 12.0)]), GROUP_FIELD="region", WEIGHT_FIELD="people")
    rows = _table(found["OUTPUT"])
    for region, target in ((0, 11.0), (1, 12.0)):
        of = [(row["estimate"], 10 + i) for i, row in enumerate(rows) if i // 5 % 2 == region]
        assert sum(e * w for e, w in of) / sum(w for _, w in of) == pytest.approx(target, rel=1e-9)
    assert {"model_estimate", "model_se"} <= set(rows[0])
    assert found["LEAST_ADJUSTMENT"] <= found["MOST_ADJUSTMENT"]


def test_groups_and_weights_of_a_table(run, grid):
    from qgis.core import QgsFeature, QgsVectorLayer

    table = QgsVectorLayer("None?field=id:string&field=g:string&field=w:double", "areas", "memory")
    features = []
    for feature in grid.getFeatures():
        row = QgsFeature(table.fields())
        row.setAttributes([feature["code"], feature["region"], float(feature["people"])])
        features.insert(0, row)
    assert table.dataProvider().addFeatures(features)[0]
    common = {"BENCHMARK": _targets([("02", 12.0, 0.1), ("01", 11.0, 0.0)], True), "BENCHMARK_METHOD": "difference"}
    one = _table(run(TABLE=table, TABLE_ID_FIELD="id", GROUP_FIELD="g", WEIGHT_FIELD="w", **common)["OUTPUT"])
    two = _table(run(TABLE=grid, GROUP_FIELD="region", WEIGHT_FIELD="people", **common)["OUTPUT"])
    assert [row["estimate"] for row in one] == pytest.approx([row["estimate"] for row in two], rel=1e-12)


def test_the_same_on_the_command_line(run, grid, draws, save_layer, engine_python, tmp_path):
    import subprocess

    here = _table(run(THRESHOLDS="11", DIRECTION="low", TOP_SHARE=0.2, LEVEL=0.8)["OUTPUT"])
    areas = save_layer(grid, tmp_path / "grid.gpkg")
    job = {
        "version": 1,
        "task": "export",
        "parameters": {
            "areas": areas, "id_field": "code", "posterior": draws, "thresholds": [11], "direction": "low",
            "top_share": 0.2, "level": 0.8, "output": "cli.gpkg",
        },
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [engine_python, "-m", "smallarea", "run", str(tmp_path / "job.json")]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    there = _table(tmp_path / "cli.gpkg")
    for name in ("p_below_11", "rank", "rank_upper", "p_top", "lower"):
        assert [row[name] for row in here] == [row[name] for row in there], name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"POSTERIOR": "/no/draws.nc"}, "no file '/no/draws.nc'"),
        ({"POSTERIOR": None}, ""),
        ({"THRESHOLDS": "3,5"}, "'3,5' is no number"),
        ({"THRESHOLDS": "rate=high"}, "'rate=high' is no number"),
        ({"PAIRS": "a0000"}, "not of the form FIRST=SECOND"),
        ({"LEVEL": 1.0}, "between 0 and 1"),
        ({"TOP_SHARE": 0.0}, "between 0 and 1"),
        ({"GROUP_FIELD": "nothing"}, "no field 'nothing'"),
        ({"WEIGHT_FIELD": "code"}, "holds no numbers"),
        ({"BENCHMARK": "the grid"}, "no field 'target'"),
        ({"OUTPUT": "out.shp"}, "gpkg"),
        ({"COMPARE": "everyone"}, ""),
    ],
)
def test_checks_before_the_run(grid, draws, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:exceedanceandranks")
    values = {"AREAS": grid, "ID_FIELD": "code", "POSTERIOR": draws, "OUTPUT": "TEMPORARY_OUTPUT"}
    change = {name: grid if value == "the grid" else value for name, value in change.items()}
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


def test_a_table_of_its_own_needs_the_ids(grid, draws):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:exceedanceandranks")
    values = {"AREAS": grid, "TABLE": _targets([]), "POSTERIOR": draws, "OUTPUT": "TEMPORARY_OUTPUT"}
    ok, message = algorithm.checkParameterValues(values, QgsProcessingContext())
    assert not ok
    assert "Field with the area ids" in message


def test_what_the_engine_refuses_fails_the_run(run):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="no area 'zzz'"):
        run(REFERENCE="zzz")
