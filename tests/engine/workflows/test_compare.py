"""From data to a comparison: the right model wins, the files say what the result says, faults are named."""

import json

import numpy as np
import openpyxl
import pandas as pd
import pytest
import smallarea
from smallarea.areas import AreaGraph
from smallarea.errors import Cancelled, GraphProblem, JobProblem, ModelProblem, OutputProblem, TableProblem
from smallarea.report.comparison import render_comparison
from smallarea.workflows.compare_models import parse_model, read_models

FAST = {"id_field": "code", "direct": "y", "variance": "v", "min_ess": 200}


@pytest.fixture
def squares(make_map):
    return make_map(6, 7)


def simulated(make_map, spatial, seed):
    """A map whose area effects are smooth, or independent with the same spread."""
    frame = make_map(9, 10)
    rng = np.random.default_rng(seed)
    centre = frame.geometry.centroid
    x, y = centre.x.to_numpy() / 1000.0, centre.y.to_numpy() / 1000.0
    effect = np.sin(x / 2.0 + rng.uniform(0, 6)) + np.cos(y / 2.0 + rng.uniform(0, 6))
    if not spatial:
        effect = rng.permutation(effect)
    v = rng.uniform(0.1, 0.4, size=len(frame))
    return frame.assign(v=v, y=5.0 + effect + rng.normal(size=len(frame)) * np.sqrt(v))


@pytest.mark.parametrize("criterion", ["loo", "cv_area", "thinning"])
def test_the_true_structure_wins(make_map, criterion):
    models = [{"random_effect": "iid"}, {"random_effect": "car"}]
    smooth = smallarea.compare(simulated(make_map, True, 1), models=models, criteria=criterion, repeats=2, **FAST)
    assert smooth.best[criterion] == "car"
    behind = smooth.overall.set_index("model").loc["iid"]
    assert behind["difference"] < -2.0 * behind["difference_se"]
    rough = smallarea.compare(simulated(make_map, False, 1), models=models, criteria=criterion, repeats=2, **FAST)
    # A CAR with its independent part can do without neighbours: it may come near, and must not win clearly.
    assert rough.best[criterion] == "iid" or "iid" in rough.indistinct[criterion]


def test_without_an_independent_part_a_spatial_model_loses_on_independent_areas(make_map):
    found = smallarea.compare(
        simulated(make_map, False, 2), models=["iid", "icar iid_part=no name=smooth"], criteria=["loo"], **FAST
    )
    assert found.best == {"loo": "iid"}
    behind = found.scores.set_index("model").loc["smooth"]
    assert behind["difference"] < -2.0 * behind["difference_se"]


def test_leaving_out_agrees_with_refitting(make_map):
    squares = make_map(4, 6)
    # As many folds as areas: cross-validation is leaving one out, up to what one area says of the hyperparameters.
    found = smallarea.compare(
        squares, models=["iid", "leroux"], criteria=["loo", "cv_area"], folds=len(squares),
        **{**FAST, "min_ess": 1000},
    )  # fmt: skip
    wide = found.scores.pivot(index="model", columns="criterion", values="elpd")
    # A refit standardises anew and leave-one-out averages over 400 sets of hyperparameters: over four seeds the two
    # sums differed by 0.16 on average with an SD of 0.1, on 24 areas. The bound is three SDs above that.
    assert np.abs(wide["loo"] - wide["cv_area"]).max() < 0.5
    cells = found.cells.pivot(index=["model", "area"], columns="criterion", values="predicted_sd")
    assert np.abs(np.log(cells["loo"] / cells["cv_area"])).max() < 0.1


def test_every_criterion_on_several_responses(squares, tmp_path):
    rng = np.random.default_rng(3)
    squares["z"] = squares["y"] * 10.0 + rng.normal(size=len(squares))
    squares["w"] = squares["v"] * 50.0
    squares.loc[3, "z"] = np.nan
    paths = {
        "csv": tmp_path / "s.csv", "cells": tmp_path / "c.csv", "excel": tmp_path / "b.xlsx",
        "report": tmp_path / "r.html",
    }  # fmt: skip
    found = smallarea.compare(
        squares, id_field="code", direct=["y", "z"], variance=["v", "w"], sampling_correlation=0.3,
        models=["iid independent", {"random_effect": "car", "link": "chain", "order": ["z", "y"]},
                "iid separable reml"],
        criteria=["loo", "waic", "cv_area", "cv_block", "thinning", "information"], folds=3, repeats=2, min_ess=200,
        covariates=["x1"], **paths,
    )  # fmt: skip
    names = ["iid independent", "car chain z | y", "iid separable reml"]
    assert found.models["model"].tolist() == names
    for criterion in ("loo", "cv_area", "cv_block", "thinning"):
        of = found.scores[found.scores["criterion"] == criterion]
        assert of["response"].unique().tolist() == ["y", "z", "all"]
        assert of.set_index("response")["n"].to_dict() == {"y": 42, "z": 41, "all": 42}
        best = of[(of["response"] == "all")].iloc[0]
        assert (best["difference"], best["model"]) == (0.0, found.best[criterion])
    waic = found.scores[found.scores["criterion"] == "waic"]
    assert waic["response"].unique().tolist() == ["all"]
    cells = found.cells
    joint = cells[(cells["criterion"] == "cv_block") & (cells["response"] == "all") & (cells["model"] == names[0])]
    single = cells[(cells["criterion"] == "cv_block") & (cells["response"] != "all") & (cells["model"] == names[0])]
    together = single.groupby("area")["log_score"].sum()
    assert not np.allclose(joint.set_index("area")["log_score"].reindex(together.index), together)
    assert set(cells.loc[cells["criterion"] == "cv_block", "fold"].dropna()) == {0.0, 1.0, 2.0}
    information = found.information.set_index("model")
    assert information.loc[names[2], ["aic", "caic", "effective_df"]].notna().all()
    assert information.loc[names[0], "log_marginal_likelihood"] < 0
    pd.testing.assert_frame_equal(pd.read_csv(paths["csv"]), found.scores, check_dtype=False)
    assert len(pd.read_csv(paths["cells"], dtype={"area": str})) == len(cells)
    book = openpyxl.load_workbook(paths["excel"])
    assert book.sheetnames[:4] == ["Scores", "Information criteria", "Models", "Cells"]
    page = paths["report"].read_text(encoding="utf-8")
    assert all(name in page for name in names)
    assert render_comparison(found) == render_comparison(found)


def test_cells_one_by_one(squares):
    squares["z"], squares["w"] = squares["y"] + 1.0, squares["v"] * 2.0
    found = smallarea.compare(
        squares, id_field="code", direct=["y", "z"], variance=["v", "w"], sampling_correlation=0.5,
        models=["iid separable reml", "iid independent reml"], unit="cell", criteria="loo",
    )  # fmt: skip
    assert found.scores.set_index("response").loc["all", "n"].tolist() == [84, 84]
    # The other response's sampling error is in the prediction, so that the truth cannot be told from it.
    assert found.scores["mse_truth"].isna().all()
    assert found.scores["coverage"].notna().all()


def test_the_ladder_depends_on_what_is_known(squares):
    found = smallarea.compare(squares, **FAST)
    assert found.models["model"].tolist() == ["iid", "car", "leroux", "bym2"]
    assert found.settings["criteria"] == ["loo", "information"]
    table = pd.DataFrame(squares.drop(columns="geometry"))
    alone = smallarea.compare(table=table, **FAST)
    assert alone.models["model"].tolist() == ["iid"]
    assert alone.graph is None


def test_information_criteria_are_those_of_the_fit(squares):
    models = ["iid reml", "iid fh", "car reml", "sar ml", "iid"]
    found = smallarea.compare(squares, models=models, covariates=["x1"], criteria=["information"], **FAST)
    table = found.information.set_index("model")
    for effect, method in (("iid", "reml"), ("iid", "fh"), ("car", "reml"), ("sar", "ml")):
        fit = smallarea.fit(
            squares, id_field="code", direct="y", variance="v", covariates=["x1"], random_effect=effect, method=method
        )
        row = table.loc[f"{effect} {method}"]
        for name in ("aic", "bic", "log_likelihood", "restricted_log_likelihood"):
            assert row[name] == pytest.approx(fit.fit_statistics[name], abs=1e-4), (effect, name)
    assert not len(found.scores)
    assert table["caic"].notna().tolist() == [True, False, True, False, False]
    # Estimates that do not shrink at all would have as many degrees of freedom as areas.
    assert (table["effective_df"].dropna() < 42).all()


def test_all_models_see_the_same_areas(squares):
    squares.loc[[2, 8], "x2"] = np.nan
    common = {**FAST, "models": ["iid reml", "iid reml covariates=x2"], "criteria": "loo"}
    with pytest.raises(TableProblem, match="x2"):
        smallarea.compare(squares, **common)
    found = smallarea.compare(squares, missing_covariates="drop", **common)
    assert found.scores["n"].tolist() == [40, 40]
    assert any("left out of all" in text for text in found.warnings)


def test_blocks_without_polygons(squares):
    edges = [(i, i + 1) for i in range(41)]
    graph = AreaGraph.from_edges(squares["code"].tolist(), np.array(edges))
    table = pd.DataFrame(squares.drop(columns="geometry"))
    found = smallarea.compare(table=table, graph=graph, models=["iid reml"], criteria="cv_block", folds=4, **FAST)
    folds = found.cells.set_index("area")["fold"].reindex(squares["code"]).to_numpy()
    # Blocks of a path are stretches of it.
    assert (np.diff(folds) != 0).sum() == 3
    with pytest.raises(GraphProblem, match="cv_block needs"):
        smallarea.compare(table=table, models=["iid reml"], criteria="cv_block", **FAST)
    with pytest.raises(GraphProblem, match="'car'"):
        smallarea.compare(table=table, models=["car"], **FAST)


def test_the_same_seed_the_same_scores(squares):
    models, criteria = ["iid reml", "iid fh"], ["cv_area", "cv_block", "thinning"]
    one, two = (smallarea.compare(squares, models=models, criteria=criteria, **FAST) for _ in range(2))
    pd.testing.assert_frame_equal(one.scores, two.scores)
    other = smallarea.compare(squares, models=models, criteria=criteria, **FAST, seed=2)
    assert not np.allclose(one.scores["elpd"], other.scores["elpd"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("car", {"random_effect": "car"}),
        ("iid reml", {"random_effect": "iid", "method": "reml"}),
        (
            "car chain order=a,b covariates= iid_part=no name='my model'",
            {"random_effect": "car", "link": "chain", "order": ["a", "b"], "covariates": [], "iid_part": False,
             "name": "my model"},
        ),
        (
            "priors.rho=Uniform(0,1) priors.sd_phi='PC(1, 0.05)' random_effect=leroux",
            {"priors": {"rho": "Uniform(0,1)", "sd_phi": "PC(1, 0.05)"}, "random_effect": "leroux"},
        ),
    ],
)  # fmt: skip
def test_short_descriptions(text, parts):
    assert parse_model(text) == parts


@pytest.mark.parametrize(
    ("models", "said", "error"),
    [
        (["besag"], "unknown word 'besag'", JobProblem),
        (["car car"], "twice", JobProblem),
        ([""], "empty", JobProblem),
        (["car name='x"], "quotation", JobProblem),
        (["car iid_part=maybe"], "yes or no", JobProblem),
        ([{"effect": "car"}], "no 'effect'", JobProblem),
        ([{"random_effect": "car", "iid_part": "no"}], "true or false", JobProblem),
        (["car", "car"], "Give them names", JobProblem),
        (["car order=auto"], "for each order", JobProblem),
        (["sar"], "Model 'sar'", ModelProblem),
        (["iid robust"], "takes the methods", JobProblem),
        (["besag2=1"], "no 'besag2'", JobProblem),
    ],
)
def test_descriptions_that_make_no_sense(models, said, error):
    with pytest.raises(error, match=said):
        read_models(models, responses=("y",), covariates=(), method="bayes", spatial=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"criteria": ["dic"]}, "Criteria are"),
        ({"criteria": ["loo", "loo"]}, "each once"),
        ({"models": "car"}, "must be a list"),
        ({"folds": 1}, "folds"),
        ({"repeats": 0}, "repeats"),
        ({"thinning_share": 1.0}, "thinning_share"),
        ({"unit": "region"}, "unit"),
        ({"repair": 1}, "repair"),
    ],
)
def test_wrong_calls(squares, change, said):
    with pytest.raises(JobProblem, match=said):
        smallarea.compare(squares, **{**FAST, **change})


def test_an_output_of_another_kind(squares):
    with pytest.raises(OutputProblem, match="HTML"):
        smallarea.compare(squares, report="r.pdf", **FAST)


def test_a_fault_names_its_model(squares):
    squares["flat"] = 1.0
    with pytest.raises(ModelProblem, match="Model 'car on flat'"):
        smallarea.compare(squares, models=["iid reml", "car covariates=flat"], **FAST)


def test_progress_rises_and_cancelling_leaves_nothing(squares, tmp_path):
    told = []
    csv = tmp_path / "s.csv"
    smallarea.compare(squares, models=["iid reml", "iid"], criteria=["loo", "cv_area"], csv=csv, **FAST,
                      progress=lambda at, text: told.append((at, text)))  # fmt: skip
    percents = [at for at, _ in told]
    assert percents == sorted(percents)
    assert percents[-1] == pytest.approx(100.0)
    assert any(text == "iid: fit 3 of 6" for _, text in told)
    csv.unlink()

    def stop(at, text):
        if at > 60.0:
            raise Cancelled("stop")

    with pytest.raises(Cancelled, match="stop"):
        smallarea.compare(squares, models=["iid reml", "iid"], criteria=["cv_area"], csv=csv, progress=stop, **FAST)
    assert list(tmp_path.iterdir()) == []


def test_as_a_command_and_as_a_job(squares, tmp_path):
    from click.testing import CliRunner
    from smallarea.cli import cli

    squares.to_file(tmp_path / "map.gpkg")
    words = ["compare", str(tmp_path / "map.gpkg"), "--id-field", "code", "--direct", "y", "--variance", "v",
             "--model", "iid reml", "--model", "car reml name=near", "--criterion", "loo", "--criterion", "cv_block",
             "--csv", str(tmp_path / "one.csv")]  # fmt: skip
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    job = {
        "version": 1,
        "task": "compare",
        "parameters": {
            "areas": "map.gpkg", "id_field": "code", "direct": "y", "variance": "v", "criteria": ["loo", "cv_block"],
            "models": ["iid reml", {"random_effect": "car", "method": "reml", "name": "near"}], "csv": "two.csv",
        },
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = CliRunner().invoke(cli, ["run", str(tmp_path / "job.json"), "--json"])
    assert done.exit_code == 0, done.output
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["summary"]["n_models"] == 2
    assert set(event["summary"]["difference_loo"]) == {"iid reml", "near"}
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "one.csv"), pd.read_csv(tmp_path / "two.csv"))
