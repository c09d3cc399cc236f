"""Real surveys and real maps: Austrian districts, King County, Tanzanian clusters."""

from __future__ import annotations

import pandas as pd
import pytest
from smallarea.areas import read_areas
from smallarea.errors import TableProblem
from smallarea.io import read_survey
from smallarea.survey.matching import match_codes
from smallarea.survey.points import match_points, points_of_columns


def test_austrian_districts_by_name(shared) -> None:
    areas = read_areas(shared("austria_districts.gpkg"), id_field="PB")
    sample = read_survey(shared("austria_eusilcA_smp.csv"), columns=["weight"], text_columns=["district"])
    matching = match_codes(sample.texts("district"), areas.ids).check()
    assert matching.is_clean
    assert (matching.n_rows, matching.n_joined, len(matching.map_only)) == (1945, 1945, 24)
    # The order of the polygons is not that of the table.
    assert matching.area_of_rows().tolist() == sample.frame["district"].tolist()


def test_austrian_districts_written_otherwise(shared) -> None:
    areas = read_areas(shared("austria_districts.gpkg"), id_field="PB")
    sample = read_survey(shared("austria_eusilcA_smp.csv"), text_columns=["district"])
    shouted = [str(text).upper().replace("Ö", "O") + " " for text in sample.texts("district")]
    with pytest.raises(TableProblem, match="70 codes, 1,945 rows"):
        match_codes(shouted, areas.ids).check()
    matching = match_codes(shouted, areas.ids, near_misses="accept").check()
    assert matching.area_of_rows().tolist() == sample.frame["district"].tolist()


def test_king_county(shared) -> None:
    areas = read_areas(shared("kingcounty_hra.gpkg"), id_field="hra")
    survey = read_survey(shared("brfss_kingcounty.csv"), text_columns=["hracode"])
    codes = survey.texts("hracode")
    with pytest.raises(TableProblem, match=r"^Without a code: 139 rows"):
        match_codes(codes, areas.ids).check()
    matching = match_codes(codes, areas.ids, unmatched="keep").check()
    counted = pd.read_csv(shared("brfss_kingcounty.csv"))["hracode"].value_counts()
    found = matching.of("matched").set_index("area")["rows"]
    assert found.to_dict() == counted.to_dict()
    assert matching.map_only == ()


def test_tanzanian_clusters(shared) -> None:
    areas = read_areas(shared("tanzania_regions.gpkg"), id_field="name")
    table = read_survey(shared("tanzania_malaria_dhs2015.csv")).frame
    points = points_of_columns(table, "long", "lat", "EPSG:4326")
    matching = match_points(points, areas, unmatched="keep").check()
    assert (matching.n_joined, matching.n_rows) == (385, 387)
    assert sorted(matching.of("on no area")["suggestion"]) == ["Mara", "Njombe"]
    # The same clusters come in metres as well.
    metric = match_points(points_of_columns(table, "utm_x", "utm_y", "EPSG:32736"), areas, unmatched="keep")
    assert metric.place.tolist() == matching.place.tolist()
    with pytest.raises(TableProblem, match=r"385 of 387 stray places .* exchanged"):
        match_points(points_of_columns(table, "lat", "long", "EPSG:4326"), areas).check()
