"""The page of a learned prior: whole, the same each time, honest about what failed, and safe."""

import dataclasses
import re

import geopandas as gpd
import numpy as np
import pytest
import shapely
from smallarea.areas import AreaGraph, build_adjacency, read_areas
from smallarea.errors import PriorProblem
from smallarea.priors import family
from smallarea.priors.fidelity.certificate import certify
from smallarea.priors.fidelity.showcase import make_showcase, point_to_show
from smallarea.priors.graph_filter import standard_filter
from smallarea.report.prior_figures import classes_at, common_classes, error_chart, loss_chart
from smallarea.report.prior_page import render_prior, write_prior_report

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def areas():
    x, y = np.meshgrid(np.arange(6) * 1000.0, np.arange(5) * 1000.0)
    boxes = list(shapely.box(x.ravel(), y.ravel(), x.ravel() + 1000.0, y.ravel() + 1000.0))
    boxes.append(shapely.box(9000, 9000, 9800, 9800))
    ids = [f"A{k:02d}" for k in range(30)] + ["alone"]
    # Nobody escapes for us: the area in the middle of the map is named in the page.
    ids = [f"{HOSTILE}{i}" for i in ids]
    return read_areas(gpd.GeoDataFrame({"code": ids}, geometry=boxes, crs="EPSG:32617"), id_field="code")


@pytest.fixture(scope="module")
def good(areas):
    graph = build_adjacency(areas)
    prior = standard_filter(family("car"), graph)
    return prior, certify(prior, graph, grid=[0.0, 0.5, 0.9, 0.99], draws=300)


@pytest.fixture(scope="module")
def bad(areas):
    graph = build_adjacency(areas)
    prior = standard_filter(family("car"), graph, degree=1, cut=0.99)
    return prior, certify(prior, graph, grid=[0.0, 0.9, 0.99], draws=300)


def test_the_page_is_the_same_each_time_and_needs_nothing_from_outside(good, areas):
    one, two = (render_prior(*good, areas) for _ in range(2))
    assert one == two
    for stranger in ("<script", "http://", "https://", "url("):
        assert stranger not in one
    assert "&lt;script&gt;" in one


def test_a_prior_that_passes_says_so_and_shows_a_value_with_dependence(good, areas):
    page = render_prior(*good, areas)
    assert "Passed: this prior is what it stands for." in page
    assert "Bars that are missed" not in page
    assert "Draws at rho = 0.9" in page
    assert page.count("<img ") == 3 + 6


def test_a_prior_that_fails_says_where_and_what_to_do(bad, areas):
    prior, certificate = bad
    page = render_prior(prior, certificate, areas)
    assert "Not passed" in page
    assert "Raise its degree" in page
    assert '<tr class="failed">' in page
    for text in certificate.failures[:3]:
        assert text.split(",")[0] in page
    worst = max(certificate.points, key=lambda one: one.frobenius)
    assert point_to_show(certificate) is worst
    assert f"Covariances at rho = {worst.value:g}" in page


def test_without_polygons_there_are_no_maps_and_the_rest_stands(good):
    page = render_prior(*good)
    assert page.count("<img ") == 3
    assert "no polygons were given" in page


def test_a_prior_without_a_hyperparameter_has_no_column_for_one(areas):
    graph = build_adjacency(areas)
    prior = standard_filter(family("icar"), graph)
    page = render_prior(prior, certify(prior, graph, draws=300), areas)
    assert ">None<" not in page
    assert "nan" not in re.sub(r"data:image[^\"]*", "", page)
    assert "Intrinsic CAR by graph-filter" in page


def test_the_certificate_in_the_prior_serves(good, areas, tmp_path):
    prior, certificate = good
    stored = dataclasses.replace(prior, certificate=certificate.to_json())
    write_prior_report(tmp_path / "page.html", stored, areas=areas)
    assert "Passed" in (tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(PriorProblem, match="no fidelity certificate"):
        write_prior_report(tmp_path / "other.html", prior, areas=areas)
    assert not (tmp_path / "other.html").exists()


def test_a_certificate_of_another_geography_is_refused(good):
    other = AreaGraph.from_edges(["a", "b", "c"], [(0, 1), (1, 2)])
    with pytest.raises(PriorProblem, match="another geography"):
        render_prior(*good, graph=other)


def test_a_filter_that_serves_another_geography_shows_that_one(good):
    prior, _ = good
    graph = AreaGraph.from_edges([f"b{k}" for k in range(12)], np.column_stack([np.arange(11), np.arange(1, 12)]))
    page = render_prior(prior, certify(prior, graph, grid=[0.5, 0.9], draws=300), graph=graph)
    assert "another geography" in page
    assert "12 areas" in page


def test_maps_of_areas_do_not_depend_on_the_order_of_the_certificate(bad, areas):
    prior, certificate = bad
    mixed = build_adjacency(areas).reorder(tuple(np.random.default_rng(1).permutation(areas.ids).tolist()))
    other = certify(prior, mixed, grid=[0.0, 0.9, 0.99], draws=300)
    pages = [render_prior(prior, one, areas) for one in (certificate, other)]
    pictures = [re.findall(r"data:image[^\"]*", page.split("Area by area</h2>")[1])[:2] for page in pages]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 2


def test_rows_and_points_of_the_pictures_are_those_of_dense_algebra(good, areas):
    prior, certificate = good
    graph = build_adjacency(areas)
    found = make_showcase(prior, certificate, graph)
    degrees = graph.degrees[:30].astype(float)
    covariance = np.linalg.inv(np.diag(degrees) - found.point.value * graph.adjacency.toarray()[:30, :30])
    expected = covariance[found.centre] / covariance[found.centre, found.centre]
    np.testing.assert_allclose(found.exact_row[:30], expected, rtol=1e-9)
    np.testing.assert_allclose(found.learned_row[:30], expected, atol=1e-3)
    assert np.isnan(found.exact_row[30])
    np.testing.assert_allclose(found.exact_points, found.learned_points, atol=1e-2)


def test_two_maps_have_the_same_classes_and_their_own_counts():
    exact, learned = common_classes(np.array([0.0, 1.0, 2.0, np.nan]), np.array([2.0, 2.0, 1.0, np.nan]))
    assert [item.label for item in exact.legend] == [item.label for item in learned.legend]
    assert sum(item.count for item in exact.legend) == sum(item.count for item in learned.legend) == 4
    assert exact.index[2] == learned.index[0]


def test_given_breaks_put_the_middle_where_it_belongs():
    found = classes_at(np.array([0.5, 0.9, 1.0, 1.1, 2.0, np.nan]), (0.8, 0.95, 1.05, 1.25), tuple("abcde"))
    assert found.index.tolist() == [0, 1, 2, 3, 4, -1]
    assert found.legend[-1].label == "no neighbours"


@pytest.mark.parametrize(
    ("losses", "drawn"),
    [
        ([], False),
        ([[0, None, 3.0]], False),
        ([[0, None, 3.0], [10, 2.0, 1.0], [20, 0.1, 0.2]], True),
        ([[0, None, -3.0], [10, 2.0, -1.0]], True),
        ([[0, 1e-7, 2e-7], [10, 1e-9, 1e-9]], True),
    ],
)
def test_the_course_of_training_is_drawn_where_there_is_one(losses, drawn):
    assert (loss_chart(losses) is not None) == drawn


def test_one_value_needs_no_chart_over_values(good):
    _, certificate = good
    assert error_chart(certificate) is not None
    assert error_chart(dataclasses.replace(certificate, points=certificate.points[:1])) is None
