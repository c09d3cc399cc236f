"""The graph: its invariants, its identity, and files that are not what they say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from smallarea.areas import AreaGraph
from smallarea.areas import graph as graph_module
from smallarea.errors import GraphProblem, OutputProblem

IDS = ("b", "a", "d", "c", "e")
EDGES = [(0, 1), (1, 2), (3, 0)]


@pytest.fixture
def graph() -> AreaGraph:
    return AreaGraph.from_edges(IDS, EDGES, {"contiguity": "queen"})


def test_derived_facts(graph: AreaGraph) -> None:
    assert graph.edges.tolist() == [[0, 1], [0, 3], [1, 2]]
    assert graph.degrees.tolist() == [2, 2, 1, 1, 0]
    assert graph.islands == ("e",)
    assert graph.n_components == 2
    assert graph.component_labels.tolist() == [0, 0, 0, 0, 1]


def test_adjacency_is_a_symmetric_zero_one_matrix(graph: AreaGraph) -> None:
    dense = graph.adjacency.toarray()
    expected = np.zeros((5, 5))
    for i, j in EDGES:
        expected[i, j] = expected[j, i] = 1.0
    assert isinstance(graph.adjacency, sp.csr_array)
    assert graph.adjacency.dtype == np.float64
    np.testing.assert_array_equal(dense, expected)


def test_either_direction_and_repetition_give_the_same_graph(graph: AreaGraph) -> None:
    again = AreaGraph.from_edges(IDS, np.array([(1, 0), (0, 1), (2, 1), (0, 3)]))
    assert again == graph
    assert hash(again) == hash(graph)


def test_a_graph_without_edges() -> None:
    lonely = AreaGraph.from_edges(["x", "y"], [])
    assert lonely.n_components == 2
    assert lonely.adjacency.shape == (2, 2)
    assert lonely.islands == ("x", "y")


def test_arrays_cannot_be_changed(graph: AreaGraph) -> None:
    for array in (graph.edges, graph.degrees, graph.component_labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9


def test_the_caller_keeps_its_own_array() -> None:
    mine = np.array([[0, 1]])
    graph = AreaGraph(("x", "y"), mine)
    mine[0, 1] = 0
    assert graph.edges.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("ids", "edges", "message"),
    [
        (("x", "x"), [(0, 1)], "repeated: 'x'"),
        (("x", "y"), [(1, 1)], "own neighbours: 'y'"),
        (("x", "y"), [(0, 2)], "outside 0 to 1"),
        (("x", "y"), [(-1, 0)], "outside 0 to 1"),
        (("x", "y"), [(0.5, 1.0)], "whole numbers"),
        (("x", "y"), [(0, 1, 1)], "shape"),
        ((1, 2), [(0, 1)], "Area ids are text"),
    ],
)
def test_bad_edges_and_ids_are_refused(ids: tuple, edges: list, message: str) -> None:
    with pytest.raises(GraphProblem, match=message):
        AreaGraph.from_edges(ids, edges)


def test_from_adjacency_takes_what_adjacency_gives(graph: AreaGraph) -> None:
    assert AreaGraph.from_adjacency(IDS, graph.adjacency) == graph
    assert AreaGraph.from_adjacency(IDS, 3.5 * graph.adjacency.toarray()) == graph


def test_from_adjacency_names_what_is_not_symmetric() -> None:
    with pytest.raises(GraphProblem, match="not symmetric at 'a', 'b'"):
        AreaGraph.from_adjacency(["a", "b", "c"], np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]]))
    with pytest.raises(GraphProblem, match=r"shape \(2, 2\)"):
        AreaGraph.from_adjacency(["a", "b", "c"], np.zeros((2, 2)))


def test_fingerprint_ignores_order_and_nothing_else(graph: AreaGraph) -> None:
    shuffled = graph.reorder(["e", "c", "a", "d", "b"])
    assert shuffled != graph
    assert shuffled.fingerprint == graph.fingerprint
    fewer = AreaGraph.from_edges(IDS, EDGES[:2])
    renamed = AreaGraph.from_edges(("b", "a", "d", "c", "E"), EDGES)
    assert len({graph.fingerprint, fewer.fingerprint, renamed.fingerprint}) == 3


def test_fingerprint_is_the_same_on_every_machine(graph: AreaGraph) -> None:
    assert graph.fingerprint == hashlib.sha256(b'[["a","b","c","d","e"],[["a","b"],["a","d"],["b","c"]]]').hexdigest()


def test_reorder_keeps_neighbours_and_provenance(graph: AreaGraph) -> None:
    order = ("e", "c", "a", "d", "b")
    shuffled = graph.reorder(order)
    at = [IDS.index(i) for i in order]
    np.testing.assert_array_equal(shuffled.adjacency.toarray(), graph.adjacency.toarray()[np.ix_(at, at)])
    assert shuffled.provenance == graph.provenance
    assert shuffled.reorder(IDS) == graph


def test_reorder_names_the_difference(graph: AreaGraph) -> None:
    with pytest.raises(GraphProblem, match="1 only in the graph: 'e'; 1 only among the areas: 'z'"):
        graph.reorder(["b", "a", "d", "c", "z"])
    with pytest.raises(GraphProblem, match="repeated"):
        graph.reorder(["b", "a", "d", "c", "c"])


def test_save_and_load(graph: AreaGraph, tmp_path: Path) -> None:
    odd = AreaGraph.from_edges(["ñ", "é ", "001", "日本", '"'], EDGES, {"links_added": [["ñ", "001", 12.5]]})
    for one in (graph, odd, AreaGraph.from_edges([], [])):
        one.save(tmp_path / "graph.json")
        back = AreaGraph.load(tmp_path / "graph.json")
        assert back == one
        assert back.provenance == one.provenance
        assert back.fingerprint == one.fingerprint


def test_save_into_a_missing_folder(graph: AreaGraph, tmp_path: Path) -> None:
    with pytest.raises(OutputProblem, match="does not exist"):
        graph.save(tmp_path / "nowhere" / "graph.json")


def test_provenance_must_be_json() -> None:
    with pytest.raises(GraphProblem, match="JSON"):
        AreaGraph.from_edges(["x"], [], {"shape": object()})


def _saved(graph: AreaGraph, path: Path) -> dict:
    graph.save(path)
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", "other", "not a graph file"),
        ("version", 2, "format version '2'"),
        ("ids", ["a", "b", "c", "d", "f"], "fingerprint differs"),
        ("ids", ["a", "b"], "outside 0 to 1"),
        ("ids", [1, 2, 3, 4, 5], "ids are not a list of texts"),
        ("ids", "abcde", "ids are not a list of texts"),
        ("edges", [[0, 1]], "fingerprint differs"),
        ("edges", [[0, 1.0]], "not pairs of positions"),
        ("edges", [[0, True]], "not pairs of positions"),
        ("edges", [[0, 1, 2]], "not pairs of positions"),
        ("edges", {"0": 1}, "not pairs of positions"),
        ("edges", [[0, 10**30]], "too large"),
        ("edges", [[2, 2]], "own neighbours"),
        ("provenance", [1], "not pairs of positions|damaged"),
        ("fingerprint", None, "fingerprint differs"),
    ],
)
def test_a_changed_file_is_refused(graph: AreaGraph, tmp_path: Path, key: str, value: object, message: str) -> None:
    path = tmp_path / "graph.json"
    content = _saved(graph, path)
    content[key] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(GraphProblem, match=message):
        AreaGraph.load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe",
        b"[1, 2]",
        b"null",
        b'{"format": "smallarea-graph", "version": 1',
        b"[" * 200_000,
        b'{"format": "smallarea-graph", "version": ' + b"9" * 10_000 + b"}",
    ],
    ids=["empty", "binary", "list", "null", "cut off", "deep", "endless number"],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(content)
    with pytest.raises(GraphProblem, match=r"graph\.json"):
        AreaGraph.load(path)


def test_an_oversized_file_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: AreaGraph) -> None:
    path = tmp_path / "graph.json"
    graph.save(path)
    monkeypatch.setattr(graph_module, "LARGEST_FILE", 100)
    with pytest.raises(GraphProblem, match="more than any graph"):
        AreaGraph.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(GraphProblem, match="Cannot read the graph file"):
        AreaGraph.load(tmp_path / "graph.json")
