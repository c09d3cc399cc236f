"""Direct estimates inside QGIS: a survey that is a layer or a file, its design, and the fit that follows."""

import json
import math
import sqlite3
from contextlib import closing

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")

SIDE = 4


@pytest.fixture(scope="module")
def grid(make_grid):
    return make_grid(SIDE, "&field=people:double", values=lambda i: [1000.0 + i])


def _respondents():
    """Rows of 16 areas: area, weight, stratum, unit, income, smoker; the last area has nobody."""
    rows = []
    for area in range(SIDE * SIDE - 1):
        for k in range(20):
            noise = ((area * 31 + k * 17) % 23) / 23
            rows.append((
                f"a{area:04d}", 10.0 + k % 3, f"s{k % 2}", f"u{area}-{k // 4}-{k % 2}",
                1000.0 + 50.0 * area + round(300.0 * noise), int((area * 7 + k * 11) % 13 < 5),
            ))  # fmt: skip
    return rows


FIELDS = ("dist", "w", "stratum", "psu", "income", "smoker")


def _layer(definition, rows, name):
    from qgis.core import QgsFeature, QgsVectorLayer

    layer = QgsVectorLayer(definition, name, "memory")
    features = []
    for values in rows:
        feature = QgsFeature(layer.fields())
        feature.setAttributes(list(values))
        features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    return layer


@pytest.fixture(scope="module")
def survey(qgis_app):
    kinds = ("string", "double", "string", "string", "double", "integer")
    definition = "None?" + "&".join(f"field={name}:{kind}" for name, kind in zip(FIELDS, kinds, strict=True))
    return _layer(definition, _respondents(), "survey")


@pytest.fixture
def survey_file(tmp_path):
    path = tmp_path / "survey.csv"
    lines = [";".join(FIELDS), *(";".join(map(str, row)).replace(".", ",") for row in _respondents())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


DESIGN = {"AREA_FIELD": "dist", "WEIGHT": "w", "STRATA": ["stratum"], "PSU": ["psu"]}
INDICATORS = "income; smokes = proportion(smoker = 1)"


@pytest.fixture
def run(grid, survey, feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {"AREAS": grid, "ID_FIELD": "code", "OUTPUT": str(tmp_path / "out.gpkg"), **parameters}
        if "TABLE_FILE" not in values:
            values = {"TABLE": survey, **DESIGN, **values}
        return processing.run("smallarea:directestimates", values, feedback=feedback)

    return run


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {row["code"]: dict(row) for row in connection.execute("SELECT * FROM direct_estimates")}


def test_a_layer(run, tmp_path):
    found = run(INDICATORS=INDICATORS, CSV=str(tmp_path / "out.csv"), EXCEL=str(tmp_path / "out.xlsx"))
    rows = _rows(found["OUTPUT"])
    assert (found["N_AREAS"], found["N_SAMPLED"], found["N_USABLE"]) == (16, 15, 15)
    assert (found["N_RESPONDENTS"], found["N_STRATA"], found["N_PSU"], found["DF"]) == (300, 2, 150, 148)
    mine = [row for row in _respondents() if row[0] == "a0003"]
    weights = [row[1] for row in mine]
    assert found["SUM_OF_WEIGHTS"] == pytest.approx(sum(row[1] for row in _respondents()))
    income = sum(row[1] * row[4] for row in mine) / sum(weights)
    assert rows["a0003"]["income"] == pytest.approx(income)
    assert rows["a0003"]["smokes"] == pytest.approx(sum(row[1] * row[5] for row in mine) / sum(weights))
    # The design's variance by hand: units of an area's strata, those elsewhere with totals of zero.
    z = {}
    for row in mine:
        z.setdefault((row[2], row[3]), []).append(row[1] * (row[4] - income) / sum(weights))
    variance = 0.0
    for stratum in ("s0", "s1"):
        totals = [sum(values) for (s, _), values in z.items() if s == stratum]
        mean = sum(totals) / 75
        variance += 75 / 74 * (sum((t - mean) ** 2 for t in totals) + (75 - len(totals)) * mean**2)
    assert rows["a0003"]["variance_income"] == pytest.approx(variance)
    assert rows["a0003"]["se_income"] == pytest.approx(math.sqrt(variance))
    assert rows["a0003"]["n_psu_income"] == 10
    assert rows["a0015"]["income"] is None
    assert rows["a0015"]["flag_income"] == "no respondents"
    assert {"x", "y", "v", "people", "covariance_income_smokes"} <= set(rows["a0003"])
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("area,income,variance_income,")
    assert (tmp_path / "out.xlsx").stat().st_size > 1000


def test_fields_are_chosen_for_their_means(run):
    rows = _rows(run(MEANS=["income", "smoker"], INDICATORS="total()")["OUTPUT"])
    assert {"income", "smoker", "total", "covariance_income_smoker"} <= set(rows["a0000"])
    assert rows["a0000"]["total"] == pytest.approx(sum(row[1] for row in _respondents() if row[0] == "a0000"))


def test_a_file_gives_the_same(run, survey_file, tmp_path):
    by_layer = _rows(run(INDICATORS=INDICATORS)["OUTPUT"])
    found = run(
        TABLE_FILE=survey_file, FILE_AREA_FIELD="dist", FILE_WEIGHT="w", FILE_STRATA="stratum", FILE_PSU="psu",
        INDICATORS=INDICATORS, DECIMAL="comma", OUTPUT=str(tmp_path / "file.gpkg"),
    )  # fmt: skip
    by_file = _rows(found["OUTPUT"])
    assert by_file.keys() == by_layer.keys()
    for area, row in by_layer.items():
        assert {k: v for k, v in by_file[area].items() if k not in ("geom", "fid")} == {
            k: v for k, v in row.items() if k not in ("geom", "fid")
        }


def test_the_layer_is_the_input_of_a_fit(run, tmp_path):
    import processing

    direct = run(INDICATORS=INDICATORS)["OUTPUT"]
    one = processing.run(
        "smallarea:fitfayherriot",
        {"AREAS": direct, "TABLE": direct, "ID_FIELD": "code", "DIRECT": "income", "VARIANCE": "variance_income",
         "COVARIATES": ["x"], "RANDOM_EFFECT": "iid", "METHOD": "reml", "OUTPUT": str(tmp_path / "fit.gpkg")},
    )  # fmt: skip
    assert (one["N_AREAS"], one["N_SAMPLED"], one["N_ESTIMATED"]) == (16, 15, 16)
    two = processing.run(
        "smallarea:fitfayherriot",
        {"AREAS": direct, "TABLE": direct, "ID_FIELD": "code", "DIRECT": ["income", "smokes"],
         "VARIANCE": ["variance_income", "variance_smokes"], "COVARIANCE": ["covariance_income_smokes"],
         "RANDOM_EFFECT": "iid", "METHOD": "reml", "OUTPUT": str(tmp_path / "two.gpkg")},
    )  # fmt: skip
    assert two["N_SAMPLED"] == 15


def test_king_county_from_microdata_to_a_map(shared_data, feedback, tmp_path):
    import processing

    # One row a respondent; its own fields for area, weight, stratum and the binary answer.
    survey, areas = shared_data("brfss_kingcounty.csv"), shared_data("kingcounty_hra.gpkg")
    found = processing.run(
        "smallarea:directestimates",
        {"AREAS": areas, "ID_FIELD": "hra", "TABLE_FILE": survey, "FILE_AREA_FIELD": "hracode",
         "FILE_WEIGHT": "rwt_llcp", "FILE_STRATA": "strata", "INDICATORS": "diabetes = proportion(diab2)",
         "MISSING_DESIGN": "drop", "OUTPUT": str(tmp_path / "direct.gpkg")},
        feedback=feedback,
    )  # fmt: skip
    assert (found["N_AREAS"], found["N_SAMPLED"]) == (48, 48)
    fit = processing.run(
        "smallarea:fitfayherriot",
        {"AREAS": found["OUTPUT"], "TABLE": found["OUTPUT"], "ID_FIELD": "hra", "DIRECT": "diabetes",
         "VARIANCE": "variance_diabetes", "RANDOM_EFFECT": "leroux", "METHOD": "reml",
         "OUTPUT": str(tmp_path / "fit.gpkg")},
    )  # fmt: skip
    assert fit["N_ESTIMATED"] == 48
    assert fit["MEDIAN_CV"] < fit["MEDIAN_CV_DIRECT"]


def test_options_reach_the_engine(run, tmp_path):
    plain = _rows(run(INDICATORS="income")["OUTPUT"])["a0001"]
    groups = _rows(run(INDICATORS="income", GROUP_FIELD="smoker", OUTPUT=str(tmp_path / "g.gpkg"))["OUTPUT"])["a0001"]
    assert {"income_0", "income_1"} <= set(groups)
    known = _rows(run(INDICATORS="income", POPULATION_FIELD="people", OUTPUT=str(tmp_path / "p.gpkg"))["OUTPUT"])
    total = sum(row[1] * row[4] for row in _respondents() if row[0] == "a0001")
    assert known["a0001"]["income"] == pytest.approx(total / 1001.0)
    narrow = _rows(run(INDICATORS="income", LEVEL=0.5, OUTPUT=str(tmp_path / "l.gpkg"))["OUTPUT"])["a0001"]
    assert plain["lower_income"] < narrow["lower_income"] < narrow["upper_income"] < plain["upper_income"]
    few = _rows(run(INDICATORS="income", MIN_DF=100, OUTPUT=str(tmp_path / "d.gpkg"))["OUTPUT"])["a0001"]
    assert (plain["flag_income"], few["flag_income"]) == ("", "few degrees of freedom")


def test_replicate_weights(run, grid, qgis_app):
    rows = [
        (area, w, income, *(w * (0.5 if (k // 3 + r) % 2 else 1.5) for r in range(4)))
        for k, (area, w, _, _, income, _) in enumerate(_respondents())
    ]
    names = [f"rep{r}" for r in range(4)]
    fields = "&".join(f"field={name}:double" for name in ("w", "income", *names))
    layer = _layer(f"None?field=dist:string&{fields}", rows, "replicates")
    found = run(
        TABLE=layer, STRATA=[], PSU=[], MEANS=["income"], REPLICATE_WEIGHTS="rep*", REPLICATE_METHOD="fay",
        FAY_RHO=0.5, REPLICATE_MSE="yes",
    )  # fmt: skip
    row = _rows(found["OUTPUT"])["a0002"]
    mine = [r for r in rows if r[0] == "a0002"]

    def mean(weights):
        return sum(w * r[2] for w, r in zip(weights, mine, strict=True)) / sum(weights)

    full = mean([r[1] for r in mine])
    wanted = sum((mean([r[3 + k] for r in mine]) - full) ** 2 for k in range(4)) / (4 * 0.25)
    assert row["variance_income"] == pytest.approx(wanted)


def test_calibrated_weights(run):
    totals = _layer(
        "None?field=stratum:string&field=total:double", [("s0", 2000.0), ("s1", 1500.0)], "totals"
    )  # fmt: skip
    sums = {s: sum(row[1] for row in _respondents() if row[2] == s) for s in ("s0", "s1")}
    rows = [(*row, row[1] * {"s0": 2000.0, "s1": 1500.0}[row[2]] / sums[row[2]]) for row in _respondents()]
    kinds = ("string", "double", "string", "string", "double", "integer", "double")
    definition = "None?" + "&".join(
        f"field={name}:{kind}" for name, kind in zip((*FIELDS, "cal"), kinds, strict=True)
    )  # fmt: skip
    layer = _layer(definition, rows, "calibrated")
    found = run(
        TABLE=layer, WEIGHT="cal", DESIGN_WEIGHT="w", TOTALS=totals, CALIBRATION_METHOD="poststratify",
        INDICATORS="income", STRATA=[],
    )  # fmt: skip
    assert _rows(found["OUTPUT"])["a0001"]["variance_income"] > 0.0
    assert found["SUM_OF_WEIGHTS"] == pytest.approx(3500.0)


def test_the_same_on_the_command_line(run, grid, survey, save_layer, engine_python, tmp_path):
    import subprocess

    here = _rows(run(INDICATORS=INDICATORS)["OUTPUT"])
    job = {
        "version": 1,
        "task": "direct_estimates",
        "parameters": {
            "areas": save_layer(grid, tmp_path / "grid.gpkg"), "id_field": "code", "output": "cli.gpkg",
            "table": save_layer(survey, tmp_path / "survey.gpkg", name="survey"), "area_field": "dist", "weight": "w",
            "strata": ["stratum"], "psu": ["psu"], "indicators": ["income", "smokes = proportion(smoker = 1)"],
        },
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [engine_python, "-m", "smallarea", "run", str(tmp_path / "job.json")]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    there = _rows(tmp_path / "cli.gpkg")
    for area, row in here.items():
        for name in ("income", "variance_income", "smokes", "covariance_income_smokes", "flag_income"):
            assert there[area][name] == row[name]


def test_qgis_process(qgis_process, run, grid, survey_file, save_layer, tmp_path):
    wanted = _rows(run(INDICATORS=INDICATORS)["OUTPUT"])
    done = qgis_process.run(
        "directestimates", AREAS=save_layer(grid, tmp_path / "grid.gpkg"), ID_FIELD="code", TABLE_FILE=survey_file,
        FILE_AREA_FIELD="dist", FILE_WEIGHT="w", FILE_STRATA="stratum", FILE_PSU="psu", DECIMAL="comma",
        INDICATORS=INDICATORS, OUTPUT=str(tmp_path / "process.gpkg"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"]["N_USABLE"] == 15
    found = _rows(tmp_path / "process.gpkg")
    assert found["a0003"]["variance_income"] == pytest.approx(wanted["a0003"]["variance_income"], rel=1e-12)


def test_the_layer_opens_with_its_maps(run):
    from qgis.core import QgsVectorLayer

    layer = QgsVectorLayer(f"{run(INDICATORS=INDICATORS)['OUTPUT']}|layername=direct_estimates", "out", "ogr")
    count, _, names, _, error = layer.listStylesInDatabase()
    assert not error
    assert (count, names[:4]) == (4, ["Direct income", "Direct smokes", "CV income", "CV smokes"])
    layer.loadDefaultStyle()
    assert layer.renderer().type() == "graduatedSymbol"
    assert "income" in layer.renderer().classAttribute()


def test_what_the_engine_refuses_fails_the_run_and_writes_nothing(run, tmp_path):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="No row has smoker = '7'"):
        run(INDICATORS="proportion(smoker = 7)")
    assert not (tmp_path / "out.gpkg").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TABLE": None}, "one of them"),
        ({"TABLE_FILE": "/no/survey.dta"}, "one of them"),
        ({"TABLE": None, "TABLE_FILE": "/no/survey.dta"}, "no file '/no/survey.dta'"),
        ({"AREA_FIELD": None}, "which field holds the areas"),
        ({"AREA_FIELD": "nothing"}, "no field 'nothing'"),
        ({"STRATA": ["stratum", "nothing"]}, "no field 'nothing'"),
        ({"FILE_WEIGHT": "w"}, "this is for a file"),
        ({"INDICATORS": " ; "}, "Say what to estimate"),
        ({"INDICATORS": "", "MEANS": ["nothing"]}, "no field 'nothing'"),
        ({"FPC": "nothing"}, "no field 'nothing'"),
        ({"GROUP_FIELD": "nothing"}, "no field 'nothing'"),
        ({"POPULATION_FIELD": "code"}, "holds no numbers"),
        ({"LEVEL": 1.0}, "between 0 and 1"),
        ({"REPLICATE_RSCALES": "0,5"}, "with a decimal point"),
        ({"OUTPUT": "out.shp"}, "gpkg"),
        ({"LONELY_PSU": "ignore"}, ""),
    ],
)
def test_checks_before_the_run(grid, survey, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:directestimates")
    values = {
        "AREAS": grid, "ID_FIELD": "code", "TABLE": survey, **DESIGN, "INDICATORS": "income",
        "OUTPUT": "TEMPORARY_OUTPUT",
    }  # fmt: skip
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message
