"""What was done to a map is said, from every way to it."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from smallarea.areas import AreaGraph
from smallarea.areas.changes import change_notes, first_few
from smallarea.workflows import task_function


def test_a_distance_that_could_not_be_measured() -> None:
    graph = AreaGraph.from_edges(["a", "b"], np.array([[0, 1]]), {"links_added": [["a", "b", None], ["b", "a", 12.4]]})
    assert change_notes(None, graph) == ("Linked 'a' to 'b'.", "Linked 'b' to 'a', 12 m away.")
    assert change_notes(None, None) == ()


def test_the_rest_is_counted() -> None:
    assert first_few(str(i) for i in range(25))[-2:] == ("19", "And 5 more like these.")


def test_a_fit_says_what_it_repaired_and_linked() -> None:
    cells = [shapely.box(i, 0, i + 1, 1) for i in range(12)]
    cells[3] = shapely.Polygon([(3, 0), (4, 1), (4, 0), (3, 1)])
    cells.append(shapely.box(20, 20, 21, 21))
    generator = np.random.default_rng(3)
    frame = gpd.GeoDataFrame(
        {"code": [f"c{i}" for i in range(13)], "y": generator.normal(size=13), "v": 0.1},
        geometry=cells,
        crs="EPSG:3857",
    )
    result = task_function("fit")(
        frame, id_field="code", direct="y", variance="v", random_effect="iid", method="reml", repair=True,
        islands="nearest",
    )  # fmt: skip
    assert any("'c3'" in note and "valid" in note for note in result.notes)
    assert any(note.startswith("Linked 'c12'") for note in result.notes)
