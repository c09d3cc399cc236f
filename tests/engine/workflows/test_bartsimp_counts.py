"""Counted outcomes of clusters as users meet them: fit, surface, areas, effects, cross-validation, errors, CLI."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import smallarea
from bartsimp_world import call, make_country
from click.testing import CliRunner
from openpyxl import load_workbook
from scipy import special
from smallarea.cli import cli
from smallarea.errors import JobProblem, ModelProblem, TableProblem
from smallarea.unit_level.likelihoods import counts_of
from smallarea.unit_level.posterior_file import load_posterior
from smallarea.workflows import bartsimp_counts


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    """Rows of clusters with shares and counts that are high where the normal outcome is."""
    folder = tmp_path_factory.mktemp("country")
    rows, _ = make_country(folder)
    random = np.random.default_rng(4)
    level = rows["y"] - rows["y"].mean()
    rows["n"] = random.integers(3, 9, len(rows))
    rows["sick"] = random.binomial(rows["n"], special.expit(level - 1.0))
    rows["years"] = random.uniform(0.5, 2.0, len(rows)).round(2)
    rows["cases"] = random.poisson(rows["years"] * np.exp(0.5 * level + 1.0))
    rows["one"] = random.binomial(1, special.expit(level))
    rows.to_csv(folder / "counts.csv", index=False)
    return folder, rows


BINOMIAL = {"likelihood": "binomial", "outcome_field": "sick", "trials_field": "n"}
COUNTS = {"likelihood": "negative_binomial", "outcome_field": "cases", "exposure_field": "years"}


@pytest.fixture(scope="module", params=[BINOMIAL, COUNTS], ids=lambda p: p["likelihood"])
def fitted(request, country):
    folder, _ = country
    name = request.param["likelihood"]
    outputs = {kind: folder / f"{name}.{end}" for kind, end in
               (("posterior", "npz"), ("csv", "csv"), ("excel", "xlsx"), ("report", "html"))}  # fmt: skip
    return smallarea.fit_bartsimp(folder / "counts.csv", **call(folder, **request.param), **outputs), outputs


def test_rows_are_added_up_to_clusters_and_files_are_on_the_scale_of_the_outcome(country, fitted):
    _, rows = country
    result, outputs = fitted
    clusters, settings = result.posterior.clusters, result.settings
    size = settings["trials_field"] or settings["exposure_field"]
    sums = rows.groupby(["east", "north"])[[settings["outcome_field"], size]].sum()
    mine = pd.DataFrame({"y": counts_of(clusters), "n": clusters.sizes},
                        index=pd.MultiIndex.from_arrays(clusters.coordinates.T)).sort_index()  # fmt: skip
    np.testing.assert_allclose(mine.to_numpy(), sums.sort_index().to_numpy())
    table = result.clusters()
    whole = result.posterior.predict(clusters.coordinates, clusters.covariates).total
    np.testing.assert_allclose(table["fitted"], whole.mean(axis=0), rtol=2e-3)
    assert pd.read_csv(outputs["csv"])["prior"][0] == "P(sigma_e > 1) = 0.05"
    assert load_workbook(outputs["excel"]).sheetnames[:3] == ["Hyperparameters", "Covariates", "Clusters"]
    page = outputs["report"].read_text(encoding="utf-8")
    assert settings["likelihood"].replace("_", " ") in page
    assert ("scale of logits" if settings["likelihood"] == "binomial" else "one over its square") in page


def test_surfaces_areas_and_effects(country, fitted, tmp_path):
    folder, _ = country
    result, outputs = fitted
    likelihood = result.settings["likelihood"]
    found = smallarea.predict_surface(
        folder / "regions.gpkg", id_field="code", posterior=outputs["posterior"], rasters=folder / "covariates.tif",
        draws=30, surface=tmp_path / "s.tif",
    )  # fmt: skip
    assert any(("expected shares" if likelihood == "binomial" else "expected rates") in note for note in found.notes)
    with rasterio.open(tmp_path / "s.tif") as source:
        mean = source.read(1)
    assert mean.min() > 0.0
    if likelihood == "binomial":
        assert mean.max() < 1.0
    estimates = found.table["estimate"].dropna()
    assert estimates.min() > 0.3 * result.posterior.clusters.mean
    assert estimates.max() < 3.0 * result.posterior.clusters.mean
    effects = smallarea.partial_dependence(outputs["posterior"], draws=20)
    assert effects.scale == ("logit of sick" if likelihood == "binomial" else "log of cases")
    assert any("scale of the model" in note for note in effects.notes)
    # On that scale: the mean of the curve's draws is the trees' mean plus the centre.
    posterior = load_posterior(outputs["posterior"])
    trees = posterior.trees_at(posterior.clusters.covariates, posterior.thinned(20))
    wanted = posterior.centre + (trees @ posterior.clusters.sizes / posterior.clusters.sizes.sum()).mean()
    curve = effects.curves[effects.curves["effect"] == "partial_dependence"]
    assert curve["estimate"].min() - 0.5 < wanted < curve["estimate"].max() + 0.5


def test_one_trial_a_row_is_the_same_as_trials_of_the_cluster(country):
    folder, rows = country
    quick = {"likelihood": "binomial", "outcome_field": "one", "warmup": 10, "draws": 10}
    single = smallarea.fit_bartsimp(rows, **call(folder, **quick))
    whole = rows.groupby(["east", "north"], as_index=False).agg(one=("one", "sum"), n=("one", "size"))
    summed = smallarea.fit_bartsimp(whole, **call(folder, **quick, trials_field="n"))
    np.testing.assert_array_equal(single.posterior.sigma_e, summed.posterior.sigma_e)
    np.testing.assert_array_equal(single.posterior.field, summed.posterior.field)


def test_a_cross_validation_scores_shares(country):
    folder, rows = country
    result = smallarea.fit_bartsimp(rows, **call(folder, **BINOMIAL, folds=2, warmup=30, draws=30))
    assert result.comparison.table["model"].tolist() == ["bartsimp", "bart", "spde", "spde0"]
    assert any("bartsimp" in note and "than spde" in note for note in result.notes)
    points = result.comparison.clusters
    assert points["lower"].min() >= 0.0
    assert points["upper"].max() <= 1.0
    # Limits are shares that so many trials can have.
    at = points["upper"] * points["observations"]
    assert np.abs(at - at.round()).max() < 1.0
    assert result.comparison.table["coverage"].min() > 0.7


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"likelihood": "poisson"}, JobProblem, "no likelihood 'poisson'"),
        ({"likelihood": "binomial", "exposure_field": "years"}, JobProblem, "exposure_field belongs to"),
        ({"exposure_field": "years"}, JobProblem, "exposure_field belongs to"),
        ({**COUNTS, "trials_field": "n"}, JobProblem, "trials_field belongs to shares"),
        ({**BINOMIAL, "rank": 10}, JobProblem, "rank' belong to the likelihood normal"),
        ({**BINOMIAL, "leaf_spread": "clusters"}, JobProblem, "leaf_spread"),
        ({**BINOMIAL, "preset": "paper"}, JobProblem, "preset"),
        ({**BINOMIAL, "displaced": True}, JobProblem, "displaced clusters are learned with the likelihood normal"),
        ({"likelihood": "binomial", "outcome_field": "y"}, TableProblem, "'y': Counts must be whole numbers"),
        ({**BINOMIAL, "trials_field": "one"}, TableProblem, "'sick' and 'one': Trials must be"),
        ({**COUNTS, "exposure_field": "none"}, TableProblem, "Exposures must be above 0"),
        ({"likelihood": "negative_binomial", "outcome_field": "none"}, ModelProblem, "Nothing was counted"),
    ],
)
def test_what_cannot_be_is_refused(country, more, error, message):
    folder, rows = country
    with pytest.raises(error, match=message):
        smallarea.fit_bartsimp(rows.assign(none=0.0), **call(folder, **more))


def test_the_command_line_reaches_it(country, tmp_path):
    folder, _ = country
    out = tmp_path / "h.csv"
    arguments = [
        "bartsimp", "fit", "--table", str(folder / "counts.csv"), "--longitude-field", "east", "--latitude-field",
        "north", "--point-crs", "EPSG:32736", "--outcome-field", "cases", "--exposure-field", "years", "--likelihood",
        "negative_binomial", "--raster", str(folder / "covariates.tif"), "--categorical", "land", "--trees", "5",
        "--chains", "2", "--warmup", "10", "--draws", "10", "--csv", str(out),
    ]  # fmt: skip
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 0, found.output
    assert pd.read_csv(out)["parameter"].tolist() == ["sigma_e", "range", "sigma_m"]


def test_many_clusters_are_sent_to_a_mesh(country, monkeypatch):
    folder, rows = country
    monkeypatch.setattr(bartsimp_counts, "MANY_CLUSTERS", 50)
    quick = {**BINOMIAL, "warmup": 10, "draws": 10}
    assert any("mesh_nodes" in note for note in smallarea.fit_bartsimp(rows, **call(folder, **quick)).notes)
    for more in ({"mesh_nodes": 60}, {"model": "bart"}):
        notes = smallarea.fit_bartsimp(rows, **call(folder, **quick, **more)).notes
        assert not any("factored several times" in note for note in notes)
