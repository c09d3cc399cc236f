"""From a survey with missing answers to completed tables, and on to estimates: files, rules, areas, mistakes."""

import numpy as np
import pandas as pd
import pyogrio
import pytest
import smallarea
from smallarea.errors import JobProblem, OutputProblem, SmallareaError, TableProblem
from smallarea.survey.imputation import impute as engine


class Noise:
    """A stand-in for a model: missing working values are standard normal, whatever else is known."""

    record = {"of": "noise"}  # noqa: RUF012

    def fit(self, encoded, *, seed, progress=None):
        self.encoded = encoded
        return self

    def sampler(self, rng):
        def draw(rows):
            part = self.encoded if rows is None else self.encoded.rows(rows)
            return np.where(part.missing, rng.standard_normal(part.shape), part.values)

        return draw

    def correlation(self):
        return np.eye(self.encoded.shape[1])


@pytest.fixture
def noise(monkeypatch):
    """Models that need no time; what a task does with imputations does not depend on them."""
    made = []

    def make(method, settings=None):
        made.append((method, settings))
        return Noise()

    monkeypatch.setattr(engine, "make_imputer", make)
    return made


@pytest.fixture
def survey():
    rng = np.random.default_rng(21)
    n = 240
    works = (rng.uniform(size=n) < 0.7).astype(float)
    frame = pd.DataFrame(
        {
            "dist": [f"A{a:03d}" for a in rng.integers(0, 8, n)],
            "age": rng.integers(18, 90, n),
            "w": rng.uniform(1.0, 3.0, n).round(3),
            "region": rng.choice(["north", "south"], n),
            "income": np.exp(7.0 + 0.5 * rng.standard_normal(n)).round(2),
            "health": rng.integers(1, 6, n).astype(float),
            "works": works,
            "hours": np.where(works == 1.0, rng.normal(38.0, 6.0, n).round(1), np.nan),
            "job": rng.choice(["craft", "office", "other"], n),
            "note": rng.choice(["x", "y"], n),
        }
    )
    frame.loc[rng.uniform(size=n) < 0.2, "income"] = np.nan
    frame.loc[rng.uniform(size=n) < 0.1, "health"] = 9.0
    frame.loc[(rng.uniform(size=n) < 0.2) & (works == 1.0), "hours"] = -7.0
    frame.loc[rng.uniform(size=n) < 0.1, "job"] = None
    return frame


CALL = {
    "variables": ["income", "health", "works", "hours", "job"],
    "ranges": {"income": "0.."},
    "refused": {"health": "9", "hours": "-7"},
    "skips": "hours asked if works = 1",
    "area_field": "dist",
    "covariates": "age",
    "weight": "w",
    "strata": "region",
    "imputations": 3,
}


def impute(table, **more):
    return smallarea.impute(table=table, **(CALL | more))


@pytest.mark.usefixtures("noise")
def test_completed_tables_keep_answers_and_obey_the_rules(survey):
    before = survey.copy()
    result = impute(survey)
    pd.testing.assert_frame_equal(survey, before)
    table = result.table
    assert table.columns.tolist() == [
        "imputation", *survey.columns, "imputed_income", "imputed_health", "imputed_hours", "imputed_job"
    ]  # fmt: skip
    assert table["imputation"].tolist() == sorted([1, 2, 3] * len(survey))
    answered = survey.assign(health=survey["health"].replace(9.0, np.nan), hours=survey["hours"].replace(-7.0, np.nan))
    for m, one in table.groupby("imputation"):
        one = one.reset_index(drop=True)
        for name in survey.columns:
            known = answered[name].notna()
            assert (one.loc[known, name] == answered.loc[known, name]).all(), (m, name)
        assert one[["income", "health", "works", "job"]].notna().all().all()
        assert (one["hours"].notna() == (survey["works"] == 1.0)).all()
        assert (one["income"] >= 0.0).all()
        assert set(one["health"]) <= {1.0, 2.0, 3.0, 4.0, 5.0}
        assert (one["imputed_health"] == (survey["health"] == 9.0)).all()
        assert (one["imputed_hours"] == (survey["hours"] == -7.0)).all()
    varies = table.groupby(np.tile(np.arange(len(survey)), 3))["income"].nunique() > 1
    assert (varies.to_numpy() == survey["income"].isna().to_numpy()).all()


@pytest.mark.usefixtures("noise")
def test_what_was_missing_is_counted(survey):
    result = impute(survey)
    missing = result.missing.set_index("variable")
    assert missing.loc["income", "imputed"] == survey["income"].isna().sum()
    assert missing.loc["hours"].tolist()[1:] == [
        int((survey["hours"] > 0).sum()), int((survey["hours"] == -7.0).sum()), int((survey["works"] == 0.0).sum())
    ]  # fmt: skip
    assert result.summary["n_imputed"] == missing["imputed"].sum()
    assert result.summary["n_respondents"] == len(survey)
    assert not result.warnings


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize("suffix", ["csv", "parquet", "gpkg"])
def test_files_go_on_to_direct_estimates(survey, tmp_path, suffix):
    result = impute(survey, output=tmp_path / f"all.{suffix}", single=tmp_path / f"one.{suffix}")
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "gpkg": pyogrio.read_dataframe}[suffix]
    assert len(read(tmp_path / f"all.{suffix}")) == 3 * len(survey)
    one = read(tmp_path / f"one.{suffix}")
    assert len(one) == len(survey)
    assert "imputation" not in one.columns
    assert one["imputed_income"].sum() == survey["income"].isna().sum()
    call = {
        "area_field": "dist", "indicators": ["mean(income)", "office = proportion(job = office)"], "weight": "w",
        "strata": "region", "imputation_field": "imputation",
    }  # fmt: skip
    from_file = smallarea.direct_estimates(table=tmp_path / f"all.{suffix}", **call)
    pd.testing.assert_frame_equal(from_file.table, smallarea.direct_estimates(table=result.table, **call).table)
    assert (from_file.table["fmi_income"] > 0.0).all()


@pytest.mark.usefixtures("noise")
def test_the_same_seed_gives_the_same_tables(survey):
    first, again, other = impute(survey), impute(survey), impute(survey, seed=2)
    pd.testing.assert_frame_equal(first.table, again.table)
    assert not first.table["income"].equals(other.table["income"])


def test_what_the_model_is_told(survey, make_map, noise):
    areas = make_map(2, 4)
    survey.loc[:3, "dist"] = None
    result = impute(
        survey, areas=areas, id_field="code", area_covariates=["x1", "x2"], strata=["region", "note"],
        settings={"draws": "200", "eta": "1.5", "fast": "true", "name": "a"},
    )  # fmt: skip
    assert noise == [("mvn", {"draws": 200, "eta": 1.5, "fast": True, "name": "a"})]
    context = result.imputed.encoded.context
    assert context.areas == ("(no area)", *sorted(survey["dist"].dropna().unique()))
    assert len(np.unique(context.stratum)) == 4
    place = context.names.index("x1 of the area")
    x1 = areas.set_index("code")["x1"].reindex(survey["dist"]).to_numpy()
    x1 = np.where(np.isnan(x1), np.nanmean(x1), x1)
    assert abs(np.corrcoef(context.covariates[:, place], x1)[0, 1]) == pytest.approx(1.0)
    assert result.table["dist"].isna().sum() == 3 * 4
    assert [column for column in result.table.columns if "of the" in column] == []
    assert sum("no area" in note for note in result.notes) == 2


@pytest.mark.usefixtures("noise")
def test_codes_in_words_do_not_make_a_column_text(survey, tmp_path):
    worded = survey.assign(income=survey["income"].astype(object))
    worded.loc[survey["income"].isna(), "income"] = "refused"
    worded.to_csv(tmp_path / "survey.csv", index=False)
    result = impute(tmp_path / "survey.csv", refused={"income": "refused", "health": "9", "hours": "-7"})
    assert result.table["income"].dtype == float
    assert any("hold numbers" in note for note in result.notes)
    with pytest.raises(TableProblem, match="Text among the numbers of 'income'"):
        impute(tmp_path / "survey.csv", refused={"health": "9", "hours": "-7"})


@pytest.mark.usefixtures("noise")
def test_rows_without_a_weight(survey):
    survey.loc[[3, 8], "w"] = np.nan
    survey.loc[11, "region"] = None
    with pytest.raises(TableProblem, match="3 rows do not say their place in the sampling design: rows 4, 9, 12"):
        impute(survey)
    result = impute(survey, missing_design="drop")
    assert len(result.table) == 3 * (len(survey) - 3)
    assert any("3 rows" in note for note in result.notes)


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("income", -5.0, "in rows 7"),
        ("income", np.inf, "rows 7"),
        ("age", np.nan, "rows have no 'age': rows 7"),
        ("age", np.inf, "'age', rows 7"),
        ("w", -1.0, "rows 7"),
        ("works", 0.0, "rows 7"),
        ("job", 5.0, "mixes text and numbers"),
    ],
)
def test_rows_are_those_of_the_file(survey, column, value, said):
    """The first data row is 1, also where rows before it were left out for want of a weight, also from a file."""
    survey.loc[6, ["works", "hours"]] = [1.0, 30.0]
    survey.loc[[1, 3], "w"] = np.nan
    survey[column] = survey[column].astype(object if column == "job" else float)
    survey.loc[6, column] = value
    with pytest.raises(TableProblem, match=said) as problem:
        impute(survey, missing_design="drop")
    assert "rows 8" not in str(problem.value)


@pytest.mark.usefixtures("noise")
def test_one_table_alone_is_warned_of(survey, tmp_path):
    assert "too small" in impute(survey, imputations=1).warnings[0]
    assert "too small" in impute(survey, single=tmp_path / "one.csv").warnings[0]


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"variables": []}, JobProblem, "No variable to impute"),
        ({"variables": ["income", "age"]}, JobProblem, "'age' is both a variable and"),
        ({"method": "magic"}, JobProblem, "no method 'magic'"),
        ({"imputations": 0}, JobProblem, "imputations is 0"),
        ({"ranges": {"income": "positive"}}, JobProblem, "'positive' of 'income' cannot be read"),
        ({"ranges": {"income": ".."}}, JobProblem, "cannot be read"),
        ({"ranges": {"income": "0..1"}}, TableProblem, "outside its range"),
        ({"kinds": {"income": "odd"}}, JobProblem, "Unknown kinds"),
        ({"kinds": {"job": "ordinal"}}, TableProblem, "job='ordinal: craft < office < other', put into the right"),
        ({"kinds": {"job": "ordinal: craft < office"}}, TableProblem, "its order does not have: 'other' in rows"),
        ({"kinds": {"job": "nominal: craft < office"}}, JobProblem, "cannot be read"),
        ({"kinds": {"job": "ordinal: craft < craft"}}, JobProblem, "cannot be read"),
        ({"deltas": {"age": 0.3}}, JobProblem, "A delta is given for 'age'"),
        ({"deltas": {"job": 0.3}}, JobProblem, "without an order cannot be shifted: 'job'"),
        ({"deltas": {"works": 0.3}}, JobProblem, "asked another question depends on 'works'"),
        ({"deltas": {"income": "much"}}, JobProblem, "deltas are numbers"),
        ({"refused": {"health": "nine"}}, JobProblem, "not all numbers"),
        ({"refused": {"health": "8"}}, TableProblem, "no row has the code '8' in 'health'"),
        ({"refused": {"helth": "9"}}, JobProblem, "'helth'.*not among the variables"),
        ({"not_asked": {"hours": "-7"}}, JobProblem, "both as not asked and as refused"),
        ({"skips": "hours if works"}, JobProblem, "cannot be read"),
        ({"skips": ["hours asked if works = 1", "hours asked if works = 0"]}, JobProblem, "Contradictory rules"),
        ({"skips": "hours asked if works = 0"}, TableProblem, "answer 'hours' although"),
        ({"area_covariates": "x1"}, JobProblem, "fields of polygons"),
        ({"overimputation_share": 0.1}, JobProblem, "is for the report"),
        ({"overimputation_share": 1.0, "report": "r.html"}, JobProblem, "from 0 to below 1"),
        ({"weight": "weights"}, TableProblem, "weights"),
        ({"area_field": "district"}, TableProblem, "district"),
        ({"imputation_field": "note"}, JobProblem, "column 'note' already"),
        ({"output": "all.xlsx"}, OutputProblem, "all.xlsx"),
    ],
)
def test_mistakes_are_named(survey, change, error, said):
    with pytest.raises(error, match=said):
        impute(survey, **change)


@pytest.mark.usefixtures("noise")
def test_text_with_an_order(survey):
    order = ["other", "craft", "office"]
    said = impute(survey, kinds={"job": "ordinal: other < craft < office"})
    ordered = impute(survey.assign(job=pd.Categorical(survey["job"], categories=order, ordered=True)))
    for result in (said, ordered):
        job = next(one for one in result.imputed.variables if one.name == "job")
        assert (job.kind, job.categories) == ("ordinal", ("other", "craft", "office"))
        known = survey["job"].notna().to_numpy()
        assert (result.completed(0).loc[known, "job"] == survey.loc[known, "job"]).all()
        assert result.table["job"].isin(order).all()
    pd.testing.assert_frame_equal(said.table, ordered.table)


@pytest.mark.usefixtures("noise")
def test_deltas_go_through_to_the_tables(survey):
    plain, shifted = impute(survey), impute(survey, deltas={"hours": -0.5})
    lost, sd = (survey["hours"] == -7.0).to_numpy(), survey["hours"].mask(survey["hours"] == -7.0).std(ddof=0)
    for m in range(3):
        moved = shifted.completed(m)["hours"] - plain.completed(m)["hours"]
        assert moved[lost].to_numpy() == pytest.approx(-0.5 * sd)
        assert (moved[~lost].dropna() == 0.0).all()
    pd.testing.assert_series_equal(shifted.table["income"], plain.table["income"])
    assert "'hours' by -0.5" in " ".join(shifted.notes)
    assert shifted.settings["deltas"] == {"hours": -0.5}


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("income", lambda f: np.full(len(f), np.nan), "All 240 answers of 'income' are missing"),
        ("income", lambda f: np.where(f.index < 3, f.index + 1.0, np.nan), "only 3 answers"),
        ("job", lambda f: np.where(f.index % 7 == 0, None, "craft"), "constant column"),
        ("age", lambda f: np.where(f.index == 5, np.nan, f["age"]), "1 rows have no 'age'"),
        ("imputed_income", lambda f: 0, "'imputed_income' already"),
    ],
)
def test_tables_that_cannot_be_imputed(survey, column, values, said):
    survey[column] = values(survey)
    with pytest.raises(SmallareaError, match=said):
        impute(survey)


@pytest.mark.usefixtures("noise")
def test_doubtful_columns_are_imputed_and_noted(survey):
    survey.loc[survey.index % 40 != 0, "income"] = np.nan
    survey.loc[5, "job"] = "diver"
    notes = " ".join(impute(survey).notes)
    assert "'income' are missing" in notes
    assert "Seen once in 'job': 'diver'" in notes


@pytest.mark.usefixtures("noise")
def test_a_failed_run_leaves_the_files_of_an_earlier_one(survey, tmp_path):
    out = tmp_path / "all.csv"
    out.write_text("earlier")
    with pytest.raises(SmallareaError):
        impute(survey, output=out, single=tmp_path / "none" / "there" / "one.csv")
    assert out.read_text() == "earlier"


def random_column(rng, n):
    """A column such as files have: numbers, codes, words, skewed ones, yes and no, infinite ones; with gaps."""
    kinds = [
        rng.normal(size=n),
        rng.integers(0, 4, n).astype(float),
        rng.choice(["a", "b", "", "7"], n).astype(object),
        np.exp(5.0 * rng.normal(size=n)),
        rng.choice([True, False], n).astype(object),
        rng.choice([np.inf, 0.0, 1.0], n, p=[0.05, 0.5, 0.45]),
    ]
    column = pd.Series(kinds[rng.integers(len(kinds))])
    return column.mask(rng.uniform(size=n) < rng.choice([0.0, 0.2, 0.9]))


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize("seed", range(25))
def test_random_tables_are_imputed_or_refused_with_a_reason(seed):
    rng = np.random.default_rng([77, seed])
    n = int(rng.integers(6, 40))
    frame = pd.DataFrame({f"v{k}": random_column(rng, n) for k in range(4)})
    frame["dist"] = rng.choice(["p", "q", None], n)
    names = [f"v{k}" for k in range(4)]
    try:
        result = smallarea.impute(table=frame, variables=names, area_field="dist", imputations=2)
    except (JobProblem, TableProblem):
        return
    assert result.table[names].notna().all().all()


def test_a_real_model_carries_areas_to_the_estimates():
    # Areas differ by several standard errors, half of the answers of an area are missing: imputed answers must keep
    # its level, and what is not known must widen its interval.
    rng = np.random.default_rng(3)
    area = np.repeat(np.arange(6), 60)
    y = 10.0 * area + rng.normal(size=360)
    frame = pd.DataFrame({"dist": [f"A{a}" for a in area], "y": y, "z": y + rng.normal(size=360)})
    frame.loc[(area == 5) & (np.arange(360) % 2 == 0), "y"] = np.nan
    result = smallarea.impute(table=frame, variables=["y", "z"], area_field="dist", imputations=5)
    found = smallarea.direct_estimates(
        table=result.table, area_field="dist", indicators="mean(y)", imputation_field="imputation"
    ).table
    assert abs(found["y"][5] - 50.0) < 1.0
    assert found["fmi_y"][5] > 0.05
    assert (found["fmi_y"][:5] < 0.01).all()


@pytest.mark.usefixtures("noise")
def test_the_report_says_what_was_missing_where(survey, make_map, tmp_path):
    survey.loc[survey["job"] == "craft", "job"] = "<script>alert(1)</script>"
    survey.loc[2, "dist"] = None
    impute(survey, areas=make_map(2, 4), id_field="code", report=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert f'<td class="num">{survey["income"].isna().sum()}</td>' in page
    assert "Map of the share" in page
    assert "<script" not in page


@pytest.mark.usefixtures("noise")
def test_hidden_answers_are_scored(survey, tmp_path):
    result = impute(survey, overimputation_share=0.2, report=tmp_path / "report.html")
    scores = result.hidden.scores.set_index("variable")
    assert set(scores.index) == set(CALL["variables"])
    pd.testing.assert_frame_equal(result.table, impute(survey).table)  # the imputations are those without it
    assert "hidden" in (tmp_path / "report.html").read_text().lower()
