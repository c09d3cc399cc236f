"""Rasters at a picture's resolution against block means by hand; overviews; the style beside a surface."""

from xml.etree import ElementTree

import numpy as np
import pytest
from smallarea.errors import OutputProblem
from smallarea.io import AtomicOutputs
from smallarea.io.raster_grid import Grid
from smallarea.io.raster_style import pseudocolour, write_surface_style
from smallarea.io.reduced_raster import read_reduced
from smallarea.io.style_classes import intervals
from smallarea.io.surface_file import open_surface

rasterio = pytest.importorskip("rasterio")

WEST, NORTH, CELL = 3e5, 9.4e6, 100.0


def surface(path, values, names):
    """Write bands, shape (bands, height, width), as predictions write them."""
    bands, height, width = values.shape
    grid = Grid("EPSG:32736", (CELL, 0.0, WEST, 0.0, -CELL, NORTH), height, width)
    with AtomicOutputs() as outputs, open_surface(outputs, path, grid, names) as file:
        for tile in grid.tiles():
            part = values[:, tile.row : tile.row + tile.height, tile.column : tile.column + tile.width]
            file.write(tile, part.reshape(bands, -1).T)


def block_means(values, block):
    """Means of the values in blocks, NaN where there are none."""
    rows, columns = (length // block for length in values.shape)
    parts = values.reshape(rows, block, columns, block).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    some = np.isfinite(parts)
    with np.errstate(invalid="ignore"):
        return np.where(some, parts, 0.0).sum(axis=-1) / some.sum(axis=-1)


@pytest.mark.parametrize("side", [160, 1280])
def test_blocks_are_means_of_their_cells_whether_there_are_overviews_or_not(tmp_path, side):
    values = np.random.default_rng(3).normal(size=(2, side, side))
    values[:, 40:47, 60:61] = np.nan
    surface(tmp_path / "s.tif", values, ("mean", "sd"))
    with rasterio.open(tmp_path / "s.tif") as file:
        assert file.overviews(1) == ([] if side == 160 else [2, 4])
        assert file.nodata is not None
    found = read_reduced(tmp_path / "s.tif", side // 4)
    assert found.block == 4.0
    assert list(found.values) == ["mean", "sd"]
    for band, name in enumerate(found.values):
        if side == 160:
            np.testing.assert_allclose(found.values[name], block_means(values[band], 4), rtol=0, atol=1e-5)
        else:
            # Of an overview of an overview, means of 2 by 2 means: the same unless some cells have no value.
            whole = np.isfinite(values[band]).reshape(side // 4, 4, -1, 4).all(axis=(1, 3))
            np.testing.assert_allclose(found.values[name][whole], block_means(values[band], 4)[whole], atol=1e-5)


def test_only_the_box_with_values_is_read_and_it_lies_where_it_lay(tmp_path):
    row, column = np.mgrid[0:300, 0:400]
    values = np.full((1, 300, 400), np.nan)
    values[0, 100:140, 200:260] = (row + 1000.0 * column)[100:140, 200:260]
    surface(tmp_path / "s.tif", values, ("mean",))
    found = read_reduced(tmp_path / "s.tif", 100)
    assert found.block == 1.0
    rows, columns = found.shape
    assert rows <= 48
    assert columns <= 68
    points, flat = found.centres(), found.values["mean"].ravel()
    some = np.isfinite(flat)
    assert some.sum() == 40 * 60
    at = np.floor((points[some] - [WEST, NORTH]) / [CELL, -CELL])
    np.testing.assert_array_equal(flat[some], at[:, 1] + 1000.0 * at[:, 0])


def test_a_raster_without_values_is_whole_and_empty(tmp_path):
    surface(tmp_path / "s.tif", np.full((1, 20, 30), np.nan), ("mean",))
    found = read_reduced(tmp_path / "s.tif", 100)
    assert found.shape == (20, 30)
    assert np.isnan(found.values["mean"]).all()


def items(qml):
    """Upper limits, texts and colours of the classes."""
    root = ElementTree.fromstring(qml.split("\n", 1)[1])  # noqa: S314 - our own text
    renderer = root.find("pipe/rasterrenderer")
    assert renderer.get("type") == "singlebandpseudocolor"
    assert renderer.get("band") == "1"
    return [(float(i.get("value")), i.get("label"), i.get("color")) for i in renderer.iter("item")]


@pytest.mark.parametrize("shift", [0.0, -3.0])
def test_every_value_has_a_class_about_as_large_as_the_others(shift):
    values = np.random.default_rng(5).gamma(2.0, size=4000) + shift
    found = items(pseudocolour(1, intervals(values, 7)))
    uppers = np.array([one[0] for one in found])
    assert uppers[-1] == np.inf
    assert (np.diff(uppers) > 0).all()
    counts = np.bincount(np.searchsorted(uppers, values), minlength=7)
    assert counts.min() > 0.7 * 4000 / 7
    assert found[0][1].startswith("below ")
    assert found[-1][1].endswith(" and more")
    assert found[0][0] == pytest.approx(float(found[0][1].removeprefix("below ").replace("−", "-")))
    assert len({one[2] for one in found}) == 7


def test_a_surface_of_one_value_has_one_class():
    assert [one[0] for one in items(pseudocolour(1, intervals([2.5] * 9, 7)))] == [np.inf]


def test_a_style_of_ones_own_stays_and_ours_is_replaced(tmp_path):
    surface(tmp_path / "s.tif", np.arange(100.0).reshape(1, 10, 10), ("mean",))
    reduced = read_reduced(tmp_path / "s.tif", 100)
    for _ in range(2):
        with AtomicOutputs() as outputs:
            assert write_surface_style(outputs, tmp_path / "s.tif", reduced) is None
        assert "singlebandpseudocolor" in (tmp_path / "s.qml").read_text()
    (tmp_path / "s.qml").write_text("<qgis>my own</qgis>")
    with AtomicOutputs() as outputs:
        assert "s.qml is a style of your own" in str(write_surface_style(outputs, tmp_path / "s.tif", reduced))
    assert (tmp_path / "s.qml").read_text() == "<qgis>my own</qgis>"


def test_what_was_never_asked_for_was_not_written(tmp_path):
    with AtomicOutputs() as outputs:
        path = outputs.path(tmp_path / "a.txt")
        assert outputs.written(tmp_path / "a.txt") == path
        with pytest.raises(OutputProblem, match=r"b\.txt"):
            outputs.written(tmp_path / "b.txt")
        path.write_text("x")
