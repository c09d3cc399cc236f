"""The library finds priors by geography and by name, and survives what lies in its folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from smallarea.areas import AreaGraph
from smallarea.errors import OutputProblem, PriorProblem
from smallarea.priors import SpatialPrior, family
from smallarea.priors.files.library import PriorLibrary, default_folder, locate, resolve
from smallarea.priors.files.prior_file import load_prior, save_prior

LINE = AreaGraph.from_edges(("a", "b", "c"), np.array([[0, 1], [1, 2]]))
RING = AreaGraph.from_edges(("a", "b", "c"), np.array([[0, 1], [1, 2], [0, 2]]))
LARGER = AreaGraph.from_edges(("a", "b", "d", "e"), np.array([[0, 1], [1, 2], [2, 3]]))


def made(architecture: str = "decoder", graph: AreaGraph = LINE, scale: float = 1.0, **changes) -> SpatialPrior:
    weights = {"w": np.full((3, 3), scale, dtype=np.float32)}
    return SpatialPrior(architecture, family("car"), graph.ids, graph.edges, {"width": 3}, weights, **changes)


@pytest.fixture
def library(tmp_path: Path) -> PriorLibrary:
    return PriorLibrary(tmp_path / "some" / "priors")


def test_an_absent_library_is_empty(library: PriorLibrary) -> None:
    assert library.entries() == ()
    assert not library.folder.exists()


def test_names_tell_what_a_prior_is(library: PriorLibrary) -> None:
    prior = made()
    path = library.add(prior)
    assert path.name.startswith(f"decoder-car-{LINE.fingerprint[:16]}-")
    assert [entry.name for entry in library.entries()] == [path.stem]
    assert library.add(made(training={"seconds": 3.0})) == path
    assert load_prior(path).training == {"seconds": 3.0}
    assert library.add(made(scale=2.0)) != path
    assert len(library.entries()) == 2


def test_geographies_are_served_by_their_own_priors_first(library: PriorLibrary) -> None:
    for prior in (made(), made(graph=RING), made("graph-filter", LARGER)):
        library.add(prior)
    assert [entry.name.split("-car-")[0] for entry in library.find(LINE)] == ["decoder", "graph-filter"]
    assert library.find(LINE)[0].header.fingerprint == LINE.fingerprint
    turned = AreaGraph.from_edges(("c", "a", "b"), np.array([[0, 2], [1, 2]]))
    assert library.find(turned)[0].header.fingerprint == LINE.fingerprint
    only_transfer = AreaGraph.from_edges(("x", "y"), np.array([[0, 1]]))
    assert [entry.header.architecture for entry in library.find(only_transfer)] == ["graph-filter"]


def test_damaged_files_are_listed_as_such(library: PriorLibrary) -> None:
    path = library.add(made())
    (library.folder / "broken.safetensors").write_bytes(b"\x80\x04K\x01.")
    (library.folder / "folder.safetensors").mkdir()
    (library.folder / "notes.txt").write_text("not a prior")
    (library.folder / ".decoder.smallarea-tmp-0-1-1.safetensors").write_bytes(b"")
    found = {entry.name: entry for entry in library.entries()}
    assert set(found) == {"broken", "folder", path.stem}
    assert found["broken"].header is None
    assert "not a usable prior file" in found["broken"].problem
    assert "is not a file" in found["folder"].problem
    assert found[path.stem].header is not None
    with pytest.raises(PriorProblem, match="not a usable prior file"):
        library.choose("broken")
    assert [entry.name for entry in library.find(LINE)] == [path.stem]


def test_names_may_be_short_while_they_are_clear(library: PriorLibrary) -> None:
    first = library.add(made())
    assert resolve("decoder", LINE, library.folder).fingerprint == LINE.fingerprint
    assert locate(first.stem, library=library.folder) == first
    assert locate(first.name, library=library.folder) == first
    library.add(made(graph=RING))
    assert resolve("decoder-car", RING, library.folder).fingerprint == RING.fingerprint
    library.add(made(scale=2.0))
    with pytest.raises(PriorProblem, match="2 priors in the library"):
        resolve("decoder", LINE, library.folder)
    with pytest.raises(PriorProblem, match=r"no prior 'beta-vae' for this geography.*It has 'decoder-car"):
        resolve("beta-vae", LINE, library.folder)
    with pytest.raises(PriorProblem, match="no prior 'dec'"):
        resolve("dec", None, library.folder)


def test_a_prior_of_another_geography_is_refused_by_name_and_by_path(library: PriorLibrary, tmp_path: Path) -> None:
    path = library.add(made())
    with pytest.raises(PriorProblem, match=r"only in the prior: 'c'.*only on the map: 'd', 'e'"):
        resolve(path, LARGER)
    with pytest.raises(PriorProblem, match="have other neighbours: 'a', 'c'"):
        resolve(path.stem, RING, library.folder)
    with pytest.raises(PriorProblem, match="no prior 'decoder' for this geography"):
        resolve("decoder", LARGER, library.folder)
    save_prior(tmp_path / "filter.safetensors", made("graph-filter"))
    assert resolve(tmp_path / "filter.safetensors", LARGER).transfers


def test_a_path_is_not_looked_for_in_the_library(library: PriorLibrary, tmp_path: Path) -> None:
    library.add(made())
    with pytest.raises(PriorProblem, match="No such file"):
        resolve(tmp_path / "decoder", LINE, library.folder)
    with pytest.raises(PriorProblem, match="No such file"):
        resolve("../decoder", LINE, library.folder)


def test_a_library_that_is_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(PriorProblem, match="Cannot read the library"):
        PriorLibrary(file).entries()
    with pytest.raises(OutputProblem, match="Cannot make the library"):
        PriorLibrary(file).add(made())


def test_the_default_folder_is_where_the_system_keeps_data() -> None:
    home = Path(os.path.expanduser("~"))
    assert default_folder({"SMALLAREA_PRIORS": "/p", "XDG_DATA_HOME": "/x"}, "linux") == Path("/p")
    assert default_folder({"XDG_DATA_HOME": "/x"}, "linux") == Path("/x/smallarea/priors")
    assert default_folder({"XDG_DATA_HOME": "x"}, "linux") == home / ".local/share/smallarea/priors"
    assert default_folder({}, "linux") == home / ".local/share/smallarea/priors"
    assert default_folder({}, "darwin") == home / "Library/Application Support/smallarea/priors"
    assert default_folder({"APPDATA": "/roaming"}, "win32") == Path("/roaming/smallarea/priors")
    assert default_folder({}, "win32").parts[-2:] == ("smallarea", "priors")
