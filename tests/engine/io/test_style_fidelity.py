"""Styles of a certificate's layer: fixed classes that hold every value."""

from __future__ import annotations

from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box
from smallarea.io.style_fidelity import ERRORS, RATIOS, fidelity_styles


def classes(values: list[float], which: int) -> list[tuple[float, float, str]]:
    frame = gpd.GeoDataFrame(
        {"variance_ratio": values, "neighbour_error": values},
        geometry=[box(i, 0, i + 1, 1) for i in range(len(values))],
    )
    tree = ElementTree.fromstring(fidelity_styles(frame)[which].qml.partition("\n")[2])  # noqa: S314
    return [(float(r.get("lower")), float(r.get("upper")), r.get("label")) for r in tree.iter("range")]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("values", [[1.0], [0.001, 80.0], [-3.5, 0.0], [np.nan], [1e-300, 1e6, np.nan]])
def test_every_value_is_in_one_class_whose_inner_limits_are_fixed(which: int, values: list[float]) -> None:
    found = classes(values, which)
    missing = [one for one in found if one[2] == "no neighbours"]
    assert len(missing) == int(any(np.isnan(values)))
    found = [one for one in found if one not in missing]
    assert [low for low, _, _ in found[1:]] == list((RATIOS, ERRORS)[which])
    assert [low for low, _, _ in found[1:]] == [high for _, high, _ in found[:-1]]
    for value in values:
        if not np.isnan(value):
            assert found[0][0] <= value <= found[-1][1]


def test_the_legend_says_what_is_right() -> None:
    assert [label for _, _, label in classes([1.0], 0)] == [
        "below 0.50", "0.50 – 0.80", "0.80 – 0.95", "0.95 – 1.05", "1.05 – 1.25", "1.25 – 2.00", "above 2.00",
    ]  # fmt: skip
    assert [label for _, _, label in classes([0.0], 1)][0] == "below −0.15"  # noqa: RUF015
