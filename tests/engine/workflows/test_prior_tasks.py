"""Training, proving, showing, listing and exporting spatial priors."""

from __future__ import annotations

import dataclasses
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import smallarea
from shapely.geometry import box
from smallarea.areas import AreaGraph
from smallarea.errors import Cancelled, EngineUnavailable, JobProblem, OutputProblem, PriorProblem
from smallarea.priors.files.library import PriorLibrary
from smallarea.priors.files.prior_file import load_prior, save_prior

pytest.importorskip("jax")


@pytest.fixture(scope="module")
def squares() -> gpd.GeoDataFrame:
    """Thirty squares of a kilometre, six by five, and an island."""
    cells = [box(x, y, x + 1000, y + 1000) for y in range(0, 5000, 1000) for x in range(0, 6000, 1000)]
    cells.append(box(20_000, 20_000, 21_000, 21_000))
    codes = [f"{k:03d}" for k in range(len(cells))]
    return gpd.GeoDataFrame({"code": codes, "people": range(len(cells))}, geometry=cells, crs="EPSG:32617")


@pytest.fixture(scope="module")
def trained(squares, tmp_path_factory):
    """A certified graph filter, the folder of its file, and what was told on the way."""
    folder = tmp_path_factory.mktemp("prior")
    told = []
    result = smallarea.train_prior(
        squares,
        id_field="code",
        upper=0.5,
        draws=400,
        output=folder / "filter.safetensors",
        progress=lambda percent, text: told.append((percent, text)),
    )
    return result, folder, told


def test_training_writes_a_certified_prior(trained) -> None:
    result, folder, told = trained
    assert result.certificate.passed
    assert result.warnings == ()
    prior = load_prior(folder / "filter.safetensors")
    assert prior.architecture == "graph-filter"
    assert prior.certificate["passed"] is True
    assert prior.certificate["draws"] == 400
    assert prior.fingerprint == result.graph.fingerprint
    percents = [percent for percent, _ in told]
    assert percents == sorted(percents)
    assert percents[-1] == 100.0


def test_the_summary_says_what_it_is_and_whether_it_passed(trained) -> None:
    summary = trained[0].summary
    assert summary["architecture"] == "graph-filter"
    assert summary["rho"] == "0 to 0.5, uniform"
    assert (summary["n_areas"], summary["n_islands"]) == (31, 1)
    assert (summary["certificate"], summary["passed"], summary["n_failures"]) == ("passed", True, 0)
    assert summary["serves"] == "any geography"
    assert summary["settings"] == {"degree": 16, "cut": 0.95}
    assert 0.0 < summary["covariance_error"] < 0.01
    assert 0.0 < summary["posterior_difference"] < 0.05


def test_the_same_call_gives_the_same_file(squares, tmp_path) -> None:
    for name in ("one", "two"):
        smallarea.train_prior(squares, id_field="code", certify=False, output=tmp_path / f"{name}.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_a_network_is_trained_from_a_graph_and_goes_to_the_library(trained, tmp_path) -> None:
    pytest.importorskip("torch")
    result = smallarea.train_prior(
        graph=trained[0].graph, architecture="decoder", steps=40, certify=False, keep=True, library=tmp_path / "library"
    )
    (file,) = (tmp_path / "library").iterdir()
    assert file.name.startswith("decoder-car-")
    assert load_prior(file).fingerprint == result.graph.fingerprint
    assert load_prior(file).settings["steps"] == 40
    assert "no fidelity certificate" in result.warnings[0]
    shown = smallarea.show_prior("decoder", library=tmp_path / "library")
    assert shown.summary["certificate"] == "none"
    with pytest.raises(PriorProblem, match="no certificate to report"):
        smallarea.show_prior("decoder", library=tmp_path / "library", report=tmp_path / "r.html")


def test_verifying_on_another_geography_makes_its_map_and_its_copy(trained, squares, tmp_path) -> None:
    _, folder, _ = trained
    elsewhere = squares.iloc[[*range(12), 30]]
    result = smallarea.verify_prior(
        folder / "filter.safetensors",
        elsewhere,
        id_field="code",
        draws=400,
        output=tmp_path / "c.gpkg",
        report=tmp_path / "c.html",
        certified=tmp_path / "c.safetensors",
    )
    assert result.certificate.passed
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "graph-filter" in page
    assert "<svg" in page or "data:image/png" in page
    layer = gpd.read_file(tmp_path / "c.gpkg", layer="prior_certificate")
    assert list(layer["code"]) == list(elsewhere["code"])
    assert layer["n_neighbours"].tolist() == result.graph.degrees.tolist()
    assert np.abs(layer["variance_ratio"].iloc[:-1] - 1.0).max() < 0.01
    assert np.isnan(layer["variance_ratio"].iloc[-1])
    with closing(sqlite3.connect(tmp_path / "c.gpkg")) as connection:
        styles = connection.execute("SELECT styleName, useAsDefault FROM layer_styles ORDER BY id").fetchall()
    assert [name for name, _ in styles] == ["Variance ratio", "Neighbour correlation"]
    copy = load_prior(tmp_path / "c.safetensors")
    assert copy.ids == tuple(elsewhere["code"])
    assert copy.certificate["fingerprint"] == copy.fingerprint == result.graph.fingerprint
    assert smallarea.show_prior(tmp_path / "c.safetensors").certificate.passed


def test_without_a_geography_the_priors_own_is_meant(trained) -> None:
    result = smallarea.verify_prior(trained[1] / "filter.safetensors", draws=400)
    assert result.graph.fingerprint == trained[0].graph.fingerprint
    assert result.certificate.to_json() == trained[0].certificate.to_json()


def test_a_prior_that_is_wrong_is_said_to_be_so_loudly(trained, tmp_path) -> None:
    prior = trained[0].prior
    wrong = dataclasses.replace(prior, weights={"coefficients": prior.weights["coefficients"] * np.float32(1.3)})
    result = smallarea.verify_prior(wrong, draws=400, certified=tmp_path / "w.safetensors")
    assert result.summary["passed"] is False
    assert "DOES NOT PASS" in result.warnings[0]
    assert len(result.warnings) == 1 + result.summary["n_failures"]
    shown = smallarea.show_prior(tmp_path / "w.safetensors", report=tmp_path / "w.html")
    assert "not" in (tmp_path / "w.html").read_text(encoding="utf-8").lower()
    assert shown.warnings == result.warnings


def test_a_certificate_of_another_prior_is_refused(trained, tmp_path) -> None:
    prior = trained[0].prior
    foreign = {**prior.certificate, "fingerprint": "0" * 64}
    save_prior(tmp_path / "x.safetensors", dataclasses.replace(prior, certificate=foreign))
    with pytest.raises(PriorProblem, match="that of another prior or geography"):
        smallarea.show_prior(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "broken",
    [{}, {"format": 1}, {"format": 2}, {"points": 3}, {"points": [3]}, {"points": [{}]}, {"areas": "x"},
     {"areas": {"ids": 3}}, {"areas": {"ids": [], "variance_ratio": {}, "neighbour_error": []}}, {"family": []},
     {"nodes": "many"}, {"draws": [1]}, {"parameter": None}],
)  # fmt: skip
def test_a_malformed_certificate_is_refused_or_does_no_harm(trained, tmp_path, broken) -> None:
    prior = trained[0].prior
    content = {**prior.certificate, **broken} if len(broken) and "format" not in broken else broken
    save_prior(tmp_path / "x.safetensors", dataclasses.replace(prior, certificate=content))
    try:
        shown = smallarea.show_prior(tmp_path / "x.safetensors", report=tmp_path / "r.html")
    except PriorProblem:
        assert not (tmp_path / "r.html").exists()
        return
    assert shown.summary["n_areas"] == 31


def test_the_library_is_listed_with_its_damage(trained, squares, tmp_path) -> None:
    library = tmp_path / "library"
    empty = smallarea.list_priors(library=library)
    assert (empty.summary["n_priors"], len(empty.table)) == (0, 0)
    PriorLibrary(library).add(trained[0].prior)
    smallarea.train_prior(squares, id_field="code", family="icar", certify=False, keep=True, library=library, degree=8)
    (library / "damaged.safetensors").write_bytes(b"x" * 100)
    found = smallarea.list_priors(library=library, csv=tmp_path / "list.csv")
    assert (found.summary["n_priors"], found.summary["n_damaged"]) == (2, 1)
    assert "damaged.safetensors" in found.warnings[0]
    table = found.table.set_index("name")
    assert sorted(table["certificate"]) == ["", "none", "passed"]
    assert set(table.loc[table["problem"] == "", "serves"]) == {"any geography"}
    assert (tmp_path / "list.csv").read_text().count("\n") == 4
    serving = smallarea.list_priors(squares, id_field="code", library=library)
    assert serving.table["serves"].tolist() == ["this geography", "this geography"]
    smallarea.export_prior("graph-filter-icar", tmp_path / "out.safetensors", library=library)
    assert load_prior(tmp_path / "out.safetensors").settings["degree"] == 8
    with pytest.raises(PriorProblem, match="2 priors in the library"):
        smallarea.export_prior("graph-filter", tmp_path / "x.safetensors", library=library)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"architecture": "gan"}, JobProblem, "no architecture 'gan'"),
        ({"latent": 3}, JobProblem, "graph-filter has no 'latent'"),
        ({"steps": 3, "device": "cpu"}, JobProblem, "has no 'steps', 'device'"),
        ({"architecture": "decoder", "degree": 3}, JobProblem, "decoder has no 'degree'"),
        ({"certify": False, "report": "r.html"}, JobProblem, "certify"),
        ({"library": "somewhere"}, JobProblem, "set 'keep' too"),
        ({"draws": 10}, JobProblem, "draws must be"),
        ({"seed": -1}, JobProblem, "seed must be"),
        ({"areas": None}, JobProblem, "trained for a geography"),
        ({"output": "prior.pkl"}, OutputProblem, "must end in .safetensors"),
        ({"family": "sar"}, PriorProblem, "Unknown spatial prior 'sar'"),
        ({"upper": 1.0}, PriorProblem, "lies in"),
        ({"family": "icar", "upper": 0.5}, PriorProblem, "no hyperparameter"),
        ({"family": "gp"}, PriorProblem, "cannot imitate"),
        ({"degree": 0}, PriorProblem, "degree"),
    ],
)
def test_each_mistake_has_its_message_and_leaves_nothing(squares, tmp_path, monkeypatch, change, error, said) -> None:
    monkeypatch.chdir(tmp_path)
    call = {"areas": squares, "id_field": "code", "draws": 400, "output": "p.safetensors", **change}
    with pytest.raises(error, match=said):
        smallarea.train_prior(**call)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_cannot_be_made_is_said_before_the_training(squares, tmp_path) -> None:
    (tmp_path / "library").write_text("a file")
    told = []
    with pytest.raises(OutputProblem, match="Cannot make the library"):
        smallarea.train_prior(
            squares, id_field="code", keep=True, library=tmp_path / "library", output=tmp_path / "p.safetensors",
            progress=lambda percent, text: told.append(percent),
        )  # fmt: skip
    assert told == []
    assert [path.name for path in tmp_path.iterdir()] == ["library"]


def test_a_network_refuses_another_geography(trained, squares, tmp_path) -> None:
    pytest.importorskip("torch")
    smallarea.train_prior(
        graph=trained[0].graph, architecture="decoder", steps=5, certify=False, output=tmp_path / "d.safetensors"
    )
    with pytest.raises(PriorProblem, match="another geography"):
        smallarea.verify_prior(tmp_path / "d.safetensors", squares.iloc[:20], id_field="code", draws=400)
    with pytest.raises(JobProblem, match="no polygons"):
        smallarea.verify_prior(tmp_path / "d.safetensors", draws=400, output=tmp_path / "c.gpkg")


def test_a_cancelled_training_leaves_nothing(squares, tmp_path) -> None:
    def stop(percent: float, text: str) -> None:
        if percent >= 60.0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        smallarea.train_prior(
            squares, id_field="code", draws=400, output=tmp_path / "p.safetensors", keep=True,
            library=tmp_path / "library", progress=stop,
        )  # fmt: skip
    assert [path for path in tmp_path.rglob("*") if Path(path).is_file()] == []


def test_a_saved_graph_is_put_into_the_order_of_the_polygons(trained, squares, tmp_path) -> None:
    graph = trained[0].graph
    graph.reorder(tuple(reversed(graph.ids))).save(tmp_path / "g.json")
    result = smallarea.train_prior(squares, id_field="code", graph=tmp_path / "g.json", certify=False)
    assert result.graph.ids == tuple(squares["code"])
    assert isinstance(result.graph, AreaGraph)


def test_without_jax_a_filter_is_made_but_not_proved(squares, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    made = smallarea.train_prior(squares, id_field="code", certify=False, output=tmp_path / "p.safetensors")
    assert made.summary["certificate"] == "none"
    for call in (
        lambda: smallarea.train_prior(squares, id_field="code", output=tmp_path / "q.safetensors"),
        lambda: smallarea.verify_prior(tmp_path / "p.safetensors", certified=tmp_path / "q.safetensors"),
    ):
        with pytest.raises(EngineUnavailable, match=r'pip install "smallarea\[hmc\]"'):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


def test_without_torch_a_network_is_refused_with_the_remedy(squares, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineUnavailable, match=r'pip install "smallarea\[learned\]"'):
        smallarea.train_prior(squares, id_field="code", architecture="decoder", output=tmp_path / "p.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_stopped_training_goes_on_from_its_checkpoint(trained, tmp_path) -> None:
    pytest.importorskip("torch")
    call = {"graph": trained[0].graph, "architecture": "decoder", "steps": 30, "certify": False, "seed": 3}
    whole = smallarea.train_prior(**call)

    def stop(percent: float, text: str) -> None:
        if percent > 30.0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        smallarea.train_prior(**call, checkpoint=tmp_path / "c.npz", output=tmp_path / "p.safetensors", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]
    rest = smallarea.train_prior(**call, checkpoint=tmp_path / "c.npz")
    for name, weight in whole.prior.weights.items():
        np.testing.assert_array_equal(rest.prior.weights[name], weight)


@pytest.mark.parametrize(
    "record",
    [{"losses": "<script>"}, {"losses": [[1, 2]]}, {"losses": [[1, None, {}]]}, {"losses": {"a": 1}}, {"seconds": "1"},
     {"device": "<script>"}, {"<img src=x>": "<b>", "versions": {"<script>": 1}, "steps": ["<script>"]}],
)  # fmt: skip
def test_a_hostile_record_is_refused_or_shown_as_text(trained, tmp_path, record) -> None:
    save_prior(tmp_path / "x.safetensors", dataclasses.replace(trained[0].prior, training=record))
    page = tmp_path / "r.html"
    try:
        smallarea.show_prior(tmp_path / "x.safetensors", report=page)
    except PriorProblem:
        assert not page.exists()
        return
    assert "<script" not in page.read_text(encoding="utf-8")
    assert "<img src=x>" not in page.read_text(encoding="utf-8")
