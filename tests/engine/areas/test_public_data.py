"""Public layers with known counts; skipped where they are not beside the checkout."""

from __future__ import annotations

import json
import time

import pytest
import shapely
from smallarea.areas import build_adjacency, check_areas, edges_layer, read_areas
from smallarea.errors import GeometryProblem, TableProblem

WORLD = [("fji", "id", True), ("nzl", "id", True), ("rus", "id", True), ("alaska", "GEOID", False)]


def test_missouri(shared) -> None:
    areas = read_areas(shared("mo_vmsae_example.gpkg"), id_field="GEOID")
    graph = build_adjacency(areas)
    assert (len(areas), len(graph.edges), graph.n_components, graph.islands) == (115, 294, 1, ())
    assert len(edges_layer(areas, graph)) == 294


def test_california_tracts(shared) -> None:
    areas = read_areas(shared("ca_tracts_2010_acs2018.gpkg"), id_field="GEOID")
    graph = build_adjacency(areas)
    assert (len(areas), len(graph.islands), graph.n_components) == (8043, 2, 5)
    assert graph.provenance["overlapping"] == []
    joined = build_adjacency(areas, islands="nearest")
    assert (len(joined.edges), joined.n_components, joined.islands) == (len(graph.edges) + 2, 3, ())
    report = check_areas(areas.frame, id_field="GEOID")
    assert not report.has_errors
    (sliver,) = [f for f in report.findings if f.kind == "sliver"]
    assert sliver.value == pytest.approx(0.17, abs=0.01)


def test_spanish_municipalities(shared) -> None:
    path = shared("spain_municipalities_dirty.gpkg")
    with pytest.raises(GeometryProblem, match=r"Empty shapes \(28\).*Invalid polygons \(59\)"):
        read_areas(path, id_field="id")
    start = time.perf_counter()
    report = check_areas(path, id_field="id", repair=True)
    assert time.perf_counter() - start < 60.0
    assert not report.has_errors
    graph = build_adjacency(report.areas)
    # One more than the 28 empty ones has no area left once it is valid.
    assert len(report.areas) == 8213 - 28 - 1
    assert (len(graph.islands), graph.n_components) == (5, 16)
    assert all(shapely.is_valid(report.areas.shapes))


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(("layer", "id_field", "stuck"), WORLD)
def test_odd_geometries_never_crash_a_check(shared, layer: str, id_field: str, stuck: bool, repair: bool) -> None:
    path = shared("oddgeom_world.gpkg")
    report = check_areas(path, layer=layer, id_field=id_field, repair=repair)
    json.dumps(report.to_dict(), allow_nan=False)
    assert len(report.to_layer()) == len(report.findings)
    assert report.has_errors is (stuck or not repair)
    left = {f.kind for f in report.findings if f.severity == "error"}
    if repair and stuck:
        assert left == {"repeated_id"}


def test_russia_is_not_drawn_across_the_world(shared) -> None:
    path = shared("oddgeom_world.gpkg")
    report = check_areas(path, layer="rus", id_field="id")
    assert [f.areas for f in report.findings if f.kind == "wraps_world"] == [("RU.",)]
    # Drawn the long way it would overlap ten others.
    assert sum("RU." in f.areas for f in report.findings if f.kind == "overlap") == 0


def test_repeated_ids_that_differ_are_named(shared) -> None:
    with pytest.raises(TableProblem, match=r"'NZ\.' is in rows 18, 19\. They differ in 'name'"):
        read_areas(shared("oddgeom_world.gpkg"), layer="nzl", id_field="id", repair=True)


def test_a_file_of_several_layers_asks_which(shared) -> None:
    with pytest.raises(GeometryProblem, match="'fji', 'nzl', 'rus', 'alaska'"):
        read_areas(shared("oddgeom_world.gpkg"))


def test_king_county_overlaps_everywhere_and_is_connected(shared) -> None:
    areas = read_areas(shared("kingcounty_hra.gpkg"), id_field="hra")
    graph = build_adjacency(areas)
    assert graph.islands == ("Vashon Island",)
    assert graph.n_components == 2
    assert len(graph.provenance["overlapping"]) > 50
