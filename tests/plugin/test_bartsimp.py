"""BARTSIMP inside QGIS: from a point layer and rasters to a posterior, a surface and areas."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")

QUICK = {"TREES": 5, "CHAINS": 2, "WARMUP": 60, "DRAWS": 60, "SEED": 3}


@pytest.fixture(scope="module")
def country(engine_python, tmp_path_factory):
    from qgis.core import QgsVectorLayer

    folder = tmp_path_factory.mktemp("country")
    support = Path(__file__).parents[1] / "support"
    code = f"import sys; sys.path.insert(0, {str(support)!r}); import bartsimp_world, pathlib; "
    code += f"bartsimp_world.make_country(pathlib.Path({str(folder)!r}))"
    subprocess.run([engine_python, "-c", code], check=True, capture_output=True)
    uri = f"file://{folder}/clusters.csv?delimiter=,&xField=east&yField=north&crs=EPSG:32736&detectTypes=yes"
    points = QgsVectorLayer(uri, "clusters", "delimitedtext")
    assert points.isValid()
    return folder, points


def _fit(country, **more):
    folder, points = country
    return {
        "TABLE": points, "OUTCOME_FIELD": "y", "RASTERS": [str(folder / "covariates.tif")], "CATEGORICAL": "land",
        **QUICK, **more,
    }  # fmt: skip


def test_fit_and_predict(country, feedback, tmp_path):
    import processing
    from qgis.core import QgsRasterLayer, QgsVectorLayer

    folder, _ = country
    files = {"POSTERIOR": str(tmp_path / "p.npz"), "REPORT": str(tmp_path / "r.html")}
    found = processing.run("smallarea:fitbartsimp", _fit(country, **files), feedback=feedback)
    assert found["N_CLUSTERS"] == 60
    assert found["SIGMA_M"] > 0.0
    assert all(Path(path).stat().st_size > 1000 for path in files.values())
    done = processing.run(
        "smallarea:predictsurface",
        {
            "POSTERIOR": files["POSTERIOR"], "RASTERS": [str(folder / "covariates.tif")], "DRAWS": 20,
            "AREAS": str(folder / "regions.gpkg"), "ID_FIELD": "code", "POPULATION": str(folder / "people.tif"),
            "THRESHOLDS": "6.5", "SURFACE": str(tmp_path / "s.tif"), "OUTPUT": str(tmp_path / "a.gpkg"),
            "REPORT": str(tmp_path / "s.html"),
        },
        feedback=feedback,
    )  # fmt: skip
    assert (done["N_AREAS"], done["N_ESTIMATED"]) == (5, 4)
    surface = QgsRasterLayer(done["SURFACE"])
    assert surface.bandCount() == 6
    assert [surface.bandName(band) for band in (1, 2, 6)] == ["Band 1: mean", "Band 2: sd", "Band 6: p_above_6.5"]
    renderer = surface.renderer()
    assert renderer.type() == "singlebandpseudocolor"
    assert renderer.band() == 1
    classes = renderer.shader().rasterShaderFunction().colorRampItemList()
    assert len(classes) == 7
    assert classes[0].label.startswith("below ")
    assert Path(done["REPORT"]).stat().st_size > 20_000
    layer = QgsVectorLayer(done["OUTPUT"])
    assert {"estimate", "se", "cv", "lower", "upper"} <= set(layer.fields().names())
    _aggregates(folder, files["POSTERIOR"], tmp_path, feedback)
    effects = processing.run(
        "smallarea:partialdependence",
        {"POSTERIOR": files["POSTERIOR"], "DRAWS": 20, "REPORT": str(tmp_path / "e.html"),
         "OUTPUT": str(tmp_path / "e.gpkg")},
        feedback=feedback,
    )  # fmt: skip
    assert effects["STRONGEST"] == "green"
    assert effects["STRONGEST_PAIR"] == "green and land"
    curves = QgsVectorLayer(effects["OUTPUT"])
    assert {"covariate", "effect", "value", "estimate", "lower", "upper", "share"} <= set(curves.fields().names())
    assert Path(effects["REPORT"]).stat().st_size > 1000


def test_displaced_clusters(country, feedback, tmp_path):
    import processing
    from qgis.core import QgsVectorLayer

    folder, _ = country
    regions = QgsVectorLayer(str(folder / "regions.gpkg"))
    lines = (folder / "clusters.csv").read_text().splitlines()
    rows = [f"{line},{'UR'[i // 4 % 2]}" for i, line in enumerate(lines[1:])]
    (folder / "urban.csv").write_text("\n".join([f"{lines[0]},kind", *rows]))
    uri = f"file://{folder}/urban.csv?delimiter=,&xField=east&yField=north&crs=EPSG:32736&detectTypes=yes"
    values = _fit(
        country, TABLE=QgsVectorLayer(uri, "urban", "delimitedtext"), DISPLACED=True, URBAN_FIELD="kind",
        CLUSTER_FIELD="cluster", STAY_WITHIN=regions, POPULATION=str(folder / "people.tif"), CANDIDATES=6,
        POSITIONS=str(tmp_path / "places.gpkg"),
    )  # fmt: skip
    done = processing.run("smallarea:fitbartsimp", values, feedback=feedback)
    places = QgsVectorLayer(done["POSITIONS"])
    assert places.isValid()
    held = [(one["cluster"], one["posterior"]) for one in places.getFeatures()]
    assert len({name for name, _ in held}) == 60
    assert abs(sum(share for _, share in held) - 60.0) < 1e-6


def _aggregates(folder, posterior, tmp_path, feedback):
    """Run two levels and strata; the second level is the whole country."""
    import processing
    from qgis.core import QgsFeature, QgsGeometry, QgsVectorLayer

    whole = QgsVectorLayer("MultiPolygon?crs=EPSG:32736&field=land:string", "whole/country", "memory")
    regions = QgsVectorLayer(str(folder / "regions.gpkg"))
    whole.startEditing()
    feature = QgsFeature(whole.fields())
    feature.setGeometry(QgsGeometry.unaryUnion([one.geometry() for one in regions.getFeatures()]))
    feature["land"] = "all"
    whole.addFeature(feature)
    whole.commitChanges()
    census = tmp_path / "census.csv"
    rows = [
        f"{code},{land},{people}" for code in ("nw", "ne", "sw", "se") for land, people in ((1, 50), (2, 30), (3, 9))
    ]
    census.write_text("\n".join(["code,stratum,total", *rows]))
    values = {
        "POSTERIOR": posterior, "RASTERS": [str(folder / "covariates.tif")], "DRAWS": 20, "AREAS": regions,
        "ID_FIELD": "code", "MORE_AREAS": [whole], "MORE_ID_FIELDS": "land", "NAMES": "regions; country",
        "POPULATION": str(folder / "people.tif"), "STRATA_RASTER": str(folder / "covariates.tif"),
        "STRATA_BAND": "land", "TOTALS": str(census), "OUTPUT": str(tmp_path / "levels.gpkg"),
        "REPORT": str(tmp_path / "levels.html"),
    }  # fmt: skip
    done = processing.run("smallarea:aggregatesurface", values, feedback=feedback)
    assert (done["N_AREAS"], done["N_ESTIMATED"]) == (6, 5)
    assert "How cells were weighted" in Path(done["REPORT"]).read_text(encoding="utf-8")
    country = QgsVectorLayer(f"{done['OUTPUT']}|layername=country")
    regions = QgsVectorLayer(f"{done['OUTPUT']}|layername=regions")
    found = {one["code"]: one["estimate"] for one in regions.getFeatures()}
    assert next(country.getFeatures())["land"] == "all"
    mean = sum(found[code] for code in ("nw", "ne", "sw", "se")) / 4.0
    assert abs(next(country.getFeatures())["estimate"] - mean) < 1e-9


def test_towns_from_the_table_then_from_a_raster(country, feedback, tmp_path):
    import processing
    from qgis.core import QgsRasterLayer, QgsVectorLayer

    folder, _ = country
    land = QgsRasterLayer(str(folder / "covariates.tif"))
    lines = (folder / "clusters.csv").read_text().splitlines()
    rows = []
    for line in lines[1:]:
        east, north = (float(part) for part in line.split(",")[1:3])
        cell = land.dataProvider().identify(_point(east, north), _as_values()).results()
        rows.append(f"{line},{cell[2]:g}")
    (folder / "towns.csv").write_text("\n".join([f"{lines[0]},land", *rows]))
    uri = f"file://{folder}/towns.csv?delimiter=,&xField=east&yField=north&crs=EPSG:32736&detectTypes=yes"
    values = _fit(
        country, TABLE=QgsVectorLayer(uri, "towns", "delimitedtext"), BANDS="green", COVARIATES=["land"],
        POSTERIOR=str(tmp_path / "p.npz"),
    )  # fmt: skip
    processing.run("smallarea:fitbartsimp", values, feedback=feedback)
    done = processing.run(
        "smallarea:predictsurface",
        {"POSTERIOR": values["POSTERIOR"], "RASTERS": [str(folder / "covariates.tif")], "DRAWS": 20,
         "SURFACE": str(tmp_path / "s.tif")},
        feedback=feedback,
    )  # fmt: skip
    assert done["N_CELLS"] == 400


def _point(east, north):
    from qgis.core import QgsPointXY

    return QgsPointXY(east, north)


def _as_values():
    from qgis.core import QgsRaster

    return QgsRaster.IdentifyFormat.IdentifyFormatValue


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"RASTERS": []}, "something to split on"),
        ({"OUTCOME_FIELD": "zone"}, "no numbers"),
        ({"WORKING_CRS": "EPSG:4326"}, "these are degrees"),
        ({"FOLDS": 1}, "two or more"),
        ({"URBAN_FIELD": "zone"}, "say that the places of clusters were displaced"),
        ({"DISPLACED": True, "RASTERS": [], "COVARIATES": "y"}, "Choose rasters"),
        ({"POSTERIOR": None}, "Nothing would be written"),
    ],
)
def test_checks_before_a_fit(country, tmp_path, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:fitbartsimp")
    values = _fit(country, POSTERIOR=str(tmp_path / "p.npz"))
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"POSTERIOR": "nothing.npz"}, "no such file"),
        ({"THRESHOLDS": "much"}, "numbers separated"),
        ({"CSV": "a.csv"}, "Choose a polygon layer"),
        ({"SURFACE": None}, "Nothing would be written"),
    ],
)
def test_checks_before_a_prediction(country, tmp_path, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    folder, _ = country
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:predictsurface")
    (tmp_path / "p.npz").write_bytes(b"x")
    values = {"POSTERIOR": str(tmp_path / "p.npz"), "RASTERS": [str(folder / "covariates.tif")]}
    values["SURFACE"] = str(tmp_path / "s.tif")
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"POSTERIOR": "nothing.npz"}, "no such file"),
        ({"POPULATION": "people"}, "weights cells of rasters"),
        ({"OUTPUT": "e.shp"}, "ends in .gpkg"),
        ({"REPORT": None}, "Nothing would be written"),
    ],
)
def test_checks_before_effects(country, tmp_path, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    if "POPULATION" in change:
        change = {"POPULATION": str(country[0] / "people.tif")}

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:partialdependence")
    (tmp_path / "p.npz").write_bytes(b"x")
    values = {"POSTERIOR": str(tmp_path / "p.npz"), "REPORT": str(tmp_path / "r.html")}
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"POSTERIOR": "nothing.npz"}, "no such file"),
        ({"MORE_AREAS": "regions", "MORE_ID_FIELDS": "a; b"}, "2 are given, and 1 are needed"),
        ({"MORE_AREAS": "regions", "MORE_ID_FIELDS": "zone"}, "no field 'zone'"),
        ({"NAMES": "a; b"}, "2 are given, and 1 are needed"),
        ({"STRATA_RASTER": "people"}, "belong together"),
        ({"DIRECT_FIELD": "code"}, "no numbers"),
        ({"THRESHOLDS": "much"}, "numbers separated"),
        ({"OUTPUT": None}, "Nothing would be written"),
    ],
)
def test_checks_before_areas(country, tmp_path, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    folder, _ = country
    files = {"regions": [str(folder / "regions.gpkg")], "people": str(folder / "people.tif")}
    change = {name: files.get(value, value) for name, value in change.items()}
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:aggregatesurface")
    (tmp_path / "p.npz").write_bytes(b"x")
    values = {
        "POSTERIOR": str(tmp_path / "p.npz"), "RASTERS": [str(folder / "covariates.tif")],
        "AREAS": str(folder / "regions.gpkg"), "ID_FIELD": "code", "OUTPUT": str(tmp_path / "a.gpkg"),
    }  # fmt: skip
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


def test_shares_and_counts(country, feedback, tmp_path):
    import csv

    import processing
    from qgis.core import QgsVectorLayer

    folder, _ = country
    with (folder / "clusters.csv").open(encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    for i, row in enumerate(rows):
        row |= {"sick": int(float(row["y"]) > 6.0), "n": 1 + i % 3, "years": 0.5 + i % 4}
    with (tmp_path / "counts.csv").open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    uri = f"file://{tmp_path}/counts.csv?delimiter=,&xField=east&yField=north&crs=EPSG:32736&detectTypes=yes"
    counted = _fit(country, TABLE=QgsVectorLayer(uri, "counts", "delimitedtext"), OUTCOME_FIELD="sick")
    shares = processing.run(
        "smallarea:fitbartsimp",
        {**counted, "TRIALS_FIELD": "n", "LIKELIHOOD": "binomial", "POSTERIOR": str(tmp_path / "p.npz")},
        feedback=feedback,
    )
    assert shares["N_CLUSTERS"] == 60
    assert 0.0 < shares["SIGMA_E"] < 5.0
    rates = processing.run(
        "smallarea:fitbartsimp",
        {**counted, "EXPOSURE_FIELD": "years", "LIKELIHOOD": "negative_binomial", "CSV": str(tmp_path / "h.csv")},
        feedback=feedback,
    )
    assert rates["SIGMA_M"] > 0.0
