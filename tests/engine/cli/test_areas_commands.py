"""Checking areas and building graphs: the command line, a job and Python give the same."""

import json

import geopandas as gpd
import pytest
from smallarea.areas import AreaGraph
from smallarea.errors import GeometryProblem, JobProblem, OutputProblem
from smallarea.workflows import build_adjacency, check_areas


def test_a_sound_layer_is_said_to_be_usable(smallarea, squares):
    done, events = smallarea("areas", "check", squares, "--id-field", "code", "--json")
    assert done.exit_code == 0
    assert events[-1]["type"] == "result"
    assert events[-1]["summary"]["usable"] is True
    assert events[-1]["summary"]["n_areas"] == 13


def test_findings_name_the_areas_and_are_written(smallarea, broken, tmp_path):
    done, events = smallarea(
        "areas", "check", broken, "--id-field", "code",
        "--output", tmp_path / "findings.gpkg", "--report", tmp_path / "findings.json", "--json",
    )  # fmt: skip
    assert done.exit_code == 0
    assert events[-1]["summary"]["usable"] is False
    assert any("'bow'" in event["text"] for event in events if event["type"] == "warning")
    layer = gpd.read_file(tmp_path / "findings.gpkg", layer="findings")
    assert "bow" in layer["areas"].tolist()
    assert layer.crs == "EPSG:32617"
    found = json.loads((tmp_path / "findings.json").read_text())
    assert found["has_errors"]
    assert ["bow"] in [finding["areas"] for finding in found["findings"]]


def test_a_repair_is_written_and_told(smallarea, broken, tmp_path):
    mended = tmp_path / "mended.gpkg"
    done, events = smallarea("areas", "check", broken, "--id-field", "code", "--repair", "--repaired", mended, "--json")
    assert done.exit_code == 0
    assert events[-1]["summary"]["usable"] is True
    assert any("bow" in event["text"] for event in events if event["type"] == "info")
    assert gpd.read_file(mended).is_valid.all()
    assert not gpd.read_file(broken).is_valid.all()


def test_nothing_is_repaired_without_being_asked(smallarea, broken, tmp_path):
    done, _ = smallarea("areas", "check", broken, "--repaired", tmp_path / "mended.gpkg")
    assert done.exit_code == 2
    assert "set 'repair' too" in done.stderr
    with pytest.raises(JobProblem, match="set 'repair' too"):
        check_areas(broken, repaired=tmp_path / "mended.gpkg")


def test_what_cannot_be_mended_writes_no_output_at_all(squares, tmp_path):
    frame = gpd.read_file(squares)
    frame.loc[0, "code"] = "001"
    frame.loc[0, "rate"] = -1.0
    with pytest.raises(GeometryProblem, match=r"errors are left.*001"):
        check_areas(
            frame,
            id_field="code",
            repair=True,
            output=tmp_path / "findings.gpkg",
            repaired=tmp_path / "mended.gpkg",
        )
    assert [path.name for path in tmp_path.iterdir()] == ["squares.gpkg"]


def test_a_graph_is_written_and_read_back(smallarea, squares, tmp_path):
    graph, edges = tmp_path / "graph.json", tmp_path / "edges.gpkg"
    done, events = smallarea(
        "areas", "adjacency", squares, "--id-field", "code", "--contiguity", "rook",
        "--graph", graph, "--edges", edges, "--json",
    )  # fmt: skip
    assert done.exit_code == 0
    summary = events[-1]["summary"]
    assert (summary["n_areas"], summary["n_edges"], summary["n_components"]) == (13, 17, 2)
    assert summary["n_islands"] == 1
    assert any("'012'" in event["text"] for event in events if event["type"] == "warning")
    assert AreaGraph.load(graph).fingerprint == summary["fingerprint"]
    assert len(gpd.read_file(edges)) == 17


def test_python_gives_the_same_graph_from_a_path_and_from_a_frame(smallarea, squares):
    _, events = smallarea("areas", "adjacency", squares, "--id-field", "code", "--json")
    from_path = build_adjacency(squares, id_field="code")
    from_frame = build_adjacency(gpd.read_file(squares), id_field="code")
    assert from_path.graph.fingerprint == from_frame.graph.fingerprint == events[-1]["summary"]["fingerprint"]


def test_islands_by_rule(smallarea, squares):
    done, events = smallarea("areas", "adjacency", squares, "--islands", "error", "--json")
    assert done.exit_code == 13
    assert events[-1]["family"] == "GraphProblem"
    done, events = smallarea("areas", "adjacency", squares, "--islands", "nearest", "--json")
    assert events[-1]["summary"]["n_links_added"] == 1
    assert any(event["text"].startswith("Linked '13'") for event in events if event["type"] == "info")


def test_broken_polygons_stop_a_graph_and_leave_the_existing_output(smallarea, broken, tmp_path):
    graph = tmp_path / "graph.json"
    graph.write_text("old")
    done, events = smallarea("areas", "adjacency", broken, "--id-field", "code", "--graph", graph, "--json")
    assert done.exit_code == 10
    assert "'bow'" in events[-1]["text"]
    assert graph.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.gpkg", "graph.json"]


def test_errors_for_people_are_one_message_without_a_traceback(smallarea, tmp_path):
    done, _ = smallarea("areas", "check", tmp_path / "none.gpkg")
    assert done.exit_code == 10
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr
    done, _ = smallarea("areas", "check", tmp_path / "none.gpkg", "--debug")
    assert "Traceback" in done.stderr


def test_people_get_the_result_on_standard_output_and_the_rest_beside_it(smallarea, squares, tmp_path):
    done, _ = smallarea("areas", "adjacency", squares, "--graph", tmp_path / "g.json")
    assert "n edges" in done.stdout
    assert str(tmp_path / "g.json") in done.stdout
    assert "%" in done.stderr
    assert "%" not in done.stdout


def test_wrong_measures_and_folders_are_refused(squares, tmp_path):
    with pytest.raises(JobProblem, match="min_gap"):
        check_areas(squares, min_gap=-1.0)
    with pytest.raises(OutputProblem, match="does not exist"):
        check_areas(squares, output=tmp_path / "none" / "x.gpkg")


def test_progress_reaches_its_end_and_may_cancel(squares):
    seen = []
    check_areas(squares, progress=lambda percent, text: seen.append((percent, text)))
    percents = [percent for percent, _ in seen]
    assert percents == sorted(percents)
    assert all(0 <= percent <= 100 and text for percent, text in seen)
