import base64
import io
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from PIL import Image
from smallarea.report import maps
from smallarea.report.classes import Classes, LegendItem

RED, BLUE = (220, 20, 20), (20, 20, 220)
LEGEND = (LegendItem("#dc1414", "red", 1), LegendItem("#1414dc", "blue", 1))


def areas_of(shapes, crs=None):
    frame = gpd.GeoDataFrame(geometry=list(shapes), crs=crs)
    return SimpleNamespace(ids=tuple(str(i) for i in range(len(frame))), frame=frame, crs=frame.crs)


@pytest.fixture
def pixels(monkeypatch):
    """Draw as PNG and return the image."""
    monkeypatch.setattr(maps, "VECTOR_LIMIT", -1)

    def draw(areas, index, marked=None, graph=None):
        shapes = maps.prepare_shapes(areas, graph)
        picture = maps.draw_map(shapes, Classes(np.asarray(index), LEGEND), marked)
        data = base64.b64decode(picture.uri.split(",")[1])
        return Image.open(io.BytesIO(data)).convert("RGB")

    return draw


def near(colour, wanted):
    return max(abs(int(a) - b) for a, b in zip(colour, wanted, strict=True)) < 25


def test_colours_are_where_the_areas_are(pixels):
    image = pixels(areas_of([shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)]), [0, 1])
    w, h = image.size
    assert near(image.getpixel((w // 4, h // 2)), RED)
    assert near(image.getpixel((3 * w // 4, h // 2)), BLUE)


def test_holes_stay_open_and_parts_belong_to_their_area(pixels):
    ring = shapely.box(0, 0, 3, 3) - shapely.box(1, 1, 2, 2)
    apart = shapely.MultiPolygon([shapely.box(4, 0, 5, 1), shapely.box(4, 2, 5, 3)])
    image = pixels(areas_of([ring, apart]), [0, 1])
    w, h = image.size
    assert near(image.getpixel((int(0.3 * w), h // 2)), (255, 255, 255))
    assert near(image.getpixel((int(0.1 * w), h // 2)), RED)
    assert near(image.getpixel((int(0.9 * w), int(0.85 * h))), BLUE)
    assert near(image.getpixel((int(0.9 * w), int(0.15 * h))), BLUE)
    assert near(image.getpixel((int(0.9 * w), int(0.5 * h))), (255, 255, 255))


def test_no_estimate_is_grey_and_hatched(pixels):
    image = pixels(areas_of([shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)]), [0, -1])
    right = np.asarray(image)[:, image.size[0] * 6 // 10 : image.size[0] * 9 // 10]
    colours = {tuple(c) for c in right.reshape(-1, 3)}
    assert any(near(c, (227, 227, 227)) for c in colours)
    assert any(max(c) < 190 for c in colours), "no hatch"


def test_areas_too_small_to_see_are_ringed_only_if_they_stand_alone(pixels):
    shapes = [shapely.box(0, 0, 50, 50), shapely.box(90, 90, 90.01, 90.01)]
    alone = SimpleNamespace(islands=("1",))
    with_ring = np.asarray(pixels(areas_of(shapes), [0, 1], graph=alone)).reshape(-1, 3)
    without = np.asarray(pixels(areas_of(shapes), [0, 1], graph=SimpleNamespace(islands=()))).reshape(-1, 3)
    assert sum(near(c, BLUE) for c in with_ring) > 50
    assert sum(near(c, BLUE) for c in without) < 10


def test_geographic_maps_have_the_proportions_of_the_ground():
    square = maps.prepare_shapes(areas_of([shapely.box(10, 59, 12, 61)], "EPSG:4326"))
    x0, y0, x1, y1 = square.bounds
    assert (x1 - x0) / (y1 - y0) == pytest.approx(np.cos(np.radians(60)), rel=1e-12)
    metres = maps.prepare_shapes(areas_of([shapely.box(10, 59, 12, 61)], "EPSG:32633"))
    x0, y0, x1, y1 = metres.bounds
    assert (x1 - x0) == pytest.approx(y1 - y0)


def test_both_sides_of_the_180th_meridian_lie_together():
    fiji = [shapely.box(177, -18, 179, -17), shapely.box(-180, -18, -179, -17)]
    shapes = maps.prepare_shapes(areas_of(fiji, "EPSG:4326"))
    x0, _, x1, _ = shapes.bounds
    assert (x1 - x0) / np.cos(np.radians(17.5)) == pytest.approx(4.0)


def test_what_cannot_be_drawn_is_no_map():
    empty = gpd.GeoDataFrame(geometry=[shapely.Polygon(), None])
    assert maps.prepare_shapes(SimpleNamespace(ids=("0", "1"), frame=empty, crs=None)) is None


def test_slivers_survive_simplification():
    sliver = shapely.Polygon([(0, 0), (1000, 0.0001), (1000, 0.0002)])
    shapes = maps.prepare_shapes(areas_of([sliver, shapely.box(0, 10, 1000, 800), shapely.box(5, 1, 5.001, 1.001)]))
    assert [len(p.vertices) >= 4 for p in shapes.paths] == [True, True, True]


def test_detail_below_a_pixel_is_left_out():
    t = np.linspace(0, 2 * np.pi, 200_001)[:-1]
    circle = shapely.Polygon(np.column_stack([np.cos(t), np.sin(t)]))
    shapes = maps.prepare_shapes(areas_of([circle]))
    assert shapes.vertices < 500
    drawn = shapely.Polygon(shapes.paths[0].vertices)
    assert drawn.symmetric_difference(circle).area < 1e-3 * circle.area


def test_the_same_map_is_the_same_bytes():
    areas = areas_of([shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)])
    first, second = (
        maps.draw_map(maps.prepare_shapes(areas), Classes(np.array([0, -1]), LEGEND), np.array([True, False]))
        for _ in "ab"
    )
    assert first.uri == second.uri
    assert first.uri.startswith("data:image/svg+xml;base64,")
