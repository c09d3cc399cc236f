import base64
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from smallarea.report import figures

NAN = float("nan")


def svg(picture):
    assert picture.uri.startswith("data:image/svg+xml;base64,")
    return base64.b64decode(picture.uri.split(",")[1]).decode()


def ticks(picture):
    """Texts of the figure, which matplotlib keeps as comments beside the outlines."""
    return re.findall(r"<!-- (.*?) -->", svg(picture))


def points(picture):
    """Marks of the clouds of points."""
    root = ElementTree.fromstring(svg(picture))  # noqa: S314 - our own figure
    name = "{http://www.w3.org/2000/svg}"
    clouds = [g for g in root.iter(f"{name}g") if g.get("id", "").startswith("PathCollection")]
    return sum(len(list(g.iter(f"{name}use"))) for g in clouds)


def test_each_pair_of_numbers_is_a_point():
    x = np.array([1.0, 2.0, NAN, 4.0, 5.0])
    y = np.array([1.1, NAN, 3.0, 3.9, 5.2])
    assert points(figures.direct_and_model(x, y, [])) == 3
    assert points(figures.errors_before_after(x, y)) == 3
    assert points(figures.shrinkage_and_variance(x, y / 10)) == 3
    assert points(figures.normal_quantiles(x)) == 4
    assert points(figures.moran_scatter(np.arange(6.0), np.array([1.0, 2.0, 3.0, 2.0, 1.0, NAN]))) == 5


def test_largest_changes_are_numbered():
    texts = ticks(figures.direct_and_model([10.0, 20.0, 30.0, NAN], [11.0, 25.0, 30.0, 7.0], [1, 0, 3]))
    assert texts.count("1") == 1
    assert texts.count("2") == 1
    assert "3" not in texts, "a row without a direct estimate has no place in the figure"


def test_too_little_to_draw_is_no_figure():
    nothing, one = [NAN, NAN], [1.0, NAN]
    for draw in (figures.errors_before_after, figures.shrinkage_and_variance):
        assert draw(nothing, nothing) is None
        assert draw(one, one) is None
    assert figures.direct_and_model(one, one, []) is None
    assert figures.ranked_intervals(one, one, one, one) is None
    assert figures.normal_quantiles([1.0, 2.0, NAN]) is None
    assert figures.moran_scatter([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) is None
    assert figures.moran_scatter([2.0] * 9, np.arange(9.0)) is None


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e9])
def test_all_values_alike_can_be_drawn(value):
    same = np.full(5, value)
    assert points(figures.direct_and_model(same, same, [])) == 5
    assert figures.ranked_intervals(same, same - 1, same + 1, same) is not None
    assert figures.normal_quantiles(same) is not None
    assert (figures.errors_before_after(same, same) is None) == (value <= 0.0)


def test_large_numbers_have_short_ticks():
    texts = ticks(figures.direct_and_model([10_000.0, 250_000.0], [20_000.0, 240_000.0], []))
    assert {"100k", "200k"} <= set(texts)
    texts = ticks(figures.direct_and_model([0.001, 0.004], [0.002, 0.003], []))
    assert {"0.002", "0.004"} <= set(texts)


def test_thousands_of_points_are_light():
    rng = np.random.default_rng(0)
    x = rng.normal(size=10_000)
    for picture in (figures.direct_and_model(x, x, []), figures.normal_quantiles(x), figures.moran_scatter(x, -x)):
        assert len(picture.uri) < 400_000
        assert points(picture) == 0


def test_wild_direct_estimates_do_not_flatten_the_intervals():
    estimate = np.linspace(10, 20, 30)
    direct = estimate.copy()
    direct[7] = 1e6
    texts = ticks(figures.ranked_intervals(estimate, estimate - 1, estimate + 1, direct))
    assert "12" in texts or "15" in texts
    assert not any("k" in t or t[-1:] == "m" for t in texts)


def test_the_same_figure_is_the_same_bytes():
    x = np.random.default_rng(1).normal(size=1000)
    assert figures.normal_quantiles(x) == figures.normal_quantiles(x)
    assert figures.moran_scatter(x, x**2) == figures.moran_scatter(x, x**2)
