"""Meshes: quality, the search of triangles, the projector, and what is refused."""

import numpy as np
import pytest
import shapely
from scipy.spatial import Delaunay
from smallarea.errors import GeometryProblem
from smallarea.gmrf.mesh import Mesh, MeshSizes, build_mesh, mesh_sizes
from smallarea.gmrf.mesh_search import TriangleSearch

SQUARE = MeshSizes(edge=0.07, outer_edge=0.3, extension=1.0)


def points(n: int = 120, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(n, 2))


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return build_mesh(points(), SQUARE)


def test_the_triangles_fill_the_extended_hull_without_overlap(mesh):
    hull = shapely.MultiPoint(points()).convex_hull.buffer(0.07).buffer(1.0)
    assert np.all(mesh.areas > 0.0)
    union = shapely.union_all(shapely.polygons(mesh.corners))
    assert union.area == pytest.approx(mesh.areas.sum(), rel=1e-9)
    assert mesh.areas.sum() == pytest.approx(hull.area, rel=0.02)
    # Euler's formula for a disc: nodes - edges + triangles = 1.
    assert mesh.n - len(mesh.edges) + len(mesh.triangles) == 1


@pytest.mark.parametrize("shape", ["square", "line", "far apart", "metres"])
def test_quality_for_points_of_many_shapes(shape):
    rng = np.random.default_rng(5)
    places = {
        "square": (points(), SQUARE),
        "line": (np.column_stack([np.linspace(0, 1, 30), np.zeros(30)]), SQUARE),
        "far apart": (np.vstack([rng.uniform(size=(20, 2)), 4.0 + rng.uniform(size=(20, 2))]), SQUARE),
        "metres": (1e6 + 4e5 * rng.uniform(size=(50, 2)), MeshSizes(3e4, 1.2e5, 3e5)),
    }
    where, sizes = places[shape]
    quality = build_mesh(where, sizes).quality
    assert quality.min_angle > 12.0
    assert quality.median_angle > 50.0
    assert quality.longest_inner_edge <= 1.8 * sizes.edge


def test_rows_of_the_projector_interpolate_linearly(mesh):
    where = points(500, 8)
    a = mesh.projector(where)
    assert a.shape == (500, mesh.n)
    assert a.data.min() >= 0.0
    np.testing.assert_allclose(a.sum(axis=1), 1.0, rtol=1e-13)
    plane = mesh.points @ np.array([2.0, -3.0]) + 0.5
    np.testing.assert_allclose(a @ plane, where @ np.array([2.0, -3.0]) + 0.5, rtol=1e-11, atol=1e-11)


def test_at_a_node_the_projector_takes_that_node(mesh):
    inside = np.flatnonzero(mesh.inner)[:40]
    a = mesh.projector(mesh.points[inside]).toarray()
    np.testing.assert_allclose(a, np.eye(mesh.n)[inside], atol=1e-9)


def test_the_search_against_that_of_scipy():
    rng = np.random.default_rng(2)
    delaunay = Delaunay(rng.normal(size=(300, 2)))
    where = rng.normal(size=(5_000, 2))
    found, weights = TriangleSearch(delaunay.points[delaunay.simplices]).find(where)
    truth = delaunay.find_simplex(where)
    np.testing.assert_array_equal(found, truth)
    inside = truth >= 0
    corners = delaunay.points[delaunay.simplices[truth[inside]]]
    np.testing.assert_allclose(np.einsum("nk,nkd->nd", weights[inside], corners), where[inside], atol=1e-10)


def test_points_outside_are_named(mesh):
    where = np.array([[0.5, 0.5], [9.0, 0.0], [np.nan, 0.0]])
    np.testing.assert_array_equal(mesh.covers(where), [True, False, False])
    with pytest.raises(GeometryProblem, match="2 points lie outside the mesh: rows 2, 3"):
        mesh.projector(where)


def test_a_region_of_predictions_is_covered(mesh):
    far = np.array([[3.0, 3.0]])
    assert not mesh.covers(far).any()
    assert build_mesh(points(), SQUARE, region=shapely.box(0, 0, 3, 3)).covers(far).all()


def test_the_mesh_as_a_layer():
    where = 5e5 + 1e5 * points()
    mesh = build_mesh(where, MeshSizes(1e4, 4e4, 1e5), crs="EPSG:32736")
    layer = mesh.to_frame()
    assert len(layer) == len(mesh.triangles)
    assert layer.crs.to_epsg() == 32736
    np.testing.assert_allclose(layer.area, layer["area"])
    assert set(layer["zone"]) == {"data", "extension"}
    assert layer.is_valid.all()


def test_degrees_are_refused():
    with pytest.raises(GeometryProblem, match=r"degrees.*EPSG:32736"):
        build_mesh(np.array([[31.0, -5.0], [33.0, -6.0]]), SQUARE, crs="EPSG:4326")


def test_points_without_coordinates_are_named():
    with pytest.raises(GeometryProblem, match="1 points have no coordinates: rows 2"):
        build_mesh(np.array([[0.0, 0.0], [np.nan, 1.0], [1.0, 1.0]]), SQUARE)


def test_sizes_follow_the_prior_and_the_data():
    where = points(400)
    sizes = mesh_sizes(where, 0.6, 2.0)
    assert sizes.edge == pytest.approx(0.1)
    assert sizes.extension == 2.0
    assert not sizes.notes
    # A prior of much shorter ranges than the points can show does not refine the mesh further.
    assert mesh_sizes(where, 1e-4, 2.0).edge == mesh_sizes(where, 1e-6, 2.0).edge
    coarse = mesh_sizes(where, 1e-4, 2.0, max_nodes=500)
    assert "limited" in coarse.notes[0]
    assert build_mesh(where, coarse).inner.sum() == pytest.approx(500, rel=0.3)


def test_a_wide_region_of_predictions_counts_for_the_limit():
    where, wide = points(400), shapely.box(-20.0, -20.0, 20.0, 20.0)
    sizes = mesh_sizes(where, 0.3, 2.0, region=wide, max_nodes=3_000)
    assert build_mesh(where, sizes, region=wide).inner.sum() == pytest.approx(3_000, rel=0.2)


def test_far_from_the_origin_the_mesh_is_as_good():
    # Edges of a metre at coordinates of ten thousand kilometres.
    where = 1e7 + 15.0 * points()
    mesh = build_mesh(where, MeshSizes(1.0, 4.0, 12.0))
    assert mesh.quality.min_angle > 12.0
    np.testing.assert_allclose(mesh.projector(where) @ mesh.points, where, rtol=1e-14)


def test_one_place_is_not_enough():
    with pytest.raises(GeometryProblem, match="two places"):
        mesh_sizes(np.zeros((5, 2)), 0.1, 1.0)
