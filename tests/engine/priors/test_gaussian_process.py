"""The averaged Gaussian process against fine grids, nested areas and dense algebra."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from smallarea.areas import Areas, build_adjacency, read_areas
from smallarea.areas.graph import AreaGraph
from smallarea.errors import GeometryProblem, GraphProblem, PriorProblem
from smallarea.priors import exact_prior, family
from smallarea.priors.gaussian_process import diameter, integration_points, points_an_area

PLANE = "EPSG:32630"


def cells(columns, rows, crs=PLANE, side=1000.0):
    boxes = [
        shapely.box(500_000 + c * side, r * side, 500_000 + (c + 1) * side, (r + 1) * side)
        for r in range(rows)
        for c in range(columns)
    ]
    frame = gpd.GeoDataFrame({"id": [f"c{i:02d}" for i in range(len(boxes))]}, geometry=boxes, crs=crs)
    return Areas(tuple(frame["id"]), frame)


AREAS = cells(5, 4)
GRAPH = build_adjacency(AREAS)


def matern(distance, length):
    scaled = np.sqrt(3.0) * distance / length
    return (1.0 + scaled) * np.exp(-scaled)


def brute_covariance(areas, length, side=14):
    """Means over a fine regular grid in each square."""
    offset = (np.arange(side) + 0.5) / side
    grid = np.array([(x, y) for x in offset for y in offset])
    bounds = shapely.bounds(areas.shapes)
    points = bounds[:, None, :2] + grid * (bounds[:, None, 2:] - bounds[:, None, :2])
    flat = points.reshape(-1, 2)
    apart = np.hypot(*(flat[:, None, :] - flat[None, :, :]).transpose(2, 0, 1))
    n = len(areas)
    return matern(apart, length).reshape(n, side**2, n, side**2).mean(axis=(1, 3))


@pytest.mark.parametrize("length", [0.1, 0.5])
def test_covariance_agrees_with_a_fine_grid(length):
    exact = exact_prior(family("gp", lower=0.1), GRAPH, AREAS)
    assert exact.diameter == pytest.approx(np.hypot(5000.0, 4000.0))
    truth = brute_covariance(AREAS, length * exact.diameter)
    got = exact.covariance(np.array([length]))
    # The spacing of the 40 points is a quarter of the shortest range.
    assert exact.points.shape == (20, 40, 2)
    assert np.linalg.norm(got - truth) / np.linalg.norm(truth) < 0.01


def test_roots_draws_and_products_are_those_of_the_covariance():
    exact = exact_prior(family("gp"), GRAPH, AREAS)
    value = np.array([0.3])
    covariance = exact.covariance(value)
    root = exact.root(np.tile(value, (exact.n, 1)), np.eye(exact.n))
    np.testing.assert_allclose(root.T @ root, covariance, atol=1e-12)
    x = np.random.default_rng(1).standard_normal((exact.n, 3))
    np.testing.assert_allclose(exact.covariance_times(value, x), covariance @ x, atol=1e-12)
    low, high = GRAPH.edges.T
    np.testing.assert_allclose(
        exact.entries(value), np.concatenate([np.diag(covariance), covariance[low, high]]), atol=1e-12
    )
    values = np.array([[0.3], [0.1], [0.3]])
    z = np.random.default_rng(2).standard_normal((3, exact.n))
    mixed = exact.root(values, z)
    np.testing.assert_allclose(mixed[[0, 2]], exact.root(values[[0, 2]], z[[0, 2]]), atol=1e-12)
    np.testing.assert_allclose(mixed[1], exact.root(values[1:2], z[1:2])[0], atol=1e-12)
    drawn = exact.draws(values, np.random.default_rng(3))
    np.testing.assert_allclose(
        drawn, exact.root(values, np.random.default_rng(3).standard_normal((3, exact.n))), atol=0
    )


def test_large_areas_vary_less():
    wide = cells(2, 2, side=3000.0)
    narrow = cells(6, 6, side=1000.0)
    variances = [
        np.diag(exact_prior(family("gp"), build_adjacency(areas), areas).covariance(np.array([0.1]))).mean()
        for areas in (wide, narrow)
    ]
    assert variances[0] < variances[1] < 1.0


def test_the_order_of_the_polygons_does_not_matter_and_islands_are_left_out():
    order = np.random.default_rng(4).permutation(len(AREAS))
    shuffled = Areas(tuple(AREAS.ids[i] for i in order), AREAS.frame.iloc[order])
    edges = [(i, j) for i, j in GRAPH.edges.tolist() if 7 not in (i, j)]
    island = AreaGraph.from_edges(GRAPH.ids, edges)
    value = np.array([0.2])
    whole = exact_prior(family("gp"), GRAPH, AREAS).covariance(value)
    part = exact_prior(family("gp"), island, shuffled)
    keep = [i for i in range(len(AREAS)) if i != 7]
    assert part.nodes.tolist() == keep
    np.testing.assert_allclose(part.covariance(value), whole[np.ix_(keep, keep)], atol=1e-9)


def test_integration_points():
    triangle = shapely.Polygon([(0, 0), (4, 0), (0, 3)])
    ring = shapely.Point(10, 10).buffer(3).difference(shapely.Point(10, 10).buffer(2))
    shapes = np.array([triangle, ring])
    points = integration_points(shapes, 500)
    assert shapely.contains_xy(triangle, points[0, :, 0], points[0, :, 1]).all()
    assert shapely.contains_xy(ring, points[1, :, 0], points[1, :, 1]).all()
    centroids = shapely.get_coordinates(shapely.centroid(shapes))
    np.testing.assert_allclose(points.mean(axis=1), centroids, atol=0.03)
    np.testing.assert_array_equal(points, integration_points(shapes, 500))
    # Nothing falls into a needle that lies across its box.
    needle = shapely.Polygon([(0, 0), (1, 1), (1, 1 + 1e-12)])
    assert np.isfinite(integration_points(np.array([needle]), 4)).all()


def test_number_of_points():
    squares = np.array([shapely.box(k, 0, k + 1, 1) for k in range(10)])
    # Spacing 1 / sqrt(m) <= range / 4.
    assert points_an_area(squares, 1.0) == 16
    assert points_an_area(squares, 0.8) == 25
    assert points_an_area(squares, 100.0) == 9
    assert points_an_area(squares, 0.01) == 64
    assert points_an_area(np.tile(squares, 1000), 0.01) == 6
    assert points_an_area(np.tile(squares, 4000), 0.01) == 4
    assert diameter(squares) == pytest.approx(np.hypot(10.0, 1.0))


def test_layers_without_distances_are_refused():
    degrees = Areas(AREAS.ids, AREAS.frame.set_crs("EPSG:4326", allow_override=True))
    with pytest.raises(GeometryProblem, match="Reproject"):
        exact_prior(family("gp"), GRAPH, degrees)
    nowhere = Areas(AREAS.ids, AREAS.frame.set_crs(None, allow_override=True))
    with pytest.raises(GeometryProblem, match="no coordinate reference system"):
        exact_prior(family("gp"), GRAPH, nowhere)
    with pytest.raises(GraphProblem, match="2 areas of the graph have no polygon: 'c18', 'c19'"):
        exact_prior(family("gp"), GRAPH, Areas(AREAS.ids[:18], AREAS.frame.iloc[:18]))
    with pytest.raises(PriorProblem, match="polygon layer"):
        exact_prior(family("gp"), GRAPH)


def test_a_decoder_of_the_process():
    from smallarea.priors.networks.network_settings import DecoderSettings
    from smallarea.priors.networks.training import train_network

    exact = exact_prior(family("gp"), GRAPH, AREAS)
    trained = train_network(exact, "decoder", DecoderSettings(steps=64, batch=32), seed=1)
    # Mean squared error in units of the field's variance.
    assert trained.record["best_loss"] < 1e-4


def test_public_map(shared):
    areas = read_areas(shared("mo_vmsae_example.gpkg"), id_field="GEOID")
    plane = Areas(areas.ids, areas.frame.to_crs(26915))
    exact = exact_prior(family("gp"), build_adjacency(plane), plane)
    # The longest way through Missouri is about 730 km.
    assert 650_000 < exact.diameter < 800_000
    assert np.linalg.eigvalsh(exact.covariance(np.array([0.5]))).min() > 0
