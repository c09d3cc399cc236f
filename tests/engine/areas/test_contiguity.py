"""Neighbours: against hand counts, on maps that trip other methods, and whatever the order of the rows."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely import LineString, Polygon, box
from smallarea.areas import Areas, build_adjacency, edges_layer, read_areas
from smallarea.errors import Cancelled, GeometryProblem, GraphProblem


def neighbours(layer, **rules) -> set[tuple[str, str]]:
    areas = layer if isinstance(layer, Areas) else read_areas(layer, id_field="id")
    graph = build_adjacency(areas, **rules)
    return {tuple(sorted((graph.ids[i], graph.ids[j]))) for i, j in graph.edges}


def test_queen_and_rook_on_a_grid(grid) -> None:
    queen, rook = neighbours(grid(3, 4)), neighbours(grid(3, 4), contiguity="rook")
    assert len(rook) == 3 * 3 + 2 * 4
    assert queen - rook == {
        tuple(sorted((f"r{r}c{c}", f"r{r + 1}c{c + d}")))
        for r in range(2)
        for c in range(4)
        for d in (-1, 1)
        if 0 <= c + d < 4
    }


def test_t_junction_without_a_vertex(draw) -> None:
    layer = draw({"long": box(0, 0, 4, 1), "left": box(0, 1, 2, 2), "right": box(2, 1, 4, 2)})
    expected = {("left", "long"), ("long", "right"), ("left", "right")}
    assert neighbours(layer) == neighbours(layer, contiguity="rook") == expected


def test_a_t_junction_off_the_line_by_rounding_still_joins(draw) -> None:
    # (1/3, 1/9) cannot be exactly on the slanted edge; one of the two small areas overlaps or leaves it.
    corner, third, end = (0.0, 0.0), (1 / 3 * 0.3, 1 / 9 * 0.3), (0.3, 0.1)
    layer = draw(
        {
            "below": Polygon([corner, end, (0.3, -1)]),
            "left": Polygon([corner, third, (0.0, 1.0)]),
            "right": Polygon([third, end, (0.3, 1.0), (0.0, 1.0)]),
        }
    )
    assert neighbours(layer) == {("below", "left"), ("below", "right"), ("left", "right")}


def test_a_hole_filled_by_another_area(draw) -> None:
    ring = box(0, 0, 3, 3).difference(box(1, 1, 2, 2))
    assert neighbours(draw({"ring": ring, "core": box(1, 1, 2, 2)}), contiguity="rook") == {("core", "ring")}


def test_areas_of_several_parts(draw) -> None:
    two = shapely.union(box(0, 0, 1, 1), box(5, 0, 6, 1))
    layer = draw({"two": two, "near": box(1, 0, 2, 1), "far": box(6, 0, 7, 1)})
    assert neighbours(layer) == {("near", "two"), ("far", "two")}


def test_a_gap_of_any_width_separates(draw) -> None:
    assert neighbours(draw({"a": box(0, 0, 1, 1), "b": box(1 + 1e-9, 0, 2, 1)})) == set()


def test_overlapping_areas_are_neighbours_and_named(draw) -> None:
    layer = draw({"a": box(0, 0, 1, 1), "b": box(1 - 1e-9, 0, 2, 1), "c": box(2, 0, 3, 1)})
    for rule in ("queen", "rook"):
        graph = build_adjacency(read_areas(layer, id_field="id"), rule)
        assert graph.edges.tolist() == [[0, 1], [1, 2]]
        assert graph.provenance["overlapping"] == [["a", "b"]]


def test_corners_that_overlap_by_rounding_are_no_rook_neighbours(draw) -> None:
    layer = draw({"a": box(0, 0, 1, 1), "b": box(1 - 1e-12, 1 - 1e-12, 2, 2)})
    assert neighbours(layer, contiguity="queen") == {("a", "b")}
    assert neighbours(layer, contiguity="rook") == set()


@pytest.mark.parametrize("contiguity", ["queen", "rook"])
@pytest.mark.parametrize("islands", ["own_component", "nearest"])
def test_the_order_of_the_rows_does_not_matter(grid, contiguity: str, islands: str) -> None:
    layer = grid(4, 5).drop(index=[6, 7, 11, 13])  # leaves r2c2 alone in the middle, with ties for the nearest
    graph = build_adjacency(read_areas(layer, id_field="id"), contiguity, islands)
    order = np.random.default_rng(5).permutation(len(layer))
    again = build_adjacency(read_areas(layer.iloc[order], id_field="id"), contiguity, islands)
    assert again.reorder(graph.ids) == graph
    assert again.fingerprint == graph.fingerprint


def test_relabelling_changes_names_only(grid) -> None:
    layer = grid(3, 3)
    graph = build_adjacency(read_areas(layer, id_field="id"))
    renamed = build_adjacency(read_areas(layer.assign(id=[f"x{k}" for k in range(9)]), id_field="id"))
    np.testing.assert_array_equal(renamed.edges, graph.edges)


def test_one_area(draw) -> None:
    graph = build_adjacency(read_areas(draw({"a": box(0, 0, 1, 1)}), id_field="id"), islands="nearest")
    assert graph.islands == ("a",)


def test_invalid_polygons_are_refused(draw) -> None:
    bowtie = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    with pytest.raises(GeometryProblem, match="Invalid polygons: 'b'"):
        build_adjacency(Areas(("a", "b"), draw({"a": box(0, 0, 1, 1), "b": bowtie})))


@pytest.mark.parametrize("rules", [{"contiguity": "bishop"}, {"islands": "drop"}])
def test_unknown_rules(grid, rules: dict[str, str]) -> None:
    with pytest.raises(GraphProblem, match="Choose one of"):
        build_adjacency(read_areas(grid(1, 2)), **rules)


def test_progress_and_cancelling(grid) -> None:
    seen: list[float] = []
    build_adjacency(read_areas(grid()), progress=lambda percent, text: seen.append(percent))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 100.0)

    def stop(percent: float, text: str) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        build_adjacency(read_areas(grid()), progress=stop)


class TestIslands:
    @pytest.fixture
    def archipelago(self, draw):
        """Two mainland areas, a near isle north of the right one, a far isle beyond the near one."""
        return draw(
            {
                "main_w": box(0, 0, 1000, 1000),
                "main_e": box(1000, 0, 2000, 1000),
                "near": box(1200, 1300, 1400, 1500),
                "far": box(1200, 1600, 1300, 1700),
            }
        )

    def test_own_component(self, archipelago) -> None:
        graph = build_adjacency(read_areas(archipelago, id_field="id"))
        assert graph.islands == ("near", "far")
        assert graph.n_components == 3
        assert graph.provenance["links_added"] == []

    def test_nearest_links_by_the_distance_of_borders(self, archipelago) -> None:
        graph = build_adjacency(read_areas(archipelago, id_field="id"), islands="nearest")
        assert graph.islands == ()
        links = graph.provenance["links_added"]
        # Both isles are nearest to each other (100 m), the mainland is 300 m away.
        assert [link[:2] for link in links] == [["near", "far"], ["far", "near"]]
        # On the ground, that is: so far from the middle of the zone, UTM is a few per mille too long.
        assert [link[2] for link in links] == pytest.approx([100.0, 100.0], rel=5e-3)
        assert len(graph.edges) == 2

    def test_the_border_counts_and_not_the_centre(self, draw) -> None:
        layer = draw(
            {
                "vast": box(0, 0, 100_000, 100_000),
                "isle": box(50_000, 100_500, 50_100, 100_600),
                "dot": box(50_000, 101_700, 50_100, 101_800),
            }
        )
        graph = build_adjacency(read_areas(layer, id_field="id"), islands="nearest")
        assert ["isle", "vast"] in [link[:2] for link in graph.provenance["links_added"]]

    def test_ties_go_to_the_first_id(self, draw) -> None:
        layer = draw(
            {
                "z": box(0, 0, 1, 1),
                "isle": box(2, 0, 3, 1),
                "b": box(4, 0, 5, 1),
                "y": box(0, 1, 1, 2),
                "c": box(4, 1, 5, 2),
            }
        )
        graph = build_adjacency(read_areas(layer, id_field="id"), islands="nearest")
        assert graph.provenance["links_added"][0][:2] == ["isle", "b"]

    def test_error_names_them(self, archipelago) -> None:
        with pytest.raises(GraphProblem, match="2 of 4 areas have no neighbour: 'near', 'far'"):
            build_adjacency(read_areas(archipelago, id_field="id"), islands="error")

    def test_error_is_silent_without_islands(self, grid) -> None:
        assert build_adjacency(read_areas(grid()), islands="error").islands == ()

    def test_nearest_needs_a_reference_system(self, archipelago) -> None:
        bare = read_areas(archipelago.set_crs(None, allow_override=True), id_field="id")
        assert build_adjacency(bare).islands == ("near", "far")
        with pytest.raises(GeometryProblem, match="'near', 'far' cannot be found"):
            build_adjacency(bare, islands="nearest")

    def test_feet_are_reported_in_metres(self, archipelago) -> None:
        feet = archipelago.set_crs("EPSG:2926", allow_override=True)
        feet.geometry = feet.geometry.translate(1_200_000, 200_000)
        graph = build_adjacency(read_areas(feet, id_field="id"), islands="nearest")
        assert graph.provenance["links_added"][0][2] == pytest.approx(100 * 0.3048, rel=1e-3)


class TestIslandsOnTheGlobe:
    def linked(self, layer) -> dict[str, tuple[str, float]]:
        graph = build_adjacency(read_areas(layer, id_field="id"), islands="nearest")
        return {island: (other, metres) for island, other, metres in graph.provenance["links_added"]}

    def test_a_degree_of_longitude_is_short_in_the_north(self, draw) -> None:
        # At 70 degrees north, 2 degrees east are 76 km and 1 degree south is 111 km.
        layer = draw(
            {"isle": box(0, 70, 0.1, 70.1), "east": box(2.1, 70, 3, 70.1), "south": box(0, 68, 0.1, 69)}, "EPSG:4326"
        )
        other, metres = self.linked(layer)["isle"]
        assert other == "east"
        assert metres == pytest.approx(76_100, rel=0.01)

    def test_metres_declared_as_degrees(self, draw) -> None:
        layer = draw({"a": box(5e5, 4e6, 6e5, 4.1e6), "b": box(7e5, 4e6, 8e5, 4.1e6)}, "EPSG:4326")
        with pytest.raises(GeometryProblem, match=r"no usable|beyond 90 degrees"):
            build_adjacency(read_areas(layer, id_field="id"), islands="nearest")
        partly = draw({"a": box(0, 0, 1, 1), "b": box(5, 0, 6, 1), "c": box(0, 95, 1, 96)}, "EPSG:4326")
        with pytest.raises(GeometryProblem, match="'c' have latitudes beyond 90"):
            build_adjacency(read_areas(partly, id_field="id"), islands="nearest")

    def test_across_the_antimeridian(self, draw) -> None:
        layer = draw(
            {
                "isle": box(179.5, -17, 179.9, -16),
                "over": box(-179.8, -17, -179.5, -16),
                "here": box(177, -17, 178, -16),
            },
            "EPSG:4326",
        )
        other, metres = self.linked(layer)["isle"]
        assert other == "over"
        assert metres == pytest.approx(0.3 * 111_320 * np.cos(np.radians(17)), rel=0.01)

    def test_over_the_pole(self, draw) -> None:
        layer = draw(
            {"isle": box(0, 89, 10, 89.5), "beyond": box(180 - 10, 89, 180, 89.5), "south": box(0, 84, 10, 87)},
            "EPSG:4326",
        )
        other, metres = self.linked(layer)["isle"]
        assert other == "beyond"
        assert metres == pytest.approx(111_690 * np.sin(np.radians(80)), rel=0.001)

    def test_an_area_on_the_other_side_of_the_globe_is_not_near(self, draw) -> None:
        around_antipode = box(170, -10, 180, 10)
        layer = draw({"isle": box(-5, -1, 5, 1), "antipode": around_antipode, "mid": box(60, -1, 62, 1)}, "EPSG:4326")
        assert self.linked(layer)["isle"][0] == "mid"

    def test_a_long_edge_counts_between_its_vertices(self, draw) -> None:
        # The long coast has vertices only at its ends, 10 degrees away; the decoy is 1.5 degrees off.
        layer = draw(
            {"isle": box(0, 1, 0.1, 1.1), "coast": box(-10, -5, 10, 0), "decoy": box(1.6, 1, 1.7, 1.1)}, "EPSG:4326"
        )
        other, metres = self.linked(layer)["isle"]
        assert other == "coast"
        assert metres == pytest.approx(110_574, rel=0.01)

    def test_the_same_as_brute_force(self, draw) -> None:
        """Many squares on the globe, nearest by the geodesic distance of densified borders."""
        from pyproj import Geod

        generator = np.random.default_rng(11)
        centres = np.column_stack([generator.uniform(-179, 179, 40), generator.uniform(-75, 75, 40)])
        layer = draw({f"s{k:02d}": box(x, y, x + 0.5, y + 0.5) for k, (x, y) in enumerate(centres)}, "EPSG:4326")
        borders = [shapely.get_coordinates(shapely.segmentize(s.boundary, 0.05)) for s in layer.geometry]
        geod = Geod(ellps="WGS84")
        for k, (other, metres) in enumerate(self.linked(layer).values()):
            least = {}
            for j in range(40):
                if j != k:
                    a, b = np.repeat(borders[k], len(borders[j]), axis=0), np.tile(borders[j], (len(borders[k]), 1))
                    least[f"s{j:02d}"] = geod.inv(a[:, 0], a[:, 1], b[:, 0], b[:, 1])[2].min()
            # Spacing of the points bounds how far they may miss the true minimum.
            assert metres <= min(least.values()) + 1.0
            assert least[other] <= min(least.values()) + 6000.0


class TestAntimeridian:
    def test_areas_that_meet_at_180_degrees_are_neighbours(self, draw) -> None:
        layer = draw(
            {
                "west": box(179, 0, 180, 1),
                "east": box(-180, 0, -179, 1),
                "corner": box(-180, 1, -179, 2),
                "off": box(-180, 5, -179, 6),
            },
            "EPSG:4326",
        )
        assert neighbours(layer) == {("east", "west"), ("corner", "west"), ("corner", "east")}
        assert neighbours(layer, contiguity="rook") == {("east", "west"), ("corner", "east")}
        graph = build_adjacency(read_areas(layer, id_field="id"))
        assert graph.provenance["across_antimeridian"] == [["west", "east"], ["west", "corner"]]

    def test_not_in_metres(self, draw) -> None:
        assert neighbours(draw({"west": box(179, 0, 180, 1), "east": box(-180, 0, -179, 1)})) == set()

    def test_one_area_on_both_sides_is_not_its_own_neighbour(self, draw) -> None:
        both = shapely.union(box(179, 0, 180, 1), box(-180, 0, -179, 1))
        assert neighbours(draw({"both": both, "north": box(179, 1, 180, 2)}, "EPSG:4326")) == {("both", "north")}

    def test_a_polygon_drawn_around_the_world_is_cut(self, draw) -> None:
        wrong = Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)])
        layer = draw({"wrong": wrong, "london": box(0, 0, 1, 1), "next": box(-179, 0, -178, 1)}, "EPSG:4326")
        with pytest.raises(GeometryProblem, match=r"long way around the world.*'wrong'"):
            read_areas(layer, id_field="id")
        areas = read_areas(layer, id_field="id", repair=True)
        assert areas.shapes[0].equals(shapely.union(box(179, 0, 180, 1), box(-180, 0, -179, 1)))
        assert "'wrong' was redrawn" in areas.repairs[0]
        assert neighbours(areas) == {("next", "wrong")}

    def test_its_holes_stay_holes(self, draw) -> None:
        hole = [(-179.5, 0.4), (-179.2, 0.4), (-179.2, 0.6), (-179.5, 0.6)]
        wrong = Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)], [hole])
        areas = read_areas(draw({"wrong": wrong}, "EPSG:4326"), id_field="id", repair=True)
        assert shapely.area(areas.shapes[0]) == pytest.approx(2.0 - 0.3 * 0.2)

    def test_a_ring_around_the_pole_is_left_alone(self, draw) -> None:
        ring = Polygon([(-170, 80), (-60, 85), (60, 85), (170, 80)])
        areas = read_areas(draw({"ring": ring}, "EPSG:4326"), id_field="id", repair=True)
        assert areas.shapes[0].equals(ring)
        assert areas.repairs == ()

    def test_a_wide_area_with_short_edges_is_fine(self, draw) -> None:
        wide = shapely.segmentize(box(-180, 60, 180, 80), 10.0)
        assert read_areas(draw({"wide": wide}, "EPSG:4326"), id_field="id").ids == ("wide",)


class TestEdgesLayer:
    def test_lines_between_points_inside(self, grid) -> None:
        areas = read_areas(grid(2, 2), id_field="id")
        graph = build_adjacency(areas)
        layer = edges_layer(areas, graph)
        assert len(layer) == len(graph.edges) == 6
        assert layer.crs == areas.crs
        assert not layer["added"].any()
        shapes = dict(zip(areas.ids, areas.shapes, strict=True))
        for row in layer.itertuples():
            start, end = (shapely.Point(c) for c in row.geometry.coords)
            assert shapes[row.from_id].contains(start)
            assert shapes[row.to_id].contains(end)

    def test_ids_keep_their_type_and_the_graph_its_order(self, grid) -> None:
        areas = read_areas(grid(1, 3).assign(id=[30, 20, 10]), id_field="id")
        graph = build_adjacency(areas).reorder(["10", "20", "30"])
        layer = edges_layer(areas, graph)
        assert layer["from_id"].dtype.kind == "i"
        assert set(zip(layer["from_id"], layer["to_id"], strict=True)) == {(30, 20), (20, 10)}

    def test_links_of_the_island_rule_are_marked(self, draw) -> None:
        areas = read_areas(draw({"a": box(0, 0, 1, 1), "b": box(1, 0, 2, 1), "i": box(5, 0, 6, 1)}), id_field="id")
        layer = edges_layer(areas, build_adjacency(areas, islands="nearest"))
        assert layer.set_index(["from_id", "to_id"])["added"].to_dict() == {("a", "b"): False, ("b", "i"): True}

    def test_lines_do_not_run_around_the_world(self, draw) -> None:
        areas = read_areas(draw({"w": box(178, 0, 180, 2), "e": box(-180, 0, -178, 2)}, "EPSG:4326"), id_field="id")
        (line,) = edges_layer(areas, build_adjacency(areas)).geometry
        assert line.length == pytest.approx(2.0)
        assert line.equals(
            shapely.multilinestrings([LineString([(179, 1), (180, 1)]), LineString([(-180, 1), (-179, 1)])])
        )

    def test_a_graph_of_other_areas(self, grid) -> None:
        graph = build_adjacency(read_areas(grid(1, 2), id_field="id"))
        with pytest.raises(GraphProblem, match="other areas"):
            edges_layer(read_areas(grid(1, 3), id_field="id"), graph)
