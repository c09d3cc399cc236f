"""Counts from a table to a map and a report; learned priors and Hamiltonian Monte Carlo in both kinds of fits."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import smallarea
from shapely import box
from smallarea.areas import build_adjacency, read_areas
from smallarea.errors import JobProblem, ModelProblem, PriorProblem, TableProblem
from smallarea.priors import family
from smallarea.priors.graph_filter import standard_filter
from smallarea.results.posterior import PosteriorDraws

SIDE = 6
SHORT = {"draws": 200, "chains": 2, "warmup": 150}


@pytest.fixture(scope="module")
def areas():
    """A lattice of squares and an island."""
    cells = [(x, y) for x in range(SIDE) for y in range(SIDE)] + [(2 * SIDE, 0)]
    return gpd.GeoDataFrame(
        {"code": [f"c{i}" for i in range(len(cells))], "west": [float(x) for x, _ in cells]},
        geometry=[box(x, y, x + 1, y + 1) for x, y in cells],
        crs="EPSG:3857",
    )


@pytest.fixture(scope="module")
def counts(areas):
    rng = np.random.default_rng(1)
    n = len(areas)
    people = rng.integers(20, 400, n)
    share = 1.0 / (1.0 + np.exp(1.5 - 0.2 * areas["west"].to_numpy() + 0.3 * rng.standard_normal(n)))
    cases = rng.binomial(people, share).astype(float)
    cases[[3, 20]] = np.nan
    cases[5] = 0.0
    observed = cases / people
    return pd.DataFrame(
        {
            "code": areas["code"], "cases": cases, "people": people, "more": rng.poisson(people * 0.02),
            "share": observed.clip(0.01), "variance": (0.05 + observed) / people, "age": rng.standard_normal(n),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(areas, counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    files = {name: folder / f"out.{end}" for name, end in (("output", "gpkg"), ("report", "html"), ("csv", "csv"))}
    result = smallarea.fit_counts(
        areas, id_field="code", table=counts, count="cases", trials="people", covariates=["west"],
        excel=folder / "out.xlsx", posterior=folder / "out.nc", **files, **SHORT,
    )  # fmt: skip
    return result, folder


def test_the_table_says_what_was_counted_and_estimated(fitted, counts):
    result, _ = fitted
    table = result.estimates
    np.testing.assert_allclose(table["direct"], counts["cases"] / counts["people"])
    share = (counts["cases"] + 0.5) / (counts["people"] + 1.0)
    np.testing.assert_allclose(table["direct_se"] ** 2, share * (1.0 - share) / counts["people"])
    assert table["sampled"].tolist() == counts["cases"].notna().tolist()
    assert table["estimate"].between(0.0, 1.0, inclusive="neither").all()
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()
    assert table["shrinkage"].isna().all()
    # Areas without a count are predicted, less surely than others; only mending is listed.
    unsampled = table.loc[~table["sampled"], "se"].min()
    assert unsampled > table.loc[table["sampled"], "se"].median()
    assert result.dropped.empty
    assert result.model["likelihood"] == "binomial"
    assert result.model["form"] == "density"


def test_estimates_lie_between_counts_and_regression(fitted):
    result, _ = fitted
    table, synthetic = result.estimates, result.area_diagnostics["synthetic"]
    seen = table["sampled"]
    near = np.abs(table["estimate"] - table["direct"])[seen].mean()
    assert 0.0 < near < np.abs(synthetic - table["direct"])[seen].mean()
    assert result.coefficients.set_index("term").loc["west", "estimate"] > 0.0


def test_the_files_hold_the_same(fitted):
    result, folder = fitted
    assert {path.name for path in folder.iterdir()} == {"out.gpkg", "out.html", "out.csv", "out.xlsx", "out.nc"}
    np.testing.assert_allclose(pd.read_csv(folder / "out.csv")["estimate"], result.estimates["estimate"])
    layer = gpd.read_file(folder / "out.gpkg", layer="estimates")
    np.testing.assert_allclose(layer["estimate"], result.estimates["estimate"])
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert "each count is binomial" in page
    assert "Hamiltonian Monte Carlo" in page
    assert "Divergent steps" in page
    draws = PosteriorDraws.load(folder / "out.nc")
    np.testing.assert_allclose(draws.theta.mean(axis=0)[:, 0], result.estimates["estimate"])


def test_draws_keep_their_chains(fitted):
    result, _ = fitted
    assert dict(result.posterior.to_arviz().posterior.sizes)["chain"] == 2


def test_several_responses_one_exposure_and_dropped_areas(areas, counts):
    table = counts.assign(age=counts["age"].where(counts.index != 8))
    result = smallarea.fit_counts(
        areas, id_field="code", table=table, likelihood="poisson", count=["cases", "more"], exposure="people",
        covariates=["age"], missing_covariates="drop", random_effect="leroux", **SHORT,
    )  # fmt: skip
    lost = result.estimates["area"] == "c8"
    assert result.estimates.loc[lost, "estimate"].isna().all()
    assert result.estimates.loc[~lost, "estimate"].gt(0.0).all()
    assert np.isnan(result.posterior.theta[:, 8]).all()
    assert "no estimate: covariate missing" in set(result.dropped["reason"])
    assert any(name.startswith("correlation") for name in result.hyperparameters["name"])


def test_a_learned_prior_and_its_gate(areas, counts, tmp_path):
    graph = build_adjacency(read_areas(areas, id_field="code"))
    prior = standard_filter(family("car", upper=0.999), graph)
    call = {"id_field": "code", "table": counts, "count": "cases", "trials": "people", **SHORT}
    result = smallarea.fit_counts(areas, spatial_prior=prior, **call)
    assert result.model["form"] == "prior"
    assert result.model["architecture"] == "graph-filter"
    assert any("no fidelity certificate" in warning for warning in result.warnings)
    from smallarea.priors.files.prior_file import save_prior

    save_prior(tmp_path / "prior.safetensors", prior)
    again = smallarea.fit_counts(areas, spatial_prior=tmp_path / "prior.safetensors", **call)
    pd.testing.assert_frame_equal(again.estimates, result.estimates)
    with pytest.raises(PriorProblem, match="imitates 'car' effects"):
        smallarea.fit_counts(areas, spatial_prior=prior, random_effect="leroux", **call)


def test_a_process_over_the_polygons(areas, counts):
    """Its range is a hyperparameter, inside what the prior was trained for."""
    prior = smallarea.train_prior(
        areas, id_field="code", architecture="decoder", family="gp", lower=0.1, upper=0.4, steps=20, certify=False
    ).prior
    call = {"id_field": "code", "table": counts, "count": "cases", "trials": "people", "random_effect": "gp", **SHORT}
    result = smallarea.fit_counts(areas, spatial_prior=prior, **call)
    reach = result.hyperparameters.set_index("name").loc["range"]
    assert 0.1 <= reach["lower"] < reach["upper"] <= 0.4
    assert any("truncated to 0.1 to 0.4" in warning for warning in result.warnings)
    with pytest.raises(ModelProblem, match="known through a learned prior only"):
        smallarea.fit_counts(areas, **call)


def test_direct_estimates_by_both_methods(areas, counts):
    call = {"id_field": "code", "table": counts, "direct": "share", "variance": "variance", "covariates": ["west"]}
    exact = smallarea.fit(areas, **call)
    chains = smallarea.fit(areas, method="hmc", form="filter", draws=2000, warmup=300, **call)
    # Monte Carlo error of a posterior mean and SD; areas hang together, so the largest of 37 counts.
    reached = chains.diagnostics["area_ess_min"]
    apart = np.abs(chains.estimates["estimate"] - exact.estimates["estimate"]) / exact.estimates["se"]
    assert apart.max() < 4.0 / np.sqrt(reached)
    assert np.abs(chains.estimates["se"] / exact.estimates["se"] - 1.0).max() < 4.0 / np.sqrt(0.5 * reached)
    assert chains.estimates["shrinkage"].isna().all()
    assert chains.area_diagnostics["std_residual"].isna().all()


def test_shares_with_known_variances(areas, counts):
    result = smallarea.fit(
        areas, id_field="code", table=counts, direct="share", variance="variance", method="hmc", likelihood="beta",
        **SHORT,
    )  # fmt: skip
    assert result.estimates["estimate"].between(0.0, 1.0, inclusive="neither").all()
    assert "Beta(" in result.model["formula"]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"trials": ()}, JobProblem, "Name their field"),
        ({"likelihood": "poisson"}, JobProblem, "has no trials"),
        ({"exposure": "people"}, JobProblem, "has no exposure"),
        ({"trials": ["people", "more"]}, JobProblem, "Name one for all, or one each"),
        ({"covariates": ["people"]}, JobProblem, "is used twice"),
        ({"trials": "more"}, TableProblem, "more counts than trials"),
        ({"count": "share"}, TableProblem, "whole numbers"),
        ({"form": "density", "random_effect": "bym2"}, ModelProblem, "Choose form 'filter'"),
        ({"form": "prior"}, JobProblem, "belong together"),
        ({"chains": 0}, JobProblem, "chains must be a whole number"),
        ({"output": "map.csv"}, Exception, "GeoPackage"),
        ({"spatial_prior": "nothing.safetensors"}, PriorProblem, "nothing"),
    ],
)
def test_what_is_refused(areas, counts, change, error, match):
    call = {"id_field": "code", "table": counts, "count": "cases", "trials": "people", **SHORT, **change}
    with pytest.raises(error, match=match):
        smallarea.fit_counts(areas, **call)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"form": "filter"}, JobProblem, "'form' belongs to method 'hmc'"),
        ({"likelihood": "beta"}, ModelProblem, "by method 'hmc' only"),
        ({"method": "hmc", "transformation": "log"}, ModelProblem, "takes|models the direct estimates as they are"),
        ({"method": "hmc", "checkpoint": "state.npz"}, JobProblem, "checkpoint"),
    ],
)
def test_what_a_fit_of_direct_estimates_refuses(areas, counts, change, error, match):
    call = {"id_field": "code", "table": counts, "direct": "share", "variance": "variance", **SHORT, **change}
    with pytest.raises(error, match=match):
        smallarea.fit(areas, **call)
