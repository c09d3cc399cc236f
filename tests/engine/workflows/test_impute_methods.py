"""Every method through the task and the command: completed tables, odd columns, the same seed."""

import numpy as np
import pandas as pd
import pytest
import smallarea
from click.testing import CliRunner
from smallarea.cli import cli
from smallarea.errors import JobProblem, ModelProblem, SmallareaError, TableProblem
from smallarea.survey.imputation.method import METHODS

NAMES = ["x", "y", "income", "rank", "yes", "region", "hours"]
ODD = ["seen once", "nearly all missing", "few answers of a text", "one area", "complete"]
# Enough to run every line, not enough to learn.
QUICK = {
    "mvn": {"draws": 10, "warmup": 5, "sweeps": 2},
    "chained": {"warmup": 2, "cycles": 1},
    "hotdeck": {},
    **{name: {"epochs": 3, "sweeps": 3, "hidden": 8} for name in ("vae", "vae-masked", "vae-mean")},
}


def survey(n=120):
    """Columns of all kinds; hours are asked of those who said yes."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=n)
    yes = (x + rng.normal(size=n) > 0).astype(float)
    frame = pd.DataFrame(
        {
            "dist": rng.choice(["A", "B", "C"], n),
            "w": rng.uniform(1.0, 3.0, n),
            "x": x,
            "y": x + rng.normal(size=n),
            "income": np.exp(7.0 + x + rng.normal(size=n)),
            "rank": np.clip(np.round(3.0 + x), 1, 5),
            "yes": yes,
            "region": rng.choice(["north", "south", "west"], n),
            "hours": np.where(yes == 1, rng.uniform(1, 60, n).round(1), np.nan),
        }
    )
    for name in NAMES[1:]:
        frame.loc[rng.random(n) < 0.08, name] = np.nan
    return frame


def call(table, method, **more):
    options = {
        "variables": NAMES, "method": method, "settings": QUICK[method], "ranges": {"hours": "0..60"},
        "skips": "hours asked if yes = 1", "area_field": "dist", "weight": "w", "imputations": 2,
    }  # fmt: skip
    return smallarea.impute(table=table, **(options | more))


@pytest.mark.parametrize("method", METHODS)
def test_mixed_columns_and_rules(method):
    frame = survey()
    result = call(frame, method)
    for m in range(2):
        done = result.completed(m)
        assert done[NAMES[:-1]].notna().all().all()
        np.testing.assert_array_equal(done["hours"].notna(), done["yes"] == 1)
        assert done["hours"].dropna().between(0, 60).all()
        assert set(done["rank"]) <= {1, 2, 3, 4, 5}
        assert set(done["region"]) == {"north", "south", "west"}
        assert (done["income"] > 0).all()
        known = frame["income"].notna()
        assert (done.loc[known, "income"] == frame.loc[known, "income"]).all()
    pd.testing.assert_frame_equal(result.table, call(frame, method).table)
    assert any("on normal scores" in note for note in result.notes) == method.startswith("vae")
    assert not result.table.equals(call(frame, method, seed=2).table)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "more", "error", "said"),
    [
        ({"y": np.nan}, {}, TableProblem, "All 120 answers of 'y' are missing"),
        ({"rank": 3.0}, {}, TableProblem, "Every answer of 'rank' is '3.0': a constant column"),
        ({"y": "text"}, {}, TableProblem, "Text among the numbers of 'y': 'many' in rows 8"),
        ({"w": "gap"}, {}, TableProblem, "rows 8"),
        ({}, {"skips": ["hours asked if yes = 1", "hours asked if yes = 0"]}, JobProblem, "Contradictory rules"),
        ({}, {"settings": {"odd": 1}}, JobProblem, "no setting 'odd'"),
    ],
)
def test_what_no_method_takes(method, change, more, error, said):
    frame = survey()
    for name, value in change.items():
        if value == "text":
            frame[name] = frame[name].astype(object)
            frame.loc[7, name] = "many"
        elif value == "gap":
            frame.loc[7, name] = np.nan
        else:
            frame[name] = value
    with pytest.raises(error, match=said):
        call(frame, method, **more)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("odd", ODD)
def test_odd_tables_are_completed_or_refused_with_a_reason(method, odd):
    frame = survey()
    rows = np.arange(len(frame))
    if odd == "seen once":
        frame.loc[5, "region"] = "island"
    elif odd == "nearly all missing":
        frame["y"] = frame["y"].where(rows % 16 == 1)
    elif odd == "few answers of a text":
        frame["region"] = frame["region"].where(rows % 16 == 1)
    elif odd == "one area":
        frame["dist"] = "A"
    else:
        frame = frame.dropna(subset=NAMES[:-1])
        frame = frame[frame["hours"].notna() | (frame["yes"] == 0)]
    if method in ("chained", "vae") and odd in ("nearly all missing", "few answers of a text"):
        with pytest.raises(ModelProblem, match=r"'y' has only|'region: |complete rows"):
            call(frame, method, imputations=1)
        return
    result = call(frame, method, imputations=1)
    assert result.table[NAMES[:-1]].notna().all().all()
    expected = {
        "seen once": "Seen once in 'region': 'island'", "nearly all missing": "of 'y' are missing",
        "few answers of a text": "of 'region' are missing", "one area": "", "complete": "No answer is missing",
    }  # fmt: skip
    assert expected[odd] in " ".join(result.notes)


@pytest.mark.parametrize("method", METHODS)
def test_by_the_command(method, tmp_path):
    frame = survey()
    frame.to_csv(tmp_path / "survey.csv", index=False)
    words = ["survey", "impute", "--table", tmp_path / "survey.csv", "--method", method, "--imputations", 2,
             "--area-field", "dist", "--weight", "w", "--range", "hours=0..60", "--skip", "hours asked if yes = 1",
             "--output", tmp_path / "done.csv"]  # fmt: skip
    for name in NAMES:
        words += ["--variable", name]
    for name, value in QUICK[method].items():
        words += ["--setting", f"{name}={value}"]
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    read = pd.read_csv(tmp_path / "done.csv")
    pd.testing.assert_frame_equal(read, call(tmp_path / "survey.csv", method).table, check_dtype=False, rtol=1e-12)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("mvn", {"draws": "many"}), ("mvn", {"lkj_shape": "x"}), ("mvn", {"posterior": 3}), ("mvn", {"draws": 2.5}),
        ("mvn", {"draws": 0}), ("chained", {"neighbours": 2.5}), ("hotdeck", {"fewest_donors": "x"}),
        ("vae", {"latent": "x"}), ("vae-masked", {"rate": "fast"}), ("vae-mean", {"epochs": True}),
    ],
)  # fmt: skip
def test_settings_that_are_no_numbers(method, settings):
    with pytest.raises(SmallareaError) as problem:
        call(survey(), method, settings=settings)
    assert problem.value.exit_code == 2
