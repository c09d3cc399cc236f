"""One small map for each thing that a check must find."""

from __future__ import annotations

import json
from collections import Counter

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely import GeometryCollection, Point, Polygon, affinity, box
from smallarea.areas import AreaReport, check_areas
from smallarea.areas.findings import KINDS
from smallarea.areas.metric import Metric
from smallarea.errors import Cancelled, TableProblem

BOWTIE = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


def kinds(report: AreaReport, severity: str | None = None) -> Counter:
    return Counter(f.kind for f in report.findings if severity is None or f.severity == severity)


def only(report: AreaReport, kind: str):
    (finding,) = [f for f in report.findings if f.kind == kind]
    return finding


def test_a_clean_map(grid) -> None:
    report = check_areas(grid(), id_field="id")
    assert report.findings == ()
    assert not report.has_errors
    assert report.areas is not None
    assert len(report.areas) == report.n_areas == 12
    assert "12 areas" in report.to_text()
    assert "0 errors, 0 warnings, 0 notes" in report.to_text()


@pytest.mark.parametrize(
    ("shape", "kind", "mended"),
    [
        (None, "null_geometry", True),
        (Polygon(), "empty_geometry", True),
        (BOWTIE, "invalid_geometry", True),
        (GeometryCollection([box(0, 0, 1, 1), Point(2, 2)]), "geometry_collection", True),
        (GeometryCollection([Point(2, 2)]), "geometry_collection", False),
        (Point(0, 0), "not_polygon", False),
        (shapely.transform(box(1, 1, 2, 2), lambda p: p * [1, np.inf]), "non_finite", False),
    ],
)
def test_single_rows(draw, shape, kind: str, mended: bool) -> None:
    layer = draw({"bad": shape, "good": box(5, 5, 1006, 1006)})
    finding = only(check_areas(layer, id_field="id"), kind)
    assert (finding.severity, finding.areas, finding.repairable) == ("error", ("bad",), mended)
    report = check_areas(layer, id_field="id", repair=True)
    assert report.has_errors is not mended
    assert (report.areas is None) is not mended
    assert ("repaired" in kinds(report)) is mended


def test_an_error_does_not_hide_the_rest(draw) -> None:
    layer = draw(
        {"bad": BOWTIE, "e": Polygon(), "a": box(10, 0, 20, 10), "b": box(19, 0, 30, 10), "tiny": box(50, 0, 50.1, 0.1)}
    )
    found = kinds(check_areas(layer, id_field="id"))
    assert found.keys() == {"invalid_geometry", "empty_geometry", "overlap", "sliver", "island", "components"}


def test_ids(grid) -> None:
    layer = grid(1, 5).assign(id=["a", None, "a", "b", "b"], v=[1, 2, 3, 4, 4])
    report = check_areas(layer, id_field="id")
    assert only(report, "missing_id").areas == ("row 2",)
    repeated = {f.areas[0]: f for f in report.findings if f.kind == "repeated_id"}
    assert "rows 1, 3" in repeated["a"].message
    assert "differ in 'v'" in repeated["a"].message
    assert (repeated["a"].repairable, repeated["b"].repairable) == (False, True)


def test_an_unknown_field_stops(grid) -> None:
    with pytest.raises(TableProblem, match="no field 'code'"):
        check_areas(grid(), id_field="code")


def test_overlap_is_measured(draw) -> None:
    report = check_areas(draw({"a": box(0, 0, 100, 100), "b": box(99, 0, 200, 100)}, "EPSG:3035"), id_field="id")
    finding = only(report, "overlap")
    assert finding.areas == ("a", "b")
    assert finding.unit == "m2"
    assert finding.where.equals(box(99, 0, 100, 100))


def test_measures_are_those_of_the_ground(draw) -> None:
    # Web Mercator at 60 degrees north: four times the true area.
    y = 8_399_737.9
    layer = draw({"a": box(0, y, 100, y + 100), "b": box(99, y, 200, y + 100)}, "EPSG:3857")
    assert only(check_areas(layer, id_field="id"), "overlap").value == pytest.approx(100 / 4, rel=0.01)


def test_the_same_polygon_twice(draw) -> None:
    layer = draw({"a": box(0, 0, 100, 100), "b": affinity.rotate(box(0, 0, 100, 100), 90), "c": box(100, 0, 200, 100)})
    report = check_areas(layer, id_field="id")
    assert only(report, "duplicate_polygon").areas == ("a", "b")
    assert "overlap" not in kinds(report)


def test_an_area_inside_another_without_a_hole(draw) -> None:
    report = check_areas(draw({"outer": box(0, 0, 100, 100), "inner": box(40, 40, 50, 50)}), id_field="id")
    assert "'inner' lies inside 'outer'" in only(report, "contained_polygon").message
    filled = draw({"outer": box(0, 0, 100, 100).difference(box(40, 40, 50, 50)), "inner": box(40, 40, 50, 50)})
    assert check_areas(filled, id_field="id").findings == ()


def test_gap_between_areas_that_do_not_touch(draw) -> None:
    layer = draw({"a": box(0, 0, 100, 100), "b": box(100.4, 0, 200, 100), "c": box(202, 0, 300, 100)}, "EPSG:3035")
    finding = only(check_areas(layer, id_field="id"), "gap")
    assert (finding.areas, finding.unit) == (("a", "b"), "m")
    assert finding.value == pytest.approx(0.4, rel=0.2)  # so far from its centre, the projection stretches
    assert kinds(check_areas(layer, id_field="id", min_gap=5.0))["gap"] == 2
    assert kinds(check_areas(layer, id_field="id", min_gap=0.1))["gap"] == 0
    assert kinds(check_areas(layer, id_field="id", min_gap=0.0))["gap"] == 0


def test_gaps_in_degrees_are_measured_in_metres(draw) -> None:
    # 1e-5 degrees of longitude at 60 degrees north are 0.56 m.
    layer = draw({"a": box(10, 60, 10.1, 60.1), "b": box(10.1 + 1e-5, 60, 10.2, 60.1)}, "EPSG:4326")
    finding = only(check_areas(layer, id_field="id"), "gap")
    assert finding.value == pytest.approx(0.556, rel=0.02)
    assert kinds(check_areas(layer, id_field="id", min_gap=0.5))["gap"] == 0


def test_a_slit_along_a_common_border(draw) -> None:
    bent = Polygon([(100, 0), (200, 0), (200, 100), (100, 100), (100.3, 60), (100.3, 40)])
    report = check_areas(draw({"a": box(0, 0, 100, 100), "b": bent}), id_field="id")
    finding = only(report, "slit")
    assert (finding.severity, set(finding.areas)) == ("info", {"a", "b"})
    assert finding.value == pytest.approx(0.3, rel=0.02)
    assert kinds(report).keys() == {"slit"}


def test_a_harmless_t_junction_is_information(draw) -> None:
    layer = draw({"long": box(0, 0, 40, 10), "left": box(0, 10, 20, 20), "right": box(20, 10, 40, 20)})
    report = check_areas(layer, id_field="id")
    assert kinds(report, "warning") == {}
    assert set(only(report, "unmatched_vertices").areas) == {"long", "left", "right"}


def test_t_junctions_in_degrees_are_no_gaps(draw) -> None:
    # A projection would move the vertex in the middle by hundreds of metres off the straight edge.
    layer = draw({"long": box(0, 50, 10, 51), "left": box(0, 51, 5, 52), "right": box(5, 51, 10, 52)}, "EPSG:4326")
    assert kinds(check_areas(layer, id_field="id", min_gap=1000.0)).keys() == {"geographic_crs", "unmatched_vertices"}


def test_slivers(draw) -> None:
    layer = draw({"a": box(0, 0, 100, 100), "thin": box(100, 0, 100.001, 100)})
    finding = only(check_areas(layer, id_field="id"), "sliver")
    assert finding.areas == ("thin",)
    assert finding.value == pytest.approx(0.1, rel=0.01)
    assert "sliver" not in kinds(check_areas(layer, id_field="id", sliver_area=0.01))


def test_islands_and_components(draw) -> None:
    layer = draw({"a": box(0, 0, 10, 10), "b": box(10, 0, 20, 10), "i": box(50, 0, 60, 10), "j": box(90, 0, 95, 10)})
    report = check_areas(layer, id_field="id")
    assert [f.areas for f in report.findings if f.kind == "island"] == [("i",), ("j",)]
    assert only(report, "components").value == 3
    assert "of 2, 1, 1 areas" in only(report, "components").message


def test_no_reference_system(draw) -> None:
    layer = draw({"a": box(0, 0, 10, 10), "b": box(9, 0, 20, 10), "t": box(50, 0, 50.01, 0.01)}, None)
    report = check_areas(layer, id_field="id")
    assert only(report, "missing_crs").severity == "warning"
    assert only(report, "overlap").unit == "square layer units"
    assert "sliver" not in kinds(report)  # nothing is known about metres
    assert "not measured" in report.to_text()
    assert report.areas is not None
    assert "missing_crs" not in kinds(check_areas(layer, id_field="id", crs="EPSG:32630"))


def test_null_island(draw) -> None:
    layer = draw({"a": box(10, 45, 11, 46), "b": box(11, 45, 12, 46), "lost": box(0, 0, 0.1, 0.1)}, "EPSG:4326")
    assert only(check_areas(layer, id_field="id"), "null_island").areas == ("lost",)
    at_home = draw({"a": box(0, 0, 1, 1), "b": box(1, 0, 2, 1), "c": box(-1, 0, 0, 1)}, "EPSG:4326")
    assert "null_island" not in kinds(check_areas(at_home, id_field="id"))


def test_metres_declared_as_degrees(draw) -> None:
    layer = draw({"a": box(500_000, 4e6, 501_000, 4.1e6), "b": box(501_000, 4e6, 502_000, 4.1e6)}, "EPSG:4326")
    report = check_areas(layer, id_field="id")
    assert kinds(report)["out_of_range"] == 2
    mixed = draw({"a": box(0, 0, 1, 1), "b": box(0, 85, 1, 95), "c": box(0.5, 85, 1, 95)}, "EPSG:4326")
    report = check_areas(mixed, id_field="id")
    assert kinds(report)["out_of_range"] == 2
    json.dumps(report.to_dict(), allow_nan=False)  # what cannot be projected has no measure


def test_antimeridian(draw) -> None:
    wrong = Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)])
    layer = draw(
        {"wrong": wrong, "london": box(0, 0, 1, 1), "w": box(179, 1, 180, 2), "e": box(-180, 1, -179, 2)}, "EPSG:4326"
    )
    report = check_areas(layer, id_field="id")
    assert only(report, "wraps_world").repairable
    assert "overlap" not in kinds(report)  # London is not under it
    repaired = check_areas(layer, id_field="id", repair=True)
    assert not repaired.has_errors
    assert only(repaired, "antimeridian").areas == ("w", "e")


def test_two_rows_of_one_area_do_not_overlap_each_other(draw) -> None:
    layer = draw({"a": box(0, 0, 10, 10), "b": box(5, 0, 20, 10)}).assign(id=["a", "a"], v=[1, 2])
    assert "overlap" not in kinds(check_areas(layer, id_field="id"))


def test_nothing_usable(draw) -> None:
    for repair in (False, True):
        report = check_areas(draw({"a": None, "b": Polygon()}), id_field="id", repair=repair)
        assert report.has_errors
        assert report.areas is None


@pytest.fixture
def messy(draw) -> AreaReport:
    shapes = {f"e{k}": Polygon() for k in range(8)}
    shapes |= {"bow": BOWTIE, "a": box(10, 0, 20, 10), "b": box(19, 0, 30, 10), "c": box(30.5, 0, 40, 10), "none": None}
    return check_areas(draw(shapes), id_field="id")


def test_text_groups_and_counts(messy: AreaReport) -> None:
    text = messy.to_text(limit=2)
    assert "10 errors" in text
    assert "ERROR: Empty shapes (8)" in text
    assert "6 more: 'e2', 'e3' and 4 more" in text
    assert text.index("ERROR") < text.index("WARNING") < text.index("INFO")


def test_json_names_every_area(messy: AreaReport) -> None:
    content = json.loads(json.dumps(messy.to_dict(), allow_nan=False))
    named = {area for finding in content["findings"] for area in finding["areas"]}
    assert named >= {f"e{k}" for k in range(8)} | {"bow", "none", "a", "b", "c"}
    assert content["counts"] == {"error": 10, "warning": messy.count("warning"), "info": messy.count("info")}
    assert content["has_errors"] is True


def test_layer_has_a_point_for_each_finding(messy: AreaReport) -> None:
    layer = messy.to_layer()
    assert isinstance(layer, gpd.GeoDataFrame)
    assert len(layer) == len(messy.findings)
    assert layer.crs == messy.crs
    assert set(layer.geometry.geom_type.dropna()) == {"Point"}
    overlap = layer[layer["kind"] == "overlap"].iloc[0]
    assert box(19, 0, 20, 10).contains(overlap.geometry)
    assert overlap["areas"] == "a, b"
    assert layer[layer["kind"] == "empty_geometry"].geometry.isna().all()


def test_errors_come_first(messy: AreaReport) -> None:
    order = [("error", "warning", "info").index(f.severity) for f in messy.findings]
    assert order == sorted(order)


def test_every_kind_has_words() -> None:
    assert all(kind.title and kind.remedy.endswith(".") for kind in KINDS.values())


def test_progress_and_cancelling(grid) -> None:
    seen: list[float] = []
    check_areas(grid(), progress=lambda percent, text: seen.append(percent))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 100.0)

    def stop(percent: float, text: str) -> None:
        if percent > 30:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        check_areas(grid(), progress=stop)


class TestMetric:
    def test_area_of_a_degree_square(self) -> None:
        from pyproj import Geod

        square = shapely.segmentize(box(10, 50, 11, 51), 0.01)
        (area,) = Metric.of(reference_system("EPSG:4326"), np.array([square])).areas(np.array([square]))
        true = abs(Geod(ellps="WGS84").geometry_area_perimeter(square)[0])
        assert area == pytest.approx(true, rel=1e-5)

    def test_distance_never_underestimates_in_layer_units(self) -> None:
        for crs, point in (("EPSG:4326", (20, 80)), ("EPSG:3857", (0, 1.2e7)), ("EPSG:2926", (1.2e6, 2e5))):
            shapes = np.array([Point(point).buffer(0.1)])
            metric = Metric.of(reference_system(crs), shapes)
            reach = metric.in_layer_units(10.0)
            for step in ((reach, 0.0), (0.0, reach)):
                start = np.array([point], dtype=float)
                assert metric.distances(start, start + step)[0] >= 10.0

    def test_nothing_to_measure_by(self) -> None:
        assert Metric.of(None, np.array([box(0, 0, 1, 1)])) is None
        assert Metric.of(reference_system('LOCAL_CS["here",UNIT["metre",1]]'), np.array([box(0, 0, 1, 1)])) is None
        assert Metric.of(reference_system("EPSG:4326"), np.array([None, Polygon()])) is None


def reference_system(text: str):
    from pyproj import CRS

    return CRS.from_user_input(text)
