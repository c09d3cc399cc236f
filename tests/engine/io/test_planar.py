"""Which coordinates are planar enough, and what is suggested where they are not."""

import numpy as np
import pyproj
import pytest
from smallarea.errors import GeometryProblem
from smallarea.io.planar import check_planar, project, scale_ratio, suggest_plane

TANZANIA = np.array([[29.5, -11.5], [40.3, -1.1], [35.0, -6.0]])
MISSOURI = np.array([[-94.0, 36.5], [-91.0, 40.3]])


def test_degrees_are_refused_with_a_projection_that_is_accepted():
    with pytest.raises(GeometryProblem, match=r"degrees.*Project them, for example to \+proj=laea") as caught:
        check_planar(TANZANIA, "EPSG:4326")
    remedy = str(caught.value).split("for example to ")[1].rstrip(".")
    check_planar(project(TANZANIA, "EPSG:4326", remedy), remedy)


def test_a_narrow_region_gets_its_utm_zone():
    assert suggest_plane(MISSOURI, "EPSG:4326") == "EPSG:32615"
    assert suggest_plane(np.array([[36.0, -3.0], [37.0, -4.0]]), "EPSG:4326") == "EPSG:32737"


def test_across_the_antimeridian():
    fiji = np.array([[177.0, -18.0], [-179.0, -16.0]])
    assert suggest_plane(fiji, "EPSG:4326") in ("EPSG:32760", "EPSG:32701")


def test_distances_in_the_suggested_plane_are_true():
    plane = suggest_plane(TANZANIA, "EPSG:4326")
    xy = project(TANZANIA, "EPSG:4326", plane)
    geod = pyproj.Geod(ellps="WGS84")
    true = geod.inv(*TANZANIA[0], *TANZANIA[1])[2]
    assert np.hypot(*(xy[0] - xy[1])) == pytest.approx(true, rel=5e-3)


def test_web_mercator_is_refused_only_where_it_distorts():
    equator = project(TANZANIA, "EPSG:4326", "EPSG:3857")
    check_planar(equator, "EPSG:3857")
    norway = project(np.array([[5.0, 58.0], [30.0, 71.0]]), "EPSG:4326", "EPSG:3857")
    # The scale of Mercator is 1 / cos(latitude) up to the flattening.
    truth = np.cos(np.radians(58.0)) / np.cos(np.radians(71.0))
    assert scale_ratio(norway, "EPSG:3857") == pytest.approx(truth, rel=0.01)
    with pytest.raises(GeometryProblem, match=r"1\.6. times as much"):
        check_planar(norway, "EPSG:3857")


def test_a_plane_of_its_own_is_taken_as_it_is():
    check_planar(np.array([[0.0, 0.0], [1.0, 1.0]]), None)


def test_points_that_cannot_be_projected_are_named():
    with pytest.raises(GeometryProblem, match=r"1 points cannot be projected.*rows 2"):
        project(np.array([[36.0, -3.0], [np.inf, 2.0]]), "EPSG:4326", "EPSG:32737")


def test_an_unknown_system_is_refused():
    with pytest.raises(GeometryProblem, match="EPSG code"):
        check_planar(MISSOURI, "EPSG:999999")
