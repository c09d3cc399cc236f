"""The page of an imputation: complete, safe, the same for the same imputation."""

import re
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from smallarea.areas import Areas
from smallarea.report.imputation_page import render_imputation, write_imputation_report
from smallarea.survey.imputation.fit_quality import pairwise_correlation, srmr
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.joint_structure import joint_structure
from smallarea.survey.imputation.overimputation import overimpute
from smallarea.survey.imputation.rules import Rules, parse_skip
from smallarea.survey.imputation.variables import describe_variables

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    n = 600
    trait = rng.normal(size=n)
    works = np.where(trait + rng.normal(size=n) > 0, "yes", "no")
    table = pd.DataFrame(
        {
            HOSTILE: 50.0 + 10.0 * (0.8 * trait + 0.6 * rng.normal(size=n)),
            "income": np.exp(9.0 + 0.7 * trait + 0.5 * rng.normal(size=n)),
            "health": np.digitize(trait + 0.8 * rng.normal(size=n), [-1.0, 0.0, 1.0]) + 1,
            "works": works,
            "home": np.array(["own", "rent", HOSTILE])[np.digitize(trait + rng.normal(size=n), [-0.2, 1.0])],
            "hours": np.where(works == "yes", 30.0 + 5.0 * trait + 3.0 * rng.normal(size=n), np.nan),
        }
    )
    for name in (HOSTILE, "income", "health", "home"):
        table[name] = table[name].mask(rng.uniform(size=n) < 0.15)
    return table


@pytest.fixture(scope="module")
def imputed(frame):
    rules = Rules(skips=(parse_skip("hours asked if works = yes"),))
    return impute_table(frame, describe_variables(frame, list(frame)), imputations=6, rules=rules, seed=1)


@pytest.fixture(scope="module")
def hidden(frame):
    variables = describe_variables(frame, [HOSTILE, "income", "health"])
    return overimpute(frame, variables, lambda table: impute_table(table, variables, imputations=25, seed=2))


def test_the_page_holds_every_part(imputed, hidden):
    page = render_imputation(imputed, overimputation=hidden, warnings=["Look out."], settings={"method": "mvn"})
    for part in ("summary", "missing", "joint", "margins", "hidden", "deltas", "provenance"):
        assert f'<section id="{part}">' in page
    assert "Look out." in page
    assert "600 respondents, 6 variables" in page
    # Not asked: those who do not work.
    assert f"{int((imputed.original['works'] == 'no').sum())}</td></tr>" in page
    assert page == render_imputation(imputed, overimputation=hidden, warnings=["Look out."], settings={"method": "mvn"})


def test_nothing_of_the_data_can_run(imputed, hidden):
    page = render_imputation(imputed, overimputation=hidden)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_parts_without_content_are_left_out(frame):
    variables = describe_variables(frame, ["works", "home"])
    page = render_imputation(impute_table(frame, variables, imputations=2, seed=1))
    for part in ("joint", "hidden"):
        assert f'<section id="{part}">' not in page


def test_a_complete_table_has_a_page_too(frame):
    full = frame[["works"]].assign(x=np.random.default_rng(1).normal(size=len(frame)))
    page = render_imputation(impute_table(full, describe_variables(full, ["works", "x"]), imputations=2, seed=1))
    assert "0 missing answers" in page
    assert '<section id="margins">' not in page


def test_the_file_is_written_whole(imputed, tmp_path):
    path = tmp_path / "report.html"
    write_imputation_report(str(path), imputed, written=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    assert "2 January 2026, 03:04" in path.read_text(encoding="utf-8")
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_the_map_shows_shares_of_respondents(frame):
    squares = gpd.GeoDataFrame(geometry=[shapely.box(k, 0, k + 1, 1) for k in range(4)])
    areas = Areas(tuple("abcd"), squares, None, "squares.gpkg", ())
    place = np.arange(len(frame)) % 3
    table = frame.assign(area=[areas.ids[k] for k in place])
    found = impute_table(table, describe_variables(frame, ["income", "health"]), imputations=2, area="area", seed=1)
    page = render_imputation(found, areas=areas)
    assert "Respondents with a missing answer" in page
    assert "no respondent" in page


def test_joint_structure_is_that_of_the_tables(imputed, frame):
    found = joint_structure(imputed)
    assert found.names == (HOSTILE, "income", "health", "works", "hours")
    assert found.latent.tolist() == [False, False, True, True, False]
    columns = [0, 1, 2, 3, imputed.encoded.shape[1] - 1]
    assert np.allclose(found.observed, pairwise_correlation(imputed.encoded.values[:, columns]), equal_nan=True)
    wanted = np.mean(
        [
            np.corrcoef(imputed.completed(m)[HOSTILE], imputed.completed(m)["health"].map(_scores(imputed)))
            for m in range(5)
        ],
        axis=0,
    )[0, 1]
    assert found.completed[0, 2] == pytest.approx(wanted, abs=1e-10)
    assert np.isnan(found.model_residuals[0, 2])
    assert found.model_srmr > 0.0
    two = [0, 1]
    assert srmr(found.completed[np.ix_(two, two)], found.observed[np.ix_(two, two)]) < 0.05
    ranks, explained, _ = zip(*found.baseline, strict=True)
    assert ranks == (1, 2, 3, 4, 5)
    assert np.all(np.diff(explained) > 0.0)


def _scores(imputed):
    margin = imputed.encoded.columns[2].margin
    return {category: margin.scores[k] for k, category in enumerate(imputed.variables[2].categories)}
